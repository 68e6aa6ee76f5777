"""The loop that keeps a link to every domain, each in one process at a time, and says which of them has something to tell.

Which process holds which link is decided by advisory locks, which go with their connection: whoever lives takes over.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

import psycopg
from sqlalchemy import select

from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog
from kernel.heartbeat import beat
from kernel.observability import metrics
from kernel.observability.logging import get_logger
from services.push import notices
from services.push.link import Link
from services.push.tables import domains

_log = get_logger(__name__)

#: Seconds after which everything is looked through although nothing woke the loop.
POLL: Final = 1.0
#: Seconds until appended events have their place in the log, about.
_SEQUENCING: Final = 0.01


class Worker:
    """Keeps the links. ``make_link`` makes one by the domain's id."""

    def __init__(self, log: EventLog, make_link: Callable[[str], Link]) -> None:
        self._log = log
        self._make_link = make_link
        self._awake = asyncio.Event()
        self._links: dict[str, tuple[Link, asyncio.Task[None]]] = {}
        self._measured: set[tuple[str, str]] = set()

    def wake(self) -> None:
        """Looks at the log now."""
        self._awake.set()

    async def connected(self, domain_id: str, seconds: float) -> bool:
        """Waits for the domain's link, if this process holds it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while domain_id not in self._links:
                    self.wake()
                    await asyncio.sleep(0.02)
                await self._links[domain_id][0].up.wait()
                return True
        return False

    async def run(self) -> None:
        """The loop. One connection of the pool is held for its life: the locks on the links hang on it."""
        async with self._log.pool.connection() as holder:
            measured = 0.0
            try:
                while True:
                    beat()
                    self._awake.clear()
                    await self._keep_links(holder)
                    while await notices.follow(self._log):
                        beat()
                    for domain_id in await notices.domains_with_due(self._log):
                        if domain_id in self._links:
                            self._links[domain_id][0].wake()
                    if time.monotonic() - measured >= POLL:
                        await self._measure()
                        measured = time.monotonic()
                    pause = _SEQUENCING if await notices.unsequenced(self._log) else POLL
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._awake.wait()
                    await asyncio.sleep(_SEQUENCING)
            finally:
                tasks = [task for _, task in self._links.values()]
                self._links.clear()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                # The connection goes back to the pool and lives on: the locks must not.
                with contextlib.suppress(psycopg.Error):
                    await holder.execute("SELECT pg_advisory_unlock_all()")

    async def _keep_links(self, holder: Any) -> None:
        # Asked on the connection that holds the locks: one that died took them along, and this notices.
        rows = await (await holder.execute(*render(select(domains.c.domain_id)), prepare=True)).fetchall()
        for (domain_id,) in rows:
            held = self._links.get(domain_id)
            if held is not None:
                if held[1].done():  # links don't end by themselves: a defect, that must not end the others
                    _log.error("a link ended", domain=domain_id, exc_info=held[1].exception())
                    self._start(domain_id)
            elif await _locked(holder, domain_id):
                self._start(domain_id)

    def _start(self, domain_id: str) -> None:
        link = self._make_link(domain_id)
        self._links[domain_id] = (link, asyncio.create_task(link.run(), name=f"link-{domain_id}"))

    async def _measure(self) -> None:
        waiting = await notices.waiting(self._log)
        for key in self._measured - set(waiting):
            metrics.PUSHES_WAITING.labels(*key).set(0)
            metrics.PUSH_OLDEST_SECONDS.labels(*key).set(0)
        for key, one in waiting.items():
            metrics.PUSHES_WAITING.labels(*key).set(one.count)
            metrics.PUSH_OLDEST_SECONDS.labels(*key).set(one.oldest)
        self._measured |= set(waiting)


async def _locked(holder: Any, domain_id: str) -> bool:
    """Whether this process may hold the link: another one that does has the lock."""
    row = await (await holder.execute("SELECT pg_try_advisory_lock(hashtextextended('domain:' || %s, 0))", (domain_id,))).fetchone()
    return bool(row and row[0])


def waking(log: EventLog, worker: Worker) -> Callable[[], None]:
    """What the log calls after an append: whatever it called so far, and the worker."""
    before = log.on_append

    def appended() -> None:
        before()
        worker.wake()

    return appended
