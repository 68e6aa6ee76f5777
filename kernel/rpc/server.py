"""The gRPC server of a service: one interceptor does for every call what every call needs.

It checks who calls, holds the deadline, binds the call's context (context, log lines, span), and turns what was raised
into a status with the error's detail. Handlers see ``kernel.context.current()`` and raise ``YunkuError``.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from opentelemetry.trace import SpanKind

from kernel import ids
from kernel.context import CallContext, Caller, use
from kernel.errors import YunkuError
from kernel.observability import metrics, tracing
from kernel.observability.logging import bind, get_logger
from kernel.rpc.errors import ERROR_METADATA, MAX_METADATA, as_yunku_error, encode, grpc_status, is_unavailable
from kernel.rpc.identity import CALLER_METADATA, CallerRefused, Verifier
from kernel.settings import KernelSettings

CORRELATION_METADATA: Final = "yunku-correlation-id"
CAUSATION_METADATA: Final = "yunku-causation-id"
IDEMPOTENCY_METADATA: Final = "yunku-idempotency-key"

_HEALTH_PREFIX: Final = "/grpc.health.v1.Health/"
_ID: Final = re.compile(r"[0-9A-Za-z._:-]{1,64}")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
#: Methods that change nothing are named by one of these verbs; every other one is a command, which a READER may not give.
_QUERY: Final = re.compile(r"(?:Get|List|Find|Count|Check|Explain|Replay|Read)[A-Z]?")

_log = get_logger(__name__)
_Servicer = TypeVar("_Servicer")
_Handler = Callable[[Any, Any], Awaitable[Any]]


def is_query(method: str) -> bool:
    """Whether a method, by the verb of its name, changes nothing."""
    return _QUERY.match(method) is not None


def request_hash(method: str, request: Message) -> bytes:
    """SHA-256 over the method and the request's deterministic bytes: two requests of one key are the same, or not."""
    return hashlib.sha256(method.encode() + b"\0" + request.SerializeToString(deterministic=True)).digest()


class _Interceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    def __init__(
        self,
        service: str,
        verifier: Verifier | None,
        deadline_cap: float,
        on_unavailable: Callable[[], None],
        open_to_readers: Collection[str],
    ):
        self._service = service
        self._verifier = verifier
        self._deadline_cap = deadline_cap
        self._on_unavailable = on_unavailable
        self._open_to_readers = open_to_readers

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or method.startswith(_HEALTH_PREFIX):
            return handler
        if handler.unary_unary is None:
            raise NotImplementedError(f"{method}: only unary calls are served")
        inner: _Handler = handler.unary_unary

        async def answer(request: Message, context: Any) -> Any:
            return await self._answer(method, inner, request, context)

        return grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
        )

    async def _answer(self, method: str, inner: _Handler, request: Message, context: Any) -> Any:
        started = time.monotonic()
        short = method.rpartition(".")[2]
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        correlation_id = metadata.get(CORRELATION_METADATA, "")
        if not _ID.fullmatch(correlation_id):
            correlation_id = str(ids.uuid7())
        bind(correlation_id=correlation_id, method=short)
        refusal: YunkuError | None = None
        status = "CANCELLED"
        response: Any = None
        try:
            response = await self._within(method, short, inner, request, context, metadata, correlation_id, started)
            status = "OK"
        except Exception as error:
            refusal = self._refusal(error)
            status = grpc_status(refusal).name
        finally:
            metrics.RPC_REQUESTS.labels(self._service, short, status).inc()
            metrics.RPC_SECONDS.labels(self._service, short).observe(time.monotonic() - started)
        if refusal is not None:
            # Ends the call by an exception of gRPC's own; outside of the try, so that nothing catches it.
            await context.abort(grpc_status(refusal), refusal.code, trailing_metadata=((ERROR_METADATA, encode(refusal)),))
        return response

    async def _within(
        self,
        method: str,
        short: str,
        inner: _Handler,
        request: Message,
        context: Any,
        metadata: dict[str, str],
        correlation_id: str,
        started: float,
    ) -> Any:
        remaining: float | None = context.time_remaining()
        if remaining is None:
            raise YunkuError("deadline_missing")
        deadline = started + min(remaining, self._deadline_cap)
        issuer, caller = self._caller(metadata.get(CALLER_METADATA, ""))
        # Left bound: each call is a task of its own, and its last line (a refusal, a failure) is to name the caller.
        bind(caller_kind=caller.kind, caller_id=caller.id, peer_service=issuer)
        name = method.rpartition("/")[2]
        if name not in self._open_to_readers and not is_query(name):
            caller.require_command()
        with tracing.span(
            short,
            parent=metadata.get(tracing.TRACEPARENT, ""),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.method": method, "yunku.correlation_id": correlation_id},
        ):
            causation_id = metadata.get(CAUSATION_METADATA, "")
            call = CallContext(
                caller=caller,
                correlation_id=correlation_id,
                causation_id=causation_id if _ID.fullmatch(causation_id) else None,
                idempotency_key=_scoped_key(caller, metadata.get(IDEMPOTENCY_METADATA, "")),
                request_hash=request_hash(method, request),
                trace_parent=tracing.trace_parent(),
                deadline=deadline,
            )
            with use(call):
                async with asyncio.timeout(deadline - time.monotonic()):
                    return await inner(request, context)

    def _caller(self, token: str) -> tuple[str, Caller]:
        if self._verifier is None:
            raise YunkuError("caller_refused")
        try:
            return self._verifier.verify(token)
        except CallerRefused as refused:
            _log.warning("caller refused", reason=str(refused))
            raise YunkuError("caller_refused") from None

    def _refusal(self, error: Exception) -> YunkuError:
        refusal = as_yunku_error(error)
        metrics.ERRORS.labels(self._service, refusal.code).inc()
        if refusal.code == "internal":
            _log.error("call failed", exc_info=error)
        elif refusal is not error and is_unavailable(error):
            _log.warning("dependency unavailable", error=type(error).__name__, detail=str(error))
            self._on_unavailable()
        else:
            _log.info("call refused", code=refusal.code)
        return refusal


