"""Accounts, sessions and companies (http-api.md, "Sessions")."""

import asyncio
import base64
import binascii
import re
import time
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response
from fastapi import Body as BodyOf
from yunku.identity.v1 import service_pb2
from yunku.subject.v1 import service_pb2 as subject_pb2

from kernel import context as call_context
from kernel.errors import YunkuError
from services.gateway import models, render
from services.gateway.means import Means, means_of
from services.gateway.preconditions import etag
from services.gateway.replies import problems, reply
from services.gateway.routes import API
from services.gateway.sessions import Session, Who, anonymous_key, authenticate

router = APIRouter(prefix=API, tags=["sessions"])

#: Hashing a password waits for its turn at identity.
_LOGIN_SECONDS: Final = 20
_LOOK_SECONDS: Final = 0.03
_LOOPBACK: Final = re.compile(r"(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d{1,5})?", re.ASCII)


def address(request: Request) -> str:
    """The client's address: the peer's, or what a trusted proxy says (settings)."""
    return request.client.host if request.client is not None else ""


@router.post("/phone-codes", status_code=201, response_model=models.PhoneCode, responses=problems())
async def ask_for_phone_code(request: Request, body: models.PhoneCodeRequest) -> Response:
    """Sends a registration code to the phone; in the development profile the code also stands in the reply."""
    means = means_of(request)
    means.limits.take("phone-code", address(request))
    with call_context.use(anonymous_key(call_context.current(), "phone", body.phone)):
        answer = await means.services.identity.IssuePhoneCode(service_pb2.IssuePhoneCodeRequest(phone=body.phone))
    return reply(request, models.PhoneCode(expires_at=render.moment(answer.expires_at), code=answer.code or None), 201)


@router.post("/accounts", status_code=201, response_model=models.Account, responses=problems(409))
async def register_account(request: Request, body: models.AccountRequest) -> Response:
    """Registers a person by phone, code, password and name."""
    means = means_of(request)
    means.limits.take("account", address(request))
    asked = service_pb2.RegisterAccountRequest(phone=body.phone, code=body.code, password=body.password, name=body.name)
    with call_context.use(anonymous_key(call_context.current(), "phone", body.phone)):
        answer = await means.services.identity.RegisterAccount(asked, timeout=_LOGIN_SECONDS)
    return reply(request, models.Account(id=answer.account_id, name=answer.name, phone=answer.masked_phone), 201)


@router.post("/ca-challenges", status_code=201, response_model=models.Challenge, responses=problems())
async def ask_for_challenge(request: Request, body: Annotated[models.ChallengeRequest | None, BodyOf()] = None) -> Response:
    """A text for a company's key to sign: single use, 60 s. It names the origin at which the client must be."""
    means = means_of(request)
    means.limits.take("challenge", address(request))
    with call_context.use(anonymous_key(call_context.current(), "address", address(request))):
        answer = await means.services.identity.IssueChallenge(service_pb2.IssueChallengeRequest(origin=origin(request, means)))
    challenge = models.Challenge(id=answer.id, text=answer.text, expires_at=render.moment(answer.expires_at))
    return reply(request, challenge, 201)


def origin(request: Request, means: Means) -> str:
    """The origin that a login is bound to. Raises ``origin_invalid`` where a page of another origin asks.

    It must be the gateway's own, never one that the request chooses: or a page elsewhere could fetch a challenge in its own
    name, have its visitor sign it, and log in as the visitor. Without a setting only the machine's own names are taken.
    """
    own = means.settings.public_origin
    if not own:
        host = request.headers.get("host", "")
        own = f"{request.url.scheme}://{host}"
        if not _LOOPBACK.fullmatch(host):
            raise YunkuError("origin_invalid", field="/Host")
    asking = request.headers.get("origin")
    if asking is not None and asking.lower() != own.lower():
        raise YunkuError("origin_invalid", field="/Origin")
    return own


Login = Annotated[models.PasswordLogin | models.KeyLogin | models.QrSessionLogin, BodyOf(discriminator="method")]


@router.post("/sessions", status_code=201, response_model=models.Session, responses=problems(401, 409))
async def log_in(request: Request, body: Login) -> Response:
    """Logs in: by password, with a company's CA key, or by a QR code that a phone (辽易通) approved."""
    means = means_of(request)
    means.limits.take("login", address(request))
    if isinstance(body, models.PasswordLogin):
        credential = service_pb2.OpenSessionRequest(password=service_pb2.PasswordCredential(phone=body.phone, password=body.password))
        principal = ("phone", body.phone)
    elif isinstance(body, models.QrSessionLogin):
        credential = service_pb2.OpenSessionRequest(qr=service_pb2.QrCredential(id=body.qr_login_id, claim=body.claim))
        principal = ("qr", body.qr_login_id)
    else:
        credential = service_pb2.OpenSessionRequest(
            ca=service_pb2.CaCredential(
                challenge_id=body.challenge_id,
                certificate=body.certificate,
                signature=decoded(body.signature),
            )
        )
        principal = ("challenge", body.challenge_id)
    with call_context.use(anonymous_key(call_context.current(), *principal)):
        answer = await means.services.identity.OpenSession(credential, timeout=_LOGIN_SECONDS)
    return reply(request, render.session(answer.session), 201)


