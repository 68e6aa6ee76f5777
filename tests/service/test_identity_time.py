"""What expires, with a clock that the test moves, on a real database; and how codes leave the house."""

import asyncio
import base64
import json
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool
from yunku.identity.v1 import service_pb2

from infra import devca
from infra.testing import RunningSuite
from kernel.context import CallContext, Caller
from kernel.errors import YunkuError
from kernel.eventlog.store import EventLog
from kernel.ids import uuid7
from kernel.privacy import Keyring
from kernel.rpc.client import Peers
from services.identity import adapters, bootstrap, handlers, queries
from services.identity.handlers import Means
from services.identity.projections import TYPES
from services.identity.settings import Settings
from tests.service.identity_kit import PASSWORD, CompanyKey, fresh_phone, fresh_uscc


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **period: float) -> None:
        self.now += timedelta(**period)


def refused(code: str) -> Any:
    return pytest.raises(YunkuError, check=lambda error: error.code == code)


def call() -> CallContext:
    return CallContext(Caller("service", "gateway"), str(uuid7()), idempotency_key=str(uuid7()), request_hash=b"h")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA made once: its keys take seconds."""
    directory = tmp_path_factory.mktemp("ca")
    return devca.ensure(directory).directory


@pytest.fixture
async def means(stack: RunningSuite, pki: Path, tmp_path: Path) -> AsyncIterator[Means]:
    shutil.copytree(pki, tmp_path / "pki")
    master = base64.b64encode(os.urandom(32)).decode()
    settings = Settings(service="identity", profile="development", data=tmp_path, privacy_key=master)
    with stack.scratch_database("identity") as (url, _):
        async with AsyncConnectionPool(url, kwargs={"autocommit": True}, min_size=1, max_size=8) as pool:
            clock = Clock()
            keyring = Keyring(pool, master)
            yield Means(
                log=EventLog(pool, "identity", TYPES, clock=clock),
                keyring=keyring,
                settings=settings,
                limits=adapters.RateLimits(pool),
                codes=adapters.PhoneCodes(pool, keyring.secret("phone codes")),
                challenges=adapters.Challenges(pool),
                qr_logins=adapters.QrLogins(pool),
                claims=bytes(32),
                passwords=adapters.Passwords(),
                trust=adapters.TrustStore(settings.trust_directory),
                sender=adapters.ShownInReply(),
                subjects=queries.SubjectDirectory(pool, Peers(settings)),
                clock=clock,
            )


def clock_of(means: Means) -> Clock:
    assert isinstance(means.clock, Clock)
    return means.clock


async def register(means: Means, phone: str, wait: timedelta = timedelta()) -> None:
    issued = await handlers.issue_phone_code(means, service_pb2.IssuePhoneCodeRequest(phone=phone), call())
    clock_of(means).now += wait
    request = service_pb2.RegisterAccountRequest(phone=phone, code=issued.code, password=PASSWORD, name="王小明")
    await handlers.register_account(means, request, call())


async def login(means: Means, phone: str) -> service_pb2.Session:
    credential = service_pb2.PasswordCredential(phone=phone, password=PASSWORD)
    answer = await handlers.open_session(means, service_pb2.OpenSessionRequest(password=credential), call())
    return answer.session


async def authenticate(means: Means, token: str) -> service_pb2.AuthenticateResponse:
    return await queries.authenticate(means.log.pool, token, means.clock())


async def renew(means: Means, refresh_token: str) -> service_pb2.Session:
    request = service_pb2.RenewSessionRequest(refresh_token=refresh_token)
    return (await handlers.renew_session(means, request, call())).session


async def test_a_phone_code_is_good_for_five_minutes(means: Means) -> None:
    with refused("code_wrong"):
        await register(means, fresh_phone(), timedelta(minutes=5))
    await register(means, fresh_phone(), timedelta(minutes=5, microseconds=-1))


async def test_a_token_is_good_for_half_an_hour_and_its_session_for_half_a_day(means: Means) -> None:
    phone, clock = fresh_phone(), clock_of(means)
    await register(means, phone)
    session = await login(means, phone)
    clock.forward(minutes=29, seconds=59)
    assert (await authenticate(means, session.token)).expires_at == session.expires_at
    clock.forward(seconds=1)
    with refused("session_expired"):
        await authenticate(means, session.token)
    request = service_pb2.PickSubjectRequest(token=session.token, subject_id="x", subject_type="BIDDER")
    with refused("session_expired"):
        await handlers.pick_subject(means, request, call())
    for _ in range(23):
        session = await renew(means, session.refresh_token)
        clock.forward(minutes=29)
        assert (await authenticate(means, session.token)).account_id
    clock.forward(hours=11, minutes=59)
    with refused("session_expired"):
        await renew(means, session.refresh_token)


async def test_no_renewal_leads_beyond_the_half_day(means: Means) -> None:
    phone, clock = fresh_phone(), clock_of(means)
    await register(means, phone)
    session = await login(means, phone)
    clock.forward(hours=11, minutes=50)
    session = await renew(means, session.refresh_token)
    assert session.expires_at.ToDatetime(tzinfo=UTC) == clock.now + timedelta(minutes=10)


async def test_a_challenge_is_good_for_a_minute(means: Means, tmp_path: Path) -> None:
    key = CompanyKey.load(*devca.issue_company(tmp_path, "沈阳钥匙公司", fresh_uscc(), key="ec"))
    for seconds, code in ((59.999, ""), (60, "challenge_expired")):
        challenge = await handlers.issue_challenge(means, service_pb2.IssueChallengeRequest(origin="http://127.0.0.1:8080"), call())
        clock_of(means).forward(seconds=seconds)
        credential = service_pb2.CaCredential(challenge_id=challenge.id, certificate=key.chain, signature=key.sign(challenge.text))
        request = service_pb2.OpenSessionRequest(ca=credential)
        if code:
            with refused(code):
                await handlers.open_session(means, request, call())
        else:
            assert (await handlers.open_session(means, request, call())).session.token


async def test_a_stale_revocation_list_lets_nobody_in(means: Means, tmp_path: Path) -> None:
    key = CompanyKey.load(*devca.issue_company(tmp_path, "沈阳钥匙公司", fresh_uscc(), key="ec"))
    clock_of(means).forward(days=30)
    with refused("certificate_revoked"):
        await means.trust.verify(key.chain, means.clock())


async def test_trust_is_read_anew_when_its_files_change(means: Means, tmp_path: Path) -> None:
    key = CompanyKey.load(*devca.issue_company(tmp_path, "沈阳钥匙公司", fresh_uscc(), key="ec"))
    assert (await means.trust.verify(key.chain, means.clock())).company.name == "沈阳钥匙公司"
    crl = tmp_path / "pki" / "crls" / "issuing.crl"
    kept = crl.read_bytes()
    crl.unlink()
    with refused("certificate_revoked"):
        await means.trust.verify(key.chain, means.clock())
    crl.write_bytes(kept)
    assert await means.trust.verify(key.chain, means.clock())
    (tmp_path / "pki" / "roots.pem").unlink()
    with refused("service_unavailable"):
        await means.trust.verify(key.chain, means.clock())


async def test_what_expired_is_swept_after_an_hour(means: Means) -> None:
    clock = clock_of(means)
    for hours in (-3, 0):
        clock.forward(hours=hours)
        await handlers.issue_phone_code(means, service_pb2.IssuePhoneCodeRequest(phone=fresh_phone()), call())
        await handlers.issue_challenge(means, service_pb2.IssueChallengeRequest(origin="http://a"), call())
        clock.forward(hours=-hours)
    assert await _counts(means) == [2, 2, 6]
    sweeping = asyncio.create_task(adapters.sweep(means.log.pool))
    while await _counts(means) != [1, 1, 3]:
        assert not sweeping.done()
        await asyncio.sleep(0.02)
    sweeping.cancel()


async def _counts(means: Means) -> list[int]:
    counts = []
    async with means.log.pool.connection() as connection:
        for table in ("phone_codes", "challenges", "rate_limits"):
            row = await (await connection.execute(f"SELECT count(*) FROM {table}".encode())).fetchone()
            counts.append(int(row[0]) if row else -1)
    return counts


# -- sending codes -----------------------------------------------------------------------------------------------------


class _Gateway(BaseHTTPRequestHandler):
    status = 202
    received: list[tuple[str, dict[str, str]]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).received.append((self.headers.get("Authorization", ""), body))
        self.send_response(type(self).status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def sms() -> Iterator[tuple[str, type[_Gateway]]]:
    class Handler(_Gateway):
        received: list[tuple[str, dict[str, str]]] = []  # noqa: RUF012 (one class a test)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/send", Handler
    server.shutdown()
    server.server_close()
    thread.join()


def settings(tmp_path: Path, **more: Any) -> Settings:
    return Settings(service="identity", data=tmp_path, **more)


async def test_codes_go_to_the_sms_gateway(sms: tuple[str, type[_Gateway]], tmp_path: Path) -> None:
    url, gateway = sms
    token = tmp_path / "token"
    token.write_text("secret\n")
    sender = bootstrap.code_sender(settings(tmp_path, sms_url=url, sms_token_file=token))
    await sender.send("13800000001", "123456")
    ((authorization, body),) = gateway.received
    assert authorization == "Bearer secret"
    assert body["phone"] == "13800000001"
    assert "123456" in body["text"]
    gateway.status = 500
    with refused("service_unavailable"):
        await sender.send("13800000001", "123456")


async def test_a_gateway_that_is_down_and_one_that_was_never_set(tmp_path: Path) -> None:
    down = bootstrap.code_sender(settings(tmp_path, sms_url="http://127.0.0.1:9/send"))
    never = bootstrap.code_sender(settings(tmp_path))
    for sender in (down, never):
        with refused("service_unavailable"):
            await sender.send("13800000001", "123456")


async def test_production_never_shows_a_code(means: Means, sms: tuple[str, type[_Gateway]]) -> None:
    url, gateway = sms
    production = means.settings.model_copy(update={"profile": "production", "sms_url": url})
    strict = Means(
        **{name: getattr(means, name) for name in means.__dataclass_fields__}
        | {"settings": production, "sender": bootstrap.code_sender(production)}
    )
    issued = await handlers.issue_phone_code(strict, service_pb2.IssuePhoneCodeRequest(phone=fresh_phone()), call())
    assert issued.code == ""
    assert len(gateway.received) == 1
