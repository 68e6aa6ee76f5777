"""Several values in one field: choices, people, named amounts. Canonical: the items, joined by 、 (amounts: by ；)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kernel.values.folding import MAX_LENGTH, clean, fold, trim_edges
from kernel.values.kind import Kind, Spec
from kernel.values.money import Money, from_fen, to_fen
from kernel.values.problems import BadValue
from kernel.values.words import Enum, Person, String

MAX_ITEMS = 50
_COMMAS = re.compile(r"[、,，;；/\n]+")
_ITEM = re.compile(r"(?P<name>.*?[^\s:：])[\s:：]+(?P<amount>\S+)")


def _items(text: str, limit: int) -> list[str]:
    items = [item.strip() for item in _COMMAS.split(clean(text, limit)) if item.strip()]
    if not items:
        raise BadValue("text.empty")
    if len(items) > MAX_ITEMS:
        raise BadValue("list.too_long", limit=str(MAX_ITEMS))
    return items


class Enums(Kind):
    """Several of the catalogue's values, each once; which stands first says nothing."""

    name = "enums"
    max_length = 500
    _one = Enum()

    def parse(self, text: str, spec: Spec) -> str:
        found = list(dict.fromkeys(self._one.parse(item, spec) for item in _items(text, self.max_length)))
        order = {value: number for number, value in enumerate(spec.choices)}
        return "、".join(sorted(found, key=lambda item: order.get(item, len(order))))

    def equal(self, a: str, b: str) -> bool:
        return _set(a) == _set(b)

    def spellings(self, value: str, spec: Spec) -> Iterable[str]:
        manners = [list(self._one.spellings(item, spec)) for item in value.split("、")]
        # A print names all its items in one manner: in full, or by the same kind of short form.
        for manner in range(max(len(forms) for forms in manners)):
            items = [forms[min(manner, len(forms) - 1)] for forms in manners]
            yield from (separator.join(items) for separator in ("、", "，", "；"))


class People(Kind):
    """Several persons' names. A print may separate them by nothing but a blank, which reading loses."""

    name = "people"
    max_length = 500
    _one = Person()

    def parse(self, text: str, spec: Spec) -> str:
        return "、".join(dict.fromkeys(self._one.parse(item, spec) for item in _items(text, self.max_length)))

    def equal(self, a: str, b: str) -> bool:
        return _set(a) == _set(b) or fold(a).replace("、", "") == fold(b).replace("、", "")

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        return tuple(value.replace("、", separator) for separator in ("、", "，", ""))


class Amounts(Kind):
    """A table's lines of a name and an amount in yuan (税种, 实缴金额): ``增值税 1200.00；印花税 3.50``; a name may come again."""

    name = "amounts"
    max_length = MAX_LENGTH
    _name, _money = String(), Money()

    def parse(self, text: str, spec: Spec) -> str:
        lines = [line for line in re.split(r"[;；\n]+", clean(text, self.max_length)) if line.strip()]
        if len(lines) > MAX_ITEMS:
            raise BadValue("list.too_long", limit=str(MAX_ITEMS))
        found = []
        for line in lines:
            parts = _ITEM.fullmatch(trim_edges(line))
            if parts is None:
                raise BadValue("amounts.shape")
            amount = self._money.parse(parts["amount"], spec)
            if " " in amount:
                raise BadValue("money.currency")
            found.append(f"{self._name.parse(parts['name'], spec)} {amount}")
        if not found:
            raise BadValue("text.empty")
        return "；".join(found)

    def equal(self, a: str, b: str) -> bool:
        return sorted(map(fold, a.split("；"))) == sorted(map(fold, b.split("；")))

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        return (value, value.replace("；", "\n"))


def total(value: str) -> str:
    """The sum of a canonical ``amounts`` value, a canonical amount of money."""
    return from_fen(sum(to_fen(item.rpartition(" ")[2])[0] for item in value.split("；")))


def _set(value: str) -> frozenset[str]:
    return frozenset(map(fold, value.split("、")))
