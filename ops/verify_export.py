"""Checks an export's archive offline: nothing of the suite is needed, only the file and the roots that seals are to be trusted by.

What is checked: the archive is byte for byte what its own files give; the manifest names every file with its hash; each stream's hash
chain recomputes from the stored bytes and lies below the log's head; what is shown of company, certificates and performances is the fold
of their events; persons, whose events are no one company's, are what the manifest says and have the certificates of the archive; objects
are what their names and the events say; each seal validates over exactly its document, certificate, version and company.
"""

import hashlib
import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import UUID

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from yunku.subject.v1 import persons_pb2
from yunku.subject.v1 import service_pb2 as subject_pb2

import catalogue
from kernel import spreadsheets, topology
from kernel.eventlog.events import RecordedEvent
from kernel.eventlog.hashing import GENESIS
from kernel.eventlog.rebuild import declared
from kernel.eventlog.store import fold
from kernel.sandbox import Sandbox
from services.certificate.projections import CERTIFICATE, PERFORMANCE
from services.certificate.transfers import container, record
from services.signing import adapters as signing_adapters
from services.signing import handlers as signing_handlers
from services.signing.objects import ObjectMissing
from services.signing.projections import SEAL
from services.subject.projections import SUBJECT, message_of, versions_of

_STREAM: Final = re.compile(r"events/([a-z]+)/([0-9a-f-]{36})\.jsonl")
_CHUNK: Final = 256 * 1024
#: What reading bytes that anybody may have changed can end in.
_UNREADABLE: Final = (
    zipfile.BadZipFile,
    DecodeError,
    json_format.Error,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
)
_MAX_LINE: Final = 16 * 1024 * 1024


@dataclass
class _Compared:
    """Where the archive made again is written: it must be the one at hand."""

    file: BinaryIO
    at: int = 0
    #: Where the two part; empty while they don't.
    different: str = ""

    def write(self, data: bytes) -> None:
        if not self.different:
            self.file.seek(self.at)
            if self.file.read(len(data)) != data:
                self.different = f"is another one between byte {self.at} and {self.at + len(data)}"
        self.at += len(data)


@dataclass
class _Desk:
    """What services.signing.handlers.judge_again needs: objects from the archive, and trust in the given roots only."""

    objects: Any
    pdf: Any


