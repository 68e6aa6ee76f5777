"""Traces: OpenTelemetry spans over HTTP, gRPC and NATS, carried as W3C ``traceparent``.

Without an endpoint (``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``…_TRACES_ENDPOINT``) spans get ids and are passed on and
stored with events, but nothing is exported and no thread runs.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACEPARENT = "traceparent"

_propagator = TraceContextTextMapPropagator()
_provider: TracerProvider | None = None


def configure(service: str, environ: Mapping[str, str] | None = None) -> None:
    """Sets up tracing of this process, once; with an endpoint in the environment spans are exported (OTLP, HTTP)."""
    global _provider
    if _provider is not None:
        return
    source = os.environ if environ is None else environ
    _provider = TracerProvider(resource=Resource.create({"service.name": f"yunku-{service}"}), shutdown_on_exit=False)
    if source.get("OTEL_EXPORTER_OTLP_ENDPOINT") or source.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        # Imported only here: it brings an HTTP client and 20 MB.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(_provider)


def shutdown() -> None:
    """Sends what wasn't exported yet; blocks for some seconds at most when the collector doesn't answer."""
    if _provider is not None:
        _provider.shutdown()


def trace_parent() -> str:
    """The running span as traceparent, to be stored with an event or sent along; empty outside of any span."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get(TRACEPARENT, "")


def inject(headers: dict[str, str]) -> dict[str, str]:
    """Adds the running span to headers (NATS, HTTP, gRPC metadata as dict) and returns them."""
    _propagator.inject(headers)
    return headers


def headers_of(parent: str) -> dict[str, str]:
    """The headers that carry a stored traceparent; none when it is empty."""
    return {TRACEPARENT: parent} if parent else {}


@contextmanager
def span(
    name: str,
    *,
    parent: str | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, str | int | float | bool] | None = None,
) -> Iterator[Span]:
    """A span around the block; with ``parent`` (a traceparent) it continues that trace, else the running one.

    A malformed ``parent`` starts a new trace. An exception marks the span with its type only: messages may hold what
    mustn't leave the machine.
    """
    base = otel_context.get_current() if parent is None else _propagator.extract({TRACEPARENT: parent}, otel_context.Context())
    tracer = trace.get_tracer("yunku")
    with tracer.start_as_current_span(
        name,
        context=base,
        kind=kind,
        attributes=dict(attributes or {}),
        record_exception=False,
        set_status_on_exception=False,
    ) as started:
        try:
            yield started
        except BaseException as error:
            started.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
