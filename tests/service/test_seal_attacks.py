"""Everything that must not count as a seal, tried."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms as asn1_cms
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pypdf import PdfWriter

from infra import devca
from kernel.errors import YunkuError
from services.signing import adapters, pdfcopy, pdfimages, pdfops
from services.signing import cms as cms_parts
from services.signing.ports import Prepared, SealRequest
from tests.service import seal_kit as kit


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> kit.DevelopmentPki:
    return kit.DevelopmentPki(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def demo(ca: kit.DevelopmentPki) -> kit.Signer:
    return ca.signer("demo")


@pytest.fixture(scope="module")
def sealed(demo: kit.Signer) -> bytes:
    return kit.seal(kit.plain_pdf(2), demo)


# -- the signature ---------------------------------------------------------------------------------------------------


def test_signature_of_another_key(ca: kit.DevelopmentPki, demo: kit.Signer) -> None:
    prepared = kit.prepare(kit.request(kit.plain_pdf(), demo))
    with pytest.raises(YunkuError, match="signature_invalid") as refused:
        adapters.finish(prepared, ca.issue("rsa").sign(prepared.to_sign), demo.chain[0])
    assert refused.value.errors[0].pointer == "/signature"


def test_signature_over_other_attributes(demo: kit.Signer) -> None:
    first = kit.prepare(kit.request(kit.plain_pdf(), demo))
    second = kit.prepare(kit.request(kit.plain_pdf(2), demo))
    with pytest.raises(YunkuError, match="signature_invalid"):
        adapters.finish(first, demo.sign(second.to_sign), demo.chain[0])


@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"\0" * 256, b"x" * 100_000])
@pytest.mark.parametrize("key", ["demo", "second"])
def test_signatures_that_are_none(key: str, signature: bytes, ca: kit.DevelopmentPki) -> None:
    signer = ca.signer(key)
    prepared = kit.prepare(kit.request(kit.plain_pdf(), signer))
    with pytest.raises(YunkuError, match="signature_invalid"):
        adapters.finish(prepared, signature, signer.chain[0])


def test_another_signature_patched_in_past_the_check(ca: kit.DevelopmentPki, demo: kit.Signer) -> None:
    """Even if the check before were wrong: the judgement of the stored bytes finds it."""
    prepared = kit.prepare(kit.request(kit.plain_pdf(), demo))
    forged = cms_parts.patch_cms(prepared.cms, ca.issue("rsa").sign(prepared.to_sign)).hex().encode()
    start = prepared.byte_range[1] + 1
    data = prepared.pdf[:start] + forged + prepared.pdf[start + len(forged) :]
    assert not kit.judge(data, ca.trust)["valid"]


# -- the certificate -------------------------------------------------------------------------------------------------


def test_revoked(ca: kit.DevelopmentPki, tmp_path: Path) -> None:
    data = kit.seal(kit.plain_pdf(), ca.signer("revoked"))
    judged = kit.judge(data, ca.trust)
    assert not judged["valid"]
    assert "REVOKED" in judged["reason"].upper()


def test_expired(ca: kit.DevelopmentPki) -> None:
    data = kit.seal(kit.plain_pdf(), ca.signer("expired"))
    assert not kit.judge(data, ca.trust)["valid"]


def test_without_revocation_lists_nothing_counts(ca: kit.DevelopmentPki, sealed: bytes) -> None:
    assert kit.judge(sealed, ca.trust)["valid"]
    assert not kit.judge(sealed, kit.without_crls(ca.trust))["valid"]


def test_stale_revocation_lists(ca: kit.DevelopmentPki, sealed: bytes) -> None:
    assert not kit.judge(sealed, ca.trust, at=datetime.now(UTC) + timedelta(days=60))["valid"]


def test_another_root(sealed: bytes, tmp_path: Path) -> None:
    stranger = kit.DevelopmentPki(tmp_path / "stranger")
    judged = kit.judge(sealed, stranger.trust)
    assert not judged["valid"]


def test_certificate_of_another_company(ca: kit.DevelopmentPki, demo: kit.Signer) -> None:
    """The seal names the demo company, the second company's key signed."""
    other = ca.signer("second")
    uscc, name = demo.company.uscc, demo.company.name
    data = kit.seal(kit.plain_pdf(), other, stating={"subject": {"uscc": uscc, "name": name}})
    assert kit.judge(data, ca.trust)["reason"] == "signed by another company"


