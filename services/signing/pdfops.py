"""The operations that read a document: they run in the sandbox, one process per job, without files or network.

``prepare`` makes the sealed PDF up to the signature; ``validate`` judges a finished one. Both take and give a JSON
header and byte blobs (``kernel.sandbox``). What they return is checked again by the service
(``services.signing.adapters``), since a process that reads hostile files is not to be believed.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from io import BytesIO
from typing import Any, Final

import pyhanko.pdf_utils.crypt
import pyhanko.sign.validation
from asn1crypto import cms as asn1_cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image
from pyhanko.pdf_utils import generic as hanko
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko.sign.validation.status import SignatureCoverageLevel
from pypdf import PdfReader

from kernel import pki
from kernel.sandbox.errors import Refusal
from services.signing import cms as cms_parts
from services.signing import pdfcopy, pdfimages, pdfseal
from services.signing.pdfseal import Attachment, Placement

Header = dict[str, Any]
Result = tuple[Header, list[bytes]]

PDF: Final = "application/pdf"
FIELD_NAME: Final = "YunkuSeal"
STATEMENT_NAME: Final = "yunku-statement.json"
#: Edge of the seal's image on the page, in points: 42 mm, as company seals have (GB/T 9704 leaves 42 mm for it).
SEAL_POINTS: Final = 119.0
#: Distance of the default place from the page's edges, points.
_MARGIN: Final = 36.0
_MIN_SEAL_POINTS: Final = 20.0
_BEIJING: Final = timezone(timedelta(hours=8))

DAMAGED: Final = "document_damaged"
ENCRYPTED: Final = "document_encrypted"
PAGE_UNKNOWN: Final = "page_unknown"
BOX_OUTSIDE: Final = "box_outside_page"


def warm_up() -> None:
    """Loads what the libraries would load at first use, by sealing and judging a small picture; called before the
    sandbox closes the file system."""
    pdfimages.warm_up()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(pki.ORGANIZATION_IDENTIFIER, "91210102MA0YK0007G")])
    at = datetime.now(_BEIJING)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(at - timedelta(days=1)).not_valid_after(at + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    picture = BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    document = {"sha256": hashlib.sha256(picture.getvalue()).hexdigest(), "media_type": "image/png"}
    about = {"certificate_id": "", "version": 1}
    holder = {"uscc": "91210102MA0YK0007G"}
    statement = json.dumps({**about, "holder": holder, "document_sha256": document["sha256"]}).encode()
    facts = {
        **about,
        "subject": holder,
        "certificate_fingerprint": certificate.fingerprint(hashes.SHA256()).hex(),
        "statement_sha256": hashlib.sha256(statement).hexdigest(),
        "document": document,
    }
    header: Header = {
        "media_type": "image/png",
        "facts": json.dumps(facts),
        "seal_page": 0,
        "seal_box": None,
        "signer_name": "",
        "at": at.isoformat(),
        "preparation_id": "",
        "source_name": "source.png",
    }
    made, (sealed, to_sign, cms) = prepare(header, [picture.getvalue(), statement, bytes(400), pem])
    signed = cms_parts.patch_cms(cms, key.sign(to_sign, ec.ECDSA(hashes.SHA256()))).hex().encode()
    start = made["byte_range"][1] + 1
    sealed = sealed[:start] + signed + sealed[start + len(signed) :]
    judged, _ = validate({"at": at.isoformat()}, [sealed, pem, b""])
    if not judged["valid"]:
        raise RuntimeError(f"sealing doesn't work here: {judged['reason']}")
    pdfcopy.same_pages(sealed, pdfcopy.copy_pages(sealed))


# -- prepare ---------------------------------------------------------------------------------------------------------


def prepare(header: Header, blobs: list[bytes]) -> Result:
    """Makes the PDF that a company is to sign.

    Header: ``media_type``; ``facts`` (ASCII JSON, stored in the signature dictionary); ``seal_page`` (from 1, 0 for the
    last) and ``seal_box`` (fractions of the page as seen, origin top left; null for bottom right); ``signer_name``;
    ``at`` (RFC 3339); ``preparation_id``; ``source_name`` (of an image upload).
    Blobs: document, statement, seal image (RGBA samples, square), signer's chain (PEM).

    Returns a header with ``kept`` (bytes of the document that stand unaltered before the returned bytes: all of a PDF,
    none of an image), ``byte_range`` (four numbers, ISO 32000-2 12.8.1) and ``pages``; blobs: what follows, the signed
    attributes to be signed, the CMS with zeros for a signature.

    Refuses: ``document_encrypted``, ``document_damaged``, ``page_unknown``, ``box_outside_page``.
    """
    document, statement, seal_samples, chain_pem = blobs
    attachments = [Attachment(STATEMENT_NAME, "application/json", "What the company stated and sealed", "Data", statement)]
    base = _base(document, header["media_type"])
    kept = len(document) if base is document else 0
    if not kept:
        source = Attachment(header["source_name"], header["media_type"], "The file as uploaded", "Source", document)
        attachments.append(source)
    pages = _inspect(base)
    placement, turned = _place(base, pages, header["seal_page"], header["seal_box"])
    edge = int(len(seal_samples) ** 0.5 / 2)
    seal = Image.frombytes("RGBA", (edge, edge), seal_samples).rotate(turned, expand=True)
    chain = x509.load_pem_x509_certificates(chain_pem)
    moment = datetime.fromisoformat(header["at"]).astimezone(_BEIJING)
    try:
        increment, to_sign = pdfseal.write_increment(
            base,
            chain,
            seal,
            placement,
            facts=header["facts"],
            attachments=attachments,
            field=FIELD_NAME,
            name=header["signer_name"],
            signing_date=moment.strftime("D:%Y%m%d%H%M%S+08'00'"),
            revision_id=header["preparation_id"],
        )
        prepared = base + increment
        byte_range, cms = _check_prepared(prepared, to_sign)
    except (Refusal, MemoryError):
        raise
    except Exception as error:  # the libraries raise whatever a damaged file makes them raise
        raise Refusal(DAMAGED) from error
    cms = cms_parts.mend_algorithm(cms, chain[0])
    return {"kept": kept, "byte_range": byte_range, "pages": pages}, [prepared[kept:], to_sign, cms]


def _base(document: bytes, media_type: str) -> bytes:
    """The PDF that carries the seal: the document itself if it can, else an image's or a PDF's pages in a new one."""
    if media_type != PDF:
        try:
            return pdfimages.image_to_pdf(document, media_type)
        except pdfimages.NotAnImage as error:
            raise Refusal(DAMAGED) from error
    try:
        _inspect(document)
    except Refusal as refusal:
        if refusal.code == ENCRYPTED:
            raise
        try:
            return pdfcopy.copy_pages(document)
        except pdfcopy.NotReadable as error:
            raise Refusal(DAMAGED) from error
    return document


def _inspect(base: bytes) -> int:
    """Refuses what can't be sealed; returns the number of pages. Read by pyHanko in its strict mode, as the validation
    of the seal will read it: what fails there later should fail here."""
    try:
        reader = PdfFileReader(BytesIO(base), strict=True)
        if reader.encrypted:
            raise Refusal(ENCRYPTED)
        if reader.embedded_signatures or "/Perms" in reader.root:
            raise Refusal(DAMAGED)  # a further revision would break the signature that is there
        pages = int(reader.root["/Pages"]["/Count"])
    except (Refusal, MemoryError):
        raise
    except Exception as error:
        raise Refusal(DAMAGED) from error
    if pages < 1:
        raise Refusal(DAMAGED)
    return pages


def _place(base: bytes, pages: int, page: int, box: Sequence[float] | None) -> tuple[Placement, int]:
    """Where the seal goes, and by how many degrees (counter-clockwise) its image is turned so that it is upright on a
    rotated page."""
    number = (page or pages) - 1
    if not 0 <= number < pages:
        raise Refusal(PAGE_UNKNOWN)
    try:
        found = PdfReader(BytesIO(base)).pages[number]
        turned = int(found.rotation) % 360
        shown = found.cropbox
        left, bottom, right, top = (float(value) for value in (*shown.lower_left, *shown.upper_right))
    except MemoryError:
        raise
    except Exception as error:
        raise Refusal(DAMAGED) from error
    width, height = right - left, top - bottom
    if turned not in (0, 90, 180, 270) or width < 1 or height < 1:
        raise Refusal(DAMAGED)
    seen_width, seen_height = (height, width) if turned in (90, 270) else (width, height)
    if box is None:
        edge = min(SEAL_POINTS, seen_width / 3, seen_height / 3)
        margin = min(_MARGIN, seen_width / 12, seen_height / 12)
        x1, y1 = seen_width - margin, seen_height - margin
        x0, y0 = x1 - edge, y1 - edge
    else:
        if not (len(box) == 4 and 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
            raise Refusal(BOX_OUTSIDE)
        x0, y0, x1, y1 = box[0] * seen_width, box[1] * seen_height, box[2] * seen_width, box[3] * seen_height
        if min(x1 - x0, y1 - y0) < min(_MIN_SEAL_POINTS, seen_width / 3, seen_height / 3):
            raise Refusal(BOX_OUTSIDE)
    # From the page as seen (origin top left, y down) to its own coordinates (origin bottom left, before rotation).
    corners: dict[int, Callable[[float, float], tuple[float, float]]] = {
        0: lambda x, y: (left + x, top - y),
        90: lambda x, y: (left + y, bottom + x),
        180: lambda x, y: (right - x, bottom + y),
        270: lambda x, y: (right - y, top - x),
    }
    (ax, ay), (bx, by) = corners[turned](x0, y0), corners[turned](x1, y1)
    return Placement(number, (min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))), turned


def _check_prepared(prepared: bytes, to_sign: bytes) -> tuple[list[int], bytes]:
    """Reads the prepared file as the validation will: one signature, which covers all but its own place and whose
    signed attributes hold the digest. Returns its byte range and the CMS."""
    reader = PdfFileReader(BytesIO(prepared), strict=True)
    (signature,) = reader.embedded_signatures
    digest = signature.compute_digest()
    covered = signature.evaluate_signature_coverage()
    attributes = asn1_cms.CMSAttributes.load(to_sign)
    stated = [item["values"][0].native for item in attributes if item["type"].native == "message_digest"]
    if covered != SignatureCoverageLevel.ENTIRE_FILE or stated != [digest]:
        raise Refusal(DAMAGED)
    cms: bytes = asn1_cms.ContentInfo.load(bytes(signature.pkcs7_content)).dump()
    return [int(number) for number in signature.byte_range], cms


# -- validate --------------------------------------------------------------------------------------------------------


class _Invalid(Exception):
    """The seal doesn't count; the message is a short English word for the log and the record."""


