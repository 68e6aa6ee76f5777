"""What may happen to one recognition job: it is requested, put off as often as recognition can't answer, and done once.

A job reads a whole document (``extraction``) or the regions that the user marked (``regions``), ahead of the
verification that will ask for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from google.protobuf.message import Message
from yunku.certificate.v1 import events_pb2 as certificate_events_pb2
from yunku.certificate.v1 import types_pb2
from yunku.ocr.v1 import events_pb2

EXTRACTION: Final = "extraction"
REGIONS: Final = "regions"
#: Seconds before the second attempt; it doubles with each one, up to a limit that is handed in.
FIRST_PAUSE: Final = 1.0


@dataclass(frozen=True)
class Job:
    """One job as its stream says. ``due_at`` is when it is to be tried (again), None once it is done."""

    extraction: events_pb2.ExtractionRequested | None = None
    regions: events_pb2.RegionsRequested | None = None
    done: bool = False
    attempts: int = 0
    reason: str = ""
    due_at: datetime | None = None

    @property
    def requested(self) -> bool:
        """Whether there is such a job at all."""
        return self.extraction is not None or self.regions is not None

    @property
    def kind(self) -> str:
        """``extraction`` or ``regions``."""
        return EXTRACTION if self.extraction is not None else REGIONS

    @property
    def request(self) -> Any:
        """What was asked for; both kinds name the job, the certificate, the document and the subject."""
        return self.extraction if self.extraction is not None else self.regions


def evolve(state: Job, event: Any, recorded_at: datetime) -> Job:
    """The state after ``event``."""
    match event:
        case events_pb2.ExtractionRequested():
            return replace(state, extraction=event, due_at=recorded_at)
        case events_pb2.RegionsRequested():
            return replace(state, regions=event, due_at=recorded_at)
        case events_pb2.RecognitionPostponed():
            due_at = recorded_at.fromtimestamp(event.next_attempt_us / 1e6, recorded_at.tzinfo)
            return replace(state, attempts=event.attempts, reason=event.reason, due_at=due_at)
        case events_pb2.FieldsExtracted() | events_pb2.RegionsRecognised():
            return replace(state, done=True, reason="", due_at=None)
    raise TypeError(f"{type(event).__name__} is no event of a recognition job")


def request_extraction(state: Job, job_id: str, uploaded: certificate_events_pb2.CertificateUploaded, subject_id: str) -> list[Message]:
    """Asks for a document to be rendered and read; a job that was taken on already changes nothing."""
    if state.requested:
        return []
    return [
        events_pb2.ExtractionRequested(
            job_id=job_id,
            certificate_id=uploaded.certificate_id,
            type=uploaded.type,
            document=uploaded.document,
            subject_id=subject_id,
        )
    ]


def request_regions(
    state: Job,
    job_id: str,
    certificate_id: str,
    document: types_pb2.Document,
    marks: Sequence[types_pb2.Mark],
    subject_id: str,
) -> list[Message]:
    """Asks for marked regions to be read ahead; nothing to do without marks or for a job that was taken on already."""
    if state.requested or not marks:
        return []
    return [
        events_pb2.RegionsRequested(job_id=job_id, certificate_id=certificate_id, document=document, marks=marks, subject_id=subject_id)
    ]


def postpone(state: Job, *, reason: str, now: datetime, longest_pause: float) -> list[Message]:
    """Recognition could not answer (``reason``: a key of the texts ``ocr.postponed``): tried again, ever more slowly."""
    if not state.requested or state.done:
        return []
    pause = min(FIRST_PAUSE * 2 ** min(state.attempts, 30), longest_pause)
    due_at = now + timedelta(seconds=pause)
    request = state.request
    return [
        events_pb2.RecognitionPostponed(
            job_id=request.job_id,
            certificate_id=request.certificate_id,
            document_sha256=request.document.sha256,
            reason=reason,
            attempts=state.attempts + 1,
            next_attempt_us=int(due_at.timestamp() * 1_000_000),
            subject_id=request.subject_id,
        )
    ]


def conclude(state: Job, result: Message) -> list[Message]:
    """Records the result; a second one (of another process that worked on the same) changes nothing."""
    if not state.requested or state.done:
        return []
    return [result]
