"""Questions, answered from the read model and, for versions, from the log itself."""

import json
from uuid import UUID

from google.protobuf.json_format import MessageToJson
from sqlalchemy import select
from yunku.kernel.v1 import kernel_pb2
from yunku.subject.v1 import service_pb2

from kernel.context import Caller
from kernel.errors import YunkuError
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog
from services.subject import domain
from services.subject.projections import timestamp, versions_of
from services.subject.tables import subjects


async def get(log: EventLog, subject_id: str, caller: Caller) -> service_pb2.Subject:
    """The subject, for a session that acts for it or registered it, for auditors and for services; else ``not_found``."""
    try:
        wanted = UUID(subject_id)
    except ValueError:
        raise YunkuError("not_found") from None
    statement = select(subjects.c.subject, subjects.c.account_id).where(subjects.c.subject_id == wanted)
    async with log.pool.connection() as connection:
        row = await (await connection.execute(*render(statement), prepare=True)).fetchone()
    if row is None or not (
        caller.kind == "service"
        or (caller.kind == "account" and (caller.subject_id == str(wanted) or caller.id == row[1]))
        or caller.has_role("AUDITOR")
    ):
        raise YunkuError("not_found")
    return service_pb2.Subject.FromString(bytes(row[0]))


async def history(log: EventLog, subject_id: str, caller: Caller) -> service_pb2.GetSubjectHistoryResponse:
    """The operation record: one line per event of the log, with who, when and what changed."""
    subject = await get(log, subject_id, caller)
    items: list[service_pb2.SubjectHistoryItem] = []
    state = domain.Subject()
    for event in await log.read_stream(UUID(subject.id)):
        before, state = domain.shown(state), domain.evolve(state, event.data, event.recorded_at)
        items.append(
            service_pb2.SubjectHistoryItem(
                number=event.version,
                at=timestamp(event.recorded_at),
                actor_kind=kernel_pb2.ActorKind.Name(event.meta.actor_kind).removeprefix("ACTOR_KIND_").lower(),
                actor_id=event.meta.actor_id,
                type=event.short_type,
                event_json=MessageToJson(event.data, preserving_proto_field_name=True, indent=None, ensure_ascii=False),
                changes_json=json.dumps(domain.changes(before, domain.shown(state)), ensure_ascii=False),
                event_id=str(event.event_id),
                hash=event.hash.hex(),
                version=state.version,
            )
        )
    return service_pb2.GetSubjectHistoryResponse(items=items)


async def profile_versions(log: EventLog, subject_id: str, caller: Caller) -> service_pb2.ListProfileVersionsResponse:
    """Every submission of the basic information, newest first, with what changed against the one before."""
    subject = await get(log, subject_id, caller)
    return service_pb2.ListProfileVersionsResponse(items=versions_of(await log.read_stream(UUID(subject.id))))
