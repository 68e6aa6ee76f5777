"""Carries an import out, row by row: each row's entry is made by the same commands that a person's requests are, in the name of who
asked for the import.

What is done stands in the import's log and in the entries' own; a process that is killed loses nothing. A row that was half done is
found by its place (``import_keys``) and gone on with.
"""

import asyncio
import hashlib
import tempfile
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import BinaryIO, Final, TypeVar
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from yunku.certificate.v1 import events_pb2, service_pb2, types_pb2

import catalogue
from kernel import context as call_context
from kernel import ids
from kernel.context import CallContext, Caller
from kernel.errors import FieldError, YunkuError
from kernel.eventlog.events import RecordedEvent
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog
from kernel.observability.logging import get_logger
from kernel.rpc.errors import as_yunku_error
from kernel.sandbox.formats import sniff
from services.certificate import domain
from services.certificate.handlers import Handlers
from services.certificate.ports import Inspector, Persons, Transfers
from services.certificate.projections import CERTIFICATE
from services.certificate.tables import import_keys
from services.certificate.transfers import domain as transfer_domain
from services.certificate.transfers import table
from services.certificate.transfers.archive import FOLDERS, TABLE, Archive, Limits
from services.certificate.transfers.projections import IMPORT

#: Rows whose documents are stored and inspected at once; the sandbox takes two.
_AHEAD: Final = 4
#: A part of the system that is down is waited for so often, ever longer; then the row fails and can be imported again.
_PATIENCE: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0)
_PASSING: Final = frozenset({"service_unavailable", "deadline_exceeded", "version_conflict"})
_MAX_ERRORS: Final = 20
#: Before an import that could not go on is taken up again.
_PAUSE: Final = 5.0
#: When rehearsed events happen: nothing that is decided depends on it.
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_log = get_logger(__name__)
T = TypeVar("T")


class Remembering:
    """An inspector that doesn't look at the same document twice: a row's document is seen before its first command, and by one."""

    def __init__(self, inspector: Inspector, size: int = 64) -> None:
        self._inspector = inspector
        self._size = size
        self._known: OrderedDict[str, types_pb2.Document] = OrderedDict()

    async def inspect(self, sha256: str, size: int) -> types_pb2.Document:
        known = self._known.get(sha256)
        if known is None:
            known = await self._inspector.inspect(sha256, size)
            self._known[sha256] = known
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        copy = types_pb2.Document()
        copy.CopyFrom(known)
        return copy


@dataclass(frozen=True)
class _Ready:
    """A row that was read, its document stored and inspected; or why not."""

    number: int
    row: table.Row | None = None
    document: types_pb2.Document | None = None
    refusal: YunkuError | None = None
    #: Heads of the columns, for a row that couldn't be read whole.
    columns: tuple[tuple[str, str], ...] = ()


def opened(file: BinaryIO, limits: Limits) -> tuple[Archive, table.Table]:
    """The archive and its table; raises YunkuError ``archive_*``, ``table_*``."""
    archive = Archive(file, limits)
    return archive, table.read(archive.read(TABLE))


