"""Sparse CTC posteriors of a region, and the probability that they give to any text.

A recognition model answers, for every narrow column ("frame") of a line image, how probable each of its 18,710
classes is there. Kept whole that is 9 MB a line; kept as the best few classes of each frame, with runs of surely
blank frames folded into one, it is a few kB, and any text that is stated later can be scored without running the
model again.

Equivalent spellings are one: full and half width, kinds of brackets, middle dots and dashes, upper and lower case,
and a simplified character with its traditional forms (``traditional.txt``, from OpenCC's table, Apache-2.0: a line is a
simplified character followed by the forms that only it replaces; poor print makes the model waver between them).
A space counts as blank, and punctuation at either edge is free, because marks often take in a neighbouring comma.
"""

from __future__ import annotations

import struct
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

NEVER = -1e9  # log of zero that stays finite, so that sums of it never become NaN
KEPT = 8  # classes kept a frame, the blank among them whenever it is one of the best
BLANK_SURE = 0.9995  # frames above this are folded into one
FLOOR_CLASSES = 1000  # what is left of a frame's probability is spread over so many classes when one wasn't kept
FLOOR_MASS = 1e-6
_STEPS = 20.0  # log probabilities are kept in twentieths of a nat, down to -12.7
_FORMAT = b"Y1"
_MAX_RAW = 8 * 1024 * 1024

_EDGE = frozenset("。,、;:.!?'\"|_[]<>`^~")
_BRACKETS = {
    **dict.fromkeys("(〔【[{〈《「『［｛⟨（", "["),
    **dict.fromkeys(")〕】]}〉》」』］｝⟩）", "]"),
}
_SAME = {
    **_BRACKETS,
    **dict.fromkeys("·•・‧∙⋅●᛫", "·"),
    **dict.fromkeys("-‐‑‒–—―−－﹣─ー", "-"),
    **dict.fromkeys("~～∼〜", "~"),
    **dict.fromkeys("“”„‟″〃＂", '"'),
    **dict.fromkeys("‘’‚‛′＇", "'"),
    **dict.fromkeys("×✕╳xX", "X"),
    **dict.fromkeys("〇○◯", "〇"),
    "，": ",",
    "；": ";",
    "：": ":",
    "！": "!",
    "？": "?",
    "｡": "。",
    "㎡": "㎡",
    "㎥": "㎥",
}


@lru_cache(maxsize=1)
def _simplified() -> dict[str, str]:
    text = resources.files("services.ocr").joinpath("traditional.txt").read_text(encoding="utf-8")
    return {form: line[0] for line in text.splitlines() for form in line[1:]}


def simplify(text: str) -> str:
    """The text with traditional forms as the simplified characters that replace them. Prints of the mainland are in
    simplified characters; a model that knows both wavers between them on poor print."""
    table = _simplified()
    return "".join(table.get(c, c) for c in text)


@lru_cache(maxsize=32768)
def fold_character(char: str) -> str:
    """The one spelling that stands for a character and all its equivalents; ``""`` for a space."""
    if char.isspace():
        return ""
    same = _SAME.get(char)
    if same is not None:
        return same
    folded = unicodedata.normalize("NFKC", char).upper()
    if len(folded) == 1:
        return _SAME.get(folded) or _simplified().get(folded, folded)
    return "".join(_SAME.get(c, c) for c in folded if not c.isspace())


def fold(text: str) -> str:
    """A text in its canonical spelling: equal results are equal texts in print."""
    text = text.replace("m²", "㎡").replace("m2", "㎡").replace("M2", "㎡").replace("m³", "㎥").replace("m3", "㎥")
    return "".join(fold_character(c) for c in text)


def strip_edges(folded: str) -> str:
    """A folded text without the punctuation at its edges that a mark may have taken in or cut off."""
    start, end = 0, len(folded)
    while start < end and folded[start] in _EDGE:
        start += 1
    while end > start and folded[end - 1] in _EDGE:
        end -= 1
    return folded[start:end]


