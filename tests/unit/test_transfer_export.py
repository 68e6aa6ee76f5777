"""What ``yunku verify-export`` sees of an archive: whole ones pass, and whatever is changed in one is found."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.message import Message
from yunku.certificate.v1 import events_pb2, types_pb2
from yunku.kernel.v1 import kernel_pb2
from yunku.subject.v1 import events_pb2 as subject_events
from yunku.subject.v1 import service_pb2 as subject_pb2

import catalogue
from kernel import ids, spreadsheets
from kernel.eventlog.events import RecordedEvent
from kernel.eventlog.hashing import GENESIS, event_hash, log_hash
from kernel.eventlog.rebuild import declared
from kernel.eventlog.store import fold
from ops.verify_export import verify_export
from services.certificate.projections import CERTIFICATE
from services.certificate.transfers import container, record

AT = datetime(2026, 11, 28, 8, tzinfo=UTC)
SUBJECT = str(ids.derived("test-subject", "a"))
CERTIFICATE_ID = str(ids.derived("test-certificate", "a"))
BYTES = b"%PDF-1.7 nothing to see"
DOCUMENT = types_pb2.Document(sha256=hashlib.sha256(BYTES).hexdigest(), size=len(BYTES), media_type="application/pdf")


def stream(service: str, stream_id: str, events: Sequence[Message], position: int) -> list[RecordedEvent]:
    types = declared(service).types
    metadata = kernel_pb2.EventMetadata(actor_id="someone", acting_subject_id=SUBJECT).SerializeToString()
    recorded: list[RecordedEvent] = []
    previous = GENESIS
    for version, message in enumerate(events, 1):
        name, schema, payload = types.encode(message)
        row: dict[str, Any] = {
            "stream_id": UUID(stream_id),
            "version": version,
            "event_id": ids.derived("test-event", stream_id, str(version)),
            "schema_version": schema,
            "payload": payload,
            "metadata": metadata,
            "recorded_at": AT,
            "previous_hash": previous,
        }
        previous = event_hash(type_name=name, **row)
        place = position + version
        recorded.append(RecordedEvent(type=name, hash=previous, types=types, position=place, log_hash=log_hash(b"", previous), **row))
    return recorded


HOLDER = types_pb2.Holder(subject_id=SUBJECT, uscc="91210102MA0YK0015B", name="沈阳云库建设有限公司")
CERTIFICATES = stream(
    "certificate",
    CERTIFICATE_ID,
    [
        events_pb2.CertificateDrafted(
            certificate_id=CERTIFICATE_ID, holder=HOLDER, type="litigation_case", fields={"description": "=1+1"}, version=1
        ),
        events_pb2.CertificateUploaded(certificate_id=CERTIFICATE_ID, type="litigation_case", document=DOCUMENT, version=2),
    ],
    5,
)
COMPANY = stream(
    "subject",
    SUBJECT,
    [subject_events.SubjectRegistered(subject_id=SUBJECT, uscc=HOLDER.uscc, name=HOLDER.name, types=["BIDDER"], account_id="x")],
    0,
)
VIEW = fold(CERTIFICATE, CERTIFICATES).state.view
SHOWN = subject_pb2.Subject(id=SUBJECT, uscc=HOLDER.uscc, name=HOLDER.name, types=["BIDDER"], version=1)
STREAM = f"events/certificate/{CERTIFICATE_ID}.jsonl"
VIEW_FILE = f"certificates/{CERTIFICATE_ID}.json"
FILES = {
    record.SUBJECT: record.message_bytes(SHOWN),
    f"events/subject/{SUBJECT}.jsonl": b"".join(record.line(one.to_record()) for one in COMPANY),
    STREAM: b"".join(record.line(one.to_record()) for one in CERTIFICATES),
    VIEW_FILE: record.message_bytes(VIEW),
    record.document_name(DOCUMENT): BYTES,
    record.SUMMARY: spreadsheets.table([record.head()]) + spreadsheets.lines([record.row(VIEW)]),
}
HEADS = {
    "certificate": {"position": 7, "log_hash": CERTIFICATES[-1].log_hash.hex()},
    "subject": {"position": 9, "log_hash": "00"},
}


def archive(files: dict[str, bytes] = FILES, heads: dict[str, Any] = HEADS, subject_id: str = SUBJECT) -> bytes:
    made = io.BytesIO()
    writer = container.Writer(made)
    for name, data in files.items():
        writer.add(name, data)
    listed = {name: {"sha256": one.sha256, "size": one.size} for name, one in writer.files.items()}
    version = catalogue.load().version
    manifest = record.manifest(
        export_id="e", subject_id=subject_id, made_at="now", catalogue_version=version, heads=heads, missing=[], files=listed
    )
    writer.add(container.MANIFEST, manifest)
    assert writer.close().size == len(made.getvalue())
    return made.getvalue()


def found(data: bytes, path: Path, manifest: str = "") -> list[str]:
    path.write_bytes(data)
    said: list[str] = []
    findings = asyncio.run(verify_export(path, b"", manifest, said.append))
    assert findings == len(said) - 1
    return said[:-1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "export.zip"


def test_a_whole_archive_passes_and_every_zip_reader_reads_it(path: Path) -> None:
    assert found(archive(), path) == []
    with zipfile.ZipFile(io.BytesIO(archive())) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in FILES} == FILES
        manifest = json.loads(opened.read(container.MANIFEST))
    assert set(manifest["files"]) == set(FILES)
    assert b"'=1+1" not in FILES[record.SUMMARY]  # behind its label it is no formula
    assert [one for one in found(archive(), path, "0" * 64) if "another one" in one]


def test_any_flipped_byte_is_found(path: Path) -> None:
    data = archive()
    for place in [*range(0, len(data), 29), *range(len(data) - 300, len(data), 3)]:
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        assert found(bytes(changed), path), place
    for other in (data + b"\n", data[:-1], b"", b"\n" + data):
        assert found(other, path)


STORIES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "another state": (VIEW_FILE, lambda told: told.replace(b'"draft"', b'"submitted"')),
    "another value": (VIEW_FILE, lambda told: told.replace(b"=1+1", b"=1+2")),
    "another payload": (STREAM, lambda told: told.replace(b'"payload":"C', b'"payload":"D', 1)),
    "another reading of the payload": (STREAM, lambda told: told.replace(b"=1+1", b"=1+2")),
    "another time": (STREAM, lambda told: told.replace(b'"recorded_at_us":17', b'"recorded_at_us":16', 1)),
    "the end cut off": (STREAM, lambda told: told.splitlines(keepends=True)[0]),
    "the beginning cut off": (STREAM, lambda told: told.splitlines(keepends=True)[1]),
    "another order": (STREAM, lambda told: b"".join(reversed(told.splitlines(keepends=True)))),
    "another document": (record.document_name(DOCUMENT), lambda told: told + b"\n"),
    "another summary": (record.SUMMARY, lambda told: told.replace("草稿".encode(), "已入库".encode())),
    "another name": (record.SUBJECT, lambda told: told.replace("沈阳".encode(), "大连".encode())),
}


@pytest.mark.parametrize("story", STORIES)
def test_another_story_is_found_in_an_archive_that_is_whole_in_itself(story: str, path: Path) -> None:
    name, change = STORIES[story]
    changed = change(FILES[name])
    assert changed != FILES[name]
    assert found(archive(FILES | {name: changed}), path)


def test_what_is_left_out_added_or_above_the_log_is_found(path: Path) -> None:
    for name in FILES:
        assert found(archive({one: data for one, data in FILES.items() if one != name}), path), name
    assert found(archive(FILES | {"certificates/other.json": b"{}"}), path)
    assert found(archive(FILES | {"events/elsewhere/x.jsonl": b""}), path)
    assert found(archive(heads=HEADS | {"certificate": {"position": 6, "log_hash": ""}}), path)
    assert found(archive(heads=HEADS | {"certificate": {"position": 7, "log_hash": "ab"}}), path)
    assert found(archive(subject_id="another"), path)
