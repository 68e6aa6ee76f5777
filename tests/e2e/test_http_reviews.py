"""Push and review over the whole system (operations manual, 五、信息推送核验): reasons, appeals, domains and their reviewers."""

from __future__ import annotations

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
    history = api.ask("GET", f"{path}/history")["items"]
    [appeal] = [one for one in history if one["type"] == "AppealRecorded"]
    assert (appeal["actor"]["kind"], appeal["action"]) == ("account", "申诉")
    assert "以一审判决为准" in appeal["summary"]
