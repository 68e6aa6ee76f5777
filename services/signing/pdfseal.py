"""endesive 3.0.1, mended: writes the increment that carries a seal, up to a place for the signature.

All that is wrong with the library is put right here and nowhere else, each with a test of its own
(tests/unit/test_signing_pdfseal.py); when upstream mends one, its lines go away:

1. ``import endesive.pdf`` pulls in its verifier, which needs oscrypto, which fails on OpenSSL 3.0.10 and later. The
   verifier must never be used anyway (it accepts revoked certificates), so a module that has nothing stands in its
   place.
2. SubFilter is ``adbe.pkcs7.detached``; PAdES wants ``ETSI.CAdES.detached``.
3. After a file with a cross-reference stream, ``/W`` and ``/Index`` come out as names, which pypdf 6 escapes into
   nonsense; objects of a generation other than 0 are written under generation 0.
4. For ECDSA the CMS names ``rsassa_pkcs1v15`` as its signature algorithm (put right in ``services.signing.cms``).
5. A document may claim any ``/Size``, and a list of that length is made: bounded before.
"""

import struct
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from cryptography import x509
from PIL import Image
from pypdf import generic as po

from services.signing.cms import CMS_ROOM, DIGEST


def _import_endesive() -> Any:
    name = "endesive.pdf.verify"
    if name not in sys.modules:
        stand_in = types.ModuleType(name, "Stands in for endesive's verifier, which must not be used.")
        stand_in.PDFVerifier = stand_in.verify = None  # type: ignore[attr-defined]
        sys.modules[name] = stand_in
    from endesive.pdf import cms

    return cms


endesive_cms: Final = _import_endesive()

#: More objects than this has no document that the register takes.
MAX_OBJECTS: Final = 2_000_000
#: Private keys of the signature dictionary that hold the seal's facts (JSON) and the file of the statement.
FACTS_KEY: Final = "/YUNK_Facts"
STATEMENT_KEY: Final = "/YUNK_Statement"


