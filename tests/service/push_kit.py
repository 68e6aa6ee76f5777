"""What tests of pushes share: companies that push (through the certificate's own log), domains' systems with only their own
credentials, and callers."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID

import nats
import nats.errors
import psycopg
from nats.aio.client import Client
from nats.aio.msg import Msg
from psycopg_pool import AsyncConnectionPool
from yunku.certificate.v1 import events_pb2 as certificate_events
from yunku.certificate.v1 import types_pb2
from yunku.push.v1 import service_pb2, service_pb2_grpc

from infra.testing import RunningSuite
from kernel.context import CallContext, Caller, system_context, use
from kernel.eventlog.store import EventLog
from kernel.ids import uuid7
from kernel.rpc.client import Peers
from kernel.settings import KernelSettings
from services.certificate.projections import CERTIFICATE
from services.certificate.projections import TYPES as CERTIFICATE_TYPES

GREEN, YELLOW = types_pb2.LIGHT_GREEN, types_pb2.LIGHT_YELLOW
FIELDS = {
    "uscc": "91210102MA0XABCD1K",
    "company_name": "沈阳鑫恒建设工程有限公司",
    "legal_rep_name": "张己",
    "established_on": "2010-03-01",
}
#: An ID number and a mobile number, which no domain may see whole.
ID_NUMBER, PHONE = "210102199001011234", "13912345678"


async def eventually(what: str, look: Callable[[], Awaitable[Any]], seconds: float = 60.0) -> Any:
    """The first answer that isn't None or False; AssertionError when it doesn't come."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = await look()
                if found is not None and found is not False:
                    return found
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{what}: not within {seconds:g} s") from None


@dataclass(frozen=True)
class Pushed:
    """A push as its company asked for it."""

    push_id: str
    certificate_id: str
    subject_id: str
    unique_code: str
    domain_id: str


class Registry:
    """The push service's callers, and the certificate's log, in which companies ask for pushes."""

    def __init__(self, suite: RunningSuite) -> None:
        self.suite = suite
        self.peers = Peers(KernelSettings.load(suite.environment("gateway"), service="gateway"))
        self.stub = self.peers.stub(service_pb2_grpc.PushServiceStub, "push")
        url = suite.environment("certificate")["YUNKU_DATABASE_URL"]
        self._pool: AsyncConnectionPool[Any] = AsyncConnectionPool(url, min_size=0, max_size=4, open=False, kwargs={"autocommit": True})

    async def __aenter__(self) -> Self:
        await self._pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.peers.close()
        await self._pool.close()

    @contextmanager
    def calling(self, caller: Caller, key: str | None = None) -> Iterator[None]:
        with use(CallContext(caller=caller, correlation_id=str(uuid7()), idempotency_key=key)):
            yield

    async def domain(self, domain_id: str = "", *, name: str = "测试领域", automatic: tuple[str, ...] = ()) -> "DomainSystem":
        """Registers a domain (a new one, where no id is given) and hands its credentials to its system."""
        domain_id = domain_id or f"d-{uuid7().hex[-12:]}"
        with self.calling(administrator()):
            answer = await self.stub.RegisterDomain(
                service_pb2.RegisterDomainRequest(id=domain_id, name=name, automatic_types=automatic), timeout=20
            )
        return DomainSystem(domain_id, self.suite.nats_url, answer.credentials_file)

    async def push(
        self,
        domain_id: str,
        *,
        light: types_pb2.Light.ValueType = YELLOW,
        type_code: str = "business_license",
        subject_id: str | None = None,
        **fields: str,
    ) -> Pushed:
        """A company pushes a submitted certificate."""
        certificate_id, subject_id = uuid7(), subject_id or str(uuid7())
        push_id, code = str(uuid7()), f"Y{uuid7().hex[-12:].upper()}"
        holder = types_pb2.Holder(subject_id=subject_id, uscc=FIELDS["uscc"], name=FIELDS["company_name"])
        pinned: dict[str, Any] = {
            "certificate_id": str(certificate_id),
            "holder": holder,
            "type": type_code,
            "version": 3,
            "unique_code": code,
            "light": light,
            "fields": FIELDS | fields,
            "document": types_pb2.Document(sha256="ab" * 32, size=4711, media_type="application/pdf"),
            "seal": types_pb2.Seal(seal_id=str(uuid7()), version=3, sealed_sha256="cd" * 32, signer_name=holder.name, signed_at_us=10**15),
        }
        await self._append(
            certificate_id,
            subject_id,
            certificate_events.CertificateDrafted(
                certificate_id=str(certificate_id), holder=holder, type=type_code, mode=types_pb2.MODE_MANUAL, fields=FIELDS, version=1
            ),
            certificate_events.Submitted(**pinned),
            certificate_events.PushRequested(push_id=push_id, number=1, domain_id=domain_id, **pinned),
        )
        return Pushed(push_id, str(certificate_id), subject_id, code, domain_id)

    async def withdraw(self, pushed: Pushed) -> None:
        """The company asks for the push back."""
        event = certificate_events.PushWithdrawalRequested(certificate_id=pushed.certificate_id, push_id=pushed.push_id)
        await self._append(UUID(pushed.certificate_id), pushed.subject_id, event)

    async def _append(self, stream_id: UUID, subject_id: str, *events: Any) -> None:
        log = EventLog(self._pool, "certificate", CERTIFICATE_TYPES)
        await log.execute(CERTIFICATE, stream_id, lambda _: events, system_context("certificate"), subject_id=subject_id)

    def events_of(self, push_id: str) -> list[str]:
        """The names of the push's events, in order."""
        return [name for name, _ in self.rows_of(push_id)]

    def rows_of(self, push_id: str) -> list[tuple[str, bytes]]:
        with psycopg.connect(self.suite.home.database_url("push")) as connection:
            rows = connection.execute("SELECT type, payload FROM events WHERE stream_id = %s ORDER BY version", (push_id,))
            return [(name.rsplit(".", 1)[-1], bytes(payload)) for name, payload in rows]

    async def until(self, push_id: str, *names: str, seconds: float = 60.0) -> list[str]:
        """Waits until the push has all of these events."""

        async def there() -> list[str] | None:
            found = self.events_of(push_id)
            return found if set(names) <= set(found) else None

        found: list[str] = await eventually(f"{names} of {push_id}", there, seconds)
        return found

    async def review(
        self, caller: Caller, push_id: str, decision: str, opinion: str = "", key: str | None = None, reasons: dict[str, str] | None = None
    ) -> service_pb2.Push:
        said = [types_pb2.FieldReason(field=name, text=text) for name, text in (reasons or {}).items()]
        with self.calling(caller, key):
            request = service_pb2.ReviewRequest(push_id=push_id, decision=decision, opinion=opinion, reasons=said)
            return (await self.stub.Review(request)).push

    async def appeal(self, pushed: Pushed, grounds: str = "请复核", subject_id: str = "") -> service_pb2.Push:
        """The company (or another) contests the rejection."""
        caller = Caller("account", str(uuid7()), subject_id=subject_id or pushed.subject_id, subject_type="BIDDER")
        with self.calling(caller):
            return (await self.stub.Appeal(service_pb2.AppealRequest(push_id=pushed.push_id, grounds=grounds))).push

    async def answer_appeal(self, caller: Caller, push_id: str, decision: str, opinion: str = "经复核") -> service_pb2.Push:
        with self.calling(caller):
            request = service_pb2.AnswerAppealRequest(push_id=push_id, decision=decision, opinion=opinion)
            return (await self.stub.AnswerAppeal(request)).push

    async def look(self, caller: Caller, push_id: str) -> service_pb2.Push:
        with self.calling(caller):
            return (await self.stub.GetReview(service_pb2.GetReviewRequest(push_id=push_id))).push


