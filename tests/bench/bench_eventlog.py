"""What the kernel's log costs: ``python -m tests.bench.bench_eventlog``.

Measured on one embedded stack in one run: appends through the whole command path beside raw single-row commits and beside the PyPI library
`eventsourcing` on the same PostgreSQL; commit to subscriber beside a bare acknowledged publish; consuming; rebuilding beside reading
and parsing. Prints figures and ratios with the limit of the issue; asserts nothing.
"""

import asyncio
import os
import statistics
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import nats
import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate as LibraryAggregate
from eventsourcing.domain import event as library_event
from google.protobuf.message import Message
from psycopg import sql
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import Column, Integer, MetaData, Table, Text, Uuid
from yunku.subject.v1 import events_pb2

from infra.testing import RunningSuite, running_suite
from kernel.bus.consumer import Bus, Subscription
from kernel.context import CallContext, Caller
from kernel.eventlog import rebuild
from kernel.eventlog.aggregate import Aggregate, StateProjection
from kernel.eventlog.events import EVENT_COLUMNS, EventTypes, RecordedEvent, row_to_event
from kernel.eventlog.schema import create_tables
from kernel.eventlog.sequencer import Sequencer
from kernel.eventlog.store import EventLog, Transaction
from kernel.ids import uuid7
from kernel.topology import stream_name

SECONDS = float(os.environ.get("YUNKU_BENCH_SECONDS", "4"))
WRITERS = (1, 8, 16, 32)
#: An event of about 300 bytes, as in the design's measurements.
NAME = "辽宁示范建设工程有限公司" * 7
METADATA = MetaData()
NAMES = Table(
    "bench_names",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("revision", Integer, nullable=False),
)
TYPES = EventTypes(events_pb2)


@dataclass(frozen=True)
class Named:
    name: str = ""


def _evolve(state: Named, event: Any, at: datetime) -> Named:
    return replace(state, name=event.name)


NAMED: Aggregate[Named] = Aggregate(
    "named",
    Named(),
    _evolve,
    (events_pb2.SubjectRegistered, events_pb2.SubjectRenamed),
    (StateProjection(NAMES, 1, lambda stream, state, version: {"id": stream, "name": state.name, "revision": version}),),
)
CONTEXT = CallContext(Caller("account", str(uuid.uuid4())), str(uuid.uuid4()))


def line(what: str, *figures: str) -> None:
    print(f"{what:<46} " + "  ".join(f"{figure:>14}" for figure in figures), flush=True)


async def rate(writers: int, once: Callable[[], Awaitable[object]]) -> float:
    """Completed calls per second of ``writers`` concurrent callers."""
    count = 0
    end = time.perf_counter() + SECONDS

    async def work() -> None:
        nonlocal count
        while time.perf_counter() < end:
            await once()
            count += 1

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(writers)))
    return count / (time.perf_counter() - started)


def _pool(url: str, size: int) -> AsyncConnectionPool[Any]:
    return AsyncConnectionPool(url, min_size=size, max_size=size, open=False, kwargs={"autocommit": True, "prepare_threshold": 1})


