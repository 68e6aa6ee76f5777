"""What ``yunku verify-export`` sees of an archive: whole ones pass, and whatever is changed in one is found."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.message import Message
from yunku.certificate.v1 import events_pb2, transfer_pb2, types_pb2
from yunku.kernel.v1 import kernel_pb2
from yunku.subject.v1 import events_pb2 as subject_events
from yunku.subject.v1 import persons_pb2, profile_pb2
from yunku.subject.v1 import service_pb2 as subject_pb2

import catalogue
from kernel import ids, spreadsheets
from kernel.eventlog.events import RecordedEvent
from kernel.eventlog.hashing import GENESIS, event_hash, log_hash
from kernel.eventlog.rebuild import declared
from kernel.eventlog.store import fold
from ops.verify_export import verify_export
from services.certificate.projections import CERTIFICATE
from services.certificate.transfers import container, domain, record
from services.certificate.transfers.projections import export_row
from services.subject.projections import SUBJECT as SUBJECT_FOLD
from services.subject.projections import message_of, versions_of

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
PLACE = profile_pb2.Profile(registered_place="沈阳", company_type="有限责任公司")
COMPANY = stream(
    "subject",
    SUBJECT,
    [
        subject_events.SubjectRegistered(subject_id=SUBJECT, uscc=HOLDER.uscc, name=HOLDER.name, types=["BIDDER"], account_id="x"),
        subject_events.ProfileStated(subject_id=SUBJECT, profile=PLACE, version=2),
        subject_events.ProfileSubmitted(subject_id=SUBJECT, number=1, uscc=HOLDER.uscc, name=HOLDER.name, profile=PLACE, version=2),
        # After the company was read for the archive.
        subject_events.SubjectRenamed(subject_id=SUBJECT, former_name=HOLDER.name, name="大连云库建设有限公司"),
    ],
    0,
)
PERSON_ID = str(ids.derived("test-person", "a"))
TITLE_ID = str(ids.derived("test-certificate", "b"))
TITLE = stream(
    "certificate",
    TITLE_ID,
    [events_pb2.CertificateDrafted(certificate_id=TITLE_ID, holder=HOLDER, type="personal_id", person_id=PERSON_ID, version=1)],
    2,
)
PERSON = persons_pb2.Person(
    id=PERSON_ID,
    document_kind="id_card",
    number="110101199003070015",
    name="王建国",
    position="=cmd()",
    source="typed",
    state="bound",
    bound_on="2026-01-05",
    version=1,
)
HISTORY = [subject_pb2.PersonHistoryItem(number=1, type="PersonBound", params={"bound_on": "2026-01-05"})]
VIEW = fold(CERTIFICATE, CERTIFICATES).state.view
TITLE_VIEW = fold(CERTIFICATE, TITLE).state.view
SHOWN = record.subject_bytes(message_of(UUID(SUBJECT), fold(SUBJECT_FOLD, COMPANY[:3]).state, 3), versions_of(COMPANY[:3]))
SECTIONS = record.Sections()
SECTIONS.add(VIEW)
SECTIONS.add(TITLE_VIEW)
# In the order of their ids.
OWN = sorted((view.id, view) for view in (VIEW, TITLE_VIEW))
STREAM = f"events/certificate/{CERTIFICATE_ID}.jsonl"
VIEW_FILE = f"certificates/{CERTIFICATE_ID}.json"
PERSON_FILE = record.person_name(PERSON_ID)
FILES = {
    record.SUBJECT: SHOWN,
    f"events/subject/{SUBJECT}.jsonl": b"".join(record.line(one.to_record()) for one in COMPANY),
    STREAM: b"".join(record.line(one.to_record()) for one in CERTIFICATES),
    VIEW_FILE: record.message_bytes(VIEW),
    f"events/certificate/{TITLE_ID}.jsonl": b"".join(record.line(one.to_record()) for one in TITLE),
    f"certificates/{TITLE_ID}.json": record.message_bytes(TITLE_VIEW),
    PERSON_FILE: record.person_bytes(PERSON, HISTORY, SECTIONS.of(PERSON_ID)),
    record.document_name(DOCUMENT): BYTES,
    record.SUMMARY: spreadsheets.table([record.head(), *(record.row(view) for _, view in OWN), record.person_row(PERSON)]),
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
    "another place": (record.SUBJECT, lambda told: told.replace(b'"registered_place": "', b'"registered_place": "x', 1)),
    "another submission": (record.SUBJECT, lambda told: told.replace(b'"account_id": "', b'"account_id": "x')),
    "no submission": (record.SUBJECT, lambda told: record.json_bytes({**json.loads(told), "profile_versions": []})),
    "another state of the profile": (record.SUBJECT, lambda told: told.replace(b'"submitted"', b'"changing"')),
    "a later revision": (record.SUBJECT, lambda told: told.replace(b'"revision": 3', b'"revision": 4')),
    "a revision that there isn't": (record.SUBJECT, lambda told: told.replace(b'"revision": 3', b'"revision": -1')),
    "more than is shown": (record.SUBJECT, lambda told: told.replace(b'"revision"', b'"more": 1,\n "revision"')),
    "another number": (PERSON_FILE, lambda told: told.replace(b"110101199003070015", b"110101199003070023")),
    "another section": (PERSON_FILE, lambda told: told.replace(b'"basic"', b'"title"')),
    "a person's certificate left out": (PERSON_FILE, lambda told: record.json_bytes({**json.loads(told), "sections": {}})),
    "more of a person": (PERSON_FILE, lambda told: record.json_bytes({**json.loads(told), "more": 1})),
    "another person": (PERSON_FILE, lambda told: told.replace(PERSON_ID.encode(), SUBJECT.encode())),
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


def test_a_person_is_told_in_full_while_bound_and_runs_no_formula() -> None:
    told = json.loads(FILES[PERSON_FILE])
    assert told["sections"] == {"basic": [TITLE_ID]}
    assert (told["person"]["number"], told["person"]["bound_on"]) == (PERSON.number, "2026-01-05")
    assert told["history"][0]["type"] == "PersonBound"
    line = record.person_row(persons_pb2.Person(id=PERSON_ID, name="王建国", number="1101************15", state="unbound"))
    assert ("已解绑" in line, any("1101************15" in cell for cell in line)) == (True, True)
    assert len(line) == len(record.head())
    assert not [cell for cell in record.person_row(PERSON) if cell.startswith(("=", "+", "-", "@"))]


# -- tries -------------------------------------------------------------------------------------------------------------


def test_an_export_that_meets_a_defect_is_tried_ever_later_and_then_fails_for_good() -> None:
    asked = events_pb2.ExportRequested(export_id="e", subject_id=SUBJECT)
    state, now = domain.evolve_export(domain.Export(), asked, AT), AT
    rows: list[Mapping[str, Any]] = []
    waits: list[tuple[str, int]] = []
    while state.state == domain.WAITING:
        assert len(waits) <= 10
        now += timedelta(hours=1)
        for event in domain.fail_try(state, "internal"):
            state = domain.evolve_export(state, event, now)
        rows.append(export_row(UUID(CERTIFICATE_ID), state, 1) or {})
        waits.append((rows[-1]["state"], (rows[-1]["due_at"] - now).seconds))
    assert waits == [*(("waiting", pause) for pause in domain.EXPORT_PAUSES), ("failed", domain.EXPORT_PAUSES[-1])]
    view = transfer_pb2.Export.FromString(rows[-1]["view"])
    assert (view.state, view.reason, view.finished_at.ToDatetime(tzinfo=UTC)) == ("failed", "internal", now)
    # What failed for good stays so, and nothing is said twice.
    assert domain.fail_try(state, "internal") == []
    assert domain.finish_export(state, events_pb2.ExportFinished(export_id="e")) == []
    assert domain.fail_try(domain.Export(), "internal") == []


def test_a_try_that_succeeds_after_others_failed_ends_the_export_well() -> None:
    state = domain.evolve_export(domain.Export(), events_pb2.ExportRequested(export_id="e", subject_id=SUBJECT), AT)
    (tried,) = domain.fail_try(state, "deadline_exceeded")
    state = domain.evolve_export(state, tried, AT)
    (made,) = domain.finish_export(state, events_pb2.ExportFinished(export_id="e", subject_id=SUBJECT))
    state = domain.evolve_export(state, made, AT)
    assert (state.state, state.reason, domain.fail_try(state, "internal")) == (domain.DONE, "", [])
