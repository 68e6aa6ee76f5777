"""Questions about performances, answered from the read models and, for history, from the log itself."""

import json
from typing import Any, Final
from uuid import UUID

from google.protobuf.json_format import MessageToJson
from sqlalchemy import ColumnElement, Text, and_, case, cast, func, or_, select
from yunku.certificate.v1 import performance_pb2, types_pb2
from yunku.kernel.v1 import kernel_pb2

import catalogue
from kernel.context import Caller
from kernel.errors import YunkuError
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog
from services.certificate.domain import DISCARDED, DRAFT, SUBMITTED
from services.certificate.performances import domain, materials
from services.certificate.performances.handlers import performance_id
from services.certificate.queries import changes_between
from services.certificate.tables import certificates, performances

MAX_LIMIT: Final = 200
#: A transcript of LIKE's own signs, so that they are searched for as they stand.
_LIKE: Final = str.maketrans({"\\": r"\\", "%": r"\%", "_": r"\_"})


def _may_see(view: performance_pb2.Performance, caller: Caller) -> bool:
    return caller.kind == "service" or view.holder.subject_id == caller.subject_id or caller.has_role("AUDITOR")


async def get(log: EventLog, text: str, caller: Caller) -> performance_pb2.PerformanceView:
    """The performance with its materials, for its subject, auditors and services; else ``not_found``."""
    async with log.pool.connection() as connection:
        view = await materials.read(connection, text)
        if view is None or not _may_see(view, caller):
            raise YunkuError("not_found")
        own = await materials.certificates_of(connection, view.holder.subject_id, [view.id])
    return materials.whole(view, own)


def _light() -> ColumnElement[int]:
    """The light of a performance over its materials' rows, as ``domain.light`` has it."""
    known = catalogue.load()
    required = {one.code: [t for t in one.required if known.type(t).verification] for one in known.performances.categories}
    there = and_(
        certificates.c.performance_id == cast(performances.c.performance_id, Text),
        certificates.c.subject_id == performances.c.subject_id,
        certificates.c.state.in_((DRAFT, SUBMITTED)),
        ~certificates.c.followed,
        or_(*(and_(performances.c.category == code, certificates.c.type.in_(types)) for code, types in required.items())),
    )
    needed = case({code: len(types) for code, types in required.items()}, value=performances.c.category)
    lit = certificates.c.light
    worst = case(
        (func.bool_or(lit == types_pb2.LIGHT_RED), types_pb2.LIGHT_RED),
        (func.count(certificates.c.type.distinct()) < needed, types_pb2.LIGHT_NONE),
        (func.bool_or(lit == types_pb2.LIGHT_NONE), types_pb2.LIGHT_NONE),
        (func.bool_or(lit == types_pb2.LIGHT_YELLOW), types_pb2.LIGHT_YELLOW),
        else_=types_pb2.LIGHT_GREEN,
    )
    return select(worst).where(there).correlate(performances).scalar_subquery()


async def find(log: EventLog, request: performance_pb2.ListPerformancesRequest, caller: Caller) -> performance_pb2.ListPerformancesResponse:
    """The subject's performances, newest first; discarded ones only when asked for. The cursor is the last id given."""
    limit = min(request.limit or 50, MAX_LIMIT)
    light = _light()
    statement = select(performances.c.performance, light.label("light")).where(performances.c.subject_id == caller.require_subject())
    for column in ("category", "performance_type", "state"):
        wanted = getattr(request, column)
        if wanted:
            statement = statement.where(performances.c[column] == wanted)
    if not request.state:
        statement = statement.where(performances.c.state != DISCARDED)
    if request.light:
        statement = statement.where(light == request.light)
    if request.search:
        pattern = f"%{request.search.translate(_LIKE)}%"
        statement = statement.where(
            or_(performances.c.section_name.ilike(pattern, escape="\\"), performances.c.section_no.ilike(pattern, escape="\\"))
        )
    if request.cursor:
        try:
            statement = statement.where(performances.c.performance_id < UUID(request.cursor))
        except ValueError:
            raise YunkuError("cursor_invalid", field="/cursor") from None
    statement = statement.order_by(performances.c.performance_id.desc()).limit(limit + 1)
    async with log.pool.connection() as connection:
        rows = await (await connection.execute(*render(statement))).fetchall()
    items = [
        performance_pb2.PerformanceSummary(performance=performance_pb2.Performance.FromString(bytes(row[0])), light=row[1])
        for row in rows[:limit]
    ]
    return performance_pb2.ListPerformancesResponse(items=items, next_cursor=items[-1].performance.id if len(rows) > limit else "")


async def history(log: EventLog, text: str, caller: Caller) -> performance_pb2.GetPerformanceHistoryResponse:
    """The operation record of the performance itself: one line per event of its stream."""
    answer = performance_pb2.GetPerformanceHistoryResponse()
    state = domain.State()
    for event in await log.read_stream(performance_id(text)):
        if not event.short_type.startswith("Performance"):
            raise YunkuError("not_found")  # a certificate's stream
        before, state = state.view, domain.evolve(state, event.data, event.recorded_at)
        item = answer.items.add(
            number=event.version,
            actor_kind=kernel_pb2.ActorKind.Name(event.meta.actor_kind).removeprefix("ACTOR_KIND_").lower(),
            actor_id=event.meta.actor_id,
            type=event.short_type,
            event_json=MessageToJson(event.data, preserving_proto_field_name=True, indent=None, ensure_ascii=False),
            changes_json=json.dumps(changes_between(_shown(before) if before.id else {}, _shown(state.view)), ensure_ascii=False),
            event_id=str(event.event_id),
            hash=event.hash.hex(),
            version=state.view.version,
        )
        item.at.FromDatetime(event.recorded_at)
    if not answer.items or not _may_see(state.view, caller):
        raise YunkuError("not_found")
    return answer


def _shown(view: performance_pb2.Performance) -> dict[str, Any]:
    """What an operation record compares: everything that the stream says."""
    shown: dict[str, Any] = {f"information.{name}": value for name, value in view.information.items()}
    for one in view.accepted.materials:
        shown[f"materials.{one.type}.{one.unique_code}"] = one.version
    for push in view.pushes:
        shown[f"pushes.{push.number}"] = push.domain_id
    return shown | {"state": view.state, "reopened": view.reopened, "category": view.category, "unique_code": view.unique_code}