class NotSealable(ValueError):
    """The document's structure doesn't allow an increment."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file to be embedded; ``relationship`` is its AFRelationship, e.g. ``Data`` or ``Source``."""

    name: str
    media_type: str
    description: str
    relationship: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the seal's image goes: page from 0, rectangle in the page's own coordinates (points, origin bottom
    left)."""

    page: int
    rectangle: tuple[float, float, float, float]


class _Recorder:
    """In place of a key: keeps what endesive wants signed and gives zeros of the length that a signature has."""

    def __init__(self, certificate: x509.Certificate) -> None:
        self._certificate = certificate
        self.to_sign = b""

    def certificate(self) -> tuple[None, x509.Certificate]:
        return None, self._certificate

    def sign(self, _key: None, to_sign: bytes, _hash: str) -> bytes:
        self.to_sign = to_sign
        # Only its place counts; the real one may be shorter or longer, the CMS is written anew.
        return bytes(64)


class SealWriter(endesive_cms.SignedData):  # type: ignore[misc,name-defined]
    """endesive's writer with the mends, and with attachments in the same revision as the signature."""

    def __init__(self, facts: str, attachments: list[Attachment]) -> None:
        super().__init__()
        self._facts = facts
        self._attachments = attachments
        self._generations: dict[int, int] = {}

    def _make_signature(self, Contents: Any = None, Type: Any = None, SubFilter: Any = None) -> Any:
        made, reference = super()._make_signature(Contents, Type, po.NameObject("/ETSI.CAdES.detached"))
        self._signature = made
        return made, reference

    def _makepdf(self, prev: Any, udct: Any, *args: Any, **kwargs: Any) -> None:
        size = prev.trailer["/Size"]
        if not 0 < size <= MAX_OBJECTS:
            raise NotSealable(f"/Size {size}")
        super()._makepdf(prev, udct, *args, **kwargs)
        root = prev.trailer.raw_get("/Root")
        page = prev.pages[udct["sigpage"]].indirect_reference
        form = self._objects[root.idnum - 1].raw_get("/AcroForm")
        for reference in (root, page, form):
            if isinstance(reference, po.IndirectObject) and reference.idnum < size:
                self._generations[reference.idnum] = reference.generation
        self.x_root = po.IndirectObject(root.idnum, root.generation, self)
        self._attach(self._objects[root.idnum - 1])

    def _attach(self, catalog: Any) -> None:
        """Embeds the attachments: in the name tree and as associated files for people and other programs, the first one
        also in the signature dictionary, where no other entry of the document can be mistaken for it."""
        specifications = {item.name: self._file(item) for item in self._attachments}
        self._signature[po.NameObject(FACTS_KEY)] = po.create_string_object(self._facts)
        self._signature[po.NameObject(STATEMENT_KEY)] = next(iter(specifications.values()))

        names = _dictionary(catalog.get("/Names"))
        entries = _name_tree(names.get("/EmbeddedFiles"))
        entries.update({name.encode("ascii"): reference for name, reference in specifications.items()})
        flat = po.ArrayObject()
        for key in sorted(entries):
            flat.extend([po.ByteStringObject(key), entries[key]])
        tree = po.DictionaryObject({po.NameObject("/Names"): flat})
        names[po.NameObject("/EmbeddedFiles")] = self._add_object(tree)
        catalog[po.NameObject("/Names")] = names
        associated = po.ArrayObject(catalog.get("/AF") or [])
        associated.extend(specifications.values())
        catalog[po.NameObject("/AF")] = associated

    def _file(self, item: Attachment) -> Any:
        # Not compressed: what was stated can be read in the signed bytes with the naked eye.
        stream = po.StreamObject()
        stream._data = item.data
        stream.update(
            {
                po.NameObject("/Type"): po.NameObject("/EmbeddedFile"),
                po.NameObject("/Subtype"): po.NameObject("/" + item.media_type),
                po.NameObject("/Params"): po.DictionaryObject({po.NameObject("/Size"): po.NumberObject(len(item.data))}),
            }
        )
        reference = self._add_object(stream)
        files = po.DictionaryObject({po.NameObject("/F"): reference, po.NameObject("/UF"): reference})
        specification = po.DictionaryObject(
            {
                po.NameObject("/Type"): po.NameObject("/Filespec"),
                po.NameObject("/F"): po.create_string_object(item.name),
                po.NameObject("/UF"): po.create_string_object(item.name),
                po.NameObject("/Desc"): po.create_string_object(item.description),
                po.NameObject("/AFRelationship"): po.NameObject("/" + item.relationship),
                po.NameObject("/EF"): files,
            }
        )
        return self._add_object(specification)

    def _write(self, stream: Any, prev: Any, startdata: int) -> None:
        """endesive's ``_write`` with numbers where numbers belong and each object under its own generation."""
        stream.write(b"\r\n")
        entries: dict[int, tuple[int, int]] = {}
        for number, item in enumerate(self._objects, 1):
            if item is None:
                continue
            generation = self._generations.get(number, 0)
            entries[number] = (startdata + stream.tell(), generation)
            stream.write(b"%d %d obj\n" % (number, generation))
            item.write_to_stream(stream)
            stream.write(b"\nendobj\n")
        location = startdata + stream.tell()
        as_stream = endesive_cms._prev_uses_xref_stream(prev)
        if as_stream:
            entries[len(self._objects) + 1] = (location, 0)
        trailer: Any = po.StreamObject() if as_stream else po.DictionaryObject()
        trailer.update(
            {
                po.NameObject("/Size"): po.NumberObject(len(self._objects) + 1 + as_stream),
                po.NameObject("/Root"): self.x_root,
                po.NameObject("/Prev"): po.NumberObject(prev._startxref),
                po.NameObject("/ID"): self._ID,
            }
        )
        if isinstance(prev.trailer.get("/Info"), po.DictionaryObject):
            trailer[po.NameObject("/Info")] = prev.trailer.raw_get("/Info")
        sections = _sections(entries)
        if as_stream:
            index = [number for first, count in sections for number in (first, count)]
            ordered = [entries[number] for number in sorted(entries)]
            trailer._data = b"".join(b"\x01" + struct.pack(">QH", offset, generation) for offset, generation in ordered)
            trailer.update(
                {
                    po.NameObject("/Type"): po.NameObject("/XRef"),
                    po.NameObject("/W"): po.ArrayObject(map(po.NumberObject, (1, 8, 2))),
                    po.NameObject("/Index"): po.ArrayObject(map(po.NumberObject, index)),
                }
            )
            stream.write(b"%d 0 obj\n" % (len(self._objects) + 1))
            trailer.write_to_stream(stream)
            stream.write(b"\nendobj")
        else:
            stream.write(b"xref\n")
            for first, count in sections:
                stream.write(b"%d %d\n" % (first, count))
                stream.writelines(b"%010d %05d n\r\n" % entries[number] for number in range(first, first + count))
            stream.write(b"trailer\n")
            trailer.write_to_stream(stream)
        stream.write(b"\nstartxref\n%d\n%%%%EOF\n" % location)


