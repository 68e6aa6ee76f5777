"""Puts a service on its event log: store, sequencer and publisher, projections, consumers, and the log as a service for others."""

import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import grpc
from yunku.kernel.v1 import kernel_pb2, kernel_pb2_grpc

from kernel import context as call_context
from kernel.bus.consumer import RECONCILE, Bus, Subscription, publish_parked
from kernel.errors import YunkuError
from kernel.eventlog.events import RecordedEvent
from kernel.eventlog.projections import ProjectionRunner
from kernel.eventlog.rebuild import Declared
from kernel.eventlog.sequencer import Sequencer
from kernel.eventlog.store import EventLog
from kernel.service import Runtime

#: A loop that beats a few times a second and was silent for so long (seconds) hangs: /healthz fails.
_MAX_SILENCE = 60.0
_READ_LIMIT = 1000
#: ReadLog answers stay under the gRPC message limit.
_READ_BYTES = 3_000_000


async def attach(
    runtime: Runtime[Any], declared: Declared, subscribe: Callable[[EventLog], Sequence[Subscription]] = lambda log: ()
) -> EventLog:
    """The service's log, with everything that moves it running in the background of ``runtime``."""
    settings = runtime.settings
    log = EventLog(runtime.pool, settings.service, declared.types)
    sequencer = Sequencer(settings.database_url, runtime.nats, settings.service, declared.types)
    runners = [ProjectionRunner(log, projection) for projection in declared.log_projections]

    def appended() -> None:
        sequencer.wake()
        for runner in runners:
            runner.wake()

    log.on_append = appended
    runtime.add_background("sequencer", sequencer.run, max_silence=_MAX_SILENCE)
    for runner, projection in zip(runners, declared.log_projections, strict=True):
        runtime.add_background(f"projection-{projection.name}", runner.run, max_silence=_MAX_SILENCE)
    runtime.rpc.register(kernel_pb2_grpc.add_EventLogServiceServicer_to_server, _LogService(log))
    subscriptions = subscribe(log)
    if subscriptions:
        bus = Bus(log, subscriptions, runtime.peers)
        runtime.add_background("bus", lambda: bus.run(settings.nats_url, settings.nats_credentials))
        runtime.add_background("dead-letters", lambda: publish_parked(log, runtime.nats))
        for consumer in bus.consumers:

            async def advancing(consumer: object = consumer) -> None:
                age = time.monotonic() - consumer.advanced_at  # type: ignore[attr-defined]
                if age > 6 * RECONCILE:
                    raise RuntimeError(f"has not advanced for {age:.0f} s")

            runtime.add_readiness(f"consumer-{consumer.producer}", advancing)
    return log


class _LogService(kernel_pb2_grpc.EventLogServiceServicer):
    """The way by which consumers fetch what a stream lost. For services only: events hold what their own company may see."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def ReadLog(
        self, request: kernel_pb2.ReadLogRequest, context: grpc.aio.ServicerContext[kernel_pb2.ReadLogRequest, kernel_pb2.ReadLogResponse]
    ) -> kernel_pb2.ReadLogResponse:
        if call_context.current().caller.kind != "service":
            raise YunkuError("role_missing", role="service")
        limit = max(1, min(request.limit or _READ_LIMIT, _READ_LIMIT))
        events, last = await self._log.read_log(max(1, request.from_position), limit)
        return kernel_pb2.ReadLogResponse(events=_fitting(events), last_position=last)

    async def ReadStream(
        self,
        request: kernel_pb2.ReadStreamRequest,
        context: grpc.aio.ServicerContext[kernel_pb2.ReadStreamRequest, kernel_pb2.ReadStreamResponse],
    ) -> kernel_pb2.ReadStreamResponse:
        if call_context.current().caller.kind != "service":
            raise YunkuError("role_missing", role="service")
        try:
            stream_id = UUID(request.stream_id)
        except ValueError:
            raise YunkuError("not_found") from None
        events = await self._log.read_stream_from(stream_id, max(1, request.from_version), _READ_LIMIT)
        return kernel_pb2.ReadStreamResponse(events=_fitting(events))


def _fitting(events: Sequence[RecordedEvent]) -> list[kernel_pb2.EventRecord]:
    """The first events, at least one, as many as one answer carries."""
    fitting: list[kernel_pb2.EventRecord] = []
    size = 0
    for event in events:
        record = event.to_record()
        size += record.ByteSize()
        if fitting and size > _READ_BYTES:
            break
        fitting.append(record)
    return fitting
