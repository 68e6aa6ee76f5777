"""The thin edge: gRPC in, errors out."""

from typing import Any, Final

from yunku.push.v1 import service_pb2, service_pb2_grpc

from kernel import context
from kernel.eventlog.store import EventLog
from kernel.nats_accounts import Keyring
from services.push import handlers, queries
from services.push.worker import Worker

#: Seconds that a registration waits for the domain's NATS account; it is made all the same, only later.
_ACCOUNT_PATIENCE: Final = 5.0


class PushService(service_pb2_grpc.PushServiceServicer):
    """Answers ``yunku.push.v1.PushService``."""

    def __init__(self, log: EventLog, keyring: Keyring, worker: Worker) -> None:
        self._log = log
        self._keyring = keyring
        self._worker = worker

    async def RegisterDomain(self, request: service_pb2.RegisterDomainRequest, _: Any) -> service_pb2.RegisterDomainResponse:
        response = await handlers.register_domain(self._log, self._keyring, request, context.current())
        await self._worker.connected(request.id, _ACCOUNT_PATIENCE)
        return response

    async def ListDomains(self, request: service_pb2.ListDomainsRequest, _: Any) -> service_pb2.ListDomainsResponse:
        return await queries.list_domains(self._log)

    async def GetDomain(self, request: service_pb2.GetDomainRequest, _: Any) -> service_pb2.GetDomainResponse:
        return await queries.get_domain(self._log, request.domain_id)

    async def ChangeDomain(self, request: service_pb2.ChangeDomainRequest, _: Any) -> service_pb2.ChangeDomainResponse:
        return await handlers.change_domain(self._log, request, context.current())

    async def GetDomainHistory(self, request: service_pb2.GetDomainHistoryRequest, _: Any) -> service_pb2.GetDomainHistoryResponse:
        return await queries.domain_history(self._log, request.domain_id, context.current().caller)

    async def ListReviews(self, request: service_pb2.ListReviewsRequest, _: Any) -> service_pb2.ListReviewsResponse:
        return await queries.list_reviews(self._log, request, context.current().caller)

    async def GetReview(self, request: service_pb2.GetReviewRequest, _: Any) -> service_pb2.GetReviewResponse:
        return await queries.get_review(self._log, request.push_id, context.current().caller)

    async def Review(self, request: service_pb2.ReviewRequest, _: Any) -> service_pb2.ReviewResponse:
        return await handlers.review(self._log, request, context.current())

    async def Appeal(self, request: service_pb2.AppealRequest, _: Any) -> service_pb2.AppealResponse:
        return await handlers.appeal(self._log, request, context.current())

    async def AnswerAppeal(self, request: service_pb2.AnswerAppealRequest, _: Any) -> service_pb2.AnswerAppealResponse:
        return await handlers.answer_appeal(self._log, request, context.current())
