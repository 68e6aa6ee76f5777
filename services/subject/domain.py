"""What may happen to a subject: pure decisions over a frozen state."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from google.protobuf.message import Message
from yunku.subject.v1 import events_pb2

from kernel import values
from kernel.errors import YunkuError

#: Every type of subject, in the order in which a subject's types are kept (domain.md, "SubjectType").
TYPES: Final = ("TENDERER", "BIDDER", "AGENCY")
#: The registration rules of company names give no upper bound; the longest real ones have about 60 characters.
MAX_NAME: Final = 200
_LETTER: Final = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class Subject:
    """One company, as its stream says; ``registered_at`` is None as long as the stream has no event."""

    uscc: str = ""
    name: str = ""
    former_names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    account_id: str = ""
    registered_at: datetime | None = None


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
            )
        case events_pb2.SubjectRenamed():
            return replace(state, name=event.name, former_names=(*state.former_names, event.former_name))
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


def rename(state: Subject, *, subject_id: str, name: str) -> list[Message]:
    """Changes the registered name; the same name changes nothing. Raises ``not_found``."""
    if state.registered_at is None:
        raise YunkuError("not_found")
    if name == state.name:
        return []
    return [events_pb2.SubjectRenamed(subject_id=subject_id, former_name=state.name, name=name)]


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