def validate(header: Header, blobs: list[bytes]) -> Result:
    """Judges a sealed PDF; refuses nothing: whatever goes wrong makes it invalid.

    Header: ``at`` (RFC 3339), the moment at which certificates are judged; ``expected`` (optional), facts that the seal
    must name, by key. Blobs: sealed PDF, roots (PEM), issuing CAs (PEM, may be empty), any number of CRLs (DER).

    Returns ``valid``, ``reason`` (empty when valid), ``facts``, ``signer`` (uscc, name, serial, fingerprint),
    ``signed_at`` (RFC 3339, as the file says), ``timestamp`` (RFC 3339 of a valid timestamp, or empty); blob: the
    statement.
    """
    try:
        result, statement = _judge(header, blobs)
    except MemoryError:
        raise
    except _Invalid as invalid:
        return {"valid": False, "reason": str(invalid)}, [b""]
    except Exception as error:  # any exception is invalid
        return {"valid": False, "reason": f"unreadable: {type(error).__name__}"}, [b""]
    return result, [statement]


def _judge(header: Header, blobs: list[bytes]) -> tuple[Header, bytes]:
    sealed, roots, intermediates, *crls = blobs
    reader = PdfFileReader(BytesIO(sealed), strict=True)
    if reader.encrypted:
        raise _Invalid("encrypted")
    signatures = reader.embedded_signatures
    if not signatures:
        raise _Invalid("no signature")
    at = datetime.fromisoformat(header["at"])
    others = pki.load_certificates(intermediates)
    for number, signature in enumerate(signatures):
        context = pki.validation_context(roots, crls, at, other_certificates=others)
        status = _validate_signature(signature, context)
        # What follows a seal is not the sealed file, whatever it adds; before the last one, more signatures may follow.
        if number == len(signatures) - 1 and status.coverage != SignatureCoverageLevel.ENTIRE_FILE:
            raise _Invalid("the seal doesn't cover the whole file")
        if status.modification_level is None or status.modification_level > ModificationLevel.FORM_FILLING:
            raise _Invalid("modified after signing")
        if not status.bottom_line:
            raise _Invalid(f"signature invalid: {status.summary()}")
    seal = signatures[-1].sig_object
    certificate = x509.load_der_x509_certificate(signatures[-1].signer_cert.dump())
    company = pki.company_of(certificate)
    facts = json.loads(str(seal["/YUNK_Facts"]))
    statement = _embedded_file(seal["/YUNK_Statement"])
    _check_facts(facts, company, certificate, statement)
    _check_document(reader, sealed, facts["document"])
    _check_statement(statement, facts, company)
    for key, value in header.get("expected", {}).items():
        if facts.get(key) != value:
            raise _Invalid(f"the seal names another {key}")
    timestamp = status.timestamp_validity
    return {
        "valid": True,
        "reason": "",
        "facts": facts,
        "signer": {
            "uscc": company.uscc,
            "name": company.name,
            "serial": company.serial,
            "fingerprint": company.fingerprint,
        },
        "signed_at": status.signer_reported_dt.isoformat() if status.signer_reported_dt else "",
        "timestamp": timestamp.timestamp.isoformat() if timestamp is not None else "",
        "summary": status.summary(),
        "coverage": status.coverage.name,
        "modification_level": status.modification_level.name,
    }, statement


