"""Gives committed events their place in the log's total order, and hands them to JetStream.

One leader per service (an advisory lock on its own connection) sequences and publishes; other processes of the service stand by.
Positions come from committed rows only, so they are dense and no late commit is ever skipped; writers are not serialised.
The publisher chains messages by ``Nats-Expected-Last-Msg-Id``: whatever fails, JetStream holds an exact prefix of the log, and two
publishers can't interleave. After any doubt it asks the stream what it has last and goes on from there; a wiped stream is filled
again from position 1.
"""

import asyncio
import contextlib
import time
from collections import deque
from typing import Any, Final

import nats.errors
import nats.js.errors
import psycopg
import structlog
from nats.aio.client import Client
from nats.js.api import RawStreamMsg

from kernel import heartbeat
from kernel.eventlog.events import EVENT_COLUMNS, EventTypes, RecordedEvent, row_to_event
from kernel.eventlog.wire import HEADER_POSITION, message_headers
from kernel.observability import metrics
from kernel.topology import event_subject, stream_name

log = structlog.get_logger(__name__)

#: Rows in one sequencing transaction, and messages on the way to JetStream at once.
BATCH: Final = 500
WINDOW: Final = 256
#: How often the leader looks although nobody woke it (appends of other processes), and a follower tries to lead. Seconds.
POLL: Final = 0.05
ELECTION: Final = 0.5
#: How often the publisher looks what JetStream really has, in seconds: a stream that was wiped or cut is filled again unasked.
LOOK: Final = 5.0
_ACK_TIMEOUT: Final = 5.0
#: First key of the advisory lock; the second is 1. The database is the service's own, so no service name is needed.
_LOCK: Final = 0x59554E4B


