"""The thin edge: gRPC in, errors out."""

from typing import Any

from yunku.subject.v1 import service_pb2, service_pb2_grpc

from kernel import context
from kernel.eventlog.store import EventLog
from services.subject import handlers, queries


class SubjectService(service_pb2_grpc.SubjectServiceServicer):
    """Answers ``yunku.subject.v1.SubjectService``."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def RegisterSubject(self, request: service_pb2.RegisterSubjectRequest, _: Any) -> service_pb2.RegisterSubjectResponse:
        return await handlers.register(self._log, request, context.current())

    async def GetSubject(self, request: service_pb2.GetSubjectRequest, _: Any) -> service_pb2.GetSubjectResponse:
        caller = context.current().caller
        return service_pb2.GetSubjectResponse(subject=await queries.get(self._log, request.subject_id, caller))

    async def RenameSubject(self, request: service_pb2.RenameSubjectRequest, _: Any) -> service_pb2.RenameSubjectResponse:
        return await handlers.rename(self._log, request, context.current())
