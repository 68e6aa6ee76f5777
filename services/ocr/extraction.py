"""SMART mode: from the lines of a page to the fields of a certificate, driven by the catalogue.

Reading is not the difficulty, pairing is: which text is whose value. The way of a page through this module:

1. Characters with their places (from recognition, or from the text layer of a born-digital PDF) are set upright: the
   slope of the lines is fitted and taken out, slanted watermarks are dropped.
2. Captions (a field's ``labels`` in the catalogue) are found in each row, also spread ones (名　　　称), ones that run
   into their value, and ones with one misread character.
3. A caption's value stands to its right up to the next caption, or below it where the row is a table's heading or the
   caption stands alone; long values go on in the lines below.
4. What has no caption is found by its form: credit codes, the regular expressions of the catalogue, the date at the
   foot; and fields that are parts of another (资质名称 + 等级) are cut out of it.

Each value is read by its type (``catalogue.Field.read``); what its type refuses is kept as seen, with less confidence.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from catalogue import CertificateType, Field
from kernel.values import BadValue
from services.ocr import ctc
from services.ocr.engines import imaging
from services.ocr.ports import Box, Character, Image, Line, RecognitionEngine

RUNNING = frozenset({"long", "string", "org", "enum", "level_text", "period"})  # kinds whose values may go on in the next line
OTHER_CAPTIONS = ("登记机关", "发证机关", "副本", "正本", "注册号", "经济性质", "资质类别", "承包工程范围", "业务范围", "备注")
LEADING = 1.6  # line distance within one value, in heights of a line's box, at most; rows of a form stand further apart
REFUSED = 0.5  # confidence is multiplied by this where a value's type refuses what was read
GUESSED = 0.9  # and by this where a value was found by its form, without a caption
MAX_VALUE = 2000  # characters of one value
UPRIGHT = 0.8  # quality of a page's reading below which it is tried turned
PROBE_LONG_SIDE = 1200  # pixels of the page on which a turn is tried


@dataclass(frozen=True, slots=True)
class Extracted:
    """One field's value as read: canonical where its type accepts it, else the text as seen. ``page`` is from 1."""

    field: str
    value: str
    text: str
    confidence: float
    page: int
    box: Box


@dataclass(frozen=True, slots=True)
class PageLines:
    """What stands on one page. ``aspect`` is its width divided by its height."""

    number: int
    aspect: float
    lines: tuple[Line, ...]


@dataclass(slots=True)
class _Glyph:
    """A character set upright: x and y in page heights. ``caption`` once it is part of a caption; ``taken`` once it is
    part of a value."""

    text: str
    symbol: str
    confidence: float
    x0: float
    x1: float
    y: float
    height: float
    box: Box
    caption: bool = False
    taken: bool = False


@dataclass(slots=True)
class _Row:
    """Glyphs of one line or of several beside each other, from left to right."""

    glyphs: list[_Glyph]
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class _Caption:
    """A caption found: ``field`` is ``None`` for one that is no field's. ``strength`` ranks rivals."""

    field: Field | None
    row: int
    start: int
    end: int
    strength: float


# -- what a page says ---------------------------------------------------------------------------------------------


def read_upright(engine: RecognitionEngine, image: Image) -> tuple[list[Line], int]:
    """The lines of a page that may lie on its side or head, with their boxes on the page as it is, and by how many
    quarters it had to be turned counter-clockwise to be read."""
    lines = engine.read_page(image)
    if _quality(lines, image.shape[1] / image.shape[0]) >= UPRIGHT:
        return lines, 0
    small = imaging.cap_long_side(image, PROBE_LONG_SIDE)
    tried = {0: _quality(lines, image.shape[1] / image.shape[0])}
    for turns in (1, 3, 2):
        turned = imaging.rotate(small, turns)
        tried[turns] = _quality(engine.read_page(turned), turned.shape[1] / turned.shape[0])
        if tried[turns] > UPRIGHT:
            break
    best = max(tried, key=lambda t: tried[t])
    if best == 0 or tried[best] < tried[0] + 0.1:
        return lines, 0
    turned_lines = engine.read_page(imaging.rotate(image, best))
    return [_turned_back(line, best) for line in turned_lines], best


