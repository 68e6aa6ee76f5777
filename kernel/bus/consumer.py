"""Takes in other services' events: at least once delivered, once in effect, in the producer's order.

Each event is applied in one transaction with its inbox row and the watermark (position and log hash of the producer). A position that
is skipped is fetched from the producer itself (EventLogService.ReadLog), so nothing that JetStream loses is lost; the same way the
consumer looks every few seconds whether it is behind although nothing arrives. An event whose handler fails again and again is
parked with its error, together with all later events of its stream (so that their order holds), and the rest goes on.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import nats.errors
import nats.js.errors
import psycopg
import structlog
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from faststream.nats.security import NatsCredentials
from google.protobuf.message import Message
from nats.aio.client import Client
from psycopg_pool import PoolTimeout
from yunku.kernel.v1 import kernel_pb2, kernel_pb2_grpc

from kernel import context as call_context
from kernel.context import CallContext
from kernel.errors import YunkuError
from kernel.eventlog.events import EventTypes, RecordedEvent
from kernel.eventlog.hashing import GENESIS, log_hash
from kernel.eventlog.store import EventLog, Transaction, VersionConflict
from kernel.eventlog.wire import from_message, message_headers
from kernel.observability import metrics
from kernel.rpc.client import Peers
from kernel.topology import DEAD_LETTERS, dead_letter_subject, durable, stream_name, stream_subjects

log = structlog.get_logger(__name__)

#: What a service does on one foreign event: appends to its own log and writes its own tables through the transaction. No remote calls:
#: work that takes time is recorded as a job here and done elsewhere.
Handler = Callable[[RecordedEvent, Transaction, CallContext], Awaitable[None]]

#: How often a handler may fail before its event is parked, and the pauses between, in seconds.
ATTEMPTS: Final = 5
_PAUSES: Final = (0.05, 0.2, 0.5, 1.0)
#: How often the consumer asks the producer whether it is behind, in seconds.
RECONCILE: Final = 5.0
_FETCH: Final = 200
_TRANSIENT: Final = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, VersionConflict, TimeoutError, OSError)


@dataclass(frozen=True)
class Subscription:
    """What one service wants of one producer: a handler per event type. Types that aren't named are passed over (and counted)."""

    producer: str
    events: ModuleType
    handlers: Mapping[type[Message], Handler]


class Tampered(Exception):
    """An event doesn't hash to what it says, or doesn't follow what was taken in before: somebody changed a log."""


class _Gap(Exception):
    def __init__(self, next_position: int) -> None:
        self.next_position = next_position


