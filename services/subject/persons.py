"""What may happen to a person and who employs them: pure decisions over a frozen state (domain.md, "Employment"; manual 三 (三)).

One stream a person, whoever names them, so that of two companies that bind one person at the same moment exactly one does.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from yunku.kernel.v1 import kernel_pb2
from yunku.subject.v1 import events_pb2, persons_pb2

from kernel import values
from kernel.errors import FieldError, YunkuError

#: 居民身份证, 护照, 港澳居民来往内地通行证, 台湾居民来往大陆通行证, 港澳台居民居住证, 外国人永久居留身份证.
DOCUMENT_KINDS: Final = ("id_card", "passport", "hk_macao_permit", "taiwan_permit", "residence_permit", "foreigner_permit")
#: Kinds whose numbers are citizens' numbers of GB 11643.
_CITIZEN_NUMBERS: Final = ("id_card", "residence_permit")
SOURCES: Final = ("typed", "document", "reader")
#: Where one and the same person is claimed by more, something is wrong that more claims don't mend.
MAX_OPEN_CLAIMS: Final = 20
MAX_POSITION: Final = 100
MAX_REASON: Final = 500


@dataclass(frozen=True)
class Person:
    """One person. ``record`` must not be changed in place."""

    record: persons_pb2.PersonRecord = field(default_factory=persons_pb2.PersonRecord)

    @property
    def current(self) -> persons_pb2.EmploymentRecord | None:
        """The employment that lasts, None where nobody holds the person."""
        last = self.record.employments[-1] if self.record.employments else None
        return last if last is not None and not last.unbound_on else None

    def employment(self, subject_id: str) -> persons_pb2.EmploymentRecord | None:
        """The subject's last employment of the person, whether it lasts or not."""
        return next((one for one in reversed(self.record.employments) if one.subject_id == subject_id), None)


# -- events to state ---------------------------------------------------------------------------------------------------


def _bound(record: persons_pb2.PersonRecord, event: events_pb2.PersonBound, at: datetime) -> None:
    record.person_id = event.person_id
    record.document_kind = event.document_kind
    record.number.CopyFrom(event.number)
    record.employments.add(
        employment_id=event.employment_id,
        subject_id=event.subject_id,
        name=event.name,
        phone=event.phone if event.HasField("phone") else None,
        position=event.position,
        source=event.source,
        details=event.details if event.HasField("details") else None,
        nonce=event.nonce,
        bound_on=event.bound_on,
        bound_at=_stamp(at),
        version=1,
    )


def _changed(record: persons_pb2.PersonRecord, event: events_pb2.EmploymentChanged, at: datetime) -> None:
    employment = record.employments[-1]
    employment.position = event.position
    employment.ClearField("phone")
    if event.HasField("phone"):
        employment.phone.CopyFrom(event.phone)
    employment.version = event.version


def _unbound(record: persons_pb2.PersonRecord, event: events_pb2.PersonUnbound, at: datetime) -> None:
    employment = record.employments[-1]
    employment.unbound_on = event.unbound_on
    employment.unbound_at.CopyFrom(_stamp(at))
    employment.version += 1
    for claim in record.claims:
        if claim.state == "open":
            claim.state = "released"
            claim.answered_at.CopyFrom(_stamp(at))


def _claimed(record: persons_pb2.PersonRecord, event: events_pb2.PersonClaimed, at: datetime) -> None:
    record.claims.add(
        claim_id=event.claim_id,
        subject_id=event.subject_id,
        holder_id=event.holder_id,
        name=event.name,
        reason=event.reason,
        state="open",
        made_at=_stamp(at),
    )


def _objected(record: persons_pb2.PersonRecord, event: events_pb2.ClaimObjected, at: datetime) -> None:
    claim = _claim(record, event.claim_id)
    claim.state = "objected"
    claim.objection = event.reason
    claim.answered_at.CopyFrom(_stamp(at))


def _withdrawn(record: persons_pb2.PersonRecord, event: events_pb2.ClaimWithdrawn, at: datetime) -> None:
    claim = _claim(record, event.claim_id)
    claim.state = "withdrawn"
    claim.answered_at.CopyFrom(_stamp(at))