def _validate_signature(signature: Any, context: Any) -> Any:
    usage = KeyUsageConstraints(key_usage={"digital_signature", "non_repudiation"}, match_all_key_usages=False)
    validation = pyhanko.sign.validation.async_validate_pdf_signature(
        signature, signer_validation_context=context, key_usage_settings=usage
    )
    return pki.run_without_io(validation)


def _check_facts(facts: Any, company: pki.CompanyIdentity, certificate: x509.Certificate, statement: bytes) -> None:
    if facts["subject"]["uscc"] != company.uscc:
        raise _Invalid("signed by another company")
    if facts["certificate_fingerprint"] != certificate.fingerprint(hashes.SHA256()).hex():
        raise _Invalid("signed with another certificate than the one prepared")
    if facts["statement_sha256"] != hashlib.sha256(statement).hexdigest():
        raise _Invalid("another statement")


def _check_statement(statement: bytes, facts: Any, company: pki.CompanyIdentity) -> None:
    """The statement is about what the seal names."""
    stated = json.loads(statement)
    same = (
        stated["certificate_id"] == facts["certificate_id"]
        and stated["version"] == facts["version"]
        and stated["holder"]["uscc"] == company.uscc
        and stated["document_sha256"] == facts["document"]["sha256"]
    )
    if not same:
        raise _Invalid("the statement is about something else")


