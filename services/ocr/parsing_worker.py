"""The operations on uploaded documents that run inside the sandbox (`kernel.sandbox`). Not for import by the service:
`services.ocr.parsing` is its side, and says what each operation takes and gives.

Every function refuses with the document_* codes of `kernel.errors`. Limits come in the header, chosen by the service.
Pages are counted from 1. What is measured is the page as seen: /Rotate or the EXIF orientation applied, cut to the
crop box.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pdfplumber
import pypdfium2 as pdfium
from pdfminer.cmapdb import CMapDB
from PIL import Image
from pypdfium2 import raw

from kernel.sandbox import Refusal, images
from kernel.sandbox.formats import PDF, sniff
from kernel.sandbox.images import damaged_if_it_fails, open_pages
from services.ocr import parsing_fonts

Result = tuple[dict[str, Any], list[bytes]]

_INVISIBLE: Final = 3
"""Text render mode of text that is there to be found, not seen (ISO 32000-1, 9.3.6): scanners lay it over their
pictures."""
_SAMPLE: Final = 2000
"""Characters looked at to tell whether a page has text that is seen."""
_BORN_DIGITAL: Final = 20
"""Visible characters on one page that make a PDF born-digital: more than a stamped page number or a scanner's line."""
_MIN_SIDE: Final = 3.0
"""Points; a page with a shorter side shows nothing."""
_UNMAPPED: Final = "\N{REPLACEMENT CHARACTER}"
# Encodings of Chinese fonts that a PDF names but doesn't explain. pdfminer reads each from its files, which a worker
# can't do.
_CMAPS: Final = ("GB-EUC-H", "GBpc-EUC-H", "GBK-EUC-H", "GBKp-EUC-H", "GBK2K-H", "UniGB-UCS2-H", "UniGB-UTF16-H")


# -- inspect ---------------------------------------------------------------------------------------------------------


def inspect(header: dict[str, Any], blobs: list[bytes]) -> Result:
    """Header: max_bytes, max_pages, max_page_side (points), max_pixels (an image's page), max_characters (a page).
    Result: {"media_type", "born_digital", "pages": [{"width", "height", "rotation", "dpi", "characters"}]}."""
    (data,) = blobs
    if not data:
        raise Refusal("document_empty")
    if len(data) > header["max_bytes"]:
        raise Refusal("document_too_large", max=header["max_bytes"])
    media_type = sniff(data)
    if media_type is None:
        raise Refusal("document_not_recognised")
    pages = list(_inspect_pdf(header, data) if media_type == PDF else _inspect_image(header, data, media_type))
    born_digital = any(page["characters"] >= _BORN_DIGITAL for page in pages)
    return {"media_type": media_type, "born_digital": born_digital, "pages": pages}, []


def _inspect_image(header: dict[str, Any], data: bytes, media_type: str) -> Iterator[dict[str, Any]]:
    """Decodes every page, since a header tells nothing of what follows it."""
    for page in open_pages(data, media_type, max_pages=header["max_pages"], max_pixels=header["max_pixels"]):
        with damaged_if_it_fails():
            width, height = page.image.size
            if media_type != "image/tiff" and page.rotation in (90, 270):
                width, height = height, width
        yield {"width": width, "height": height, "rotation": page.rotation, "dpi": page.dpi, "characters": 0}


def _inspect_pdf(header: dict[str, Any], data: bytes) -> Iterator[dict[str, Any]]:
    """Cheap refusals first: pages are counted and measured before any is loaded."""
    with _open_pdf(data, header["max_pages"]) as document:
        sizes = [_page_size(document, index, header["max_page_side"]) for index in range(len(document))]
        for index, (width, height) in enumerate(sizes):
            with damaged_if_it_fails():
                page = document[index]
                rotation = page.get_rotation()
                characters = _visible_characters(page, header["max_characters"])
                page.close()
            yield {"width": width, "height": height, "rotation": rotation, "dpi": None, "characters": characters}


@contextmanager
def _open_pdf(data: bytes, max_pages: int) -> Iterator[pdfium.PdfDocument]:
    """A PDF that is whole, not encrypted (not even with an empty password: it couldn't be sealed) and not too long."""
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        protected = error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY)
        raise Refusal("document_encrypted" if protected else "document_damaged") from error
    try:
        if raw.FPDF_GetSecurityHandlerRevision(document) != -1:
            raise Refusal("document_encrypted")
        # pdfium mends a broken cross-reference table by guessing; another reader guesses otherwise, and a seal on it
        # is void.
        if not raw.FPDF_DocumentHasValidCrossReferenceTable(document):
            raise Refusal("document_damaged")
        count = len(document)
        if count < 1:
            raise Refusal("document_empty")
        if count > max_pages:
            raise Refusal("document_too_many_pages", max=max_pages)
        yield document
    finally:
        document.close()


