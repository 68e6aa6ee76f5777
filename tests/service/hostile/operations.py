"""Operations that misbehave, run in the real sandbox by the tests: what a parser does once its input has taken it
over."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

from kernel.sandbox import Refusal

Result = tuple[dict[str, Any], list[bytes]]


def echo(header: dict[str, Any], blobs: list[bytes]) -> Result:
    """Well-behaved: answers what it was given."""
    return header, blobs


def connect(port: int) -> None:
    """Reach a server of this machine."""
    with socket.socket() as client:
        client.connect(("127.0.0.1", port))


def raise_limits() -> None:
    """Ask for more open files than allowed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most + 1, most + 1))


def fork() -> None:
    """Make a process."""
    if os.fork() == 0:
        os._exit(0)


def attempts(header: dict[str, Any], blobs: list[bytes]) -> Result:
    """Try to get out in every way known to us; for each the errno it failed with, or "done"."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(result: int) -> None:
        if result < 0:
            raise OSError(ctypes.get_errno(), "")

    ways: dict[str, Callable[[], object]] = {
        "read_file": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "read_proc": lambda: os.open("/proc/self/environ", os.O_RDONLY),
        "stat": lambda: os.stat("/etc/passwd"),
        "list": lambda: os.listdir("/tmp"),
        "create_file": lambda: os.open("/tmp/escaped", os.O_CREAT | os.O_WRONLY, 0o600),
        "unlink": lambda: os.unlink("/tmp/escaped"),
        "tcp": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "udp6": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
        "connect": lambda: connect(header["port"]),
        "unix": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "socketpair": socket.socketpair,
        "fork": fork,
        "execute": lambda: os.execv("/no/such/program", ["x"]),  # ENOENT where it is allowed
        "spawn": lambda: subprocess.run(["/bin/true"], check=False),
        "kill_server": lambda: os.kill(header["server"], 0),
        "kill_all": lambda: os.kill(-1, 0),
        "ptrace": lambda: call(libc.ptrace(0x4206, header["server"], 0, 0)),  # PTRACE_SEIZE
        "become_root": lambda: os.setresuid(0, 0, 0),
        "user_namespace": lambda: call(libc.unshare(0x10000000)),
        "executable_memory": lambda: call(libc.mprotect(ctypes.c_void_p(PAGE), 4096, 7)),
        "memory_file": lambda: os.memfd_create("x"),
        "more_descriptors": lambda: os.dup(0),
        "raise_limits": raise_limits,
        "import": lambda: __import__("sqlite3"),
    }
    found: dict[str, Any] = {}
    for name, way in ways.items():
        try:
            way()
        except OSError as error:
            found[name] = error.errno
        except (ImportError, ValueError) as error:  # what Python makes of a refused import, a refused limit
            found[name] = type(error).__name__
        else:
            found[name] = "done"
    found["environment"] = len(os.environ)
    return found, []


PAGE = 0
"""A page of this process to be made executable; set by `warm_up`."""
_keep: list[Any] = []


def warm_up() -> None:
    """Runs in the fork server: find an own page."""
    global PAGE
    area = mmap.mmap(-1, 8192)
    _keep.append((area, ctypes.c_char.from_buffer(area)))
    PAGE = ctypes.addressof(_keep[0][1])


def refuse(header: dict[str, Any], blobs: list[bytes]) -> Result:
    raise Refusal(header["code"], **header["params"])


def sleep(header: dict[str, Any], blobs: list[bytes]) -> Result:
    time.sleep(header["seconds"])
    return {}, []


def burn(header: dict[str, Any], blobs: list[bytes]) -> Result:
    """Uses processor time without end, deaf to the signal that announces the limit if asked."""
    if header.get("deaf"):
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass


def swallow(header: dict[str, Any], blobs: list[bytes]) -> Result:
    """Takes memory until there is none."""
    taken = []
    while True:
        taken.append(bytearray(8 << 20))


def crash(header: dict[str, Any], blobs: list[bytes]) -> Result:
    """Dies as C code does: "abort", or a read through a null pointer."""
    if header["how"] == "abort":
        os.abort()
    ctypes.string_at(0)
    return {}, []


def leave(header: dict[str, Any], blobs: list[bytes]) -> Result:
    """Ends with the given status without an answer."""
    os._exit(header["status"])


def flood(header: dict[str, Any], blobs: list[bytes]) -> Result:
    """Writes without end."""
    while True:
        os.write(4, bytes(65536))


def forge(header: dict[str, Any], blobs: list[bytes]) -> Result:
    """Writes the given bytes as its answer and ends as if all were well."""
    os.write(4, blobs[0])
    os._exit(0)


def fail(header: dict[str, Any], blobs: list[bytes]) -> Result:
    """Raises, with content of the document in the message."""
    raise KeyError("210102199001011234")


def descriptors(header: dict[str, Any], blobs: list[bytes]) -> Result:
    """Which descriptors are open (closing tells)."""
    found = []
    for number in (*range(5, 64), 3, 0, 1, 2):
        try:
            os.close(number)
        except OSError:
            continue
        found.append(number)
    found.append(4)  # where the answer goes
    return {"open": sorted(found)}, []
