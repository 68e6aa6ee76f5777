"""The logic check over a performance's materials, finding by finding: what is said, from where, and what explains it away."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
from yunku.certificate.v1 import types_pb2

import catalogue
from kernel import texts
from services.certificate.performances import check

KNOWN = catalogue.load()
HOLDER, FORMER, CLIENT, OTHER = "沈阳云库建设有限公司", "沈阳云库建筑公司", "沈阳市城市建设局", "大连别家建设有限公司"
TODAY = date(2026, 11, 23)
INFORMATION = {"section_name": "一标段", "section_no": "LN-1"}
AWARD = {
    "section_name": "一标段",
    "section_no": "LN-1",
    "tenderee": CLIENT,
    "winner": HOLDER,
    "award_price": "100.00",
    "project_manager": "王建国",
    "issued_on": "2022-03-01",
}
CONTRACT = {
    "section_name": "一标段",
    "employer": CLIENT,
    "contractor": HOLDER,
    "contract_price": "100.00",
    "project_manager": "王建国",
    "signed_on": "2022-03-20",
}
ACCEPTANCE = {
    "section_name": "一标段",
    "employer": CLIENT,
    "contractor": HOLDER,
    "supervisor": "辽宁监理公司",
    "designer": "辽宁设计院",
    "project_manager": "王建国",
    "actual_start": "2022-04-01",
    "accepted_on": "2023-10-30",
    "conclusion": "合格",
}
Fields = Mapping[str, str] | None


def inputs(
    award: Fields = None,
    contract: Fields = None,
    acceptance: Fields = None,
    information: Fields = None,
    overrides: tuple[tuple[str, str | None], ...] = (),
    category: str = "construction",
    without: tuple[str, ...] = (),
) -> check.Inputs:
    """Where everything agrees, but for what is given; an empty value takes a field away."""
    stated = {
        check.AWARD: {**AWARD, **(award or {})},
        check.CONTRACT: {**CONTRACT, **(contract or {})},
        check.ACCEPTANCE: {**ACCEPTANCE, **(acceptance or {})},
    }
    return check.Inputs(
        holder_names=[HOLDER, FORMER],
        category=KNOWN.performances.category(category),
        today=TODAY,
        information={**INFORMATION, **(information or {})},
        papers={code: check.Paper(f"id-{code}", code, fields) for code, fields in stated.items() if code not in without},
        overrides=[
            check.Override(f"change-{number}", "contract_change_proof", item, value, value or "?")
            for number, (item, value) in enumerate(overrides)
        ],
    )


def found(**given: Any) -> list[str]:
    return [one.code for one in check.run(inputs(**given))]


def test_where_everything_agrees_nothing_is_found() -> None:
    assert found() == []


def test_every_code_has_a_text_and_every_text_a_code() -> None:
    assert set(check.CODES) == texts.keys("check")
    assert set(check.CODES.values()) == {check.WARNING, check.ERROR}


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "award section": ({"award": {"section_name": "二标段"}}, ["section_name_differs"]),
    "acceptance section": ({"acceptance": {"section_name": "二标段"}}, ["section_name_differs"]),
    "overall section": ({"information": {"section_name": "二标段"}}, ["section_name_differs"]),
    "contract section": ({"contract": {"section_name": "二标段"}}, ["section_name_differs"] * 3),
    "number": ({"award": {"section_no": "LN-2"}}, ["section_no_differs"]),
    "tenderee": ({"award": {"tenderee": OTHER}}, ["client_differs"]),
    "acceptance client": ({"acceptance": {"employer": OTHER}}, ["client_differs"]),
    "price": ({"award": {"award_price": "100.01"}}, ["price_differs"]),
    "award manager": ({"award": {"project_manager": "李建国"}}, ["manager_differs"]),
    "acceptance manager": ({"acceptance": {"project_manager": "李建国"}}, ["manager_differs"]),
    "contract before award": ({"award": {"issued_on": "2022-03-21"}}, ["contract_before_award"]),
    "start before contract": ({"acceptance": {"actual_start": "2022-03-19"}}, ["start_before_contract"]),
    "completion before start": ({"acceptance": {"actual_start": "2023-10-31"}}, ["completion_before_start"]),
    "winner": ({"award": {"winner": OTHER}}, ["holder_not_party", "contractor_differs"]),
    "contractor": ({"contract": {"contractor": OTHER}}, ["holder_not_party", "contractor_differs"]),
    "acceptance contractor": ({"acceptance": {"contractor": OTHER}}, ["holder_not_party"]),
    "completion before contract": (
        {"acceptance": {"actual_start": "", "accepted_on": "2022-03-19"}},
        ["completion_before_contract"],
    ),
    "completion before award": (
        {"acceptance": {"actual_start": "", "accepted_on": "2022-02-28"}},
        ["completion_before_award", "completion_before_contract"],
    ),
    "future": ({"acceptance": {"accepted_on": "2026-11-24"}}, ["completion_in_future"]),
    "failed": ({"acceptance": {"conclusion": "不合格"}}, ["acceptance_failed"]),
    "bad change": ({"overrides": (("contract_price", None),)}, ["change_value_invalid"]),
    "change makes a stranger contractor": ({"overrides": (("contractor", OTHER),)}, ["holder_not_party"]),
    "change of manager that the acceptance doesn't know": ({"overrides": (("project_manager", "李建国"),)}, ["manager_differs"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_each_difference_is_found_and_nothing_else(case: str) -> None:
    given, expected = WRONG[case]
    assert found(**given) == expected


def test_every_finding_that_there_is_is_tested() -> None:
    assert {code for _, codes in WRONG.values() for code in codes} == set(check.CODES)


FINE: dict[str, dict[str, Any]] = {
    "the same day throughout": {
        "award": {"issued_on": "2022-03-20"},
        "acceptance": {"actual_start": "2022-03-20", "accepted_on": "2022-03-20"},
    },
    "completed today": {"acceptance": {"accepted_on": "2026-11-23"}},
    "a former name": {"award": {"winner": FORMER}, "contract": {"contractor": FORMER}},
    "a former name in the award only": {"award": {"winner": FORMER}},
    "brackets and blanks": {"award": {"section_name": "一 标段"}},
    "a consortium": {"award": {"winner": f"{OTHER}（联合体牵头人）、{HOLDER}（联合体成员）"}},
    "a section renamed by a change": {
        "acceptance": {"section_name": "新一标段"},
        "overrides": (("section_name", "新一标段"),),
    },
    "another price by a change": {"award": {"award_price": "120.00"}, "overrides": (("contract_price", "120.00"),)},
    "a price changed after award and contract agreed": {"overrides": (("contract_price", "130.00"),)},
    "another manager by a change": {
        "acceptance": {"project_manager": "李建国"},
        "overrides": (("project_manager", "李建国"),),
    },
    "two changes of the manager": {
        "acceptance": {"project_manager": "赵建国"},
        "overrides": (("project_manager", "李建国"), ("project_manager", "赵建国")),
    },
    "another client by a change": {"acceptance": {"employer": OTHER}, "overrides": (("client", OTHER),)},
    "a contract that passed to the holder": {
        "award": {"winner": OTHER},
        "contract": {"contractor": OTHER},
        "overrides": (("contractor", HOLDER),),
    },
    "a design office": {
        "acceptance": {"contractor": OTHER, "designer": HOLDER},
        "category": "design",
    },
    "a supervisor": {"acceptance": {"contractor": OTHER, "supervisor": HOLDER}, "category": "supervision"},
    "a supervisor whom the report doesn't name": {"acceptance": {"contractor": OTHER, "supervisor": ""}, "category": "supervision"},
    "an EPC contractor": {"category": "epc"},
    "an EPC designer": {"acceptance": {"contractor": OTHER, "designer": HOLDER}, "category": "epc"},
    "a supplier": {"acceptance": {"contractor": OTHER}, "category": "material_equipment"},
    "numbers that aren't stated": {"award": {"section_no": ""}, "information": {"section_no": ""}},
    "nothing but the award": {"without": (check.CONTRACT, check.ACCEPTANCE)},
    "nothing but the contract": {"without": (check.AWARD, check.ACCEPTANCE)},
    "nothing but the acceptance": {"without": (check.AWARD, check.CONTRACT)},
    "nothing at all": {"without": (check.AWARD, check.CONTRACT, check.ACCEPTANCE)},
    "fields that aren't stated yet": {"award": dict.fromkeys(AWARD, ""), "contract": dict.fromkeys(CONTRACT, "")},
}


@pytest.mark.parametrize("case", FINE)
def test_what_agrees_or_is_explained_is_no_finding(case: str) -> None:
    assert found(**FINE[case]) == []


def test_without_a_contract_the_award_is_compared() -> None:
    assert found(acceptance={"section_name": "二标段", "project_manager": "李建国"}, without=(check.CONTRACT,)) == [
        "section_name_differs",
        "manager_differs",
    ]


def test_a_finding_names_both_values_and_where_they_stand() -> None:
    (one,) = check.run(inputs(award={"award_price": "90.00"}, overrides=(("contract_price", "110.00"),)))
    assert (one.severity, [(s.certificate_id, s.type, s.field, s.value) for s in one.sources]) == (
        "WARNING",
        [
            (f"id-{check.AWARD}", check.AWARD, "award_price", "90.00"),
            ("change-0", "contract_change_proof", "new_value", "110.00"),
        ],
    )


def test_errors_come_first() -> None:
    severities = [one.severity for one in check.run(inputs(award={"award_price": "90.00"}, acceptance={"conclusion": "不合格"}))]
    assert severities == ["ERROR", "WARNING"]


def test_a_confirmation_is_for_these_values_only() -> None:
    first = check.run(inputs(award={"award_price": "90.00", "project_manager": "李建国"}))
    price, manager = first
    assert [one.code for one in check.unconfirmed(first, [])] == ["price_differs", "manager_differs"]
    assert check.unconfirmed(first, [price.id]) == [manager]
    assert check.unconfirmed(first, [price.id, manager.id]) == []
    assert check.unconfirmed(first, [check.digest(first)]) == []
    again = check.run(inputs(award={"award_price": "90.00", "project_manager": "李建国"}))
    assert [one.id for one in again] == [one.id for one in first]
    other = check.run(inputs(award={"award_price": "91.00", "project_manager": "李建国"}))
    assert [one.code for one in check.unconfirmed(other, [price.id, manager.id])] == ["price_differs"]
    assert len(check.unconfirmed(other, [check.digest(first)])) == 2


def test_an_error_is_confirmed_by_nothing() -> None:
    findings = check.run(inputs(acceptance={"conclusion": "不合格"}))
    assert check.unconfirmed(findings, [findings[0].id]) == []  # no warning; the error itself blocks
    assert check.digest(findings) == check.digest([])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HOLDER, [HOLDER]),
        (f"{HOLDER}、{OTHER}", [HOLDER, OTHER]),
        (f"{HOLDER}(牵头人);{OTHER}（成员）", [HOLDER, OTHER]),
        ("沈阳云库（辽宁）公司", ["沈阳云库（辽宁）公司"]),
        ("", []),
    ],
)
def test_members_of_a_party(text: str, expected: list[str]) -> None:
    assert check.members(text) == expected


def test_the_check_is_pure() -> None:
    given = inputs(award={"award_price": "90.00"})
    one, two = check.run(given), check.run(given)
    assert [types_pb2.CheckFinding.SerializeToString(f) for f in one] == [types_pb2.CheckFinding.SerializeToString(f) for f in two]
