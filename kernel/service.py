"""The life of a service's process: settings, dependencies, what the service builds on them, serving, and an orderly end.

A service's ``__main__`` is ``run("subject", bootstrap.build, Settings)``. Order of events:

1. settings, logs, traces; the operations server (``/healthz``, ``/readyz``, ``/metrics``) answers from here on;
2. database and NATS are waited for, however long they take;
3. ``build(runtime)`` puts the service together: servicers, background loops, readiness checks;
4. gRPC serves and the loops run, until SIGTERM or SIGINT;
5. calls end within the grace, then loops, then what ``on_stop`` was given (last first), then NATS and the database.

Nothing here exists before :func:`run`: no event loop, thread or channel at import, so that the embedded stack can fork
the services from one parent that has imported everything.
"""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Generic

import nats
import psycopg
import psycopg_pool
import uvicorn
from nats.aio.client import Client as Nats
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from psycopg_pool.base import AttemptWithBackoff
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from typing_extensions import TypeVar

from kernel.heartbeat import Heartbeat, enter
from kernel.observability import logging as yunku_logging
from kernel.observability import metrics, tracing
from kernel.observability.logging import get_logger
from kernel.rpc.client import Peers
from kernel.rpc.server import RpcServer
from kernel.settings import KernelSettings, SettingsError

S = TypeVar("S", bound=KernelSettings, default=KernelSettings)

#: Raises when the dependency isn't ready; may answer what operators should know although it is (shown after ``ok``).
Check = Callable[[], Awaitable[str | None]]
Pool = psycopg_pool.AsyncConnectionPool[psycopg.AsyncConnection[Any]]

#: The bucket whose presence shows that the object store is there and provisioned.
DOCUMENTS_BUCKET: Final = "documents"
#: Seconds a readiness check may take before it counts as failed.
CHECK_TIMEOUT: Final = 2.0
_FIRST_BACKOFF: Final = 0.2
_LONGEST_BACKOFF: Final = 10.0
#: A loop that ran this long before it failed starts again at the first backoff.
_SETTLED: Final = 30.0
#: Seconds after which a pool gives up reconnecting: a year.
_FOR_EVER: Final = 365 * 86400.0

_log = get_logger(__name__)


@dataclass(slots=True)
class _Loop:
    name: str
    factory: Callable[[], Awaitable[None]]
    max_silence: float | None
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    task: asyncio.Task[None] | None = None
    restarts: int = 0
    ended: bool = False

    def healthy(self) -> bool:
        if self.ended:
            return True
        if self.task is None or self.task.done():
            return False
        return self.max_silence is None or self.heartbeat.age() <= self.max_silence


def is_ready(states: dict[str, str]) -> bool:
    """Whether all of ``Runtime.readiness()`` is well."""
    return all(state.partition(":")[0] == "ok" for state in states.values())


