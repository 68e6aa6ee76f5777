"""Tesseract with the chi_sim data, through tesserocr: the second engine, chosen by a setting.

It runs where onnxruntime doesn't, and a province may require it. It reads markedly worse than PP-OCRv6 (see the
benchmark), and it gives no posteriors: its readings carry no frames, and ``services.ocr.scoring`` then judges a stated
text by the readings' own words.

The language data are looked for in ``YUNKU_TESSDATA``, in the environment's ``share/tessdata``, and where Debian's
package puts them.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_THREAD_LIMIT", "1")  # before the library loads: as many workers as cores, one thread each

import cv2
import numpy as np
import tesserocr
from PIL import Image as PillowImage

from services.ocr.engines import imaging
from services.ocr.ports import Box, Character, Image, Line, Reading, Variant

REVISION = "1"
LANGUAGE = "chi_sim"
SINGLE_LINE_HEIGHT = 56  # pixels: what chi_sim reads best, found by trying 32 to 96
PAGE_LONG_SIDE = 2600
SURE = 0.9
_CJK = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\u3000-\u303f"
_NEEDLESS_SPACE = re.compile(rf"(?<=[{_CJK}]) +| +(?=[{_CJK}])")


def find_tessdata() -> Path:
    """The directory that holds ``chi_sim.traineddata``. Raises ``FileNotFoundError`` naming where it was sought."""
    sought = [
        Path(p)
        for p in (
            os.environ.get("YUNKU_TESSDATA", ""),
            os.path.join(sys.prefix, "share", "tessdata"),
            *(str(p) for p in sorted(Path("/usr/share/tesseract-ocr").glob("*/tessdata"), reverse=True)),
            "/usr/share/tessdata",
        )
        if p
    ]
    for directory in sought:
        if (directory / f"{LANGUAGE}.traineddata").is_file():
            return directory
    raise FileNotFoundError(f"{LANGUAGE}.traineddata is in none of {', '.join(map(str, sought))}")


class Tesseract:
    """Tesseract behind the same port. The data load at first use: 0.2 s, 120 MB."""

    def __init__(self, tessdata: Path | None = None) -> None:
        self._tessdata = tessdata
        self._api: tesserocr.PyTessBaseAPI | None = None
        self._version = ""

    @property
    def name(self) -> str:
        return "tesseract"

    @property
    def version(self) -> str:
        if not self._version:
            data = (self._directory() / f"{LANGUAGE}.traineddata").read_bytes()
            library = tesserocr.tesseract_version().split()[1]
            self._version = f"tesseract-{library}-{hashlib.sha256(data).hexdigest()[:8]}-{REVISION}"
        return self._version

    def _directory(self) -> Path:
        if self._tessdata is None:
            self._tessdata = find_tessdata()
        return self._tessdata

    def _ready(self) -> tesserocr.PyTessBaseAPI:
        if self._api is None:
            self._api = tesserocr.PyTessBaseAPI(
                path=str(self._directory()), lang=LANGUAGE, oem=tesserocr.OEM.LSTM_ONLY, psm=tesserocr.PSM.SINGLE_LINE
            )
            self._api.SetVariable("debug_file", os.devnull)
        return self._api

    # -- regions -------------------------------------------------------------------------------------------------

    def read_region(self, image: Image, box: Box) -> Reading:
        imaging.check_box(box)
        left, top, right, bottom = imaging.to_pixels(image, box)
        crop = image[top:bottom, left:right]
        mask = imaging.ink(imaging.suppress_red(crop))
        bounds = imaging.ink_bounds(mask)
        if bounds is None:
            return Reading("", 0.0, 0.0, (Variant("as marked", "", 0.0, 0.0, None),), ())
        bands = imaging.rows_of_ink(mask)
        highest = max((b - a for a, b in bands), default=bounds[3] - bounds[1])
        rows = [b for b in bands if b[1] - b[0] >= 0.55 * highest and b[1] - b[0] >= 8]
        line_height = highest if len(rows) > 1 else bounds[3] - bounds[1]
        mode = tesserocr.PSM.SINGLE_BLOCK if len(rows) > 1 else tesserocr.PSM.SINGLE_LINE
        air = max(2, round(line_height * 0.16))
        tight = crop[max(bounds[1] - air, 0) : bounds[3] + air, max(bounds[0] - 2 * air, 0) : bounds[2] + 2 * air]
        scale = SINGLE_LINE_HEIGHT / max(line_height + 2 * air, 1)
        variants: list[Variant] = []
        for name, source in (
            ("tight, red faded", imaging.suppress_red(tight)),
            ("tight", tight),
            ("as marked", imaging.suppress_red(crop)),
        ):
            text, confidence = self._read(_prepared(source, scale), mode)
            variants.append(Variant(name, text, confidence, math.log(max(confidence, 1e-6)), None))
            if confidence > SURE:
                break
        best = max(variants, key=lambda v: v.confidence)
        lines = (Line(best.text, best.confidence, box),) if best.text else ()
        return Reading(best.text, best.confidence, best.log_probability, tuple(variants), lines)

    def _read(self, picture: PillowImage.Image, mode: int) -> tuple[str, float]:
        api = self._ready()
        api.SetPageSegMode(mode)
        api.SetImage(picture)
        api.SetSourceResolution(300)
        text = _joined(api.GetUTF8Text().split("\n"))
        return (text, api.MeanTextConf() / 100.0) if text else ("", 0.0)

    # -- pages ---------------------------------------------------------------------------------------------------

    def read_page(self, image: Image) -> list[Line]:
        picture = imaging.cap_long_side(imaging.suppress_red(image), PAGE_LONG_SIDE)
        height, width = picture.shape[:2]
        if max(height, width) < PAGE_LONG_SIDE / 2:
            picture = np.asarray(cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
            height, width = picture.shape[:2]
        api = self._ready()
        api.SetPageSegMode(tesserocr.PSM.SPARSE_TEXT)
        api.SetImage(PillowImage.fromarray(picture))
        api.SetSourceResolution(200)
        api.Recognize()
        lines = list(_lines(api, width, height))
        return sorted(lines, key=lambda line: (round((line.box[1] + line.box[3]) * 40), line.box[0]))


def _prepared(source: Image, scale: float) -> PillowImage.Image:
    """Enlarged to the height that the data were made for, in grey, with a white border, which Tesseract needs."""
    scale = min(max(scale, 0.2), 6.0)
    interpolation = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    grey = cv2.cvtColor(source, cv2.COLOR_RGB2GRAY)
    large = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=interpolation)
    low, high = np.percentile(large, (1, 90))
    stretched = np.clip((large.astype(np.float32) - low) * (255.0 / max(high - low, 1.0)), 0, 255).astype(np.uint8)
    return PillowImage.fromarray(cv2.copyMakeBorder(stretched, 12, 12, 12, 12, cv2.BORDER_CONSTANT, value=255))


def _joined(lines: Sequence[str]) -> str:
    """The lines' text as one; the spaces that Tesseract puts between Chinese characters go."""
    return "".join(_NEEDLESS_SPACE.sub("", line.strip()) for line in lines).strip()


