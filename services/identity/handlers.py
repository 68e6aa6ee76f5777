"""Commands. What proves something (a code, a password, a signature) is checked first; then load, decide, append.

Replies hold tokens and names, and the log keeps replies for repeated commands: so what it keeps is the reply encrypted
under the account's own key, which goes with the account.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from yunku.identity.v1 import events_pb2, service_pb2
from yunku.kernel.v1 import kernel_pb2

from kernel import ids, pki, values
from kernel.context import CallContext
from kernel.errors import YunkuError
from kernel.eventlog.store import EventLog, VersionConflict
from kernel.privacy import Keyring, PersonKey
from services.identity import adapters, domain, queries
from services.identity.adapters import Challenges, Passwords, PhoneCodes, QrLogins, RateLimits, Token, TrustStore
from services.identity.ports import CodeSender
from services.identity.projections import ACCOUNT, REFUSAL, SESSION
from services.identity.queries import SubjectDirectory
from services.identity.settings import Settings

M = TypeVar("M", bound=Message)

#: What each encrypted value of an account is (kernel.privacy).
PHONE: Final = "identity account phone"
NAME: Final = "identity account name"
PASSWORD: Final = "identity account password"  # noqa: S105 (names the field)
_REPLY: Final = "identity reply"


@dataclass(frozen=True)
class Means:
    """What the commands are carried out with; put together in ``bootstrap``."""

    log: EventLog
    keyring: Keyring
    settings: Settings
    limits: RateLimits
    codes: PhoneCodes
    challenges: Challenges
    qr_logins: QrLogins
    #: Key of the claims by which a browser takes the session of a QR code's login.
    claims: bytes
    passwords: Passwords
    trust: TrustStore
    sender: CodeSender
    subjects: SubjectDirectory
    clock: Callable[[], datetime]


def account_of_phone(keyring: Keyring, phone: str) -> UUID:
    """The account's id follows from its number (through a keyed digest): a second registration meets the first one."""
    return ids.derived("account", keyring.index("phone", phone).hex())


def account_of_key(uscc: str) -> UUID:
    """The account of a company's CA keys: one for all keys that carry its USCC."""
    return ids.derived("key-account", uscc)


# -- accounts ----------------------------------------------------------------------------------------------------------


async def issue_phone_code(
    means: Means, request: service_pb2.IssuePhoneCodeRequest, context: CallContext
) -> service_pb2.IssuePhoneCodeResponse:
    """Sends a code. Whether the number has an account already is not told before its holder shows the code."""
    require_gateway(context)
    phone = parse_phone(request.phone)
    index = means.keyring.index("phone", phone)
    now = means.clock()
    issue_id = _command_id("phone-code", context)
    if not await means.codes.exists(issue_id):
        await means.limits.take(f"code:{index.hex()}", adapters.CODES_PER_PHONE, now)
        await means.limits.take("code", adapters.CODES_IN_ALL, now)
    expires_at = now + timedelta(seconds=means.settings.phone_code_seconds)
    code, expires_at = await means.codes.issue(issue_id, index, now, expires_at)
    await means.sender.send(phone, code)
    shown = code if means.settings.profile == "development" else ""
    return service_pb2.IssuePhoneCodeResponse(expires_at=_timestamp(expires_at), code=shown)


