"""The bytes of a reading, as far as the service itself looks into them: without numpy, whose threads would keep the
embedded stack from forking its services."""

from __future__ import annotations

import json
import struct
from typing import Any, Final

_MAGIC: Final = b"YR1"


def pack(head: dict[str, Any], blobs: list[bytes]) -> bytes:
    """A reading's words (``head``, with its list of ``variants``) and the frames of its variants."""
    encoded = json.dumps(head, ensure_ascii=False).encode()
    return _MAGIC + struct.pack("<I", len(encoded)) + encoded + b"".join(blobs)


def unpack(data: bytes) -> tuple[dict[str, Any], int]:
    """The words, and where the frames start. Raises ``ValueError`` for bytes that ``pack`` did not make."""
    if data[:3] != _MAGIC or len(data) < 7:
        raise ValueError("not a reading")
    (length,) = struct.unpack_from("<I", data, 3)
    head: dict[str, Any] = json.loads(data[7 : 7 + length])
    return head, 7 + length


def words(data: bytes) -> list[tuple[str, float, float]]:
    """(text, confidence, log probability) of each variant of a packed reading."""
    head, _ = unpack(data)
    return [(text, confidence, log) for _, text, confidence, log, _ in head["variants"]]
