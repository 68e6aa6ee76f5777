"""Answers made once: the model is the answer, so nothing is validated a second time on its way out."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from services.gateway import models


def reply(
    request: Request,
    model: BaseModel,
    status: int = 200,
    *,
    etag: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """``model`` as JSON, with an ETag: the given one, else one made of the content. 304 where a GET's client has it already."""
    body = model.model_dump_json().encode()
    tag = etag or f'"{sha256(body).hexdigest()[:32]}"'
    known = request.headers.get("if-none-match", "")
    if request.method == "GET" and status == 200 and tag in (part.strip().removeprefix("W/") for part in known.split(",")):
        return Response(None, 304, {"ETag": tag})
    return Response(body, status, {"ETag": tag, **(headers or {})}, media_type="application/json")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How an operation's refusals are documented; what every operation may answer is always among them."""
    told = {404, 405, 422, 429, 500, 503, 504, *statuses}
    return {status: _PROBLEM | {"description": _MEANINGS[status]} for status in sorted(told)}


_PROBLEM: Final[dict[str, Any]] = {
    "model": models.Problem,
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_MEANINGS: Final = {
    401: "No session, or it has ended",
    403: "The session's role or choice of subject doesn't allow it",
    404: "It doesn't exist or isn't the session's to see",
    405: "The resource doesn't have this method",
    408: "The request's body came too slowly",
    409: "The state or the version doesn't allow it (`code` says which)",
    412: "If-Match is no ETag of this resource",
    413: "The body is too large",
    415: "The file is no document",
    422: "Bad values",
    429: "Too many requests",
    500: "A defect; the log has it under the correlation id",
    503: "A part of the system is down or overloaded; trying again helps",
    504: "The answer didn't come in time",
}
