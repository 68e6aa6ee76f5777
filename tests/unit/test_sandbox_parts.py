"""The parts of the sandbox that are pure: the frame format, the system call filter, the formats, the placement of
pictures."""

from __future__ import annotations

import errno
import json
import struct

import pytest

from kernel.sandbox import frames, lockdown
from kernel.sandbox.formats import sniff
from kernel.sandbox.images import page_size

# -- frames ----------------------------------------------------------------------------------------------------------


def frame(kind: frames.Kind, header: dict[str, object], *blobs: bytes) -> bytes:
    return b"".join(bytes(part) for part in frames.encode(kind, header, blobs))


def raw_frame(text: bytes) -> bytes:
    """A frame around any header text."""
    return struct.pack("<4sBII", b"YKS1", 2, len(text), 0) + text


def test_a_frame_comes_back_as_it_went() -> None:
    header: dict[str, object] = {"名": ["值", 1, 2.5, None, True], "nested": {"a": []}}
    data = frame(frames.Kind.RESULT, header, b"", b"\x00\xff" * 1000)
    assert frames.decode(data) == (frames.Kind.RESULT, header, [b"", b"\x00\xff" * 1000])


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_a_cut_or_extended_frame_is_refused(cut: int) -> None:
    data = frame(frames.Kind.RESULT, {"a": "x" * 20}, b"blob", b"another")
    with pytest.raises(frames.MalformedFrame):
        frames.decode(data[:cut])
    with pytest.raises(frames.MalformedFrame):
        frames.decode(data + b"x")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1}x',
        b'{"a":"\xff"}',
        b"[" * 100_000,
        b'{"a":' + b"9" * 10_000 + b"}",
    ],
)
def test_a_header_that_is_not_strict_json_is_refused(text: bytes) -> None:
    with pytest.raises(frames.MalformedFrame):
        frames.decode(raw_frame(text))


def test_wrong_magic_kind_and_counts_are_refused() -> None:
    good = bytearray(raw_frame(b"{}"))
    assert frames.decode(good)[1] == {}
    for offset, value in ((0, b"X"), (4, b"\x09"), (5, b"\xff"), (9, b"\xff\xff\xff\xff")):
        bad = bytearray(good)
        bad[offset : offset + len(value)] = value
        with pytest.raises(frames.MalformedFrame):
            frames.decode(bad)
    huge_blob = struct.pack("<4sBIIQ", b"YKS1", 2, 2, 1, 2**63) + b"{}"
    with pytest.raises(frames.MalformedFrame):
        frames.decode(huge_blob)


def test_a_result_that_json_cannot_say_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="JSON"):
        frames.encode(frames.Kind.RESULT, {"a": float("nan")})


# -- the system call filter ------------------------------------------------------------------------------------------

ALLOW, KILL, DENY = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
FORBIDDEN = {
    "x86_64": {
        "open": 2, "stat": 4, "access": 21, "dup": 32, "socket": 41, "connect": 42, "sendto": 44, "sendmsg": 46, "bind": 49,
        "socketpair": 53, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "kill": 62, "fcntl": 72, "chdir": 80,
        "unlink": 87, "ptrace": 101, "setuid": 105, "prctl": 157, "mount": 165, "tkill": 200, "openat": 257, "unshare": 272,
        "prlimit64": 302, "process_vm_writev": 311, "memfd_create": 319, "bpf": 321, "execveat": 322, "newfstatat": 262,
        "io_uring_setup": 425, "pidfd_open": 434, "clone3": 435, "openat2": 437, "ioctl": 16, "keyctl": 250,
        "userfaultfd": 323, "perf_event_open": 298, "setns": 308, "seccomp": 317,
    },
    "aarch64": {
        "openat": 56, "socket": 198, "connect": 203, "sendto": 206, "sendmsg": 211, "bind": 200, "socketpair": 199,
        "clone": 220, "execve": 221, "kill": 129, "fcntl": 25, "unlinkat": 35, "ptrace": 117, "setuid": 146, "prctl": 167,
        "mount": 40, "tkill": 130, "unshare": 97, "prlimit64": 261, "process_vm_writev": 271, "memfd_create": 279,
        "bpf": 280, "execveat": 281, "newfstatat": 79, "io_uring_setup": 425, "pidfd_open": 434, "clone3": 435,
        "openat2": 437, "ioctl": 29, "dup": 23, "seccomp": 277,
    },
}  # fmt: skip


