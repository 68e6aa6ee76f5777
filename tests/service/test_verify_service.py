"""The verify service on a real database: nothing that was asked is lost, whatever recognition does, and each is decided once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest
from psycopg_pool import AsyncConnectionPool
from yunku.certificate.v1 import events_pb2 as certificate_events_pb2
from yunku.certificate.v1 import types_pb2
from yunku.verify.v1 import events_pb2

from infra.testing import RunningSuite
from kernel.context import Caller, system_context
from kernel.errors import YunkuError
from kernel.eventlog.events import EventTypes, RecordedEvent, row_to_event
from kernel.eventlog.hashing import GENESIS
from kernel.eventlog.store import EventLog, utc_now
from kernel.ids import uuid7
from kernel.jobs import waking
from services.verify import consumers, handlers, queries
from services.verify.light import Candidate, Evidence, Reading
from services.verify.ports import Recognised, Region
from services.verify.projections import TYPES, VERIFICATION
from services.verify.worker import Worker

FIELDS = {
    "uscc": "91110108MA01EBFH9B",
    "company_name": "沈阳鑫恒建设工程有限公司",
    "company_type": "有限责任公司",
    "address": "辽宁省沈阳市和平区青年大街1号",
    "legal_rep_name": "张己",
    "registered_capital": "50000000.00",
    "established_on": "2010-03-01",
    "business_term": "2010-03-01/长期",
    "registration_authority": "沈阳市市场监督管理局",
}
PRINTED = {**FIELDS, "registered_capital": "伍仟万元整", "established_on": "二〇一〇年三月一日", "business_term": "2010年3月1日至长期"}


@dataclass
class Printed:
    """A recogniser that sees what is printed, perfectly; it can be down, slow, forgetful, or change its version."""

    printed: dict[str, str] = field(default_factory=lambda: dict(PRINTED))
    refuse: str = ""
    forget: str = ""
    hold: asyncio.Event | None = None
    asked: list[tuple[str, ...]] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    asking: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, document: types_pb2.Document, regions: Sequence[Region]) -> Recognised:
        self.asked.append(tuple(one.key for one in regions))
        self.asking.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.refuse:
            raise YunkuError(self.refuse)
        version = self.versions.pop(0) if self.versions else "1"
        return Recognised("printed", version, {one.key: self._see(one) for one in regions if one.key != self.forget})

    def _see(self, region: Region) -> Evidence:
        text = self.printed[region.key if region.key in self.printed else region.key.partition("#")[0]]
        scores = [Candidate(one, -0.1 if one == text else -90.0, 0.0 if one == text else -90.0, 40.0) for one in region.candidates]
        return Evidence((Reading(text, 0.99, -0.1),), tuple(scores))


@pytest.fixture
async def log(stack: RunningSuite) -> AsyncIterator[EventLog]:
    with stack.scratch_database("verify") as (url, _):
        pool: AsyncConnectionPool[Any] = AsyncConnectionPool(url, min_size=1, max_size=10, open=False, kwargs={"autocommit": True})
        await pool.open()
        try:
            yield EventLog(pool, "verify", TYPES)
        finally:
            await pool.close()


def request(**changes: Any) -> certificate_events_pb2.VerificationRequested:
    asked = certificate_events_pb2.VerificationRequested(
        certificate_id=str(uuid7()),
        verification_id=str(uuid7()),
        holder=types_pb2.Holder(subject_id="s1", uscc=FIELDS["uscc"], name=FIELDS["company_name"]),
        type="business_license",
        document=types_pb2.Document(sha256="ab" * 32),
        fields=FIELDS,
        marks=[types_pb2.Mark(field=name, page=1, box=types_pb2.Box(x1=0.5, y1=0.5)) for name in FIELDS],
        version=1,
    )
    asked.MergeFrom(certificate_events_pb2.VerificationRequested(**changes))
    return asked


async def take_on(log: EventLog, asked: certificate_events_pb2.VerificationRequested) -> UUID:
    """Hands the request in as the certificate's event, in a transaction as consumers do."""
    (subscription,) = consumers.subscriptions(log)
    (handler,) = subscription.handlers.values()
    types = EventTypes(certificate_events_pb2)
    name, version, payload = types.encode(asked)
    event: RecordedEvent = row_to_event((uuid7(), 1, uuid7(), name, version, payload, b"", utc_now(), GENESIS, GENESIS), types)
    caused = system_context("verify", correlation_id="corr", causation_id=str(event.event_id))
    async with log.transaction() as transaction:
        await handler(event, transaction, caused)
    return UUID(asked.verification_id)


