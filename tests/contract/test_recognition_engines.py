"""Every recognition engine keeps the same promises, on the real models."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

import samples
from samples import fonts
from services.ocr import ctc, extraction, scoring
from services.ocr.engines import ENGINES, create_engine, imaging
from services.ocr.ports import Box, Image, Reading, RecognitionEngine
from services.ocr.process import codec

NAME = "辽宁云库建设工程有限公司"
SCOPE = "建筑工程施工总承包；市政公用工程施工；建筑装修装饰工程设计；机电设备安装；建筑材料销售。"


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> RecognitionEngine:
    return create_engine(request.param)


def page(*texts: tuple[str, int, int], size: int = 40, width: int = 1600, height: int = 900) -> Image:
    """A white page with lines of print at (x, y)."""
    picture = PillowImage.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(picture)
    face = ImageFont.truetype(fonts.ensure(quiet=True)["song"], size)
    for text, x, y in texts:
        draw.multiline_text((x, y), text, font=face, fill=(20, 20, 20), spacing=16)
    return np.asarray(picture)


def around(text: str, x: int, y: int, *, size: int = 40, image: Image) -> Box:
    """The box of a line of ``page``, with a little air."""
    height, width = image.shape[:2]
    rows = text.split("\n")
    right = x + max(len(row) for row in rows) * size + 10
    bottom = y + len(rows) * (size + 18) + 10
    return (x - 10) / width, (y - 8) / height, right / width, bottom / height


def said(reading: Reading) -> str:
    return ctc.strip_edges(ctc.fold(reading.text))


def test_a_line_is_read(engine: RecognitionEngine) -> None:
    image = page((NAME, 200, 300))
    reading = engine.read_region(image, around(NAME, 200, 300, image=image))
    assert said(reading) == NAME
    assert 0.5 < reading.confidence <= 1.0
    assert reading.variants
    assert reading.text in {v.text for v in reading.variants}


def test_several_lines_are_read_from_top_to_bottom(engine: RecognitionEngine) -> None:
    text = f"{SCOPE[:22]}\n{SCOPE[22:]}"
    image = page((text, 100, 200))
    reading = engine.read_region(image, around(text, 100, 200, image=image))
    wanted = ctc.strip_edges(ctc.fold(text))
    same = sum(a == b for a, b in zip(said(reading), wanted, strict=False))
    assert same > 0.9 * len(wanted)


def test_neighbours_outside_the_box_are_not_read(engine: RecognitionEngine) -> None:
    image = page(("上面一行文字", 200, 190), (NAME, 200, 300), ("下面一行文字", 200, 410))
    assert said(engine.read_region(image, around(NAME, 200, 300, image=image))) == NAME


def test_a_red_seal_over_print_is_read_through(engine: RecognitionEngine) -> None:
    image = page((NAME, 200, 300)).copy()
    red = PillowImage.fromarray(image)
    ImageDraw.Draw(red).ellipse((300, 240, 480, 420), outline=(235, 60, 60), width=6)
    overlaid = np.minimum(image, np.asarray(red))
    assert said(engine.read_region(overlaid, around(NAME, 200, 300, image=image))) == NAME


def test_white_paper_says_nothing(engine: RecognitionEngine) -> None:
    reading = engine.read_region(page(), (0.2, 0.2, 0.6, 0.3))
    assert reading.text == ""
    assert reading.confidence == 0.0
    assert reading.lines == ()
    (score,) = scoring.score(reading, [NAME])
    assert score.log_ratio < scoring.REJECT_RATIO


@pytest.mark.parametrize(
    "box", [(0.5, 0.5, 0.5, 0.6), (0.6, 0.5, 0.5, 0.6), (-0.1, 0, 0.5, 0.5), (0, 0, 1.1, 1), (float("nan"), 0, 1, 1)]
)
def test_a_box_without_area_or_outside_is_refused(engine: RecognitionEngine, box: Box) -> None:
    with pytest.raises(ValueError, match="box"):
        engine.read_region(page(), box)


def test_boxes_of_a_few_pixels_are_borne(engine: RecognitionEngine) -> None:
    image = page((NAME, 200, 300))
    for box in ((0.2, 0.36, 0.2005, 0.3605), (0.2, 0.36, 0.9, 0.361), (0.0, 0.0, 1.0, 1.0)):
        engine.read_region(image, box)


def test_the_same_picture_is_read_the_same(engine: RecognitionEngine) -> None:
    image = page((NAME, 200, 300))
    box = around(NAME, 200, 300, image=image)
    again = create_engine(engine.name)
    assert again.version == engine.version
    assert codec.encode_reading(engine.read_region(image, box)) == codec.encode_reading(again.read_region(image, box))


def test_a_kept_reading_scores_as_a_fresh_one(engine: RecognitionEngine) -> None:
    image = page((NAME, 200, 300))
    reading = engine.read_region(image, around(NAME, 200, 300, image=image))
    kept = codec.decode_reading(codec.encode_reading(reading))
    candidates = [NAME, NAME.replace("云", "去"), "另一家公司", ""]
    assert scoring.score(kept, candidates) == scoring.score(reading, candidates)
    assert len(codec.encode_reading(reading)) < 20_000


def test_what_is_printed_beats_what_is_not(engine: RecognitionEngine) -> None:
    image = page((NAME, 200, 300))
    reading = engine.read_region(image, around(NAME, 200, 300, image=image))
    right, lookalike, other = scoring.score(reading, [NAME, NAME.replace("工", "土"), "沈阳某某有限公司"])
    assert right.log_ratio > scoring.ACCEPT_RATIO
    assert right.lookalike_margin > scoring.LOOKALIKE_MARGIN
    assert lookalike.log_ratio < scoring.ACCEPT_RATIO
    assert other.log_ratio < scoring.REJECT_RATIO


def test_a_page_is_read_with_places(engine: RecognitionEngine) -> None:
    image = page((NAME, 200, 150), ("统一社会信用代码：91210100MA0Y5FJR7D", 200, 300), ("成立日期：2015年03月18日", 200, 450))
    lines = engine.read_page(image)
    texts = [ctc.fold(line.text) for line in lines]
    assert any(NAME in text for text in texts)
    assert any("2015年03月18日" in text for text in texts)
    for line in lines:
        x0, y0, x1, y1 = line.box
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1
        assert 0 <= line.confidence <= 1
        middles = [(c.box[0] + c.box[2]) / 2 for c in line.characters]
        assert all(after > before - 0.03 for before, after in itertools.pairwise(middles))
    line = next(n for n in lines if NAME in ctc.fold(n.text))
    assert abs(line.box[1] * image.shape[0] - 150) < 25
    assert abs(line.box[0] * image.shape[1] - 200) < 25


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_page_on_its_side_or_head_is_read(engine: RecognitionEngine, turns: int) -> None:
    upright = page((NAME, 200, 150), ("成立日期：二〇一五年三月十八日", 200, 300), (SCOPE[:20], 200, 450), (SCOPE[20:], 200, 520))
    turned = imaging.rotate(upright, turns)
    lines, found = extraction.read_upright(engine, turned)
    assert (turns + found) % 4 == 0
    line = next(n for n in lines if NAME in ctc.fold(n.text))
    # where the line stands on the page as it lies: turning that box back gives the upright place
    x0, y0, _, _ = imaging.unrotate_box(line.box, (4 - found) % 4)
    assert abs(x0 * upright.shape[1] - 200) < 30
    assert abs(y0 * upright.shape[0] - 150) < 30


def test_an_empty_page_has_no_lines(engine: RecognitionEngine) -> None:
    assert engine.read_page(page()) == []


def test_a_good_scan_is_mostly_read(engine: RecognitionEngine) -> None:
    """Over one whole certificate: the default engine reads all but one field, the second at least half."""
    sample = samples.generate("construction_qualification", seed=77, degradation="good", format="png")
    image = np.asarray(PillowImage.open(io.BytesIO(sample.bytes)).convert("RGB"))
    right = total = 0
    for field in sample.truth["fields"].values():
        if not field["in_seal"]:
            total += 1
            x0, y0, x1, y1 = field["box"]
            right += said(engine.read_region(image, (x0, y0, x1, y1))) == ctc.strip_edges(ctc.fold(field["printed"]))
    assert right >= (total - 1 if engine.name == "ppocr" else total / 2)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="ppocr"):
        create_engine("abbyy")
