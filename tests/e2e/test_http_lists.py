"""Lists over the whole system: filters, search, orders, paging while entries are added, validity, the manual's columns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from infra.testing import RunningSuite
from tests.e2e.http_world import Api, Json, World

LIST = "/api/v1/certificates"
TODAY = datetime.now(timezone(timedelta(hours=8))).date()


def day(offset: int) -> str:
    return (TODAY + timedelta(days=offset)).isoformat()


@pytest.fixture(scope="module")
def world(suite: RunningSuite) -> World:
    return World(suite)


@pytest.fixture(scope="module")
def api(world: World) -> Api:
    """A company with a few drafts."""
    api = world.company()
    for what, until in (("a", -1), ("b", 0), ("c", 90), ("d", 91)):
        world.draft(api, type="outside_entry_report", fields={"contact": f"联系{what}", "phone": "13900000001", "valid_until": day(until)})
    world.draft(api, type="outside_entry_report", fields={"contact": "无期"})
    for term in (f"{day(1)}至{day(900)}", f"{day(-1)}至{day(900)}"):
        world.draft(
            api, type="safety_production_license", fields={"valid_term": term, "certificate_no": "（辽）JZ安许证字〔2026〕０００１号"}
        )
    world.draft(api, type="legal_rep_authorisation", fields={"agent_name": "欧阳建国", "valid_until": "长期"})
    level = {"qualification_name": "建筑工程施工总承包", "level": "一级", "certificate_no": "D221012345"}
    world.draft(api, type="construction_qualification", fields=level)
    return api


def listed(api: Api, **params: Any) -> list[Json]:
    items: list[Json] = api.ask("GET", LIST, params=params)["items"]
    return items


def names(items: list[Json]) -> list[str]:
    return [one["fields"].get("contact") or one["fields"].get("valid_term") or one["type"] for one in items]


def test_validity_is_by_today_and_filters(api: Api) -> None:
    told = {name: one["validity"]["state"] for one in listed(api) for name in names([one])}
    first, second = f"{day(1)}/{day(900)}", f"{day(-1)}/{day(900)}"
    assert told == {
        "联系a": "EXPIRED",
        "联系b": "EXPIRING",
        "联系c": "EXPIRING",
        "联系d": "VALID",
        "无期": None,
        first: "NOT_YET",
        second: "VALID",
        "legal_rep_authorisation": "VALID",
        "construction_qualification": None,
    }
    for state in ("VALID", "EXPIRING", "EXPIRED", "NOT_YET"):
        assert set(names(listed(api, validity=state))) == {name for name, shown in told.items() if shown == state}
    api.refused("GET", LIST, 422, "value_invalid", "/validity", params={"validity": "OLD"})


def test_search_finds_parts_whatever_their_width_and_case(api: Api) -> None:
    def found(q: str, **more: Any) -> list[str]:
        return names(listed(api, q=q, **more))

    assert found("施工总承包") == found("一级") == found("d2210") == found(" D221 012345 ") == ["construction_qualification"]
    assert len(found("jz安许证字〔2026〕0001号")) == len(found("安许证字 [2026] ０００1")) == 2
    assert found("阳建") == found("欧") == found("欧阳建国") == ["legal_rep_authorisation"]
    assert found("欧国") == found("国建阳欧") == found("阳建筑") == []
    assert len(found("安全生产许可")) == 2
    assert len(found("安全生产许可", validity="NOT_YET")) == 1
    assert found("13900000001") == []  # personal numbers aren't searched
    assert found("%") == found("_") == found("'") == []
    assert found("施工", type="\x00") == []
    assert found("一\x00级") == ["construction_qualification"]
    assert len(found("  ")) == 9
    api.refused("GET", LIST, 422, "value_too_long", "/q", params={"q": "长" * 101})


def test_filters_go_together(api: Api) -> None:
    assert len(listed(api, type=["outside_entry_report", "safety_production_license"])) == 7
    assert len(listed(api, type=["outside_entry_report", "safety_production_license"], validity="EXPIRING")) == 2
    assert len(listed(api, module="qualifications", state="draft", light="NONE")) == 3
    assert listed(api, light="GREEN") == listed(api, state="submitted") == listed(api, person_id="x") == listed(api, type="nonsense") == []


def test_each_order_both_ways(api: Api) -> None:
    created = listed(api, sort="created")
    assert created == listed(api)[::-1]
    keys: list[tuple[str, Callable[[Json], str]]] = [
        ("updated", lambda one: one["updated_at"]),
        ("submitted", lambda one: one["submitted_at"] or ""),
        ("valid_until", lambda one: one["validity"]["valid_until"] or "9999-12-31"),
        ("type", lambda one: one["type"]),
    ]
    for sort, key in keys:
        up, down = listed(api, sort=sort), listed(api, sort=f"-{sort}")
        assert up == down[::-1]
        assert [key(one) for one in up] == sorted(key(one) for one in created)
    api.refused("GET", LIST, 422, "value_invalid", "/sort", params={"sort": "fields"})


def test_the_columns_of_the_manual(world: World) -> None:
    api = world.company()
    fields = {"qualification_name": "建筑工程施工总承包", "level": "壹级", "certificate_no": "D221012345", "valid_until": day(10)}
    drafted = world.draft(api, type="construction_qualification", fields=fields)
    (one,) = listed(api)
    assert (one["name"], one["level"], one["number"]) == ("建筑业企业资质证书-建筑工程施工总承包", "一级", "D221012345")
    assert (one["validity"]["valid_until"], one["light"], one["sealed"], one["submitted_at"]) == (day(10), "NONE", False, None)
    assert one["pushes"] == []
    api.ask("POST", f"{LIST}/{drafted['id']}/discard")
    assert listed(api) == []
    assert [one["id"] for one in listed(api, state="discarded")] == [drafted["id"]]
    case = world.draft(
        api, type="litigation_case", fields={"description": "纠纷", "occurred_on": "2026-01-05", "case_no": "（2026）辽01民初1号"}
    )
    api.ask("POST", f"{LIST}/{case['id']}/submission")
    domain = world.demo["reviewer"]["domain"]
    api.ask("POST", f"{LIST}/{case['id']}/pushes", 201, json={"domain": domain})
    (one,) = listed(api, q=api.ask("GET", f"{LIST}/{case['id']}")["unique_code"])
    assert (one["number"], one["level"], bool(one["submitted_at"])) == ("(2026)辽01民初1号", None, True)
    (push,) = one["pushes"]
    assert push["domain_id"] == domain
    assert push["state"] in ("requested", "delivered", "acknowledged")


@pytest.mark.parametrize("sort", ["-created", "-updated", "valid_until", "type", "-type", "submitted"])
def test_paging_stays_right_while_entries_are_added(world: World, sort: str) -> None:
    api = world.company()
    mine = [world.draft(api, type="litigation_case", fields={"description": f"第{n}"})["id"] for n in range(7)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = api.ask("GET", LIST, params={"limit": 2, "sort": sort, "cursor": cursor})
        seen.extend(one["id"] for one in page["items"])
        if not page["next_cursor"]:
            break
        cursor = page["next_cursor"]
        if len(seen) == 4:
            world.draft(api, type="litigation_case")
    assert len(seen) == len(set(seen))
    assert set(mine) <= set(seen)


def test_a_cursor_is_of_its_query(world: World, api: Api) -> None:
    cursor = api.ask("GET", LIST, params={"limit": 2, "sort": "type"})["next_cursor"]
    assert api.ask("GET", LIST, params={"limit": 5, "sort": "type", "cursor": cursor})["items"]
    for other in ({"sort": "-type"}, {"sort": "type", "state": "draft"}, {"sort": "type", "q": "施工"}, {}):
        api.refused("GET", LIST, 422, "cursor_invalid", "/cursor", params={**other, "cursor": cursor})
    world.company().refused("GET", LIST, 422, "cursor_invalid", "/cursor", params={"sort": "type", "cursor": cursor})
    for nonsense in ("x", "é", "AAAA", cursor[:20], "A" * 88, cursor[:-1] + "*"):
        api.refused("GET", LIST, 422, "cursor_invalid", "/cursor", params={"sort": "type", "cursor": nonsense})
