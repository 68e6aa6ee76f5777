"""Every structure of document, every kind of key: sealed, then judged by pyHanko and by poppler."""

import hashlib
import json
from io import BytesIO
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image, ImageChops
from pyhanko.pdf_utils.reader import PdfFileReader

from kernel.sandbox.errors import Refusal
from services.signing import adapters, pdfcopy
from tests.service import seal_kit as kit

COPIED = ["signed_already", "broken_table", "annotated_and_broken"]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> kit.DevelopmentPki:
    return kit.DevelopmentPki(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def signers(ca: kit.DevelopmentPki) -> dict[str, kit.Signer]:
    return {"rsa2048": ca.signer("demo"), "rsa3072": ca.issue("rsa3072"), "p256": ca.issue("ec")}


@pytest.mark.parametrize("name", kit.DOCUMENTS)
def test_every_document_is_sealed(name: str, ca: kit.DevelopmentPki, signers: dict[str, kit.Signer], tmp_path: Path) -> None:
    media_type, make = kit.DOCUMENTS[name]
    document = make()
    sealed = kit.seal(document, signers["rsa2048"], media_type)

    judged = kit.judge(sealed, ca.trust)
    assert judged["reason"] == ""
    assert judged["valid"]
    assert judged["coverage"] == "ENTIRE_FILE"
    assert judged["signer"]["uscc"] == signers["rsa2048"].company.uscc
    assert judged["facts"]["document"]["sha256"] == hashlib.sha256(document).hexdigest()
    said = kit.pdfsig(sealed, ca.trust, tmp_path)
    assert said.count("Signature is Valid.") == 1, said
    assert "ETSI.CAdES.detached" in said
    assert "Total document signed" in said
    if media_type == kit.PDF and name not in COPIED:
        assert sealed.startswith(document)
    assert len(pypdfium2.PdfDocument(sealed)) == judged_pages(name)


def judged_pages(name: str) -> int:
    return {"three_pages": 3, "form_and_files": 2, "tiff_pages": 2, "signed_already": 2}.get(name, 1)


@pytest.mark.parametrize("key", ["rsa2048", "rsa3072", "p256"])
@pytest.mark.parametrize("name", ["plain", "object_streams", "jpeg"])
def test_every_kind_of_key(key: str, name: str, ca: kit.DevelopmentPki, signers: dict[str, kit.Signer], tmp_path: Path) -> None:
    media_type, make = kit.DOCUMENTS[name]
    sealed = kit.seal(make(), signers[key], media_type)
    assert kit.judge(sealed, ca.trust)["reason"] == ""
    said = kit.pdfsig(sealed, ca.trust, tmp_path)
    assert "Signature is Valid." in said, said


def test_poppler_trusts_it_when_it_trusts_our_root(ca: kit.DevelopmentPki, signers: dict[str, kit.Signer], tmp_path: Path) -> None:
    if kit._nss_directory(ca.trust.roots) is None:
        pytest.skip("NSS's certutil (libnss3-tools) isn't installed: poppler can't be told to trust our root")
    said = kit.pdfsig(kit.seal(kit.plain_pdf(), signers["rsa2048"]), ca.trust, tmp_path)
    assert "Certificate is Trusted." in said, said


def test_signature_as_two_numbers(ca: kit.DevelopmentPki, signers: dict[str, kit.Signer], tmp_path: Path) -> None:
    """Browsers and PKCS#11 tokens give ECDSA signatures as r||s."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    signer = signers["p256"]
    prepared = kit.prepare(kit.request(kit.plain_pdf(), signer))
    r, s = decode_dss_signature(signer.sign(prepared.to_sign))
    sealed = adapters.finish(prepared, r.to_bytes(32, "big") + s.to_bytes(32, "big"), signer.chain[0])
    assert kit.judge(sealed, ca.trust)["valid"]
    assert "Signature is Valid." in kit.pdfsig(sealed, ca.trust, tmp_path)


def test_statement_and_upload_are_in_the_signed_bytes(signers: dict[str, kit.Signer]) -> None:
    document = kit.encoded(kit.picture(), "JPEG")
    asked = kit.request(document, signers["rsa2048"], "image/jpeg")
    prepared = kit.prepare(asked)
    _, first, second, _ = prepared.byte_range
    signed = prepared.pdf[:first] + prepared.pdf[second:]
    assert asked.statement in signed
    assert signed.count(document) == 2, "the page shows the JPEG's own bytes, and the upload is attached"
    reader = PdfFileReader(BytesIO(prepared.pdf))
    names = [str(item.get_object()["/UF"]) for item in reader.root["/AF"]]
    assert names == ["yunku-statement.json", "source.jpeg"]
    facts = json.loads(str(reader.embedded_signatures[0].sig_object["/YUNK_Facts"]))
    assert facts == json.loads(asked.facts)


def test_files_of_the_upload_stay(signers: dict[str, kit.Signer]) -> None:
    sealed = kit.seal(kit.with_form(), signers["rsa2048"])
    tree = PdfFileReader(BytesIO(sealed)).root["/Names"]["/EmbeddedFiles"]["/Names"]
    assert [str(tree[index]) for index in range(0, len(tree), 2)] == ["notes.txt", "yunku-statement.json"]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_seal_is_where_it_was_put_and_upright(rotation: int, signers: dict[str, kit.Signer]) -> None:
    """Rendered with and without the seal, only the box as seen differs; and the number, at the seal's foot, is below."""
    box = [0.1, 0.5, 0.5, 0.8]
    document = kit.plain_pdf(rotation=rotation)
    sealed = kit.seal(document, signers["rsa2048"], box=box)
    before, after = (render(data) for data in (document, sealed))
    width, height = before.size
    changed = [(x, y) for x in range(width) for y in range(height) if before.getpixel((x, y)) != after.getpixel((x, y))]
    assert changed
    xs, ys = [x / width for x, _ in changed], [y / height for _, y in changed]
    assert min(xs) >= box[0] - 0.01
    assert max(xs) <= box[2] + 0.01
    assert min(ys) >= box[1] - 0.01
    assert max(ys) <= box[3] + 0.01
    # The name's ring leaves the lower part open, where only the small number stands: less ink below than above.
    middle = (min(ys) + max(ys)) / 2
    ring = (max(ys) - min(ys)) * 0.12
    upper = sum(y < middle for y in ys if min(ys) + ring < y < max(ys) - ring)
    lower = sum(y > middle for y in ys if min(ys) + ring < y < max(ys) - ring)
    assert upper > lower


def render(data: bytes) -> Image.Image:
    page = pypdfium2.PdfDocument(data)
    page.init_forms()
    shown: Image.Image = page[0].render(scale=2, may_draw_forms=True).to_pil().convert("RGB")
    return shown


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (kit.written_by_qpdf("encrypted"), "document_encrypted"),
        (b"%PDF-1.7\nnothing here", "document_damaged"),
        (kit.plain_pdf()[:-200], "document_damaged"),
        (kit.plain_pdf().replace(b"/Size 6", b"/Size 2000000000"), "document_damaged"),
    ],
)
def test_what_can_not_be_sealed(document: bytes, code: str, signers: dict[str, kit.Signer]) -> None:
    with pytest.raises(Refusal) as refused:
        kit.prepare(kit.request(document, signers["rsa2048"]))
    assert refused.value.code == code


