"""Sample documents: what the truth says is what the pixels and the text layer show, where it says."""

from __future__ import annotations

import io
import random

import numpy as np
import pdfplumber
import pypdfium2
import pytest
from PIL import Image, ImageFilter

import samples
from samples.facts import CertificateType
from samples.fonts import face

ALL_LAYOUTS = [(kind, name) for kind in samples.LAYOUTS for name in samples.layouts(kind)]
PARTS = {"qualification_name", "level", "category_and_level"}


def cut(image: Image.Image, box: list[float]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """The grey pixels in a box."""
    grey = np.asarray(image.convert("L"), np.float32)
    height, width = grey.shape
    return grey[round(box[1] * height) : round(box[3] * height), round(box[0] * width) : round(box[2] * width)]


def ink(image: Image.Image, box: list[float]) -> float:
    """Share of pixels in the box that are clearly darker than the box's paper."""
    part = cut(image, box)
    return float((part < np.percentile(part, 90) - 40).mean())


@pytest.mark.parametrize(("kind", "layout"), ALL_LAYOUTS)
def test_the_text_layer_says_what_the_truth_says_where_it_says(kind: CertificateType, layout: str) -> None:
    sample = samples.generate(kind, seed=11, layout=layout, format="digital_pdf")
    with pdfplumber.open(io.BytesIO(sample.bytes)) as document:
        page = document.pages[0]
        assert (page.width, page.height) == pytest.approx(tuple(sample.truth["pages"][0].values()), abs=0.01)
        for name, entry in sample.truth["fields"].items():
            if entry["in_seal"]:
                continue
            shown = ""
            for left, top, right, bottom in entry["lines"]:
                shown += "".join(
                    c["text"]
                    for c in page.chars
                    if left * page.width < (c["x0"] + c["x1"]) / 2 < right * page.width
                    and top * page.height < (c["top"] + c["bottom"]) / 2 < bottom * page.height
                )
            assert shown == entry["printed"], name


@pytest.mark.parametrize(("kind", "layout"), ALL_LAYOUTS)
def test_the_picture_and_the_digital_page_show_the_same(kind: CertificateType, layout: str) -> None:
    picture = samples.generate(kind, seed=12, layout=layout)
    digital = samples.generate(kind, seed=12, layout=layout, format="digital_pdf")
    # Two rasterisers differ by a pixel at the glyphs' edges: both are softened before they are compared.
    soft = ImageFilter.GaussianBlur(2)
    painted = Image.open(io.BytesIO(picture.bytes)).convert("L").filter(soft)
    document = pypdfium2.PdfDocument(digital.bytes)
    rendered = document[0].render(scale=200 / 72).to_pil().convert("L").resize(painted.size).filter(soft)
    document.close()
    assert picture.values("printed") == digital.values("printed")
    likeness = {
        name: np.corrcoef(cut(painted, entry["lines"][0]).ravel(), cut(rendered, entry["lines"][0]).ravel())[0, 1]
        for name, entry in picture.truth["fields"].items()
    }
    assert min(likeness.values()) > 0.9, likeness  # another certificate's values in the same places reach 0.3 to 0.7


@pytest.mark.parametrize("kind", samples.LAYOUTS)
@pytest.mark.parametrize("degradation", samples.DEGRADATIONS)
def test_boxes_follow_the_picture_through_every_degradation(kind: CertificateType, degradation: samples.Degradation) -> None:
    sample = samples.generate(kind, seed=21, degradation=degradation)
    image = Image.open(io.BytesIO(sample.bytes))
    assert image.size == tuple(sample.truth["pages"][0].values())
    for name, entry in sample.truth["fields"].items():
        for box in entry["lines"]:
            assert 0 < box[0] < box[2] < 1, name
            assert 0 < box[1] < box[3] < 1, name
            assert ink(image, box) > 0.04, name
    # The corner of the page holds no text: the measure itself can tell.
    assert ink(image, [0.30, 0.012, 0.40, 0.03]) < 0.04


@pytest.mark.parametrize(("kind", "layout"), ALL_LAYOUTS)
def test_values_neither_overlap_nor_leave_the_page(kind: CertificateType, layout: str) -> None:
    for seed in range(15):
        _, scene, _, printed = samples.compose(kind, random.Random(seed), layout=layout)
        boxes = scene.value_boxes()
        assert set(boxes) == set(printed)
        ordered = sorted((box, name) for name, found in boxes.items() for box in found if name not in scene.drawn_values)
        for (left, top, right, bottom), name in ordered:
            assert 8 < left < right < scene.width - 8, (seed, name)
            assert 8 < top < bottom < scene.height - 8, (seed, name)
        for index, (a, name) in enumerate(ordered):
            for b, other in ordered[index + 1 :]:
                if name != other and not {name, other} <= PARTS:
                    apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] + 0.3 or b[3] <= a[1] + 0.3
                    assert apart, (seed, name, other)


