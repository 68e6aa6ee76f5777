"""PP-OCRv6 small, run directly on onnxruntime: the default engine (measured best, see docs/decisions).

The models come in the wheel of ``rapidocr``; nothing of that package is imported. Called directly they load in half
a second, need a third of the memory, and answer with their posteriors, which the wrapper throws away.

A marked region is read by the recognition model at once. Detection, which pulls neighbours in, only runs where the
mark holds several lines. A line is read twice: tight around its ink with seals faded, and as it was marked. Measured on
404 regions, five more crops of the same line added nothing: with two readings 1.7 % of the truthful statements failed
(hard names among them) and none of 2,284 untrue ones passed, with seven 2.5 % and none.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from services.ocr import ctc
from services.ocr.engines import imaging
from services.ocr.ports import Box, Character, Image, Line, Reading, Variant

REVISION = "1"  # of everything in this file and imaging.py that changes how a picture is read
DETECTION_MODEL = "PP-OCRv6_det_small.onnx"
RECOGNITION_MODEL = "PP-OCRv6_rec_small.onnx"
LINE_HEIGHT = 48  # what the recognition model was made for
MAX_RATIO = 25.0  # a line wider than this many heights is cut before it is read
PAGE_LONG_SIDE = 1600  # detection sees no more; recognition crops from the full page
BATCH_COLUMNS = 1600  # pixels of line images in one run: bounds memory
RED_INK = 0.0004  # share of a page from which on its red ink is looked at apart
MAX_LINES = 400  # of one page
DOUBTFUL = 0.75  # a single line's mean confidence below which detection has a look for several lines
POOR = 0.8  # confidence below which a line is read in further ways
SURE = 0.97  # a block whose worst character is above this is read once


@lru_cache(maxsize=1)
def model_directory() -> Path:
    """Where the wheel of rapidocr keeps its models, found without importing it."""
    spec = importlib.util.find_spec("rapidocr")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package rapidocr, which carries the PP-OCRv6 models, is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "models"


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # the arena keeps the largest page's memory for ever
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True, slots=True)
class _LineRead:
    decoded: ctc.Decoded
    posteriors: NDArray[np.float32]
    columns: float  # frames that show the picture (the rest is padding)


class PpOcr:
    """PP-OCRv6 small by onnxruntime. Models load at first use: 0.5 s, 150 MB."""

    def __init__(self, models: Path | None = None) -> None:
        self._models = models
        self._recognition: onnxruntime.InferenceSession | None = None
        self._detection: onnxruntime.InferenceSession | None = None
        self._characters: list[str] = []
        self._version = ""

    @property
    def name(self) -> str:
        return "ppocr"

    @property
    def version(self) -> str:
        if not self._version:
            digest = hashlib.sha256()
            for model in (DETECTION_MODEL, RECOGNITION_MODEL):
                digest.update((self._directory() / model).read_bytes())
            self._version = f"ppocr-v6-small-{digest.hexdigest()[:8]}-{REVISION}"
        return self._version

    def _directory(self) -> Path:
        return self._models if self._models is not None else model_directory()

    # -- the two models ------------------------------------------------------------------------------------------

    def _recognise(self, lines: Sequence[Image]) -> list[_LineRead]:
        """Reads line images, in batches of similar width."""
        if self._recognition is None:
            self._recognition = _session(self._directory() / RECOGNITION_MODEL)
            letters = self._recognition.get_modelmeta().custom_metadata_map["character"].split("\n")
            self._characters = ["", *letters, " "]
        widths = [min(max(math.ceil(LINE_HEIGHT * w / h), 8), 8000) for h, w in (i.shape[:2] for i in lines)]
        answers: list[_LineRead | None] = [None] * len(lines)
        order = sorted(range(len(lines)), key=widths.__getitem__)
        batch: list[int] = []
        for position, index in enumerate(order):
            batch.append(index)
            following = order[position + 1] if position + 1 < len(order) else None
            wide = max(widths[index], 320)
            if following is None or max(widths[following], 320) * (len(batch) + 1) > max(BATCH_COLUMNS, wide):
                padded = np.zeros((len(batch), 3, LINE_HEIGHT, wide), np.float32)
                for row, member in enumerate(batch):
                    scaled = cv2.resize(lines[member], (widths[member], LINE_HEIGHT))
                    bgr = scaled[:, :, ::-1].astype(np.float32).transpose(2, 0, 1)
                    padded[row, :, :, : widths[member]] = bgr / 127.5 - 1.0
                (posteriors,) = self._recognition.run(None, {"x": padded})
                frames_per_pixel = posteriors.shape[1] / wide
                for row, member in enumerate(batch):
                    one = posteriors[row]
                    answers[member] = _LineRead(ctc.greedy(one, self._characters), one, widths[member] * frames_per_pixel)
                batch = []
        return [a for a in answers if a is not None]

    def _detect(self, image: Image, shortest: int = 736, longest: int = PAGE_LONG_SIDE) -> list[NDArray[np.float32]]:
        """The four corners (clockwise from top left, in pixels of ``image``) of each line of text."""
        if self._detection is None:
            self._detection = _session(self._directory() / DETECTION_MODEL)
        height, width = image.shape[:2]
        scale = max(1.0, shortest / min(height, width))
        scale = min(scale, longest / max(height, width))
        new_width = max(round(width * scale / 32), 1) * 32
        new_height = max(round(height * scale / 32), 1) * 32
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        scaled = cv2.resize(image, (new_width, new_height), interpolation=interpolation)
        planes = (scaled[:, :, ::-1].astype(np.float32) / 127.5 - 1.0).transpose(2, 0, 1)[None]
        (heat,) = self._detection.run(None, {"x": np.ascontiguousarray(planes)})
        heat = heat[0, 0]
        mask = cv2.dilate((heat > 0.3).astype(np.uint8), np.ones((2, 2), np.uint8))
        found = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]
        boxes: list[NDArray[np.float32]] = []
        for contour in found[:1000]:
            (cx, cy), (w, h), angle = cv2.minAreaRect(contour)
            kernel = np.asarray(cv2.boxPoints(((cx, cy), (w, h), angle)), np.float32)
            if min(w, h) < 3 or _mean_inside(heat, kernel) < 0.5:
                continue
            grow = 2 * (w * h * 1.6 / (2 * (w + h)))  # the model marks a shrunk kernel of each line
            corners = np.asarray(cv2.boxPoints(((cx, cy), (w + grow, h + grow), angle)), np.float32)
            corners *= np.array([width / new_width, height / new_height], np.float32)
            corners = _clockwise(corners)
            corners[:, 0] = corners[:, 0].clip(0, width - 1)
            corners[:, 1] = corners[:, 1].clip(0, height - 1)
            if np.linalg.norm(corners[0] - corners[1]) > 3 and np.linalg.norm(corners[0] - corners[3]) > 3:
                boxes.append(corners.astype(np.float32))
        return boxes[:MAX_LINES]

    # -- regions -------------------------------------------------------------------------------------------------

    def read_region(self, image: Image, box: Box) -> Reading:
        imaging.check_box(box)
        left, top, right, bottom = imaging.to_pixels(image, box)
        crop = image[top:bottom, left:right]
        mask = imaging.ink(imaging.suppress_red(crop))
        bounds = imaging.ink_bounds(mask)
        if bounds is None:  # perhaps it is printed in red
            mask = imaging.ink(crop)
            bounds = imaging.ink_bounds(mask)
        if bounds is None:
            return Reading("", 0.0, 0.0, (Variant("as marked", "", 0.0, 0.0, None),), ())
        height, width = crop.shape[:2]
        several = len(_rows(mask)) > 1 or bounds[3] - bounds[1] > 1.75 * imaging.character_height(mask)
        if several or (height > 0.45 * width and height > 40):
            block = self._read_block(image, box)
            return block if block is not None else self._read_line(image, box, bounds)
        line = self._read_line(image, box, bounds)
        if line.confidence < DOUBTFUL:  # perhaps lines that run into each other after all
            block = self._read_block(image, box)
            if block is not None and block.confidence > line.confidence:
                return block
        return line

    def _read_line(self, image: Image, box: Box, bounds: tuple[int, int, int, int]) -> Reading:
        left, top, right, bottom = imaging.to_pixels(image, box)
        crop_height = bottom - top
        ink_height = bounds[3] - bounds[1]
        air_y, air_x = max(2, round(ink_height * 0.16)), max(2, round(ink_height * 0.25))
        tight = (
            max(left + bounds[0] - air_x, left - air_x, 0),
            max(top + bounds[1] - air_y, 0),
            min(left + bounds[2] + air_x, image.shape[1]),
            min(top + bounds[3] + air_y, image.shape[0]),
        )
        crops = {
            "tight, red faded": imaging.suppress_red(image[tight[1] : tight[3], tight[0] : tight[2]]),
            "as marked": image[top:bottom, left:right],
        }
        variants = self._variants(crops)
        if max(v.confidence for v, _, _ in variants) < POOR:
            pad = max(2, round(crop_height * 0.08))
            x0, y0, x1, y1 = imaging.to_pixels(image, box, pad_x=pad * 2, pad_y=pad)
            more = {"padded, red faded": imaging.suppress_red(image[y0:y1, x0:x1])}
            if crop_height < 40:
                more["enlarged"] = _sharpened(crops["tight, red faded"])
            variants += self._variants(more)
        best = max(variants, key=lambda v: v[0].confidence)[0]
        line = Line(best.text, best.confidence, box)
        lines = (line,) if best.text else ()
        return Reading(best.text, best.confidence, best.log_probability, tuple(v for v, _, _ in variants), lines)

    def _variants(self, crops: dict[str, Image]) -> list[tuple[Variant, float, list[_LineRead]]]:
        """Each crop read as one line: the variant, the probability of its worst character, and the raw reading."""
        pieces: list[Image] = []
        owners: list[str] = []
        for name, crop in crops.items():
            if crop.shape[0] < 2 or crop.shape[1] < 2:
                continue
            parts = _cut_long(crop)
            pieces += parts
            owners += [name] * len(parts)
        reads = self._recognise(pieces)
        answers = []
        for name in dict.fromkeys(owners):
            own = [r for r, o in zip(reads, owners, strict=True) if o == name]
            answers.append((*self._variant(name, own), own))
        return answers

    def _variant(self, name: str, reads: Sequence[_LineRead]) -> tuple[Variant, float]:
        text = "".join(r.decoded.text for r in reads).strip()
        confidences = [c for r in reads for c in r.decoded.confidences]
        frames = ctc.sparse([r.posteriors for r in reads], self._characters)
        mean = float(np.mean(confidences)) if confidences else 0.0
        variant = Variant(name, text, mean, ctc.log_probability(frames, text), frames)
        return variant, min(confidences, default=0.0)

    def _read_block(self, image: Image, box: Box) -> Reading | None:
        """A mark of several lines; ``None`` if detection finds at most one row in it."""
        left, top, right, bottom = imaging.to_pixels(image, box)
        margin = max(8, round(0.04 * min(right - left, bottom - top)))
        x0, y0, x1, y1 = imaging.to_pixels(image, box, margin, margin)
        crop = image[y0:y1, x0:x1]
        inside: list[NDArray[np.float32]] = []
        heights: list[float] = []
        for corners in self._detect(crop, shortest=min(736, max(crop.shape[:2])), longest=1280):
            cx, cy = float(corners[:, 0].mean()) + x0, float(corners[:, 1].mean()) + y0
            upper, lower = float(corners[:2, 1].mean()) + y0, float(corners[2:, 1].mean()) + y0
            visible = (min(lower, bottom) - max(upper, top)) / max(lower - upper, 1.0)
            if left <= cx <= right and top <= cy <= bottom and visible > 0.6:
                inside.append(corners)
                heights.append(lower - upper)
        if len(inside) < 2:
            return None
        # neighbours cut off by the mark's edge are much lower than the mark's own lines
        usual = float(np.median(heights))
        inside = [c for c, h in zip(inside, heights, strict=True) if h > 0.45 * usual]
        groups = _group_rows(inside)
        if len(groups) < 2:
            return None
        variants: list[Variant] = []
        lines: list[Line] = []
        for name, source in (("block, red faded", imaging.suppress_red(crop)), ("block", crop)):
            crops = [_straighten(source, corners) for row in groups for corners in row]
            pieces = [part for one in crops for part in _cut_long(one)]
            reads = self._recognise(pieces)
            variant, worst = self._variant(name, reads)
            variants.append(variant)
            if not lines:
                lines = self._lines(image, [_shift(c, x0, y0) for row in groups for c in row], crops, reads)
            if worst > SURE:
                break
        best = max(variants, key=lambda v: v.confidence)
        return Reading(best.text, best.confidence, best.log_probability, tuple(variants), tuple(lines))

    # -- pages ---------------------------------------------------------------------------------------------------

    def read_page(self, image: Image) -> list[Line]:
        faded = imaging.suppress_red(image)
        quads = [(c, faded) for c in self._detect(faded)]
        if imaging.red_share(image) > RED_INK:  # what is printed in red is only seen unfaded
            red = self._detect(image, longest=960)  # numbers and titles, never small print
            quads += [(c, image) for c in red if not _covered(c, [q for q, _ in quads])]
        sources = {id(c): source for c, source in quads}
        corners = [c for row in _group_rows([c for c, _ in quads]) for c in row]
        crops = [_straighten(sources[id(c)], c) for c in corners]
        reads = self._recognise([part for crop in crops for part in _cut_long(crop)])
        lines = self._lines(image, corners, crops, reads)
        # a few red characters alone are pieces of a seal's rim
        unfaded = [sources[id(c)] is image for c in corners]
        return [n for n, red in zip(lines, unfaded, strict=True) if len(n.text) >= (4 if red else 1)]

    def _lines(
        self, image: Image, corners: Sequence[NDArray[np.float32]], crops: Sequence[Image], reads: Sequence[_LineRead]
    ) -> list[Line]:
        """Puts the readings of each line's pieces together and gives every character its place on the page."""
        height, width = image.shape[:2]
        position = 0
        lines: list[Line] = []
        for quad, crop in zip(corners, crops, strict=True):
            parts = _cut_widths(crop)
            own = reads[position : position + len(parts)]
            position += len(parts)
            characters: list[Character] = []
            text: list[str] = []
            start = 0.0
            total = float(crop.shape[1])
            for read, part in zip(own, parts, strict=True):
                text.append(read.decoded.text)
                for span in _character_spans(read, part):
                    char, confidence, x0, x1 = span
                    a, b = (start + x0) / total, (start + x1) / total
                    characters.append(Character(char, confidence, _part_of(quad, a, b, width, height)))
                start += part
            joined = "".join(text).strip()
            mean = float(np.mean([c.confidence for c in characters])) if characters else 0.0
            lines.append(Line(joined, mean, _bounds(quad, width, height), tuple(characters)))
        return lines


