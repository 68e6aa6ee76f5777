"""Readings as bytes: what the cache keeps and what crosses the pipes."""

from __future__ import annotations

from typing import Any

from services.ocr.ctc import Frames
from services.ocr.ports import Character, Line, Reading, Variant
from services.ocr.process import record


def encode_reading(reading: Reading) -> bytes:
    """A reading without its lines' places, which nobody asks for again."""
    blobs = [b"" if v.frames is None else v.frames.to_bytes() for v in reading.variants]
    head = {
        "text": reading.text,
        "confidence": reading.confidence,
        "log_probability": reading.log_probability,
        "variants": [
            [v.name, v.text, v.confidence, v.log_probability, -1 if v.frames is None else len(b)]
            for v, b in zip(reading.variants, blobs, strict=True)
        ],
    }
    return record.pack(head, blobs)


def decode_reading(data: bytes) -> Reading:
    """Raises ``ValueError`` for bytes that ``encode_reading`` did not make."""
    head, position = record.unpack(data)
    variants = []
    for name, text, confidence, log_probability, size in head["variants"]:
        frames = None
        if size >= 0:
            frames = Frames.from_bytes(data[position : position + size])
            position += size
        variants.append(Variant(name, text, confidence, log_probability, frames))
    return Reading(head["text"], head["confidence"], head["log_probability"], tuple(variants), ())


def line_to_json(line: Line) -> dict[str, Any]:
    """A page's line with its characters' places, rounded to a twentieth of a pixel of a large page."""
    return {
        "text": line.text,
        "confidence": round(line.confidence, 4),
        "box": [round(v, 5) for v in line.box],
        "characters": [[c.text, round(c.confidence, 4), *(round(v, 5) for v in c.box)] for c in line.characters],
    }


def line_from_json(data: dict[str, Any]) -> Line:
    """The line that ``line_to_json`` wrote."""
    characters = tuple(Character(t, c, (x0, y0, x1, y1)) for t, c, x0, y0, x1, y1 in data["characters"])
    x0, y0, x1, y1 = data["box"]
    return Line(data["text"], data["confidence"], (x0, y0, x1, y1), characters)
