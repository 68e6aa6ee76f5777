"""What domains are to be told, made from the service's own log: exactly once, in the log's order, whatever dies in between."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from yunku.push.v1 import events_pb2

import catalogue
from kernel.eventlog.events import RecordedEvent
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog, fold
from services.push import cloudevents
from services.push.projections import PUSH
from services.push.tables import followed, notices, pushes

#: Events that are followed in one transaction, and notices that are read for one domain at once.
BATCH = 200
_FOLLOWER = "notices"


@dataclass(frozen=True)
class Notice:
    """One message for a domain."""

    notice_id: str
    kind: str
    push_id: UUID | None
    body: bytes | None
    created_at: datetime


async def follow(log: EventLog) -> bool:
    """Makes the notices of the log's next events; True while there may be more. Several processes may call it: one works."""
    async with log.transaction() as transaction:
        connection = transaction.connection
        await connection.execute(*render(insert(followed).values(name=_FOLLOWER, position=0).on_conflict_do_nothing()))
        query = select(followed.c.position).where(followed.c.name == _FOLLOWER).with_for_update(skip_locked=True)
        row = await (await connection.execute(*render(query))).fetchone()
        if row is None:
            return False
        events, last = await log.read_log(int(row[0]) + 1, BATCH)
        for event in events:
            values = _notice_of(event)
            if values is not None:
                await connection.execute(*render(insert(notices).values(**values).on_conflict_do_nothing()))
        if events:
            position = events[-1].position or 0
            await connection.execute(*render(update(followed).where(followed.c.name == _FOLLOWER).values(position=position)))
            return position < last
        return False


async def unsequenced(log: EventLog) -> bool:
    """Whether events were appended that have no place in the log yet: there will be something to follow in a moment."""
    async with log.pool.connection() as connection:
        row = await (await connection.execute("SELECT EXISTS (SELECT 1 FROM outbox)", prepare=True)).fetchone()
    return bool(row and row[0])


def _notice_of(event: RecordedEvent) -> dict[str, object] | None:
    match event.data:
        case events_pb2.PushOpened(push_id=push_id):
            kind, notice_id = "requested", cloudevents.requested_id(push_id)
        case events_pb2.PushWithdrawn(push_id=push_id):
            kind, notice_id = "withdrawn", cloudevents.withdrawn_id(push_id)
        case events_pb2.Reviewed(push_id=push_id) if event.data.channel != events_pb2.REVIEW_CHANNEL_SYSTEM:
            kind, notice_id = "decided", cloudevents.decided_id(push_id)
        case events_pb2.Appealed(push_id=push_id):
            kind, notice_id = "appealed", cloudevents.appealed_id(push_id)
        case events_pb2.AppealAnswered(push_id=push_id) if event.data.channel != events_pb2.REVIEW_CHANNEL_SYSTEM:
            kind, notice_id = "appeal_decided", cloudevents.appeal_decided_id(push_id)
        case _:
            return None
    return {
        "notice_id": notice_id,
        "domain_id": event.data.domain_id,
        "kind": kind,
        "push_id": event.stream_id,
        "position": event.position,
        "created_at": event.recorded_at,
    }


async def due(log: EventLog, domain_id: str) -> list[Notice]:
    """What the domain is to be told next, in order."""
    query = (
        select(notices.c.notice_id, notices.c.kind, notices.c.push_id, notices.c.body, notices.c.created_at)
        .where(notices.c.domain_id == domain_id, notices.c.stream_sequence.is_(None))
        .order_by(notices.c.position, notices.c.notice_id)
        .limit(BATCH)
    )
    async with log.pool.connection() as connection:
        rows = await (await connection.execute(*render(query), prepare=True)).fetchall()
    return [Notice(*row) for row in rows]


async def domains_with_due(log: EventLog) -> set[str]:
    """The domains that are to be told something."""
    query = select(notices.c.domain_id).where(notices.c.stream_sequence.is_(None)).distinct()
    async with log.pool.connection() as connection:
        rows = await (await connection.execute(*render(query), prepare=True)).fetchall()
    return {row[0] for row in rows}


async def message(log: EventLog, notice: Notice) -> tuple[bytes, list[RecordedEvent] | None]:
    """The CloudEvent of a notice, and of a push the events of its stream."""
    if notice.body is not None or notice.push_id is None:
        return bytes(notice.body or b""), None
    events = await log.read_stream(notice.push_id)
    state = fold(PUSH, events).state
    if notice.kind == "withdrawn":
        return cloudevents.encode(cloudevents.withdrawn(state)), None
    if notice.kind == "decided":
        return cloudevents.encode(cloudevents.decided(state)), None
    if notice.kind == "appealed":
        return cloudevents.encode(cloudevents.appealed(state)), None
    if notice.kind == "appeal_decided":
        return cloudevents.encode(cloudevents.appeal_decided(state)), None
    assert state.opened is not None
    return cloudevents.encode(cloudevents.requested(state, catalogue.load())), events


@dataclass(frozen=True)
class Untaken:
    """A notice that the domain's stream should hold and its system hasn't taken yet."""

    notice_id: str
    kind: str
    push_id: UUID | None
    stream_sequence: int


async def untaken(log: EventLog, domain_id: str, up_to: int | None = None) -> list[Untaken]:
    """What was sent and not taken, in the stream's order; ``up_to`` a sequence, or all."""
    query = (
        select(notices.c.notice_id, notices.c.kind, notices.c.push_id, notices.c.stream_sequence)
        .where(notices.c.domain_id == domain_id, notices.c.stream_sequence.is_not(None), notices.c.taken_at.is_(None))
        .order_by(notices.c.stream_sequence)
    )
    if up_to is not None:
        query = query.where(notices.c.stream_sequence <= up_to).limit(BATCH)
    async with log.pool.connection() as connection:
        rows = await (await connection.execute(*render(query), prepare=True)).fetchall()
    return [Untaken(*row) for row in rows]


async def resend(log: EventLog, notice_ids: list[str]) -> None:
    """Marks notices that the domain's stream lost as to be sent."""
    lost = update(notices).where(notices.c.notice_id.in_(notice_ids)).values(stream_sequence=None, sent_at=None)
    async with log.pool.connection() as connection:
        await connection.execute(*render(lost))


@dataclass(frozen=True)
class Waiting:
    """How many pushes of one domain wait, and the seconds that the oldest has waited."""

    count: int
    oldest: float


async def waiting(log: EventLog) -> dict[tuple[str, str], Waiting]:
    """By domain and what it is waited for: ``delivery`` to its stream, ``acknowledgement`` by its system."""
    age = func.extract("epoch", func.clock_timestamp() - func.min(pushes.c.opened_at))
    delivery = (
        select(pushes.c.domain_id, func.count(), age)
        .where(pushes.c.state == "pending", pushes.c.acknowledged_at.is_(None), pushes.c.delivered_at.is_(None))
        .group_by(pushes.c.domain_id)
    )
    acknowledgement = (
        select(pushes.c.domain_id, func.count(), age)
        .where(pushes.c.state == "pending", pushes.c.acknowledged_at.is_(None))
        .group_by(pushes.c.domain_id)
    )
    found = {}
    async with log.pool.connection() as connection:
        for what, query in (("delivery", delivery), ("acknowledgement", acknowledgement)):
            for domain_id, count, oldest in await (await connection.execute(*render(query), prepare=True)).fetchall():
                found[domain_id, what] = Waiting(int(count), float(oldest))
    return found
