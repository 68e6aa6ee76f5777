"""What the catalogue says: modules, certificate types and their fields. Plain data, no reading of files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kernel import values
from kernel.values import BadValue, Finding, Spec


class Role(StrEnum):
    """What a field weighs for the light (domain.md, "The light")."""

    KEY = "KEY"
    """关键实质性信息: if it is not a match, RED."""
    DIGITAL = "DIGITAL"
    """数字化智能信息: if it is not a match, YELLOW."""
    PLAIN = "PLAIN"
    """Recorded, not compared."""


class Owner(StrEnum):
    """Whose certificate it is."""

    SUBJECT = "subject"
    PERSON = "person"
    PERFORMANCE = "performance"


class PrintedBy(StrEnum):
    """Where the document shows the field."""

    DOCUMENT = "document"
    SEAL = "seal"
    """In the print or only in the round seal."""
    USER = "user"
    """Nowhere: the user states it, and it takes no mark."""


class Severity(StrEnum):
    """What a plausibility rule that fails does."""

    LIGHT = "light"
    """No GREEN: the light is YELLOW at most."""
    NOTE = "note"
    """Shown, no more."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a certificate type."""

    name: str
    label: str
    role: Role
    type: str
    """Name of its kind in kernel.values.KINDS."""
    required: bool = True
    may_be_absent: bool = False
    """Some prints don't carry it: the user may declare it absent."""
    labels: tuple[str, ...] = ()
    """Captions as printed, for recognition; the first is the usual one."""
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values of an enumeration or level, each with its other spellings."""
    open: bool = False
    """Values beside the choices are allowed."""
    unit: str = ""
    """Unit that the print gives in its heading."""
    holder: str = ""
    """``company_name`` or ``uscc``: it must be the holder's; ``person_id`` or ``person_name``: its person's."""
    format: str = ""
    """Regular expression of the usual form; another form is implausible, not refused."""
    printed_by: PrintedBy = PrintedBy.DOCUMENT
    composed_of: tuple[str, ...] = ()
    """Fields whose values, written one after the other, may make up this one's (资质名称 + 等级)."""

    @property
    def takes_mark(self) -> bool:
        """Whether the document can show it."""
        return self.printed_by is not PrintedBy.USER

    @property
    def compared(self) -> bool:
        """Whether the light depends on it."""
        return self.role is not Role.PLAIN and self.takes_mark

    @property
    def spec(self) -> Spec:
        """What the field adds to its kind of value."""
        return Spec(choices=dict(self.choices), open=self.open, unit=self.unit, labels=self.labels)

    def parse(self, text: str) -> str:
        """The canonical value that was stated; raises BadValue."""
        return values.parse(self.type, text, self.spec)

    def read(self, text: str) -> str:
        """The canonical value of a print's text; raises BadValue."""
        return values.read(self.type, text, self.spec)

    def spellings(self, value: str) -> tuple[str, ...]:
        """How a print may write the canonical value."""
        return values.spellings(self.type, value, self.spec)

    def display(self, value: str) -> str:
        """The canonical value as people read it."""
        return values.display(self.type, value, self.spec)

    def checks(self, value: str) -> tuple[Finding, ...]:
        """What is implausible about the canonical value taken alone."""
        findings = values.checks(self.type, value)
        if self.format and not re.fullmatch(self.format, value):
            findings += (Finding("format.unusual"),)
        return findings


@dataclass(frozen=True, slots=True)
class Rule:
    """A plausibility rule over several fields of one certificate; it says nothing unless all of them are stated."""

    rule: str
    """``not_after`` (first date ≤ second), ``contains`` (the first's text holds the second's), ``composed`` (the
    first's text is the others' one after the other, or has them as one of its listed items), ``years_between``,
    ``sum`` (the first is the others' sum), ``covers`` (the first's time holds the second's), ``ended_by`` (the first's
    last day ≤ the second), ``fits`` (the second is one that ``allowed`` gives for the first), ``birth_of`` and
    ``gender_of`` (the first's ID number says the second), ``patent_number`` (number, kind, day of filing)."""
    fields: tuple[str, ...]
    severity: Severity = Severity.LIGHT
    years: tuple[int, ...] = ()
    within: str = ""
    """``sum``: by how many yuan it may be off; rounding in thousands shows as such."""
    allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """``fits``: a regular expression for the first's value, to values of the second. What none fits is not judged."""


