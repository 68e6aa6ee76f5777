"""The event log on real PostgreSQL and real JetStream: append, order, publish, consume, rebuild."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import nats
import nats.js.errors
import psycopg
import pytest
from google.protobuf.message import Message
from nats.aio.client import Client
from psycopg import sql
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import Column, Integer, MetaData, Table, Text, insert
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from yunku.kernel.v1 import kernel_pb2
from yunku.subject.v1 import events_pb2

from infra.testing import RunningSuite
from kernel.bus.consumer import Consumer, Subscription, Tampered
from kernel.context import CallContext, Caller, system_context
from kernel.errors import YunkuError
from kernel.eventlog import rebuild
from kernel.eventlog.aggregate import Aggregate, StateProjection
from kernel.eventlog.events import EventTypes, RecordedEvent
from kernel.eventlog.hashing import GENESIS, log_hash
from kernel.eventlog.projections import LogProjection, ProjectionRunner
from kernel.eventlog.schema import create_tables
from kernel.eventlog.sequencer import Sequencer, last_message
from kernel.eventlog.store import EventLog, Transaction
from kernel.eventlog.wire import from_message
from kernel.ids import uuid7
from kernel.topology import durable, stream_name, stream_subjects

METADATA = MetaData()
NAMES = Table(
    "names",
    METADATA,
    Column("id", PG_UUID(as_uuid=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("revision", Integer, nullable=False),
)
RENAMES = Table("renames", METADATA, Column("number", Text, primary_key=True), Column("name", Text, nullable=False))


@dataclass(frozen=True)
class Named:
    name: str = ""
    changes: int = 0


def evolve(state: Named, event: Message, at: datetime) -> Named:
    return replace(state, name=event.name, changes=state.changes + 1)  # type: ignore[attr-defined]


def named_row(stream_id: UUID, state: Named, version: int) -> dict[str, Any]:
    return {"id": stream_id, "name": state.name, "revision": version}


TYPES = EventTypes(events_pb2)
NAMED: Aggregate[Named] = Aggregate(
    "named",
    Named(),
    evolve,
    (events_pb2.SubjectRegistered, events_pb2.SubjectRenamed),
    (StateProjection(NAMES, 1, named_row),),
)
FOLLOWING = LogProjection(RENAMES, 1, lambda event, table: [insert(table).values(number=str(event.position), name=event.data.name)])


def registered(name: str) -> events_pb2.SubjectRegistered:
    return events_pb2.SubjectRegistered(name=name)


def always(event: Message, state: Named) -> list[Message]:
    return [event]


def renamed(name: str) -> events_pb2.SubjectRenamed:
    return events_pb2.SubjectRenamed(name=name)


def reply(state: Named, version: int) -> kernel_pb2.ReadLogResponse:
    return kernel_pb2.ReadLogResponse(last_position=version)


@dataclass
class Database:
    owner: str
    url: str
    pool: AsyncConnectionPool[Any]
    log: EventLog


@pytest.fixture
async def client(stack: RunningSuite) -> AsyncIterator[Client]:
    connection = await nats.connect(stack.nats_url, user_credentials=str(stack.nats_keys.operator_credentials))
    yield connection
    await connection.close()


@contextlib.asynccontextmanager
async def made_database(stack: RunningSuite, service: str) -> AsyncIterator[Database]:
    """A fresh database with the rights that provisioning gives, and this test's own read models."""
    with stack.scratch_database(service) as (url, owner):
        role = psycopg.conninfo.conninfo_to_dict(url)["user"]
        with psycopg.connect(owner) as connection:
            create_tables(connection, METADATA)
            connection.execute(sql.SQL("GRANT ALL ON names, renames TO {}").format(sql.Identifier(str(role))))
            connection.execute("INSERT INTO projections (name, version) VALUES ('names', 1), ('renames', 1)")
        pool: AsyncConnectionPool[Any] = AsyncConnectionPool(url, min_size=1, max_size=8, open=False, kwargs={"autocommit": True})
        await pool.open()
        try:
            yield Database(owner, url, pool, EventLog(pool, service, TYPES))
        finally:
            await pool.close()


