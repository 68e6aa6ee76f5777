"""The certificate's requests in."""

from uuid import UUID

from yunku.certificate.v1 import events_pb2 as certificate_events_pb2

from kernel.bus.consumer import Subscription
from kernel.context import CallContext
from kernel.eventlog.events import RecordedEvent
from kernel.eventlog.store import EventLog, Transaction
from services.verify import domain
from services.verify.projections import VERIFICATION


def subscriptions(log: EventLog) -> list[Subscription]:
    """Takes each requested verification on; the worker does it."""

    async def on_requested(event: RecordedEvent, transaction: Transaction, context: CallContext) -> None:
        request: certificate_events_pb2.VerificationRequested = event.data
        await log.execute(
            VERIFICATION,
            UUID(request.verification_id),
            lambda state: domain.accept(state, request),
            context,
            transaction=transaction,
            subject_id=request.holder.subject_id,
        )

    return [
        Subscription(
            producer="certificate",
            events=certificate_events_pb2,
            handlers={certificate_events_pb2.VerificationRequested: on_requested},
        )
    ]