#: Words of which every certificate has some: an engine can be sure of nonsense on a page that lies on its head.
_USUAL_WORDS = (
    *("公司", "有限", "工程", "证书", "编号", "日期", "名称", "代码", "信用", "代表", "注册", "资本", "地址", "有效"),
    *("机关", "资质", "建筑", "等级", "单位", "企业", "姓名", "身份", "专业", "单据", "合同", "报告", "通知", "项目"),
)


def _quality(lines: Sequence[Line], aspect: float) -> float:
    """Mean confidence by characters, of lines that lie across the page (the others count as unread), less where usual
    words are missing."""
    weight = sum(max(len(line.text), 2) for line in lines)
    if not weight:
        return 0.0
    good = 0.0
    for line in lines:
        across = (line.box[2] - line.box[0]) * aspect > 0.8 * (line.box[3] - line.box[1])
        good += max(len(line.text), 2) * line.confidence * across
    text = "".join(line.text for line in lines)
    usual = sum(word in text for word in _USUAL_WORDS)
    return good / weight * (0.4 + 0.2 * min(usual, 3))


def _turned_back(line: Line, turns: int) -> Line:
    characters = tuple(replace(c, box=imaging.unrotate_box(c.box, turns)) for c in line.characters)
    return replace(line, box=imaging.unrotate_box(line.box, turns), characters=characters)


def lines_of_characters(characters: Iterable[tuple[str, Box]], aspect: float) -> tuple[Line, ...]:
    """Groups the characters of a text layer into lines: by their middles, cut at wide gaps."""
    glyphs = [(t, b) for t, b in characters if t.strip()]
    rows: list[list[tuple[str, Box]]] = []
    for text, box in sorted(glyphs, key=lambda g: (g[1][1] + g[1][3]) / 2):
        middle, height = (box[1] + box[3]) / 2, box[3] - box[1]
        for row in reversed(rows[-4:]):
            other = row[-1][1]
            if abs((other[1] + other[3]) / 2 - middle) < 0.35 * min(max(height, 1e-6), max(other[3] - other[1], 1e-6)):
                row.append((text, box))
                break
        else:
            rows.append([(text, box)])
    lines: list[Line] = []
    for row in rows:
        row.sort(key=lambda g: g[1][0])
        piece: list[tuple[str, Box]] = []
        for text, box in row:
            if piece and (box[0] - piece[-1][1][2]) * aspect > 1.6 * (box[3] - box[1]):
                lines.append(_line_of(piece))
                piece = []
            piece.append((text, box))
        lines.append(_line_of(piece))
    return tuple(lines)


def _line_of(piece: list[tuple[str, Box]]) -> Line:
    boxes = [b for _, b in piece]
    box = (min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes))
    return Line("".join(t for t, _ in piece), 1.0, box, tuple(Character(t, 1.0, b) for t, b in piece))


# -- setting upright ----------------------------------------------------------------------------------------------


def _upright(page: PageLines, turns: int) -> list[_Row]:
    """The page's rows, top to bottom, with the slope of a skew scan or of a photo taken from the side removed."""
    aspect = page.aspect
    lines = [[(c, _seen(c.box, turns)) for c in line.characters] for line in page.lines if line.characters]
    if turns % 2:
        aspect = 1 / aspect
    slopes = []
    for glyphs in lines:
        (_, first), (_, last) = glyphs[0], glyphs[-1]
        run = ((last[0] + last[2]) - (first[0] + first[2])) / 2 * aspect
        rise = ((last[1] + last[3]) - (first[1] + first[3])) / 2
        if len(glyphs) >= 6 and run > 0 and abs(rise) < 0.2 * run:
            slopes.append((rise / run, (first[1] + last[3]) / 2, run))
    at_top, per_height = _fit_slope(slopes)
    rows: list[_Row] = []
    for glyphs in lines:
        upright = []
        for character, box in glyphs:
            x0, x1 = box[0] * aspect, box[2] * aspect
            middle = (box[1] + box[3]) / 2
            slope = at_top + per_height * middle
            y = middle - slope * (x0 + x1) / 2
            height = max(box[3] - box[1] - abs(slope) * (x1 - x0), 1e-4)
            symbol = ctc.fold_character(character.text)
            upright.append(_Glyph(character.text, symbol, character.confidence, x0, x1, y, height, character.box))
        if len(upright) >= 2 and _stands(upright):
            continue
        if len(upright) >= 2:
            run = upright[-1].x0 - upright[0].x0
            if run <= 0 or abs(upright[-1].y - upright[0].y) / run > (0.07 if len(upright) >= 4 else 0.25):
                continue  # a watermark or the rim of a seal
        y, height = float(np.median([g.y for g in upright])), float(np.median([g.height for g in upright]))
        rows.append(_Row(upright, y, height))
    rows.sort(key=lambda r: r.y)
    return rows


