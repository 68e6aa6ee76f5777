"""Documents through the real sandbox: hostile ones get their code and harm nobody, good ones are read rightly."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from PIL import Image
from pypdf import PdfReader

from kernel.errors import YunkuError
from kernel.sandbox import Sandbox, SandboxRefused, SandboxUnavailable
from services.ocr.parsing import OPERATIONS, DocumentParser, ParsingLimits, RenderedPage
from services.ocr.parsing_fonts import CANDIDATES as FONT_FILES
from tests.service.hostile import documents

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one fork server for the whole module

HAS_CHINESE_FONT = any(Path(path).is_file() for path, _ in FONT_FILES)
LIMITS = ParsingLimits(wall_seconds=60, cpu_seconds=3, memory_bytes=640 << 20)
CONVERSION: dict[str, Any] = {
    "wall_seconds": 30,
    "memory_bytes": 1 << 30,
    "cpu_seconds": 20,
    "max_output_bytes": 64 << 20,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    box = Sandbox(OPERATIONS | {"image_to_pdf": "kernel.sandbox.images:image_to_pdf"}, require_all=False)
    await box.start()
    yield box
    await box.stop()


@pytest.fixture
def parser(sandbox: Sandbox) -> DocumentParser:
    return DocumentParser(sandbox, LIMITS)


def array(page: RenderedPage) -> NDArray[np.uint8]:
    return np.frombuffer(page.pixels, np.uint8).reshape(page.height, page.width, 3)


def ink(page: RenderedPage) -> tuple[float, float, float, float]:
    """Where a page is dark, as fractions."""
    dark = array(page).mean(axis=2) < 128
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    return (
        columns[0] / page.width,
        rows[0] / page.height,
        (columns[-1] + 1) / page.width,
        (rows[-1] + 1) / page.height,
    )


# -- hostile ---------------------------------------------------------------------------------------------------------

HOSTILE: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "empty": (lambda: b"", {"document_empty"}),
    "too large": (lambda: b"%PDF-1.7" + bytes(20 << 20), {"document_too_large"}),
    "text": (lambda: "营业执照".encode(), {"document_not_recognised"}),
    "a million glyphs": (documents.million_glyphs, {"document_too_complex"}),
    "a million glyphs by forms": (documents.nested_million_glyphs, {"document_too_complex"}),
    "100,000 pages": (documents.many_pages, {"document_too_many_pages"}),
    "51 pages": (lambda: documents.many_pages(51), {"document_too_many_pages"}),
    "no page": (lambda: documents.many_pages(0), {"document_empty", "document_damaged"}),
    "a form in itself": (documents.recursive_form, {"document_too_complex"}),
    "a page tree 3,000 deep": (documents.deep_page_tree, {"document_damaged"}),
    "encrypted": (lambda: documents.encrypted_pdf(user_password="secret"), {"document_encrypted"}),
    "encrypted, empty password": (documents.encrypted_pdf, {"document_encrypted"}),
    "broken table": (lambda: documents.text_pdf(xref_shift=7), {"document_damaged"}),
    "cut PDF": (lambda: documents.text_pdf()[:400], {"document_damaged"}),
    "PDF by name only": (lambda: b"%PDF-1.7\n" + bytes(1000), {"document_damaged"}),
    "a page of 100 m": (lambda: documents.text_pdf(media_box="0 0 595 283465"), {"document_page_too_large"}),
    "a page without width": (lambda: documents.text_pdf(media_box="0 0 1 842"), {"document_damaged"}),
    "PNG bomb": (documents.png_bomb, {"document_page_too_large"}),
    "cut JPEG": (lambda: documents.image("JPEG", size=(400, 300))[:1500], {"document_damaged"}),
    "JPEG by name only": (lambda: b"\xff\xd8\xff\xe0" + bytes(100), {"document_damaged"}),
    "cut PNG": (lambda: documents.image("PNG")[:90], {"document_damaged"}),
    "cut TIFF": (lambda: documents.image("TIFF")[:200], {"document_damaged"}),
    "TIFF of 51 pages": (lambda: documents.many_page_tiff(51), {"document_too_many_pages"}),
    **{f"polyglot {name}": (partial(bytes, data), {"document_not_recognised"}) for name, data in documents.polyglots().items()},
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_document_gets_its_code_and_harms_nobody(sandbox: Sandbox, parser: DocumentParser, name: str) -> None:
    make, codes = HOSTILE[name]
    server = sandbox.pid
    neighbour = asyncio.create_task(parser.inspect(documents.text_pdf()))
    with pytest.raises(YunkuError) as caught:
        await parser.inspect(make())
    assert caught.value.code in codes
    assert (await neighbour).born_digital
    assert len((await parser.inspect(documents.image("PNG"))).pages) == 1
    assert sandbox.pid == server


@pytest.mark.parametrize(
    "make",
    [
        documents.inflating_stream, documents.recursive_mask, documents.deep_arrays, documents.huge_image_in_pdf,
        documents.tiff_loop, documents.nested_million_glyphs, documents.recursive_form, documents.million_glyphs,
    ],
)  # fmt: skip
async def test_what_cannot_be_refused_at_sight_is_bounded_in_every_operation(
    sandbox: Sandbox, parser: DocumentParser, make: Callable[[], bytes]
) -> None:
    """Each either answers within its limits or is refused; the fork server and the next job don't notice."""
    server = sandbox.pid
    data = make()
    for operation in (parser.inspect(data), parser.render(data, 1, 1), parser.text(data, 1)):
        (outcome,) = await asyncio.gather(operation, return_exceptions=True)
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, YunkuError)
            assert outcome.code in ("document_too_complex", "document_damaged")
    assert (await parser.inspect(documents.text_pdf())).born_digital
    assert sandbox.pid == server