async def register_account(
    means: Means, request: service_pb2.RegisterAccountRequest, context: CallContext
) -> service_pb2.RegisterAccountResponse:
    """Registers a person by phone, code, password and name."""
    require_gateway(context)
    phone, name = parse_phone(request.phone), _name(request.name)
    password = adapters.check_password(request.password, phone)
    index = means.keyring.index("phone", phone)
    if (earlier := await means.log.answered(context)) is not None:
        return await _unsealed(means.keyring, earlier, service_pb2.RegisterAccountResponse)
    command = str(_command_id("registration", context))
    await means.codes.use(index, request.code, command, means.clock())
    account_id = account_of_phone(means.keyring, phone)
    # The same command repeated finds the same person's key; another registration of the number is another person.
    key = await means.keyring.person(ids.derived("account-person", command))
    encoded = await means.passwords.hash(password)
    reply = service_pb2.RegisterAccountResponse(account_id=str(account_id), name=name, masked_phone=queries.masked_phone(phone))
    outcome = await means.log.execute(
        ACCOUNT,
        account_id,
        lambda state: domain.register_account(
            state,
            account_id=str(account_id),
            phone=key.encrypt(phone, PHONE),
            phone_index=index,
            name=key.encrypt(name, NAME),
            password_hash=key.encrypt(encoded, PASSWORD),
        ),
        context,
        respond=lambda state, version: key.encrypt_bytes(reply.SerializeToString(), _REPLY),
    )
    return await _unsealed(means.keyring, outcome.response, service_pb2.RegisterAccountResponse)


async def grant_role(means: Means, request: service_pb2.GrantRoleRequest, context: CallContext) -> service_pb2.GrantRoleResponse:
    """Gives a role to an account, named by id or by phone."""
    _require_administrator(context)
    if request.phone:
        account_id = account_of_phone(means.keyring, parse_phone(request.phone))
    else:
        account_id = parse_id(request.account_id)
    outcome = await means.log.execute(
        ACCOUNT,
        account_id,
        lambda state: domain.grant_role(state, account_id=str(account_id), role=request.role, domain_id=request.domain_id),
        context,
        respond=lambda state, version: service_pb2.GrantRoleResponse(account_id=str(account_id)),
    )
    response: service_pb2.GrantRoleResponse = outcome.response
    return response


async def revoke_role(means: Means, request: service_pb2.RevokeRoleRequest, context: CallContext) -> None:
    """Takes a role back: the account's next request is already without it."""
    _require_administrator(context)
    account_id = parse_id(request.account_id)
    await means.log.execute(
        ACCOUNT,
        account_id,
        lambda state: domain.revoke_role(state, account_id=str(account_id), role=request.role, domain_id=request.domain_id),
        context,
    )


async def role_holders(
    means: Means, request: service_pb2.ListRoleHoldersRequest, context: CallContext
) -> service_pb2.ListRoleHoldersResponse:
    """Who holds a role; for administrators and auditors. Raises ``role_missing``, ``role_unknown``."""
    if not context.caller.has_role("AUDITOR"):
        _require_administrator(context)
    if request.role not in domain.ROLES:
        raise YunkuError("role_unknown", field="/role")
    role = f"{request.role}:{request.domain_id}" if request.domain_id else request.role
    return service_pb2.ListRoleHoldersResponse(holders=await queries.role_holders(means.log.pool, means.keyring, role, NAME, PHONE))


async def erase_account(means: Means, request: service_pb2.EraseAccountRequest, context: CallContext) -> None:
    """Records the erasure and destroys the key, together or not at all."""
    _require_administrator(context)
    account_id = parse_id(request.account_id)
    for _ in range(8):
        loaded = await means.log.load(ACCOUNT, account_id)
        phone = loaded.state.phone
        try:
            async with means.log.transaction() as transaction:
                await means.log.execute(
                    ACCOUNT,
                    account_id,
                    lambda state: domain.erase_account(state, account_id=str(account_id)),
                    context,
                    transaction=transaction,
                )
                if phone is not None:
                    await means.keyring.erase(UUID(phone.person_id), transaction.connection)
            return
        except VersionConflict:
            continue
    raise YunkuError("version_conflict")


# -- logging in --------------------------------------------------------------------------------------------------------


async def issue_challenge(
    means: Means, request: service_pb2.IssueChallengeRequest, context: CallContext
) -> service_pb2.IssueChallengeResponse:
    """A text for a company's key to sign."""
    require_gateway(context)
    origin = adapters.parse_origin(request.origin)
    now = means.clock()
    await means.limits.take("challenge", adapters.CHALLENGES_IN_ALL, now)
    challenge_id = _command_id("challenge", context)
    expires_at = now + timedelta(seconds=means.settings.challenge_seconds)
    text, expires_at = await means.challenges.issue(challenge_id, origin, expires_at)
    return service_pb2.IssueChallengeResponse(id=str(challenge_id), text=text, expires_at=_timestamp(expires_at))