def _lines(api: tesserocr.PyTessBaseAPI, width: int, height: int) -> Iterator[Line]:
    iterator = api.GetIterator()
    if iterator is None:
        return
    symbols: list[Character] = []
    bounds: tuple[int, int, int, int] | None = None
    text = ""
    for item in tesserocr.iterate_level(iterator, tesserocr.RIL.SYMBOL):
        if item.IsAtBeginningOf(tesserocr.RIL.TEXTLINE):
            if symbols and bounds:
                yield _line(text, symbols, bounds, width, height)
            symbols, text = [], ""
            bounds = item.BoundingBox(tesserocr.RIL.TEXTLINE)
        try:
            symbol = item.GetUTF8Text(tesserocr.RIL.SYMBOL)
        except RuntimeError:  # an empty block: the library has no text for it
            continue
        place = item.BoundingBox(tesserocr.RIL.SYMBOL)
        if not symbol or not symbol.strip() or place is None:
            continue
        if item.IsAtBeginningOf(tesserocr.RIL.WORD) and text:
            text += " "
        text += symbol
        confidence = float(item.Confidence(tesserocr.RIL.SYMBOL)) / 100.0
        box = (place[0] / width, place[1] / height, place[2] / width, place[3] / height)
        symbols.append(Character(symbol, confidence, box))
    if symbols and bounds:
        yield _line(text, symbols, bounds, width, height)


def _line(text: str, symbols: list[Character], bounds: tuple[int, int, int, int], width: int, height: int) -> Line:
    box = (bounds[0] / width, bounds[1] / height, bounds[2] / width, bounds[3] / height)
    confidence = float(np.mean([s.confidence for s in symbols]))
    # now and then the library lets a symbol's box reach over its neighbours
    apart = []
    for symbol, following in zip(symbols, [*symbols[1:], None], strict=True):
        x0, y0, x1, y1 = symbol.box
        if following is not None and x0 < following.box[0] < x1:
            symbol = replace(symbol, box=(x0, y0, following.box[0], y1))
        apart.append(symbol)
    return Line(_joined([text]), confidence, box, tuple(apart))