class Consumer:
    """Applies one producer's events to one service. ``run`` is its reconciling loop; ``take`` applies what arrived."""

    def __init__(self, log_: EventLog, subscription: Subscription, peers: Peers) -> None:
        self.producer = subscription.producer
        self.consumer = log_.service
        self.types = EventTypes(subscription.events)
        self._log = log_
        self._peers = peers
        self._handlers = {message.DESCRIPTOR.full_name: handler for message, handler in subscription.handlers.items()}
        self._watermark = -1
        self._turn = asyncio.Lock()
        #: When this consumer last knew that it stands at the end of the producer's log, or moved (monotonic seconds).
        self.advanced_at = time.monotonic()

    # -- arrival -------------------------------------------------------------------------------------------------------

    async def take(self, event: RecordedEvent) -> None:
        """Applies an event that arrived, after whatever is missing before it. Returns when it is durable."""
        async with self._turn:
            await self._settle([event])

    async def run(self) -> None:
        """Looks every few seconds whether the producer's log goes on past the watermark; also replays what an operator asked for."""
        while True:
            try:
                async with self._turn:
                    await self._catch_up(None)
                    await self._replay_requested()
            except (YunkuError, *_TRANSIENT) as failure:
                log.info("cannot reconcile yet", producer=self.producer, error=str(failure))
            await asyncio.sleep(RECONCILE)

    async def _catch_up(self, until: int | None) -> None:
        """Fetches and applies the producer's log after the watermark, up to ``until`` (None: its end)."""
        if self._watermark < 0:
            await self._load_watermark()
        stub = self._peers.stub(kernel_pb2_grpc.EventLogServiceStub, self.producer)
        while until is None or self._watermark < until:
            limit = _FETCH if until is None else min(_FETCH, until - self._watermark)
            with call_context.use(call_context.system_context(self.consumer)):
                answer = await stub.ReadLog(kernel_pb2.ReadLogRequest(from_position=self._watermark + 1, limit=limit), timeout=10)
            metrics.CONSUMER_LAG.labels(self.consumer, self.producer).set(answer.last_position - self._watermark)
            if answer.last_position < self._watermark:
                raise Tampered(f"{self.producer}'s log ends at {answer.last_position}; {self._watermark} were taken in")
            if not answer.events:
                self.advanced_at = time.monotonic()
                return
            metrics.CONSUMER_REFETCHED.labels(self.consumer, self.producer).inc(len(answer.events))
            await self._settle([RecordedEvent.from_record(record, self.types) for record in answer.events])

    async def _settle(self, events: Sequence[RecordedEvent]) -> None:
        """Applies events for good, whatever it takes: waits for the database, fetches gaps, parks what can't be applied."""
        failures = 0
        while True:
            try:
                await self._apply(events, park=failures >= ATTEMPTS - 1)
                self.advanced_at = time.monotonic()
                return
            except _Gap as gap:
                await self._fetch_gap(gap, events[0].position or 0)
            except _TRANSIENT as failure:
                log.warning("cannot apply yet", producer=self.producer, error=repr(failure))
                await asyncio.sleep(0.2)
            except _HandlerFailed as failure:
                failures += 1
                metrics.CONSUMER_RETRIES.labels(self.consumer, self.producer).inc()
                log.warning(
                    "handler failed",
                    producer=self.producer,
                    type=failure.event.type,
                    position=failure.event.position,
                    attempt=failures,
                    exc_info=failure.__cause__,
                )
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES)) - 1])

    async def _fetch_gap(self, gap: _Gap, arrived: int) -> None:
        self._watermark = gap.next_position - 1
        log.info("gap", producer=self.producer, missing_from=gap.next_position, arrived=arrived)
        while self._watermark < arrived - 1:
            try:
                await self._catch_up(arrived - 1)
            except (YunkuError, *_TRANSIENT) as failure:
                log.warning("cannot fetch a gap yet", producer=self.producer, error=str(failure))
                await asyncio.sleep(0.5)

    # -- effect --------------------------------------------------------------------------------------------------------

    async def _apply(self, events: Sequence[RecordedEvent], *, park: bool) -> None:
        """One transaction. Raises ``_Gap`` where positions are missing, ``_HandlerFailed`` unless ``park``."""
        async with self._log.transaction() as transaction:
            connection = transaction.connection
            row = await (
                await connection.execute(
                    "SELECT position, log_hash FROM watermarks WHERE producer = %s FOR UPDATE", (self.producer,), prepare=True
                )
            ).fetchone()
            if row is None:
                await connection.execute("INSERT INTO watermarks VALUES (%s, 0, %s) ON CONFLICT DO NOTHING", (self.producer, GENESIS))
                row = (0, GENESIS)
            position, rolling = int(row[0]), bytes(row[1])
            for event in events:
                if (event.position or 0) <= position:
                    metrics.CONSUMER_DUPLICATES.labels(self.consumer, self.producer).inc()
                    continue
                if event.position != position + 1:
                    if position > row[0]:
                        break  # commit what is applied; the caller comes again for the rest
                    raise _Gap(position + 1)
                rolling = self._verified(event, rolling)
                outcome = await self._effect(event, transaction, park)
                await connection.execute(
                    "INSERT INTO inbox (producer, position, event_id, stream_id, outcome) VALUES (%s, %s, %s, %s, %s)",
                    (self.producer, event.position, event.event_id, event.stream_id, outcome),
                    prepare=True,
                )
                position = event.position
            if position > row[0]:
                await connection.execute(
                    "UPDATE watermarks SET position = %s, log_hash = %s WHERE producer = %s",
                    (position, rolling, self.producer),
                    prepare=True,
                )
        metrics.CONSUMER_APPLIED.labels(self.consumer, self.producer).inc(position - row[0])
        metrics.CONSUMER_POSITION.labels(self.consumer, self.producer).set(position)
        self._watermark = position

    def _verified(self, event: RecordedEvent, rolling: bytes) -> bytes:
        after = log_hash(rolling, event.hash)
        if event.computed_hash() != event.hash or after != event.log_hash:
            raise Tampered(f"{self.producer} position {event.position} does not follow from what was taken in")
        return after

    async def _effect(self, event: RecordedEvent, transaction: Transaction, park: bool) -> str:
        handler = self._handlers.get(event.type)
        if handler is None:
            return "ignored"
        connection = transaction.connection
        blocked = await (
            await connection.execute(
                "SELECT 1 FROM parked WHERE producer = %s AND stream_id = %s AND replayed_at IS NULL LIMIT 1",
                (self.producer, event.stream_id),
                prepare=True,
            )
        ).fetchone()
        if blocked:
            await self._park(event, connection, "an earlier event of its stream is parked")
            return "parked"
        try:
            async with connection.transaction():
                await self._handle(handler, event, transaction)
        except _TRANSIENT:
            raise
        except Exception as failure:
            if not park:
                raise _HandlerFailed(event) from failure
            await self._park(event, connection, f"{type(failure).__name__}: {failure}")
            log.error("parked", producer=self.producer, type=event.type, position=event.position, error=repr(failure))
            return "parked"
        return "applied"

    async def _handle(self, handler: Handler, event: RecordedEvent, transaction: Transaction) -> None:
        caused = call_context.system_context(
            self.consumer,
            correlation_id=event.meta.correlation_id,
            causation_id=str(event.event_id),
            trace_parent=event.meta.trace_parent,
        )
        with call_context.use(caused), structlog.contextvars.bound_contextvars(correlation_id=event.meta.correlation_id):
            await handler(event, transaction, caused)

    async def _park(self, event: RecordedEvent, connection: Any, error: str) -> None:
        await connection.execute(
            "INSERT INTO parked (producer, position, event_id, stream_id, type, record, error, attempts) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (
                self.producer,
                event.position,
                event.event_id,
                event.stream_id,
                event.type,
                event.to_record().SerializeToString(),
                error[:2000],
                ATTEMPTS,
            ),
        )

    async def _replay_requested(self) -> None:
        """Applies parked events whose replay an operator asked for, in order, each in its own transaction; a failure stays parked."""
        async with self._log.pool.connection() as connection:
            rows = await (
                await connection.execute(
                    "SELECT position, record FROM parked WHERE producer = %s AND replayed_at IS NULL "
                    "AND replay_requested_at IS NOT NULL ORDER BY position LIMIT 100",
                    (self.producer,),
                )
            ).fetchall()
        for position, record in rows:
            event = RecordedEvent.from_record(kernel_pb2.EventRecord.FromString(bytes(record)), self.types)
            handler = self._handlers.get(event.type)
            try:
                async with self._log.transaction() as transaction:
                    if handler is not None:
                        await self._handle(handler, event, transaction)
                    key = (self.producer, position)
                    await transaction.connection.execute(
                        "UPDATE parked SET replayed_at = clock_timestamp() WHERE producer = %s AND position = %s", key
                    )
                    await transaction.connection.execute("UPDATE inbox SET outcome = 'replayed' WHERE producer = %s AND position = %s", key)
            except _TRANSIENT:
                raise
            except Exception as failure:
                log.error("replay failed", producer=self.producer, position=position, error=repr(failure))
                async with self._log.pool.connection() as connection:
                    await connection.execute(
                        "UPDATE parked SET replay_requested_at = NULL, error = %s, attempts = attempts + 1 "
                        "WHERE producer = %s AND position = %s",
                        (f"{type(failure).__name__}: {failure}"[:2000], self.producer, position),
                    )
                return

    async def _load_watermark(self) -> None:
        async with self._log.pool.connection() as connection:
            row = await (await connection.execute("SELECT position FROM watermarks WHERE producer = %s", (self.producer,))).fetchone()
        self._watermark = int(row[0]) if row else 0


