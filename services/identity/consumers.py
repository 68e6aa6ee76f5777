"""The subject service's events in: who may act for whom, and what the company is called."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from yunku.subject.v1 import events_pb2

from kernel.bus.consumer import Subscription
from kernel.context import MEMBER_ADMINISTRATOR, MEMBER_OPERATOR, CallContext
from kernel.eventlog.events import RecordedEvent
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog, Transaction
from services.identity import domain
from services.identity.handlers import account_of_key
from services.identity.projections import ACCOUNT
from services.identity.tables import subjects


def subscriptions(log: EventLog) -> Sequence[Subscription]:
    """What identity wants of the subject service."""

    async def on_registered(event: RecordedEvent, transaction: Transaction, context: CallContext) -> None:
        """Who registered the company may act for it, and so may its CA keys, also those that never logged in so far."""
        registered: events_pb2.SubjectRegistered = event.data
        row = {
            "subject_id": UUID(registered.subject_id),
            "uscc": registered.uscc,
            "name": registered.name,
            "types": list(registered.types),
        }
        await transaction.connection.execute(*render(insert(subjects).values(**row).on_conflict_do_nothing()))
        # Who registers a company is its administrator; its keys act for it as an operator, unless one registered it.
        roles = {account_of_key(registered.uscc): MEMBER_OPERATOR, UUID(registered.account_id): MEMBER_ADMINISTRATOR}
        for account_id, role in roles.items():
            await log.execute(
                ACCOUNT,
                account_id,
                lambda state, account_id=account_id, role=role: domain.grant_membership(  # type: ignore[misc]
                    state,
                    account_id=str(account_id),
                    subject_id=registered.subject_id,
                    uscc=registered.uscc,
                    subject_name=registered.name,
                    subject_types=tuple(registered.types),
                    role=role,
                ),
                context,
                transaction=transaction,
                subject_id=registered.subject_id,
            )

    async def on_renamed(event: RecordedEvent, transaction: Transaction, context: CallContext) -> None:
        renamed: events_pb2.SubjectRenamed = event.data
        await transaction.connection.execute(
            *render(update(subjects).where(subjects.c.subject_id == UUID(renamed.subject_id)).values(name=renamed.name))
        )

    return [
        Subscription(
            producer="subject",
            events=events_pb2,
            handlers={events_pb2.SubjectRegistered: on_registered, events_pb2.SubjectRenamed: on_renamed},
        )
    ]
