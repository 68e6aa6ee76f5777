"""Calls to the other services: one channel per peer, and an interceptor that does for every call what every call needs.

It adds the signed caller, correlation, trace and idempotency key from the running context; gives each call a deadline
(never beyond the running call's own); tries again while the peer is unavailable; and raises ``YunkuError``.
"""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.trace import SpanKind

from kernel import ids
from kernel.context import CallContext, current_or_none, system_context
from kernel.errors import YunkuError
from kernel.observability import metrics, tracing
from kernel.observability.logging import get_logger
from kernel.rpc.errors import ERROR_METADATA, MAX_METADATA, decode
from kernel.rpc.identity import CALLER_METADATA, GATEWAY, Signer
from kernel.rpc.server import CAUSATION_METADATA, CORRELATION_METADATA, IDEMPOTENCY_METADATA
from kernel.settings import KernelSettings

_FIRST_BACKOFF_SECONDS: Final = 0.05
_LONGEST_BACKOFF_SECONDS: Final = 1.0
_PLAIN_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")

_log = get_logger(__name__)
_Stub = TypeVar("_Stub")


def outgoing_key(service: str, context: CallContext, method: str) -> str:
    """The idempotency key of a call to ``method`` that ``service`` makes within ``context``.

    The gateway hands on its client's key. Any other service derives one from what makes it call, the command it is
    carrying out or the event it reacts to, and the method, so that carrying it out again repeats no effect. Where there
    is neither, a fresh one still makes the retries of this one call safe. Several calls of the same method for one
    cause need ``context.with_key(...)``.
    """
    key = context.idempotency_key
    if service == GATEWAY and key:
        return key if _PLAIN_KEY.fullmatch(key) else str(ids.derived("idempotency-outside", key))
    cause = key or context.causation_id
    return str(ids.derived("idempotency-nested", service, cause, method)) if cause else str(ids.uuid7())


class _Interceptor(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
    def __init__(self, service: str, peer: str, signer: Signer | None, timeout: float) -> None:
        self._service = service
        self._peer = peer
        self._signer = signer
        self._timeout = timeout

    async def intercept_unary_unary(
        self, continuation: Callable[[Any, Any], Awaitable[Any]], client_call_details: Any, request: Any
    ) -> Any:
        if self._signer is None:
            raise YunkuError("caller_refused")
        context = current_or_none() or system_context(self._service)
        method = client_call_details.method
        if isinstance(method, bytes):
            method = method.decode()
        short: str = method.rpartition(".")[2]
        allowed = client_call_details.timeout if client_call_details.timeout is not None else self._timeout
        deadline = time.monotonic() + allowed
        if context.deadline is not None:
            deadline = min(deadline, context.deadline)
        key = outgoing_key(self._service, context, method)
        with tracing.span(f"call {short}", kind=SpanKind.CLIENT, parent=_parent(context)):
            backoff = _FIRST_BACKOFF_SECONDS
            while True:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise YunkuError("deadline_exceeded")
                details = grpc.aio.ClientCallDetails(
                    method=client_call_details.method,
                    timeout=remaining,
                    metadata=self._metadata(client_call_details.metadata, context, key),
                    credentials=client_call_details.credentials,
                    wait_for_ready=False,
                )
                try:
                    response = await (await continuation(details, request))
                except grpc.aio.AioRpcError as failed:
                    metrics.RPC_CLIENT_REQUESTS.labels(self._peer, short, failed.code().name).inc()
                    error = self._error(failed, short)
                    pause = backoff * random.uniform(0.5, 1.0)  # noqa: S311 (spreads retries, guards nothing)
                    retry = failed.code() is grpc.StatusCode.UNAVAILABLE
                    if not retry or deadline - time.monotonic() <= pause:
                        raise error from None
                    await asyncio.sleep(pause)
                    backoff = min(backoff * 2, _LONGEST_BACKOFF_SECONDS)
                else:
                    metrics.RPC_CLIENT_REQUESTS.labels(self._peer, short, "OK").inc()
                    return response

    def _metadata(self, given: Any, context: CallContext, key: str) -> Any:
        assert self._signer is not None
        metadata = grpc.aio.Metadata(*(given or ()))
        # Signed anew for each attempt: a proof lives a minute, and so may a call.
        metadata.add(CALLER_METADATA, self._signer.sign(context.caller, self._peer))
        metadata.add(CORRELATION_METADATA, context.correlation_id)
        metadata.add(IDEMPOTENCY_METADATA, key)
        if context.causation_id:
            metadata.add(CAUSATION_METADATA, context.causation_id)
        for name, value in tracing.inject({}).items():
            metadata.add(name, value)
        return metadata

    def _error(self, failed: grpc.aio.AioRpcError, method: str) -> YunkuError:
        trailing: Any = failed.trailing_metadata()  # pairs, whatever the stubs say
        for name, value in trailing or ():
            if name == ERROR_METADATA and isinstance(value, bytes):
                try:
                    return decode(value)
                except DecodeError:
                    break
        status = failed.code()
        if status is grpc.StatusCode.DEADLINE_EXCEEDED:
            return YunkuError("deadline_exceeded")
        # RESOURCE_EXHAUSTED without a detail comes from the peer's gRPC library: too many calls at once.
        if status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED):
            return YunkuError("service_unavailable")
        _log.error("peer failed", peer=self._peer, called=method, status=status.name, detail=failed.details())
        return YunkuError("internal")


