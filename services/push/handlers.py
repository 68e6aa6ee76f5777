"""Commands: load, decide, append."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import Update, func, select, update
from sqlalchemy.dialects.postgresql import insert
from yunku.push.v1 import events_pb2, service_pb2

import catalogue
from kernel import ids, texts
from kernel.context import CallContext, Caller
from kernel.errors import YunkuError
from kernel.eventlog.events import RecordedEvent
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog, Transaction, VersionConflict, utc_now
from kernel.nats_accounts import Keyring, push_subject, review_subject
from kernel.observability.logging import get_logger
from kernel.rpc.identity import GATEWAY
from services.push import cloudevents, domain
from services.push.cloudevents import Answer, AppealAnswer, Refused, ReviewAnswer
from services.push.projections import DOMAIN, PUSH
from services.push.tables import answers, domains, memberships, notices, pushes

T = TypeVar("T")

_log = get_logger(__name__)
_ATTEMPTS = 16
#: No domain is told of more refusals than these while it takes none of them: what it sends must not fill our tables.
MAX_REFUSALS = 1000


async def atomically(log: EventLog, work: Callable[[Transaction], Awaitable[T]]) -> T:
    """``work`` in one transaction, again from the start where another writer was first."""
    for attempt in range(_ATTEMPTS):
        try:
            async with log.transaction() as transaction:
                return await work(transaction)
        except VersionConflict:
            await asyncio.sleep(0.002 * attempt)
    raise YunkuError("version_conflict")


# -- domains -----------------------------------------------------------------------------------------------------------


def stream_of(domain_id: str) -> UUID:
    """The stream of a domain, which follows from its id: a second registration meets the first one's."""
    return ids.derived("domain", domain_id)


async def register_domain(
    log: EventLog, keyring: Keyring, request: service_pb2.RegisterDomainRequest, context: CallContext
) -> service_pb2.RegisterDomainResponse:
    """Registers a domain; its NATS account is made after this, from the read model.

    Raises ``role_missing`` unless an administrator or a service asks, and what ``domain.register_domain`` raises.
    """
    _require_administrator(context.caller)
    known = catalogue.load()
    outcome = await log.execute(
        DOMAIN,
        stream_of(request.id),
        lambda state: domain.register_domain(
            state, domain_id=request.id, name=request.name, automatic_types=request.automatic_types, catalogue=known
        ),
        context,
        respond=lambda state, version: service_pb2.RegisterDomainResponse(
            domain=domain_message(state),
            credentials_file=str((keyring.domain_directory(state.domain_id) / "system.creds").absolute()),
        ),
    )
    response: service_pb2.RegisterDomainResponse = outcome.response
    return response


async def change_domain(log: EventLog, request: service_pb2.ChangeDomainRequest, context: CallContext) -> service_pb2.ChangeDomainResponse:
    """Changes a domain. Raises ``role_missing`` unless an administrator or a service asks, and what ``domain.change_domain`` raises."""
    _require_administrator(context.caller)
    known = catalogue.load()
    outcome = await log.execute(
        DOMAIN,
        stream_of(request.id),
        lambda state: domain.change_domain(
            state,
            name=request.name,
            automatic_types=request.automatic_types,
            closed=request.closed,
            expected_version=request.expected_version,
            catalogue=known,
        ),
        context,
        respond=lambda state, version: service_pb2.ChangeDomainResponse(domain=domain_message(state)),
    )
    response: service_pb2.ChangeDomainResponse = outcome.response
    return response


def _require_administrator(caller: Caller) -> None:
    if caller.kind != "service" or caller.id == GATEWAY:  # the gateway by itself is whoever has no session
        caller.require_role("ADMINISTRATOR", "")


def domain_message(state: domain.Domain) -> service_pb2.Domain:
    """A domain as callers see it."""
    message = service_pb2.Domain(
        id=state.domain_id,
        name=state.name,
        automatic_types=state.automatic_types,
        push_subject=push_subject(state.domain_id),
        review_subject=review_subject(state.domain_id),
        closed=state.closed,
        version=state.version,
    )
    if state.registered_at is not None:
        message.registered_at.FromDatetime(state.registered_at)
    return message


# -- reviews by people -------------------------------------------------------------------------------------------------


