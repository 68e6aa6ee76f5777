"""Identifiers: time-ordered ones for what is new, derived ones for what must come out the same every time."""

import os
import threading
import time
import uuid
from typing import Final

#: Root of all derived ids of Yunku; must never change.
_ROOT: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "yunku")

_lock = threading.Lock()
_last_ms = 0
_counter = 0


def uuid7() -> uuid.UUID:
    """A UUIDv7 (RFC 9562), rising strictly within the process, also within a millisecond and when the clock steps back.

    The 12 bits after the time are a counter that starts at a random value below 2048 each millisecond (method 1 of
    section 6.2); 62 random bits keep processes apart.
    """
    global _last_ms, _counter
    random = int.from_bytes(os.urandom(10), "big")
    with _lock:
        now = time.time_ns() // 1_000_000
        if now > _last_ms:
            _last_ms, _counter = now, (random >> 64) & 0x7FF
        else:
            _counter += 1
            if _counter > 0xFFF:
                _last_ms, _counter = _last_ms + 1, (random >> 64) & 0x7FF
        ms, counter = _last_ms, _counter
    value = (ms & ((1 << 48) - 1)) << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | random & ((1 << 62) - 1)
    return uuid.UUID(int=value)


def derived(namespace_name: str, *parts: str) -> uuid.UUID:
    """The UUIDv5 of ``parts`` within a namespace: the same input gives the same id, in every process and for ever.

    Parts are length-prefixed, so that ("ab", "c") and ("a", "bc") differ.
    """
    namespace = uuid.uuid5(_ROOT, namespace_name)
    return uuid.uuid5(namespace, "".join(f"{len(part)}:{part}" for part in parts))
