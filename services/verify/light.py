"""The light of a certificate: field by field what was stated against what is seen, then RED, YELLOW or GREEN.

Pure: a verdict is a function of its `Inputs` and of RULES_VERSION alone, so the same recorded inputs give the same
verdict for ever (domain.md, "The light"). The limits are the measured ones of recognition.md, "Deciding"; the worst
error is a false GREEN, the next a false RED.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from typing import Any

from catalogue import CertificateType, Field, Role, Rule, Severity
from kernel import values
from kernel.values import BadValue

RULES_VERSION = "3"
"""Rises with every change of this file, of kernel.values or of what they import that could change a verdict."""

LIKELY = -2.0
"""Nats: a statement no further than this below the best reading may be what is printed."""
UNLIKELY = -8.0
"""Nats: a statement further than this below the best reading is not what is printed."""
LOOKALIKE_MARGIN = 2.0
"""Nats by which the statement must beat each look-alike of one of its characters, in every reading."""

MAX_CANDIDATES = 64
MAX_CANDIDATE_LENGTH = 2000
"""What the recogniser takes for one region (ocr's service.proto)."""
KEPT_READINGS = 6
KEPT_CANDIDATES = 3
"""What of the recogniser's answer decides and is recorded."""
_LEAST = -1e9
_ITEMS = re.compile(r"[；;、,，\n]|(?<=级)(?=.)")


class Light(StrEnum):
    """红灯, 黄灯, 绿灯."""

    RED = "RED"
    YELLOW = "YELLOW"
    GREEN = "GREEN"


class Verdict(StrEnum):
    """What comparing one field gave."""

    MATCH = "MATCH"
    MISMATCH = "MISMATCH"
    UNREADABLE = "UNREADABLE"
    """A mark, but nothing legible or too little to tell."""
    UNMARKED = "UNMARKED"
    ABSENT = "ABSENT"
    """The user said that the print doesn't carry it, and the catalogue allows that."""
    NOT_COMPARED = "NOT_COMPARED"


# -- evidence ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """One way in which a region was read. ``confidence`` is 0..1, ``log_probability`` in nats."""

    text: str
    confidence: float
    log_probability: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A spelling of what was stated, scored against what is seen.

    ``log_ratio``: its log probability less the best reading's, in the reading in which it does best;
    ``lookalike_margin``: by how many nats it beats its best look-alike substitution, in the reading in which it does
    so least.
    """

    text: str
    log_probability: float
    log_ratio: float
    lookalike_margin: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the recogniser answered for one marked region; ``text_layer`` is None for what isn't born digital."""

    readings: tuple[Reading, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    text_layer: str | None = None

    def pruned(self) -> Evidence:
        """What decides: the readings, and the best candidates; numbers rounded so that JSON gives them back."""
        readings = tuple(
            Reading(r.text[:MAX_CANDIDATE_LENGTH], _number(r.confidence), _number(r.log_probability)) for r in self.readings[:KEPT_READINGS]
        )
        best = sorted(self.candidates, key=lambda c: (-_number(c.log_ratio), c.text))[:KEPT_CANDIDATES]
        candidates = tuple(Candidate(c.text, _number(c.log_probability), _number(c.log_ratio), _number(c.lookalike_margin)) for c in best)
        layer = None if self.text_layer is None else self.text_layer[:MAX_CANDIDATE_LENGTH]
        return Evidence(readings, candidates, layer)

    def to_json(self) -> str:
        """One canonical text for one evidence."""
        document = {
            "readings": [[r.text, r.confidence, r.log_probability] for r in self.readings],
            "candidates": [[c.text, c.log_probability, c.log_ratio, c.lookalike_margin] for c in self.candidates],
            "text_layer": self.text_layer,
        }
        return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @staticmethod
    def from_json(text: str) -> Evidence:
        """The evidence that ``to_json`` wrote."""
        document: Any = json.loads(text)
        return Evidence(
            tuple(Reading(*one) for one in document["readings"]),
            tuple(Candidate(*one) for one in document["candidates"]),
            document["text_layer"],
        )


def joined(parts: Sequence[Evidence]) -> Evidence:
    """The evidence of a field with several marks, in their order: it is as good as its worst part.

    Only each part's best reading and its score count, so a field in parts matches only where every part reads exactly.
    """
    if len(parts) == 1:
        return parts[0]
    firsts = [part.readings[0] if part.readings else Reading("", 0.0, _LEAST) for part in parts]
    if not all(one.text for one in firsts):
        return Evidence()
    text = "".join(one.text for one in firsts)
    reading = Reading(text, min(one.confidence for one in firsts), sum(one.log_probability for one in firsts))
    scores = [next((c for c in part.candidates if c.text == one.text), None) for part, one in zip(parts, firsts, strict=True)]
    candidates: tuple[Candidate, ...] = ()
    found = [score for score in scores if score is not None]
    if len(found) == len(parts):
        candidates = (
            Candidate(
                text,
                sum(c.log_probability for c in found),
                sum(c.log_ratio for c in found),
                min(c.lookalike_margin for c in found),
            ),
        )
    layers = [part.text_layer for part in parts if part.text_layer is not None]
    return Evidence((reading,), candidates, "".join(layers) if layers else None)


def _number(value: float) -> float:
    return round(max(min(value, -_LEAST), _LEAST), 4) if isfinite(value) else _LEAST


# -- inputs and outcome ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose certificate it is said to be; names and codes as the register knew them at the request."""

    uscc: str
    name: str
    former_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a verdict is a function of.

    ``rules`` are the catalogue's for the type; ``fields`` the stated canonical values; ``absent`` the fields that the
    user says the print doesn't carry; ``marked`` the fields with marks; ``evidence`` what recognition answered for
    each compared field that is marked; ``person_agrees`` the fields of ``person_statements`` that are the person's, as the
    subject service knew them then (their own values stand in no verdict). ``document_sha256``, ``marks_digest`` and
    ``engine_version`` are recorded with the verdict: the evidence is a function of them.
    """

    rules: CertificateType
    holder: Holder
    fields: Mapping[str, str]
    absent: frozenset[str]
    marked: frozenset[str]
    evidence: Mapping[str, Evidence]
    document_sha256: str = ""
    engine_version: str = ""
    person_agrees: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FieldVerdict:
    """The verdict over one field, with both columns and the reason (key ``verify.<reason>`` of the texts)."""

    name: str
    verdict: Verdict
    reason: str
    stated: str = ""
    recognised: str = ""
    confidence: float = 0.0
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RuleFailure:
    """A rule over the whole that failed. ``decisive``: RED; ``note``: only said; else no GREEN."""

    rule: str
    fields: tuple[str, ...]
    reason: str
    decisive: bool = False
    note: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The light and why."""

    light: Light
    fields: tuple[FieldVerdict, ...]
    failures: tuple[RuleFailure, ...]


class EvidenceMissing(LookupError):
    """A marked field has no evidence: recognition hasn't answered, and there can be no verdict yet."""


# -- what to ask the recogniser ----------------------------------------------------------------------------------------


def fields_to_read(rules: CertificateType, marked: frozenset[str]) -> tuple[str, ...]:
    """The fields whose marks the recogniser must read for a verdict."""
    return tuple(one.name for one in rules.fields if one.compared and one.name in marked)


def candidates(rules: CertificateType, fields: Mapping[str, str], name: str) -> tuple[str, ...]:
    """The spellings of what was stated for one field, the most usual first, to be scored against what is seen."""
    stated = fields.get(name, "")
    if not stated:
        return ()
    forms = list(rules.field(name).spellings(stated))
    if whole := _whole(rules, fields, name):
        forms += whole.spellings(fields[whole.name])[:8]
    short = (form for form in forms if 0 < len(form) <= MAX_CANDIDATE_LENGTH)
    return tuple(dict.fromkeys(short))[:MAX_CANDIDATES]


def unscored(rules: CertificateType, fields: Mapping[str, str], name: str, evidence: Evidence) -> tuple[str, ...]:
    """Readings that say exactly what was stated, in a spelling that was not scored: they lack their look-alike margin."""
    known = {values.fold(c.text) for c in evidence.candidates}
    texts = (r.text for r in evidence.readings if _says(rules, fields, name, r.text))
    return tuple(dict.fromkeys(t for t in texts if values.fold(t) not in known and len(t) <= MAX_CANDIDATE_LENGTH))


def _whole(rules: CertificateType, fields: Mapping[str, str], name: str) -> Field | None:
    """The field in whose print this one's value may stand (等级 in 资质类别及等级), if what is stated fits together.

    Only where the whole is exactly its parts one after the other: of a list, it wouldn't be known which item is meant.
    """
    for one in rules.fields:
        if name in one.composed_of and fields.get(one.name):
            together = "".join(fields.get(part, "") for part in one.composed_of)
            if all(fields.get(part) for part in one.composed_of) and values.equal(one.type, together, fields[one.name]):
                return one
    return None


def _says(rules: CertificateType, fields: Mapping[str, str], name: str, text: str) -> bool:
    """Whether a print's text says exactly what was stated for the field."""
    stated = fields.get(name, "")
    if not stated or not text:
        return False
    one = rules.field(name)
    if values.agrees(one.type, text, stated, one.spec):
        return True
    whole = _whole(rules, fields, name)
    return whole is not None and values.agrees(whole.type, text, fields[whole.name], whole.spec)


def person_statements(rules: CertificateType, fields: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """By field, what is stated of the person whose certificate it is: (person_id or person_name, value)."""
    stated = ((one, fields.get(one.name, "")) for one in rules.fields)
    return {one.name: (one.holder, value) for one, value in stated if one.holder in ("person_id", "person_name") and value}


# -- the verdict -------------------------------------------------------------------------------------------------------


def decide(inputs: Inputs) -> Outcome:
    """The verdict. Raises EvidenceMissing while recognition hasn't answered for every field that is compared."""
    verdicts = tuple(_field(inputs, one) for one in inputs.rules.fields)
    failures = (*_holder(inputs), *_plausibility(inputs))
    return Outcome(_light(inputs.rules, verdicts, failures), verdicts, failures)


def _light(rules: CertificateType, verdicts: Sequence[FieldVerdict], failures: Sequence[RuleFailure]) -> Light:
    refused = {Verdict.MISMATCH, Verdict.UNREADABLE, Verdict.UNMARKED}
    if any(failure.decisive for failure in failures):
        return Light.RED
    if any(one.verdict in refused and rules.field(one.name).role is Role.KEY for one in verdicts):
        return Light.RED
    if any(not failure.note for failure in failures):
        return Light.YELLOW
    if any(one.verdict not in (Verdict.MATCH, Verdict.NOT_COMPARED) for one in verdicts):
        return Light.YELLOW
    return Light.GREEN


def _field(inputs: Inputs, one: Field) -> FieldVerdict:
    stated, marked = inputs.fields.get(one.name, ""), one.name in inputs.marked
    if not one.compared:
        return FieldVerdict(one.name, Verdict.NOT_COMPARED, "not_compared", stated)
    if not stated and not marked:
        if one.may_be_absent and one.name in inputs.absent:
            return FieldVerdict(one.name, Verdict.ABSENT, "absent")
        return FieldVerdict(one.name, Verdict.UNMARKED, "not_stated")
    if not marked:
        return FieldVerdict(one.name, Verdict.UNMARKED, "unmarked", stated)
    evidence = inputs.evidence.get(one.name)
    if evidence is None:
        raise EvidenceMissing(one.name)
    return _compared(inputs, one, stated, evidence)


def _compared(inputs: Inputs, one: Field, stated: str, evidence: Evidence) -> FieldVerdict:
    readings = [reading for reading in evidence.readings if reading.text.strip()]
    if not readings:
        return FieldVerdict(one.name, Verdict.UNREADABLE, "illegible", stated)
    exact = [r for r in readings if _says(inputs.rules, inputs.fields, one.name, r.text)]
    shown = max(exact or readings, key=lambda r: r.confidence)
    found = FieldVerdict(one.name, Verdict.MATCH, "match", stated, shown.text, shown.confidence)
    if not stated:
        return replace(found, verdict=Verdict.MISMATCH, reason="not_stated")
    # A score counts only for a text that says what was stated, whatever else was scored.
    scored = [c for c in evidence.candidates if _says(inputs.rules, inputs.fields, one.name, c.text)]
    if not scored:
        return replace(found, verdict=Verdict.UNREADABLE, reason="cannot_tell")
    best = max(scored, key=lambda c: (c.log_ratio, c.lookalike_margin))
    if exact or best.log_ratio > LIKELY:
        if best.lookalike_margin < LOOKALIKE_MARGIN:
            return replace(found, verdict=Verdict.UNREADABLE, reason="lookalike")
        # A text layer can say something else than what is seen, and people see the picture.
        layer = (evidence.text_layer or "").strip()
        if layer and not _says(inputs.rules, inputs.fields, one.name, layer):
            params = {"layer": layer[:200]}
            return replace(found, verdict=Verdict.UNREADABLE, reason="text_layer_differs", params=params)
        return replace(found, reason="match" if exact else "likely")
    if best.log_ratio >= UNLIKELY:
        return replace(found, verdict=Verdict.UNREADABLE, reason="cannot_tell")
    reason, params = _mismatch(one, stated, shown.text)
    return replace(found, verdict=Verdict.MISMATCH, reason=reason, params=params)


def _mismatch(one: Field, stated: str, read: str) -> tuple[str, dict[str, str]]:
    """Why a reading isn't what was stated, as well as can be told: it helps to place the mark better."""
    seen = values.fold(read)
    forms = [values.fold(form) for form in one.spellings(stated)]
    if any(seen in form for form in forms):
        return "mismatch_part", {}
    if any(form in seen for form in forms):
        return "mismatch_more", {}
    try:
        one.read(read)
    except BadValue as problem:
        return "mismatch_unread", {"problem": problem.code, **problem.details}
    return "mismatch", {}


def _holder(inputs: Inputs) -> list[RuleFailure]:
    """The certificate must be the holder's: under the present name or a recorded former one; a person's must be that person's."""
    owned = {
        "company_name": ("org", (inputs.holder.name, *inputs.holder.former_names)),
        "uscc": ("uscc", (inputs.holder.uscc,)),
    }
    failures = []
    for one in inputs.rules.fields:
        stated = inputs.fields.get(one.name, "")
        if one.holder in owned and stated:
            kind, own = owned[one.holder]
            if not any(value and values.equal(kind, stated, value) for value in own):
                failures.append(RuleFailure("holder", (one.name,), f"not_holder_{one.holder}", decisive=True))
    for name, (told, _) in person_statements(inputs.rules, inputs.fields).items():
        if name not in inputs.person_agrees:
            failures.append(RuleFailure("holder", (name,), f"not_holder_{told}", decisive=True))
    return failures


def _plausibility(inputs: Inputs) -> list[RuleFailure]:
    failures = []
    for one in inputs.rules.fields:
        stated = inputs.fields.get(one.name, "")
        if stated:
            # What isn't compared can't cost the light either.
            failures += [
                RuleFailure("check", (one.name,), finding.code.replace(".", "_"), note=not one.compared) for finding in one.checks(stated)
            ]
    for rule in inputs.rules.plausibility:
        stated_all = [inputs.fields.get(name, "") for name in rule.fields]
        if all(stated_all) and not _holds(inputs.rules, rule, stated_all):
            failures.append(RuleFailure(rule.rule, rule.fields, f"rule_{rule.rule}", note=rule.severity is Severity.NOTE))
    return failures


def _holds(rules: CertificateType, rule: Rule, stated: list[str]) -> bool:
    kind = rules.field(rule.fields[0]).type
    match rule.rule:
        case "not_after":
            # ISO dates compare as texts; 长期 is after every date, and a term that gives no start says nothing.
            first, last = stated[0].partition("/")[0], stated[1].rpartition("/")[2]
            return "长期" in (first, last) or first <= last
        case "contains":
            return values.fold(stated[1]) in values.fold(stated[0])
        case "composed":
            together = "".join(stated[1:])
            items = [stated[0], *_ITEMS.split(stated[0])]
            return any(values.equal(kind, item, together) for item in items if item)
        case "years_between":
            first, last = stated[0].partition("/")[0], stated[-1].rpartition("/")[2]
            return "长期" in (first, last) or any(_years_apart(first, last, years) for years in rule.years)
        case "sum":
            kinds = [rules.field(name).type for name in rule.fields]
            return _adds_up([values.total(one, value) for one, value in zip(kinds, stated, strict=True)], int(rule.within or 0))
        case "covers":
            outer, inner = stated
            start, end = values.first_day(outer), values.last_day(outer)
            return (start == "长期" or start <= values.first_day(inner)) and (end == "长期" or values.last_day(inner) <= end)
        case "ended_by":
            return values.last_day(stated[0]) == "长期" or values.last_day(stated[0]) <= stated[1]
        case "fits":
            fitting = [allowed for pattern, allowed in rule.allowed.items() if re.fullmatch(pattern, stated[0])]
            return not fitting or any(stated[1] in allowed for allowed in fitting)
        case "birth_of":
            return stated[0][6:14] == stated[1].replace("-", "")
        case "gender_of":
            return (int(stated[0][16]) % 2 == 1) == (stated[1] == "男")
        case "patent_number":
            return _patent_number(*stated)
    raise ValueError(f"no such rule: {rule.rule}")


def _adds_up(amounts: Sequence[str], within: int) -> bool:
    """Whether the first amount is the others' sum, give or take so many yuan. Of different currencies nothing is said."""
    currencies, fens = {one.rpartition(" ")[0] for one in amounts}, [round(Decimal(one.rpartition(" ")[2]) * 100) for one in amounts]
    return len(currencies) > 1 or abs(fens[0] - sum(fens[1:])) <= within * 100


_PATENT = re.compile(r"ZL([0-9]{4})([123589])([0-9]{7})\.([0-9X])")
_PATENT_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
_PATENT_KINDS = {"1": "发明专利", "8": "发明专利", "2": "实用新型专利", "9": "实用新型专利", "3": "外观设计专利"}


def _patent_number(number: str, kind: str, filed_on: str) -> bool:
    """ZL, year of filing, kind (8 and 9: of international applications), serial number, check digit (mod 11; 10 is X)."""
    found = _PATENT.fullmatch(number)
    if found is None:
        return True  # its form is judged by the field's format
    digits = "".join(found.groups()[:3])
    rest = sum(int(digit) * weight for digit, weight in zip(digits, _PATENT_WEIGHTS, strict=True)) % 11
    return found[1] == filed_on[:4] and _PATENT_KINDS.get(found[2]) == kind and found[4] == ("X" if rest == 10 else str(rest))


def _years_apart(first: str, last: str, years: int) -> bool:
    """Whether ``last`` is ``years`` after ``first``, give or take the day (a term ends on the anniversary or before it)."""
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    anniversary = start.replace(year=start.year + years, day=min(start.day, 28))
    return abs((end - anniversary).days) <= 3
