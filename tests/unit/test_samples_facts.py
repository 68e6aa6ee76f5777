"""Invented data is truthful: codes carry their digits, dates their order, and every print parses back to its value."""

from __future__ import annotations

import random
from datetime import date
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import catalogue
import samples
from kernel import values
from samples.facts import (
    FIELDS,
    CertificateType,
    DateStyle,
    MoneyStyle,
    Style,
    capital_amount,
    make_company,
    make_facts,
    organisation_check,
    print_date,
    print_money,
    uscc_check,
)

TYPES: tuple[CertificateType, ...] = get_args(CertificateType)
SPAN = {"first": date(2019, 3, 1), "last": date(2026, 10, 30)}
CATALOGUE = catalogue.load()
days = st.dates(date(2000, 1, 1), date(2060, 12, 31))


@pytest.mark.parametrize("code", ["91350100M000100Y43", "91110000101623741K", "911101066976941872", "91110108MA01EBFH9B"])
def test_check_digits_are_those_of_published_codes(code: str) -> None:
    assert uscc_check(code[:17]) == code[17]
    assert organisation_check(code[8:16]) == code[16]


def test_check_digits_notice_a_wrong_code() -> None:
    assert uscc_check("91350211M0000XUF4") != "6"  # published as a real code whose outer digit fails
    assert organisation_check("M0000XUF") == "4"


@given(st.integers())
def test_a_company_has_both_check_digits(seed: int) -> None:
    code = make_company(random.Random(seed)).uscc
    assert uscc_check(code[:17]) == code[17]
    assert organisation_check(code[8:16]) == code[16]
    assert code.startswith("9121")  # a company of Liaoning


@pytest.mark.parametrize(
    ("yuan", "text"),
    [
        ("0", "零元整"),
        ("5", "伍元整"),
        ("10", "壹拾元整"),
        ("1005.06", "壹仟零伍元零陆分"),
        ("6000000", "陆佰万元整"),
        ("40800000", "肆仟零捌拾万元整"),
        ("120000000", "壹亿贰仟万元整"),
        ("306000000", "叁亿零陆佰万元整"),
        ("100010000", "壹亿零壹万元整"),
        ("100000001", "壹亿零壹元整"),
        ("20180000.50", "贰仟零壹拾捌万元伍角整"),
        ("1001001.10", "壹佰万壹仟零壹元壹角整"),
    ],
)
def test_capital_amounts(yuan: str, text: str) -> None:
    assert capital_amount(Decimal(yuan)) == text


@given(days, st.sampled_from(get_args(DateStyle)))
def test_every_style_of_a_date_reads_back(day: date, style: DateStyle) -> None:
    assert values.parse("date", print_date(day, style)) == day.isoformat()


@given(st.integers(1, 10**7), st.sampled_from(get_args(MoneyStyle)))
def test_every_style_of_an_amount_reads_back(wan: int, style: MoneyStyle) -> None:
    assert values.parse("money", print_money(Decimal(wan) * 10_000, style)) == f"{wan * 10_000}.00"


@pytest.mark.parametrize("certificate_type", TYPES)
def test_the_fields_are_the_catalogues_but_those_no_print_carries(certificate_type: CertificateType) -> None:
    printed = {f.name for f in CATALOGUE.type(certificate_type).fields if f.printed_by is not catalogue.PrintedBy.USER}
    assert set(FIELDS[certificate_type]) == printed


@pytest.mark.parametrize("certificate_type", TYPES)
@given(seed=st.integers(0, 10**9))
def test_facts_are_canonical_and_their_prints_agree(certificate_type: CertificateType, seed: int) -> None:
    rng = random.Random(seed)
    facts, style = make_facts(certificate_type, rng, **SPAN), Style.choose(rng)
    kind_of = CATALOGUE.type(certificate_type)
    for name, value in facts.items():
        field = kind_of.field(name)
        printed = style.print(FIELDS[certificate_type][name], value)
        assert field.parse(value) == field.parse(printed)
        assert values.agrees(field.type, printed, field.parse(value), field.spec)
        if FIELDS[certificate_type][name] in ("date", "period", "money", "level", "uscc", "certno"):
            assert field.parse(value) == value
            assert not field.checks(value)


@given(st.integers(0, 10**9))
def test_dates_stand_in_order(seed: int) -> None:
    licence = make_facts("business_license", random.Random(seed), **SPAN)
    assert licence["established_on"] <= licence["issued_on"] <= SPAN["last"].isoformat()
    start, end = licence["business_term"].split("/")
    assert start == licence["established_on"]
    assert end == "长期" or end > licence["issued_on"]
    qualification = make_facts("construction_qualification", random.Random(seed), **SPAN)
    assert qualification["issued_on"] < SPAN["last"].isoformat() < qualification["valid_until"]


@given(st.integers(0, 10**9))
def test_the_approver_fits_the_highest_level(seed: int) -> None:
    facts = make_facts("construction_qualification", random.Random(seed), **SPAN)
    digit = facts["certificate_no"][1]
    held = facts["category_and_level"]
    assert held.startswith(facts["qualification_name"] + facts["level"])
    expected = "1" if "一级" in held or "特级" in held else "2" if "二级" in held else "3"
    assert digit == expected
    assert facts["issuing_authority"].startswith({"1": "中华人民共和国", "2": "辽宁省"}.get(digit, facts["address"][3:5]))


@given(seed=st.integers(0, 10**9), certificate_type=st.sampled_from(TYPES))
def test_tampering_changes_one_character_of_one_field_and_its_meaning(seed: int, certificate_type: CertificateType) -> None:
    facts = make_facts(certificate_type, random.Random(seed), **SPAN)
    tampered = samples.tamper(facts, seed)
    changed = [name for name in facts if tampered.values[name] != facts[name]]
    assert changed == [tampered.field]
    assert sum(a != b for a, b in zip(tampered.before, tampered.after, strict=True)) == 1
    field = CATALOGUE.type(certificate_type).field(tampered.field)
    if tampered.kind == "date":  # a tampered date is still a date: nothing but the print can tell
        assert field.parse(tampered.after) != field.parse(tampered.before)


def test_tampering_knows_its_kinds_and_can_be_kept_to_fields() -> None:
    facts = make_facts("business_license", random.Random(5), **SPAN)
    assert {samples.tamper(facts, seed).kind for seed in range(60)} == {"look_alike", "digit", "date", "amount"}
    assert {samples.tamper(facts, seed, fields=("uscc",)).field for seed in range(20)} == {"uscc"}
    with pytest.raises(ValueError, match="can be changed"):
        samples.tamper({"name": "。"}, 1)