def write_increment(
    document: bytes,
    chain: list[x509.Certificate],
    seal_image: Image.Image,
    placement: Placement,
    *,
    facts: str,
    attachments: list[Attachment],
    field: str,
    name: str,
    signing_date: str,
    revision_id: str,
) -> tuple[bytes, bytes]:
    """The increment that seals ``document`` (a PDF) for the holder of ``chain[0]``, with zeros for a signature, and
    what is to be signed (the CMS's signed attributes, DER).

    ``facts`` is ASCII; ``attachments[0]`` is the statement; ``signing_date`` a PDF date; ``seal_image`` a PIL image in
    RGBA; ``revision_id`` goes into the file's ID. Any exception means that the document can't be sealed as it is.
    """
    encoded = BytesIO()
    seal_image.save(encoded, "PNG")
    seal = Image.open(encoded)  # endesive takes a picture that was opened from a file, and nothing else
    options = {
        "aligned": CMS_ROOM,
        "sigflags": 3,
        "sigpage": placement.page,
        "sigfield": field,
        "auto_sigfield": True,
        "signaturebox": placement.rectangle,
        "signature_img": seal,
        "signature_img_distort": False,
        "signature_img_centred": True,
        "name": name,
        "signingdate": signing_date,
        "newid": revision_id,
        "application": "Yunku",
    }
    recorder = _Recorder(chain[0])
    writer = SealWriter(facts, attachments)
    increment: bytes = writer.sign(document, options, None, chain[0], chain[1:], DIGEST, recorder)
    return increment, recorder.to_sign


def _sections(entries: Mapping[int, tuple[int, int]]) -> list[tuple[int, int]]:
    """Runs of successive object numbers as (first, count)."""
    runs: list[tuple[int, int]] = []
    for number in sorted(entries):
        if runs and runs[-1][0] + runs[-1][1] == number:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs


def _dictionary(value: Any) -> Any:
    """A copy of a dictionary of the document, or an empty one."""
    resolved = value.get_object() if value is not None else None
    return po.DictionaryObject(resolved) if isinstance(resolved, po.DictionaryObject) else po.DictionaryObject()


def _name_tree(node: Any, depth: int = 0) -> dict[bytes, Any]:
    """The entries of a name tree, bounded in depth and number; what is malformed is left out."""
    entries: dict[bytes, Any] = {}
    node = node.get_object() if node is not None else None
    if not isinstance(node, po.DictionaryObject) or depth > 16:
        return entries
    pairs = node.get("/Names") or []
    for key, value in zip(pairs[::2], pairs[1::2], strict=False):
        original = getattr(key.get_object(), "original_bytes", None)
        if original is not None:
            entries[bytes(original)] = value
    for kid in node.get("/Kids") or []:
        entries.update(_name_tree(kid, depth + 1))
        if len(entries) > 10_000:
            raise NotSealable("too many embedded files")
    return entries
