"""企业业绩 over the whole system: overall information, materials, contract changes, the logic check, submission as a whole."""

from __future__ import annotations

import pytest

from infra.testing import RunningSuite
from tests.e2e.http_world import Api, Json, World

BASE = "/api/v1/performances"
INFORMATION = {
    "section_name": "和平区综合楼一标段",
    "performance_type": "B类",
    "region": "辽宁省沈阳市和平区",
    "funding_source": "国有资金",
    "project_category": "房屋建筑",
    "speciality": "建筑工程",
    "section_no": "LN-2024-0001",
    "construction_nature": "新建",
}


@pytest.fixture(scope="module")
def world(suite: RunningSuite) -> World:
    return World(suite)


def named(api: Api) -> str:
    name: str = api.ask("GET", f"/api/v1/subjects/{api.subject_id}")["name"]
    return name


def papers(holder: str) -> dict[str, dict[str, str]]:
    """What the three required materials state where everything agrees."""
    return {
        "bid_award_notice": {
            "section_name": INFORMATION["section_name"],
            "section_no": "LN-2024-0001",
            "tenderee": "沈阳市和平区城市建设局",
            "winner": holder,
            "award_price": "1200万元",
            "project_manager": "王建国",
            "scale": "12000平方米",
            "issued_on": "2022-03-01",
        },
        "construction_contract": {
            "section_name": INFORMATION["section_name"],
            "employer": "沈阳市和平区城市建设局",
            "contractor": holder,
            "contract_price": "12000000元",
            "project_manager": "王建国",
            "location": "沈阳市和平区",
            "scope": "土建及安装",
            "signed_on": "2022年3月20日",
        },
        "completion_acceptance": {
            "section_name": INFORMATION["section_name"],
            "employer": "沈阳市和平区城市建设局",
            "designer": "辽宁设计院",
            "contractor": holder,
            "project_manager": "王建国",
            "actual_start": "2022-04-01",
            "accepted_on": "2023-10-30",
            "conclusion": "合格",
            "scale": "12000平方米",
        },
    }


def material(world: World, api: Api, performance: str, kind: str, fields: dict[str, str]) -> str:
    return str(world.draft(api, type=kind, performance_id=performance, fields=fields)["id"])


def codes(check: Json) -> list[tuple[str, str]]:
    return [(one["severity"], one["code"]) for one in check["findings"]]


def test_overall_information(world: World) -> None:
    api, stranger = world.company(), world.company()
    api.refused("POST", BASE, 422, "category_unknown", "/category", json={"category": "painting"})
    wrong = {"category": "施工", "performance_type": "Z类", "section_no": "x" * 5000}
    assert {one["pointer"] for one in api.refused("POST", BASE, 422, "value_invalid", json=wrong)["errors"]} == {
        "/performance_type",
        "/section_no",
    }
    made = world.performance(api, category="施工", performance_type="A")
    path = f"{BASE}/{made['id']}"
    assert (made["category"], made["category_label"], made["state"], made["light"]) == ("construction", "施工", "draft", "NONE")
    assert made["performance_type"] == "A类"
    stranger.refused("GET", path, 404, "not_found")
    stranger.refused("PUT", path, 404, "not_found", json=INFORMATION)
    api.refused("PUT", path, 409, "category_fixed", "/category", json={"category": "epc", **INFORMATION})
    stated = api.ask("PUT", path, json=INFORMATION, headers={"If-Match": '"1"'})
    assert {name: stated[name] for name in INFORMATION} == INFORMATION
    assert stated["version"] == 2
    api.refused("PUT", path, 409, "version_conflict", json={}, headers={"If-Match": '"1"'})
    assert api.ask("PUT", path, json={"category": "施工", **INFORMATION})["version"] == 2
    api.refused("POST", f"{path}/submission", 409, "material_missing", "/materials/bid_award_notice")
    other = world.performance(api, category="design", section_name="设计标段")
    listed = api.ask("GET", BASE, params={"limit": 1})
    assert [one["id"] for one in listed["items"]] == [other["id"]]
    assert [one["id"] for one in api.ask("GET", BASE, params={"cursor": listed["next_cursor"]})["items"]] == [made["id"]]
    assert [one["id"] for one in api.ask("GET", BASE, params={"search": "综合楼", "light": "NONE"})["items"]] == [made["id"]]
    assert api.ask("GET", BASE, params={"light": "GREEN"})["items"] == []
    api.ask("POST", f"{BASE}/{other['id']}/discard")
    assert [one["id"] for one in api.ask("GET", BASE)["items"]] == [made["id"]]
    history = api.ask("GET", f"{path}/history")["items"]
    assert [one["type"] for one in history] == ["PerformanceDrafted", "PerformanceInformationStated"]
    assert ("资金来源", "国有资金") in [(one["label"], one["after"]) for one in history[1]["changes"]]


