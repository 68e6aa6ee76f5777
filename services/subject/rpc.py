"""The thin edge: gRPC in, errors out."""

from typing import Any

from yunku.subject.v1 import service_pb2, service_pb2_grpc

from kernel import context
from kernel.eventlog.store import EventLog
from services.subject import handlers, queries
from services.subject.ports import Certificates


class SubjectService(service_pb2_grpc.SubjectServiceServicer):
    """Answers ``yunku.subject.v1.SubjectService``."""

    def __init__(self, log: EventLog, certificates: Certificates) -> None:
        self._log = log
        self._certificates = certificates

    async def RegisterSubject(self, request: service_pb2.RegisterSubjectRequest, _: Any) -> service_pb2.RegisterSubjectResponse:
        return await handlers.register(self._log, request, context.current())

    async def GetSubject(self, request: service_pb2.GetSubjectRequest, _: Any) -> service_pb2.GetSubjectResponse:
        caller = context.current().caller
        return service_pb2.GetSubjectResponse(subject=await queries.get(self._log, request.subject_id, caller))

    async def RenameSubject(self, request: service_pb2.RenameSubjectRequest, _: Any) -> service_pb2.RenameSubjectResponse:
        return await handlers.rename(self._log, request, context.current())

    async def StateProfile(self, request: service_pb2.StateProfileRequest, _: Any) -> service_pb2.StateProfileResponse:
        return await handlers.state_profile(self._log, request, context.current())

    async def SubmitProfile(self, request: service_pb2.SubmitProfileRequest, _: Any) -> service_pb2.SubmitProfileResponse:
        return await handlers.submit_profile(self._log, self._certificates, request, context.current())

    async def GetSubjectHistory(self, request: service_pb2.GetSubjectHistoryRequest, _: Any) -> service_pb2.GetSubjectHistoryResponse:
        return await queries.history(self._log, request.subject_id, context.current().caller)

    async def ListProfileVersions(self, request: service_pb2.ListProfileVersionsRequest, _: Any) -> service_pb2.ListProfileVersionsResponse:
        return await queries.profile_versions(self._log, request.subject_id, context.current().caller)
