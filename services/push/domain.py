"""What may happen to domains and pushes: pure decisions over frozen states."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from google.protobuf.message import Message
from yunku.certificate.v1 import types_pb2
from yunku.push.v1 import events_pb2

from catalogue import Catalogue
from kernel.errors import FieldError, YunkuError

#: A domain's id is a subject token of NATS too (push.<id>, review.<id>).
DOMAIN_ID: Final = re.compile(r"[a-z0-9-]{2,40}")
MAX_NAME: Final = 100
MAX_OPINION: Final = 2000
DECISIONS: Final = ("approved", "rejected")

PENDING: Final = "pending"
WITHDRAWN: Final = "withdrawn"

CHANNELS: Final = {
    events_pb2.REVIEW_CHANNEL_REVIEWER: "REVIEWER",
    events_pb2.REVIEW_CHANNEL_SYSTEM: "SYSTEM",
    events_pb2.REVIEW_CHANNEL_RULE: "RULE",
}

# Control characters (but line breaks and tabs), and halves of surrogate pairs, which JSON can smuggle in and UTF-8 can't carry.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# An ID number (GB 11643) by its birth date, and a mobile number; not within longer numbers. A letter before is no hindrance: the number
# of a 特种作业操作证 is a T and the holder's ID number.
_ID_NUMBER: Final = re.compile(r"(?<!\d)([1-9]\d{5})((?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))(\d{3}[\dXx])(?!\d)")
_PHONE: Final = re.compile(r"(?<!\d)(1[3-9]\d)(\d{4})(\d{4})(?!\d)")


# -- domains -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Domain:
    """One authority that uses the register; ``registered_at`` is None as long as the stream has no event."""

    domain_id: str = ""
    name: str = ""
    automatic_types: tuple[str, ...] = ()
    registered_at: datetime | None = None


def evolve_domain(state: Domain, event: Any, recorded_at: datetime) -> Domain:
    """The domain after ``event``."""
    match event:
        case events_pb2.DomainRegistered():
            return Domain(event.domain_id, event.name, tuple(event.automatic_types), recorded_at)
    raise TypeError(f"{type(event).__name__} is no event of a domain")


def register_domain(state: Domain, *, domain_id: str, name: str, automatic_types: Sequence[str], catalogue: Catalogue) -> list[Message]:
    """Registers a domain; the same registration again changes nothing.

    Raises ``value_invalid`` for the id, ``name_malformed``, ``type_unknown``, and ``domain_registered`` where the id is taken by
    a domain of another name or other rules.
    """
    if not DOMAIN_ID.fullmatch(domain_id):
        raise YunkuError("value_invalid", field="/id")
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME or _UNPRINTABLE.search(name) or "\n" in name:
        raise YunkuError("name_malformed", field="/name")
    unknown = [number for number, code in enumerate(automatic_types) if not catalogue.has_type(code)]
    if unknown:
        raise YunkuError("type_unknown", errors=[FieldError(f"/automatic_types/{number}", "type_unknown") for number in unknown[:50]])
    types = tuple(sorted(set(automatic_types)))
    if state.registered_at is not None:
        if (state.name, state.automatic_types) != (name, types):
            raise YunkuError("domain_registered", field="/id")
        return []
    return [events_pb2.DomainRegistered(domain_id=domain_id, name=name, automatic_types=types)]


# -- pushes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Push:
    """One certificate's version before one domain; ``opened`` is None as long as the stream has no event."""

    opened: events_pb2.PushOpened | None = None
    opened_at: datetime | None = None
    delivered_at: datetime | None = None
    acknowledged_at: datetime | None = None
    withdrawn_at: datetime | None = None
    reviewed: events_pb2.Reviewed | None = None
    reviewed_at: datetime | None = None

    @property
    def state(self) -> str:
        """pending, approved, rejected or withdrawn."""
        if self.reviewed is not None:
            return self.reviewed.decision
        return PENDING if self.withdrawn_at is None else WITHDRAWN

    @property
    def delivery(self) -> str:
        """requested, delivered or acknowledged."""
        if self.acknowledged_at is not None:
            return "acknowledged"
        return "requested" if self.delivered_at is None else "delivered"


def evolve_push(state: Push, event: Any, recorded_at: datetime) -> Push:
    """The push after ``event``."""
    match event:
        case events_pb2.PushOpened():
            return Push(opened=event, opened_at=recorded_at)
        case events_pb2.PushDelivered():
            return replace(state, delivered_at=recorded_at)
        case events_pb2.PushAcknowledged():
            return replace(state, acknowledged_at=recorded_at)
        case events_pb2.PushWithdrawn():
            return replace(state, withdrawn_at=recorded_at)
        case events_pb2.Reviewed():
            return replace(state, reviewed=event, reviewed_at=recorded_at)
    raise TypeError(f"{type(event).__name__} is no event of a push")


