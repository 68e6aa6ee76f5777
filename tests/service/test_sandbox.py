"""The real sandbox: what a worker can't do, what happens to one that tries, and who else notices (nobody)."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from kernel.sandbox import (
    Sandbox,
    SandboxCrashed,
    SandboxMemory,
    SandboxRefused,
    SandboxTimeout,
    SandboxUnavailable,
    frames,
)
from kernel.sandbox.lockdown import LAYERS
from kernel.service import is_ready

MODULE = "tests.service.hostile.operations"
OPERATIONS = {
    name: f"{MODULE}:{name}"
    for name in (
        "echo", "attempts", "refuse", "sleep", "burn", "swallow", "crash", "leave", "flood", "forge", "fail", "descriptors",
    )
}  # fmt: skip
LIMITS: dict[str, Any] = {
    "wall_seconds": 30,
    "memory_bytes": 256 << 20,
    "cpu_seconds": 10,
    "max_output_bytes": 64 << 20,
}
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    box = Sandbox(OPERATIONS, require_all=False)
    await box.start()
    yield box
    await box.stop()


async def run(box: Sandbox, operation: str, header: dict[str, Any] | None = None, *blobs: bytes, **limits: Any) -> Any:
    return await box.run(operation, header or {}, list(blobs), **(LIMITS | limits))


def children(pid: int) -> list[int]:
    """Living child processes (not those that only wait to be reaped)."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            state = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            continue
        if state != "Z":
            found.append(int(child))
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def remove_traces() -> None:
    """What an attempt leaves behind where the wall against it is left out."""
    Path("/tmp/escaped").unlink(missing_ok=True)


def status_of(pid: int | None) -> dict[str, str]:
    """/proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def environment_of(pid: int | None) -> set[str]:
    """Names of the variables with which a process was started."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return {entry.partition("=")[0] for entry in entries if entry}


async def until(condition: Callable[[], object]) -> None:
    """Wait for it; the test's own time limit is the bound."""
    while not condition():  # noqa: ASYNC110 - another process's state has no event
        await asyncio.sleep(0.01)


@pytest.fixture
def port() -> Any:
    """A TCP port of this machine on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def attempts(box: Sandbox, port: int) -> dict[str, Any]:
    """What became of each way out, and of the environment."""
    header, _ = await run(box, "attempts", {"server": box.pid, "port": port})
    assert isinstance(header, dict)
    return header


# -- the walls -------------------------------------------------------------------------------------------------------


async def test_no_way_out(sandbox: Sandbox, port: int) -> None:
    found = await attempts(sandbox, port)
    assert found.pop("environment") == 0
    assert len(found) >= 20
    assert [way for way, outcome in found.items() if outcome == "done"] == []
    assert found["read_file"] == errno.EPERM  # by seccomp, before Landlock is asked
    assert found["tcp"] == errno.EPERM


async def test_every_wall_stands_on_this_host(sandbox: Sandbox) -> None:
    missing = {name for name, stands in sandbox.layers().items() if not stands}
    if missing == {"network"} and os.geteuid() != 0:
        pytest.skip("this host gives unprivileged users no network namespace")
    assert missing == set()
    assert set(sandbox.layers()) == set(LAYERS)


async def test_without_walls_the_ways_out_work(port: int) -> None:
    """The control: the attempts are real, so that their failure elsewhere means something."""
    box = Sandbox(OPERATIONS, require_all=False, without=LAYERS)
    await box.start()
    try:
        assert not any(box.layers().values())
        found = await attempts(box, port)
    finally:
        await box.stop()
    for way in ("read_file", "list", "tcp", "connect", "unix", "memory_file", "more_descriptors", "kill_server", "import"):
        assert found[way] == "done", way


@pytest.mark.parametrize(
    ("wall", "held"),
    [
        # Landlock alone keeps files away (EACCES), and TCP, and signals to the fork server.
        ("landlock", {"read_file": errno.EACCES, "list": errno.EACCES, "create_file": errno.EACCES, "connect": errno.EACCES}),
        # Limits alone: no processes (root is exempt, hence with the wall before it), no descriptors.
        ("limits", {"more_descriptors": errno.EMFILE, "read_file": errno.EMFILE}),
        # The network namespace alone: a socket can be made, and leads nowhere.
        ("network", {"tcp": "done", "connect": errno.ENETUNREACH}),
        # seccomp alone.
        (
            "seccomp",
            dict.fromkeys(
                ("read_file", "stat", "create_file", "tcp", "unix", "fork", "execute", "executable_memory", "memory_file"),
                errno.EPERM,
            ),
        ),
        # The user alone: no rights over others.
        ("unprivileged", {"become_root": errno.EPERM, "raise_limits": "ValueError", "create_file": "done"}),
    ],
)
async def test_each_wall_holds_alone(wall: str, held: dict[str, object], port: int) -> None:
    # no_new_privileges is the condition for Landlock and seccomp without root, so it stays for those.
    alone = {wall, "no_new_privileges"}
    box = Sandbox(OPERATIONS, require_all=False, without=set(LAYERS) - alone)
    await box.start()
    try:
        if not box.layers()[wall]:
            pytest.skip(f"this host has no {wall}")
        found = await attempts(box, port)
    finally:
        await box.stop()
        remove_traces()
    assert {way: found[way] for way in held} == held


async def test_processes_are_limited_without_seccomp(port: int) -> None:
    """RLIMIT_NPROC, which doesn't hold for root, needs the unprivileged user."""
    box = Sandbox(OPERATIONS, require_all=False, without={"seccomp"})
    await box.start()
    try:
        found = await attempts(box, port)
    finally:
        await box.stop()
    assert found["fork"] == errno.EAGAIN
    assert found["raise_limits"] == "ValueError"
    assert found["kill_server"] == errno.EPERM
    assert found["read_file"] in (errno.EACCES, errno.EMFILE)
    assert found["become_root"] == errno.EPERM


