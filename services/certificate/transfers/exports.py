"""Puts a company's whole record into one archive: what it is now, every event of it as it is stored, every object that the events name,
and where each log of the suite stood. Written to a file piece by piece; a process that is killed begins again."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, Final
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import Table, select
from yunku.certificate.v1 import events_pb2

import catalogue
from kernel import ids, spreadsheets, topology
from kernel.context import system_context, use
from kernel.errors import YunkuError
from kernel.eventlog.events import RecordedEvent
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog, fold
from kernel.observability.logging import get_logger
from kernel.rpc.errors import as_yunku_error
from services.certificate.ports import Records, Transfers
from services.certificate.projections import CERTIFICATE, PERFORMANCE
from services.certificate.tables import certificates, exports, imports, performances
from services.certificate.transfers import container, domain, record
from services.certificate.transfers.projections import EXPORT

_BATCH: Final = 200
#: A part of the system that is down is waited for so long before the export begins again.
_PAUSE: Final = 5.0
#: After that it isn't down, but can't give what this export asks of it (an answer that is too large looks like that).
_PATIENCE: Final = timedelta(days=1)

_log = get_logger(__name__)


class Exporter:
    """Makes one export (``carry_out``), for a ``JobWorker``."""

    def __init__(self, log: EventLog, records: Records, transfers: Transfers) -> None:
        self._log = log
        self._records = records
        self._transfers = transfers

    async def carry_out(self, export_id: UUID) -> bool:
        """Makes the archive, stores it, and records what it is."""
        state = (await self._log.load(EXPORT, export_id)).state
        if state.requested is None or state.finished_at is not None:
            return True
        subject_id, asked_at = state.requested.subject_id, state.requested_at or datetime.now(UTC)
        context = system_context("certificate")
        # Persons are told to the company that they are told to, and to nobody else.
        context = replace(context, caller=replace(context.caller, subject_id=subject_id))
        with use(context), tempfile.TemporaryFile() as file:
            try:
                event = await _Making(self._log, self._records, self._transfers, str(export_id), subject_id, file).make()
                await self._transfers.put_export(str(export_id), event.archive_sha256, file, event.archive_size)
            except Exception as error:
                code = as_yunku_error(error).code
                if code == "service_unavailable" and datetime.now(UTC) < asked_at + _PATIENCE:
                    _log.warning("export waits for a part of the system", code=code, exc_info=error)
                    await asyncio.sleep(_PAUSE)
                    return False
                _log.error("a try of an export failed", code=code, exc_info=error)
                await self._log.execute(EXPORT, export_id, lambda now: domain.fail_try(now, code), context, subject_id=subject_id)
                return False
            await self._log.execute(EXPORT, export_id, lambda now: domain.finish_export(now, event), context, subject_id=subject_id)
        return True


class _Making:
    """One archive while it is made."""

    def __init__(self, log: EventLog, records: Records, transfers: Transfers, export_id: str, subject_id: str, file: BinaryIO) -> None:
        self._log = log
        self._records = records
        self._transfers = transfers
        self._export_id = export_id
        self._subject_id = subject_id
        self._writer = container.Writer(file)
        self._missing: list[str] = []
        self._certificates = self._persons = self._objects = self._events = 0
        #: What stands under each section of each person.
        self._sections = record.Sections()

    async def make(self) -> events_pb2.ExportFinished:
        subject = await self._records.subject(self._subject_id)
        # A submission after the subject was read isn't part of what is shown.
        versions = [one for one in await self._records.profile_versions(self._subject_id) if one.number <= subject.accepted_profile.number]
        self._writer.add(record.SUBJECT, record.subject_bytes(subject, versions))
        await self._stream("subject", UUID(self._subject_id))
        with tempfile.TemporaryFile() as summary:
            # The archive's files are written one after another: the summary's lines wait beside it.
            summary.write(spreadsheets.table([record.head()]))
            async for stream_id in self._streams(certificates):
                summary.write(spreadsheets.lines([await self._certificate(stream_id)]))
            for person_id in sorted(await self._records.person_ids()):
                if line := await self._person(person_id):
                    summary.write(spreadsheets.lines([line]))
            await self._copy(record.SUMMARY, summary)
        async for stream_id in self._streams(performances):
            events = await self._stream("certificate", stream_id)
            self._writer.add(f"performances/{stream_id}.json", record.message_bytes(fold(PERFORMANCE, events).state.view))
        for table in (imports, exports):
            async for stream_id in self._streams(table):
                await self._stream("certificate", stream_id)
        return await self._finished()

    async def _finished(self) -> events_pb2.ExportFinished:
        # Last, so that every event above is below them, or has no position yet.
        heads = {service: await self._records.head(service) for service in topology.LOG_SERVICES}
        manifest = record.manifest(
            export_id=self._export_id,
            subject_id=self._subject_id,
            made_at=datetime.now(UTC).isoformat(),
            catalogue_version=catalogue.load().version,
            heads={service: {"position": position, "log_hash": digest.hex()} for service, (position, digest) in heads.items()},
            missing=self._missing,
            files={name: {"sha256": one.sha256, "size": one.size} for name, one in self._writer.files.items()},
        )
        self._writer.add(container.MANIFEST, manifest)
        made = self._writer.files[container.MANIFEST]
        archive = self._writer.close()
        return events_pb2.ExportFinished(
            export_id=self._export_id,
            subject_id=self._subject_id,
            archive_sha256=archive.sha256,
            archive_size=archive.size,
            manifest_sha256=made.sha256,
            certificates=self._certificates,
            objects=self._objects,
            events=self._events,
            persons=self._persons,
        )

    async def _streams(self, table: Table) -> AsyncIterator[UUID]:
        """The ids of the company's rows of a read model, in their order."""
        (key,) = table.primary_key.columns
        query = select(key).where(table.c.subject_id == self._subject_id).order_by(key).limit(_BATCH)
        after: UUID | None = None
        while True:
            async with self._log.pool.connection() as connection:
                rows: list[Any] = await (await connection.execute(*render(query if after is None else query.where(key > after)))).fetchall()
            for (after,) in rows:
                yield after
            if len(rows) < _BATCH:
                return

    async def _certificate(self, stream_id: UUID) -> list[str]:
        """A certificate, all that happened to it in every service, and its objects; its line of the summary."""
        events = await self._stream("certificate", stream_id)
        view = fold(CERTIFICATE, events).state.view
        self._writer.add(f"certificates/{stream_id}.json", record.message_bytes(view))
        self._certificates += 1
        self._sections.add(view)
        await self._objects_of([event.data for event in events])
        for event in events:
            for service, related in _related(event):
                found = await self._stream(service, related)
                if service == "signing":
                    await self._objects_of([one.data for one in found])
        return record.row(view)

    async def _person(self, person_id: str) -> list[str]:
        """A person as the company sees them, never the person's events: these tell other companies' doings too. The line of the summary;
        empty where the person was erased meanwhile."""
        try:
            person, history = await self._records.person(person_id)
        except YunkuError as refused:
            if refused.code != "not_found":
                raise
            return []
        # Of the whole stream, other companies' events included: it says nothing here.
        person.ClearField("revision")
        self._writer.add(record.person_name(person_id), record.person_bytes(person, history, self._sections.of(person_id)))
        self._persons += 1
        return record.person_row(person)

    async def _stream(self, service: str, stream_id: UUID) -> list[RecordedEvent]:
        """A stream as it is stored; nothing is written of one that has no events, or stands there already."""
        name = f"events/{service}/{stream_id}.jsonl"
        if name in self._writer.files:
            return []
        if service == self._log.service:
            events = await self._log.read_stream_from(stream_id, 1, 2**31 - 1)
        else:
            types = record.types_of(service)
            events = [RecordedEvent.from_record(one, types) for one in await self._records.stream(service, stream_id)]
        if events:
            with self._writer.file(name) as file:
                for event in events:
                    file.write(record.line(event.to_record()))
            self._events += len(events)
        return events

    async def _objects_of(self, events: Sequence[Message]) -> None:
        for name, bucket, key in record.objects(events):
            if name in self._writer.files or name in self._missing:
                continue
            # Asked for before the file is begun: what isn't there leaves nothing behind but its name in the manifest.
            try:
                pieces = self._transfers.pieces(bucket, key)
                first = await anext(pieces, b"")
            except YunkuError as refused:
                if refused.code != "not_found":
                    raise
                self._missing.append(name)
                continue
            with self._writer.file(name) as file:
                await asyncio.to_thread(file.write, first)
                async for piece in pieces:
                    await asyncio.to_thread(file.write, piece)
            self._objects += 1

    async def _copy(self, name: str, source: BinaryIO) -> None:
        source.seek(0)
        with self._writer.file(name) as file:
            while piece := source.read(256 * 1024):
                await asyncio.to_thread(file.write, piece)


def _related(event: RecordedEvent) -> list[tuple[str, UUID]]:
    """The streams of other services that a certificate's event led to or came from."""
    data = event.data
    match data:
        case events_pb2.CertificateUploaded() | events_pb2.FieldsMarked():
            return [("ocr", ids.derived("recognition-job", str(event.event_id)))]
        case events_pb2.VerificationRequested():
            return [("verify", UUID(data.verification_id))]
        case events_pb2.SealRecorded():
            return [("signing", UUID(data.seal.seal_id))]
        case events_pb2.Submitted():
            return [("signing", ids.derived("digital-certificate", data.certificate_id, str(data.version)))]
        case events_pb2.PushRequested():
            return [("push", UUID(data.push_id))]
    return []