def open_push(state: Push, opened: events_pb2.PushOpened) -> list[Message]:
    """Takes a requested push on, once."""
    return [] if state.opened is not None else [opened]


def deliver(state: Push, *, stream_sequence: int, automatic: bool) -> list[Message]:
    """The domain's stream has the push. With ``automatic`` (the domain reviews the type by rule) a GREEN one is approved at once."""
    opened = state.opened
    if opened is None or state.delivered_at is not None:
        return []
    events: list[Message] = [
        events_pb2.PushDelivered(
            push_id=opened.push_id,
            certificate_id=opened.certificate_id,
            domain_id=opened.domain_id,
            stream_sequence=stream_sequence,
            subject_id=opened.holder.subject_id,
        )
    ]
    if automatic and state.state == PENDING and opened.light == types_pb2.LIGHT_GREEN:
        events.append(_reviewed(opened, "approved", "", events_pb2.REVIEW_CHANNEL_RULE, opened.domain_id))
    return events


def acknowledge(state: Push) -> list[Message]:
    """The domain's system said that it has the push."""
    opened = state.opened
    if opened is None or state.acknowledged_at is not None:
        return []
    return [
        events_pb2.PushAcknowledged(
            push_id=opened.push_id,
            certificate_id=opened.certificate_id,
            domain_id=opened.domain_id,
            subject_id=opened.holder.subject_id,
        )
    ]


def withdraw(state: Push) -> list[Message]:
    """The company takes the push back, unless the domain has decided: then nothing happens, and the decision stands."""
    opened = state.opened
    if opened is None or state.state != PENDING:
        return []
    return [
        events_pb2.PushWithdrawn(
            push_id=opened.push_id,
            certificate_id=opened.certificate_id,
            domain_id=opened.domain_id,
            subject_id=opened.holder.subject_id,
        )
    ]


def review(state: Push, *, decision: str, opinion: str, channel: events_pb2.ReviewChannel.ValueType, reviewer_id: str) -> list[Message]:
    """The domain decides over the version that it was shown. Who may is checked before.

    Raises ``not_found``, ``decision_invalid``, ``value_too_long``, ``value_invalid``, ``opinion_required``, ``push_not_pending``.
    """
    opened = state.opened
    if opened is None:
        raise YunkuError("not_found")
    opinion = opinion.strip()
    if decision not in DECISIONS:
        raise YunkuError("decision_invalid", field="/decision")
    if len(opinion) > MAX_OPINION:
        raise YunkuError("value_too_long", field="/opinion", max=str(MAX_OPINION))
    if _UNPRINTABLE.search(opinion):
        raise YunkuError("value_invalid", field="/opinion")
    if decision == "rejected" and not opinion:
        raise YunkuError("opinion_required", field="/opinion")
    if state.state != PENDING:
        raise YunkuError("push_not_pending", state=state.state)
    return [_reviewed(opened, decision, opinion, channel, reviewer_id)]


def _reviewed(
    opened: events_pb2.PushOpened, decision: str, opinion: str, channel: events_pb2.ReviewChannel.ValueType, reviewer_id: str
) -> events_pb2.Reviewed:
    return events_pb2.Reviewed(
        push_id=opened.push_id,
        certificate_id=opened.certificate_id,
        domain_id=opened.domain_id,
        version=opened.version,
        decision=decision,
        opinion=opinion,
        channel=channel,
        reviewer_id=reviewer_id,
        subject_id=opened.holder.subject_id,
    )


# -- personal numbers --------------------------------------------------------------------------------------------------


def masked(catalogue: Catalogue, type_code: str, fields: Mapping[str, str]) -> dict[str, str]:
    """The fields without whole personal numbers (身份证号, 手机号): a domain decides on the document, and needs none of them here.

    Fields of these kinds by the catalogue, and what looks like one anywhere else but in a USCC.
    """
    kind = catalogue.type(type_code) if catalogue.has_type(type_code) else None
    result = {}
    for name, value in fields.items():
        known = kind.field(name).type if kind is not None and kind.has_field(name) else ""
        if known == "id18":
            result[name] = f"{value[:6]}{'*' * 8}{value[-4:]}" if len(value) == 18 else "*" * len(value)
        elif known == "phone":
            result[name] = f"{value[:3]}****{value[-4:]}" if len(value) >= 11 else "*" * len(value)
        elif known == "uscc":
            result[name] = value
        else:
            result[name] = _PHONE.sub(r"\1****\3", _ID_NUMBER.sub(r"\1********\3", value))
    return result
