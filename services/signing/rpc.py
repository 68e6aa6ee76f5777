"""The thin edge: gRPC in, errors out."""

from typing import Any

from yunku.signing.v1 import service_pb2, service_pb2_grpc

from kernel import context
from kernel.eventlog.store import EventLog
from services.signing import handlers, queries
from services.signing.attestation import Attestor
from services.signing.handlers import Desk


class SigningService(service_pb2_grpc.SigningServiceServicer):
    """Answers ``yunku.signing.v1.SigningService``."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def Prepare(self, request: service_pb2.PrepareRequest, _: Any) -> service_pb2.PrepareResponse:
        return await handlers.prepare(self._desk, request, context.current())

    async def Complete(self, request: service_pb2.CompleteRequest, _: Any) -> service_pb2.CompleteResponse:
        return await handlers.complete(self._desk, request, context.current())

    async def Validate(self, request: service_pb2.ValidateRequest, _: Any) -> service_pb2.ValidateResponse:
        return await queries.validate(self._desk, request, context.current())


class DigitalCertificateService(service_pb2_grpc.DigitalCertificateServiceServicer):
    """Answers ``yunku.signing.v1.DigitalCertificateService``."""

    def __init__(self, log: EventLog, attestor: Attestor) -> None:
        self._log = log
        self._attestor = attestor

    async def GetDigitalCertificate(
        self, request: service_pb2.GetDigitalCertificateRequest, _: Any
    ) -> service_pb2.GetDigitalCertificateResponse:
        found = await queries.digital_certificate(self._log, request.certificate_id, context.current().caller)
        return service_pb2.GetDigitalCertificateResponse(digital_certificate=found)

    async def CheckUniqueCode(self, request: service_pb2.CheckUniqueCodeRequest, _: Any) -> service_pb2.CheckUniqueCodeResponse:
        found = await queries.check_unique_code(self._log, request.unique_code)
        return service_pb2.CheckUniqueCodeResponse(digital_certificate=found)

    async def ListKeys(self, request: service_pb2.ListKeysRequest, _: Any) -> service_pb2.ListKeysResponse:
        return await queries.keys(self._log, self._attestor)

    async def GetStatusList(self, request: service_pb2.GetStatusListRequest, _: Any) -> service_pb2.GetStatusListResponse:
        return await queries.status_list(self._log, self._attestor)
