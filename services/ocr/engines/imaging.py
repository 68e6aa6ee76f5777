"""Preparing pictures for recognition: cropping, finding the ink, suppressing seals, counting rows. Pure functions."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from services.ocr.ports import Box, Image


def check_box(box: Box) -> None:
    """Raises ``ValueError`` unless the box lies in the page and has an area."""
    x0, y0, x1, y1 = box
    if not all(math.isfinite(v) for v in box) or not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise ValueError(f"not a box inside the page: {box}")


def to_pixels(image: Image, box: Box, pad_x: float = 0.0, pad_y: float = 0.0) -> tuple[int, int, int, int]:
    """The box in whole pixels, grown by the paddings (in pixels; negative trims), inside the page, never empty."""
    height, width = image.shape[:2]
    left = min(max(math.floor(box[0] * width - pad_x), 0), width - 1)
    top = min(max(math.floor(box[1] * height - pad_y), 0), height - 1)
    right = max(min(math.ceil(box[2] * width + pad_x), width), left + 1)
    bottom = max(min(math.ceil(box[3] * height + pad_y), height), top + 1)
    return left, top, right, bottom


def suppress_red(image: Image) -> Image:
    """Seals fade: of red ink the red channel is nearly as bright as paper, of black print it is as dark as the rest. Dull
    red of a poor scan is whitened besides, as far as it is bright enough not to be print under a seal."""
    red = image[:, :, 0]
    redness = cv2.subtract(red, cv2.max(image[:, :, 1], image[:, :, 2]))
    bright = np.clip((red.astype(np.float32) - 110.0) / 40.0, 0.0, 1.0)
    lift = np.clip((redness.astype(np.float32) - 25.0) / 25.0, 0.0, 1.0) * bright
    faded = red + ((255 - red) * lift).astype(np.uint8)
    return np.repeat(faded[:, :, None], 3, axis=2)


def red_share(image: Image) -> float:
    """Which part of the picture is red ink, 0..1."""
    small = cap_long_side(image, 800).astype(np.int16)
    red = small[:, :, 0] - np.maximum(small[:, :, 1], small[:, :, 2])
    return float((red > 36).mean())


def ink(image: Image) -> NDArray[np.bool_]:
    """Where the print is: darker than its surroundings, whatever the light of the photo. Ruled lines are left out."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    around = max(15, (min(height, width) // 2) | 1)
    local = cv2.boxFilter(grey, -1, (around, around), borderType=cv2.BORDER_REPLICATE).astype(np.int16)
    low, high = np.percentile(grey, (2, 95))
    contrast = max(float(high - low), 1.0)
    if contrast < 24:
        return np.zeros((height, width), bool)
    dark = (grey < local - 0.12 * contrast) & (grey < high - 0.35 * contrast)
    mask = dark.astype(np.uint8)
    across = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((1, max(int(width * 0.7), 3)), np.uint8))
    down = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((max(int(height * 0.9), 3), 1), np.uint8))
    return np.asarray((mask - np.maximum(across, down)) > 0)


def ink_bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """The smallest rectangle (x0, y0, x1, y1) around the ink, specks left out; ``None`` without ink."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    height, width = mask.shape
    speck = max(3, int(0.00012 * height * width))
    kept = [stats[i] for i in range(1, count) if stats[i][cv2.CC_STAT_AREA] >= speck]
    if not kept:
        return None
    x0 = min(int(s[cv2.CC_STAT_LEFT]) for s in kept)
    y0 = min(int(s[cv2.CC_STAT_TOP]) for s in kept)
    x1 = max(int(s[cv2.CC_STAT_LEFT] + s[cv2.CC_STAT_WIDTH]) for s in kept)
    y1 = max(int(s[cv2.CC_STAT_TOP] + s[cv2.CC_STAT_HEIGHT]) for s in kept)
    return x0, y0, x1, y1


def rows_of_ink(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The bands (top, bottom) of text rows by the horizontal profile; bands much lower than the highest are parts of
    characters (the upper stroke of 二) or cut neighbours and are joined or left out by the caller."""
    profile = mask.sum(axis=1)
    full = profile > max(1.0, 0.004 * mask.shape[1])
    bands: list[tuple[int, int]] = []
    start = None
    for y, inked in enumerate([*full.tolist(), False]):
        if inked and start is None:
            start = y
        elif not inked and start is not None:
            bands.append((start, y))
            start = None
    return bands


def character_height(mask: NDArray[np.bool_]) -> float:
    """About how high the characters are, from the connected pieces of ink; 0 without ink. Chinese characters fall to
    pieces, so it is the higher ones that count."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    heights = np.array([stats[i][cv2.CC_STAT_HEIGHT] for i in range(1, count)], dtype=np.float64)
    heights = heights[heights >= 5]
    return float(np.percentile(heights, 85)) if len(heights) else 0.0


def widest_gaps(image: Image, pieces: int) -> list[int]:
    """Columns at which a long line is cut into ``pieces`` with the least harm: the emptiest near each even cut."""
    mask = ink(image)
    width = mask.shape[1]
    column_ink = cv2.blur(mask.sum(axis=0).astype(np.float32)[None, :], (5, 1))[0]
    cuts: list[int] = []
    for piece in range(1, pieces):
        ideal = width * piece // pieces
        reach = max(width // pieces // 4, 2)
        lo, hi = max(ideal - reach, 1), min(ideal + reach, width - 1)
        distance = np.abs(np.arange(lo, hi) - ideal) / reach
        cuts.append(lo + int(np.argmin(column_ink[lo:hi] + 0.5 * distance)))
    return cuts


def rotate(image: Image, quarter_turns: int) -> Image:
    """Turned counter-clockwise by so many quarters."""
    return np.ascontiguousarray(np.rot90(image, quarter_turns))


def unrotate_box(box: Box, quarter_turns: int) -> Box:
    """A box seen on the page turned counter-clockwise by ``quarter_turns``, as a box of the unturned page."""
    x0, y0, x1, y1 = box
    for _ in range(quarter_turns % 4):
        # a point (x, y) of the unturned page stands at (y, 1 - x) after one counter-clockwise quarter
        x0, y0, x1, y1 = 1 - y1, x0, 1 - y0, x1
    return x0, y0, x1, y1


def cap_long_side(image: Image, pixels: int) -> Image:
    """The image, made smaller if its long side has more than ``pixels``: bounds memory and time."""
    height, width = image.shape[:2]
    longest = max(height, width)
    if longest <= pixels:
        return image
    scale = pixels / longest
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
