"""A Chinese font for PDFs that name one without embedding it, inside the sandbox.

Word and many government systems write such files ("SimSun", "STSong-Light"), and every reader shows them in a font of
its own machine. A worker can open no file, so pdfium would draw nothing. The fork server maps one font file into
memory before it gives up its rights, and pdfium asks for it here.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from pathlib import Path
from typing import Any, Final

import pypdfium2 as pdfium

CANDIDATES: Final = (
    ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", 2),
    ("/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc", 2),
    ("/usr/share/fonts/google-noto-sans-cjk-fonts/NotoSansCJK-Regular.ttc", 2),
    ("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc", 0),
    ("/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc", 0),
)
"""Files and their simplified Chinese face, in order of preference: Noto (Debian, Fedora), then WenQuanYi."""
_CHINESE: Final = {134, 136}
"""pdfium's numbers of the character sets GB 2312 and Big 5 (those of Windows)."""
_TTCF: Final = 0x74746366
"""The "table" by whose name pdfium asks for a whole font collection."""
_HANDLE: Final = 1


class ChineseFallback(pdfium.PdfSysfontBase):  # type: ignore[misc]
    """Answers pdfium's questions for a font that the document doesn't bring: one face for Chinese, for the rest none
    (pdfium has the standard fonts built in). The names of the methods are pdfium's (fpdf_sysfontinfo.h)."""

    def __init__(self, path: Path, face: int) -> None:
        with path.open("rb") as file:
            # A private mapping: shared with all workers as long as nobody writes, which nobody does.
            self._file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._size = len(self._file)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._file))
        # In a collection, pdfium knows a face by how much of the file lies behind the face's directory.
        self._collection = self._file[:4] == b"ttcf"
        self._behind = self._size - struct.unpack_from(">I", self._file, 12 + 4 * face)[0] if self._collection else 0
        super().__init__()

    def EnumFonts(self, _: Any, mapper: Any) -> None:
        """Nothing is listed; fonts are asked for one by one."""

    def MapFont(self, _: Any, weight: int, italic: int, charset: int, pitch: int, face: Any, exact: Any) -> int | None:
        """The font for a name and character set."""
        return _HANDLE if charset in _CHINESE else None

    def GetFont(self, _: Any, face: Any) -> int | None:
        """By exact name: we don't have it."""
        return None

    def GetFontData(self, _: Any, handle: Any, table: int, buffer: Any, size: int) -> int:
        """Size of the data; the data itself where the buffer takes it."""
        if table == 0 and self._collection:
            return self._behind
        if table not in (0, _TTCF) or (table == _TTCF and not self._collection):
            return 0
        if buffer and size:
            ctypes.memmove(buffer, self._address, min(size, self._size))
        return self._size

    def GetFaceName(self, _: Any, handle: Any, buffer: Any, size: int) -> int:
        """It needs no name."""
        return 0

    def GetFontCharset(self, _: Any, handle: Any) -> int:
        """GB 2312."""
        return 134

    def DeleteFont(self, _: Any, handle: Any) -> None:
        """It stays."""


def install() -> bool:
    """Give pdfium the first font found. False where the host has none: then text in such fonts stays blank, and what
    is stated can't be seen to agree."""
    for path, face in CANDIDATES:
        if Path(path).is_file():
            ChineseFallback(Path(path), face).setup()
            return True
    return False
