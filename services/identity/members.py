"""Who may act for a company, and as what. Memberships are the accounts' own; a lock on the company holds what concerns
all of them together (the last administrator, how many they are)."""

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import select
from yunku.identity.v1 import service_pb2

from kernel.context import MEMBER_ADMINISTRATOR, CallContext
from kernel.errors import YunkuError
from kernel.eventlog.sql import render
from kernel.eventlog.store import VersionConflict
from services.identity import adapters, domain, queries
from services.identity.handlers import NAME, PHONE, Means, account_of_phone, parse_id, parse_phone
from services.identity.projections import ACCOUNT
from services.identity.queries import Member
from services.identity.tables import subjects

_ATTEMPTS: Final = 8
#: (account's state, the company's members now) -> events
_Decide = Callable[[domain.Account, list[Member]], list[Message]]


async def list_members(means: Means, request: service_pb2.ListMembersRequest, context: CallContext) -> service_pb2.ListMembersResponse:
    """The members of the company that the caller acts for; auditors see every company's. Raises ``not_found``."""
    caller = context.caller
    subject_id = parse_id(request.subject_id)
    if not caller.has_role("AUDITOR") and caller.require_subject() != str(subject_id):
        raise YunkuError("not_found")
    async with means.log.pool.connection() as connection:
        found = await _members(means, connection, subject_id)
    return service_pb2.ListMembersResponse(items=[_message(one) for one in found])


async def add_member(means: Means, request: service_pb2.AddMemberRequest, context: CallContext) -> service_pb2.AddMemberResponse:
    """Invites a phone number. What is answered doesn't depend on whether it has an account."""
    subject_id = _own(request.subject_id, context)
    domain.require_member_role(request.role)
    phone = parse_phone(request.phone)
    account_id = account_of_phone(means.keyring, phone)
    await means.limits.take(f"invite:{subject_id}", adapters.INVITATIONS_PER_SUBJECT, means.clock())
    statement = select(subjects.c.uscc, subjects.c.name, subjects.c.types).where(subjects.c.subject_id == subject_id)
    async with means.log.pool.connection() as connection:
        row = await (await connection.execute(*render(statement), prepare=True)).fetchone()
    if row is None:
        raise YunkuError("not_found")

    def decide(state: domain.Account, members: list[Member]) -> list[Message]:
        _require_administrator(members, context)
        return domain.invite(
            state,
            account_id=str(account_id),
            subject_id=str(subject_id),
            uscc=row[0],
            subject_name=row[1],
            subject_types=tuple(row[2]),
            role=request.role,
            invited_by=context.caller.id,
            masked_phone=queries.masked_phone(phone),
            members=len(members),
        )

    return service_pb2.AddMemberResponse(member=await _change(means, context, subject_id, account_id, decide))


async def change_role(
    means: Means, request: service_pb2.ChangeMemberRoleRequest, context: CallContext
) -> service_pb2.ChangeMemberRoleResponse:
    """Another role, at once: sessions are asked for theirs on every request."""
    subject_id, account_id = _own(request.subject_id, context), parse_id(request.account_id)

    def decide(state: domain.Account, members: list[Member]) -> list[Message]:
        _require_administrator(members, context)
        return domain.change_member_role(
            state,
            account_id=str(account_id),
            subject_id=str(subject_id),
            role=request.role,
            other_administrators=_other_administrators(members, account_id),
        )

    return service_pb2.ChangeMemberRoleResponse(member=await _change(means, context, subject_id, account_id, decide))


async def remove(means: Means, request: service_pb2.RemoveMemberRequest, context: CallContext) -> None:
    """Ends a membership, at once: an administrator anybody's, everybody their own (also without acting for the company)."""
    account_id = parse_id(request.account_id)
    leaves = context.caller.kind == "account" and context.caller.id == str(account_id)
    subject_id = parse_id(request.subject_id) if leaves else _own(request.subject_id, context)

    def decide(state: domain.Account, members: list[Member]) -> list[Message]:
        if not leaves:
            _require_administrator(members, context)
        return domain.end_membership(
            state,
            account_id=str(account_id),
            subject_id=str(subject_id),
            is_key=any(one.is_key for one in members if one.account_id == str(account_id)),
            other_administrators=_other_administrators(members, account_id),
        )

    await _change(means, context, subject_id, account_id, decide)


async def _change(means: Means, context: CallContext, subject_id: UUID, account_id: UUID, decide: _Decide) -> service_pb2.Member | None:
    """Runs ``decide`` while nobody else changes the company's members; the member as it is then, None where it is none any more."""
    for _ in range(_ATTEMPTS):
        try:
            async with means.log.transaction() as transaction:
                connection = transaction.connection
                await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"members:{subject_id}",))
                present = await _members(means, connection, subject_id)
                await means.log.execute(
                    ACCOUNT,
                    account_id,
                    lambda state, present=present: decide(state, present),  # type: ignore[misc]
                    context,
                    transaction=transaction,
                    subject_id=str(subject_id),
                )
                after = await _members(means, connection, subject_id)
        except VersionConflict:
            continue
        return next((_message(one) for one in after if one.account_id == str(account_id)), None)
    raise YunkuError("version_conflict")


async def _members(means: Means, connection: Any, subject_id: UUID) -> list[Member]:
    return await queries.members(connection, means.keyring, subject_id, NAME, PHONE)


def _own(text: str, context: CallContext) -> UUID:
    """The company that the account acts for; ``not_found`` for every other one."""
    if context.caller.kind != "account" or context.caller.require_subject() != text:
        raise YunkuError("not_found")
    return parse_id(text)


def _require_administrator(members: list[Member], context: CallContext) -> None:
    """By what the register says now, not by what the session was told when it began."""
    if not any(one.account_id == context.caller.id and one.role == MEMBER_ADMINISTRATOR and one.accepted for one in members):
        raise YunkuError("role_missing", role=MEMBER_ADMINISTRATOR)


def _other_administrators(members: list[Member], account_id: UUID) -> int:
    return sum(one.role == MEMBER_ADMINISTRATOR and one.accepted and one.account_id != str(account_id) for one in members)


def _message(one: Member) -> service_pb2.Member:
    return service_pb2.Member(
        account_id=one.account_id,
        kind="key" if one.is_key else "person",
        name=one.name,
        masked_phone=one.masked_phone,
        role=one.role,
        state="active" if one.accepted else "invited",
    )
