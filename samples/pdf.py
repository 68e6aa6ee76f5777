"""Two kinds of PDF, written byte for byte by ourselves so that the same seed gives the same file.

`digital` is what an office's software prints: real text with the glyphs that it uses embedded (Type 0 font, Identity-H,
ToUnicode), over a picture of the ornaments. `scan` is what a scanner makes: one JPEG per page and nothing else.
"""

from __future__ import annotations

import io
import logging
import zlib
from collections import OrderedDict

from fontTools import subset
from fontTools.ttLib import TTFont
from PIL import Image

from samples.fonts import Face
from samples.scene import MM_PER_INCH, Picture, Scene, paint

logging.getLogger("fontTools").setLevel(logging.ERROR)  # the Kai face's tables have four spare bytes, which it warns of

POINTS_PER_MM = 72 / MM_PER_INCH
#: resolution (dots per mm) of the ornaments under a born-digital page
GROUND_DOTS = 6.0


class _Writer:
    """Numbered objects, then the file."""

    def __init__(self) -> None:
        self.objects: list[bytes] = []

    def add(self, body: bytes) -> int:
        self.objects.append(body)
        return len(self.objects)

    def stream(self, entries: str, data: bytes, *, compress: bool = True) -> int:
        if compress:
            data, entries = zlib.compress(data, 6), entries + " /Filter /FlateDecode"
        return self.add(f"<< {entries} /Length {len(data)} >>\nstream\n".encode() + data + b"\nendstream")

    def finish(self, pages: list[int], parent: int, title: str) -> bytes:
        kids = " ".join(f"{page} 0 R" for page in pages)
        self.objects[parent - 1] = f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode()
        root = self.add(f"<< /Type /Catalog /Pages {parent} 0 R >>".encode())
        info = self.add(b"<< /Title <feff" + title.encode("utf-16-be").hex().encode() + b"> /Producer (Yunku samples) >>")
        out = io.BytesIO()
        out.write(b"%PDF-1.6\n%\xe2\xe3\xcf\xd3\n")
        offsets = []
        for number, body in enumerate(self.objects, 1):
            offsets.append(out.tell())
            out.write(f"{number} 0 obj\n".encode() + body + b"\nendobj\n")
        start = out.tell()
        out.write(f"xref\n0 {len(offsets) + 1}\n0000000000 65535 f \n".encode())
        out.writelines(f"{offset:010} 00000 n \n".encode() for offset in offsets)
        out.write(f"trailer\n<< /Size {len(offsets) + 1} /Root {root} 0 R /Info {info} 0 R >>\nstartxref\n{start}\n%%EOF\n".encode())
        return out.getvalue()


def scan(images: list[Image.Image], dpi: int, quality: int, title: str) -> bytes:
    """Pages that are pictures, one JPEG each, sized by their resolution."""
    writer = _Writer()
    parent = writer.add(b"")
    pages = []
    for image in images:
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=quality)
        picture = writer.stream(
            f"/Type /XObject /Subtype /Image /Width {image.width} /Height {image.height} "
            "/ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode",
            jpeg.getvalue(),
            compress=False,
        )
        width, height = image.width / dpi * 72, image.height / dpi * 72
        content = writer.stream("", f"q {width:.2f} 0 0 {height:.2f} 0 0 cm /Im0 Do Q".encode())
        pages.append(
            writer.add(
                f"<< /Type /Page /Parent {parent} 0 R /MediaBox [0 0 {width:.2f} {height:.2f}] "
                f"/Resources << /XObject << /Im0 {picture} 0 R >> >> /Contents {content} 0 R >>".encode()
            )
        )
    return writer.finish(pages, parent, title)


def digital(scenes: list[Scene], title: str) -> bytes:
    """Pages of real text over their ornaments, with embedded font subsets."""
    writer = _Writer()
    parent = writer.add(b"")
    faces: OrderedDict[Face, set[str]] = OrderedDict()
    for scene in scenes:
        for run in scene.texts:
            faces.setdefault(run.face, set()).update(run.text)
    fonts = {face: (f"F{index}", *_font(writer, face, sorted(chars))) for index, (face, chars) in enumerate(faces.items())}
    pages = []
    for scene in scenes:
        ground = paint(Scene(scene.width, scene.height, scene.ground), GROUND_DOTS)
        names = {"Bg": _image(writer, ground, None)}
        content = [f"q {scene.width * POINTS_PER_MM:.3f} 0 0 {scene.height * POINTS_PER_MM:.3f} 0 0 cm /Bg Do Q"]
        content += [_place(writer, names, scene, picture) for picture in scene.under]
        for line in scene.lines:
            colour = " ".join(f"{part / 255:.3f}" for part in line.colour)
            ends = [v * POINTS_PER_MM for v in (line.x0, scene.height - line.y0, line.x1, scene.height - line.y1)]
            path = f"{ends[0]:.3f} {ends[1]:.3f} m {ends[2]:.3f} {ends[3]:.3f} l"
            content.append(f"{colour} RG {line.width * POINTS_PER_MM:.3f} w {path} S")
        for run in scene.texts:
            name, codes, _ = fonts[run.face]
            colour = " ".join(f"{part / 255:.3f}" for part in run.colour)
            size = run.size * POINTS_PER_MM
            bold = f"2 Tr {size * 0.036:.3f} w {colour} RG" if run.bold else "0 Tr"
            text = "".join(f"{codes[char]:04x}" for char in run.text)
            content.append(
                f"BT {colour} rg {bold} /{name} {size:.3f} Tf {run.spacing * POINTS_PER_MM:.3f} Tc "
                f"1 0 0 1 {run.x * POINTS_PER_MM:.3f} {(scene.height - run.y) * POINTS_PER_MM:.3f} Tm <{text}> Tj ET"
            )
        content += [_place(writer, names, scene, picture) for picture in scene.over]
        contents = writer.stream("", "\n".join(content).encode())
        font_list = " ".join(f"/{name} {number} 0 R" for name, _, number in fonts.values())
        objects = " ".join(f"/{name} {number} 0 R" for name, number in names.items())
        pages.append(
            writer.add(
                f"<< /Type /Page /Parent {parent} 0 R "
                f"/MediaBox [0 0 {scene.width * POINTS_PER_MM:.3f} {scene.height * POINTS_PER_MM:.3f}] "
                f"/Resources << /Font << {font_list} >> /XObject << {objects} >> >> "
                f"/Contents {contents} 0 R >>".encode()
            )
        )
    return writer.finish(pages, parent, title)


