"""What this log declares: the aggregate, its read model row, and what follows the whole log."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ClauseElement, Table, insert
from yunku.certificate.v1 import events_pb2

import catalogue
from catalogue import listing as catalogue_listing
from kernel.eventlog.aggregate import Aggregate, StateProjection
from kernel.eventlog.events import EventTypes, RecordedEvent
from kernel.eventlog.projections import LogProjection
from services.certificate import domain, listing, tables
from services.certificate.upcasters import UPCASTERS

TYPES: Final = EventTypes(events_pb2, UPCASTERS)


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


def activity_rows(event: RecordedEvent, table: Table) -> Sequence[ClauseElement]:
    """One line of activity per event."""
    return [
        insert(table).values(
            position=event.position,
            subject_id=event.meta.acting_subject_id,
            certificate_id=event.stream_id,
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
        StateProjection(tables.certificates, version=4, row=certificate_row),
        StateProjection(tables.taken_over, version=1, row=taken_over_row),
    ),
)
AGGREGATES: Final = (CERTIFICATE,)
LOG_PROJECTIONS: Final = (LogProjection(tables.activity, version=1, apply=activity_rows),)
