"""What the log of this service holds, and the read models made of it."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from yunku.subject.v1 import events_pb2, service_pb2

from kernel.eventlog.aggregate import Aggregate, StateProjection
from kernel.eventlog.events import EventTypes, RecordedEvent
from services.subject import domain, persons, profile, tables
from services.subject.upcasters import UPCASTERS


def message_of(stream_id: UUID, state: domain.Subject, version: int) -> service_pb2.Subject:
    """A subject as callers see it."""
    accepted = state.accepted
    return service_pb2.Subject(
        id=str(stream_id),
        uscc=state.uscc,
        name=state.name,
        former_names=state.former_names,
        types=state.types,
        registered_at=timestamp(state.registered_at) if state.registered_at else None,
        version=state.version,
        revision=version,
        profile_state=state.profile_state,
        profile=state.profile,
        accepted_profile=service_pb2.AcceptedProfile(
            number=accepted.number,
            name=accepted.name,
            profile=accepted.profile,
            submitted_at=timestamp(accepted.submitted_at),
        )
        if accepted is not None
        else None,
    )


def versions_of(events: Iterable[RecordedEvent]) -> list[service_pb2.ProfileVersion]:
    """Every submission of the basic information that a subject's events tell, newest first, with what changed against the one before."""
    items: list[service_pb2.ProfileVersion] = []
    before: dict[str, Any] = {}
    for event in events:
        submitted = event.data
        if not isinstance(submitted, events_pb2.ProfileSubmitted):
            continue
        after = {"name": submitted.name, **profile.shown(submitted.profile)}
        items.append(
            service_pb2.ProfileVersion(
                number=submitted.number,
                name=submitted.name,
                profile=submitted.profile,
                submitted_at=timestamp(event.recorded_at),
                account_id=event.meta.actor_id,
                changes_json=json.dumps(domain.changes(before, after), ensure_ascii=False),
            )
        )
        before = after
    return items[::-1]


def subject_row(stream_id: UUID, state: domain.Subject, version: int) -> Mapping[str, Any] | None:
    """The row of one subject."""
    if state.registered_at is None:
        return None
    return {
        "subject_id": stream_id,
        "uscc": state.uscc,
        "account_id": state.account_id,
        "subject": message_of(stream_id, state, version).SerializeToString(deterministic=True),
        "revision": version,
    }


def timestamp(moment: datetime) -> Timestamp:
    """A moment as protobuf carries it."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def person_row(stream_id: UUID, state: persons.Person, version: int) -> Mapping[str, Any] | None:
    """The row of one person."""
    if not state.record.employments:
        return None
    # The last employment of each subject stands for it.
    since = {one.subject_id: one.bound_at.ToDatetime(tzinfo=UTC) for one in state.record.employments}
    sides = {side for one in state.record.claims for side in (one.subject_id, one.holder_id)}
    return {
        "person_id": stream_id,
        "holder": state.current.subject_id if state.current is not None else "",
        "subject_ids": list(since),
        "since": list(since.values()),
        "claim_sides": sorted(sides),
        "person": state.record.SerializeToString(deterministic=True),
        "revision": version,
    }


TYPES = EventTypes(events_pb2, UPCASTERS)
SUBJECT = Aggregate(
    name="subject",
    initial=domain.Subject(),
    evolve=domain.evolve,
    events=(
        events_pb2.SubjectRegistered,
        events_pb2.SubjectRenamed,
        events_pb2.ProfileStated,
        events_pb2.ProfileSubmitted,
    ),
    projections=(StateProjection(tables.subjects, version=2, row=subject_row),),
)
PERSON = Aggregate(
    name="person",
    initial=persons.Person(),
    evolve=persons.evolve,
    events=persons.EVENTS,
    projections=(StateProjection(tables.persons, version=1, row=person_row),),
)
AGGREGATES = (SUBJECT, PERSON)
