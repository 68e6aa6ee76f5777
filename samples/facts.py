"""Invented, truthful data of a certificate: codes have their check digits, dates their order, places their codes.

A fact is kept in its normal form and printed in the style of the document (`Style`), so that one date may stand on
paper as 2019年05月20日, 2019-05-20 or 二〇一九年五月二十日. Normal forms: dates ``YYYY-MM-DD``; money as a decimal
string in yuan (``50000000.00``); a period ``start/end`` with ``长期`` for an open end; a level 一级 where the print
says 壹级; text as it is.
"""

from __future__ import annotations

import functools
import random
import tomllib
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from importlib import resources
from typing import Any, Literal

CertificateType = Literal["business_license", "construction_qualification"]
Kind = Literal["uscc", "org", "person", "date", "period", "money", "level", "certno", "text", "long"]

#: The fields of each type in the catalogue's order, with the kind that says how they print and normalise.
#: ``is_primary`` of the qualification is not here: the user states it, no print carries it.
FIELDS: dict[CertificateType, dict[str, Kind]] = {
    "business_license": {
        "uscc": "uscc",
        "company_name": "org",
        "company_type": "text",
        "address": "long",
        "legal_rep_name": "person",
        "registered_capital": "money",
        "established_on": "date",
        "business_term": "period",
        "business_scope": "long",
        "registration_authority": "org",
        "issued_on": "date",
        "copy_no": "text",
    },
    "construction_qualification": {
        "company_name": "org",
        "qualification_name": "text",
        "level": "level",
        "category_and_level": "text",
        "certificate_no": "certno",
        "issuing_authority": "org",
        "valid_until": "date",
        "uscc": "uscc",
        "legal_rep_name": "person",
        "address": "long",
        "registered_capital": "money",
        "issued_on": "date",
    },
}

OPEN_END = "长期"
_USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)  # GB 32100
_ORG_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)  # GB 11714
_DIGITS = "零壹贰叁肆伍陆柒捌玖"
_FORMAL_LEVELS = {"一级": "壹级", "二级": "贰级", "三级": "叁级"}

DateStyle = Literal["padded", "spaced", "plain", "dash", "dot", "slash", "chinese"]
MoneyStyle = Literal["wan", "wan_rmb", "rmb_wan", "wan_decimals", "yuan", "upper", "upper_rmb"]


@dataclass(frozen=True)
class Style:
    """How one document writes dates, money and levels."""

    dates: DateStyle = "padded"
    money: MoneyStyle = "wan"
    formal_levels: bool = True

    @staticmethod
    def choose(rng: random.Random) -> Style:
        return Style(
            dates=rng.choice(("padded", "padded", "padded", "spaced", "plain", "dash", "dot", "slash", "chinese")),
            money=rng.choice(("wan", "wan_rmb", "rmb_wan", "wan_decimals", "yuan", "upper", "upper_rmb", "upper")),
            formal_levels=rng.random() < 0.7,
        )

    def print(self, kind: Kind, value: str) -> str:
        """A normal value as the document prints it. Raises ValueError where the value is not of its kind."""
        if kind == "date":
            return print_date(date.fromisoformat(value), self.dates)
        if kind == "period":
            start, _, end = value.partition("/")
            if not end:
                return value
            until = end if end == OPEN_END else print_date(date.fromisoformat(end), self.dates)
            return f"{print_date(date.fromisoformat(start), self.dates)}至{until}"
        if kind == "money":
            try:
                return print_money(Decimal(value), self.money)
            except InvalidOperation as problem:
                raise ValueError(f"not an amount in yuan: {value}") from problem
        if kind == "level":
            return _FORMAL_LEVELS.get(value, value) if self.formal_levels else value
        return value


def print_date(day: date, style: DateStyle) -> str:
    """A date as documents write it."""
    if style == "chinese":
        year = "".join("〇一二三四五六七八九"[int(digit)] for digit in str(day.year))
        return f"{year}年{_small_number(day.month)}月{_small_number(day.day)}日"
    return {
        "padded": f"{day.year}年{day.month:02}月{day.day:02}日",
        "spaced": f"{day.year} 年 {day.month:02} 月 {day.day:02} 日",
        "plain": f"{day.year}年{day.month}月{day.day}日",
        "dash": day.isoformat(),
        "dot": f"{day.year}.{day.month:02}.{day.day:02}",
        "slash": f"{day.year}/{day.month:02}/{day.day:02}",
    }[style]


