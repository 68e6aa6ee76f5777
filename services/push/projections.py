"""What the log of this service holds, and the read models made of it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from google.protobuf.message import Message
from yunku.push.v1 import events_pb2

from kernel.eventlog.aggregate import Aggregate, StateProjection
from kernel.eventlog.events import EventTypes
from services.push import domain, tables
from services.push.upcasters import UPCASTERS


def domain_row(stream_id: UUID, state: domain.Domain, version: int) -> Mapping[str, Any] | None:
    """The row of one domain."""
    if state.registered_at is None:
        return None
    return {
        "stream_id": stream_id,
        "domain_id": state.domain_id,
        "name": state.name,
        "automatic_types": list(state.automatic_types),
        "closed": state.closed,
        "version": state.version,
        "registered_at": state.registered_at,
        "revision": version,
    }


def push_row(stream_id: UUID, state: domain.Push, version: int) -> Mapping[str, Any] | None:
    """The row of one push."""
    opened = state.opened
    if opened is None:
        return None
    return {
        "push_id": stream_id,
        "certificate_id": opened.certificate_id,
        "domain_id": opened.domain_id,
        "subject_id": opened.holder.subject_id,
        "type": opened.type,
        "searched": domain.folded(f"{opened.unique_code} {opened.holder.uscc} {opened.holder.name}"),
        "state": state.state,
        "opened_at": state.opened_at,
        "delivered_at": state.delivered_at,
        "acknowledged_at": state.acknowledged_at,
        "reviewed_at": state.reviewed_at,
        "opened": opened.SerializeToString(deterministic=True),
        "reviewed": _stored(state.reviewed),
        "appeal": state.appeal,
        "appealed": _stored(state.appealed),
        "appealed_at": state.appealed_at,
        "answered": _stored(state.answered),
        "answered_at": state.answered_at,
        "revision": version,
    }


def _stored(event: Message | None) -> bytes:
    return event.SerializeToString(deterministic=True) if event is not None else b""


TYPES = EventTypes(events_pb2, UPCASTERS)
DOMAIN = Aggregate(
    name="domain",
    initial=domain.Domain(),
    evolve=domain.evolve_domain,
    events=(events_pb2.DomainRegistered, events_pb2.DomainChanged, events_pb2.ReviewerAdmitted, events_pb2.ReviewerDismissed),
    projections=(StateProjection(tables.domains, version=2, row=domain_row),),
)
PUSH = Aggregate(
    name="push",
    initial=domain.Push(),
    evolve=domain.evolve_push,
    events=(
        events_pb2.PushOpened,
        events_pb2.PushDelivered,
        events_pb2.PushAcknowledged,
        events_pb2.PushWithdrawn,
        events_pb2.Reviewed,
        events_pb2.Appealed,
        events_pb2.AppealAnswered,
    ),
    projections=(StateProjection(tables.pushes, version=2, row=push_row),),
)
AGGREGATES = (DOMAIN, PUSH)
