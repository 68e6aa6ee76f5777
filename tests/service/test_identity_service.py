"""Accounts, logins, sessions and memberships, over gRPC on the running services."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from yunku.identity.v1 import service_pb2
from yunku.subject.v1 import service_pb2 as subject_pb2

from infra import devca
from infra.testing import RunningSuite
from kernel.context import Caller
from kernel.errors import YunkuError
from kernel.eventlog import rebuild
from kernel.ids import uuid7
from services.identity import administrator
from tests.service.identity_kit import PASSWORD, Client, CompanyKey, fresh_phone, fresh_uscc


def refused(code: str, pointer: str = "") -> Any:
    def matches(error: YunkuError) -> bool:
        return error.code == code and (not pointer or [one.pointer for one in error.errors] == [pointer])

    return pytest.raises(YunkuError, check=matches)


@pytest.fixture
async def client(suite: RunningSuite) -> AsyncIterator[Client]:
    made = Client(suite)
    yield made
    await made.close()


@pytest.fixture
def pki(suite: RunningSuite) -> devca.PkiPaths:
    return devca.paths(suite.root)


def company_key(suite: RunningSuite, uscc: str, name: str = "沈阳钥匙公司", **more: Any) -> CompanyKey:
    return CompanyKey.load(*devca.issue_company(suite.root, name, uscc, **({"key": "ec"} | more)))


def rows(suite: RunningSuite, query: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(suite.home.database_url("identity", owner=True)) as connection:
        return connection.execute(query.encode(), values).fetchall()


def events_of(suite: RunningSuite, stream_id: str) -> list[str]:
    found = rows(suite, "SELECT type FROM events WHERE stream_id = %s ORDER BY version", stream_id)
    return [name.rsplit(".", 1)[-1] for (name,) in found]


# -- registration ------------------------------------------------------------------------------------------------------


async def test_a_person_registers_logs_in_and_registers_a_company(client: Client, suite: RunningSuite) -> None:
    phone, uscc = fresh_phone(), fresh_uscc()
    account_id = await client.register(phone, name=" 王 小明 ")
    session = await client.login(phone)
    assert list(session.subjects) == []
    made = await client.register_subject(await client.caller(session.token), uscc)
    # At once: the membership's event may still be on its way, and the answer waits for it.
    picked = await client.pick(session.token, made.id, "TENDERER")
    assert (picked.subject_id, picked.subject_type, picked.refresh_token) == (made.id, "TENDERER", "")
    assert [(one.id, one.uscc, list(one.types)) for one in picked.subjects] == [(made.id, uscc, list(made.types))]
    with refused("unauthenticated"):
        await client.authenticate(session.token)
    who = await client.authenticate(picked.token)
    assert (who.account_id, who.subject_id, who.subject_type) == (account_id, made.id, "TENDERER")
    assert (who.method, who.key_uscc, list(who.roles)) == ("password", "", [])
    assert who.expires_at == picked.expires_at
    with client.calling():
        names = await client.identity.GetAccountNames(service_pb2.GetAccountNamesRequest(account_ids=[account_id, str(uuid7()), "x"]))
    assert dict(names.names) == {account_id: "王小明"}
    assert events_of(suite, account_id) == ["AccountRegistered", "MembershipGranted"]


async def test_a_number_registers_once_however_often_it_tries(client: Client, suite: RunningSuite) -> None:
    phone = fresh_phone()
    with client.calling():
        code = (await client.identity.IssuePhoneCode(service_pb2.IssuePhoneCodeRequest(phone=phone))).code
    request = service_pb2.RegisterAccountRequest(phone=phone, code=code, password=PASSWORD, name="王小明")

    async def attempt(key: str) -> str:
        with client.calling(key=key):
            return (await client.identity.RegisterAccount(request)).account_id

    key = str(uuid7())
    same = await asyncio.gather(*(attempt(key) for _ in range(8)))
    assert len(set(same)) == 1
    # Another command has no use of a code that was used.
    with refused("code_wrong", "/code"):
        await attempt(str(uuid7()))
    with refused("phone_registered", "/phone"):
        await client.register(phone)
    assert events_of(suite, same[0]) == ["AccountRegistered"]
    with client.calling(key=key):
        reply = await client.identity.RegisterAccount(request)
    assert (reply.masked_phone, reply.name) == (f"{phone[:3]}****{phone[-4:]}", "王小明")


async def test_what_is_wrong_with_a_registration_is_said_with_its_field(client: Client) -> None:
    phone = fresh_phone()
    with client.calling():
        code = (await client.identity.IssuePhoneCode(service_pb2.IssuePhoneCodeRequest(phone=phone))).code
    good = {"phone": phone, "code": code, "password": PASSWORD, "name": "王小明"}
    for changes, error, pointer in [
        ({"phone": "12345"}, "phone_malformed", "/phone"),
        ({"password": "12345678"}, "password_weak", "/password"),
        ({"name": "\x1b[31m"}, "name_malformed", "/name"),
        ({"code": f"{(int(code) + 1) % 10**6:06d}"}, "code_wrong", "/code"),
        ({"phone": fresh_phone()}, "code_wrong", "/code"),
    ]:
        with client.calling(), refused(error, pointer):
            await client.identity.RegisterAccount(service_pb2.RegisterAccountRequest(**(good | changes)))
    # None of them used the code up.
    with client.calling():
        assert (await client.identity.RegisterAccount(service_pb2.RegisterAccountRequest(**good))).account_id


async def test_a_code_bears_five_guesses_and_a_newer_one_replaces_it(client: Client) -> None:
    phone = fresh_phone()
    issue = service_pb2.IssuePhoneCodeRequest(phone=phone)

    async def attempt(code: str) -> None:
        request = service_pb2.RegisterAccountRequest(phone=phone, code=code, password=PASSWORD, name="王小明")
        with client.calling():
            await client.identity.RegisterAccount(request)

    with client.calling():
        first = (await client.identity.IssuePhoneCode(issue)).code
        second = (await client.identity.IssuePhoneCode(issue)).code
    if first != second:
        with refused("code_wrong"):
            await attempt(first)
    for number in range(1, 6):
        with refused("code_wrong"):
            await attempt(f"{(int(second) + number) % 10**6:06d}")
    with refused("code_wrong"):
        await attempt(second)


async def test_codes_are_rationed_and_a_repeated_request_costs_none(client: Client) -> None:
    phone, key = fresh_phone(), str(uuid7())
    issue = service_pb2.IssuePhoneCodeRequest(phone=phone)
    answers = []
    for _ in range(8):
        with client.calling(key=key):
            answers.append(await client.identity.IssuePhoneCode(issue))
    assert all(answer == answers[0] for answer in answers)
    codes = []
    with client.calling():
        for _ in range(12):  # two windows' worth and more: the window may turn meanwhile
            try:
                await client.identity.IssuePhoneCode(issue)
            except YunkuError as error:
                codes.append(error.code)
    assert codes
    assert set(codes) == {"too_many_requests"}


# -- logging in --------------------------------------------------------------------------------------------------------


async def test_wrong_password_and_unknown_number_are_told_alike_and_audited(client: Client, suite: RunningSuite) -> None:
    phone, stranger = fresh_phone(), fresh_phone()
    account_id = await client.register(phone)
    since = rows(suite, "SELECT count(*) FROM events WHERE type LIKE '%%LoginRefused'")[0][0]
    with refused("credentials_wrong") as known:
        await client.login(phone, "not-the-password-1")
    with refused("credentials_wrong") as unknown:
        await client.login(stranger, "not-the-password-1")
    assert known.value.args == unknown.value.args
    payloads = [
        bytes(payload)
        for (payload,) in rows(suite, "SELECT payload FROM events WHERE type LIKE '%%LoginRefused' ORDER BY recorded_at OFFSET %s", since)
    ]
    assert any(account_id.encode() in payload and b"credentials_wrong" in payload for payload in payloads)
    assert any(account_id.encode() not in payload for payload in payloads)
    assert not any(stranger.encode() in payload for payload in payloads)


async def test_guessing_is_stopped_even_when_the_guess_is_right(client: Client) -> None:
    phone = fresh_phone()
    await client.register(phone)
    answers = await asyncio.gather(*(client.login(phone, f"guess-number-{number}") for number in range(25)), return_exceptions=True)
    codes = [answer.code for answer in answers if isinstance(answer, YunkuError)]
    assert len(codes) == 25
    # Twice the limit at most, should the window turn meanwhile.
    assert codes.count("credentials_wrong") in range(10, 21)
    assert set(codes) == {"credentials_wrong", "too_many_requests"}
    for _ in range(11):  # and until the limit in a fresh window
        try:
            await client.login(phone, "guess-again-1")
        except YunkuError as error:
            last = error.code
    assert last == "too_many_requests"
    with refused("too_many_requests"):
        await client.login(phone)


async def test_right_passwords_cost_nothing(client: Client) -> None:
    phone = fresh_phone()
    await client.register(phone)
    for _ in range(12):
        await client.login(phone)


async def test_a_repeated_login_is_one_session(client: Client, suite: RunningSuite) -> None:
    phone, key = fresh_phone(), str(uuid7())
    await client.register(phone)
    sessions = await asyncio.gather(*(client.login(phone, key=key) for _ in range(5)))
    assert all(session == sessions[0] for session in sessions)
    with refused("idempotency_key_reused"):
        await client.login(await _registered(client), key=key)
    assert (await client.login(phone)).token != sessions[0].token


async def _registered(client: Client) -> str:
    phone = fresh_phone()
    await client.register(phone)
    return phone


# -- sessions ----------------------------------------------------------------------------------------------------------


async def test_forged_and_closed_tokens_are_nobody(client: Client) -> None:
    session = await client.login(await _registered(client))
    other = await client.login(await _registered(client))
    forged = session.token[:-4] + other.token[-4:]
    spliced = session.token[:22] + other.token[22:]
    for token in ("", "x", forged, spliced, session.token + "A", session.refresh_token, session.token[:-1]):
        with refused("unauthenticated"):
            await client.authenticate(token)
    with client.calling():
        await client.identity.CloseSession(service_pb2.CloseSessionRequest(token=session.token))
        await client.identity.CloseSession(service_pb2.CloseSessionRequest(token=session.token))
        for call in (
            client.identity.Authenticate(service_pb2.AuthenticateRequest(token=session.token)),
            client.identity.RenewSession(service_pb2.RenewSessionRequest(refresh_token=session.refresh_token)),
            client.identity.PickSubject(
                service_pb2.PickSubjectRequest(token=session.token, subject_id=str(uuid7()), subject_type="BIDDER")
            ),
        ):
            with refused("unauthenticated"):
                await call
    assert (await client.authenticate(other.token)).account_id


async def test_of_many_renewals_at_once_one_wins_and_the_reuse_ends_the_session(client: Client) -> None:
    session = await client.login(await _registered(client))
    request = service_pb2.RenewSessionRequest(refresh_token=session.refresh_token)

    async def renew(key: str | None = None) -> service_pb2.Session:
        with client.calling(key=key):
            return (await client.identity.RenewSession(request)).session

    key = str(uuid7())
    once = await renew(key)
    assert await renew(key) == once
    assert once.token != session.token
    assert (await client.authenticate(once.token)).account_id
    with refused("unauthenticated"):
        await client.authenticate(session.token)
    with refused("unauthenticated"):
        await renew()
    with refused("unauthenticated"):
        await client.authenticate(once.token)

    session = await client.login(await _registered(client))
    request = service_pb2.RenewSessionRequest(refresh_token=session.refresh_token)
    answers = await asyncio.gather(*(renew() for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(answer, service_pb2.Session) for answer in answers) == 1


async def test_only_members_pick_a_subject_and_only_under_its_types(client: Client) -> None:
    owner = await client.login(await _registered(client))
    stranger = await client.login(await _registered(client))
    made = await client.register_subject(await client.caller(owner.token), fresh_uscc(), types=["BIDDER"])
    with refused("subject_type_unknown", "/subject_type"):
        await client.pick(owner.token, made.id, "TENDERER")
    for subject_id in (made.id, str(uuid7()), "x", ""):
        with refused("not_member", "/subject_id"):
            await client.pick(stranger.token, subject_id)
    # Refusals leave the token as it was; and a repeated command answers as before, although the token is replaced by it.
    with client.calling(key=str(uuid7())):
        request = service_pb2.PickSubjectRequest(token=owner.token, subject_id=made.id, subject_type="BIDDER")
        first = await client.identity.PickSubject(request)
        assert await client.identity.PickSubject(request) == first
    assert (await client.authenticate(first.session.token)).subject_id == made.id


async def test_a_renamed_company_is_called_by_its_new_name(client: Client) -> None:
    session = await client.login(await _registered(client))
    made = await client.register_subject(await client.caller(session.token), fresh_uscc(), name="沈阳旧名公司")
    token = (await client.pick(session.token, made.id)).token
    with client.calling(await client.caller(token)):
        await client.subject.RenameSubject(subject_pb2.RenameSubjectRequest(subject_id=made.id, name="沈阳新名公司"))
    for _ in range(200):
        if (await client.caller(token)).subject_name == "沈阳新名公司":
            break
        await asyncio.sleep(0.05)
    assert (await client.caller(token)).subject_name == "沈阳新名公司"


# -- company keys ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rsa", "ec"])
async def test_a_company_key_logs_in_and_registers_its_company(client: Client, suite: RunningSuite, kind: str) -> None:
    uscc = fresh_uscc()
    key = company_key(suite, uscc, "沈阳钥匙公司", key=kind)
    session = await client.key_login(key)
    who = await client.authenticate(session.token)
    assert (who.method, who.key_uscc, list(who.subjects)) == ("ca", uscc, [])
    with client.calling():
        names = await client.identity.GetAccountNames(service_pb2.GetAccountNamesRequest(account_ids=[who.account_id]))
    assert dict(names.names) == {who.account_id: "沈阳钥匙公司"}
    with refused("certificate_not_holders", "/uscc"):
        await client.register_subject(await client.caller(session.token), fresh_uscc())
    made = await client.register_subject(await client.caller(session.token), uscc)
    assert (await client.pick(session.token, made.id)).subject_id == made.id
    assert events_of(suite, who.account_id) == ["KeyAccountOpened", "MembershipGranted"]
    assert (await client.key_login(key)).subjects[0].id == made.id
    # A second key of the same company is the same account.
    again = await client.key_login(company_key(suite, uscc))
    assert (await client.authenticate(again.token)).account_id == who.account_id


async def test_a_key_is_member_of_a_company_that_somebody_registered_before_its_first_login(client: Client, suite: RunningSuite) -> None:
    uscc = fresh_uscc()
    owner = await client.login(await _registered(client))
    made = await client.register_subject(await client.caller(owner.token), uscc)
    await client.pick(owner.token, made.id)  # the event has arrived
    session = await client.key_login(company_key(suite, uscc))
    assert [one.id for one in session.subjects] == [made.id]


async def test_a_key_that_logged_in_earlier_becomes_member_when_somebody_registers_its_company(client: Client, suite: RunningSuite) -> None:
    uscc = fresh_uscc()
    session = await client.key_login(company_key(suite, uscc))
    owner = await client.login(await _registered(client))
    made = await client.register_subject(await client.caller(owner.token), uscc)
    assert (await client.pick(session.token, made.id)).subject_id == made.id


async def test_a_challenge_is_four_lines_and_answered_once(client: Client, suite: RunningSuite) -> None:
    key = company_key(suite, fresh_uscc())
    with client.calling():
        challenge = await client.identity.IssueChallenge(service_pb2.IssueChallengeRequest(origin="https://Yunku.example:8443"))
        prefix, origin, nonce, end = challenge.text.split("\n")
        assert (prefix, origin) == ("yunku-login:v1", "https://yunku.example:8443")
        assert len(nonce) >= 32
        assert datetime.fromisoformat(end) == challenge.expires_at.ToDatetime(tzinfo=UTC)
        assert datetime.now(UTC) < datetime.fromisoformat(end) <= datetime.now(UTC) + timedelta(seconds=60)
        credential = service_pb2.CaCredential(challenge_id=challenge.id, certificate=key.chain, signature=key.sign(challenge.text))
        request = service_pb2.OpenSessionRequest(ca=credential)
        assert (await client.identity.OpenSession(request)).session.token
    with client.calling(), refused("challenge_used"):
        await client.identity.OpenSession(request)
    credential.challenge_id = str(uuid7())
    with client.calling(), refused("challenge_unknown"):
        await client.identity.OpenSession(service_pb2.OpenSessionRequest(ca=credential))
    with client.calling(), refused("origin_invalid", "/origin"):
        await client.identity.IssueChallenge(service_pb2.IssueChallengeRequest(origin="yunku"))


async def test_of_many_answers_to_one_challenge_one_counts(client: Client, suite: RunningSuite) -> None:
    key = company_key(suite, fresh_uscc())
    with client.calling():
        challenge = await client.identity.IssueChallenge(service_pb2.IssueChallengeRequest(origin="http://a"))
    credential = service_pb2.CaCredential(challenge_id=challenge.id, certificate=key.chain, signature=key.sign(challenge.text))

    async def attempt() -> None:
        with client.calling():
            await client.identity.OpenSession(service_pb2.OpenSessionRequest(ca=credential))

    answers = await asyncio.gather(*(attempt() for _ in range(10)), return_exceptions=True)
    assert [answer.code for answer in answers if isinstance(answer, YunkuError)] == ["challenge_used"] * 9


async def test_signatures_by_another_key_or_over_another_text_open_nothing(client: Client, suite: RunningSuite) -> None:
    mine, other = company_key(suite, fresh_uscc()), company_key(suite, fresh_uscc())
    with refused("signature_invalid", "/signature"):
        await client.key_login(CompanyKey(other.key, mine.chain))
    with refused("signature_invalid", "/signature"):
        await client.key_login(mine, text="yunku-login:v1\nhttp://a\nnonce\n2026-01-01T00:00:00Z")
    with client.calling():
        challenge = await client.identity.IssueChallenge(service_pb2.IssueChallengeRequest(origin="http://a"))
        for signature in (b"", b"\0" * 64, b"x" * 5000):
            credential = service_pb2.CaCredential(challenge_id=challenge.id, certificate=mine.chain, signature=signature)
            with refused("signature_invalid" if signature == b"" else "challenge_used"), client.calling():
                await client.identity.OpenSession(service_pb2.OpenSessionRequest(ca=credential))


async def test_certificates_that_are_not_ours_to_trust(client: Client, suite: RunningSuite, pki: devca.PkiPaths, tmp_path: Path) -> None:
    def load(key: devca.CompanyKey) -> CompanyKey:
        return CompanyKey.load(key.p12.read_bytes(), key.password)

    with refused("certificate_revoked", "/certificate"):
        await client.key_login(load(pki.revoked))
    with refused("certificate_expired", "/certificate"):
        await client.key_login(load(pki.expired))
    with refused("certificate_without_uscc", "/certificate"):
        await client.key_login(load(pki.tsa))
    devca.ensure(tmp_path)
    foreign = CompanyKey.load(*devca.issue_company(tmp_path, "沈阳外来公司", fresh_uscc()))
    with refused("certificate_untrusted", "/certificate"):
        await client.key_login(foreign)
    with refused("certificate_untrusted", "/certificate"):
        await client.key_login(CompanyKey(foreign.key, "no certificate"))


async def test_a_key_revoked_today_is_refused_from_then_on(client: Client, suite: RunningSuite) -> None:
    from cryptography import x509

    key = company_key(suite, fresh_uscc())
    await client.key_login(key)
    devca.revoke(suite.root, x509.load_pem_x509_certificates(key.chain.encode())[0].serial_number)
    with refused("certificate_revoked", "/certificate"):
        await client.key_login(key)


# -- roles, callers ----------------------------------------------------------------------------------------------------


async def test_roles_come_from_the_operator_or_an_administrator_only(client: Client, suite: RunningSuite) -> None:
    boss, other = await _registered(client), await _registered(client)
    environment = suite.environment("identity")
    boss_id = await administrator.grant(boss, "ADMINISTRATOR", "", environment)
    session = await client.login(boss)
    caller = await client.caller(session.token)
    assert (caller.id, caller.roles) == (boss_id, (("ADMINISTRATOR", ""),))
    request = service_pb2.GrantRoleRequest(phone=other, role="REVIEWER", domain_id="ln-bidding")
    plain = await client.caller((await client.login(other)).token)
    for nobody in (plain, Caller("service", "gateway"), Caller("account", "x", roles=(("ADMINISTRATOR", "d"),))):
        with client.calling(nobody), refused("role_missing"):
            await client.identity.GrantRole(request)
    push = Client(suite, "push")
    with push.calling(caller), refused("role_missing"):  # a service that isn't the gateway speaks for itself only
        await push.identity.GrantRole(request)
    await push.close()
    with client.calling(caller):
        assert (await client.identity.GrantRole(request)).account_id == plain.id
        with refused("role_unknown", "/role"):
            await client.identity.GrantRole(service_pb2.GrantRoleRequest(phone=other, role="OWNER"))
        with refused("not_found"):
            await client.identity.GrantRole(service_pb2.GrantRoleRequest(phone=fresh_phone(), role="AUDITOR"))
    assert (await client.caller((await client.login(other)).token)).roles == (("REVIEWER", "ln-bidding"),)


async def test_other_services_can_neither_log_in_nor_look_at_tokens(suite: RunningSuite, client: Client) -> None:
    session = await client.login(await _registered(client))
    push = Client(suite, "push")
    with refused("role_missing"):
        await push.authenticate(session.token)
    with refused("role_missing"):
        await push.login(fresh_phone())
    await push.close()


# -- personal data -----------------------------------------------------------------------------------------------------


async def test_personal_values_stand_in_plain_nowhere_and_erasure_takes_them(client: Client, suite: RunningSuite) -> None:
    phone, name, password = fresh_phone(), "欧阳可以忘记", "Forget-me-2026"
    account_id = await client.register(phone, password, name)
    session = await client.login(phone, password)
    boss = await _registered(client)
    await administrator.grant(boss, "ADMINISTRATOR", "", suite.environment("identity"))
    caller = await client.caller((await client.login(boss)).token)
    plain = (phone, name, password, session.token, session.refresh_token)
    assert _found(suite, *plain) == []

    with client.calling(caller):
        await client.identity.EraseAccount(service_pb2.EraseAccountRequest(account_id=account_id))
        await client.identity.EraseAccount(service_pb2.EraseAccountRequest(account_id=account_id))
    with refused("unauthenticated"):
        await client.authenticate(session.token)
    with client.calling(), refused("unauthenticated"):
        await client.identity.RenewSession(service_pb2.RenewSessionRequest(refresh_token=session.refresh_token))
    with refused("credentials_wrong"):
        await client.login(phone, password)
    with client.calling():
        names = await client.identity.GetAccountNames(service_pb2.GetAccountNamesRequest(account_ids=[account_id]))
    assert dict(names.names) == {}
    assert events_of(suite, account_id) == ["AccountRegistered", "AccountErased"]
    keys = rows(suite, "SELECT wrapped_key FROM person_keys WHERE erased_at IS NOT NULL")
    assert keys
    assert {key for (key,) in keys} == {None}

    # The number's next holder is somebody else: no old session comes alive again.
    assert await client.register(phone, PASSWORD, "新的主人") == account_id
    with refused("unauthenticated"):
        await client.authenticate(session.token)
    assert (await client.authenticate((await client.login(phone)).token)).account_id == account_id


def _found(suite: RunningSuite, *plain: str) -> list[str]:
    """Where any of these texts stands: each column of each table of the database, and the logs."""
    found = []
    tables = rows(suite, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    for (table,) in tables:
        for row in rows(suite, f'SELECT * FROM "{table}"'):
            for value in row:
                data = bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                found += [f"{table}: {text[:3]}" for text in plain if text.encode() in data]
    for path in suite.home.logs.glob("*.log"):
        content = path.read_bytes()
        found += [f"{path.name}: {text[:3]}" for text in plain if text.encode() in content]
    return found


# -- read models -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("service", "name"), [("identity", "accounts"), ("identity", "sessions"), ("subject", "subjects")])
async def test_a_read_model_is_its_rebuild_from_nothing(client: Client, suite: RunningSuite, service: str, name: str) -> None:
    session = await client.key_login(company_key(suite, uscc := fresh_uscc()))
    owner = await client.login(await _registered(client))
    made = await client.register_subject(await client.caller(owner.token), uscc)
    await client.pick(session.token, made.id)
    url = suite.home.database_url(service, owner=True)

    def standing() -> list[tuple[Any, ...]]:
        with psycopg.connect(url) as connection:
            return connection.execute(f"SELECT * FROM {name} ORDER BY 1".encode()).fetchall()

    before = standing()
    assert len(before) > 1
    assert await asyncio.to_thread(rebuild.rebuild, url, service, name) == len(before)
    assert standing() == before
    # And the service goes on with it.
    assert (await client.login(await _registered(client))).token