async def issue_qr_login(
    means: Means, request: service_pb2.IssueQrLoginRequest, context: CallContext
) -> service_pb2.IssueQrLoginResponse:
    """A text for a phone's certificate (辽易通) to sign, and the claim by which the browser takes the session."""
    require_gateway(context)
    origin = adapters.parse_origin(request.origin)
    now = means.clock()
    await means.limits.take("challenge", adapters.CHALLENGES_IN_ALL, now)
    qr_login_id = _command_id("qr-login", context)
    # From the id, so that the same command, repeated, gets the same again.
    claim = hmac.new(means.claims, qr_login_id.bytes, "sha256").hexdigest()
    address = "".join(c for c in request.address[:60] if c.isprintable())
    found = await means.qr_logins.issue(qr_login_id, origin, address, claim, now + timedelta(seconds=means.settings.qr_login_seconds))
    return service_pb2.IssueQrLoginResponse(
        id=str(qr_login_id), text=found.text, number=found.number, claim=claim, expires_at=_timestamp(found.expires_at)
    )


async def get_qr_login(means: Means, request: service_pb2.GetQrLoginRequest, context: CallContext) -> service_pb2.GetQrLoginResponse:
    """How far it is. Raises ``not_found``."""
    require_gateway(context)
    try:
        found = await means.qr_logins.get(parse_id(request.id))
    except YunkuError:
        raise YunkuError("not_found") from None
    return service_pb2.GetQrLoginResponse(
        state=found.state(means.clock()), approved_by=found.company, expires_at=_timestamp(found.expires_at)
    )


async def approve_qr_login(
    means: Means, request: service_pb2.ApproveQrLoginRequest, context: CallContext
) -> service_pb2.ApproveQrLoginResponse:
    """The phone consents: the certificate is judged as a key's at login. Raises ``not_found``, ``challenge_expired``, ``challenge_used``,
    ``certificate_*``, ``signature_invalid``."""
    require_gateway(context)
    now, qr_login_id = means.clock(), parse_id(request.id)
    account_id: UUID | None = None
    try:
        try:
            found = await means.qr_logins.get(qr_login_id)
        except YunkuError:
            raise YunkuError("not_found") from None
        if now >= found.expires_at:
            raise YunkuError("challenge_expired")
        key = await means.trust.verify(request.certificate, now)
        account_id = account_of_key(key.company.uscc)
        if not pki.verify_signature(key.certificate, found.text.encode(), request.signature):
            raise YunkuError("signature_invalid", field="/signature")
        approved = await means.qr_logins.approve(qr_login_id, key.company)
    except YunkuError as refused:
        await _refuse(means, context, "qr", refused.code, account_id)
        raise
    return service_pb2.ApproveQrLoginResponse(approved_by=approved.company)


async def open_session(means: Means, request: service_pb2.OpenSessionRequest, context: CallContext) -> service_pb2.OpenSessionResponse:
    """Logs in, by password, by a company's CA key, or by a QR code that a phone approved."""
    require_gateway(context)
    match request.WhichOneof("credential"):
        case "password":
            return await _open_by_password(means, request.password, context)
        case "ca":
            return await _open_by_key(means, request.ca, context)
        case "qr":
            return await _open_by_qr(means, request.qr, context)
    raise YunkuError("value_invalid", field="/method")


