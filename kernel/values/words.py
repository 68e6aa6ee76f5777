"""Names, numbers of certificates, levels and texts. All comparison is exact after folding; nothing is "similar"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kernel.values.folding import (
    MAX_LENGTH,
    chinese_blanks_dropped,
    clean,
    fold,
    has_chinese,
    one_bracket,
    trim_edges,
)
from kernel.values.kind import Kind, Spec
from kernel.values.problems import BadValue

_WIDE_BRACKETS = str.maketrans("()", "（）")
_SQUARE_STYLES = ("〔〕", "【】", "[]", "()")

# 一级, 壹级, Ⅰ级 and 1级 are one level. NFKC has already made Ⅰ, Ⅱ, Ⅲ the letters I, II, III.
_LEVEL_DIGITS = {"一": "一壹1", "二": "二贰2", "三": "三叁3", "四": "四肆4"}
_LEVEL_ROMAN = {"I": "一", "II": "二", "III": "三", "IV": "四"}
_LEVEL_BY_CHAR = {c: plain for plain, chars in _LEVEL_DIGITS.items() for c in chars}
_LEVEL = re.compile(r"(?<![A-Z0-9])(IV|I{1,3}|[一壹1二贰2三叁3四肆4])级")
_LEVEL_WORDS = ("特级", "甲级", "乙级", "丙级", "不分等级")
_LEVEL_ALIASES = {"不分级": "不分等级", "无等级": "不分等级"}
_AFTER_LEVEL = re.compile(r"(级)[;,、；，。]+")
LEVELS = ("特级", "一级", "二级", "三级", "四级", "甲级", "乙级", "丙级", "不分等级")


def fold_levels(text: str) -> str:
    """``text`` folded, each level in it written with 一, 二, 三, 四."""

    def plain(found: re.Match[str]) -> str:
        return (_LEVEL_ROMAN.get(found[1]) or _LEVEL_BY_CHAR[found[1]]) + "级"

    return _LEVEL.sub(plain, fold(text))


class String(Kind):
    """A short text, kept as it was stated but for outer blanks; compared folded."""

    name = "string"

    def parse(self, text: str, spec: Spec) -> str:
        return " ".join(clean(text, self.max_length).split())

    def equal(self, a: str, b: str) -> bool:
        return one_bracket(fold(a)) == one_bracket(fold(b))

    def spellings(self, value: str, spec: Spec) -> Iterable[str]:
        return _bracketed(value)


class Long(String):
    """A text that may fill a page (an address, a business scope)."""

    name = "long"
    max_length = MAX_LENGTH

    def parse(self, text: str, spec: Spec) -> str:
        lines = (" ".join(line.split()) for line in clean(text, self.max_length).splitlines())
        return "\n".join(filter(None, lines))

    def equal(self, a: str, b: str) -> bool:
        return trim_edges(one_bracket(fold(a))) == trim_edges(one_bracket(fold(b)))

    def spellings(self, value: str, spec: Spec) -> Iterable[str]:
        return _bracketed(value.replace("\n", ""))


class Org(Kind):
    """The name of a company or an authority. Canonical: no blanks beside Chinese, brackets （） in a Chinese name."""

    name = "org"
    max_length = 200

    def parse(self, text: str, spec: Spec) -> str:
        name = chinese_blanks_dropped(clean(text, self.max_length))
        if not has_chinese(name):
            return name
        return one_bracket(fold(name)).translate(_WIDE_BRACKETS) if " " not in name else name.translate(_WIDE_BRACKETS)

    def equal(self, a: str, b: str) -> bool:
        return one_bracket(fold(a)) == one_bracket(fold(b))

    def spellings(self, value: str, spec: Spec) -> Iterable[str]:
        return _bracketed(value)


class Person(Kind):
    """A person's name. Canonical: no blanks in a Chinese name, · between the parts of a transcribed one."""

    name = "person"
    max_length = 100

    def parse(self, text: str, spec: Spec) -> str:
        name = clean(text, self.max_length)
        return fold(name) if has_chinese(name) else " ".join(name.split())

    def equal(self, a: str, b: str) -> bool:
        return fold(a) == fold(b)

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        return (value, value.replace("·", "•")) if "·" in value else (value,)


