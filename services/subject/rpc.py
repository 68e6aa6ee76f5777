"""The thin edge: gRPC in, errors out."""

from typing import Any

from yunku.subject.v1 import service_pb2, service_pb2_grpc

from kernel import context
from kernel.eventlog.store import EventLog
from services.subject import handlers, person_handlers, person_queries, queries
from services.subject.ports import Certificates


class SubjectService(service_pb2_grpc.SubjectServiceServicer):
    """Answers ``yunku.subject.v1.SubjectService``."""

    def __init__(self, log: EventLog, certificates: Certificates, people: person_handlers.Means) -> None:
        self._log = log
        self._certificates = certificates
        self._people = people

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

    async def BindPerson(self, request: service_pb2.BindPersonRequest, _: Any) -> service_pb2.BindPersonResponse:
        return await person_handlers.bind(self._people, request, context.current())

    async def ChangeEmployment(self, request: service_pb2.ChangeEmploymentRequest, _: Any) -> service_pb2.ChangeEmploymentResponse:
        return await person_handlers.change(self._people, request, context.current())

    async def UnbindPerson(self, request: service_pb2.UnbindPersonRequest, _: Any) -> service_pb2.UnbindPersonResponse:
        return await person_handlers.unbind(self._people, request, context.current())

    async def ObjectToClaim(self, request: service_pb2.ObjectToClaimRequest, _: Any) -> service_pb2.ObjectToClaimResponse:
        return await person_handlers.object_to(self._people, request, context.current())

    async def WithdrawClaim(self, request: service_pb2.WithdrawClaimRequest, _: Any) -> service_pb2.WithdrawClaimResponse:
        return await person_handlers.withdraw(self._people, request, context.current())

    async def ListPersons(self, request: service_pb2.ListPersonsRequest, _: Any) -> service_pb2.ListPersonsResponse:
        return await person_queries.find(self._log, self._people.keyring, request, context.current().caller)

    async def GetPerson(self, request: service_pb2.GetPersonRequest, _: Any) -> service_pb2.GetPersonResponse:
        return await person_queries.get(self._log, self._people.keyring, request.person_id, context.current().caller)

    async def ListClaims(self, request: service_pb2.ListClaimsRequest, _: Any) -> service_pb2.ListClaimsResponse:
        return await person_queries.claims(self._log, self._people.keyring, request, context.current().caller)

    async def CheckPerson(self, request: service_pb2.CheckPersonRequest, _: Any) -> service_pb2.CheckPersonResponse:
        return await person_queries.check(self._log, self._people.keyring, request, context.current().caller)

    async def FindPersons(self, request: service_pb2.FindPersonsRequest, _: Any) -> service_pb2.FindPersonsResponse:
        return await person_queries.named(self._log, self._people.keyring, request, context.current().caller)

    async def GetPersonHistory(self, request: service_pb2.GetPersonHistoryRequest, _: Any) -> service_pb2.GetPersonHistoryResponse:
        return await person_queries.history(self._log, request.person_id, context.current().caller)