class _HandlerFailed(Exception):
    def __init__(self, event: RecordedEvent) -> None:
        super().__init__(event.type)
        self.event = event


class Bus:
    """All subscriptions of one service, on one FastStream broker."""

    def __init__(self, log_: EventLog, subscriptions: Sequence[Subscription], peers: Peers) -> None:
        self.consumers = [Consumer(log_, subscription, peers) for subscription in subscriptions]
        self._log = log_
        self._broker: NatsBroker | None = None

    async def run(self, url: str, credentials: str | None) -> None:
        """Connects and consumes until cancelled."""
        options: dict[str, Any] = {"security": NatsCredentials(str(credentials))} if credentials else {}
        options |= {"max_reconnect_attempts": -1, "reconnect_time_wait": 0.2}
        broker = NatsBroker(url, logger=None, **options)
        for consumer in self.consumers:
            self._subscribe(broker, consumer)
        try:
            await broker.start()
            async with asyncio.TaskGroup() as group:
                for consumer in self.consumers:
                    group.create_task(consumer.run())
        finally:
            with contextlib.suppress(Exception):
                await broker.stop()

    def _subscribe(self, broker: NatsBroker, consumer: Consumer) -> None:
        # One message at a time: FastStream's batches wait until they are full or timed out, and parallel handlers lose the order.
        @broker.subscriber(
            stream_subjects(consumer.producer),
            stream=JStream(name=stream_name(consumer.producer), declare=False),
            durable=durable(consumer.consumer, consumer.producer),
            pull_sub=PullSub(batch_size=1, timeout=5.0),
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
        )
        async def on_message(message: NatsMessage) -> None:  # no body: FastStream would parse a payload that happens to be JSON
            raw = message.raw_message
            try:
                event = from_message(raw.headers or {}, raw.data, consumer.types)
            except (KeyError, ValueError) as failure:
                # Not ours at all: nobody but the producer may publish here, and its messages always parse.
                log.error("not an event", producer=consumer.producer, error=repr(failure))
                await raw.term()
                return
            taking = asyncio.create_task(consumer.take(event))
            while True:
                done, _ = await asyncio.wait({taking}, timeout=10)
                if done:
                    break
                with contextlib.suppress(nats.errors.Error):
                    await raw.in_progress()
            try:
                taking.result()
            except Tampered as failure:
                log.critical("tampered log", producer=consumer.producer, error=str(failure))
                await raw.nak(delay=30)
                return
            with contextlib.suppress(nats.errors.Error):
                await raw.ack()


