"""Verdicts on the running services: a company's scan, its statements and marks, and the light; also while processes die."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
from yunku.certificate.v1 import service_pb2, service_pb2_grpc, types_pb2
from yunku.subject.v1 import service_pb2 as subject_pb2
from yunku.subject.v1 import service_pb2_grpc as subject_pb2_grpc
from yunku.verify.v1 import service_pb2 as verify_pb2
from yunku.verify.v1 import service_pb2_grpc as verify_pb2_grpc

import samples
from infra.testing import RunningSuite, running_suite
from kernel.context import CallContext, Caller, use
from kernel.errors import YunkuError
from kernel.ids import uuid7
from kernel.rpc.client import Peers
from kernel.settings import KernelSettings

ENGINE = "ppocr"


@pytest.fixture(scope="module")
def suite() -> Iterator[RunningSuite]:
    settings = {"YUNKU_RECOGNITION_TIMEOUT_SECONDS": "6", "YUNKU_RECOGNITION_IDLE_SECONDS": "600"}
    with running_suite("subject,certificate,ocr,verify", **settings) as running:
        yield running


@dataclass
class Company:
    """One company's operator, as the gateway speaks for it."""

    suite: RunningSuite
    peers: Peers
    caller: Caller
    sample: samples.Sample

    @classmethod
    async def register(cls, suite: RunningSuite, peers: Peers, sample: samples.Sample) -> Company:
        values, account = sample.values(), str(uuid7())
        stub = peers.stub(subject_pb2_grpc.SubjectServiceStub, "subject")
        with use(CallContext(Caller("account", account), str(uuid7()))):
            request = subject_pb2.RegisterSubjectRequest(
                uscc=values["uscc"], name=values["company_name"], types=["BIDDER"], confirm_uscc=True
            )
            made = (await stub.RegisterSubject(request)).subject
        return cls(suite, peers, Caller("account", account, subject_id=made.id, subject_type="BIDDER"), sample)

    async def call(self, method: str, request: Any) -> Any:
        stub = self.peers.stub(service_pb2_grpc.CertificateServiceStub, "certificate")
        with use(CallContext(self.caller, str(uuid7()), idempotency_key=str(uuid7()))):
            return await getattr(stub, method)(request, timeout=20)

    async def drafted(self, changes: dict[str, str] | None = None, drop_marks: tuple[str, ...] = ()) -> str:
        """A certificate with document, the sample's truth as statements (but for ``changes``), and all its marks."""
        kind = self.sample.truth["type"]
        made = await self.call("DraftCertificate", service_pb2.DraftCertificateRequest(type=kind, mode=types_pb2.MODE_MANUAL))
        certificate_id = str(made.certificate.id)
        data, digest = self.sample.bytes, hashlib.sha256(self.sample.bytes).hexdigest()
        await asyncio.to_thread(self.suite.s3().put_object, "documents", digest, BytesIO(data), len(data))
        upload = service_pb2.UploadDocumentRequest(certificate_id=certificate_id, sha256=digest, size=len(data), file_name="扫描件")
        await self.call("UploadDocument", upload)
        stated = {**self.sample.values(), **(changes or {})}
        if kind == "construction_qualification":
            stated["is_primary"] = "true"
        await self.call("StateFields", service_pb2.StateFieldsRequest(certificate_id=certificate_id, fields=stated))
        marks = [
            types_pb2.Mark(field=name, page=page, box=types_pb2.Box(x0=box[0], y0=box[1], x1=box[2], y1=box[3]))
            for name, (page, box) in self.sample.boxes().items()
            if name not in drop_marks
        ]
        await self.call("MarkFields", service_pb2.MarkFieldsRequest(certificate_id=certificate_id, marks=marks))
        return certificate_id

    async def ask(self, certificate_id: str) -> None:
        await self.call("RequestVerification", service_pb2.RequestVerificationRequest(certificate_id=certificate_id))

    async def read(self, certificate_id: str) -> service_pb2.Certificate:
        answer = await self.call("GetCertificate", service_pb2.GetCertificateRequest(certificate_id=certificate_id))
        certificate: service_pb2.Certificate = answer.certificate
        return certificate

    async def until(self, certificate_id: str, state: str, seconds: float = 60.0) -> service_pb2.Certificate:
        """The certificate once its verification has that state; it fails with what stands after ``seconds``."""
        found = await self.read(certificate_id)
        for _ in range(int(seconds / 0.1)):
            if found.verification.state == state:
                return found
            await asyncio.sleep(0.1)
            found = await self.read(certificate_id)
        raise AssertionError(f"still {found.verification}\n{self.suite.log('verify')}\n{self.suite.log('ocr')}")

    async def verified(self, certificate_id: str) -> service_pb2.Certificate:
        await self.ask(certificate_id)
        return await self.until(certificate_id, "done")


@pytest.fixture
async def peers(suite: RunningSuite) -> AsyncIterator[Peers]:
    made = Peers(KernelSettings.load(suite.environment("gateway"), service="gateway"))
    yield made
    await made.close()


def verdicts(certificate: service_pb2.Certificate) -> dict[str, str]:
    return {one.field: types_pb2.Verdict.Name(one.verdict).removeprefix("VERDICT_") for one in certificate.verification.fields}


# The seeds are those of scans on which every field reads surely: about one in five truthful scans is YELLOW, because one of its
# characters can't be told from a look-alike (docs/decisions), and that is no matter of these tests.
def licence(seed: int, **more: Any) -> samples.Sample:
    return samples.generate("business_license", seed=seed, layout="portrait_copy", **{"degradation": "good", **more})


