"""What may stand in the register once, or up to a total; on forms of a type that has no print of its own."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

import samples
from infra.testing import RunningSuite
from samples import forms
from samples.facts import make_company
from tests.e2e.http_world import Api, World, eventually


@pytest.fixture(scope="module")
def world(suite: RunningSuite) -> World:
    return World(suite)


def ready(world: World, api: Api, seed: int, *, mode: str = "MANUAL", stated: dict[str, str], **more: Any) -> str:
    """A shareholder's draft with its form, verified GREEN and sealed; its path."""
    known = api.ask("GET", "/api/v1/catalogue")
    kind = next(one for module in known["modules"] for one in module["types"] if one["code"] == "shareholder")
    own = api.ask("GET", f"/api/v1/subjects/{api.subject_id}")
    company = replace(make_company(random.Random(seed)), name=own["name"], uscc=own["uscc"])
    values = forms.fill(kind, company, random.Random(seed)) | stated
    sample = samples.form(kind, values, seed=seed, degradation="good")
    path = f"/api/v1/certificates/{world.draft(api, type=kind['code'], mode=mode, **more)['id']}"
    api.ask("PUT", f"{path}/document", 202, files={"file": ("股东.jpg", sample.bytes, sample.media_type)})
    if mode == "SMART":
        found = eventually(lambda: api.ask("GET", path)["recognition"]["fields"])
        assert {name: one["value"] for name, one in found.items()} == values
    api.ask("PUT", f"{path}/fields", json={"fields": values, "absent": sample.truth["absent"]})
    marks = [{"field": name, "page": page, "box": box} for name, (page, box) in sample.boxes().items()]
    api.ask("PUT", f"{path}/marks", json={"marks": marks})
    assert world.verified(api, path)["light"] == "GREEN"
    world.sealed(api, path)
    return path


def test_a_shareholder_stands_once_and_shares_come_to_a_hundred(world: World) -> None:
    api = world.operator()
    first = ready(world, api, 1, mode="SMART", stated={"holder": "沈阳甲投资有限公司", "ratio": "60"})
    api.ask("POST", f"{first}/submission")
    other = ready(world, api, 2, stated={"holder": "沈阳乙投资有限公司", "ratio": "41"})
    api.refused("POST", f"{other}/submission", 409, "total_exceeded", "/fields/ratio")
    again = ready(world, api, 3, stated={"holder": "沈阳甲投资有限公司", "ratio": "39"})
    api.refused("POST", f"{again}/submission", 409, "entry_exists", "/fields/holder")
    assert api.ask("GET", again)["state"] == api.ask("GET", other)["state"] == "draft"

    number = first.rpartition("/")[2]
    follower = ready(world, api, 4, stated={"holder": "沈阳甲投资有限公司", "ratio": "59"}, supersedes=number)
    assert api.ask("POST", f"{follower}/submission")["state"] == "submitted"
    assert api.ask("GET", first)["state"] == "superseded"
    assert api.ask("POST", f"{other}/submission")["state"] == "submitted"
