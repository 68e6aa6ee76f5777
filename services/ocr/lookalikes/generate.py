"""Makes ``lookalikes.txt``: which characters are printed so alike that a poor scan turns one into the other.

Every character is drawn in several faces, softened as a scanner softens, and compared with every other. A pair counts
when it is close in one face. Run by hand when the rule changes (`python -m services.ocr.lookalikes.generate FONT…`,
each FONT a path with an optional ``:index``); the result is committed, so that the table is the same everywhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from services.ocr import ctc

SIZE = 32  # pixels of a glyph's picture
THRESHOLD = 0.80  # correlation of two softened glyphs from which on they are look-alikes
RARE_THRESHOLD = 0.90  # the same where the other character is outside GB 2312: it is seldom what is printed
KEPT = 8  # nearest look-alikes kept of one character …
RARE_KEPT = 3  # … and of one outside GB 2312
OUTPUT = Path(__file__).with_name("lookalikes.txt")
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def common_characters() -> str:
    """The 6,763 characters of GB 2312."""
    codes = (bytes((a, b)) for a in range(0xB0, 0xF8) for b in range(0xA1, 0xFF))
    return "".join(code.decode("gb2312", "ignore") for code in codes)


def characters() -> str:
    """The characters of GB 2312 first, then the rarer ones of names and places that GBK adds."""
    return "".join(dict.fromkeys(common_characters() + "".join(chr(c) for c in range(0x4E00, 0x9FA6))))


def drawn(text: str, face: ImageFont.FreeTypeFont) -> NDArray[np.float32]:
    """One softened picture a character, scaled to unit length around its mean; zeros where the face lacks it."""
    missing = _picture("\uffff", face)
    rows = np.zeros((len(text), SIZE * SIZE), np.float32)
    for number, char in enumerate(text):
        picture = _picture(char, face)
        if not picture.any() or np.array_equal(picture, missing):
            continue
        soft = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.1).ravel()
        soft -= soft.mean()
        rows[number] = soft / max(float(np.linalg.norm(soft)), 1e-6)
    return rows


def _picture(char: str, face: ImageFont.FreeTypeFont) -> NDArray[np.uint8]:
    canvas = Image.new("L", (SIZE, SIZE), 0)
    ImageDraw.Draw(canvas).text((SIZE / 2, SIZE / 2), char, font=face, fill=255, anchor="mm")
    return np.asarray(canvas)


def alike(text: str, faces: list[ImageFont.FreeTypeFont], threshold: float) -> dict[str, list[str]]:
    """Each character's look-alikes, nearest first."""
    found: dict[str, dict[str, float]] = {}
    common = frozenset(common_characters() + LETTERS)
    for face in faces:
        rows = drawn(text, face)
        for start in range(0, len(text), 1000):
            block = rows[start : start + 1000] @ rows.T
            for a, b in zip(*np.nonzero(block > threshold), strict=True):
                one, other = text[start + int(a)], text[int(b)]
                if ctc.fold(one) != ctc.fold(other) and (other in common or block[a, b] > RARE_THRESHOLD):
                    near = found.setdefault(one, {})
                    near[other] = max(near.get(other, 0.0), float(block[a, b]))
    return {char: sorted(near, key=lambda o: (-near[o], o))[: KEPT if char in common else RARE_KEPT] for char, near in found.items()}


def main(fonts: list[str]) -> None:
    faces = []
    for font in fonts:
        path, _, index = font.partition(":")
        faces.append(ImageFont.truetype(path, 28, index=int(index or 0)))
    table = alike(characters(), faces, THRESHOLD)
    # of letters and digits more is known than their pictures tell: every digit stands against every other
    letters = alike(LETTERS, faces, 0.70)
    digits = "0123456789"
    for char in LETTERS:
        table[char] = list(dict.fromkeys([*letters.get(char, []), *(digits if char in digits else "")]))
        table[char] = [other for other in table[char] if other != char]
    # 0 and O, 1 and I are one picture in many faces: what tells them apart is the kind of number, which the caller knows
    for one, other in (("0", "O"), ("1", "I")):
        table[one].remove(other)
        table[other].remove(one)
    for one, other in (("0", "D"), ("8", "B"), ("5", "S"), ("2", "Z")):
        for a, b in ((one, other), (other, one)):
            if b not in table[a]:
                table[a].append(b)
    known = set(characters()) | set(LETTERS)
    lines = [char + "".join(o for o in table[char] if o in known) for char in sorted(table) if table[char]]
    OUTPUT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} characters, {sum(len(x) - 1 for x in lines)} look-alikes, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