def _rows(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Text rows in a mark: bands of ink that are high enough to be rows of their own."""
    bands = imaging.rows_of_ink(mask)
    if not bands:
        return []
    highest = max(b - a for a, b in bands)
    return [(a, b) for a, b in bands if b - a >= 0.55 * highest and b - a >= 8]


def _mean_inside(heat: NDArray[np.float32], corners: NDArray[np.float32]) -> float:
    height, width = heat.shape
    x0, x1 = int(corners[:, 0].min().clip(0, width - 1)), int(np.ceil(corners[:, 0].max().clip(0, width - 1)))
    y0, y1 = int(corners[:, 1].min().clip(0, height - 1)), int(np.ceil(corners[:, 1].max().clip(0, height - 1)))
    inside = np.zeros((y1 - y0 + 1, x1 - x0 + 1), np.uint8)
    shifted = corners - np.array([x0, y0], np.float32)
    cv2.fillPoly(inside, [shifted.astype(np.int32)], 1.0)
    return float(cv2.mean(heat[y0 : y1 + 1, x0 : x1 + 1], inside)[0])


def _clockwise(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Corners in the order top left, top right, bottom right, bottom left."""
    by_x = corners[np.argsort(corners[:, 0], kind="stable")]
    left = by_x[:2][np.argsort(by_x[:2, 1], kind="stable")]
    right = by_x[2:][np.argsort(by_x[2:, 1], kind="stable")]
    return np.array([left[0], right[0], right[1], left[1]], np.float32)


def _covered(corners: NDArray[np.float32], others: Sequence[NDArray[np.float32]]) -> bool:
    """Whether a third of the box around ``corners`` lies in another's."""
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    for other in others:
        (a0, b0), (a1, b1) = other.min(axis=0), other.max(axis=0)
        shared = max(min(x1, a1) - max(x0, a0), 0.0) * max(min(y1, b1) - max(y0, b0), 0.0)
        if shared > 0.33 * (x1 - x0) * (y1 - y0):
            return True
    return False


def _shift(corners: NDArray[np.float32], x: int, y: int) -> NDArray[np.float32]:
    return corners + np.array([x, y], np.float32)


def _straighten(image: Image, corners: NDArray[np.float32]) -> Image:
    """The quadrilateral as an upright rectangle."""
    width = max(int(np.linalg.norm(corners[0] - corners[1])), int(np.linalg.norm(corners[3] - corners[2])), 1)
    height = max(int(np.linalg.norm(corners[0] - corners[3])), int(np.linalg.norm(corners[1] - corners[2])), 1)
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    flat = cv2.warpPerspective(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(flat, dtype=np.uint8)


def _cut_widths(line: Image) -> list[int]:
    """The widths of the pieces in which a line is read: one, or several of at most ``MAX_RATIO`` heights."""
    height, width = line.shape[:2]
    pieces = math.ceil(width / (height * MAX_RATIO))
    if pieces <= 1:
        return [width]
    cuts = [0, *imaging.widest_gaps(line, pieces), width]
    return [b - a for a, b in itertools.pairwise(cuts)]


def _cut_long(line: Image) -> list[Image]:
    answers: list[Image] = []
    start = 0
    for width in _cut_widths(line):
        answers.append(line[:, start : start + width])
        start += width
    return answers


def _sharpened(crop: Image) -> Image:
    """Enlarged to the model's height by cubic interpolation and sharpened: for small print."""
    scale = 2.0 * LINE_HEIGHT / crop.shape[0]
    large = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    soft = cv2.GaussianBlur(large, (0, 0), 2.0)
    return np.asarray(cv2.addWeighted(large, 1.5, soft, -0.5, 0), dtype=np.uint8)


def _group_rows(boxes: Sequence[NDArray[np.float32]]) -> list[list[NDArray[np.float32]]]:
    """Line boxes in reading order: rows from top to bottom, each from left to right."""
    rows: list[list[NDArray[np.float32]]] = []
    for corners in sorted(boxes, key=lambda c: float(c[:, 1].mean())):
        middle = float(corners[:, 1].mean())
        for row in reversed(rows[-3:]):
            reference = row[-1]
            height = float(reference[2:, 1].mean() - reference[:2, 1].mean())
            if abs(middle - float(reference[:, 1].mean())) < 0.45 * height:
                row.append(corners)
                break
        else:
            rows.append([corners])
    return [sorted(row, key=lambda c: float(c[:, 0].mean())) for row in rows]


def _character_spans(read: _LineRead, width: int) -> list[tuple[str, float, float, float]]:
    """(character, confidence, left, right in pixels of the piece). A CTC model marks where a character is seen, not
    how wide it is: edges lie halfway between neighbours, and at most 0.6 usual pitches from the centre."""
    per_frame = width / max(read.columns, 1.0)
    centres = [((a + b) / 2 + 0.5) * per_frame for a, b in read.decoded.spans]
    if not centres:
        return []
    pitches = np.diff(centres)
    pitch = float(np.median(pitches)) if len(pitches) else float(width)
    spans = []
    for i, (char, confidence) in enumerate(zip(read.decoded.text, read.decoded.confidences, strict=True)):
        if char == " ":
            continue
        x = centres[i]
        lo = max((centres[i - 1] + x) / 2 if i else 0.0, x - 0.6 * pitch)
        hi = min((centres[i + 1] + x) / 2 if i + 1 < len(centres) else float(width), x + 0.6 * pitch)
        spans.append((char, confidence, max(lo, 0.0), min(hi, float(width))))
    return spans


def _part_of(corners: NDArray[np.float32], a: float, b: float, width: int, height: int) -> Box:
    """The box on the page of the part a..b (fractions along the line) of a line's quadrilateral."""
    top_left, top_right, bottom_right, bottom_left = corners
    points = np.array(
        [
            top_left + (top_right - top_left) * a,
            top_left + (top_right - top_left) * b,
            bottom_left + (bottom_right - bottom_left) * a,
            bottom_left + (bottom_right - bottom_left) * b,
        ]
    )
    return _bounds(points, width, height)


def _bounds(points: NDArray[np.float32], width: int, height: int) -> Box:
    x0, y0 = float(points[:, 0].min()) / width, float(points[:, 1].min()) / height
    x1, y1 = float(points[:, 0].max()) / width, float(points[:, 1].max()) / height
    return max(x0, 0.0), max(y0, 0.0), min(x1, 1.0), min(y1, 1.0)
