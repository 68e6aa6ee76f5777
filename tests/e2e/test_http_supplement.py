"""补充完善 over the whole system: a YELLOW certificate is completed, becomes GREEN, and is locked."""

from __future__ import annotations

from hashlib import sha256

import pytest

from infra.testing import RunningSuite
from tests.e2e.http_world import World, eventually


@pytest.fixture(scope="module")
def world(suite: RunningSuite) -> World:
    return World(suite)


def test_a_yellow_certificate_is_completed(world: World) -> None:
    api = world.operator()
    sample = world.sample(api)
    path = world.filled(api, sample)
    right = api.ask("GET", path)["fields"]["legal_rep_name"]
    api.ask("PUT", f"{path}/fields", json={"fields": {"legal_rep_name": "欧阳不符"}})
    assert world.verified(api, path)["light"] == "YELLOW"
    world.sealed(api, path)
    first = api.ask("POST", f"{path}/submission")
    assert first["accepted"]["light"] == "YELLOW"

    # The light may be contested, once; it stays, and reviewers read why.
    api.refused("POST", f"{path}/light-objection", 422, "field_required", "/grounds", json={"grounds": " "})
    contested = api.ask("POST", f"{path}/light-objection", json={"grounds": "法定代表人已变更，电话13912345678"})
    assert (contested["light"], contested["accepted"]["objection"]["grounds"]) == ("YELLOW", "法定代表人已变更，电话13912345678")
    api.refused("POST", f"{path}/light-objection", 409, "objection_exists", json={"grounds": "再次"})
    push = api.ask("POST", f"{path}/pushes", 201, json={"domain": world.demo["reviewer"]["domain"]})
    reviewer, review = world.reviewer(), f"/api/v1/reviews/{push['id']}"
    eventually(lambda: reviewer.send("GET", review).status_code == 200)
    shown = reviewer.ask("GET", review)
    assert shown["objection"] == "法定代表人已变更，电话139****5678"
    assert shown["verification"]["fields"]["legal_rep_name"]["verdict"] == "MISMATCH"
    first = contested

    opened = api.ask("POST", f"{path}/supplement")
    assert (opened["supplementing"], opened["state"], opened["seal"], opened["light"]) == (True, "submitted", None, "NONE")
    assert opened["accepted"] == first["accepted"]
    api.refused("PUT", f"{path}/fields", 409, "key_field_locked", "/fields/company_name", json={"fields": {"company_name": "别家公司"}})
    api.refused("POST", f"{path}/submission", 409, "verification_stale")
    given_up = api.ask("POST", f"{path}/discard")
    assert (given_up["supplementing"], given_up["fields"], given_up["seal"]) == (False, first["fields"], first["seal"])

    api.ask("POST", f"{path}/supplement")
    api.ask("PUT", f"{path}/fields", json={"fields": {"legal_rep_name": right}})
    assert world.verified(api, path)["light"] == "GREEN"
    world.sealed(api, path)
    second = api.ask("POST", f"{path}/submission")
    assert (second["unique_code"], second["light"], second["supplementing"]) == (first["unique_code"], "GREEN", False)
    assert second["accepted"]["version"] == second["version"] > first["version"]
    api.refused("POST", f"{path}/supplement", 409, "light_green_locked")
    assert second["accepted"]["objection"] is None
    api.refused("POST", f"{path}/light-objection", 409, "light_not_contestable", json={"grounds": "异议"})
    # Of the first push the reviewer still sees the first version, with its verdict.
    again = reviewer.ask("GET", review)
    assert (again["version"], again["verification"]) == (shown["version"], shown["verification"])
    history = api.ask("GET", f"{path}/history")["items"]
    begun = [one["type"] for one in history if one["type"].startswith("Suppl")]
    assert begun == ["SupplementBegun", "SupplementAbandoned", "SupplementBegun"]

    one, two = api.ask("GET", f"{path}/versions")["items"]
    assert (one["number"], one["version"], one["light"], one["changes"]) == (1, first["version"], "YELLOW", [])
    assert (two["number"], two["version"], two["light"]) == (2, second["version"], "GREEN")
    assert two["before"] == {"certificate_id": second["id"], "version": first["version"]}
    changed = {change["path"]: (change["before"], change["after"]) for change in two["changes"]}
    assert changed == {"fields.legal_rep_name": ("欧阳不符", right), "light": ("YELLOW", "GREEN")}
    assert one["seal"]["sha256"] != two["seal"]["sha256"]
    for version in (one, two):
        sealed = api.send("GET", f"{path}/versions/{version['number']}/sealed.pdf")
        assert sha256(sealed.content).hexdigest() == version["seal"]["sha256"]
        uploaded = api.send("GET", f"{path}/versions/{version['number']}/document")
        assert sha256(uploaded.content).hexdigest() == version["document"]["sha256"]
    api.refused("GET", f"{path}/versions/3/document", 404, "not_found")
