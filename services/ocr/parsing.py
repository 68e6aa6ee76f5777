"""Uploaded documents, as the OCR service sees them: what they are, their pages as pictures, their text layer.

No byte of an upload is parsed in this process. Each call hands the bytes to a worker of the sandbox (`kernel.sandbox`,
operations in `services.ocr.parsing_worker`) and checks what comes back as strictly as input from outside, because the
document may have taken the worker over: types, ranges, and pixels as raw bytes of exactly the announced size.

Every refusal is a `YunkuError` with a document_* code. `SandboxUnavailable` says nothing about the document: try again.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from PIL import Image

from kernel.errors import YunkuError
from kernel.sandbox import Sandbox, SandboxCrashed, SandboxMemory, SandboxRefused, SandboxTimeout
from kernel.sandbox.formats import JPEG, PDF, PNG, TIFF

_log = structlog.get_logger("ocr.parsing")

OPERATIONS: Final[dict[str, str]] = {
    "inspect": "services.ocr.parsing_worker:inspect",
    "render": "services.ocr.parsing_worker:render",
    "text": "services.ocr.parsing_worker:text",
}
"""To be given to `Sandbox`."""

CODES: Final = frozenset(
    {
        "document_not_recognised",
        "document_empty",
        "document_too_large",
        "document_encrypted",
        "document_damaged",
        "document_too_many_pages",
        "document_page_too_large",
        "document_too_complex",
    }
)
"""What a document can be refused with."""

PARAMS: Final = ("max", "page")
"""Parameters that a refusal may have: the limit, and the page (from 1) that exceeds it."""

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 as fractions 0..1 of the page as seen, origin top left."""


@dataclass(frozen=True, slots=True)
class ParsingLimits:
    """What a document may be and cost. The defaults are the documented ones."""

    max_bytes: int = 20 * 1024 * 1024
    """Size of the file."""
    max_pages: int = 50
    max_page_side: float = 3400.0
    """Points; a little over A0's long side (3,370)."""
    max_image_pixels: int = 64_000_000
    """Pixels of one page of an uploaded picture, told by its header before anything is decoded (8,000 x 8,000)."""
    max_rendered_pixels: int = 16_000_000
    """Pixels of one rendered page; what would have more is scaled down (A4 at 300 dpi has 8.7 million)."""
    max_characters: int = 20_000
    """Characters of one page's text layer (a full page of small print has 5,000)."""
    wall_seconds: float = 30.0
    cpu_seconds: int = 20
    memory_bytes: int = 1536 * 1024 * 1024
    """Address space of a worker beyond its parsers; decoding a picture of `max_image_pixels` takes most of it."""


@dataclass(frozen=True, slots=True)
class PageInfo:
    """One page as seen."""

    number: int
    """From 1."""
    width: float
    height: float
    """Points for PDF, pixels for pictures; rotation applied."""
    rotation: int
    """Degrees clockwise (0, 90, 180, 270) that the file asks for and that are applied."""
    dpi: float | None
    """Resolution as a picture's file states it credibly, else None."""
    characters: int
    """Characters of the text layer that are drawn, counted up to 2,000."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a document is. `born_digital`: some page has a text layer that is seen (not one that a scanner hid)."""

    media_type: str
    born_digital: bool
    pages: tuple[PageInfo, ...]


@dataclass(frozen=True, slots=True)
class RenderedPage:
    """A page's picture: RGB, 8 bits each, rows from the top, no padding (`np.frombuffer(...).reshape(height, width,
    3)`)."""

    number: int
    width: int
    height: int
    pixels: bytes
    dpi: float | None
    """Resolution of this picture if it is known."""

    def png(self) -> bytes:
        """Encoded here from plain pixels, so that what is stored and shown is a clean PNG whatever the upload was.
        Takes about
        0.1 s a page: call it on a thread."""
        buffer = io.BytesIO()
        Image.frombytes("RGB", (self.width, self.height), self.pixels).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class TextCharacter:
    """A character of the text layer. `text` is U+FFFD where the font doesn't say what its glyph means; a ligature has
    several characters. Whether it is in a region is decided by its box's centre (recognition.md: 100 % against 96.5 %
    by cropping)."""

    text: str
    box: Box


