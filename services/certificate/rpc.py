"""The thin edge: gRPC in, errors out."""

from typing import Any

from yunku.certificate.v1 import service_pb2, service_pb2_grpc

from kernel import context
from kernel.eventlog.store import EventLog
from services.certificate import queries, reminders
from services.certificate.handlers import Handlers
from services.certificate.takeover_handlers import TakeOvers


class CertificateService(service_pb2_grpc.CertificateServiceServicer):
    """Answers ``yunku.certificate.v1.CertificateService``."""

    def __init__(self, log: EventLog, handlers: Handlers, take_overs: TakeOvers) -> None:
        self._log = log
        self._handlers = handlers
        self._take_overs = take_overs

    async def DraftCertificate(self, request: service_pb2.DraftCertificateRequest, _: Any) -> service_pb2.DraftCertificateResponse:
        return await self._handlers.draft(request)

    async def AssignPerson(self, request: service_pb2.AssignPersonRequest, _: Any) -> service_pb2.AssignPersonResponse:
        return await self._handlers.assign_person(request)

    async def UploadDocument(self, request: service_pb2.UploadDocumentRequest, _: Any) -> service_pb2.UploadDocumentResponse:
        return await self._handlers.upload(request)

    async def StateFields(self, request: service_pb2.StateFieldsRequest, _: Any) -> service_pb2.StateFieldsResponse:
        return await self._handlers.state_fields(request)

    async def MarkFields(self, request: service_pb2.MarkFieldsRequest, _: Any) -> service_pb2.MarkFieldsResponse:
        return await self._handlers.mark_fields(request)

    async def SwitchMode(self, request: service_pb2.SwitchModeRequest, _: Any) -> service_pb2.SwitchModeResponse:
        return await self._handlers.switch_mode(request)

    async def RequestVerification(self, request: service_pb2.RequestVerificationRequest, _: Any) -> service_pb2.RequestVerificationResponse:
        return await self._handlers.request_verification(request)

    async def PrepareSeal(self, request: service_pb2.PrepareSealRequest, _: Any) -> service_pb2.PrepareSealResponse:
        return await self._handlers.prepare_seal(request)

    async def CompleteSeal(self, request: service_pb2.CompleteSealRequest, _: Any) -> service_pb2.CompleteSealResponse:
        return await self._handlers.complete_seal(request)

    async def Submit(self, request: service_pb2.SubmitRequest, _: Any) -> service_pb2.SubmitResponse:
        return await self._handlers.submit(request)

    async def BeginSupplement(self, request: service_pb2.BeginSupplementRequest, _: Any) -> service_pb2.BeginSupplementResponse:
        return await self._handlers.begin_supplement(request)

    async def ContestLight(self, request: service_pb2.ContestLightRequest, _: Any) -> service_pb2.ContestLightResponse:
        return await self._handlers.contest_light(request)

    async def Discard(self, request: service_pb2.DiscardRequest, _: Any) -> service_pb2.DiscardResponse:
        return await self._handlers.discard(request)

    async def RequestPush(self, request: service_pb2.RequestPushRequest, _: Any) -> service_pb2.RequestPushResponse:
        return await self._handlers.request_push(request)

    async def GetPushedVersion(self, request: service_pb2.GetPushedVersionRequest, _: Any) -> service_pb2.GetPushedVersionResponse:
        return await queries.pushed_version(self._log, request, context.current().caller)

    async def WithdrawPush(self, request: service_pb2.WithdrawPushRequest, _: Any) -> service_pb2.WithdrawPushResponse:
        return await self._handlers.withdraw_push(request)

    async def GetCertificate(self, request: service_pb2.GetCertificateRequest, _: Any) -> service_pb2.GetCertificateResponse:
        view = await queries.get(self._log, request.certificate_id, context.current().caller)
        return service_pb2.GetCertificateResponse(certificate=view)

    async def ListCertificates(self, request: service_pb2.ListCertificatesRequest, _: Any) -> service_pb2.ListCertificatesResponse:
        return await queries.find(self._log, request, context.current().caller)

    async def GetHistory(self, request: service_pb2.GetHistoryRequest, _: Any) -> service_pb2.GetHistoryResponse:
        return await queries.history(self._log, request.certificate_id, context.current().caller)

    async def GetVersions(self, request: service_pb2.GetVersionsRequest, _: Any) -> service_pb2.GetVersionsResponse:
        return await queries.versions(self._log, request.certificate_id, context.current().caller)

    async def CountCertificates(self, request: service_pb2.CountCertificatesRequest, _: Any) -> service_pb2.CountCertificatesResponse:
        return await queries.counts(self._log, request, context.current().caller)

    async def ListActivity(self, request: service_pb2.ListActivityRequest, _: Any) -> service_pb2.ListActivityResponse:
        return await queries.activity_since(self._log, request, context.current().caller)

    async def ListPlatformEntries(self, request: service_pb2.ListPlatformEntriesRequest, _: Any) -> service_pb2.ListPlatformEntriesResponse:
        return await self._take_overs.entries(request)

    async def TakeOver(self, request: service_pb2.TakeOverRequest, _: Any) -> service_pb2.TakeOverResponse:
        return await self._take_overs.take_over(request)

    async def ListNotices(self, request: service_pb2.ListNoticesRequest, _: Any) -> service_pb2.ListNoticesResponse:
        return await reminders.find(self._log, request, context.current().caller)

    async def AcknowledgeNotice(self, request: service_pb2.AcknowledgeNoticeRequest, _: Any) -> service_pb2.AcknowledgeNoticeResponse:
        return await reminders.acknowledge(self._log, request.notice_id)
