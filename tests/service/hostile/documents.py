"""Documents made by hand for the tests: plain ones, and ones made to break whoever reads them.

Built from bytes rather than with a PDF library, because no library makes what an attacker makes.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

from PIL import Image


def pdf(objects: Sequence[bytes], *, root: int = 1, trailer: bytes = b"", xref_shift: int = 0) -> bytes:
    """A PDF of the given objects, numbered from 1. `xref_shift` falsifies the table's offsets."""
    output = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(output))
        output += b"%d 0 obj\n" % number + content + b"\nendobj\n"
    start = len(output)
    output += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    output += b"".join(b"%010d 00000 n \n" % (offset + xref_shift) for offset in offsets)
    output += b"trailer\n<< /Size %d /Root %d 0 R %b >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        root,
        trailer,
        start + xref_shift,
    )
    return bytes(output)


def stream(data: bytes, *, compress: bool = False, entries: bytes = b"") -> bytes:
    """A stream object."""
    if compress:
        data = zlib.compress(data, 9)
        entries += b" /Filter /FlateDecode"
    return b"<< /Length %d %b >>\nstream\n%b\nendstream" % (len(data), entries, data)


def page_pdf(
    drawing: bytes,
    *,
    media_box: str = "0 0 595 842",
    page_entries: bytes = b"",
    resources: bytes = b"/Font << /F1 5 0 R >>",
    compress: bool = False,
    more: Sequence[bytes] = (),
    trailer: bytes = b"",
    xref_shift: int = 0,
) -> bytes:
    """A PDF of one page with the given content stream; /F1 is Helvetica, `more` are objects from number 6 on."""
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [%b] /Contents 4 0 R /Resources << %b >> %b >>"
            % (media_box.encode(), resources, page_entries),
            stream(drawing, compress=compress),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            *more,
        ],
        trailer=trailer,
        xref_shift=xref_shift,
    )


LINE = b"BT /F1 24 Tf 100 700 Td (Certificate of safe production 2026) Tj ET"


def text_pdf(**options: object) -> bytes:
    """One A4 page with a line of text 100 points from the left, 700 from the bottom."""
    return page_pdf(LINE, **options)  # type: ignore[arg-type]


def image(kind: str, mode: str = "RGB", size: tuple[int, int] = (40, 30), **options: object) -> bytes:
    """A picture whose left upper quarter is dark and the rest light."""
    picture = Image.new("L", size, 230)
    picture.paste(20, (0, 0, size[0] // 2, size[1] // 2))
    converted = Image.new("I;16", size) if mode == "I;16" else picture.convert(mode, dither=Image.Dither.NONE)
    if mode == "I;16":
        converted.putdata([value * 257 for value in picture.tobytes()])
    buffer = io.BytesIO()
    converted.save(buffer, kind, **options)
    return buffer.getvalue()


def xref_stream_pdf() -> bytes:
    """A PDF 1.5 with objects in an object stream and the cross-reference table in a stream, as today's writers make
    it."""
    inner = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
    ]
    numbers, position = [], 0
    for number, content in enumerate(inner, 1):
        numbers.append(b"%d %d" % (number, position))
        position += len(content) + 1
    index = b" ".join(numbers) + b" "
    packed = stream(index + b" ".join(inner), compress=True, entries=b"/Type /ObjStm /N %d /First %d" % (len(inner), len(index)))
    output = bytearray(b"%PDF-1.5\n")
    offsets = {}
    for number, content in ((4, stream(LINE)), (5, packed)):
        offsets[number] = len(output)
        output += b"%d 0 obj\n" % number + content + b"\nendobj\n"
    start = len(output)
    rows = [(0, 0, 255), (2, 5, 0), (2, 5, 1), (2, 5, 2), (1, offsets[4], 0), (1, offsets[5], 0), (1, start, 0)]
    table = b"".join(struct.pack(">BHB", *row) for row in rows)
    output += b"6 0 obj\n"
    output += stream(table, compress=True, entries=b"/Type /XRef /Size 7 /W [1 2 1] /Root 1 0 R")
    output += b"\nendobj\nstartxref\n%d\n%%%%EOF\n" % start
    return bytes(output)


def updated_pdf() -> bytes:
    """A PDF with an incremental update, as a signed one is: the page object replaced, the old table chained by
    /Prev."""
    original = text_pdf()
    previous = int(original.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    output = bytearray(original)
    offset = len(output)
    output += b"3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
    output += b" /Resources << /Font << /F1 5 0 R >> >> /Lang (zh) >>\nendobj\n"
    start = len(output)
    output += b"xref\n3 1\n%010d 00000 n \ntrailer\n<< /Size 6 /Root 1 0 R /Prev %d >>\n" % (offset, previous)
    output += b"startxref\n%d\n%%%%EOF\n" % start
    return bytes(output)


# -- hostile PDFs ----------------------------------------------------------------------------------------------------


def million_glyphs() -> bytes:
    """A few kilobytes that draw a million characters; pdfplumber alone works on them for more than 40 s."""
    return page_pdf(b"BT /F1 1 Tf 1 0 0 1 10 10 Tm " + b"(%b) Tj " % (b"A" * 1000) * 1000 + b"ET", compress=True)


def nested_million_glyphs() -> bytes:
    """The same through forms that draw forms: three kilobytes uncompressed, ten to the seventh characters."""
    resources = b"/Resources << /Font << /F1 5 0 R >> /XObject << /X %d 0 R >> >>"
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 595 842] "
    levels = [stream(b"/X Do " * 10, entries=form + resources % (number + 1)) for number in range(6, 12)]
    last = stream(b"BT /F1 1 Tf (AAAAAAAAAA) Tj ET", entries=form + b"/Resources << /Font << /F1 5 0 R >> >>")
    return page_pdf(b"/X Do", resources=b"/XObject << /X 6 0 R >>", more=[*levels, last])


def many_pages(count: int = 100_000) -> bytes:
    """One page named `count` times by a flat tree; opening all of them takes pdfplumber most of a minute."""
    kids = b"3 0 R " * count
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [%b] /Count %d >>" % (kids, count),
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>",
        ]
    )


