"""Reading uploaded pictures, inside the sandbox: what format it is, its pages as seen, a PDF made of it.

Everything here but `sniff` runs in a worker: import this module in operations, not in a service. Formats are told by
their first bytes, never by a file's name or a client's word.

Operation for `Sandbox`: `kernel.sandbox.images:image_to_pdf` (sealing needs a PDF; http-api.md: an image upload is
made one).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import struct
from collections.abc import Iterator
from typing import Any, Final

# The plugins are named because Pillow would import them when a file needs them, which a worker can't.
from PIL import (
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
)

from kernel.sandbox.errors import Refusal
from kernel.sandbox.formats import sniff

Image.MAX_IMAGE_PIXELS = None  # `open_pages` has its own limits, which refuse where Pillow would only warn
ImageFile.LOAD_TRUNCATED_IMAGES = False
_PLUGINS: Final = {
    "image/jpeg": JpegImagePlugin.JpegImageFile.format,
    "image/png": PngImagePlugin.PngImageFile.format,
    "image/tiff": TiffImagePlugin.TiffImageFile.format,
}
_ORIENTATION: Final = 0x0112
# EXIF orientation → degrees to turn clockwise, mirrored first (EXIF 2.32, tag 274; TIFF 6.0).
_TURNS: Final = {1: 0, 2: 0, 3: 180, 4: 180, 5: 270, 6: 90, 7: 90, 8: 270}
_MIN_DPI: Final = 50
_MAX_DPI: Final = 2400
"""Resolutions outside of this are what cameras and editors write when they don't know."""
_A4: Final = (595.28, 841.89)
"""Points."""


@contextlib.contextmanager
def damaged_if_it_fails() -> Iterator[None]:
    """Parsers fail on bad input in every way there is; all of it means that the document is damaged. A refusal and
    the end of memory stay what they are."""
    try:
        yield
    except (Refusal, MemoryError):
        raise
    except Exception as error:
        raise Refusal("document_damaged") from error


class ImagePage:
    """One page of a picture file, decoded. `image` is as stored; `seen()` is as it is to be looked at."""

    def __init__(self, image: Image.Image, *, rotation: int, dpi: float | None, jpeg: bool) -> None:
        self.image = image
        self.rotation = rotation
        """Degrees clockwise that the file asks for."""
        self.dpi = dpi
        """Dots per inch as the file says, None where it says nothing credible."""
        self.jpeg = jpeg

    def seen(self) -> Image.Image:
        """Upright, mode "RGB" or "L": any transparency on white, 16 bits as 8, CMYK and palettes as RGB."""
        return plain(ImageOps.exif_transpose(self.image))


def open_pages(data: bytes, media_type: str, *, max_pages: int, max_pixels: int) -> Iterator[ImagePage]:
    """The pages of a picture file, each decoded whole. Refuses with document_page_too_large before decoding,
    document_too_many_pages, document_empty, document_damaged. Only TIFF has more than one page."""
    with damaged_if_it_fails():
        image = Image.open(io.BytesIO(data), formats=[str(_PLUGINS[media_type])])
    number = 0
    while True:
        with damaged_if_it_fails():
            width, height = image.size
            if width * height > max_pixels:
                raise Refusal("document_page_too_large", max=max_pixels, page=number + 1)
            if width < 1 or height < 1:
                raise Refusal("document_empty")
            dpi = _dpi(image)
            orientation = image.getexif().get(_ORIENTATION, 1)
            image.load()
            # Pillow turns a TIFF upright itself when it loads one.
            rotation = _TURNS.get(orientation, 0) if isinstance(orientation, int) else 0
        yield ImagePage(image, rotation=rotation, dpi=dpi, jpeg=media_type == "image/jpeg")
        if media_type != "image/tiff":
            return
        number += 1
        with damaged_if_it_fails():
            try:
                image.seek(number)
            except EOFError:
                return
        if number >= max_pages:
            raise Refusal("document_too_many_pages", max=max_pages)


def plain(image: Image.Image) -> Image.Image:
    """The same picture in mode "RGB" or "L"."""
    mode = image.mode
    if mode in ("RGB", "L"):
        return image
    if mode == "1":
        return image.convert("L")
    if mode.startswith("I;16") or mode == "I":
        # 16 bits (PNG, TIFF; Pillow keeps some of them in 32): the upper eight are what is seen.
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if mode == "F":
        return image.convert("L")
    if "A" in mode or "a" in mode or "transparency" in image.info:
        layered = image.convert("RGBA")
        paper = Image.new("RGB", image.size, "white")
        paper.paste(layered, mask=layered.getchannel("A"))
        return paper
    return image.convert("RGB")