def _stands(glyphs: Sequence[_Glyph]) -> bool:
    """A box higher than wide that was read as several characters: strokes of a frame, a seal, a picture."""
    return glyphs[-1].x1 - glyphs[0].x0 < 0.45 * float(np.median([g.height for g in glyphs]))


def _seen(box: Box, turns: int) -> Box:
    """The box as it stands on the page turned counter-clockwise by ``turns`` quarters."""
    return imaging.unrotate_box(box, (4 - turns) % 4)


def _fit_slope(slopes: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """(slope at the top, change of slope per page height) of (slope, y, length) samples, outliers left out."""
    if not slopes:
        return 0.0, 0.0
    s, y, weight = (np.array(v) for v in zip(*slopes, strict=True))
    usual = float(np.median(s))
    near = np.abs(s - usual) < 0.08
    if near.sum() < 5 or np.ptp(y[near]) < 0.2:
        return usual, 0.0
    for _ in range(2):
        slope, start = np.polyfit(y[near], s[near], 1, w=weight[near])
        closer = np.abs(s - (start + slope * y)) < 0.02
        if closer.sum() < 5:
            break
        near = closer
    return float(start), float(slope)


def _beside(rows: Sequence[_Row]) -> list[_Row]:
    """Joins lines that stand beside each other into one row."""
    joined: list[list[_Row]] = []
    for row in rows:
        for group in reversed(joined[-4:]):
            reference = min(group, key=lambda r: abs(r.glyphs[0].x0 - row.glyphs[0].x0))
            apart = all(row.glyphs[0].x0 > r.glyphs[-1].x0 or r.glyphs[0].x0 > row.glyphs[-1].x0 for r in group)
            alike = 0.4 < reference.height / row.height < 2.5
            if apart and alike and abs(reference.y - row.y) < 0.5 * max(reference.height, row.height):
                group.append(row)
                break
        else:
            joined.append([row])
    answers = []
    for group in joined:
        glyphs = sorted((g for r in group for g in r.glyphs), key=lambda g: g.x0)
        y, height = float(np.mean([r.y for r in group])), float(np.mean([r.height for r in group]))
        answers.append(_Row(glyphs, y, height))
    return answers


# -- captions -----------------------------------------------------------------------------------------------------


def _find_captions(rows: Sequence[_Row], fields: Sequence[Field]) -> list[_Caption]:
    words: dict[str, Field | None] = {ctc.fold(text): None for text in OTHER_CAPTIONS}
    for field in fields:
        for label in field.labels:
            words[ctc.fold(label)] = field
    by_length = sorted(words, key=len, reverse=True)
    found: list[_Caption] = []
    for number, row in enumerate(rows):
        start = 0
        after_caption = False
        while start < len(row.glyphs):
            best = None
            if _may_start(row, start, after_caption):
                best = next((m for w in by_length if (m := _match(row, start, w)) is not None), None)
            if best is None:
                after_caption = False
                start += 1
                continue
            word, end, strength = best
            for glyph in row.glyphs[start:end]:
                glyph.caption = True
            found.append(_Caption(words[word], number, start, end, strength))
            start = end
            after_caption = True
    return found + _half_seen(rows, found, words)


def _may_start(row: _Row, start: int, after_caption: bool) -> bool:
    if start == 0 or after_caption:
        return True
    before, here = row.glyphs[start - 1], row.glyphs[start]
    return here.x0 - before.x1 > 0.7 * row.height or before.symbol in {"[", "、", "/", ":", ";", "]"}


def _match(row: _Row, start: int, word: str) -> tuple[str, int, float] | None:
    """The caption ``word`` at ``start``: (word, end, strength). Letters may be spread, with specks read between them; one
    may be misread in a word of four or more; what follows must show that the caption ends: a colon, a gap, the end of
    the row, or its spread."""
    glyphs = row.glyphs
    spelled = _spelled(glyphs, start, word, frozenset()) or _spelled(glyphs, start, word, _SPECKS)
    if spelled is None:
        return None
    letters, end, wrong = spelled
    gaps = [b.x0 - a.x1 for a, b in itertools.pairwise(letters)]
    if gaps and (max(gaps) > 6.5 * row.height or (len(gaps) > 1 and max(gaps) - min(gaps) > 1.6 * row.height)):
        return None
    spread = bool(gaps) and min(gaps) > 0.6 * row.height
    if end == len(glyphs):
        follow = 1.0
    elif glyphs[end].symbol == ":":
        follow = 1.2
    elif glyphs[end].x0 - glyphs[end - 1].x1 > 0.55 * row.height:
        follow = 1.0
    elif spread:
        follow = 0.9
    elif len(word) >= 4:
        follow = 0.5
    elif start == 0 and len(word) >= 3:
        follow = 0.3
    elif glyphs[end].symbol == "]" and start and glyphs[start - 1].symbol == "[":
        follow = 0.8
    else:
        return None
    return word, end, follow + 0.05 * len(word) - 0.4 * wrong


def _spelled(glyphs: Sequence[_Glyph], start: int, word: str, skipped: frozenset[str]) -> tuple[list[_Glyph], int, int] | None:
    """The glyphs from ``start`` on that spell the word, where they end, and how many are misread."""
    letters: list[_Glyph] = []
    end = start
    while end < len(glyphs) and len(letters) < len(word):
        if not letters or glyphs[end].symbol not in skipped:
            letters.append(glyphs[end])
        end += 1
    if len(letters) < len(word):
        return None
    wrong = sum(glyph.symbol != c for glyph, c in zip(letters, word, strict=True))
    if wrong > (1 if len(word) >= 4 else 0) or (wrong and letters[0].symbol != word[0]):
        return None
    return letters, end, wrong


_SPECKS = frozenset({"·", ".", ",", "'", "-", "、"})


def _half_seen(rows: Sequence[_Row], found: Sequence[_Caption], words: dict[str, Field | None]) -> list[_Caption]:
    """Spread captions of two letters of which one was not seen (detection overlooks single characters): forms spread
    captions to one width, so the letter stands where the other captions of its column start or end."""
    starts = [rows[c.row].glyphs[c.start].x0 for c in found]
    ends = [rows[c.row].glyphs[c.end - 1].x1 for c in found if c.end - c.start >= 4 or c.end < len(rows[c.row].glyphs)]
    seen = {c.field.name for c in found if c.field is not None}
    pairs = [(word, field) for word, field in words.items() if len(word) == 2 and field is not None]
    answers = []
    for number, row in enumerate(rows):
        near = 0.7 * row.height
        for index, glyph in enumerate(row.glyphs):
            before = glyph.x0 - row.glyphs[index - 1].x1 if index else math.inf
            after = row.glyphs[index + 1].x0 - glyph.x1 if index + 1 < len(row.glyphs) else math.inf
            if glyph.caption or before < 3.0 * row.height:
                continue
            first = after > 2.0 * row.height and any(abs(glyph.x0 - x) < near for x in starts)
            last = any(abs(glyph.x1 - x) < near for x in ends)
            for word, field in pairs:
                fits = (last and glyph.symbol == word[1]) or (first and glyph.symbol == word[0])
                if fits and field is not None and field.name not in seen:
                    glyph.caption = True
                    seen.add(field.name)
                    answers.append(_Caption(field, number, index, index + 1, 0.4))
                    break
    return answers


# -- values -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Value:
    glyphs: tuple[_Glyph, ...]

    @property
    def text(self) -> str:
        return _full_width("".join(g.text for g in self.glyphs)[:MAX_VALUE])

    @property
    def confidence(self) -> float:
        return float(np.mean([g.confidence for g in self.glyphs]))

    @property
    def box(self) -> Box:
        boxes = [g.box for g in self.glyphs]
        return min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)


