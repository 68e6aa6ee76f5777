"""A page as a list of things to draw, in millimetres, drawn by two painters: pixels (here) and PDF (`samples.pdf`).

Texts know which field's value they print, so that the truth's boxes come from the very geometry that is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from PIL import Image, ImageDraw

from samples.fonts import Face, Family, face

Box = tuple[float, float, float, float]
Colour = tuple[int, int, int]

MM_PER_INCH = 25.4
BLACK: Colour = (28, 26, 26)
#: White space around the ink of a value in its truth box, in em of its size: what a careful person's mark leaves.
PADDING = 0.16
_NOT_AT_LINE_START = "，。；：、）》！？%”-"


@dataclass(frozen=True)
class Text:
    """One run of text on one line. ``x`` is its left edge and ``y`` its baseline; size is the em; all in mm."""

    x: float
    y: float
    text: str
    size: float
    family: Family = "song"
    bold: bool = False
    colour: Colour = BLACK
    #: extra space after each character, mm
    spacing: float = 0.0
    #: (first, last+1, field): the characters that show a field's value
    marks: tuple[tuple[int, int, str], ...] = ()

    @property
    def face(self) -> Face:
        chosen = face(self.family)
        return chosen if chosen.covers(self.text) else face("song")

    def advances(self) -> list[float]:
        return [self.face.advance(char) * self.size + self.spacing for char in self.text]

    @property
    def width(self) -> float:
        return sum(self.advances()) - (self.spacing if self.text else 0.0)

    def box(self, first: int, last: int) -> Box:
        """Box of the ink of some characters on the page, mm, with the padding of a mark."""
        advances = self.advances()
        inks = []
        x = self.x + sum(advances[:first])
        for char, advance in zip(self.text[first:last], advances[first:last], strict=True):
            if not char.isspace():
                left, top, right, bottom = self.face.ink(char)
                inks.append((x + left * self.size, self.y + top * self.size, x + right * self.size, self.y + bottom * self.size))
            x += advance
        pad = PADDING * self.size
        # Beside a neighbour on its line (the level after the qualification's name) the box ends where its ink ends.
        left_pad = pad if first == 0 or self.text[first - 1].isspace() else 0.0
        right_pad = pad if last == len(self.text) or self.text[last].isspace() else 0.0
        # A lone dash or 一 has almost no height of its own: a mark takes the line's height, as a person's would.
        top = min(min(ink[1] for ink in inks), self.y - 0.72 * self.size)
        bottom = max(max(ink[3] for ink in inks), self.y + 0.04 * self.size)
        lefts, rights = (ink[0] for ink in inks), (ink[2] for ink in inks)
        return min(lefts) - left_pad, top - pad * 0.7, max(rights) + right_pad, bottom + pad * 0.7


@dataclass(frozen=True)
class Line:
    """A ruled line, mm."""

    x0: float
    y0: float
    x1: float
    y1: float
    width: float = 0.25
    colour: Colour = (90, 80, 70)


@dataclass(frozen=True)
class Picture:
    """A transparent picture over the page (seal, code, watermark); place and size in mm, drawn at ``dots`` per mm."""

    x: float
    y: float
    image: Image.Image

    #: resolution of the picture in pixels per mm
    dots: float


@dataclass
class Scene:
    """One page. ``ground`` paints paper, border and patterns (an RGB image of width x height pixels at dots per mm)."""

    width: float
    height: float
    ground: Callable[[int, int, float], Image.Image]
    texts: list[Text] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    under: list[Picture] = field(default_factory=list)
    over: list[Picture] = field(default_factory=list)
    #: boxes of values that aren't in straight text (a name in the arc of a seal), mm
    drawn_values: dict[str, Box] = field(default_factory=dict)

    def write(self, x: float, y: float, text: str, size: float, **style: object) -> Text:
        """Add a run of text and return it."""
        run = Text(x, y, text, size, **style)  # type: ignore[arg-type]
        self.texts.append(run)
        return run

    def centre(self, x: float, y: float, text: str, size: float, **style: object) -> Text:
        """Add a run centred on x."""
        run = Text(0, y, text, size, **style)  # type: ignore[arg-type]
        return self.write(x - run.width / 2, y, text, size, **style)

    def value(
        self,
        name: str,
        x: float,
        y: float,
        text: str,
        size: float,
        width: float,
        *,
        leading: float = 1.4,
        fit: bool = False,
        parts: Iterable[tuple[int, int, str]] = (),
        **style: object,
    ) -> float:
        """Write a field's value from (x, y), wrapped to a width; returns the baseline of its last line.

        ``parts`` are further fields inside the text, as (first, last+1, field) of the whole text.
        """
        if fit:  # as printers do with a long name: smaller rather than broken, down to three quarters
            natural = Text(x, y, text, size, **style).width  # type: ignore[arg-type]
            size = max(size * 0.75, size * min(1.0, width / natural))
        spans = [(0, len(text), name), *parts]
        start = 0
        for line in wrap(text, size, width, **style):
            end = start + len(line)
            marks = tuple(
                (max(first, start) - start, min(last, end) - start, part) for first, last, part in spans if first < end and last > start
            )
            self.write(x, y, line, size, marks=marks, **style)
            start = end
            y += size * leading
        return y - size * leading

    def value_boxes(self) -> dict[str, list[Box]]:
        """Field → the boxes of its value, one a line, mm."""
        boxes: dict[str, list[Box]] = {}
        for run in self.texts:
            for first, last, name in run.marks:
                boxes.setdefault(name, []).append(run.box(first, last))
        for name, box in self.drawn_values.items():
            boxes.setdefault(name, []).append(box)
        return boxes


def wrap(text: str, size: float, width: float, **style: object) -> list[str]:
    """Break a text into lines of at most a width; closing punctuation starts no line, a number is kept whole."""
    measure = Text(0, 0, text, size, **style)  # type: ignore[arg-type]
    lines: list[str] = []
    current, used = "", 0.0
    for token in re.findall(r"[0-9A-Za-z.,/-]+|.", text):
        advance = sum(measure.face.advance(char) * size + measure.spacing for char in token)
        if used + advance > width + 1e-6 and token not in _NOT_AT_LINE_START and current:
            lines.append(current)
            current, used = "", 0.0
        current += token
        used += advance
    return [*lines, current] if current else lines


def paint(scene: Scene, dots: float) -> Image.Image:
    """The page as pixels, at a resolution in pixels per mm."""
    page = scene.ground(round(scene.width * dots), round(scene.height * dots), dots).convert("RGB")
    for picture in scene.under:
        _paste(page, picture, dots)
    draw = ImageDraw.Draw(page)
    for line in scene.lines:
        draw.line(
            (line.x0 * dots, line.y0 * dots, line.x1 * dots, line.y1 * dots),
            fill=line.colour,
            width=max(1, round(line.width * dots)),
        )
    for run in scene.texts:
        font = run.face.at(run.size * dots)
        x = run.x
        for char, advance in zip(run.text, run.advances(), strict=True):
            draw.text(
                (x * dots, run.y * dots),
                char,
                font=font,
                fill=run.colour,
                anchor="ls",
                stroke_width=run.size * dots * 0.018 if run.bold else 0,
            )
            x += advance
    for picture in scene.over:
        _paste(page, picture, dots)
    return page


def _paste(page: Image.Image, picture: Picture, dots: float) -> None:
    scale = dots / picture.dots
    size = (max(1, round(picture.image.width * scale)), max(1, round(picture.image.height * scale)))
    image = picture.image.resize(size, Image.Resampling.LANCZOS) if size != picture.image.size else picture.image
    page.paste(image.convert("RGB"), (round(picture.x * dots), round(picture.y * dots)), image.getchannel("A"))
