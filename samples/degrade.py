"""What happens to a page between the printer and the upload: scanners, copies, phones.

Every change of geometry is one homography, and it is returned with the picture, so that the truth's boxes follow it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from PIL import Image

Degradation = Literal["clean", "good", "poor", "photo"]
DEGRADATIONS: tuple[Degradation, ...] = ("clean", "good", "poor", "photo")

#: resolution (dots per inch) at which the page is painted, and quality of a JPEG, by degradation
DPI: dict[Degradation, int] = {"clean": 200, "good": 200, "poor": 150, "photo": 200}
JPEG_QUALITY: dict[Degradation, int] = {"clean": 92, "good": 86, "poor": 42, "photo": 80}

#: colours of the tables that phones photograph papers on: woods, grey laminate, white, a dark one
_DESKS = ((150, 112, 74), (112, 78, 52), (138, 136, 132), (198, 194, 186), (58, 54, 52))

#: arrays of numpy; OpenCV's stubs answer with types too wide to say more
Matrix = np.ndarray[Any, Any]
Pixels = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Degraded:
    """The picture, and the homography from pixels of the painted page to its own."""

    image: Image.Image
    homography: Matrix


def degrade(page: Image.Image, degradation: Degradation, seed: int) -> Degraded:
    """Apply a degradation; the same page and seed give the same pixels."""
    rng = np.random.default_rng(seed)
    pixels: Pixels = np.asarray(page, np.float32)
    if degradation == "clean":
        return Degraded(page, np.eye(3))
    if degradation == "photo":
        return _photo(pixels, rng)
    poor = degradation == "poor"
    turn = rng.uniform(0.7, 1.9) * rng.choice((-1, 1)) if poor else rng.uniform(-0.5, 0.5)
    pixels, homography = _turn(pixels, turn, rng)
    if poor:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.55, 0.8))
        pixels = 255 - (255 - pixels) * rng.uniform(0.72, 0.86)  # a tired lamp: black is grey
        pixels = _rule_streaks(pixels, rng)
        pixels += _noise(pixels.shape, rng, 11) + rng.normal(0, 4, (*pixels.shape[:2], 1)).astype(np.float32)
        pixels = _specks(pixels, rng, 160)
    else:
        pixels = cv2.GaussianBlur(pixels, (0, 0), 0.45)
        pixels = pixels * rng.uniform(0.97, 1.0, 3).astype(np.float32) + _noise(pixels.shape, rng, 3)
        pixels = _specks(pixels, rng, 12)
    return Degraded(_image(pixels), homography)


def map_box(homography: Matrix, box: tuple[float, float, float, float], width: int, height: int) -> list[float]:
    """A box in pixels of the painted page as fractions of the degraded picture: upright, around its four corners."""
    left, top, right, bottom = box
    corners = np.array([[left, top, 1], [right, top, 1], [right, bottom, 1], [left, bottom, 1]]).T
    x, y, w = homography @ corners
    x, y = x / w / width, y / w / height
    return [round(float(np.clip(v, 0, 1)), 5) for v in (x.min(), y.min(), x.max(), y.max())]


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _noise(shape: tuple[int, ...], rng: np.random.Generator, sigma: float) -> Pixels:
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(sigma)


def _turn(pixels: Pixels, degrees: float, rng: np.random.Generator) -> tuple[Pixels, Matrix]:
    """Lie askew and a little off on the glass."""
    height, width = pixels.shape[:2]
    matrix = np.vstack([cv2.getRotationMatrix2D((width / 2, height / 2), degrees, rng.uniform(0.975, 0.995)), [0, 0, 1]])
    matrix[0, 2] += rng.uniform(-0.004, 0.004) * width
    matrix[1, 2] += rng.uniform(-0.004, 0.004) * height
    turned = cv2.warpPerspective(pixels, matrix, (width, height), flags=cv2.INTER_CUBIC, borderValue=(246.0, 246.0, 244.0))
    return turned, matrix


def _rule_streaks(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Faint vertical lines of a dirty scanner glass, and one darker edge."""
    width = pixels.shape[1]
    for x in rng.integers(0, width, 3):
        pixels[:, x : x + 1] -= rng.uniform(8, 22)
    shade = np.linspace(rng.uniform(0, 26), 0, width, dtype=np.float32)
    return pixels - (shade if rng.random() < 0.5 else shade[::-1])[None, :, None]


def _specks(pixels: Pixels, rng: np.random.Generator, count: int) -> Pixels:
    height, width = pixels.shape[:2]
    for _ in range(count):
        x, y, grey = int(rng.integers(width)), int(rng.integers(height)), float(rng.uniform(60, 190))
        cv2.circle(pixels, (x, y), int(rng.integers(0, 2)), (grey, grey, grey), -1)
    return pixels


def _photo(pixels: Pixels, rng: np.random.Generator) -> Degraded:
    """On a desk, seen from a hand's angle, in a room's light."""
    height, width = pixels.shape[:2]
    margin = 0.07
    out_w, out_h = round(width * (1 + 2 * margin)), round(height * (1 + 2 * margin))
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inner = source + np.array([width * margin, height * margin], np.float32)
    jitter = rng.uniform(-0.038, 0.038, (4, 2)) * np.array([width, height])
    homography = cv2.getPerspectiveTransform(source, (inner + jitter).astype(np.float32)).astype(np.float64)
    desk = np.array(_DESKS[rng.integers(len(_DESKS))], np.float32) * rng.uniform(0.8, 1.1)
    grain = cv2.resize(rng.standard_normal((max(2, out_h // 3), 24), dtype=np.float32), (out_w, out_h), interpolation=cv2.INTER_LINEAR)
    scene = desk[None, None, :] + grain[:, :, None] * 7
    warped = cv2.warpPerspective(pixels, homography, (out_w, out_h), flags=cv2.INTER_CUBIC)
    mask = cv2.warpPerspective(np.ones((height, width), np.float32), homography, (out_w, out_h), flags=cv2.INTER_LINEAR)
    shadow = cv2.GaussianBlur(mask, (0, 0), 14)
    scene = scene * (1 - 0.45 * shadow)[:, :, None]
    scene = scene * (1 - mask[:, :, None]) + warped * mask[:, :, None]
    # Uneven light: one lamp to a side, the hand's soft shadow at a corner.
    y, x = np.mgrid[0:out_h, 0:out_w].astype(np.float32)
    lamp = np.hypot(x / out_w - rng.uniform(0.1, 0.9), y / out_h - rng.uniform(0, 0.5))
    hand = np.exp(-(((x / out_w - rng.choice((0.08, 0.92))) / 0.3) ** 2 + ((y / out_h - rng.uniform(0.6, 1)) / 0.35) ** 2))
    light = 1.02 - 0.3 * lamp - 0.22 * hand.astype(np.float32)
    scene = scene * (light[:, :, None] * np.array(rng.uniform((0.97, 0.95, 0.88), (1.02, 1.0, 0.99)), np.float32))
    scene = cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.7, 1.05)) + _noise(scene.shape, rng, 5)
    return Degraded(_image(scene), homography)