async def test_limits_are_told_with_the_refusal(parser: DocumentParser) -> None:
    with pytest.raises(YunkuError) as caught:
        await parser.inspect(documents.many_pages(60))
    assert caught.value.params == {"max": "50"}


async def test_a_stopped_sandbox_says_nothing_about_the_document() -> None:
    with pytest.raises(SandboxUnavailable):
        await DocumentParser(Sandbox(OPERATIONS)).inspect(documents.text_pdf())


# -- a worker that was taken over ------------------------------------------------------------------------------------

GOOD_PAGE = {"width": 595, "height": 842, "rotation": 0, "dpi": None, "characters": 3}
GOOD = {"media_type": "application/pdf", "born_digital": False, "pages": [GOOD_PAGE]}


class Liar(Sandbox):
    """A sandbox whose workers answer with whatever the test says."""

    def __init__(self, header: dict[str, Any], blobs: list[bytes]) -> None:
        super().__init__({})
        self._answer = (header, blobs)

    async def run(self, *arguments: Any, **limits: Any) -> tuple[dict[str, Any], list[bytes]]:
        return self._answer


@pytest.mark.parametrize(
    ("header", "blobs"),
    [
        ({}, []),
        (GOOD, [b"more"]),
        (GOOD | {"media_type": "text/html"}, []),
        (GOOD | {"born_digital": 1}, []),
        (GOOD | {"pages": []}, []),
        (GOOD | {"pages": [GOOD_PAGE] * 51}, []),
        (GOOD | {"pages": [[]]}, []),
        *((GOOD | {"pages": [GOOD_PAGE | change]}, []) for change in (
            {"width": 0}, {"width": 1e9}, {"width": "595"}, {"width": True}, {"height": None}, {"rotation": 45}, {"rotation": 360},
            {"dpi": -1}, {"dpi": 10**400}, {"characters": -1}, {"characters": 10**9}, {"characters": 1.5},
        )),
        (GOOD | {"media_type": "image/png", "pages": [GOOD_PAGE | {"width": 10_000, "height": 10_000}]}, []),
    ],
)  # fmt: skip
async def test_an_inspection_out_of_form_is_not_believed(header: dict[str, Any], blobs: list[bytes]) -> None:
    with pytest.raises(YunkuError) as caught:
        await DocumentParser(Liar(header, blobs)).inspect(b"%PDF-")
    assert caught.value.code == "document_damaged"


async def test_an_inspection_in_form_is_believed() -> None:
    """The control for the test above."""
    assert (await DocumentParser(Liar(GOOD, [])).inspect(b"%PDF-")).pages[0].width == 595


PICTURE = {"number": 1, "width": 2, "height": 1, "dpi": None}


@pytest.mark.parametrize(
    ("header", "blobs"),
    [
        ({"pages": [PICTURE]}, []),
        ({"pages": [PICTURE]}, [b"12345"]),
        ({"pages": [PICTURE]}, [b"1234567"]),
        ({"pages": [PICTURE, PICTURE]}, [b"123456", b"123456"]),
        ({"pages": [PICTURE | {"number": 2}]}, [b"123456"]),
        ({"pages": [PICTURE | {"width": -2, "height": -1}]}, [b"123456"]),
        ({"pages": [PICTURE | {"width": 65536, "height": 0}]}, [b""]),
        ({"pages": None}, [b"123456"]),
    ],
)
async def test_pictures_out_of_form_are_not_believed(header: dict[str, Any], blobs: list[bytes]) -> None:
    with pytest.raises(YunkuError) as caught:
        await DocumentParser(Liar(header, blobs)).render(b"%PDF-", 1, 1)
    assert caught.value.code == "document_damaged"


