"""Questions about performances, answered from the read models and, for history, from the log itself."""

import json
from typing import Any, Final
from uuid import UUID

from google.protobuf.json_format import MessageToJson
from sqlalchemy import ColumnElement, Text, and_, case, cast, func, or_, select
from yunku.certificate.v1 import performance_pb2, service_pb2, types_pb2
from yunku.kernel.v1 import kernel_pb2

import catalogue
from kernel.context import Caller
from kernel.errors import YunkuError
from kernel.eventlog.sql import render
from kernel.eventlog.store import Connection, EventLog
from services.certificate import listing
from services.certificate.domain import DISCARDED, DRAFT, SUBMITTED
from services.certificate.performances import domain, materials, ties
from services.certificate.performances.handlers import performance_id
from services.certificate.ports import Persons
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


async def performances_of(
    log: EventLog, persons: Persons, person_id: str, caller: Caller
) -> performance_pb2.ListPersonPerformancesResponse:
    """业绩信息 of a person whom the caller's subject employs now, newest first."""
    known = catalogue.load()
    answer = performance_pb2.ListPersonPerformancesResponse()
    for view, own, _ in await _tied(log, persons, person_id, caller.require_subject()):
        rows = domain.table(known, view, [one for one in own if domain.is_material(known.performances, one.type)])
        answer.items.add(performance=view, light=domain.light(known, rows))
    return answer


async def awards_of(log: EventLog, persons: Persons, person_id: str, caller: Caller) -> performance_pb2.ListPersonAwardsResponse:
    """工程获奖 of a person: the approved awards of the person's performances, newest first."""
    found = await _tied(log, persons, person_id, caller.require_subject())
    awards = [one for _, own, name in found for one in ties.awards(own, name, materials.AWARD_TYPE)]
    return performance_pb2.ListPersonAwardsResponse(items=sorted(awards, key=lambda one: one.id, reverse=True))


async def _tied(
    log: EventLog, persons: Persons, person_id: str, subject_id: str
) -> list[tuple[performance_pb2.Performance, list[service_pb2.Certificate], str]]:
    """(performance, its certificates, the manager's name) of every performance that is the person's (``ties``).

    Of several employed persons of one name it is the one who holds the certificate whose number the contract names.
    """
    known = catalogue.load()
    naming = (known.performances.contract, known.performances.change)
    async with log.pool.connection() as connection:
        contracts: dict[str, list[service_pb2.Certificate]] = {}
        for one in await _certificates(connection, subject_id, certificates.c.type.in_(naming)):
            contracts.setdefault(one.performance_id, []).append(one)
        held = await _certificates(connection, subject_id, listing.has(subject_id, "person_id", person_id))
    held = [one for one in held if one.person_id == person_id]
    if not any(known.type(one.type).revisable and ties.approving(one) for one in held):
        return []  # the person's basic information isn't approved
    managers = {number: ties.manager(known, own) for number, own in contracts.items()}
    agreeing = await persons.agreeing(person_id, subject_id, sorted({name for name in managers.values() if name}))
    of_one_name = {name: {one for one, bound in (await persons.named(subject_id, name)).items() if bound} for name in agreeing}
    mine = {
        number
        for number, name in managers.items()
        if name in agreeing and (of_one_name[name] == {person_id} or ties.holds_number(held, ties.manager_number(known, contracts[number])))
    }
    found = []
    async with log.pool.connection() as connection:
        own_of: dict[str, list[service_pb2.Certificate]] = {}
        for one in await materials.certificates_of(connection, subject_id, mine):
            own_of.setdefault(one.performance_id, []).append(one)
        for number in sorted(mine, reverse=True):
            view = await materials.read(connection, number)
            if view is not None and ties.approved(known, view, own_of.get(number, [])):
                found.append((view, own_of[number], managers[number]))
    return found


async def _certificates(connection: Connection, subject_id: str, *conditions: ColumnElement[bool]) -> list[service_pb2.Certificate]:
    statement = select(certificates.c.certificate).where(
        certificates.c.subject_id == subject_id, certificates.c.state == SUBMITTED, *conditions
    )
    rows = await (await connection.execute(*render(statement))).fetchall()
    return [service_pb2.Certificate.FromString(bytes(row[0])) for row in rows]


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