class Sequencer:
    """The background loop ``run``; ``wake`` is called after appends in this process."""

    def __init__(self, database_url: str, nats: Client, service: str, types: EventTypes) -> None:
        self._url = database_url
        self._nats = nats
        self._service = service
        self._types = types
        self._woken = asyncio.Event()
        self._publish_wake = asyncio.Event()
        #: Events that are sequenced but not handed to JetStream, where they are still in memory.
        self._ready: deque[RecordedEvent] = deque()
        self.leading = False
        #: Highest position given, and highest acknowledged by JetStream, as far as this process knows.
        self.sequenced = 0
        self.published = 0

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Leads when it can. Returns only by exception or cancellation; the caller starts it again."""
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            while True:
                row = await (await connection.execute("SELECT pg_try_advisory_lock(%s, 1)", (_LOCK,))).fetchone()
                if row and row[0]:
                    break
                heartbeat.beat()
                await asyncio.sleep(ELECTION)
            self.leading = True
            try:
                await self._lead(connection)
            finally:
                self.leading = False
                self._ready.clear()

    async def _lead(self, connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        row = await (await connection.execute("SELECT coalesce(max(position), 0) FROM log")).fetchone()
        self.sequenced = int(row[0]) if row else 0
        publishing = asyncio.create_task(self._publish_loop())
        try:
            while True:
                heartbeat.beat()
                self._woken.clear()
                while await self._sequence(connection):
                    pass
                if publishing.done():
                    await publishing
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL):
                        await self._woken.wait()
        finally:
            publishing.cancel()
            # Never for ever: this loop must end for the next one to begin.
            await asyncio.wait({publishing}, timeout=_ACK_TIMEOUT)

    async def _sequence(self, connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> bool:
        """One batch; True when there may be more."""
        row = await (await connection.execute("SELECT sequence_outbox(%s)", (BATCH,), prepare=True)).fetchone()
        last = int(row[0]) if row else 0
        gained = last - self.sequenced
        if gained <= 0:
            return False
        before, self.sequenced = self.sequenced, last
        metrics.SEQUENCED.labels(self._service).set(last)
        if len(self._ready) < 4 * BATCH:
            # Keep them at hand: the publisher needn't read them again, which is most of the way to a subscriber.
            self._ready.extend(await _read(connection, before + 1, gained, self._types))
        self._publish_wake.set()
        return gained >= BATCH

    # -- publishing ----------------------------------------------------------------------------------------------------

    async def _publish_loop(self) -> None:
        # One context for good: each has a subscription of its own for acknowledgements.
        self._js = self._nats.jetstream(timeout=_ACK_TIMEOUT)
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            while True:
                try:
                    last_id = await self._resume(connection)
                    looked = time.monotonic()
                    while time.monotonic() - looked < LOOK:
                        last_id = await self._publish_batch(connection, last_id)
                except (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError) as failure:
                    log.warning("publishing interrupted", service=self._service, error=repr(failure))
                    self._ready.clear()
                    await asyncio.sleep(0.2)

    async def _resume(self, connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> str | None:
        """Asks the stream for its last message; the log after it is still due. None: the stream is empty."""
        last = await last_message(self._nats, self._service)
        position = int((last.headers or {}).get(HEADER_POSITION, "0")) if last else 0
        if position > self.sequenced:
            raise nats.errors.Error(f"{stream_name(self._service)} holds position {position}, the log only {self.sequenced}")
        self.published = position
        await self._checkpoint(connection)
        self._ready.clear()
        return (last.headers or {}).get("Nats-Msg-Id") if last else None

    async def _publish_batch(self, connection: psycopg.AsyncConnection[tuple[Any, ...]], last_id: str | None) -> str | None:
        while self._ready and (self._ready[0].position or 0) <= self.published:
            self._ready.popleft()
        batch: list[RecordedEvent] = []
        if self._ready and self._ready[0].position == self.published + 1:
            while self._ready and len(batch) < WINDOW:
                batch.append(self._ready.popleft())
        elif self.published < self.sequenced:
            batch = await _read(connection, self.published + 1, WINDOW, self._types)
        if not batch:
            self._publish_wake.clear()
            if not self._ready and self.published >= self.sequenced:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK):
                        await self._publish_wake.wait()
            return last_id
        acks = []
        for event in batch:
            headers = message_headers(event)
            if last_id is not None:
                headers["Nats-Expected-Last-Msg-Id"] = last_id
            last_id = str(event.event_id)
            acks.append(
                await self._js.publish_async(
                    event_subject(self._service, event.type), event.payload, headers=headers, wait_stall=_ACK_TIMEOUT
                )
            )
        async with asyncio.timeout(_ACK_TIMEOUT):
            await asyncio.gather(*acks)
        self.published = batch[-1].position or 0
        await self._checkpoint(connection)
        return last_id

    async def _checkpoint(self, connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        await connection.execute("UPDATE publisher SET position = %s WHERE position <> %s", (self.published, self.published), prepare=True)
        metrics.PUBLISHED.labels(self._service).set(self.published)
        metrics.PUBLISHER_LAG.labels(self._service).set(self.sequenced - self.published)


async def last_message(client: Client, service: str) -> RawStreamMsg | None:
    """The last message of a service's stream; None while the stream is empty. ``NotFoundError`` where there is no stream."""
    js = client.jetstream(timeout=_ACK_TIMEOUT)
    info = await js.stream_info(stream_name(service))
    if info.state.messages == 0:
        return None
    return await js.get_msg(stream_name(service), seq=info.state.last_seq)


async def _read(connection: psycopg.AsyncConnection[tuple[Any, ...]], first: int, limit: int, types: EventTypes) -> list[RecordedEvent]:
    rows = await (
        await connection.execute(
            f"SELECT {EVENT_COLUMNS}, l.position, l.log_hash FROM log l JOIN events e USING (stream_id, version) "
            "WHERE l.position >= %s ORDER BY l.position LIMIT %s",
            (first, limit),
            prepare=True,
        )
    ).fetchall()
    return [row_to_event(row, types) for row in rows]
