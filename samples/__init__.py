"""Sample scans: invented certificates that look like real ones, with the truth of what they print and where.

    sample = samples.generate("business_license", seed=7, degradation="poor", format="jpeg")
    sample.bytes, sample.media_type, sample.truth["fields"]["uscc"]["box"]

    sample = samples.form(type_of_the_catalogue, {"company_name": "…"}, seed=7)    # any type, as a plain form

The same arguments give the same bytes (on one machine's fonts and libraries). Everything is invented, and every page
says at its foot and in its seal that it's a sample. The truth is plain JSON:

    {"type", "layout", "degradation", "format", "seed", "pages": [{"width", "height"}],   # pixels; points if digital
     "fields": {name: {"kind", "printed", "value", "page", "box", "lines", "in_seal"}},
     "absent": [fields of the type that this print does not carry]}

``printed`` is the value as the document writes it, ``value`` its normal form (see `samples.facts`). ``box`` is the
value's rectangle as fractions 0..1 of the page, origin top left, with a little white around; ``lines`` has one box a
line. ``in_seal`` marks a value that stands in the arc of a seal only: no reader is expected to get it from a line.
"""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from PIL import Image

from samples import degrade as _degrade
from samples import forms
from samples import pdf as _pdf
from samples.degrade import DEGRADATIONS, Degradation
from samples.facts import FIELDS, CertificateType, Style, make_facts
from samples.layouts import LAYOUTS, ONE_ROW, SEAL_ONLY, Layout, Sheet
from samples.scene import MM_PER_INCH, Scene, paint
from samples.tamper import Tampered, tamper

__all__ = [
    "DEGRADATIONS",
    "FIELDS",
    "FORMATS",
    "LAYOUTS",
    "MEDIA_TYPES",
    "Degradation",
    "Format",
    "Sample",
    "Style",
    "Tampered",
    "compose",
    "form",
    "generate",
    "layouts",
    "tamper",
]

Format = Literal["png", "jpeg", "tiff", "scan_pdf", "digital_pdf"]
FORMATS: tuple[Format, ...] = get_args(Format)
MEDIA_TYPES: dict[Format, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "tiff": "image/tiff",
    "scan_pdf": "application/pdf",
    "digital_pdf": "application/pdf",
}
EXTENSIONS: dict[Format, str] = {"png": "png", "jpeg": "jpg", "tiff": "tif", "scan_pdf": "pdf", "digital_pdf": "pdf"}


@dataclass(frozen=True)
class Sample:
    """One sample file and what is true of it."""

    bytes: bytes
    media_type: str
    truth: dict[str, Any]

    def values(self, form: Literal["value", "printed"] = "value") -> dict[str, str]:
        """Field → value of every field that the print carries, in its normal form or as printed."""
        return {name: entry[form] for name, entry in self.truth["fields"].items()}

    def boxes(self) -> dict[str, tuple[int, list[float]]]:
        """Field → page and box of every field that the print carries."""
        return {name: (entry["page"], entry["box"]) for name, entry in self.truth["fields"].items()}


def layouts(certificate_type: CertificateType) -> tuple[str, ...]:
    """The names of the layouts of a type."""
    return tuple(layout.name for layout in LAYOUTS[certificate_type])


def generate(
    type: CertificateType,
    *,
    seed: int,
    layout: str | None = None,
    degradation: Degradation = "clean",
    format: Format = "png",
    overrides: dict[str, str] | None = None,
    style: Style | None = None,
) -> Sample:
    """Make one sample.

    ``layout`` is one of `layouts(type)`, drawn from the seed if None. ``overrides`` replaces normal values (field →
    normal form, see `samples.facts`) before they are printed. ``style`` fixes how dates and money are written. Raises
    ValueError for an unknown type, layout, field, degradation or format, for a value that isn't of its kind, and for
    a digital PDF that isn't clean.
    """
    _sensible(degradation, format)
    rng = random.Random(f"{type}/{seed}")  # noqa: S311 - sample data, not secrets
    chosen, scene, values, printed = compose(type, rng, layout=layout, overrides=overrides, style=style, degradation=degradation)
    content, boxes, pages = _drawn(scene, chosen.title, degradation, format, rng)
    fields = {
        name: {
            "kind": FIELDS[type][name],
            "printed": printed[name],
            "value": values[name],
            "page": 1,
            "box": _around(boxes[name]),
            "lines": boxes[name],
            "in_seal": name in scene.drawn_values,
        }
        for name in FIELDS[type]
        if name in boxes
    }
    truth = {
        "type": type,
        "layout": chosen.name,
        "degradation": degradation,
        "format": format,
        "seed": seed,
        "pages": pages,
        "fields": fields,
        "absent": [name for name in FIELDS[type] if name not in boxes],
    }
    return Sample(content, MEDIA_TYPES[format], truth)