def _check_document(reader: PdfFileReader, sealed: bytes, document: Any) -> None:
    """The sealed pages are those of the uploaded document: the same bytes for a PDF, or the document attached and pages
    that look the same; the same picture for an image."""
    is_pdf = document["media_type"] == PDF
    if is_pdf and hashlib.sha256(sealed[: document["size"]]).hexdigest() == document["sha256"]:
        return
    files = [item.get_object() for item in reader.root["/AF"]]
    sources = [item for item in files if item["/AFRelationship"] == "/Source"]
    if len(sources) != 1:
        raise _Invalid("another document")
    source = _embedded_file(sources[0])
    if hashlib.sha256(source).hexdigest() != document["sha256"]:
        raise _Invalid("another document")
    if is_pdf:
        if not pdfcopy.same_pages(source, sealed):
            raise _Invalid("other pages than the uploaded ones")
        return
    pictures = []
    for page in reader.root["/Pages"]["/Kids"]:
        picture = page.get_object()["/Resources"]["/XObject"]["/Im0"]
        pictures.append(bytes(picture.encoded_data))
    if not pdfimages.same_picture(source, document["media_type"], pictures):
        raise _Invalid("another picture than the uploaded one")


def _embedded_file(specification: Any) -> bytes:
    stream = specification["/EF"]["/F"]
    if not isinstance(stream, hanko.StreamObject):
        raise _Invalid("an attachment is missing")
    return bytes(stream.data)
