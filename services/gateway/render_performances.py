"""Performances as the public interface shows them: labels beside codes, null for what isn't there."""

from yunku.certificate.v1 import performance_pb2, service_pb2, types_pb2

import catalogue
from kernel import texts
from services.gateway import models
from services.gateway.render import holder, known_type, light, moment, word


def summary(one: performance_pb2.Performance, lit: int) -> models.PerformanceSummary:
    """A performance in a list."""
    told = one.information.get
    return models.PerformanceSummary(
        id=one.id,
        category=one.category,
        category_label=catalogue.load().performances.category(one.category).label,
        state=word(one.state),
        light=light(lit),
        section_name=told("section_name"),
        performance_type=told("performance_type"),
        region=told("region"),
        funding_source=told("funding_source"),
        project_category=told("project_category"),
        speciality=told("speciality"),
        section_no=told("section_no"),
        construction_nature=told("construction_nature"),
        unique_code=one.unique_code or None,
        reopened=one.reopened,
        version=one.version,
        created_at=moment(one.created_at),
        updated_at=moment(one.updated_at),
        submitted_at=moment(one.submitted_at) if one.HasField("submitted_at") else None,
    )


def whole(one: performance_pb2.PerformanceView) -> models.Performance:
    """The whole of a performance."""
    own = one.performance
    known = catalogue.load().performances
    return models.Performance(
        **summary(own, one.light).model_dump(),
        holder=holder(own.holder),
        manager_label=known.category(own.category).manager,
        materials=[_material(row) for row in one.materials],
        contract=[
            models.ContractItem(
                item=item.item,
                label=known.item(item.item).label,
                original=item.original or None,
                effective=item.effective or None,
                changed=item.original != item.effective,
            )
            for item in one.contract
        ],
        contract_changes=[change(made) for made in one.changes],
        pushes=[push(made) for made in own.pushes],
        accepted=_accepted(own.accepted) if own.HasField("accepted") else None,
    )


def _label(type_code: str) -> str:
    kind = known_type(type_code)
    return kind.label if kind is not None else type_code


def _material(row: performance_pb2.MaterialRow) -> models.Material:
    there = row.HasField("certificate")
    one = row.certificate
    return models.Material(
        type=row.type,
        name=_label(row.type),
        required=row.required,
        supports=row.supports or None,
        certificate_id=one.id if there else None,
        state=word(one.state) if there else None,
        supplementing=one.supplementing,
        unique_code=one.unique_code or None,
        light=light(one.light),
        sealed=one.HasField("seal"),
        version=one.version if there else None,
    )


def change(one: performance_pb2.ContractChange) -> models.ContractChange:
    """One line of the record of contract changes."""
    proof: service_pb2.Certificate = one.certificate
    return models.ContractChange(
        item=one.item,
        label=catalogue.load().performances.item(one.item).label,
        content=one.content,
        value=one.value,
        changed_on=one.changed_on or None,
        effective=one.effective,
        certificate_id=proof.id,
        state=word(proof.state),
        unique_code=proof.unique_code or None,
        document_sha256=proof.document.sha256 or None,
        sealed=proof.HasField("seal"),
    )


def push(one: performance_pb2.PerformancePush) -> models.PerformancePush:
    """One push of the whole."""
    return models.PerformancePush(
        id=one.id,
        number=one.number,
        domain_id=one.domain_id,
        version=one.version,
        state=word(one.state),
        pushed_at=moment(one.pushed_at),
        materials=[
            models.PushedMaterial(
                certificate_id=each.certificate_id,
                type=each.type or None,
                push_id=each.push_id,
                state=word(each.state),
                opinion=each.opinion or None,
            )
            for each in one.materials
        ],
    )


def _accepted(one: performance_pb2.AcceptedPerformance) -> models.AcceptedPerformance:
    return models.AcceptedPerformance(
        version=one.version,
        light=light(one.light),
        information=dict(sorted(one.information.items())),
        materials=[
            models.AcceptedMaterial(
                certificate_id=each.certificate_id,
                type=each.type,
                version=each.version,
                unique_code=each.unique_code,
                light=light(each.light),
            )
            for each in one.materials
        ],
        confirmed=[finding(each) for each in one.confirmed],
        submitted_at=moment(one.submitted_at),
    )


def check(one: performance_pb2.CheckPerformanceResponse) -> models.PerformanceCheck:
    """What the logic check found, and what is missing altogether."""
    return models.PerformanceCheck(
        findings=[finding(each) for each in one.findings],
        digest=one.digest,
        missing_materials=[
            models.MissingMaterial(type=row.type, name=_label(row.type), supports=row.supports or None) for row in one.missing
        ],
        missing_information=list(one.missing_information),
    )


def finding(one: types_pb2.CheckFinding) -> models.CheckFinding:
    """A finding with its text and where its values come from."""
    return models.CheckFinding(
        id=one.id,
        code=one.code,
        severity=word(one.severity),
        text=texts.text(f"check.{one.code}", left=one.sources[0].value, right=one.sources[-1].value),
        sources=[_source(each) for each in one.sources],
    )


def _source(one: types_pb2.CheckSource) -> models.CheckSource:
    kind = known_type(one.type) if one.type else None
    if kind is not None:
        label = kind.field(one.field).label if kind.has_field(one.field) else one.field
        material = kind.label
    elif one.field == "holder":
        label = material = texts.text("gateway.holder")
    else:
        material = texts.text("gateway.change.information")
        label = next((field.label for field in catalogue.load().performances.information if field.name == one.field), one.field)
    return models.CheckSource(
        certificate_id=one.certificate_id or None,
        type=one.type or None,
        material=material,
        field=one.field,
        label=label,
        value=one.value,
    )
