"""Login by 辽易通 (manual 二 (一) 2): the browser shows a QR code, the company's certificate on a phone approves it."""

from __future__ import annotations

import pytest

from demo.company_key import CompanyKey
from infra import devca
from infra.testing import RunningSuite
from tests.e2e.http_world import Api, Json, World


@pytest.fixture(scope="module")
def world(suite: RunningSuite) -> World:
    return World(suite)


def approval(key: CompanyKey, text: str) -> Json:
    return {"certificate": key.pem_chain, "signature": key.sign(text.encode())}


def test_a_phone_approves_and_the_browser_that_began_gets_the_session(world: World, suite: RunningSuite) -> None:
    browser, phone, key = Api(world.url), Api(world.url), world.key()
    asked = browser.ask("POST", "/api/v1/qr-logins", 201, json={})
    path = f"/api/v1/qr-logins/{asked['id']}"
    lines = asked["qr_text"].split("\n")
    assert lines[:2] == ["yunku-qr-login:v1", world.url]
    assert (lines[3], lines[5]) == (asked["id"], asked["number"])
    assert asked["claim"] not in asked["qr_text"]
    taking = {"method": "qr", "qr_login_id": asked["id"], "claim": asked["claim"]}
    assert browser.ask("GET", path) == {"state": "pending", "approved_by": None, "expires_at": asked["expires_at"]}
    browser.refused("POST", "/api/v1/sessions", 409, "qr_login_pending", json=taking)

    # A signature over anything else, or by a certificate that isn't good any more, approves nothing.
    challenge = browser.ask("POST", "/api/v1/ca-challenges", 201)
    phone.refused("POST", f"{path}/approval", 422, "signature_invalid", json=approval(key, challenge["text"]))
    paths = devca.paths(suite.root)
    revoked = CompanyKey(paths.revoked.p12, paths.revoked.password)
    phone.refused("POST", f"{path}/approval", 422, "certificate_revoked", json=approval(revoked, asked["qr_text"]))
    assert browser.ask("GET", path)["state"] == "pending"

    told = phone.ask("POST", f"{path}/approval", json=approval(key, asked["qr_text"]))
    assert browser.ask("GET", path)["approved_by"] == told["approved_by"] == devca.DEMO_COMPANY[0]
    # A second company can't take it over, and whoever photographed the code has no claim.
    second = CompanyKey(paths.second.p12, paths.second.password)
    phone.refused("POST", f"{path}/approval", 401, "challenge_used", json=approval(second, asked["qr_text"]))
    browser.refused("POST", "/api/v1/sessions", 401, "challenge_unknown", json=taking | {"claim": "0" * 64})

    session = browser.ask("POST", "/api/v1/sessions", 201, json=taking)
    browser.refused("POST", "/api/v1/sessions", 401, "challenge_used", json=taking)
    assert browser.ask("GET", path)["state"] == "used"
    browser.token = session["token"]
    world.pick(browser, world.demo["operator"]["subject_id"])
    assert browser.ask("GET", "/api/v1/sessions/current")["method"] == "qr"
    assert browser.ask("GET", "/api/v1/certificates")["items"] is not None


def test_what_never_was_is_refused(world: World) -> None:
    api = Api(world.url)
    missing = "0193f000-0000-7000-8000-000000000000"
    api.refused("GET", f"/api/v1/qr-logins/{missing}", 404, "not_found")
    api.refused("GET", "/api/v1/qr-logins/nonsense", 404, "not_found")
    body = {"method": "qr", "qr_login_id": missing, "claim": "x"}
    api.refused("POST", "/api/v1/sessions", 401, "challenge_unknown", json=body)
    api.refused("POST", f"/api/v1/qr-logins/{missing}/approval", 404, "not_found", json=approval(world.key(), "x"))
