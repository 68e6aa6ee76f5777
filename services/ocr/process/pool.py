"""The service's side of the recognition processes: as many as cores, started when there is work, ended when idle.

Jobs wait in one queue, the more urgent first: a user waits for regions, nobody for a page of extraction. A process that
dies (or is killed at its time limit) takes down its own job only; that job is tried once more in a new process before
it fails, and then its caller puts it off.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kernel.observability.logging import get_logger
from services.ocr.process import wire

_log = get_logger(__name__)

URGENT: Final = 0
SOON: Final = 1
LATER: Final = 2

START_SECONDS: Final = 30.0
#: A child gets nothing of our environment (it holds credentials) but where its programs and data are.
_PASSED: Final = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "PYTHONPATH", "YUNKU_TESSDATA", "TMPDIR")


class EngineFailed(Exception):
    """Recognition could not answer. ``reason`` is a key of the texts ``ocr.postponed``."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} {detail}".strip())
        self.reason = reason


class JobRefused(Exception):
    """The job itself is wrong (a box outside its picture, an unknown type): trying again would not help."""


@dataclass(order=True, slots=True)
class _Job:
    priority: int
    number: int
    header: dict[str, Any] = field(compare=False)
    blobs: Sequence[bytes] = field(compare=False)
    seconds: float = field(compare=False)
    done: asyncio.Future[tuple[dict[str, Any], list[bytes]]] = field(compare=False)


class _Process:
    """One child and its pipes."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.returncode is None

    @staticmethod
    async def start(engine: str) -> _Process:
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
        environment.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", OMP_THREAD_LIMIT="1", PYTHONUNBUFFERED="1")
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.ocr.process.child",
            engine,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
            limit=1 << 20,
        )
        return _Process(child)

    async def ask(self, header: dict[str, Any], blobs: Sequence[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        if self._child.stdin is None or self._child.stdout is None:
            raise BrokenPipeError("the recognition process has no pipes")
        for part in wire.encode(header, blobs):
            self._child.stdin.write(part)
            await self._child.stdin.drain()
        return await wire.receive(self._child.stdout)

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._child.kill()
        await self._child.wait()
        # The pipes' transports hold descriptors until they notice; closing says so at once.
        if self._child.stdin is not None:
            self._child.stdin.close()


class RecognitionPool:
    """Runs recognition jobs in child processes. ``run`` is the service's background loop; ``ask`` waits for an answer."""

    def __init__(self, engine: str, *, processes: int, idle_seconds: float, job_seconds: float) -> None:
        self._engine = engine
        self._idle = idle_seconds
        self._seconds = job_seconds
        self._count = processes
        self._queue: asyncio.PriorityQueue[_Job] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._processes: dict[int, _Process] = {}
        self._identity: tuple[str, str] | None = None

    @property
    def waiting(self) -> int:
        """Jobs that no process works on yet."""
        return self._queue.qsize()

    def pids(self) -> list[int]:
        """The processes that are up."""
        return [p.pid for p in self._processes.values() if p.alive]

    async def identity(self) -> tuple[str, str]:
        """The engine's name and version. Raises ``EngineFailed``."""
        if self._identity is None:
            header, _ = await self.ask({"operation": "hello"}, priority=URGENT)
            self._identity = (str(header["engine"]), str(header["version"]))
        return self._identity

    def warm(self) -> None:
        """Starts what processes are not up yet and lets them load their models, if nothing else is to be done."""
        missing = self._count - len(self.pids())
        if missing <= 0 or not self._queue.empty():
            return
        for _ in range(missing):
            done: asyncio.Future[tuple[dict[str, Any], list[bytes]]] = asyncio.get_running_loop().create_future()
            # nobody waits for it, and a failure shows itself again where somebody does
            done.add_done_callback(lambda future: None if future.cancelled() else future.exception())
            job = _Job(LATER, next(self._numbers), {"operation": "warm"}, (), self._seconds, done)
            self._queue.put_nowait(job)

    async def ask(self, header: dict[str, Any], blobs: Sequence[bytes] = (), *, priority: int) -> tuple[dict[str, Any], list[bytes]]:
        """One job's answer. Raises ``EngineFailed`` when no process could do it, ``JobRefused`` when it is wrong."""
        loop = asyncio.get_running_loop()
        job = _Job(priority, next(self._numbers), header, blobs, self._seconds, loop.create_future())
        self._queue.put_nowait(job)
        answer, answered = await job.done
        if "error" in answer:
            raise JobRefused(answer["error"])
        return answer, answered

    async def run(self) -> None:
        """Serves the queue for the life of the service."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._count):
                    group.create_task(self._serve(number))
        finally:
            for process in list(self._processes.values()):
                await process.end()
            self._processes.clear()
            while not self._queue.empty():
                job = self._queue.get_nowait()
                if not job.done.done():
                    job.done.set_exception(EngineFailed("recognition_unavailable", "stopping"))

    async def _serve(self, number: int) -> None:
        while True:
            try:
                job = await asyncio.wait_for(self._queue.get(), self._idle if number in self._processes else None)
            except TimeoutError:
                await self._processes.pop(number).end()
                continue
            if job.done.done():  # its caller gave up waiting
                continue
            try:
                answer = await self._attempt(number, job)
            except EngineFailed as failure:
                if not job.done.done():
                    job.done.set_exception(failure)
            except asyncio.CancelledError:
                if not job.done.done():
                    job.done.set_exception(EngineFailed("recognition_unavailable", "stopping"))
                raise
            else:
                if not job.done.done():
                    job.done.set_result(answer)

    async def _attempt(self, number: int, job: _Job) -> tuple[dict[str, Any], list[bytes]]:
        for attempt in (1, 2):
            try:
                process = self._processes.get(number)
                fresh = process is None or not process.alive
                if process is None or fresh:
                    process = await _Process.start(self._engine)
                    self._processes[number] = process
                async with asyncio.timeout(job.seconds + (START_SECONDS if fresh else 0.0)):
                    return await process.ask(job.header, job.blobs)
            except TimeoutError:
                await self._drop(number)
                _log.warning("recognition took too long", operation=job.header.get("operation"))
                raise EngineFailed("recognition_timeout") from None
            except (OSError, EOFError, ValueError) as error:
                await self._drop(number)
                _log.warning("a recognition process died", error=type(error).__name__, attempt=attempt)
            except BaseException:
                # The answer is still in the pipe: this process can't be used again.
                await self._drop(number)
                raise
        raise EngineFailed("recognition_unavailable", "the recognition processes die")

    async def _drop(self, number: int) -> None:
        process = self._processes.pop(number, None)
        if process is not None:
            await asyncio.shield(process.end())
