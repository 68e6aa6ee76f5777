"""Each mend of endesive, alone; and what stays of it. When upstream mends one, its test passes without ours."""

import hashlib
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from typing import Any

import pytest
from asn1crypto import cms as asn1_cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from PIL import Image
from pyhanko.pdf_utils.reader import PdfFileReader
from pypdf import PdfReader

from services.signing import cms as cms_parts
from services.signing import pdfseal
from tests.service import seal_kit as kit

ROOM = cms_parts.CMS_ROOM


@cache
def certificate(kind: str) -> x509.Certificate:
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if kind == "ec":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "云库")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


def increment(document: bytes, kind: str = "ec", field: str = "YunkuSeal") -> tuple[bytes, bytes]:
    return pdfseal.write_increment(
        document,
        [certificate(kind)],
        Image.new("RGBA", (24, 24), (200, 0, 0, 255)),
        pdfseal.Placement(0, (20, 20, 60, 60)),
        facts='{"a": "(b) \\\\"}',
        attachments=[pdfseal.Attachment("statement.json", "application/json", "d", "Data", b'{"stated": true}')],
        field=field,
        name="云库",
        signing_date="D:20261123160000+08'00'",
        revision_id="revision",
    )


def signature_of(data: bytes) -> Any:
    (found,) = PdfFileReader(BytesIO(data), strict=True).embedded_signatures
    return found


def test_1_import_without_oscrypto_and_without_the_verifier() -> None:
    """In a fresh interpreter: nothing of oscrypto is loaded, and there is no verifier to be used by mistake."""
    code = (
        "import sys; from services.signing import pdfseal; from endesive import pdf; "
        "assert pdf.verify is None; assert pdf.PDFVerifier is None; assert 'endesive.verifier' not in sys.modules; "
        "assert 'oscrypto' not in sys.modules, 'oscrypto'"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_2_subfilter_of_pades() -> None:
    document = kit.plain_pdf()
    made, _ = increment(document)
    assert signature_of(document + made).sig_object["/SubFilter"] == "/ETSI.CAdES.detached"
    assert b"adbe.pkcs7" not in made


@pytest.mark.parametrize("name", ["object_streams", "linearised_object_streams"])
def test_3_cross_reference_streams_are_numbers(name: str) -> None:
    document = kit.written_by_qpdf(name)
    made, _ = increment(document)
    trailer = made[made.rindex(b"/XRef") - 400 :]
    assert re.search(rb"/W \[ ?1 8 2 ?\]", trailer)
    assert re.search(rb"/Index \[ ?\d+ \d+", trailer)
    for strict in (True, False):
        assert len(PdfReader(BytesIO(document + made), strict=strict).pages) == 1
    assert signature_of(document + made).field_name == "YunkuSeal"


def test_3_objects_keep_their_generation() -> None:
    document = kit.with_generations()
    made, _ = increment(document)
    assert b"\n3 1 obj\n" in made
    assert b"\n3 0 obj\n" not in made
    kids = PdfFileReader(BytesIO(document + made), strict=True).root["/Pages"]["/Kids"]
    assert "/Annots" in kids[0], "the page that carries the seal is the one in the tree"


@pytest.mark.parametrize(("kind", "algorithm"), [("ec", "sha256_ecdsa"), ("rsa", "rsassa_pkcs1v15")])
def test_4_signature_algorithm(kind: str, algorithm: str) -> None:
    document = kit.plain_pdf()
    made, _ = increment(document, kind)
    written = bytes(signature_of(document + made).pkcs7_content)
    mended = asn1_cms.ContentInfo.load(cms_parts.mend_algorithm(written, certificate(kind)))
    assert mended["content"]["signer_infos"][0]["signature_algorithm"]["algorithm"].native == algorithm


@pytest.mark.parametrize("size", [b"2000000000", b"-1", b"0"])
def test_5_a_claimed_size_is_bounded(size: bytes) -> None:
    with pytest.raises(pdfseal.NotSealable):
        increment(kit.plain_pdf().replace(b"/Size 6", b"/Size " + size))


def test_what_is_to_be_signed_is_the_digest_of_all_but_the_signature() -> None:
    document = kit.plain_pdf()
    made, to_sign = increment(document)
    data = document + made
    _, first, second, length = (int(number) for number in signature_of(data).byte_range)
    assert data[first + 1 : second - 1].strip(b"0123456789abcdef") == b""
    assert second - first - 2 == 2 * ROOM
    assert second + length == len(data)
    digest = hashlib.sha256(data[:first] + data[second:]).digest()
    attributes = {item["type"].native: item["values"][0].native for item in asn1_cms.CMSAttributes.load(to_sign)}
    assert attributes["message_digest"] == digest
    assert to_sign[0] == 0x31, "a SET, as it is signed, not the [0] that stands in the CMS"


def test_facts_and_statement_are_found_by_the_signature_itself() -> None:
    document = kit.with_form()
    made, _ = increment(document)
    found = signature_of(document + made).sig_object
    assert str(found[pdfseal.FACTS_KEY]) == '{"a": "(b) \\\\"}'
    assert found[pdfseal.STATEMENT_KEY]["/EF"]["/F"].data == b'{"stated": true}'


def test_a_field_of_the_same_name_gets_no_second() -> None:
    """The form has a text field called YunkuSeal already."""
    document = kit.with_form()
    made, _ = increment(document)
    assert signature_of(document + made).field_name not in ("YunkuSeal", "")


def test_patched_cms_differs_only_in_what_was_put_in() -> None:
    document = kit.plain_pdf()
    made, to_sign = increment(document)
    cms = bytes(signature_of(document + made).pkcs7_content)
    cms = asn1_cms.ContentInfo.load(cms).dump()
    patched = asn1_cms.ContentInfo.load(cms_parts.patch_cms(cms, b"s" * 71))
    signer = patched["content"]["signer_infos"][0]
    assert signer["signature"].native == b"s" * 71
    assert b"\x31" + signer["signed_attrs"].dump()[1:] == to_sign
    before, after = cms, patched.dump()
    assert before[20:400] != b""
    assert after.endswith(b"s" * 71)
