"""Which of this service's work is carried out in the background, and how."""

from typing import Final

from kernel.eventlog.store import EventLog
from kernel.jobs import JobWorker
from services.ocr import handlers
from services.ocr.recogniser import Recogniser
from services.ocr.tables import jobs

#: What passes by itself, so that it needn't be waited for once recognition works again.
_PASSING: Final = ("recognition_unavailable", "sandbox_unavailable", "storage_unavailable")


class Worker(JobWorker):
    """Carries recognition jobs out."""

    def __init__(self, log: EventLog, recogniser: Recogniser, *, concurrency: int, longest_pause: float) -> None:
        super().__init__(
            log,
            jobs,
            lambda job_id: handlers.carry_out(log, recogniser, job_id, longest_pause=longest_pause),
            kind="recognition",
            passing=_PASSING,
            concurrency=concurrency,
        )
