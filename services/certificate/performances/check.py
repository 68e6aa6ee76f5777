"""The logic check over a performance's materials (业绩信息录入规范化逻辑校验, manual 三 (五) 1 (7)): pure.

A WARNING is to be confirmed by the user (继续提交), an ERROR blocks. Which is which follows ``shared/data/catalogue-notes.yaml``
(cross_rules X1, X3 to X5) and domain.md ("completion after signing after award"). Every finding names the two values and where they
come from; what a contract change says beside the contract explains a difference.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from yunku.certificate.v1 import types_pb2

from catalogue import PerformanceCategory
from kernel import values

AWARD: Final = "bid_award_notice"
CONTRACT: Final = "construction_contract"
ACCEPTANCE: Final = "completion_acceptance"

WARNING: Final = "WARNING"
ERROR: Final = "ERROR"

#: Every finding that there is, with its severity; texts stand in kernel/texts under [check].
CODES: Final[Mapping[str, str]] = {
    "section_name_differs": WARNING,
    "section_no_differs": WARNING,
    "client_differs": WARNING,
    "contractor_differs": WARNING,
    "price_differs": WARNING,
    "manager_differs": WARNING,
    "contract_before_award": WARNING,
    "start_before_contract": WARNING,
    "completion_before_start": WARNING,
    "holder_not_party": ERROR,
    "completion_before_award": ERROR,
    "completion_before_contract": ERROR,
    "completion_in_future": ERROR,
    "acceptance_failed": ERROR,
    "change_value_invalid": ERROR,
}

#: A consortium 联合体 is named as a list of its members, each perhaps with its part in brackets.
_MEMBERS: Final = re.compile(r"[、,，;；\n]")
_PART: Final = re.compile(r"[（(](?:联合体)?(?:牵头人|牵头单位|牵头方|成员|成员单位|成员方)[）)]$")
_FAILED: Final = "不合格"


@dataclass(frozen=True)
class Paper:
    """One material: its certificate's id, type and canonical values."""

    certificate_id: str
    type: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Override:
    """One contract change, in the order of effect; ``value`` is None where it isn't one of the item's kind."""

    certificate_id: str
    type: str
    item: str
    value: str | None
    stated: str


@dataclass(frozen=True)
class Inputs:
    """All that the check is a function of."""

    holder_names: Sequence[str]
    """The present name and recorded former ones."""
    category: PerformanceCategory
    today: date
    information: Mapping[str, str] = field(default_factory=dict)
    papers: Mapping[str, Paper] = field(default_factory=dict)
    """By type: award, contract and acceptance, as far as they are there."""
    overrides: Sequence[Override] = ()


@dataclass(frozen=True)
class Said:
    """A value and where it stands."""

    value: str
    source: types_pb2.CheckSource


Same = Callable[[str, str], bool]


def run(inputs: Inputs) -> list[types_pb2.CheckFinding]:
    """Every finding, errors first, in a fixed order. What isn't stated yet says nothing."""
    same_party = _same_party(inputs)
    sections = ((AWARD, "section_name"), ("", "section_name"), (ACCEPTANCE, "section_name"))
    clients = ((AWARD, "tenderee"), (ACCEPTANCE, "employer"))
    found = [
        *_parties(inputs),
        *_dates(inputs),
        *_overrides(inputs),
        *_differing("section_name_differs", inputs, "section_name", "section_name", _as("string"), *sections),
        *_numbers(inputs),
        *_differing("client_differs", inputs, "client", "employer", same_party, *clients),
        *_differing("contractor_differs", inputs, "contractor", "contractor", same_party, (AWARD, "winner")),
        *_differing("price_differs", inputs, "contract_price", "contract_price", _as("money"), (AWARD, "award_price")),
        *_managers(inputs),
    ]
    return sorted(found, key=lambda one: (one.severity != ERROR, tuple(CODES).index(one.code)))


def digest(findings: Iterable[types_pb2.CheckFinding]) -> str:
    """One text for all warnings: confirming it confirms exactly these."""
    ids = sorted(one.id for one in findings if one.severity == WARNING)
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:32]


def unconfirmed(findings: Iterable[types_pb2.CheckFinding], confirm: Iterable[str]) -> list[types_pb2.CheckFinding]:
    """The warnings that neither their id nor the digest over all confirms."""
    all_of_them, confirmed = list(findings), set(confirm)
    if digest(all_of_them) in confirmed:
        return []
    return [one for one in all_of_them if one.severity == WARNING and one.id not in confirmed]


def _finding(code: str, *said: Said) -> types_pb2.CheckFinding:
    sources = [one.source for one in said]
    content = [code, *([s.certificate_id, s.type, s.field, s.value] for s in sources)]
    made = hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:16]
    return types_pb2.CheckFinding(id=made, code=code, severity=CODES[code], sources=sources)


def _said(inputs: Inputs, type_code: str, name: str) -> Said | None:
    """What a material (or, for the empty type, the overall information) states."""
    if not type_code:
        value = inputs.information.get(name, "")
        return Said(value, types_pb2.CheckSource(field=name, value=value)) if value else None
    paper = inputs.papers.get(type_code)
    value = paper.fields.get(name, "") if paper is not None else ""
    if paper is None or not value:
        return None
    return Said(value, types_pb2.CheckSource(certificate_id=paper.certificate_id, type=paper.type, field=name, value=value))


def _of_contract(inputs: Inputs, item: str, name: str) -> list[Said]:
    """What the contract says of an item: as signed, then as each change made it; the last one is effective."""
    original = _said(inputs, CONTRACT, name)
    known = [original] if original is not None else []
    for change in inputs.overrides:
        if change.item == item and change.value is not None:
            source = types_pb2.CheckSource(certificate_id=change.certificate_id, type=change.type, field="new_value", value=change.value)
            known.append(Said(change.value, source))
    return known


