"""What may happen to accounts and sessions: pure decisions over frozen state."""

import hmac
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from yunku.identity.v1 import events_pb2
from yunku.kernel.v1 import kernel_pb2

from kernel.context import MEMBER_ADMINISTRATOR, MEMBER_ROLES
from kernel.errors import YunkuError

REVIEWER: Final = "REVIEWER"
#: Roles beyond membership; only a reviewer's belongs to a domain.
ROLES: Final = (REVIEWER, "ADMINISTRATOR", "AUDITOR")
#: Members of one company, invited ones included.
MAX_MEMBERS: Final = 200
#: A refresh token that comes a second time is known as such this many renewals back.
_REMEMBERED: Final = 16


# -- accounts ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Membership:
    """An account's place in one company. ``accepted`` is False as long as an invited person never acted for it."""

    subject_id: str
    role: str
    accepted: bool
    masked_phone: str = ""


@dataclass(frozen=True)
class Account:
    """One login: a person's (by phone), or a company key's. The stream may hold memberships before the login exists."""

    opened: bool = False
    phone: kernel_pb2.EncryptedValue | None = None
    name: kernel_pb2.EncryptedValue | None = None
    password_hash: kernel_pb2.EncryptedValue | None = None
    key_uscc: str = ""
    company_name: str = ""
    memberships: tuple[Membership, ...] = ()
    roles: tuple[tuple[str, str], ...] = ()
    erased: bool = False

    def membership(self, subject_id: str) -> Membership | None:
        """The account's place in a company; None where it has none."""
        return next((one for one in self.memberships if one.subject_id == subject_id), None)


def evolve_account(state: Account, event: Any, recorded_at: datetime) -> Account:
    """The account after ``event``."""
    match event:
        case events_pb2.AccountRegistered():
            # Also after an erasure: the number has got a new holder, who starts with nothing of the former one's but
            # with the invitations that came since, as those that came before a first registration.
            return Account(
                opened=True, phone=event.phone, name=event.name, password_hash=event.password_hash, memberships=state.memberships
            )
        case events_pb2.KeyAccountOpened():
            return replace(state, opened=True, key_uscc=event.uscc, company_name=event.company_name)
        case events_pb2.MembershipGranted():
            made = Membership(event.subject_id, event.role or MEMBER_ADMINISTRATOR, not event.invited_by, event.masked_phone)
            return replace(state, memberships=(*state.memberships, made))
        case events_pb2.MembershipAccepted():
            return _with_membership(state, event.subject_id, accepted=True)
        case events_pb2.MemberRoleChanged():
            return _with_membership(state, event.subject_id, role=event.role)
        case events_pb2.MembershipEnded():
            return replace(state, memberships=tuple(one for one in state.memberships if one.subject_id != event.subject_id))
        case events_pb2.RoleGranted():
            return replace(state, roles=(*state.roles, (event.role, event.domain_id)))
        case events_pb2.RoleRevoked():
            return replace(state, roles=tuple(one for one in state.roles if one != (event.role, event.domain_id)))
        case events_pb2.AccountErased():
            return Account(opened=True, erased=True)
    raise TypeError(f"{type(event).__name__} is no event of an account")


def _with_membership(state: Account, subject_id: str, **changes: Any) -> Account:
    changed = (replace(one, **changes) if one.subject_id == subject_id else one for one in state.memberships)
    return replace(state, memberships=tuple(changed))


def register_account(
    state: Account,
    *,
    account_id: str,
    phone: kernel_pb2.EncryptedValue,
    phone_index: bytes,
    name: kernel_pb2.EncryptedValue,
    password_hash: kernel_pb2.EncryptedValue,
) -> list[Message]:
    """A person registers. Raises ``phone_registered``."""
    if state.opened and not state.erased:
        raise YunkuError("phone_registered", field="/phone")
    return [
        events_pb2.AccountRegistered(account_id=account_id, phone=phone, phone_index=phone_index, name=name, password_hash=password_hash)
    ]


def open_key_account(state: Account, *, account_id: str, uscc: str, company_name: str) -> list[Message]:
    """A company's key logs in; the first time it becomes an account."""
    if state.opened:
        return []
    return [events_pb2.KeyAccountOpened(account_id=account_id, uscc=uscc, company_name=company_name)]


def grant_membership(
    state: Account, *, account_id: str, subject_id: str, uscc: str, subject_name: str, subject_types: tuple[str, ...], role: str
) -> list[Message]:
    """The account may act for the subject from now on; once is enough."""
    if state.membership(subject_id) is not None or state.erased:
        return []
    return [
        events_pb2.MembershipGranted(
            account_id=account_id,
            subject_id=subject_id,
            uscc=uscc,
            subject_name=subject_name,
            subject_types=subject_types,
            role=role,
        )
    ]