def form(
    kind: Mapping[str, Any],
    values: Mapping[str, str],
    *,
    seed: int,
    seal: str = "",
    degradation: Degradation = "clean",
    format: Format = "jpeg",
    style: Style | None = None,
) -> Sample:
    """A plain form of any certificate type: its title, a caption and a value a line, a round seal.

    ``kind`` is the type as ``GET /api/v1/catalogue`` gives it; ``values`` are normal values (field → form of the catalogue's kinds),
    of which those that a document can show are printed. ``seal`` is who seals it, else the issuing authority among the values.
    The truth is that of `generate`, its layout ``form``. Raises ValueError for a field that the type hasn't, and as `generate` does.
    """
    _sensible(degradation, format)
    rng = random.Random(f"{kind['code']}/{seed}")  # noqa: S311 - sample data, not secrets
    fields = {field["name"]: field for field in kind["fields"]}
    if unknown := set(values) - set(fields):
        raise ValueError(f"not fields of {kind['code']}: {sorted(unknown)}")
    drawn_style = Style.choose(rng)
    shown = {name: value for name, value in values.items() if value and fields[name]["takes_mark"]}
    printed = {name: forms.printed(fields[name]["type"], value, style or drawn_style) for name, value in shown.items()}
    scene = forms.draw(kind["label"], [(name, fields[name]["label"], text) for name, text in printed.items()], seal, rng)
    content, boxes, pages = _drawn(scene, kind["label"], degradation, format, rng)
    truth = {
        "type": kind["code"],
        "layout": "form",
        "degradation": degradation,
        "format": format,
        "seed": seed,
        "pages": pages,
        "fields": {
            name: {
                "kind": fields[name]["type"],
                "printed": printed[name],
                "value": shown[name],
                "page": 1,
                "box": _around(boxes[name]),
                "lines": boxes[name],
                "in_seal": False,
            }
            for name in printed
        },
        "absent": [name for name, field in fields.items() if field["may_be_absent"] and name not in printed],
    }
    return Sample(content, MEDIA_TYPES[format], truth)


def _sensible(degradation: Degradation, format: Format) -> None:
    if degradation not in DEGRADATIONS or format not in FORMATS:
        raise ValueError(f"unknown degradation or format: {degradation}, {format}")
    if format == "digital_pdf" and degradation != "clean":
        raise ValueError("a digital PDF has no scanner's faults: degradation must be clean")


def _drawn(
    scene: Scene, title: str, degradation: Degradation, format: Format, rng: random.Random
) -> tuple[bytes, dict[str, list[list[float]]], list[dict[str, float]]]:
    """The file of a scene, the boxes of its values (field → one a line), and its pages' sizes."""
    if format == "digital_pdf":
        width, height = scene.width * _pdf.POINTS_PER_MM, scene.height * _pdf.POINTS_PER_MM
        boxes = {
            name: [[round(v, 5) for v in (b[0] / scene.width, b[1] / scene.height, b[2] / scene.width, b[3] / scene.height)] for b in found]
            for name, found in scene.value_boxes().items()
        }
        return _pdf.digital([scene], title), boxes, [{"width": round(width, 3), "height": round(height, 3)}]
    dpi = _degrade.DPI[degradation]
    dots = dpi / MM_PER_INCH
    result = _degrade.degrade(paint(scene, dots), degradation, rng.getrandbits(32))
    image = result.image
    boxes = {
        name: [
            _degrade.map_box(result.homography, (b[0] * dots, b[1] * dots, b[2] * dots, b[3] * dots), image.width, image.height)
            for b in found
        ]
        for name, found in scene.value_boxes().items()
    }
    quality = _degrade.JPEG_QUALITY[degradation]
    if format == "scan_pdf":
        content = _pdf.scan([image], dpi, quality, title)
    else:
        if degradation == "poor" and format != "jpeg":  # a poor scan has been a JPEG before it became anything else
            image = _through_jpeg(image, quality)
        content = _encode(image, format, quality, dpi)
    return content, boxes, [{"width": image.width, "height": image.height}]


