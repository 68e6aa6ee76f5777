"""A ZIP archive as it is uploaded: believed in nothing. Pure Python over a seekable file; what is unpacked is bounded before and while.

An archive has two accounts of itself, the central directory and a header before each entry; readers differ in which they follow. Here
both must say the same, entries must neither overlap nor leave room between them, and whatever isn't a plain file is refused. So every
reader sees the same files, and no byte is unpacked twice.
"""

import struct
import threading
import unicodedata
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Final

from kernel.errors import YunkuError

TABLE: Final = "entries.csv"
#: Where documents and files of marks are; nothing else is taken.
FOLDERS: Final = ("documents/", "marks/")

_END: Final = struct.Struct("<4s4H2LH")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED: Final = 0x0001 | 0x0040 | 0x2000
_DESCRIPTOR: Final = 0x0008
_UTF8: Final = 0x0800
#: Maximum compression hints and strong names: flags that change nothing for a reader.
_HARMLESS: Final = 0x0006 | _DESCRIPTOR | _UTF8
_MAX_NAME: Final = 300
_CHUNK: Final = 64 * 1024
#: Below this an entry may be compressed as well as it can be; a blank page compresses a thousandfold.
_SMALL: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold. Sizes in bytes."""

    archive: int = 200 * 1024 * 1024
    entries: int = 2100
    unpacked: int = 500 * 1024 * 1024
    ratio: int = 200
    table: int = 8 * 1024 * 1024
    document: int = 20 * 1024 * 1024
    marks: int = 256 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive."""

    name: str
    size: int
    packed: int
    method: int
    crc: int
    start: int


def _refuse(reason: str, name: str = "") -> YunkuError:
    return YunkuError("archive_damaged", field="/file", reason=reason, name=name[:100])