@pytest.mark.parametrize("name", COPIED)
def test_documents_that_can_not_carry_a_seal_are_copied(
    name: str, ca: kit.DevelopmentPki, signers: dict[str, kit.Signer], tmp_path: Path
) -> None:
    """The pages look the same, the document is attached as it was uploaded, its own signature intact in it."""
    document = kit.DOCUMENTS[name][1]()
    sealed = kit.seal(document, signers["p256"])
    assert kit.judge(sealed, ca.trust)["reason"] == ""
    files = [item.get_object() for item in PdfFileReader(BytesIO(sealed)).root["/AF"]]
    assert [item["/AFRelationship"] for item in files] == ["/Data", "/Source"]
    assert files[1]["/EF"]["/F"].data == document
    if name == "signed_already":
        assert "Authority" not in kit.pdfsig(sealed, ca.trust, tmp_path)
        assert "Signature is Valid." in kit.pdfsig(document, ca.trust, tmp_path)
    before, after = (render(data) for data in (document, pdfcopy.copy_pages(document)))
    apart = ImageChops.difference(before, after).convert("L").histogram()
    assert sum(apart[96:]) == 0
    assert sum(before.convert("L").histogram()[:100]) > 1000, "there is something on the page"


@pytest.mark.parametrize(
    ("page", "box", "code"),
    [
        (2, None, "page_unknown"),
        (-1, None, "page_unknown"),
        (1, [0.5, 0.5, 0.4, 0.9], "box_outside_page"),
        (1, [0.5, 0.5, 1.2, 0.9], "box_outside_page"),
        (1, [0.5, 0.5, 0.501, 0.9], "box_outside_page"),
        (1, [float("nan")] * 4, "box_outside_page"),
    ],
)
def test_seals_outside_the_page(page: int, box: list[float] | None, code: str, signers: dict[str, kit.Signer]) -> None:
    with pytest.raises(Refusal) as refused:
        kit.prepare(kit.request(kit.plain_pdf(), signers["rsa2048"], page=page, box=box))
    assert refused.value.code == code
