"""The thin edge: gRPC in, errors out."""

from typing import Any

from yunku.signing.v1 import service_pb2, service_pb2_grpc

from kernel import context
from services.signing import handlers, queries
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
