"""What lists show and search of a certificate, by its type and the values stated: name, level, number (the manual's columns)."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Final

from catalogue.model import CertificateType
from kernel.values import folding

#: Fields that say which of its kind it is (资质名称, 奖项名称, 标段名称 …), the most telling first.
_NAMES: Final = (
    "qualification_name",
    "permit_name",
    "certificate_name",
    "honour_name",
    "award_name",
    "credit_name",
    "title",
    "material_name",
    "section_name",
    "material_kind",
)
#: Fields of its level or category (资质等级, 类别).
_LEVELS: Final = ("level", "ability_level", "credit_level", "award_class", "honour_class", "category", "post", "kind")
#: Kinds of values that people look for; personal numbers are not among them.
_SEARCHED: Final = ("string", "enum", "level", "person", "certno")
#: Characters of one value, and of all, that can be found.
_VALUE_CHARACTERS: Final = 100
_CHARACTERS: Final = 600


def name(kind: CertificateType, fields: Mapping[str, str]) -> str:
    """证照名称: the type's, with what is stated of which one it is (manual 三 (二) 1: 工程监理资质证书-专业资质-市政公用工程)."""
    own = _first(kind, fields, _NAMES)
    return f"{kind.label}-{own}" if own else kind.label


def level(kind: CertificateType, fields: Mapping[str, str]) -> str:
    """资质等级 or category; empty where the type has none or none is stated."""
    return _first(kind, fields, _LEVELS)


def number(kind: CertificateType, fields: Mapping[str, str]) -> str:
    """The certificate's own number: the first of the type's numbers that is stated; empty where there is none."""
    for one in kind.fields:
        if (one.type == "certno" or one.name == "case_no") and fields.get(one.name):
            return fields[one.name]
    return ""


def endless(kind: CertificateType, fields: Mapping[str, str]) -> bool:
    """Whether it says of itself that it never ends (长期)."""
    return fields.get(kind.valid_until, "").rpartition("/")[2] == "长期"


def searched(kind: CertificateType, fields: Mapping[str, str], unique_code: str) -> str:
    """The folded text in which it is looked for: name, level, persons, numbers, a value a line; the holder's own name is in none."""
    found = [kind.label, unique_code]
    for one in kind.fields:
        value = fields.get(one.name, "")
        if value and one.type in _SEARCHED and not one.holder:
            found.append(value[:_VALUE_CHARACTERS])
    return "\n".join(dict.fromkeys(fold(text) for text in found if text))[:_CHARACTERS]


def fold(text: str) -> str:
    """A text as it is compared in searches: width, case, spaces and kinds of brackets, dashes and dots don't count."""
    folded = folding.one_bracket(folding.fold(text)).casefold()
    return "".join(character for character in folded if unicodedata.category(character) != "Cc")


def _first(kind: CertificateType, fields: Mapping[str, str], names: tuple[str, ...]) -> str:
    for one in names:
        if fields.get(one) and kind.has_field(one):
            return fields[one]
    return ""
