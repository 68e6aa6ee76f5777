"""Questions, answered from the read models."""

import asyncio
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from psycopg_pool import AsyncConnectionPool
from yunku.identity.v1 import service_pb2
from yunku.kernel.v1 import kernel_pb2
from yunku.subject.v1 import service_pb2 as subject_pb2
from yunku.subject.v1 import service_pb2_grpc as subject_grpc

from kernel.errors import YunkuError
from kernel.privacy import Keyring, NotReadable, PersonKey
from kernel.rpc.client import Peers
from services.identity.adapters import Token

Pool = AsyncConnectionPool[Any]

#: Accounts whose names are asked for at once.
MAX_NAMES: Final = 500

# Written out, prepared, one round trip each: every call of the suite's users begins with the first of them.
_AUTHENTICATE: Final = """
SELECT s.token_hash, s.expires_at, s.closed, s.account_id, s.subject_id, s.subject_type, s.method, a.roles, a.key_uscc,
       (SELECT coalesce(json_agg(json_build_array(x.subject_id, x.uscc, x.name, x.types, m.role, m.accepted) ORDER BY x.uscc), '[]')
        FROM unnest(a.subject_ids, a.member_roles, a.member_accepted) AS m (subject_id, role, accepted) JOIN subjects x USING (subject_id))
FROM sessions s JOIN accounts a ON a.account_id = s.account_id AND a.person_id IS NOT DISTINCT FROM s.person_id
WHERE s.session_id = %s AND NOT a.erased
"""
_SUBJECTS: Final = """
SELECT x.subject_id::text, x.uscc, x.name, x.types, m.role, m.accepted
FROM accounts a CROSS JOIN unnest(a.subject_ids, a.member_roles, a.member_accepted) AS m (subject_id, role, accepted)
JOIN subjects x USING (subject_id) WHERE a.account_id = %s ORDER BY x.uscc
"""
_MEMBERS: Final = """
SELECT a.account_id, m.role, m.accepted, m.phone, a.company_name, a.name, a.phone, k.person_id, k.wrapped_key, a.key_uscc
FROM accounts a
CROSS JOIN unnest(a.subject_ids, a.member_roles, a.member_accepted, a.member_phones) AS m (subject_id, role, accepted, phone)
LEFT JOIN person_keys k USING (person_id)
WHERE a.subject_ids @> ARRAY[%s::uuid] AND m.subject_id = %s ORDER BY a.account_id
"""
_LOGIN: Final = """
SELECT a.password_hash, k.person_id, k.wrapped_key FROM accounts a JOIN person_keys k USING (person_id)
WHERE a.account_id = %s AND a.password_hash IS NOT NULL AND k.wrapped_key IS NOT NULL
"""
_NAMES: Final = """
SELECT a.account_id, a.company_name, a.name, k.person_id, k.wrapped_key
FROM accounts a LEFT JOIN person_keys k USING (person_id) WHERE a.account_id = ANY(%s)
"""
_HOLDERS: Final = """
SELECT a.account_id, a.company_name, a.name, a.phone, k.person_id, k.wrapped_key
FROM accounts a LEFT JOIN person_keys k USING (person_id) WHERE a.roles @> %s::text[] ORDER BY a.account_id LIMIT 1000
"""


async def authenticate(pool: Pool, text: str, now: datetime) -> service_pb2.AuthenticateResponse:
    """Who holds this token. Raises ``unauthenticated`` (forged, replaced, closed, erased) and ``session_expired``."""
    token = Token.parse(text)
    async with pool.connection() as connection:
        row = await (await connection.execute(_AUTHENTICATE, (token.session_id,), prepare=True)).fetchone()
    if row is None or row[2] or not hmac.compare_digest(bytes(row[0]), token.hash):
        raise YunkuError("unauthenticated")
    if now >= row[1]:
        raise YunkuError("session_expired")
    expires_at = Timestamp()
    expires_at.FromDatetime(row[1])
    subjects = [_member(subject) for subject in row[9]]
    # Who left the company or was removed acts for it no more, whatever the session picked.
    acts = any(subject.id == row[4] for subject in subjects)
    return service_pb2.AuthenticateResponse(
        session_id=str(token.session_id),
        account_id=str(row[3]),
        subject_id=row[4] if acts else "",
        subject_type=row[5] if acts else "",
        roles=[_role(text) for text in row[7]],
        expires_at=expires_at,
        method=row[6],
        subjects=subjects,
        key_uscc=row[8],
    )


async def member_subjects(pool: Pool, account_id: UUID) -> list[service_pb2.MemberSubject]:
    """The subjects that the account may act for."""
    async with pool.connection() as connection:
        rows = await (await connection.execute(_SUBJECTS, (account_id,), prepare=True)).fetchall()
    return [_member(row) for row in rows]


@dataclass(frozen=True)
class Member:
    """A member of a company as the company may see it: an invited person only by the number that was invited, masked."""

    account_id: str
    is_key: bool
    name: str
    masked_phone: str
    role: str
    accepted: bool