class Archive:
    """The files of an archive whose structure was found sound. Raises YunkuError: ``archive_damaged``, ``archive_too_large``,
    ``archive_encrypted``, ``archive_entry_refused``, ``archive_entry_repeated``, ``archive_overlapping``, ``archive_nested``,
    ``archive_without_table``."""

    def __init__(self, file: IO[bytes], limits: Limits | None = None) -> None:
        self._file = file
        # Rows are prepared on several threads, and the file has one place at which it is read.
        self._reading = threading.Lock()
        self._limits = limits or Limits()
        self.entries: Mapping[str, Entry] = self._read()
        if TABLE not in self.entries:
            raise YunkuError("archive_without_table", field="/file", name=TABLE)
        for entry in self.entries.values():
            self._refuse_nested(entry)

    def read(self, name: str) -> bytes:
        """A file's bytes, whole. Raises KeyError for an unknown name, ``archive_damaged`` where they aren't what was announced."""
        with self._reading:
            return b"".join(self._unpack(self.entries[name]))

    # -- structure -----------------------------------------------------------------------------------------------------

    def _read(self) -> dict[str, Entry]:
        limits = self._limits
        size = self._file.seek(0, 2)
        if size > limits.archive:
            raise YunkuError("archive_too_large", field="/file", what="archive", max=str(limits.archive))
        count, start, length = self._end(size)
        if count > limits.entries:
            raise YunkuError("archive_too_large", field="/file", what="entries", max=str(limits.entries))
        directory = self._at(start, length)
        found: dict[str, Entry] = {}
        seen: set[str] = set()
        spans: list[tuple[int, int]] = []
        unpacked = at = 0
        for _ in range(count):
            entry, span, at = self._entry(directory, at, start)
            spans.append(span)
            folded = unicodedata.normalize("NFC", entry.name).casefold()
            if folded in seen:
                raise YunkuError("archive_entry_repeated", field="/file", name=entry.name[:100])
            seen.add(folded)
            unpacked += entry.size
            if unpacked > limits.unpacked:
                raise YunkuError("archive_too_large", field="/file", what="unpacked", max=str(limits.unpacked))
            if not entry.name.endswith("/"):
                found[entry.name] = entry
        if at != length:
            raise _refuse("directory")
        place = 0
        for first, last in sorted(spans):
            if first < place:
                raise YunkuError("archive_overlapping", field="/file")
            if first > place:
                raise _refuse("gap")
            place = last
        if place != start:
            raise _refuse("gap")
        return found

    def _end(self, size: int) -> tuple[int, int, int]:
        """(number of entries, start and length of the directory). The end record is the last thing of the file, without a comment."""
        if size < _END.size:
            raise _refuse("end")
        mark, disk, first_disk, here, count, length, start, comment = _END.unpack(self._at(size - _END.size, _END.size))
        if mark != b"PK\x05\x06" or comment or disk or first_disk or here != count:
            raise _refuse("end")
        # 0xFFFF and 0xFFFFFFFF point to ZIP64 records, which an archive within the limits doesn't need.
        if count == 0xFFFF or start + length != size - _END.size:
            raise _refuse("end")
        return count, start, length

    def _entry(self, directory: bytes, at: int, limit: int) -> tuple[Entry, tuple[int, int], int]:
        if at + _CENTRAL.size > len(directory):
            raise _refuse("directory")
        (mark, _, _, flags, method, _, _, crc, packed, size, name_length, extra_length, comment_length, disk, _, external, offset) = (
            _CENTRAL.unpack_from(directory, at)
        )
        after = at + _CENTRAL.size + name_length + extra_length + comment_length
        if mark != b"PK\x01\x02" or disk or after > len(directory):
            raise _refuse("directory")
        raw = directory[at + _CENTRAL.size : at + _CENTRAL.size + name_length]
        name = _name(raw, flags)
        if flags & _ENCRYPTED:
            raise YunkuError("archive_encrypted", field="/file", name=name[:100])
        if method not in (_STORED, _DEFLATED) or flags & ~_HARMLESS or (method == _STORED and packed != size):
            raise _refuse("method", name)
        # Unix modes stand in the upper half: only plain files and folders, no links, devices or pipes.
        if (external >> 16) & 0o170000 not in (0, 0o100000, 0o040000) or (name.endswith("/") and (size or packed)):
            raise YunkuError("archive_entry_refused", field="/file", name=name[:100], reason="kind")
        most = self._most(name)
        if size > most:
            raise YunkuError("archive_too_large", field="/file", what=name[:100], max=str(most))
        if size > _SMALL and size > packed * self._limits.ratio:
            raise YunkuError("archive_too_large", field="/file", what=name[:100], max=str(self._limits.ratio))
        span = self._local(raw, flags, method, crc, packed, size, offset, limit)
        return Entry(name, size, packed, method, crc, span[2]), span[:2], after

    def _local(
        self, raw: bytes, flags: int, method: int, crc: int, packed: int, size: int, offset: int, limit: int
    ) -> tuple[int, int, int]:
        """The header before the entry must say the same; answers where the entry begins and ends, and where its data begins."""
        mark, _, its_flags, its_method, _, _, its_crc, its_packed, its_size, name_length, extra_length = _LOCAL.unpack(
            self._at(offset, _LOCAL.size)
        )
        head = self._at(offset + _LOCAL.size, name_length)
        if mark != b"PK\x03\x04" or its_flags != flags or its_method != method or head != raw:
            raise _refuse("headers", raw.decode("utf-8", "replace"))
        start = offset + _LOCAL.size + name_length + extra_length
        end = start + packed
        told = (its_crc, its_packed, its_size)
        if flags & _DESCRIPTOR:
            # The numbers follow the data, with or without a mark of their own.
            if told not in ((0, 0, 0), (crc, packed, size)):
                raise _refuse("headers", raw.decode("utf-8", "replace"))
            numbers = struct.pack("<3L", crc, packed, size)
            if end + 16 <= limit and self._at(end, 16) == b"PK\x07\x08" + numbers:
                end += 16
            elif self._at(end, 12) == numbers:
                end += 12
            else:
                raise _refuse("headers", raw.decode("utf-8", "replace"))
        elif told != (crc, packed, size):
            raise _refuse("headers", raw.decode("utf-8", "replace"))
        if end > limit:
            raise YunkuError("archive_overlapping", field="/file")
        return offset, end, start

    def _most(self, name: str) -> int:
        if name == TABLE:
            return self._limits.table
        return self._limits.marks if name.startswith(FOLDERS[1]) else self._limits.document

    def _at(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(length)
        if len(data) != length:
            raise _refuse("short")
        return data

    # -- content -------------------------------------------------------------------------------------------------------

    def _refuse_nested(self, entry: Entry) -> None:
        head = next(self._unpack(entry, 8), b"")
        # ZIP, 7z, RAR, gzip, xz.
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"7z\xbc\xaf", b"Rar!", b"\x1f\x8b", b"\xfd7zXZ")):
            raise YunkuError("archive_nested", field="/file", name=entry.name[:100])

    def _unpack(self, entry: Entry, only: int = 0) -> Iterator[bytes]:
        """The entry's bytes in pieces; with ``only``, the first piece of that many and no check of the rest."""
        self._file.seek(entry.start)
        left, made, crc = entry.packed, 0, 0
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS) if entry.method == _DEFLATED else None
        pending = b""
        while True:
            if not pending and left:
                pending = self._file.read(min(left, _CHUNK))
                if not pending:
                    raise _refuse("short", entry.name)
                left -= len(pending)
            if unpacker is None:
                piece, pending = pending, b""
            else:
                try:
                    # One byte more than announced shows that there is more.
                    piece = unpacker.decompress(pending, min(_CHUNK, entry.size - made + 1))
                except zlib.error:
                    raise _refuse("data", entry.name) from None
                pending = unpacker.unconsumed_tail
            if only:
                yield piece[:only]
                return
            made += len(piece)
            crc = zlib.crc32(piece, crc)
            if made > entry.size:
                raise _refuse("size", entry.name)
            if piece:
                yield piece
            if unpacker is not None and unpacker.eof:
                if left or pending or unpacker.unused_data:
                    raise _refuse("data", entry.name)
                break
            if not piece and not pending and not left:
                break
        if made != entry.size or crc != entry.crc or (unpacker is not None and not unpacker.eof):
            raise _refuse("size", entry.name)


def _name(raw: bytes, flags: int) -> str:
    """The entry's name: UTF-8, or the GBK of Chinese Windows; a plain relative path below what is taken."""
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        try:
            name = raw.decode("gb18030" if not flags & _UTF8 else "utf-8")
        except UnicodeDecodeError:
            raise _refuse("name") from None
    parts = name.removesuffix("/").split("/")
    wrong = (
        len(name) > _MAX_NAME
        or "\\" in name
        or ":" in name
        or any(part in ("", ".", "..") for part in parts)
        or any(unicodedata.category(character)[0] == "C" for character in name)
    )
    if wrong:
        raise YunkuError("archive_entry_refused", field="/file", name="".join(c for c in name if c.isprintable())[:100], reason="path")
    if name != TABLE and not name.startswith(FOLDERS):
        raise YunkuError("archive_entry_refused", field="/file", name=name[:100], reason="place")
    return name