async def _open_by_password(
    means: Means, credential: service_pb2.PasswordCredential, context: CallContext
) -> service_pb2.OpenSessionResponse:
    phone, now = parse_phone(credential.phone), means.clock()
    account_id = account_of_phone(means.keyring, phone)
    bucket = f"login:{account_id}"
    # Counted before the check and given back when it was right, so that guesses sent at once can't slip through.
    await means.limits.take(bucket, adapters.REFUSALS_PER_ACCOUNT, now)
    await means.limits.take("login", adapters.REFUSALS_IN_ALL, now)
    login = await queries.login(means.log.pool, means.keyring, account_id)
    encoded = login.key.decrypt(login.password_hash, PASSWORD) if login is not None else None
    if not await means.passwords.matches(encoded, credential.password) or login is None:
        await _refuse(means, context, "password", "credentials_wrong", account_id if login is not None else None)
        raise YunkuError("credentials_wrong")
    await means.limits.give_back(bucket, adapters.REFUSALS_PER_ACCOUNT, now)
    await means.limits.give_back("login", adapters.REFUSALS_IN_ALL, now)
    return await _open(means, context, account_id, login.key, "password", person_id=str(login.key.person_id))


async def _open_by_key(means: Means, credential: service_pb2.CaCredential, context: CallContext) -> service_pb2.OpenSessionResponse:
    if (earlier := await means.log.answered(context)) is not None:
        return await _unsealed(means.keyring, earlier, service_pb2.OpenSessionResponse)
    now = means.clock()
    account_id: UUID | None = None
    try:
        try:
            challenge_id = UUID(credential.challenge_id)
        except ValueError:
            raise YunkuError("challenge_unknown") from None
        text = await means.challenges.answer(challenge_id, str(_command_id("ca-login", context)), now)
        key = await means.trust.verify(credential.certificate, now)
        account_id = account_of_key(key.company.uscc)
        if not pki.verify_signature(key.certificate, text.encode(), credential.signature):
            raise YunkuError("signature_invalid", field="/signature")
    except YunkuError as refused:
        await _refuse(means, context, "ca", refused.code, account_id)
        raise
    await means.log.execute(
        ACCOUNT,
        account_id,
        lambda state: domain.open_key_account(state, account_id=str(account_id), uscc=key.company.uscc, company_name=key.company.name),
        _without_key(context),
    )
    reply_key = await means.keyring.person(account_id)
    return await _open(means, context, account_id, reply_key, "ca", fingerprint=key.company.fingerprint)


async def _open_by_qr(means: Means, credential: service_pb2.QrCredential, context: CallContext) -> service_pb2.OpenSessionResponse:
    if (earlier := await means.log.answered(context)) is not None:
        return await _unsealed(means.keyring, earlier, service_pb2.OpenSessionResponse)
    try:
        try:
            qr_login_id = UUID(credential.id)
        except ValueError:
            raise YunkuError("challenge_unknown") from None
        used_by = str(_command_id("qr-session", context))
        taken = await means.qr_logins.take(qr_login_id, credential.claim, used_by, means.clock())
    except YunkuError as refused:
        if refused.code != "qr_login_pending":
            await _refuse(means, context, "qr", refused.code, None)
        raise
    account_id = account_of_key(taken.uscc)
    await means.log.execute(
        ACCOUNT,
        account_id,
        lambda state: domain.open_key_account(state, account_id=str(account_id), uscc=taken.uscc, company_name=taken.company),
        _without_key(context),
    )
    return await _open(means, context, account_id, await means.keyring.person(account_id), "qr", fingerprint=taken.fingerprint)


async def _open(
    means: Means,
    context: CallContext,
    account_id: UUID,
    key: PersonKey,
    method: str,
    *,
    person_id: str = "",
    fingerprint: str = "",
) -> service_pb2.OpenSessionResponse:
    session_id = _command_id("session", context)
    now = means.clock()
    token, refresh = Token.new(session_id), Token.new(session_id)
    expires_at = now + timedelta(seconds=means.settings.access_token_seconds)
    refresh_expires_at = now + timedelta(seconds=means.settings.session_seconds)
    subjects = await queries.member_subjects(means.log.pool, account_id)
    reply = service_pb2.OpenSessionResponse(
        session=service_pb2.Session(
            token=token.text,
            expires_at=_timestamp(min(expires_at, refresh_expires_at)),
            refresh_token=refresh.text,
            subjects=subjects,
        )
    )
    outcome = await means.log.execute(
        SESSION,
        session_id,
        lambda state: domain.open_session(
            state,
            session_id=str(session_id),
            account_id=str(account_id),
            person_id=person_id,
            method=method,
            token_hash=token.hash,
            refresh_token_hash=refresh.hash,
            expires_at=min(expires_at, refresh_expires_at),
            refresh_expires_at=refresh_expires_at,
            certificate_fingerprint=fingerprint,
        ),
        context,
        respond=lambda state, version: key.encrypt_bytes(reply.SerializeToString(), _REPLY),
    )
    return await _unsealed(means.keyring, outcome.response, service_pb2.OpenSessionResponse)


