"""Bad input over HTTP: each gets its documented problem with the field that it concerns, and changes nothing."""

from __future__ import annotations

import random
import uuid

import pytest

from infra.testing import RunningSuite
from samples import Sample
from samples.facts import make_company
from tests.e2e.http_world import Api, World
from tests.service.hostile import documents

PNG_BOX = [0.1, 0.1, 0.5, 0.2]


@pytest.fixture(scope="module")
def world(suite: RunningSuite) -> World:
    return World(suite)


@pytest.fixture(scope="module")
def api(world: World) -> Api:
    return world.company()


@pytest.fixture(scope="module")
def sample(world: World, api: Api) -> Sample:
    return world.sample(api)


@pytest.fixture
def path(world: World, api: Api) -> str:
    return f"/api/v1/certificates/{world.draft(api)['id']}"


def unchanged(api: Api, path: str, version: int = 1) -> None:
    assert api.ask("GET", path)["version"] == version


# -- who asks ----------------------------------------------------------------------------------------------------------


def test_sessions_that_are_none(world: World, api: Api) -> None:
    thief = Api(world.url)
    thief.refused("GET", "/api/v1/certificates", 401, "unauthenticated")
    cut = api.token[:-2] + ("aa" if api.token[-2:] != "aa" else "bb")
    for token in (cut, api.token + "x", "x", str(uuid.uuid4()), "x" * 900, api.token.swapcase()):
        thief.token = token
        thief.refused("GET", "/api/v1/certificates", 401, "unauthenticated")
    nobody = world.person()
    nobody.refused("GET", "/api/v1/certificates", 403, "subject_not_picked")
    nobody.refused("GET", "/api/v1/events", 403, "subject_not_picked")
    nobody.refused("POST", "/api/v1/certificates", 403, "subject_not_picked", json={"type": "business_license", "mode": "SMART"})
    choice = {"subject_id": api.subject_id, "subject_type": "BIDDER"}
    nobody.refused("POST", "/api/v1/sessions/current/subject", 403, "not_member", "/subject_id", json=choice)
    api.refused(
        "POST", "/api/v1/sessions/current/subject", 422, "subject_type_unknown", json=choice | {"subject_type": "AGENCY"}
    )
    nobody.refused("GET", f"/api/v1/subjects/{api.subject_id}", 404, "not_found")


def test_registrations_that_are_wrong(world: World) -> None:
    api = Api(world.url)
    api.refused("POST", "/api/v1/phone-codes", 422, "phone_malformed", "/phone", json={"phone": "12345678901"})
    phone = f"137{random.SystemRandom().randrange(10**8):08}"
    asked = {"phone": phone, "code": "000000", "password": "Good-enough-1", "name": "李"}
    api.refused("POST", "/api/v1/accounts", 409, "code_wrong", json=asked)
    code = api.ask("POST", "/api/v1/phone-codes", 201, json={"phone": phone})["code"]
    api.refused("POST", "/api/v1/accounts", 422, "password_weak", "/password", json=asked | {"code": code, "password": "12345678"})
    api.refused("POST", "/api/v1/accounts", 422, "name_malformed", "/name", json=asked | {"code": code, "name": "\x00"})
    answer = api.ask("POST", "/api/v1/accounts", 201, json=asked | {"code": code})
    assert answer["phone"] == f"{phone[:3]}****{phone[-4:]}"
    code = api.ask("POST", "/api/v1/phone-codes", 201, json={"phone": phone})["code"]
    api.refused("POST", "/api/v1/accounts", 409, "phone_registered", json=asked | {"code": code})
    wrong = {"method": "password", "phone": phone, "password": "wrong-Pass-1"}
    api.refused("POST", "/api/v1/sessions", 401, "credentials_wrong", json=wrong)


def test_companies_that_are_wrong(world: World) -> None:
    api = world.person()
    company = make_company(random.SystemRandom())
    asked = {"uscc": company.uscc, "name": company.name, "types": ["BIDDER"]}
    for uscc in ("", "91210102MA0YK000", company.uscc + "1", company.uscc[:-1] + "I", "I" * 18):
        api.refused("POST", "/api/v1/subjects", 422, "uscc_malformed", "/uscc", json=asked | {"uscc": uscc})
    doubtful = asked | {"uscc": company.uscc[:-1] + ("0" if company.uscc[-1] != "0" else "1")}
    api.refused("POST", "/api/v1/subjects", 422, "uscc_check_digit", "/uscc", json=doubtful)
    api.refused("POST", "/api/v1/subjects", 422, "field_required", "/types", json=asked | {"types": []})
    api.refused("POST", "/api/v1/subjects", 422, "subject_type_unknown", "/types", json=asked | {"types": ["KING"]})
    api.refused("POST", "/api/v1/subjects", 422, "name_malformed", "/name", json=asked | {"name": "一"})
    assert api.ask("GET", "/api/v1/sessions/current")["subjects"] == []
    api.ask("POST", "/api/v1/subjects", 201, json=doubtful | {"confirm_uscc": True})
    api.refused("POST", "/api/v1/subjects", 409, "subject_registered", "/uscc", json=doubtful | {"confirm_uscc": True})