def _full_width(text: str) -> str:
    """Brackets and commas in Chinese text are full width, whichever the model wrote."""
    if not re.search("[\u4e00-\u9fff]", text):
        return text
    return text.translate({ord("("): "（", ord(")"): "）", ord(","): "，", ord(";"): "；", ord(":"): "："})


class _Page:
    """One page's rows and captions, from which values are taken."""

    def __init__(self, page: PageLines, fields: Sequence[Field], turns: int) -> None:
        self.number = page.number
        self.rows = _beside(_upright(page, turns))
        self.captions = _find_captions(self.rows, fields)
        self.aspect = 1 / page.aspect if turns % 2 else page.aspect
        self._by_row: dict[int, list[_Caption]] = {}
        for caption in self.captions:
            self._by_row.setdefault(caption.row, []).append(caption)

    def values_of(self, caption: _Caption) -> list[_Value]:
        """What may be a caption's value: what stands to its right, and what stands below, the likelier first."""
        field = caption.field
        if field is None:
            return []
        first = self._right(caption)
        answers: list[_Value] = []
        if first:
            row = self.rows[caption.row]
            far = first[0].x0 - row.glyphs[caption.end - 1].x1 > 9 * row.height
            if field.type in RUNNING:
                first = self._continued(caption, first)
            answers.append(_Value(tuple(first)))
            if not far and _accepted(field, answers[0]) is not None:
                return answers
        below = self._below(caption)
        if below:
            answers.append(_Value(tuple(below)))
        return answers

    def _right(self, caption: _Caption) -> list[_Glyph]:
        row = self.rows[caption.row]
        taken: list[_Glyph] = []
        wide = (4.5 if caption.field and caption.field.type not in RUNNING else 3.0) * row.height
        for glyph in row.glyphs[caption.end :]:
            if glyph.caption or (taken and glyph.x0 - taken[-1].x1 > wide):
                break
            if not taken and glyph.symbol in {":", "]", "|", ""}:
                continue
            taken.append(glyph)
        return taken

    def _column_end(self, row: int, left: float) -> float:
        """Where the column of a value that starts at ``left`` ends: at the next caption right of it, in this row or
        one of those above it."""
        height = self.rows[row].height
        ends = [
            self.rows[c.row].glyphs[c.start].x0
            for c in self.captions
            if c.field is not None
            and self.rows[c.row].glyphs[c.start].x0 > left + height
            and -0.6 * height < self.rows[row].y - self.rows[c.row].y < 9 * height
        ]
        return min(ends, default=self.aspect) - 0.3 * height

    def _continued(self, caption: _Caption, first: list[_Glyph]) -> list[_Glyph]:
        """The lines below that go on with the value: same column, no caption, at a line's distance."""
        value = list(first)
        left = first[0].x0
        height = float(np.median([g.height for g in first]))
        bottom, right = first[0].y, first[-1].x1
        column_end = self._column_end(caption.row, left)
        wraps = caption.field is not None and caption.field.type == "long"
        for number in range(caption.row + 1, len(self.rows)):
            row = self.rows[number]
            if row.y - bottom < 0.5 * height:
                continue
            if row.y - bottom > LEADING * height:
                break
            line = [g for g in row.glyphs if g.x0 > left - 1.3 * height and g.x1 < column_end + height]
            left_of = [g for g in row.glyphs if g.x1 <= left - 1.3 * height and g.x1 > left - 14 * height]
            if not line:
                continue
            start = line[0].x0
            size = float(np.median([g.height for g in line]))
            said = "".join(g.symbol if len(g.symbol) == 1 else " " for g in line)
            if _TYPICAL["date"].match(said):
                break
            beside_caption = any(g.caption for g in left_of)
            if (
                any(g.caption or g.taken for g in line[:1])
                or beside_caption
                or not left - 1.3 * height < start < left + 2.6 * height
                or not 0.72 * height < size < 1.4 * height
            ):
                break
            kept: list[_Glyph] = []
            for glyph in line:
                if glyph.caption or (kept and glyph.x0 - kept[-1].x1 > 3.0 * height):
                    break
                kept.append(glyph)
            # a value goes on only after a line that was full; names and the like are seldom printed narrow
            if not wraps and column_end - value[-1].x1 > 8 * height and value[-1].symbol not in {";", ",", "、"}:
                break
            if right < max(g.x1 for g in kept) - 3.0 * height and value[-1].symbol not in {";", ",", "、"}:
                break
            value += kept
            bottom, right = row.y, max(right, kept[-1].x1)
        return value

    def _below(self, caption: _Caption) -> list[_Glyph]:
        """The value under a caption: in the cell of a table's heading, or in the next line."""
        row = self.rows[caption.row]
        glyphs = row.glyphs[caption.start : caption.end]
        height = float(np.median([g.height for g in glyphs]))
        left, right = glyphs[0].x0, glyphs[-1].x1
        beside = [c for c in self._by_row[caption.row] if c is not caption]
        heading = any(c.start == caption.end or c.end == caption.start for c in beside)
        if heading:
            before = [self.rows[caption.row].glyphs[c.end - 1].x1 for c in beside if c.end <= caption.start]
            after = [self.rows[caption.row].glyphs[c.start].x0 for c in beside if c.start >= caption.end]
            low = (max(before) + left) / 2 if before else left - 8 * height
            high = (min(after) + right) / 2 if after else right + 8 * height
        else:
            low, high = left - 1.5 * height, max(right, left + 30 * height)
        middle = float(np.median([g.y for g in glyphs]))
        for number in range(caption.row + 1, len(self.rows)):
            line = [g for g in self.rows[number].glyphs if low < (g.x0 + g.x1) / 2 < high]
            if not line:
                continue
            distance = line[0].y - middle
            if distance < 0.5 * height or (not heading and line[0].x0 > right):
                continue
            if distance > 3.6 * height or line[0].caption or line[0].taken:
                break
            kept = [line[0]]
            for glyph in line[1:]:
                if glyph.caption or glyph.x0 - kept[-1].x1 > 3.0 * height:
                    break
                kept.append(glyph)
            return kept
        return []

    def free_runs(self) -> list[_Value]:
        """Text that is neither caption nor value, cut at wide gaps: where fields without a caption are looked for."""
        runs: list[_Value] = []
        for row in self.rows:
            run: list[_Glyph] = []
            for glyph in row.glyphs:
                used = glyph.caption or glyph.taken
                if run and (used or glyph.x0 - run[-1].x1 > 3.0 * row.height):
                    runs.append(_Value(tuple(run)))
                    run = []
                if not used:
                    run.append(glyph)
            if run:
                runs.append(_Value(tuple(run)))
        return runs


