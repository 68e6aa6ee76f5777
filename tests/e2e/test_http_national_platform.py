"""同步全国建筑市场监管公共服务平台数据 over the whole system (manual 三 (二) 1)."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from infra.testing import RunningSuite
from tests.e2e.http_world import World

ROWS = "/api/v1/national-platform/qualifications"


@pytest.fixture(scope="module")
def world(suite: RunningSuite) -> World:
    return World(suite)


@pytest.fixture
def platform(suite: RunningSuite) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{suite.home.ports['national_platform']}", trust_env=False) as client:
        yield client
        client.put("/dev/fault", json={"fault": "none"}).raise_for_status()


def test_a_companys_qualifications_are_taken_over(world: World) -> None:
    api = world.company()
    own = api.ask("GET", f"/api/v1/subjects/{api.subject_id}")
    listing = api.ask("GET", ROWS)
    first = listing["items"][0]
    assert (first["primary"], first["certificate_id"], listing["faults"]) == (True, None, [])
    assert first["name"].startswith("建筑业企业资质证书-")
    assert first["level"]
    assert first["valid_until"]

    wanted = [row["id"] for row in listing["items"]]
    taken = api.ask("POST", f"{ROWS}/takeover", json={"items": wanted}, headers={"Idempotency-Key": "take"})
    assert [(one["id"], one["created"]) for one in taken["items"]] == [(row, True) for row in wanted]
    made = taken["items"][0]["certificate"]
    assert (made["type"], made["state"], made["light"], made["mode"], made["sealed"]) == (
        "construction_qualification",
        "draft",
        "NONE",
        "MANUAL",
        False,
    )
    path = f"/api/v1/certificates/{made['id']}"
    whole = api.ask("GET", path)
    assert whole["fields"] == first["fields"]
    assert (whole["fields"]["uscc"], whole["fields"]["company_name"]) == (own["uscc"], own["name"])
    provenance = whole["provenance"]
    assert (provenance["source"], provenance["source_id"]) == ("national_platform/qualifications", first["id"])
    assert provenance["answer_sha256"] == listing["answer_sha256"]  # asked anew, and the platform said the same
    assert provenance["row"]["name"] == first["name"]
    [line] = api.ask("GET", f"{path}/history")["items"]
    assert "全国建筑市场监管公共服务平台" in line["summary"]
    assert "provenance" in [change["path"] for change in line["changes"]]
    # It is a draft like any other: nothing of what a submission needs came along.
    api.refused("POST", f"{path}/submission", 422, "field_required", "/fields/category_and_level")
    api.refused("POST", f"{path}/verification", 409, "document_missing")

    # Once more, by another key and beside the first: the same drafts.
    assert api.ask("POST", f"{ROWS}/takeover", json={"items": wanted}, headers={"Idempotency-Key": "take"}) == taken
    again = api.ask("POST", f"{ROWS}/takeover", json={"items": wanted[:1]})
    assert [(one["created"], one["certificate"]["id"]) for one in again["items"]] == [(False, made["id"])]
    assert [row["certificate_id"] for row in api.ask("GET", ROWS)["items"]] == [one["certificate"]["id"] for one in taken["items"]]
    # Discarded, the row is free again.
    api.ask("POST", f"{path}/discard")
    assert api.ask("GET", ROWS)["items"][0]["certificate_id"] is None
    fresh = api.ask("POST", f"{ROWS}/takeover", json={"items": wanted[:1]})["items"][0]
    assert fresh["created"]
    assert fresh["certificate"]["id"] != made["id"]


def test_refusals_and_a_platform_that_is_away(world: World, platform: httpx.Client) -> None:
    api = world.company()
    rows = api.ask("GET", ROWS)["items"]
    api.refused("POST", f"{ROWS}/takeover", 422, "platform_row_unknown", "/items/1", json={"items": [rows[0]["id"], "no-such"]})
    assert api.ask("GET", "/api/v1/certificates")["items"] == []  # all or none
    api.refused("POST", f"{ROWS}/takeover", 422, "value_invalid", "/items", json={"items": []})
    api.refused("POST", f"{ROWS}/takeover", 422, "value_invalid", "/items", json={"items": [rows[0]["id"]] * 2})
    api.refused("GET", ROWS, 401, "unauthenticated", headers={"Authorization": ""})
    world.person().refused("GET", ROWS, 403, "subject_not_picked")

    platform.put("/dev/fault", json={"fault": "wrong_rows"}).raise_for_status()
    listing = api.ask("GET", ROWS)
    assert listing["items"] == rows
    assert {"row_malformed", "not_holders", "certificate_unknown", "value_unusable"} <= {fault["code"] for fault in listing["faults"]}
    assert all(fault["message"] for fault in listing["faults"])
    api.refused("POST", f"{ROWS}/takeover", 422, "platform_row_unusable", "/items/0", json={"items": ["w-4"]})
    platform.put("/dev/fault", json={"fault": "busy"}).raise_for_status()
    answer = api.send("GET", ROWS)
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "national_platform_unavailable", "77")
    platform.put("/dev/fault", json={"fault": "garbage"}).raise_for_status()
    api.refused("POST", f"{ROWS}/takeover", 503, "national_platform_unusable", json={"items": [rows[0]["id"]]})


def test_a_persons_registrations_are_taken_over(world: World) -> None:
    api, path = world.company(), "/api/v1/national-platform/registrations"
    person = world.employee(api)
    while person["id_no"].endswith("0"):  # of whom the counterpart knows nothing
        person = world.employee(api)
    asked = {"person_id": person["id"]}
    rows = api.ask("GET", path, params=asked)["items"]
    assert rows
    assert all(row["fields"]["name"] == person["name"] and row["certificate_id"] is None for row in rows)
    taken = api.ask("POST", f"{path}/takeover", params=asked, json={"items": [rows[0]["id"]]})["items"][0]
    made = api.ask("GET", f"/api/v1/certificates/{taken['certificate']['id']}")
    assert (made["type"], made["person_id"], made["state"], made["mode"], made["seal"], made["light"]) == (
        rows[0]["type"],
        person["id"],
        "draft",
        "MANUAL",
        None,
        "NONE",
    )
    assert made["provenance"]["source"] == "national_platform/registrations"
    assert person["id_no"] not in str(made)
    again = api.ask("POST", f"{path}/takeover", params=asked, json={"items": [rows[0]["id"]]})["items"][0]
    assert (again["created"], again["certificate"]["id"]) == (False, made["id"])
    assert api.ask("GET", path, params=asked)["items"][0]["certificate_id"] == made["id"]
    # A stranger's person is as good as none.
    world.company().refused("GET", path, 422, "person_unknown", "/person_id", params=asked)
    api.refused("GET", path, 422, "person_unknown", "/person_id", params={"person_id": "nonsense"})