@dataclass(frozen=True, slots=True)
class DocumentSpec:
    """A file that a certificate of the type is uploaded with."""

    name: str
    label: str
    required: bool = True
    sides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AtMost:
    """What a percentage of all entries of a type that stand in the register for one holder may come to together."""

    field: str
    total: str


@dataclass(frozen=True, slots=True)
class CertificateType:
    """One kind of certificate, licence or material."""

    code: str
    label: str
    module: str
    owner: Owner
    modes: tuple[str, ...]
    """SMART, MANUAL; the first is what the page opens with."""
    verification: bool
    """False: light NONE for ever, no marks."""
    code_letter: str
    """First letter of the unique codes of submitted certificates of this type."""
    fields: tuple[Field, ...]
    plausibility: tuple[Rule, ...] = ()
    documents: tuple[DocumentSpec, ...] = ()
    valid_from: str = ""
    """Field (a date or a period) from which it is valid."""
    valid_until: str = ""
    """Field (a date or a period) until which it is valid; empty: it has no end."""
    sealed: bool = True
    """False: it is submitted without a seal (在建工程, 企业诉讼, 外埠入辽: manual 三 (七) to (九))."""
    revisable: bool = False
    """企业基本信息 and 人员基本信息: changed at any light, each submission a version (manual 四 (一), (二))."""
    section: str = ""
    """The tab of the person under which a person's certificate is shown (manual 三 (三)); empty for others."""
    unique_by: tuple[str, ...] = ()
    """Fields whose values together stand once in the register for one holder (审计年度, 月份); empty: as often as one likes."""
    at_most: AtMost | None = None
    """What they may come to together for one holder (持股比例: 100)."""
    required_of: str = ""
    """Which companies must have one submitted: ``all`` (manual 三 (一) 1 (3)), ``outside`` (from outside of the province); empty: none."""

    @property
    def needs_document(self) -> bool:
        """Whether it can't be submitted without a document."""
        return any(one.required for one in self.documents)

    def field(self, name: str) -> Field:
        """The field of that name; raises KeyError."""
        for one in self.fields:
            if one.name == name:
                return one
        raise KeyError(name)

    def has_field(self, name: str) -> bool:
        """Whether the type has a field of that name."""
        return any(one.name == name for one in self.fields)

    def validity(self, stated: Mapping[str, str]) -> tuple[str, str]:
        """(valid from, valid until) as ISO dates by the canonical values stated; empty where unknown or without end."""
        start, _, _ = stated.get(self.valid_from, "").partition("/")
        end = stated.get(self.valid_until, "").rpartition("/")[2]
        return "" if start == "长期" else start, "" if end == "长期" else end

    def parse(self, stated: Mapping[str, str]) -> tuple[dict[str, str], dict[str, BadValue]]:
        """The canonical values and, by field, what is wrong with the others.

        An empty value clears a field and is left out. Raises nothing; an unknown field's problem is ``field.unknown``.
        """
        canonical: dict[str, str] = {}
        problems: dict[str, BadValue] = {}
        for name, text in stated.items():
            if not self.has_field(name):
                problems[name] = BadValue("field.unknown")
            elif text.strip():
                try:
                    canonical[name] = self.field(name).parse(text)
                except BadValue as problem:
                    problems[name] = problem
        return canonical, problems


@dataclass(frozen=True, slots=True)
class ChangeItem:
    """An item of a contract that a contract change 合同变更 may override."""

    code: str
    label: str
    """As the change's certificate states it."""
    field: str
    """The contract's field."""


@dataclass(frozen=True, slots=True)
class PerformanceCategory:
    """业绩类别: what kind of work a performance was, and with which materials it is proved."""

    code: str
    label: str
    manager: str
    """What the right person is called: 项目经理, 项目总监, 项目负责人."""
    required: tuple[str, ...]
    """Certificate types of the materials that must be there."""
    optional: tuple[str, ...] = ()
    party: tuple[str, ...] = ()
    """Fields of the acceptance report of which one must name the holder; empty: it isn't named there."""


