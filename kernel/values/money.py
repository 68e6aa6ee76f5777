"""Amounts of money: figures, 万元, 亿元, 大写, foreign currencies; the canonical form is a decimal string in yuan."""

from __future__ import annotations

import re
from decimal import Decimal

from kernel.values.folding import clean, fold, trim_edges
from kernel.values.kind import Kind, Spec
from kernel.values.numerals import DIGITS, count_of, money_words
from kernel.values.problems import BadValue

# Names as printed, the canonical print name of each currency first.
CURRENCIES = {
    "CNY": ("人民币", "RMB", "CNY"),
    "USD": ("美元", "美金", "USD", "US$"),
    "EUR": ("欧元", "EUR", "€"),
    "HKD": ("港元", "港币", "HKD", "HK$"),
    "JPY": ("日元", "JPY"),
    "GBP": ("英镑", "GBP", "£"),
    "SGD": ("新加坡元", "SGD"),
    "AUD": ("澳大利亚元", "澳元", "AUD"),
    "CAD": ("加拿大元", "加元", "CAD"),
    "KRW": ("韩元", "韩币", "KRW"),
    "CHF": ("瑞士法郎", "CHF"),
    "TWD": ("新台币", "TWD"),
}
_BY_NAME = {name: code for code, names in CURRENCIES.items() for name in names}
_NAME = "|".join(re.escape(name) for name in sorted(_BY_NAME, key=len, reverse=True))
_SCALES = {
    "": 1,
    "百": 100,
    "千": 1000,
    "万": 10_000,
    "十万": 100_000,
    "百万": 1_000_000,
    "千万": 10_000_000,
    "亿": 100_000_000,
    "十亿": 1_000_000_000,
    "万亿": 1_000_000_000_000,
}
_SCALE = "|".join(sorted(filter(None, _SCALES), key=len, reverse=True))
_FIGURE = r"(?P<sign>-)?(?P<figure>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?)"
_NUMERALS = "零〇一二三四五六七八九十百千壹贰叁肆伍陆柒捌玖拾佰仟万亿两貳參陸"
_ONE = "一二三四五六七八九壹贰叁肆伍陆柒捌玖貳參陸"
_IN_FIGURES = re.compile(
    rf"(?P<before>{_NAME})?(?P<yen>¥)?{_FIGURE}(?P<scale>{_SCALE})?(?P<after>{_NAME})?(?P<yuan>[元圆])?"
    rf"[整正]?(?P<last>{_NAME})?"
)
_IN_WORDS = re.compile(
    rf"(?P<before>{_NAME})?(?P<count>[{_NUMERALS}]+)(?P<after>{_NAME})?(?P<yuan>[元圆])?"
    rf"(?:零?(?P<jiao>[{_ONE}])角)?(?:零?(?P<fen>[{_ONE}])分)?[整正]?(?P<last>{_NAME})?"
)
_NOISE = re.compile(r"大写|小写|金额|[()::]")
_LIMIT = 10**18
"""Amounts reach below 10^18 fen, so that they fit a signed 64-bit integer with room for sums."""


def to_fen(value: str) -> tuple[int, str]:
    """The canonical ``value`` as (integer hundredths, currency code)."""
    currency, _, amount = value.rpartition(" ")
    return int(Decimal(amount) * 100), currency or "CNY"


def from_fen(fen: int, currency: str = "CNY") -> str:
    """The canonical value of ``fen`` hundredths of the currency's unit."""
    if abs(fen) >= _LIMIT:
        raise BadValue("money.too_large")
    amount = f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"
    return amount if currency == "CNY" else f"{currency} {amount}"


class Money(Kind):
    """Canonical ``50000000.00`` for yuan, ``USD 5000000.00`` for another currency.

    A *stated* bare figure is yuan (the HTTP contract says so). A *printed* bare figure is refused: the mark may have
    cut the unit off, and 5000 of a 5000万元 must not pass for 5000 yuan.
    """

    name = "money"
    max_length = 120

    def parse(self, text: str, spec: Spec) -> str:
        return self._parse(fold(clean(text, self.max_length)), unit="元")

    def read(self, text: str, spec: Spec) -> str:
        return self._parse(trim_edges(fold(text)), unit=spec.unit)

    def _parse(self, text: str, unit: str) -> str:
        text = _NOISE.sub("", text)
        if not text:
            raise BadValue("text.empty")
        if found := _IN_FIGURES.fullmatch(text):
            return _figures(found, unit)
        if found := _IN_WORDS.fullmatch(text):
            return _words(found)
        # 人民币（大写）伍仟万元整（¥50000000.00）: both are printed, and both must say the same.
        for cut in range(1, len(text)):
            words, figures = _IN_WORDS.fullmatch(text[:cut]), _IN_FIGURES.fullmatch(text[cut:])
            if not (words and figures):
                words, figures = _IN_WORDS.fullmatch(text[cut:]), _IN_FIGURES.fullmatch(text[:cut])
            if words and figures and words["yuan"] and not (words["last"] and figures["before"]):
                amounts = {_words(words), _figures(figures, unit or "元")}
                if len(amounts) > 1:
                    raise BadValue("money.words_differ")
                return amounts.pop()
        raise BadValue("money.shape")

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        fen, currency = to_fen(value)
        if fen < 0:
            return (f"{value}元", f"-{abs(fen) // 100:,}.{abs(fen) % 100:02d}元")
        return tuple(dict.fromkeys(_yuan_forms(fen) if currency == "CNY" else _foreign_forms(fen, currency)))


