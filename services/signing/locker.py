"""Locks sealed objects after the event that names them: a loop over what isn't locked yet, so that a kill loses
nothing."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select

from kernel.context import system_context
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog
from kernel.heartbeat import beat
from kernel.observability.logging import get_logger
from services.signing import domain, handlers
from services.signing.objects import SEALED, Objects
from services.signing.projections import SEAL
from services.signing.tables import preparations

_log = get_logger(__name__)
_BATCH: Final = 50
#: Looks again after this long even if nothing woke it: another process of the service may have sealed.
_IDLE_SECONDS: Final = 5.0


class SealLocker:
    """The background loop."""

    def __init__(self, log: EventLog, objects: Objects, retention_days: int) -> None:
        self._log = log
        self._objects = objects
        self._retention = timedelta(days=retention_days)
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """There is something to lock."""
        self._awake.set()

    async def run(self) -> None:
        """For ever; what fails is tried again by the next turn."""
        while True:
            beat()
            self._awake.clear()
            if not await self.lock_batch():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_IDLE_SECONDS):
                        await self._awake.wait()

    async def lock_batch(self) -> int:
        """Locks what waits, at most 50; returns how many it locked. One that can't be locked doesn't hold up the
        rest."""
        query = select(preparations.c.preparation_id).where(preparations.c.to_lock).limit(_BATCH)
        async with self._log.pool.connection() as connection:
            rows = await (await connection.execute(*render(query))).fetchall()
        locked = 0
        for (stream_id,) in rows:
            beat()
            try:
                await self._lock(stream_id)
                locked += 1
            except Exception as error:
                _log.error("not_locked", seal_id=str(stream_id), exc_info=error)
        return locked

    async def _lock(self, stream_id: UUID) -> None:
        state = (await self._log.load(SEAL, stream_id)).state
        if state.seal is None or state.prepared is None:
            return
        until = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=state.seal.signed_at_us) + self._retention
        until = until.replace(microsecond=0)
        held = await self._objects.lock(SEALED, state.seal.sealed_sha256, until)
        trust = json.loads(state.validation)["trust_sha256"]
        await self._objects.lock(SEALED, handlers.TRUST_PREFIX + trust, until)
        await self._log.execute(
            SEAL,
            stream_id,
            lambda current: domain.lock(current, handlers.microseconds(held)),
            system_context("signing"),
            subject_id=state.prepared.subject_id,
        )
