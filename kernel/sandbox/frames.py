"""The one format in which a job's input and its result travel: a JSON header and any number of byte blobs.

Layout, little endian: magic, kind (u8), length of the header (u32), number of blobs (u32), length of each blob (u64),
header (UTF-8 JSON object), blobs. The reader trusts nothing: every length is checked against what is there, what is
left over is an error, and the JSON may hold no NaN, no infinity and no duplicate key. There is no pickle, because
whoever has taken over the worker writes these bytes.
"""

from __future__ import annotations

import enum
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

MAGIC: Final = b"YKS1"
_HEAD: Final = struct.Struct("<4sBII")
_LENGTH: Final = struct.Struct("<Q")
MAX_BLOBS: Final = 1024
"""More blobs than any operation returns (a page each)."""
OVERHEAD: Final = _HEAD.size + MAX_BLOBS * _LENGTH.size
"""Bytes that a frame may have beyond its header and blobs."""


class Kind(enum.IntEnum):
    """What a frame says. JOB goes in; the others come out."""

    JOB = 1
    RESULT = 2
    REFUSAL = 3
    MEMORY = 4
    ERROR = 5


class MalformedFrame(ValueError):
    """The bytes are not one whole, well-formed frame."""


def encode(kind: Kind, header: Mapping[str, Any], blobs: Sequence[bytes | memoryview] = ()) -> list[bytes | memoryview]:
    """The frame as parts to be written one after the other (so that large blobs aren't copied)."""
    text = json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    if len(blobs) > MAX_BLOBS:
        raise ValueError(f"{len(blobs)} blobs in a frame, at most {MAX_BLOBS}")
    lengths = b"".join(_LENGTH.pack(len(blob)) for blob in blobs)
    return [_HEAD.pack(MAGIC, kind, len(text), len(blobs)) + lengths + text, *blobs]


def decode(data: bytes | bytearray | memoryview) -> tuple[Kind, dict[str, Any], list[bytes]]:
    """Read exactly one frame; raises MalformedFrame for anything else."""
    view = memoryview(data)
    if len(view) < _HEAD.size:
        raise MalformedFrame("shorter than a frame's head")
    magic, kind_number, header_length, blob_count = _HEAD.unpack_from(view)
    if magic != MAGIC:
        raise MalformedFrame("wrong magic")
    try:
        kind = Kind(kind_number)
    except ValueError as error:
        raise MalformedFrame("unknown kind") from error
    if blob_count > MAX_BLOBS:
        raise MalformedFrame("too many blobs")
    position = _HEAD.size + blob_count * _LENGTH.size
    if position > len(view):
        raise MalformedFrame("cut short")
    lengths = [_LENGTH.unpack_from(view, _HEAD.size + i * _LENGTH.size)[0] for i in range(blob_count)]
    if position + header_length + sum(lengths) != len(view):
        raise MalformedFrame("lengths don't add up")
    header = _parse(bytes(view[position : position + header_length]))
    position += header_length
    blobs = []
    for length in lengths:
        blobs.append(bytes(view[position : position + length]))
        position += length
    return kind, header, blobs


def _parse(text: bytes) -> dict[str, Any]:
    """A JSON object, strictly."""
    try:
        header = json.loads(text.decode(), object_pairs_hook=_object, parse_constant=_reject)
    except (ValueError, RecursionError) as error:
        raise MalformedFrame("header is not JSON") from error
    if not isinstance(header, dict):
        raise MalformedFrame("header is not an object")
    return header


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """json's hook for objects: two values for one key would let two readers see different things."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def _reject(constant: str) -> NoReturn:
    """json's hook for NaN and the infinities."""
    raise ValueError(f"{constant} is not JSON")
