"""What may happen to domains and pushes: pure decisions over frozen states."""

import re
import unicodedata
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
MAX_REASONS: Final = 100
MAX_REASON: Final = 500
DECISIONS: Final = ("approved", "rejected")
#: How an appeal may be answered.
APPEAL_DECISIONS: Final = ("upheld", "overturned")

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
    """One authority that uses the register; ``registered_at`` is None until it is registered (its reviewers may be known before).

    ``version`` counts its registration and its changes.
    """

    domain_id: str = ""
    name: str = ""
    automatic_types: tuple[str, ...] = ()
    closed: bool = False
    version: int = 0
    registered_at: datetime | None = None
    reviewers: frozenset[str] = frozenset()


def evolve_domain(state: Domain, event: Any, recorded_at: datetime) -> Domain:
    """The domain after ``event``."""
    match event:
        case events_pb2.DomainRegistered():
            return replace(
                state,
                domain_id=event.domain_id,
                name=event.name,
                automatic_types=tuple(event.automatic_types),
                version=1,
                registered_at=recorded_at,
            )
        case events_pb2.DomainChanged():
            return replace(
                state,
                name=event.name,
                automatic_types=tuple(event.automatic_types),
                closed=event.closed,
                version=state.version + 1,
            )
        case events_pb2.ReviewerAdmitted():
            return replace(state, reviewers=state.reviewers | {event.account_id})
        case events_pb2.ReviewerDismissed():
            return replace(state, reviewers=state.reviewers - {event.account_id})
    raise TypeError(f"{type(event).__name__} is no event of a domain")


def register_domain(state: Domain, *, domain_id: str, name: str, automatic_types: Sequence[str], catalogue: Catalogue) -> list[Message]:
    """Registers a domain; the same registration again changes nothing.

    Raises ``value_invalid`` for the id, ``name_malformed``, ``type_unknown``, and ``domain_registered`` where the id is taken by
    a domain of another name or other rules.
    """
    if not DOMAIN_ID.fullmatch(domain_id):
        raise YunkuError("value_invalid", field="/id")
    name, types = _name(name), _types(automatic_types, catalogue)
    if state.registered_at is not None:
        if (state.name, state.automatic_types) != (name, types):
            raise YunkuError("domain_registered", field="/id")
        return []
    return [events_pb2.DomainRegistered(domain_id=domain_id, name=name, automatic_types=types)]


def change_domain(
    state: Domain, *, name: str, automatic_types: Sequence[str], closed: bool, expected_version: int, catalogue: Catalogue
) -> list[Message]:
    """Changes what a domain is called and how it reviews, from the next push on; closes or opens it.

    Raises ``not_found``, ``version_conflict``, ``name_malformed``, ``type_unknown``.
    """
    if state.registered_at is None:
        raise YunkuError("not_found")
    if expected_version and expected_version != state.version:
        raise YunkuError("version_conflict")
    name, types = _name(name), _types(automatic_types, catalogue)
    if (state.name, state.automatic_types, state.closed) == (name, types, closed):
        return []
    return [events_pb2.DomainChanged(domain_id=state.domain_id, name=name, automatic_types=types, closed=closed)]


def record_reviewer(state: Domain, *, domain_id: str, account_id: str, admitted: bool) -> list[Message]:
    """Takes in who may review for the domain (identity decides), for its record."""
    if admitted == (account_id in state.reviewers):
        return []
    event = events_pb2.ReviewerAdmitted if admitted else events_pb2.ReviewerDismissed
    return [event(domain_id=domain_id, account_id=account_id)]


def _name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME or _UNPRINTABLE.search(name) or "\n" in name:
        raise YunkuError("name_malformed", field="/name")
    return name