@dataclass(frozen=True, slots=True)
class Frames:
    """Posteriors of one region, lines joined from top to bottom.

    ``alphabet[i]`` is class i + 1; class 0 is the blank. ``classes`` and ``log_probs`` have shape
    (frames, KEPT); an unused slot has class 0 and the log probability ``NEVER``.
    """

    alphabet: tuple[str, ...]
    classes: NDArray[np.uint16]
    log_probs: NDArray[np.float32]

    def __len__(self) -> int:
        return int(self.classes.shape[0])

    def to_bytes(self) -> bytes:
        """A compact form, about 2-10 kB a region; ``from_bytes`` reads it."""
        letters = "\0".join(self.alphabet).encode()
        steps = np.clip(np.rint(self.log_probs * -_STEPS), 0, 255).astype(np.uint8)
        head = struct.pack("<IHH", len(letters), len(self), self.classes.shape[1])
        body = head + letters + self.classes.astype("<u2").T.tobytes() + steps.T.tobytes()
        return _FORMAT + zlib.compress(body, 6)

    @staticmethod
    def from_bytes(data: bytes) -> Frames:
        """Raises ``ValueError`` for bytes that ``to_bytes`` did not make."""
        if data[:2] != _FORMAT:
            raise ValueError("not a frames record")
        unpack = zlib.decompressobj()
        try:
            body = unpack.decompress(data[2:], _MAX_RAW)
        except zlib.error as error:
            raise ValueError("damaged frames record") from error
        if not unpack.eof or unpack.unconsumed_tail or len(body) < 8:
            raise ValueError("damaged frames record")
        letters, count, kept = struct.unpack_from("<IHH", body)
        if len(body) != 8 + letters + count * kept * 3:
            raise ValueError("damaged frames record")
        text = body[8 : 8 + letters].decode()
        alphabet = tuple(text.split("\0")) if text else ()
        classes = np.frombuffer(body, "<u2", count * kept, 8 + letters).reshape(kept, count).T.astype(np.uint16)
        if classes.size and int(classes.max()) > len(alphabet):
            raise ValueError("damaged frames record")
        steps = np.frombuffer(body, np.uint8, count * kept, 8 + letters + count * kept * 2).reshape(kept, count).T
        log_probs = np.where(steps == 255, NEVER, steps / -_STEPS).astype(np.float32)
        return Frames(alphabet, classes, log_probs)


