"""Read models that follow the whole log (not one stream): a runner with its position in the transaction of the rows."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import ClauseElement, Table

from kernel import heartbeat
from kernel.eventlog.events import EVENT_COLUMNS, RecordedEvent, row_to_event
from kernel.eventlog.sql import render
from kernel.eventlog.store import Connection, EventLog
from kernel.observability import metrics

log = structlog.get_logger(__name__)

BATCH: Final = 500
POLL: Final = 0.1


@dataclass(frozen=True)
class LogProjection:
    """``apply(event, table)`` answers the Core statements by which one event changes the table; pure, in log order.

    Use the table that is handed in, not a global: a rebuild applies to a new table beside the old one. ``version`` rises whenever
    ``apply`` or the table changes.
    """

    table: Table
    version: int
    apply: Callable[[RecordedEvent, Table], Sequence[ClauseElement]]

    @property
    def name(self) -> str:
        return str(self.table.name)


class ProjectionRunner:
    """Keeps one LogProjection up with the log. Several processes may run it: the row lock lets one work at a time."""

    def __init__(self, log_: EventLog, projection: LogProjection) -> None:
        self._log = log_
        self._projection = projection
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        while True:
            heartbeat.beat()
            self._woken.clear()
            while await self._step() >= BATCH:
                pass
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._woken.wait()

    async def _step(self) -> int:
        async with self._log.pool.connection() as connection, connection.transaction():
            row = await (
                await connection.execute(
                    "SELECT position FROM projections WHERE name = %s AND version = %s FOR UPDATE SKIP LOCKED",
                    (self._projection.name, self._projection.version),
                )
            ).fetchone()
            if row is None:
                return 0
            applied, position = await apply_from(connection, self._log, self._projection, self._projection.table, int(row[0]))
            if applied:
                await connection.execute("UPDATE projections SET position = %s WHERE name = %s", (position, self._projection.name))
                metrics.PROJECTION_POSITION.labels(self._projection.name).set(position)
            return applied


async def apply_from(connection: Connection, log_: EventLog, projection: LogProjection, table: Table, position: int) -> tuple[int, int]:
    """Applies up to ``BATCH`` events after ``position`` to ``table``; answers (how many, the new position)."""
    rows = await (
        await connection.execute(
            f"SELECT {EVENT_COLUMNS}, l.position, l.log_hash FROM log l JOIN events e USING (stream_id, version) "
            "WHERE l.position > %s ORDER BY l.position LIMIT %s",
            (position, BATCH),
            prepare=True,
        )
    ).fetchall()
    for row in rows:
        event = row_to_event(row, log_.types)
        for statement in projection.apply(event, table):
            await connection.execute(*render(statement))
        position = int(row[10])
    return len(rows), position