@pytest.mark.parametrize(
    "item",
    [
        ["a", 0, 0, 1],
        ["a", 0, 0, 1, 1.1],
        ["a", -0.1, 0, 1, 1],
        ["a", 0, 0, 1, "1"],
        [1, 0, 0, 1, 1],
        ["", 0, 0, 1, 1],
        ["a" * 9, 0, 0, 1, 1],
        {"text": "a"},
    ],
)
async def test_characters_out_of_form_are_not_believed(item: object) -> None:
    with pytest.raises(YunkuError) as caught:
        await DocumentParser(Liar({"characters": [item]}, [])).text(b"%PDF-", 1)
    assert caught.value.code == "document_damaged"


async def test_an_unknown_refusal_is_damage() -> None:
    class Refuser(Sandbox):
        async def run(self, *arguments: Any, **limits: Any) -> tuple[dict[str, Any], list[bytes]]:
            raise SandboxRefused("you_owe_me_money", {"errors": "x", "field": "y", "max": 1})

    with pytest.raises(YunkuError) as caught:
        await DocumentParser(Refuser({})).inspect(b"%PDF-")
    assert (caught.value.code, caught.value.params) == ("document_damaged", {})


# -- PDFs ------------------------------------------------------------------------------------------------------------


async def test_a_pdf_with_text_is_born_digital(parser: DocumentParser) -> None:
    found = await parser.inspect(documents.text_pdf())
    (page,) = found.pages
    assert (found.media_type, found.born_digital) == ("application/pdf", True)
    assert (page.number, page.width, page.height, page.rotation, page.dpi) == (1, 595, 842, 0, None)
    assert page.characters == len("Certificateofsafeproduction2026")


async def test_a_hidden_text_layer_does_not_make_it_born_digital(parser: DocumentParser) -> None:
    """Scanners lay recognised text invisibly over their pictures; that is their reading, not the document."""
    hidden = documents.page_pdf(documents.LINE.replace(b"Tf", b"Tf 3 Tr"))
    found = await parser.inspect(hidden)
    assert (found.born_digital, found.pages[0].characters) == (False, 0)


@pytest.mark.parametrize("make", [documents.xref_stream_pdf, documents.updated_pdf])
async def test_whole_pdfs_of_other_builds_are_taken(parser: DocumentParser, make: Callable[[], bytes]) -> None:
    assert (await parser.inspect(make())).born_digital
    assert "".join(c.text for c in await parser.text(make(), 1)) == "Certificate of safe production 2026"


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize(
    ("media_box", "crop_box"),
    [
        ("0 0 595 842", None),
        ("0 0 595 842", "50 300 595 800"),
        ("100 -50 695 792", None),
        ("100 -50 695 792", "90 600 600 780"),
        ("595 842 0 0", None),
    ],
)
async def test_text_lies_where_it_is_seen(parser: DocumentParser, rotation: int, media_box: str, crop_box: str | None) -> None:
    """Boxes of the text layer against the ink of the rendered page, under every rotation and with boxes off the
    origin."""
    entries = b"/Rotate %d" % rotation + (b" /CropBox [%b]" % crop_box.encode() if crop_box else b"")
    data = documents.text_pdf(media_box=media_box, page_entries=entries)
    (info,) = (await parser.inspect(data)).pages
    (page,) = await parser.render(data, 1, 1, dpi=144)
    assert info.rotation == rotation
    assert (page.width, page.height) == pytest.approx((info.width * 2, info.height * 2), abs=1)
    characters = await parser.text(data, 1)
    assert "".join(c.text for c in characters) == "Certificate of safe production 2026"
    inked = ink(page)
    seen = [c for c in characters if c.text.strip()]
    around = (
        min(c.box[0] for c in seen),
        min(c.box[1] for c in seen),
        max(c.box[2] for c in seen),
        max(c.box[3] for c in seen),
    )
    # A glyph's box is as high as its line, so it surrounds the ink by up to a third of the 24 point type.
    slack = 12 / min(info.width, info.height)
    assert all(abs(a - b) <= slack for a, b in zip(inked, around, strict=True)), (inked, around)
    # The first letter stands where the line begins in its own direction.
    first, last = seen[0].box, seen[-1].box
    axis, forward = {0: (0, 1), 90: (1, 1), 180: (0, -1), 270: (1, -1)}[rotation]
    assert (last[axis] - first[axis]) * forward > 0


