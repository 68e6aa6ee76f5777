"""What happens, as it happens: one NATS subscription wakes those that wait for news of their subject.

A wake-up carries nothing: whoever is woken asks the certificate service, which knows whose the news are. So a lost
message costs a moment, and a forged one nothing.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from kernel import topology
from kernel.eventlog.wire import HEADER_SUBJECT

#: Whose events change what a client sees.
_SOURCES: Final = ("certificate",)


class Bell:
    """Rings when something happened to a subject; rings of one moment are one."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self._rung = asyncio.Event()
        self._stopping = stopping

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, seconds: float) -> bool:
        """Waits for a ring, at most ``seconds``; whether it rang. Returns at once when the service stops."""
        if self._stopping.is_set():
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        rang = self._rung.is_set()
        self._rung.clear()
        return rang


class Live:
    """The bells of all who wait, by subject."""

    def __init__(self, streams_at_once: int, streams_per_session: int) -> None:
        self._bells: dict[str, set[Bell]] = defaultdict(set)
        self._stopping = asyncio.Event()
        self.streams_at_once = streams_at_once
        self.streams_per_session = streams_per_session
        self.streams: dict[str, int] = defaultdict(int)

    @property
    def stopping(self) -> bool:
        """Whether the service ends: streams end with it."""
        return self._stopping.is_set()

    async def start(self, nats: Nats) -> None:
        """Listens to the events as they pass; nothing is kept or acknowledged. The client subscribes anew by itself."""
        for source in _SOURCES:
            await nats.subscribe(topology.stream_subjects(source), cb=self._on_message)

    async def _on_message(self, message: Msg) -> None:
        subject_id = (message.headers or {}).get(HEADER_SUBJECT)
        if subject_id:
            self.ring(subject_id)

    def ring(self, subject_id: str) -> None:
        """Wakes all who wait for this subject."""
        for bell in self._bells.get(subject_id, ()):
            bell.ring()

    async def stop(self) -> None:
        """Ends all waiting."""
        self._stopping.set()
        for bells in self._bells.values():
            for bell in bells:
                bell.ring()

    @contextlib.contextmanager
    def bell(self, subject_id: str) -> Iterator[Bell]:
        """A bell of the subject, for the block."""
        bell = Bell(self._stopping)
        self._bells[subject_id].add(bell)
        try:
            yield bell
        finally:
            self._bells[subject_id].discard(bell)
            if not self._bells[subject_id]:
                del self._bells[subject_id]
