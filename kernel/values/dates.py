"""Dates, months, years and periods, however a print writes them; the canonical forms are ISO 8601 or 长期."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date

from kernel.values.folding import clean, fold, trim_edges
from kernel.values.kind import Kind, Spec
from kernel.values.numerals import count_of, digits_of, plain_count, plain_digits
from kernel.values.problems import BadValue, Finding

FOREVER = "长期"
"""The canonical end of what never expires."""

_FOREVER = {"长期", "长期有效", "永久", "永久有效", "无固定期限", "不约定期限", "永续经营"}
_HAN = "〇○◯零一二三四五六七八九十廿壹贰叁肆伍陆柒捌玖拾O"
_FIGURES = re.compile(r"([0-9]{4})(?:年|[-./])([0-9]{1,2})(?:月|[-./])([0-9]{1,2})日?")
_COMPACT = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
_WORDS = re.compile(rf"([{_HAN}]{{4}})年([{_HAN}]{{1,3}})月([{_HAN}]{{1,3}})[日号]")
_MONTH = re.compile(r"([0-9]{4})(?:年|[-./])([0-9]{1,2})月?|([0-9]{4})([0-9]{2})")
_MONTH_WORDS = re.compile(rf"([{_HAN}]{{4}})年([{_HAN}]{{1,3}})月")


def _day(year: int, month: int, day: int) -> str:
    if not 1800 <= year <= 2999:
        raise BadValue("date.year")
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        raise BadValue("date.no_such_day") from None


def _count(text: str) -> int:
    """A month or day in words: counted (二十六, 廿六), or 〇-padded digit by digit (〇三)."""
    text = text.replace("廿", "二十")
    if (number := count_of(text.lstrip("〇○◯零") or "〇")) is not None:
        return number
    digits = digits_of(text)
    if digits is None:
        raise BadValue("date.shape")
    return int(digits)


def _date(folded: str) -> str:
    """The ISO date of a folded text that holds one date and nothing else."""
    if found := (_FIGURES.fullmatch(folded) or _COMPACT.fullmatch(folded)):
        return _day(*(int(part) for part in found.groups()))
    if found := _WORDS.fullmatch(folded):
        # Typists put a capital O for 〇 in written-out years; inside a year in words it can mean nothing else.
        year = digits_of(found[1].replace("O", "〇"))
        if year is None:
            raise BadValue("date.shape")
        return _day(int(year), _count(found[2]), _count(found[3]))
    if _MONTH.fullmatch(folded) or _MONTH_WORDS.fullmatch(folded):
        raise BadValue("date.no_day")
    raise BadValue("date.shape")


def _printed(text: str) -> str:
    """A printed date's text without the words around it: 自…起, 至…止, 有效期至."""
    text = trim_edges(fold(text))
    text = re.sub(r"^(有效期至|有效期|期限|自|从|至|到)[::]?", "", text)
    return trim_edges(re.sub(r"(止|起|为止)$", "", text))


def date_spellings(iso: str) -> tuple[str, ...]:
    """How prints write an ISO date, the most usual first."""
    year, month, day = iso.split("-")
    m, d = str(int(month)), str(int(day))
    month_words, day_words = plain_count(int(m)), plain_count(int(d))
    forms = [
        f"{year}年{m}月{d}日",
        f"{year}年{month}月{day}日",
        iso,
        f"{year}.{m}.{d}",
        f"{year}.{month}.{day}",
        f"{year}/{m}/{d}",
        f"{year}/{month}/{day}",
        f"{year}-{m}-{d}",
    ]
    forms += [f"{plain_digits(year, zero)}年{month_words}月{day_words}日" for zero in "〇○零"]
    forms.append(f"{year}{month}{day}")
    return tuple(dict.fromkeys(forms))


class Date(Kind):
    """One day, canonical ``2026-03-01``."""

    name = "date"
    max_length = 40

    def parse(self, text: str, spec: Spec) -> str:
        return _date(fold(clean(text, self.max_length)))

    def read(self, text: str, spec: Spec) -> str:
        return _date(_printed(text))

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        return date_spellings(value)


class DateOrLong(Date):
    """One day, or 长期."""

    name = "date_or_long"

    def parse(self, text: str, spec: Spec) -> str:
        folded = fold(clean(text, self.max_length))
        return FOREVER if folded in _FOREVER else _date(folded)

    def read(self, text: str, spec: Spec) -> str:
        folded = _printed(text)
        return FOREVER if folded in _FOREVER else _date(folded)

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        return ("长期", "长期有效", "永久") if value == FOREVER else date_spellings(value)