async def test_a_worker_has_nothing_open_but_its_two_ends(sandbox: Sandbox) -> None:
    header, _ = await run(sandbox, "descriptors")
    assert header["open"] == [0, 1, 2, 3, 4]


async def test_the_fork_server_itself_has_no_rights(sandbox: Sandbox) -> None:
    status = status_of(sandbox.pid)
    assert status["Threads"] == "1"
    assert status["NoNewPrivs"] == "1"
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}
    assert "0" not in status["Uid"].split()
    assert environment_of(sandbox.pid) <= {
        "LANG", "PYTHONPATH", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS", "MALLOC_ARENA_MAX",
    }  # fmt: skip


@pytest.mark.parametrize("wall", LAYERS)
async def test_a_required_wall_that_is_missing_forbids_the_start(wall: str) -> None:
    box = Sandbox(OPERATIONS, require_all=True, without={wall})
    with pytest.raises(SandboxUnavailable, match=wall):
        await box.start()
    assert box.layers()[wall] is False
    assert box.pid is None


# -- jobs ------------------------------------------------------------------------------------------------------------


async def test_bytes_come_back_as_they_went(sandbox: Sandbox) -> None:
    blobs = [os.urandom(20 << 20), b"", os.urandom(3)]
    assert await run(sandbox, "echo", {"名": ["值", 1.5, None]}, *blobs) == ({"名": ["值", 1.5, None]}, blobs)


async def test_refusals_arrive_with_code_and_parameters(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxRefused) as caught:
        await run(sandbox, "refuse", {"code": "too_odd", "params": {"max": 5, "text": "x", "none": None}})
    assert (caught.value.code, caught.value.params) == ("too_odd", {"max": 5, "text": "x", "none": None})


@pytest.mark.parametrize(
    ("code", "params"),
    [
        ("Not a code", {}),
        ("", {}),
        ("x" * 65, {}),
        ("ok", {"text": "x" * 201}),
        ("ok", {"nested": {"a": 1}}),
        ("ok", {"Bad Name": 1}),
        ("ok", {f"p{i}": i for i in range(17)}),
    ],
)
async def test_a_refusal_out_of_form_is_a_crash(sandbox: Sandbox, code: str, params: dict[str, Any]) -> None:
    forged = b"".join(bytes(p) for p in frames.encode(frames.Kind.REFUSAL, {"code": code, "params": params}))
    with pytest.raises(SandboxCrashed, match="malformed_output"):
        await run(sandbox, "forge", {}, forged)


@pytest.mark.parametrize(
    ("operation", "header", "limits", "error", "says"),
    [
        ("sleep", {"seconds": 60}, {"wall_seconds": 0.3}, SandboxTimeout, "wall"),
        ("burn", {}, {"cpu_seconds": 1}, SandboxTimeout, "cpu"),
        ("burn", {"deaf": True}, {"cpu_seconds": 1}, SandboxTimeout, "cpu"),
        ("swallow", {}, {}, SandboxMemory, "memory"),
        ("crash", {"how": "abort"}, {}, SandboxCrashed, "SIGABRT"),
        ("crash", {"how": "null"}, {}, SandboxCrashed, "SIGSEGV"),
        ("leave", {"status": 0}, {}, SandboxCrashed, "malformed_output"),
        ("leave", {"status": 3}, {}, SandboxCrashed, "exit_3"),
        ("flood", {}, {"max_output_bytes": 1 << 20}, SandboxCrashed, "output_too_large"),
        ("fail", {}, {}, SandboxCrashed, "KeyError at operations.py"),
    ],
)
async def test_a_worker_that_fails_harms_nobody(
    sandbox: Sandbox, operation: str, header: dict[str, Any], limits: dict[str, Any], error: type[Exception], says: str
) -> None:
    server = sandbox.pid
    neighbour = asyncio.create_task(run(sandbox, "sleep", {"seconds": 0.2}))
    with pytest.raises(error, match=says) as caught:
        await run(sandbox, operation, header, **limits)
    assert "210102199001011234" not in str(caught.value)  # content of a document stays out of errors and logs
    assert await neighbour == ({}, [])
    assert await run(sandbox, "echo", {"a": 1}) == ({"a": 1}, [])
    assert sandbox.pid == server
    assert server is not None
    assert children(server) == []


