"""Typed values that services share: what a company states, what a print shows, and whether the two are the same.

Everything is pure and stands on the standard library alone. A value's canonical form is a string (an ISO date, a
decimal string in yuan, ``true``, …), so that it can stand in JSON and events as it is.

- ``parse`` takes what somebody states; ``read`` takes what stands on a print (lenient about edges, strict about
  units). Both raise ``BadValue`` with a code.
- ``equal`` compares canonical values; ``agrees`` a print with a canonical value.
- ``spellings`` gives the ways a print may write a value, so that a recogniser can score each of them.
- ``checks`` says what is implausible about a well-formed value.
- ``display`` is how people read it.
"""

from __future__ import annotations

from itertools import islice

from kernel.values.codes import Id18, Phone, Uscc
from kernel.values.dates import Date, DateOrLong, Month, Months, Period, Year, first_day, last_day
from kernel.values.figures import Int, Percent
from kernel.values.folding import fold
from kernel.values.kind import PLAIN, Kind, Spec, without_label
from kernel.values.lists import Amounts, Enums, People
from kernel.values.lists import total as _total
from kernel.values.money import Money
from kernel.values.problems import BadValue, Finding
from kernel.values.words import Bool, CertNo, Enum, Level, LevelText, Long, Org, Person, String

__all__ = [
    "KINDS",
    "MAX_SPELLINGS",
    "PLAIN",
    "BadValue",
    "Finding",
    "Spec",
    "agrees",
    "checks",
    "display",
    "equal",
    "first_day",
    "fold",
    "last_day",
    "parse",
    "read",
    "spellings",
    "total",
]

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Uscc(),
        Id18(),
        Phone(),
        Date(),
        DateOrLong(),
        Period(),
        Month(),
        Months(),
        Year(),
        Money(),
        Percent(),
        Amounts(),
        Org(),
        Person(),
        People(),
        CertNo(),
        Level(),
        LevelText(),
        Enum(),
        Enums(),
        String(),
        Long(),
        Int(),
        Bool(),
    )
}
"""Every kind of value by its name in the catalogue."""

MAX_SPELLINGS = 40
"""No more spellings of one value are scored: each costs the recogniser a pass over its posteriors."""


def parse(kind: str, text: str, spec: Spec = PLAIN) -> str:
    """The canonical value of what somebody stated. Raises BadValue; KeyError for an unknown kind."""
    return KINDS[kind].parse(text, spec)


def read(kind: str, text: str, spec: Spec = PLAIN) -> str:
    """The canonical value of a print's text. Raises BadValue where it is none, is partial, or lacks its unit."""
    try:
        return KINDS[kind].read(text, spec)
    except BadValue as problem:
        # The mark may have caught the caption too; the first problem is the one to tell if that doesn't help.
        bare = without_label(text, spec.labels)
        if bare == fold(text):
            raise
        try:
            return KINDS[kind].read(bare, spec)
        except BadValue:
            raise problem from None


def equal(kind: str, a: str, b: str) -> bool:
    """Whether two canonical values are the same value."""
    return KINDS[kind].equal(a, b)


def agrees(kind: str, printed: str, value: str, spec: Spec = PLAIN) -> bool:
    """Whether a print's text says exactly the canonical ``value``, with its caption or without."""
    for text in dict.fromkeys((printed, without_label(printed, spec.labels))):
        try:
            if KINDS[kind].equal(KINDS[kind].read(text, spec), value):
                return True
        except BadValue:
            continue
    return False


def spellings(kind: str, value: str, spec: Spec = PLAIN, limit: int = MAX_SPELLINGS) -> tuple[str, ...]:
    """How a print may write the canonical value, the most usual first, at most ``limit`` of them."""
    return tuple(islice(dict.fromkeys(KINDS[kind].spellings(value, spec)), limit))


def checks(kind: str, value: str) -> tuple[Finding, ...]:
    """What is implausible about the canonical value (a check digit, a period that ends before it starts)."""
    return KINDS[kind].checks(value)


def display(kind: str, value: str, spec: Spec = PLAIN) -> str:
    """The canonical value as people read it: 2026年3月1日, 5000万元, 是."""
    return next(iter(KINDS[kind].spellings(value, spec)), value)


def total(kind: str, value: str) -> str:
    """The canonical amount of money that a canonical ``money`` value is, or ``amounts`` come to."""
    return _total(value) if kind == "amounts" else value