async def review(log: EventLog, request: service_pb2.ReviewRequest, context: CallContext) -> service_pb2.ReviewResponse:
    """A reviewer decides. Raises what ``_to_be_decided`` and ``domain.review`` raise."""
    push_id, subject_id = await _to_be_decided(log, request.push_id, context.caller)
    known = catalogue.load()
    outcome = await log.execute(
        PUSH,
        push_id,
        lambda state: domain.review(
            state,
            decision=request.decision,
            opinion=request.opinion,
            reasons=[(one.field, one.text) for one in request.reasons],
            reviewer=domain.Reviewer(events_pb2.REVIEW_CHANNEL_REVIEWER, context.caller.id),
            catalogue=known,
        ),
        context,
        respond=lambda state, version: service_pb2.ReviewResponse(push=push_message(state)),
        subject_id=subject_id,
    )
    response: service_pb2.ReviewResponse = outcome.response
    return response


async def answer_appeal(log: EventLog, request: service_pb2.AnswerAppealRequest, context: CallContext) -> service_pb2.AnswerAppealResponse:
    """A reviewer answers an appeal. Raises what ``_to_be_decided`` and ``domain.answer_appeal`` raise."""
    push_id, subject_id = await _to_be_decided(log, request.push_id, context.caller)
    outcome = await log.execute(
        PUSH,
        push_id,
        lambda state: domain.answer_appeal(
            state,
            decision=request.decision,
            opinion=request.opinion,
            reviewer=domain.Reviewer(events_pb2.REVIEW_CHANNEL_REVIEWER, context.caller.id),
        ),
        context,
        respond=lambda state, version: service_pb2.AnswerAppealResponse(push=push_message(state)),
        subject_id=subject_id,
    )
    response: service_pb2.AnswerAppealResponse = outcome.response
    return response


async def _to_be_decided(log: EventLog, text: str, caller: Caller) -> tuple[UUID, str]:
    """(push, company) that the caller may decide about as a person. Raises ``role_missing`` for who isn't a reviewer, ``not_found``
    for another domain's push, and ``reviewer_of_company`` for who may act for the company."""
    caller.require_role("REVIEWER")
    push_id = as_uuid(text)
    async with log.pool.connection() as connection:
        query = select(pushes.c.domain_id, pushes.c.subject_id).where(pushes.c.push_id == push_id)
        row = await (await connection.execute(*render(query), prepare=True)).fetchone()
        if row is None or not caller.has_role("REVIEWER", row[0]):
            raise YunkuError("not_found")
        subject_id: str = row[1]
        member = select(memberships.c.subject_id).where(memberships.c.account_id == caller.id, memberships.c.subject_id == subject_id)
        of_company = await (await connection.execute(*render(member), prepare=True)).fetchone()
    if of_company is not None or caller.subject_id == subject_id:
        raise YunkuError("reviewer_of_company")
    return push_id, subject_id


async def appeal(log: EventLog, request: service_pb2.AppealRequest, context: CallContext) -> service_pb2.AppealResponse:
    """The company contests a rejection. Raises ``subject_not_picked`` and what ``domain.appeal`` raises."""
    subject_id = context.caller.require_subject()
    push_id = as_uuid(request.push_id)
    async with log.pool.connection() as connection:
        query = select(pushes.c.push_id).where(pushes.c.push_id == push_id, pushes.c.subject_id == subject_id)
        if await (await connection.execute(*render(query), prepare=True)).fetchone() is None:
            raise YunkuError("not_found")
    outcome = await log.execute(
        PUSH,
        push_id,
        lambda state: domain.appeal(state, subject_id=subject_id, account_id=context.caller.id, grounds=request.grounds),
        context,
        respond=lambda state, version: service_pb2.AppealResponse(push=push_message(state)),
        subject_id=subject_id,
    )
    response: service_pb2.AppealResponse = outcome.response
    return response


def as_uuid(text: str) -> UUID:
    """The push that a caller names; ``not_found`` for what can't be one."""
    try:
        return UUID(text)
    except ValueError:
        raise YunkuError("not_found") from None