@pytest.mark.parametrize("forged", [b"", b"junk", b"YKS1", b"x" * 100_000])
async def test_an_orderly_end_alone_proves_nothing(sandbox: Sandbox, forged: bytes) -> None:
    with pytest.raises(SandboxCrashed, match="malformed_output"):
        await run(sandbox, "forge", {}, forged)


async def test_jobs_wait_for_a_slot() -> None:
    box = Sandbox(OPERATIONS, require_all=False, concurrency=2)
    await box.start()
    try:
        jobs = [asyncio.create_task(run(box, "sleep", {"seconds": 60})) for _ in range(5)]
        assert box.pid is not None
        server = box.pid
        await until(lambda: len(children(server)) == 2)
        for _ in range(20):
            await asyncio.sleep(0.01)
            assert len(children(server)) == 2
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await until(lambda: children(server) == [])
        assert await run(box, "echo") == ({}, [])
    finally:
        await box.stop()


async def test_a_cancelled_job_is_killed(sandbox: Sandbox) -> None:
    assert sandbox.pid is not None
    server = sandbox.pid
    job = asyncio.create_task(run(sandbox, "sleep", {"seconds": 60}))
    await until(lambda: children(server))
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await until(lambda: children(server) == [])


async def test_an_unknown_operation_is_the_callers_mistake(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="no operation"):
        await run(sandbox, "nothing")


# -- lives of the fork server ----------------------------------------------------------------------------------------


async def test_a_killed_fork_server_takes_its_workers_along_and_is_replaced(sandbox: Sandbox) -> None:
    assert sandbox.pid is not None
    server = sandbox.pid
    job = asyncio.create_task(run(sandbox, "sleep", {"seconds": 60}))
    await until(lambda: children(server))
    (worker,) = children(server)
    os.kill(server, signal.SIGKILL)
    with pytest.raises(SandboxUnavailable):
        await job
    await until(lambda: not is_alive(worker))
    assert await run(sandbox, "echo", {"a": 1}) == ({"a": 1}, [])
    assert sandbox.pid not in (None, server)


async def test_nothing_outlives_a_killed_service() -> None:
    """The service dies with kill -9 in the middle of a job: neither fork server nor worker stays."""
    program = f"""
import asyncio, sys
from kernel.sandbox import Sandbox
async def main():
    box = Sandbox({OPERATIONS!r}, require_all=False)
    await box.start()
    print(box.pid, flush=True)
    await box.run("sleep", {{"seconds": 600}}, [], wall_seconds=600, memory_bytes=1 << 28, cpu_seconds=10, max_output_bytes=9)
asyncio.run(main())
"""
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert service.stdout is not None
    lines: list[str] = []
    while not (lines and lines[-1].strip().isdigit()):  # the log may share the stream
        line = await service.stdout.readline()
        assert line, "the service ended"
        lines.append(line.decode())
    server = int(lines[-1])
    await until(lambda: children(server))
    (worker,) = children(server)
    service.kill()
    await service.wait()
    await until(lambda: not is_alive(worker) and not is_alive(server))


async def test_a_stopped_sandbox_runs_nothing(sandbox: Sandbox) -> None:
    assert sandbox.pid is not None
    server = sandbox.pid
    job = asyncio.create_task(run(sandbox, "sleep", {"seconds": 60}))
    await until(lambda: children(server))
    await sandbox.stop()
    with pytest.raises(SandboxUnavailable):
        await job
    with pytest.raises(SandboxUnavailable):
        await run(sandbox, "echo")
    assert not is_alive(server)
    await sandbox.start()
    assert await run(sandbox, "echo") == ({}, [])


async def test_a_module_that_cannot_be_imported_fails_the_start() -> None:
    box = Sandbox({"x": "tests.service.hostile.no_such_module:x"}, require_all=False)
    with pytest.raises(SandboxUnavailable):
        await box.start()


def test_unknown_layers_and_no_slots_are_mistakes() -> None:
    with pytest.raises(ValueError, match="unknown layers"):
        Sandbox({}, without={"moat"})
    with pytest.raises(ValueError, match="concurrency"):
        Sandbox({}, concurrency=0)


async def test_readiness_tells_the_walls_that_are_missing() -> None:
    whole, poor = Sandbox(OPERATIONS), Sandbox(OPERATIONS, require_all=False, without=("network",))
    with pytest.raises(SandboxUnavailable):
        await whole.check()
    try:
        await asyncio.gather(whole.start(), poor.start())
        assert await whole.check() is None
        assert await poor.check() == "without network"
    finally:
        await asyncio.gather(whole.stop(), poor.stop())
    assert is_ready({"sandbox": "ok: without network", "database": "ok"})
    assert not is_ready({"sandbox": "SandboxUnavailable: the sandbox isn't running"})