def _small_number(number: int) -> str:
    """1 to 31 in Chinese numerals."""
    tens, ones = divmod(number, 10)
    return ("" if tens == 0 else "十" if tens == 1 else "一二三"[tens - 1] + "十") + ("一二三四五六七八九"[ones - 1] if ones else "")


def print_money(yuan: Decimal, style: MoneyStyle) -> str:
    """An amount in yuan as documents write it: in yuan, in 万元, or in the capital numerals."""
    wan = yuan / 10_000
    short = f"{wan.normalize():f}"
    return {
        "wan": f"{short}万元",
        "wan_rmb": f"{short}万元人民币",
        "rmb_wan": f"人民币{short}万元",
        "wan_decimals": f"{wan:.6f}万人民币",
        "yuan": f"{yuan:,.2f}元",
        "upper": capital_amount(yuan),
        "upper_rmb": f"人民币{capital_amount(yuan)}",
    }[style]


def capital_amount(yuan: Decimal) -> str:
    """An amount in the numerals of cheques and licences: 伍仟万元整, 壹亿贰仟万元整."""
    whole, rest = divmod(int(yuan * 100), 100)
    text = ""
    skipped = False  # zeroes since the last digit: the next one announces them with 零
    for power in range(len(str(whole)) - 1, -1, -1):
        digit = whole // 10**power % 10
        if digit:
            text += ("零" if skipped and text else "") + _DIGITS[digit] + ("", "拾", "佰", "仟")[power % 4]
        skipped = skipped or not digit
        if digit:
            skipped = False
        if power and power % 4 == 0 and whole // 10**power % 10_000:
            text += {4: "万", 8: "亿", 12: "兆"}[power]
            skipped = False
    text = (text or "零") + "元"
    jiao, cent = divmod(rest, 10)
    if not rest:
        return text + "整"
    return text + (f"{_DIGITS[jiao]}角" if jiao else "零") + (f"{_DIGITS[cent]}分" if cent else "整")


def uscc_check(body: str) -> str:
    """The 18th character of a unified social credit code for its first 17 (GB 32100)."""
    total = sum(_USCC_ALPHABET.index(char) * weight for char, weight in zip(body, _USCC_WEIGHTS, strict=True))
    return _USCC_ALPHABET[(31 - total % 31) % 31]


def organisation_check(body: str) -> str:
    """The check character of an organisation code for its first 8 (GB 11714)."""
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    digit = 11 - sum(alphabet.index(char) * weight for char, weight in zip(body, _ORG_WEIGHTS, strict=True)) % 11
    return {10: "X", 11: "0"}.get(digit, str(digit))


def make_uscc(rng: random.Random, region: str) -> str:
    """A code with both check digits for a company registered in a region (six digits)."""
    if rng.random() < 0.4:  # carried over from the organisation code of before October 2015
        organisation = "".join(rng.choice("0123456789") for _ in range(8))
    else:
        organisation = "MA" + "".join(rng.choice(_USCC_ALPHABET) for _ in range(6))
    body = f"91{region}{organisation}{organisation_check(organisation)}"
    return body + uscc_check(body)