def invite(
    state: Account,
    *,
    account_id: str,
    subject_id: str,
    uscc: str,
    subject_name: str,
    subject_types: tuple[str, ...],
    role: str,
    invited_by: str,
    masked_phone: str,
    members: int,
) -> list[Message]:
    """A phone number, registered or not, is invited to a company of ``members``; the same invitation again changes nothing.

    Raises ``role_unknown``, ``member_exists``, ``members_full``.
    """
    require_member_role(role)
    present = state.membership(subject_id)
    if present is not None:
        if present.role != role:
            raise YunkuError("member_exists", field="/phone")
        return []
    if members >= MAX_MEMBERS:
        raise YunkuError("members_full", max=str(MAX_MEMBERS))
    return [
        events_pb2.MembershipGranted(
            account_id=account_id,
            subject_id=subject_id,
            uscc=uscc,
            subject_name=subject_name,
            subject_types=subject_types,
            role=role,
            invited_by=invited_by,
            masked_phone=masked_phone,
        )
    ]


def accept_membership(state: Account, *, account_id: str, subject_id: str) -> list[Message]:
    """The invited person acts for the company; from now on it knows them by name."""
    present = state.membership(subject_id)
    if present is None or present.accepted:
        return []
    return [events_pb2.MembershipAccepted(account_id=account_id, subject_id=subject_id)]


def change_member_role(state: Account, *, account_id: str, subject_id: str, role: str, other_administrators: int) -> list[Message]:
    """Raises ``role_unknown``, ``not_found``, and ``last_administrator`` where no other one (who accepted) would be left."""
    require_member_role(role)
    present = state.membership(subject_id)
    if present is None:
        raise YunkuError("not_found")
    if present.role == role:
        return []
    _require_administrators(present, other_administrators)
    return [events_pb2.MemberRoleChanged(account_id=account_id, subject_id=subject_id, role=role)]


def end_membership(state: Account, *, account_id: str, subject_id: str, is_key: bool, other_administrators: int) -> list[Message]:
    """Raises ``not_found``, ``key_member_stays``, ``last_administrator``."""
    present = state.membership(subject_id)
    if present is None:
        raise YunkuError("not_found")
    if is_key:
        raise YunkuError("key_member_stays")
    _require_administrators(present, other_administrators)
    return [events_pb2.MembershipEnded(account_id=account_id, subject_id=subject_id)]


def require_member_role(role: str) -> None:
    """Raises ``role_unknown``."""
    if role not in MEMBER_ROLES:
        raise YunkuError("role_unknown", field="/role")


def _require_administrators(present: Membership, others: int) -> None:
    if present.role == MEMBER_ADMINISTRATOR and present.accepted and not others:
        raise YunkuError("last_administrator")


def grant_role(state: Account, *, account_id: str, role: str, domain_id: str) -> list[Message]:
    """The account gets a role; once is enough. Raises ``role_unknown``, ``field_required``, ``value_invalid``, ``not_found``."""
    if role not in ROLES:
        raise YunkuError("role_unknown", field="/role")
    if role == REVIEWER and not domain_id:
        raise YunkuError("field_required", field="/domain_id")
    if role != REVIEWER and domain_id:
        raise YunkuError("value_invalid", field="/domain_id")
    if not state.opened or state.erased:
        raise YunkuError("not_found")
    if (role, domain_id) in state.roles:
        return []
    return [events_pb2.RoleGranted(account_id=account_id, role=role, domain_id=domain_id)]


def revoke_role(state: Account, *, account_id: str, role: str, domain_id: str) -> list[Message]:
    """The account loses a role; one that it hasn't is no error. Raises ``role_unknown``, ``not_found``."""
    if role not in ROLES:
        raise YunkuError("role_unknown", field="/role")
    if not state.opened:
        raise YunkuError("not_found")
    if (role, domain_id) not in state.roles:
        return []
    return [events_pb2.RoleRevoked(account_id=account_id, role=role, domain_id=domain_id)]


def erase_account(state: Account, *, account_id: str) -> list[Message]:
    """The account's personal values are given up; once is enough. Raises ``not_found``."""
    if not state.opened or state.key_uscc:
        raise YunkuError("not_found")
    return [] if state.erased else [events_pb2.AccountErased(account_id=account_id)]


# -- sessions ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Session:
    """One login of an account. Tokens are known by their SHA-256 only; each new one ends the former."""

    account_id: str = ""
    person_id: str = ""
    method: str = ""
    token_hash: bytes = b""
    refresh_token_hash: bytes = b""
    used_refresh_hashes: tuple[bytes, ...] = ()
    expires_at: datetime | None = None
    refresh_expires_at: datetime | None = None
    subject_id: str = ""
    subject_type: str = ""
    closed: bool = False


