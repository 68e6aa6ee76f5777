"""What belonging to a performance means for a certificate: when it may be begun, changed and submitted, and what tells the whole."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from yunku.certificate.v1 import performance_pb2, service_pb2

import catalogue
from catalogue import CertificateType, Owner
from kernel import values
from kernel.errors import YunkuError
from kernel.eventlog.sql import render
from kernel.eventlog.store import Connection, EventLog
from services.certificate.domain import DISCARDED, SUBMITTED
from services.certificate.performances import check, domain
from services.certificate.tables import certificates, performances

#: The award that needs a submitted performance's 标段 (manual 三 (四) 3).
AWARD_TYPE: Final = "project_award"


async def read(connection: Connection, performance_id: str) -> performance_pb2.Performance | None:
    """The performance as its read model has it, whoever's it is."""
    try:
        wanted = UUID(performance_id)
    except ValueError:
        return None
    statement = select(performances.c.performance).where(performances.c.performance_id == wanted)
    row = await (await connection.execute(*render(statement), prepare=True)).fetchone()
    return performance_pb2.Performance.FromString(bytes(row[0])) if row is not None else None


async def certificates_of(connection: Connection, subject_id: str, performance_ids: Iterable[str]) -> list[service_pb2.Certificate]:
    """The certificates of these performances that aren't discarded, awards among them, in the order of their making."""
    statement = (
        select(certificates.c.certificate)
        .where(
            certificates.c.subject_id == subject_id,
            certificates.c.performance_id.in_(list(performance_ids)),
            certificates.c.state != DISCARDED,
        )
        .order_by(certificates.c.certificate_id)
    )
    rows = await (await connection.execute(*render(statement))).fetchall()
    return [service_pb2.Certificate.FromString(bytes(row[0])) for row in rows]


def whole(view: performance_pb2.Performance, own: Sequence[service_pb2.Certificate]) -> performance_pb2.PerformanceView:
    """The performance with its materials, its contract and the states of its pushes."""
    known = catalogue.load()
    materials = [one for one in own if domain.is_material(known.performances, one.type)]
    rows = domain.table(known, view, materials)
    items, made = domain.contract(known, materials)
    return performance_pb2.PerformanceView(
        performance=domain.pushed(known, view, own),
        light=domain.light(known, rows),
        materials=rows,
        contract=items,
        changes=made,
    )


def check_inputs(
    view: performance_pb2.Performance, own: Sequence[service_pb2.Certificate], holder_names: Sequence[str], today: date
) -> check.Inputs:
    """What the logic check looks at: the newest living certificate of each kind, and the contract changes in their order."""
    known = catalogue.load()
    there = domain.living(own)
    papers = {one.type: check.Paper(one.id, one.type, dict(one.fields)) for one in there}
    overrides = [
        check.Override(
            change.certificate.id, change.certificate.type, change.item, change.value, change.certificate.fields.get("new_value", "")
        )
        for change in domain.changes(known, there)
    ]
    return check.Inputs(
        holder_names=holder_names,
        category=known.performances.category(view.category),
        today=today,
        information=dict(view.information),
        papers={code: papers[code] for code in (check.AWARD, check.CONTRACT, check.ACCEPTANCE) if code in papers},
        overrides=overrides,
    )


async def begin(log: EventLog, subject_id: str, kind: CertificateType, performance_id: str) -> dict[str, str]:
    """Whether a certificate of the type may be begun for the performance; what it states already because of it.

    Raises ``field_required``, ``not_found``, ``wrong_state``, ``material_unfit``, ``material_limit`` (materials) and
    ``performance_not_submitted`` (awards), all at ``/performance_id``.
    """
    pointer = "/performance_id"
    if kind.owner is not Owner.PERFORMANCE:
        if performance_id:
            raise YunkuError("value_invalid", field=pointer)
        return {}
    if not performance_id:
        raise YunkuError("field_required", field=pointer)
    known = catalogue.load()
    async with log.pool.connection() as connection:
        view = await read(connection, performance_id)
        if view is None or view.holder.subject_id != subject_id:
            raise YunkuError("not_found", field=pointer)
        if kind.code == AWARD_TYPE:
            if view.state != SUBMITTED:
                raise YunkuError("performance_not_submitted", field=pointer)
            return {"section_name": view.accepted.information["section_name"]}
        if not domain.fits(known.performances, view.category, kind.code):
            raise YunkuError("material_unfit", field=pointer)
        if not domain.is_open(view):
            raise YunkuError("wrong_state", field=pointer, state=view.state)
        counted = (
            select(func.count())
            .select_from(certificates)
            .where(
                certificates.c.subject_id == subject_id,
                certificates.c.performance_id == performance_id,
                certificates.c.state != DISCARDED,
            )
        )
        row = await (await connection.execute(*render(counted))).fetchone()
        if row is not None and row[0] >= domain.MAX_MATERIALS:
            raise YunkuError("material_limit", field=pointer, max=str(domain.MAX_MATERIALS))
    return {}


async def may_supplement(log: EventLog, view: service_pb2.Certificate) -> None:
    """A submitted material is changed only while its performance is reopened: the check is over the whole."""
    if not domain.is_material(catalogue.load().performances, view.type):
        return
    async with log.pool.connection() as connection:
        performance = await read(connection, view.performance_id)
    if performance is not None and not domain.is_open(performance):
        raise YunkuError("performance_not_open")


async def may_submit(log: EventLog, view: service_pb2.Certificate) -> None:
    """Materials enter the register with their performance; an award must name a section that its performance has."""
    if domain.is_material(catalogue.load().performances, view.type):
        raise YunkuError("submitted_with_performance")
    if view.type != AWARD_TYPE:
        return
    async with log.pool.connection() as connection:
        performance = await read(connection, view.performance_id)
        if performance is None or performance.state != SUBMITTED:
            raise YunkuError("performance_not_submitted")
        own = await certificates_of(connection, view.holder.subject_id, [performance.id])
    names = {performance.accepted.information["section_name"]}
    items, made = domain.contract(catalogue.load(), [one for one in own if one.state == SUBMITTED])
    names |= {item.original for item in items if item.item == "section_name"}
    names |= {change.value for change in made if change.item == "section_name"}
    if not any(name and values.equal("string", name, view.fields.get("section_name", "")) for name in names):
        raise YunkuError("section_unknown", field="/fields/section_name")