def _dpi(image: Image.Image) -> float | None:
    """The file's resolution if it is credible and the same both ways."""
    dpi = image.info.get("dpi")
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return None
    across, down = float(dpi[0]), float(dpi[1])
    if not (_MIN_DPI <= across <= _MAX_DPI and abs(across - down) < 1):
        return None
    return round(across, 2)


# -- a PDF of a picture ----------------------------------------------------------------------------------------------


def image_to_pdf(header: dict[str, Any], blobs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Operation. Header: max_pages, max_pixels (a page). Blob: a JPEG, PNG or TIFF. Result: {"pages"}, the PDF.

    Nothing that is seen is lost: a JPEG's compressed data goes in as it is (without its metadata: cameras write where
    they were), anything else without loss. A page has the picture's size at its resolution, or fits A4 where it has
    none; it is upright without /Rotate, so that boxes and seals need no turning. The same picture always gives the
    same bytes. Refuses as `open_pages` does, and with document_not_recognised.
    """
    (data,) = blobs
    media_type = sniff(data)
    if media_type not in _PLUGINS:
        raise Refusal("document_not_recognised")
    writer = _PdfWriter(hashlib.sha256(data).hexdigest()[:32])
    pages = 0
    for page in open_pages(data, media_type, max_pages=header["max_pages"], max_pixels=header["max_pixels"]):
        with damaged_if_it_fails():
            scan = _stripped_jpeg(data) if page.jpeg and page.image.mode in ("RGB", "L") else None
            if scan is not None:
                orientation = page.image.getexif().get(_ORIENTATION, 1)
                width, height = page.image.size
                filters = b"/DCTDecode"
                mode = page.image.mode
            else:
                orientation = 1
                seen = page.seen()
                (width, height), mode = seen.size, seen.mode
                scan = _png_data(seen)
                colors = 3 if mode == "RGB" else 1
                filters = f"/FlateDecode /DecodeParms << /Predictor 15 /Colors {colors} /Columns {width} >>".encode()
            writer.add_page(width, height, page.dpi, int(orientation), mode, filters, scan)
        pages += 1
    return {"pages": pages}, [writer.finish()]


def _stripped_jpeg(data: bytes) -> bytes | None:
    """A JPEG without its metadata and without whatever follows its end: only what decoding needs (ITU T.81; APP0 JFIF
    and APP14 Adobe say what the colours mean). None if its structure isn't plain."""
    kept = [b"\xff\xd8"]
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0xD9:
            return b"".join([*kept, b"\xff\xd9"])
        (length,) = struct.unpack_from(">H", data, position + 2)
        end = position + 2 + length
        if marker == 0xDA:  # start of scan: its header, then coded data up to the next marker that isn't stuffed or a restart
            while True:
                end = data.find(b"\xff", end)
                if end < 0 or end + 1 >= len(data):
                    return None
                if data[end + 1] == 0 or 0xD0 <= data[end + 1] <= 0xD7:
                    end += 2
                else:
                    break
        if not (0xE1 <= marker <= 0xED or marker in (0xEF, 0xFE)):
            kept.append(data[position:end])
        position = end
    # The end marker itself may be the last two bytes.
    return b"".join([*kept, b"\xff\xd9"]) if data[position : position + 2] == b"\xff\xd9" else None