def test_another_certificate_of_the_same_company(ca: kit.DevelopmentPki, demo: kit.Signer) -> None:
    data = kit.seal(kit.plain_pdf(), ca.issue("ec"), stating={"certificate_fingerprint": demo.company.fingerprint})
    assert "another certificate" in kit.judge(data, ca.trust)["reason"]


def test_a_tsa_certificate_is_no_company(ca: kit.DevelopmentPki, demo: kit.Signer) -> None:
    asked = kit.request(kit.plain_pdf(), demo)
    tsa = ca.signer("tsa")
    prepared = kit.prepare(replace(asked, chain=tsa.chain))
    data = adapters.finish(prepared, tsa.sign(prepared.to_sign), tsa.chain[0])
    assert not kit.judge(data, ca.trust)["valid"]


# -- the file --------------------------------------------------------------------------------------------------------


def add_page(data: bytes) -> bytes:
    writer = PdfWriter(BytesIO(data), incremental=True)
    writer.add_blank_page(100, 100)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def paint_over(data: bytes) -> bytes:
    writer: Any = IncrementalPdfFileWriter(BytesIO(data))
    page = writer.root["/Pages"]["/Kids"][0].get_object()
    from pyhanko.pdf_utils import generic

    cover = writer.add_object(generic.StreamObject(stream_data=b"1 g 0 0 500 500 re f"))
    page["/Contents"] = generic.ArrayObject([page.raw_get("/Contents"), cover])
    writer.update_container(page)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def fill_in_a_form(data: bytes) -> bytes:
    """What a signature of its own would allow: a further, empty field for a signature."""
    from pyhanko.sign.fields import SigFieldSpec, append_signature_field

    writer: Any = IncrementalPdfFileWriter(BytesIO(data))
    append_signature_field(writer, SigFieldSpec("Another"))
    out = BytesIO()
    writer.write(out)
    return bytes(out.getvalue())


def append_rubbish(data: bytes) -> bytes:
    return data + b"\n% nothing\n"


def append_eof(data: bytes) -> bytes:
    end: bytes = re.findall(rb"startxref\n\d+\n%%EOF\n", data)[-1]
    return data + end


def cut_short(data: bytes) -> bytes:
    return data[:-10]


def change_the_statement(data: bytes) -> bytes:
    return data.replace("沈阳".encode(), "大连".encode())


def change_a_pixel(data: bytes) -> bytes:
    position = data.index(b"stream\n") + 40
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def widen_the_gap(data: bytes) -> bytes:
    """Cuts a byte range open: the second part starts later, what lies between isn't signed."""
    found = re.search(rb"/ByteRange \[0 (\d+) (\d+) (\d+)\]", data)
    assert found
    _, second, length = (int(number) for number in found.groups())
    changed = b"/ByteRange [0 %s %d %d]" % (found[1], second + 100, length - 100)
    return data.replace(found[0], changed.ljust(len(found[0])))


ALTERATIONS = [
    add_page,
    paint_over,
    fill_in_a_form,
    append_rubbish,
    append_eof,
    cut_short,
    change_the_statement,
    change_a_pixel,
    widen_the_gap,
]


@pytest.mark.parametrize("alter", ALTERATIONS, ids=lambda function: function.__name__)
def test_whatever_changes_after_the_seal(alter: Callable[[bytes], bytes], ca: kit.DevelopmentPki, sealed: bytes) -> None:
    altered = alter(sealed)
    assert altered != sealed
    judged = kit.judge(altered, ca.trust)
    assert not judged["valid"]
    assert judged["reason"]


