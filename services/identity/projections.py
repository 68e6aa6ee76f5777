"""What the log of this service holds, and the read models made of it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from yunku.identity.v1 import events_pb2
from yunku.kernel.v1 import kernel_pb2

from kernel.eventlog.aggregate import Aggregate, StateProjection
from kernel.eventlog.events import EventTypes
from services.identity import domain, tables
from services.identity.upcasters import UPCASTERS


def account_row(stream_id: UUID, state: domain.Account, version: int) -> Mapping[str, Any] | None:
    """The row of one account; before its first login only where it is a member already (a company's key, an invited number)."""
    if not state.opened and not state.memberships:
        return None
    return {
        "account_id": stream_id,
        "phone": _stored(state.phone),
        "name": _stored(state.name),
        "password_hash": _stored(state.password_hash),
        "person_id": UUID(state.phone.person_id) if state.phone is not None else None,
        "key_uscc": state.key_uscc,
        "company_name": state.company_name,
        "subject_ids": [UUID(one.subject_id) for one in state.memberships],
        "member_roles": [one.role for one in state.memberships],
        "member_accepted": [one.accepted for one in state.memberships],
        "member_phones": [one.masked_phone for one in state.memberships],
        "roles": [f"{role}:{domain_id}" if domain_id else role for role, domain_id in state.roles],
        "erased": state.erased,
        "revision": version,
    }


def session_row(stream_id: UUID, state: domain.Session, version: int) -> Mapping[str, Any] | None:
    """The row of one session."""
    if not state.account_id:
        return None
    return {
        "session_id": stream_id,
        "account_id": UUID(state.account_id),
        "person_id": UUID(state.person_id) if state.person_id else None,
        "method": state.method,
        "token_hash": state.token_hash,
        "expires_at": state.expires_at,
        "subject_id": state.subject_id,
        "subject_type": state.subject_type,
        "closed": state.closed,
        "revision": version,
    }


def _stored(value: kernel_pb2.EncryptedValue | None) -> bytes | None:
    return value.SerializeToString(deterministic=True) if value is not None else None


TYPES = EventTypes(events_pb2, UPCASTERS)
ACCOUNT = Aggregate(
    name="account",
    initial=domain.Account(),
    evolve=domain.evolve_account,
    events=(
        events_pb2.AccountRegistered,
        events_pb2.KeyAccountOpened,
        events_pb2.MembershipGranted,
        events_pb2.MembershipAccepted,
        events_pb2.MemberRoleChanged,
        events_pb2.MembershipEnded,
        events_pb2.RoleGranted,
        events_pb2.RoleRevoked,
        events_pb2.AccountErased,
    ),
    projections=(StateProjection(tables.accounts, version=2, row=account_row),),
)
SESSION = Aggregate(
    name="session",
    initial=domain.Session(),
    evolve=domain.evolve_session,
    events=(
        events_pb2.SessionOpened,
        events_pb2.SubjectPicked,
        events_pb2.SessionRenewed,
        events_pb2.SessionClosed,
    ),
    projections=(StateProjection(tables.sessions, version=1, row=session_row),),
)
REFUSAL = Aggregate(name="refusal", initial=domain.Refusal(), evolve=domain.evolve_refusal, events=(events_pb2.LoginRefused,))
AGGREGATES = (ACCOUNT, SESSION, REFUSAL)
