"""Reads and validates the catalogue's files: one YAML file a module, every mistake with its file, line and reason."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TypeVar

import yaml

from catalogue.model import (
    AtMost,
    Catalogue,
    CertificateType,
    ChangeItem,
    DocumentSpec,
    Field,
    Module,
    Owner,
    PerformanceCategory,
    Performances,
    PrintedBy,
    Role,
    Rule,
    Severity,
)
from kernel import values
from kernel.values import BadValue

HERE = Path(__file__).parent
_NAME = re.compile(r"[a-z][a-z0-9_]{1,59}")
_MODES = ("SMART", "MANUAL")
_DATES = ("date", "date_or_long", "period")
_TIMES = (*_DATES, "month", "months", "year")
_ANY = tuple(values.KINDS)
# What each plausibility rule takes: the least number of fields, and the kinds of each (the last for all that follow).
_RULES: dict[str, tuple[int, tuple[tuple[str, ...], ...]]] = {
    "not_after": (2, (_DATES, _DATES)),
    "contains": (2, (_ANY, _ANY)),
    "composed": (2, (_ANY,) * 4),
    "years_between": (1, (_DATES, _DATES)),
    "sum": (2, (("money",), *(("money", "amounts"),) * 11)),
    "covers": (2, (("period", "months", "year"), _TIMES)),
    "ended_by": (2, (_TIMES, ("date",))),
    "fits": (2, (("enum", "string", "level"), ("enum", "level"))),
    "birth_of": (2, (("id18",), ("date",))),
    "gender_of": (2, (("id18",), ("enum",))),
    "patent_number": (3, (("certno",), ("enum",), ("date",))),
}
# The kinds that may have what a field says beside its kind.
_WITH_CHOICES = ("enum", "enums", "level")
_UNITS = {"元": "money", "万元": "money", "亿元": "money", "%": "percent"}
#: The tabs of a person (manual 三 (三)); 业绩信息 and 工程获奖 come about by themselves and have no type.
_SECTIONS = ("basic", "insurance", "title", "registration", "post", "special_operation", "honour", "ability")
_HOLDER_KINDS = {"company_name": "org", "uscc": "uscc", "person_id": "id18", "person_name": "person"}

E = TypeVar("E", bound=StrEnum)


class CatalogueError(Exception):
    """A file of the catalogue is wrong: which, on which line, and why."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file}:{line}: {reason}")
        self.file = file
        self.line = line
        self.reason = reason


class _Map:
    """A YAML mapping that is emptied key by key, so that an unknown or doubled key is noticed where it stands."""

    def __init__(self, node: yaml.Node, file: str) -> None:
        self.node, self.file = node, file
        if not isinstance(node, yaml.MappingNode):
            raise self.error("a mapping was expected")
        self.rest: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.value in self.rest:
                raise self.error(f"{key.value} stands twice", key)
            self.rest[str(key.value)] = value

    def error(self, reason: str, node: yaml.Node | None = None) -> CatalogueError:
        return CatalogueError(self.file, (node or self.node).start_mark.line + 1, reason)

    def take(self, key: str, required: bool) -> yaml.Node | None:
        node = self.rest.pop(key, None)
        if node is None and required:
            raise self.error(f"{key} is missing")
        return node

    def text(self, key: str, default: str | None = None, pattern: re.Pattern[str] | None = None) -> str:
        node = self.take(key, default is None)
        if node is None:
            return default or ""
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            raise self.error(f"{key} must be a text", node)
        if pattern and not pattern.fullmatch(node.value):
            raise self.error(f"{key}: {node.value} must match {pattern.pattern}", node)
        return str(node.value)

    def one_of(self, key: str, allowed: Iterable[str], default: str | None = None) -> str:
        node = self.rest.get(key)
        text = self.text(key, default)
        if node is not None and text not in tuple(allowed):
            raise self.error(f"{key}: {text} is none of {', '.join(filter(None, allowed))}", node)
        return text

    def member(self, key: str, kind: type[E], default: E | None = None) -> E:
        return kind(self.one_of(key, [one.value for one in kind], default))

    def flag(self, key: str, default: bool | None = None) -> bool:
        return self.one_of(key, ("true", "false"), None if default is None else str(default).lower()) == "true"

    def number(self, key: str) -> int:
        return int(self.text(key, pattern=re.compile("[0-9]{1,6}")))

    def items(self, key: str) -> list[yaml.Node]:
        node = self.take(key, required=False)
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise self.error(f"{key} must be a list", node)
        return list(node.value)

    def texts(self, key: str) -> tuple[str, ...]:
        found = []
        for node in self.items(key):
            if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
                raise self.error(f"{key} must be a list of texts", node)
            found.append(str(node.value))
        if len(set(found)) != len(found):
            raise self.error(f"{key} names something twice")
        return tuple(found)

    def nested(self, key: str) -> _Map:
        node = self.take(key, required=True)
        assert node is not None  # required
        return _Map(node, self.file)

    def finish(self) -> None:
        for key, node in self.rest.items():
            raise self.error(f"{key} is no key here", node)


