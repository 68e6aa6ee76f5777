"""The thin edge: gRPC in, errors out."""

from datetime import timedelta
from typing import Any

from yunku.certificate.v1 import transfer_pb2, transfer_pb2_grpc

from kernel import context
from kernel.eventlog.store import EventLog
from services.certificate.transfers import queries
from services.certificate.transfers.handlers import Handlers


class TransferService(transfer_pb2_grpc.TransferServiceServicer):
    """Answers ``yunku.certificate.v1.TransferService``. ``kept``: how long an export's archive is there."""

    def __init__(self, log: EventLog, handlers: Handlers, kept: timedelta) -> None:
        self._log = log
        self._handlers = handlers
        self._kept = kept

    async def RequestImport(self, request: transfer_pb2.RequestImportRequest, _: Any) -> transfer_pb2.RequestImportResponse:
        return await self._handlers.request_import(request)

    async def GetImport(self, request: transfer_pb2.GetImportRequest, _: Any) -> transfer_pb2.GetImportResponse:
        return await queries.get_import(self._log, request, context.current().caller)

    async def ListImports(self, request: transfer_pb2.ListImportsRequest, _: Any) -> transfer_pb2.ListImportsResponse:
        return await queries.find_imports(self._log, request, context.current().caller)

    async def RequestExport(self, request: transfer_pb2.RequestExportRequest, _: Any) -> transfer_pb2.RequestExportResponse:
        return await self._handlers.request_export(request)

    async def GetExport(self, request: transfer_pb2.GetExportRequest, _: Any) -> transfer_pb2.GetExportResponse:
        return await queries.get_export(self._log, request, context.current().caller, self._kept)

    async def ListExports(self, request: transfer_pb2.ListExportsRequest, _: Any) -> transfer_pb2.ListExportsResponse:
        return await queries.find_exports(self._log, request, context.current().caller, self._kept)
