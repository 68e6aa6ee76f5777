"""The nine modules over HTTP: every certificate type can be begun, and those without verification live to the review."""

from __future__ import annotations

from typing import Any

import pytest

from infra.testing import RunningSuite
from tests.e2e.http_world import World, eventually

#: A value that each kind of field takes, as users type it.
VALUES = {"string": "资料", "long": "一段说明", "person": "王建国", "org": "沈阳云库建设有限公司", "phone": "13900000001"}
DATES = {"date": "2028-05-01", "date_or_long": "长期"}


@pytest.fixture(scope="module")
def world(suite: RunningSuite) -> World:
    return World(suite)


def types(world: World) -> list[dict[str, Any]]:
    known = world.operator().ask("GET", "/api/v1/catalogue")
    assert [module["number"] for module in known["modules"]] == list(range(1, 10))
    return [one for module in known["modules"] for one in module["types"]]


def filled(one: dict[str, Any]) -> dict[str, str]:
    stated = {}
    for field in one["fields"]:
        if field["required"]:
            stated[field["name"]] = field["choices"][0] if field["choices"] else (VALUES | DATES)[field["type"]]
    return stated


def test_every_type_can_be_begun_in_each_of_its_modes(world: World) -> None:
    api = world.company()
    person = world.employee(api)["id"]
    for one in types(world):
        if one["code"] == "project_award":
            continue  # needs a submitted performance: test_http_performances.py
        for mode in one["modes"]:
            more = {"performance_id": world.performance(api)["id"]} if one["owner"] == "performance" else {}
            if one["owner"] == "person":
                more = {"person_id": person}
            drafted = world.draft(api, type=one["code"], mode=mode, **more)
            assert (drafted["type"], drafted["mode"], drafted["light"], drafted["state"]) == (one["code"], mode, "NONE", "draft")
    listed = api.ask("GET", "/api/v1/certificates", params={"module": "persons", "limit": 200})["items"]
    assert {item["type"] for item in listed} == {one["code"] for one in types(world) if one["module"] == "persons"}


def test_types_without_verification_are_submitted_by_what_they_have(world: World) -> None:
    api = world.operator()
    pdf = world.sample(api).bytes
    # Those of performances are submitted with their performance: test_http_performances.py.
    unverified = [one for one in types(world) if not one["verification"] and one["owner"] != "performance"]
    assert len(unverified) >= 9
    for one in unverified:
        path = f"/api/v1/certificates/{world.draft(api, type=one['code'], fields=filled(one))['id']}"
        if any(document["required"] for document in one["documents"]):
            api.refused("POST", f"{path}/submission", 409, "document_missing")
            api.ask("PUT", f"{path}/document", 202, files={"file": ("材料.pdf", pdf, "application/pdf")})
        if one["sealed"]:
            api.refused("POST", f"{path}/submission", 409, "seal_missing")
            world.sealed(api, path)
        else:
            api.refused("POST", f"{path}/seal/preparation", 409, "wrong_state", json={"certificate": world.key().pem_chain})
        submitted = api.ask("POST", f"{path}/submission")
        assert (submitted["state"], submitted["light"], bool(submitted["unique_code"])) == ("submitted", "NONE", True)
        assert (submitted["seal"] is not None) == one["sealed"]


def test_a_lawsuit_without_document_and_seal_is_pushed_and_reviewed(world: World) -> None:
    api, reviewer = world.operator(), world.reviewer()
    fields = {"description": "买卖合同纠纷", "occurred_on": "2026-01-05"}
    path = f"/api/v1/certificates/{world.draft(api, type='litigation_case', fields=fields)['id']}"
    api.ask("POST", f"{path}/submission")
    push = api.ask("POST", f"{path}/pushes", 201, json={"domain": world.demo["reviewer"]["domain"]})
    eventually(lambda: reviewer.send("GET", f"/api/v1/reviews/{push['id']}").status_code == 200)
    reviewer.ask("POST", f"/api/v1/reviews/{push['id']}", json={"decision": "approved", "opinion": "属实"})
    eventually(lambda: [one for one in api.ask("GET", path)["pushes"] if one["state"] == "approved"])
