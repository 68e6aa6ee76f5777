"""Puts the documents that events name under retention, once those events are durable (reliability.md, invariant 7)."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import select
from yunku.certificate.v1 import events_pb2

from kernel.context import system_context
from kernel.eventlog.hashing import microseconds
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog
from services.certificate import domain
from services.certificate.ports import Vault
from services.certificate.projections import CERTIFICATE
from services.certificate.tables import certificates

POLL: Final = 1.0


class Locker:
    """A background loop; what it still has to do is read from the read model, so that a crash forgets nothing."""

    def __init__(self, log: EventLog, vault: Vault, retention: timedelta) -> None:
        self._log = log
        self._vault = vault
        self._retention = retention

    async def run(self) -> None:
        due = (
            select(certificates.c.certificate_id, certificates.c.subject_id, certificates.c.document_sha256)
            .where(certificates.c.document_sha256.isnot(None), ~certificates.c.document_locked)
            .order_by(certificates.c.certificate_id)
            .limit(50)
        )
        while True:
            async with self._log.pool.connection() as connection:
                rows = await (await connection.execute(*render(due))).fetchall()
            for stream_id, subject_id, sha256 in rows:
                until = (datetime.now(UTC) + self._retention).replace(microsecond=0)
                await self._vault.lock(sha256, until)
                event = events_pb2.DocumentLocked(certificate_id=str(stream_id), sha256=sha256, retain_until_us=microseconds(until))
                await self._log.execute(
                    CERTIFICATE, stream_id, partial(domain.record_lock, event=event), system_context("certificate"), subject_id=subject_id
                )
            await asyncio.sleep(POLL)