def _png_data(image: Image.Image) -> bytes:
    """The picture's rows as PNG compresses them, which PDF can read as they are (Flate with predictor 15)."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    png = buffer.getvalue()
    position, parts = 8, []
    while position < len(png):
        length, kind = struct.unpack_from(">I4s", png, position)
        if kind == b"IDAT":
            parts.append(png[position + 8 : position + 8 + length])
        position += 12 + length
    return b"".join(parts)


# Where a picture's unit square goes on a page of width w and height h, by EXIF orientation: the six numbers of `cm`.
_PLACEMENT: Final = {
    1: "{w} 0 0 {h} 0 0",
    2: "-{w} 0 0 {h} {w} 0",
    3: "-{w} 0 0 -{h} {w} {h}",
    4: "{w} 0 0 -{h} 0 {h}",
    5: "0 -{h} -{w} 0 {w} {h}",
    6: "0 -{h} {w} 0 0 {h}",
    7: "0 {h} {w} 0 0 0",
    8: "0 {h} -{w} 0 {w} 0",
}


class _PdfWriter:
    """The few objects that a PDF of pictures is made of (ISO 32000-1), with a plain cross-reference table."""

    def __init__(self, identifier: str) -> None:
        self._identifier = identifier
        self._objects: list[bytes] = [b"", b""]  # 1 catalogue, 2 page tree: known at the end
        self._pages: list[int] = []

    def _add(self, content: bytes) -> int:
        self._objects.append(content)
        return len(self._objects)

    def add_page(self, width: int, height: int, dpi: float | None, orientation: int, mode: str, filters: bytes, scan: bytes) -> None:
        """One page that is filled by one picture (`width` and `height` as stored, in pixels)."""
        placement = _PLACEMENT.get(orientation, _PLACEMENT[1])
        if orientation in (5, 6, 7, 8):
            seen_width, seen_height = height, width
        else:
            seen_width, seen_height = width, height
        page_width, page_height = page_size(seen_width, seen_height, dpi)
        color_space = "/DeviceRGB" if mode == "RGB" else "/DeviceGray"
        picture = self._add(
            f"<< /Type /XObject /Subtype /Image /Width {width} /Height {height} /ColorSpace {color_space}"
            f" /BitsPerComponent 8 /Length {len(scan)} /Filter ".encode()
            + filters
            + b" >>\nstream\n"
            + scan
            + b"\nendstream"
        )
        drawing = f"q {placement.format(w=page_width, h=page_height)} cm /P Do Q".encode()
        content = self._add(b"<< /Length %d >>\nstream\n%b\nendstream" % (len(drawing), drawing))
        self._pages.append(
            self._add(
                f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {page_width} {page_height}]"
                f" /Resources << /XObject << /P {picture} 0 R >> >> /Contents {content} 0 R >>".encode()
            )
        )

    def finish(self) -> bytes:
        """The whole file."""
        kids = " ".join(f"{number} 0 R" for number in self._pages)
        self._objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
        self._objects[1] = f"<< /Type /Pages /Kids [{kids}] /Count {len(self._pages)} >>".encode()
        output = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
        offsets = []
        for number, content in enumerate(self._objects, 1):
            offsets.append(len(output))
            output += b"%d 0 obj\n" % number + content + b"\nendobj\n"
        start = len(output)
        output += b"xref\n0 %d\n0000000000 65535 f \n" % (len(offsets) + 1)
        output += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
        output += (
            f"trailer\n<< /Size {len(offsets) + 1} /Root 1 0 R /ID [<{self._identifier}> <{self._identifier}>] >>\n"
            f"startxref\n{start}\n%%EOF\n"
        ).encode()
        return bytes(output)


def page_size(width: int, height: int, dpi: float | None) -> tuple[float, float]:
    """Points of a page for a picture of so many pixels: at its resolution if that gives a page between a small card and
    A0, else fitted into A4 in its own direction."""
    if dpi is not None:
        across, down = width * 72 / dpi, height * 72 / dpi
        if 100 <= max(across, down) <= 3370 and min(across, down) >= 20:
            return round(across, 2), round(down, 2)
    short, long = _A4
    paper = (short, long) if height >= width else (long, short)
    scale = min(paper[0] / width, paper[1] / height)
    return round(max(width * scale, 3), 2), round(max(height * scale, 3), 2)


def warm_up() -> None:
    """Called by the fork server: decode and encode one picture of each format, so that everything lazy is loaded."""
    Image.preinit()
    MpoImagePlugin.MpoImageFile  # noqa: B018 - named to say why it is imported: phones write it into JPEG files
    for kind in ("JPEG", "PNG", "TIFF"):
        buffer = io.BytesIO()
        exif = Image.Exif()
        exif[_ORIENTATION] = 6
        Image.new("RGB", (8, 8)).save(buffer, kind, exif=exif, dpi=(200, 200))
        image_to_pdf({"max_pages": 1, "max_pixels": 64}, [buffer.getvalue()])
    for mode in ("1", "P", "LA", "RGBA", "CMYK", "I;16", "F", "YCbCr", "LAB", "HSV"):
        plain(Image.new(mode, (2, 2)))
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "TIFF", compression="tiff_lzw")
    image_to_pdf({"max_pages": 1, "max_pixels": 64}, [buffer.getvalue()])