@dataclass
class Known:
    """Knows one person; can be down."""

    agrees: frozenset[str] = frozenset()
    refuse: str = ""
    asked: list[tuple[str, str, dict[str, tuple[str, str]]]] = field(default_factory=list)

    async def agreeing(self, person_id: str, subject_id: str, statements: Mapping[str, tuple[str, str]]) -> frozenset[str]:
        self.asked.append((person_id, subject_id, dict(statements)))
        if self.refuse:
            raise YunkuError(self.refuse)
        return self.agrees


async def carry_out(log: EventLog, recogniser: Printed, verification_id: UUID, persons: Known | None = None) -> bool:
    return await handlers.carry_out(log, recogniser, persons or Known(), verification_id, longest_pause=60.0)


async def types_of(log: EventLog, verification_id: UUID) -> list[str]:
    return [event.short_type for event in await log.read_stream(verification_id)]


async def verdict_of(log: EventLog, verification_id: UUID) -> events_pb2.Verified:
    state = (await log.load(VERIFICATION, verification_id)).state
    assert state.verified is not None
    return state.verified


@contextlib.asynccontextmanager
async def working(log: EventLog, recogniser: Printed, **changes: Any) -> AsyncIterator[Worker]:
    worker = Worker(log, recogniser, Known(), **{"concurrency": 3, "longest_pause": 60.0, **changes})
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 (the condition is in the database)
            await asyncio.sleep(0.02)


# -- one verification ------------------------------------------------------------------------------------------------------


async def test_a_request_gets_its_light_and_the_whole_of_its_evidence(log: EventLog) -> None:
    asked = request()
    verification_id = await take_on(log, asked)
    assert await carry_out(log, Printed(), verification_id)
    verified = await verdict_of(log, verification_id)
    assert verified.light == types_pb2.LIGHT_GREEN, verified
    assert (verified.certificate_id, verified.version, verified.subject_id) == (asked.certificate_id, 1, "s1")
    assert {one.field for one in verified.evidence} == set(FIELDS)
    events = await log.read_stream(verification_id)
    assert {event.meta.correlation_id for event in events} == {"corr"}
    assert {event.meta.acting_subject_id for event in events} == {"s1"}
    assert events[1].meta.causation_id == str(events[0].event_id)


async def test_the_same_request_again_changes_nothing(log: EventLog) -> None:
    asked, recogniser = request(), Printed()
    verification_id = await take_on(log, asked)
    await take_on(log, asked)
    assert await carry_out(log, recogniser, verification_id)
    assert await carry_out(log, recogniser, verification_id)
    await take_on(log, asked)
    assert await types_of(log, verification_id) == ["VerificationAccepted", "Verified"]
    assert len(recogniser.asked) == 1


@pytest.mark.parametrize(
    ("refuse", "reason"),
    [
        ("service_unavailable", "recognition_unavailable"),
        ("deadline_exceeded", "recognition_timeout"),
        ("internal", "recognition_failed"),
    ],
)
async def test_while_recognition_is_down_it_waits_with_a_reason(log: EventLog, refuse: str, reason: str) -> None:
    verification_id, recogniser = await take_on(log, request()), Printed(refuse=refuse)
    for _ in range(2):
        assert not await carry_out(log, recogniser, verification_id)
    recogniser.refuse = ""
    assert await carry_out(log, recogniser, verification_id)
    events = await log.read_stream(verification_id)
    assert [event.short_type for event in events] == ["VerificationAccepted", *["VerificationPostponed"] * 2, "Verified"]
    assert [(event.data.reason, event.data.attempts) for event in events[1:3]] == [(reason, 1), (reason, 2)]
    assert (await verdict_of(log, verification_id)).light == types_pb2.LIGHT_GREEN


async def test_an_answer_that_leaves_a_region_out_is_no_answer(log: EventLog) -> None:
    verification_id = await take_on(log, request())
    assert not await carry_out(log, Printed(forget="uscc#0"), verification_id)
    assert await types_of(log, verification_id) == ["VerificationAccepted", "VerificationPostponed"]


async def test_an_unknown_type_is_kept_and_shown_not_lost(log: EventLog) -> None:
    verification_id = await take_on(log, request(type="no_such_type"))
    assert not await carry_out(log, Printed(), verification_id)
    events = await log.read_stream(verification_id)
    assert events[-1].data.reason == "recognition_failed"


async def test_what_differs_is_told_field_by_field(log: EventLog) -> None:
    recogniser = Printed({**PRINTED, "legal_rep_name": "张已"})
    verification_id = await take_on(log, request())
    assert await carry_out(log, recogniser, verification_id)
    verified = await verdict_of(log, verification_id)
    assert verified.light == types_pb2.LIGHT_RED
    (wrong,) = [one for one in verified.fields if one.verdict == types_pb2.VERDICT_MISMATCH]
    assert (wrong.field, wrong.stated, wrong.recognised, wrong.reason) == ("legal_rep_name", "张己", "张已", "mismatch")


