"""Archives made to break whoever unpacks them: each is refused with its own code, and nothing is unpacked beyond its bounds."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from kernel.errors import YunkuError
from services.certificate.transfers.archive import TABLE, Archive, Limits

SMALL = Limits(archive=1 << 20, entries=10, unpacked=3 << 20, ratio=50, table=1 << 20, document=2 << 20, marks=1000)
GOOD = ((TABLE, b"type\nx\n"), ("documents/a.pdf", b"%PDF-1.7"))


def zipped(files: Sequence[tuple[str, bytes]] = GOOD, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return made.getvalue()


def code(data: bytes, limits: Limits = SMALL) -> str:
    with pytest.raises(YunkuError) as refused:
        unpacked(data, limits)
    return refused.value.code


def unpacked(data: bytes, limits: Limits = SMALL) -> dict[str, bytes]:
    archive = Archive(io.BytesIO(data), limits)
    return {name: archive.read(name) for name in archive.entries}


def local(name: bytes, data: bytes, method: int = 0, flags: int = 0, raw: bytes | None = None) -> bytes:
    packed = raw if raw is not None else data
    head = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, flags, method, 0, 33, zlib.crc32(data), len(packed), len(data), len(name), 0)
    return head + name + packed


def central(name: bytes, data: bytes, offset: int, method: int = 0, flags: int = 0, mode: int = 0, packed: int | None = None) -> bytes:
    sizes = (zlib.crc32(data), len(data) if packed is None else packed, len(data))
    numbers = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, flags, method, 0, 33, *sizes, len(name), 0, 0, 0, 0, mode << 16, offset)
    return numbers + name


def end(count: int, start: int, length: int) -> bytes:
    return struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, length, start, 0)


def built(*parts: tuple[bytes, bytes]) -> bytes:
    """An archive of (local entry, central record)s; the records' offsets are the makers' own."""
    body, directory = b"".join(one for one, _ in parts), b"".join(one for _, one in parts)
    return body + directory + end(len(parts), len(body), len(directory))


TABLE_ENTRY = local(b"entries.csv", b"type\nx\n")


def with_table(entry: bytes, record: bytes) -> bytes:
    return built((TABLE_ENTRY, central(b"entries.csv", b"type\nx\n", 0)), (entry, record))


AT = len(TABLE_ENTRY)


def test_a_sound_archive_is_read_whichever_way_it_was_written() -> None:
    for data in (zipped(), zipped(method=zipfile.ZIP_STORED), with_table(local(b"documents/a", b"x"), central(b"documents/a", b"x", AT))):
        archive = Archive(io.BytesIO(data), SMALL)
        assert archive.read(TABLE) == b"type\nx\n"
    streamed = _Unseekable()
    with zipfile.ZipFile(streamed, "w", zipfile.ZIP_DEFLATED) as written:
        for name, content in GOOD:
            written.writestr(name, content)
    assert Archive(io.BytesIO(bytes(streamed.data)), SMALL).read("documents/a.pdf") == b"%PDF-1.7"
    gbk = "documents/执照.pdf".encode("gb18030")
    archive = Archive(io.BytesIO(with_table(local(gbk, b"x"), central(gbk, b"x", AT))), SMALL)
    assert set(archive.entries) == {TABLE, "documents/执照.pdf"}


class _Unseekable(io.RawIOBase):
    """As a pipe: zipfile then writes the numbers behind the data."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += data
        return len(data)


def test_a_bomb_is_refused_by_what_it_says_and_by_what_it_does() -> None:
    zeros = bytes(1_900_000)
    assert code(zipped([*GOOD, ("documents/b", zeros)])) == "archive_too_large"  # ratio
    assert code(zipped([*GOOD, ("documents/b", bytes(2_200_000))])) == "archive_too_large"  # one file
    some = bytes(range(256)) * 4000
    assert code(zipped([*GOOD, *((f"documents/{n}", some) for n in range(4))])) == "archive_too_large"  # all together
    assert code(zipped([*GOOD, *((f"documents/{n}", b"x") for n in range(9))])) == "archive_too_large"  # too many
    assert code(zipped(method=zipfile.ZIP_STORED) + bytes(1 << 20)) == "archive_too_large"
    # Says ten bytes, unpacks to a million: stopped at the eleventh.
    packed = zlib.compress(bytes(1_000_000), 9)[2:-4]
    lying = with_table(
        local(b"documents/b", bytes(10), 8, raw=packed), central(b"documents/b", bytes(10), AT, 8, packed=len(packed))
    )
    assert code(lying) == "archive_damaged"


