"""Push and review over the whole system (operations manual, 五、信息推送核验): reasons, appeals, domains and their reviewers."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from infra.testing import RunningSuite
from tests.e2e.http_world import Api, Json, World, eventually


@pytest.fixture(scope="module")
def world(suite: RunningSuite) -> World:
    return World(suite)


def submitted(world: World, api: Api) -> str:
    """A lawsuit in the register: neither document nor verification nor seal; its path."""
    fields = {"description": "买卖合同纠纷", "occurred_on": "2026-01-05"}
    path = f"/api/v1/certificates/{world.draft(api, type='litigation_case', fields=fields)['id']}"
    api.ask("POST", f"{path}/submission")
    return path


def pushed(api: Api, path: str, reviewer: Api, domain: str) -> str:
    """A push that has reached its domain; its path for the reviewer."""
    push = api.ask("POST", f"{path}/pushes", 201, json={"domain": domain})
    review = f"/api/v1/reviews/{push['id']}"
    eventually(lambda: reviewer.send("GET", review).status_code == 200)
    return review


def in_record(api: Api, path: str, push_state: str) -> Json:
    """The push record's last line, once it says so."""

    def look() -> Json | None:
        line: Json = api.ask("GET", f"{path}/pushes")["items"][-1]
        return line if push_state in (line["state"], (line["appeal"] or {}).get("state")) else None

    return eventually(look)


def test_a_rejection_says_why_by_field_and_is_appealed_once(world: World) -> None:
    api, reviewer, stranger = world.operator(), world.reviewer(), world.company()
    path = submitted(world, api)
    review = pushed(api, path, reviewer, world.demo["reviewer"]["domain"])
    api.refused("POST", f"{review}/appeal", 409, "push_not_rejected", json={"grounds": "请复核"})
    rejection = {"decision": "rejected", "opinion": "日期不符", "reasons": [{"field": "occurred_on", "text": "与判决书不一致"}]}
    wrong = rejection | {"reasons": [{"field": "company_name", "text": "x"}]}
    reviewer.refused("POST", review, 422, "field_unknown", "/reasons/0/field", json=wrong)
    told = reviewer.ask("POST", review, json=rejection)
    assert (told["state"], told["reasons"], told["appeal"]) == ("rejected", rejection["reasons"], None)
    line = in_record(api, path, "rejected")
    assert (line["opinion"], line["reasons"]) == ("日期不符", rejection["reasons"])

    stranger.refused("POST", f"{review}/appeal", 404, "not_found", json={"grounds": "请复核"})
    api.refused("POST", f"{review}/appeal", 422, "field_required", "/grounds", json={"grounds": "  "})
    line = api.ask("POST", f"{review}/appeal", 201, json={"grounds": "以一审判决为准"})
    assert (line["state"], line["appeal"]["state"], line["appeal"]["grounds"]) == ("rejected", "pending", "以一审判决为准")
    assert api.ask("GET", path)["pushes"] == [line]
    api.refused("POST", f"{review}/appeal", 409, "appeal_exists", json={"grounds": "再次申诉"})
    answer = {"decision": "overturned", "opinion": "属实"}
    reviewer.refused("POST", f"{review}/appeal/answer", 403, "appeal_same_reviewer", json=answer)
    api.refused("POST", f"{review}/appeal/answer", 403, "role_missing", json=answer)
    waiting = {"appeal": "pending", "type": "litigation_case", "q": told["unique_code"][:8].lower()}
    assert told["id"] in [one["id"] for one in reviewer.ask("GET", "/api/v1/reviews", params=waiting)["items"]]
    assert reviewer.ask("GET", "/api/v1/reviews", params=waiting | {"q": "100%_"})["items"] == []

    # Another reviewer, whom the administrator lets in and out; what he may, his open session may at once.
    administrator, other = world.administrator(), world.person()
    phone = other.phone
    other.refused("POST", f"{review}/appeal/answer", 403, "role_missing", json=answer)
    reviewers = f"/api/v1/domains/{world.demo['reviewer']['domain']}/reviewers"
    for nobody in (api, reviewer, other):
        nobody.refused("PUT", reviewers, 403, "role_missing", json={"phone": phone})
        nobody.refused("GET", reviewers, 403, "role_missing")
    administrator.refused("PUT", reviewers, 404, "not_found", json={"phone": "19900000000"})
    administrator.refused("PUT", "/api/v1/domains/nowhere/reviewers", 404, "not_found", json={"phone": phone})
    holders = administrator.ask("PUT", reviewers, json={"phone": phone})["items"]
    [holder] = [one for one in holders if one["phone"] == f"{phone[:3]}****{phone[-4:]}"]
    shown = other.ask("GET", review)
    assert (shown["appeal"]["grounds"], shown["marks"], shown["verification"]["state"]) == ("以一审判决为准", [], "none")
    told = other.ask("POST", f"{review}/appeal/answer", json=answer)
    assert (told["state"], told["appeal"]["state"], told["appeal"]["reviewer_id"]) == ("approved", "overturned", holder["account_id"])
    other.refused("POST", f"{review}/appeal/answer", 409, "appeal_not_pending", json=answer)
    line = in_record(api, path, "overturned")
    assert (line["state"], line["appeal"]["opinion"], line["opinion"]) == ("approved", "属实", "日期不符")
    administrator.send("DELETE", f"{reviewers}/{holder['account_id']}")
    other.refused("GET", review, 403, "role_missing")
    assert holder not in administrator.ask("GET", reviewers)["items"]

    history = api.ask("GET", f"{path}/history")["items"]
    [appeal] = [one for one in history if one["type"] == "AppealRecorded"]
    assert (appeal["actor"]["kind"], appeal["action"]) == ("account", "申诉")
    assert "以一审判决为准" in appeal["summary"]