@pytest.fixture
async def database(stack: RunningSuite) -> AsyncIterator[Database]:
    async with made_database(stack, "subject") as made:
        yield made


@pytest.fixture
async def other(stack: RunningSuite) -> AsyncIterator[Database]:
    async with made_database(stack, "identity") as made:
        yield made


@contextlib.asynccontextmanager
async def running(*coroutines: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if ended is not None and not isinstance(ended, asyncio.CancelledError):
                raise ended


async def until(condition: Any, seconds: float = 90) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - it asks a server
            await asyncio.sleep(0.02)


def context(key: str | None = None, body: bytes = b"a") -> CallContext:
    return CallContext(Caller("account", "acc"), "corr", idempotency_key=key, request_hash=body)


async def test_appends_are_read_back_with_their_chain(database: Database) -> None:
    stream = uuid7()
    first = await database.log.execute(NAMED, stream, lambda s: [registered("一"), renamed("二")], context())
    assert (first.state.name, first.version) == ("二", 2)
    await database.log.execute(NAMED, stream, lambda s: [renamed(s.name + "三")], context())
    events = await database.log.read_stream(stream)
    assert [event.version for event in events] == [1, 2, 3]
    previous = GENESIS
    for event in events:
        assert event.previous_hash == previous
        assert event.computed_hash() == event.hash
        previous = event.hash
    assert events[0].meta.actor_id == "acc"
    async with database.pool.connection() as connection:
        row = await (await connection.execute("SELECT name, revision FROM names WHERE id = %s", (stream,))).fetchone()
    assert row == ("二三", 3)


async def test_concurrent_commands_on_one_stream_lose_nothing(database: Database) -> None:
    stream = uuid7()
    elsewhere = EventLog(database.pool, "subject", TYPES)  # another process: its memory of the stream goes stale
    await database.log.execute(NAMED, stream, lambda s: [registered("0")], context())
    await asyncio.gather(
        *(
            log.execute(NAMED, stream, lambda s: [renamed(str(s.changes))], context())
            for _ in range(10)
            for log in (database.log, elsewhere)
        )
    )
    loaded = await database.log.load(NAMED, stream)
    assert (loaded.version, loaded.state.changes, loaded.state.name) == (21, 21, "20")


async def test_a_stale_memory_never_refuses(database: Database) -> None:
    stream = uuid7()
    elsewhere = EventLog(database.pool, "subject", TYPES)
    await database.log.execute(NAMED, stream, lambda s: [registered("old")], context())
    await elsewhere.execute(NAMED, stream, lambda s: [renamed("new")], context())

    def only_new(state: Named) -> list[Message]:
        if state.name != "new":
            raise YunkuError("wrong_state")
        return [renamed("newer")]

    assert (await database.log.execute(NAMED, stream, only_new, context())).state.name == "newer"


async def test_an_idempotency_key_gets_one_effect_and_one_answer(database: Database) -> None:
    stream = uuid7()
    answers = await asyncio.gather(
        *(database.log.execute(NAMED, stream, lambda s: [renamed("x")], context("k1"), respond=reply) for _ in range(8))
    )
    assert {answer.response.last_position for answer in answers} == {1}
    assert len(await database.log.read_stream(stream)) == 1
    with pytest.raises(YunkuError) as refused:
        await database.log.execute(NAMED, stream, lambda s: [renamed("y")], context("k1", b"other"), respond=reply)
    assert refused.value.code == "idempotency_key_reused"


async def test_a_refused_command_leaves_nothing(database: Database) -> None:
    stream = uuid7()

    def refuse(state: Named) -> list[Message]:
        raise YunkuError("wrong_state")

    with pytest.raises(YunkuError):
        await database.log.execute(NAMED, stream, refuse, context("k2"))
    async with database.pool.connection() as connection:
        counts = await (await connection.execute("SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM commands)")).fetchone()
    assert counts == (0, 0)


async def test_several_streams_change_together_or_not_at_all(database: Database) -> None:
    """What ``also`` appends stands in the command's own transaction: its refusal, or a crash after it, leaves neither."""
    first, second = uuid7(), uuid7()
    log = database.log

    async def rename_second(state: Named, transaction: Transaction) -> None:
        await log.execute(NAMED, second, partial(always, renamed(f"after {state.name}")), context(), transaction=transaction)

    async def crash(state: Named, transaction: Transaction) -> None:
        await rename_second(state, transaction)
        raise RuntimeError("killed here")

    async def refuse(state: Named, transaction: Transaction) -> None:
        await rename_second(state, transaction)
        raise YunkuError("wrong_state")

    for failing, error in ((crash, RuntimeError), (refuse, YunkuError)):
        with pytest.raises(error):
            await log.execute(NAMED, first, partial(always, registered("甲")), context(), also=failing)
        assert await log.read_stream(first) == await log.read_stream(second) == []
    keyed = context("together")
    outcomes = [
        await log.execute(NAMED, first, partial(always, registered("甲")), keyed, respond=reply, also=rename_second) for _ in range(2)
    ]
    assert [one.replayed for one in outcomes] == [False, True]
    assert [len(await log.read_stream(one)) for one in (first, second)] == [1, 1]
    assert (await log.load(NAMED, second)).state.name == "after 甲"


async def test_streams_that_meet_in_many_commands_lose_nothing(database: Database) -> None:
    """Eight writers, each with a stream of its own, all change one other stream at once: the losers come again."""
    shared = uuid7()
    log = database.log

    async def touch(state: Named, transaction: Transaction) -> None:
        await log.execute(NAMED, shared, partial(always, renamed(state.name)), context(), transaction=transaction)

    async def command(number: int) -> None:
        await log.execute(NAMED, uuid7(), partial(always, registered(str(number))), context(), also=touch)

    await asyncio.gather(*(command(number) for number in range(8)))
    assert sorted(event.data.name for event in await log.read_stream(shared)) == [str(number) for number in range(8)]


def two_renamed(log: EventLog, streams: tuple[UUID, UUID], calling: CallContext) -> Any:
    """Renames two streams as one command; the answer is the sum of their versions."""

    async def work(transaction: Transaction) -> kernel_pb2.ReadLogResponse:
        changed = [
            await log.execute(NAMED, one, lambda s: [renamed(str(s.changes))], calling, transaction=transaction) for one in streams
        ]
        return kernel_pb2.ReadLogResponse(last_position=sum(one.version for one in changed))

    return log.together(calling, kernel_pb2.ReadLogResponse, work)


async def test_what_happens_together_happens_once_and_has_one_answer(database: Database) -> None:
    streams = (uuid7(), uuid7())
    answers = await asyncio.gather(*(two_renamed(database.log, streams, context("k1")) for _ in range(6)))
    assert {answer.last_position for answer in answers} == {2}
    assert [len(await database.log.read_stream(one)) for one in streams] == [1, 1]
    with pytest.raises(YunkuError, match="idempotency_key_reused"):
        await two_renamed(database.log, streams, context("k1", b"other"))


async def test_what_happens_together_meets_other_writers(database: Database) -> None:
    streams = (uuid7(), uuid7())
    elsewhere = EventLog(database.pool, "subject", TYPES)
    alone = [log.execute(NAMED, streams[1], lambda s: [renamed("x")], context()) for log in (database.log, elsewhere) for _ in range(4)]
    both = [two_renamed(log, streams, context()) for log in (database.log, elsewhere) for _ in range(4)]
    await asyncio.gather(*alone, *both)
    assert [(await elsewhere.load(NAMED, one)).version for one in streams] == [8, 16]
    assert [event.computed_hash() == event.hash for event in await elsewhere.read_stream(streams[1])] == [True] * 16


async def test_what_is_refused_midway_leaves_nothing_of_what_came_before(database: Database) -> None:
    first, second = uuid7(), uuid7()

    def refuse(state: Named) -> list[Message]:
        raise YunkuError("wrong_state")

    async def work(transaction: Transaction) -> kernel_pb2.ReadLogResponse:
        await database.log.execute(NAMED, first, lambda s: [registered("x")], context(), transaction=transaction)
        await database.log.execute(NAMED, second, refuse, context(), transaction=transaction)
        return kernel_pb2.ReadLogResponse()

    with pytest.raises(YunkuError, match="wrong_state"):
        await database.log.together(context("k3"), kernel_pb2.ReadLogResponse, work)
    async with database.pool.connection() as connection:
        counts = await (await connection.execute("SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM commands)")).fetchone()
    assert counts == (0, 0)


async def test_the_role_may_only_insert_and_select_the_record(database: Database) -> None:
    await database.log.execute(NAMED, uuid7(), lambda s: [registered("x")], context())
    for table in ("events", "log"):
        for statement in (
            f"UPDATE {table} SET version = version",
            f"DELETE FROM {table}",
            f"TRUNCATE {table}",
            f"ALTER TABLE {table} ADD COLUMN x int",
            f"DROP TABLE {table}",
            f"CREATE TRIGGER t BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        ):
            async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    await connection.execute(statement.encode())


async def fresh_stream(client: Client) -> None:
    js = client.jetstream()
    await js.purge_stream(stream_name("subject"))
    with contextlib.suppress(nats.js.errors.NotFoundError):
        # A new durable begins at the beginning, as after provisioning.
        name = durable("identity", "subject")
        config = (await js.consumer_info(stream_name("subject"), name)).config
        await js.delete_consumer(stream_name("subject"), name)
        await js.add_consumer(stream_name("subject"), config)


async def messages(client: Client) -> int:
    return int((await client.jetstream().stream_info(stream_name("subject"))).state.messages)


async def test_order_is_dense_and_published_once_with_late_commits(database: Database, client: Client) -> None:
    await fresh_stream(client)
    sequencer = Sequencer(database.url, client, "subject", TYPES)
    database.log.on_append = sequencer.wake
    rival = Sequencer(database.url, client, "subject", TYPES)  # a second process of the service stands by

    async def late() -> None:
        # Takes its place in time early and commits late: a reader of a serial column past a checkpoint would skip it.
        async with database.log.transaction() as transaction:
            await database.log.execute(NAMED, uuid7(), lambda s: [registered("late")], context(), transaction=transaction)
            await asyncio.sleep(0.5)

    async with running(sequencer.run(), rival.run()):
        await asyncio.gather(late(), *(writer(database.log, 40) for _ in range(8)), late())

        async def all_published() -> bool:
            return await messages(client) == 8 * 40 + 2

        await until(all_published)
    events, last = await database.log.read_log(1, 1000)
    assert [event.position for event in events] == list(range(1, last + 1))
    assert last == 322
    rolling = GENESIS
    for event in events:
        rolling = log_hash(rolling, event.hash)
        assert event.log_hash == rolling
    async with database.pool.connection() as connection:
        row = await (
            await connection.execute(
                "SELECT count(*) FROM (SELECT sequenced_at, lag(sequenced_at) OVER (ORDER BY position) AS before FROM log) x "
                "WHERE sequenced_at < before"
            )
        ).fetchone()
        assert row == (0,)
    js = client.jetstream()
    for sequence, event in enumerate(events, 1 + (await js.stream_info(stream_name("subject"))).state.first_seq - 1):
        stored = await js.get_msg(stream_name("subject"), seq=sequence)
        read = from_message(stored.headers or {}, stored.data or b"", TYPES)
        assert read == event


async def writer(log: EventLog, count: int) -> None:
    for number in range(count):
        await log.execute(NAMED, uuid7(), partial(always, registered(str(number))), context())


async def test_a_wiped_stream_is_filled_again(database: Database, client: Client) -> None:
    await fresh_stream(client)
    async with running(Sequencer(database.url, client, "subject", TYPES).run()):
        await writer(database.log, 30)

        async def thirty() -> bool:
            return await messages(client) == 30

        await until(thirty)
    await fresh_stream(client)
    async with running(Sequencer(database.url, client, "subject", TYPES).run()):
        await until(thirty)
        last = await last_message(client, "subject")
        assert last is not None
        assert (last.headers or {})["Yunku-Position"] == "30"


def local_peers(producer: EventLog) -> Any:
    """The producer's ReadLog, answered from its database in this process."""

    async def read(request: kernel_pb2.ReadLogRequest, timeout: float) -> kernel_pb2.ReadLogResponse:
        events, last = await producer.read_log(request.from_position, request.limit)
        return kernel_pb2.ReadLogResponse(events=[event.to_record() for event in events], last_position=last)

    return SimpleNamespace(stub=lambda stub, service: SimpleNamespace(ReadLog=read))


def copying(log: EventLog, failing: set[str]) -> Subscription:
    async def copy(event: RecordedEvent, transaction: Transaction, caused: CallContext) -> None:
        if event.data.name in failing:
            raise ValueError(f"cannot take {event.data.name}")
        await log.execute(NAMED, event.stream_id, lambda s: [renamed(event.data.name)], caused, transaction=transaction)

    return Subscription("subject", events_pb2, {events_pb2.SubjectRegistered: copy, events_pb2.SubjectRenamed: copy})


async def sequence(database: Database, client: Client) -> list[RecordedEvent]:
    sequencer = Sequencer(database.url, client, "subject", TYPES)
    async with running(sequencer.run()):

        async def done() -> bool:
            async with database.pool.connection() as connection:
                row = await (await connection.execute("SELECT count(*) FROM outbox")).fetchone()
            return bool(row == (0,))

        await until(done)
    return (await database.log.read_log(1, 1000))[0]


async def test_gaps_duplicates_and_disorder_apply_each_event_once_in_order(database: Database, other: Database, client: Client) -> None:
    await fresh_stream(client)
    await writer(database.log, 20)
    events = await sequence(database, client)
    consumer = Consumer(other.log, copying(other.log, set()), local_peers(database.log))
    for index in (4, 4, 2, 19, 7, 0, 19):
        await consumer.take(events[index])
    applied, _ = await other.log.read_log(1, 1000)
    async with other.pool.connection() as connection:
        rows = await (await connection.execute("SELECT position, outcome FROM inbox ORDER BY position")).fetchall()
        watermark = await (await connection.execute("SELECT position, log_hash FROM watermarks")).fetchone()
        names = await (await connection.execute("SELECT count(*) FROM names")).fetchone()
    assert rows == [(position, "applied") for position in range(1, 21)]
    assert watermark is not None
    assert (watermark[0], bytes(watermark[1])) == (20, events[-1].log_hash)
    assert names == (20,)
    del applied


async def test_a_forged_event_is_refused(database: Database, other: Database, client: Client) -> None:
    await fresh_stream(client)
    await writer(database.log, 2)
    events = await sequence(database, client)
    consumer = Consumer(other.log, copying(other.log, set()), local_peers(database.log))
    forged = dataclasses.replace(events[0], payload=registered("forged").SerializeToString())
    with pytest.raises(Tampered):
        await consumer.take(forged)
    async with other.pool.connection() as connection:
        assert await (await connection.execute("SELECT count(*) FROM inbox")).fetchone() == (0,)


async def test_poison_is_parked_with_its_stream_and_replayed_in_order(database: Database, other: Database, client: Client) -> None:
    await fresh_stream(client)
    sick, well = uuid7(), uuid7()
    failing = {"poison"}
    happened: list[tuple[UUID, Message]] = [
        (sick, registered("a")),
        (sick, renamed("poison")),
        (sick, renamed("c")),
        (well, registered("fine")),
    ]
    for stream, message in happened:
        await database.log.execute(NAMED, stream, partial(always, message), context())
    events = await sequence(database, client)
    consumer = Consumer(other.log, copying(other.log, failing), local_peers(database.log))
    for event in events:
        await consumer.take(event)

    async def names(stream: UUID) -> list[str]:
        return [event.data.name for event in await other.log.read_stream(stream)]

    assert await names(sick) == ["a"]
    assert await names(well) == ["fine"]
    async with other.pool.connection() as connection:
        parked = await (await connection.execute("SELECT position, error FROM parked ORDER BY position")).fetchall()
        assert [row[0] for row in parked] == [2, 3]
        assert "cannot take poison" in parked[0][1]
        await connection.execute("UPDATE parked SET replay_requested_at = clock_timestamp()")
    failing.clear()
    async with running(consumer.run()):

        async def replayed() -> bool:
            return await names(sick) == ["a", "poison", "c"]

        await until(replayed)


async def test_rebuild_equals_what_stands_while_writers_go_on(database: Database, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    await fresh_stream(client)
    monkeypatch.setattr(rebuild, "declared", lambda service: rebuild.Declared(TYPES, (NAMED,), (FOLLOWING,)))
    await writer(database.log, 200)
    sequencer = Sequencer(database.url, client, "subject", TYPES)
    runner = ProjectionRunner(database.log, FOLLOWING)
    async with running(sequencer.run(), runner.run()):
        writing = asyncio.gather(*(writer(database.log, 100) for _ in range(3)))
        await asyncio.to_thread(rebuild.rebuild, database.owner, "subject", "names")
        await asyncio.to_thread(rebuild.rebuild, database.owner, "subject", "renames")
        await writing

        async def followed() -> bool:
            async with database.pool.connection() as connection:
                row = await (await connection.execute("SELECT (SELECT count(*) FROM renames), (SELECT count(*) FROM names)")).fetchone()
            return bool(row == (500, 500))

        await until(followed)
    with psycopg.connect(database.owner) as connection:
        table = rebuild.create_beside(connection, NAMES, rebuild.CHECK)
        rebuild.copy_rows(connection, table, list(rebuild.state_rows(connection, TYPES, NAMED, NAMED.projections[0])))
        differing = connection.execute(
            "SELECT count(*) FROM ((TABLE names EXCEPT ALL TABLE names__check) UNION ALL (TABLE names__check EXCEPT ALL TABLE names)) x"
        ).fetchone()
    assert differing == (0,)


async def test_the_bus_consumes_from_jetstream(database: Database, other: Database, stack: RunningSuite, client: Client) -> None:
    from kernel.bus.consumer import Bus

    await fresh_stream(client)
    js = client.jetstream()
    bus = Bus(other.log, [copying(other.log, set())], local_peers(database.log))
    sequencer = Sequencer(database.url, client, "subject", TYPES)
    database.log.on_append = sequencer.wake
    credentials = stack.environment("identity")["YUNKU_NATS_CREDENTIALS"]
    async with running(sequencer.run(), bus.run(stack.nats_url, credentials)):
        await writer(database.log, 50)

        async def taken() -> bool:
            async with other.pool.connection() as connection:
                return bool(await (await connection.execute("SELECT count(*) FROM names")).fetchone() == (50,))

        await until(taken)

        async def acknowledged() -> bool:
            info = await js.consumer_info(stream_name("subject"), durable("identity", "subject"))
            return bool(info.num_ack_pending == 0 and info.num_pending == 0)

        await until(acknowledged)
    assert stream_subjects("subject") == "yunku.subject.*"
    assert system_context("x").caller.kind == "service"
