"""What companies ask of domains (certificate), and who may act for which company (identity)."""

from dataclasses import replace
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from yunku.certificate.v1 import events_pb2 as certificate_events_pb2
from yunku.identity.v1 import events_pb2 as identity_events_pb2
from yunku.kernel.v1 import kernel_pb2
from yunku.push.v1 import events_pb2

import catalogue
from kernel.bus.consumer import Subscription
from kernel.context import CallContext, Caller
from kernel.eventlog.events import RecordedEvent
from kernel.eventlog.hashing import microseconds
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog, Transaction
from services.push import domain
from services.push.handlers import reviews_by_rule, stream_of
from services.push.projections import DOMAIN, PUSH
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
            # As the domain's rules are now: a later change of them is for later pushes.
            objection=domain.without_numbers(request.objection),
            automatic=await reviews_by_rule(transaction, request.domain_id, request.type),
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
        """Who is a member reviews nothing of the company; an invitation alone, which any company can send, bars nobody."""
        granted = event.data
        if isinstance(granted, identity_events_pb2.MembershipGranted) and granted.invited_by:
            return
        row = insert(memberships).values(account_id=granted.account_id, subject_id=granted.subject_id)
        await transaction.connection.execute(*render(row.on_conflict_do_nothing()))

    async def on_role(event: RecordedEvent, transaction: Transaction, context: CallContext) -> None:
        role: identity_events_pb2.RoleGranted | identity_events_pb2.RoleRevoked = event.data
        if role.role != "REVIEWER" or not domain.DOMAIN_ID.fullmatch(role.domain_id):
            return
        admitted = isinstance(role, identity_events_pb2.RoleGranted)
        # The record names the administrator who gave or took the role.
        actor = Caller(kind="account" if event.meta.actor_kind == kernel_pb2.ACTOR_KIND_ACCOUNT else "service", id=event.meta.actor_id)
        await log.execute(
            DOMAIN,
            stream_of(role.domain_id),
            lambda state: domain.record_reviewer(state, domain_id=role.domain_id, account_id=role.account_id, admitted=admitted),
            replace(context, caller=actor),
            transaction=transaction,
        )

    async def on_membership_ended(event: RecordedEvent, transaction: Transaction, context: CallContext) -> None:
        ended: identity_events_pb2.MembershipEnded = event.data
        gone = (memberships.c.account_id == ended.account_id, memberships.c.subject_id == ended.subject_id)
        await transaction.connection.execute(*render(delete(memberships).where(*gone)))

    return [
        Subscription(
            "certificate",
            certificate_events_pb2,
            {
                certificate_events_pb2.PushRequested: on_requested,
                certificate_events_pb2.PushWithdrawalRequested: on_withdrawal,
            },
        ),
        Subscription(
            "identity",
            identity_events_pb2,
            {
                identity_events_pb2.MembershipGranted: on_membership,
                identity_events_pb2.RoleGranted: on_role,
                identity_events_pb2.RoleRevoked: on_role,
                identity_events_pb2.MembershipAccepted: on_membership,
                identity_events_pb2.MembershipEnded: on_membership_ended,
            },
        ),
    ]
