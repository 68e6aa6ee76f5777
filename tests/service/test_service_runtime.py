"""The life of a service's process, tried on a real one: start before its dependencies, losing them, failing, stopping."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from yunku.kernel.v1 import kernel_pb2, kernel_pb2_grpc

from infra.testing import RunningSuite, running_suite
from kernel.rpc.client import Peers
from kernel.settings import KernelSettings

#: A service as small as one can be: it reads its database, and has loops that end, fail, and go silent.
SERVICE = """
import asyncio, os, sys
from kernel.heartbeat import beat
from kernel.service import Runtime, run
from kernel.settings import KernelSettings
from yunku.kernel.v1 import kernel_pb2, kernel_pb2_grpc

class Servicer(kernel_pb2_grpc.EventLogServiceServicer):
    def __init__(self, runtime):
        self.runtime = runtime
    async def ReadLog(self, request, context):
        if request.limit:
            await asyncio.sleep(request.limit)
        async with self.runtime.pool.connection() as connection:
            row = await (await connection.execute("SELECT 41 + 1")).fetchone()
        return kernel_pb2.ReadLogResponse(last_position=row[0])

async def build(runtime):
    if os.environ.get("FAIL_TO_BUILD"):
        raise RuntimeError("can't be built")
    tries = 0
    async def flaky():
        nonlocal tries
        tries += 1
        if tries < 3:
            raise RuntimeError("failed on purpose")
        while True:
            beat()
            await asyncio.sleep(0.1)
    async def silent():
        await asyncio.sleep(3600)
    async def ending():
        pass
    runtime.add_background("flaky", flaky, max_silence=30)
    runtime.add_background("ending", ending)
    if os.environ.get("SILENT"):
        runtime.add_background("silent", silent, max_silence=0.2)
    if runtime.settings.s3_endpoint:
        runtime.object_store()
    async def last():
        print("stopped in order", flush=True)
    runtime.on_stop(last)
    runtime.rpc.register(kernel_pb2_grpc.add_EventLogServiceServicer_to_server, Servicer(runtime))

if os.environ.get("FORKED"):
    child = os.fork()
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
run("subject", build, KernelSettings)
"""


class _Service:
    def __init__(self, environment: dict[str, str], directory: Path) -> None:
        self.environment = environment
        self.log = directory / "log"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("YUNKU_")}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVICE],
                env=clean | environment,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
                start_new_session=True,
            )

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; (0, "") while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.environment['YUNKU_OPS_PORT']}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (self.get("/readyz"), self.log.read_text())
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def dependencies(self) -> dict[str, str]:
        body = self.get("/readyz")[1]
        states: dict[str, str] = json.loads(body)["dependencies"] if body else {}
        return states

    def events(self) -> list[str]:
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [json.loads(line)["event"] for line in lines]

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _call(environment: dict[str, str], limit: int = 0, timeout: float = 30) -> int:
    async def call() -> int:
        peers = Peers(KernelSettings.load(environment))
        try:
            stub = peers.stub(kernel_pb2_grpc.EventLogServiceStub, "subject")
            return (await stub.ReadLog(kernel_pb2.ReadLogRequest(limit=limit), timeout=timeout)).last_position
        finally:
            await peers.close()

    return asyncio.run(call())


@pytest.fixture(scope="module")
def servers() -> Iterator[RunningSuite]:
    """Servers of this module's own: it kills them."""
    with running_suite("none") as suite:
        yield suite


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], _Service]]:
    started: list[_Service] = []

    def begin(environment: dict[str, str]) -> _Service:
        started.append(_Service(environment, tmp_path))
        return started[-1]

    yield begin
    for service in started:
        service.kill()


