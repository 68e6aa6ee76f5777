"""The certificate's events in: each makes a job, which the worker does."""

from yunku.certificate.v1 import events_pb2 as certificate_events_pb2

from kernel import ids
from kernel.bus.consumer import Subscription
from kernel.context import CallContext
from kernel.eventlog.events import RecordedEvent
from kernel.eventlog.store import EventLog, Transaction
from services.ocr import domain
from services.ocr.projections import JOB


def subscriptions(log: EventLog) -> list[Subscription]:
    """Takes on a job for each uploaded document and for each set of marks."""

    async def on_uploaded(event: RecordedEvent, transaction: Transaction, context: CallContext) -> None:
        uploaded: certificate_events_pb2.CertificateUploaded = event.data
        job_id = ids.derived("recognition-job", str(event.event_id))
        subject_id = event.meta.acting_subject_id
        await log.execute(
            JOB,
            job_id,
            lambda state: domain.request_extraction(state, str(job_id), uploaded, subject_id),
            context,
            transaction=transaction,
            subject_id=subject_id,
        )

    async def on_marked(event: RecordedEvent, transaction: Transaction, context: CallContext) -> None:
        marked: certificate_events_pb2.FieldsMarked = event.data
        job_id = ids.derived("recognition-job", str(event.event_id))
        subject_id = event.meta.acting_subject_id
        await log.execute(
            JOB,
            job_id,
            lambda state: domain.request_regions(state, str(job_id), marked.certificate_id, marked.document, marked.marks, subject_id),
            context,
            transaction=transaction,
            subject_id=subject_id,
        )

    return [
        Subscription(
            producer="certificate",
            events=certificate_events_pb2,
            handlers={
                certificate_events_pb2.CertificateUploaded: on_uploaded,
                certificate_events_pb2.FieldsMarked: on_marked,
            },
        )
    ]
