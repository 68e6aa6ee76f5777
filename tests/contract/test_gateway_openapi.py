"""docs/openapi.json is what the code makes, and says all of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.gateway import app, openapi
from tests.contract.openapi_schema import errors, operation_of, resolve, response_errors

KEPT = Path(__file__).parents[2] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(openapi.text())
    return made


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, one) for path, methods in document["paths"].items() for method, one in methods.items()]


def test_the_kept_document_is_the_codes() -> None:
    assert KEPT.read_text("utf-8") == openapi.text(), "run: python -m services.gateway.openapi > docs/openapi.json"


def test_every_route_is_documented(document: dict[str, Any]) -> None:
    application = app.create(None)
    known = {(path, method) for path, method, _ in operations(document)}
    routed = set()
    for route in _routes(application.routes):
        path, methods = getattr(route, "path", ""), getattr(route, "methods", None) or ()
        routed |= {(path, method.lower()) for method in methods if method not in ("HEAD", "OPTIONS")}
    assert {one for one in routed if one[0].startswith("/api/v1/")} <= known | {("/api/openapi.json", "get")}
    assert ("/api/v1/certificates/{certificate_id}/pages/{number}.png", "get") in known
    assert len(known) >= 38


def _routes(routes: Any) -> Any:
    for route in routes:
        inner = getattr(route, "routes", None)
        if inner:
            yield from _routes(inner)
        else:
            yield route


def test_operations_are_named_once_and_described(document: dict[str, Any]) -> None:
    names = [one["operationId"] for _, _, one in operations(document)]
    assert len(names) == len(set(names))
    assert all(one.get("description") for _, _, one in operations(document))


def test_refusals_are_problems_and_nothing_else(document: dict[str, Any]) -> None:
    seen = 0
    for path, method, one in operations(document):
        for status, answer in one["responses"].items():
            if int(status) >= 400 and path.startswith("/api/"):
                seen += 1
                assert set(answer["content"]) == {"application/problem+json"}, (path, method, status)
                assert answer["content"]["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert seen > 200


def test_everything_but_the_door_asks_for_a_session(document: dict[str, Any]) -> None:
    open_ = {one["operationId"] for path, _, one in operations(document) if path.startswith("/api/") and "security" not in one}
    assert open_ == {
        "ask_for_phone_code", "register_account", "ask_for_challenge", "log_in", "renew_session", "get_catalogue", "demo",
        "ask_for_qr_login", "get_qr_login", "approve_qr_login", "check_unique_code", "get_status_list", "list_keys",
    }  # fmt: skip
    for path, _, one in operations(document):
        if "security" in one:
            assert "401" in one["responses"], path


def test_posts_take_an_idempotency_key_and_writes_of_certificates_if_match(document: dict[str, Any]) -> None:
    for path, method, one in operations(document):
        headers = {parameter["name"] for parameter in one.get("parameters", ()) if parameter["in"] == "header"}
        assert ("Idempotency-Key" in headers) == (method == "post"), (path, method)
        if method == "put" and not path.endswith(("/reviewers", "/auditors", "/members/{account_id}")):  # who holds a role has no version
            assert "If-Match" in headers, path


def test_answers_are_closed(document: dict[str, Any]) -> None:
    """No answer has a member that isn't documented, and none that may be left out: clients can rely on the types."""
    for name, schema in document["components"]["schemas"].items():
        if schema.get("type") != "object" or name.endswith("Request") or name in ("Demo", "PasswordLogin", "KeyLogin", "SealPlace"):
            continue
        assert schema.get("additionalProperties") is False, name
        assert set(schema["required"]) == set(schema["properties"]), name


def test_what_http_api_md_promises_is_there(document: dict[str, Any]) -> None:
    promised = """POST /api/v1/phone-codes
        POST /api/v1/accounts
        POST /api/v1/sessions
        POST /api/v1/ca-challenges
        POST /api/v1/sessions/current/subject
        DELETE /api/v1/sessions/current
        POST /api/v1/subjects
        GET /api/v1/subjects/x
        GET /api/v1/catalogue
        POST /api/v1/certificates
        PUT /api/v1/certificates/x/document
        GET /api/v1/certificates/x
        GET /api/v1/certificates/x/pages/1.png
        GET /api/v1/certificates/x/document
        GET /api/v1/certificates/x/sealed.pdf
        PUT /api/v1/certificates/x/fields
        PUT /api/v1/certificates/x/marks
        POST /api/v1/certificates/x/verification
        POST /api/v1/certificates/x/seal/preparation
        POST /api/v1/certificates/x/seal
        POST /api/v1/certificates/x/submission
        POST /api/v1/certificates/x/supplement
        POST /api/v1/certificates/x/discard
        POST /api/v1/certificates/x/pushes
        GET /api/v1/certificates/x/pushes
        DELETE /api/v1/certificates/x/pushes/y
        GET /api/v1/certificates/x/history
        GET /api/v1/certificates
        GET /api/v1/events
        GET /api/v1/domains
        GET /api/v1/reviews
        POST /api/v1/reviews/x
        GET /healthz
        GET /readyz
        GET /api/v1/demo"""
    for line in promised.splitlines():
        method, path = line.split()
        assert operation_of(method, path, document) is not None, line


def test_the_validator_finds_what_is_wrong(document: dict[str, Any]) -> None:
    schema = resolve("#/components/schemas/Problem", document)
    good = {
        "type": "urn:yunku:problem:not_found", "title": "未找到", "status": 404, "code": "not_found", "detail": None,
        "errors": [{"pointer": "/x", "code": "value_invalid", "message": "…"}], "correlation_id": "c",
    }  # fmt: skip
    assert list(errors(good, schema, document)) == []
    wrong: list[dict[str, Any]] = [{"status": "404"}, {"detail": 1}, {"errors": [{}]}, {"extra": 1}, {"status": True}]
    for change in wrong:
        assert list(errors(good | change, schema, document))
    assert list(errors({name: value for name, value in good.items() if name != "code"}, schema, document))
    assert response_errors("GET", "/api/v1/subjects/x", 404, "application/problem+json", good, document) == []
    assert response_errors("GET", "/api/v1/subjects/x", 404, "application/json", good, document)
    assert response_errors("GET", "/api/v1/subjects/x", 418, "application/problem+json", good, document)
    assert response_errors("GET", "/api/v1/nothing", 200, "application/json", {}, document)