_EVOLVE: Final[dict[type[Message], Callable[[persons_pb2.PersonRecord, Any, datetime], None]]] = {
    events_pb2.PersonBound: _bound,
    events_pb2.EmploymentChanged: _changed,
    events_pb2.PersonUnbound: _unbound,
    events_pb2.PersonClaimed: _claimed,
    events_pb2.ClaimObjected: _objected,
    events_pb2.ClaimWithdrawn: _withdrawn,
}
EVENTS: Final = tuple(_EVOLVE)


def evolve(state: Person, event: Any, recorded_at: datetime) -> Person:
    """The state after ``event``."""
    record = persons_pb2.PersonRecord()
    record.CopyFrom(state.record)
    _EVOLVE[type(event)](record, event, recorded_at)
    return Person(record)


def _claim(record: persons_pb2.PersonRecord, claim_id: str) -> persons_pb2.ClaimRecord:
    for claim in record.claims:
        if claim.claim_id == claim_id:
            return claim
    raise YunkuError("not_found")


def _stamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


# -- commands ----------------------------------------------------------------------------------------------------------


def bind(state: Person, bound: events_pb2.PersonBound, claimed: events_pb2.PersonClaimed | None = None) -> list[Message]:
    """Binds a person whom nobody holds. Where another company does: ``person_bound_elsewhere``, or ``claimed`` is recorded.

    Raises ``person_bound`` where the company holds them already, ``reading_used`` for a reader's reading that bound them before.
    """
    if bound.nonce and any(one.nonce == bound.nonce for one in state.record.employments):
        raise YunkuError("reading_used", field="/reader/nonce")
    current = state.current
    if current is None:
        return [bound]
    if current.subject_id == bound.subject_id:
        raise YunkuError("person_bound", person_id=bound.person_id)
    if claimed is None:
        raise YunkuError("person_bound_elsewhere")
    return _claiming(state, current, claimed)


def _claiming(state: Person, current: persons_pb2.EmploymentRecord, claimed: events_pb2.PersonClaimed) -> list[Message]:
    """Records a claim; while one of the same company is open, that one stands."""
    waiting = [one for one in state.record.claims if one.state == "open"]
    if any(one.subject_id == claimed.subject_id for one in waiting):
        return []
    if len(waiting) >= MAX_OPEN_CLAIMS:
        raise YunkuError("too_many_claims")
    event = events_pb2.PersonClaimed()
    event.CopyFrom(claimed)
    event.holder_id = current.subject_id
    return [event]


def employed(state: Person, subject_id: str, expected_version: int = 0) -> persons_pb2.EmploymentRecord:
    """The subject's employment that lasts. ``not_found`` where it never employed the person, ``person_not_bound`` where it does no more."""
    employment = state.employment(subject_id)
    if employment is None:
        raise YunkuError("not_found")
    if employment.unbound_on:
        raise YunkuError("person_not_bound")
    if expected_version and expected_version != employment.version:
        raise YunkuError("version_conflict", version=str(employment.version))
    return employment


def change(
    state: Person,
    subject_id: str,
    *,
    position: str | None,
    phone: kernel_pb2.EncryptedValue | None,
    same_phone: Callable[[persons_pb2.EmploymentRecord], bool],
    expected_version: int,
) -> list[Message]:
    """Replaces position and phone; None, and ``same_phone``, leave what is stated. What changes nothing is no event."""
    employment = employed(state, subject_id, expected_version)
    if same_phone(employment):
        phone = employment.phone if employment.HasField("phone") else None
        if position is None or position == employment.position:
            return []
    return [
        events_pb2.EmploymentChanged(
            person_id=state.record.person_id,
            subject_id=subject_id,
            employment_id=employment.employment_id,
            position=employment.position if position is None else position,
            phone=phone,
            version=employment.version + 1,
        )
    ]