def test_an_administrator_keeps_domains(world: World) -> None:
    api, administrator, domain_id = world.operator(), world.administrator(), f"d-{uuid.uuid4().hex[:12]}"
    asked = {"id": domain_id, "name": "测试领域", "automatic_types": ["business_license"]}
    for nobody in (api, world.reviewer()):
        nobody.refused("POST", "/api/v1/domains", 403, "role_missing", json=asked)
    administrator.refused("POST", "/api/v1/domains", 422, "type_unknown", "/automatic_types/0", json=asked | {"automatic_types": ["x"]})
    administrator.refused("POST", "/api/v1/domains", 422, "value_invalid", "/id", json=asked | {"id": "A.>"})
    made = administrator.ask("POST", "/api/v1/domains", 201, json=asked)
    assert (made["state"], made["push_subject"], made["review_subject"]) == ("active", f"push.{domain_id}", f"review.{domain_id}")
    assert Path(made["credentials_file"]).is_file()
    administrator.refused("POST", "/api/v1/domains", 409, "domain_registered", "/id", json=asked | {"name": "别的领域"})
    path = f"/api/v1/domains/{domain_id}"
    tag = api.send("GET", path).headers["etag"]

    certificate = submitted(world, api)
    api.ask("POST", f"{certificate}/pushes", 201, json={"domain": domain_id})
    change = {"name": "测试领域（停用）", "automatic_types": [], "state": "closed"}
    api.refused("PUT", path, 403, "role_missing", json=change)
    closed = administrator.ask("PUT", path, json=change, headers={"If-Match": tag})
    assert (closed["state"], closed["automatic_types"]) == ("closed", [])
    administrator.refused("PUT", path, 409, "version_conflict", json=change | {"name": "又一名称"}, headers={"If-Match": tag})
    api.refused("POST", f"{submitted(world, api)}/pushes", 409, "domain_closed", "/domain", json={"domain": domain_id})
    assert closed in api.ask("GET", "/api/v1/domains")["items"]

    # What was pushed before is still reviewed; nobody who may act for the company reviews it.
    reviewers, insider = f"{path}/reviewers", world.demo["operator"]["phone"]
    administrator.ask("PUT", reviewers, json={"phone": insider})
    [waiting] = eventually(lambda: api.ask("GET", "/api/v1/reviews", params={"domain": domain_id})["items"])
    api.refused("POST", f"/api/v1/reviews/{waiting['id']}", 403, "reviewer_of_company", json={"decision": "approved"})
    [holder] = administrator.ask("GET", reviewers)["items"]
    assert administrator.send("DELETE", f"{reviewers}/{holder['account_id']}").status_code == 204

    def record() -> list[Json] | None:
        items: list[Json] = administrator.ask("GET", f"{path}/history")["items"]
        return items if items[-1]["type"] == "ReviewerDismissed" else None

    told = eventually(record)
    assert [one["type"] for one in told] == ["DomainRegistered", "DomainChanged", "ReviewerAdmitted", "ReviewerDismissed"]
    assert {one["actor"]["name"] for one in told} == {"周管理"}
    assert {one["label"]: one["after"] for one in told[1]["changes"]} == {
        "名称": "测试领域（停用）",
        "自动核验类型": [],
        "停止接受推送": True,
    }
    api.refused("GET", f"{path}/history", 403, "role_missing")


