"""Certificates that follow one another, over the whole system; and a seal that is over a former verification."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infra.testing import RunningSuite
from tests.e2e.http_world import Api, World

CASE = {"description": "买卖合同纠纷", "occurred_on": "2026-01-05"}


@pytest.fixture(scope="module")
def world(suite: RunningSuite) -> World:
    return World(suite)


def case(world: World, api: Api, **more: Any) -> str:
    """A lawsuit's draft: no document, no verification, no seal; its path."""
    return f"/api/v1/certificates/{world.draft(api, type='litigation_case', fields=CASE, **more)['id']}"


def number(path: str) -> str:
    return path.rpartition("/")[2]


def test_a_certificate_is_followed_by_another(world: World) -> None:
    api = world.company()
    former = case(world, api)
    asked = {"type": "litigation_case", "mode": "MANUAL", "fields": CASE, "supersedes": number(former)}
    api.refused("POST", "/api/v1/certificates", 409, "not_submitted", "/supersedes", json=asked)
    code = api.ask("POST", f"{former}/submission")["unique_code"]
    api.refused("POST", "/api/v1/certificates", 404, "not_found", "/supersedes", json=asked | {"supersedes": "x"})
    world.company().refused("POST", "/api/v1/certificates", 404, "not_found", "/supersedes", json=asked)
    other = {"type": "ongoing_project", "mode": "MANUAL", "supersedes": number(former)}
    api.refused("POST", "/api/v1/certificates", 422, "supersedes_other", "/supersedes", json=other)

    first = case(world, api, supersedes=number(former))
    api.refused("POST", "/api/v1/certificates", 409, "successor_exists", "/supersedes", json=asked)
    api.refused("POST", f"{former}/supplement", 409, "successor_exists")
    assert api.ask("GET", former)["successor_id"] == number(first)
    api.ask("POST", f"{first}/discard")
    assert api.ask("GET", former)["successor_id"] is None

    second = case(world, api, supersedes=number(former))
    drafted = api.ask("GET", second)
    assert (drafted["predecessor_id"], drafted["state"]) == (number(former), "draft")
    domain = world.demo["reviewer"]["domain"]
    assert api.ask("GET", former)["state"] == "submitted"
    api.ask("POST", f"{former}/pushes", 201, json={"domain": domain})  # it stands until it is followed
    api.ask("POST", f"{second}/submission")
    ended = api.ask("GET", former)
    assert (ended["state"], ended["successor_id"], ended["unique_code"]) == ("superseded", number(second), code)
    for method, path, body in (
        ("POST", f"{former}/supplement", None),
        ("POST", f"{former}/pushes", {"domain": world.demo["domains"][-1]["id"]}),
        ("POST", f"{former}/discard", None),
        ("PUT", f"{former}/fields", {"fields": {"description": "别的"}}),
    ):
        api.refused(method, path, 409, "certificate_superseded", json=body)
    api.refused("POST", "/api/v1/certificates", 409, "certificate_superseded", "/supersedes", json=asked)
    told = [one["type"] for one in api.ask("GET", f"{former}/history")["items"]]
    assert [one for one in told if one.startswith("Su")] == [
        "Submitted",
        "SuccessorBegun",
        "SuccessorReleased",
        "SuccessorBegun",
        "Superseded",
    ]
    versions = api.ask("GET", f"{second}/versions")
    assert (versions["predecessor_id"], versions["successor_id"], versions["state"]) == (number(former), None, "submitted")
    (only,) = versions["items"]
    assert (only["number"], only["before"]["certificate_id"], only["changes"]) == (1, number(former), [])
    # The chain goes on: the second is followed in its turn.
    third = case(world, api, supersedes=number(second))
    api.ask("PUT", f"{third}/fields", json={"fields": {"description": "建设工程合同纠纷", "case_no": "（2026）辽01民初1号"}})
    api.ask("POST", f"{third}/submission")
    assert api.ask("GET", second)["state"] == "superseded"
    (only,) = api.ask("GET", f"{third}/versions")["items"]
    assert [(one["path"], one["before"], one["after"]) for one in only["changes"]] == [
        ("fields.case_no", None, "(2026)辽01民初1号"),
        ("fields.description", "买卖合同纠纷", "建设工程合同纠纷"),
    ]
    world.company().refused("GET", f"{third}/versions", 404, "not_found")
    assert api.ask("GET", former)["successor_id"] == number(second)


def test_of_many_at_once_one_follows_and_the_same_command_is_one(world: World) -> None:
    api = world.company()
    former = case(world, api)
    api.ask("POST", f"{former}/submission")
    asked = {"type": "litigation_case", "mode": "MANUAL", "fields": CASE, "supersedes": number(former)}

    def begin(key: str) -> tuple[int, str]:
        own = Api(api.url, api.token)
        answer = own.send("POST", "/api/v1/certificates", json=asked, headers={"Idempotency-Key": key})
        return answer.status_code, answer.json().get("id", answer.json().get("code"))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(begin, ["same", "a", "same", "b", "same", "c", "same", "d"]))
    made = {told for status, told in answers if status == 201}
    assert len(made) == 1, answers
    assert {told for status, told in answers if status != 201} <= {"successor_exists"}
    if answers[0][0] == 201:
        assert [answers[n][1] for n in (0, 2, 4, 6)] == [answers[0][1]] * 4
    assert api.ask("GET", former)["successor_id"] == made.pop()


def test_a_seal_that_was_prepared_before_another_verification_is_refused(world: World) -> None:
    api = world.operator()
    path = world.filled(api, world.sample(api))
    assert world.verified(api, path)["light"] == "GREEN"
    key = world.key()
    prepared = api.ask("POST", f"{path}/seal/preparation", 201, json={"certificate": key.pem_chain})
    assert world.verified(api, path)["light"] == "GREEN"
    signature = key.sign(base64.b64decode(prepared["to_sign"]))
    api.refused("POST", f"{path}/seal", 409, "seal_outdated", json={"preparation_id": prepared["id"], "signature": signature})
    assert api.ask("GET", path)["seal"] is None
    sealed = world.sealed(api, path)
    assert len(sealed["seal"]["statement_sha256"]) == 64
