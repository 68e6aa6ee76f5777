"""The service's side of the sandbox: hands a job to a fresh, walled-in process and checks what comes back.

    sandbox = Sandbox({"inspect": "services.ocr.parsing_worker:inspect"}, require_all=True)
    await sandbox.start()
    header, blobs = await sandbox.run("inspect", {"max_pages": 50}, [data], wall_seconds=20, cpu_seconds=10,
                                      memory_bytes=1 << 30, max_output_bytes=1 << 20)

An operation is a function `(header, blobs) -> (header, blobs)` in an importable module; it runs in a child of the
fork server (`kernel.sandbox.zygote`), one process per job, and reaches nothing but its input. It must import
everything at module level or in a module function `warm_up()`, since the child can't read a file, not even a module.

A worker that was taken over by its input can write any well-formed answer. So the caller treats a result as input from
outside: it checks types, ranges and sizes before using it, and never decodes a picture format from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import structlog

from kernel.sandbox import frames
from kernel.sandbox.errors import (
    CODE_PATTERN,
    MAX_PARAM_TEXT,
    MAX_PARAMS,
    Param,
    SandboxCrashed,
    SandboxMemory,
    SandboxRefused,
    SandboxTimeout,
    SandboxUnavailable,
)
from kernel.sandbox.lockdown import LAYERS

_log = structlog.get_logger("kernel.sandbox")

START_SECONDS: Final = 60.0
"""How long the fork server may take to import its parsers (0.5 to 2 s on an idle machine)."""
GRACE_SECONDS: Final = 5.0
"""How long after a job's wall limit its end must have been reported; else the fork server itself is stuck and is
killed."""
_PIPE_BYTES: Final = 1 << 20
_MAX_PACKET: Final = 65536
_LARGE_HEADER: Final = 1 << 18
"""Frames above this size are decoded on a thread, so that the event loop doesn't stand still."""

# What the fork server starts with: nothing of our environment (it may hold credentials) but what keeps its libraries
# from starting threads and makes its text handling independent of the host.
_ENVIRONMENT: Final = {
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "random",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
}


class Sandbox:
    """Runs named operations on untrusted bytes, at most `concurrency` at once. Belongs to one event loop."""

    def __init__(
        self,
        operations: Mapping[str, str],
        *,
        preload: Sequence[str] = (),
        concurrency: int = 2,
        require_all: bool = True,
        without: Collection[str] = (),
    ) -> None:
        """`operations` maps names to "module:function"; `preload` names further modules to import before forking.

        `require_all`: `start` fails unless every layer of `LAYERS` stands. Where False, it runs with what the host
        allows (a container under the default profile usually lacks "network" only, and seccomp denies sockets there
        anyway). `without` leaves layers out on purpose; it is there to test each wall alone.
        """
        unknown = set(without) - set(LAYERS)
        if unknown:
            raise ValueError(f"unknown layers {sorted(unknown)}")
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        self._operations = dict(operations)
        self._preload = list(preload)
        self._require_all = require_all
        self._without = sorted(without)
        self._slots = asyncio.Semaphore(concurrency)
        self._server: _Server | None = None
        self._starting = asyncio.Lock()
        self._stopped = True
        self._jobs = itertools.count(1)
        self._layers: dict[str, bool] = dict.fromkeys(LAYERS, False)

    def layers(self) -> dict[str, bool]:
        """Which walls stand, by name, as found at the last start; all False before it."""
        return dict(self._layers)

    async def check(self) -> str | None:
        """For ``/readyz``: raises SandboxUnavailable unless jobs can run; else tells which walls are missing, if any may be."""
        missing = ", ".join(name for name, stands in self._layers.items() if not stands)
        if self.pid is None:
            raise SandboxUnavailable("the sandbox isn't running")
        if missing and self._require_all:
            raise SandboxUnavailable(f"the sandbox lacks {missing}")
        return f"without {missing}" if missing else None

    @property
    def pid(self) -> int | None:
        """The fork server's process, None while there is none."""
        return None if self._server is None or self._server.dead else self._server.pid

    async def start(self) -> None:
        """Start the fork server and try the walls. SandboxUnavailable if it can't start or `require_all` isn't met."""
        self._stopped = False
        await self._live_server()

    async def stop(self) -> None:
        """End the fork server and with it every running job (they fail with SandboxUnavailable)."""
        self._stopped = True
        async with self._starting:
            server, self._server = self._server, None
            if server is not None:
                await server.stop()

    async def run(
        self,
        operation: str,
        header: Mapping[str, Any],
        blobs: Sequence[bytes],
        *,
        wall_seconds: float,
        memory_bytes: int,
        cpu_seconds: int,
        max_output_bytes: int,
    ) -> tuple[dict[str, Any], list[bytes]]:
        """One job: its result's header and blobs.

        `wall_seconds` counts from the moment the job gets its slot; `memory_bytes` is address space beyond what the
        loaded parsers occupy; `max_output_bytes` bounds header and blobs together. Raises SandboxRefused,
        SandboxTimeout, SandboxMemory, SandboxCrashed (all about the input) or SandboxUnavailable (not about the
        input). Cancelling kills the job.
        """
        if operation not in self._operations:
            raise ValueError(f"no operation {operation!r}")
        async with self._slots:
            server = await self._live_server()
            input_fd = await _memory_file(header, blobs)
            try:
                order = {
                    "run": next(self._jobs),
                    "operation": operation,
                    "wall_seconds": wall_seconds,
                    "memory_bytes": memory_bytes,
                    "cpu_seconds": cpu_seconds,
                }
                output, ending = await server.run(order, input_fd, max_output_bytes + frames.OVERHEAD)
            finally:
                os.close(input_fd)
        return await _judge(output, ending, memory_bytes, cpu_seconds)

    async def _live_server(self) -> _Server:
        """The running fork server, started again if it has died."""
        async with self._starting:
            if self._stopped:
                raise SandboxUnavailable("not started")
            if self._server is not None and not self._server.dead:
                return self._server
            if self._server is not None:
                _log.warning("sandbox_server_died", pid=self._server.pid)
                await self._server.stop()
                self._server = None
            server = _Server()
            try:
                layers = await server.start(self._operations, self._preload, self._without)
            except BaseException:
                await server.stop()
                raise
            missing = sorted(name for name in LAYERS if not layers.get(name))
            self._layers = {name: name not in missing for name in LAYERS}
            if missing and self._require_all:
                await server.stop()
                raise SandboxUnavailable(f"layers missing on this host: {', '.join(missing)}")
            (_log.warning if missing else _log.info)("sandbox_started", pid=server.pid, layers=self._layers, missing=missing)
            self._server = server
            return server