class Runtime(Generic[S]):
    """What a service is built on; handed to its ``build``.

    ``settings``; ``peers`` (stubs of the other services); ``rpc`` (its own gRPC server). ``pool`` and ``nats`` exist
    where the settings name a database and NATS servers, and raise RuntimeError where they don't.
    """

    def __init__(self, settings: S) -> None:
        self.settings = settings
        self.peers = Peers(settings)
        self.rpc = RpcServer(settings, settings.service, self._dependency_failed)
        self._pool: Pool | None = None
        self._nats: Nats | None = None
        self._object_store: Any = None
        self._loops: list[_Loop] = []
        self._checks: dict[str, Check] = {}
        self._on_stop: list[Callable[[], Awaitable[None]]] = []
        self._running = False
        self._stop = asyncio.Event()
        self._failure: str | None = None
        self._built = False
        self._pool_check: asyncio.Task[None] | None = None
        self.ops_port = 0
        # Known from the start, so that readiness never overlooks what isn't connected yet.
        if settings.database_url:
            self.add_readiness("database", self._check_database)
        if settings.nats_url:
            self.add_readiness("nats", self._check_nats)

    # -- dependencies

    @property
    def pool(self) -> Pool:
        """Connections to the service's database: autocommit (transactions are opened explicitly), statements prepared
        at their second use. A connection is waited for ``database_wait_seconds``, then PoolTimeout."""
        if self._pool is None:
            raise RuntimeError("YUNKU_DATABASE_URL isn't set")
        return self._pool

    @property
    def nats(self) -> Nats:
        """The NATS client; it reconnects for ever. Publishing while disconnected buffers at most 2 MB."""
        if self._nats is None:
            raise RuntimeError("YUNKU_NATS_URL isn't set")
        return self._nats

    def object_store(self) -> Any:
        """The object store's client (``minio.Minio``; blocking: call it through ``asyncio.to_thread``).

        Each request gives up after seconds, not minutes. The first use adds the readiness check ``objects``.
        """
        if self._object_store is None:
            self._object_store = make_object_store(self.settings)

            async def reachable() -> None:
                if not await asyncio.to_thread(self._object_store.bucket_exists, DOCUMENTS_BUCKET):
                    raise RuntimeError(f"no bucket {DOCUMENTS_BUCKET}")

            self.add_readiness("objects", reachable)
        return self._object_store

    # -- what the service adds

    def add_background(self, name: str, factory: Callable[[], Awaitable[None]], *, max_silence: float | None = None) -> None:
        """Runs ``factory()`` for the life of the service; when it raises it is started again, ever more slowly (0.2 to
        10 s). When it returns it has ended, which is well.

        With ``max_silence`` (seconds) the loop must call ``kernel.heartbeat.beat()`` at least that often, or
        ``/healthz`` fails. Cancelled at the stop: it must bear that at every await.
        """
        if any(loop.name == name for loop in self._loops):
            raise ValueError(f"background loop {name} added twice")
        loop = _Loop(name, factory, max_silence)
        self._loops.append(loop)
        if self._running:
            self._start_loop(loop)

    def add_readiness(self, name: str, check: Check) -> None:
        """Adds a dependency to ``/readyz``; ``check`` raises when it isn't ready (or takes longer than 2 s)."""
        self._checks[name] = check

    def on_stop(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Called at the stop, after calls and loops ended, before NATS and the database are closed; last added first."""
        self._on_stop.append(callback)

    def stop(self, failure: str | None = None) -> None:
        """Ends the service; with ``failure`` the process ends with code 1, for its supervisor to start it anew."""
        if failure and not self._failure:
            self._failure = failure
        self._stop.set()

    # -- life

    async def _open(self) -> None:
        """Makes the clients; returns when all dependencies answered once, which may take for ever."""
        settings = self.settings
        if settings.database_url:
            self._pool = make_pool(settings)
            await self._pool.open(wait=False)
        if settings.nats_url:
            self._nats = await self._connect_nats()
        if self._pool is not None:
            await self._wait_for("database", self._check_database)

    async def _wait_for(self, name: str, check: Check) -> None:
        waiting = False
        while True:
            try:
                await asyncio.wait_for(check(), CHECK_TIMEOUT)
            except Exception as error:
                if not waiting:
                    _log.warning("waiting for a dependency", dependency=name, error=type(error).__name__)
                    waiting = True
                await asyncio.sleep(0.1)
            else:
                if waiting:
                    _log.info("dependency is there", dependency=name)
                return

    async def _check_database(self) -> None:
        async with self.pool.connection(timeout=CHECK_TIMEOUT) as connection:
            await connection.execute("SELECT 1")

    async def _check_nats(self) -> None:
        if self._nats is None or not self._nats.is_connected:
            raise RuntimeError("not connected")

    async def _connect_nats(self) -> Nats:
        settings = self.settings
        client = Nats()
        lost = False

        async def disconnected() -> None:
            nonlocal lost
            lost = True
            if not self._stop.is_set():
                _log.warning("nats disconnected")

        async def reconnected() -> None:
            nonlocal lost
            if lost:
                _log.info("nats reconnected")
            lost = False

        async def closed() -> None:
            # nats-py gives up for good on some errors (authorisation, for one); a fresh process doesn't.
            if not self._stop.is_set():
                self.stop("nats connection closed")

        async def failed(error: Exception) -> None:
            _log.debug("nats", error=f"{type(error).__name__}: {error}")

        waiting = False
        while True:
            try:
                await client.connect(
                    servers=settings.nats_servers,
                    name=settings.service,
                    user_credentials=str(settings.nats_credentials) if settings.nats_credentials else None,
                    allow_reconnect=True,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.25,  # type: ignore[arg-type]  # a float does as well as an int
                    connect_timeout=2,
                    ping_interval=10,
                    max_outstanding_pings=2,
                    error_cb=failed,
                    disconnected_cb=disconnected,
                    reconnected_cb=reconnected,
                    closed_cb=closed,
                )
            except (OSError, TimeoutError, nats.errors.Error) as error:
                if not waiting:
                    _log.warning("waiting for a dependency", dependency="nats", error=type(error).__name__)
                    waiting = True
                client = Nats()
                await asyncio.sleep(0.25)
            else:
                return client

    def _dependency_failed(self) -> None:
        """A call met a dependency that is down. After a restart of Postgres every pooled connection is dead, and each
        would fail one call: look through all of them at once instead."""
        if self._pool is not None and (self._pool_check is None or self._pool_check.done()):
            self._pool_check = asyncio.create_task(self._check_pool())

    async def _check_pool(self) -> None:
        with contextlib.suppress(Exception):
            await self.pool.check()

    def _start_loop(self, loop: _Loop) -> None:
        loop.heartbeat.beat()
        loop.task = asyncio.create_task(self._supervise(loop), name=f"background-{loop.name}")

    async def _supervise(self, loop: _Loop) -> None:
        enter(loop.heartbeat)
        backoff = _FIRST_BACKOFF
        while True:
            started = time.monotonic()
            loop.heartbeat.beat()
            try:
                await loop.factory()
            except asyncio.CancelledError:
                if self._stop.is_set():
                    raise
                # Not ours: something inside was cancelled and let it through. The loop is to go on.
                _log.warning("background loop was cancelled", loop=loop.name)
            except Exception as error:
                _log.error("background loop failed", loop=loop.name, exc_info=error)
            else:
                loop.ended = True
                return
            loop.restarts += 1
            metrics.BACKGROUND_RESTARTS.labels(loop.name).inc()
            if time.monotonic() - started > _SETTLED:
                backoff = _FIRST_BACKOFF
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _LONGEST_BACKOFF)

    # -- operations

    async def _healthz(self, _request: Request) -> Response:
        loops = {
            loop.name: {
                "ok": loop.healthy(),
                "heartbeat_age_seconds": round(loop.heartbeat.age(), 1) if loop.max_silence else None,
                "restarts": loop.restarts,
            }
            for loop in self._loops
            if self._running
        }
        ok = all(state["ok"] for state in loops.values())
        return JSONResponse({"service": self.settings.service, "ok": ok, "loops": loops}, status_code=200 if ok else 503)

    async def readiness(self) -> dict[str, str]:
        """Each dependency's state: ``ok`` (with a remark, perhaps) or what is wrong; ``service`` is ``starting`` until built."""
        names = list(self._checks)
        results = await asyncio.gather(*(asyncio.wait_for(self._checks[name](), CHECK_TIMEOUT) for name in names), return_exceptions=True)
        states = {
            name: yunku_logging.redact(f"{type(result).__name__}: {result}")[:200]
            if isinstance(result, BaseException)
            else f"ok: {result}"
            if result
            else "ok"
            for name, result in zip(names, results, strict=True)
        }
        for name, result in zip(names, results, strict=True):
            metrics.DEPENDENCY_UP.labels(name).set(not isinstance(result, BaseException))
        states["service"] = "stopping" if self._stop.is_set() else "ok" if self._built else "starting"
        return states

    async def _readyz(self, _request: Request) -> Response:
        states = await self.readiness()
        ready = is_ready(states)
        return JSONResponse(
            {"service": self.settings.service, "ready": ready, "dependencies": states},
            status_code=200 if ready else 503,
        )

    async def _metrics(self, _request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    def ops_application(self) -> Starlette:
        """The ASGI application of ``/healthz``, ``/readyz`` and ``/metrics``."""
        return Starlette(
            routes=[
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/metrics", self._metrics),
            ]
        )

    async def main(self, build: Callable[["Runtime[S]"], Awaitable[None]]) -> int:
        """The service's whole life; returns the process's exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        ops = OpsServer(self.ops_application(), self.settings.bind_host, self.settings.ops_port)
        stopped = asyncio.create_task(self._stop.wait())
        try:
            self.ops_port = await ops.start()
            starting = asyncio.create_task(self._start(build))
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting  # raises what went wrong
                await stopped
            else:
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
        except Exception as error:
            _log.critical("service failed", exc_info=error)
            self._failure = self._failure or type(error).__name__
        finally:
            self._stop.set()
            stopped.cancel()
            await self._shut_down(ops)
        if self._failure:
            _log.error("service ends", failure=self._failure)
            return 1
        _log.info("service ends")
        return 0

    async def _start(self, build: Callable[["Runtime[S]"], Awaitable[None]]) -> None:
        await self._open()
        await build(self)
        await self.rpc.start()
        self._running = True
        for background in self._loops:
            if background.task is None:
                self._start_loop(background)
        self._built = True
        _log.info("service ready", ops_port=self.ops_port, grpc_port=self.rpc.port)

    async def _shut_down(self, ops: "OpsServer") -> None:
        grace = self.settings.shutdown_grace_seconds

        async def step(name: str, ending: Awaitable[Any], limit: float = grace + 2) -> None:
            try:
                await asyncio.wait_for(ending, limit)
            except Exception as error:
                _log.warning("untidy stop", step=name, error=f"{type(error).__name__}: {error}")

        await step("rpc", self.rpc.stop(grace))
        tasks = [loop.task for loop in self._loops if loop.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await step("loops", asyncio.wait(tasks, timeout=grace))
        for callback in reversed(self._on_stop):
            await step("on_stop", callback())
        await step("peers", self.peers.close())
        if self._nats is not None and not self._nats.is_closed:
            await step("nats", self._nats.close(), 3)
        if self._pool is not None:
            await step("database", self._pool.close(), 5)
        await step("operations", ops.stop(), 3)
        await step("traces", asyncio.to_thread(tracing.shutdown), 5)


class _Uvicorn(uvicorn.Server):
    """Uvicorn without its signal handlers: the runtime's stop in their own order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class OpsServer:
    """A uvicorn server within the running loop; for the operations port, and for the gateway's HTTP."""

    def __init__(self, application: Any, host: str, port: int, **config: Any) -> None:
        self._server = _Uvicorn(
            uvicorn.Config(
                application,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                **config,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listens; returns the real port. Raises RuntimeError when it can't (the port is taken)."""

        async def serve() -> None:
            try:
                await self._server.serve()
            except SystemExit:  # uvicorn's way of saying that the port is taken
                raise RuntimeError(f"can't listen on port {self._server.config.port}") from None

        self._task = asyncio.create_task(serve())
        while not self._server.started:
            if self._task.done():
                await self._task
                raise RuntimeError(f"can't listen on port {self._server.config.port}")
            await asyncio.sleep(0.01)
        port: int = self._server.servers[0].sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Ends open connections' requests and stops listening."""
        if self._task is not None:
            self._server.should_exit = True
            await asyncio.gather(self._task, return_exceptions=True)


class _SteadyAttempt(AttemptWithBackoff):
    """Reconnection that is never more than a second apart: the pool's own doubles the pause each time without bound."""

    INITIAL_DELAY = 0.1
    DELAY_BACKOFF = 1.5

    def update_delay(self, now: float) -> None:
        super().update_delay(now)
        self.delay = min(self.delay, 1.0)


class _SteadyPool(psycopg_pool.AsyncConnectionPool[psycopg.AsyncConnection[Any]]):
    """A pool that has connections again within a second after Postgres is back (tested, as it overrides an internal)."""

    async def _add_connection(self, attempt: AttemptWithBackoff | None, growing: bool = False) -> None:
        await super()._add_connection(attempt or _SteadyAttempt(timeout=self.reconnect_timeout), growing)


def make_pool(settings: KernelSettings) -> Pool:
    """The connection pool of a service, not yet opened (``await pool.open()``)."""

    async def configure(connection: psycopg.AsyncConnection[Any]) -> None:
        # What runs often is prepared at its second use; the planner's work is a third of a short statement's time.
        connection.prepare_threshold = 1

    return _SteadyPool(
        settings.database_url,
        kwargs={"autocommit": True, "application_name": f"yunku-{settings.service}", "connect_timeout": 3},
        min_size=settings.database_pool_min_size,
        max_size=max(settings.database_pool_size, settings.database_pool_min_size),
        timeout=settings.database_wait_seconds,
        reconnect_timeout=_FOR_EVER,
        configure=configure,
        open=False,
        name=settings.service,
    )


def make_object_store(settings: KernelSettings) -> Any:
    """A client of the object store (``minio.Minio``) with short timeouts. Raises RuntimeError without an endpoint."""
    import urllib3
    from minio import Minio

    if not settings.s3_endpoint:
        raise RuntimeError("YUNKU_S3_ENDPOINT isn't set")
    secure = settings.s3_endpoint.startswith("https://")
    return Minio(
        endpoint=settings.s3_endpoint.split("://", 1)[-1].rstrip("/"),
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key,
        secure=secure,
        region=settings.s3_region,
        http_client=urllib3.PoolManager(
            maxsize=16,
            timeout=urllib3.Timeout(connect=2, read=20),
            retries=urllib3.Retry(total=3, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]),
        ),
    )


def run(
    name: str,
    build: Callable[[Runtime[S]], Awaitable[None]],
    settings_class: type[S],
) -> None:
    """Runs the service ``name`` until it is told to stop, then exits the process: 0 after an orderly stop, 1 after a
    failure, 2 when the settings are unusable."""
    try:
        settings = settings_class.load(service=name)
    except SettingsError as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    yunku_logging.configure(name, settings.log_level)
    tracing.configure(name)

    async def life() -> int:
        return await Runtime(settings).main(build)

    raise SystemExit(asyncio.run(life()))