class Importer:
    """Does one import (``carry_out``), for a ``JobWorker``."""

    def __init__(
        self, log: EventLog, handlers: Handlers, persons: Persons, inspector: Inspector, transfers: Transfers, limits: Limits
    ) -> None:
        self._log = log
        self._handlers = handlers
        self._persons = persons
        self._inspector = inspector
        self._transfers = transfers
        self._limits = limits

    async def carry_out(self, import_id: UUID) -> bool:
        """Goes on with an import where it stands, to its end."""
        events = await self._log.read_stream(import_id)
        state = (await self._log.load(IMPORT, import_id)).state
        if state.requested is None or state.finished_at is not None:
            return True
        asked = events[0]
        context = _context(asked)
        reason = ""
        with call_context.use(context), tempfile.TemporaryFile() as file:
            try:
                await self._transfers.fetch_import(state.requested.subject_id, state.requested.archive_sha256, file)
                archive, rows = await asyncio.to_thread(opened, file, self._limits)
                await self._rows(import_id, state.done, asked, archive, rows)
            except Exception as error:
                refused = as_yunku_error(error)
                # It was sound when it was taken in: the archive is gone, or isn't what it was.
                if refused.code in _PASSING or refused.code == "internal":
                    _log.warning("import waits for a part of the system", code=refused.code, exc_info=error)
                    await asyncio.sleep(_PAUSE)
                    return False
                reason = refused.code
            await self._append(import_id, lambda now: transfer_domain.finish_import(now, str(import_id), reason))
        return True

    async def _rows(self, import_id: UUID, done: int, asked: RecordedEvent, archive: Archive, rows: table.Table) -> None:
        subject_id = asked.data.subject_id
        for first in range(done, len(rows.rows), _AHEAD):
            numbers = range(first, min(first + _AHEAD, len(rows.rows)))
            ready = await asyncio.gather(*(self._prepared(archive, rows, number) for number in numbers))
            for one in ready:
                event = await self._carried_out(subject_id, str(asked.event_id), one)
                event.import_id, event.row = str(import_id), one.number
                await self._append(import_id, partial(transfer_domain.record_row, event=event))

    async def _append(self, import_id: UUID, decide: Callable[[transfer_domain.Import], Sequence[Message]]) -> None:
        await self._log.execute(IMPORT, import_id, decide, call_context.current())

    # -- one row -------------------------------------------------------------------------------------------------------

    async def _prepared(self, archive: Archive, rows: table.Table, number: int) -> _Ready:
        """Reads the row, stores its document, has it inspected. What is wrong with it is the row's result, nothing more."""
        columns: tuple[tuple[str, str], ...] = ()
        try:
            row = await asyncio.to_thread(
                table.parse, rows, rows.rows[number], catalogue.load(), lambda name: archive.read(_within(name, FOLDERS[1]))
            )
            columns = tuple(row.columns.items())
            document = await self._patiently(lambda: self._document(archive, row)) if row.document else None
        except table.RowRefused as refused:
            return _Ready(number + 1, refusal=refused.refusal, columns=tuple(refused.columns.items()))
        except YunkuError as refusal:
            return _Ready(number + 1, refusal=refusal, columns=columns)
        return _Ready(number + 1, row, document)

    async def _document(self, archive: Archive, row: table.Row) -> types_pb2.Document:
        name = _within(row.document, FOLDERS[0])
        try:
            data = await asyncio.to_thread(archive.read, name)
        except KeyError:
            raise YunkuError("archive_entry_missing", field="/document", name=row.document[:100]) from None
        media_type = sniff(data[:16])
        if not data or media_type is None:
            raise YunkuError("document_not_recognised" if data else "document_empty", field="/document")
        sha256 = hashlib.sha256(data).hexdigest()
        await self._transfers.put_document(sha256, data, media_type)
        try:
            document = await self._inspector.inspect(sha256, len(data))
        except YunkuError as refused:
            raise YunkuError(refused.code, errors=[FieldError("/document", refused.code, refused.params)]) from None
        document.file_name = name.rpartition("/")[2][:200]
        return document

    async def _carried_out(self, subject_id: str, cause: str, ready: _Ready) -> events_pb2.ImportRowDone:
        done = events_pb2.ImportRowDone(key=ready.row.key if ready.row else "", type=ready.row.type if ready.row else "")
        columns = dict(ready.columns)
        try:
            if ready.row is None:
                raise ready.refusal or YunkuError("internal")
            columns = dict(ready.row.columns)
            row, document = ready.row, ready.document
            certificate_id, outcome = await self._patiently(lambda: self._entry(subject_id, cause, row, document))
            done.certificate_id, done.outcome = str(certificate_id), outcome
        except YunkuError as refused:
            done.outcome = transfer_domain.ROW_FAILED
            for error in refused.errors[:_MAX_ERRORS] or (FieldError("", refused.code, refused.params),):
                column = table.column_of(columns, error.pointer)
                done.errors.add(code=error.code, pointer=error.pointer[:200], column=column[:200], params=dict(error.params))
        return done

    async def _entry(self, subject_id: str, cause: str, row: table.Row, document: types_pb2.Document | None) -> tuple[UUID, str]:
        """Makes the entry, or brings it to what the row says; answers its id and the outcome."""
        if names_number(row.person):
            # Whether it names the person by id or by number, it is the same row.
            row = replace(row, person=the_one(await self._persons.numbered(subject_id, row.person)))
        digest = row.digest(document.sha256 if document else "")
        row_id = ids.derived("import-row", subject_id, *(("key", row.key) if row.key else ("content", digest.hex())))
        certificate_id, carried_out = await self._place(row_id)
        events = await self._log.read_stream(certificate_id)
        state = (await self._log.load(CERTIFICATE, certificate_id)).state
        if state.exists and state.view.state == domain.DISCARDED:
            raise YunkuError("wrong_state", field="/row_key", state=state.view.state)
        if state.exists and carried_out == digest:
            # Whoever edited the entry by hand since then finds it as they left it; a killed process had only not said yet that it was done.
            return certificate_id, _outcome(events, cause)
        kind = catalogue.load().type(row.type)
        draft = service_pb2.DraftCertificateRequest(
            type=row.type,
            mode=types_pb2.Mode.Value(f"MODE_{row.mode}") if row.mode in kind.modes else types_pb2.MODE_UNSPECIFIED,
            fields={name: value for name, value in row.fields.items() if value},
            person_id=row.person,
            performance_id=row.performance,
        )
        _rehearse(state, draft, row, document, subject_id)
        if not state.exists:
            await self._handlers.draft(draft, certificate_id)
        await self._bring(str(certificate_id), draft, row, document)
        await self._carried(row_id, digest)
        return certificate_id, _outcome(await self._log.read_stream(certificate_id), cause)

    async def _bring(
        self, certificate_id: str, draft: service_pb2.DraftCertificateRequest, row: table.Row, document: types_pb2.Document | None
    ) -> None:
        """Each command does nothing where the entry is so already."""
        handlers = self._handlers
        view = (await self._log.load(CERTIFICATE, UUID(certificate_id))).state.view
        if view.mode != draft.mode:
            await handlers.switch_mode(service_pb2.SwitchModeRequest(certificate_id=certificate_id, mode=draft.mode))
        if document is not None and view.document.sha256 != document.sha256:
            upload = service_pb2.UploadDocumentRequest(
                certificate_id=certificate_id, sha256=document.sha256, size=document.size, file_name=document.file_name
            )
            await handlers.upload(upload)
        stated = service_pb2.StateFieldsRequest(
            certificate_id=certificate_id, fields=row.fields, absent=row.absent or (), set_absent=row.absent is not None
        )
        await handlers.state_fields(stated)
        if row.marks is not None:
            await handlers.mark_fields(service_pb2.MarkFieldsRequest(certificate_id=certificate_id, marks=_marks(row)))
        if row.verify and catalogue.load().type(row.type).verification:
            await handlers.request_verification(service_pb2.RequestVerificationRequest(certificate_id=certificate_id))

    # -- places --------------------------------------------------------------------------------------------------------

    async def _place(self, row_id: UUID) -> tuple[UUID, bytes]:
        """The id of the row's entry, given once and for ever, and what the row said when it was last carried out to its end."""
        give = insert(import_keys).values(row_id=row_id, certificate_id=ids.uuid7()).on_conflict_do_nothing()
        look = select(import_keys.c.certificate_id, import_keys.c.content).where(import_keys.c.row_id == row_id)
        async with self._log.pool.connection() as connection:
            await connection.execute(*render(give))
            found = await (await connection.execute(*render(look))).fetchone()
        if found is None:
            raise YunkuError("internal")
        return found[0], bytes(found[1] or b"")

    async def _carried(self, row_id: UUID, digest: bytes) -> None:
        async with self._log.pool.connection() as connection:
            await connection.execute(*render(update(import_keys).where(import_keys.c.row_id == row_id).values(content=digest)))

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What ``attempt()`` gives; a part of the system that is down for a while is waited for."""
        for pause in (*_PATIENCE, None):
            try:
                return await attempt()
            except Exception as error:
                refused = as_yunku_error(error)
                if refused.code not in _PASSING or pause is None:
                    if refused.code == "internal":
                        # A defect in one row must not hold up the others, nor all imports behind this one.
                        _log.error("a row of an import failed", exc_info=error)
                    raise refused from None
                _log.warning("import waits for a part of the system", code=refused.code, pause=pause)
                await asyncio.sleep(pause)
        raise YunkuError("internal")


def names_number(person: str) -> bool:
    """Whether a row names its person by an ID document's number, and not by the person's id."""
    try:
        UUID(person)
    except ValueError:
        return bool(person)
    return False


def the_one(found: Sequence[str]) -> str:
    """The person of a number. Raises ``person_unknown`` for nobody's, ``person_ambiguous`` where documents of several kinds have it."""
    if len(found) != 1:
        raise YunkuError("person_ambiguous" if found else "person_unknown", field="/person_id")
    return found[0]


