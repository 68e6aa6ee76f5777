"""What makes a sheet look like a certificate: paper, borders, emblem, code block, seals, watermark."""

from __future__ import annotations

import math
import random

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from samples.fonts import face
from samples.scene import Colour, Picture

_OVERSAMPLE = 3


def paper(width: int, height: int, dots: float, *, tint: Colour, rng: random.Random, pattern: Colour | None) -> Image.Image:
    """A sheet with the fine interlaced curves that printers of certificates use (one rosette and waves)."""
    page = Image.new("RGB", (width, height), tint)
    if pattern is None:
        return page
    draw = ImageDraw.Draw(page)
    petals, swing = rng.randint(5, 9), rng.uniform(0.12, 0.3)
    radius = min(width, height) * 0.38
    for turn in range(14):
        points = []
        for step in range(361):
            angle = math.radians(step)
            r = radius * (0.45 + turn * 0.04) * (1 + swing * math.sin(petals * angle + turn * 0.35))
            points.append((width / 2 + r * math.cos(angle), height / 2 + r * math.sin(angle)))
        draw.line(points, fill=pattern, width=max(1, round(dots * 0.12)))
    for row in range(0, height, max(6, round(dots * 4.5))):
        points = [(x, row + dots * 1.6 * math.sin(x / dots / 7 + row * 0.7)) for x in range(0, width + 8, 8)]
        draw.line(points, fill=pattern, width=max(1, round(dots * 0.1)))
    return page


def border(page: Image.Image, dots: float, *, margin: float, band: float, dark: Colour, light: Colour, motif: str) -> None:
    """A decorated frame: ``motif`` is "scroll" (business licences), "key" (meander) or "plain". Measures in mm."""
    draw = ImageDraw.Draw(page)
    w, h = page.size
    outer, inner = margin * dots, (margin + band) * dots
    hair = max(1, round(0.3 * dots))
    draw.rectangle((outer, outer, w - outer, h - outer), outline=dark, width=max(2, round(0.9 * dots)))
    draw.rectangle((inner, inner, w - inner, h - inner), outline=dark, width=max(1, round(0.5 * dots)))
    if motif == "plain":
        gap = outer + 1.6 * dots
        draw.rectangle((gap, gap, w - gap, h - gap), outline=light, width=hair)
        return
    unit = band * dots
    horizontal = max(4, round((w - 2 * outer) / unit))
    vertical = max(4, round((h - 2 * outer) / unit))
    for count, along, length in ((horizontal, True, w - 2 * outer), (vertical, False, h - 2 * outer)):
        step = length / count
        for index in range(count):
            centre = outer + step * (index + 0.5)
            for other in (outer + unit / 2, (h if along else w) - outer - unit / 2):
                x, y = (centre, other) if along else (other, centre)
                _motif(draw, x, y, unit * 0.42, dark, light, hair, motif)


def _motif(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, dark: Colour, light: Colour, hair: int, motif: str) -> None:
    if motif == "key":
        for k in (1.0, 0.62, 0.28):
            draw.rectangle((x - r * k, y - r * k, x + r * k, y + r * k), outline=dark if k != 0.62 else light, width=hair)
        return
    draw.ellipse((x - r, y - r, x + r, y + r), outline=light, width=hair)
    points = []
    for step in range(40):
        angle = step / 40 * 4.2 * math.pi
        points.append((x + r * step / 40 * math.cos(angle), y + r * step / 40 * math.sin(angle)))
    draw.line(points, fill=dark, width=hair)
    for turn in range(6):
        angle = turn * math.pi / 3
        draw.line(
            (
                x + r * 0.75 * math.cos(angle),
                y + r * 0.75 * math.sin(angle),
                x + r * 1.15 * math.cos(angle),
                y + r * 1.15 * math.sin(angle),
            ),
            fill=dark,
            width=hair,
        )


