"""The light: which evidence is a match, what each failure costs, and that no KEY failure ever passes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import catalogue
from catalogue import Role
from kernel.values.codes import USCC_ALPHABET, uscc_check_digit
from services.verify.light import (
    KEPT_CANDIDATES,
    MAX_CANDIDATES,
    Candidate,
    Evidence,
    EvidenceMissing,
    Holder,
    Inputs,
    Light,
    Reading,
    Verdict,
    candidates,
    decide,
    fields_to_read,
    joined,
    person_statements,
    unscored,
)

LICENCE = catalogue.load().type("business_license")
QUALIFICATION = catalogue.load().type("construction_qualification")
USCC = "91110108MA01EBFH9B"
HOLDER = Holder(USCC, "沈阳鑫恒建设工程有限公司", ("沈阳恒达建筑有限公司",))
LICENCE_FIELDS = {
    "uscc": USCC,
    "company_name": HOLDER.name,
    "company_type": "有限责任公司（自然人投资或控股）",
    "address": "辽宁省沈阳市和平区青年大街1号",
    "legal_rep_name": "张己",
    "registered_capital": "50000000.00",
    "established_on": "2010-03-01",
    "business_term": "2010-03-01/长期",
    "business_scope": "建筑工程施工",
    "registration_authority": "沈阳市市场监督管理局",
    "issued_on": "2021-05-06",
}
QUALIFICATION_FIELDS = {
    "company_name": HOLDER.name,
    "qualification_name": "建筑工程施工总承包",
    "level": "一级",
    "category_and_level": "建筑工程施工总承包壹级",
    "certificate_no": "D121034567",
    "issuing_authority": "中华人民共和国住房和城乡建设部",
    "valid_until": "2027-12-31",
    "uscc": USCC,
    "legal_rep_name": "张己",
    "issued_on": "2023-01-01",
    "is_primary": "true",
}


def seen(text: str, *, ratio: float = 0.0, margin: float = 99.0, score: str | None = None) -> Evidence:
    """A region that reads as ``text``; what was stated (``score``, else the same) lies ``ratio`` nats below it."""
    return Evidence((Reading(text, 0.97, -0.1),), (Candidate(score or text, -0.1 + ratio, ratio, margin),))


EVIDENCE = {
    "match": lambda good: seen(good),
    "likely": lambda good: seen("?" + good, ratio=-1.0, score=good),
    "between": lambda good: seen("?" + good, ratio=-5.0, score=good),
    "lookalike": lambda good: seen(good, margin=1.9),
    "other": lambda good: seen("完全不同的内容", ratio=-40.0, score=good),
    "illegible": lambda good: Evidence((Reading("", 0.0, 0.0),), (Candidate(good, -50.0, -50.0, 0.0),)),
    "layer": lambda good: replace(seen(good), text_layer="别的内容"),
}
AGREE = {"match", "likely"}


def inputs_of(rules: catalogue.CertificateType, stated: dict[str, str], **changes: object) -> Inputs:
    """A certificate all of whose compared fields are stated, marked and read exactly."""
    compared = [f.name for f in rules.fields if f.compared]
    evidence = {name: seen(rules.field(name).display(stated[name])) for name in compared if name in stated}
    given_ = Inputs(rules, HOLDER, stated, frozenset(), frozenset(evidence), evidence, "ab" * 32, "ppocr/6")
    return replace(given_, **changes)  # type: ignore[arg-type]


def verdict_of(inputs: Inputs, name: str) -> tuple[Verdict, str]:
    one = next(f for f in decide(inputs).fields if f.name == name)
    return one.verdict, one.reason


def with_evidence(inputs: Inputs, name: str, evidence: Evidence) -> Inputs:
    return replace(inputs, evidence={**inputs.evidence, name: evidence})


# -- the lights ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "stated"),
    [(LICENCE, LICENCE_FIELDS), (QUALIFICATION, QUALIFICATION_FIELDS)],
    ids=["licence", "qualification"],
)
def test_everything_stated_marked_and_read_is_green(rules: catalogue.CertificateType, stated: dict[str, str]) -> None:
    outcome = decide(inputs_of(rules, stated))
    assert (outcome.light, outcome.failures) == (Light.GREEN, ())
    assert {one.name for one in outcome.fields} == {one.name for one in rules.fields}


@pytest.mark.parametrize("kind", sorted(set(EVIDENCE) - AGREE))
def test_a_key_field_that_is_no_match_is_red_and_a_digital_one_yellow(kind: str) -> None:
    whole = inputs_of(LICENCE, LICENCE_FIELDS)
    for one in LICENCE.fields:
        if one.compared:
            good = one.display(LICENCE_FIELDS[one.name])
            light = decide(with_evidence(whole, one.name, EVIDENCE[kind](good))).light
            assert light == (Light.RED if one.role is Role.KEY else Light.YELLOW), one.name


def test_an_unmarked_key_field_is_red_and_an_unmarked_digital_one_yellow() -> None:
    whole = inputs_of(LICENCE, LICENCE_FIELDS)
    assert decide(replace(whole, marked=whole.marked - {"legal_rep_name"})).light is Light.RED
    assert decide(replace(whole, marked=whole.marked - {"address"})).light is Light.YELLOW
    assert verdict_of(replace(whole, marked=whole.marked - {"address"}), "address") == (Verdict.UNMARKED, "unmarked")


def test_a_marked_field_without_evidence_has_no_verdict() -> None:
    whole = inputs_of(LICENCE, LICENCE_FIELDS)
    evidence = {name: one for name, one in whole.evidence.items() if name != "uscc"}
    with pytest.raises(EvidenceMissing):
        decide(replace(whole, evidence=evidence))


def test_plain_fields_do_not_count() -> None:
    stated = {**LICENCE_FIELDS, "business_scope": "别的", "copy_no": "没有编号"}
    outcome = decide(inputs_of(LICENCE, stated))
    assert outcome.light is Light.GREEN
    assert [(f.reason, f.note) for f in outcome.failures] == [("format_unusual", True)]


def test_absent_only_where_the_catalogue_allows_it_and_never_green() -> None:
    stated = {name: value for name, value in LICENCE_FIELDS.items() if name != "business_term"}
    silent = inputs_of(LICENCE, stated)
    assert decide(silent).light is Light.YELLOW
    assert verdict_of(silent, "business_term") == (Verdict.UNMARKED, "not_stated")
    said = replace(silent, absent=frozenset({"business_term"}))
    assert decide(said).light is Light.YELLOW
    assert verdict_of(said, "business_term") == (Verdict.ABSENT, "absent")
    stated = {name: value for name, value in LICENCE_FIELDS.items() if name != "uscc"}
    assert decide(inputs_of(LICENCE, stated, absent=frozenset({"uscc"}))).light is Light.RED
    older = {name: value for name, value in QUALIFICATION_FIELDS.items() if name != "uscc"}
    assert decide(inputs_of(QUALIFICATION, older, absent=frozenset({"uscc"}))).light is Light.YELLOW
    assert decide(inputs_of(QUALIFICATION, older)).light is Light.RED


def test_absent_does_not_hide_what_is_stated() -> None:
    whole = inputs_of(QUALIFICATION, QUALIFICATION_FIELDS, absent=frozenset({"uscc"}))
    assert decide(with_evidence(whole, "uscc", EVIDENCE["other"](USCC))).light is Light.RED


# -- the holder ------------------------------------------------------------------------------------------------------


def test_a_recorded_former_name_is_the_holders() -> None:
    stated = {**LICENCE_FIELDS, "company_name": "沈阳恒达建筑有限公司"}
    assert decide(inputs_of(LICENCE, stated)).light is Light.GREEN


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("company_name", "沈阳鑫恒建设工程有限公司大连分公司", "not_holder_company_name"),
        ("uscc", "91110000101623741K", "not_holder_uscc"),
    ],
)
def test_another_companys_certificate_is_red(name: str, value: str, reason: str) -> None:
    outcome = decide(inputs_of(LICENCE, {**LICENCE_FIELDS, name: value}))
    assert outcome.light is Light.RED
    assert [(f.reason, f.decisive) for f in outcome.failures] == [(reason, True)]


PERSONS = catalogue.load().type("professional_title")
PERSONS_FIELDS = {
    "name": "王建国",
    "id_no": "210102199003078515",
    "title": "高级工程师",
    "level": "副高级",
    "speciality": "建筑施工",
    "certificate_no": "LN20200001",
    "issuing_authority": "辽宁省人力资源和社会保障厅",
    "granted_on": "2020-05-01",
}


def test_a_persons_certificate_is_green_where_what_it_states_is_the_persons() -> None:
    assert person_statements(PERSONS, PERSONS_FIELDS) == {
        "name": ("person_name", "王建国"),
        "id_no": ("person_id", "210102199003078515"),
    }
    whole = inputs_of(PERSONS, PERSONS_FIELDS, person_agrees=frozenset({"name", "id_no"}))
    assert decide(whole).light is Light.GREEN
    # A print without the number is the person's by the name alone; and what is declared absent can't be GREEN.
    without = {name: value for name, value in PERSONS_FIELDS.items() if name != "id_no"}
    absent = frozenset({"id_no"})
    assert decide(inputs_of(PERSONS, without, absent=absent, person_agrees=frozenset({"name"}))).light is Light.YELLOW


@pytest.mark.parametrize("agrees", [{"name"}, {"id_no"}, set()])
def test_another_persons_certificate_is_red(agrees: set[str]) -> None:
    outcome = decide(inputs_of(PERSONS, PERSONS_FIELDS, person_agrees=frozenset(agrees)))
    assert outcome.light is Light.RED
    told = {"name": "not_holder_person_name", "id_no": "not_holder_person_id"}
    assert [(f.rule, f.fields, f.reason, f.decisive) for f in outcome.failures] == [
        ("holder", (name,), told[name], True) for name in ("name", "id_no") if name not in agrees
    ]


# -- plausibility ------------------------------------------------------------------------------------------------------


def test_a_failing_check_digit_that_print_and_statement_share_is_yellow() -> None:
    wrong = USCC[:17] + USCC_ALPHABET[(USCC_ALPHABET.index(uscc_check_digit(USCC)) + 1) % 31]
    outcome = decide(inputs_of(LICENCE, {**LICENCE_FIELDS, "uscc": wrong}, holder=replace(HOLDER, uscc=wrong)))
    assert outcome.light is Light.YELLOW
    assert [f.reason for f in outcome.failures] == ["uscc_check_digit"]


@pytest.mark.parametrize(
    ("rules", "stated", "change", "reasons"),
    [
        (LICENCE, LICENCE_FIELDS, {"established_on": "2022-01-01"}, {"rule_not_after"}),
        (LICENCE, LICENCE_FIELDS, {"business_term": "2030-01-01/2020-01-01"}, {"period_reversed"}),
        (QUALIFICATION, QUALIFICATION_FIELDS, {"category_and_level": "市政公用工程施工总承包壹级"}, {"rule_composed"}),
        (QUALIFICATION, QUALIFICATION_FIELDS, {"category_and_level": "建筑工程施工总承包贰级"}, {"rule_composed"}),
        (QUALIFICATION, QUALIFICATION_FIELDS, {"certificate_no": "XY7"}, {"format_unusual"}),
        (QUALIFICATION, QUALIFICATION_FIELDS, {"issued_on": "2028-01-01"}, {"rule_not_after", "rule_years_between"}),
    ],
)
def test_implausible_is_yellow(rules: catalogue.CertificateType, stated: dict[str, str], change: dict[str, str], reasons: set[str]) -> None:
    outcome = decide(inputs_of(rules, {**stated, **change}))
    assert outcome.light is Light.YELLOW
    assert {f.reason for f in outcome.failures} == reasons


AUDIT = {
    "fiscal_year": "2023",
    "reported_on": "2024-03-31",
    "total_assets": "300.00",
    "total_liabilities": "100.00",
    "net_assets": "200.00",
}
TAX = {"month": "2024-02", "tax_period": "2024-02-01/2024-02-29", "total": "1284.00", "lines": "增值税 1200.00；印花税 84.00"}
PATENT = {"patent_no": "ZL200310102344.5", "kind": "发明专利", "filed_on": "2003-02-03"}  # the example of ZC 0006-2003
TITLE = {"title": "高级工程师", "level": "副高级"}
ID = {"id_no": "11010519491231002X", "birth_date": "1949-12-31", "gender": "女"}


@pytest.mark.parametrize(
    ("code", "stated", "change", "reasons"),
    [
        ("annual_audit_report", AUDIT, {"net_assets": "201.00"}, set()),
        ("annual_audit_report", AUDIT, {"net_assets": "201.01"}, {"rule_sum"}),
        ("annual_audit_report", AUDIT, {"net_assets": "USD 900.00"}, set()),
        ("annual_audit_report", AUDIT, {"reported_on": "2023-12-31"}, set()),
        ("annual_audit_report", AUDIT, {"reported_on": "2023-12-30"}, {"rule_ended_by"}),
        ("tax_payment_certificate", TAX, {"month": "2024-03"}, {"rule_covers"}),
        ("tax_payment_certificate", TAX, {"tax_period": "2024-02-02/2024-02-29"}, {"rule_covers"}),
        ("tax_payment_certificate", TAX, {"tax_period": "2024-01-01/长期"}, set()),
        ("tax_payment_certificate", TAX, {"total": "1283.99"}, {"rule_sum"}),
        ("tax_payment_certificate", TAX, {"total": "-10.00", "lines": "增值税 -10.00"}, set()),
        ("patent", PATENT, {"patent_no": "ZL200310102344.6"}, {"rule_patent_number"}),
        ("patent", PATENT, {"kind": "外观设计专利"}, {"rule_patent_number"}),
        ("patent", PATENT, {"filed_on": "2002-12-31"}, {"rule_patent_number"}),
        ("professional_title", TITLE, {"level": "中级"}, {"rule_fits"}),
        ("professional_title", TITLE, {"title": "正高级工程师"}, {"rule_fits"}),
        ("professional_title", TITLE, {"title": "主任技师"}, set()),
        ("legal_rep_id_card", ID, {"birth_date": "1949-12-30"}, {"rule_birth_of"}),
        ("legal_rep_id_card", ID, {"gender": "男"}, {"rule_gender_of"}),
        ("legal_rep_id_card", ID, {"valid_term": "2020-01-01/2040-01-01"}, set()),
        ("legal_rep_id_card", ID, {"valid_term": "2020-01-01/2033-01-01"}, {"rule_years_between"}),
        ("construction_qualification", QUALIFICATION_FIELDS, {"level": "不分等级"}, {"rule_fits", "rule_composed"}),
        ("personal_social_insurance", {"months": "2024-01/2024-12"}, {"months": "2024-12/2024-01"}, {"months_reversed"}),
    ],
)  # fmt: skip
def test_rules_over_several_fields(code: str, stated: dict[str, str], change: dict[str, str], reasons: set[str]) -> None:
    rules = catalogue.load().type(code)
    assert {f.reason for f in decide(inputs_of(rules, stated)).failures} == set()
    assert {f.reason for f in decide(inputs_of(rules, {**stated, **change})).failures} == reasons
    for name in change:
        rest = {key: value for key, value in stated.items() if key != name}
        assert {f.reason for f in decide(inputs_of(rules, rest)).failures} == set(), "what isn't stated is not judged"


def test_a_note_is_said_and_costs_nothing() -> None:
    outcome = decide(inputs_of(QUALIFICATION, {**QUALIFICATION_FIELDS, "valid_until": "2029-12-31"}))
    assert outcome.light is Light.GREEN
    assert [(f.reason, f.note) for f in outcome.failures] == [("rule_years_between", True)]
    for until in ("2027-12-31", "2028-01-01"):
        assert decide(inputs_of(QUALIFICATION, {**QUALIFICATION_FIELDS, "valid_until": until})).failures == ()


def test_one_of_a_list_of_qualifications() -> None:
    for listed in ("市政公用工程施工总承包贰级；建筑工程施工总承包壹级", "建筑工程施工总承包壹级市政公用工程施工总承包贰级"):
        outcome = decide(inputs_of(QUALIFICATION, {**QUALIFICATION_FIELDS, "category_and_level": listed}))
        assert (outcome.light, outcome.failures) == (Light.GREEN, ())
    other = {**QUALIFICATION_FIELDS, "category_and_level": "市政公用工程施工总承包壹级；建筑工程施工总承包贰级"}
    assert [f.reason for f in decide(inputs_of(QUALIFICATION, other)).failures] == ["rule_composed"]


# -- evidence ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (seen("张己"), (Verdict.MATCH, "match")),
        (seen("法定代表人：张己", score="张己", ratio=-30.0), (Verdict.MATCH, "match")),
        (seen("张巳", ratio=-1.5, margin=5.0, score="张己"), (Verdict.MATCH, "likely")),
        (seen("张己", margin=1.99), (Verdict.UNREADABLE, "lookalike")),
        (seen("张巳", ratio=-1.5, margin=-0.5, score="张己"), (Verdict.UNREADABLE, "lookalike")),
        (seen("张巳", ratio=-2.0, score="张己"), (Verdict.UNREADABLE, "cannot_tell")),
        (seen("张巳", ratio=-8.0, score="张己"), (Verdict.UNREADABLE, "cannot_tell")),
        (seen("李四", ratio=-8.1, score="张己"), (Verdict.MISMATCH, "mismatch")),
        (seen("张", ratio=-20.0, score="张己"), (Verdict.MISMATCH, "mismatch_part")),
        (seen("李四"), (Verdict.UNREADABLE, "cannot_tell")),  # a score for another text than the stated one
        (seen("张己出资", ratio=-20.0, score="张己"), (Verdict.MISMATCH, "mismatch_more")),
        (Evidence((Reading(" ", 0.1, -1.0),), ()), (Verdict.UNREADABLE, "illegible")),
        (Evidence(), (Verdict.UNREADABLE, "illegible")),
        (Evidence((Reading("张己", 0.9, -0.1),), ()), (Verdict.UNREADABLE, "cannot_tell")),
        (replace(seen("张己"), text_layer="张已"), (Verdict.UNREADABLE, "text_layer_differs")),
        (replace(seen("张己"), text_layer=" 张 己 "), (Verdict.MATCH, "match")),
        (replace(seen("张己"), text_layer="  "), (Verdict.MATCH, "match")),
        (replace(seen("李四", ratio=-30.0, score="张己"), text_layer="张己"), (Verdict.MISMATCH, "mismatch")),
    ],
)
def test_what_the_recogniser_saw_decides(evidence: Evidence, expected: tuple[Verdict, str]) -> None:
    assert verdict_of(with_evidence(inputs_of(LICENCE, LICENCE_FIELDS), "legal_rep_name", evidence), "legal_rep_name") == expected


def test_why_a_print_is_no_value_is_said() -> None:
    evidence = seen("5000万", ratio=-20.0, score="6000万元")
    stated = {**LICENCE_FIELDS, "registered_capital": "60000000.00"}
    outcome = decide(with_evidence(inputs_of(LICENCE, stated), "registered_capital", evidence))
    one = next(f for f in outcome.fields if f.name == "registered_capital")
    assert (one.reason, one.params) == ("mismatch_unread", {"problem": "money.unit_missing"})
    assert (one.stated, one.recognised) == ("60000000.00", "5000万")


def test_a_level_inside_its_line_matches_only_where_the_line_is_that_one_qualification() -> None:
    line = "建筑工程施工总承包壹级"
    whole = with_evidence(inputs_of(QUALIFICATION, QUALIFICATION_FIELDS), "level", seen(line))
    assert verdict_of(whole, "level") == (Verdict.MATCH, "match")
    assert line in candidates(QUALIFICATION, QUALIFICATION_FIELDS, "level")
    for change in ({"level": "二级"}, {"category_and_level": f"{line}；市政公用工程施工总承包贰级"}):
        stated = {**QUALIFICATION_FIELDS, **change}
        other = with_evidence(inputs_of(QUALIFICATION, stated), "level", seen(line, ratio=-20.0, score=stated["level"]))
        assert verdict_of(other, "level")[0] is Verdict.MISMATCH


def test_what_is_asked_of_the_recogniser() -> None:
    marked = frozenset({"uscc", "business_scope", "copy_no"})
    assert fields_to_read(LICENCE, marked) == ("uscc",)
    assert candidates(LICENCE, LICENCE_FIELDS, "uscc") == (USCC,)
    assert {"5000万元", "伍仟万元整", "¥50,000,000.00"} <= set(candidates(LICENCE, LICENCE_FIELDS, "registered_capital"))
    assert candidates(LICENCE, {}, "uscc") == ()
    for rules, stated in ((LICENCE, LICENCE_FIELDS), (QUALIFICATION, QUALIFICATION_FIELDS)):
        for name in stated:
            assert 1 <= len(candidates(rules, stated, name)) <= MAX_CANDIDATES


def test_an_exact_reading_in_an_unscored_spelling_is_to_be_scored() -> None:
    evidence = Evidence((Reading("法定代表人：张己", 0.9, -0.1), Reading("张已", 0.5, -3.0)), (Candidate("张己", -9.0, -9.0, 5.0),))
    assert unscored(LICENCE, LICENCE_FIELDS, "legal_rep_name", evidence) == ("法定代表人：张己",)
    assert unscored(LICENCE, LICENCE_FIELDS, "legal_rep_name", seen("张己")) == ()


def test_a_field_in_parts_is_as_good_as_its_worst_part() -> None:
    parts = [seen("辽宁省沈阳市和平区", margin=9.0), seen("青年大街1号", margin=3.0)]
    whole = with_evidence(inputs_of(LICENCE, LICENCE_FIELDS), "address", joined(parts))
    assert verdict_of(whole, "address") == (Verdict.MATCH, "match")
    for spoilt in (
        seen("青年大街1号", margin=1.0),
        seen("青年大街2号"),
        Evidence(),
        Evidence((Reading("青年大街1号", 0.9, 0),), ()),
    ):
        other = with_evidence(whole, "address", joined([parts[0], spoilt]))
        assert verdict_of(other, "address")[0] is not Verdict.MATCH


def test_evidence_survives_its_json_and_keeps_what_decides() -> None:
    many = tuple(Candidate(f"c{i}", -float(i), -float(i) / 3, 1 / 3) for i in range(40))
    raw = Evidence((Reading("张己", 1 / 3, float("-inf")),), (*many, Candidate("n", float("nan"), -50.0, 1.0)), "层")
    kept = raw.pruned()
    assert len(kept.candidates) == KEPT_CANDIDATES
    assert kept.candidates[0].text == "c0"
    assert Evidence.from_json(kept.to_json()) == kept
    assert kept.pruned() == kept


# -- properties --------------------------------------------------------------------------------------------------------

RANK = {Light.RED: 0, Light.YELLOW: 1, Light.GREEN: 2}
BASES = [(LICENCE, LICENCE_FIELDS), (QUALIFICATION, QUALIFICATION_FIELDS)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Inputs, dict[str, str]]:
    """A certificate with any mixture of evidence, missing marks and missing statements; and which evidence each has."""
    rules, stated = draw(st.sampled_from(BASES))
    optional = sorted(stated)
    dropped = draw(st.sets(st.sampled_from(optional), max_size=2))
    kept = {name: value for name, value in stated.items() if name not in dropped}
    whole = inputs_of(rules, kept, absent=frozenset(draw(st.sets(st.sampled_from(optional), max_size=2))))
    kinds: dict[str, str] = {}
    for name in sorted(whole.marked):
        kinds[name] = draw(st.sampled_from(["match"] * 6 + sorted(EVIDENCE)))
        whole = with_evidence(whole, name, EVIDENCE[kinds[name]](rules.field(name).display(kept[name])))
    unmarked = draw(st.sets(st.sampled_from(sorted(whole.marked)), max_size=1))
    return replace(whole, marked=whole.marked - unmarked), {n: k for n, k in kinds.items() if n not in unmarked}


@given(cases())
def test_no_key_field_that_fails_ever_passes(case: tuple[Inputs, dict[str, str]]) -> None:
    inputs, kinds = case
    outcome = decide(inputs)
    for one in inputs.rules.fields:
        declared = one.may_be_absent and one.name in inputs.absent and one.name not in inputs.fields
        agreed = kinds.get(one.name) in AGREE
        if one.compared and not agreed:
            if one.role is Role.KEY and not declared:
                assert outcome.light is Light.RED
            assert outcome.light is not Light.GREEN
    if outcome.light is Light.GREEN:
        assert all(v.verdict in (Verdict.MATCH, Verdict.NOT_COMPARED) for v in outcome.fields)


@given(cases())
def test_the_same_inputs_give_the_same_verdict(case: tuple[Inputs, dict[str, str]]) -> None:
    inputs, _ = case
    again = replace(
        inputs,
        fields=dict(reversed(list(inputs.fields.items()))),
        evidence={name: Evidence.from_json(one.to_json()) for name, one in reversed(list(inputs.evidence.items()))},
    )
    assert decide(inputs) == decide(again)


@given(cases(), st.data())
def test_better_evidence_never_worsens_the_light(case: tuple[Inputs, dict[str, str]], data: st.DataObject) -> None:
    inputs, kinds = case
    name = data.draw(st.sampled_from(sorted(kinds)))
    good = seen(inputs.rules.field(name).display(inputs.fields[name]))
    assert RANK[decide(with_evidence(inputs, name, good)).light] >= RANK[decide(inputs).light]


@given(cases(), st.sampled_from(["company_name", "uscc"]))
def test_another_holder_is_always_red(case: tuple[Inputs, dict[str, str]], name: str) -> None:
    inputs, _ = case
    other = Holder("91350100M000100Y43", "大连别家有限公司")
    if name in inputs.fields:
        assert decide(replace(inputs, holder=other)).light is Light.RED