def test_the_same_seed_gives_the_same_file_and_another_seed_another_company() -> None:
    for form, degradation in (("jpeg", "poor"), ("scan_pdf", "photo"), ("digital_pdf", "clean")):
        first, again = (
            samples.generate("business_license", seed=4, degradation=degradation, format=form)  # type: ignore[arg-type]
            for _ in range(2)
        )
        assert first == again
    codes = {samples.compose("business_license", random.Random(seed))[2]["uscc"] for seed in range(20)}
    assert len(codes) == 20


def test_formats_are_what_they_claim() -> None:
    starts = {"png": b"\x89PNG", "jpeg": b"\xff\xd8\xff", "tiff": b"II*\0", "scan_pdf": b"%PDF-", "digital_pdf": b"%PDF-"}
    for form, start in starts.items():
        sample = samples.generate("construction_qualification", seed=3, format=form)  # type: ignore[arg-type]
        assert sample.bytes.startswith(start)
        assert sample.media_type == samples.MEDIA_TYPES[form]  # type: ignore[index]
    with pdfplumber.open(io.BytesIO(samples.generate("construction_qualification", seed=3, format="scan_pdf").bytes)) as document:
        assert not document.pages[0].chars  # a scan is a picture and nothing else


def test_overrides_print_in_the_documents_style_and_reach_the_truth() -> None:
    own = {"company_name": "沈阳云库建设有限公司", "established_on": "2011-02-03", "registered_capital": "80000000.00"}
    sample = samples.generate("business_license", seed=9, overrides=own, style=samples.Style("chinese", "upper"))
    entries = sample.truth["fields"]
    assert {name: entries[name]["value"] for name in own} == own
    assert entries["established_on"]["printed"] == "二〇一一年二月三日"
    assert entries["registered_capital"]["printed"] == "捌仟万元整"
    untouched = samples.generate("business_license", seed=9)
    assert entries["uscc"]["value"] == untouched.truth["fields"]["uscc"]["value"]


def test_absent_fields_are_those_the_layout_does_not_carry() -> None:
    sample = samples.generate("business_license", seed=9, layout="landscape_original")
    assert sample.truth["absent"] == ["business_term", "copy_no"]
    assert sample.truth["fields"]["registration_authority"]["in_seal"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"layout": "nowhere"}, "has no layout nowhere"),
        ({"degradation": "burnt"}, "unknown degradation"),
        ({"format": "gif"}, "unknown degradation or format"),
        ({"format": "digital_pdf", "degradation": "poor"}, "must be clean"),
        ({"overrides": {"no_such_field": "1"}}, "not fields of business_license"),
        ({"overrides": {"established_on": "2011-02-30"}}, "day is out of range"),
        ({"overrides": {"registered_capital": "much"}}, "not an amount in yuan"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        samples.generate("business_license", seed=1, **arguments)  # type: ignore[arg-type]


def test_every_face_covers_gb2312_but_the_known_gaps_of_kai() -> None:
    characters = {bytes((a, b)).decode("gb2312", "ignore") for a in range(0xB0, 0xF8) for b in range(0xA1, 0xFF)} - {""}
    assert len(characters) == 6763
    for family in ("song", "hei", "kai"):
        assert face(family).covers("".join(sorted(characters)))