def _context(asked: RecordedEvent) -> CallContext:
    """Acts for who asked: their entries, their name in the operation record. No idempotency key: places make rows idempotent."""
    meta = asked.meta
    caller = Caller(kind="account", id=meta.actor_id, subject_id=meta.acting_subject_id, subject_type=meta.acting_subject_type)
    return CallContext(caller=caller, correlation_id=meta.correlation_id, causation_id=str(asked.event_id))


def _outcome(events: Sequence[RecordedEvent], cause: str) -> str:
    """By what this import did to the entry's stream, however often it was begun."""
    mine = [event for event in events if event.meta.causation_id == cause]
    if not mine:
        return transfer_domain.UNCHANGED
    return transfer_domain.CREATED if mine[0].version == 1 else transfer_domain.UPDATED


def _rehearse(
    state: domain.State,
    draft: service_pb2.DraftCertificateRequest,
    row: table.Row,
    document: types_pb2.Document | None,
    subject_id: str,
) -> None:
    """Takes all of the row's decisions before anything is recorded, so that a wrong row leaves no half of an entry."""
    kind = catalogue.load().type(row.type)
    if not state.exists:
        # Whose entry it may be (person, performance) the draft itself decides, which is the first command.
        drafted = events_pb2.CertificateDrafted(
            certificate_id="rehearsal",
            holder=types_pb2.Holder(subject_id=subject_id),
            type=row.type,
            mode=draft.mode,
            version=1,
            person_id=draft.person_id,
            performance_id=draft.performance_id,
        )
        state = _after(state, [drafted])
    view = domain.owned(state, subject_id)
    if (view.type, view.person_id, view.performance_id) != (draft.type, draft.person_id, draft.performance_id):
        raise YunkuError("import_key_taken", field="/row_key")
    if not domain.editable(view):
        raise YunkuError("wrong_state", field="/row_key", state=view.state)
    state = _after(state, domain.switch_mode(state, subject_id, kind, draft.mode, 0))
    if document is not None:
        state = _after(state, domain.upload(state, subject_id, document, 0))
    absent = None if row.absent is None else list(row.absent)
    state = _after(state, domain.state_fields(state, subject_id, kind, row.fields, absent, 0))
    if row.marks is not None:
        state = _after(state, domain.mark_fields(state, subject_id, kind, _marks(row), 0))
    if row.verify and kind.verification and not state.view.HasField("document"):
        raise YunkuError("document_missing", field="/document")


def _after(state: domain.State, events: Sequence[Message]) -> domain.State:
    for event in events:
        state = domain.evolve(state, event, _EPOCH)
    return state


def _marks(row: table.Row) -> list[types_pb2.Mark]:
    marks = []
    for mark in row.marks or ():
        x0, y0, x1, y1 = mark.box
        marks.append(types_pb2.Mark(field=mark.field, page=mark.page, box=types_pb2.Box(x0=x0, y0=y0, x1=x1, y1=y1)))
    return marks


def _within(name: str, folder: str) -> str:
    """The archive's name of a file that a row names, with or without its folder."""
    return name if name.startswith(folder) else folder + name
