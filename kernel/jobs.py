"""The loop that carries out jobs which wait in a read model: as many at once as is set, each by one process at a time.

What is to be done stands in the read model and nowhere else, so a process that is killed loses nothing: its advisory locks go with its
connection, and whoever runs next takes the work up.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final
from uuid import UUID

import psycopg
from sqlalchemy import Table, func, or_, select

from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog
from kernel.heartbeat import beat
from kernel.observability import metrics

#: Seconds after which the queue is looked through although nothing woke the loop.
POLL: Final = 1.0
#: How many rows are looked at for each free place: some are held by other processes.
_AHEAD: Final = 4


class JobWorker:
    """Carries out the rows of ``table`` whose ``state`` is waiting, when they are ``due_at``. ``wake`` says that there may be work.

    ``carry_out(id)`` does one, and answers whether it is done (False: put off). ``passing`` are the reasons of putting off that pass by
    themselves, so that what has one needn't be waited for once a job succeeds again. ``kind`` names the work in metrics.
    """

    def __init__(
        self,
        log: EventLog,
        table: Table,
        carry_out: Callable[[UUID], Awaitable[bool]],
        *,
        kind: str,
        passing: Collection[str],
        concurrency: int,
    ) -> None:
        self._log = log
        self._table = table
        (self._id,) = table.primary_key.columns
        self._do = carry_out
        self._kind = kind
        self._passing = tuple(passing)
        self._concurrency = concurrency
        self._awake = asyncio.Event()
        self._running: dict[UUID, asyncio.Task[bool]] = {}
        #: Jobs were put off and one succeeded again: what passes by itself needn't wait for its time.
        self._recovered = False
        self._down = False

    def wake(self) -> None:
        """Looks through the queue now."""
        self._awake.set()

    async def run(self) -> None:
        """The loop. One connection of the pool is held for its life: the locks on what this process does hang on it."""
        async with self._log.pool.connection() as holder:
            try:
                while True:
                    beat()
                    self._awake.clear()
                    await self._collect(holder)
                    await self._take(holder)
                    await self._wait()
            finally:
                running = list(self._running.values())
                self._running.clear()
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
                # The connection goes back to the pool and lives on: the locks must not.
                with contextlib.suppress(psycopg.Error):
                    await holder.execute("SELECT pg_advisory_unlock_all()")

    async def _wait(self) -> None:
        waker = asyncio.create_task(self._awake.wait())
        await asyncio.wait({waker, *self._running.values()}, timeout=POLL, return_when=asyncio.FIRST_COMPLETED)
        waker.cancel()

    async def _take(self, holder: Any) -> None:
        waiting = select(func.count()).select_from(self._table).where(self._table.c.state == "waiting")
        # Asked also when no place is free: a connection that died took the locks along, and this notices.
        row = await (await holder.execute(*render(waiting))).fetchone()
        metrics.JOBS_WAITING.labels(self._kind).set(max(0, (row[0] if row else 0) - len(self._running)))
        free = self._concurrency - len(self._running)
        if free <= 0:
            return
        ripe = self._table.c.due_at <= func.now()
        if self._recovered:
            ripe = or_(ripe, self._table.c.reason.in_(self._passing))
        due = select(self._id).where(self._table.c.state == "waiting", ripe).order_by(self._table.c.due_at)
        if self._running:
            due = due.where(self._id.not_in(list(self._running)))
        rows = await (await holder.execute(*render(due.limit(free * _AHEAD)))).fetchall()
        if not rows:
            self._recovered = False
        for (job_id,) in rows:
            if len(self._running) >= self._concurrency:
                break
            if await _locked(holder, job_id):
                self._running[job_id] = asyncio.create_task(self._carry_out(job_id))

    async def _collect(self, holder: Any) -> None:
        """Lets go of what ended. Only the loss of the database fails a task, and the row then still waits."""
        for job_id, task in list(self._running.items()):
            if not task.done():
                continue
            del self._running[job_id]
            await holder.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (str(job_id),))
            failure = task.exception()
            if failure is not None:
                metrics.JOBS.labels(self._kind, "failed").inc()
                raise failure
            done = task.result()
            metrics.JOBS.labels(self._kind, "done" if done else "retried").inc()
            self._recovered = done and (self._down or self._recovered)
            self._down = not done

    async def _carry_out(self, job_id: UUID) -> bool:
        started = time.monotonic()
        try:
            return await self._do(job_id)
        finally:
            metrics.JOB_SECONDS.labels(self._kind).observe(time.monotonic() - started)


async def _locked(holder: Any, job_id: UUID) -> bool:
    """Whether this process may work on it: another one that does holds the lock."""
    query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
    row = await (await holder.execute(query, (str(job_id),))).fetchone()
    return bool(row and row[0])


def waking(log: EventLog, worker: JobWorker) -> Callable[[], None]:
    """What the log calls after an append: whatever it called so far, and the worker."""
    before = log.on_append

    def appended() -> None:
        before()
        worker.wake()

    return appended