def test_every_single_byte_outside_the_signature_counts(ca: kit.DevelopmentPki, demo: kit.Signer) -> None:
    """A sample of positions over the whole file; inside the signature's own place only its zeros may differ."""
    data = kit.seal(kit.plain_pdf(), demo)
    (found,) = PdfFileReader(BytesIO(data)).embedded_signatures
    _, first, second, _ = (int(number) for number in found.byte_range)
    for position in range(0, len(data), 397):
        if first <= position < second:
            continue
        changed = data[:position] + bytes([data[position] ^ 0x20]) + data[position + 1 :]
        assert not kit.judge(changed, ca.trust)["valid"], position


def test_seal_replayed_on_another_document(ca: kit.DevelopmentPki, demo: kit.Signer) -> None:
    """The increment of one document behind another of the same length and structure."""
    first = kit.plain_pdf()
    second = first.replace(b"200.0000 280.0000", b"200.0000 270.0000")
    assert len(second) == len(first)
    assert second != first
    data = kit.seal(first, demo)
    assert not kit.judge(second + data[len(first) :], ca.trust)["valid"]


def test_seal_replayed_with_its_facts(ca: kit.DevelopmentPki, demo: kit.Signer) -> None:
    """A company can sign what it likes: facts that name another document than the one in front don't count."""
    other = hashlib.sha256(b"another").hexdigest()
    facts = {"document": {"sha256": other, "size": len(kit.plain_pdf()), "media_type": kit.PDF}}
    assert kit.judge(kit.seal(kit.plain_pdf(), demo, stating=facts), ca.trust)["reason"] == "another document"
    jpeg = kit.encoded(kit.picture(), "JPEG")
    facts = {"document": {"sha256": other, "size": len(jpeg), "media_type": "image/jpeg"}}
    assert kit.judge(kit.seal(jpeg, demo, "image/jpeg", stating=facts), ca.trust)["reason"] == "another document"


