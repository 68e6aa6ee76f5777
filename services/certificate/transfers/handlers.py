"""Commands: takes imports and exports in. The work itself is done in the background (``imports``, ``exports``)."""

import asyncio
import tempfile
from typing import Final

from yunku.certificate.v1 import events_pb2, transfer_pb2

from kernel import context as call_context
from kernel import ids
from kernel.errors import YunkuError
from kernel.eventlog.store import EventLog
from services.certificate.ports import Transfers
from services.certificate.transfers import domain
from services.certificate.transfers.archive import Limits
from services.certificate.transfers.imports import opened
from services.certificate.transfers.projections import EXPORT, IMPORT, export_row, import_row

_MAX_NAME: Final = 200


class Handlers:
    """One method per command."""

    def __init__(self, log: EventLog, transfers: Transfers, limits: Limits) -> None:
        self._log = log
        self._transfers = transfers
        self._limits = limits

    async def request_import(self, request: transfer_pb2.RequestImportRequest) -> transfer_pb2.RequestImportResponse:
        """Looks at the archive's structure and its table's head at once, so that what can't be imported at all is refused at once."""
        context = call_context.current()
        subject_id = context.caller.require_subject()
        if len(request.sha256) != 64 or set(request.sha256) - set("0123456789abcdef"):
            raise YunkuError("request_malformed", field="/file")
        with tempfile.TemporaryFile() as file:
            await self._transfers.fetch_import(subject_id, request.sha256, file)
            size = file.tell()
            _, rows = await asyncio.to_thread(opened, file, self._limits)
        made = ids.uuid7()
        event = events_pb2.ImportRequested(
            import_id=str(made),
            subject_id=subject_id,
            archive_sha256=request.sha256,
            archive_size=size,
            file_name=request.file_name[:_MAX_NAME],
            rows=len(rows.rows),
        )

        def respond(state: domain.Import, version: int) -> transfer_pb2.RequestImportResponse:
            row = import_row(made, state, version)
            view = transfer_pb2.Import.FromString(row["view"]) if row else None
            return transfer_pb2.RequestImportResponse(view=view)

        outcome = await self._log.execute(IMPORT, made, lambda state: domain.request_import(state, event), context, respond=respond)
        response: transfer_pb2.RequestImportResponse = outcome.response
        return response

    async def request_export(self, request: transfer_pb2.RequestExportRequest) -> transfer_pb2.RequestExportResponse:
        """The session's own company; auditors name any. Who asked stands in the log."""
        context = call_context.current()
        subject_id = request.subject_id or context.caller.require_subject()
        domain.owned(subject_id, context.caller.subject_id, context.caller.has_role("AUDITOR"))
        made = ids.uuid7()
        event = events_pb2.ExportRequested(export_id=str(made), subject_id=subject_id)

        def respond(state: domain.Export, version: int) -> transfer_pb2.RequestExportResponse:
            row = export_row(made, state, version)
            return transfer_pb2.RequestExportResponse(view=transfer_pb2.Export.FromString(row["view"]) if row else None)

        outcome = await self._log.execute(
            EXPORT, made, lambda state: domain.request_export(state, event), context, respond=respond, subject_id=subject_id
        )
        response: transfer_pb2.RequestExportResponse = outcome.response
        return response