def compose(
    certificate_type: CertificateType,
    rng: random.Random,
    *,
    layout: str | None = None,
    overrides: dict[str, str] | None = None,
    style: Style | None = None,
    degradation: Degradation = "clean",
) -> tuple[Layout, Scene, dict[str, str], dict[str, str]]:
    """The layout, the page before it is drawn, the values in normal and in printed form; errors as of `generate`."""
    if certificate_type not in LAYOUTS:
        raise ValueError(f"no such type: {certificate_type}")
    chosen = _layout(certificate_type, layout, rng)
    values = make_facts(certificate_type, rng, first=chosen.printed_from, last=chosen.printed_until)
    drawn_style = Style.choose(rng)  # drawn even if given, so that a given style prints the same company
    unknown = set(overrides or {}) - set(FIELDS[certificate_type])
    if unknown:
        raise ValueError(f"not fields of {certificate_type}: {sorted(unknown)}")
    values.update(overrides or {})
    scene, values, printed = _draw(certificate_type, chosen, values, style or drawn_style, rng, degradation)
    return chosen, scene, values, printed


def _layout(certificate_type: CertificateType, name: str | None, rng: random.Random) -> Layout:
    drawn = rng.choice(LAYOUTS[certificate_type])  # drawn even if named, so that a named layout prints the same company
    if name is None:
        return drawn
    for layout in LAYOUTS[certificate_type]:
        if layout.name == name:
            return layout
    raise ValueError(f"{certificate_type} has no layout {name}: {layouts(certificate_type)}")


def _draw(
    certificate_type: CertificateType,
    layout: Layout,
    values: dict[str, str],
    style: Style,
    rng: random.Random,
    degradation: Degradation,
) -> tuple[Scene, dict[str, str], dict[str, str]]:
    """The scene, and the values in normal and printed form as this layout prints them."""
    qualifications: tuple[str, ...] = ()
    if certificate_type == "construction_qualification":
        lines = values["category_and_level"].split("；")
        if (certificate_type, layout.name) in ONE_ROW:
            values = {**values, "category_and_level": lines[0]}
        # The list prints its levels as the level itself is printed: 贰级 beside 贰级.
        qualifications = tuple(_restyle(line, style) for line in lines)
    printed = {name: style.print(FIELDS[certificate_type][name], value) for name, value in values.items() if name not in layout.absent}
    if qualifications:
        shown = qualifications[:1] if (certificate_type, layout.name) in ONE_ROW else qualifications
        printed["category_and_level"] = "；".join(shown)
        values = {**values, "category_and_level": printed["category_and_level"]}
        if not qualifications[0].startswith(printed["qualification_name"] + printed["level"]):
            raise ValueError("category_and_level must begin with qualification_name and level")
    sheet = dict(printed)
    if (certificate_type, layout.name) in SEAL_ONLY:
        sheet["_seal_only"] = "1"
    disturbance = {"clean": 0.0, "good": 0.0, "poor": 1.0, "photo": 0.0}[degradation]
    return layout.draw(Sheet(sheet, qualifications, style, rng, disturbance)), values, printed


def _restyle(line: str, style: Style) -> str:
    for level in ("一级", "二级", "三级"):
        if line.endswith(level):
            return line[: -len(level)] + style.print("level", level)
    return line


def _around(boxes: list[list[float]]) -> list[float]:
    return [min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)]


def _encode(image: Image.Image, format: Format, quality: int, dpi: int) -> bytes:
    out = io.BytesIO()
    if format == "jpeg":
        image.save(out, "JPEG", quality=quality, dpi=(dpi, dpi))
    elif format == "tiff":
        image.save(out, "TIFF", compression="tiff_lzw", dpi=(dpi, dpi))
    else:
        image.save(out, "PNG", dpi=(dpi, dpi), compress_level=4)
    return out.getvalue()


def _through_jpeg(image: Image.Image, quality: int) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(io.BytesIO(out.getvalue())).convert("RGB")