@cache
def load() -> Catalogue:
    """The catalogue of this installation, read once. Raises CatalogueError."""
    return load_from(HERE)


def load_from(folder: Path) -> Catalogue:
    """The catalogue of the ``*.yaml`` files in ``folder``, in the order of their names. Raises CatalogueError."""
    modules: list[Module] = []
    digest = hashlib.sha256()
    seen: dict[str, str] = {}
    for path in sorted(folder.glob("*.yaml")):
        content = path.read_bytes()
        digest.update(hashlib.sha256(content).digest())
        module = _module(content, path.name)
        for code in (module.code, *(one.code for one in module.types)):
            if code in seen:
                raise CatalogueError(path.name, 1, f"{code} stands in {seen[code]} already")
            seen[code] = path.name
        modules.append(module)
    if not modules:
        raise CatalogueError(str(folder), 0, "no file of the catalogue is here")
    return Catalogue(version=digest.hexdigest()[:16], modules=tuple(modules))


def _module(content: bytes, file: str) -> Module:
    try:
        node = yaml.compose(content.decode("utf-8"), Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        mark = getattr(problem, "problem_mark", None)
        raise CatalogueError(file, mark.line + 1 if mark else 1, f"no YAML: {problem}") from None
    if node is None:
        raise CatalogueError(file, 1, "the file is empty")
    top = _Map(node, file)
    code = top.text("module", pattern=_NAME)
    number, label = top.number("number"), top.text("label")
    types = _unique(top, "types", lambda one: _type(one, code), lambda made: made.code)
    about = top.take("performances", required=False)
    performances = _performances(_Map(about, file), types) if about is not None else None
    top.finish()
    return Module(code=code, number=number, label=label, types=types, performances=performances)


def _performances(one: _Map, types: tuple[CertificateType, ...]) -> Performances:
    """What makes up a performance; every type and field that it names must be there."""
    by_code = {kind.code: kind for kind in types if kind.owner is Owner.PERFORMANCE}

    def known(holder: _Map, code: str) -> str:
        if code not in by_code:
            raise holder.error(f"{code} is no type of a performance")
        return code

    information = _unique(one, "information", _field, lambda field: field.name)
    supporting = one.nested("supporting")
    supporting_type, supporting_for = known(supporting, supporting.text("type")), supporting.texts("performance_types")
    supporting.finish()
    changing = one.nested("changes")
    change, contract = known(changing, changing.text("type")), known(changing, changing.text("contract"))

    def item(node: _Map) -> ChangeItem:
        made = ChangeItem(code=node.text("code", pattern=_NAME), label=node.text("label"), field=node.text("field"))
        node.finish()
        if not by_code[contract].has_field(made.field):
            raise node.error(f"{contract} has no field {made.field}")
        return made

    def category(node: _Map) -> PerformanceCategory:
        made = PerformanceCategory(
            code=node.text("code", pattern=_NAME),
            label=node.text("label"),
            manager=node.text("manager"),
            required=node.texts("required"),
            optional=node.texts("optional"),
            party=node.texts("party"),
        )
        node.finish()
        for code in (*made.required, *made.optional):
            known(node, code)
        if not made.required:
            raise node.error(f"{made.code} requires no material")
        return made

    items = _unique(changing, "items", item, lambda made: made.code)
    changing.finish()
    categories = _unique(one, "categories", category, lambda made: made.code)
    one.finish()
    if not information or not categories:
        raise one.error("information and categories must stand here")
    return Performances(
        information=information,
        categories=categories,
        supporting=supporting_type,
        supporting_for=supporting_for,
        change=change,
        contract=contract,
        changes=items,
    )


T = TypeVar("T")


def _unique(holder: _Map, key: str, make: Callable[[_Map], T], name: Callable[[T], str]) -> tuple[T, ...]:
    made: list[T] = []
    for node in holder.items(key):
        one = make(_Map(node, holder.file))
        if name(one) in [name(other) for other in made]:
            raise holder.error(f"{name(one)} stands twice", node)
        made.append(one)
    return tuple(made)


def _type(one: _Map, module: str) -> CertificateType:
    nodes = {key: one.rest.get(key) for key in ("valid_from", "valid_until", "modes", "unique_by", "at_most")}
    rule_nodes = one.rest.get("plausibility")
    made = CertificateType(
        code=one.text("code", pattern=_NAME),
        label=one.text("label"),
        module=module,
        owner=one.member("owner", Owner),
        modes=one.texts("modes"),
        verification=one.flag("verification"),
        code_letter=one.text("code_letter", pattern=re.compile("[A-Z]")),
        fields=_unique(one, "fields", _field, lambda field: field.name),
        plausibility=tuple(_rule(_Map(node, one.file)) for node in one.items("plausibility")),
        documents=_unique(one, "documents", _document, lambda document: document.name),
        valid_from=one.text("valid_from", ""),
        valid_until=one.text("valid_until", ""),
        sealed=one.flag("sealed", default=True),
        revisable=one.flag("revisable", default=False),
        section=one.one_of("section", _SECTIONS, ""),
        unique_by=one.texts("unique_by"),
        at_most=_at_most(one),
        required_of=one.one_of("required_of", ("all", "outside"), ""),
    )
    one.finish()
    if not made.modes or any(mode not in _MODES for mode in made.modes):
        raise one.error(f"modes must be some of {', '.join(_MODES)}", nodes["modes"])
    for key in ("valid_from", "valid_until"):
        name = getattr(made, key)
        if name and (not made.has_field(name) or made.field(name).type not in _DATES):
            raise one.error(f"{key}: {name} is no date or period of {made.code}", nodes[key])
    for name in made.unique_by:
        if not made.has_field(name) or not made.field(name).required:
            raise one.error(f"unique_by: {name} is no required field of {made.code}", nodes["unique_by"])
    if made.at_most and (not made.has_field(made.at_most.field) or made.field(made.at_most.field).type != "percent"):
        raise one.error(f"at_most: {made.at_most.field} is no percent of {made.code}", nodes["at_most"])
    for index, rule in enumerate(made.plausibility):
        node = rule_nodes.value[index] if rule_nodes is not None else None
        for name in rule.fields:
            if not made.has_field(name):
                raise one.error(f"rule {rule.rule}: {made.code} has no field {name}", node)
        for name, kinds in zip(rule.fields, _RULES[rule.rule][1], strict=False):
            if made.field(name).type not in kinds:
                raise one.error(f"rule {rule.rule}: {name} is no {' or '.join(kinds)}", node)
        if rule.rule == "fits":
            _fits_makes_sense(one, made, rule, node)
    for field in made.fields:
        for name in field.composed_of:
            if not made.has_field(name) or name == field.name:
                raise one.error(f"{field.name}: composed_of names {name}, which is no other field of {made.code}")
    if (made.owner is Owner.PERSON) != bool(made.section):
        raise one.error(f"{made.code}: section says where a person's certificate is shown, and nobody else's has one")
    if made.owner is not Owner.PERSON and any(field.holder.startswith("person_") for field in made.fields):
        raise one.error(f"{made.code} isn't a person's: none of its fields can be its person's")
    if made.verification and not (made.sealed and made.needs_document):
        raise one.error(f"{made.code} is verified: it needs a document and a seal")
    if made.sealed and not made.needs_document:
        raise one.error(f"{made.code} is sealed and needs a document")
    if made.verification and not any(field.compared and field.role is Role.KEY for field in made.fields):
        raise one.error(f"{made.code} is verified but has no KEY field")
    return made


def _at_most(one: _Map) -> AtMost | None:
    node = one.take("at_most", required=False)
    if node is None:
        return None
    inner = _Map(node, one.file)
    made = AtMost(field=inner.text("field"), total=inner.text("total", pattern=re.compile("[0-9]{1,9}")))
    inner.finish()
    return made


def _fits_makes_sense(one: _Map, made: CertificateType, rule: Rule, node: yaml.Node | None) -> None:
    """Every value allowed must be one that the field takes, and every pattern must fit some choice of the first."""
    first, second = (made.field(name) for name in rule.fields)
    for pattern, allowed in rule.allowed.items():
        if first.choices and not any(re.fullmatch(pattern, value) for value in first.choices):
            raise one.error(f"rule fits: no choice of {first.name} is {pattern}", node)
        for value in allowed:
            if value not in second.choices:
                raise one.error(f"rule fits: {value} is no choice of {second.name}", node)


def _field(one: _Map) -> Field:
    node = one.rest.get("choices")
    made = Field(
        name=one.text("name", pattern=_NAME),
        label=one.text("label"),
        role=one.member("role", Role),
        type=one.one_of("type", values.KINDS),
        required=one.flag("required", default=True),
        may_be_absent=one.flag("may_be_absent", default=False),
        labels=one.texts("labels"),
        choices=_choices(one),
        open=one.flag("open", default=False),
        unit=one.one_of("unit", _UNITS, ""),
        holder=one.one_of("holder", _HOLDER_KINDS, ""),
        format=one.text("format", ""),
        printed_by=one.member("printed_by", PrintedBy, PrintedBy.DOCUMENT),
        composed_of=one.texts("composed_of"),
    )
    one.finish()
    _field_makes_sense(one, made, node)
    return made


def _field_makes_sense(one: _Map, made: Field, choices: yaml.Node | None) -> None:
    if made.required and made.may_be_absent:
        raise one.error(f"{made.name} can't be required and absent from some prints")
    if made.role is not Role.PLAIN and not made.takes_mark:
        raise one.error(f"{made.name} is compared for the light and must be printed")
    if made.takes_mark and not made.labels:
        raise one.error(f"{made.name} is printed: labels must say how")
    if made.holder and made.role is not Role.KEY:
        raise one.error(f"{made.name} ties the certificate to its holder and must be KEY")
    if made.holder and made.type != _HOLDER_KINDS[made.holder]:
        raise one.error(f"{made.name} ties the certificate to its holder's {made.holder}: it must be {_HOLDER_KINDS[made.holder]}")
    if made.choices and made.type not in _WITH_CHOICES:
        raise one.error(f"{made.name}: {made.type} has no choices")
    if made.type in ("enum", "enums") and not made.choices and not made.open:
        raise one.error(f"{made.name}: an enumeration needs choices or must be open")
    if made.unit and _UNITS[made.unit] != made.type:
        raise one.error(f"{made.name}: {made.unit} is no unit of {made.type}")
    if made.open and made.type not in ("enum", "enums"):
        raise one.error(f"{made.name}: {made.type} can't be open")
    try:
        re.compile(made.format)
    except re.error as problem:
        raise one.error(f"{made.name}: format is no regular expression: {problem}") from None
    for value in made.choices:
        try:
            same = made.parse(value) == value
        except BadValue:
            same = False
        if not same:
            raise one.error(f"{made.name}: {value} is no canonical {made.type}", choices)


def _choices(one: _Map) -> dict[str, tuple[str, ...]]:
    """A list of values; one that has other spellings is a mapping of the value to them."""
    found: dict[str, tuple[str, ...]] = {}
    for node in one.items("choices"):
        if isinstance(node, yaml.ScalarNode) and node.value.strip():
            value, aliases = str(node.value), tuple[str, ...]()
        else:
            inner = _Map(node, one.file)
            if len(inner.rest) != 1:
                raise one.error("a choice is a text, or one text with its other spellings", node)
            value = next(iter(inner.rest))
            aliases = inner.texts(value)
        if value in found:
            raise one.error(f"choice {value} stands twice", node)
        found[value] = aliases
    return found


def _rule(one: _Map) -> Rule:
    years, allowed = one.rest.get("years"), one.rest.get("allowed")
    made = Rule(
        rule=one.one_of("rule", _RULES),
        fields=one.texts("fields"),
        severity=one.member("severity", Severity, Severity.LIGHT),
        years=tuple(int(y) for y in one.texts("years") if y.isascii() and y.isdigit()),
        within=one.text("within", "", re.compile(r"[0-9]{1,9}")),
        allowed=_allowed(one),
    )
    one.finish()
    least, kinds = _RULES[made.rule]
    if not least <= len(made.fields) <= len(kinds):
        raise one.error(f"rule {made.rule} takes {least} to {len(kinds)} fields")
    if (made.rule == "years_between") != bool(made.years):
        raise one.error("years (whole numbers) belong to years_between and must stand there", years)
    if (made.rule == "fits") != bool(made.allowed):
        raise one.error("allowed belongs to fits and must stand there", allowed)
    if made.within and made.rule != "sum":
        raise one.error("within belongs to sum")
    return made


def _allowed(one: _Map) -> dict[str, tuple[str, ...]]:
    """Patterns of one field's values, each with the values that another may have beside it."""
    node = one.take("allowed", required=False)
    if node is None:
        return {}
    inner = _Map(node, one.file)
    found: dict[str, tuple[str, ...]] = {}
    for pattern in list(inner.rest):
        at = inner.rest[pattern]
        try:
            re.compile(pattern)
        except re.error as problem:
            raise one.error(f"allowed: {pattern} is no regular expression: {problem}", at) from None
        found[pattern] = inner.texts(pattern)
        if not found[pattern]:
            raise one.error(f"allowed: {pattern} allows nothing", at)
    return found


def _document(one: _Map) -> DocumentSpec:
    made = DocumentSpec(
        name=one.text("name", pattern=_NAME),
        label=one.text("label"),
        required=one.flag("required", default=True),
        sides=one.texts("sides"),
    )
    one.finish()
    return made