def evolve_session(state: Session, event: Any, recorded_at: datetime) -> Session:
    """The session after ``event``."""
    match event:
        case events_pb2.SessionOpened():
            return Session(
                account_id=event.account_id,
                person_id=event.person_id,
                method=event.method,
                token_hash=event.token_hash,
                refresh_token_hash=event.refresh_token_hash,
                expires_at=_moment(event.expires_at),
                refresh_expires_at=_moment(event.refresh_expires_at),
            )
        case events_pb2.SubjectPicked():
            return replace(
                state,
                subject_id=event.subject_id,
                subject_type=event.subject_type,
                token_hash=event.token_hash,
                expires_at=_moment(event.expires_at),
            )
        case events_pb2.SessionRenewed():
            return replace(
                state,
                token_hash=event.token_hash,
                refresh_token_hash=event.refresh_token_hash,
                used_refresh_hashes=(*state.used_refresh_hashes, state.refresh_token_hash)[-_REMEMBERED:],
                expires_at=_moment(event.expires_at),
            )
        case events_pb2.SessionClosed():
            return replace(state, closed=True)
    raise TypeError(f"{type(event).__name__} is no event of a session")


def open_session(
    state: Session,
    *,
    session_id: str,
    account_id: str,
    person_id: str,
    method: str,
    token_hash: bytes,
    refresh_token_hash: bytes,
    expires_at: datetime,
    refresh_expires_at: datetime,
    certificate_fingerprint: str = "",
) -> list[Message]:
    """A login that was proved becomes a session."""
    if state.account_id:
        raise YunkuError("wrong_state")
    return [
        events_pb2.SessionOpened(
            session_id=session_id,
            account_id=account_id,
            person_id=person_id,
            method=method,
            token_hash=token_hash,
            refresh_token_hash=refresh_token_hash,
            expires_at=_timestamp(expires_at),
            refresh_expires_at=_timestamp(refresh_expires_at),
            certificate_fingerprint=certificate_fingerprint,
        )
    ]


def require_token(state: Session, token_hash: bytes, now: datetime) -> None:
    """Raises ``unauthenticated`` for a forged, replaced or closed token, ``session_expired`` for one that was good."""
    if state.expires_at is None or state.closed or not hmac.compare_digest(state.token_hash, token_hash):
        raise YunkuError("unauthenticated")
    if now >= state.expires_at:
        raise YunkuError("session_expired")


def pick_subject(
    state: Session,
    *,
    session_id: str,
    token_hash: bytes,
    subject_id: str,
    subject_type: str,
    new_token_hash: bytes,
    expires_at: datetime,
    now: datetime,
) -> list[Message]:
    """The session acts for a subject (of which the account is a member: checked by the caller) under a new token."""
    require_token(state, token_hash, now)
    return [
        events_pb2.SubjectPicked(
            session_id=session_id,
            subject_id=subject_id,
            subject_type=subject_type,
            token_hash=new_token_hash,
            expires_at=_timestamp(_within(state, expires_at)),
        )
    ]


def renew_session(
    state: Session,
    *,
    session_id: str,
    refresh_token_hash: bytes,
    new_token_hash: bytes,
    new_refresh_token_hash: bytes,
    expires_at: datetime,
    now: datetime,
) -> list[Message]:
    """A refresh token is exchanged, once. Raises ``unauthenticated``, ``session_expired``."""
    if state.refresh_expires_at is None or state.closed:
        raise YunkuError("unauthenticated")
    if not hmac.compare_digest(state.refresh_token_hash, refresh_token_hash):
        raise YunkuError("unauthenticated")
    if now >= state.refresh_expires_at:
        raise YunkuError("session_expired")
    return [
        events_pb2.SessionRenewed(
            session_id=session_id,
            token_hash=new_token_hash,
            refresh_token_hash=new_refresh_token_hash,
            expires_at=_timestamp(_within(state, expires_at)),
        )
    ]


def close_on_reuse(state: Session, *, session_id: str, refresh_token_hash: bytes) -> list[Message]:
    """A refresh token that comes twice was stolen from one of the two who sent it: neither may go on (RFC 9700, 4.14.2)."""
    if state.closed or refresh_token_hash not in state.used_refresh_hashes:
        return []
    return [events_pb2.SessionClosed(session_id=session_id)]


def close_session(state: Session, *, session_id: str, token_hash: bytes) -> list[Message]:
    """Logs out, also with an expired token. Raises ``unauthenticated``."""
    if state.expires_at is None or not hmac.compare_digest(state.token_hash, token_hash):
        raise YunkuError("unauthenticated")
    return [] if state.closed else [events_pb2.SessionClosed(session_id=session_id)]


def _within(state: Session, expires_at: datetime) -> datetime:
    """No token outlives its session."""
    return min(expires_at, state.refresh_expires_at) if state.refresh_expires_at else expires_at


# -- refused logins ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refusal:
    """A login that was refused: an audit record, one event long."""

    reason: str = ""


def evolve_refusal(state: Refusal, event: Any, recorded_at: datetime) -> Refusal:
    """The record after its event."""
    return Refusal(reason=event.reason)


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


def _timestamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