def _differing(code: str, inputs: Inputs, item: str, name: str, same: Same, *others: tuple[str, str]) -> list[types_pb2.CheckFinding]:
    """Each of ``others`` against the contract: equal to what it said at any time. Without a contract, against the first of them."""
    stated = [said for said in (_said(inputs, *other) for other in others) if said is not None]
    known = _of_contract(inputs, item, name)
    if not known:
        known, stated = stated[:1], stated[1:]
    return [_finding(code, one, known[-1]) for one in stated if not any(same(one.value, each.value) for each in known)]


def _as(kind: str) -> Same:
    return lambda a, b: values.equal(kind, a, b)


# -- parties -----------------------------------------------------------------------------------------------------------


def members(text: str) -> list[str]:
    """The companies that a party's name lists: one, or those of a consortium."""
    return [_PART.sub("", part.strip()) for part in _MEMBERS.split(text) if part.strip()]


def _same_party(inputs: Inputs) -> Same:
    """Whether two names have a company in common; the holder's names are all one company's (X1)."""

    def same(a: str, b: str) -> bool:
        if any(values.equal("org", x, y) for x in members(a) for y in members(b)):
            return True
        return _names_holder(inputs, a) and _names_holder(inputs, b)

    return same


def _names_holder(inputs: Inputs, text: str) -> bool:
    return any(values.equal("org", part, name) for part in members(text) for name in inputs.holder_names)


def _parties(inputs: Inputs) -> list[types_pb2.CheckFinding]:
    """The holder must be a party: winner, contractor (after all changes), and where the category says so in the acceptance."""
    found: list[types_pb2.CheckFinding] = []
    same = _same_party(inputs)
    contractors = _of_contract(inputs, "contractor", "contractor")
    effective = contractors[-1] if contractors else None
    winner = _said(inputs, AWARD, "winner")
    if winner is not None and not _names_holder(inputs, winner.value):
        # The contract may have passed to the holder later, if the one that it was signed with had won.
        passed_on = (
            len(contractors) > 1
            and effective is not None
            and _names_holder(inputs, effective.value)
            and any(same(winner.value, each.value) for each in contractors[:-1])
        )
        if not passed_on:
            found.append(_finding("holder_not_party", winner, *_holder(inputs)))
    if effective is not None and not _names_holder(inputs, effective.value):
        found.append(_finding("holder_not_party", effective, *_holder(inputs)))
    accepted = [said for said in (_said(inputs, ACCEPTANCE, name) for name in inputs.category.party) if said is not None]
    if accepted and not any(_names_holder(inputs, said.value) for said in accepted):
        found.append(_finding("holder_not_party", *accepted, *_holder(inputs)))
    return found


def _holder(inputs: Inputs) -> list[Said]:
    return [Said(inputs.holder_names[0], types_pb2.CheckSource(field="holder", value=inputs.holder_names[0]))]


# -- dates, numbers, persons -------------------------------------------------------------------------------------------


def _dates(inputs: Inputs) -> list[types_pb2.CheckFinding]:
    """Award, contract, start, completion in this order (X3); a completion must lie in the past and have been passed."""
    award, signed = _said(inputs, AWARD, "issued_on"), _said(inputs, CONTRACT, "signed_on")
    start, done = _said(inputs, ACCEPTANCE, "actual_start"), _said(inputs, ACCEPTANCE, "accepted_on")
    ordered = (
        ("completion_before_award", award, done),
        ("completion_before_contract", signed, done),
        ("contract_before_award", award, signed),
        ("start_before_contract", signed, start),
        ("completion_before_start", start, done),
    )
    found = [
        _finding(code, earlier, later)
        for code, earlier, later in ordered
        if earlier is not None and later is not None and later.value < earlier.value
    ]
    if done is not None and date.fromisoformat(done.value) > inputs.today:
        found.append(_finding("completion_in_future", done))
    conclusion = _said(inputs, ACCEPTANCE, "conclusion")
    if conclusion is not None and conclusion.value == _FAILED:
        found.append(_finding("acceptance_failed", conclusion))
    return found


def _overrides(inputs: Inputs) -> list[types_pb2.CheckFinding]:
    return [
        _finding(
            "change_value_invalid",
            Said(
                one.stated,
                types_pb2.CheckSource(certificate_id=one.certificate_id, type=one.type, field="new_value", value=one.stated),
            ),
        )
        for one in inputs.overrides
        if one.value is None
    ]


def _numbers(inputs: Inputs) -> list[types_pb2.CheckFinding]:
    stated, awarded = _said(inputs, "", "section_no"), _said(inputs, AWARD, "section_no")
    if stated is None or awarded is None or values.equal("certno", stated.value, awarded.value):
        return []
    return [_finding("section_no_differs", stated, awarded)]


def _managers(inputs: Inputs) -> list[types_pb2.CheckFinding]:
    """The award names the contract's manager of any time; the acceptance the last one (X5)."""
    found = _differing("manager_differs", inputs, "project_manager", "project_manager", _as("person"), (AWARD, "project_manager"))
    accepted = _said(inputs, ACCEPTANCE, "project_manager")
    known = _of_contract(inputs, "project_manager", "project_manager") or [
        said for said in (_said(inputs, AWARD, "project_manager"),) if said is not None
    ]
    if accepted is not None and known and not values.equal("person", accepted.value, known[-1].value):
        found.append(_finding("manager_differs", accepted, known[-1]))
    return found
