"""到期提醒 over the whole system: noticed, listed, told live, acknowledged."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import httpx
import pytest

from infra.testing import RunningSuite
from tests.e2e.http_world import World, eventually


@pytest.fixture(scope="module")
def world(suite: RunningSuite) -> World:
    return World(suite)


def test_a_company_is_reminded(world: World) -> None:
    api = world.company()
    ends_on = datetime.now(timezone(timedelta(hours=8))).date() + timedelta(days=20)
    fields = {"contact": "王建国", "phone": "13912345678", "valid_until": ends_on.isoformat()}
    made = world.draft(api, type="outside_entry_report", fields=fields)
    path = f"/api/v1/certificates/{made['id']}"
    sample = world.sample(api)
    api.ask("PUT", f"{path}/document", 202, files={"file": ("报送单.pdf", sample.bytes, sample.media_type)})
    with httpx.stream(
        "GET", f"{world.url}/api/v1/events", headers={"Authorization": f"Bearer {api.token}"}, timeout=60, trust_env=False
    ) as stream:
        lines = stream.iter_lines()
        next(lines)
        api.ask("POST", f"{path}/submission")
        assert next(line for line in lines if line == "event: ExpiryNoticed")
    [notice] = eventually(lambda: api.ask("GET", "/api/v1/notices")["items"])
    left = (ends_on - datetime.now(timezone(timedelta(hours=8))).date()).days
    assert (notice["certificate_id"], notice["type"], notice["valid_until"], notice["days_left"], notice["days_before"]) == (
        made["id"],
        "outside_entry_report",
        ends_on.isoformat(),
        left,
        30,
    )
    assert date.fromisoformat(notice["valid_until"]) == ends_on
    assert notice["type_label"]
    [line] = [one for one in api.ask("GET", f"{path}/history")["items"] if one["type"] == "ExpiryNoticed"]
    assert (line["action"], line["actor"]["kind"]) == ("到期提醒", "service")
    assert ends_on.isoformat() in line["summary"]

    own = f"/api/v1/notices/{notice['id']}/acknowledgement"
    world.company().refused("POST", own, 404, "not_found")
    api.refused("POST", "/api/v1/notices/nonsense/acknowledgement", 404, "not_found")
    for _ in range(2):
        api.ask("POST", own, 204)
    assert api.ask("GET", "/api/v1/notices")["items"] == []
    api.refused("GET", "/api/v1/notices", 422, "cursor_invalid", "/cursor", params={"cursor": "x"})
