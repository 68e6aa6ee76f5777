"""The loop that notices coming expiry, and the reminders as the company sees them."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import Select, case, literal_column, or_, select, tuple_
from yunku.certificate.v1 import service_pb2

import catalogue
from kernel import context as call_context
from kernel.calendar import CHINA
from kernel.context import Caller, system_context
from kernel.errors import YunkuError
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog
from kernel.heartbeat import beat
from services.certificate import domain, expiry
from services.certificate.handlers import certificate_id
from services.certificate.projections import CERTIFICATE
from services.certificate.tables import expiries

#: Certificates looked at before the loop takes breath.
BATCH: Final = 200
MAX_LIMIT: Final = 200


def due(today: date, days: Sequence[int], after: tuple[date, UUID] | None, limit: int) -> Select[tuple[UUID, str, date]]:
    """What has reached a threshold that wasn't noticed yet, those that end first first; found by an index of what may still be noticed."""
    reached = case(
        (expiries.c.ends_on < today, expiry.AFTER),
        *((expiries.c.ends_on <= today + timedelta(days=day), day) for day in sorted(days)),
    )
    last = today + timedelta(days=max(days)) if days else today - timedelta(days=1)
    statement = select(expiries.c.certificate_id, expiries.c.subject_id, expiries.c.ends_on).where(
        expiries.c.ends_on.isnot(None),
        # A literal: by a parameter the index's own condition couldn't be recognised in a plan for all values.
        or_(expiries.c.noticed.is_(None), expiries.c.noticed >= literal_column("0")),
        expiries.c.ends_on <= last,
        or_(expiries.c.noticed.is_(None), expiries.c.noticed > reached),
    )
    if after is not None:
        statement = statement.where(tuple_(expiries.c.ends_on, expiries.c.certificate_id) > tuple_(*after))
    return statement.order_by(expiries.c.ends_on, expiries.c.certificate_id).limit(limit)


class Reminder:
    """A background loop. What was noticed stands in the log: a restart repeats nothing, and of two processes the second finds it done.

    ``days`` are the thresholds before the end; the day after it is always one. The day is China's, by ``clock``.
    """

    def __init__(self, log: EventLog, days: Sequence[int], look_seconds: float, clock: Callable[[], datetime]) -> None:
        self._log = log
        self._days = tuple(days)
        self._look_seconds = look_seconds
        self._clock = clock

    async def run(self) -> None:
        while True:
            beat()
            await self.look()
            await asyncio.sleep(self._look_seconds)

    async def look(self) -> int:
        """Notices all that is due now; answers how many reminders that made."""
        made, after = 0, None
        while True:
            today = self._clock().astimezone(CHINA).date()
            async with self._log.pool.connection() as connection:
                rows = await (await connection.execute(*render(due(today, self._days, after, BATCH)))).fetchall()
            for stream_id, subject_id, ends_on in rows:
                outcome = await self._log.execute(
                    CERTIFICATE,
                    stream_id,
                    partial(self._decide, today),
                    system_context("certificate"),
                    subject_id=subject_id,
                )
                made += len(outcome.events)
                after = (ends_on, stream_id)
            if len(rows) < BATCH:
                return made
            beat()

    def _decide(self, today: date, state: domain.State) -> list[Message]:
        return expiry.notice(state, catalogue.load().type(state.view.type), today, self._days)


async def acknowledge(log: EventLog, notice_id: str) -> service_pb2.AcknowledgeNoticeResponse:
    """Takes note of a reminder; raises ``not_found`` where the subject has no such reminder (any more)."""
    context = call_context.current()
    subject_id = context.caller.require_subject()
    await log.execute(
        CERTIFICATE,
        certificate_id(expiry.certificate_of(notice_id)),
        lambda state: expiry.acknowledge(state, subject_id, notice_id),
        context,
        respond=lambda state, _: service_pb2.AcknowledgeNoticeResponse(),
    )
    return service_pb2.AcknowledgeNoticeResponse()


async def find(log: EventLog, request: service_pb2.ListNoticesRequest, caller: Caller) -> service_pb2.ListNoticesResponse:
    """The subject's open reminders, those that end first first. Raises ``cursor_invalid``."""
    limit = min(request.limit or 50, MAX_LIMIT)
    statement = select(expiries.c.notice, expiries.c.ends_on, expiries.c.certificate_id).where(
        expiries.c.subject_id == caller.require_subject(), expiries.c.open
    )
    if request.cursor:
        day, _, last = request.cursor.partition(".")
        try:
            statement = statement.where(tuple_(expiries.c.ends_on, expiries.c.certificate_id) > tuple_(date.fromisoformat(day), UUID(last)))
        except ValueError:
            raise YunkuError("cursor_invalid", field="/cursor") from None
    statement = statement.order_by(expiries.c.ends_on, expiries.c.certificate_id).limit(limit + 1)
    async with log.pool.connection() as connection:
        rows = await (await connection.execute(*render(statement))).fetchall()
    items = [service_pb2.Notice.FromString(bytes(row[0])) for row in rows[:limit]]
    more = f"{rows[limit - 1][1].isoformat()}.{rows[limit - 1][2]}" if len(rows) > limit else ""
    return service_pb2.ListNoticesResponse(items=items, next_cursor=more)
