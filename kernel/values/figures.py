"""Whole numbers and shares; the canonical forms are decimal strings."""

from __future__ import annotations

import re
from decimal import Decimal

from kernel.values.folding import clean, fold, trim_edges
from kernel.values.kind import Kind, Spec
from kernel.values.numerals import count_of, digits_of, plain_count, plain_digits
from kernel.values.problems import BadValue


class Int(Kind):
    """A whole number, canonical without separators and leading zeros."""

    name = "int"
    max_length = 40

    def parse(self, text: str, spec: Spec) -> str:
        figure = fold(clean(text, self.max_length))
        if not re.fullmatch(r"-?([0-9]{1,15}|[0-9]{1,3}(,[0-9]{3}){1,4})", figure):
            raise BadValue("int.shape")
        return str(int(figure.replace(",", "")))

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        return tuple(dict.fromkeys((value, f"{int(value):,}")))


class Percent(Kind):
    """A share of a whole, canonical ``33.33`` for 33.33%: 0 to 100, at most six decimals, no needless zeros.

    A *stated* bare figure is per cent. A *printed* one is refused unless the heading gives the unit (``unit: "%"``): 5
    may be what a mark left of 5‰ or 5万元.
    """

    name = "percent"
    max_length = 40
    _figures = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)(%)?")
    _words = re.compile(r"百分之([一二三四五六七八九十百两]+)(?:点([〇零一二三四五六七八九]{1,6}))?")

    def parse(self, text: str, spec: Spec) -> str:
        return self._parse(fold(clean(text, self.max_length)), unit="%")

    def read(self, text: str, spec: Spec) -> str:
        return self._parse(trim_edges(fold(text)), unit=spec.unit)

    def _parse(self, text: str, unit: str) -> str:
        if found := self._figures.fullmatch(text):
            if not found[2] and not unit:
                raise BadValue("percent.unit_missing")
            share = Decimal(found[1])
        elif found := self._words.fullmatch(text):
            count = count_of(found[1])
            if count is None:
                raise BadValue("percent.shape")
            share = Decimal(f"{count}.{digits_of(found[2] or '〇')}")
        else:
            raise BadValue("percent.shape")
        if share > 100:
            raise BadValue("percent.range")
        return _bare(share)

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        share = Decimal(value)
        figures = [value]
        figures += [f"{share:.{places}f}" for places in (1, 2, 4) if Decimal(f"{share:.{places}f}") == share]
        whole, _, decimals = value.partition(".")
        forms = [f"{figure}%" for figure in figures]
        if 0 < int(whole) <= 100:
            words = plain_count(int(whole)) if int(whole) < 100 else "一百"
            forms.append(f"百分之{words}" + (f"点{plain_digits(decimals)}" if decimals else ""))
        if spec.unit:
            forms += figures
        return tuple(dict.fromkeys(forms))


def _bare(share: Decimal) -> str:
    text = format(share, "f")
    return text.rstrip("0").rstrip(".") if "." in text else str(int(text))
