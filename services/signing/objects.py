"""The object store as this service uses it: objects named by their content, written before the event that names them
and locked after it."""

import asyncio
import hashlib
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, Final

from minio.commonconfig import COMPLIANCE
from minio.error import S3Error
from minio.retention import Retention

DOCUMENTS: Final = "documents"
SEALED: Final = "sealed"
#: Larger than any sealed document: 20 MB upload, its picture without loss, attachments.
MAX_OBJECT_BYTES: Final = 512 * 1024 * 1024
_MISSING: Final = frozenset({"NoSuchKey", "NoSuchObject"})
# What stores answer for an object without retention: AWS and MinIO the first, SeaweedFS the second.
_UNLOCKED: Final = frozenset({"NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError"})


class ObjectMissing(Exception):
    """No object of this name, or its bytes aren't those that its name promises."""


class Objects:
    """Content-addressed objects over a ``minio.Minio`` client, whose blocking calls run on threads."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def get(self, bucket: str, key: str) -> bytes:
        """The object's bytes. The last part of ``key`` is their SHA-256 (hex), and is checked; raises ObjectMissing."""
        data = await asyncio.to_thread(self._get, bucket, key)
        if hashlib.sha256(data).hexdigest() != key.rpartition("/")[2]:
            raise ObjectMissing(f"{bucket}/{key} has other bytes than its name says")
        return data

    async def put(self, bucket: str, prefix: str, data: bytes, media_type: str) -> str:
        """Writes ``data`` as ``prefix`` + its SHA-256, unless it is there already; returns the hash."""
        digest = hashlib.sha256(data).hexdigest()
        await asyncio.to_thread(self._put, bucket, prefix + digest, data, media_type)
        return digest

    async def lock(self, bucket: str, key: str, until: datetime) -> datetime:
        """Locks the object against deletion until at least ``until``; returns the date that holds."""
        return await asyncio.to_thread(self._lock, bucket, key, until)

    def _get(self, bucket: str, key: str) -> bytes:
        try:
            response = self._client.get_object(bucket, key)
        except S3Error as error:
            if error.code in _MISSING:
                raise ObjectMissing(f"{bucket}/{key}") from error
            raise
        try:
            data: bytes = response.read(MAX_OBJECT_BYTES + 1)
        finally:
            response.close()
            response.release_conn()
        if len(data) > MAX_OBJECT_BYTES:
            raise ObjectMissing(f"{bucket}/{key} is too large")
        return data

    def _put(self, bucket: str, key: str, data: bytes, media_type: str) -> None:
        try:
            if self._client.stat_object(bucket, key).size == len(data):
                return
        except S3Error as error:
            if error.code not in _MISSING:
                raise
        self._client.put_object(bucket, key, BytesIO(data), len(data), media_type)

    def _lock(self, bucket: str, key: str, until: datetime) -> datetime:
        try:
            standing = self._client.get_object_retention(bucket, key)
        except S3Error as error:
            if error.code not in _UNLOCKED:
                raise
            standing = None
        if standing is not None and standing.mode == COMPLIANCE:
            held: datetime = standing.retain_until_date
            held = held if held.tzinfo else held.replace(tzinfo=UTC)
            if held >= until:
                return held
        self._client.set_object_retention(bucket, key, Retention(COMPLIANCE, until))
        return until