async def _refuse(means: Means, context: CallContext, method: str, reason: str, account_id: UUID | None) -> None:
    """Keeps the refusal for the audit."""
    event = events_pb2.LoginRefused(account_id=str(account_id) if account_id is not None else "", method=method, reason=reason)
    await means.log.execute(REFUSAL, ids.uuid7(), lambda state: [event], _without_key(context))


# -- sessions ----------------------------------------------------------------------------------------------------------


async def pick_subject(means: Means, request: service_pb2.PickSubjectRequest, context: CallContext) -> service_pb2.PickSubjectResponse:
    """Lets the session act for a subject under one of its types, with a new token; the former one ends."""
    require_gateway(context)
    token = Token.parse(request.token)
    loaded = await means.log.load(SESSION, token.session_id)
    if not loaded.state.account_id:
        raise YunkuError("unauthenticated")
    account_id = UUID(loaded.state.account_id)
    subjects = await means.subjects.of_member(account_id, request.subject_id)
    picked = next((subject for subject in subjects if subject.id == request.subject_id), None)
    now = means.clock()
    fresh = Token.new(token.session_id)
    expires_at = now + timedelta(seconds=means.settings.access_token_seconds)
    key = await _session_key(means, loaded.state)
    if picked is not None and picked.invited:
        domain.require_token(loaded.state, token.hash, now)
        await means.log.execute(
            ACCOUNT,
            account_id,
            lambda state: domain.accept_membership(state, account_id=str(account_id), subject_id=picked.id),
            _without_key(context),
            subject_id=picked.id,
        )

    def decide(state: domain.Session) -> list[Message]:
        domain.require_token(state, token.hash, now)
        if picked is None:
            raise YunkuError("not_member", field="/subject_id")
        if request.subject_type not in picked.types:
            raise YunkuError("subject_type_unknown", field="/subject_type")
        return domain.pick_subject(
            state,
            session_id=str(token.session_id),
            token_hash=token.hash,
            subject_id=picked.id,
            subject_type=request.subject_type,
            new_token_hash=fresh.hash,
            expires_at=expires_at,
            now=now,
        )

    outcome = await means.log.execute(
        SESSION,
        token.session_id,
        decide,
        context,
        respond=lambda state, version: _sealed_session(key, state, fresh, None, subjects),
        subject_id=picked.id if picked is not None else None,
    )
    return service_pb2.PickSubjectResponse(session=await _unsealed(means.keyring, outcome.response, service_pb2.Session))


async def renew_session(means: Means, request: service_pb2.RenewSessionRequest, context: CallContext) -> service_pb2.RenewSessionResponse:
    """Exchanges the refresh token, which serves once, for new tokens. One that comes a second time ends the session."""
    require_gateway(context)
    used = Token.parse(request.refresh_token)
    session_id = used.session_id
    loaded = await means.log.load(SESSION, session_id)
    if not loaded.state.account_id:
        raise YunkuError("unauthenticated")
    now = means.clock()
    token, refresh = Token.new(session_id), Token.new(session_id)
    expires_at = now + timedelta(seconds=means.settings.access_token_seconds)
    subjects = await queries.member_subjects(means.log.pool, UUID(loaded.state.account_id))
    key = await _session_key(means, loaded.state)
    try:
        outcome = await means.log.execute(
            SESSION,
            session_id,
            lambda state: domain.renew_session(
                state,
                session_id=str(session_id),
                refresh_token_hash=used.hash,
                new_token_hash=token.hash,
                new_refresh_token_hash=refresh.hash,
                expires_at=expires_at,
                now=now,
            ),
            context,
            respond=lambda state, version: _sealed_session(key, state, token, refresh, subjects),
        )
    except YunkuError:
        await means.log.execute(
            SESSION,
            session_id,
            lambda state: domain.close_on_reuse(state, session_id=str(session_id), refresh_token_hash=used.hash),
            _without_key(context),
        )
        raise
    return service_pb2.RenewSessionResponse(session=await _unsealed(means.keyring, outcome.response, service_pb2.Session))