# -- the whole ----------------------------------------------------------------------------------------------------


def extract(certificate_type: CertificateType, pages: Sequence[PageLines], turns: Sequence[int] | None = None) -> list[Extracted]:
    """The fields of a certificate that its pages show, in the catalogue's order; what isn't found is left out.

    ``turns`` gives for each page by how many quarters counter-clockwise it had to be turned to be read.
    """
    fields = [f for f in certificate_type.fields if f.takes_mark]
    prepared = [_Page(page, fields, turn) for page, turn in zip(pages, turns or [0] * len(pages), strict=True) if page.lines]
    found: dict[str, Extracted] = {}
    _by_captions(prepared, found)
    _by_form(prepared, fields, found)
    _from_wholes(fields, prepared, found)
    return [found[f.name] for f in fields if f.name in found]


def _by_captions(pages: Sequence[_Page], found: dict[str, Extracted]) -> None:
    offers: list[tuple[float, _Page, _Value, Field]] = []
    for page in pages:
        for caption in page.captions:
            if caption.field is None:
                continue
            for rank, value in enumerate(page.values_of(caption)):
                accepted = _accepted(caption.field, value) is not None
                offers.append((caption.strength + 0.6 * accepted - 0.1 * rank, page, value, caption.field))
    for _, page, value, field in sorted(offers, key=lambda o: -o[0]):
        if field.name in found or sum(g.taken for g in value.glyphs) > 0.5 * len(value.glyphs):
            continue
        found[field.name] = _made(field, page, value, 1.0)