def unbind(state: Person, subject_id: str, *, unbound_on: str, expected_version: int) -> list[Message]:
    """Ends the employment. ``value_invalid`` for a day before it began."""
    employment = employed(state, subject_id, expected_version)
    if unbound_on < employment.bound_on:
        raise YunkuError("value_invalid", field="/unbound_on")
    return [
        events_pb2.PersonUnbound(
            person_id=state.record.person_id,
            subject_id=subject_id,
            employment_id=employment.employment_id,
            unbound_on=unbound_on,
        )
    ]


def object_to(state: Person, subject_id: str, claim_id: str, reason: str) -> list[Message]:
    """The holder keeps the person. Raises ``not_found`` where the claim isn't against it, ``claim_answered``."""
    claim = _claim(state.record, claim_id)
    if claim.holder_id != subject_id:
        raise YunkuError("not_found")
    if claim.state == "objected" and claim.objection == reason:
        return []
    if claim.state != "open":
        raise YunkuError("claim_answered", state=claim.state)
    return [events_pb2.ClaimObjected(person_id=state.record.person_id, claim_id=claim_id, reason=reason)]


def withdraw(state: Person, subject_id: str, claim_id: str) -> list[Message]:
    """The claimant gives its claim up. Raises ``not_found`` where it isn't its own, ``claim_answered``."""
    claim = _claim(state.record, claim_id)
    if claim.subject_id != subject_id:
        raise YunkuError("not_found")
    if claim.state == "withdrawn":
        return []
    if claim.state != "open":
        raise YunkuError("claim_answered", state=claim.state)
    return [events_pb2.ClaimWithdrawn(person_id=state.record.person_id, claim_id=claim_id)]


# -- whose record an event is ------------------------------------------------------------------------------------------


def concerns(before: Person, event: Any, subject_id: str) -> bool:
    """Whether a company is told of an event: of its own employments, and of the claims that it made or received."""
    match event:
        case events_pb2.PersonBound() | events_pb2.EmploymentChanged():
            return bool(event.subject_id == subject_id)
        case events_pb2.PersonUnbound():
            return event.subject_id == subject_id or any(
                one.subject_id == subject_id and one.state == "open" for one in before.record.claims
            )
        case events_pb2.PersonClaimed():
            return subject_id in (event.subject_id, event.holder_id)
        case events_pb2.ClaimObjected() | events_pb2.ClaimWithdrawn():
            claim = _claim(before.record, event.claim_id)
            return subject_id in (claim.subject_id, claim.holder_id)
    raise TypeError(f"{type(event).__name__} is no event of a person")


# -- values ------------------------------------------------------------------------------------------------------------


def parse_number(kind: str, text: str, pointer: str = "/id_no") -> str:
    """The canonical number of an ID document. Raises ``value_invalid``, for citizens' numbers also where the check digit fails:
    the number is what a person is known by."""
    if kind not in DOCUMENT_KINDS:
        raise YunkuError("value_invalid", field="/document_kind")
    if not text.strip():
        raise YunkuError("field_required", field=pointer)
    try:
        if kind not in _CITIZEN_NUMBERS:
            number = values.parse("certno", text)
            if not (5 <= len(number) <= 30 and number.isascii() and number.isalnum()):
                raise YunkuError("value_invalid", field=pointer)
            return number
        number = values.parse("id18", text)
    except values.BadValue as problem:
        raise _invalid(pointer, problem.code, problem.details) from None
    for finding in values.checks("id18", number):
        raise _invalid(pointer, finding.code, {})
    return number


def parse_name(text: str, pointer: str = "/name") -> str:
    """The canonical name of a person; raises ``field_required`` or ``name_malformed``."""
    if not text.strip():
        raise YunkuError("field_required", field=pointer)
    try:
        name = values.parse("person", text)
    except values.BadValue:
        raise YunkuError("name_malformed", field=pointer) from None
    if not any(character.isalpha() for character in name):
        raise YunkuError("name_malformed", field=pointer)
    return name


def parse_phone(text: str) -> str:
    """The canonical phone number, empty where none is stated; raises ``phone_malformed``."""
    if not text.strip():
        return ""
    try:
        return values.parse("phone", text)
    except values.BadValue:
        raise YunkuError("phone_malformed", field="/phone") from None


