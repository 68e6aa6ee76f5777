"""Uploads: multipart read as it comes, counted, hashed and looked at on the way to a file without a name.

The size is what was counted, whatever the headers say. What is no document is refused by its first bytes. Nothing is
parsed here: that is the sandbox's (ocr's Inspect).
"""

import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from kernel.errors import YunkuError
from kernel.sandbox.formats import sniff

#: What multipart adds around the file, and fields that aren't ours.
OVERHEAD: Final = 64 * 1024
_SNIFFED: Final = 16
_MAX_NAME: Final = 200
#: The media type by a file's first bytes, None for what isn't taken.
Recognise = Callable[[bytes], str | None]


@dataclass(frozen=True)
class Upload:
    """A received file: positioned anywhere, gone when closed."""

    file: IO[bytes]
    size: int
    sha256: str
    media_type: str
    name: str


class _Receiver:
    """The parser's callbacks. The one part called ``file`` is written; the others are passed over."""

    def __init__(self, file: IO[bytes], limit: int, recognise: "Recognise") -> None:
        self._file = file
        self._recognise = recognise
        self._limit = limit
        self._hash = hashlib.sha256()
        self._head = b""
        self._header: list[bytes] = []
        self._value: list[bytes] = []
        self._headers: dict[str, bytes] = {}
        self._within = False
        self.size = 0
        self.name = ""
        self.seen = False
        self.ended = False
        self.media_type: str | None = None

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.append(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.append(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._headers.clear()

    def _header_end(self) -> None:
        self._headers[b"".join(self._header).decode("latin-1").lower()] = b"".join(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        self._within = options.get(b"name") == b"file" and not self.seen
        if self._within:
            self.seen = True
            self.name = file_name(options.get(b"filename", b""))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if not self._within:
            return
        chunk = data[start:end]
        self.size += len(chunk)
        if self.size > self._limit:
            raise YunkuError("document_too_large", field="/file", max=str(self._limit))
        if len(self._head) < _SNIFFED:
            self._head += chunk[: _SNIFFED - len(self._head)]
            if len(self._head) == _SNIFFED:
                self._look()
        self._hash.update(chunk)
        self._file.write(chunk)

    def _look(self) -> None:
        self.media_type = self._recognise(self._head)
        if self.media_type is None:
            raise YunkuError("document_not_recognised", field="/file")

    def _part_end(self) -> None:
        if self._within and self.size and self.media_type is None:
            self._look()
        self._within = False

    def _end(self) -> None:
        self.ended = True

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def file_name(raw: bytes) -> str:
    """The name that the user's machine gave the file, for showing: its last part, without control characters."""
    text = raw.decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in text if character.isprintable())[:_MAX_NAME].strip()


def archive(head: bytes) -> str | None:
    """A ZIP archive, and nothing else."""
    return "application/zip" if head.startswith(b"PK\x03\x04") else None


@asynccontextmanager
async def receive(request: Request, directory: Path, limit: int, recognise: Recognise = sniff) -> AsyncIterator[Upload]:
    """The document (or what ``recognise`` knows by its first bytes) of the request's multipart field ``file``; at most ``limit`` bytes.

    Raises YunkuError: ``request_malformed``, ``field_required``, ``document_too_large``, ``document_empty``,
    ``document_not_recognised``.
    """
    kind, options = parse_options_header(request.headers.get("content-type", "").encode("latin-1"))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 200:
        raise YunkuError("request_malformed", field="/file")
    # No name in the file system: what dies in between leaves nothing behind.
    with tempfile.TemporaryFile(dir=directory) as file:
        receiver = _Receiver(file, limit, recognise)
        parser = MultipartParser(boundary, receiver.callbacks())
        try:
            async for chunk in request.stream():
                if chunk:
                    parser.write(chunk)
            parser.finalize()
        except FormParserError:
            raise YunkuError("request_malformed", field="/file") from None
        if not receiver.seen:
            raise YunkuError("field_required", field="/file")
        if not receiver.ended:
            raise YunkuError("request_malformed", field="/file")
        if receiver.size == 0 or receiver.media_type is None:
            raise YunkuError("document_empty", field="/file")
        file.flush()
        yield Upload(file, receiver.size, receiver.sha256, receiver.media_type, receiver.name)
