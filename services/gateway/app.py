"""The application: routes, their document, and how their errors are told."""

import json
from typing import Any, Final

from fastapi import FastAPI, Request, Response

from services.gateway import problems
from services.gateway.means import Means
from services.gateway.routes import (
    API,
    accounts,
    certificates,
    digital,
    domains,
    events,
    notices,
    operations,
    performances,
    persons,
    platform,
    reviews,
    subjects,
    transfers,
)

_ABOUT: Final = """The public interface of Yunku (云库), the register of a province's construction companies.

JSON in `snake_case`; moments in RFC 3339 (UTC), dates `YYYY-MM-DD`; lists are paged by `limit` and `cursor`. Refusals are
`application/problem+json` (RFC 9457) with a stable `code` and a Chinese `title`; `X-Correlation-Id` is taken from the request
or made, and finds everything that followed from it in logs and events.

`Idempotency-Key` (1 to 200 printable characters) is honoured on every POST: the same key with the same request gets the same
answer, with another request 422 `idempotency_key_reused`. Certificates carry an `ETag` of the form `"<version>.<revision>"`;
`If-Match` on a write is checked against the version (409 `version_conflict`)."""


def create(means: Means | None) -> FastAPI:
    """The application; without ``means`` it answers nothing but can be documented."""
    app = FastAPI(
        title="Yunku",
        version="1",
        description=_ABOUT,
        # The document is served below; the pages that show it would load scripts from elsewhere.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # The edge has its own span, line and metrics for each request, which know what may not be told.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.means = means
    problems.install(app)
    parts = (
        accounts,
        subjects,
        certificates,
        persons,
        performances,
        events,
        reviews,
        domains,
        digital,
        platform,
        transfers,
        notices,
        operations,
    )
    for part in parts:
        app.include_router(part.router)
    app.include_router(operations.public)

    @app.get("/api/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        return Response(json.dumps(document(app), ensure_ascii=False), media_type="application/json", headers={"Cache-Control": "no-cache"})

    return app


_HEADERS: Final = {
    "Idempotency-Key": "The same key with the same request gets the same answer",
    "If-Match": "The certificate's version that is changed, as ETag",
}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: what FastAPI makes of the routes, with problems under their own media type and the headers that
    the edge and the preconditions read."""
    if app.openapi_schema is None:
        made = app.openapi()
        schemas = made["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for path, operations_ in made["paths"].items():
            for method, operation in operations_.items():
                _complete(path, method, operation)
        app.openapi_schema = made
    schema: dict[str, Any] = app.openapi_schema
    return schema


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    for status, answer in operation["responses"].items():
        content = answer.get("content", {})
        if content.get("application/json", {}).get("schema", {}).get("$ref", "").endswith("/HTTPValidationError"):
            content.pop("application/json")
        if int(status) >= 400 and "application/problem+json" in content:
            content.pop("application/json", None)
        if "text/event-stream" in content:
            content.pop("application/json", None)
    if operation["responses"].get("422", {}).get("content") == {}:
        operation["responses"].pop("422")
    if method == "get" and "application/json" in operation["responses"]["200"].get("content", {}):
        operation["responses"]["304"] = {"description": "The client has it already (If-None-Match)"}
    extra = []
    if method == "post" and path.startswith(API):
        extra.append(_header("Idempotency-Key", {"type": "string", "minLength": 1, "maxLength": 200}))
    if "412" in operation["responses"]:
        extra.append(_header("If-Match", {"type": "string"}))
    if extra:
        operation.setdefault("parameters", []).extend(extra)


def _header(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": _HEADERS[name]}
