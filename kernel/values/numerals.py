"""Chinese numerals: digit by digit (二〇二六), counted (二十六), and of the kind used for money (贰拾陆)."""

from __future__ import annotations

import re

DIGITS = {
    c: i
    for i, cs in enumerate(("〇○◯零０0", "一壹弌1", "二贰貳弍两2", "三叁參弎3", "四肆4", "五伍5", "六陆陸6", "七柒7", "八捌8", "九玖9"))
    for c in cs
}
_ONES = "一二三四五六七八九壹贰叁肆伍陆柒捌玖两貳參陸"
_SECTION = re.compile(
    rf"(?:零?(?P<k>[{_ONES}])[千仟])?(?P<z1>零)?(?:(?P<h>[{_ONES}])[百佰])?(?P<z2>零)?"
    rf"(?:(?P<t>[{_ONES}])?(?P<ten>[十拾]))?(?P<z3>零)?(?P<o>[{_ONES}])?"
)
_MONEY_DIGITS = "零壹贰叁肆伍陆柒捌玖"
_PLAIN_DIGITS = "〇一二三四五六七八九"


def digits_of(text: str) -> str | None:
    """``二〇二六`` as ``2026``; None where any character is no digit."""
    found = [DIGITS.get(c) for c in text]
    return None if not found or None in found else "".join(str(d) for d in found)


def count_of(text: str) -> int | None:
    """A counted number (二十六, 贰拾陆, 伍仟万, 一亿零三百万) as an integer; None where it is none or is ambiguous."""
    if "亿" in text:
        high, low = text.rsplit("亿", 1)
        upper, lower = count_of(high), count_of(low) if low else 0
        if upper is None or upper == 0 or lower is None or lower >= 100_000_000:
            return None
        return upper * 100_000_000 + lower
    if "万" in text:
        high, low = text.rsplit("万", 1)
        upper, lower = _section(high), _section(low) if low else 0
        return None if not upper or lower is None else upper * 10_000 + lower
    return _section(text)


def _section(text: str) -> int | None:
    if text == "零" or text == "〇":
        return 0
    found = _SECTION.fullmatch(text)
    if not found or not text:
        return None
    part = {name: DIGITS[c] for name in "khto" if (c := found[name])}
    if found["ten"] and "t" not in part:
        part["t"] = 1  # 十六 stands for 一十六
    # 五千五 is read as 5500 by some and as 5005 by others: a last digit without 拾 or 零 before it is ambiguous.
    gap = "o" in part and "t" not in part and ("k" in part or "h" in part)
    if gap and not any(found[zero] for zero in ("z1", "z2", "z3")):
        return None
    value = part.get("k", 0) * 1000 + part.get("h", 0) * 100 + part.get("t", 0) * 10 + part.get("o", 0)
    return value or None


def money_words(amount: int) -> str:
    """A positive integer below 10^16 in the numerals of money (5005 → 伍仟零伍)."""
    groups = []
    rest = amount
    while rest:
        rest, group = divmod(rest, 10_000)
        groups.append(group)
    words, gap = "", False
    for power in range(len(groups) - 1, -1, -1):
        group = groups[power]
        if group == 0:
            gap = True
        else:
            if words and (gap or group < 1000):
                words += "零"
            words += _group_words(group)
            gap = False
        if power == 1 and group:
            words += "万"
        elif power == 2:
            words += "亿"
        elif power == 3 and group:
            words += "万"
    return words


def _group_words(group: int) -> str:
    words, gap = "", False
    for unit, name in ((1000, "仟"), (100, "佰"), (10, "拾"), (1, "")):
        digit = group // unit % 10
        if digit:
            words += ("零" if gap and words else "") + _MONEY_DIGITS[digit] + name
            gap = False
        else:
            gap = True
    return words


def plain_digits(number: str, zero: str = "〇") -> str:
    """``2026`` as ``二〇二六``."""
    return "".join(_PLAIN_DIGITS[int(d)] for d in number).replace("〇", zero)


def plain_count(number: int) -> str:
    """1 to 99 as 一, 十, 十一, 二十 …"""
    tens, ones = divmod(number, 10)
    head = "" if tens == 0 else "十" if tens == 1 else _PLAIN_DIGITS[tens] + "十"
    return head + (_PLAIN_DIGITS[ones] if ones else "")