class Verifier:
    """Checks one archive; ``findings`` are what is wrong, ``counts`` what was looked at."""

    def __init__(self, path: Path, roots: bytes, manifest_sha256: str = "") -> None:
        self._path = path
        self._roots = roots
        self._expected = manifest_sha256
        self.findings: list[str] = []
        self.counts = dict.fromkeys(("files", "streams", "events", "certificates", "persons", "objects", "seals"), 0)

    async def run(self) -> list[str]:
        """All checks; the findings."""
        with self._path.open("rb") as file, self._path.open("rb") as again:
            try:
                with zipfile.ZipFile(file) as archive:
                    await self._check(archive, again)
            except _UNREADABLE as wrong:
                self.findings.append(f"the archive can't be read: {type(wrong).__name__}: {wrong}")
        return self.findings

    async def _check(self, archive: zipfile.ZipFile, again: BinaryIO) -> None:
        written = self._made_again(archive, again)
        told = written.get(container.MANIFEST)
        if told is None:
            raise ValueError("no manifest")
        data = archive.read(container.MANIFEST)
        manifest = json.loads(data)
        if manifest["format"] != record.FORMAT:
            raise ValueError(f"format {manifest['format']}")
        if self._expected and told.sha256 != self._expected:
            self.findings.append(f"the manifest is another one than was expected: {told.sha256}")
        listed = {name: container.Written(one["sha256"], one["size"]) for name, one in manifest["files"].items()}
        for name in sorted(listed.keys() | written.keys() - {container.MANIFEST}):
            if listed.get(name) != written.get(name):
                self.findings.append(f"{name}: isn't what the manifest says")
        self._record(archive, manifest, written)
        await self._seals(archive)

    def _made_again(self, archive: zipfile.ZipFile, again: BinaryIO) -> dict[str, container.Written]:
        """The files as they are read, written anew beside the archive: both must be the same to the last byte."""
        compared = _Compared(again)
        writer = container.Writer(compared)
        try:
            for info in archive.infolist():
                with archive.open(info) as source, writer.file(info.filename) as target:
                    while piece := source.read(_CHUNK):
                        target.write(piece)
                self.counts["files"] += 1
        finally:
            writer.close()
        if compared.different or compared.at != again.seek(0, 2):
            raise ValueError(compared.different or "goes on after its end")
        return writer.files

    # -- the record ----------------------------------------------------------------------------------------------------

    def _record(self, archive: zipfile.ZipFile, manifest: dict[str, Any], names: Mapping[str, container.Written]) -> None:
        subject_id = manifest["subject_id"]
        missing = set(manifest["missing"])
        sections = record.Sections()
        with tempfile.TemporaryFile() as summary:
            summary.write(spreadsheets.table([record.head()]))
            shown: set[str] = set()
            for service, stream_id, name in self._streams(names):
                events = self._chain(archive, name, service, stream_id, manifest["heads"])
                if not events:
                    continue
                for wanted, _, key in record.objects(event.data for event in events if service in ("certificate", "signing")):
                    self._object(wanted, key, names, missing)
                if service == "subject" and str(stream_id) == subject_id:
                    self._subject(archive, events)
                    shown.add(record.SUBJECT)
                if service != "certificate":
                    continue
                for event in events:
                    if event.short_type == "SealRecorded" and f"events/signing/{event.data.seal.seal_id}.jsonl" not in names:
                        self.findings.append(f"{name}: the seal of version {event.version} has no events")
                if events[0].short_type == "CertificateDrafted":
                    view = fold(CERTIFICATE, events).state.view
                    self._same(archive, f"certificates/{stream_id}.json", record.message_bytes(view), shown)
                    if view.holder.subject_id != subject_id:
                        self.findings.append(f"{name}: is another company's")
                    sections.add(view)
                    summary.write(spreadsheets.lines([record.row(view)]))
                    self.counts["certificates"] += 1
                elif events[0].short_type == "PerformanceDrafted":
                    performance = fold(PERFORMANCE, events).state.view
                    self._same(archive, f"performances/{stream_id}.json", record.message_bytes(performance), shown)
                    if performance.holder.subject_id != subject_id:
                        self.findings.append(f"{name}: is another company's")
            same_catalogue = manifest["catalogue_version"] == catalogue.load().version
            for name in sorted(names):
                if name.startswith(record.PERSONS):
                    person = self._person(archive, name, sections if same_catalogue else None, shown)
                    summary.write(spreadsheets.lines([record.person_row(person)]))
            if same_catalogue:
                summary.seek(0)
                self._same(archive, record.SUMMARY, summary.read(), shown)
        for name in sorted(names):
            if name.startswith(("certificates/", "performances/", record.SUBJECT)) and name not in shown:
                self.findings.append(f"{name}: no events stand behind it")

    def _streams(self, names: Mapping[str, container.Written]) -> Iterator[tuple[str, UUID, str]]:
        """Streams in the order of their ids, which is that of the summary."""
        for name in sorted(names):
            if name.startswith("events/"):
                parts = _STREAM.fullmatch(name)
                if parts is None or parts[1] not in topology.LOG_SERVICES:
                    self.findings.append(f"{name}: is no stream of the suite")
                else:
                    yield parts[1], UUID(parts[2]), name

    def _chain(self, archive: zipfile.ZipFile, name: str, service: str, stream_id: UUID, heads: dict[str, Any]) -> list[RecordedEvent]:
        types = declared(service).types
        events: list[RecordedEvent] = []
        previous, position = GENESIS, 0
        with archive.open(name) as lines:
            while line := lines.readline(_MAX_LINE):
                stored = record.record_of(line)
                event = RecordedEvent.from_record(stored, types)
                sound = (
                    record.line(stored) == line
                    and event.stream_id == stream_id
                    and event.version == len(events) + 1
                    and event.previous_hash == previous
                    and event.computed_hash() == event.hash
                    and (not stored.position or position < stored.position <= heads[service]["position"])
                )
                if not sound:
                    self.findings.append(f"{name}: the chain breaks at version {len(events) + 1}")
                    return []
                if stored.position == heads[service]["position"] and stored.log_hash.hex() != heads[service]["log_hash"]:
                    self.findings.append(f"{name}: the log's head is another one")
                previous, position = event.hash, stored.position or position
                events.append(event)
        self.counts["streams"] += 1
        self.counts["events"] += len(events)
        return events

    def _same(self, archive: zipfile.ZipFile, name: str, expected: bytes, shown: set[str]) -> None:
        shown.add(name)
        try:
            if archive.read(name) == expected:
                return
        except KeyError:
            pass
        self.findings.append(f"{name}: isn't what the events say")

    def _subject(self, archive: zipfile.ZipFile, events: list[RecordedEvent]) -> None:
        """The company as its service showed it, at the version that it says."""
        data = archive.read(record.SUBJECT)
        events = events[: json.loads(data)["revision"]]
        state = fold(SUBJECT, events).state
        if data != record.subject_bytes(message_of(events[0].stream_id, state, len(events)), versions_of(events)):
            self.findings.append(f"{record.SUBJECT}: isn't what the events say")

    def _person(self, archive: zipfile.ZipFile, name: str, sections: record.Sections | None, shown: set[str]) -> persons_pb2.Person:
        """A person as the company saw them. No events stand behind it (they are other companies' too), only the manifest; but what is
        said must be said in full, and the certificates of each section be those of the archive."""
        told = json.loads(archive.read(name))
        person = json_format.ParseDict(told["person"], persons_pb2.Person())
        history = [json_format.ParseDict(one, subject_pb2.PersonHistoryItem()) for one in told["history"]]
        if name != record.person_name(person.id):
            self.findings.append(f"{name}: is another person")
        self._same(archive, name, record.person_bytes(person, history, sections.of(person.id) if sections else told["sections"]), shown)
        self.counts["persons"] += 1
        return person

    def _object(self, name: str, key: str, names: Mapping[str, container.Written], missing: set[str]) -> None:
        if name in missing:
            self.findings.append(f"{name}: was missing when the export was made")
            missing.discard(name)
        elif name not in names:
            if not any(name in finding for finding in self.findings):
                self.findings.append(f"{name}: isn't there")
        else:
            if names[name].sha256 != key.rpartition("/")[2]:
                self.findings.append(f"{name}: has another content than its name says")
            self.counts["objects"] += 1

    # -- seals ---------------------------------------------------------------------------------------------------------

    async def _seals(self, archive: zipfile.ZipFile) -> None:
        names = [name for name in archive.namelist() if name.startswith("events/signing/")]
        if not names:
            return
        sandbox = Sandbox(signing_adapters.OPERATIONS, concurrency=2, require_all=False)
        await sandbox.start()
        try:
            desk: Any = _Desk(_FromArchive(archive, self._roots), signing_adapters.SandboxedPdf(sandbox))
            types = declared("signing").types
            for name in names:
                with archive.open(name) as lines:
                    events = [RecordedEvent.from_record(record.record_of(line), types) for line in lines]
                if not any(event.short_type == "Signed" for event in events):
                    continue
                judgement = await signing_handlers.judge_again(desk, fold(SEAL, events).state)
                if not judgement.valid:
                    self.findings.append(f"{name}: the seal does not validate: {judgement.reason}")
                self.counts["seals"] += 1
        finally:
            await sandbox.stop()


class _FromArchive:
    """The archive's objects as signing's object store shows them."""

    def __init__(self, archive: zipfile.ZipFile, roots: bytes) -> None:
        self._archive = archive
        self._roots = roots

    async def get(self, bucket: str, key: str) -> bytes:
        prefix, _, sha256 = key.rpartition("/")
        name = record.trust_name(sha256) if prefix == "trust" else record.sealed_name(sha256)
        try:
            data = self._archive.read(name)
        except KeyError:
            raise ObjectMissing(name) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ObjectMissing(f"{name} has other bytes than its name says")
        if prefix != "trust":
            return data
        return signing_handlers.trust_bundle(replace(signing_handlers.trust_of_bundle(data), roots=self._roots))


async def verify_export(path: Path, roots: bytes, manifest_sha256: str = "", say: Callable[[str], None] = print) -> int:
    """Checks and tells; answers the number of findings."""
    verifier = Verifier(path, roots, manifest_sha256)
    findings = await verifier.run()
    for finding in findings:
        say(finding)
    looked_at = ", ".join(f"{count} {name}" for name, count in verifier.counts.items())
    say(f"{path.name}: {looked_at}; {len(findings)} findings")
    return len(findings)