class _TooMuchOutput(Exception):
    """A job wrote more than it may."""


class _Server:
    """One life of the fork server process: its socket, the jobs under way, its end."""

    def __init__(self) -> None:
        self.dead = False
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._endings: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int:
        """Its process id, 0 before the start."""
        return 0 if self._process is None else self._process.pid

    async def start(self, operations: Mapping[str, str], preload: Sequence[str], without: Sequence[str]) -> dict[str, Any]:
        """Spawn (never fork: this process has threads) and wait for its first word: the layers."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        null = os.open(os.devnull, os.O_RDWR)
        try:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - some 10 ms, once
                [sys.executable, "-m", "kernel.sandbox.zygote", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), null],
                env=_ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                cwd="/",
                start_new_session=True,  # a Ctrl-C at the terminal is for the suite, which then stops us in order
            )
        finally:
            theirs.close()
            ours.setblocking(False)
            self._control = ours
            asyncio.get_running_loop().add_reader(ours.fileno(), self._on_readable)
            order = {"operations": dict(operations), "preload": list(preload), "without": list(without), "null": null}
            with contextlib.suppress(OSError):
                ours.send(json.dumps({"init": order}).encode())
            os.close(null)
        try:
            async with asyncio.timeout(START_SECONDS):
                ready = await self._ready
        except TimeoutError as error:
            raise SandboxUnavailable("the fork server did not get ready in time") from error
        layers = ready.get("layers")
        if not isinstance(layers, dict):
            raise SandboxUnavailable("the fork server speaks nonsense")
        return layers

    async def stop(self) -> None:
        """Close the socket, which ends it and its children; kill it if it doesn't go."""
        self._end("stopped")
        process = self._process
        if process is None:
            return
        try:
            await asyncio.to_thread(process.wait, GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)

    async def run(self, order: dict[str, Any], input_fd: int, max_bytes: int) -> tuple[bytearray | None, dict[str, Any]]:
        """Send one job, gather its output (None if it was too much) and how it ended."""
        if self._control is None or self.dead:
            raise SandboxUnavailable("the fork server is gone")
        job = order["run"]
        loop = asyncio.get_running_loop()
        ending: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._endings[job] = ending
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(read_end, False)
        with contextlib.suppress(OSError):  # the user's pipe budget may be used up: the default size works too
            fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        try:
            try:
                socket.send_fds(self._control, [json.dumps(order).encode()], [input_fd, write_end])
            except OSError as error:  # also BlockingIOError: a server that doesn't read its orders is stuck
                self._end(f"can't be reached: {error.strerror}", kill=True)
                raise SandboxUnavailable("the fork server can't be reached") from error
            finally:
                os.close(write_end)
            try:
                async with asyncio.timeout(order["wall_seconds"] + GRACE_SECONDS):
                    try:
                        output: bytearray | None = await _read_to_end(read_end, max_bytes)
                    except _TooMuchOutput:
                        output = None
                        self._kill_job(job)
                    return output, await asyncio.shield(ending)
            except TimeoutError as error:
                self._end("stuck", kill=True)
                raise SandboxUnavailable("the fork server is stuck") from error
            except asyncio.CancelledError:
                self._kill_job(job)
                raise
        finally:
            self._endings.pop(job, None)
            os.close(read_end)

    def _kill_job(self, job: int) -> None:
        if self._control is not None:
            with contextlib.suppress(OSError):
                self._control.send(json.dumps({"kill": job}).encode())

    def _on_readable(self) -> None:
        """A packet of the fork server, or its end."""
        if self._control is None:
            return
        try:
            data = self._control.recv(_MAX_PACKET)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end("ended")
            return
        message = json.loads(data)
        if "ready" in message and not self._ready.done():
            self._ready.set_result(message["ready"])
        ending = self._endings.get(message.get("exited", 0))
        if ending is not None and not ending.done():
            ending.set_result(message)

    def _end(self, why: str, *, kill: bool = False) -> None:
        """It is over: whoever waits is told, and the next job gets a new server."""
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
            self._control = None
        self.dead = True
        if kill and self._process is not None and self._process.poll() is None:
            self._process.kill()
        for waiting in (self._ready, *self._endings.values()):
            if not waiting.done():
                waiting.set_exception(SandboxUnavailable(f"the fork server {why}"))
                waiting.exception()  # whoever still waits gets it; nobody waiting is no error