async def test_a_reading_in_an_unscored_spelling_is_asked_about_again(log: EventLog) -> None:
    recogniser = Printed({**PRINTED, "legal_rep_name": "法定代表人 张己"})
    verification_id = await take_on(log, request())
    assert await carry_out(log, recogniser, verification_id)
    assert recogniser.asked[1:] == [("legal_rep_name#4",)]
    assert (await verdict_of(log, verification_id)).light == types_pb2.LIGHT_GREEN


async def test_an_engine_that_changes_between_two_questions_is_asked_anew(log: EventLog) -> None:
    recogniser = Printed({**PRINTED, "legal_rep_name": "法定代表人 张己"}, versions=["1", "2"])
    verification_id = await take_on(log, request())
    assert not await carry_out(log, recogniser, verification_id)
    assert await carry_out(log, recogniser, verification_id)
    assert (await verdict_of(log, verification_id)).engine_version == "1"


async def test_a_value_in_two_marks_is_read_in_their_order(log: EventLog) -> None:
    marks = [types_pb2.Mark(field="address", page=1, box=types_pb2.Box(x1=0.5, y1=0.6))]
    asked = request(marks=marks)
    keys = [f"{mark.field}#{number}" for number, mark in enumerate(asked.marks) if mark.field == "address"]
    recogniser = Printed({**PRINTED, keys[0]: "辽宁省沈阳市和平区", keys[1]: "青年大街1号"})
    verification_id = await take_on(log, asked)
    assert await carry_out(log, recogniser, verification_id)
    assert recogniser.asked[1] == tuple(keys)
    assert (await verdict_of(log, verification_id)).light == types_pb2.LIGHT_GREEN


async def test_without_any_mark_recognition_is_not_asked(log: EventLog) -> None:
    asked = request()
    del asked.marks[:]
    recogniser = Printed(refuse="service_unavailable")
    verification_id = await take_on(log, asked)
    assert await carry_out(log, recogniser, verification_id)
    assert (await verdict_of(log, verification_id)).light == types_pb2.LIGHT_RED
    assert recogniser.asked == []


# -- the worker --------------------------------------------------------------------------------------------------------------


async def test_a_request_wakes_the_worker(log: EventLog) -> None:
    async with working(log, Printed()) as worker:
        log.on_append = waking(log, worker)
        verification_id = await take_on(log, request())
        await until(lambda: _done(log, verification_id))
    assert await types_of(log, verification_id) == ["VerificationAccepted", "Verified"]


async def test_two_processes_share_the_work_and_each_verification_is_done_once(log: EventLog) -> None:
    ids = [await take_on(log, request()) for _ in range(20)]
    one, other = Printed(), Printed()
    async with working(log, one), working(EventLog(log.pool, "verify", TYPES), other):
        for verification_id in ids:
            await until(lambda wanted=verification_id: _done(log, wanted))  # type: ignore[misc]
    for verification_id in ids:
        assert await types_of(log, verification_id) == ["VerificationAccepted", "Verified"]
    assert len(one.asked) + len(other.asked) == 20


async def test_work_that_was_broken_off_is_taken_up_by_whoever_comes_next(log: EventLog) -> None:
    verification_id = await take_on(log, request())
    stuck = Printed(hold=asyncio.Event())
    async with working(log, stuck):
        await asyncio.wait_for(stuck.asking.wait(), 20)
    assert await types_of(log, verification_id) == ["VerificationAccepted"]
    async with working(EventLog(log.pool, "verify", TYPES), Printed()):
        await until(lambda: _done(log, verification_id))
    assert await types_of(log, verification_id) == ["VerificationAccepted", "Verified"]


async def test_when_recognition_is_back_what_was_put_off_does_not_wait_for_its_time(log: EventLog) -> None:
    recogniser = Printed(refuse="service_unavailable")
    late = await take_on(log, request())
    for _ in range(12):  # put off by a minute by now
        assert not await carry_out(log, recogniser, late)
    async with working(log, recogniser) as worker:
        log.on_append = waking(log, worker)
        fresh = await take_on(log, request())
        await until(lambda: _put_off(log, fresh))
        recogniser.refuse = ""
        await until(lambda: _done(log, fresh))
        await until(lambda: _done(log, late))
    assert (await types_of(log, late)).count("VerificationPostponed") == 12


