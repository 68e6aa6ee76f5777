"""What companies ask of domains (certificate), and who may act for which company (identity)."""

from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from yunku.certificate.v1 import events_pb2 as certificate_events_pb2
from yunku.identity.v1 import events_pb2 as identity_events_pb2
from yunku.push.v1 import events_pb2

import catalogue
from kernel.bus.consumer import Subscription
from kernel.context import CallContext
from kernel.eventlog.events import RecordedEvent
from kernel.eventlog.hashing import microseconds
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog, Transaction
from services.push import domain
from services.push.projections import PUSH
from services.push.tables import memberships


def subscriptions(log: EventLog) -> list[Subscription]:
    """Takes pushes on and back. Telling the domain is the links' work."""

    async def on_requested(event: RecordedEvent, transaction: Transaction, context: CallContext) -> None:
        request: certificate_events_pb2.PushRequested = event.data
        opened = events_pb2.PushOpened(
            push_id=request.push_id,
            certificate_id=request.certificate_id,
            number=request.number,
            domain_id=request.domain_id,
            holder=request.holder,
            type=request.type,
            version=request.version,
            unique_code=request.unique_code,
            light=request.light,
            # Whole personal numbers don't enter this log: no domain needs them, and what isn't here needn't be erased.
            fields=domain.masked(catalogue.load(), request.type, request.fields),
            document=request.document if request.HasField("document") else None,
            seal=request.seal if request.HasField("seal") else None,
            requested_at_us=microseconds(event.recorded_at),
        )
        await log.execute(
            PUSH,
            UUID(request.push_id),
            lambda state: domain.open_push(state, opened),
            context,
            transaction=transaction,
            subject_id=request.holder.subject_id,
        )

    async def on_withdrawal(event: RecordedEvent, transaction: Transaction, context: CallContext) -> None:
        await log.execute(
            PUSH,
            UUID(event.data.push_id),
            domain.withdraw,
            context,
            transaction=transaction,
            subject_id=event.meta.acting_subject_id,
        )

    async def on_membership(event: RecordedEvent, transaction: Transaction, context: CallContext) -> None:
        granted: identity_events_pb2.MembershipGranted = event.data
        row = insert(memberships).values(account_id=granted.account_id, subject_id=granted.subject_id)
        await transaction.connection.execute(*render(row.on_conflict_do_nothing()))

    return [
        Subscription(
            "certificate",
            certificate_events_pb2,
            {
                certificate_events_pb2.PushRequested: on_requested,
                certificate_events_pb2.PushWithdrawalRequested: on_withdrawal,
            },
        ),
        Subscription("identity", identity_events_pb2, {identity_events_pb2.MembershipGranted: on_membership}),
    ]