async def _memory_file(header: Mapping[str, Any], blobs: Sequence[bytes]) -> int:
    """The job's input as a sealed memory file: no copy through a pipe, and the worker can't change it."""
    parts = frames.encode(frames.Kind.JOB, header, blobs)

    def fill() -> int:
        descriptor = os.memfd_create("job", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            for part in parts:
                view = memoryview(part)
                while view:
                    view = view[os.write(descriptor, view) :]
            seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    return fill() if sum(map(len, parts)) < _LARGE_HEADER else await asyncio.to_thread(fill)


async def _read_to_end(descriptor: int, max_bytes: int) -> bytearray:
    """All that comes out of a non-blocking pipe; `_TooMuchOutput` as soon as it exceeds `max_bytes`."""
    loop = asyncio.get_running_loop()
    finished: asyncio.Future[None] = loop.create_future()
    gathered = bytearray()

    def on_readable() -> None:
        try:
            data = os.read(descriptor, _PIPE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            loop.remove_reader(descriptor)
            if not finished.done():
                finished.set_exception(error)
            return
        gathered.extend(data)
        if not data or len(gathered) > max_bytes:
            loop.remove_reader(descriptor)
            if not finished.done():
                finished.set_result(None)

    loop.add_reader(descriptor, on_readable)
    try:
        await finished
    finally:
        loop.remove_reader(descriptor)
    if len(gathered) > max_bytes:
        raise _TooMuchOutput
    return gathered


async def _judge(
    output: bytearray | None, ending: Mapping[str, Any], memory_bytes: int, cpu_seconds: int
) -> tuple[dict[str, Any], list[bytes]]:
    """What a job's output and end amount to. Only a whole frame *and* an orderly end count as an answer."""
    if "unstarted" in ending:
        raise SandboxUnavailable(f"no process for the job: errno {ending['unstarted']}")
    status = ending["status"]
    if output is None:
        raise SandboxCrashed("output_too_large")
    if ending["timed_out"]:
        raise SandboxTimeout("wall")
    if status == -signal.SIGXCPU or (status == -signal.SIGKILL and ending["cpu_seconds"] >= cpu_seconds):
        raise SandboxTimeout("cpu")
    if status != 0:
        # C libraries abort where Python raises MemoryError: a worker that died big, died of it.
        if ending["peak_bytes"] > memory_bytes * 0.8:
            raise SandboxMemory("the worker died at its memory limit")
        raise SandboxCrashed(signal.Signals(-status).name if status < 0 else f"exit_{status}")
    try:
        if len(output) > _LARGE_HEADER:
            kind, header, blobs = await asyncio.to_thread(frames.decode, output)
        else:
            kind, header, blobs = frames.decode(output)
    except frames.MalformedFrame as error:
        raise SandboxCrashed("malformed_output") from error
    match kind:
        case frames.Kind.RESULT:
            return header, blobs
        case frames.Kind.REFUSAL:
            raise _refusal(header)
        case frames.Kind.MEMORY:
            raise SandboxMemory("the worker ran out of memory")
        case frames.Kind.ERROR:
            raise SandboxCrashed(_printable(header.get("error")))
        case _:
            raise SandboxCrashed("malformed_output")


def _refusal(header: Mapping[str, Any]) -> SandboxRefused | SandboxCrashed:
    """A refusal, if it is well-formed."""
    code, params = header.get("code"), header.get("params")
    if not isinstance(code, str) or not CODE_PATTERN.fullmatch(code) or not isinstance(params, dict):
        return SandboxCrashed("malformed_output")
    checked: dict[str, Param] = {}
    for name, value in params.items():
        if not CODE_PATTERN.fullmatch(name) or not (value is None or isinstance(value, str | int | float)):
            return SandboxCrashed("malformed_output")
        if (isinstance(value, str) and len(value) > MAX_PARAM_TEXT) or len(checked) >= MAX_PARAMS:
            return SandboxCrashed("malformed_output")
        checked[name] = value
    return SandboxRefused(code, checked)


def _printable(text: object) -> str:
    """The worker's own word for its failure, made fit for a log line."""
    if not isinstance(text, str):
        return "malformed_output"
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:200])
