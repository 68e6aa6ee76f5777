"""What surrounds every request, before and after FastAPI: correlation, trace, limits on what clients send, headers, the
last resort for errors, one log line and the metrics. Plain ASGI, so that streams pass through untouched."""

import asyncio
import re
import time
from collections.abc import MutableMapping
from typing import Any, Final

from opentelemetry.trace import SpanKind
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from kernel import ids
from kernel.context import CallContext, Caller, use
from kernel.errors import YunkuError
from kernel.observability import metrics, tracing
from kernel.observability.logging import bind, get_logger
from services.gateway import problems, uploads
from services.gateway.settings import Settings

Message = MutableMapping[str, Any]

_ID: Final = re.compile(r"[0-9A-Za-z._:-]{1,64}")
_KEY: Final = re.compile(r"[\x20-\x7e]{1,200}")
_UPLOAD: Final = re.compile(r"/api/v1/certificates/[^/]+/document")
_IMPORT: Final = "/api/v1/imports"
_STREAM: Final = "/api/v1/events"
_WRITES: Final = frozenset({"POST", "PUT", "DELETE", "PATCH"})
#: What is read of a refused body, so that the client, which still sends, gets to see the refusal.
_DRAINED_BYTES: Final = 8 * 1024 * 1024
_DRAINED_SECONDS: Final = 5.0

#: Answers hold personal data and are no pages: nothing keeps them, nothing runs in them, nobody frames them.
_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

_log = get_logger(__name__)