@pytest.mark.parametrize("forked", [False, True], ids=["alone", "forked from a preloaded parent"])
def test_a_service_lives_through_the_loss_of_its_servers_and_stops_in_order(
    servers: RunningSuite, start: Callable[[dict[str, str]], _Service], forked: bool
) -> None:
    environment = servers.environment("subject")
    service = start(environment | ({"FORKED": "1"} if forked else {}))
    gateway = servers.environment("gateway")
    service.until(lambda: service.get("/readyz")[0] == 200)
    assert service.dependencies() == {"database": "ok", "nats": "ok", "objects": "ok", "service": "ok"}
    assert _call(gateway) == 42

    # Loops that fail are started again, and the failing is counted; one that ended stays ended and healthy.
    service.until(lambda: '"restarts":2' in service.get("/healthz")[1])
    assert service.get("/healthz")[0] == 200
    assert 'yunku_background_restarts_total{loop="flaky"} 2.0' in service.get("/metrics")[1]
    assert 'code="OK",method="EventLogService/ReadLog",service="subject"' in service.get("/metrics")[1]

    for server in ("postgres", "nats", "s3"):
        servers.kill_process(server)
    assert _call(gateway) == 42  # waits for Postgres instead of failing
    service.until(lambda: service.get("/readyz")[0] == 200)
    assert service.process.poll() is None
    servers.wait_ready()

    if not forked:
        assert asyncio.run(_stop_during_a_call(service, gateway)) == 42
        assert service.process.wait(30) == 0
        assert "stopped in order" in service.log.read_text()
        assert service.events()[-1] == "service ends"


async def _stop_during_a_call(service: _Service, gateway: dict[str, str]) -> int:
    """The answer of a call of two seconds during which the service is told to stop."""
    peers = Peers(KernelSettings.load(gateway))
    stub = peers.stub(kernel_pb2_grpc.EventLogServiceStub, "subject")
    await stub.ReadLog(kernel_pb2.ReadLogRequest())

    async def call() -> int:
        return (await stub.ReadLog(kernel_pb2.ReadLogRequest(limit=2), timeout=20)).last_position

    running = asyncio.create_task(call())
    await asyncio.sleep(0.5)
    service.process.terminate()
    answer = await running
    await peers.close()
    return answer


def test_what_is_down_at_the_start_is_waited_for(servers: RunningSuite, start: Callable[[dict[str, str]], _Service]) -> None:
    environment = servers.environment("subject")
    nowhere = environment["YUNKU_DATABASE_URL"].replace(f":{servers.home.ports['postgres']}/", ":1/")
    assert nowhere != environment["YUNKU_DATABASE_URL"]
    service = start(environment | {"YUNKU_DATABASE_URL": nowhere, "YUNKU_NATS_URL": "nats://127.0.0.1:1"})
    service.until(lambda: service.get("/healthz")[0] == 200)
    status, _ = service.get("/readyz")
    assert status == 503
    states = service.dependencies()
    assert states["service"] == "starting"
    assert states["database"] != "ok"
    assert states["nats"] != "ok"
    password = urllib.parse.urlsplit(nowhere).password
    assert password
    assert password not in service.log.read_text() + service.get("/readyz")[1]
    service.process.terminate()
    assert service.process.wait(30) == 0  # it can be stopped while it waits


def test_a_silent_loop_shows_in_healthz(servers: RunningSuite, start: Callable[[dict[str, str]], _Service]) -> None:
    service = start(servers.environment("subject") | {"SILENT": "1"})
    service.until(lambda: service.get("/readyz")[0] == 200)
    service.until(lambda: service.get("/healthz")[0] == 503)
    loops = json.loads(service.get("/healthz")[1])["loops"]
    assert (loops["silent"]["ok"], loops["flaky"]["ok"], loops["ending"]["ok"]) == (False, True, True)


def test_a_service_that_cannot_be_built_ends_with_an_error(servers: RunningSuite, start: Callable[[dict[str, str]], _Service]) -> None:
    service = start(servers.environment("subject") | {"FAIL_TO_BUILD": "1"})
    assert service.process.wait(60) == 1
    assert "can't be built" in service.log.read_text()


def test_unusable_settings_end_it_with_the_variables_name(start: Callable[[dict[str, str]], _Service]) -> None:
    service = start({"YUNKU_GRPC_PORT": "many"})
    assert service.process.wait(60) == 2
    assert "YUNKU_GRPC_PORT" in service.log.read_text()


def test_a_taken_port_ends_it(servers: RunningSuite, start: Callable[[dict[str, str]], _Service]) -> None:
    taken = str(servers.home.ports["postgres"])
    started = [start(servers.environment("subject") | {name: taken}) for name in ("YUNKU_OPS_PORT", "YUNKU_GRPC_PORT")]
    assert [service.process.wait(60) for service in started] == [1, 1]