def _types(codes: Sequence[str], catalogue: Catalogue) -> tuple[str, ...]:
    unknown = [number for number, code in enumerate(codes) if not catalogue.has_type(code)]
    if unknown:
        raise YunkuError("type_unknown", errors=[FieldError(f"/automatic_types/{number}", "type_unknown") for number in unknown[:50]])
    return tuple(sorted(set(codes)))


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
    appealed: events_pb2.Appealed | None = None
    appealed_at: datetime | None = None
    answered: events_pb2.AppealAnswered | None = None
    answered_at: datetime | None = None

    @property
    def state(self) -> str:
        """pending, approved, rejected or withdrawn; a rejection that was overturned approves."""
        if self.appeal == "overturned":
            return "approved"
        if self.reviewed is not None:
            return self.reviewed.decision
        return PENDING if self.withdrawn_at is None else WITHDRAWN

    @property
    def appeal(self) -> str:
        """Empty without one; pending, upheld or overturned."""
        if self.answered is not None:
            return self.answered.decision
        return "" if self.appealed is None else PENDING

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
        case events_pb2.Appealed():
            return replace(state, appealed=event, appealed_at=recorded_at)
        case events_pb2.AppealAnswered():
            return replace(state, answered=event, answered_at=recorded_at)
    raise TypeError(f"{type(event).__name__} is no event of a push")


def open_push(state: Push, opened: events_pb2.PushOpened) -> list[Message]:
    """Takes a requested push on, once."""
    return [] if state.opened is not None else [opened]


def deliver(state: Push, *, stream_sequence: int) -> list[Message]:
    """The domain's stream has the push. Where the domain reviewed the type by rule when it arrived, a GREEN one is approved at once."""
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
    if opened.automatic and state.state == PENDING and opened.light == types_pb2.LIGHT_GREEN:
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


@dataclass(frozen=True)
class Reviewer:
    """Who decides: a reviewer by its account; a domain's system by the domain's id, and what it calls the person there, if it says."""

    channel: events_pb2.ReviewChannel.ValueType
    id: str
    person: str = ""


def review(
    state: Push, *, decision: str, opinion: str, reasons: Sequence[tuple[str, str]], reviewer: Reviewer, catalogue: Catalogue
) -> list[Message]:
    """The domain decides over the version that it was shown. Who may is checked before.

    ``reasons`` are (field, text): what it says about single fields of the certificate's type. Raises ``not_found``,
    ``decision_invalid``, ``value_too_long``, ``value_invalid``, ``opinion_required``, ``too_many``, ``field_unknown``,
    ``field_required``, ``push_not_pending``.
    """
    opened = state.opened
    if opened is None:
        raise YunkuError("not_found")
    if decision not in DECISIONS:
        raise YunkuError("decision_invalid", field="/decision")
    opinion = _said(opinion, "/opinion", MAX_OPINION)
    if decision == "rejected" and not opinion:
        raise YunkuError("opinion_required", field="/opinion")
    said = _reasons(opened.type, reasons, catalogue)
    if state.state != PENDING:
        raise YunkuError("push_not_pending", state=state.state)
    return [_reviewed(opened, decision, opinion, reviewer.channel, reviewer.id, said, reviewer.person)]


def _reasons(type_code: str, reasons: Sequence[tuple[str, str]], catalogue: Catalogue) -> list[types_pb2.FieldReason]:
    if len(reasons) > MAX_REASONS:
        raise YunkuError("value_too_long", field="/reasons", max=str(MAX_REASONS))
    kind = catalogue.type(type_code) if catalogue.has_type(type_code) else None
    said = []
    for number, (field, text) in enumerate(reasons):
        if kind is None or not kind.has_field(field):
            raise YunkuError("field_unknown", field=f"/reasons/{number}/field")
        text = _said(text, f"/reasons/{number}/text", MAX_REASON)
        if not text:
            raise YunkuError("field_required", field=f"/reasons/{number}/text")
        said.append(types_pb2.FieldReason(field=field, text=text))
    return said


