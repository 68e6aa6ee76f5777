"""The thin edge: gRPC in, errors out."""

from typing import Any

from yunku.certificate.v1 import performance_pb2, performance_pb2_grpc

from kernel import context
from kernel.eventlog.store import EventLog
from services.certificate.performances import queries
from services.certificate.performances.handlers import Handlers, today
from services.certificate.ports import Persons


class PerformanceService(performance_pb2_grpc.PerformanceServiceServicer):
    """Answers ``yunku.certificate.v1.PerformanceService``."""

    def __init__(self, log: EventLog, handlers: Handlers, persons: Persons) -> None:
        self._log = log
        self._handlers = handlers
        self._persons = persons

    async def DraftPerformance(self, request: performance_pb2.DraftPerformanceRequest, _: Any) -> performance_pb2.DraftPerformanceResponse:
        return await self._handlers.draft(request)

    async def StateInformation(self, request: performance_pb2.StateInformationRequest, _: Any) -> performance_pb2.StateInformationResponse:
        return await self._handlers.state_information(request)

    async def RecordContractChange(
        self, request: performance_pb2.RecordContractChangeRequest, _: Any
    ) -> performance_pb2.RecordContractChangeResponse:
        return await self._handlers.record_change(request)

    async def CheckPerformance(self, request: performance_pb2.CheckPerformanceRequest, _: Any) -> performance_pb2.CheckPerformanceResponse:
        return await self._handlers.check(request, today())

    async def SubmitPerformance(
        self, request: performance_pb2.SubmitPerformanceRequest, _: Any
    ) -> performance_pb2.SubmitPerformanceResponse:
        return await self._handlers.submit(request, today())

    async def ReopenPerformance(
        self, request: performance_pb2.ReopenPerformanceRequest, _: Any
    ) -> performance_pb2.ReopenPerformanceResponse:
        return await self._handlers.reopen(request)

    async def DiscardPerformance(
        self, request: performance_pb2.DiscardPerformanceRequest, _: Any
    ) -> performance_pb2.DiscardPerformanceResponse:
        return await self._handlers.discard(request)

    async def PushPerformance(self, request: performance_pb2.PushPerformanceRequest, _: Any) -> performance_pb2.PushPerformanceResponse:
        return await self._handlers.push(request)

    async def WithdrawPerformancePush(
        self, request: performance_pb2.WithdrawPerformancePushRequest, _: Any
    ) -> performance_pb2.WithdrawPerformancePushResponse:
        return await self._handlers.withdraw(request)

    async def GetPerformance(self, request: performance_pb2.GetPerformanceRequest, _: Any) -> performance_pb2.GetPerformanceResponse:
        view = await queries.get(self._log, request.performance_id, context.current().caller)
        return performance_pb2.GetPerformanceResponse(view=view)

    async def ListPerformances(self, request: performance_pb2.ListPerformancesRequest, _: Any) -> performance_pb2.ListPerformancesResponse:
        return await queries.find(self._log, request, context.current().caller)

    async def GetPerformanceHistory(
        self, request: performance_pb2.GetPerformanceHistoryRequest, _: Any
    ) -> performance_pb2.GetPerformanceHistoryResponse:
        return await queries.history(self._log, request.performance_id, context.current().caller)

    async def ListPersonPerformances(
        self, request: performance_pb2.ListPersonPerformancesRequest, _: Any
    ) -> performance_pb2.ListPersonPerformancesResponse:
        return await queries.performances_of(self._log, self._persons, request.person_id, context.current().caller)

    async def ListPersonAwards(self, request: performance_pb2.ListPersonAwardsRequest, _: Any) -> performance_pb2.ListPersonAwardsResponse:
        return await queries.awards_of(self._log, self._persons, request.person_id, context.current().caller)
