"""Verifies the invariants of reliability.md over the databases, the object store and the streams of a suite.

Read only. Each finding names the invariant, the service and the row that breaks it. Run it on a suite that has come to rest (the chaos
tests wait for that): what is still under way is no finding where the invariant says "or its position is still due".
"""

import asyncio
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from minio.error import S3Error
from psycopg import sql
from yunku.certificate.v1 import events_pb2 as certificate_events
from yunku.certificate.v1 import types_pb2
from yunku.kernel.v1 import kernel_pb2

import catalogue
from kernel.eventlog import rebuild
from kernel.eventlog.events import EVENT_COLUMNS, RecordedEvent, row_to_event
from kernel.eventlog.hashing import GENESIS, log_hash
from kernel.eventlog.wire import HEADER_POSITION, from_message
from kernel.topology import LISTENS, LOG_SERVICES, stream_name
from ops.access import Access

DOCUMENTS: Final = "documents"
SEALED: Final = "sealed"
PAGES: Final = "pages"
#: No request runs longer.
_UNDER_WAY: Final = timedelta(minutes=1)
_MOBILE: Final = re.compile(rb"(?<!\d)1[3-9]\d{9}(?!\d)")


@dataclass(frozen=True)
class Finding:
    """One row that breaks an invariant."""

    #: Number in reliability.md.
    invariant: int
    service: str
    row: str
    what: str

    def __str__(self) -> str:
        return f"invariant {self.invariant}: {self.service}: {self.row}: {self.what}"


@dataclass
class Report:
    """What was looked at, what is wrong, and what an operator should know although it breaks nothing."""

    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, invariant: int, service: str, row: object, what: str) -> None:
        self.findings.append(Finding(invariant, service, str(row), what))