class Period(Kind):
    """From a day to a day or to 长期, canonical ``2017-03-01/2037-02-28``, ``2017-03-01/长期`` or ``长期``.

    A print that gives only 长期 is a period without a known start; it is not the same value as one that gives a start.
    """

    name = "period"
    max_length = 100
    _separators = re.compile(r"至|到|--+|~+|-")

    def parse(self, text: str, spec: Spec) -> str:
        folded = _period_edges(fold(clean(text, self.max_length)))
        if folded in _FOREVER:
            return FOREVER
        if "/" in folded and (halves := self._split_canonical(folded)):
            return halves
        # A dash both joins the halves and stands inside ISO dates, so every place to cut is tried; more than one
        # cut that reads as two dates would be ambiguous.
        found = set()
        for cut in self._separators.finditer(folded):
            start, end = folded[: cut.start()], folded[cut.end() :]
            try:
                found.add(f"{_date(_period_edges(start))}/{self._end(_period_edges(end))}")
            except BadValue:
                continue
        if len(found) != 1:
            raise BadValue("period.shape")
        return found.pop()

    def read(self, text: str, spec: Spec) -> str:
        return self.parse(_period_edges(fold(text)), spec)

    @staticmethod
    def _end(text: str) -> str:
        return FOREVER if text in _FOREVER else _date(text)

    def _split_canonical(self, text: str) -> str | None:
        """The form ``start/end`` in ISO dates; 2017/3/1-2037/2/28 is not it and is read as a print."""
        start, _, end = text.partition("/")
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", start):
            return None
        return f"{_date(start)}/{self._end(end)}"

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        if value == FOREVER:
            return ("长期", "长期有效", "永久")
        start, end = value.split("/")
        if end == FOREVER:
            pairs = [(one, FOREVER) for one in date_spellings(start)[:9]]
        else:
            pairs = list(zip(date_spellings(start), date_spellings(end), strict=False))[:9]
        forms = [f"{a}至{b}" for a, b in pairs] + [f"自{a}至{b}" for a, b in pairs[:2]]
        forms += [f"{a}-{b}" for a, b in pairs if "-" not in a] + [f"{a}起至{b}止" for a, b in pairs[:2]]
        return tuple(dict.fromkeys(forms))

    def checks(self, value: str) -> tuple[Finding, ...]:
        start, _, end = value.partition("/")
        return (Finding("period.reversed"),) if end and end != FOREVER and end < start else ()


def _period_edges(folded: str) -> str:
    text = trim_edges(folded)
    text = re.sub(r"^(自|从)", "", text)
    return trim_edges(re.sub(r"(止|起|为止)$", "", text))


def _month(folded: str) -> str:
    """The month of a folded text that holds one month and nothing else."""
    if found := _MONTH.fullmatch(folded):
        year, month = int(found[1] or found[3]), int(found[2] or found[4])
    elif found := _MONTH_WORDS.fullmatch(folded):
        digits = digits_of(found[1].replace("O", "〇"))
        if digits is None:
            raise BadValue("month.shape")
        year, month = int(digits), _count(found[2])
    else:
        raise BadValue("month.shape")
    return _day(year, month, 1)[:7]


def month_spellings(value: str) -> tuple[str, ...]:
    """How prints write a month ``2026-03``, the most usual first."""
    year, month = value.split("-")
    m = str(int(month))
    forms = (
        f"{year}年{m}月",
        f"{year}年{month}月",
        value,
        f"{year}.{month}",
        f"{year}.{m}",
        f"{year}/{month}",
        f"{year}{month}",
        f"{plain_digits(year)}年{plain_count(int(m))}月",
    )
    return tuple(dict.fromkeys(forms))


class Month(Kind):
    """One month, canonical ``2026-03``."""

    name = "month"
    max_length = 40

    def parse(self, text: str, spec: Spec) -> str:
        return _month(fold(clean(text, self.max_length)))

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        return month_spellings(value)


class Months(Kind):
    """From a month to a month, both included, canonical ``2026-01/2026-12``; a single month is from it to itself."""

    name = "months"
    max_length = 60
    _separators = re.compile(r"至|到|--+|~+|-|/")

    def parse(self, text: str, spec: Spec) -> str:
        folded = _period_edges(fold(clean(text, self.max_length)))
        found = set()
        for cut in self._separators.finditer(folded):
            try:
                first, last = _month(_period_edges(folded[: cut.start()])), _month(_period_edges(folded[cut.end() :]))
            except BadValue:
                continue
            found.add(f"{first}/{last}")
        if not found:
            try:
                return "/".join([_month(folded)] * 2)
            except BadValue:
                pass
        if len(found) != 1:
            raise BadValue("months.shape")
        return found.pop()

    def read(self, text: str, spec: Spec) -> str:
        return self.parse(_period_edges(fold(text)), spec)

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        first, last = value.split("/")
        pairs = list(zip(month_spellings(first), month_spellings(last), strict=False))
        forms = [f"{a}至{b}" for a, b in pairs] + [f"自{a}至{b}" for a, b in pairs[:2]]
        forms += [f"{a}-{b}" for a, b in pairs if "-" not in a] + [f"{a}起至{b}止" for a, b in pairs[:2]]
        return tuple(dict.fromkeys(forms + list(month_spellings(first)) if first == last else forms))

    def checks(self, value: str) -> tuple[Finding, ...]:
        first, _, last = value.partition("/")
        return (Finding("months.reversed"),) if last < first else ()


class Year(Kind):
    """One year, canonical ``2026``."""

    name = "year"
    max_length = 40
    _shape = re.compile(rf"([0-9]{{4}}|[{_HAN}]{{4}})(?:年度?|度)?")

    def parse(self, text: str, spec: Spec) -> str:
        found = self._shape.fullmatch(fold(clean(text, self.max_length)))
        digits = digits_of(found[1].replace("O", "〇")) if found else None
        if digits is None:
            raise BadValue("year.shape")
        return _day(int(digits), 1, 1)[:4]

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        return (f"{value}年度", f"{value}年", value, f"{plain_digits(value)}年度", f"{plain_digits(value)}年")


def first_day(value: str) -> str:
    """The first day of a canonical date, month, year, period or span of months, ISO; 长期 where there is no known one."""
    start = value.partition("/")[0]
    return start if start == FOREVER else f"{start}-01-01" if len(start) == 4 else f"{start}-01" if len(start) == 7 else start


def last_day(value: str) -> str:
    """The last day of a canonical date, month, year, period or span of months, ISO; 长期 where it has no end."""
    end = value.rpartition("/")[2]
    if end == FOREVER or len(end) == 10:
        return end
    year, month = int(end[:4]), int(end[5:7] or 12)
    return f"{year:04d}-{month:02d}-{monthrange(year, month)[1]:02d}"