def verdict(machine: str, number: int, *arguments: int, architecture: int | None = None, pid: int = 77) -> int:
    """Run the filter on one system call as the kernel would (classic BPF over struct seccomp_data)."""
    arguments = (*arguments, *([0] * (6 - len(arguments))))
    data = struct.pack("<IIQ6Q", number, architecture or ARCHITECTURE[machine], 0, *arguments)
    program = list(struct.iter_unpack("<HBBI", lockdown.seccomp_program(machine, pid)))
    accumulator, position = 0, 0
    while True:
        operation, if_true, if_false, operand = program[position]
        position += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, operand)
            case 0x15:
                position += if_true if accumulator == operand else if_false
            case 0x35:
                position += if_true if accumulator >= operand else if_false
            case 0x45:
                position += if_true if accumulator & operand else if_false
            case 0x06:
                return int(operand)
            case _:
                raise AssertionError(f"unknown operation {operation:#x}")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
class TestFilter:
    def test_denies_everything_that_reaches_outside(self, machine: str) -> None:
        allowed = [name for name, number in FORBIDDEN[machine].items() if verdict(machine, number) != DENY]
        assert allowed == []

    def test_allows_reading_writing_and_ending(self, machine: str) -> None:
        for number in {"x86_64": (0, 1, 12, 11, 231, 202), "aarch64": (63, 64, 214, 215, 94, 98)}[machine]:
            assert verdict(machine, number) == ALLOW

    def test_denies_executable_memory_only(self, machine: str) -> None:
        for number in {"x86_64": (9, 10), "aarch64": (222, 226)}[machine]:
            assert verdict(machine, number, 0, 4096, 3) == ALLOW
            assert verdict(machine, number, 0, 4096, 4) == DENY
            assert verdict(machine, number, 0, 4096, 7) == DENY

    def test_signals_reach_only_the_process_itself(self, machine: str) -> None:
        tgkill = {"x86_64": 234, "aarch64": 131}[machine]
        assert verdict(machine, tgkill, 77, 77, 6) == ALLOW
        assert verdict(machine, tgkill, 78, 78, 6) == DENY
        assert verdict(machine, tgkill, 1, 1, 6) == DENY

    def test_another_numbering_kills(self, machine: str) -> None:
        other = ARCHITECTURE["aarch64" if machine == "x86_64" else "x86_64"]
        assert verdict(machine, 0, architecture=other) == KILL
        assert verdict(machine, 0x40000000) == KILL
        assert verdict(machine, 0x40000000 + 41) == KILL

    def test_unknown_calls_are_denied(self, machine: str) -> None:
        assert {verdict(machine, number) for number in range(440, 600)} == {DENY}


def test_a_machine_without_a_table_has_no_filter() -> None:
    with pytest.raises(KeyError):
        lockdown.seccomp_program("riscv64", 1)


# -- formats and page sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"%PDF-1.7\n", "application/pdf"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n\x00", "image/png"),
        (b"II*\x00\x08", "image/tiff"),
        (b"MM\x00*\x00", "image/tiff"),
        (b"II+\x00\x08", None),
        (b" %PDF-1.7", None),
        (b"GIF89a%PDF-1.7", None),
        (b"PK\x03\x04", None),
        (b"%PDF", None),
        (b"", None),
    ],
)
def test_formats_are_told_by_their_first_bytes(data: bytes, expected: str | None) -> None:
    assert sniff(data) == expected


@pytest.mark.parametrize(
    ("width", "height", "dpi", "expected"),
    [
        (1654, 2339, 200.0, (595.44, 842.04)),
        (2339, 1654, 200.0, (842.04, 595.44)),
        (1000, 1000, None, (595.28, 595.28)),
        (3000, 1000, None, (841.89, 280.63)),
        (40, 30, 300.0, (793.71, 595.28)),
        (60000, 60000, 72.0, (595.28, 595.28)),
    ],
)
def test_a_picture_becomes_a_page_of_its_size_or_fits_a4(width: int, height: int, dpi: float | None, expected: tuple[float, float]) -> None:
    """Without a credible resolution, or with one that would make a stamp or a poster, the page is A4 in its
    direction."""
    assert page_size(width, height, dpi) == pytest.approx(expected, abs=0.01)


def test_frames_hold_no_space_beyond_what_json_needs() -> None:
    """The worker's output cap counts bytes, so the header is compact."""
    data = frame(frames.Kind.RESULT, {"a": [1, 2]})
    assert data.endswith(json.dumps({"a": [1, 2]}, separators=(",", ":")).encode())