class Checker:
    """One run over one suite."""

    def __init__(self, access: Access, report: Report | None = None) -> None:
        self.access = access
        self.report = report or Report()
        self._logs: dict[str, list[RecordedEvent]] = {}

    async def run(self) -> Report:
        """All invariants that a state can show. (2, the same answer for the same key, is the chaos tests' own.)"""
        for service in LOG_SERVICES:
            self._logs[service] = self._check_log(service)
        for consumer, producers in LISTENS.items():
            for producer in producers:
                self._check_inbox(consumer, producer)
        for service in LOG_SERVICES:
            self._check_projections(service)
        await self._check_streams()
        self._check_certificates()
        await asyncio.to_thread(self._check_objects)
        await self._check_seals()
        self._check_reviews()
        self._check_pushes()
        self._check_ownership()
        self._check_personal()
        return self.report

    # -- 1, 3, 4: the log ----------------------------------------------------------------------------------------------

    def _check_log(self, service: str) -> list[RecordedEvent]:
        report = self.report
        types = rebuild.declared(service).types
        events: list[RecordedEvent] = []
        chain: dict[UUID, RecordedEvent] = {}
        with self.access.database(service) as connection:
            rows = connection.execute(
                f"SELECT {EVENT_COLUMNS}, l.position, l.log_hash, l.sequenced_at, l.event_id FROM log l "
                "LEFT JOIN events e USING (stream_id, version) ORDER BY l.position"
            )
            rolling, last_at = GENESIS, None
            for expected, row in enumerate(rows, 1):
                if row[0] is None:
                    report.add(3, service, f"position {row[10]}", "has no event")
                    continue
                event = row_to_event(row, types)
                events.append(event)
                at: Any = row[12]
                if event.position != expected:
                    report.add(3, service, f"position {event.position}", f"positions are not dense: expected {expected}")
                if row[13] != event.event_id:
                    report.add(3, service, f"position {event.position}", "names another event than its stream and version")
                if last_at is not None and at < last_at:
                    report.add(3, service, f"position {event.position}", "recorded earlier than the position before it")
                last_at = at
                rolling = log_hash(rolling, event.hash)
                if event.log_hash != rolling:
                    report.add(4, service, f"position {event.position}", "log hash does not recompute")
                    rolling = event.log_hash
            due = connection.execute(
                f"SELECT {EVENT_COLUMNS} FROM events e LEFT JOIN log l USING (stream_id, version) WHERE l.position IS NULL"
            ).fetchall()
            in_outbox = {row[0] for row in connection.execute("SELECT event_id FROM outbox").fetchall()}
        for row in due:
            event = row_to_event(row, types)
            events.append(event)
            if event.event_id not in in_outbox:
                report.add(5, service, f"event {event.event_id}", "has neither a position nor an outbox row")
            else:
                report.counts["events without position yet"] += 1
        for event in sorted(events, key=lambda e: (e.stream_id, e.version)):
            before = chain.get(event.stream_id)
            where = f"stream {event.stream_id} version {event.version}"
            if event.version != (before.version + 1 if before else 1):
                report.add(3, service, where, "versions do not rise by one")
            if event.previous_hash != (before.hash if before else GENESIS):
                report.add(4, service, where, "does not chain to the version before it")
            if event.computed_hash() != event.hash:
                report.add(4, service, where, "hash does not recompute from the stored bytes")
            if before and event.recorded_at < before.recorded_at:
                report.add(3, service, where, "recorded earlier than the version before it")
            try:
                assert event.data is not None
            except Exception as unreadable:
                report.add(4, service, where, f"cannot be read: {unreadable}")
            chain[event.stream_id] = event
        report.counts["events"] += len(events)
        report.counts["streams"] += len(chain)
        return events

    # -- 5: what was taken in ------------------------------------------------------------------------------------------

    def _check_inbox(self, consumer: str, producer: str) -> None:
        report = self.report
        row = f"{consumer} from {producer}"
        by_position = {event.position: event for event in self._logs[producer]}
        with self.access.database(consumer) as connection:
            mark = connection.execute("SELECT position, log_hash FROM watermarks WHERE producer = %s", (producer,)).fetchone()
            inbox = connection.execute(
                "SELECT position, event_id, outcome FROM inbox WHERE producer = %s ORDER BY position", (producer,)
            ).fetchall()
            parked: list[Any] = connection.execute(
                "SELECT position, error FROM parked WHERE producer = %s AND replayed_at IS NULL", (producer,)
            ).fetchall()
        watermark = int(str(mark[0])) if mark else 0
        if [entry[0] for entry in inbox] != list(range(1, watermark + 1)):
            report.add(5, consumer, row, f"applied set is not the producer's log up to watermark {watermark}")
        for position, event_id, _ in inbox:
            known = by_position.get(int(str(position)))
            if known is None or known.event_id != event_id:
                report.add(5, consumer, f"{row} position {position}", "is not what the producer's log holds there")
        if mark and watermark:
            event = by_position.get(watermark)
            if event is None or event.log_hash != bytes(mark[1]):  # type: ignore[call-overload]
                report.add(4, producer, f"position {watermark}", f"differs from the checkpoint that {consumer} keeps")
        behind = len([position for position in by_position if position]) - watermark
        if behind:
            report.add(5, consumer, row, f"is {behind} events behind at rest")
        report.counts["applied"] += len(inbox)
        for position, error in parked:
            report.counts["parked"] += 1
            report.notes.append(f"{row} position {position} is parked: {error}")

    async def _check_streams(self) -> None:
        client = await self.access.nats()
        try:
            js = client.jetstream()
            for service in LOG_SERVICES:
                logged = [event for event in self._logs[service] if event.position]
                info = await js.stream_info(stream_name(service))
                if info.state.messages != len(logged):
                    self.report.add(5, service, stream_name(service), f"holds {info.state.messages} of {len(logged)} events")
                types = rebuild.declared(service).types
                for offset, event in enumerate(logged[: info.state.messages]):
                    # Every event of a small log, every 50th and the last hundred of a large one.
                    if len(logged) > 2000 and offset % 50 and offset < len(logged) - 100:
                        continue
                    message = await js.get_msg(stream_name(service), seq=info.state.first_seq + offset)
                    headers = message.headers or {}
                    if headers.get(HEADER_POSITION) != str(event.position) or from_message(headers, message.data or b"", types) != event:
                        self.report.add(5, service, f"{stream_name(service)} message {message.seq}", "is not the log's event")
                    self.report.counts["stream messages"] += 1
        finally:
            await client.close()

    # -- 6: read models ------------------------------------------------------------------------------------------------

    def _check_projections(self, service: str) -> None:
        found = rebuild.declared(service)
        for aggregate, projection in found.state_projections:
            with self.access.database(service) as connection:
                table = rebuild.create_beside(connection, projection.table, rebuild.CHECK)
                rows = list(rebuild.state_rows(connection, found.types, aggregate, projection))
                rebuild.copy_rows(connection, table, rows)
                self._compare(service, projection.name, connection)
                connection.rollback()
        for following in found.log_projections:
            with self.access.database(service) as connection:
                table = rebuild.create_beside(connection, following.table, rebuild.CHECK)
                row = connection.execute("SELECT position FROM projections WHERE name = %s", (following.name,)).fetchone()
                until = int(str(row[0])) if row else 0
                rebuild.follow(connection, found.types, following, table, 0, until)
                self._compare(service, following.name, connection)
                last = connection.execute("SELECT coalesce(max(position), 0) FROM log").fetchone()
                if last and until != last[0]:
                    self.report.add(6, service, following.name, f"stands at {until}, the log at {last[0]}")
                connection.rollback()

    def _compare(self, service: str, name: str, connection: Any) -> None:
        standing, rebuilt = sql.Identifier(name), sql.Identifier(name + rebuild.CHECK)
        differing = connection.execute(
            sql.SQL(
                "SELECT 'stands', row_to_json(a)::text FROM (TABLE {0} EXCEPT ALL TABLE {1}) a "
                "UNION ALL SELECT 'rebuilt', row_to_json(b)::text FROM (TABLE {1} EXCEPT ALL TABLE {0}) b LIMIT 20"
            ).format(standing, rebuilt)
        ).fetchall()
        for side, row in differing:
            self.report.add(6, service, name, f"differs from its rebuild; {side}: {row[:300]}")
        count = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(standing)).fetchone()
        self.report.counts["projection rows"] += count[0]

    # -- 10: states ----------------------------------------------------------------------------------------------------

    def _streams_of(self, service: str) -> Iterator[tuple[UUID, list[RecordedEvent]]]:
        streams: dict[UUID, list[RecordedEvent]] = defaultdict(list)
        for event in sorted(self._logs[service], key=lambda e: (e.stream_id, e.version)):
            streams[event.stream_id].append(event)
        yield from streams.items()

    def _check_certificates(self) -> None:
        report = self.report
        follows: dict[str, str] = {}
        followed: dict[str, str] = {}
        for stream_id, events in self._streams_of("certificate"):
            if events[0].short_type != "CertificateDrafted":
                continue  # a performance
            submitted: certificate_events.Submitted | None = None
            sealed: types_pb2.Seal | None = None
            supplementing = superseded = False
            for event in events:
                where = f"certificate {stream_id} version {event.version}"
                match event.data:
                    case certificate_events.SealRecorded():
                        sealed = event.data.seal
                    case certificate_events.SupplementBegun():
                        supplementing = True
                    case certificate_events.SupplementAbandoned():
                        supplementing = False
                    case certificate_events.Submitted():
                        if submitted is not None and not supplementing:
                            report.add(10, "certificate", where, "was submitted twice")
                        submitted, supplementing = event.data, False
                        kind = catalogue.load().type(submitted.type)
                        allowed = {types_pb2.LIGHT_YELLOW, types_pb2.LIGHT_GREEN} if kind.verification else {types_pb2.LIGHT_NONE}
                        if submitted.light not in allowed:
                            report.add(10, "certificate", where, f"was submitted {types_pb2.Light.Name(submitted.light)}")
                        if kind.sealed and (sealed is None or sealed != submitted.seal or sealed.version != submitted.version):
                            report.add(8, "certificate", where, "was submitted under a seal of something else")
                        if submitted.supersedes:
                            follows[str(stream_id)] = submitted.supersedes
                    case certificate_events.Superseded():
                        superseded = True
                        followed[str(stream_id)] = event.data.successor_id
                    case certificate_events.FieldsStated() | certificate_events.FieldsMarked() | certificate_events.CertificateUploaded():
                        if superseded or (submitted is not None and not supplementing):
                            report.add(10, "certificate", where, f"{event.short_type} after submission")
                    case certificate_events.PushRequested():
                        if submitted is None or event.data.version != submitted.version or event.data.fields != submitted.fields:
                            report.add(10, "certificate", where, "was pushed in a version that was not submitted")
                        if superseded:
                            report.add(10, "certificate", where, "was pushed after it was superseded")
            report.counts["certificates"] += 1
            report.counts["submitted certificates"] += submitted is not None
        # A successor's submission and its former's end are one transaction: neither stands without the other.
        if {former: successor for successor, former in follows.items()} != followed or len(follows) != len(followed):
            differing = sorted(set(followed.items()) ^ {(former, successor) for successor, former in follows.items()})
            report.add(10, "certificate", f"certificates {differing[:5]}", "follow one another on one side only")

    # -- 7, 8: objects and seals ---------------------------------------------------------------------------------------

    def _check_objects(self) -> None:
        store = self.access.object_store()
        wanted: dict[tuple[str, str], tuple[int | None, bool, str]] = {}
        for event in self._logs["certificate"]:
            match event.data:
                case certificate_events.CertificateUploaded():
                    document = event.data.document
                    key = (DOCUMENTS, document.sha256)
                    locked = wanted.get(key, (0, False, ""))[1]
                    wanted[key] = (document.size, locked, f"event {event.event_id}")
                case certificate_events.DocumentLocked():
                    key = (DOCUMENTS, event.data.sha256)
                    size = wanted.get(key, (None, False, ""))[0]
                    wanted[key] = (size, True, f"event {event.event_id}")
        locks = {event.data.sha256 for event in self._logs["signing"] if event.short_type == "SealedDocumentLocked"}
        for event in self._logs["signing"]:
            if event.short_type == "Signed":
                seal = event.data.seal
                wanted[(SEALED, seal.sealed_sha256)] = (seal.size, seal.sealed_sha256 in locks, f"event {event.event_id}")
        for event in self._logs["ocr"]:
            if event.short_type == "FieldsExtracted":
                for number in range(1, event.data.pages_rendered + 1):
                    self._exists(store, PAGES, f"{event.data.document_sha256}/{number}.png", f"event {event.event_id}")
        for (bucket, name), (expected, locked, where) in wanted.items():
            self._object(store, bucket, name, expected, locked, where)

    def _exists(self, store: Any, bucket: str, key: str, where: str) -> None:
        try:
            store.stat_object(bucket, key)
            self.report.counts["objects"] += 1
        except S3Error as missing:
            self.report.add(7, bucket, f"{key} of {where}", f"is missing: {missing.code}")

    def _object(self, store: Any, bucket: str, key: str, size: int | None, locked: bool, where: str) -> None:
        try:
            answer = store.get_object(bucket, key)
            try:
                digest, length = hashlib.sha256(), 0
                for part in answer.stream(1 << 20):
                    digest.update(part)
                    length += len(part)
            finally:
                answer.close()
                answer.release_conn()
        except S3Error as missing:
            self.report.add(7, bucket, f"{key} of {where}", f"is missing: {missing.code}")
            return
        self.report.counts["objects"] += 1
        if digest.hexdigest() != key.rpartition("/")[2]:
            self.report.add(7, bucket, f"{key} of {where}", "has another content than its hash")
        if size is not None and length != size:
            self.report.add(7, bucket, f"{key} of {where}", f"has {length} bytes, not {size}")
        if not locked:
            self.report.counts["objects without lock yet"] += 1
            return
        try:
            retention = store.get_object_retention(bucket, key)
        except S3Error as missing:
            retention = None
            self.report.notes.append(f"{bucket}/{key}: {missing.code}")
        if retention is None or retention.retain_until_date is None or retention.retain_until_date < datetime.now(UTC):
            self.report.add(7, bucket, f"{key} of {where}", "is not locked although its event says so")

    async def _check_seals(self) -> None:
        from kernel.sandbox import Sandbox
        from services.signing import adapters, handlers
        from services.signing.objects import Objects
        from services.signing.projections import SEAL

        signed = [(stream, events) for stream, events in self._streams_of("signing") if any(e.short_type == "Signed" for e in events)]
        if not signed:
            return
        sandbox = Sandbox(adapters.OPERATIONS, concurrency=2, require_all=False)
        await sandbox.start()
        try:
            desk: Any = _Judge(Objects(self.access.object_store()), adapters.SandboxedPdf(sandbox))
            for stream_id, events in signed:
                state = SEAL.initial
                for event in events:
                    state = SEAL.evolve(state, event.data, event.recorded_at)
                judgement = await handlers.judge_again(desk, state)
                if not judgement.valid:
                    self.report.add(8, "signing", f"seal {stream_id}", f"does not validate: {judgement.reason}")
                self.report.counts["seals"] += 1
        finally:
            await sandbox.stop()

    # -- 9, 12: pushes and reviews -------------------------------------------------------------------------------------

    def _check_reviews(self) -> None:
        # When who became a reviewer of what, and when no longer.
        reviewers: dict[tuple[str, str], list[tuple[datetime, bool]]] = defaultdict(list)
        # (account, company) -> from when on, and until when, it was a member; an invited one from its first acting on.
        members: dict[tuple[str, str], list[tuple[datetime, datetime | None]]] = defaultdict(list)
        for event in self._logs["identity"]:
            if event.short_type in ("RoleGranted", "RoleRevoked") and event.data.role == "REVIEWER":
                held = reviewers[event.data.account_id, event.data.domain_id]
                held.append((event.recorded_at, event.short_type == "RoleGranted"))
            elif event.short_type == "MembershipAccepted" or (event.short_type == "MembershipGranted" and not event.data.invited_by):
                members[event.data.account_id, event.data.subject_id].append((event.recorded_at, None))
            elif event.short_type == "MembershipEnded" and (spans := members[event.data.account_id, event.data.subject_id]):
                spans[-1] = (spans[-1][0], event.recorded_at)
        for stream_id, events in self._streams_of("push"):
            opened = next((e.data for e in events if e.short_type == "PushOpened"), None)
            decisions = [e for e in events if e.short_type == "Reviewed"]
            if len(decisions) > 1:
                self.report.add(9, "push", f"push {stream_id}", "was decided twice")
            answers = [e for e in events if e.short_type == "AppealAnswered"]
            if len(answers) > 1 or (answers and not any(e.data.decision == "rejected" for e in decisions)):
                self.report.add(9, "push", f"push {stream_id}", "was decided on an appeal that there can't have been")
            for event in (*decisions, *answers):
                review, where = event.data, f"push {stream_id} version {event.version}"
                if opened is None or review.domain_id != opened.domain_id:
                    self.report.add(9, "push", where, "names another domain than it was shown to")
                    continue
                if event.short_type == "Reviewed" and review.version != opened.version:
                    self.report.add(9, "push", where, "names another version than was shown")
                if event in answers and review.channel == 1 and review.reviewer_id in {e.data.reviewer_id for e in decisions}:
                    self.report.add(9, "push", where, "was decided on appeal by who rejected it")
                if review.channel == 1:
                    # A request that was under way when the role was taken may have ended after it.
                    until = event.recorded_at - _UNDER_WAY
                    changes = [(at, given) for at, given in reviewers[review.reviewer_id, review.domain_id] if at <= event.recorded_at]
                    before = [given for at, given in changes if at <= until]
                    if not any(before[-1:]) and not any(given for at, given in changes if at > until):
                        self.report.add(9, "push", where, "was decided by someone who was no reviewer of the domain then")
                    spans = members[review.reviewer_id, opened.holder.subject_id]
                    if any(begun <= event.recorded_at and (ended is None or event.recorded_at < ended) for begun, ended in spans):
                        self.report.add(9, "push", where, "was decided by a member of the company")
                elif review.channel == 2 and review.reviewer_id != opened.domain_id:
                    self.report.add(9, "push", where, "was decided by another domain's system")
                self.report.counts["reviews"] += 1

    def _check_pushes(self) -> None:
        now = datetime.now(UTC)
        requested = {event.data.push_id for event in self._logs["certificate"] if event.short_type == "PushRequested"}
        opened = {str(stream) for stream, events in self._streams_of("push") if any(e.short_type == "PushOpened" for e in events)}
        for missing in requested - opened:
            self.report.add(12, "push", f"push {missing}", "was requested and never arrived")
        for stranger in opened - requested:
            self.report.add(12, "push", f"push {stranger}", "was never requested")
        for stream_id, events in self._streams_of("push"):
            kinds = {event.short_type for event in events}
            if "PushOpened" in kinds:
                self.report.counts["pushes"] += 1
                if not kinds & {"PushDelivered", "PushWithdrawn", "Reviewed"}:
                    age = (now - events[0].recorded_at).total_seconds()
                    self.report.notes.append(f"push {stream_id} is undelivered for {age:.0f} s")

    # -- 11, 13: whose it is -------------------------------------------------------------------------------------------

    def _check_ownership(self) -> None:
        for stream_id, events in self._streams_of("certificate"):
            first = events[0].data
            match first:
                case certificate_events.CertificateDrafted() | certificate_events.PerformanceDrafted():
                    owner = first.holder.subject_id
                case certificate_events.ImportRequested() | certificate_events.ExportRequested():
                    owner = first.subject_id
                case _:
                    self.report.add(10, "certificate", f"certificate {stream_id}", "does not begin with a draft")
                    continue
            for event in events:
                meta = event.meta
                where = f"certificate {stream_id} version {event.version}"
                if meta.acting_subject_id != owner:
                    self.report.add(11, "certificate", where, "was recorded for another company")
                if meta.actor_kind == kernel_pb2.ACTOR_KIND_UNSPECIFIED or not meta.actor_id:
                    self.report.add(13, "certificate", where, "does not say who")
                named = getattr(event.data, "certificate_id", str(stream_id))
                # A row of an import names the entry that it made.
                if named != str(stream_id) and not isinstance(event.data, certificate_events.ImportRowDone):
                    self.report.add(11, "certificate", where, f"is about certificate {named}")

    def _check_personal(self) -> None:
        for event in self._logs["identity"]:
            if _MOBILE.search(event.payload):
                self.report.add(13, "identity", f"event {event.event_id}", "holds a phone number in plain text")


@dataclass
class _Judge:
    """What services.signing.handlers.judge_again needs of the signing desk."""

    objects: Any
    pdf: Any


async def check(access: Access, say: Callable[[str], None] = print, *, as_json: bool = False) -> int:
    """Runs all checks and tells the result; answers the number of findings."""
    report = await Checker(access).run()
    if as_json:
        say(
            json.dumps(
                {
                    "findings": [finding.__dict__ for finding in report.findings],
                    "counts": dict(report.counts),
                    "notes": report.notes,
                },
                ensure_ascii=False,
            )
        )
        return len(report.findings)
    for note in report.notes:
        say(f"note: {note}")
    for finding in report.findings:
        say(str(finding))
    say(", ".join(f"{count} {what}" for what, count in sorted(report.counts.items())))
    say(f"{len(report.findings)} findings")
    return len(report.findings)
