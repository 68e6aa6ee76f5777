"""gRPC between two services over loopback: callers, errors, deadlines, retries and what is carried along."""

import asyncio
import io
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from yunku.kernel.v1 import kernel_pb2, kernel_pb2_grpc

from kernel import context
from kernel.context import CallContext, Caller, current, system_context, use
from kernel.errors import FieldError, YunkuError
from kernel.observability import logging as yunku_logging
from kernel.observability import tracing
from kernel.rpc.client import Peers
from kernel.rpc.errors import ERROR_METADATA, decode
from kernel.rpc.identity import CALLER_METADATA, Signer, write_key_pair
from kernel.rpc.server import RpcServer, request_hash
from kernel.settings import KernelSettings

METHOD = "/yunku.kernel.v1.EventLogService/ReadLog"
ACCOUNT = Caller(
    kind="account",
    id="acc-1",
    subject_id="sub-1",
    subject_type="BIDDER",
    roles=(("reviewer", "d-1"),),
    subject_name="云库",
)

Request = kernel_pb2.ReadLogRequest
Response = kernel_pb2.ReadLogResponse
Handler = Callable[[kernel_pb2.ReadLogRequest], Awaitable[kernel_pb2.ReadLogResponse]]


class _Servicer(kernel_pb2_grpc.EventLogServiceServicer):
    """Answers with what the test puts in, and remembers the context of each call."""

    def __init__(self) -> None:
        self.seen: list[CallContext] = []
        self.handler: Handler = self._default

    async def _default(self, request: kernel_pb2.ReadLogRequest) -> kernel_pb2.ReadLogResponse:
        return Response(last_position=request.from_position)

    async def ReadLog(self, request: kernel_pb2.ReadLogRequest, context: Any) -> kernel_pb2.ReadLogResponse:
        self.seen.append(current())
        return await self.handler(request)

    async def ReadStream(self, request: kernel_pb2.ReadStreamRequest, context: Any) -> kernel_pb2.ReadStreamResponse:
        raise AssertionError("not called here")


