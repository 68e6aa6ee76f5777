"""The thin edge: gRPC in, errors out."""

from typing import Any

from yunku.verify.v1 import service_pb2, service_pb2_grpc

from kernel import context
from kernel.eventlog.store import EventLog
from services.verify import queries


class VerifyService(service_pb2_grpc.VerifyServiceServicer):
    """Answers ``yunku.verify.v1.VerifyService``."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def Explain(self, request: service_pb2.ExplainRequest, _: Any) -> service_pb2.ExplainResponse:
        return await queries.explain(self._log, request.verification_id, context.current().caller)

    async def Replay(self, request: service_pb2.ReplayRequest, _: Any) -> service_pb2.ReplayResponse:
        return await queries.replay(self._log, request.verification_id, context.current().caller)
