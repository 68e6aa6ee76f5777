"""Which of this service's work is carried out in the background, and how."""

from typing import Final

from kernel.eventlog.store import EventLog
from kernel.jobs import JobWorker
from services.verify import handlers
from services.verify.ports import Persons, Recogniser
from services.verify.tables import verifications

#: Not those that recognition answers with an error or too late: they would come up again with every success.
_PASSING: Final = ("recognition_unavailable", "persons_unavailable")


class Worker(JobWorker):
    """Carries verifications out."""

    def __init__(self, log: EventLog, recogniser: Recogniser, persons: Persons, *, concurrency: int, longest_pause: float) -> None:
        super().__init__(
            log,
            verifications,
            lambda job_id: handlers.carry_out(log, recogniser, persons, job_id, longest_pause=longest_pause),
            kind="verification",
            passing=_PASSING,
            concurrency=concurrency,
        )
