"""What the log of this service holds, and the read model made of it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from yunku.subject.v1 import events_pb2

from kernel.eventlog.aggregate import Aggregate, StateProjection
from kernel.eventlog.events import EventTypes
from services.subject import domain, tables
from services.subject.upcasters import UPCASTERS


def subject_row(stream_id: UUID, state: domain.Subject, version: int) -> Mapping[str, Any] | None:
    """The row of one subject."""
    if state.registered_at is None:
        return None
    return {
        "subject_id": stream_id,
        "uscc": state.uscc,
        "name": state.name,
        "former_names": list(state.former_names),
        "types": list(state.types),
        "account_id": state.account_id,
        "registered_at": state.registered_at,
        "revision": version,
    }


TYPES = EventTypes(events_pb2, UPCASTERS)
SUBJECT = Aggregate(
    name="subject",
    initial=domain.Subject(),
    evolve=domain.evolve,
    events=(events_pb2.SubjectRegistered, events_pb2.SubjectRenamed),
    projections=(StateProjection(tables.subjects, version=1, row=subject_row),),
)
AGGREGATES = (SUBJECT,)