def _scoped_key(caller: Caller, raw: str) -> str | None:
    """The idempotency key as the log keeps it: unique per caller and the subject it acts for.

    Clients choose keys freely; two of them may choose the same, and one client may use its own again for another
    company. Neither may ever be answered with the other's response.
    """
    if not raw:
        return None
    if not _KEY.fullmatch(raw):
        raise YunkuError("value_invalid", field="/Idempotency-Key")
    return str(ids.derived("idempotency", caller.kind, caller.id, caller.subject_id, caller.subject_type, raw))


class RpcServer:
    """The gRPC server of one service; listens on ``bind_host``:``grpc_port`` and answers the standard health service.

    Servicers are added before ``start``; ``port`` is the real port after it. ``on_unavailable`` is called (from the
    event loop) whenever a call failed because a dependency was down.
    """

    def __init__(self, settings: KernelSettings, service: str, on_unavailable: Callable[[], None] | None = None) -> None:
        self._settings = settings
        self.service = service
        self._on_unavailable = on_unavailable or (lambda: None)
        self._server: Any = None
        self._open_to_readers: set[str] = set()
        self._health = HealthServicer()
        self.port = 0

    @property
    def server(self) -> Any:
        """The ``grpc.aio.Server``, for the generated ``add_…_to_server``; made at the first use, within the loop."""
        if self._server is None:
            keys_dir = self._settings.rpc_public_keys_dir
            interceptor = _Interceptor(
                self.service,
                Verifier(self.service, keys_dir) if keys_dir is not None else None,
                self._settings.rpc_deadline_cap_seconds,
                self._on_unavailable,
                self._open_to_readers,
            )
            self._server = grpc.aio.server(
                interceptors=[interceptor],
                maximum_concurrent_rpcs=self._settings.rpc_concurrency,
                options=[
                    ("grpc.max_receive_message_length", self._settings.rpc_message_bytes),
                    ("grpc.max_send_message_length", self._settings.rpc_message_bytes),
                    ("grpc.max_metadata_size", MAX_METADATA),
                    ("grpc.absolute_max_metadata_size", 2 * MAX_METADATA),
                    # Two processes on one port would share its calls silently.
                    ("grpc.so_reuseport", 0),
                    ("grpc.keepalive_permit_without_calls", 1),
                    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
                ],
            )
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        return self._server

    def register(
        self, add_to_server: Callable[[_Servicer, Any], None], servicer: _Servicer, *, open_to_readers: Collection[str] = ()
    ) -> None:
        """Adds a servicer: ``rpc.register(add_SubjectServiceServicer_to_server, SubjectRpc(…))``.

        Accounts that are only READER of the company for which their session acts are refused every method but queries
        (by its verb: Get, List, Find, Count, Check, Explain, Replay, Read) with ``role_missing``. ``open_to_readers`` names the
        commands that aren't made for that company, and so are not refused.
        """
        self._open_to_readers.update(open_to_readers)
        add_to_server(servicer, self.server)

    async def start(self) -> None:
        """Listens and serves. Raises RuntimeError when the port is taken."""
        self.port = self.server.add_insecure_port(f"{self._settings.bind_host}:{self._settings.grpc_port}")
        await self.server.start()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        _log.info("grpc serving", port=self.port)

    async def stop(self, grace: float | None = None) -> None:
        """Refuses new calls, lets running ones end within ``grace`` seconds, then cancels them."""
        if self._server is None:
            return
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._settings.shutdown_grace_seconds if grace is None else grace)
        self._server = None
