"""The archive of an export, as bytes that follow from its files alone: stored without compression, every header the same. So whoever has
the files can make the archive again and compare, and a byte that was changed anywhere is found (``yunku verify-export``)."""

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Final, Protocol

MANIFEST: Final = "manifest.json"
_TIME: Final = (1980, 1, 1, 0, 0, 0)


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Written:
    """A file of the archive."""

    sha256: str
    size: int


class _Pipe:
    """What zipfile writes to: it can't go back, so that it needn't, and every byte is counted once."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._sink.write(data)
        self.size += len(data)
        self.digest.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The sink is its owner's."""


class FileWriter:
    """One file while it is written."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        self._handle.write(data)
        self._digest.update(data)
        self._size += len(data)

    @property
    def written(self) -> Written:
        return Written(self._digest.hexdigest(), self._size)


class Writer:
    """Writes the files one after another; nothing of them is held in memory."""

    def __init__(self, sink: Sink) -> None:
        self._pipe = _Pipe(sink)
        self._zip = zipfile.ZipFile(self._pipe, "w", zipfile.ZIP_STORED)
        #: What was written, by name.
        self.files: dict[str, Written] = {}

    @contextmanager
    def file(self, name: str) -> Iterator[FileWriter]:
        """A file to be written in pieces."""
        if name in self.files:
            raise ValueError(f"{name} twice")
        info = zipfile.ZipInfo(name, _TIME)
        info.external_attr = 0o100600 << 16
        info.create_system = 3
        with self._zip.open(info, "w", force_zip64=False) as handle:
            writer = FileWriter(handle)
            yield writer
        self.files[name] = writer.written

    def add(self, name: str, data: bytes) -> None:
        """A file at once."""
        with self.file(name) as writer:
            writer.write(data)

    def close(self) -> Written:
        """Ends the archive; its hash and size."""
        self._zip.close()
        return Written(self._pipe.digest.hexdigest(), self._pipe.size)
