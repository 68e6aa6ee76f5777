"""Refusals as RFC 9457 problems: every error that can leave the gateway passes through here."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from kernel import texts
from kernel.context import current_or_none
from kernel.errors import FieldError, YunkuError
from kernel.observability import metrics
from kernel.rpc.errors import as_yunku_error
from services.gateway import models

MEDIA_TYPE: Final = "application/problem+json"
#: More than this many field errors help nobody.
MAX_ERRORS: Final = 100
#: What pydantic says of a value, and the code under which it is told.
_CODES: Final = {
    "missing": "field_required",
    "extra_forbidden": "field_unknown",
    "string_too_long": "value_too_long",
    "json_invalid": "request_malformed",
}
_STATUSES: Final = {400: "request_malformed", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}
#: The members of a body by which the form of the rest is chosen; pydantic puts their values into the path of an error.
_TAGS: Final = frozenset({"password", "ca", "qr"})


def response(error: YunkuError, headers: Mapping[str, str] | None = None) -> Response:
    """The problem that tells a refusal."""
    context = current_or_none()
    problem = models.Problem(
        type=f"urn:yunku:problem:{error.code}",
        title=message(error.code, error.params),
        status=error.http_status,
        code=error.code,
        errors=[
            models.ProblemError(pointer=one.pointer, code=one.code, message=message(one.code, one.params))
            for one in error.errors[:MAX_ERRORS]
        ],
        correlation_id=context.correlation_id if context is not None else "",
    )
    answer = Response(problem.model_dump_json(), error.http_status, dict(headers or {}), media_type=MEDIA_TYPE)
    if error.http_status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    elif error.http_status in (429, 503):
        answer.headers.setdefault("Retry-After", error.params.get("retry_after", "5"))
    metrics.ERRORS.labels("gateway", error.code).inc()
    return answer


def message(code: str, params: Mapping[str, str]) -> str:
    """The Chinese text of a code; what is wrong with a typed value is told exactly."""
    problem = params.get("problem")
    if code == "value_invalid" and problem in texts.keys("values"):
        return texts.text(f"values.{problem}", **params)
    if params.get("finding") in texts.keys("check"):
        return texts.text(f"check.{params['finding']}", **params)
    return texts.text(f"errors.{code}", **params)


def from_exception(error: BaseException) -> YunkuError:
    """What any exception is told as."""
    if isinstance(error, RequestValidationError):
        return _invalid(error.errors())
    if isinstance(error, ClientDisconnect):
        return YunkuError("request_malformed", field="")
    if isinstance(error, HTTPException):
        # FastAPI wraps what reading the body raised.
        if isinstance(error.__cause__, YunkuError):
            return error.__cause__
        code = _STATUSES.get(error.status_code, "internal")
        return YunkuError(code, field="") if code == "request_malformed" else YunkuError(code)
    return as_yunku_error(error)


def install(app: FastAPI) -> None:
    """Has FastAPI and Starlette tell their own errors as problems too."""

    async def answer(request: Request, error: Exception) -> Response:
        kept = getattr(error, "headers", None) or {}
        return response(from_exception(error), {name: value for name, value in kept.items() if name.lower() == "allow"})

    for kind in (YunkuError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, answer)


def _invalid(found: Sequence[Mapping[str, Any]]) -> YunkuError:
    errors = [_field_error(one) for one in found[:MAX_ERRORS]]
    if not errors:
        return YunkuError("request_malformed")
    code = errors[0].code
    return YunkuError(code if code == "request_malformed" else "value_invalid" if len(errors) > 1 else code, errors=errors)


def _field_error(found: Mapping[str, Any]) -> FieldError:
    location = list(found.get("loc", ()))
    kind = str(found.get("type", ""))
    context = found.get("ctx") or {}
    if kind == "json_invalid":
        return FieldError("", "request_malformed")
    where, path = (location[0], location[1:]) if location else ("body", [])
    if where == "body" and path and path[0] in _TAGS and (len(path) > 1 or kind == "missing"):
        path = path[1:] or path
    if kind.startswith("union_tag"):
        path = ["method"]
    if where == "body" and not path:
        # The body itself: absent, or no JSON object.
        return FieldError("", "request_malformed")
    if path and path[-1] == "[key]":
        path = path[:-1]
    pointer = "".join("/" + str(part)[:100].replace("~", "~0").replace("/", "~1") for part in path)
    code = _CODES.get(kind, "value_invalid")
    if code == "field_unknown" and where != "body":
        code = "value_invalid"
    params = {"max": str(context["max_length"])} if "max_length" in context else {}
    return FieldError(pointer, code, params)