async def test_a_truthful_scan_is_green_and_explained(suite: RunningSuite, peers: Peers) -> None:
    company = await Company.register(suite, peers, licence(515, format="jpeg"))
    certificate = await company.verified(await company.drafted())
    assert certificate.light == types_pb2.LIGHT_GREEN, certificate.verification
    stub = peers.stub(verify_pb2_grpc.VerifyServiceStub, "verify")
    wanted = certificate.verification.id
    with use(CallContext(company.caller, str(uuid7()))):
        explained = (await stub.Explain(verify_pb2.ExplainRequest(verification_id=wanted))).verified
        replayed = await stub.Replay(verify_pb2.ReplayRequest(verification_id=wanted))
    assert explained.light == types_pb2.LIGHT_GREEN
    assert (explained.engine, bool(explained.engine_version)) == (ENGINE, True)
    assert replayed.same
    other = Caller("account", str(uuid7()), subject_id=str(uuid7()))
    with use(CallContext(other, str(uuid7()))), pytest.raises(YunkuError) as refused:
        await stub.Explain(verify_pb2.ExplainRequest(verification_id=wanted))
    assert refused.value.code == "not_found"


async def test_what_the_print_does_not_say_is_red(suite: RunningSuite, peers: Peers) -> None:
    sample = licence(502, format="png")
    company = await Company.register(suite, peers, sample)
    name = sample.values()["legal_rep_name"]
    changed = ("李" if name[0] != "李" else "王") + name[1:]
    certificate = await company.verified(await company.drafted({"legal_rep_name": changed}))
    assert certificate.light == types_pb2.LIGHT_RED
    wrong = {name: verdict for name, verdict in verdicts(certificate).items() if verdict not in ("MATCH", "NOT_COMPARED")}
    assert wrong == {"legal_rep_name": "MISMATCH"}
    (one,) = [one for one in certificate.verification.fields if one.field == "legal_rep_name"]
    assert (one.stated, one.recognised) == (changed, name)


async def test_a_digital_field_without_a_mark_is_yellow_and_a_correction_turns_it_green(suite: RunningSuite, peers: Peers) -> None:
    company = await Company.register(suite, peers, licence(503, format="digital_pdf", degradation="clean"))
    certificate_id = await company.drafted(drop_marks=("address",))
    certificate = await company.verified(certificate_id)
    assert (certificate.light, verdicts(certificate)["address"]) == (types_pb2.LIGHT_YELLOW, "UNMARKED")
    marks = [
        types_pb2.Mark(field=name, page=page, box=types_pb2.Box(x0=box[0], y0=box[1], x1=box[2], y1=box[3]))
        for name, (page, box) in company.sample.boxes().items()
    ]
    await company.call("MarkFields", service_pb2.MarkFieldsRequest(certificate_id=certificate_id, marks=marks))
    assert (await company.read(certificate_id)).light == types_pb2.LIGHT_NONE
    certificate = await company.verified(certificate_id)
    assert certificate.light == types_pb2.LIGHT_GREEN, certificate.verification


@pytest.mark.parametrize(("layout", "seed"), [("original", 531), ("table", 533)])
async def test_a_qualification_in_lines_and_in_a_table(suite: RunningSuite, peers: Peers, layout: str, seed: int) -> None:
    sample = samples.generate("construction_qualification", seed=seed, layout=layout, degradation="good", format="scan_pdf")
    company = await Company.register(suite, peers, sample)
    certificate = await company.verified(await company.drafted())
    assert certificate.light == types_pb2.LIGHT_GREEN, certificate.verification


async def test_another_companys_certificate_is_red(suite: RunningSuite, peers: Peers) -> None:
    company = await Company.register(suite, peers, licence(505, format="jpeg"))
    company.sample = licence(506, format="jpeg")
    certificate = await company.verified(await company.drafted())
    assert certificate.light == types_pb2.LIGHT_RED
    assert {(one.reason, one.decisive) for one in certificate.verification.rules} == {
        ("not_holder_company_name", True),
        ("not_holder_uscc", True),
    }


# The servers below are killed by the chaos tests, under load; here it is the moment that counts.
@pytest.mark.parametrize(("victim", "seed"), [("verify", 511), ("ocr", 512)])
async def test_kill_9_while_a_verdict_is_reached_loses_nothing(suite: RunningSuite, peers: Peers, victim: str, seed: int) -> None:
    company = await Company.register(suite, peers, licence(seed, format="jpeg"))
    certificate_id = await company.drafted()
    await company.ask(certificate_id)
    suite.kill_process(victim)
    await asyncio.to_thread(suite.wait_ready)
    certificate = await company.until(certificate_id, "done", 90)
    assert certificate.light == types_pb2.LIGHT_GREEN, certificate.verification


async def test_while_recognition_hangs_the_light_is_none_with_a_reason_and_then_comes(suite: RunningSuite, peers: Peers) -> None:
    company = await Company.register(suite, peers, licence(520, format="jpeg"))
    certificate_id = await company.drafted()
    pid = suite.pid("ocr")
    os.kill(pid, signal.SIGSTOP)
    try:
        await company.ask(certificate_id)
        certificate = await company.until(certificate_id, "delayed")
        assert certificate.light == types_pb2.LIGHT_NONE
        assert certificate.verification.reason in ("recognition_timeout", "recognition_unavailable")
    finally:
        os.kill(pid, signal.SIGCONT)
    certificate = await company.until(certificate_id, "done", 90)
    assert certificate.light == types_pb2.LIGHT_GREEN
