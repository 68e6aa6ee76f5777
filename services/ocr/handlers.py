"""One job, carried out: draw, read, record. Safe to run twice, and to be killed anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from google.protobuf.message import Message
from yunku.certificate.v1 import types_pb2
from yunku.ocr.v1 import events_pb2

from kernel.context import CallContext, system_context, use
from kernel.errors import YunkuError
from kernel.eventlog.store import EventLog, fold, utc_now
from kernel.observability.logging import get_logger
from kernel.sandbox import SandboxUnavailable
from services.ocr import domain
from services.ocr.objects import ObjectMissing, StoreUnavailable
from services.ocr.process.pool import EngineFailed
from services.ocr.projections import JOB
from services.ocr.recogniser import Question, Recogniser, region_readings

_log = get_logger(__name__)

#: Pause before a job is tried again whose document itself can't be read: only a new release may change that.
HOPELESS_PAUSE: Final = 3600.0


async def carry_out(
    log: EventLog,
    recogniser: Recogniser,
    job_id: UUID,
    *,
    longest_pause: float,
    clock: Callable[[], datetime] = utc_now,
) -> bool:
    """Carries one job out. True: it is done (now or from before); False: it was put off.

    Whatever goes wrong puts it off with a reason, visibly, and it is tried again; only the loss of the database
    surfaces, and then nothing has happened.
    """
    events = await log.read_stream(job_id)
    state = fold(JOB, events).state
    if not state.requested or state.done:
        return True
    context = system_context(
        log.service,
        correlation_id=events[0].meta.correlation_id,
        causation_id=str(events[0].event_id),
        trace_parent=events[0].meta.trace_parent,
    )
    pause = longest_pause
    try:
        with use(context):
            result = await (_extracted(recogniser, state) if state.extraction is not None else _read(recogniser, state))
    except EngineFailed as failure:
        reason = failure.reason
    except SandboxUnavailable:
        reason = "sandbox_unavailable"
    except (StoreUnavailable, ObjectMissing) as failure:
        reason = "storage_unavailable"
        _log.warning("an object can't be read", job_id=str(job_id), error=f"{type(failure).__name__}: {failure}")
    except YunkuError as refused:
        # It was inspected before it was taken in, but drawing costs more than looking.
        reason, pause = "document_unreadable", HOPELESS_PAUSE
        _log.warning("a document can't be drawn", job_id=str(job_id), code=refused.code)
    except Exception as failure:
        # A defect: the job must not be lost, and somebody must see it.
        reason = "recognition_failed"
        _log.error("recognition failed", job_id=str(job_id), exc_info=failure)
    else:
        await _record(log, job_id, result, context, state.request.subject_id)
        return True
    _log.warning("recognition put off", job_id=str(job_id), reason=reason, attempts=state.attempts + 1)
    await log.execute(
        JOB,
        job_id,
        lambda now: domain.postpone(now, reason=reason, now=clock(), longest_pause=pause),
        context,
        subject_id=state.request.subject_id,
    )
    return False


async def _record(log: EventLog, job_id: UUID, result: Message, context: CallContext, subject_id: str) -> None:
    await log.execute(JOB, job_id, lambda now: domain.conclude(now, result), context, subject_id=subject_id)


async def _extracted(recogniser: Recogniser, state: domain.Job) -> Message:
    request = state.extraction
    assert request is not None
    started = time.monotonic()
    fields = await recogniser.extract(request.type, request.document)
    engine, version = await recogniser.identity()
    return events_pb2.FieldsExtracted(
        job_id=request.job_id,
        certificate_id=request.certificate_id,
        document_sha256=request.document.sha256,
        pages_rendered=len(request.document.pages),
        fields=fields,
        engine=engine,
        engine_version=version,
        duration_us=int((time.monotonic() - started) * 1_000_000),
        subject_id=request.subject_id,
    )


async def _read(recogniser: Recogniser, state: domain.Job) -> Message:
    request = state.regions
    assert request is not None
    questions = [Question(mark.page, box_of(mark.box)) for mark in request.marks]
    regions = await recogniser.regions(request.document, questions, urgent=False)
    engine, version = await recogniser.identity()
    return events_pb2.RegionsRecognised(
        job_id=request.job_id,
        certificate_id=request.certificate_id,
        document_sha256=request.document.sha256,
        readings=region_readings(request.marks, regions),
        engine=engine,
        engine_version=version,
        subject_id=request.subject_id,
    )


def box_of(box: types_pb2.Box) -> tuple[float, float, float, float]:
    """The message's box as a tuple."""
    return box.x0, box.y0, box.x1, box.y1