def sparse(lines: Sequence[NDArray[np.float32]], characters: Sequence[str]) -> Frames:
    """Keeps the best ``KEPT`` classes of each frame of the lines' posteriors (each of shape (frames, classes),
    class 0 the blank, class i the character ``characters[i]``) and folds runs of surely blank frames. Values are
    rounded as ``to_bytes`` rounds them, so that a cached reading scores exactly as a fresh one."""
    kept_classes: list[NDArray[np.int64]] = []
    kept_values: list[NDArray[np.float32]] = []
    for number, posteriors in enumerate(lines):
        sure = posteriors[:, 0] > BLANK_SURE
        fold_away = np.zeros(len(sure), bool)
        fold_away[1:] = sure[1:] & sure[:-1]
        rows = posteriors[~fold_away]
        if not len(rows):
            continue
        best = np.argpartition(rows, -KEPT, axis=1)[:, -KEPT:]
        values = np.take_along_axis(rows, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        best, values = np.take_along_axis(best, order, axis=1), np.take_along_axis(values, order, axis=1)
        if number and kept_classes:  # the same character at the end of one line and the start of the next is two
            apart = np.zeros((1, KEPT), np.int64)
            apart_values = np.zeros((1, KEPT), np.float32)
            apart_values[0, 0] = 1.0
            kept_classes.append(apart)
            kept_values.append(apart_values)
        kept_classes.append(best.astype(np.int64))
        kept_values.append(values.astype(np.float32))
    if not kept_classes:
        return Frames((), np.zeros((0, KEPT), np.uint16), np.zeros((0, KEPT), np.float32))
    classes, values = np.concatenate(kept_classes), np.concatenate(kept_values)
    with np.errstate(divide="ignore"):
        logs = np.log(values)
    used = logs > -12.0
    classes = np.where(used, classes, 0)
    seen = sorted({int(c) for c in np.unique(classes) if c != 0})
    local = np.zeros(len(characters), np.uint16)
    for index, global_class in enumerate(seen):
        local[global_class] = index + 1
    logs = np.where(used, np.rint(logs * _STEPS) / _STEPS, NEVER).astype(np.float32)
    return Frames(tuple(characters[c] for c in seen), local[classes], logs)


@dataclass(frozen=True, slots=True)
class _Columns:
    """A region's frames by canonical symbol: dense over the few symbols that occur in it."""

    index: dict[str, int]
    symbols: NDArray[np.float64]  # (frames, symbols)
    blank: NDArray[np.float64]  # (frames,): blank or space
    edge: NDArray[np.float64]  # (frames,): blank, space or edge punctuation
    floor: NDArray[np.float64]  # (frames,): a symbol that wasn't kept


def _columns(frames: Frames) -> _Columns:
    count = len(frames)
    folded = [fold_character(c) for c in frames.alphabet]
    index: dict[str, int] = {}
    for symbol in folded:
        if symbol and symbol not in index:
            index[symbol] = len(index)
    probs = np.exp(frames.log_probs.astype(np.float64))
    symbols = np.zeros((count, len(index) + 1))
    blank = np.zeros(count)
    edge = np.zeros(count)
    rows = np.arange(count)
    to_column = np.array([-1] + [index[s] if s else -1 for s in folded])
    free = np.array([True] + [(not s) or s in _EDGE or all(c in _EDGE for c in s) for s in folded])
    for slot in range(frames.classes.shape[1]):
        classes, values = frames.classes[:, slot], probs[:, slot]
        column = to_column[classes]
        blank += np.where(column < 0, values, 0.0)
        edge += np.where(free[classes], values, 0.0)
        np.add.at(symbols, (rows, np.where(column < 0, len(index), column)), np.where(column < 0, 0.0, values))
    left = np.maximum(1.0 - probs.sum(axis=1), FLOOR_MASS) / FLOOR_CLASSES
    with np.errstate(divide="ignore"):
        floor = np.log(left)
        return _Columns(
            index,
            np.maximum(np.log(symbols[:, : len(index)]), floor[:, None]),
            np.maximum(np.log(blank), floor),
            np.maximum(np.log(edge), floor),
            floor,
        )


def _forward(columns: _Columns, texts: Sequence[str]) -> NDArray[np.float64]:
    """log P of each of several texts of one length, edge punctuation free. States: lead-in, then symbol and blank
    in turn, the last blank being the lead-out."""
    length = len(texts[0])
    count = len(columns.blank)
    total = 2 * length + 1
    if count == 0:
        return np.full(len(texts), NEVER)
    missing = columns.symbols.shape[1]
    table = np.concatenate([columns.symbols, columns.floor[:, None]], axis=1)
    wanted = np.array([[columns.index.get(c, missing) for c in text] for text in texts])
    different = np.zeros((len(texts), length), bool)
    if length > 1:
        different[:, 1:] = wanted[:, 1:] != wanted[:, :-1]
        # two symbols that are both unknown here may still differ from each other
        letters = np.array([[ord(c) for c in text] for text in texts])
        different[:, 1:] |= letters[:, 1:] != letters[:, :-1]
    state = np.full((len(texts), total), NEVER)
    state[:, 0] = columns.edge[0]
    state[:, 1] = table[0, wanted[:, 0]]
    for frame in range(1, count):
        stepped = np.logaddexp(state, np.concatenate([np.full((len(texts), 1), NEVER), state[:, :-1]], axis=1))
        if length > 1:
            skip = np.where(different[:, 1:], state[:, 1:-2:2], NEVER)
            stepped[:, 3::2] = np.logaddexp(stepped[:, 3::2], skip)
        stepped[:, 1::2] += table[frame, wanted]
        stepped[:, 2:-1:2] += columns.blank[frame]
        stepped[:, 0] += columns.edge[frame]
        stepped[:, -1] += columns.edge[frame]
        state = stepped
    return np.asarray(np.logaddexp(state[:, -1], state[:, -2]))


def log_probability(frames: Frames, text: str) -> float:
    """log P that the region says ``text``, equivalent spellings merged and edge punctuation free; ``NEVER`` for a
    region without frames. The empty text is what a region with nothing but punctuation says."""
    columns = _columns(frames)
    return _log_probability(columns, strip_edges(fold(text)))


def _log_probability(columns: _Columns, symbols: str) -> float:
    if not len(columns.blank):
        return NEVER
    if not symbols:
        return float(columns.edge.sum())
    return float(max(_forward(columns, [symbols])[0], NEVER))


def log_probabilities(frames: Frames, texts: Sequence[str]) -> list[float]:
    """``log_probability`` of several texts of one region, in one pass over its frames for each length."""
    columns = _columns(frames)
    answers = [NEVER] * len(texts)
    by_length: dict[int, list[tuple[int, str]]] = {}
    for position, text in enumerate(texts):
        symbols = strip_edges(fold(text))
        if not symbols or not len(columns.blank):
            answers[position] = _log_probability(columns, symbols)
        else:
            by_length.setdefault(len(symbols), []).append((position, symbols))
    for group in by_length.values():
        for (position, _), value in zip(group, _forward(columns, [s for _, s in group]), strict=True):
            answers[position] = float(max(value, NEVER))
    return answers


def symbols_seen(frames: Frames) -> frozenset[str]:
    """The canonical symbols that have any measurable probability in the region."""
    return frozenset(s for s in (fold_character(c) for c in frames.alphabet) if s)


@dataclass(frozen=True, slots=True)
class Decoded:
    """The most probable path's text: per character its probability and the frames (first, last) that show it."""

    text: str
    confidences: tuple[float, ...]
    spans: tuple[tuple[int, int], ...]


def greedy(posteriors: NDArray[np.float32], characters: Sequence[str]) -> Decoded:
    """The text along the best class of each frame, repeats merged and blanks dropped, in simplified characters. Spaces
    are kept."""
    best = posteriors.argmax(axis=1)
    values = posteriors[np.arange(len(best)), best]
    text: list[str] = []
    confidences: list[float] = []
    spans: list[tuple[int, int]] = []
    previous = 0
    for frame, (cls, value) in enumerate(zip(best.tolist(), values.tolist(), strict=True)):
        if cls and cls == previous:
            confidences[-1] = max(confidences[-1], value)
            spans[-1] = (spans[-1][0], frame)
        elif cls:
            text.append(characters[cls])
            confidences.append(value)
            spans.append((frame, frame))
        previous = cls
    return Decoded(simplify("".join(text)), tuple(confidences), tuple(spans))
