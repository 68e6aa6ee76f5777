"""Documents on their way to recognition: their pages as pixels and their text layers, each made once and kept a while.

Parsing is the sandbox's (`services.ocr.parsing`); what it draws is stored as PNG, and read back from there.
"""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from PIL import Image
from yunku.certificate.v1 import types_pb2

from services.ocr.objects import ObjectMissing, Objects
from services.ocr.parsing import DocumentParser, RenderedPage, TextCharacter

#: Pixels of pages that stay in memory, in bytes: three pages of A4 at 200 dpi, or the one that is worked on.
KEPT_BYTES: Final = 48 * 1024 * 1024
KEPT_LAYERS: Final = 16
#: Pages that one run of the sandbox draws.
AT_ONCE: Final = 4

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class PagePixels:
    """A page's picture: RGB, 8 bits each, rows from the top."""

    width: int
    height: int
    pixels: bytes

    def crop(self, box: Box, margin: float) -> tuple[PagePixels, Box]:
        """The part around ``box`` (fractions of the page) with ``margin`` times the box's height of surroundings, and
        the box's place in it."""
        x0, y0, x1, y1 = box[0] * self.width, box[1] * self.height, box[2] * self.width, box[3] * self.height
        air = margin * min(y1 - y0, 120.0) + 16
        left, top = max(int(x0 - air), 0), max(int(y0 - air), 0)
        right, bottom = min(int(x1 + air) + 1, self.width), min(int(y1 + air) + 1, self.height)
        view = memoryview(self.pixels)
        stride = self.width * 3
        rows = [view[y * stride + left * 3 : y * stride + right * 3] for y in range(top, bottom)]
        width, height = right - left, bottom - top
        place = ((x0 - left) / width, (y0 - top) / height, (x1 - left) / width, (y1 - top) / height)
        inside = (max(place[0], 0.0), max(place[1], 0.0), min(place[2], 1.0), min(place[3], 1.0))
        return PagePixels(width, height, b"".join(rows)), inside


class Documents:
    """Pages and text layers by document hash. Raises what `Objects` and `DocumentParser` raise."""

    def __init__(self, objects: Objects, parser: DocumentParser, dpi: int) -> None:
        self._objects = objects
        self._parser = parser
        self._dpi = dpi
        self._pages: OrderedDict[tuple[str, int], PagePixels] = OrderedDict()
        self._layers: OrderedDict[tuple[str, int], Sequence[TextCharacter]] = OrderedDict()
        self._drawing: dict[tuple[str, int], asyncio.Lock] = {}

    @asynccontextmanager
    async def rendered(self, document: types_pb2.Document) -> AsyncIterator[None]:
        """Makes every page's picture that isn't there yet. Within, the first pages can be worked on; at the end, all are
        stored (encoding and storing takes as long as reading, and needs another core)."""
        numbers = [page.number for page in document.pages]
        missing = [n for n in numbers if not await self._objects.has_page(document.sha256, n)]
        async with asyncio.TaskGroup() as storing:
            if missing:
                data = await self._objects.document(document.sha256, self._parser.limits.max_bytes)
                for first in range(min(missing), max(missing) + 1, AT_ONCE):
                    last = min(first + AT_ONCE - 1, max(missing))
                    pages = await self._parser.render(data, first, last, dpi=self._dpi)
                    lot = [storing.create_task(self._store(document.sha256, page)) for page in pages]
                    for page in pages:
                        self._keep((document.sha256, page.number), _pixels(page))
                    if last < max(missing):  # no more than one lot is in memory at once
                        await asyncio.gather(*lot)
            yield

    async def page(self, document: types_pb2.Document, number: int) -> PagePixels:
        """One page's pixels: from memory, from its stored picture, or drawn now."""
        key = (document.sha256, number)
        lock = self._drawing.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if (kept := self._pages.get(key)) is not None:
                    self._pages.move_to_end(key)
                    return kept
                try:
                    page = await asyncio.to_thread(_decoded, await self._objects.page(*key))
                except ObjectMissing:
                    data = await self._objects.document(document.sha256, self._parser.limits.max_bytes)
                    await self._draw(document.sha256, data, number, number)
                    return self._pages[key]
                self._keep(key, page)
                return page
        finally:
            if not lock.locked():
                self._drawing.pop(key, None)

    async def text_layer(self, document: types_pb2.Document, number: int) -> Sequence[TextCharacter]:
        """The characters of a page's text layer; empty for scans and pictures."""
        if not document.born_digital:
            return ()
        key = (document.sha256, number)
        if (kept := self._layers.get(key)) is not None:
            return kept
        data = await self._objects.document(document.sha256, self._parser.limits.max_bytes)
        layer = await self._parser.text(data, number)
        self._layers[key] = layer
        while len(self._layers) > KEPT_LAYERS:
            self._layers.popitem(last=False)
        return layer

    async def _draw(self, sha256: str, data: bytes, first: int, last: int) -> None:
        for page in await self._parser.render(data, first, last, dpi=self._dpi):
            await self._store(sha256, page)
            self._keep((sha256, page.number), _pixels(page))

    async def _store(self, sha256: str, page: RenderedPage) -> None:
        await self._objects.put_page(sha256, page.number, await asyncio.to_thread(page.png))

    def _keep(self, key: tuple[str, int], page: PagePixels) -> None:
        self._pages[key] = page
        self._pages.move_to_end(key)
        while len(self._pages) > 1 and sum(len(p.pixels) for p in self._pages.values()) > KEPT_BYTES:
            self._pages.popitem(last=False)


def _pixels(page: RenderedPage) -> PagePixels:
    return PagePixels(page.width, page.height, page.pixels)


def _decoded(png: bytes) -> PagePixels:
    """Our own PNG back as pixels. What is in the bucket was written by this service, from plain pixels."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        rgb = image.convert("RGB")
        return PagePixels(rgb.width, rgb.height, rgb.tobytes())


def text_in(layer: Sequence[TextCharacter], box: Box) -> str:
    """What a text layer says in a box: the characters whose glyph centre lies in it, in the document's order."""
    x0, y0, x1, y1 = box
    inside = []
    for character in layer:
        x, y = (character.box[0] + character.box[2]) / 2, (character.box[1] + character.box[3]) / 2
        if x0 <= x <= x1 and y0 <= y <= y1:
            inside.append(character.text)
    return "".join(inside)
