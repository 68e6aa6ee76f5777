"""Statements that differ from the print by one character: what a verification must never call a match."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: Characters that are easily taken for one another; each group's members stand in for one another.
_GROUPS = (
    "己已巳 未末 土士 大太犬 日曰 王玉 千干 人入 天夭 田由甲申 辰晨 亳毫 佘余 淼森 赢嬴羸 "
    "戊戌戍 鑫蠢 沈沉 阳阴 洲州 晴睛 博搏 侯候 钧钓 铭铬 锐说 旭旮 昊吴 晟晨 宏宠 盛盔 泰秦 "
    "恒桓 隆窿 瑞端 诚城 信倍 顺须 昌冒 茂戎 通涌 弘引 博傅 雅稚 建健 设没 集焦 团困 限根 "
    "责贵 任仕 公么 司同 杨扬 柳抑 栋拣 梁粱 楠捕 兴兵 芳劳 刘浏 陈阵 李季 张帐 徐除 胡湖 "
    "朱未 何河 郭廓 宋末 韩朝 冯玛 曹遭 许讦 傅博 苏办 卢户 贾贸 丁于 薛薜 叶汁 潘播 杜社 "
    "戴戳 钟种 汪注 姜妾 范苑 方万 石右 熊能 金全 陆际 郝赤 孔扎 白自 康庚 毛手 秦泰 江红 "
    "史吏 顾颀 孟盂 龙尤 段殷 雷霍 钱线 尹伊 易昜 常赏 武式 贺货 龚袭 文丈 0OD 1I7 "
    "38 56 8B 2Z 5S 69 "
)
LOOK_ALIKES = tuple(_GROUPS.split())
_TWINS = {char: [other for group in LOOK_ALIKES if char in group for other in group if other != char] for char in "".join(LOOK_ALIKES)}

TamperKind = Literal["look_alike", "digit", "date", "amount"]
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}|\d{4}\s*[年./-]\s*\d{1,2}\s*[月./-]\s*\d{1,2}\s*日?")
_AMOUNT = re.compile(r"[\d,]+\.\d{2}元?|.*\d+(\.\d+)?万(元|人民币)?.*|.*元整|\d+(\.\d+)?元.*")


@dataclass(frozen=True)
class Tampered:
    """The changed values, and what was changed."""

    values: dict[str, str]
    field: str
    before: str
    after: str
    kind: TamperKind


def tamper(values: Mapping[str, str], seed: int, *, fields: tuple[str, ...] | None = None) -> Tampered:
    """Change one character of one field: a look-alike, a digit, a digit of a date or of an amount.

    The kind is drawn first, so that look-alikes are as common as digits although few values hold one. ``fields``
    limits the choice. Raises ValueError if no value can be changed.
    """
    rng = random.Random(seed)  # noqa: S311 - sample data, not secrets
    choices: dict[TamperKind, list[tuple[str, int, str]]] = {}
    for field, value in values.items():
        if fields is not None and field not in fields:
            continue
        date = _DATE.search(value) is not None
        amount = not date and _AMOUNT.fullmatch(value) is not None
        for index, char in enumerate(value):
            digits = "0123456789" if char.isdecimal() and char.isascii() else "壹贰叁肆伍陆柒捌玖" if char in "壹贰叁肆伍陆柒捌玖" else ""
            if digits:
                kind: TamperKind = "date" if date else "amount" if amount else "digit"
                for other in digits:
                    if other != char and not (kind == "date" and not _still_dates(value, index, other)):
                        choices.setdefault(kind, []).append((field, index, other))
            if not date and not amount:
                choices.setdefault("look_alike", []).extend((field, index, twin) for twin in _TWINS.get(char, ()))
    kinds = sorted(kind for kind, found in choices.items() if found)
    if not kinds:
        raise ValueError("no value holds a character that can be changed")
    kind = rng.choice(kinds)
    field, index, other = rng.choice(choices[kind])
    before = values[field]
    after = before[:index] + other + before[index + 1 :]
    return Tampered({**values, field: after}, field, before, after, kind)


def _still_dates(value: str, index: int, other: str) -> bool:
    """Whether every date in the changed value could be one: month 1 to 12, day 1 to 28, year 19xx or 20xx."""
    changed = value[:index] + other + value[index + 1 :]
    for found in _DATE.findall(changed):
        year, month, day = (int(part) for part in re.findall(r"\d+", found)[:3])
        if not (1950 <= year <= 2099 and 1 <= month <= 12 and 1 <= day <= 28):
            return False
    return len(_DATE.findall(changed)) == len(_DATE.findall(value))
