"""What the log of this service holds, and the read model made of it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from yunku.signing.v1 import events_pb2

from kernel.eventlog.aggregate import Aggregate, StateProjection
from kernel.eventlog.events import EventTypes
from services.signing import domain, tables
from services.signing.upcasters import UPCASTERS


def preparation_row(stream_id: UUID, state: domain.Preparation, version: int) -> Mapping[str, Any] | None:
    """The row of one preparation."""
    if state.prepared is None:
        return None
    return {
        "preparation_id": stream_id,
        "certificate_id": state.prepared.certificate_id,
        "subject_id": state.prepared.subject_id,
        "phase": state.phase.value,
        "prepared_sha256": state.prepared.prepared_sha256,
        "sealed_sha256": state.seal.sealed_sha256 if state.seal else "",
        "expires_at_us": state.prepared.expires_at_us,
        "to_lock": state.seal is not None and not state.retain_until_us,
        "revision": version,
    }


TYPES = EventTypes(events_pb2, UPCASTERS)
SEAL = Aggregate(
    name="seal",
    initial=domain.Preparation(),
    evolve=domain.evolve,
    events=(
        events_pb2.SealPrepared,
        events_pb2.Signed,
        events_pb2.SealRefused,
        events_pb2.SealedDocumentLocked,
    ),
    projections=(StateProjection(tables.preparations, version=1, row=preparation_row),),
)
AGGREGATES = (SEAL,)