def administrator() -> Caller:
    return Caller("account", str(uuid7()), roles=(("ADMINISTRATOR", ""),))


def reviewer(*domain_ids: str, **more: str) -> Caller:
    return Caller("account", str(uuid7()), roles=tuple(("REVIEWER", one) for one in domain_ids), **more)


@dataclass
class DomainSystem:
    """A domain's own system: an ordinary NATS client with the credentials it was handed, and nothing else."""

    domain_id: str
    url: str
    credentials: str
    refusals: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["Connected"]:
        async def on_error(error: Exception) -> None:
            self.refusals.append(str(error))

        client = await nats.connect(self.url, user_credentials=self.credentials, error_cb=on_error, allow_reconnect=False)
        try:
            yield Connected(self, client)
        finally:
            await client.close()


@dataclass
class Connected:
    """A domain's system while it is online."""

    system: DomainSystem
    client: Client

    async def receive(self, *, ack: bool = True, seconds: float = 60.0) -> dict[str, Any]:
        """The next CloudEvent of the domain's durable."""
        message = await self.receive_message(seconds)
        if ack:
            await message.ack_sync(timeout=5)
        event: dict[str, Any] = json.loads(message.data)
        return event

    async def receive_message(self, seconds: float = 60.0) -> Msg:
        subscription = await self.client.jetstream().pull_subscribe_bind(consumer="system", stream="PUSHES")
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        (message,) = await subscription.fetch(1, timeout=2)
                        return message
                    except (nats.errors.TimeoutError, TimeoutError):
                        continue
        finally:
            await subscription.unsubscribe()

    async def receive_of(self, kind: str, push_id: str | None = None) -> dict[str, Any]:
        """The next CloudEvent of a type, and of a push; what comes before is acknowledged and forgotten."""
        while True:
            event = await self.receive()
            if event["type"] == f"yunku.{kind}" and push_id in (None, event["data"]["push_id"]):
                return event

    async def nothing_waits(self) -> bool:
        """Whether the durable has nothing more to give now."""
        info = await self.client.jetstream().consumer_info("PUSHES", "system")
        return bool(info.num_pending == 0)

    async def publish(self, body: bytes) -> None:
        await self.client.jetstream().publish(f"review.{self.system.domain_id}", body, timeout=5)

    async def answer(self, kind: str, *, event_id: str | None = None, source: str = "/test", **data: Any) -> None:
        """Publishes a CloudEvent of type ``yunku.<kind>``."""
        event = {"specversion": "1.0", "id": event_id or str(uuid7()), "source": source, "type": f"yunku.{kind}", "data": data}
        await self.publish(json.dumps(event, ensure_ascii=False).encode())