async def members(connection: Any, keyring: Keyring, subject_id: UUID, name_purpose: str, phone_purpose: str) -> list[Member]:
    """The members of a company, invited ones included, in the order of their accounts' ids."""
    rows = await (await connection.execute(_MEMBERS, (subject_id, subject_id), prepare=True)).fetchall()
    found = []
    for account_id, role, accepted, invited, company_name, name, phone, person_id, wrapped, key_uscc in rows:
        shown, number = company_name, invited
        if accepted and name is not None and wrapped is not None:
            try:
                key = keyring.unwrap(person_id, bytes(wrapped))
                shown = key.decrypt(kernel_pb2.EncryptedValue.FromString(bytes(name)), name_purpose)
                number = masked_phone(key.decrypt(kernel_pb2.EncryptedValue.FromString(bytes(phone)), phone_purpose))
            except NotReadable:
                pass
        is_key = bool(key_uscc) or (phone is None and not invited)
        found.append(Member(str(account_id), is_key, shown, number, role, accepted))
    return found


async def account_names(pool: Pool, keyring: Keyring, account_ids: Sequence[str], name_purpose: str) -> dict[str, str]:
    """Display names: of people, or of companies for their keys' accounts. Unknown and erased ones are left out."""
    if len(account_ids) > MAX_NAMES:
        raise YunkuError("too_large")
    wanted = []
    for text in account_ids:
        try:
            wanted.append(UUID(text))
        except ValueError:
            continue
    async with pool.connection() as connection:
        rows = await (await connection.execute(_NAMES, (wanted,), prepare=True)).fetchall()
    names: dict[str, str] = {}
    for account_id, company_name, name, person_id, wrapped in rows:
        if company_name:
            names[str(account_id)] = company_name
        elif name is not None and wrapped is not None:
            try:
                value = kernel_pb2.EncryptedValue.FromString(bytes(name))
                names[str(account_id)] = keyring.unwrap(person_id, bytes(wrapped)).decrypt(value, name_purpose)
            except NotReadable:
                continue
    return names


async def role_holders(pool: Pool, keyring: Keyring, role: str, name_purpose: str, phone_purpose: str) -> list[service_pb2.RoleHolder]:
    """The accounts that hold a role ("ROLE" or "ROLE:domain"), by id; erased ones hold none."""
    async with pool.connection() as connection:
        rows = await (await connection.execute(_HOLDERS, ([role],), prepare=True)).fetchall()
    holders = []
    for account_id, company_name, name, phone, person_id, wrapped in rows:
        holder = service_pb2.RoleHolder(account_id=str(account_id), name=company_name)
        if name is not None and phone is not None and wrapped is not None:
            key = keyring.unwrap(person_id, bytes(wrapped))
            holder.name = key.decrypt(kernel_pb2.EncryptedValue.FromString(bytes(name)), name_purpose)
            holder.masked_phone = masked_phone(key.decrypt(kernel_pb2.EncryptedValue.FromString(bytes(phone)), phone_purpose))
        holders.append(holder)
    return holders


def masked_phone(phone: str) -> str:
    """138****0000"""
    return f"{phone[:3]}****{phone[-4:]}"


@dataclass(frozen=True)
class Login:
    """What a password is checked by."""

    password_hash: kernel_pb2.EncryptedValue
    key: PersonKey


async def login(pool: Pool, keyring: Keyring, account_id: UUID) -> Login | None:
    """The credentials of an account; None where there is none, or it was erased."""
    async with pool.connection() as connection:
        row = await (await connection.execute(_LOGIN, (account_id,), prepare=True)).fetchone()
    if row is None:
        return None
    encoded = kernel_pb2.EncryptedValue.FromString(bytes(row[0]))
    return Login(encoded, keyring.unwrap(row[1], bytes(row[2])))


class SubjectDirectory:
    """Memberships, read after what the subject service has acknowledged.

    A company that was registered a moment ago is known here only when its event has arrived. Who registers and picks it
    at once shall not be told that they are no member: so a subject that isn't known yet is asked for at its own service,
    and where it exists there, its event is waited for.
    """

    WAIT_SECONDS: Final = 5.0
    _LOOK_SECONDS: Final = 0.03

    def __init__(self, pool: Pool, peers: Peers) -> None:
        self._pool = pool
        self._peers = peers

    async def of_member(self, account_id: UUID, subject_id: str) -> list[service_pb2.MemberSubject]:
        """The account's subjects, after the event that registered ``subject_id`` (if there is such a one)."""
        try:
            wanted = UUID(subject_id)
        except ValueError:
            return []
        if not await self._known(wanted) and await self._exists(subject_id):
            until = time.monotonic() + self.WAIT_SECONDS
            while time.monotonic() < until:
                # Another process of this service may take the event in: only the table tells.
                await asyncio.sleep(self._LOOK_SECONDS)
                if await self._known(wanted):
                    break
        return await member_subjects(self._pool, account_id)

    async def _known(self, subject_id: UUID) -> bool:
        async with self._pool.connection() as connection:
            row = await (await connection.execute("SELECT 1 FROM subjects WHERE subject_id = %s", (subject_id,), prepare=True)).fetchone()
        return row is not None

    async def _exists(self, subject_id: str) -> bool:
        stub = self._peers.stub(subject_grpc.SubjectServiceStub, "subject")
        try:
            await stub.GetSubject(subject_pb2.GetSubjectRequest(subject_id=subject_id))
        except YunkuError as error:
            if error.code == "not_found":
                return False
            raise
        return True


def _member(row: Sequence[Any]) -> service_pb2.MemberSubject:
    subject_id, uscc, name, types, role, accepted = row
    return service_pb2.MemberSubject(id=subject_id, uscc=uscc, name=name, types=types, role=role, invited=not accepted)


def _role(text: str) -> service_pb2.Role:
    role, _, domain_id = text.partition(":")
    return service_pb2.Role(role=role, domain_id=domain_id)
