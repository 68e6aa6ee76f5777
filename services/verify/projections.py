"""What the log of this service holds, and the read model made of it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from yunku.verify.v1 import events_pb2

from kernel.eventlog.aggregate import Aggregate, StateProjection
from kernel.eventlog.events import EventTypes
from services.verify import domain, tables
from services.verify.upcasters import UPCASTERS


def verification_row(stream_id: UUID, state: domain.Verification, version: int) -> Mapping[str, Any] | None:
    """The row of one verification."""
    if state.accepted is None:
        return None
    return {
        "verification_id": stream_id,
        "certificate_id": state.accepted.certificate_id,
        "subject_id": state.accepted.holder.subject_id,
        "state": "done" if state.verified is not None else "waiting",
        "attempts": state.attempts,
        "reason": state.reason,
        "due_at": state.due_at,
        "revision": version,
    }


TYPES = EventTypes(events_pb2, UPCASTERS)
VERIFICATION = Aggregate(
    name="verification",
    initial=domain.Verification(),
    evolve=domain.evolve,
    events=(events_pb2.VerificationAccepted, events_pb2.VerificationPostponed, events_pb2.Verified),
    projections=(StateProjection(tables.verifications, version=1, row=verification_row),),
)
AGGREGATES = (VERIFICATION,)
