"""The signing service as it runs: its own process, database, sandbox and object store; asked as another service asks."""

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from minio.error import S3Error
from yunku.certificate.v1 import types_pb2
from yunku.signing.v1 import service_pb2, service_pb2_grpc

from infra import devca
from infra.testing import RunningSuite, running_suite
from kernel import ids
from kernel.context import system_context, use
from kernel.errors import YunkuError
from kernel.rpc.client import Peers
from kernel.settings import KernelSettings
from tests.service import seal_kit as kit


@pytest.fixture(scope="module")
def suite() -> Iterator[RunningSuite]:
    with running_suite("signing") as running:
        yield running


@dataclass
class Asker:
    """The certificate service's place in these tests."""

    suite: RunningSuite
    peers: Peers

    @property
    def stub(self) -> Any:
        return self.peers.stub(service_pb2_grpc.SigningServiceStub, "signing")

    @property
    def ca(self) -> kit.DevelopmentPki:
        return kit.DevelopmentPki(self.suite.root)

    def upload(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.suite.s3().put_object("documents", digest, BytesIO(data), len(data))
        return digest

    def request(
        self, data: bytes, signer: kit.Signer, media_type: str = kit.PDF, company: tuple[str, str] | None = None
    ) -> service_pb2.PrepareRequest:
        name, uscc = company or (signer.company.name, signer.company.uscc)
        certificate_id, digest = str(ids.uuid7()), self.upload(data)
        statement = json.loads(kit.statement_of(signer, certificate_id, 2, digest))
        statement["holder"] = {"name": name, "uscc": uscc}
        return service_pb2.PrepareRequest(
            certificate_id=certificate_id,
            version=2,
            holder=types_pb2.Holder(subject_id=str(ids.uuid7()), uscc=uscc, name=name),
            document=types_pb2.Document(sha256=digest, size=len(data), media_type=media_type),
            statement=json.dumps(statement, ensure_ascii=False, sort_keys=True).encode(),
            certificate_pem=signer.pem.decode(),
        )

    async def prepare(self, request: service_pb2.PrepareRequest, key: str | None = None) -> Any:
        with use(replace(system_context("certificate"), idempotency_key=key or str(uuid.uuid4()))):
            return await self.stub.Prepare(request, timeout=30)

    async def complete(self, prepared: Any, certificate_id: str, signature: bytes, key: str | None = None) -> Any:
        asked = service_pb2.CompleteRequest(preparation_id=prepared.preparation_id, signature=signature, certificate_id=certificate_id)
        with use(replace(system_context("certificate"), idempotency_key=key or str(uuid.uuid4()))):
            return await self.stub.Complete(asked, timeout=30)

    async def validate(self, sealed_sha256: str) -> Any:
        return await self.stub.Validate(service_pb2.ValidateRequest(sealed_sha256=sealed_sha256), timeout=30)

    def events(self, preparation_id: str) -> list[str]:
        """The types of a preparation's events."""
        home = self.suite.home
        url = home.database_url("signing")
        with psycopg.connect(url) as connection:
            query = "SELECT type FROM events WHERE stream_id = %s ORDER BY version"
            rows = connection.execute(query, (preparation_id,)).fetchall()
        return [str(row[0]).rpartition(".")[2] for row in rows]

    def sealed(self, digest: str) -> bytes:
        response = self.suite.s3().get_object("sealed", digest)
        try:
            data: bytes = response.read()
            return data
        finally:
            response.close()


@pytest.fixture
async def asker(suite: RunningSuite) -> AsyncIterator[Asker]:
    environment = suite.environment("certificate")
    settings = KernelSettings.load({**environment, "YUNKU_DATABASE_URL": "", "YUNKU_NATS_URL": ""})
    peers = Peers(settings)
    try:
        yield Asker(suite, peers)
    finally:
        await peers.close()


@pytest.mark.parametrize("name", ["plain", "object_streams", "rotated_90", "signed_already", "jpeg", "png_alpha", "tiff_pages"])
@pytest.mark.parametrize("key", ["demo", "second"])
async def test_prepare_sign_complete_validate(name: str, key: str, asker: Asker, tmp_path: Path) -> None:
    media_type, make = kit.DOCUMENTS[name]
    signer = asker.ca.signer(key)
    document = await asyncio.to_thread(make)
    request = asker.request(document, signer, media_type)
    prepared = await asker.prepare(request)
    assert prepared.digest_algorithm == "sha256"
    assert prepared.expires_at.ToDatetime(UTC) > datetime.now(UTC) + timedelta(minutes=5)

    answer = await asker.complete(prepared, request.certificate_id, signer.sign(prepared.to_sign))
    seal = answer.seal
    assert seal.seal_id == prepared.preparation_id
    assert (seal.version, seal.signer_uscc, seal.signer_name) == (2, signer.company.uscc, signer.company.name)
    sealed = asker.sealed(seal.sealed_sha256)
    assert hashlib.sha256(sealed).hexdigest() == seal.sealed_sha256
    assert len(sealed) == seal.size
    said = kit.pdfsig(sealed, asker.ca.trust, tmp_path)
    assert "Signature is Valid." in said
    judged = kit.judge(sealed, asker.ca.trust)
    assert judged["valid"]
    assert judged["timestamp"], "the development profile has a timestamp authority"

    validated = await asker.validate(seal.sealed_sha256)
    assert validated.valid
    assert validated.seal == seal
    assert validated.statement == request.statement


async def test_sealed_objects_are_locked(asker: Asker) -> None:
    signer = asker.ca.signer("demo")
    request = asker.request(kit.plain_pdf(), signer)
    prepared = await asker.prepare(request)
    seal = (await asker.complete(prepared, request.certificate_id, signer.sign(prepared.to_sign))).seal
    store = asker.suite.s3()
    for _ in range(200):
        if asker.events(prepared.preparation_id)[-1] == "SealedDocumentLocked":
            break
        await asyncio.sleep(0.05)
    assert asker.events(prepared.preparation_id) == ["SealPrepared", "Signed", "SealedDocumentLocked"]
    held = store.get_object_retention("sealed", seal.sealed_sha256)
    assert held is not None
    assert held.mode == "COMPLIANCE"
    assert held.retain_until_date.replace(tzinfo=UTC) > datetime.now(UTC) + timedelta(days=3649)
    version = store.stat_object("sealed", seal.sealed_sha256).version_id
    with pytest.raises(S3Error):
        store.remove_object("sealed", seal.sealed_sha256, version_id=version)


async def test_the_same_command_twice(asker: Asker) -> None:
    signer = asker.ca.signer("second")
    request = asker.request(kit.plain_pdf(), signer)
    key = str(uuid.uuid4())
    first, second = await asker.prepare(request, key), await asker.prepare(request, key)
    assert first == second
    signature = signer.sign(first.to_sign)
    one, two = await asyncio.gather(
        asker.complete(first, request.certificate_id, signature, key), asker.complete(first, request.certificate_id, signature, key)
    )
    assert one.seal == two.seal
    assert asker.events(first.preparation_id)[:2] == ["SealPrepared", "Signed"]
    with pytest.raises(YunkuError, match="seal_used"):
        await asker.complete(first, request.certificate_id, signature)
    # ECDSA gives another signature each time: the preparation is used up all the same.
    with pytest.raises(YunkuError, match="seal_used"):
        await asker.complete(first, request.certificate_id, signer.sign(first.to_sign))


async def test_signatures_that_are_refused_change_nothing(asker: Asker) -> None:
    signer = asker.ca.signer("demo")
    request = asker.request(kit.plain_pdf(), signer)
    prepared, other = await asker.prepare(request), await asker.prepare(request)
    good = signer.sign(prepared.to_sign)
    for signature in (signer.sign(other.to_sign), asker.ca.issue("rsa").sign(prepared.to_sign), b"", b"nonsense"):
        with pytest.raises(YunkuError, match="signature_invalid") as refused:
            await asker.complete(prepared, request.certificate_id, signature)
        assert refused.value.errors[0].pointer == "/signature"
    with pytest.raises(YunkuError, match="seal_not_prepared"):
        await asker.complete(prepared, str(ids.uuid7()), good)
    assert asker.events(prepared.preparation_id) == ["SealPrepared"]
    assert (await asker.complete(prepared, request.certificate_id, good)).seal.signer_uscc == signer.company.uscc


async def test_unknown_preparations(asker: Asker) -> None:
    for name in ("", "nonsense", str(ids.uuid7())):
        with pytest.raises(YunkuError, match="seal_not_prepared"):
            await asker.complete(service_pb2.PrepareResponse(preparation_id=name), "c", b"signature")
    with pytest.raises(YunkuError, match="not_found"):
        await asker.validate("0" * 64)


@pytest.mark.parametrize(
    ("key", "code"),
    [("revoked", "certificate_revoked"), ("expired", "certificate_expired"), ("tsa", "certificate_without_uscc")],
)
async def test_certificates_that_are_refused(key: str, code: str, asker: Asker) -> None:
    demo = asker.ca.signer("demo")
    request = asker.request(kit.plain_pdf(), demo)
    request.certificate_pem = asker.ca.signer(key).pem.decode()
    with pytest.raises(YunkuError, match=code) as refused:
        await asker.prepare(request)
    assert refused.value.errors[0].pointer == "/certificate"


async def test_another_companys_certificate(asker: Asker) -> None:
    request = asker.request(kit.plain_pdf(), asker.ca.signer("second"), company=devca.DEMO_COMPANY)
    with pytest.raises(YunkuError, match="certificate_not_holders"):
        await asker.prepare(request)


async def test_a_strangers_certificate(asker: Asker, tmp_path: Path) -> None:
    stranger = kit.DevelopmentPki(tmp_path).signer("demo")
    for pem in (stranger.pem.decode(), "", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        request = asker.request(kit.plain_pdf(), asker.ca.signer("demo"))
        request.certificate_pem = pem
        with pytest.raises(YunkuError, match="certificate_untrusted"):
            await asker.prepare(request)


async def test_revoked_between_preparing_and_signing(asker: Asker) -> None:
    """Single use, and the certificate's own trouble is told; a new preparation is refused at once."""
    signer = asker.ca.issue("ec")
    request = asker.request(kit.plain_pdf(), signer)
    prepared = await asker.prepare(request)
    devca.revoke(asker.suite.root, signer.chain[0].serial_number)
    with pytest.raises(YunkuError, match="certificate_revoked"):
        await asker.complete(prepared, request.certificate_id, signer.sign(prepared.to_sign))
    assert asker.events(prepared.preparation_id) == ["SealPrepared", "SealRefused"]
    with pytest.raises(YunkuError, match="seal_invalid"):
        await asker.complete(prepared, request.certificate_id, signer.sign(prepared.to_sign))


async def test_a_seal_outlives_its_certificate(asker: Asker) -> None:
    signer = asker.ca.issue("rsa")
    request = asker.request(kit.plain_pdf(), signer)
    prepared = await asker.prepare(request)
    seal = (await asker.complete(prepared, request.certificate_id, signer.sign(prepared.to_sign))).seal
    devca.revoke(asker.suite.root, signer.chain[0].serial_number)
    assert (await asker.validate(seal.sealed_sha256)).valid


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (kit.written_by_qpdf("encrypted"), "document_encrypted"),
        (b"%PDF-1.7 and nothing", "document_damaged"),
    ],
)
async def test_documents_that_are_refused(document: bytes, code: str, asker: Asker) -> None:
    with pytest.raises(YunkuError, match=code):
        await asker.prepare(asker.request(document, asker.ca.signer("demo")))