def test_statement_exchanged(ca: kit.DevelopmentPki, demo: kit.Signer) -> None:
    data = kit.seal(kit.plain_pdf(), demo, stating={"statement_sha256": hashlib.sha256(b"another").hexdigest()})
    assert kit.judge(data, ca.trust)["reason"] == "another statement"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_picture_exchanged(kind: str, ca: kit.DevelopmentPki, demo: kit.Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that shows another picture than the upload that it attaches."""
    media_type = f"image/{kind.lower()}"
    shown = kit.encoded(kit.picture().rotate(180), kind)
    upload = kit.encoded(kit.picture(), kind)
    make = pdfimages.image_to_pdf
    monkeypatch.setattr(pdfimages, "image_to_pdf", lambda _, kind_: make(shown, kind_))
    data = kit.seal(upload, demo, media_type)
    assert kit.judge(data, ca.trust)["reason"] == "another picture than the uploaded one"


def test_pages_exchanged(ca: kit.DevelopmentPki, demo: kit.Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that copies other pages than those of the document that it attaches."""
    document = kit.signed_by_someone(kit.plain_pdf())
    shown = kit.signed_by_someone(kit.plain_pdf().replace(b"200.0000 280.0000", b"200.0000 279.0000"))
    monkeypatch.setattr(pdfops, "_base", lambda *_: pdfcopy.copy_pages(shown))
    assert kit.judge(kit.seal(document, demo), ca.trust)["reason"] == "other pages than the uploaded ones"
    other = kit.plain_pdf().replace(b"0 0 cm /Im0", b"0 1 cm /Im0")
    monkeypatch.setattr(pdfops, "_base", lambda *_: pdfcopy.copy_pages(other))
    assert kit.judge(kit.seal(document, demo), ca.trust)["reason"] == "other pages than the uploaded ones"


@pytest.mark.parametrize("key", ["certificate_id", "version", "holder", "document_sha256"])
def test_a_statement_about_something_else(key: str, ca: kit.DevelopmentPki, demo: kit.Signer) -> None:
    asked = kit.request(kit.plain_pdf(), demo)
    content = json.loads(asked.statement)
    content[key] = {"uscc": devca.SECOND_COMPANY[1]} if key == "holder" else 9
    statement = json.dumps(content).encode()
    facts = json.loads(asked.facts) | {"statement_sha256": hashlib.sha256(statement).hexdigest()}
    prepared = kit.prepare(replace(asked, statement=statement, facts=json.dumps(facts)))
    data = adapters.finish(prepared, demo.sign(prepared.to_sign), demo.chain[0])
    assert kit.judge(data, ca.trust)["reason"] == "the statement is about something else"


@pytest.mark.parametrize("key", ["certificate_id", "version", "subject"])
def test_facts_that_were_expected(key: str, ca: kit.DevelopmentPki, sealed: bytes) -> None:
    facts = kit.judge(sealed, ca.trust)["facts"]
    assert kit.judge(sealed, ca.trust, expected={key: facts[key]})["valid"]
    assert kit.judge(sealed, ca.trust, expected={key: "another"})["reason"] == f"the seal names another {key}"


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7\n%%EOF", kit.plain_pdf(), kit.written_by_qpdf("encrypted")], ids=len)
def test_what_has_no_seal(data: bytes, ca: kit.DevelopmentPki) -> None:
    judged = kit.judge(data, ca.trust)
    assert not judged["valid"]
    assert judged["reason"]


def test_a_signature_without_our_facts(ca: kit.DevelopmentPki, demo: kit.Signer) -> None:
    """A PDF signed by the company with another program is validly signed and no seal of ours."""
    from pyhanko.sign import signers
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    make_store: Any = SimpleCertificateStore
    store = make_store()
    store.register_multiple([adapters._asn1(item) for item in demo.chain[1:]])
    assert isinstance(demo.key, rsa.RSAPrivateKey)
    from asn1crypto import keys
    from cryptography.hazmat.primitives import serialization as s

    key = keys.PrivateKeyInfo.load(demo.key.private_bytes(s.Encoding.DER, s.PrivateFormat.PKCS8, s.NoEncryption()))
    signer = signers.SimpleSigner(adapters._asn1(demo.chain[0]), key, store)
    out = signers.sign_pdf(IncrementalPdfFileWriter(BytesIO(kit.plain_pdf())), signers.PdfSignatureMetadata("Other"), signer)
    judged = kit.judge(out.getvalue(), ca.trust)
    assert not judged["valid"]
    assert judged["reason"] == "unreadable: KeyError"


# -- a worker that was taken over --------------------------------------------------------------------------------------


Answer = tuple[dict[str, object], list[bytes]]


def _answer(asked: SealRequest) -> Answer:
    prepared = kit.prepare(asked)
    kept = len(asked.document)
    header: dict[str, object] = {"kept": kept, "byte_range": list(prepared.byte_range), "pages": 1}
    return header, [prepared.pdf[kept:], prepared.to_sign, prepared.cms]


def other_document(asked: SealRequest) -> Answer:
    return _answer(replace(asked, document=kit.plain_pdf(3)))


def not_kept(asked: SealRequest) -> Answer:
    """Other pages, and the document not even attached."""
    prepared = kit.prepare(replace(asked, document=kit.plain_pdf(3)))
    header: dict[str, object] = {"kept": 0, "byte_range": list(prepared.byte_range), "pages": 1}
    return header, [prepared.pdf, prepared.to_sign, prepared.cms]


def other_statement(asked: SealRequest) -> Answer:
    return _answer(replace(asked, statement=asked.statement.replace(b"name", b"mane")))


def other_attributes(asked: SealRequest) -> Answer:
    header, (rest, _, cms) = _answer(asked)
    return header, [rest, kit.prepare(replace(asked, document=kit.plain_pdf(3))).to_sign, cms]


def a_text_to_sign(asked: SealRequest) -> Answer:
    """The worst: something else altogether, such as a login challenge, given to the company's key."""
    header, (rest, _, cms) = _answer(asked)
    return header, [rest, b"yunku-login:v1\nhttp://x\nnonce\nexpiry", cms]


def shifted_range(asked: SealRequest) -> Answer:
    header, parts = _answer(asked)
    start, first, second, length = kit.prepare(asked).byte_range
    return {**header, "byte_range": [start, first - 1, second, length]}, parts


def open_range(asked: SealRequest) -> Answer:
    header, (rest, to_sign, cms) = _answer(asked)
    return header, [rest + b"%", to_sign, cms]


def extra_attribute(asked: SealRequest) -> Answer:
    header, (rest, to_sign, cms) = _answer(asked)
    attributes = asn1_cms.CMSAttributes.load(to_sign)
    attributes.append(asn1_cms.CMSAttribute({"type": "signing_time", "values": [asn1_cms.Time({"utc_time": datetime.now(UTC)})]}))
    return header, [rest, attributes.dump(), cms]


TAKEOVERS = [
    other_document,
    not_kept,
    other_statement,
    other_attributes,
    a_text_to_sign,
    shifted_range,
    open_range,
    extra_attribute,
]


def test_an_honest_answer_is_taken(demo: kit.Signer) -> None:
    asked = kit.request(kit.plain_pdf(), demo)
    assert isinstance(adapters._check_prepared(asked, *_answer(asked)), Prepared)


@pytest.mark.parametrize("lie", TAKEOVERS, ids=lambda function: function.__name__)
def test_a_worker_that_lies(lie: Callable[[SealRequest], Answer], demo: kit.Signer) -> None:
    asked = kit.request(kit.plain_pdf(), demo)
    header, parts = lie(asked)
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own word
        adapters._check_prepared(asked, header, parts)


# -- timestamps ------------------------------------------------------------------------------------------------------


async def test_timestamp_is_part_of_the_seal(ca: kit.DevelopmentPki, demo: kit.Signer, tmp_path: Path) -> None:
    tsa = ca.paths.tsa
    stamper = adapters.DevelopmentTimestamper(tsa.p12.read_bytes(), tsa.password)
    prepared = kit.prepare(kit.request(kit.plain_pdf(), demo))
    signature = demo.sign(prepared.to_sign)
    data = adapters.finish(prepared, signature, demo.chain[0], await stamper.token(signature))
    judged = kit.judge(data, ca.trust)
    assert judged["reason"] == ""
    assert abs(datetime.fromisoformat(judged["timestamp"]) - datetime.now(UTC)) < timedelta(minutes=5)
    assert "Signature is Valid." in kit.pdfsig(data, ca.trust, tmp_path)


async def test_forged_timestamp(ca: kit.DevelopmentPki, demo: kit.Signer) -> None:
    """A token over another signature makes the seal invalid."""
    tsa = ca.paths.tsa
    stamper = adapters.DevelopmentTimestamper(tsa.p12.read_bytes(), tsa.password)
    prepared = kit.prepare(kit.request(kit.plain_pdf(), demo))
    signature = demo.sign(prepared.to_sign)
    data = adapters.finish(prepared, signature, demo.chain[0], await stamper.token(signature[::-1]))
    assert not kit.judge(data, ca.trust)["valid"]


async def test_timestamp_authority_down_is_not_silent() -> None:
    stamper = adapters.HttpTimestamper("http://127.0.0.1:9/tsa", seconds=2)
    try:
        with pytest.raises(YunkuError, match="service_unavailable"):
            await stamper.token(b"signature")
    finally:
        await stamper.close()


def test_keys_of_the_development_ca(ca: kit.DevelopmentPki) -> None:
    assert isinstance(ca.signer("demo").key, rsa.RSAPrivateKey)
    assert isinstance(ca.signer("second").key, ec.EllipticCurvePrivateKey)
    assert ca.signer("demo").company.uscc == devca.DEMO_COMPANY[1]
    assert json.loads(json.dumps(ca.signer("second").company.name)) == devca.SECOND_COMPANY[0]
