"""Given events, when a command, then events or a refusal: performances; and what their materials make of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from yunku.certificate.v1 import events_pb2, performance_pb2, service_pb2

import catalogue
from kernel.errors import YunkuError
from ops.performance_states import (
    ABANDONED,
    AT,
    COMMANDS,
    DRAFTED,
    GREEN,
    HOLDER,
    ID,
    INFORMATION,
    KNOWN,
    ME,
    NONE,
    PERFORMANCES,
    PUSHED,
    RED,
    REOPENED,
    REQUIRED,
    STATED,
    STATES,
    STRANGER,
    SUBMITTED,
    SUBMITTED_GREEN,
    YELLOW,
    given,
    outcome,
    push,
    state_information,
    submit,
)
from services.certificate.performances import domain

#: For each state what each command does: the event, the refusal, or nothing.
TABLE: dict[str, dict[str, str]] = {
    "nothing": dict.fromkeys(COMMANDS, "not_found"),
    "draft": {
        "state": "PerformanceInformationStated",
        "submit": "PerformanceSubmitted",
        "reopen": "performance_not_submitted",
        "discard": "PerformanceDiscarded",
        "push": "performance_not_submitted",
    },
    "submitted": {
        "state": "wrong_state",
        "submit": "wrong_state",
        "reopen": "PerformanceReopened",
        "discard": "wrong_state",
        "push": "PerformancePushRequested",
    },
    "reopened": {
        "state": "PerformanceInformationStated",
        "submit": "PerformanceSubmitted",
        "reopen": "",
        "discard": "PerformanceReopeningAbandoned",
        "push": "PerformancePushRequested",
    },
    "discarded": {
        "state": "wrong_state",
        "submit": "wrong_state",
        "reopen": "wrong_state",
        "discard": "",
        "push": "performance_not_submitted",
    },
}
TABLE["reopening given up"] = TABLE["submitted again"] = TABLE["submitted"]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_every_command_does_in_every_state(state: str, command: str) -> None:
    assert outcome(COMMANDS[command], STATES[state]) == TABLE[state][command]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("command", COMMANDS)
def test_another_subject_is_told_nothing(state: str, command: str) -> None:
    assert outcome(lambda now: COMMANDS[command](now, who=STRANGER), STATES[state]) == "not_found"


@pytest.mark.parametrize(("state", "command"), [("draft", "state"), ("draft", "submit"), ("draft", "discard"), ("submitted", "reopen")])
def test_a_stale_version_changes_nothing(state: str, command: str) -> None:
    assert outcome(lambda now: COMMANDS[command](now, expected=1), STATES[state]) == "version_conflict"
    assert outcome(lambda now: COMMANDS[command](now, expected=2), STATES[state]) == TABLE[state][command]


def begin(category: str = "construction", **information: str) -> Any:
    made = domain.draft(domain.State(), performance_id=ID, holder=HOLDER, known=KNOWN, category=category, information=information)
    return made[0]


@pytest.mark.parametrize("one", PERFORMANCES.categories, ids=lambda one: one.code)
def test_a_category_is_chosen_by_code_or_label(one: catalogue.PerformanceCategory) -> None:
    assert begin(one.code).category == begin(one.label).category == one.code


def test_the_seven_categories_of_the_manual() -> None:
    assert [one.label for one in PERFORMANCES.categories] == [
        "施工", "监理", "项目管理(含监理)", "设计(非EPC)", "材料设备", "其他服务", "工程总承包EPC"
    ]  # fmt: skip
    assert {one.manager for one in PERFORMANCES.categories} == {"项目经理", "项目总监", "项目负责人"}
    assert all(one.required == REQUIRED for one in PERFORMANCES.categories)


def test_an_unknown_category_is_refused() -> None:
    with pytest.raises(YunkuError) as refused:
        begin("painting")
    assert (refused.value.code, refused.value.errors[0].pointer) == ("category_unknown", "/category")


def test_a_category_is_fixed() -> None:
    for same in ("construction", "施工", ""):
        assert outcome(partial(state_information, category=same), STATES["draft"]) == "PerformanceInformationStated"
    for other in ("epc", "监理", "nonsense"):
        assert outcome(partial(state_information, category=other), STATES["draft"]) == "category_fixed"


def test_the_overall_information_is_canonical_and_its_mistakes_are_all_told() -> None:
    event = begin(performance_type="A", section_name="  一  标段 ", region=" ", section_no="ln〔2024〕1")
    assert dict(event.information) == {"performance_type": "A类", "section_name": "一 标段", "section_no": "LN[2024]1"}
    with pytest.raises(YunkuError) as refused:
        begin(performance_type="Z类", construction_nature="拆除", region="x" * 5000, colour="red")
    assert [(one.pointer, one.code) for one in refused.value.errors] == [
        ("/performance_type", "value_invalid"),
        ("/region", "value_too_long"),
        ("/construction_nature", "value_invalid"),
        ("/colour", "field_unknown"),
    ]


def test_the_same_information_again_is_nothing() -> None:
    assert domain.state_information(STATES["draft"], ME, PERFORMANCES, INFORMATION, "", 0) == []


def test_the_information_of_a_green_one_stays() -> None:
    green = given(DRAFTED, STATED, SUBMITTED_GREEN, REOPENED)
    assert outcome(state_information, green) == "light_green_locked"
    assert outcome(submit, green) == "PerformanceSubmitted"


def test_what_is_missing_of_the_information() -> None:
    assert domain.missing_information(PERFORMANCES, INFORMATION) == []
    assert domain.missing_information(PERFORMANCES, {"region": "x"}) == [name for name in INFORMATION if name != "region"]


def test_a_version_is_never_given_twice() -> None:
    (event,) = state_information(given(DRAFTED, STATED, SUBMITTED, REOPENED, ABANDONED, REOPENED))
    assert event.version == 4  # type: ignore[attr-defined]


def test_a_reopening_given_up_leaves_what_was_submitted() -> None:
    changed = events_pb2.PerformanceInformationStated(performance_id=ID, information={"region": "x"}, version=4)
    view = given(DRAFTED, STATED, SUBMITTED, REOPENED, changed, ABANDONED).view
    assert (dict(view.information), view.version, view.reopened) == (INFORMATION, 2, False)


def test_a_push_of_nothing_new_is_refused() -> None:
    assert outcome(lambda now: push(now, fresh=False), STATES["submitted"]) == "push_exists"
    (event,) = push(given(DRAFTED, STATED, SUBMITTED, PUSHED))
    assert (event.number, event.version) == (2, 2)  # type: ignore[attr-defined]


# -- what its materials make of it -------------------------------------------------------------------------------------


def paper(kind: str, number: str = "", state: str = "draft", light: Any = NONE, **fields: str) -> service_pb2.Certificate:
    one = service_pb2.Certificate(id=number or kind, type=kind, state=state, light=light, fields=fields, performance_id=ID)
    one.created_at.FromDatetime(AT)
    return one


def view(performance_type: str = "B类", category: str = "construction") -> performance_pb2.Performance:
    return performance_pb2.Performance(id=ID, category=category, information={"performance_type": performance_type})


def rows(*own: service_pb2.Certificate, performance_type: str = "B类") -> list[tuple[str, bool, str, str]]:
    found = domain.table(KNOWN, view(performance_type), own)
    return [(row.type, row.required, row.supports, row.certificate.id) for row in found]


def test_the_table_of_materials_has_a_row_for_each_kind() -> None:
    assert rows() == [(kind, True, "", "") for kind in REQUIRED] + [("overall_supplement", False, "", "")]
    assert rows(paper("construction_contract"), paper("bid_award_notice", state="discarded"))[:2] == [
        ("bid_award_notice", True, "", ""),
        ("construction_contract", True, "", "construction_contract"),
    ]


def test_class_a_needs_a_supporting_material_with_every_required_one() -> None:
    own = [paper("supporting_material", "x", supports="合同"), paper("supporting_material", "y", supports="合同")]
    assert rows(*own, paper("supporting_material", "z"), performance_type="A类") == [
        ("bid_award_notice", True, "", ""),
        ("supporting_material", True, "bid_award_notice", ""),
        ("construction_contract", True, "", ""),
        ("supporting_material", True, "construction_contract", "x"),
        ("supporting_material", False, "construction_contract", "y"),
        ("completion_acceptance", True, "", ""),
        ("supporting_material", True, "completion_acceptance", ""),
        ("overall_supplement", False, "", ""),
        ("supporting_material", False, "", "z"),
    ]
    assert ("supporting_material", False, "construction_contract", "x") in rows(*own)


def test_a_material_that_is_being_followed_is_shown_as_its_successor() -> None:
    former = paper("construction_contract", "1", state="submitted")
    former.successor_id = "2"
    assert rows(former, paper("construction_contract", "2"))[1][3] == "2"
    assert rows(former)[1][3] == "1"  # the successor was discarded


@pytest.mark.parametrize(
    ("lights", "expected"),
    [
        ((GREEN, GREEN, GREEN), GREEN),
        ((GREEN, YELLOW, GREEN), YELLOW),
        ((GREEN, YELLOW, NONE), NONE),
        ((GREEN, RED, NONE), RED),
        ((GREEN, GREEN, None), NONE),
        ((None, None, None), NONE),
        ((RED, None, None), RED),
    ],
)
def test_the_light_is_the_worst_of_the_required_materials(lights: tuple[Any, ...], expected: Any) -> None:
    own = [paper(kind, light=light) for kind, light in zip(REQUIRED, lights, strict=True) if light is not None]
    own += [paper("overall_supplement"), paper("supporting_material", supports="合同")]  # they have none
    for performance_type in ("B类", "A类"):
        assert domain.light(KNOWN, domain.table(KNOWN, view(performance_type), own)) == expected


def change(number: str, item: str, value: str, on: str = "", state: str = "draft") -> service_pb2.Certificate:
    more = {"changed_on": on} if on else {}
    return paper("contract_change_proof", number, state, item=item, content="x", new_value=value, **more)


CONTRACT = paper("construction_contract", project_manager="王建国", contract_price="100.00", section_name="一标段")


def effective(*own: service_pb2.Certificate) -> dict[str, tuple[str, str]]:
    items, _ = domain.contract(KNOWN, own)
    return {one.item: (one.original, one.effective) for one in items}


def test_changes_override_and_both_values_are_kept() -> None:
    assert effective(CONTRACT)["project_manager"] == ("王建国", "王建国")
    own = (CONTRACT, change("1", "项目经理", "李 建国"), change("2", "合同金额", "120万元"))
    assert effective(*own) == {
        "section_name": ("一标段", "一标段"),
        "contractor": ("", ""),
        "client": ("", ""),
        "project_manager": ("王建国", "李建国"),
        "contract_price": ("100.00", "1200000.00"),
        "contract_content": ("", ""),
    }


def test_the_last_change_counts_by_its_day_and_then_by_its_record() -> None:
    later, earlier = change("1", "项目经理", "赵建国", "2024-01-01"), change("2", "项目经理", "李建国", "2023-01-01")
    assert effective(CONTRACT, later, earlier)["project_manager"][1] == "赵建国"
    undated = change("3", "项目经理", "孙建国")  # of the day of its record, 2026
    assert effective(CONTRACT, undated, later, earlier)["project_manager"][1] == "孙建国"
    twice = (change("4", "项目经理", "甲", "2024-01-01"), change("5", "项目经理", "乙", "2024-01-01"))
    assert effective(CONTRACT, *twice)["project_manager"][1] == "乙"
    _, listed = domain.contract(KNOWN, (CONTRACT, undated, later, earlier))
    assert [(one.value, one.effective) for one in listed] == [("李建国", False), ("赵建国", False), ("孙建国", True)]


def test_a_change_that_is_none_overrides_nothing() -> None:
    for dead in (change("1", "合同金额", "很多"), change("1", "合同金额", "120元", state="discarded"), change("1", "合同金额", "")):
        assert effective(CONTRACT, dead)["contract_price"][1] == "100.00"
    (bad,) = domain.changes(KNOWN, (change("1", "合同金额", "很多"),))
    assert bad.value is None


def test_which_types_are_materials_and_how_many() -> None:
    materials = {one.code for one in KNOWN.types if domain.is_material(PERFORMANCES, one.code)}
    assert materials == {*REQUIRED, "overall_supplement", "supporting_material", "contract_change_proof"}
    assert {code for code in materials if domain.single(PERFORMANCES, code)} == {*REQUIRED, "overall_supplement"}
    assert not domain.fits(PERFORMANCES, "construction", "project_award")


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([(True, "approved"), (True, "approved"), (False, "requested")], "approved"),
        ([(True, "approved"), (True, "delivered")], "pending"),
        ([(True, "approved"), (False, "rejected")], "rejected"),
        ([(True, "approved"), (True, "rejected")], "rejected"),
        ([(True, "approved"), (True, "withdrawn")], "withdrawn"),
        ([(True, "withdrawn"), (True, "acknowledged")], "pending"),
        ([(False, "approved")], "pending"),
    ],
)
def test_the_combined_state_of_a_push(states: list[tuple[bool, str]], expected: str) -> None:
    assert domain.push_state(states) == expected


def test_a_push_is_told_with_the_states_of_its_materials() -> None:
    own = paper("bid_award_notice", "c", "submitted")
    own.pushes.add(id="q", state="approved", opinion="属实")
    told = domain.pushed(KNOWN, given(DRAFTED, STATED, SUBMITTED, PUSHED).view, [own])
    (one,) = told.pushes
    assert (one.state, [(m.type, m.state, m.opinion) for m in one.materials]) == (
        "approved",
        [("bid_award_notice", "approved", "属实")],
    )
    (unknown,) = domain.pushed(KNOWN, given(DRAFTED, STATED, SUBMITTED, PUSHED).view, []).pushes
    assert unknown.state == "pending"