def _accepted(field: Field, value: _Value) -> tuple[str, _Value] | None:
    """The canonical value, and the glyphs that say it; ``None`` where the type refuses every sensible cut."""
    for cut in _cuts(field, value):
        try:
            return field.read(cut.text), cut
        except BadValue:
            continue
    return None


_COMPANY = re.compile(r".+(?:公司|合伙\]|事务所)(?=[^(\[])")  # with more text behind it that can't be part of the name
_TYPICAL = {
    "date": re.compile(
        r"[12]\d{3}[年\-./]\d{1,2}[月\-./]\d{1,2}日?|[一二][〇零一二三四五六七八九]{3}年[一二三四五六七八九十]{1,3}月[一二三四五六七八九十]{1,3}日"
    ),
    "uscc": re.compile(r"[0-9A-Z]{18}"),
    "certno": re.compile(r"[0-9A-Z][0-9A-Z\-/]{5,}"),
}


def _cuts(field: Field, value: _Value) -> Iterable[_Value]:
    """The value, and parts of it that may be the value alone: what fits its form, and without what follows a gap."""
    symbols = "".join(g.symbol if len(g.symbol) == 1 else " " for g in value.glyphs)
    if field.format and (form := re.search(rf"(?<![0-9A-Z])(?:{field.format})(?![0-9A-Z])", symbols)):
        yield _Value(value.glyphs[form.start() : form.end()])
    if field.type == "org" and (name := _COMPANY.match(symbols)):
        yield _Value(value.glyphs[: name.end()])  # what follows is a watermark or a seal's rim
    yield value
    gaps = [b.x0 - a.x1 for a, b in zip(value.glyphs, value.glyphs[1:], strict=False)]
    height = float(np.median([g.height for g in value.glyphs]))
    for index, gap in enumerate(gaps, 1):
        if gap > 1.2 * height:
            yield _Value(value.glyphs[:index])
    pattern = _TYPICAL.get(field.type)
    if pattern is not None:
        for match in pattern.finditer(symbols):
            yield _Value(value.glyphs[match.start() : match.end()])
    if field.type in {"money", "period", "level"}:
        for end in range(len(value.glyphs) - 1, max(len(value.glyphs) - 8, 1), -1):
            yield _Value(value.glyphs[:end])


