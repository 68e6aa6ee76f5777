"""An image upload as a PDF, its picture unaltered, and the proof afterwards that it is.

A JPEG's bytes and a plain PNG's compressed samples are taken over as they are; other images are stored as their decoded
samples without loss. The upload itself is attached to the sealed PDF besides (``AFRelationship`` Source), so that its
hash can be checked for ever; ``same_picture`` compares what the pages show with what the attachment holds.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from PIL import Image, ImageFile

MEDIA_TYPES: Final = ("image/jpeg", "image/png", "image/tiff")
_FORMATS: Final = {"image/jpeg": ("JPEG", "MPO"), "image/png": ("PNG",), "image/tiff": ("TIFF",)}

#: Of one frame; what `services.ocr.parsing` lets in at most, with some room.
MAX_PIXELS: Final = 80_000_000
MAX_FRAMES: Final = 200
#: Dots per inch that are taken at their word; others (and none) count as 150.
_PLAUSIBLE_DPI: Final = (50.0, 1200.0)
_DEFAULT_DPI: Final = 150.0
#: Points; a PDF page may not be larger.
_MAX_SIDE: Final = 14_400.0

# EXIF orientation -> the matrix that puts a unit square upright, as in TIFF 6.0 section 8.
_ORIENTATIONS: Final = {
    1: (1, 0, 0, 1, 0, 0),
    2: (-1, 0, 0, 1, 1, 0),
    3: (-1, 0, 0, -1, 1, 1),
    4: (1, 0, 0, -1, 0, 1),
    5: (0, -1, -1, 0, 1, 1),
    6: (0, -1, 1, 0, 0, 1),
    7: (0, 1, 1, 0, 0, 0),
    8: (0, 1, -1, 0, 1, 0),
}
_ORIENTATION_TAG: Final = 0x0112


class NotAnImage(ValueError):
    """The bytes can't be read as an image of their media type, or exceed a limit."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One page's picture as a PDF stores it."""

    width: int
    height: int
    #: Stream data as it goes into the file, and the dictionary entries that describe it.
    data: bytes
    entries: bytes
    #: Alpha samples, compressed; empty where there are none.
    alpha: bytes
    dpi: tuple[float, float]
    orientation: int


def warm_up() -> None:
    """Loads Pillow's decoders; the sandbox can't import later."""
    Image.init()
    # A file that is cut short is refused, not shown with a grey rest.
    ImageFile.LOAD_TRUNCATED_IMAGES = False


def image_to_pdf(data: bytes, media_type: str) -> bytes:
    """A PDF of one page per frame, upright as EXIF says, each page as large as the picture is at its own resolution.

    Raises:
        NotAnImage: not readable, or a frame of more than 80 million pixels, or more than 200 frames.
    """
    bodies: list[bytes] = [b"", b""]  # catalog and page tree, filled in last
    kids: list[int] = []

    def add(body: bytes) -> int:
        bodies.append(body)
        return len(bodies)

    for frame in frames(data, media_type):
        mask = b""
        if frame.alpha:
            entries = _describe(frame.width, frame.height, 8, b"/DeviceGray", b"/FlateDecode")
            mask = b"/SMask %d 0 R" % add(_stream(entries, frame.alpha))
        picture = add(_stream(frame.entries + mask, frame.data))
        width, height = frame.width * 72 / frame.dpi[0], frame.height * 72 / frame.dpi[1]
        if frame.orientation >= 5:
            width, height = height, width
        shrink = min(1.0, _MAX_SIDE / max(width, height))
        width, height = width * shrink, height * shrink
        a, b, c, d, e, f = _ORIENTATIONS[frame.orientation]
        matrix = (a * width, b * height, c * width, d * height, e * width, f * height)
        content = add(_stream(b"", b"q %.4f %.4f %.4f %.4f %.4f %.4f cm /Im0 Do Q" % matrix))
        resources = b"<</XObject<</Im0 %d 0 R>>>>" % picture
        page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %.4f %.4f]/Resources%s/Contents %d 0 R>>"
        kids.append(add(page % (width, height, resources, content)))
    bodies[0] = b"<</Type/Catalog/Pages 2 0 R>>"
    bodies[1] = b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(kids), b" ".join(b"%d 0 R" % kid for kid in kids))

    out = BytesIO()
    out.write(b"%PDF-1.7\n%\xe4\xba\x91\xe5\xba\x93\n")
    offsets = []
    for number, body in enumerate(bodies, 1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f\r\n" % (len(bodies) + 1))
    out.writelines(b"%010d 00000 n\r\n" % offset for offset in offsets)
    out.write(b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(bodies) + 1, start))
    return out.getvalue()


def frames(data: bytes, media_type: str) -> Iterator[Frame]:
    """The pictures of an upload, in their order."""
    try:
        with Image.open(BytesIO(data), formats=_FORMATS[media_type]) as image:
            # The further frames of an MPO are previews and depth maps of the first.
            count = getattr(image, "n_frames", 1) if media_type == "image/tiff" else 1
            if not 1 <= count <= MAX_FRAMES:
                raise NotAnImage(f"{count} frames")
            for number in range(count):
                if count > 1:
                    image.seek(number)
                if image.width * image.height > MAX_PIXELS:
                    raise NotAnImage(f"{image.width} x {image.height} pixels")
                image.load()
                yield _frame(image, data, media_type)
    except NotAnImage:
        raise
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever they like
        raise NotAnImage(f"{type(error).__name__}") from error


def same_picture(data: bytes, media_type: str, pages: list[bytes]) -> bool:
    """Whether the pages' pictures, as raw stream data, are those of the upload.

    Samples that are the same but compressed by another version of zlib count as the same.
    """
    count = 0
    for count, frame in enumerate(frames(data, media_type), 1):
        if count > len(pages):
            return False
        shown = pages[count - 1]
        if shown == frame.data:
            continue
        samples = None if media_type == "image/jpeg" else _inflate(frame.data)
        if samples is None or samples != _inflate(shown):
            return False
    return count == len(pages)


def _frame(image: Image.Image, data: bytes, media_type: str) -> Frame:
    orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    if orientation not in _ORIENTATIONS:
        orientation = 1
    width, height = image.size
    alpha = b""
    bits = 8
    if media_type == "image/jpeg":
        space = {"L": b"/DeviceGray", "RGB": b"/DeviceRGB", "CMYK": b"/DeviceCMYK"}.get(image.mode)
        if space is None:
            raise NotAnImage(f"JPEG in mode {image.mode}")
        entries = _describe(width, height, 8, space, b"/DCTDecode")
        if image.mode == "CMYK" and "adobe" in image.info:
            entries += b"/Decode[1 0 1 0 1 0 1 0]"  # Adobe writes its CMYK inverted
        stored = data
    elif (taken := _png_samples(data) if media_type == "image/png" else None) is not None:
        stored, entries = taken
    else:
        if image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
            shown = image.convert("RGBA")
            alpha = zlib.compress(shown.getchannel("A").tobytes(), 6)
            plain = shown.convert("RGB")
        elif image.mode in ("1", "L", "RGB", "CMYK"):
            plain = image
        elif image.mode.startswith("I;16") or image.mode == "I":
            plain = image if image.mode == "I;16B" else image.convert("I;16").convert("I;16B")
        else:
            plain = image.convert("RGB")
        bits = {"1": 1, "I;16B": 16}.get(plain.mode, 8)
        space = {"RGB": b"/DeviceRGB", "CMYK": b"/DeviceCMYK"}.get(plain.mode, b"/DeviceGray")
        stored = zlib.compress(plain.tobytes(), 6)
        entries = _describe(width, height, bits, space, b"/FlateDecode")
    return Frame(width, height, stored, entries, alpha, _resolution(image), orientation)


def _png_samples(data: bytes) -> tuple[bytes, bytes] | None:
    """A PNG's compressed samples and their description; None where a PDF can't take them as they are.

    PDF knows PNG's predictors (ISO 32000-2, 7.4.4.4), so grey, RGB and palette pictures without transparency and
    interlacing go over bit by bit.
    """
    position = 8
    parts = []
    palette = b""
    header: tuple[int, ...] = ()
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        body = data[position + 8 : position + 8 + length]
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"PLTE":
            palette = body
        elif kind == b"IDAT":
            parts.append(body)
        elif kind == b"tRNS":
            return None
        elif kind == b"IEND":
            break
        position += length + 12
    if not header or not parts:
        return None
    width, height, bits, kind_of_colour, _, _, interlaced = header
    if interlaced or kind_of_colour not in (0, 2, 3):
        return None
    colours = 3 if kind_of_colour == 2 else 1
    space = {0: b"/DeviceGray", 2: b"/DeviceRGB"}.get(kind_of_colour)
    if space is None:
        space = b"[/Indexed/DeviceRGB %d<%s>]" % (len(palette) // 3 - 1, palette.hex().encode())
    entries = _describe(width, height, bits, space, b"/FlateDecode")
    parameters = b"/DecodeParms<</Predictor 15/Colors %d/BitsPerComponent %d/Columns %d>>" % (colours, bits, width)
    return b"".join(parts), entries + parameters


def _resolution(image: Image.Image) -> tuple[float, float]:
    given: Any = image.info.get("dpi")
    try:
        across, down = float(given[0]), float(given[1])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return _DEFAULT_DPI, _DEFAULT_DPI
    low, high = _PLAUSIBLE_DPI
    if low <= across <= high and low <= down <= high:
        return across, down
    return _DEFAULT_DPI, _DEFAULT_DPI


def _describe(width: int, height: int, bits: int, space: bytes, encoding: bytes) -> bytes:
    entries = b"/Type/XObject/Subtype/Image/Width %d/Height %d/BitsPerComponent %d/ColorSpace%s/Filter%s"
    return entries % (width, height, bits, space, encoding)


def _stream(entries: bytes, data: bytes) -> bytes:
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (entries, len(data), data)


def _inflate(data: bytes) -> bytes | None:
    try:
        return zlib.decompress(data)
    except zlib.error:
        return None