def _page_size(document: pdfium.PdfDocument, index: int, max_side: float) -> tuple[float, float]:
    """Width and height in points as seen, without loading the page."""
    size = raw.FS_SIZEF()
    if not raw.FPDF_GetPageSizeByIndexF(document, index, size):
        raise Refusal("document_damaged")
    width, height = size.width, size.height
    if not (math.isfinite(width) and math.isfinite(height)) or min(width, height) < _MIN_SIDE:
        raise Refusal("document_damaged")
    if max(width, height) > max_side:
        raise Refusal("document_page_too_large", max=max_side, page=index + 1)
    return round(width, 3), round(height, 3)


def _visible_characters(page: pdfium.PdfPage, limit: int) -> int:
    """How many characters of the text layer are drawn and have a meaning (of the first `_SAMPLE`). A page of more
    than `limit` is refused: it isn't a certificate, and reading it takes minutes."""
    text = page.get_textpage()
    count = raw.FPDFText_CountChars(text)
    if count > limit:
        raise Refusal("document_too_complex")
    visible = 0
    for index in range(min(count, _SAMPLE)):
        code = raw.FPDFText_GetUnicode(text, index)
        if code <= 0x20 or code in (0xA0, 0xFFFD, 0xFFFE, 0xFFFF):
            continue
        holder = raw.FPDFText_GetTextObject(text, index)
        if holder and raw.FPDFTextObj_GetTextRenderMode(holder) != _INVISIBLE:
            visible += 1
    text.close()
    return visible


# -- render ----------------------------------------------------------------------------------------------------------


def render(header: dict[str, Any], blobs: list[bytes]) -> Result:
    """Header: first, last (pages), dpi (PDF), max_pixels (a page of the result; larger ones are scaled down),
    max_pages, max_source_pixels. Result: {"pages": [{"number", "width", "height", "dpi"}]}, a blob of RGB bytes
    each."""
    (data,) = blobs
    media_type = sniff(data)
    if media_type is None:
        raise Refusal("document_not_recognised")
    rendered = _render_pdf(header, data) if media_type == PDF else _render_image(header, data, media_type)
    described, pixels = [], []
    for description, blob in rendered:
        described.append(description)
        pixels.append(blob)
    return {"pages": described}, pixels