@router.post("/qr-logins", status_code=201, response_model=models.QrLogin, responses=problems())
async def ask_for_qr_login(request: Request, body: Annotated[models.QrLoginRequest | None, BodyOf()] = None) -> Response:
    """A text for a QR code: a phone with the company's certificate (辽易通) scans, shows and signs it; 180 s."""
    means = means_of(request)
    means.limits.take("challenge", address(request))
    asked = service_pb2.IssueQrLoginRequest(origin=origin(request, means), address=address(request))
    with call_context.use(anonymous_key(call_context.current(), "address", address(request))):
        answer = await means.services.identity.IssueQrLogin(asked)
    told = models.QrLogin(
        id=answer.id, qr_text=answer.text, number=answer.number, claim=answer.claim, expires_at=render.moment(answer.expires_at)
    )
    return reply(request, told, 201)


@router.get("/qr-logins/{qr_login_id}", response_model=models.QrLoginState, responses=problems())
async def get_qr_login(request: Request, qr_login_id: Annotated[str, Path(max_length=64)]) -> Response:
    """Whether the phone has approved; then `POST /sessions` with the claim takes the session."""
    means = means_of(request)
    means.limits.take("qr-login", address(request))
    answer = await means.services.identity.GetQrLogin(service_pb2.GetQrLoginRequest(id=qr_login_id))
    told = models.QrLoginState(
        state=render.word(answer.state), approved_by=answer.approved_by or None, expires_at=render.moment(answer.expires_at)
    )
    return reply(request, told)


@router.post("/qr-logins/{qr_login_id}/approval", response_model=models.QrApproval, responses=problems(401, 409))
async def approve_qr_login(
    request: Request, qr_login_id: Annotated[str, Path(max_length=64)], body: models.QrApprovalRequest
) -> Response:
    """The phone's consent: the signature of its certificate over exactly the text of the QR code. It logs in, and can seal nothing."""
    means = means_of(request)
    means.limits.take("login", address(request))
    asked = service_pb2.ApproveQrLoginRequest(id=qr_login_id, certificate=body.certificate, signature=decoded(body.signature))
    with call_context.use(anonymous_key(call_context.current(), "qr", qr_login_id)):
        answer = await means.services.identity.ApproveQrLogin(asked)
    return reply(request, models.QrApproval(approved_by=answer.approved_by))


def decoded(text: str) -> bytes:
    """A signature's bytes from base64 (line breaks are let pass); raises ``signature_invalid``."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        raise YunkuError("signature_invalid", field="/signature") from None


@router.get("/sessions/current", response_model=models.CurrentSession, responses=problems(401))
async def current_session(request: Request, who: Session) -> Response:
    """Who this session is, for whom it acts, and what it may."""
    asked = service_pb2.GetAccountNamesRequest(account_ids=[who.caller.id])
    names = (await means_of(request).services.identity.GetAccountNames(asked)).names
    return reply(request, render.current_session(who.session, names.get(who.caller.id)))


@router.post("/sessions/current/subject", response_model=models.Session, responses=problems(401, 403))
async def pick_subject(request: Request, body: models.SubjectChoice, who: Session) -> Response:
    """Picks the subject and type that this session acts for, and answers with a new token; the former one ends."""
    asked = service_pb2.PickSubjectRequest(token=who.token, subject_id=body.subject_id, subject_type=body.subject_type)
    answer = await means_of(request).services.identity.PickSubject(asked)
    return reply(request, render.session(answer.session))


@router.post("/sessions/current/renewal", response_model=models.Session, responses=problems(401))
async def renew_session(request: Request, body: models.RenewalRequest) -> Response:
    """Exchanges the refresh token, which serves once, for new tokens; the session goes on as it was."""
    means = means_of(request)
    means.limits.take("renewal", address(request))
    with call_context.use(anonymous_key(call_context.current(), "refresh", body.refresh_token)):
        answer = await means.services.identity.RenewSession(service_pb2.RenewSessionRequest(refresh_token=body.refresh_token))
    return reply(request, render.session(answer.session))


@router.delete("/sessions/current", status_code=204, responses=problems(401))
async def log_out(request: Request, who: Session) -> Response:
    """Logs out: token and refresh token end."""
    await means_of(request).services.identity.CloseSession(service_pb2.CloseSessionRequest(token=who.token))
    return Response(None, 204)


@router.post("/subjects", status_code=201, response_model=models.Subject, responses=problems(401, 409))
async def register_subject(request: Request, body: models.SubjectRequest, who: Session) -> Response:
    """Registers a company for the account. A USCC whose check digit fails is asked about: `confirm_uscc`."""
    means = means_of(request)
    asked = subject_pb2.RegisterSubjectRequest(uscc=body.uscc, name=body.name, types=body.types, confirm_uscc=body.confirm_uscc)
    registered = (await means.services.subject.RegisterSubject(asked)).subject
    await _until_member(means, who, registered.id)
    headers = {"Location": f"/api/v1/subjects/{registered.id}"}
    return reply(request, render.subject(registered), 201, etag=etag(registered.version, registered.revision), headers=headers)


async def _until_member(means: Means, who: Who, subject_id: str) -> None:
    """Waits until identity has taken the registration in, so that the session can pick the subject and sees it listed.

    Bounded: when identity is behind, the registration is answered all the same (picking waits for it too).
    """
    until = time.monotonic() + means.settings.membership_wait_seconds
    while True:
        try:
            now = await authenticate(means, who.token)
        except YunkuError as refused:
            if refused.http_status < 500:
                return  # the session ended meanwhile: the next request will be told
        else:
            if any(one.id == subject_id for one in now.session.subjects):
                return
        if time.monotonic() >= until:
            return
        await asyncio.sleep(_LOOK_SECONDS)
