"""Images as PDFs: the picture is the upload's, bit by bit, upright and of its own size."""

from io import BytesIO
from typing import Any

import pypdfium2
import pytest
from PIL import Image, ImageChops
from pypdf import PdfReader

from services.signing import pdfimages
from tests.service import seal_kit as kit


def shown(pdf: bytes, size: tuple[int, int], number: int = 0) -> Image.Image:
    page = pypdfium2.PdfDocument(pdf)[number]
    rendered: Image.Image = page.render(scale=size[0] / page.get_width()).to_pil().convert("RGB")
    return rendered


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "PNG", {}),
        ("L", "PNG", {}),
        ("1", "PNG", {}),
        ("P", "PNG", {}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}),
        ("L", "TIFF", {}),
        ("1", "TIFF", {"compression": "group4"}),
    ],
)
def test_pixels_are_the_uploads(mode: str, kind: str, options: dict[str, str]) -> None:
    image = kit.picture(mode)
    pdf = pdfimages.image_to_pdf(kit.encoded(image, kind, **options), f"image/{kind.lower()}")
    difference = ImageChops.difference(shown(pdf, image.size), image.convert("RGB"))
    assert difference.getbbox() is None


def test_a_jpeg_is_taken_over_byte_by_byte() -> None:
    data = kit.encoded(kit.picture(), "JPEG", quality=60)
    page: Any = PdfReader(BytesIO(pdfimages.image_to_pdf(data, "image/jpeg"))).pages[0]
    picture = page["/Resources"]["/XObject"]["/Im0"]
    assert picture._data == data


def test_a_png_is_not_compressed_anew() -> None:
    data = kit.encoded(kit.picture(), "PNG")
    assert len(pdfimages.image_to_pdf(data, "image/png")) < len(data) + 1500


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_as_exif_says(orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = kit.encoded(kit.picture(), "JPEG", exif=exif, quality=95)
    with Image.open(BytesIO(data)) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    rendered = shown(pdfimages.image_to_pdf(data, "image/jpeg"), upright.size)
    assert rendered.size == upright.size
    difference = ImageChops.difference(rendered, upright).convert("L")
    # The decoders differ by a step here and there; a picture that is turned wrongly differs by hundreds.
    assert sum(difference.histogram()[40:]) < 0.002 * upright.width * upright.height


@pytest.mark.parametrize(
    ("dpi", "points"),
    [((300, 300), (48.0, 67.2)), ((1, 1), (96.0, 134.4)), (None, (96.0, 134.4)), ((72, 72), (200.0, 280.0))],
)
def test_a_page_is_as_large_as_its_picture(dpi: tuple[int, int] | None, points: tuple[float, float]) -> None:
    options = {"dpi": dpi} if dpi else {}
    pdf = pdfimages.image_to_pdf(kit.encoded(kit.picture(), "TIFF", **options), "image/tiff")
    width, height = pypdfium2.PdfDocument(pdf)[0].get_size()
    assert (width, height) == pytest.approx(points, abs=0.1)


def test_transparency_is_kept() -> None:
    image = kit.picture("RGBA")
    pdf = pdfimages.image_to_pdf(kit.encoded(image, "PNG"), "image/png")
    on_white = Image.new("RGB", image.size, "white")
    on_white.paste(image, mask=image.getchannel("A"))
    difference = ImageChops.difference(shown(pdf, image.size), on_white).convert("L")
    assert max(value for value, count in enumerate(difference.histogram()) if count) <= 2


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"", "image/png"),
        (b"nothing", "image/jpeg"),
        (kit.encoded(kit.picture(), "PNG")[:-40], "image/png"),
        (kit.encoded(kit.picture(), "JPEG")[:400], "image/jpeg"),
        (kit.encoded(kit.picture(), "PNG"), "image/jpeg"),
        (kit.encoded(kit.picture(), "GIF"), "image/png"),
    ],
    ids=["empty", "text", "cut_png", "cut_jpeg", "png_as_jpeg", "gif_as_png"],
)
def test_what_is_no_image(data: bytes, media_type: str) -> None:
    with pytest.raises(pdfimages.NotAnImage):
        pdfimages.image_to_pdf(data, media_type)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    data = kit.encoded(Image.new("1", (10_000, 10_000)), "PNG")
    assert len(data) < 100_000
    with pytest.raises(pdfimages.NotAnImage):
        pdfimages.image_to_pdf(data, "image/png")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_same_picture_tells_apart(kind: str) -> None:
    media_type = f"image/{kind.lower()}"
    data, other = (kit.encoded(image, kind) for image in (kit.picture(), kit.picture().rotate(180)))
    (own,) = [frame.data for frame in pdfimages.frames(data, media_type)]
    (foreign,) = [frame.data for frame in pdfimages.frames(other, media_type)]
    assert pdfimages.same_picture(data, media_type, [own])
    assert not pdfimages.same_picture(data, media_type, [foreign])
    assert not pdfimages.same_picture(data, media_type, [])
    assert not pdfimages.same_picture(data, media_type, [own, own])
    assert not pdfimages.same_picture(data, media_type, [b"rubbish"])


def test_the_same_samples_compressed_otherwise_are_the_same_picture() -> None:
    import zlib

    data = kit.encoded(kit.picture("RGBA"), "PNG")
    (frame,) = pdfimages.frames(data, "image/png")
    assert pdfimages.same_picture(data, "image/png", [zlib.compress(zlib.decompress(frame.data), 1)])
