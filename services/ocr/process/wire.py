"""Frames over a pipe: a JSON header and any number of byte blobs. Both ends are ours; sizes are checked all the same.

A frame is: 4 bytes length of the header, the header (JSON; its ``blobs`` lists the blobs' lengths), the blobs.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO, Final

MAX_HEADER: Final = 32 * 1024 * 1024
MAX_BLOBS: Final = 1024 * 1024 * 1024

Header = dict[str, Any]


def encode(header: Header, blobs: Sequence[bytes] = ()) -> list[bytes]:
    """The frame's parts, to be written one after the other."""
    head = json.dumps({**header, "blobs": [len(b) for b in blobs]}, ensure_ascii=False).encode()
    return [struct.pack("<I", len(head)), head, *blobs]


def _sizes(header: Header) -> list[int]:
    sizes = header.pop("blobs", [])
    if not isinstance(sizes, list) or any(not isinstance(s, int) or s < 0 for s in sizes) or sum(sizes) > MAX_BLOBS:
        raise ValueError("bad frame")
    return sizes


def read(stream: BinaryIO) -> tuple[Header, list[bytes]] | None:
    """The next frame; ``None`` at the end of the stream. Raises ``ValueError`` for what is no frame."""
    prefix = stream.read(4)
    if len(prefix) < 4:
        return None
    (length,) = struct.unpack("<I", prefix)
    if length > MAX_HEADER:
        raise ValueError("bad frame")
    header: Header = json.loads(stream.read(length))
    return header, [stream.read(size) for size in _sizes(header)]


async def receive(stream: asyncio.StreamReader) -> tuple[Header, list[bytes]]:
    """The next frame. Raises ``asyncio.IncompleteReadError`` at the end of the stream, ``ValueError`` for no frame."""
    (length,) = struct.unpack("<I", await stream.readexactly(4))
    if length > MAX_HEADER:
        raise ValueError("bad frame")
    header: Header = json.loads(await stream.readexactly(length))
    return header, [await stream.readexactly(size) for size in _sizes(header)]