async def appends(url: str, owner: str) -> None:
    with psycopg.connect(owner) as connection:
        connection.execute("CREATE TABLE raw (id uuid PRIMARY KEY, payload bytea NOT NULL)")
        connection.execute("GRANT ALL ON raw TO PUBLIC")
    payload = events_pb2.SubjectRegistered(name=NAME).SerializeToString()
    line("appends a second (one event a commit), writers", *(str(writers) for writers in WRITERS))
    results: dict[str, list[float]] = {"raw": [], "kernel": [], "library": []}
    for writers in WRITERS:
        pool = _pool(url, writers)
        await pool.open(wait=True)
        log = EventLog(pool, "subject", TYPES)

        async def raw(pool: AsyncConnectionPool[Any] = pool) -> None:
            async with pool.connection() as connection:
                await connection.execute("INSERT INTO raw VALUES (%s, %s)", (uuid7(), payload), prepare=True)

        async def command(log: EventLog = log) -> None:
            await log.execute(NAMED, uuid7(), lambda state: [events_pb2.SubjectRegistered(name=NAME)], CONTEXT)

        # In turns, so that what else the machine does hits both alike.
        pairs = [(await rate(writers, raw), await rate(writers, command)) for _ in range(2)]
        results["raw"].append(max(pair[0] for pair in pairs))
        results["kernel"].append(max(pair[1] for pair in pairs))
        await pool.close()
        results["library"].append(await asyncio.to_thread(_library, owner, writers))
    line("  raw INSERT", *(f"{value:.0f}" for value in results["raw"]))
    line("  kernel: command, event, outbox, read model", *(f"{value:.0f}" for value in results["kernel"]))
    line("  PyPI eventsourcing", *(f"{value:.0f}" for value in results["library"]))
    line("  kernel / raw (to reach 0.7 at 8 to 32)", *(f"{k / r:.2f}" for k, r in zip(results["kernel"], results["raw"], strict=True)))
    line(
        "  kernel / eventsourcing (to reach 5)",
        *(f"{k / b:.1f}" for k, b in zip(results["kernel"], results["library"], strict=True)),
    )


class _Company(LibraryAggregate):  # type: ignore[misc, unused-ignore]
    @library_event("Registered")  # type: ignore[untyped-decorator, unused-ignore]
    def __init__(self, name: str) -> None:
        self.name = name


def _library(owner: str, writers: int) -> float:
    """The library's application, one thread a writer, its own tables in the same database."""
    parts = psycopg.conninfo.conninfo_to_dict(owner)
    application: Any = Application(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": str(parts["dbname"]),
            "POSTGRES_HOST": str(parts["host"]),
            "POSTGRES_PORT": str(parts["port"]),
            "POSTGRES_USER": str(parts["user"]),
            "POSTGRES_PASSWORD": str(parts.get("password") or ""),
            "POSTGRES_POOL_SIZE": str(writers),
            "POSTGRES_MAX_OVERFLOW": "4",
        }
    )
    counts = [0] * writers
    end = time.perf_counter() + SECONDS
    ready = threading.Barrier(writers)

    def work(number: int) -> None:
        ready.wait()
        while time.perf_counter() < end:
            application.save(_Company(NAME))
            counts[number] += 1

    started = time.perf_counter()
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(work, range(writers)))
    elapsed = time.perf_counter() - started
    application.close()
    return sum(counts) / elapsed