def _said(text: str, pointer: str, most: int) -> str:
    """What people write, without whole personal numbers: who reads it needs none, and what isn't in the log needn't be erased."""
    text = text.strip()
    if len(text) > most:
        raise YunkuError("value_too_long", field=pointer, max=str(most))
    if _UNPRINTABLE.search(text):
        raise YunkuError("value_invalid", field=pointer)
    return without_numbers(text)


def appeal(state: Push, *, subject_id: str, account_id: str, grounds: str) -> list[Message]:
    """The company contests the rejection, once.

    Raises ``not_found`` (also for another company's push), ``field_required``, ``value_too_long``, ``value_invalid``,
    ``appeal_exists``, ``push_not_rejected``.
    """
    opened = state.opened
    if opened is None or opened.holder.subject_id != subject_id:
        raise YunkuError("not_found")
    grounds = _said(grounds, "/grounds", MAX_OPINION)
    if not grounds:
        raise YunkuError("field_required", field="/grounds")
    if state.appealed is not None:
        raise YunkuError("appeal_exists")
    if state.state != "rejected":
        raise YunkuError("push_not_rejected", state=state.state)
    return [
        events_pb2.Appealed(
            push_id=opened.push_id,
            certificate_id=opened.certificate_id,
            domain_id=opened.domain_id,
            grounds=grounds,
            subject_id=subject_id,
            account_id=account_id,
        )
    ]


def answer_appeal(state: Push, *, decision: str, opinion: str, reviewer: Reviewer) -> list[Message]:
    """Another reviewer of the domain upholds the rejection or overturns it. Who may is checked before, but for that it is another.

    Raises ``not_found``, ``decision_invalid``, ``value_too_long``, ``value_invalid``, ``opinion_required`` (either way: the
    company reads why), ``appeal_not_pending``, ``appeal_same_reviewer``.
    """
    opened, reviewed = state.opened, state.reviewed
    if opened is None:
        raise YunkuError("not_found")
    if decision not in APPEAL_DECISIONS:
        raise YunkuError("decision_invalid", field="/decision")
    opinion = _said(opinion, "/opinion", MAX_OPINION)
    if not opinion:
        raise YunkuError("opinion_required", field="/opinion")
    if state.appeal != PENDING or reviewed is None:
        raise YunkuError("appeal_not_pending")
    if not _is_another(reviewed, reviewer):
        raise YunkuError("appeal_same_reviewer")
    return [
        events_pb2.AppealAnswered(
            push_id=opened.push_id,
            certificate_id=opened.certificate_id,
            domain_id=opened.domain_id,
            decision=decision,
            opinion=opinion,
            channel=reviewer.channel,
            reviewer_id=reviewer.id,
            system_reviewer=reviewer.person,
            subject_id=opened.holder.subject_id,
        )
    ]


def _is_another(reviewed: events_pb2.Reviewed, reviewer: Reviewer) -> bool:
    """Whether it isn't the one who decided. A domain's system is many people: it must name both, or it counts as one."""
    if reviewed.channel != reviewer.channel or reviewed.reviewer_id != reviewer.id:
        return True
    return bool(reviewed.system_reviewer and reviewer.person) and reviewed.system_reviewer != reviewer.person


def _reviewed(
    opened: events_pb2.PushOpened,
    decision: str,
    opinion: str,
    channel: events_pb2.ReviewChannel.ValueType,
    reviewer_id: str,
    reasons: Sequence[types_pb2.FieldReason] = (),
    system_reviewer: str = "",
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
        reasons=reasons,
        system_reviewer=system_reviewer,
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
            result[name] = without_numbers(value)
    return result


def folded(text: str) -> str:
    """As it is searched: width and case don't matter."""
    return unicodedata.normalize("NFKC", text).casefold()


def without_numbers(text: str) -> str:
    """The text with what looks like an ID or mobile number masked."""
    return _PHONE.sub(r"\1****\3", _ID_NUMBER.sub(r"\1********\3", text))