def emblem(diameter: float, dots: float) -> Image.Image:
    """A round red-and-gold emblem in the manner of the national one: gate, stars, grain, gear. Diameter in mm."""
    side = round(diameter * dots * _OVERSAMPLE)
    image = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    red, gold = (200, 28, 24, 255), (232, 184, 64, 255)
    c = side / 2
    draw.ellipse((0, 0, side - 1, side - 1), fill=gold)
    draw.ellipse((side * 0.05, side * 0.05, side * 0.95, side * 0.95), fill=red)
    for turn in range(15, 166, 9):  # the ears on both sides
        for sign in (-1, 1):
            angle = math.radians(90 + sign * turn)
            x, y = c + c * 0.82 * math.cos(angle), c + c * 0.82 * math.sin(angle)
            leaf = side * 0.045
            draw.ellipse((x - leaf * 0.6, y - leaf, x + leaf * 0.6, y + leaf), fill=gold)
    draw.ellipse((side * 0.17, side * 0.15, side * 0.83, side * 0.81), fill=red, outline=gold, width=max(1, side // 130))
    _star(draw, c, side * 0.31, side * 0.085, gold)
    for x, y in ((0.33, 0.42), (0.42, 0.47), (0.58, 0.47), (0.67, 0.42)):
        _star(draw, side * x, side * y, side * 0.032, gold)
    for y, half, thick in ((0.56, 0.17, 0.02), (0.60, 0.22, 0.022), (0.66, 0.26, 0.06)):  # the gate
        draw.rectangle((c - side * half, side * y, c + side * half, side * (y + thick)), fill=gold)
    for x in (-0.13, 0.0, 0.13):
        draw.rectangle((c + side * (x - 0.022), side * 0.68, c + side * (x + 0.022), side * 0.72), fill=red)
    draw.ellipse((c - side * 0.12, side * 0.76, c + side * 0.12, side * 0.99), fill=gold)
    draw.ellipse((c - side * 0.06, side * 0.815, c + side * 0.06, side * 0.935), fill=red)
    return image.resize((side // _OVERSAMPLE, side // _OVERSAMPLE), Image.Resampling.LANCZOS)


def _star(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, fill: tuple[int, ...]) -> None:
    points = []
    for corner in range(10):
        angle = math.radians(-90 + corner * 36)
        length = r if corner % 2 == 0 else r * 0.382
        points.append((x + length * math.cos(angle), y + length * math.sin(angle)))
    draw.polygon(points, fill=fill)


def code_block(text: str, side: float) -> Picture:
    """A real QR code of a text; ``side`` in mm. The caller places it."""
    matrix = cv2.QRCodeEncoder.create().encode(text)
    image = Image.fromarray(np.asarray(matrix, dtype=np.uint8)).convert("L")
    image = image.resize((image.width * 6, image.height * 6), Image.Resampling.NEAREST)
    rgba = Image.merge("RGBA", (image, image, image, Image.new("L", image.size, 255)))
    return Picture(0, 0, rgba, rgba.width / side)


def seal(name: str, lower: str, radius: float, rng: random.Random, *, strength: float = 0.8, dots: float = 12.0) -> Image.Image:
    """A round red seal: the name along the arc, a star, a lower line; unevenly inked, slightly turned. Radius in mm."""
    r = radius * dots
    side = round(2 * r) + 4
    image = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(image)
    c = side / 2
    draw.ellipse((2, 2, side - 3, side - 3), outline=255, width=max(2, round(r * 0.055)))
    _star(draw, c, c, r * 0.3, (255,))
    size = r * min(0.27, 3.9 / max(len(name), 1))
    font = face("song").at(size)
    sweep = math.radians(min(262, 30 + 18.5 * len(name)))
    for index, char in enumerate(name):
        angle = -math.pi / 2 + (index / max(len(name) - 1, 1) - 0.5) * sweep
        glyph = Image.new("L", (round(size * 1.5),) * 2, 0)
        ImageDraw.Draw(glyph).text((size * 0.75, size * 0.75), char, font=font, fill=255, anchor="mm", stroke_width=size * 0.02)
        glyph = glyph.rotate(-math.degrees(angle) - 90, resample=Image.Resampling.BICUBIC)
        x, y = c + r * 0.76 * math.cos(angle), c + r * 0.76 * math.sin(angle)
        image.paste(255, (round(x - glyph.width / 2), round(y - glyph.height / 2)), glyph)
    if lower:
        draw.text((c, c + r * 0.55), lower, font=face("song").at(r * 0.19), fill=255, anchor="mm", stroke_width=r * 0.004)
    image = image.rotate(rng.uniform(-9, 9), resample=Image.Resampling.BICUBIC)
    generator = np.random.default_rng(rng.getrandbits(32))
    coarse = Image.fromarray(generator.integers(120, 256, (14, 14), dtype=np.uint8)).resize(image.size, Image.Resampling.BICUBIC)
    fine = Image.fromarray(generator.integers(150, 256, image.size[::-1], dtype=np.uint8)).filter(ImageFilter.GaussianBlur(0.8))
    ink = np.asarray(image, np.float32) / 255 * np.asarray(coarse, np.float32) / 235 * np.asarray(fine, np.float32) / 225
    alpha = Image.fromarray((np.clip(ink * strength, 0, 1) * 255).astype(np.uint8))
    red = Image.new("RGB", image.size, (205 + rng.randint(-12, 12), 30, 36))
    red.putalpha(alpha)
    return red


def watermark(width: float, height: float, text: str, rng: random.Random, *, strength: float) -> Picture:
    """Grey slanted repeats of a text over a whole page (mm)."""
    dots = 4.0
    size = (round(width * dots), round(height * dots))
    layer = Image.new("L", (size[0] * 2, size[1] * 2), 0)
    draw = ImageDraw.Draw(layer)
    pixels = rng.uniform(7, 10) * dots
    font = face("hei").at(pixels)
    gap = font.getlength(text) + pixels * 3
    for row in range(0, layer.height, round(pixels * 5)):
        offset = (row // round(pixels * 5) % 2) * gap / 2
        for column in range(-1, int(layer.width / gap) + 1):
            draw.text((column * gap + offset, row), text, font=font, fill=255)
    layer = layer.rotate(rng.uniform(22, 34), resample=Image.Resampling.BICUBIC)
    left, top = size[0] // 2, size[1] // 2
    layer = layer.crop((left, top, left + size[0], top + size[1])).point(lambda value: value * strength)
    grey = Image.new("RGB", size, (110, 110, 110))
    grey.putalpha(layer.convert("L"))
    return Picture(0, 0, grey, dots)