def push_message(state: domain.Push, now: datetime | None = None) -> service_pb2.Push:
    """A push as reviewers see it; with ``now``, also for how long its domain has been silent."""
    opened = state.opened
    assert opened is not None
    message = service_pb2.Push(
        id=opened.push_id,
        certificate_id=opened.certificate_id,
        domain_id=opened.domain_id,
        number=opened.number,
        state=state.state,
        delivery=state.delivery,
        holder=opened.holder,
        type=opened.type,
        version=opened.version,
        unique_code=opened.unique_code,
        light=opened.light,
        fields=opened.fields,
        document=opened.document if opened.HasField("document") else None,
        seal=opened.seal if opened.HasField("seal") else None,
        objection=opened.objection,
    )
    message.pushed_at.FromMicroseconds(opened.requested_at_us)
    if state.reviewed is not None and state.reviewed_at is not None:
        message.reviewed_at.FromDatetime(state.reviewed_at)
        message.opinion = state.reviewed.opinion
        message.reviewer_id = state.reviewed.reviewer_id
        message.channel = domain.CHANNELS[state.reviewed.channel]
        message.reasons.extend(state.reviewed.reasons)
    elif now is not None and state.state == domain.PENDING and state.acknowledged_at is None:
        message.waiting_seconds = max(0.0, now.timestamp() - opened.requested_at_us / 1e6)
    if state.appealed is not None and state.appealed_at is not None:
        message.appeal.state = state.appeal
        message.appeal.grounds = state.appealed.grounds
        message.appeal.appealed_at.FromDatetime(state.appealed_at)
        if state.answered is not None and state.answered_at is not None:
            message.appeal.opinion = state.answered.opinion
            message.appeal.answered_at.FromDatetime(state.answered_at)
            message.appeal.reviewer_id = state.answered.reviewer_id
            message.appeal.channel = domain.CHANNELS[state.answered.channel]
    return message


# -- what happens between us and a domain's system ---------------------------------------------------------------------


async def sent(log: EventLog, notice_id: str, push: list[RecordedEvent] | None, stream_sequence: int) -> None:
    """The domain's stream stored a notice. For the push itself (``push``: its events) that is its delivery, and where the domain
    reviews the type by rule, its approval."""

    async def work(transaction: Transaction) -> None:
        stored = (
            update(notices).where(notices.c.notice_id == notice_id).values(stream_sequence=stream_sequence, sent_at=func.clock_timestamp())
        )
        await transaction.connection.execute(*render(stored))
        if push is None:
            return
        opened: events_pb2.PushOpened = push[0].data
        await log.execute(
            PUSH,
            push[0].stream_id,
            lambda state: domain.deliver(state, stream_sequence=stream_sequence),
            _caused_by(push[0], Caller(kind="service", id=log.service)),
            transaction=transaction,
            subject_id=opened.holder.subject_id,
        )

    await atomically(log, work)


async def reviews_by_rule(transaction: Transaction, domain_id: str, type_code: str) -> bool:
    """Whether the domain reviews certificates of the type by rule."""
    query = select(domains.c.automatic_types).where(domains.c.domain_id == domain_id)
    row = await (await transaction.connection.execute(*render(query), prepare=True)).fetchone()
    return row is not None and type_code in row[0]


async def taken(log: EventLog, notice_id: str, push_id: UUID | None, domain_id: str, *, is_push: bool) -> None:
    """The domain's system acknowledged a notice on its durable consumer; for a push that acknowledges the push."""
    events = await log.read_stream(push_id) if is_push and push_id is not None else []

    async def work(transaction: Transaction) -> None:
        await transaction.connection.execute(*render(_mark_taken(notice_id)))
        if events:
            await log.execute(
                PUSH,
                events[0].stream_id,
                domain.acknowledge,
                _caused_by(events[0], Caller(kind="domain_system", id=domain_id)),
                transaction=transaction,
                subject_id=events[0].data.holder.subject_id,
            )

    await atomically(log, work)


def _mark_taken(notice_id: str) -> Update:
    return update(notices).where(notices.c.notice_id == notice_id, notices.c.taken_at.is_(None)).values(taken_at=func.clock_timestamp())


async def take_answer(log: EventLog, domain_id: str, body: bytes) -> str:
    """Takes in what a domain's system published: it has its effect once, or is refused and the domain told so.

    Answers "" where it took effect (now or when it came before), or the refusal's code. Raises only for the database.
    """
    digest = cloudevents.sha256(body)
    try:
        answer = cloudevents.read_answer(body)
    except Refused as refused:
        return await _refuse(log, domain_id, digest, refused)
    key = cloudevents.sha256(f"{domain_id}\n{answer.identity}".encode())

    async def work(transaction: Transaction) -> str:
        row = insert(answers).values(answer_key=key, domain_id=domain_id, body_sha256=digest, code="", received_at=func.clock_timestamp())
        claim = row.on_conflict_do_nothing().returning(answers.c.answer_key)
        claimed = await (await transaction.connection.execute(*render(claim))).fetchone()
        if claimed is None:
            earlier = select(answers.c.body_sha256, answers.c.code).where(answers.c.answer_key == key)
            found = await (await transaction.connection.execute(*render(earlier))).fetchone()
            if found is not None and found[0] == digest:
                return str(found[1])
            raise Refused("idempotency_key_reused", answer_id=answer.answer_id, push_id=answer.data.push_id)
        try:
            await _apply(log, transaction, domain_id, answer)
        except YunkuError as refused:
            code = refused.code
            await transaction.connection.execute(*render(update(answers).where(answers.c.answer_key == key).values(code=code)))
            await _tell_refusal(transaction, domain_id, digest, Refused(code, answer_id=answer.answer_id, push_id=answer.data.push_id))
            return code
        return ""

    try:
        code = await atomically(log, work)
    except Refused as refused:
        return await _refuse(log, domain_id, digest, refused)
    if code:
        _log.warning("answer refused", domain=domain_id, code=code, push_id=answer.data.push_id)
    return code