# -- another company's -------------------------------------------------------------------------------------------------


def test_another_companys_certificate_is_not_there(world: World, api: Api, path: str, sample: Sample) -> None:
    other = world.company()
    for method, tail, body in (
        ("GET", "", None),
        ("GET", "/history", None),
        ("GET", "/pushes", None),
        ("GET", "/document", None),
        ("GET", "/sealed.pdf", None),
        ("GET", "/pages/1.png", None),
        ("PUT", "/fields", {"fields": {}}),
        ("PUT", "/marks", {"marks": []}),
        ("PUT", "/mode", {"mode": "SMART"}),
        ("POST", "/verification", None),
        ("POST", "/seal/preparation", {"certificate": "x"}),
        ("POST", "/seal", {"preparation_id": "x", "signature": "eA=="}),
        ("POST", "/submission", None),
        ("POST", "/discard", None),
        ("POST", "/pushes", {"domain": world.demo["domains"][0]["id"]}),
        ("DELETE", f"/pushes/{uuid.uuid4()}", None),
    ):
        if body is None:
            other.refused(method, path + tail, 404, "not_found")
        else:
            other.refused(method, path + tail, 404, "not_found", json=body)
    files = {"file": ("a.pdf", sample.bytes, "application/pdf")}
    other.refused("PUT", f"{path}/document", 404, "not_found", files=files)
    unchanged(api, path)
    for nowhere in (str(uuid.uuid4()), "x", "..", "%2e%2e", "'; --"):
        assert other.send("GET", f"/api/v1/certificates/{nowhere}").status_code == 404


def test_reviews_are_the_domains_own(world: World, api: Api) -> None:
    api.refused("GET", "/api/v1/reviews", 403, "role_missing")
    reviewer = world.reviewer()
    for push_id in (str(uuid.uuid4()), "x"):
        reviewer.refused("GET", f"/api/v1/reviews/{push_id}", 404, "not_found")
        reviewer.refused("POST", f"/api/v1/reviews/{push_id}", 404, "not_found", json={"decision": "approved"})
        reviewer.refused("GET", f"/api/v1/reviews/{push_id}/sealed.pdf", 404, "not_found")
    reviewer.refused("GET", "/api/v1/reviews", 422, "value_invalid", "/state", params={"state": "odd"})
    reviewer.refused("GET", "/api/v1/reviews", 422, "cursor_invalid", params={"cursor": "x"})


# -- content -----------------------------------------------------------------------------------------------------------


def test_drafts_that_are_wrong(api: Api) -> None:
    good = {"type": "business_license", "mode": "SMART"}
    for change, code, pointer in (
        ({"type": "driving_licence"}, "type_unknown", "/type"),
        ({"mode": "CLEVER"}, "mode_invalid", "/mode"),
        ({"fields": {"nonsense": "x"}}, "field_unknown", "/fields/nonsense"),
        ({"fields": {"established_on": "yesterday"}}, "value_invalid", "/fields/established_on"),
        ({"fields": {"company_name": "x" * 4001}}, "value_too_long", "/fields/company_name"),
        ({"fields": {"company_name": 7}}, "value_invalid", "/fields/company_name"),
        ({"fields": ["company_name"]}, "value_invalid", "/fields"),
        ({"colour": "red"}, "field_unknown", "/colour"),
    ):
        api.refused("POST", "/api/v1/certificates", 422, code, pointer, json=good | change)
    assert api.ask("GET", "/api/v1/certificates", params={"type": "business_license"})["items"] == []


def test_what_is_wrong_with_a_value_is_said_exactly(api: Api, path: str) -> None:
    told = api.refused("PUT", f"{path}/fields", 422, "value_invalid", "/fields/uscc", json={"fields": {"uscc": "123"}})
    assert told["errors"][0]["message"] == "统一社会信用代码应为18位，现为3位"
    absent = {"fields": {}, "absent": ["company_name"]}
    api.refused("PUT", f"{path}/fields", 422, "field_required", "/absent/0", json=absent)
    unchanged(api, path)


