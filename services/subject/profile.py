"""The basic information 企业基本信息 of a company: what each field takes, and what is wrong with the others. Pure."""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import date
from typing import Any, Final

from yunku.subject.v1 import profile_pb2

from kernel import values
from kernel.errors import FieldError, YunkuError
from kernel.values import BadValue, Spec, fold

#: 经营类型 (domain.md, module 1), in the order in which a company's are kept.
BUSINESS_TYPES: Final = (
    "SURVEY",
    "DESIGN",
    "CONSTRUCTION",
    "SUPERVISION",
    "ENGINEERING_CONSULTING",
    "COST_CONSULTING",
    "PROJECT_MANAGEMENT",
    "MATERIAL_SUPPLY",
)
#: The manual's page (四 (一) 1) marks every field as required; who has no website or fax says so with this word.
NOTHING: Final = "无"
#: No company's foundation is written further back than this.
_EARLIEST: Final = "1800-01-01"
_LANDLINE: Final = re.compile(r"(?:0\d{2,3}-?\d{7,8}|[48]00-?\d{3}-?\d{4})(?:-\d{1,6})?", re.ASCII)
_WEBSITE: Final = re.compile(
    r"(?:https?://)?(?:[A-Za-z0-9\u4e00-\u9fff](?:[A-Za-z0-9\u4e00-\u9fff-]{0,61}[A-Za-z0-9\u4e00-\u9fff])?\.)+"
    r"[A-Za-z\u4e00-\u9fff]{2,24}(?::\d{1,5})?(?:/[!-~]{0,200})?"
)
_CODE: Final = re.compile(r"\d{6}", re.ASCII)


def _kind(kind: str, limit: int = 300, spec: Spec = values.PLAIN) -> Callable[[str], str]:
    def parse(text: str) -> str:
        value = values.parse(kind, text, spec)
        if len(value) > limit:
            raise BadValue("text.too_long", limit=str(limit))
        return value

    return parse


def _line(text: str) -> str:
    """A mobile number or a landline with its area code, blanks and brackets of any kind left out."""
    number = fold(values.parse("string", text)).replace(" ", "").replace("(", "").replace(")", "-").strip("-")
    if _LANDLINE.fullmatch(number):
        return number
    try:
        return values.parse("phone", text)
    except BadValue:
        raise BadValue("profile.line") from None


def _or_nothing(parse: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: NOTHING if text.strip() == NOTHING else parse(text)


def _matching(pattern: re.Pattern[str], problem: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        value = fold(values.parse("string", text))
        if not pattern.fullmatch(value):
            raise BadValue(problem)
        return value

    return parse


def _past(today: date) -> Callable[[str], str]:
    def parse(text: str) -> str:
        day = values.parse("date", text)
        if not _EARLIEST <= day <= today.isoformat():
            raise BadValue("profile.founded_on")
        return day

    return parse


def _parsers(today: date) -> Mapping[str, Callable[[str], str]]:
    """How each field's text becomes its canonical value; the order is the page's."""
    return {
        "registered_place": _kind("string", 200),
        "company_type": _kind("enum", 100, Spec(open=True)),
        "contact": _kind("person"),
        "contact_phone": _line,
        "website": _or_nothing(_matching(_WEBSITE, "profile.website")),
        "fax": _or_nothing(_line),
        "postal_code": _matching(_CODE, "profile.postal_code"),
        "is_sme": _kind("bool"),
        "founded_on": _past(today),
    }


#: Every field, in the order of the page.
FIELDS: Final = (*_parsers(date.min), "business_types")


def changed(before: profile_pb2.Profile, stated: profile_pb2.Profile, fields: Collection[str], today: date) -> profile_pb2.Profile:
    """The basic information after ``fields`` were stated as in ``stated``; an empty value clears one.

    Raises ``field_unknown``, ``value_invalid`` with each field's pointer.
    """
    after = profile_pb2.Profile()
    after.CopyFrom(before)
    parsers = _parsers(today)
    wrong: list[FieldError] = []
    for name in fields:
        if name == "business_types":
            wrong += _state_business_types(after, stated.business_types)
        elif name not in parsers:
            wrong.append(FieldError(f"/{name[:100]}", "field_unknown", {"field": name[:100]}))
        else:
            text = getattr(stated, name)
            try:
                setattr(after, name, parsers[name](text) if text.strip() else "")
            except BadValue as problem:
                wrong.append(FieldError(f"/{name}", "value_invalid", {"problem": problem.code, **problem.details}))
    if wrong:
        raise YunkuError(wrong[0].code, errors=wrong)
    return after


def _state_business_types(after: profile_pb2.Profile, stated: Collection[str]) -> list[FieldError]:
    wrong = [FieldError(f"/business_types/{number}", "value_invalid") for number, one in enumerate(stated) if one not in BUSINESS_TYPES]
    if not wrong:
        del after.business_types[:]
        after.business_types.extend(known for known in BUSINESS_TYPES if known in stated)
    return wrong[:50]


def missing(profile: profile_pb2.Profile) -> list[FieldError]:
    """The fields that still have to be stated before it is submitted: all of them (manual 四 (一) 1)."""
    return [FieldError(f"/{name}", "field_required", {"field": name}) for name in FIELDS if not getattr(profile, name)]


def shown(profile: profile_pb2.Profile) -> dict[str, Any]:
    """What an operation record compares, by path."""
    told = {f"profile.{name}": getattr(profile, name) for name in FIELDS if name != "business_types"}
    return {path: value for path, value in told.items() if value} | (
        {"profile.business_types": list(profile.business_types)} if profile.business_types else {}
    )