async def close_session(means: Means, request: service_pb2.CloseSessionRequest, context: CallContext) -> None:
    """Logs out."""
    require_gateway(context)
    token = Token.parse(request.token)
    await means.log.execute(
        SESSION,
        token.session_id,
        lambda state: domain.close_session(state, session_id=str(token.session_id), token_hash=token.hash),
        _without_key(context),
    )


async def _session_key(means: Means, state: domain.Session) -> PersonKey:
    """The key of the session's account; ``unauthenticated`` where it was erased."""
    person_id = UUID(state.person_id or state.account_id)
    found = await means.keyring.find([person_id])
    if person_id not in found:
        raise YunkuError("unauthenticated")
    return found[person_id]


def _sealed_session(
    key: PersonKey,
    state: domain.Session,
    token: Token,
    refresh: Token | None,
    subjects: list[service_pb2.MemberSubject],
) -> kernel_pb2.EncryptedValue:
    acts = any(one.id == state.subject_id for one in subjects)
    session = service_pb2.Session(
        token=token.text,
        expires_at=_timestamp(state.expires_at) if state.expires_at else None,
        refresh_token=refresh.text if refresh is not None else "",
        subjects=subjects,
        subject_id=state.subject_id if acts else "",
        subject_type=state.subject_type if acts else "",
    )
    return key.encrypt_bytes(session.SerializeToString(), _REPLY)


async def _unsealed(keyring: Keyring, kept: kernel_pb2.EncryptedValue | bytes, kind: type[M]) -> M:
    """The reply that the log keeps; ``not_found`` where its account was erased meanwhile."""
    sealed = kernel_pb2.EncryptedValue.FromString(kept) if isinstance(kept, bytes) else kept
    person_id = UUID(sealed.person_id)
    key = (await keyring.find([person_id])).get(person_id)
    if key is None:
        raise YunkuError("not_found")
    return kind.FromString(key.decrypt_bytes(sealed, _REPLY))


# -- what the commands share -------------------------------------------------------------------------------------------


def require_gateway(context: CallContext) -> None:
    """Logins and tokens come through the gateway and nobody else (only it may speak for accounts)."""
    if context.caller.kind != "account" and context.caller.id != "gateway":
        raise YunkuError("role_missing", role="gateway")


def _require_administrator(context: CallContext) -> None:
    """An administrator, or who holds this service's own key: the operator at the machine (services.identity.administrator)."""
    if context.caller.kind == "service" and context.caller.id == "identity":
        return
    context.caller.require_role("ADMINISTRATOR", "")


def _command_id(purpose: str, context: CallContext) -> UUID:
    """An id that the same command, repeated, gets again."""
    return ids.derived(purpose, context.idempotency_key) if context.idempotency_key else ids.uuid7()


def _without_key(context: CallContext) -> CallContext:
    """For what a command does besides its own effect, which is what the idempotency key belongs to."""
    return replace(context, idempotency_key=None)


def parse_phone(text: str) -> str:
    """The number as the register keeps it; raises ``phone_malformed``."""
    try:
        return values.parse("phone", text)
    except values.BadValue:
        raise YunkuError("phone_malformed", field="/phone") from None


def _name(text: str) -> str:
    try:
        return values.parse("person", text)
    except values.BadValue:
        raise YunkuError("name_malformed", field="/name") from None


def parse_id(text: str) -> UUID:
    """An account's id; raises ``not_found`` for what is none."""
    try:
        return UUID(text)
    except ValueError:
        raise YunkuError("not_found") from None


def _timestamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