@dataclass(frozen=True, slots=True)
class Performances:
    """What makes up a performance 业绩 (manual 三 (五))."""

    information: tuple[Field, ...]
    """业绩总体信息."""
    categories: tuple[PerformanceCategory, ...]
    supporting: str
    """Type of the supporting materials 佐证材料."""
    supporting_for: tuple[str, ...]
    """业绩类型 that need a supporting material with every required one."""
    change: str
    """Type of the contract changes' certificates."""
    contract: str
    """Type of the contract that changes override."""
    changes: tuple[ChangeItem, ...]

    def category(self, text: str) -> PerformanceCategory:
        """The category of that code or label; raises KeyError."""
        for one in self.categories:
            if text in (one.code, one.label):
                return one
        raise KeyError(text)

    def item(self, text: str) -> ChangeItem:
        """The change item of that code or label; raises KeyError."""
        for one in self.changes:
            if text in (one.code, one.label):
                return one
        raise KeyError(text)

    def field(self, name: str) -> Field:
        """The field of the overall information; raises KeyError."""
        for one in self.information:
            if one.name == name:
                return one
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Module:
    """One of the nine parts of the register."""

    code: str
    number: int
    label: str
    types: tuple[CertificateType, ...]
    performances: Performances | None = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that can be entered. ``version`` is a hash of the files' content."""

    version: str
    modules: tuple[Module, ...]

    @property
    def types(self) -> tuple[CertificateType, ...]:
        """Every certificate type, in the order of the modules."""
        return tuple(one for module in self.modules for one in module.types)

    def type(self, code: str) -> CertificateType:
        """The certificate type of that code; raises KeyError."""
        for one in self.types:
            if one.code == code:
                return one
        raise KeyError(code)

    def has_type(self, code: str) -> bool:
        """Whether there is a certificate type of that code."""
        return any(one.code == code for one in self.types)

    def module(self, code: str) -> Module:
        """The module of that code; raises KeyError."""
        for one in self.modules:
            if one.code == code:
                return one
        raise KeyError(code)

    @property
    def performances(self) -> Performances:
        """What makes up a performance; raises LookupError where no module says it."""
        for module in self.modules:
            if module.performances is not None:
                return module.performances
        raise LookupError("no module has performances")

    def to_public(self) -> dict[str, Any]:
        """The catalogue as ``GET /api/v1/catalogue`` gives it."""
        return {"version": self.version, "modules": [_public_module(module) for module in self.modules]}


def _public_module(module: Module) -> dict[str, Any]:
    return {
        "code": module.code,
        "number": module.number,
        "label": module.label,
        "types": [_public_type(one) for one in module.types],
        "performances": _public_performances(module.performances) if module.performances is not None else None,
    }


def _public_performances(one: Performances) -> dict[str, Any]:
    return {
        "information": [_public_field(f) for f in one.information],
        "categories": [
            {"code": c.code, "label": c.label, "manager": c.manager, "required": list(c.required), "optional": list(c.optional)}
            for c in one.categories
        ],
        "supporting": one.supporting,
        "supporting_for": list(one.supporting_for),
        "change": one.change,
        "change_items": [{"code": item.code, "label": item.label} for item in one.changes],
    }


def _public_type(one: CertificateType) -> dict[str, Any]:
    return {
        "code": one.code,
        "label": one.label,
        "module": one.module,
        "owner": one.owner.value,
        "modes": list(one.modes),
        "verification": one.verification,
        "sealed": one.sealed,
        "revisable": one.revisable,
        "section": one.section or None,
        "documents": [{"name": d.name, "label": d.label, "required": d.required, "sides": list(d.sides)} for d in one.documents],
        "unique_by": list(one.unique_by),
        "valid_from": one.valid_from or None,
        "valid_until": one.valid_until or None,
        "fields": [_public_field(f) for f in one.fields],
    }


def _public_field(one: Field) -> dict[str, Any]:
    return {
        "name": one.name,
        "label": one.label,
        "type": one.type,
        "role": one.role.value,
        "required": one.required,
        "may_be_absent": one.may_be_absent,
        "takes_mark": one.takes_mark,
        "choices": list(one.choices),
        "open": one.open,
        "holder": one.holder or None,
    }