async def _apply(log: EventLog, transaction: Transaction, domain_id: str, answer: Answer) -> None:
    push_id = as_uuid(answer.data.push_id)
    # The read model holds pushes only: an id of any other stream is as unknown as one of another domain's push.
    query = select(pushes.c.push_id).where(pushes.c.push_id == push_id, pushes.c.domain_id == domain_id)
    if await (await transaction.connection.execute(*render(query), prepare=True)).fetchone() is None:
        raise YunkuError("not_found")
    events = await log.read_stream(push_id, transaction.connection)
    known = catalogue.load()

    def decide(state: domain.Push) -> list[Message]:
        # Who decides has the push, whatever its system acknowledged.
        decided = domain.acknowledge(state)
        match answer.data:
            case ReviewAnswer() as review:
                decided += domain.review(
                    state,
                    decision=review.decision,
                    opinion=review.opinion,
                    reasons=[(one.field, one.text) for one in review.reasons],
                    reviewer=domain.Reviewer(events_pb2.REVIEW_CHANNEL_SYSTEM, domain_id, review.reviewer),
                    catalogue=known,
                )
            case AppealAnswer() as appeal:
                decided += domain.answer_appeal(
                    state,
                    decision=appeal.decision,
                    opinion=appeal.opinion,
                    reviewer=domain.Reviewer(events_pb2.REVIEW_CHANNEL_SYSTEM, domain_id, appeal.reviewer),
                )
        return decided

    await log.execute(
        PUSH,
        push_id,
        decide,
        _caused_by(events[0], Caller(kind="domain_system", id=domain_id)),
        transaction=transaction,
        subject_id=events[0].data.holder.subject_id,
    )
    # It needn't be sent again, however the system received it.
    await transaction.connection.execute(*render(_mark_taken(cloudevents.requested_id(answer.data.push_id))))


async def refuse(log: EventLog, domain_id: str, body: bytes, code: str) -> str:
    """Refuses an answer without having read it."""
    return await _refuse(log, domain_id, cloudevents.sha256(body), Refused(code))


async def _refuse(log: EventLog, domain_id: str, digest: str, refused: Refused) -> str:
    async def work(transaction: Transaction) -> str:
        await _tell_refusal(transaction, domain_id, digest, refused)
        return refused.code

    _log.warning("answer refused", domain=domain_id, code=refused.code, push_id=refused.push_id)
    return await atomically(log, work)


async def _tell_refusal(transaction: Transaction, domain_id: str, digest: str, refused: Refused) -> None:
    """A notice to the domain; the same answer refused for the same reason is told once, however often it comes."""
    waiting = select(func.count()).select_from(notices).where(notices.c.domain_id == domain_id, notices.c.kind == "refused")
    row = await (await transaction.connection.execute(*render(waiting.where(notices.c.taken_at.is_(None))))).fetchone()
    if row is not None and row[0] >= MAX_REFUSALS:
        return
    now = utc_now()
    notice_id = str(ids.derived("refusal", domain_id, digest, refused.code))
    event = cloudevents.ReviewRefusedEvent(
        id=notice_id,
        time=now,
        data=cloudevents.ReviewRefused(
            code=refused.code,
            title=texts.text(f"errors.{refused.code}"),
            push_id=refused.push_id,
            answer_id=refused.answer_id,
            answer_sha256=digest,
            received_at=now,
        ),
    )
    notice = insert(notices).values(
        notice_id=notice_id, domain_id=domain_id, kind="refused", position=0, body=cloudevents.encode(event), created_at=now
    )
    await transaction.connection.execute(*render(notice.on_conflict_do_nothing()))


def _caused_by(opened: RecordedEvent, caller: Caller) -> CallContext:
    """The surroundings of what follows from a push."""
    return CallContext(
        caller,
        correlation_id=opened.meta.correlation_id,
        causation_id=str(opened.event_id),
        trace_parent=opened.meta.trace_parent,
    )
