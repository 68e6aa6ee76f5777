"""What the demo prints: numbered steps, the facts of each, and lights."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence

_COLOURS = {"GREEN": "32", "YELLOW": "33", "RED": "31", "NONE": "37"}
_CHINESE = {"GREEN": "绿灯", "YELLOW": "黄灯", "RED": "红灯", "NONE": "未核验"}


class UnexpectedError(Exception):
    """The suite answered otherwise than it should; the message says what was expected and what came."""


class Console:
    """Prints to standard output; colours only on a terminal."""

    def __init__(self) -> None:
        self._step = 0
        self._colours = sys.stdout.isatty()

    def title(self, text: str) -> None:
        print(f"\n== {text} " + "=" * max(2, 98 - width(text)), flush=True)

    def step(self, text: str) -> None:
        """The next step; numbered through all runs, so that a failure can be named."""
        self._step += 1
        print(f"{self._step:3}. {text}", flush=True)

    def note(self, text: str) -> None:
        print(f"     {text}", flush=True)

    def light(self, light: str) -> str:
        """A light as it is shown: a coloured dot and both names."""
        text = f"● {light} {_CHINESE.get(light, '')}"
        return f"\x1b[{_COLOURS.get(light, '0')};1m{text}\x1b[0m" if self._colours else text

    def table(self, header: tuple[str, ...], rows: Sequence[tuple[str, ...]], limit: int = 38) -> None:
        """Aligned columns; cells are cut to ``limit`` columns of the terminal (a Chinese character takes two)."""
        cut = [tuple(shorten(cell, limit) for cell in row) for row in (header, *rows)]
        widths = [max(width(row[column]) for row in cut) for column in range(len(header))]
        for row in cut:
            cells = (cell + " " * (size - width(cell)) for cell, size in zip(row, widths, strict=True))
            self.note("  " + "  ".join(cells).rstrip())


def width(text: str) -> int:
    """Columns that a text takes on a terminal."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def shorten(text: str, limit: int) -> str:
    """A text cut to at most ``limit`` columns, with … where it was cut."""
    if width(text) <= limit:
        return text
    while width(text) > limit - 1:
        text = text[:-1]
    return text + "…"


def expect(condition: bool, expectation: str, got: object = "") -> None:
    """Go on only if the condition holds. Raises UnexpectedError."""
    if not condition:
        raise UnexpectedError(f"expected {expectation}" + (f", got {got}" if got != "" else ""))