class _Pair:
    """A served service ``certificate`` and the settings with which others call it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for service in ("gateway", "certificate", "verify"):
            write_key_pair(service, root / "private" / f"{service}.pem", root / "public")
        self.servicer = _Servicer()
        self.unavailable = 0
        self.server = self._server(0)
        self._peers: list[Peers] = []

    def _count(self) -> None:
        self.unavailable += 1

    def _server(self, port: int) -> RpcServer:
        settings = KernelSettings(
            service="certificate",
            rpc_public_keys_dir=self.root / "public",
            grpc_port=port,
            rpc_deadline_cap_seconds=2,
            rpc_message_bytes=100_000,
        )
        return RpcServer(settings, "certificate", self._count)

    async def start(self) -> None:
        self.server.register(kernel_pb2_grpc.add_EventLogServiceServicer_to_server, self.servicer)
        await self.server.start()

    async def restart(self) -> None:
        port = self.server.port
        await self.server.stop(0)
        self.server = self._server(port)
        await self.start()

    async def stop(self) -> None:
        for peers in self._peers:
            await peers.close()
        await self.server.stop(0)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def stub(self, service: str = "gateway") -> "kernel_pb2_grpc.EventLogServiceAsyncStub":
        settings = KernelSettings(
            service=service,
            rpc_private_key_file=self.root / "private" / f"{service}.pem",
            peers={"certificate": self.address},
        )
        peers = Peers(settings)
        self._peers.append(peers)
        return peers.stub(kernel_pb2_grpc.EventLogServiceStub, "certificate")


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[_Pair]:
    pair = _Pair(tmp_path)
    await pair.start()
    yield pair
    await pair.stop()


async def _refusal(call: Any) -> YunkuError:
    with pytest.raises(YunkuError) as caught:
        await call
    return caught.value


# -- who calls


async def test_what_the_handler_knows_of_the_call(pair: _Pair) -> None:
    tracing.configure("test", {})
    request = Request(from_position=7)
    with (
        tracing.span("http", parent=""),
        use(CallContext(ACCOUNT, "c-1", causation_id="e-1", idempotency_key="k-1")),
    ):
        answer = await pair.stub().ReadLog(request)
        trace_id = tracing.trace_parent().split("-")[1]
    assert answer.last_position == 7
    (seen,) = pair.servicer.seen
    assert seen.caller == ACCOUNT
    assert (seen.correlation_id, seen.causation_id) == ("c-1", "e-1")
    assert seen.request_hash == request_hash(METHOD, request)
    assert seen.trace_parent.split("-")[1] == trace_id
    assert seen.deadline is not None
    assert context.current_or_none() is None


async def test_keys_of_different_callers_and_companies_never_meet(pair: _Pair) -> None:
    stub = pair.stub()
    same = ACCOUNT
    other_account = Caller(kind="account", id="acc-2", subject_id="sub-1", subject_type="BIDDER")
    other_company = Caller(kind="account", id="acc-1", subject_id="sub-2", subject_type="BIDDER")
    for caller in (ACCOUNT, same, other_account, other_company):
        with use(CallContext(caller, "c", idempotency_key="1")):
            await stub.ReadLog(Request())
    first, again, *others = [seen.idempotency_key for seen in pair.servicer.seen]
    assert first == again
    assert len({first, *others}) == 3


async def test_a_service_calls_as_itself_and_its_command_follows_from_the_event(pair: _Pair) -> None:
    stub = pair.stub("verify")
    with use(system_context("verify", "c-9", causation_id="e-9")):
        await stub.ReadLog(Request())
        await stub.ReadLog(Request())
    first, second = pair.servicer.seen
    assert first.caller == Caller(kind="service", id="verify")
    assert (first.correlation_id, first.causation_id) == ("c-9", "e-9")
    assert first.idempotency_key == second.idempotency_key is not None


def _proof(pair: _Pair, issuer: str, audience: str = "certificate") -> str:
    return Signer(issuer, pair.root / "private" / f"{issuer}.pem").sign(ACCOUNT, audience)


@pytest.mark.parametrize("proof", ["missing", "garbage", "tampered", "for another", "stranger"])
async def test_a_call_without_a_good_proof_is_refused_before_the_handler(
    pair: _Pair, proof: str, tmp_path: Path
) -> None:
    write_key_pair("gateway", tmp_path / "stranger.pem", tmp_path / "elsewhere")
    good = _proof(pair, "gateway")
    tokens = {
        "missing": None,
        "garbage": "nonsense",
        "tampered": good[:-5] + ("AAAAA" if good[-5:] != "AAAAA" else "BBBBB"),
        "for another": _proof(pair, "gateway", "verify"),
        "stranger": Signer("gateway", tmp_path / "stranger.pem").sign(ACCOUNT, "certificate"),
    }
    async with grpc.aio.insecure_channel(pair.address) as channel:
        stub = kernel_pb2_grpc.EventLogServiceStub(channel)
        token = tokens[proof]
        metadata = ((CALLER_METADATA, token),) if token is not None else ()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ReadLog(Request(), timeout=5, metadata=metadata)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert pair.servicer.seen == []
        # The very same call with a good proof is answered: nothing else was wrong with it.
        await stub.ReadLog(Request(), timeout=5, metadata=((CALLER_METADATA, good),))


async def test_a_server_without_keys_refuses_everyone(pair: _Pair) -> None:
    closed = RpcServer(KernelSettings(service="certificate"), "certificate")
    closed.register(kernel_pb2_grpc.add_EventLogServiceServicer_to_server, pair.servicer)
    await closed.start()
    settings = KernelSettings(
        service="gateway",
        rpc_private_key_file=pair.root / "private" / "gateway.pem",
        peers={"certificate": f"127.0.0.1:{closed.port}"},
    )
    peers = Peers(settings)
    stub = peers.stub(kernel_pb2_grpc.EventLogServiceStub, "certificate")
    assert (await _refusal(stub.ReadLog(Request()))).code == "caller_refused"
    await peers.close()
    await closed.stop(0)


# -- errors


async def test_a_refusal_comes_back_whole(pair: _Pair) -> None:
    async def refuse(request: kernel_pb2.ReadLogRequest) -> kernel_pb2.ReadLogResponse:
        raise YunkuError("value_too_long", field="/fields/名称", errors=[FieldError("/mode", "mode_invalid")], max="18")

    pair.servicer.handler = refuse
    error = await _refusal(pair.stub().ReadLog(Request()))
    assert (error.code, error.params, error.http_status) == ("value_too_long", {"max": "18"}, 422)
    assert error.errors == (
        FieldError("/fields/名称", "value_too_long", {"max": "18"}),
        FieldError("/mode", "mode_invalid"),
    )
    assert len(pair.servicer.seen) == 1  # a refusal isn't tried again


async def test_a_defect_tells_the_caller_nothing_and_the_log_everything(pair: _Pair) -> None:
    async def fail(request: kernel_pb2.ReadLogRequest) -> kernel_pb2.ReadLogResponse:
        raise RuntimeError("secret inner state")

    pair.servicer.handler = fail
    stream = io.StringIO()
    yunku_logging.configure("certificate", "info", stream)
    async with grpc.aio.insecure_channel(pair.address) as channel:
        stub = kernel_pb2_grpc.EventLogServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ReadLog(
                Request(),
                timeout=5,
                metadata=((CALLER_METADATA, _proof(pair, "gateway")), ("yunku-correlation-id", "c-5")),
            )
    logging.getLogger().handlers.clear()
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    trailing: Any = caught.value.trailing_metadata()
    assert "secret" not in str(caught.value.details()) + str(tuple(trailing))
    assert decode(dict(trailing)[ERROR_METADATA]).code == "internal"
    (line,) = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert "secret inner state" in line["exception"]
    assert (line["correlation_id"], line["caller_id"]) == ("c-5", "acc-1")


async def test_an_unavailable_dependency_is_told_and_tried_again(pair: _Pair) -> None:
    async def flaky(request: kernel_pb2.ReadLogRequest) -> kernel_pb2.ReadLogResponse:
        if len(pair.servicer.seen) < 3:
            raise psycopg.OperationalError("the connection is lost")
        return Response(last_position=1)

    pair.servicer.handler = flaky
    await pair.stub().ReadLog(Request())
    keys = {seen.idempotency_key for seen in pair.servicer.seen}
    assert len(pair.servicer.seen) == 3
    assert len(keys) == 1  # so that trying again repeats nothing
    assert pair.unavailable == 2


async def test_no_service_there_is_unavailable(pair: _Pair) -> None:
    stub = pair.stub()
    await pair.server.stop(0)
    assert (await _refusal(stub.ReadLog(Request(), timeout=0.5))).code == "service_unavailable"


async def test_a_call_outlives_a_restart_of_the_service(pair: _Pair) -> None:
    stub = pair.stub()
    await stub.ReadLog(Request())
    blocked = asyncio.Event()

    async def hang(request: kernel_pb2.ReadLogRequest) -> kernel_pb2.ReadLogResponse:
        blocked.set()
        await asyncio.sleep(60)
        raise AssertionError

    pair.servicer.handler = hang
    call = asyncio.ensure_future(_await(stub.ReadLog(Request(from_position=3), timeout=30)))
    await blocked.wait()
    pair.servicer.handler = pair.servicer._default
    await pair.restart()
    assert (await call).last_position == 3


async def _await(call: Any) -> kernel_pb2.ReadLogResponse:
    answer: kernel_pb2.ReadLogResponse = await call
    return answer


async def test_a_message_above_the_limit_is_refused(pair: _Pair) -> None:
    async def large(request: kernel_pb2.ReadLogRequest) -> kernel_pb2.ReadLogResponse:
        return Response(events=[kernel_pb2.EventRecord(payload=b"x" * 200_000)])

    pair.servicer.handler = large
    stub = pair.stub()
    assert (await _refusal(stub.ReadLog(Request()))).code == "service_unavailable"
    pair.servicer.handler = pair.servicer._default
    await stub.ReadLog(Request())


async def test_a_refusal_with_more_detail_than_fits_still_arrives(pair: _Pair) -> None:
    async def refuse(request: kernel_pb2.ReadLogRequest) -> kernel_pb2.ReadLogResponse:
        raise YunkuError("value_invalid", errors=[FieldError("/" + "x" * 500, "value_invalid")] * 1000)

    pair.servicer.handler = refuse
    error = await _refusal(pair.stub().ReadLog(Request()))
    assert error.code == "value_invalid"
    assert len(error.errors) > 10


# -- deadlines


async def test_a_call_without_a_deadline_is_refused(pair: _Pair) -> None:
    async with grpc.aio.insecure_channel(pair.address) as channel:
        stub = kernel_pb2_grpc.EventLogServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ReadLog(Request(), metadata=((CALLER_METADATA, _proof(pair, "gateway")),))
    assert caught.value.details() == "deadline_missing"
    assert pair.servicer.seen == []


@pytest.mark.parametrize("timeout", [0.3, 30], ids=["the caller's", "the server's cap"])
async def test_time_runs_out_and_the_work_is_cancelled(pair: _Pair, timeout: float) -> None:
    cancelled = asyncio.Event()

    async def hang(request: kernel_pb2.ReadLogRequest) -> kernel_pb2.ReadLogResponse:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    pair.servicer.handler = hang
    assert (await _refusal(pair.stub().ReadLog(Request(), timeout=timeout))).code == "deadline_exceeded"
    await asyncio.wait_for(cancelled.wait(), 10)


async def test_a_nested_call_ends_with_the_running_calls_deadline(pair: _Pair) -> None:
    async def hang(request: kernel_pb2.ReadLogRequest) -> kernel_pb2.ReadLogResponse:
        await asyncio.sleep(60)
        raise AssertionError

    pair.servicer.handler = hang
    stub = pair.stub("verify")
    with use(CallContext(Caller("service", "verify"), "c", deadline=time.monotonic() + 0.2)):
        assert (await _refusal(stub.ReadLog(Request(), timeout=30))).code == "deadline_exceeded"
    with use(CallContext(Caller("service", "verify"), "c", deadline=time.monotonic() - 1)):
        assert (await _refusal(stub.ReadLog(Request(), timeout=30))).code == "deadline_exceeded"
    assert len(pair.servicer.seen) == 1  # the second had no time left and wasn't sent


async def test_cancelling_a_call_cancels_its_work(pair: _Pair) -> None:
    running, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(request: kernel_pb2.ReadLogRequest) -> kernel_pb2.ReadLogResponse:
        running.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        raise AssertionError

    pair.servicer.handler = hang
    call = asyncio.ensure_future(_await(pair.stub().ReadLog(Request())))
    await running.wait()
    call.cancel()
    await asyncio.wait_for(cancelled.wait(), 10)
    with pytest.raises(asyncio.CancelledError):
        await call


# -- health, and what is malformed


async def test_health_needs_no_proof(pair: _Pair) -> None:
    async with grpc.aio.insecure_channel(pair.address) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_malformed_correlation_id_is_replaced_and_a_malformed_key_refused(pair: _Pair) -> None:
    proof = (CALLER_METADATA, _proof(pair, "gateway"))
    async with grpc.aio.insecure_channel(pair.address) as channel:
        stub = kernel_pb2_grpc.EventLogServiceStub(channel)
        await stub.ReadLog(Request(), timeout=5, metadata=(proof, ("yunku-correlation-id", "x" * 500)))
        assert len(pair.servicer.seen[0].correlation_id) == 36
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ReadLog(Request(), timeout=5, metadata=(proof, ("yunku-idempotency-key", "k" * 256)))
    assert caught.value.details() == "value_invalid"
    assert len(pair.servicer.seen) == 1


async def test_two_servers_cannot_share_a_port(pair: _Pair) -> None:
    second = pair._server(pair.server.port)
    with pytest.raises(RuntimeError):
        await second.start()