def _parent(context: CallContext) -> str | None:
    """Where the running span isn't bound (a consumer that only has the event's traceparent), the context's is used."""
    return None if tracing.trace_parent() or not context.trace_parent else context.trace_parent


class Peers:
    """The other services, by name. Channels are made at the first use and kept; ``close`` ends them."""

    def __init__(self, settings: KernelSettings) -> None:
        self._settings = settings
        self._signer = Signer(settings.service, settings.rpc_private_key_file) if settings.rpc_private_key_file else None
        self._channels: dict[str, Any] = {}

    def stub(self, stub_class: Callable[[grpc.aio.Channel], _Stub], service: str) -> _Stub:
        """The stub of a service: ``peers.stub(SubjectServiceStub, "subject")``.

        Calls raise YunkuError and nothing else, take 10 s at most unless called with ``timeout=`` (seconds), and end
        with the running call's deadline in any case. Raises KeyError when the settings name no such peer.
        """
        return stub_class(self._channel(service))

    def _channel(self, service: str) -> grpc.aio.Channel:
        channel: grpc.aio.Channel | None = self._channels.get(service)
        if channel is None:
            address = self._settings.peers[service]
            interceptor: Any = _Interceptor(self._settings.service, service, self._signer, self._settings.rpc_timeout_seconds)
            channel = grpc.aio.insecure_channel(
                address,
                interceptors=[interceptor],
                options=[
                    ("grpc.max_receive_message_length", self._settings.rpc_message_bytes),
                    ("grpc.max_send_message_length", self._settings.rpc_message_bytes),
                    ("grpc.max_metadata_size", MAX_METADATA),
                    ("grpc.absolute_max_metadata_size", 2 * MAX_METADATA),
                    ("grpc.keepalive_time_ms", 20_000),
                    ("grpc.keepalive_timeout_ms", 5_000),
                    ("grpc.http2.max_pings_without_data", 0),
                    # A peer that was killed is back within a second or two: don't wait longer than that to look.
                    ("grpc.initial_reconnect_backoff_ms", 100),
                    ("grpc.min_reconnect_backoff_ms", 100),
                    ("grpc.max_reconnect_backoff_ms", 1_000),
                    # Retrying is done above, where it is counted and bounded.
                    ("grpc.enable_retries", 0),
                    # Proxies of the environment have no place between services.
                    ("grpc.enable_http_proxy", 0),
                ],
            )
            self._channels[service] = channel
        return channel

    async def close(self) -> None:
        """Ends all channels."""
        channels, self._channels = list(self._channels.values()), {}
        for channel in channels:
            await channel.close(None)
