"""The object store as the gateway uses it: documents in, documents, pages and sealed PDFs out. Keys are content hashes."""

import asyncio
from collections.abc import AsyncIterator
from typing import IO, Any, Final

from minio.error import S3Error
from starlette.responses import StreamingResponse

from kernel.service import DOCUMENTS_BUCKET

DOCUMENTS: Final = DOCUMENTS_BUCKET
PAGES: Final = "pages"
SEALED: Final = "sealed"
TRANSFERS: Final = "transfers"
_CHUNK: Final = 128 * 1024
_MISSING: Final = frozenset({"NoSuchKey", "NoSuchObject"})


class ObjectMissing(Exception):
    """No object of this name, or one of another size than its event says."""


class Objects:
    """Over a ``minio.Minio`` client, whose blocking calls run on threads."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def put_document(self, sha256: str, file: IO[bytes], size: int, media_type: str) -> None:
        """Writes a document under its hash unless it is there already. ``file`` is read from its beginning."""
        await asyncio.to_thread(self._put, sha256, file, size, media_type)

    def _put(self, sha256: str, file: IO[bytes], size: int, media_type: str) -> None:
        if self._size(DOCUMENTS, sha256) == size:
            return
        file.seek(0)
        self._client.put_object(DOCUMENTS, sha256, file, size, media_type)
        stored = self._size(DOCUMENTS, sha256)
        if stored != size:
            raise ObjectMissing(f"{DOCUMENTS}/{sha256} has {stored} bytes after writing {size}")

    async def put_import(self, subject_id: str, sha256: str, file: IO[bytes], size: int) -> None:
        """Writes an archive that is to be imported, anew each time, so that its time begins again."""
        file.seek(0)
        key = f"imports/{subject_id}/{sha256}"
        await asyncio.to_thread(self._client.put_object, TRANSFERS, key, file, size, "application/zip")

    def _size(self, bucket: str, key: str) -> int | None:
        try:
            size: int = self._client.stat_object(bucket, key).size
        except S3Error as error:
            if error.code in _MISSING:
                return None
            raise
        return size

    async def stream(
        self, bucket: str, key: str, media_type: str, *, size: int | None = None, headers: dict[str, str] | None = None
    ) -> StreamingResponse:
        """The object as a response that never holds more than a chunk of it. Raises ObjectMissing."""
        try:
            source = await asyncio.to_thread(self._client.get_object, bucket, key)
        except S3Error as error:
            if error.code in _MISSING:
                raise ObjectMissing(f"{bucket}/{key}") from error
            raise
        length = int(source.headers.get("Content-Length", -1))
        if length < 0 or (size is not None and length != size):
            await asyncio.to_thread(_release, source)
            raise ObjectMissing(f"{bucket}/{key} has {length} bytes, not {size}")
        return StreamingResponse(_chunks(source), 200, {**(headers or {}), "Content-Length": str(length)}, media_type=media_type)


async def _chunks(source: Any) -> AsyncIterator[bytes]:
    try:
        while chunk := await asyncio.to_thread(source.read, _CHUNK):
            yield chunk
    finally:
        # Not awaited: this also runs when the client is gone and the task is being cancelled.
        _release(source)


def _release(source: Any) -> None:
    source.close()
    source.release_conn()