@functools.cache
def words() -> dict[str, Any]:
    """The word lists (words.toml)."""
    return tomllib.loads(resources.files("samples").joinpath("words.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Company:
    """An invented company."""

    uscc: str
    name: str
    company_type: str
    legal_rep: str
    city: str
    district: str
    address: str
    capital: str
    established_on: date


def make_company(rng: random.Random) -> Company:
    """One company with everything that licences say of it; the same rng state gives the same company."""
    w = words()
    city = rng.choice(w["cities"])
    district, region = rng.choice(sorted(city["districts"].items()))
    form = rng.choice(w["forms"])
    place = rng.choice((city["name"], city["name"][:-1], "辽宁", "辽宁省"))
    brand = "".join(rng.sample(w["brand"], rng.choice((2, 2, 2, 3))))
    address = f"辽宁省{city['name']}{district}{rng.choice(w['roads'])}{rng.randint(1, 320)}号"
    address += rng.choice(("", f"-{rng.randint(1, 9)}号", f"{rng.randint(1, 28)}层{rng.randint(101, 2810)}室"))
    if not address.endswith("室"):
        address += rng.choice(("", f"（{rng.randint(1, 9)}-{rng.randint(1, 30)}-{rng.randint(1, 4)}）", f"{rng.randint(1, 6)}门"))
    wan = rng.choice((200, 500, 600, 800, 1000, 1008, 2000, 2018, 3000, 3600, 4080, 5000, 5180, 6000, 8000, 10000, 12000, 30600))
    return Company(
        uscc=make_uscc(rng, region),
        name=place + brand + rng.choice(w["trades"]) + form,
        company_type=rng.choice(w["company_types"][form]),
        legal_rep=make_person(rng),
        city=city["name"],
        district=district,
        address=address,
        capital=f"{Decimal(wan) * 10_000:.2f}",
        established_on=date(2000, 1, 4) + timedelta(days=rng.randrange(365 * 18 + 4)),
    )


def make_person(rng: random.Random) -> str:
    """A person's name of two or three characters."""
    w = words()
    return str(rng.choice(w["surnames"])) + "".join(rng.choice(w["given"]) for _ in range(rng.choice((1, 2, 2, 2))))


def make_facts(certificate_type: CertificateType, rng: random.Random, *, first: date, last: date) -> dict[str, str]:
    """Normal values of every field of a certificate issued between two days.

    A licence is issued in that span; a qualification in its last four years, since it runs for five.
    """
    company = make_company(rng)
    if certificate_type == "business_license":
        first = max(first, company.established_on)
        return _business_license(company, rng, first + timedelta(days=rng.randrange((last - first).days)))
    return _construction_qualification(company, rng, last - timedelta(days=rng.randrange(20, 1460)))


def _years_later(day: date, years: int) -> date:
    """The same day some years later; 29 February becomes the 28th."""
    return day.replace(year=day.year + years, day=28 if (day.month, day.day) == (2, 29) else day.day)


def _business_license(company: Company, rng: random.Random, issued: date) -> dict[str, str]:
    if rng.random() < 0.5:
        term = f"{company.established_on}/{OPEN_END}"
    else:
        years = rng.choice((30, 50, 50))
        last = _years_later(company.established_on, years)
        term = f"{company.established_on}/{last - timedelta(days=1)}"
    office = "工商行政管理局" if issued < date(2018, 11, 1) else rng.choice(("市场监督管理局", "市场监督管理局", "行政审批局"))
    scope = rng.sample(words()["scopes"], rng.randint(4, 12))
    tail = rng.choice(("", "（依法须经批准的项目，经相关部门批准后方可开展经营活动。）"))
    copies = rng.choice((1, 1, 1, 2, 3))
    return {
        "uscc": company.uscc,
        "company_name": company.name,
        "company_type": company.company_type,
        "address": company.address,
        "legal_rep_name": company.legal_rep,
        "registered_capital": company.capital,
        "established_on": company.established_on.isoformat(),
        "business_term": term,
        "business_scope": rng.choice(("；", "，", "、")).join(scope) + "。" + tail,
        "registration_authority": f"{company.city}{rng.choice((company.district, ''))}{office}",
        "issued_on": issued.isoformat(),
        "copy_no": f"{rng.randint(1, copies)}-{copies}",
    }


def _construction_qualification(company: Company, rng: random.Random, issued: date) -> dict[str, str]:
    catalogue: dict[str, list[str]] = words()["qualifications"]
    names = rng.sample(sorted(catalogue), rng.choice((1, 1, 2, 3, 4)))
    held = [(name, rng.choice(catalogue[name])) for name in names]
    # The approver follows the highest level: the ministry for 特级 and 一级, the province for 二级, the city below.
    levels = {level for _, level in held}
    approver = 1 if levels & {"特级", "一级"} else 2 if "二级" in levels else 3
    authority = {
        1: "中华人民共和国住房和城乡建设部",
        2: "辽宁省住房和城乡建设厅",
        3: f"{company.city}住房和城乡建设局",
    }[approver]
    until = _years_later(issued, 5)
    return {
        "company_name": company.name,
        "qualification_name": held[0][0],
        "level": held[0][1],
        "category_and_level": "；".join(name + level for name, level in held),
        "certificate_no": f"D{approver}21{rng.randint(0, 999_999):06}",
        "issuing_authority": authority,
        "valid_until": until.isoformat(),
        "uscc": company.uscc,
        "legal_rep_name": company.legal_rep,
        "address": company.address,
        "registered_capital": company.capital,
        "issued_on": issued.isoformat(),
    }
