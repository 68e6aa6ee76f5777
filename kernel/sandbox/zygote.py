"""The fork server of the sandbox: `python -m kernel.sandbox.zygote FD`, started by `kernel.sandbox.sandbox.Sandbox`.

Why a fork server: importing the parsers costs most of a second, forking a process that has them a few milliseconds; and
a service (threads, an event loop, gRPC) must not fork itself. So this small process, single-threaded for life, imports
everything once, gives up its rights, and then forks one child per job. It never looks at a job's input or result.

The order at start: imports and warm-up (they need files) → own network namespace → nobody → no capabilities →
`no_new_privs` → Landlock without any path. Each child adds: death with its parent, a Landlock domain of its own (so
that it can't touch the fork server), resource limits, seccomp. What stands is tried rather than assumed and told to the
service in the first message; a child that can't raise a wall that stood at start exits without running anything.

Messages are JSON packets over a SOCK_SEQPACKET pair. In: {"init": …}, {"run": job, …} with two descriptors (a sealed
memory file with the input, the writing end of a pipe for the result), {"kill": job}. Out: {"ready": …}, {"exited":
job, …}. The end of the socket ends this process and, with it, every child.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from kernel.sandbox import frames, lockdown
from kernel.sandbox.errors import Refusal

Operation = Callable[[dict[str, Any], list[bytes]], tuple[Mapping[str, Any], Sequence[bytes | memoryview]]]
"""What a job runs: header and blobs in, header and blobs out; refuses by raising `Refusal`."""

MAX_PACKET: Final = 65536
_INPUT_FD: Final = 3
_OUTPUT_FD: Final = 4
_EXIT_NO_WALLS: Final = 81
"""Exit status of a child that could not raise its walls and so ran nothing."""

# Python finds a codec by importing a module the first time it is named, which no child can. These are the ones that PDF
# and image parsers name; a file that names another one fails as damaged.
_CODECS: Final = (
    "ascii", "latin-1", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-32-be", "utf-32-le",
    "cp437", "cp1252", "mac-roman", "gb2312", "gbk", "gb18030", "big5", "shift_jis", "unicode_escape",
    "raw_unicode_escape", "hex",
)  # fmt: skip


@dataclass
class Child:
    """A running job: its process and the moment (monotonic seconds) at which it is killed."""

    job: int
    pid: int
    deadline: float
    timed_out: bool = False


def main() -> None:
    """Serve until the socket ends. argv[1] is the descriptor of our end of the socket pair."""
    control = socket.socket(fileno=int(sys.argv[1]))
    message = json.loads(control.recv(MAX_PACKET))["init"]
    operations = _load(message["operations"], message["preload"])
    address_space = _address_space()
    layers = _raise_walls(frozenset(message["without"]))
    layers["limits"], layers["seccomp"] = _try_in_child(frozenset(message["without"]))
    null = message["null"]
    for descriptor in (0, 1, 2):  # from here on nothing that a library prints about a document reaches anyone's log
        os.dup2(null, descriptor)
    os.close(null)
    control.send(json.dumps({"ready": {"layers": layers}}).encode())
    Zygote(control, operations, layers, address_space).serve()


def _load(operations: Mapping[str, str], preload: Sequence[str]) -> dict[str, Operation]:
    """Import what jobs need, all of it: no child can read a module from disk. A module's `warm_up()` is called, for
    parsers that import or initialise lazily."""
    for name in _CODECS:
        codecs.lookup(name)
    modules = {name: importlib.import_module(name) for name in [*preload, *(o.partition(":")[0] for o in operations.values())]}
    for module in modules.values():
        warm_up = getattr(module, "warm_up", None)
        if warm_up is not None:
            warm_up()
    loaded: dict[str, Operation] = {}
    for name, target in operations.items():
        module_name, _, function = target.partition(":")
        loaded[name] = getattr(modules[module_name], function)
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise RuntimeError(f"the fork server has {threads} threads after its imports; a fork of it could deadlock")
    os.environ.clear()
    gc.collect()
    lockdown.return_free_memory()
    gc.freeze()  # keeps the collector from touching, and so copying, the pages that children share
    return loaded


def _raise_walls(without: frozenset[str]) -> dict[str, bool]:
    """Give up rights, as far as the host lets us; which of it worked. `without` names layers to leave out (tests show
    with it that each remaining wall holds alone)."""

    def attempt(name: str, *steps: Callable[[], None]) -> bool:
        if name in without:
            return False
        try:
            for step in steps:
                step()
        except OSError:
            return False
        return True

    layers = dict.fromkeys(lockdown.LAYERS, False)
    layers["network"] = attempt("network", lockdown.leave_network)
    layers["unprivileged"] = attempt("unprivileged", lockdown.become_nobody, lockdown.drop_capabilities) and os.getresuid()[0] != 0
    lockdown.not_dumpable()
    layers["no_new_privileges"] = attempt("no_new_privileges", lockdown.no_new_privileges)
    if attempt("landlock", lockdown.landlock_deny_all):
        try:
            os.close(os.open("/", os.O_RDONLY))
        except PermissionError:
            layers["landlock"] = True
    return layers


def _try_in_child(without: frozenset[str]) -> tuple[bool, bool]:
    """Whether limits and seccomp work here, tried in a child that goes through both: EPERM for a socket, which
    nothing but the filter answers so."""
    pid = os.fork()
    if pid == 0:
        status = 0
        try:
            if "limits" not in without:
                lockdown.limit_resources(address_space=1 << 40, cpu_seconds=5)
                status |= 1
            if "seccomp" not in without:
                lockdown.install_seccomp(os.getpid())
                try:
                    socket.socket()
                except PermissionError as error:
                    status |= 2 if error.errno == errno.EPERM else 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return (status > 0 and bool(status & 1), status > 0 and bool(status & 2))


class Zygote:
    """The loop: takes orders, forks, kills what is over its time, tells who ended."""

    def __init__(
        self,
        control: socket.socket,
        operations: Mapping[str, Operation],
        layers: Mapping[str, bool],
        address_space: int,
    ) -> None:
        self._control = control
        self._operations = operations
        self._layers = layers
        self._children: dict[int, Child] = {}  # by pid
        self._base_address_space = address_space
        self._wake, wake_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to have the descriptor written

    def serve(self) -> NoReturn:
        """Until the service closes its end (or dies): then every child is killed and we exit."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(self._wait_milliseconds())}
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
            self._reap()
            self._kill_overdue()
            if self._control.fileno() in ready and not self._obey():
                for child in self._children.values():
                    os.kill(child.pid, signal.SIGKILL)
                os._exit(0)

    def _wait_milliseconds(self) -> float | None:
        """Until the next deadline."""
        pending = [child.deadline for child in self._children.values() if not child.timed_out]
        return max(0.0, (min(pending) - time.monotonic()) * 1000 + 1) if pending else None

    def _obey(self) -> bool:
        """One message; False when the socket has ended."""
        data, descriptors, _, _ = socket.recv_fds(self._control, MAX_PACKET, 2)
        if not data:
            return False
        message = json.loads(data)
        try:
            if "run" in message:
                self._run(message, *descriptors)
            elif "kill" in message:
                for child in self._children.values():
                    if child.job == message["kill"]:
                        os.kill(child.pid, signal.SIGKILL)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _run(self, message: dict[str, Any], input_fd: int, output_fd: int) -> None:
        """Fork the child for one job."""
        zygote = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:  # out of processes or memory: the job didn't run
            self._control.send(json.dumps({"exited": message["run"], "unstarted": error.errno}).encode())
            return
        if pid == 0:
            try:
                self._become_job(message, zygote, input_fd, output_fd)
            finally:
                os._exit(_EXIT_NO_WALLS)
        self._children[pid] = Child(message["run"], pid, time.monotonic() + message["wall_seconds"])

    def _become_job(self, message: dict[str, Any], zygote: int, input_fd: int, output_fd: int) -> NoReturn:
        """In the child: walls up, then run the operation. Never returns."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        # The two descriptors may lie on 3 and 4 in either order: move them out of the way first.
        high_input, high_output = os.dup(input_fd), os.dup(output_fd)
        while high_input <= _OUTPUT_FD:
            high_input = os.dup(high_input)
        while high_output <= _OUTPUT_FD:
            high_output = os.dup(high_output)
        os.dup2(high_input, _INPUT_FD)
        os.dup2(high_output, _OUTPUT_FD)
        lockdown.not_dumpable()
        lockdown.die_with_parent(zygote, signal.SIGKILL)
        if self._layers["landlock"]:
            lockdown.landlock_deny_all()
        os.closerange(_OUTPUT_FD + 1, os.sysconf("SC_OPEN_MAX"))
        operation = self._operations[message["operation"]]
        if self._layers["limits"]:
            lockdown.limit_resources(address_space=self._base_address_space + message["memory_bytes"], cpu_seconds=message["cpu_seconds"])
        if self._layers["seccomp"]:
            lockdown.install_seccomp(os.getpid())
        os._exit(_work(operation))

    def _reap(self) -> None:
        """Tell the service about every child that has ended."""
        while self._children:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is None:
                continue
            report = {
                "exited": child.job,
                "status": os.waitstatus_to_exitcode(status),
                "timed_out": child.timed_out,
                "peak_bytes": usage.ru_maxrss * 1024,
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
            }
            self._control.send(json.dumps(report).encode())

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if not child.timed_out and child.deadline <= now:
                child.timed_out = True
                os.kill(child.pid, signal.SIGKILL)


def _work(operation: Operation) -> int:
    """In the child, behind all walls: read the job, run it, write what came of it. Returns the exit status."""
    spare = bytearray(1 << 20)  # given back when memory runs out, so that saying so works
    try:
        _, header, blobs = frames.decode(_read_all(_INPUT_FD))
        result, result_blobs = operation(header, blobs)
        parts = frames.encode(frames.Kind.RESULT, result, result_blobs)
    except Refusal as refusal:
        parts = frames.encode(frames.Kind.REFUSAL, {"code": refusal.code, "params": refusal.params})
    except MemoryError:
        del spare
        parts = frames.encode(frames.Kind.MEMORY, {})
    except BaseException as error:
        parts = frames.encode(frames.Kind.ERROR, {"error": _describe(error)})
    for part in parts:
        _write_all(_OUTPUT_FD, part)
    return 0


def _describe(error: BaseException) -> str:
    """An exception by class and place. Not its message: that may quote the document."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace is not None else "?"
    return f"{type(error).__name__} at {place}"


def _read_all(descriptor: int) -> bytearray:
    """The whole of a memory file, whose offset may stand anywhere."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    os.lseek(descriptor, 0, os.SEEK_SET)
    data = bytearray(size)
    view = memoryview(data)
    position = 0
    while position < size:
        count = os.readv(descriptor, [view[position:]])
        if count == 0:
            raise EOFError("input shorter than its size")
        position += count
    return data


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(descriptor, view) :]


def _address_space() -> int:
    """Bytes of address space that this process has mapped: what every child starts from. Must run before the walls go
    up, which put /proc out of reach."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