async def latency(suite: RunningSuite, url: str, other_url: str) -> None:
    """Commit to subscriber, beside a bare publish with its acknowledgement; then publishing and consuming in bulk."""
    client = await nats.connect(suite.nats_url, user_credentials=str(suite.nats_keys.operator_credentials))
    js = client.jetstream()
    pool = _pool(url, 4)
    await pool.open(wait=True)
    log = EventLog(pool, "subject", TYPES)
    async with pool.connection() as connection:
        # The appends measured before aren't what is measured here.
        row = await (await connection.execute("SELECT count(*) FROM outbox")).fetchone()
    backlog = int(row[0]) if row else 0
    sequencer = Sequencer(url, client, "subject", TYPES)
    log.on_append = sequencer.wake
    started = time.perf_counter()
    running = asyncio.create_task(sequencer.run())
    while sequencer.published < backlog:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    line("sequence and publish, events a second", f"{backlog / (time.perf_counter() - started):.0f}", f"({backlog} events)")

    bare: list[float] = []
    stream = stream_name("identity")
    for _ in range(300):
        at = time.perf_counter()
        await js.publish("yunku.identity.Bench", b"x" * 300, stream=stream)
        bare.append(time.perf_counter() - at)
    await js.purge_stream(stream)

    arrived: dict[str, float] = {}

    async def note(message: Any) -> None:
        arrived.setdefault((message.headers or {}).get("Nats-Msg-Id", ""), time.perf_counter())

    subscription = await client.subscribe("yunku.subject.*", cb=note)
    committed: dict[str, float] = {}
    for _ in range(300):
        outcome = await log.execute(NAMED, uuid7(), lambda state: [events_pb2.SubjectRegistered(name=NAME)], CONTEXT)
        committed[str(outcome.events[0].event_id)] = time.perf_counter()
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    await subscription.unsubscribe()
    spans = [arrived[event] - at for event, at in committed.items() if event in arrived]
    p50, p99 = statistics.median(spans), sorted(spans)[int(len(spans) * 0.99)]
    base = statistics.median(bare)
    line("bare acknowledged publish, p50", f"{base * 1000:.2f} ms")
    line("commit to subscriber, p50 (p99)", f"{p50 * 1000:.2f} ms", f"{p99 * 1000:.2f} ms", f"{p50 / base:.2f} x bare")
    line("  to reach", "2.5 x bare")

    other = _pool(other_url, 4)
    await other.open(wait=True)
    taking = EventLog(other, "identity", TYPES)

    async def copy(event: RecordedEvent, transaction: Transaction, caused: CallContext) -> None:
        await taking.execute(NAMED, event.stream_id, lambda state: [events_pb2.SubjectRenamed(name="x")], caused, transaction=transaction)

    async def read(request: Any, timeout: float) -> Any:
        from yunku.kernel.v1 import kernel_pb2

        events, last = await log.read_log(request.from_position, request.limit)
        return kernel_pb2.ReadLogResponse(events=[event.to_record() for event in events], last_position=last)

    from types import SimpleNamespace

    peers: Any = SimpleNamespace(stub=lambda stub, service: SimpleNamespace(ReadLog=read))
    bus = Bus(taking, [Subscription("subject", events_pb2, {events_pb2.SubjectRegistered: copy})], peers)
    started = time.perf_counter()
    consuming = asyncio.create_task(bus.run(suite.nats_url, suite.environment("identity")["YUNKU_NATS_CREDENTIALS"]))
    await asyncio.sleep(SECONDS * 2)
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)
    async with other.connection() as connection:
        row = await (await connection.execute("SELECT count(*) FROM inbox")).fetchone()
    line("consume with one append each, events a second", f"{(row[0] if row else 0) / (time.perf_counter() - started):.0f}")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await pool.close()
    await other.close()
    await client.close()


def rebuilding(owner: str) -> None:
    with psycopg.connect(owner) as connection, connection.cursor(name="read") as cursor:
        cursor.itersize = 5000
        started = time.perf_counter()
        cursor.execute(f"SELECT {EVENT_COLUMNS} FROM events e ORDER BY e.stream_id, e.version")
        count = 0
        for row in cursor:
            event = row_to_event(row, TYPES)
            data: Message = event.data
            count += bool(data)
        parsing = count / (time.perf_counter() - started)
    declared = rebuild.declared
    rebuild.declared = lambda service: rebuild.Declared(TYPES, (NAMED,), ())
    try:
        started = time.perf_counter()
        rebuild.rebuild(owner, "subject", "bench_names")
        rebuilt = count / (time.perf_counter() - started)
    finally:
        rebuild.declared = declared
    line("read and parse the log, events a second", f"{parsing:.0f}", f"({count} events)")
    line("rebuild a read model, events a second", f"{rebuilt:.0f}", f"{rebuilt / parsing:.2f} of it")
    line("  to reach", "0.5 of it")


def main() -> None:
    with running_suite("none") as suite, suite.scratch_database("subject") as (url, owner), suite.scratch_database("identity") as other:
        for one in (owner, other[1]):
            with psycopg.connect(one) as connection:
                create_tables(connection, METADATA)
                connection.execute(sql.SQL("GRANT ALL ON bench_names TO PUBLIC"))
                connection.execute("INSERT INTO projections (name, version) VALUES ('bench_names', 1)")
        asyncio.run(appends(url, owner))
        asyncio.run(latency(suite, url, other[0]))
        rebuilding(owner)


if __name__ == "__main__":
    main()