def _place(writer: _Writer, names: dict[str, int], scene: Scene, picture: Picture) -> str:
    name = f"Im{len(names)}"
    names[name] = _image(writer, picture.image.convert("RGB"), picture.image.getchannel("A"))
    width, height = picture.image.width / picture.dots, picture.image.height / picture.dots
    bottom = scene.height - picture.y - height
    values = " ".join(f"{v * POINTS_PER_MM:.3f}" for v in (width, height, picture.x, bottom))
    w, h, x, y = values.split()
    return f"q {w} 0 0 {h} {x} {y} cm /{name} Do Q"


def _image(writer: _Writer, image: Image.Image, mask: Image.Image | None) -> int:
    entries = f"/Type /XObject /Subtype /Image /Width {image.width} /Height {image.height} /BitsPerComponent 8"
    if mask is None:
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=85)
        return writer.stream(f"{entries} /ColorSpace /DeviceRGB /Filter /DCTDecode", jpeg.getvalue(), compress=False)
    alpha = writer.stream(f"{entries} /ColorSpace /DeviceGray", mask.tobytes())
    return writer.stream(f"{entries} /ColorSpace /DeviceRGB /SMask {alpha} 0 R", image.tobytes())


def _font(writer: _Writer, face: Face, chars: list[str]) -> tuple[dict[str, int], int]:
    """Embed the glyphs of some characters; returns character → two-byte code, and the font's object number."""
    font = TTFont(face.path)
    units = font["head"].unitsPerEm
    options = subset.Options(
        layout_features=[],
        name_IDs=[],
        notdef_outline=True,
        hinting=False,
        recalc_timestamp=False,
        drop_tables=["mort", "GSUB", "GPOS", "GDEF", "BASE", "VORG", "vhea", "vmtx", "DSIG", "gasp"],
    )
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=[ord(char) for char in chars])
    cutter.subset(font)
    glyphs = font.getBestCmap()
    cff = "CFF " in font
    order = {name: index for index, name in enumerate(font.getGlyphOrder())}
    # In a CID-keyed CFF the code is the CID, which fontTools keeps in the glyph's name; in TrueType the glyph's index.
    codes = {char: int(glyphs[ord(char)][3:]) if cff else order[glyphs[ord(char)]] for char in chars}
    name = f"YKSMPL+{face.path.stem.replace(' ', '')}"
    if cff:
        program = writer.stream("/Subtype /CIDFontType0C", font.getTableData("CFF "))
    else:
        file = io.BytesIO()
        font.save(file, reorderTables=False)
        program = writer.stream(f"/Length1 {len(file.getvalue())}", file.getvalue())
    head, hhea = font["head"], font["hhea"]
    box = " ".join(str(round(v * 1000 / units)) for v in (head.xMin, head.yMin, head.xMax, head.yMax))
    descriptor = writer.add(
        f"<< /Type /FontDescriptor /FontName /{name} /Flags 4 /FontBBox [{box}] /ItalicAngle 0 "
        f"/Ascent {round(hhea.ascent * 1000 / units)} "
        f"/Descent {round(hhea.descent * 1000 / units)} /CapHeight 700 /StemV 80 "
        f"/FontFile{3 if cff else 2} {program} 0 R >>".encode()
    )
    widths = " ".join(f"{code} [{font['hmtx'][glyphs[ord(char)]][0] * 1000 / units:.1f}]" for char, code in codes.items())
    descendant = writer.add(
        f"<< /Type /Font /Subtype /CIDFontType{0 if cff else 2} /BaseFont /{name} "
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> "
        f"/FontDescriptor {descriptor} 0 R /DW 1000 /W [{widths}]{'' if cff else ' /CIDToGIDMap /Identity'} >>".encode()
    )
    unicode_map = writer.stream("", _to_unicode(codes))
    number = writer.add(
        f"<< /Type /Font /Subtype /Type0 /BaseFont /{name} /Encoding /Identity-H "
        f"/DescendantFonts [{descendant} 0 R] /ToUnicode {unicode_map} 0 R >>".encode()
    )
    return codes, number


def _to_unicode(codes: dict[str, int]) -> bytes:
    rows = [f"<{code:04x}> <{char.encode('utf-16-be').hex()}>" for char, code in codes.items()]
    blocks = [rows[start : start + 100] for start in range(0, len(rows), 100)]  # a block holds at most 100 rows
    body = "\n".join(f"{len(block)} beginbfchar\n" + "\n".join(block) + "\nendbfchar" for block in blocks)
    return (
        "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n"
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n"
        "/CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n"
        "1 begincodespacerange\n<0000> <ffff>\nendcodespacerange\n"
        f"{body}\nendcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n"
    ).encode()
