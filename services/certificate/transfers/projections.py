"""What the log declares of imports and exports: the aggregates and their read model rows."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from yunku.certificate.v1 import transfer_pb2

from kernel.eventlog.aggregate import Aggregate, StateProjection
from services.certificate import tables
from services.certificate.transfers import domain


def import_row(stream_id: UUID, state: domain.Import, version: int) -> Mapping[str, Any] | None:
    """The read model row of an import."""
    if state.requested is None or state.requested_at is None:
        return None
    created, updated, unchanged, failed = state.counts
    view = transfer_pb2.Import(
        id=str(stream_id),
        subject_id=state.requested.subject_id,
        state=state.state,
        file_name=state.requested.file_name,
        archive_size=state.requested.archive_size,
        rows=state.requested.rows,
        created=created,
        updated=updated,
        unchanged=unchanged,
        failed=failed,
        reason=state.reason,
    )
    view.requested_at.FromDatetime(state.requested_at)
    if state.finished_at is not None:
        view.finished_at.FromDatetime(state.finished_at)
    return {
        "import_id": stream_id,
        "subject_id": view.subject_id,
        "state": view.state,
        "due_at": state.requested_at,
        "reason": view.reason,
        "view": view.SerializeToString(deterministic=True),
        "revision": version,
    }


def export_row(stream_id: UUID, state: domain.Export, version: int) -> Mapping[str, Any] | None:
    """The read model row of an export."""
    if state.requested is None or state.requested_at is None:
        return None
    view = transfer_pb2.Export(id=str(stream_id), subject_id=state.requested.subject_id, state=state.state, reason=state.reason)
    view.requested_at.FromDatetime(state.requested_at)
    if state.finished is not None:
        for name in ("archive_sha256", "archive_size", "manifest_sha256", "certificates", "objects", "events", "persons"):
            setattr(view, name, getattr(state.finished, name))
    if state.finished_at is not None:
        view.finished_at.FromDatetime(state.finished_at)
    return {
        "export_id": stream_id,
        "subject_id": view.subject_id,
        "state": view.state,
        "due_at": state.due_at,
        "reason": view.reason,
        "view": view.SerializeToString(deterministic=True),
        "revision": version,
    }


IMPORT: Final = Aggregate(
    name="import",
    initial=domain.Import(),
    evolve=domain.evolve_import,
    events=tuple(domain.IMPORT_EVENTS),
    projections=(StateProjection(tables.imports, version=1, row=import_row),),
)
EXPORT: Final = Aggregate(
    name="export",
    initial=domain.Export(),
    evolve=domain.evolve_export,
    events=tuple(domain.EXPORT_EVENTS),
    projections=(StateProjection(tables.exports, version=2, row=export_row),),
)
AGGREGATES: Final = (IMPORT, EXPORT)
#: Short names of the events that are no entry's.
NAMES: Final = frozenset(event.DESCRIPTOR.name for aggregate in AGGREGATES for event in aggregate.events)