def inflating_stream(size: int = 400_000_000) -> bytes:
    """A page whose content inflates to `size` bytes, compressed twice so that little is left of it."""
    compressor = zlib.compressobj(9)
    block = b" " * 1_000_000
    once = b"".join(compressor.compress(block) for _ in range(size // len(block))) + compressor.flush()
    twice = zlib.compress(once, 9)
    content = b"<< /Length %d /Filter [/FlateDecode /FlateDecode] >>\nstream\n%b\nendstream" % (len(twice), twice)
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R >>",
            content,
        ]
    )


def recursive_form() -> bytes:
    """A page's content that is also a form and draws itself twice: 565 bytes on which pdfium eats memory until it
    aborts."""
    entries = b"/Type /XObject /Subtype /Form /BBox [0 0 595 842] /Resources << /XObject << /X 4 0 R >> >>"
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /XObject << /X 4 0 R >> >> /Contents 4 0 R >>",
            stream(b"/X Do /X Do", entries=entries),
        ]
    )


def recursive_mask() -> bytes:
    """A soft mask that needs itself twice: drawing it takes time without end."""
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 595 842] /Group << /S /Transparency /CS /DeviceGray >>"
    return page_pdf(
        b"/G gs 0 0 500 500 re f",
        resources=b"/ExtGState << /G 6 0 R >>",
        more=[
            b"<< /SMask << /S /Luminosity /G 7 0 R >> >>",
            stream(b"/G gs 0 0 500 500 re f 0 0 500 500 re f", entries=form + b" /Resources << /ExtGState << /G 6 0 R >> >>"),
        ],
    )


def deep_arrays(depth: int = 200_000) -> bytes:
    """Brackets within brackets, which a recursive reader follows to the end of its stack."""
    return page_pdf(b"[" * depth + b"]" * depth + b" TJ")


def deep_page_tree(depth: int = 3_000) -> bytes:
    """A page at the bottom of a chain of nodes."""
    nodes = [
        b"<< /Type /Pages /Kids [%d 0 R] /Count 1 %b >>" % (number + 1, b"/Parent %d 0 R" % (number - 1) if number > 2 else b"")
        for number in range(2, depth + 2)
    ]
    last = b"<< /Type /Page /Parent %d 0 R /MediaBox [0 0 595 842] >>" % (depth + 1)
    return pdf([b"<< /Type /Catalog /Pages 2 0 R >>", *nodes, last])


def huge_image_in_pdf(side: int = 50_000) -> bytes:
    """A page with a picture of side x side pixels: 7.5 GB once unpacked, of which the file holds nothing."""
    picture = stream(
        zlib.compress(bytes(1000)),
        entries=b"/Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceRGB /BitsPerComponent 8"
        b" /Filter /FlateDecode" % (side, side),
    )
    return page_pdf(b"q 595 0 0 842 0 0 cm /X Do Q", resources=b"/XObject << /X 6 0 R >>", more=[picture])


def encrypted_pdf(*, user_password: str = "") -> bytes:
    """A PDF under a password; the empty one opens without being asked for."""
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter()
    writer.append(PdfReader(io.BytesIO(text_pdf())))
    writer.encrypt(user_password=user_password, owner_password="owner", algorithm="AES-256")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


# -- hostile pictures ------------------------------------------------------------------------------------------------


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """A PNG that says it is enormous, and is: its data really inflates to the rows of a black picture."""
    compressor = zlib.compressobj(9)
    row = bytes(width // 8 + 1 + 1)
    data = b"".join(compressor.compress(row) for _ in range(height)) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def tiff_loop() -> bytes:
    """A TIFF whose second directory names the first as its next."""
    buffer = io.BytesIO()
    frames = [Image.new("L", (8, 8), shade) for shade in (10, 200)]
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:])
    data = bytearray(buffer.getvalue())
    first = struct.unpack_from("<I", data, 4)[0]
    second_at = first + 2 + 12 * struct.unpack_from("<H", data, first)[0]
    second = struct.unpack_from("<I", data, second_at)[0]
    end = second + 2 + 12 * struct.unpack_from("<H", data, second)[0]
    struct.pack_into("<I", data, end, first)
    return bytes(data)


def many_page_tiff(count: int) -> bytes:
    """A TIFF of `count` small pages."""
    buffer = io.BytesIO()
    frames = [Image.new("1", (8, 8)) for _ in range(count)]
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


# -- what is several things at once ----------------------------------------------------------------------------------


def polyglots() -> dict[str, bytes]:
    """Files that one reader takes for a PDF and another for something else."""
    whole = text_pdf()
    return {
        "gif": b"GIF89a\x01\x00\x01\x00\x00\x00\x00!\xfe\xff" + whole,
        "zip": b"PK\x03\x04" + bytes(26) + whole,
        "html": b"<html><script>alert(1)</script>" + whole,
        "blank": b"\n\n" + whole,
    }