async def test_a_worker_whose_database_goes_away_ends_and_the_next_one_goes_on(log: EventLog) -> None:
    held = Printed(hold=asyncio.Event())
    verification_id = await take_on(log, request())
    worker = Worker(log, held, Known(), concurrency=1, longest_pause=60.0)
    task = asyncio.create_task(worker.run())
    await asyncio.wait_for(held.asking.wait(), 20)
    async with log.pool.connection() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND usename = current_user AND pid <> pg_backend_pid()"
        )
    with pytest.raises(Exception, match=r"terminat|connection|closed"):
        await asyncio.wait_for(task, 20)
    await log.pool.check()
    async with working(log, Printed()):
        await until(lambda: _done(log, verification_id))


# -- explaining ------------------------------------------------------------------------------------------------------------------


async def test_a_verdict_is_explained_to_its_company_and_replays_to_itself(log: EventLog) -> None:
    verification_id = await take_on(log, request())
    own = Caller(kind="account", id="a1", subject_id="s1")
    with pytest.raises(YunkuError) as running:
        await queries.explain(log, str(verification_id), own)
    assert running.value.code == "verification_running"
    assert await carry_out(log, Printed(), verification_id)
    explained = await queries.explain(log, str(verification_id), own)
    assert explained.verified == await verdict_of(log, verification_id)
    replayed = await queries.replay(log, str(verification_id), own)
    assert replayed.same
    assert replayed.verified == explained.verified
    assert (await queries.explain(log, str(verification_id), replace(own, subject_id="x", roles=(("AUDITOR", ""),)))).verified


@pytest.mark.parametrize("caller", [Caller(kind="account", id="a2", subject_id="s2"), Caller(kind="account", id="a3")])
async def test_another_companys_verdict_is_not_found(log: EventLog, caller: Caller) -> None:
    verification_id = await take_on(log, request())
    await carry_out(log, Printed(), verification_id)
    for wanted in (str(verification_id), str(uuid7()), "no-id"):
        for ask in (queries.explain, queries.replay):
            with pytest.raises(YunkuError) as refused:
                await ask(log, wanted, caller)
            assert refused.value.code == "not_found"


async def _done(log: EventLog, verification_id: UUID) -> bool:
    return (await log.load(VERIFICATION, verification_id)).state.verified is not None


async def _put_off(log: EventLog, verification_id: UUID) -> bool:
    return (await log.load(VERIFICATION, verification_id)).state.attempts > 0


HONOUR = {"name": "王建国", "honour_name": "先进个人", "issuer": "辽宁省住房和城乡建设厅", "awarded_on": "2025-05-01"}


def of_person() -> certificate_events_pb2.VerificationRequested:
    asked = request(type="personal_honour", person_id="p1")
    asked.ClearField("fields")
    asked.fields.update(HONOUR)
    asked.ClearField("marks")
    asked.marks.extend(types_pb2.Mark(field=name, page=1, box=types_pb2.Box(x1=0.5, y1=0.5)) for name in HONOUR)
    return asked


async def test_whose_certificate_it_is_is_asked_at_the_verdict_and_recorded_with_it(log: EventLog) -> None:
    own, others = await take_on(log, of_person()), await take_on(log, of_person())
    persons = Known(agrees=frozenset({"name"}))
    assert await carry_out(log, Printed(printed=dict(HONOUR)), own, persons)
    assert persons.asked == [("p1", "s1", {"name": ("person_name", "王建国")})]
    assert await carry_out(log, Printed(printed=dict(HONOUR)), others, Known())
    first, second = await verdict_of(log, own), await verdict_of(log, others)
    assert list(first.person_agrees) == ["name"]
    assert "holder" not in [one.rule for one in first.rules]
    assert [(one.rule, one.reason, one.decisive) for one in second.rules if one.decisive] == [("holder", "not_holder_person_name", True)]
    assert second.light == types_pb2.LIGHT_RED
    assert first.light != types_pb2.LIGHT_RED
    # A replay asks nobody.
    for verification_id in (own, others):
        again = await queries.replay(log, str(verification_id), Caller(kind="service", id="gateway"))
        assert again.same


async def test_while_persons_cannot_be_asked_it_waits_and_recognition_is_spared(log: EventLog) -> None:
    verification_id, recogniser = await take_on(log, of_person()), Printed(printed=dict(HONOUR))
    persons = Known(refuse="service_unavailable")
    assert not await carry_out(log, recogniser, verification_id, persons)
    assert recogniser.asked == []
    events = await log.read_stream(verification_id)
    assert events[-1].data.reason == "persons_unavailable"
    persons.refuse, persons.agrees = "", frozenset({"name"})
    assert await carry_out(log, recogniser, verification_id, persons)