async def publish_parked(log_: EventLog, client: Client) -> None:
    """Loop: copies newly parked events to the dead-letter stream, where operators see them with their tools."""
    js = client.jetstream()
    while True:
        async with log_.pool.connection() as connection:
            rows = await (
                await connection.execute(
                    "SELECT producer, position, record, error FROM parked WHERE published_at IS NULL ORDER BY parked_at LIMIT 100"
                )
            ).fetchall()
            waiting = await (await connection.execute("SELECT count(*) FROM parked WHERE replayed_at IS NULL")).fetchone()
            metrics.PARKED.labels(log_.service).set(waiting[0] if waiting else 0)
            for producer, position, record, error in rows:
                event = RecordedEvent.from_record(kernel_pb2.EventRecord.FromString(bytes(record)), log_.types)
                # The copied event id would be deduplicated away against the original: the parked copy has an id of its own.
                headers = {name: value for name, value in message_headers(event).items() if not name.startswith("Nats-")}
                headers |= {
                    "Nats-Msg-Id": f"parked:{log_.service}:{producer}:{position}",
                    "Yunku-Event-Id": str(event.event_id),
                    "Yunku-Error": " ".join(error.split())[:500],
                }
                await js.publish(
                    dead_letter_subject(log_.service, producer), event.payload, stream=DEAD_LETTERS, headers=headers, timeout=5
                )
                await connection.execute(
                    "UPDATE parked SET published_at = clock_timestamp() WHERE producer = %s AND position = %s",
                    (producer, position),
                )
        await asyncio.sleep(1.0)