def test_marks_that_are_wrong(world: World, api: Api, sample: Sample) -> None:
    path = f"/api/v1/certificates/{world.draft(api)['id']}"
    mark = {"field": "company_name", "page": 1, "box": PNG_BOX}
    api.refused("PUT", f"{path}/marks", 409, "document_missing", json={"marks": [mark]})
    api.ask("PUT", f"{path}/document", 202, files={"file": ("a.pdf", sample.bytes, "application/pdf")})
    for change, code, pointer in (
        ({"box": [0.5, 0.1, 0.4, 0.2]}, "box_outside_page", "/marks/0/box"),
        ({"box": [0.1, 0.1, 1.1, 0.2]}, "box_outside_page", "/marks/0/box"),
        ({"box": [-0.1, 0.1, 0.5, 0.2]}, "box_outside_page", "/marks/0/box"),
        ({"box": [0.1, 0.1, 0.1, 0.2]}, "box_outside_page", "/marks/0/box"),
        ({"box": [0.1, 0.1, 0.5]}, "value_invalid", "/marks/0/box"),
        ({"box": [0.1, 0.1, 0.5, "x"]}, "value_invalid", "/marks/0/box/3"),
        ({"page": 2}, "page_unknown", "/marks/0/page"),
        ({"page": 0}, "page_unknown", "/marks/0/page"),
        ({"page": 2**40}, "value_invalid", "/marks/0/page"),
        ({"field": "nonsense"}, "field_unknown", "/marks/0/field"),
        ({"field": "is_primary"}, "field_not_markable", "/marks/0/field"),
    ):
        api.refused("PUT", f"{path}/marks", 422, code, pointer, json={"marks": [mark | change]})
    nan = b'{"marks":[{"field":"company_name","page":1,"box":[NaN,0.1,0.5,0.2]}]}'
    api.refused("PUT", f"{path}/marks", 422, "value_invalid", "/marks/0/box/0", content=nan, headers={"Content-Type": "application/json"})
    unchanged(api, path, 2)


def test_documents_that_are_wrong(api: Api, path: str) -> None:
    for name, content, status, code in (
        ("words.pdf", b"only words", 415, "document_not_recognised"),
        ("empty.pdf", b"", 422, "document_empty"),
        ("cut.png", b"\x89PNG\r\n\x1a\n" + b"\x00" * 64, 422, "document_damaged"),
        ("large.png", b"\x89PNG\r\n\x1a\n" + b"\x00" * (20 * 1024 * 1024), 413, "document_too_large"),
        ("locked.pdf", documents.encrypted_pdf(), 422, "document_encrypted"),
        ("long.pdf", documents.many_pages(60), 422, "document_too_many_pages"),
    ):
        api.refused("PUT", f"{path}/document", status, code, files={"file": (name, content, "application/pdf")})
    unchanged(api, path)
    assert api.ask("GET", path)["document"] is None
    for tail in ("/document", "/sealed.pdf", "/pages/1.png"):
        api.refused("GET", path + tail, 404, "not_found")


def test_steps_out_of_order(world: World, api: Api, sample: Sample) -> None:
    path = f"/api/v1/certificates/{world.draft(api)['id']}"
    key = world.key()
    api.refused("POST", f"{path}/verification", 409, "document_missing")
    api.refused("POST", f"{path}/submission", 422, "field_required", "/fields/company_name")
    api.refused("POST", f"{path}/pushes", 409, "not_submitted", json={"domain": world.demo["domains"][0]["id"]})
    api.refused("POST", f"{path}/pushes", 422, "domain_unknown", "/domain", json={"domain": "moon"})
    filled = world.filled(api, sample)
    api.refused("POST", f"{filled}/submission", 409, "verification_missing")
    api.refused("POST", f"{filled}/seal/preparation", 409, "verification_missing", json={"certificate": key.pem_chain})
    api.refused("POST", f"{filled}/seal", 404, "seal_not_prepared", json={"preparation_id": str(uuid.uuid4()), "signature": "eA=="})
    assert world.verified(api, filled)["light"] in ("GREEN", "YELLOW")
    api.refused("POST", f"{filled}/submission", 409, "seal_missing")
    # The demo company's key is not this company's.
    api.refused("POST", f"{filled}/seal/preparation", 422, "certificate_not_holders", json={"certificate": key.pem_chain})
    api.refused("POST", f"{filled}/seal/preparation", 422, "certificate_untrusted", json={"certificate": "no PEM"})
    api.ask("PUT", f"{filled}/fields", json={"fields": {"certificate_no": "D000000000"}})
    api.refused("POST", f"{filled}/submission", 409, "verification_stale")
    api.ask("POST", f"{filled}/discard")
    api.refused("PUT", f"{filled}/fields", 409, "wrong_state", json={"fields": {}})
    files = {"file": ("a.pdf", sample.bytes, "application/pdf")}
    api.refused("PUT", f"{filled}/document", 409, "wrong_state", files=files)


def test_a_verification_need_not_be_waited_for(world: World, api: Api, sample: Sample) -> None:
    path = world.filled(api, sample)
    answer = api.send("POST", f"{path}/verification", params={"wait": 0})
    assert answer.status_code in (200, 202)
    assert answer.json()["state"] in ("running", "delayed", "done")
    for wait in ("61", "-1", "x", "nan", "inf"):
        api.refused("POST", f"{path}/verification", 422, "value_invalid", "/wait", params={"wait": wait})
    world.verified(api, path)


def test_parameters_that_are_wrong(api: Api) -> None:
    for name, value in (("limit", "0"), ("limit", "201"), ("limit", "x"), ("state", "odd"), ("light", "BLUE"), ("module", "x" * 101)):
        told = api.send("GET", "/api/v1/certificates", params={name: value}).json()
        assert [one["pointer"] for one in told["errors"]] == [f"/{name}"], told
    api.refused("GET", "/api/v1/certificates", 422, "cursor_invalid", "/cursor", params={"cursor": "x"})
    api.refused("GET", "/api/v1/events", 422, "value_invalid", "/since", params={"since": "-1"})
