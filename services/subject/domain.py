"""What may happen to a subject: pure decisions over a frozen state."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Final

from google.protobuf.message import Message
from yunku.subject.v1 import events_pb2, profile_pb2

from kernel import values
from kernel.errors import FieldError, YunkuError
from services.subject import profile

#: Every type of subject, in the order in which a subject's types are kept (domain.md, "SubjectType").
TYPES: Final = ("TENDERER", "BIDDER", "AGENCY")
#: The registration rules of company names give no upper bound; the longest real ones have about 60 characters.
MAX_NAME: Final = 200
_LETTER: Final = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class Accepted:
    """Basic information as it was submitted."""

    number: int
    name: str
    profile: profile_pb2.Profile
    submitted_at: datetime


@dataclass(frozen=True)
class Subject:
    """One company, as its stream says; ``registered_at`` is None as long as the stream has no event.

    ``version`` is the content version: it rises with a new name and with basic information stated. ``profile`` is what was
    stated last, ``accepted`` what was submitted last, which stands while the other is being changed.
    """

    uscc: str = ""
    name: str = ""
    former_names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    account_id: str = ""
    registered_at: datetime | None = None
    version: int = 0
    profile: profile_pb2.Profile = field(default_factory=profile_pb2.Profile)
    accepted: Accepted | None = None

    @property
    def profile_state(self) -> str:
        """none, draft, submitted, or changing (submitted, and something stated otherwise since)."""
        if self.accepted is not None:
            unchanged = (self.name, self.profile) == (self.accepted.name, self.accepted.profile)
            return "submitted" if unchanged else "changing"
        return "draft" if self.profile.ByteSize() else "none"


def evolve(state: Subject, event: Any, recorded_at: datetime) -> Subject:
    """The state after ``event``."""
    match event:
        case events_pb2.SubjectRegistered():
            return replace(
                state,
                uscc=event.uscc,
                name=event.name,
                types=tuple(event.types),
                account_id=event.account_id,
                registered_at=recorded_at,
                version=1,
            )
        case events_pb2.SubjectRenamed():
            former = tuple(dict.fromkeys((*state.former_names, event.former_name)))
            return replace(state, name=event.name, former_names=former, version=state.version + 1)
        case events_pb2.ProfileStated():
            return replace(state, profile=event.profile, version=event.version)
        case events_pb2.ProfileSubmitted():
            return replace(state, accepted=Accepted(event.number, event.name, event.profile, recorded_at))
    raise TypeError(f"{type(event).__name__} is no event of a subject")


def register(
    state: Subject,
    *,
    subject_id: str,
    uscc: str,
    name: str,
    types: Sequence[str],
    account_id: str,
    key_uscc: str,
    confirm_uscc: bool,
) -> list[Message]:
    """Registers a company. ``uscc``, ``name`` and ``types`` are checked already (the functions below).

    ``key_uscc`` is the USCC of the CA key by which the account logged in, if it did: such an account registers its own
    company only. Raises ``certificate_not_holders``, ``uscc_check_digit`` (unless confirmed), ``subject_registered``.
    """
    if key_uscc and key_uscc != uscc:
        raise YunkuError("certificate_not_holders", field="/uscc")
    doubtful = any(finding.code == "uscc.check_digit" for finding in values.checks("uscc", uscc))
    if doubtful and not confirm_uscc:
        raise YunkuError("uscc_check_digit", field="/uscc")
    if state.registered_at is not None:
        raise YunkuError("subject_registered", field="/uscc")
    return [
        events_pb2.SubjectRegistered(
            subject_id=subject_id, uscc=uscc, name=name, types=types, account_id=account_id, uscc_confirmed=doubtful
        )
    ]


def rename(state: Subject, *, subject_id: str, name: str, expected_version: int = 0) -> list[Message]:
    """Changes the registered name; the same name changes nothing. Raises ``not_found``, ``version_conflict``."""
    _require(state, expected_version)
    if name == state.name:
        return []
    return [events_pb2.SubjectRenamed(subject_id=subject_id, former_name=state.name, name=name)]


def state_profile(
    state: Subject,
    *,
    subject_id: str,
    stated: profile_pb2.Profile,
    fields: Sequence[str],
    today: date,
    expected_version: int = 0,
) -> list[Message]:
    """States basic information (the ``fields`` named; an empty value clears one); what is so already changes nothing.

    Raises ``not_found``, ``version_conflict``, ``field_unknown``, ``value_invalid``.
    """
    _require(state, expected_version)
    after = profile.changed(state.profile, stated, fields, today)
    if after == state.profile:
        return []
    return [events_pb2.ProfileStated(subject_id=subject_id, profile=after, version=state.version + 1)]


def submit_profile(state: Subject, *, subject_id: str, missing_types: Mapping[str, str], expected_version: int = 0) -> list[Message]:
    """Submits the basic information 提交, or submits it again 修改 (manual 三 (一) 1 (3), 四 (一)).

    ``missing_types`` are the required certificate types, code to label, of which none is submitted. Raises ``not_found``,
    ``version_conflict``, ``field_required``, ``certificates_missing``, and ``wrong_state`` where nothing changed since the last.
    """
    _require(state, expected_version)
    if state.profile_state == "submitted":
        raise YunkuError("wrong_state", state="submitted")
    missing = profile.missing(state.profile)
    if missing:
        raise YunkuError("field_required", errors=missing)
    if missing_types:
        errors = [FieldError(f"/certificates/{code}", "certificates_missing", {"types": label}) for code, label in missing_types.items()]
        raise YunkuError("certificates_missing", errors=errors, types="、".join(missing_types.values()))
    number = state.accepted.number + 1 if state.accepted is not None else 1
    return [
        events_pb2.ProfileSubmitted(
            subject_id=subject_id,
            number=number,
            uscc=state.uscc,
            name=state.name,
            profile=state.profile,
            version=state.version,
        )
    ]


def shown(state: Subject) -> dict[str, Any]:
    """What an operation record compares, by path: everything that a reader of the page sees."""
    if state.registered_at is None:
        return {}
    return {
        "name": state.name,
        "uscc": state.uscc,
        "types": list(state.types),
        "former_names": list(state.former_names),
        "profile_state": state.profile_state,
        **profile.shown(state.profile),
    }


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What differs between two of them: path, before, after."""
    return [
        {"path": path, "before": before.get(path), "after": after.get(path)}
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path) and (before.get(path) or after.get(path))
    ]


