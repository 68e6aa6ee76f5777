"""Personal data that can be erased although the log that carries it can't be changed (crypto shredding).

Every person has a key of their own (256 bits, AES-GCM). Values that identify a person stand in events and read models only as
``EncryptedValue`` under that key, so that destroying the key makes them unreadable everywhere at once: in the log, in
JetStream, in backups; and every hash over the log still verifies. The keys lie in the table ``person_keys`` of the
service's own database, each wrapped by the master key ``YUNKU_PRIVACY_KEY`` (which is never in the database).

    person_keys = privacy.person_keys_table(metadata)             # tables.py
    keyring = privacy.Keyring(pool, settings.privacy_key)         # bootstrap.py
    key = await keyring.person(person_id)                         # makes it at the first use
    event = PersonBound(name=key.encrypt("张三", "name"))
    name = (await keyring.find([person_id]))[person_id].decrypt(event.name, "name")

``purpose`` says which field a value is; it is bound into the ciphertext, so that an encrypted phone number can't be put in
the place of a name. What a key was destroyed for stays readable in backups of ``person_keys`` until these are gone: back
that table up apart and keep it short (docs/operations.md).
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import psycopg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import Column, DateTime, LargeBinary, MetaData, Table, Uuid, func
from yunku.kernel.v1 import kernel_pb2

_KEY_BYTES: Final = 32
#: Nonces are random: 2^32 values under one key stay far below the bound at which 96 bits may repeat.
_NONCE_BYTES: Final = 12


class Erased(Exception):
    """The person's key was destroyed: what it encrypted is gone for good, and nothing may be encrypted for them any more."""


class NotReadable(Exception):
    """The value wasn't encrypted by this key for this purpose, or was changed since."""


def person_keys_table(metadata: MetaData) -> Table:
    """Declares the table of keys in a service's ``tables.py``. It is no projection: nothing can rebuild it."""
    return Table(
        "person_keys",
        metadata,
        Column("person_id", Uuid, primary_key=True),
        # NULL once erased; the row stays, so that the person can't get a second key by mistake.
        Column("wrapped_key", LargeBinary),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
        Column("erased_at", DateTime(timezone=True)),
    )


@dataclass(frozen=True, slots=True)
class PersonKey:
    """One person's key, unwrapped. Hold it no longer than a command takes: erasure must not meet copies."""

    person_id: UUID
    _key: bytes = field(repr=False)

    def encrypt(self, text: str, purpose: str) -> kernel_pb2.EncryptedValue:
        """The text, readable only with this key and for this purpose."""
        return self.encrypt_bytes(text.encode(), purpose)

    def decrypt(self, value: kernel_pb2.EncryptedValue, purpose: str) -> str:
        """The text; raises NotReadable."""
        return self.decrypt_bytes(value, purpose).decode()

    def encrypt_bytes(self, data: bytes, purpose: str) -> kernel_pb2.EncryptedValue:
        """As ``encrypt``, for bytes."""
        nonce = os.urandom(_NONCE_BYTES)
        ciphertext = AESGCM(self._key).encrypt(nonce, data, self._bound(purpose))
        return kernel_pb2.EncryptedValue(person_id=str(self.person_id), nonce=nonce, ciphertext=ciphertext)

    def decrypt_bytes(self, value: kernel_pb2.EncryptedValue, purpose: str) -> bytes:
        """As ``decrypt``, for bytes."""
        try:
            return AESGCM(self._key).decrypt(value.nonce, value.ciphertext, self._bound(purpose))
        except (InvalidTag, ValueError):
            raise NotReadable(purpose) from None

    def _bound(self, purpose: str) -> bytes:
        return self.person_id.bytes + purpose.encode()


class Keyring:
    """The keys of the persons whom one service knows. ``ValueError`` unless the master key is 32 bytes in base64."""

    def __init__(self, pool: AsyncConnectionPool[Any], master_key: str) -> None:
        self._pool = pool
        try:
            master = base64.b64decode(master_key, validate=True)
        except (binascii.Error, ValueError):
            master = b""
        if len(master) != _KEY_BYTES:
            raise ValueError("YUNKU_PRIVACY_KEY isn't 32 bytes in base64")
        self._master = master
        self._wrapping = AESGCM(self.secret("wrap person keys"))

    def secret(self, purpose: str) -> bytes:
        """A key (32 bytes) derived from the master key, for one purpose of the service's own."""
        return HKDF(hashes.SHA256(), _KEY_BYTES, salt=None, info=f"yunku {purpose}".encode()).derive(self._master)

    def index(self, purpose: str, value: str) -> bytes:
        """A keyed digest by which a value is found again without being stored: equal values, equal digests.

        Without the master key it can't be tried against the few possible values (there are only 10^10 phone numbers).
        """
        return hmac.digest(self.secret(f"index {purpose}"), value.encode(), hashlib.sha256)

    async def person(self, person_id: UUID) -> PersonKey:
        """The person's key, made now if there is none. Raises Erased."""
        fresh = os.urandom(_KEY_BYTES)
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO person_keys (person_id, wrapped_key) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (person_id, self._wrap(person_id, fresh)),
            )
        found = await self.find([person_id])
        if person_id not in found:
            raise Erased(str(person_id))
        return found[person_id]

    async def find(self, person_ids: Sequence[UUID]) -> dict[UUID, PersonKey]:
        """The keys of these persons; who has none, or was erased, is left out."""
        async with self._pool.connection() as connection:
            rows = await (
                await connection.execute(
                    "SELECT person_id, wrapped_key FROM person_keys WHERE person_id = ANY(%s) AND wrapped_key IS NOT NULL",
                    (list(person_ids),),
                )
            ).fetchall()
        return {person_id: self.unwrap(person_id, bytes(wrapped)) for person_id, wrapped in rows}

    async def erase(self, person_id: UUID, connection: psycopg.AsyncConnection[Any] | None = None) -> bool:
        """Destroys the person's key, in ``connection``'s transaction where one is given; False where there was none."""
        if connection is None:
            async with self._pool.connection() as own:
                return await self.erase(person_id, own)
        done = await connection.execute(
            "UPDATE person_keys SET wrapped_key = NULL, erased_at = clock_timestamp() WHERE person_id = %s AND wrapped_key IS NOT NULL",
            (person_id,),
        )
        return done.rowcount > 0

    def unwrap(self, person_id: UUID, wrapped: bytes) -> PersonKey:
        """The key of a row of ``person_keys`` that was read along with something else. Raises NotReadable."""
        try:
            key = self._wrapping.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], person_id.bytes)
        except (InvalidTag, ValueError):
            raise NotReadable("person key: another master key, or a changed row") from None
        return PersonKey(person_id, key)

    def _wrap(self, person_id: UUID, key: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._wrapping.encrypt(nonce, key, person_id.bytes)