async def test_characters_off_the_page_are_left_out(parser: DocumentParser) -> None:
    data = documents.page_pdf(b"BT /F1 24 Tf 560 700 Td (ABCDEFGH) Tj ET")
    assert "".join(c.text for c in await parser.text(data, 1)) == "AB"


async def test_a_bold_face_printed_twice_is_read_once(parser: DocumentParser) -> None:
    data = documents.page_pdf(b"BT /F1 24 Tf 100 700 Td (Bold) Tj ET BT /F1 24 Tf 100.3 700 Td (Bold) Tj ET")
    assert "".join(c.text for c in await parser.text(data, 1)) == "Bold"


async def test_a_glyph_without_meaning_is_said_to_have_none(parser: DocumentParser) -> None:
    """A composite font without /ToUnicode: its glyphs are numbers to whoever doesn't see them."""
    font = b"<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /Identity-H /DescendantFonts [7 0 R] >>"
    inner = (
        b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /X /DW 1000"
        b" /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> >>"
    )
    data = documents.page_pdf(b"BT /F1 24 Tf 100 700 Td <00410042> Tj ET", resources=b"/Font << /F1 6 0 R >>", more=[font, inner])
    assert {c.text for c in await parser.text(data, 1)} <= {"\N{REPLACEMENT CHARACTER}"}


def foreign_font(text: str, encoding: str, codec: str) -> bytes:
    """A PDF whose font is only named: SimSun, as Word writes it when it doesn't embed."""
    font = b"<< /Type /Font /Subtype /Type0 /BaseFont /SimSun /Encoding /%b /DescendantFonts [7 0 R] >>"
    inner = (
        b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /SimSun /DW 1000 /FontDescriptor 8 0 R"
        b" /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 2 >> >>"
    )
    descriptor = (
        b"<< /Type /FontDescriptor /FontName /SimSun /Flags 6 /FontBBox [0 0 1000 1000] /ItalicAngle 0 /Ascent 859"
        b" /Descent -140 /CapHeight 700 /StemV 80 >>"
    )
    return documents.page_pdf(
        b"BT /F1 48 Tf 50 700 Td <%b> Tj ET" % text.encode(codec).hex().encode(),
        resources=b"/Font << /F1 6 0 R >>",
        more=[font % encoding.encode(), inner, descriptor],
    )


@pytest.mark.parametrize(("encoding", "codec"), [("UniGB-UCS2-H", "utf-16-be"), ("GBK-EUC-H", "gbk")])
async def test_chinese_in_a_font_that_is_not_embedded_is_read_and_seen(parser: DocumentParser, encoding: str, codec: str) -> None:
    """The worker can open no file, so pdfminer's character maps and a font to draw with must be there already."""
    data = foreign_font("直角边企业资质", encoding, codec)
    assert "".join(c.text for c in await parser.text(data, 1)) == "直角边企业资质"
    if not HAS_CHINESE_FONT:
        pytest.skip("this host has no Chinese font to draw with")
    (page,) = await parser.render(data, 1, 1, dpi=72)
    left, top, right, bottom = ink(page)
    assert left * 595 == pytest.approx(50, abs=6)
    assert right * 595 == pytest.approx(50 + 7 * 48, abs=6)
    assert 842 - bottom * 842 == pytest.approx(700 - 7, abs=8)
    assert (bottom - top) * 842 > 40


async def test_a_rendered_page_keeps_to_its_limit(sandbox: Sandbox) -> None:
    parser = DocumentParser(sandbox, replace(LIMITS, max_rendered_pixels=100_000))
    (page,) = await parser.render(documents.text_pdf(), 1, 1, dpi=300)
    assert 90_000 < page.width * page.height < 102_000
    assert page.dpi == pytest.approx(72 * page.width / 595, rel=0.01)
    assert page.width / page.height == pytest.approx(595 / 842, rel=0.01)


