"""What this log declares: the aggregate, its read model row, and what follows the whole log."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ClauseElement, Table, insert
from yunku.certificate.v1 import events_pb2, service_pb2

import catalogue
from catalogue import listing as catalogue_listing
from kernel.eventlog.aggregate import Aggregate, StateProjection
from kernel.eventlog.events import EventTypes, RecordedEvent
from kernel.eventlog.projections import LogProjection
from services.certificate import domain, expiry, listing, tables
from services.certificate.performances import domain as performance_domain
from services.certificate.transfers import projections as transfers
from services.certificate.upcasters import UPCASTERS

TYPES: Final = EventTypes(events_pb2, UPCASTERS)


_OF_PERFORMANCES: Final = frozenset(event.DESCRIPTOR.name for event in performance_domain.EVENTS)


def view_of(state: domain.State) -> Any:
    """The certificate as callers see it, with its validity by the values stated."""
    view = type(state.view)()
    view.CopyFrom(state.view)
    kind = catalogue.load().type(view.type)
    view.valid_from, view.valid_until = kind.validity(view.fields)
    view.endless = catalogue_listing.endless(kind, view.fields)
    return view


def certificate_row(stream_id: UUID, state: domain.State, version: int) -> Mapping[str, Any]:
    """The read model row of a certificate."""
    view = view_of(state)
    return {
        "certificate_id": stream_id,
        **listing.columns(view),
        **_of_performance(view),
        "unique_code": view.unique_code or None,
        "document_sha256": view.document.sha256 if view.HasField("document") else None,
        "document_locked": state.locked,
        "certificate": view.SerializeToString(deterministic=True),
        "revision": version,
    }


def taken_over_row(stream_id: UUID, state: domain.State, version: int) -> Mapping[str, Any] | None:
    """The row of a certificate that was taken over; None for the others."""
    view = state.view
    if not view.HasField("provenance"):
        return None
    return {
        "certificate_id": stream_id,
        "subject_id": view.holder.subject_id,
        "person_id": view.person_id,
        "source": view.provenance.source,
        "source_id": view.provenance.source_id,
        "stands": view.state != domain.DISCARDED,
        "revision": version,
    }


def _of_performance(view: Any) -> Mapping[str, Any]:
    """By what a performance finds its certificates; all NULL for others. It has one living material of a kind (``material_slot``):
    the append itself refuses a second one, except a draft that is to follow the first."""
    if not view.performance_id:
        return {"performance_id": None, "followed": None, "material_slot": None}
    living = view.state in (domain.DRAFT, domain.SUBMITTED)
    slot = None
    if living and performance_domain.single(catalogue.load().performances, view.type):
        follows = ":next" if view.supersedes and view.state == domain.DRAFT else ""
        slot = f"{view.performance_id}:{view.type}{follows}"
    return {"performance_id": view.performance_id, "followed": bool(view.successor_id), "material_slot": slot}


def performance_row(stream_id: UUID, state: performance_domain.State, version: int) -> Mapping[str, Any]:
    """The read model row of a performance."""
    view = state.view
    return {
        "performance_id": stream_id,
        "subject_id": view.holder.subject_id,
        "category": view.category,
        "performance_type": view.information.get("performance_type", ""),
        "state": view.state,
        "section_name": view.information.get("section_name", ""),
        "section_no": view.information.get("section_no", ""),
        "unique_code": view.unique_code or None,
        "performance": view.SerializeToString(deterministic=True),
        "revision": version,
    }


def expiry_row(stream_id: UUID, state: domain.State, version: int) -> Mapping[str, Any] | None:
    """The row of a certificate that stands or stood in the register; None for a draft, and for a type without validity."""
    view = state.view
    kind = catalogue.load().type(view.type)
    if not view.HasField("accepted") or not kind.valid_until:
        return None
    standing = expiry.present(view)
    notice = service_pb2.Notice(
        notice=standing,
        certificate_id=view.id,
        type=view.type,
        name=catalogue_listing.name(kind, view.accepted.fields),
        unique_code=view.unique_code,
        person_id=view.person_id,
        performance_id=view.performance_id,
    )
    return {
        "certificate_id": stream_id,
        "subject_id": view.holder.subject_id,
        "ends_on": expiry.end(view, kind),
        "noticed": standing.days_before if standing is not None else None,
        "open": standing is not None and not standing.acknowledged,
        "notice": notice.SerializeToString(deterministic=True),
        "revision": version,
    }


def activity_rows(event: RecordedEvent, table: Table) -> Sequence[ClauseElement]:
    """One line of activity per event; imports and exports aren't entries, and are asked after by who waits for them."""
    if event.short_type in transfers.NAMES:
        return []
    return [
        insert(table).values(
            position=event.position,
            subject_id=event.meta.acting_subject_id,
            certificate_id=None if event.short_type in _OF_PERFORMANCES else event.stream_id,
            performance_id=event.stream_id if event.short_type in _OF_PERFORMANCES else None,
            type=event.short_type,
            event_id=event.event_id,
            at=event.recorded_at,
        )
    ]


CERTIFICATE: Final = Aggregate(
    name="certificate",
    initial=domain.State(),
    evolve=domain.evolve,
    events=domain.EVENTS,
    projections=(
        StateProjection(tables.certificates, version=7, row=certificate_row),
        StateProjection(tables.taken_over, version=1, row=taken_over_row),
        StateProjection(tables.expiries, version=1, row=expiry_row),
    ),
)
PERFORMANCE: Final = Aggregate(
    name="performance",
    initial=performance_domain.State(),
    evolve=performance_domain.evolve,
    events=performance_domain.EVENTS,
    projections=(StateProjection(tables.performances, version=1, row=performance_row),),
)
AGGREGATES: Final = (CERTIFICATE, PERFORMANCE, *transfers.AGGREGATES)
LOG_PROJECTIONS: Final = (LogProjection(tables.activity, version=2, apply=activity_rows),)