def _made(field: Field, page: _Page, value: _Value, certainty: float) -> Extracted:
    """Takes the value's glyphs from the page and gives it its form."""
    accepted = _accepted(field, value)
    shown = value if accepted is None else accepted[1]
    for glyph in shown.glyphs:
        glyph.taken = True
    text = shown.text.strip("：: ")
    confidence = shown.confidence * certainty * (REFUSED if accepted is None else 1.0)
    return Extracted(field.name, text if accepted is None else accepted[0], text, confidence, page.number, shown.box)


def _by_form(pages: Sequence[_Page], fields: Sequence[Field], found: dict[str, Extracted]) -> None:
    """Fields without a caption: by the form of their value."""
    for field in fields:
        if not _missing(field, found):
            continue
        pattern: re.Pattern[str] | None = None
        if field.type == "uscc":
            pattern = _TYPICAL["uscc"]
        elif field.format:
            pattern = re.compile(field.format)
        elif field.type == "enum" and field.choices:
            pattern = re.compile("|".join(re.escape(ctc.fold(c)) for c in sorted(field.choices, key=len, reverse=True)))
        if pattern is not None:
            _search(pages, field, pattern, found, last=False)
    # dates without a caption stand at the foot: the day of issue
    for field in fields:
        if field.type == "date" and field.name == "issued_on" and _missing(field, found):
            _search(pages, field, _TYPICAL["date"], found, last=True)


def _search(pages: Sequence[_Page], field: Field, pattern: re.Pattern[str], found: dict[str, Extracted], *, last: bool) -> None:
    for page in reversed(pages) if last else pages:
        runs = page.free_runs()
        for run in reversed(runs) if last else runs:
            symbols = "".join(g.symbol if len(g.symbol) == 1 else " " for g in run.glyphs)
            if field.type == "date":
                inside = pattern.search(symbols)
                span = inside.span() if inside else None
            else:
                span = _whole_match(pattern, symbols)
            if span is None:
                continue
            value = _Value(run.glyphs[span[0] : span[1]])
            if _accepted(field, value) is not None:
                found[field.name] = _made(field, page, value, GUESSED)
                return


def _whole_match(pattern: re.Pattern[str], symbols: str) -> tuple[int, int] | None:
    """The pattern over a run's whole text but its edge punctuation: a form alone proves little inside other text."""
    start, end = 0, len(symbols)
    if pattern.fullmatch(symbols):
        return start, end
    while start < end and symbols[start] in "[]:;,.。 ":
        start += 1
    while end > start and symbols[end - 1] in "[]:;,.。 ":
        end -= 1
    return (start, end) if pattern.fullmatch(symbols[start:end]) else None


