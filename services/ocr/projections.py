"""What the log of this service holds, and the read model made of it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from yunku.ocr.v1 import events_pb2

from kernel.eventlog.aggregate import Aggregate, StateProjection
from kernel.eventlog.events import EventTypes
from services.ocr import domain, tables
from services.ocr.upcasters import UPCASTERS


def job_row(stream_id: UUID, state: domain.Job, version: int) -> Mapping[str, Any] | None:
    """The row of one job."""
    if not state.requested:
        return None
    return {
        "job_id": stream_id,
        "kind": state.kind,
        "certificate_id": state.request.certificate_id,
        "subject_id": state.request.subject_id,
        "document_sha256": state.request.document.sha256,
        "state": "done" if state.done else "waiting",
        "attempts": state.attempts,
        "reason": state.reason,
        "due_at": state.due_at,
        "revision": version,
    }


TYPES = EventTypes(events_pb2, UPCASTERS)
JOB = Aggregate(
    name="job",
    initial=domain.Job(),
    evolve=domain.evolve,
    events=(
        events_pb2.ExtractionRequested,
        events_pb2.RegionsRequested,
        events_pb2.RecognitionPostponed,
        events_pb2.FieldsExtracted,
        events_pb2.RegionsRecognised,
    ),
    projections=(StateProjection(tables.jobs, version=1, row=job_row),),
)
AGGREGATES = (JOB,)