async def test_a_missing_document(asker: Asker) -> None:
    request = asker.request(kit.plain_pdf(), asker.ca.signer("demo"))
    digest = hashlib.sha256(b"never uploaded").hexdigest()
    request.statement = request.statement.replace(request.document.sha256.encode(), digest.encode())
    request.document.sha256 = digest
    with pytest.raises(YunkuError, match="document_missing"):
        await asker.prepare(request)


async def test_seals_outside_the_page(asker: Asker) -> None:
    request = asker.request(kit.plain_pdf(), asker.ca.signer("demo"))
    request.seal_page = 7
    with pytest.raises(YunkuError, match="page_unknown") as refused:
        await asker.prepare(request)
    assert refused.value.errors[0].pointer == "/seal/page"
    request.seal_page = 1
    request.seal_box.CopyFrom(types_pb2.Box(x0=0.5, y0=0.5, x1=1.5, y1=0.9))
    with pytest.raises(YunkuError, match="box_outside_page"):
        await asker.prepare(request)


async def test_an_altered_object_is_found(asker: Asker) -> None:
    """Someone with the store's credentials puts another version over a sealed object."""
    signer = asker.ca.signer("demo")
    request = asker.request(kit.plain_pdf(), signer)
    prepared = await asker.prepare(request)
    seal = (await asker.complete(prepared, request.certificate_id, signer.sign(prepared.to_sign))).seal
    sealed = asker.sealed(seal.sealed_sha256)
    asker.suite.s3().put_object("sealed", seal.sealed_sha256, BytesIO(sealed + b"\n"), len(sealed) + 1)
    validated = await asker.validate(seal.sealed_sha256)
    assert not validated.valid
    assert "missing" in validated.reason


async def test_killed_in_between(asker: Asker) -> None:
    """kill -9 after preparing, and again after completing: nothing is lost and nothing done twice."""
    signer = asker.ca.signer("demo")
    request = asker.request(kit.plain_pdf(), signer)
    prepared = await asker.prepare(request)
    asker.suite.kill_process("signing")
    await asyncio.to_thread(asker.suite.wait_ready)
    signature = signer.sign(prepared.to_sign)
    key = str(uuid.uuid4())
    seal = (await asker.complete(prepared, request.certificate_id, signature, key)).seal
    asker.suite.kill_process("signing")
    await asyncio.to_thread(asker.suite.wait_ready)
    assert (await asker.complete(prepared, request.certificate_id, signature, key)).seal == seal
    for _ in range(200):
        if len(asker.events(prepared.preparation_id)) == 3:
            break
        await asyncio.sleep(0.05)
    assert asker.events(prepared.preparation_id) == ["SealPrepared", "Signed", "SealedDocumentLocked"]
