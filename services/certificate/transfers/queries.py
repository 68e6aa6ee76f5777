"""Questions about imports and exports, answered from their read models and, row by row, from an import's own log."""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Table, select
from yunku.certificate.v1 import events_pb2, transfer_pb2

from kernel.context import Caller
from kernel.errors import YunkuError
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog, utc_now
from services.certificate.handlers import certificate_id
from services.certificate.tables import exports, imports
from services.certificate.transfers import domain

_DEFAULT_LIMIT: Final = 50
_MAX_LIMIT: Final = 200
_MAX_ROWS: Final = 1000


async def get_import(log: EventLog, request: transfer_pb2.GetImportRequest, caller: Caller) -> transfer_pb2.GetImportResponse:
    """An import of the caller's subject (of any, for auditors), with a part of its report."""
    wanted = certificate_id(request.import_id)
    view = transfer_pb2.Import.FromString(await _one(log, imports, wanted))
    domain.owned(view.subject_id, caller.subject_id, caller.has_role("AUDITOR"))
    answer = transfer_pb2.GetImportResponse(view=view)
    limit = min(request.limit, _MAX_ROWS)
    if limit > 0:
        for event in await log.read_stream(wanted):
            if isinstance(event.data, events_pb2.ImportRowDone) and event.data.row > request.after_row and len(answer.rows) < limit:
                answer.rows.append(event.data)
    return answer


async def find_imports(log: EventLog, request: transfer_pb2.ListImportsRequest, caller: Caller) -> transfer_pb2.ListImportsResponse:
    """The subject's imports, newest first."""
    found, cursor = await _list(log, imports, request.limit, request.cursor, caller)
    return transfer_pb2.ListImportsResponse(items=[transfer_pb2.Import.FromString(one) for one in found], next_cursor=cursor)


async def get_export(
    log: EventLog, request: transfer_pb2.GetExportRequest, caller: Caller, kept: timedelta
) -> transfer_pb2.GetExportResponse:
    """An export of the caller's subject (of any, for auditors)."""
    data = await _one(log, exports, certificate_id(request.export_id))
    view = _export(data, kept)
    domain.owned(view.subject_id, caller.subject_id, caller.has_role("AUDITOR"))
    return transfer_pb2.GetExportResponse(view=view)


async def find_exports(
    log: EventLog, request: transfer_pb2.ListExportsRequest, caller: Caller, kept: timedelta
) -> transfer_pb2.ListExportsResponse:
    """The subject's exports, newest first."""
    found, cursor = await _list(log, exports, request.limit, request.cursor, caller)
    return transfer_pb2.ListExportsResponse(items=[_export(one, kept) for one in found], next_cursor=cursor)


def _export(data: bytes, kept: timedelta) -> transfer_pb2.Export:
    """An export as it is now: when its archive goes is no event but the calendar's."""
    view = transfer_pb2.Export.FromString(data)
    if view.state == domain.DONE:
        ends = view.finished_at.ToDatetime(tzinfo=utc_now().tzinfo) + kept
        view.expires_at.FromDatetime(ends)
        if ends <= utc_now():
            view.state = "expired"
    return view


async def _one(log: EventLog, table: Table, wanted: UUID) -> bytes:
    (key,) = table.primary_key.columns
    async with log.pool.connection() as connection:
        row = await (await connection.execute(*render(select(table.c.view).where(key == wanted)))).fetchone()
    if row is None:
        raise YunkuError("not_found")
    return bytes(row[0])


async def _list(log: EventLog, table: Table, limit: int, cursor: str, caller: Caller) -> tuple[list[bytes], str]:
    (key,) = table.primary_key.columns
    most = min(limit if limit > 0 else _DEFAULT_LIMIT, _MAX_LIMIT)
    query = select(key, table.c.view).where(table.c.subject_id == caller.require_subject())
    if cursor:
        try:
            query = query.where(key < UUID(cursor))
        except ValueError:
            raise YunkuError("cursor_invalid", field="/cursor") from None
    async with log.pool.connection() as connection:
        rows: list[Any] = await (await connection.execute(*render(query.order_by(key.desc()).limit(most + 1)))).fetchall()
    return [bytes(row[1]) for row in rows[:most]], str(rows[most - 1][0]) if len(rows) > most else ""