def _currency(found: re.Match[str], unit: str) -> str:
    names = {_BY_NAME[name] for group in ("before", "after", "last") if (name := found[group])}
    if "yen" in found.groupdict() and found["yen"]:
        names.add("CNY")
    if found["yuan"] and not found["after"]:
        names.add("CNY")
    if len(names) > 1:
        raise BadValue("money.currency")
    if not names:
        if not unit:
            raise BadValue("money.unit_missing")
        return "CNY"
    return names.pop()


def _figures(found: re.Match[str], unit: str) -> str:
    currency = _currency(found, unit)
    scale = found["scale"] or ""
    bare = not (scale or found["yuan"] or found["after"] or found["yen"])
    if bare and found["before"] is None and unit:
        scale = unit.rstrip("元")
    amount = Decimal(found["figure"].replace(",", "")) * _SCALES[scale] * (-1 if found["sign"] else 1)
    return _canonical(amount, currency)


def _words(found: re.Match[str]) -> str:
    # Words without a unit are refused in every case: 伍仟 is as likely a cut-off 伍仟万 as an amount.
    currency = _currency(found, "")
    count = count_of(found["count"].replace("〇", "零"))
    if count is None:
        raise BadValue("money.shape")
    jiao, fen = (DIGITS[found[name]] if found[name] else 0 for name in ("jiao", "fen"))
    return _canonical(Decimal(count) + Decimal(jiao) / 10 + Decimal(fen) / 100, currency)


def _canonical(amount: Decimal, currency: str) -> str:
    if abs(amount) * 100 >= _LIMIT:
        raise BadValue("money.too_large")
    if amount * 100 != int(amount * 100):
        raise BadValue("money.fraction_of_fen")
    return from_fen(int(amount * 100), currency)


def _scaled(fen: int, unit_fen: int) -> str:
    """``fen`` in a larger unit, exactly, without needless zeros."""
    text = format(Decimal(fen) / unit_fen, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _fixed(fen: int, unit_fen: int, places: int) -> str | None:
    """``fen`` in a larger unit with exactly ``places`` decimals; None where that would round."""
    amount = Decimal(fen) / unit_fen
    rounded = amount.quantize(Decimal(1).scaleb(-places))
    return f"{rounded:f}" if rounded == amount else None


def _yuan_forms(fen: int) -> list[str]:
    yuan, rest = divmod(fen, 100)
    forms: list[str] = []
    wan = _scaled(fen, 1_000_000)
    if fen >= 1_000_000 or yuan == 0:
        forms += [f"{wan}万元", f"{wan}万元整", f"人民币{wan}万元", f"人民币{wan}万元整"]
        forms += [f"{wan}万元人民币", f"{wan}万人民币"]
        for places in (6, 4, 2):
            if fixed := _fixed(fen, 1_000_000, places):
                forms += [f"{fixed}万元", f"{fixed}万人民币", f"人民币{fixed}万元"]
    exact, grouped = f"{yuan}.{rest:02d}", f"{yuan:,}.{rest:02d}"
    forms += [f"{exact}元", f"{grouped}元", f"¥{grouped}", f"¥{exact}", f"人民币{grouped}元"]
    if rest == 0:
        forms += [f"{yuan}元", f"{yuan:,}元", f"{yuan}元整", f"人民币{yuan}元"]
    if fen >= 10_000_000_000:
        forms.append(f"{_scaled(fen, 10_000_000_000)}亿元")
    if yuan and yuan < 10**16:
        for one in ("元", "圆"):
            jiao, cent = divmod(rest, 10)
            tail = "整" if not rest else (f"{money_words(jiao)}角" if jiao else "零") + (f"{money_words(cent)}分" if cent else "整")
            words = f"{money_words(yuan)}{one}{tail}"
            forms += [words, f"人民币{words}"] + ([words.removesuffix("整")] if not rest else [])
    return forms


def _foreign_forms(fen: int, currency: str) -> list[str]:
    yuan, rest = divmod(fen, 100)
    exact, grouped = f"{yuan}.{rest:02d}", f"{yuan:,}.{rest:02d}"
    forms: list[str] = []
    for name in CURRENCIES[currency]:
        if name.isascii() or len(name) == 1:
            forms += [f"{name}{grouped}", f"{name}{exact}"]
            continue
        if fen >= 1_000_000:
            forms += [f"{_scaled(fen, 1_000_000)}万{name}"]
            forms += [f"{fixed}万{name}" for places in (6, 4, 2) if (fixed := _fixed(fen, 1_000_000, places))]
        forms += [f"{exact}{name}", f"{grouped}{name}"] + ([f"{yuan}{name}", f"{yuan:,}{name}"] if rest == 0 else [])
    return forms