class DocumentParser:
    """Reads documents through the sandbox, which must have `OPERATIONS`."""

    def __init__(self, sandbox: Sandbox, limits: ParsingLimits | None = None) -> None:
        self._sandbox = sandbox
        self._limits = limits or ParsingLimits()

    @property
    def limits(self) -> ParsingLimits:
        """What it allows."""
        return self._limits

    async def inspect(self, data: bytes) -> Inspection:
        """What the document is. Decodes pictures whole, and loads every page of a PDF without drawing it."""
        limits = self._limits
        if not data:
            raise YunkuError("document_empty")
        if len(data) > limits.max_bytes:
            raise YunkuError("document_too_large", max=str(limits.max_bytes))
        header = {
            "max_bytes": limits.max_bytes,
            "max_pages": limits.max_pages,
            "max_page_side": limits.max_page_side,
            "max_pixels": limits.max_image_pixels,
            "max_characters": limits.max_characters,
        }
        result, blobs = await self._run("inspect", header, data, max_output_bytes=1 << 20)
        with _checked("inspect"):
            _expect(not blobs)
            return self._inspection(result)

    async def render(self, data: bytes, first: int, last: int, *, dpi: float = 200.0) -> list[RenderedPage]:
        """Pages `first` to `last` (from 1, both included) as pictures, a PDF's at `dpi` dots per inch, a picture's at
        its own resolution; scaled down to `max_rendered_pixels`. One worker renders them all: ask for few at a time."""
        limits = self._limits
        if not 1 <= first <= last <= limits.max_pages or not 10 <= dpi <= 1200:
            raise ValueError("pages or resolution out of range")
        header = {
            "first": first,
            "last": last,
            "dpi": dpi,
            "max_pages": limits.max_pages,
            "max_pixels": limits.max_rendered_pixels,
            "max_source_pixels": limits.max_image_pixels,
        }
        count = last - first + 1
        # A rendered side is rounded up, so a page may have a row and a column more than the limit says.
        largest = (limits.max_rendered_pixels + 2 * 65536) * 3
        result, blobs = await self._run("render", header, data, max_output_bytes=count * largest + 65536)
        with _checked("render"):
            pages = _list(result.get("pages"), 0, count)
            _expect(len(pages) == len(blobs) == count)
            rendered = []
            for number, page, pixels in zip(range(first, last + 1), pages, blobs, strict=True):
                width, height = _integer(page.get("width"), 1, 65536), _integer(page.get("height"), 1, 65536)
                _expect(page.get("number") == number and len(pixels) == width * height * 3 <= largest)
                rendered.append(RenderedPage(number, width, height, pixels, _resolution(page.get("dpi"))))
            return rendered

    async def text(self, data: bytes, page: int) -> list[TextCharacter]:
        """The text layer of one page, in the order of the document; empty for pictures."""
        limits = self._limits
        if not 1 <= page <= limits.max_pages:
            raise ValueError("page out of range")
        header = {"page": page, "max_pages": limits.max_pages, "max_characters": limits.max_characters}
        result, blobs = await self._run("text", header, data, max_output_bytes=limits.max_characters * 128 + 65536)
        with _checked("text"):
            _expect(not blobs)
            characters = []
            for item in _list(result.get("characters"), 0, limits.max_characters, of=list):
                _expect(len(item) == 5 and isinstance(item[0], str) and 1 <= len(item[0]) <= 8)
                x0, y0, x1, y1 = (_number(side, 0.0, 1.0) for side in item[1:])
                characters.append(TextCharacter(item[0], (x0, y0, x1, y1)))
            return characters

    async def _run(
        self, operation: str, header: dict[str, Any], data: bytes, *, max_output_bytes: int
    ) -> tuple[dict[str, Any], list[bytes]]:
        """One job; every failure that concerns the document becomes a refusal of it."""
        limits = self._limits
        try:
            return await self._sandbox.run(
                operation,
                header,
                [data],
                wall_seconds=limits.wall_seconds,
                memory_bytes=limits.memory_bytes,
                cpu_seconds=limits.cpu_seconds,
                max_output_bytes=max_output_bytes,
            )
        except SandboxRefused as refusal:
            if refusal.code not in CODES:
                _log.warning("worker_refused_strangely", operation=operation, code=refusal.code)
                raise YunkuError("document_damaged") from refusal
            # Only the parameters that the texts know: names from the worker must not become arguments.
            params: dict[str, Any] = {name: str(refusal.params[name]) for name in PARAMS if name in refusal.params}
            raise YunkuError(refusal.code, **params) from refusal
        except (SandboxTimeout, SandboxMemory) as error:
            _log.warning("document_exhausts_worker", operation=operation, size=len(data), error=str(error))
            raise YunkuError("document_too_complex") from error
        except SandboxCrashed as error:
            _log.warning("document_crashes_worker", operation=operation, size=len(data), reason=error.reason)
            raise YunkuError("document_damaged") from error

    def _inspection(self, result: Mapping[str, Any]) -> Inspection:
        media_type, born_digital = result.get("media_type"), result.get("born_digital")
        _expect(media_type in (PDF, JPEG, PNG, TIFF) and isinstance(born_digital, bool))
        pages = []
        for number, page in enumerate(_list(result.get("pages"), 1, self._limits.max_pages), 1):
            rotation = _integer(page.get("rotation"), 0, 270)
            _expect(rotation % 90 == 0)
            if media_type == PDF:
                width = _number(page.get("width"), 1.0, self._limits.max_page_side + 1)
                height = _number(page.get("height"), 1.0, self._limits.max_page_side + 1)
            else:
                width = float(_integer(page.get("width"), 1, self._limits.max_image_pixels))
                height = float(_integer(page.get("height"), 1, self._limits.max_image_pixels))
                _expect(width * height <= self._limits.max_image_pixels)
            characters = _integer(page.get("characters"), 0, self._limits.max_characters)
            pages.append(PageInfo(number, width, height, rotation, _resolution(page.get("dpi")), characters))
        return Inspection(str(media_type), bool(born_digital), tuple(pages))


class _Malformed(Exception):
    """A worker's result isn't what its operation gives."""


class _checked:
    """While a result is checked: a malformed one makes the document damaged, and is logged, for an honest worker
    gives none."""

    def __init__(self, operation: str) -> None:
        self._operation = operation

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _Malformed):
            _log.error("worker_result_malformed", operation=self._operation)
            raise YunkuError("document_damaged") from error


def _expect(condition: bool) -> None:
    if not condition:
        raise _Malformed


def _list(value: object, least: int, most: int, *, of: type = dict) -> list[Any]:
    _expect(isinstance(value, list) and least <= len(value) <= most and all(isinstance(item, of) for item in value))
    return value  # type: ignore[return-value]


def _integer(value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _Malformed
    return value


def _number(value: object, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise _Malformed
    return float(value)


def _resolution(value: object) -> float | None:
    return None if value is None else _number(value, 0.1, 2400.0)