def _from_wholes(fields: Sequence[Field], pages: Sequence[_Page], found: dict[str, Extracted]) -> None:
    """Parts out of the whole that is printed (建筑工程施工总承包壹级 → name and level), and the whole out of parts."""
    by_name = {f.name: f for f in fields}
    for whole in fields:
        parts = [by_name[n] for n in whole.composed_of if n in by_name]
        if len(parts) < 2:
            continue
        seen = found.get(whole.name)
        if seen is not None and any(_missing(p, found) for p in parts):
            _split(seen, parts, pages, found)
        elif all(not _missing(p, found) for p in parts) and _missing(whole, found):
            made = [found[p.name] for p in parts]
            if len({m.page for m in made}) == 1:
                text = "".join(m.text for m in made)
                box = (
                    min(m.box[0] for m in made),
                    min(m.box[1] for m in made),
                    max(m.box[2] for m in made),
                    max(m.box[3] for m in made),
                )
                try:
                    value = whole.read(text)
                except BadValue:
                    continue
                confidence = min(m.confidence for m in made)
                found[whole.name] = Extracted(whole.name, value, text, confidence, made[0].page, box)


def _missing(field: Field, found: dict[str, Extracted]) -> bool:
    """Not found, or found with a text that its type refuses."""
    if field.name not in found:
        return True
    try:
        field.read(found[field.name].text)
    except BadValue:
        return True
    return False


def _split(seen: Extracted, parts: Sequence[Field], pages: Sequence[_Page], found: dict[str, Extracted]) -> None:
    """Cuts the first item of a whole into its parts at the place where every part's type accepts its piece."""
    item = re.split(r"[;；,，、\n]", seen.text)[0].strip()
    page = next(p for p in pages if p.number == seen.page)
    inside = [g for row in page.rows for g in row.glyphs if g.taken and _within(g.box, seen.box)]
    glyphs = _find_run(inside, item)
    name, level = parts[0], parts[-1]
    for cut in range(len(item) - 1, 0, -1):
        try:
            values = (name.read(item[:cut]), level.read(item[cut:]))
        except BadValue:
            continue
        for field, value, start, end in ((name, values[0], 0, cut), (level, values[1], cut, len(item))):
            if _missing(field, found):
                box = _Value(tuple(glyphs[start:end])).box if glyphs else seen.box
                found[field.name] = Extracted(field.name, value, item[start:end], seen.confidence, seen.page, box)
        return


def _find_run(glyphs: Sequence[_Glyph], text: str) -> list[_Glyph]:
    """The glyphs that spell ``text`` one after the other, or nothing."""
    joined = "".join(g.text if len(g.text) == 1 else " " for g in glyphs)
    start = joined.find(text)
    return list(glyphs[start : start + len(text)]) if start >= 0 else []


def _within(inner: Box, outer: Box) -> bool:
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3]


def reread(
    engine: RecognitionEngine, certificate_type: CertificateType, images: Callable[[int], Image], fields: list[Extracted]
) -> list[Extracted]:
    """Reads the doubtful values again, alone and in several ways: a region is read better than a line of a whole page.
    ``images`` gives a page's picture by its number."""
    answers = []
    for one in fields:
        if one.confidence >= SURE_VALUE:
            answers.append(one)
            continue
        field = certificate_type.field(one.field)
        x0, y0, x1, y1 = one.box
        pad_y = 0.1 * (y1 - y0) if len(one.text) < 40 else 0.0
        box = (max(x0 - 0.002, 0.0), max(y0 - pad_y, 0.0), min(x1 + 0.002, 1.0), min(y1 + pad_y, 1.0))
        reading = engine.read_region(images(one.page), box)
        best = one
        for variant in sorted(reading.variants, key=lambda v: -v.confidence):
            if variant.confidence <= best.confidence and best is not one:
                break
            try:
                value = field.read(variant.text)
            except BadValue:
                continue
            if variant.confidence > best.confidence:
                best = replace(one, value=value, text=variant.text, confidence=variant.confidence)
        answers.append(best)
    return answers


SURE_VALUE = 0.985  # confidence from which on a value isn't read again