def _render_pdf(header: dict[str, Any], data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    with _open_pdf(data, header["max_pages"]) as document, damaged_if_it_fails():
        for number in range(header["first"], header["last"] + 1):
            page = document[number - 1]
            width, height = page.get_size()
            scale = min(header["dpi"] / 72, math.sqrt(header["max_pixels"] / (math.ceil(width) * math.ceil(height))))
            bitmap = page.render(scale=scale, rev_byteorder=True, fill_color=(255, 255, 255, 255))
            image = bitmap.to_pil().convert("RGB")
            dpi = round(scale * 72, 2)
            yield {"number": number, "width": image.width, "height": image.height, "dpi": dpi}, image.tobytes()
            bitmap.close()
            page.close()


def _render_image(header: dict[str, Any], data: bytes, media_type: str) -> Iterator[tuple[dict[str, Any], bytes]]:
    first, last, max_pixels = header["first"], header["last"], header["max_pixels"]
    pages = open_pages(data, media_type, max_pages=header["max_pages"], max_pixels=header["max_source_pixels"])
    for number, page in enumerate(pages, 1):
        if number < first:
            continue
        if number > last:
            return
        with damaged_if_it_fails():
            image = page.seen()
            dpi = page.dpi
            if image.width * image.height > max_pixels:
                scale = math.sqrt(max_pixels / (image.width * image.height))
                size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
                image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
                dpi = None if dpi is None else round(dpi * scale, 2)
            image = image.convert("RGB")
        yield {"number": number, "width": image.width, "height": image.height, "dpi": dpi}, image.tobytes()


# -- text ------------------------------------------------------------------------------------------------------------


def text(header: dict[str, Any], blobs: list[bytes]) -> Result:
    """Header: page, max_pages, max_characters. Result: {"characters": [[text, x0, y0, x1, y1], …]} in the order of the
    document, boxes as fractions of the page as seen, origin top left. A character without meaning is U+FFFD; one whose
    centre lies off the page isn't seen and is left out. A picture has none."""
    (data,) = blobs
    if sniff(data) != PDF:
        return {"characters": []}, []
    index = header["page"] - 1
    with _open_pdf(data, header["max_pages"]) as document, damaged_if_it_fails():
        page = document[index]
        _visible_characters(page, header["max_characters"])
        width, height = page.get_size()
        page.close()
    with damaged_if_it_fails(), pdfplumber.open(io.BytesIO(data), pages=[header["page"]]) as pdf:
        plumbed = pdf.pages[0]
        # pdfminer takes the first corner for the lower left one; a file may begin with any.
        plumbed.page_obj.mediabox = _ordered(plumbed.page_obj.mediabox)
        left, top, seen_width, seen_height = _seen_window(plumbed)
        if abs(seen_width - width) > 1 or abs(seen_height - height) > 1:
            # Two readers see two pages: text can't be laid over the picture.
            return {"characters": []}, []
        characters = []
        for glyph in plumbed.dedupe_chars(tolerance=1).chars:  # a bold face is often the same glyph printed twice
            box = (
                (glyph["x0"] - left) / seen_width,
                (glyph["top"] - top) / seen_height,
                (glyph["x1"] - left) / seen_width,
                (glyph["bottom"] - top) / seen_height,
            )
            if not (0 <= (box[0] + box[2]) / 2 <= 1 and 0 <= (box[1] + box[3]) / 2 <= 1):
                continue
            characters.append([_meaning(glyph["text"]), *(round(min(max(side, 0.0), 1.0), 5) for side in box)])
            if len(characters) > header["max_characters"]:
                raise Refusal("document_too_complex")
    return {"characters": characters}, []


def _seen_window(page: Any) -> tuple[float, float, float, float]:
    """Left, top, width, height of what is seen, in pdfplumber's coordinates. It measures from the top left of the
    turned media box and leaves the crop box out of account; pdfium shows the crop box as far as it lies in the media
    box."""
    mx0, my0, mx1, my1 = _ordered(page.page_obj.mediabox)
    cx0, cy0, cx1, cy1 = _ordered(page.page_obj.cropbox)
    cx0, cy0, cx1, cy1 = max(cx0, mx0), max(cy0, my0), min(cx1, mx1), min(cy1, my1)
    if cx0 >= cx1 or cy0 >= cy1:
        cx0, cy0, cx1, cy1 = mx0, my0, mx1, my1
    width, height = cx1 - cx0, cy1 - cy0
    match page.rotation:
        case 90:
            inset = (cy0 - my0, cx0 - mx0, height, width)
        case 180:
            inset = (mx1 - cx1, cy0 - my0, width, height)
        case 270:
            inset = (my1 - cy1, mx1 - cx1, height, width)
        case _:
            inset = (cx0 - mx0, my1 - cy1, width, height)
    origin_x, origin_top = page.mediabox[0], page.mediabox[1]
    return origin_x + inset[0], origin_top + inset[1], inset[2], inset[3]


def _ordered(box: Any) -> tuple[float, float, float, float]:
    """A rectangle's corners, lower left first; any two opposite ones are allowed in a file."""
    x0, y0, x1, y1 = (float(side) for side in box)
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _meaning(glyph: str) -> str:
    """A glyph's text: pdfminer writes (cid:123) where the font doesn't say."""
    if glyph.startswith("(cid:") or not glyph or len(glyph) > 8:
        return _UNMAPPED
    return glyph.replace("\0", _UNMAPPED)


# -- start -----------------------------------------------------------------------------------------------------------


def warm_up() -> None:
    """Called by the fork server: go once through everything, so that nothing is left to be imported or initialised."""
    images.warm_up()
    for name in _CMAPS:
        CMapDB.get_cmap(name)
    CMapDB.get_unicode_map("Adobe-GB1")
    limits = {
        "max_bytes": 1 << 20, "max_pages": 1, "max_page_side": 3400, "max_pixels": 1 << 20, "max_characters": 1000,
        "first": 1, "last": 1, "page": 1, "dpi": 72, "max_source_pixels": 1 << 20,
    }  # fmt: skip
    sample = _sample()
    inspect(limits, [sample])
    render(limits, [sample])
    text(limits, [sample])
    parsing_fonts.install()  # last, so that the fork server itself never reads the font's 20 MB


def _sample() -> bytes:
    """A small PDF with a line in one of the standard fonts and one in a Chinese font that isn't embedded."""
    drawing = b"BT /F1 12 Tf 20 60 Td (Yunku) Tj ET BT /F2 12 Tf 20 20 Td <4E914E93> Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /Contents 4 0 R /Resources << /Font << /F1 5 0 R /F2 6 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(drawing), drawing),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UCS2-H /DescendantFonts [7 0 R] >>",
        b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /DW 1000"
        b" /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 2 >> /FontDescriptor 8 0 R >>",
        b"<< /Type /FontDescriptor /FontName /STSong-Light /Flags 6 /FontBBox [0 0 1000 1000] /ItalicAngle 0"
        b" /Ascent 859 /Descent -140 /CapHeight 700 /StemV 80 >>",
    ]
    output = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(output))
        output += b"%d 0 obj\n" % number + content + b"\nendobj\n"
    start = len(output)
    output += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    output += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    output += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(output)
