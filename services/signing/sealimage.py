"""The picture of a company's seal: round, red, the company's name along the ring, the star in the middle.

Drawn as a picture because fonts of a PDF's own can't be relied on for Chinese. It only shows that a seal is there; what
counts is the signature.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import pylopdf_fonts_zh_cn
from PIL import Image, ImageDraw, ImageFont

#: Edge of the picture in pixels (600 would cost 220 ms of signing time, 240 costs 130).
EDGE: Final = 240
# Drawn larger and scaled down, which smooths the edges.
_OVERSAMPLING: Final = 4
_RED: Final = (200, 16, 16)
_MAX_NAME: Final = 40


@lru_cache(maxsize=256)
def draw_seal(name: str, uscc: str, font: Path | None = None) -> bytes:
    """The seal of a company as 240 x 240 RGBA samples, transparent where there is no ink.

    ``font`` is a font file with Chinese characters (default: Noto Serif SC). Names longer than 40 characters are cut in
    the picture.
    """
    path = str(font or pylopdf_fonts_zh_cn.serif_path())
    size = EDGE * _OVERSAMPLING
    ink = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(ink)
    centre = size / 2
    outer = centre * 0.98
    draw.ellipse(_square(centre, outer), outline=255, width=round(size * 0.022))
    draw.polygon(_star(centre, centre - size * 0.01, centre * 0.3), fill=255)

    text = name[:_MAX_NAME]
    radius = centre * 0.75
    # The name takes the ring from lower left over the top to lower right; long names get smaller characters.
    span = math.radians(min(235.0, 22.0 * max(len(text) - 1, 1)))
    step = span / max(len(text) - 1, 1)
    letters = ImageFont.truetype(path, round(min(size * 0.105, radius * step * 1.05)))
    for index, character in enumerate(text):
        angle = -span / 2 + step * index
        _letter(ink, character, letters, centre, radius, angle)
    digits = ImageFont.truetype(path, round(size * 0.046))
    draw.text((centre, size * 0.855), uscc, font=digits, fill=255, anchor="mm")

    seal = Image.new("RGBA", (size, size), (*_RED, 0))
    seal.putalpha(ink)
    return seal.resize((EDGE, EDGE), Image.Resampling.LANCZOS).tobytes()


def _letter(ink: Image.Image, character: str, font: ImageFont.FreeTypeFont, centre: float, radius: float, angle: float) -> None:
    """One character on the ring, its foot towards the middle; ``angle`` in radians from the top, clockwise."""
    edge = round(font.size * 1.6)
    tile = Image.new("L", (edge, edge), 0)
    ImageDraw.Draw(tile).text((edge / 2, edge / 2), character, font=font, fill=255, anchor="mm", stroke_width=2)
    turned = tile.rotate(-math.degrees(angle), Image.Resampling.BICUBIC)
    x, y = centre + radius * math.sin(angle), centre - radius * math.cos(angle)
    ink.paste(255, (round(x - edge / 2), round(y - edge / 2)), turned)


def _square(centre: float, radius: float) -> tuple[float, float, float, float]:
    return (centre - radius, centre - radius, centre + radius, centre + radius)


def _star(x: float, y: float, radius: float) -> Sequence[tuple[float, float]]:
    """A five-pointed star, one point up."""
    corners = []
    for index in range(10):
        length = radius if index % 2 == 0 else radius * 0.382
        angle = math.pi * index / 5
        corners.append((x + length * math.sin(angle), y - length * math.cos(angle)))
    return corners
