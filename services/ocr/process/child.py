"""One recognition process: reads jobs from its standard input, answers on its standard output, ends with its parent.

``python -m services.ocr.process.child ENGINE``. It gets pixels, never files; it has no credentials and no network to
use; a job that takes too long is ended by the parent with a kill.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import catalogue
from services.ocr import extraction, scoring
from services.ocr.engines import create_engine, imaging
from services.ocr.ports import Box, Image, RecognitionEngine
from services.ocr.process import codec, wire

PAGE_LONG_SIDE = 3200  # pixels: a larger page is made smaller before it is read, which bounds memory
NICE = 5  # the rest of the suite answers first

Answer = tuple[dict[str, Any], list[bytes]]


class Child:
    """The operations, by name."""

    def __init__(self, engine: RecognitionEngine) -> None:
        self._engine = engine
        self._operations: dict[str, Callable[[dict[str, Any], list[bytes]], Answer]] = {
            "hello": self._hello,
            "warm": self._warm,
            "region": self._region,
            "score": self._score,
            "page": self._page,
            "extract": self._extract,
            "reread": self._reread,
        }

    def answer(self, header: dict[str, Any], blobs: list[bytes]) -> Answer:
        """Carries out one job. What the job is to blame for comes back as ``{"error": …}``."""
        try:
            return self._operations[header["operation"]](header, blobs)
        except (ValueError, KeyError, TypeError) as error:
            return {"error": f"{type(error).__name__}: {error}"[:500]}, []

    def _hello(self, header: dict[str, Any], blobs: list[bytes]) -> Answer:
        return {"engine": self._engine.name, "version": self._engine.version}, []

    def _warm(self, header: dict[str, Any], blobs: list[bytes]) -> Answer:
        """Loads the models by reading something that needs them."""
        bars = np.full((96, 256, 3), 255, np.uint8)
        bars[40:56, 40:200:12] = 0
        self._engine.read_region(bars, (0.1, 0.3, 0.9, 0.7))
        self._engine.read_page(bars)
        return {}, []

    def _region(self, header: dict[str, Any], blobs: list[bytes]) -> Answer:
        """Reads the region ``box`` of the crop, and scores candidates if there are any."""
        reading = self._engine.read_region(_image(header, blobs[0]), _box(header["box"]))
        scores = _scores(scoring.score(reading, header["candidates"]))
        return {"text": reading.text, "confidence": reading.confidence, "scores": scores}, [codec.encode_reading(reading)]

    def _score(self, header: dict[str, Any], blobs: list[bytes]) -> Answer:
        """Scores candidates against a reading that was kept."""
        reading = codec.decode_reading(blobs[0])
        return {"scores": _scores(scoring.score(reading, header["candidates"]))}, []

    def _page(self, header: dict[str, Any], blobs: list[bytes]) -> Answer:
        image = imaging.cap_long_side(_image(header, blobs[0]), PAGE_LONG_SIDE)
        lines, turns = extraction.read_upright(self._engine, image)
        return {"lines": [codec.line_to_json(line) for line in lines], "turns": turns}, []

    def _extract(self, header: dict[str, Any], blobs: list[bytes]) -> Answer:
        """The fields of a certificate from its pages' lines, or from the characters of their text layers."""
        kind = catalogue.load().type(header["type"])
        pages, turns = [], []
        for page in header["pages"]:
            if page["characters"]:
                characters = [(t, (x0, y0, x1, y1)) for t, x0, y0, x1, y1 in page["characters"]]
                lines = extraction.lines_of_characters(characters, page["aspect"])
            else:
                lines = tuple(codec.line_from_json(line) for line in page["lines"])
            pages.append(extraction.PageLines(page["number"], page["aspect"], lines))
            turns.append(page["turns"])
        found = extraction.extract(kind, pages, turns)
        return {"fields": [_field(one) for one in found], "sure": extraction.SURE_VALUE}, []

    def _reread(self, header: dict[str, Any], blobs: list[bytes]) -> Answer:
        """Reads one doubtful value again; ``box`` is its place in the crop."""
        one = header["field"]
        found = extraction.Extracted(one["field"], one["value"], one["text"], one["confidence"], one["page"], _box(header["box"]))
        kind = catalogue.load().type(header["type"])
        image = _image(header, blobs[0])
        again = extraction.reread(self._engine, kind, lambda _: image, [found])[0]
        return {"field": {**one, "value": again.value, "text": again.text, "confidence": again.confidence}}, []


def _image(header: dict[str, Any], pixels: bytes) -> Image:
    return np.frombuffer(pixels, np.uint8).reshape(header["height"], header["width"], 3)


def _box(values: Sequence[float]) -> Box:
    x0, y0, x1, y1 = values
    return x0, y0, x1, y1


def _scores(scores: Sequence[scoring.Score]) -> list[list[float]]:
    return [[s.log_probability, s.log_ratio, s.lookalike_margin] for s in scores]


def _field(one: extraction.Extracted) -> dict[str, Any]:
    return {
        "field": one.field,
        "value": one.value,
        "text": one.text,
        "confidence": one.confidence,
        "page": one.page,
        "box": list(one.box),
    }


def main() -> None:
    """Serves jobs until the standard input ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: nobody would read the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us in its order
    os.nice(NICE)
    jobs = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes to the log, not between the frames
    child = Child(create_engine(sys.argv[1]))
    while (job := wire.read(jobs)) is not None:
        header, blobs = child.answer(*job)
        for part in wire.encode(header, blobs):
            answers.write(part)
        answers.flush()


if __name__ == "__main__":
    main()
