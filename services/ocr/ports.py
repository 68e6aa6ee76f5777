"""What the OCR service needs from a recognition engine, and the values that cross that border.

Boxes are always ``(x0, y0, x1, y1)`` as fractions 0..1 of the page, origin top left. Images are RGB ``uint8``
arrays of shape (height, width, 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.ocr.ctc import Frames

Box = tuple[float, float, float, float]
Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Character:
    """One recognised character with its place on the page."""

    text: str
    confidence: float
    box: Box


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text on a page.

    ``confidence`` is the mean probability of its characters (0..1). ``characters`` is empty where an engine has no
    places for them; otherwise their texts joined are ``text`` without its spaces.
    """

    text: str
    confidence: float
    box: Box
    characters: tuple[Character, ...] = ()


@dataclass(frozen=True, slots=True)
class Variant:
    """One way in which a region was read: the crop as marked, trimmed, padded, with red suppressed …

    ``frames`` are the engine's posteriors of the crop's lines from top to bottom, or empty where it has none;
    ``log_probability`` is then log P(text) by those posteriors, else the log of the confidence.
    """

    name: str
    text: str
    confidence: float
    log_probability: float
    frames: Frames | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What an engine read in one region. ``variants`` has at least one element; ``text``, ``confidence`` and
    ``log_probability`` are those of the most confident one. An illegible or empty region has the text ``""``."""

    text: str
    confidence: float
    log_probability: float
    variants: tuple[Variant, ...]
    lines: tuple[Line, ...]


class RecognitionEngine(Protocol):
    """A recognition engine. Not safe for threads: one engine object per worker process.

    The same name, version, image and box give the same reading again, so a reading can be cached by them.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Changes whenever the same picture could be read differently (model, preparation, decoding)."""

    def read_region(self, image: Image, box: Box) -> Reading:
        """Reads what is printed in ``box`` of the page. Raises ``ValueError`` for a box that is empty or outside."""

    def read_page(self, image: Image) -> list[Line]:
        """Every line of the page, from top to bottom, then left to right."""