def _require(state: Subject, expected_version: int) -> None:
    if state.registered_at is None:
        raise YunkuError("not_found")
    if expected_version and state.version != expected_version:
        raise YunkuError("version_conflict", version=str(state.version))


def parse_uscc(text: str) -> str:
    """The code in upper case without blanks; raises ``uscc_malformed`` for what GB 32100 can't have made."""
    try:
        return values.parse("uscc", text)
    except values.BadValue:
        raise YunkuError("uscc_malformed", field="/uscc") from None


def parse_name(text: str) -> str:
    """The name as the register writes it (blanks and brackets of one kind); raises ``name_malformed``."""
    try:
        name = values.parse("org", text)
    except values.BadValue:
        raise YunkuError("name_malformed", field="/name") from None
    if not 2 <= len(name) <= MAX_NAME or not _LETTER.search(name):
        raise YunkuError("name_malformed", field="/name")
    return name


def parse_types(types: Sequence[str]) -> tuple[str, ...]:
    """The types in their fixed order, each once; raises ``field_required`` or ``subject_type_unknown``."""
    if not types:
        raise YunkuError("field_required", field="/types")
    if not set(types) <= set(TYPES):
        raise YunkuError("subject_type_unknown", field="/types")
    return tuple(known for known in TYPES if known in types)