def test_an_auditor_reads_everything_and_changes_nothing(world: World) -> None:
    api, administrator, auditor = world.operator(), world.administrator(), world.person()
    path = submitted(world, api)
    review = pushed(api, path, world.reviewer(), world.demo["reviewer"]["domain"])
    auditor.refused("GET", path, 404, "not_found")
    auditors = administrator.ask("PUT", "/api/v1/auditors", json={"phone": auditor.phone})["items"]
    [holder] = [one for one in auditors if one["phone"] == f"{auditor.phone[:3]}****{auditor.phone[-4:]}"]
    for readable in (path, f"{path}/history", review, "/api/v1/reviews", "/api/v1/auditors", "/api/v1/domains/ln-bidding/history"):
        auditor.ask("GET", readable)
    auditor.refused("POST", review, 403, "role_missing", json={"decision": "approved"})
    auditor.refused("PUT", "/api/v1/auditors", 403, "role_missing", json={"phone": auditor.phone})
    auditor.refused("POST", f"{path}/pushes", 403, "subject_not_picked", json={"domain": "ln-housing"})
    assert administrator.send("DELETE", f"/api/v1/auditors/{holder['account_id']}").status_code == 204
    auditor.refused("GET", path, 404, "not_found")


def test_a_push_is_withdrawn_and_pushed_again_and_to_several_domains(world: World) -> None:
    api = world.operator()
    path = submitted(world, api)
    first = api.ask("POST", f"{path}/pushes", 201, json={"domain": "ln-bidding"})
    second = api.ask("POST", f"{path}/pushes", 201, json={"domain": "ln-housing"})
    api.refused("POST", f"{path}/pushes", 409, "push_exists", "/domain", json={"domain": "ln-bidding"})
    assert api.send("DELETE", f"{path}/pushes/{first['id']}").status_code in (200, 202)

    def lines() -> dict[str, Json]:
        return {one["id"]: one for one in api.ask("GET", f"{path}/pushes")["items"]}

    eventually(lambda: lines()[first["id"]]["state"] == "withdrawn")
    again = api.ask("POST", f"{path}/pushes", 201, json={"domain": "ln-bidding"})
    record = lines()
    assert [one["number"] for one in record.values()] == [1, 2, 3]
    assert record[second["id"]]["state"] != "withdrawn"
    reviewer, review = world.reviewer(), f"/api/v1/reviews/{again['id']}"
    eventually(lambda: reviewer.send("GET", review).status_code == 200)
    reviewer.ask("POST", review, json={"decision": "rejected", "opinion": "材料不全"})
    in_record(api, path, "rejected")
    api.ask("POST", f"{path}/pushes", 201, json={"domain": "ln-bidding"})
    summaries = [one["summary"] for one in api.ask("GET", f"{path}/history")["items"] if one["type"] == "PushRequested"]
    assert len(summaries) == 4
    assert "辽宁省建设工程招标投标领域" in summaries[0]
