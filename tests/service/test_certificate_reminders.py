"""The loop that notices coming expiry, on the real database with a clock that is moved: once each, whoever looks and however often."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg_pool import AsyncConnectionPool
from yunku.certificate.v1 import events_pb2, service_pb2, types_pb2

from infra.testing import RunningSuite
from kernel.context import CallContext, Caller, system_context, use
from kernel.errors import YunkuError
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog
from kernel.ids import uuid7
from services.certificate import reminders
from services.certificate.projections import CERTIFICATE, TYPES
from services.certificate.reminders import Reminder

DAYS = (90, 30, 7)
#: Before everything that other tests let end, so that nothing of theirs is due.
TODAY = date(2019, 3, 1)


class Shelf:
    """Submitted certificates of one company, their reminders, and processes that look for what is due."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self.log = EventLog(pool, "certificate", TYPES)
        self.pool = pool
        self.subject_id = str(uuid7())
        self.today = TODAY

    def clock(self) -> datetime:
        # Still the day before in UTC: the day is China's.
        return datetime.combine(self.today, datetime.min.time(), UTC) - timedelta(hours=7, minutes=59)

    def process(self) -> Reminder:
        """Another process: with a memory of streams of its own."""
        return Reminder(EventLog(self.pool, "certificate", TYPES), DAYS, 1, self.clock)

    async def look(self, *, ahead: int = 0) -> int:
        self.today = TODAY + timedelta(days=ahead)
        return await self.process().look()

    async def submitted(self, ends_on: date | None) -> str:
        made = uuid7()
        holder = types_pb2.Holder(subject_id=self.subject_id, uscc="91210102MA0YK0015B", name="沈阳云库建设有限公司")
        fields = {"business_term": f"2010-03-01/{ends_on or '长期'}"}
        drafted = events_pb2.CertificateDrafted(
            certificate_id=str(made), holder=holder, type="business_license", mode=types_pb2.MODE_MANUAL, fields=fields, version=1
        )
        accepted = events_pb2.Submitted(certificate_id=str(made), holder=holder, type="business_license", version=1, unique_code=str(made))
        await self.append(made, drafted, accepted)
        return str(made)

    async def append(self, stream_id: UUID, *events: Any) -> None:
        await self.log.execute(CERTIFICATE, stream_id, lambda _: events, system_context("certificate"), subject_id=self.subject_id)

    async def open(self, limit: int = 0) -> list[tuple[str, int]]:
        found, cursor = [], ""
        while True:
            request = service_pb2.ListNoticesRequest(limit=limit, cursor=cursor)
            page = await reminders.find(self.log, request, self.caller(self.subject_id))
            found += [(one.certificate_id, one.notice.days_before) for one in page.items]
            cursor = page.next_cursor
            if not cursor:
                return found

    def caller(self, subject_id: str) -> Caller:
        return Caller(kind="account", id=str(uuid7()), subject_id=subject_id)

    async def acknowledge(self, notice_id: str, subject_id: str = "") -> None:
        with use(CallContext(caller=self.caller(subject_id or self.subject_id), correlation_id=str(uuid7()))):
            await reminders.acknowledge(self.log, notice_id)

    async def noticed(self, certificate_id: str) -> list[int]:
        events = await self.log.read_stream(UUID(certificate_id))
        return [event.data.days_before for event in events if event.short_type == "ExpiryNoticed"]


@pytest.fixture
async def shelf(stack: RunningSuite) -> AsyncIterator[Shelf]:
    url = stack.environment("certificate")["YUNKU_DATABASE_URL"]
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(url, min_size=1, max_size=8, open=False, kwargs={"autocommit": True})
    await pool.open()
    made = Shelf(pool)
    try:
        yield made
        # Nothing stays open that the next test would find due.
        for certificate_id, _ in await made.open():
            await made.append(UUID(certificate_id), events_pb2.Superseded(certificate_id=certificate_id, successor_id="x"))
    finally:
        await pool.close()


async def test_reminders_come_once_as_the_clock_moves(shelf: Shelf) -> None:
    near, far = await shelf.submitted(TODAY + timedelta(days=20)), await shelf.submitted(TODAY + timedelta(days=100))
    endless = await shelf.submitted(None)
    assert await shelf.look() == 1
    assert await shelf.look() == 0  # a restart
    assert await shelf.open() == [(near, 30)]
    assert await shelf.look(ahead=10) == 1
    assert await shelf.open() == [(near, 30), (far, 90)]
    assert await shelf.look(ahead=21) == 1
    assert await shelf.open() == [(near, -1), (far, 90)]
    assert await shelf.open(limit=1) == [(near, -1), (far, 90)]
    assert await shelf.look(ahead=200) == 1
    assert (await shelf.noticed(near), await shelf.noticed(far), await shelf.noticed(endless)) == ([30, -1], [90, -1], [])


async def test_of_two_processes_one_notices(shelf: Shelf) -> None:
    made = [await shelf.submitted(TODAY + timedelta(days=5)) for _ in range(6)]
    counts = await asyncio.gather(*(shelf.process().look() for _ in range(4)))
    assert sum(counts) == len(made)
    assert [await shelf.noticed(one) for one in made] == [[7]] * len(made)


async def test_what_ends_a_reminder(shelf: Shelf) -> None:
    first, second, third = [await shelf.submitted(TODAY + timedelta(days=days)) for days in (4, 5, 6)]
    assert await shelf.look() == 3
    notice_id = f"{first}.1.7"
    with pytest.raises(YunkuError, match="not_found"):
        await shelf.acknowledge(notice_id, str(uuid7()))
    await shelf.acknowledge(notice_id)
    await shelf.acknowledge(notice_id)
    await shelf.append(UUID(second), events_pb2.Superseded(certificate_id=second, successor_id="x"))
    await shelf.append(UUID(third), events_pb2.SupplementBegun(certificate_id=third, version=2))
    assert [one for one, _ in await shelf.open()] == [third]
    longer = {"business_term": "2010-03-01/2059-01-01"}
    await shelf.append(
        UUID(third),
        events_pb2.FieldsStated(certificate_id=third, fields=longer, version=3),
        events_pb2.Submitted(certificate_id=third, type="business_license", version=3, unique_code=third),
    )
    assert await shelf.open() == []
    assert await shelf.look(ahead=30) == 1
    assert await shelf.open() == [(first, -1)]  # acknowledged before it ended, and now it has


async def test_a_batch_at_a_time_and_by_the_index(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reminders, "BATCH", 2)
    made = [await shelf.submitted(TODAY + timedelta(days=3)) for _ in range(5)]
    assert await shelf.look() == len(made)
    query, parameters = render(reminders.due(TODAY, DAYS, None, 200))
    async with shelf.pool.connection() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = await (await connection.execute(b"EXPLAIN " + query, parameters)).fetchall()
    assert any("expiries_to_notice" in line for (line,) in plan), plan


def test_the_day_is_chinas() -> None:
    shelf = Shelf(None)  # type: ignore[arg-type]
    assert shelf.clock().date() == TODAY - timedelta(days=1)
