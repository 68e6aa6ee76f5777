"""The walls around a worker, each a thin call of the Linux kernel through ctypes (no external package).

Nothing here decides which walls are needed: `kernel.sandbox.zygote` raises them in order and reports which stand. Every
function either does its whole work or raises OSError.

Sources: prctl(2), capset(2), seccomp(2), landlock(7), linux/seccomp.h, linux/landlock.h, linux/audit.h and the
syscall tables of x86_64 and aarch64 (asm-generic). Architectures other than these two have no seccomp layer.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
_libc.unshare.argtypes = [ctypes.c_int]

LAYERS: Final = ("unprivileged", "network", "no_new_privileges", "landlock", "limits", "seccomp")
"""The walls by name: runs as a user without rights, in an empty network namespace, can't gain rights, reaches no
path, has bounded resources, may call only what computing needs."""

NOBODY: Final = 65534
"""The overflow uid and gid: owns no files and exists in every user namespace that maps anything beyond its owner."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_GET_NO_NEW_PRIVS: Final = 39
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000


def _check(result: int, what: str) -> int:
    """Turn a C return value below zero into OSError."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _prctl(option: int, value: int, what: str) -> int:
    return _check(_libc.prctl(option, value, 0, 0, 0), what)


# -- user, capabilities, network -------------------------------------------------------------------------------------


def leave_network() -> None:
    """Move to a network namespace of our own with nothing in it (not even an upped loopback).

    Root does it directly. Others need a user namespace around it, which many hosts and container profiles forbid: then
    OSError. A fresh user namespace also grants capabilities inside itself; `drop_capabilities` must follow.
    """
    flags = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWUSER | _CLONE_NEWNET
    _check(_libc.unshare(flags), "unshare")


def become_nobody() -> None:
    """From root to an unprivileged user for good; nothing to do for who isn't root."""
    if os.geteuid() != 0:
        return
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def drop_capabilities() -> None:
    """Give up every capability (those of a fresh user namespace too)."""
    header = struct.pack("<Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    _check(_libc.capset(header, bytes(24)), "capset")


def no_new_privileges() -> None:
    """Set-uid programs give us nothing any more; also the condition for Landlock and seccomp without root."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    if _libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1:
        raise OSError(errno.EPERM, "no_new_privs did not take")


def not_dumpable() -> None:
    """No core file, and no other process of the same user may look into us through /proc or ptrace."""
    _prctl(_PR_SET_DUMPABLE, 0, "dumpable")


def die_with_parent(parent: int, signal_number: int) -> None:
    """Have the kernel signal us when `parent` dies (also when it is killed). Must come after the change of user, which
    clears the setting; a parent that is gone already is noticed."""
    _prctl(_PR_SET_PDEATHSIG, signal_number, "pdeathsig")
    if os.getppid() != parent:
        raise OSError(errno.ESRCH, "the parent is gone")


def return_free_memory() -> None:
    """Give the kernel back what the allocator keeps for later (glibc; others do without)."""
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)


# -- Landlock --------------------------------------------------------------------------------------------------------

_LANDLOCK_CREATE_RULESET: Final = 444  # the same number on every architecture
_LANDLOCK_RESTRICT_SELF: Final = 446
_LANDLOCK_VERSION_FLAG: Final = 1
# How many of the lowest access bits of the file system each ABI version knows (linux/landlock.h).
_LANDLOCK_FS_BITS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}


def landlock_version() -> int:
    """The kernel's Landlock ABI, 0 where there is none."""
    version: int = _libc.syscall(ctypes.c_long(_LANDLOCK_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint(_LANDLOCK_VERSION_FLAG))
    return max(version, 0)


def landlock_deny_all() -> None:
    """A Landlock domain that allows no path and no TCP port at all, and, where the kernel knows it (ABI 6), no signal
    and no abstract socket to anything outside. A second call nests a further domain, which shields the first from the
    second."""
    version = landlock_version()
    if version == 0:
        raise OSError(errno.ENOSYS, "the kernel has no Landlock")
    handled_files = (1 << _LANDLOCK_FS_BITS[min(version, 5)]) - 1
    attribute = struct.pack("<Q", handled_files)
    if version >= 4:
        attribute += struct.pack("<Q", 0b11)  # bind and connect of TCP
    if version >= 6:
        attribute += struct.pack("<Q", 0b11)  # abstract unix sockets and signals
    ruleset = _check(
        _libc.syscall(ctypes.c_long(_LANDLOCK_CREATE_RULESET), attribute, ctypes.c_size_t(len(attribute)), ctypes.c_uint(0)),
        "landlock_create_ruleset",
    )
    try:
        _check(
            _libc.syscall(ctypes.c_long(_LANDLOCK_RESTRICT_SELF), ctypes.c_int(ruleset), ctypes.c_uint(0)),
            "landlock_restrict_self",
        )
    finally:
        os.close(ruleset)


# -- resource limits -------------------------------------------------------------------------------------------------


def limit_resources(*, address_space: int, cpu_seconds: int) -> None:
    """Bound memory (bytes of address space, the whole process) and CPU (SIGXCPU at the limit, SIGKILL a second
    later), and forbid to make processes, files, descriptors beyond 0 to 4, core dumps and locked memory."""
    hard = resource.setrlimit
    hard(resource.RLIMIT_CORE, (0, 0))
    hard(resource.RLIMIT_FSIZE, (0, 0))
    hard(resource.RLIMIT_MEMLOCK, (0, 0))
    hard(resource.RLIMIT_NPROC, (0, 0))
    hard(resource.RLIMIT_NOFILE, (5, 5))
    hard(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    hard(resource.RLIMIT_AS, (address_space, address_space))


# -- seccomp ---------------------------------------------------------------------------------------------------------

_SECCOMP_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_DENY: Final = 0x00050000 | errno.EPERM

# Computing and reading and writing what is open already; nothing that names a path, an address, another process or
# code. `mmap`, `mprotect` (never executable) and `tgkill` (only ourselves: how abort() works) have conditions, see
# below.
_X86_64: Final = {
    "read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8, "munmap": 11, "brk": 12, "rt_sigaction": 13,
    "rt_sigprocmask": 14, "rt_sigreturn": 15, "pread64": 17, "readv": 19, "writev": 20, "sched_yield": 24, "mremap": 25,
    "madvise": 28, "nanosleep": 35, "getpid": 39, "exit": 60, "gettimeofday": 96, "getrusage": 98, "sysinfo": 99,
    "sigaltstack": 131, "gettid": 186, "time": 201, "futex": 202, "sched_getaffinity": 204, "restart_syscall": 219,
    "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231, "getrandom": 318,
}  # fmt: skip
_AARCH64: Final = {
    "read": 63, "write": 64, "close": 57, "fstat": 80, "lseek": 62, "munmap": 215, "brk": 214, "rt_sigaction": 134,
    "rt_sigprocmask": 135, "rt_sigreturn": 139, "pread64": 67, "readv": 65, "writev": 66, "sched_yield": 124,
    "mremap": 216, "madvise": 233, "nanosleep": 101, "getpid": 172, "exit": 93, "gettimeofday": 169, "getrusage": 165,
    "sysinfo": 179, "sigaltstack": 132, "gettid": 178, "futex": 98, "sched_getaffinity": 123, "restart_syscall": 128,
    "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "exit_group": 94, "getrandom": 278,
}  # fmt: skip
_ARCHITECTURES: Final = {
    # machine: (AUDIT_ARCH value, allowed, mmap, mprotect, tgkill)
    "x86_64": (0xC000003E, _X86_64, 9, 10, 234),
    "aarch64": (0xC00000B7, _AARCH64, 222, 226, 131),
}

# Classic BPF (linux/bpf_common.h): load a word of seccomp_data, compare, jump, return.
_LOAD: Final = 0x20
_EQUAL: Final = 0x15
_AT_LEAST: Final = 0x35
_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06
_DATA_NR: Final = 0
_DATA_ARCH: Final = 4
_DATA_ARGS: Final = 16
_PROT_EXEC: Final = 4
_X32_BIT: Final = 0x40000000


def seccomp_program(machine: str, own_pid: int) -> bytes:
    """The filter as BPF code: what isn't on the list fails with EPERM (so that a library that tries a file, finds
    none and goes on works), another architecture's numbering kills at once. KeyError for a machine without a table."""
    audit_arch, allowed, mmap, mprotect, tgkill = _ARCHITECTURES[machine]
    code: list[tuple[int, int, int, int]] = [  # (operation, jump if true, jump if false, operand)
        (_LOAD, 0, 0, _DATA_ARCH),
        (_EQUAL, 1, 0, audit_arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _DATA_NR),
        (_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _KILL),
    ]
    for number in sorted(allowed.values()):
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for number in (mmap, mprotect):
        code += [
            (_EQUAL, 0, 4, number),
            (_LOAD, 0, 0, _DATA_ARGS + 2 * 8),
            (_ANY_BIT, 1, 0, _PROT_EXEC),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _DENY),
        ]
    code += [
        (_EQUAL, 0, 3, tgkill),
        (_LOAD, 0, 0, _DATA_ARGS),
        (_EQUAL, 0, 1, own_pid),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _DENY),
    ]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def install_seccomp(own_pid: int) -> None:
    """Put the filter on this (single-threaded) process, for good. OSError where machine or kernel can't."""
    try:
        program = seccomp_program(platform.machine(), own_pid)
    except KeyError as error:
        raise OSError(errno.ENOSYS, "no seccomp table for this machine") from error
    code = ctypes.create_string_buffer(program, len(program))
    description = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    _check(
        _libc.prctl(
            _PR_SET_SECCOMP,
            _SECCOMP_MODE_FILTER,
            ctypes.cast(ctypes.c_char_p(description), ctypes.c_void_p).value or 0,
            0,
            0,
        ),
        "seccomp",
    )
