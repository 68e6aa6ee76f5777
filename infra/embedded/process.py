"""Child processes that end when their parent does, and that a terminal's Ctrl-C does not reach.

`multiprocessing` and `subprocess` are left aside on purpose: the supervisor must stay without threads and helper
processes, because it is the parent that all services are forked from.
"""

import contextlib
import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_libc: Final = ctypes.CDLL(None, use_errno=True)

#: A log that grew past this is set aside as ``<name>.log.1`` when its process starts again.
LOG_LIMIT_BYTES: Final = 20 * 1024 * 1024


def _open_log(path: Path) -> int:
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def fork(run: Callable[[], int | None], *, name: str, log: Path, death_signal: int = signal.SIGKILL) -> int:
    """Run ``run`` in a child and return its pid; what it returns is the exit code (None: 0), an exception means 1.

    The child leads a process group of its own, writes both output streams to ``log``, has default signal handling, and
    gets ``death_signal`` when the caller's process ends, however that happens.
    """
    output = _open_log(log)
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        _become_child(run, name, output, parent, death_signal)
    os.close(output)
    return pid


def _become_child(
    run: Callable[[], int | None], name: str, output: int, parent: int, death_signal: int
) -> NoReturn:
    code = 1
    try:
        os.setsid()
        _libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)
        _libc.prctl(_PR_SET_NAME, f"yunku-{name}"[:15].encode(), 0, 0, 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        code = run() or 0
    except SystemExit as exit_:
        if isinstance(exit_.code, str):
            print(exit_.code, file=sys.stderr)
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        # Not sys.exit: the parent's frames and exit handlers are not the child's to unwind.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def execute(argv: Sequence[str], *, name: str, log: Path, death_signal: int, env: Mapping[str, str]) -> int:
    """Start a program the way `fork` does and return its pid."""

    def run() -> NoReturn:
        os.execve(argv[0], list(argv), dict(env))  # noqa: S606 (no shell wanted)

    return fork(run, name=name, log=log, death_signal=death_signal)


def kill_group(pid: int, number: int) -> None:
    """Signal a child together with what it started; silently nothing if all of it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
