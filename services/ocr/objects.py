"""The object store as this service uses it: documents in, pages out.

A page's picture is ``pages/<sha256 of the document>/<number>.png``. It can be made again from the document at any
time, so it is written without a lock, and whoever finds it missing makes it.
"""

from __future__ import annotations

import asyncio
import hashlib
from io import BytesIO
from typing import Any, Final

import urllib3
from minio.error import MinioException, S3Error

DOCUMENTS: Final = "documents"
PAGES: Final = "pages"
MAX_PAGE_BYTES: Final = 64 * 1024 * 1024
_MISSING: Final = frozenset({"NoSuchKey", "NoSuchObject"})


class ObjectMissing(Exception):
    """No object of this name, or its bytes aren't those that its name promises."""


class StoreUnavailable(Exception):
    """The object store doesn't answer, or answers with an error of its own."""


class Objects:
    """Documents and pages over a ``minio.Minio`` client, whose blocking calls run on threads."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def document(self, sha256: str, max_bytes: int) -> bytes:
        """An uploaded document's bytes, checked against their name. Raises ObjectMissing or StoreUnavailable; of one
        that is larger than ``max_bytes`` only so much more comes back that its size can be told to be too large."""
        data: bytes = await self._call(self._get, DOCUMENTS, sha256, max_bytes + 1)
        if len(data) <= max_bytes and hashlib.sha256(data).hexdigest() != sha256:
            raise ObjectMissing(f"document {sha256} has other bytes than its name says")
        return data

    async def page(self, sha256: str, number: int) -> bytes:
        """A page's PNG. Raises ObjectMissing or StoreUnavailable."""
        png: bytes = await self._call(self._get, PAGES, _page_key(sha256, number), MAX_PAGE_BYTES)
        return png

    async def put_page(self, sha256: str, number: int, png: bytes) -> None:
        """Stores a page's PNG. Raises StoreUnavailable."""
        await self._call(self._put, _page_key(sha256, number), png)

    async def has_page(self, sha256: str, number: int) -> bool:
        """Whether the page's picture is there. Raises StoreUnavailable."""
        try:
            await self._call(self._client.stat_object, PAGES, _page_key(sha256, number))
        except ObjectMissing:
            return False
        return True

    async def _call(self, function: Any, *arguments: Any) -> Any:
        try:
            return await asyncio.to_thread(function, *arguments)
        except S3Error as error:
            if error.code in _MISSING:
                raise ObjectMissing(str(arguments[0])) from error
            raise StoreUnavailable(error.code) from error
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise StoreUnavailable(type(error).__name__) from error

    def _get(self, bucket: str, key: str, limit: int) -> bytes:
        response = self._client.get_object(bucket, key)
        try:
            data: bytes = response.read(limit)
        finally:
            response.close()
            response.release_conn()
        return data

    def _put(self, key: str, png: bytes) -> None:
        self._client.put_object(PAGES, key, BytesIO(png), len(png), "image/png")


def _page_key(sha256: str, number: int) -> str:
    return f"{sha256}/{number}.png"