async def test_pages_are_rendered_in_order(parser: DocumentParser) -> None:
    """Three pages of different sizes; a range asks for the last two."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R 4 0 R 5 0 R] /Count 3 >>"]
    objects += [b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d 100] >>" % width for width in (100, 200, 300)]
    pages = await parser.render(documents.pdf(objects), 2, 3, dpi=72)
    assert [(page.number, page.width, page.height) for page in pages] == [(2, 200, 100), (3, 300, 100)]
    with pytest.raises(YunkuError):
        await parser.render(documents.pdf(objects), 3, 4)


async def test_a_png_of_a_page_is_the_page(parser: DocumentParser) -> None:
    (page,) = await parser.render(documents.text_pdf(), 1, 1, dpi=72)
    with Image.open(io.BytesIO(page.png())) as picture:
        assert picture.format == "PNG"
        assert np.array_equal(np.asarray(picture), array(page))


# -- pictures --------------------------------------------------------------------------------------------------------

MODES = [
    *(("JPEG", mode) for mode in ("L", "RGB", "CMYK")),
    *(("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(("TIFF", mode) for mode in ("1", "L", "RGB", "RGBA", "CMYK", "I;16", "LAB")),
]


@pytest.mark.parametrize(("kind", "mode"), MODES)
async def test_every_kind_of_picture_is_seen_alike(parser: DocumentParser, kind: str, mode: str) -> None:
    data = documents.image(kind, mode)
    found = await parser.inspect(data)
    assert found.media_type == f"image/{kind.lower()}"
    assert [(page.width, page.height, page.rotation) for page in found.pages] == [(40, 30, 0)]
    assert not found.born_digital
    (page,) = await parser.render(data, 1, 1)
    pixels = array(page).astype(int)
    assert (page.width, page.height) == (40, 30)
    assert pixels[:12, :16].max() < 60
    assert pixels[18:, 24:].min() > 190
    assert await parser.text(data, 1) == []


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("PNG", "LA")])
async def test_what_is_transparent_is_white(parser: DocumentParser, kind: str, mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (8, 8), (0, 0, 0, 0) if mode == "RGBA" else (0, 0)).save(buffer, kind)
    (page,) = await parser.render(buffer.getvalue(), 1, 1)
    assert array(page).min() == 255


def oriented(kind: str, orientation: int) -> bytes:
    """The test picture, stored so that `orientation` makes it upright."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = Image.open(io.BytesIO(documents.image("PNG")))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)  # fmt: skip
    stored = upright if undo is None else upright.transpose(undo)
    buffer = io.BytesIO()
    stored.save(buffer, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
async def test_pictures_are_turned_upright(sandbox: Sandbox, parser: DocumentParser, kind: str, orientation: int) -> None:
    """As cameras store them: the same upright picture whatever the orientation; and the same again as a PDF."""
    data = oriented(kind, orientation)
    (info,) = (await parser.inspect(data)).pages
    (page,) = await parser.render(data, 1, 1)
    _, (made,) = await sandbox.run("image_to_pdf", {"max_pages": 50, "max_pixels": 1 << 20}, [data], **CONVERSION)
    (again,) = await parser.render(made, 1, 1, dpi=72)
    assert (info.width, info.height) == (page.width, page.height) == (40, 30)
    for picture in (page, again):
        pixels = array(picture).astype(int)
        height, width = pixels.shape[:2]
        assert width > height
        dark, light = pixels[: height * 2 // 5, : width * 2 // 5], pixels[height * 3 // 5 :, :]
        assert dark.max() < 70
        assert light.min() > 180
        assert pixels[: height * 2 // 5, width * 3 // 5 :].min() > 180


async def test_resolution_is_taken_if_credible(parser: DocumentParser) -> None:
    for stated, taken in (((300, 300), 300), ((1, 1), None), ((300, 72), None), ((90000, 90000), None)):
        (page,) = (await parser.inspect(documents.image("JPEG", dpi=stated))).pages
        assert page.dpi == taken, stated


async def test_pages_of_a_tiff_are_pages(sandbox: Sandbox, parser: DocumentParser) -> None:
    data = documents.many_page_tiff(3)
    assert len((await parser.inspect(data)).pages) == 3
    assert [page.number for page in await parser.render(data, 2, 3)] == [2, 3]
    header, (made,) = await sandbox.run("image_to_pdf", {"max_pages": 50, "max_pixels": 99}, [data], **CONVERSION)
    assert header == {"pages": 3}
    assert len((await parser.inspect(made)).pages) == 3


async def test_a_large_photo_is_scaled_down(sandbox: Sandbox) -> None:
    parser = DocumentParser(sandbox, replace(LIMITS, max_rendered_pixels=10_000))
    (page,) = await parser.render(documents.image("JPEG", size=(400, 300), dpi=(300, 300)), 1, 1)
    assert page.width * page.height <= 10_000
    assert page.width / page.height == pytest.approx(4 / 3, rel=0.03)
    assert page.dpi == pytest.approx(300 * page.width / 400, rel=0.03)


# -- a PDF of a picture ----------------------------------------------------------------------------------------------


async def to_pdf(sandbox: Sandbox, data: bytes) -> bytes:
    _, (made,) = await sandbox.run("image_to_pdf", {"max_pages": 50, "max_pixels": 1 << 22}, [data], **CONVERSION)
    return made


@pytest.mark.parametrize(("kind", "mode"), MODES)
async def test_a_pdf_of_a_picture_shows_the_picture(sandbox: Sandbox, parser: DocumentParser, kind: str, mode: str) -> None:
    made = await to_pdf(sandbox, documents.image(kind, mode, size=(400, 300)))
    found = await parser.inspect(made)
    assert (found.media_type, found.born_digital) == ("application/pdf", False)
    (page,) = await parser.render(made, 1, 1, dpi=72)
    pixels = array(page).astype(int)
    height, width = pixels.shape[:2]
    assert pixels[: height * 2 // 5, : width * 2 // 5].max() < 60
    assert pixels[height * 3 // 5 :, :].min() > 190


async def test_a_pdf_of_a_picture_loses_nothing(sandbox: Sandbox) -> None:
    """Noise, which lossy compression would change: the picture in the PDF has the very pixels."""
    noise = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    for kind in ("PNG", "JPEG"):
        buffer = io.BytesIO()
        picture.save(buffer, kind)
        made = await to_pdf(sandbox, buffer.getvalue())
        resources: Any = PdfReader(io.BytesIO(made), strict=True).pages[0]["/Resources"]
        stored = resources["/XObject"]["/P"].get_data()  # Flate is undone, a JPEG's coding isn't
        inside = Image.frombytes("RGB", picture.size, stored) if kind == "PNG" else Image.open(io.BytesIO(stored))
        assert np.array_equal(np.asarray(inside), np.asarray(Image.open(buffer)))


async def test_a_pdf_of_a_picture_has_its_size(sandbox: Sandbox, parser: DocumentParser) -> None:
    made = await to_pdf(sandbox, documents.image("PNG", size=(1654, 2339), dpi=(200, 200)))
    (page,) = (await parser.inspect(made)).pages
    assert (page.width, page.height) == pytest.approx((595.4, 842.0), abs=0.2)
    assert page.rotation == 0


async def test_a_pdf_of_a_picture_is_always_the_same(sandbox: Sandbox) -> None:
    data = documents.image("JPEG")
    first, second = [await to_pdf(sandbox, data) for _ in range(2)]
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()


async def test_metadata_and_what_follows_the_picture_stay_behind(sandbox: Sandbox) -> None:
    """Where a photo was taken is nobody's business, and bytes after a picture's end may be anything."""
    exif = Image.Exif()
    exif[0x010F] = "SECRET-CAMERA"
    data = documents.image("JPEG", exif=exif, comment=b"SECRET-COMMENT", icc_profile=b"SECRET-PROFILE" * 20)
    assert b"SECRET-CAMERA" in data
    made = await to_pdf(sandbox, data + b"PK\x03\x04SECRET-ARCHIVE")
    assert b"SECRET" not in made


async def test_a_progressive_jpeg_goes_in_whole(sandbox: Sandbox, parser: DocumentParser) -> None:
    data = documents.image("JPEG", size=(400, 300), progressive=True)
    made = await to_pdf(sandbox, data)
    assert b"/DCTDecode" in made
    (page,) = await parser.render(made, 1, 1, dpi=72)
    assert array(page)[:50, :50].max() < 60


async def test_a_pdf_is_no_picture(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxRefused) as caught:
        await to_pdf(sandbox, documents.text_pdf())
    assert caught.value.code == "document_not_recognised"


async def test_the_hostile_documents_are_what_they_say() -> None:
    """A test document that is broken by mistake would be refused for the wrong reason."""
    assert len(documents.million_glyphs()) < 8_000
    assert len(documents.recursive_form()) < 600
    assert len(documents.inflating_stream()) < 10_000
    assert len(pypdfium2.PdfDocument(documents.many_pages(1000))) == 1000
    for make in (documents.million_glyphs, documents.recursive_form, documents.recursive_mask, documents.inflating_stream):
        reader = PdfReader(io.BytesIO(make()), strict=True)
        assert len(reader.pages) == 1