class CertNo(Kind):
    """The number of a certificate. Canonical: upper case, no blanks, 〔〕【】 as []; any bracket equals any other."""

    name = "certno"
    max_length = 120

    def parse(self, text: str, spec: Spec) -> str:
        # Folded again: the capitals of some letters are written with combining marks.
        return fold(fold(clean(text, self.max_length)).upper())

    def equal(self, a: str, b: str) -> bool:
        return one_bracket(a) == one_bracket(b)

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        plain = one_bracket(value)
        if "(" not in plain:
            return (value,)
        forms = [value, *(value.replace("[", style[0]).replace("]", style[1]) for style in _SQUARE_STYLES)]
        forms += [plain.translate(_WIDE_BRACKETS), plain.replace("(", "〔").replace(")", "〕")]
        return tuple(dict.fromkeys(forms))


class Level(Kind):
    """A level of qualification: 特级, 一级 …, 甲级 …, 不分等级."""

    name = "level"
    max_length = 40

    def parse(self, text: str, spec: Spec) -> str:
        level = fold_levels(clean(text, self.max_length))
        level = _LEVEL_ALIASES.get(level, level)
        allowed = tuple(spec.choices) or LEVELS
        if level not in allowed:
            raise BadValue("level.unknown", allowed="、".join(allowed))
        return level

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        return _level_forms(value)


class LevelText(String):
    """One qualification with its level (建筑工程施工总承包壹级), or a list of them: 一级 and 壹级 are the same in it.

    What separates the items of a list (；, 、, a new line) carries no meaning, since each ends with its level.
    """

    name = "level_text"
    max_length = 500

    def equal(self, a: str, b: str) -> bool:
        return self._plain(a) == self._plain(b)

    @staticmethod
    def _plain(text: str) -> str:
        return _AFTER_LEVEL.sub(r"\1", one_bracket(fold_levels(text)))

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        folded = fold_levels(value)
        found = [plain for plain in _LEVEL_DIGITS if f"{plain}级" in folded]
        forms = [value]
        if found:
            # A print writes all its levels in one manner, so the manners are tried whole.
            for index in range(4):
                form = folded
                for plain in found:
                    form = form.replace(f"{plain}级", _level_forms(f"{plain}级")[index])
                forms.append(form)
        # Items on lines of their own often have no separator.
        forms += [_AFTER_LEVEL.sub(r"\1", form) for form in forms]
        return tuple(dict.fromkeys(forms))


def _level_forms(level: str) -> tuple[str, ...]:
    if level in _LEVEL_WORDS:
        return (level, *(alias for alias, plain in _LEVEL_ALIASES.items() if plain == level))
    digit = level[0]
    plain, big, figure = tuple(_LEVEL_DIGITS[digit])
    roman = next(letters for letters, one in _LEVEL_ROMAN.items() if one == digit)
    return (f"{plain}级", f"{big}级", f"{roman}级", f"{figure}级")


class Enum(Kind):
    """One of the catalogue's values, under any of its spellings; where the list is open, any other short text too."""

    name = "enum"

    def parse(self, text: str, spec: Spec) -> str:
        folded = one_bracket(fold(clean(text, self.max_length)))
        for value, aliases in spec.choices.items():
            if any(one_bracket(fold(one)) == folded for one in (value, *aliases)):
                return value
        if spec.open or not spec.choices:
            return chinese_blanks_dropped(clean(text, self.max_length))
        raise BadValue("enum.unknown", allowed="、".join(spec.choices))

    def equal(self, a: str, b: str) -> bool:
        return one_bracket(fold(a)) == one_bracket(fold(b))

    def spellings(self, value: str, spec: Spec) -> Iterable[str]:
        forms = [form for one in (value, *spec.choices.get(value, ())) for form in _bracketed(one)]
        return tuple(dict.fromkeys(forms))


_TRUTHS = {
    **dict.fromkeys(("是", "有", "true", "1"), "true"),
    **dict.fromkeys(("否", "无", "false", "0"), "false"),
}


class Bool(Kind):
    """是 or 否, canonical ``true`` or ``false``."""

    name = "bool"
    max_length = 20

    def parse(self, text: str, spec: Spec) -> str:
        value = _TRUTHS.get(fold(clean(text, self.max_length)).lower())
        if value is None:
            raise BadValue("bool.shape")
        return value

    def spellings(self, value: str, spec: Spec) -> tuple[str, ...]:
        return ("是",) if value == "true" else ("否",)


def _bracketed(value: str) -> tuple[str, ...]:
    """``value`` and, where it has brackets, the value with full-width and with half-width ones."""
    narrow = one_bracket(value.replace("（", "(").replace("）", ")"))
    return tuple(dict.fromkeys((value, narrow.translate(_WIDE_BRACKETS), narrow)))
