"""企业业绩 over the whole system: overall information, materials, contract changes, the logic check, submission as a whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from infra.testing import RunningSuite
from samples import pdf
from samples.scene import Scene
from tests.e2e.http_world import Api, Json, World, eventually, id_number

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


MANAGER = "欧阳建业"


def papers(holder: str, manager: str = "王建国") -> dict[str, dict[str, str]]:
    """What the three required materials state where everything agrees."""
    return {
        "bid_award_notice": {
            "section_name": INFORMATION["section_name"],
            "section_no": "LN-2024-0001",
            "tenderee": "沈阳市和平区城市建设局",
            "winner": holder,
            "award_price": "1200万元",
            "project_manager": manager,
            "scale": "12000平方米",
            "issued_on": "2022-03-01",
        },
        "construction_contract": {
            "section_name": INFORMATION["section_name"],
            "employer": "沈阳市和平区城市建设局",
            "contractor": holder,
            "contract_price": "12000000元",
            "project_manager": manager,
            "location": "沈阳市和平区",
            "scope": "土建及安装",
            "signed_on": "2022年3月20日",
        },
        "completion_acceptance": {
            "section_name": INFORMATION["section_name"],
            "employer": "沈阳市和平区城市建设局",
            "designer": "辽宁设计院",
            "contractor": holder,
            "project_manager": manager,
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


# -- submission as a whole ---------------------------------------------------------------------------------------------


def printed(world: World, kind: str, stated: dict[str, str]) -> tuple[bytes, list[Json]]:
    """A born-digital page that prints the values one below the other, and their marks."""
    fields = {one["name"]: one for module in world.operator().ask("GET", "/api/v1/catalogue")["modules"] for one in fields_of(module, kind)}
    scene = Scene(210, 297, lambda width, height, dots: Image.new("RGB", (width, height), "white"))
    scene.centre(105, 30, "竣工资料", 7)
    for number, (name, value) in enumerate(stated.items()):
        label = scene.write(25, 50 + 12 * number, fields[name]["label"] + "：", 4.5)
        scene.value(name, 27 + label.width, 50 + 12 * number, value, 4.5, 150)
    marks = []
    for name, found in scene.value_boxes().items():
        x0, y0, x1, y1 = (round(v / side, 5) for v, side in zip(found[0], (210, 297) * 2, strict=True))
        if fields[name]["takes_mark"]:
            marks.append({"field": name, "page": 1, "box": [x0, y0, x1, y1]})
    return pdf.digital([scene], "竣工资料"), marks


def fields_of(module: Json, kind: str) -> list[Json]:
    return [field for one in module["types"] if one["code"] == kind for field in one["fields"]]


def proved(world: World, api: Api, performance: str, kind: str, stated: dict[str, str]) -> str:
    """A material, verified and sealed; its path. YELLOW: not every DIGITAL field is stated."""
    document, marks = printed(world, kind, stated)
    path = f"/api/v1/certificates/{material(world, api, performance, kind, stated)}"
    api.ask("PUT", f"{path}/document", 202, files={"file": (f"{kind}.pdf", document, "application/pdf")})
    api.ask("PUT", f"{path}/marks", json={"marks": marks})
    verdict = world.verified(api, path)
    assert verdict["light"] == "YELLOW", verdict["fields"]
    world.sealed(api, path)
    return path


def employed(world: World, api: Api, reviewer: Api) -> str:
    """The manager, whose basic information is approved; the id."""
    number = id_number()
    asked = {"source": "typed", "name": MANAGER, "id_no": number, "bound_on": "2020-01-05"}
    person = str(api.ask("POST", "/api/v1/persons", 201, json=asked)["id"])
    stated = {"name": MANAGER, "id_no": number, "issuing_authority": "沈阳市公安局", "valid_term": "2020.01.05-2040.01.05"}
    document, marks = printed(world, "personal_id", stated)
    path = f"/api/v1/certificates/{world.draft(api, type='personal_id', person_id=person, fields=stated)['id']}"
    api.ask("PUT", f"{path}/document", 202, files={"file": ("身份证.pdf", document, "application/pdf")})
    api.ask("PUT", f"{path}/marks", json={"marks": marks})
    assert world.verified(api, path)["light"] in ("GREEN", "YELLOW")
    world.sealed(api, path)
    api.ask("POST", f"{path}/submission")
    push = api.ask("POST", f"{path}/pushes", 201, json={"domain": world.demo["reviewer"]["domain"]})
    approve(reviewer, f"/api/v1/reviews/{push['id']}")
    eventually(lambda: [one for one in api.ask("GET", path)["pushes"] if one["state"] == "approved"])
    return person


def approve(reviewer: Api, review: str) -> None:
    eventually(lambda: reviewer.send("GET", review).status_code == 200)
    if reviewer.ask("GET", review)["state"] == "pending":  # GREEN ones may be approved by rule
        reviewer.ask("POST", review, json={"decision": "approved", "opinion": "属实"})


def test_submitted_pushed_and_changed_as_a_whole(world: World) -> None:
    api, reviewer = world.operator(), world.reviewer()
    stated = papers(named(api), MANAGER)
    stated["construction_contract"]["contract_price"] = "13000000元"
    person, namesake = employed(world, api, reviewer), world.employee(world.company(), name=MANAGER)
    performance = world.performance(api, **INFORMATION)["id"]
    path = f"{BASE}/{performance}"
    own = {kind: proved(world, api, performance, kind, fields) for kind, fields in list(stated.items())[:2]}
    api.refused("POST", f"{path}/submission", 409, "material_missing", "/materials/completion_acceptance")
    own["completion_acceptance"] = proved(world, api, performance, "completion_acceptance", stated["completion_acceptance"])
    assert api.ask("GET", path)["light"] == "YELLOW"
    assert [one["id"] for one in api.ask("GET", BASE, params={"light": "YELLOW"})["items"]] == [performance]

    # The warning is confirmed by its id, and of two that submit at once one does.
    refused = api.refused("POST", f"{path}/submission", 409, "check_unconfirmed")
    assert [one["message"] for one in refused["errors"]] == ["中标价与合同金额不一致：12000000.00元与13000000.00元，且没有合同金额变更记录"]
    assert api.ask("GET", own["bid_award_notice"])["state"] == "draft"
    confirm = {"confirm": [one["id"] for one in api.ask("POST", f"{path}/check")["findings"]]}
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: api.send("POST", f"{path}/submission", json=confirm), range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    told = api.ask("GET", path)
    assert (told["state"], told["light"], told["accepted"]["light"]) == ("submitted", "YELLOW", "YELLOW")
    assert [one["code"] for one in told["accepted"]["confirmed"]] == ["price_differs"]
    for row in told["materials"][:3]:
        now = api.ask("GET", own[row["type"]])
        assert (now["state"], now["unique_code"]) == ("submitted", row["unique_code"])
        assert row["sealed"]
    api.refused("PUT", path, 409, "wrong_state", json={})
    api.refused("POST", f"{path}/contract-changes", 409, "wrong_state", json={"item": "client", "content": "x", "value": "y"})
    api.refused("POST", f"{own['completion_acceptance']}/supplement", 409, "performance_not_open")

    # An award needs it, and must name its section.
    award = world.draft(api, type="project_award", performance_id=performance)
    assert award["fields"]["section_name"] == INFORMATION["section_name"]
    api.ask("PUT", f"/api/v1/certificates/{award['id']}/fields", json={"fields": {"section_name": "别的标段"}})
    api.refused("POST", f"/api/v1/certificates/{award['id']}/submission", 409, "section_unknown", "/fields/section_name")

    # Reopened: what is changed is given up, or submitted as the next version.
    assert api.ask("POST", f"{path}/supplement")["reopened"]
    api.ask("POST", f"{own['completion_acceptance']}/supplement")
    api.ask("PUT", path, json={**INFORMATION, "region": "辽宁省"})
    given_up = api.ask("POST", f"{path}/discard")
    assert (given_up["reopened"], given_up["region"]) == (False, INFORMATION["region"])
    assert not api.ask("GET", own["completion_acceptance"])["supplementing"]
    api.ask("POST", f"{path}/supplement")
    change = {"item": "contract_price", "content": "核减", "value": "1200万元"}
    proof = f"/api/v1/certificates/{api.ask('POST', f'{path}/contract-changes', 201, json=change)['certificate_id']}"
    api.refused("POST", f"{path}/submission", 409, "material_not_ready")
    document, _ = printed(world, "construction_contract", stated["construction_contract"])
    api.ask("PUT", f"{proof}/document", 202, files={"file": ("变更.pdf", document, "application/pdf")})
    world.sealed(api, proof)
    second = api.ask("POST", f"{path}/submission")
    assert second["accepted"]["version"] == second["version"] > told["version"]
    assert (second["unique_code"], len(second["accepted"]["materials"])) == (told["unique_code"], 4)
    assert second["accepted"]["confirmed"] == []

    # A pending push is taken back whole.
    asked = {"domain": world.demo["domains"][-1]["id"]}
    taken_back = api.ask("POST", f"{path}/pushes", 201, json=asked)["id"]
    api.ask("DELETE", f"{path}/pushes/{taken_back}", 202)
    eventually(lambda: api.ask("GET", f"{path}/pushes")["items"][0]["state"] == "withdrawn")

    # Pushed in one go; approved once all are.
    domain = world.demo["reviewer"]["domain"]
    push = api.ask("POST", f"{path}/pushes", 201, json={"domain": domain})
    assert (push["state"], len(push["materials"])) == ("pending", 4)
    api.refused("POST", f"{path}/pushes", 409, "push_exists", "/domain", json={"domain": domain})
    for one in push["materials"]:
        approve(reviewer, f"/api/v1/reviews/{one['push_id']}")
    eventually(lambda: api.ask("GET", f"{path}/pushes")["items"][-1]["state"] == "approved")

    # It is the manager's now, and nobody else's; unbound, the company sees it there no more.
    tied = f"/api/v1/persons/{person}"
    assert [one["id"] for one in api.ask("GET", f"{tied}/performances")["items"]] == [performance]
    assert api.ask("GET", f"{tied}/awards")["items"] == []
    api.refused("GET", f"/api/v1/persons/{namesake['id']}/performances", 404, "not_found")
    world.company().refused("GET", f"{tied}/performances", 404, "not_found")
    another = world.employee(api, name=MANAGER)["id"]
    for one in (another, person):  # two of one name, and no number that tells them apart
        assert api.ask("GET", f"/api/v1/persons/{one}/performances")["items"] == []
    api.ask("POST", f"/api/v1/persons/{another}/unbinding")
    assert [one["id"] for one in api.ask("GET", f"{tied}/performances")["items"]] == [performance]
    api.ask("POST", f"{tied}/unbinding")
    assert api.ask("GET", f"{tied}/performances")["items"] == []
    assert [one["type"] for one in api.ask("GET", f"{path}/history")["items"]] == [
        "PerformanceDrafted",
        "PerformanceSubmitted",
        "PerformanceReopened",
        "PerformanceInformationStated",
        "PerformanceReopeningAbandoned",
        "PerformanceReopened",
        "PerformanceSubmitted",
        "PerformancePushRequested",
        "PerformancePushRequested",
    ]