def test_materials_changes_and_check(world: World) -> None:
    api, stranger = world.company(), world.company()
    holder = named(api)
    performance = world.performance(api, **INFORMATION)["id"]
    path = f"{BASE}/{performance}"

    def draft(who: Api, status: int, code: str, **more: str) -> None:
        who.refused("POST", "/api/v1/certificates", status, code, "/performance_id", json={"mode": "MANUAL", **more})

    draft(api, 422, "field_required", type="bid_award_notice")
    draft(stranger, 404, "not_found", type="bid_award_notice", performance_id=performance)
    draft(api, 422, "value_invalid", type="business_license", performance_id=performance)
    draft(api, 409, "performance_not_submitted", type="project_award", performance_id=performance)
    stated = papers(holder)
    ids = {kind: material(world, api, performance, kind, fields) for kind, fields in stated.items()}
    draft(api, 409, "material_exists", type="bid_award_notice", performance_id=performance)
    api.refused("POST", f"/api/v1/certificates/{ids['bid_award_notice']}/submission", 409, "submitted_with_performance")
    told = api.ask("GET", path)
    assert [(row["type"], row["required"], row["certificate_id"]) for row in told["materials"]] == [
        ("bid_award_notice", True, ids["bid_award_notice"]),
        ("construction_contract", True, ids["construction_contract"]),
        ("completion_acceptance", True, ids["completion_acceptance"]),
        ("overall_supplement", False, None),
    ]
    assert api.ask("POST", f"{path}/check")["findings"] == []

    # Class A needs a supporting material with every required one.
    api.ask("PUT", path, json={**INFORMATION, "performance_type": "A类"})
    missing = api.ask("POST", f"{path}/check")["missing_materials"]
    assert [one["supports"] for one in missing] == list(stated)
    material(world, api, performance, "supporting_material", {"supports": "合同"})
    assert len(api.ask("POST", f"{path}/check")["missing_materials"]) == 2
    api.ask("PUT", path, json=INFORMATION)

    # A difference is a warning until a change explains it, and an impossible order of dates blocks.
    contract = f"/api/v1/certificates/{ids['construction_contract']}/fields"
    api.ask("PUT", contract, json={"fields": {"project_manager": "李建国", "contract_price": "1500万元", "signed_on": "2024-01-01"}})
    check = api.ask("POST", f"{path}/check")
    assert codes(check) == [
        ("ERROR", "completion_before_contract"),
        ("WARNING", "price_differs"),
        ("WARNING", "manager_differs"),
        ("WARNING", "manager_differs"),
        ("WARNING", "start_before_contract"),
    ]
    price = next(one for one in check["findings"] if one["code"] == "price_differs")
    assert [(one["certificate_id"], one["label"], one["value"]) for one in price["sources"]] == [
        (ids["bid_award_notice"], "中标价", "12000000.00"),
        (ids["construction_contract"], "签约合同价", "15000000.00"),
    ]
    api.ask("PUT", contract, json={"fields": {"signed_on": "2022-03-20"}})
    changes = f"{path}/contract-changes"
    api.refused("POST", changes, 422, "value_invalid", "/item", json={"item": "colour", "content": "x", "value": "y"})
    api.refused("POST", changes, 422, "value_invalid", "/value", json={"item": "contract_price", "content": "x", "value": "很多钱"})
    stranger.refused("POST", changes, 404, "not_found", json={"item": "contractor", "content": "x", "value": "y"})
    body = {"item": "project_manager", "content": "因工作调动", "value": "王建国", "changed_on": "2022-05-01"}
    made = api.ask("POST", changes, 201, json=body)
    assert (made["label"], made["value"], made["effective"], made["sealed"]) == ("项目经理", "王建国", True, False)
    told = api.ask("GET", path)
    manager = next(one for one in told["contract"] if one["item"] == "project_manager")
    assert (manager["original"], manager["effective"], manager["changed"]) == ("李建国", "王建国", True)
    assert codes(api.ask("POST", f"{path}/check")) == [("WARNING", "price_differs")]
    unready = api.refused("POST", f"{path}/submission", 409, "material_not_ready")
    assert f"/materials/bid_award_notice/{ids['bid_award_notice']}" in [one["pointer"] for one in unready["errors"]]