class Edge:
    """The application as uvicorn runs it."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # No websockets, and the lifespan is the runtime's.
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        correlation_id = headers.get(b"x-correlation-id", "")
        if not _ID.fullmatch(correlation_id):
            correlation_id = str(ids.uuid7())
        bind(correlation_id=correlation_id)
        method: str = scope["method"]
        started = time.monotonic()
        body = _Body(
            receive,
            self._settings,
            upload=self._upload_limit(method, scope["path"]),
            expects="100-continue" in headers.get(b"expect", "").lower(),
        )
        answer = _Answer(send, correlation_id, body)
        with tracing.span(
            f"HTTP {method}",
            parent=headers.get(b"traceparent", ""),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "yunku.correlation_id": correlation_id},
        ) as span:
            context = CallContext(
                caller=Caller(kind="service", id="gateway"),
                correlation_id=correlation_id,
                trace_parent=tracing.trace_parent(),
            )
            with use(context):
                await self._answer(scope, body, answer, headers, context)
            route = getattr(scope.get("route"), "path", None) or "none"
            span.update_name(f"{method} {route}")
            span.set_attribute("http.route", route)
            span.set_attribute("http.response.status_code", answer.status)
        seconds = time.monotonic() - started
        # What is no method of ours must not become a label.
        known = method if method in _WRITES or method in ("GET", "HEAD", "OPTIONS") else "other"
        metrics.HTTP_REQUESTS.labels(known, route, str(answer.status)).inc()
        if route != _STREAM:
            metrics.HTTP_SECONDS.labels(known, route).observe(seconds)
        _log.info("request", method=known, route=route, status=answer.status, seconds=round(seconds, 4))

    def _upload_limit(self, method: str, path: str) -> int:
        """How large a file this request may bring; 0 where it is no upload."""
        if method == "PUT" and _UPLOAD.fullmatch(path) is not None:
            return self._settings.upload_bytes
        return self._settings.import_bytes if method == "POST" and path == _IMPORT else 0

    async def _answer(self, scope: Scope, body: "_Body", answer: "_Answer", headers: dict[bytes, str], context: CallContext) -> None:
        stream = scope["path"] == _STREAM
        try:
            if self._running >= self._settings.requests_at_once:
                raise YunkuError("service_unavailable")
            if b"content-length" in headers and b"transfer-encoding" in headers:
                # Two measures of one body: a proxy that believes the other one sees another request where it ends.
                answer.closes = True
                raise YunkuError("request_malformed")
            body.check_announced(headers.get(b"content-length", ""))
            keyed = _keyed(scope["method"], headers, context)
            # Streams are long and wait most of the time: they have a limit of their own (routes.events).
            self._running += not stream
            try:
                with use(keyed):
                    await self._app(scope, body.receive, answer.send)
            finally:
                self._running -= not stream
        except ClientDisconnect:
            answer.status = 499  # nobody is there to be answered; nginx's word for it in metrics and log
        except Exception as error:
            refusal = problems.from_exception(error)
            if refusal.code == "internal":
                _log.error("request failed", exc_info=error)
            elif refusal is not error:
                _log.warning("dependency unavailable", error=type(error).__name__)
            if answer.finished:
                return  # Starlette told it already, and raises it all the same
            if answer.started:
                # Half an answer must not pass for a whole one: the connection ends without its proper end.
                raise
            await problems.response(refusal)(scope, body.receive, answer.send)


def _keyed(method: str, headers: dict[bytes, str], context: CallContext) -> CallContext:
    key = headers.get(b"idempotency-key")
    if key is None or method not in _WRITES:
        return context
    if not _KEY.fullmatch(key):
        raise YunkuError("value_invalid", field="/Idempotency-Key")
    return context.with_key(key)


class _Answer:
    """The way out: adds the headers that every answer has, and knows what was sent."""

    def __init__(self, send: Send, correlation_id: str, body: "_Body") -> None:
        self._send = send
        self._correlation_id = correlation_id
        self._body = body
        self.status = 0
        self.started = False
        self.finished = False
        self.closes = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.started = True
            if self.status >= 400:
                await self._body.drain()
                self.closes |= not self._body.ended
            given = list(message.get("headers", ()))
            names = {name.lower() for name, _ in given}
            given += [(name, value) for name, value in _HEADERS if name not in names]
            given.append((b"x-correlation-id", self._correlation_id.encode()))
            if self.closes:
                given.append((b"connection", b"close"))
            message["headers"] = given
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.finished = True


class _Body:
    """The way in: the body's bytes are counted and its pauses timed, whatever its headers say."""

    def __init__(self, receive: Receive, settings: Settings, *, upload: int, expects: bool) -> None:
        self._receive = receive
        self._upload = upload
        # A client that waits for "100 Continue" sends nothing unless it is asked for.
        self._expects = expects
        self._late = False
        self._limit = upload + uploads.OVERHEAD if upload else settings.body_bytes
        self._told = upload or settings.body_bytes
        self._chunk_seconds = settings.chunk_seconds
        self._deadline = time.monotonic() + settings.body_seconds
        self._size = 0
        self.ended = False

    def check_announced(self, content_length: str) -> None:
        """Refuses at once what says itself that it is too large."""
        if content_length.isdecimal() and len(content_length) < 20 and int(content_length) > self._limit:
            raise self._too_large()

    async def receive(self) -> Message:
        if self.ended:
            # Only waits for the client to leave from here on.
            return await self._receive()
        seconds = min(self._chunk_seconds, self._deadline - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), max(seconds, 0.001))
        except TimeoutError:
            self._late = True
            raise YunkuError("request_too_slow") from None
        if message["type"] != "http.request":
            self.ended = True
            return message
        self._size += len(message.get("body", b""))
        self.ended = not message.get("more_body", False)
        if self._size > self._limit:
            raise self._too_large()
        return message

    def _too_large(self) -> YunkuError:
        if self._upload:
            return YunkuError("document_too_large", field="/file", max=str(self._told))
        return YunkuError("too_large", max=str(self._told))

    async def drain(self) -> None:
        """Reads on for a moment before a refusal: a client that still sends would see a broken connection instead of it."""
        if self._late or self._expects:
            return
        until, size = time.monotonic() + _DRAINED_SECONDS, 0
        while not self.ended and size < _DRAINED_BYTES and time.monotonic() < until:
            try:
                message = await asyncio.wait_for(self._receive(), until - time.monotonic())
            except TimeoutError:
                return
            size += len(message.get("body", b""))
            self.ended = message["type"] != "http.request" or not message.get("more_body", False)
