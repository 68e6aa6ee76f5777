"""The ocr service as it runs: its own process, database, sandbox, recognition processes and object store. Documents come
in as the certificate's events, questions as another service asks them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from PIL import Image
from psycopg_pool import AsyncConnectionPool
from yunku.certificate.v1 import events_pb2 as certificate_events
from yunku.certificate.v1 import types_pb2
from yunku.ocr.v1 import events_pb2, service_pb2, service_pb2_grpc

import catalogue
import samples
from infra.testing import RunningSuite, running_suite
from kernel.context import CallContext, Caller, system_context, use
from kernel.errors import YunkuError
from kernel.eventlog.store import EventLog
from kernel.ids import uuid7
from kernel.rpc.client import Peers
from kernel.settings import KernelSettings
from services.certificate import projections as certificate_projections
from services.ocr import projections

KERNEL_VARIABLES = frozenset(f"YUNKU_{name.upper()}" for name in KernelSettings.model_fields)
LICENCE: Final = "business_license"


@pytest.fixture(scope="module")
def suite() -> Iterator[RunningSuite]:
    settings = {"YUNKU_RECOGNITION_RETRY_SECONDS": "1", "YUNKU_RECOGNITION_IDLE_SECONDS": "600"}
    with running_suite("certificate,ocr", **settings) as running:
        yield running


@pytest.fixture(scope="module")
def scan() -> samples.Sample:
    return samples.generate(LICENCE, seed=41, layout="landscape_copy", degradation="good", format="jpeg")


@pytest.fixture(scope="module")
def digital() -> samples.Sample:
    return samples.generate(LICENCE, seed=42, layout="portrait_copy", format="digital_pdf")


@dataclass
class Asker:
    """The other services' place in these tests."""

    suite: RunningSuite
    peers: Peers
    certificates: EventLog
    jobs: EventLog

    @property
    def stub(self) -> Any:
        return self.peers.stub(service_pb2_grpc.OcrServiceStub, "ocr")

    def upload(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.suite.s3().put_object("documents", digest, BytesIO(data), len(data))
        return digest

    async def inspect(self, data: bytes) -> types_pb2.Document:
        request = service_pb2.InspectRequest(sha256=self.upload(data), size=len(data))
        answer = await self.stub.Inspect(request, timeout=40)
        document: types_pb2.Document = answer.document
        return document

    async def ask(self, document: types_pb2.Document, regions: list[service_pb2.Region]) -> Any:
        request = service_pb2.RecogniseRegionsRequest(document=document, regions=regions)
        return await self.stub.RecogniseRegions(request, timeout=50)

    async def happen(self, *events: Any) -> str:
        """Puts events into the certificate's log, as its service does; returns the certificate's id."""
        certificate_id = uuid7()
        drafted = certificate_events.CertificateDrafted(
            holder=types_pb2.Holder(subject_id="subject-1"), type=LICENCE, mode=types_pb2.MODE_SMART, version=1
        )
        for event in (drafted, *events):
            event.certificate_id = str(certificate_id)
        await self.certificates.execute(
            certificate_projections.CERTIFICATE,
            certificate_id,
            lambda state: [drafted, *events],
            system_context("certificate"),
            subject_id="subject-1",
        )
        return str(certificate_id)

    async def answers(self, certificate_id: str, kind: type[Any], seconds: float = 60) -> list[Any]:
        """The ocr service's events of one kind about a certificate, waited for."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            events, _ = await self.jobs.read_log(1, 1000)
            found = [e.data for e in events if isinstance(e.data, kind) and e.data.certificate_id == certificate_id]
            if found:
                return found
            await asyncio.sleep(0.2)
        raise AssertionError(f"no {kind.__name__} after {seconds:g} s\n{self.suite.log('ocr')}")

    def children(self) -> list[int]:
        """The recognition processes of the service that runs now."""
        service = self.suite.pid("ocr")
        found = []
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                with contextlib.suppress(OSError):
                    parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                    if parent == service and b"services.ocr.process.child" in (process / "cmdline").read_bytes():
                        found.append(int(process.name))
        return found


@pytest.fixture
async def asker(suite: RunningSuite) -> AsyncIterator[Asker]:
    environment = suite.environment("verify")
    peers = Peers(KernelSettings.load({**environment, "YUNKU_DATABASE_URL": "", "YUNKU_NATS_URL": ""}))
    async with contextlib.AsyncExitStack() as opened:
        opened.push_async_callback(peers.close)
        logs = []
        for name, types in (("certificate", certificate_projections.TYPES), ("ocr", projections.TYPES)):
            url = suite.environment(name)["YUNKU_DATABASE_URL"]
            pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
                url, min_size=1, max_size=4, open=False, kwargs={"autocommit": True}
            )
            await pool.open()
            opened.push_async_callback(pool.close)
            logs.append(EventLog(pool, name, types))
        yield Asker(suite, peers, *logs)


def marks(sample: samples.Sample, *fields: str) -> list[types_pb2.Mark]:
    boxes = sample.boxes()
    names = fields or tuple(boxes)
    return [types_pb2.Mark(field=n, page=boxes[n][0], box=_box(boxes[n][1])) for n in names]


def _box(values: Any) -> types_pb2.Box:
    return types_pb2.Box(**dict(zip(("x0", "y0", "x1", "y1"), values, strict=True)))


def region(sample: samples.Sample, field: str, *candidates: str) -> service_pb2.Region:
    page, box = sample.boxes()[field]
    return service_pb2.Region(key=field, page=page, box=_box(box), candidates=candidates)


def read_by_type(field: str, value: str) -> str:
    return catalogue.load().type(LICENCE).field(field).read(value)


async def test_an_upload_becomes_pictures_and_fields(asker: Asker, scan: samples.Sample) -> None:
    document = await asker.inspect(scan.bytes)
    assert (document.media_type, document.born_digital, len(document.pages)) == ("image/jpeg", False, 1)
    uploaded = certificate_events.CertificateUploaded(type=LICENCE, mode=types_pb2.MODE_SMART, document=document, version=2)
    certificate_id = await asker.happen(uploaded)
    (extracted,) = await asker.answers(certificate_id, events_pb2.FieldsExtracted)
    assert extracted.pages_rendered == 1
    assert extracted.engine == "ppocr"
    assert extracted.subject_id == "subject-1"
    stored = asker.suite.s3().get_object("pages", f"{document.sha256}/1.png")
    try:
        picture = Image.open(BytesIO(stored.read()))
    finally:
        stored.close()
    assert (picture.format, picture.size) == ("PNG", (document.pages[0].width, document.pages[0].height))
    found = {f.field: f for f in extracted.fields}
    assert found["uscc"].value == scan.values()["uscc"]
    assert found["company_name"].value == read_by_type("company_name", scan.values()["company_name"])
    truth = scan.truth["fields"]["uscc"]["box"]
    seen = found["uscc"].box
    assert abs(seen.x0 - truth[0]) < 0.02
    assert abs(seen.y1 - truth[3]) < 0.02
    right = sum(found[n].value == read_by_type(n, v) for n, v in scan.values("printed").items() if n in found)
    assert right >= len(scan.values()) - 1


async def test_the_text_layer_of_a_born_digital_pdf_is_used_and_told(asker: Asker, digital: samples.Sample) -> None:
    document = await asker.inspect(digital.bytes)
    assert document.born_digital
    uploaded = certificate_events.CertificateUploaded(type=LICENCE, mode=types_pb2.MODE_SMART, document=document, version=2)
    (extracted,) = await asker.answers(await asker.happen(uploaded), events_pb2.FieldsExtracted)
    found = {f.field: f.value for f in extracted.fields}
    wanted = {n: read_by_type(n, v) for n, v in digital.values("printed").items()}
    assert {n: found.get(n) for n in wanted} == wanted
    answer = await asker.ask(document, [region(digital, "company_name", digital.values()["company_name"])])
    (result,) = answer.results
    assert result.has_text_layer
    assert result.text_layer == digital.values("printed")["company_name"]
    assert result.candidates[0].log_ratio > -2


async def test_marks_are_read_ahead_and_answered_from_the_cache(asker: Asker, scan: samples.Sample) -> None:
    document = await asker.inspect(scan.bytes)
    wanted = marks(scan, "uscc", "company_name", "established_on")
    certificate_id = await asker.happen(
        certificate_events.CertificateUploaded(type=LICENCE, mode=types_pb2.MODE_MANUAL, document=document, version=2),
        certificate_events.FieldsMarked(document=document, marks=wanted, version=3, type=LICENCE),
    )
    (recognised,) = await asker.answers(certificate_id, events_pb2.RegionsRecognised)
    assert [r.field for r in recognised.readings] == ["uscc", "company_name", "established_on"]
    assert recognised.readings[0].text == scan.values()["uscc"]
    query = "SELECT count(*) FROM readings WHERE document_sha256 = %s"

    async def kept() -> int:
        async with asker.jobs.pool.connection() as connection:
            row = await (await connection.execute(query, (document.sha256,))).fetchone()
            return int(row[0]) if row else 0

    before = await kept()
    assert before >= 3
    printed = scan.values("printed")
    names = ("uscc", "company_name", "established_on")
    answer = await asker.ask(document, [region(scan, n, printed[n]) for n in names])
    assert await kept() == before, "the same regions were read again"
    assert (answer.engine, answer.engine_version) == (recognised.engine, recognised.engine_version)
    for result in answer.results:
        assert result.candidates[0].log_ratio > -2
        assert result.candidates[0].lookalike_margin > 2
        assert not result.has_text_layer


async def test_another_code_is_told_from_the_printed_one(asker: Asker, scan: samples.Sample) -> None:
    document = await asker.inspect(scan.bytes)
    printed = scan.values()["uscc"]
    other = printed[:9] + ("7" if printed[9] != "7" else "4") + printed[10:]
    answer = await asker.ask(document, [region(scan, "uscc", printed, other)])
    right, wrong = answer.results[0].candidates
    assert (right.text, wrong.text) == (printed, other)
    assert right.log_ratio > -2
    assert right.lookalike_margin > 2
    assert wrong.log_ratio < -2 or wrong.lookalike_margin < 2


async def test_killed_recognition_processes_are_not_noticed_by_who_asks(asker: Asker, scan: samples.Sample) -> None:
    document = await asker.inspect(scan.bytes)
    await asker.ask(document, [region(scan, "legal_rep_name")])
    before = asker.children()
    assert before
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    answer = await asker.ask(document, [region(scan, "company_type", scan.values("printed")["company_type"])])
    assert answer.results[0].candidates[0].log_ratio > -2
    assert not set(asker.children()) & set(before)


async def test_killing_the_service_loses_no_job(asker: Asker) -> None:
    sample = samples.generate(LICENCE, seed=43, degradation="poor", format="jpeg")
    document = await asker.inspect(sample.bytes)
    certificates = []
    for _ in range(3):
        uploaded = certificate_events.CertificateUploaded(
            type=LICENCE, mode=types_pb2.MODE_SMART, document=document, version=2
        )
        certificates.append(await asker.happen(uploaded))
    await _until(lambda: _requested(asker, certificates[-1]))
    orphans = asker.children()
    asker.suite.kill_process("ocr")
    asker.suite.wait_ready()
    for certificate_id in certificates:
        assert len(await asker.answers(certificate_id, events_pb2.FieldsExtracted)) == 1
    for pid in orphans:
        assert not _is_child(pid), "a recognition process outlived its service"


async def _requested(asker: Asker, certificate_id: str) -> bool:
    events, _ = await asker.jobs.read_log(1, 1000)
    return any(e.data.certificate_id == certificate_id for e in events)


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.05)


def _is_child(pid: int) -> bool:
    try:
        return b"services.ocr.process.child" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


async def test_what_is_missing_puts_the_job_off_until_it_is_there(asker: Asker) -> None:
    sample = samples.generate(LICENCE, seed=44, format="png")
    digest = hashlib.sha256(sample.bytes).hexdigest()
    page = sample.truth["pages"][0]
    document = types_pb2.Document(
        sha256=digest,
        size=len(sample.bytes),
        media_type="image/png",
        pages=[types_pb2.Page(number=1, width=page["width"], height=page["height"])],
    )
    uploaded = certificate_events.CertificateUploaded(type=LICENCE, mode=types_pb2.MODE_SMART, document=document, version=2)
    certificate_id = await asker.happen(uploaded)
    postponed = await asker.answers(certificate_id, events_pb2.RecognitionPostponed)
    assert postponed[0].reason == "storage_unavailable"
    assert postponed[0].attempts == 1
    asker.upload(sample.bytes)
    await asker.answers(certificate_id, events_pb2.FieldsExtracted)


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "document_empty"), (b"MZ nothing that is a document", "document_not_recognised")],
)
async def test_no_document_is_refused(asker: Asker, data: bytes, code: str) -> None:
    with pytest.raises(YunkuError) as refused:
        await asker.inspect(data)
    assert refused.value.code == code


async def test_bad_questions_are_refused(asker: Asker, scan: samples.Sample) -> None:
    document = await asker.inspect(scan.bytes)
    box = _box((0.1, 0.1, 0.2, 0.2))
    questions = {
        "page_unknown": [service_pb2.Region(key="a", page=2, box=box)],
        "box_outside_page": [service_pb2.Region(key="a", page=1, box=_box((0.9, 0.1, 1.2, 0.2)))],
        "request_malformed": [service_pb2.Region(key="a", page=1, box=box), service_pb2.Region(key="a", page=1, box=box)],
    }
    for code, regions in questions.items():
        with pytest.raises(YunkuError) as refused:
            await asker.ask(document, regions)
        assert refused.value.code == code
    with pytest.raises(YunkuError) as refused:
        await asker.ask(document, [service_pb2.Region(key="a", page=1, box=box, candidates=["x" * 2001])])
    assert refused.value.code == "request_malformed"
    missing = types_pb2.Document()
    missing.CopyFrom(document)
    missing.sha256 = "0" * 64
    with pytest.raises(YunkuError) as refused:
        await asker.ask(missing, [service_pb2.Region(key="a", page=1, box=box)])
    assert refused.value.code == "not_found"


async def test_an_empty_region_reads_as_nothing(asker: Asker, scan: samples.Sample) -> None:
    document = await asker.inspect(scan.bytes)
    blank = service_pb2.Region(key="blank", page=1, box=_box((0.3, 0.72, 0.5, 0.76)), candidates=["辽宁"])
    (result,) = (await asker.ask(document, [blank])).results
    assert not result.readings or result.readings[0].text != "辽宁"
    assert result.candidates[0].log_ratio < -2


async def test_only_services_are_answered(asker: Asker, scan: samples.Sample) -> None:
    document = await asker.inspect(scan.bytes)
    person = CallContext(Caller("account", str(UUID(int=1))), correlation_id="test")
    environment = {**asker.suite.environment("gateway"), "YUNKU_DATABASE_URL": "", "YUNKU_NATS_URL": ""}
    gateway = Peers(KernelSettings.load({k: v for k, v in environment.items() if k in KERNEL_VARIABLES}))
    try:
        stub = gateway.stub(service_pb2_grpc.OcrServiceStub, "ocr")
        with use(person), pytest.raises(YunkuError) as refused:
            await stub.Inspect(service_pb2.InspectRequest(sha256=document.sha256, size=document.size), timeout=10)
        assert refused.value.code == "role_missing"
    finally:
        await gateway.close()


def test_the_read_model_is_what_the_log_says(suite: RunningSuite) -> None:
    with psycopg.connect(suite.environment("ocr")["YUNKU_DATABASE_URL"]) as connection:
        rows = connection.execute("SELECT DISTINCT kind FROM jobs").fetchall()
    assert {row[0] for row in rows} == {"extraction", "regions"}