def test_entries_that_overlap_are_refused() -> None:
    # Many records of the directory over one kernel of data (Fifield's bomb), and one entry within another's data.
    entry = local(b"documents/a", b"x")
    twice = TABLE_ENTRY + entry
    records = central(b"entries.csv", b"type\nx\n", 0) + central(b"documents/a", b"x", AT) * 2
    assert code(twice + records + end(3, len(twice), len(records))) == "archive_entry_repeated"
    inner = local(b"documents/b", b"y")
    outer = local(b"documents/a", inner)
    records = central(b"entries.csv", b"type\nx\n", 0) + central(b"documents/a", inner, AT)
    records += central(b"documents/b", b"y", AT + len(outer) - len(inner))
    body = TABLE_ENTRY + outer
    assert code(body + records + end(3, len(body), len(records))) == "archive_overlapping"


def test_what_the_two_directories_tell_differently_is_refused() -> None:
    other = with_table(local(b"documents/a.pdf", b"x"), central(b"documents/b.pdf", b"x", AT))
    size = with_table(local(b"documents/a.pdf", b"xy"), central(b"documents/a.pdf", b"x", AT))
    hidden = TABLE_ENTRY + b"hidden" + central(b"entries.csv", b"type\nx\n", 0)
    hidden += end(1, len(TABLE_ENTRY) + 6, len(hidden) - len(TABLE_ENTRY) - 6)
    before = b"#!/bin/sh\n" + zipped()
    for data in (other, size, hidden, before, zipped() + b"behind", zipped()[:-30], b"PK\x03\x04", b""):
        assert code(data) == "archive_damaged"
    flipped = bytearray(zipped(method=zipfile.ZIP_STORED))
    flipped[len(b"PK\x03\x04") + 26 + len(TABLE) + 1] ^= 1
    assert code(bytes(flipped)) == "archive_damaged"  # the content's check sum


@pytest.mark.parametrize(
    "name",
    ["../a", "documents/../../a", "/documents/a", "documents//a", "C:/documents/a", "documents\\a", "documents/a\x00b", "documents/a\nb",
     "elsewhere/a", "a.pdf", "documents/" + "a" * 300, "documents/./a", "documents/\u202efdp.a"],
)  # fmt: skip
def test_paths_that_lead_elsewhere_are_refused(name: str) -> None:
    raw = name.encode()
    assert code(with_table(local(raw, b"x"), central(raw, b"x", AT))) == "archive_entry_refused"


def test_links_devices_encryption_and_archives_within_are_refused() -> None:
    raw = b"documents/a"
    for kind in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK):
        assert code(with_table(local(raw, b"x"), central(raw, b"x", AT, mode=kind | 0o777))) == "archive_entry_refused"
    for flag in (0x0001, 0x0040, 0x2000):
        assert code(with_table(local(raw, b"x", flags=flag), central(raw, b"x", AT, flags=flag))) == "archive_encrypted"
    assert code(with_table(local(raw, b"x", 9), central(raw, b"x", AT, 9))) == "archive_damaged"  # another method
    for inner in (zipped(), b"\x1f\x8b\x08x", b"7z\xbc\xaf\x27\x1c"):
        assert code(zipped([*GOOD, ("documents/inner.pdf", inner)])) == "archive_nested"
    assert code(zipped([*GOOD, ("documents/A.PDF", b"x")])) == "archive_entry_repeated"  # one file on some systems
    assert code(zipped(GOOD[1:])) == "archive_without_table"


def test_any_flipped_byte_is_refused_or_changes_nothing() -> None:
    data = zipped(method=zipfile.ZIP_STORED)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x41
        try:
            read = unpacked(bytes(changed))
        except YunkuError:
            continue
        assert read == dict(GOOD), place


def test_files_are_read_on_several_threads_at_once() -> None:
    files = [(TABLE, b"type\nx\n"), *((f"documents/{n}", bytes([n]) * 200_000) for n in range(9))]
    archive = Archive(io.BytesIO(zipped(files, zipfile.ZIP_STORED)), Limits())
    wanted = [name for name, _ in files] * 20
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(archive.read, wanted)) == [dict(files)[name] for name in wanted]