def parse_text(text: str, pointer: str, longest: int) -> str:
    """A short text, empty where none is stated; raises ``value_too_long`` or ``value_invalid``."""
    if not text.strip():
        return ""
    if len(text) > longest:
        raise YunkuError("value_too_long", field=pointer, max=str(longest))
    try:
        return values.parse("string", text)
    except values.BadValue as problem:
        raise _invalid(pointer, problem.code, problem.details) from None


def parse_day(text: str, pointer: str, today: date) -> str:
    """A day that isn't to come, today where none is stated; raises ``value_invalid``."""
    if not text.strip():
        return today.isoformat()
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise YunkuError("value_invalid", field=pointer) from None
    if day.isoformat() != text or day > today or day.year < 1900:
        raise YunkuError("value_invalid", field=pointer)
    return text


def mask(number: str, head: int, tail: int) -> str:
    """A personal number with its middle hidden."""
    if len(number) <= head + tail:
        return "*" * len(number)
    return number[:head] + "*" * (len(number) - head - tail) + number[-tail:]


def _invalid(pointer: str, problem: str, details: Mapping[str, str]) -> YunkuError:
    """What is wrong with a typed value, without the value."""
    return YunkuError("value_invalid", errors=[FieldError(pointer, "value_invalid", {**details, "problem": problem})])


# -- a reader's reading (docs/id-reader.md) ----------------------------------------------------------------------------

#: How old a reading may be, and how far the reader's clock may be ahead.
READING_AGE: Final = timedelta(minutes=10)
CLOCKS_APART: Final = timedelta(minutes=2)
_NONCE: Final = re.compile(r"[0-9a-f]{32,64}")
_SERIAL: Final = re.compile(r"[0-9A-Za-z._-]{4,64}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_LONG: Final = "长期"


def parse_reading(number: str, read: persons_pb2.Details, nonce: str, now: datetime) -> persons_pb2.Details:
    """The canonical details of a reading of an ID card. Raises errors that name the field below ``/reader``.

    A card can't disagree with its own number (GB 11643: birth date in 7 to 14, odd at 17 for men): such data no card has given.
    """
    if not _NONCE.fullmatch(nonce):
        raise YunkuError("value_invalid", field="/reader/nonce")
    if not _SERIAL.fullmatch(read.reader_serial):
        raise YunkuError("value_invalid", field="/reader/reader_serial")
    if read.photo_sha256 and not _SHA256.fullmatch(read.photo_sha256):
        raise YunkuError("value_invalid", field="/reader/photo_sha256")
    if read.gender != ("男" if int(number[16]) % 2 else "女"):
        raise YunkuError("value_invalid", field="/reader/gender")
    if _day(read.birth_date, "birth_date").replace("-", "") != number[6:14]:
        raise YunkuError("value_invalid", field="/reader/birth_date")
    valid_from = _day(read.valid_from, "valid_from")
    if read.valid_until != _LONG and _day(read.valid_until, "valid_until") <= valid_from:
        raise YunkuError("value_invalid", field="/reader/valid_until")
    at = _moment(read.read_at)
    if not -CLOCKS_APART <= now - at <= READING_AGE:
        raise YunkuError("reading_stale", field="/reader/read_at")
    return persons_pb2.Details(
        gender=read.gender,
        ethnicity=_stated(read.ethnicity, "ethnicity", 40),
        birth_date=read.birth_date,
        address=_stated(read.address, "address", 300),
        issuing_authority=_stated(read.issuing_authority, "issuing_authority", 200),
        valid_from=read.valid_from,
        valid_until=read.valid_until,
        photo_sha256=read.photo_sha256,
        reader_serial=read.reader_serial,
        read_at=read.read_at,
    )


def _stated(text: str, name: str, longest: int) -> str:
    found = parse_text(text, f"/reader/{name}", longest)
    if not found:
        raise YunkuError("field_required", field=f"/reader/{name}")
    return found


def _day(text: str, name: str) -> str:
    try:
        if date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise YunkuError("value_invalid", field=f"/reader/{name}")


def _moment(text: str) -> datetime:
    try:
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise YunkuError("value_invalid", field="/reader/read_at")
