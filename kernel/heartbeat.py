"""How a background loop says that it advances.

A loop that was added with ``max_silence`` calls :func:`beat` each time round; ``/healthz`` fails when it stays silent
longer. The beat finds its loop by a contextvar, so that what runs in the loop needs no handle; outside of one it does
nothing.
"""

import time
from contextvars import ContextVar
from typing import Final


class Heartbeat:
    """The last beat of one loop, on the clock of ``time.monotonic()``."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = time.monotonic()

    def beat(self) -> None:
        """The loop advanced just now."""
        self.last = time.monotonic()

    def age(self) -> float:
        """Seconds since the last beat."""
        return time.monotonic() - self.last


_current: Final[ContextVar[Heartbeat | None]] = ContextVar("yunku_heartbeat", default=None)


def beat() -> None:
    """The running background loop advanced just now."""
    heartbeat = _current.get()
    if heartbeat is not None:
        heartbeat.beat()


def enter(heartbeat: Heartbeat) -> None:
    """Makes ``heartbeat`` the running task's (called by the runtime when it starts a loop)."""
    _current.set(heartbeat)
