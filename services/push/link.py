"""The link to one domain: its NATS account, its connection, what it is told and what it answers.

Everything that is to be done stands in the database; a link that breaks or dies is made anew and goes on. Whatever happens to the
domain's streams, the link makes them again and publishes again what was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from datetime import datetime
from typing import Final

import nats
import nats.errors
import nats.js.errors
import psycopg
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import StreamInfo
from psycopg_pool import PoolTimeout

from kernel import nats_accounts
from kernel.eventlog.store import EventLog
from kernel.nats_accounts import PUSH_STREAM, REVIEW_DURABLE, REVIEW_STREAM, SYSTEM_DURABLE, Keyring, push_subject
from kernel.observability import metrics
from kernel.observability.logging import get_logger
from services.push import cloudevents, handlers, notices

_log = get_logger(__name__)

#: Seconds after which the queue is looked through although nothing woke the link.
_POLL: Final = 5.0
_FIRST_PAUSE: Final = 0.2
#: A link that held for so long starts again at the first pause.
_STEADY: Final = 30.0
#: How often an answer that can't be taken in, for no fault of the database, is tried before it is refused.
_ATTEMPTS: Final = 5
#: What of its storage a stream may fill before that part of it is purged which its reader has acknowledged.
_FULL: Final = 0.5
_DATABASE_DOWN: Final = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, OSError)


class _Lost(Exception):
    """The connection ended."""


class Link:
    """One domain's link. ``run`` keeps it; ``wake`` says that there is something to tell; ``up`` is set while it is connected."""

    def __init__(
        self, log: EventLog, domain_id: str, *, url: str, keyring: Keyring, replicas: int, look: float, longest_pause: float
    ) -> None:
        self.up = asyncio.Event()
        self._log = log
        self._domain_id = domain_id
        self._url = url
        self._keyring = keyring
        self._replicas = replicas
        self._look_seconds = look
        self._longest_pause = longest_pause
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """Looks through what is due now."""
        self._awake.set()

    async def run(self) -> None:
        """Until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            started = time.monotonic()
            try:
                await self._hold()
            except Exception as failure:
                reason = failure.exceptions[0] if isinstance(failure, ExceptionGroup) else failure
                _log.warning("no link to a domain", domain=self._domain_id, error=f"{type(reason).__name__}: {reason}"[:300])
            finally:
                self.up.clear()
                metrics.DOMAIN_CONNECTED.labels(self._domain_id).set(0)
            if time.monotonic() - started > _STEADY:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 (spreads links, guards nothing)
            pause = min(pause * 2, self._longest_pause)

    async def _hold(self) -> None:
        """One connection's life. Raises when it ends."""
        credentials = await self._ensure_account()
        lost = asyncio.Event()

        async def ended() -> None:
            lost.set()

        async def failed(error: Exception) -> None:
            _log.debug("nats", domain=self._domain_id, error=f"{type(error).__name__}: {error}")

        client = await nats.connect(
            self._url.split(","),
            user_credentials=str(credentials.yunku),
            name=f"push {self._domain_id}",
            allow_reconnect=False,
            connect_timeout=5,
            ping_interval=10,
            max_outstanding_pings=2,
            error_cb=failed,
            disconnected_cb=ended,
            closed_cb=ended,
        )
        try:
            await nats_accounts.ensure_domain_streams(client, self._domain_id, replicas=self._replicas)
            js = client.jetstream()
            info = await js.stream_info(PUSH_STREAM)
            await self._find_lost(js, info)
            self.up.set()
            metrics.DOMAIN_CONNECTED.labels(self._domain_id).set(1)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tell(js))
                group.create_task(self._listen(js))
                group.create_task(self._look(client, js, info.created))
                await lost.wait()
                raise _Lost("the connection ended")
        finally:
            with contextlib.suppress(Exception):
                await client.close()

    async def _ensure_account(self) -> nats_accounts.DomainCredentials:
        """The account with its users, made where it isn't yet; the server is told each time, for it may have lost its directory."""
        credentials = await asyncio.to_thread(nats_accounts.ensure_domain_files, self._keyring, self._domain_id)
        client = await nats_accounts.connect(self._url, self._keyring.system_credentials, name=f"push accounts {self._domain_id}")
        try:
            account = self._keyring.domain_directory(self._domain_id) / "account.jwt"
            await nats_accounts.update_account(client, await asyncio.to_thread(account.read_text))
        finally:
            await client.close()
        return credentials

    # -- what the domain is told

    async def _tell(self, js: JetStreamContext) -> None:
        pause = _FIRST_PAUSE
        while True:
            self._awake.clear()
            try:
                due = await notices.due(self._log, self._domain_id)
                for notice in due:
                    await self._publish(js, notice)
            except (nats.errors.Error, TimeoutError, *_DATABASE_DOWN) as failure:
                # The stream may be full or gone, its leader away, the database down: for ever again, and the age shows.
                metrics.JOBS.labels("delivery", "retried").inc()
                _log.warning("delivery put off", domain=self._domain_id, error=f"{type(failure).__name__}: {failure}"[:300])
                await asyncio.sleep(pause)
                pause = min(pause * 2, self._longest_pause)
                continue
            pause = _FIRST_PAUSE
            if not due:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL):
                        await self._awake.wait()

    async def _publish(self, js: JetStreamContext, notice: notices.Notice) -> None:
        started = time.monotonic()
        body, push = await notices.message(self._log, notice)
        acknowledged = await js.publish(
            push_subject(self._domain_id),
            body,
            timeout=5,
            stream=PUSH_STREAM,
            headers={"Nats-Msg-Id": notice.notice_id, "Content-Type": cloudevents.MEDIA_TYPE},
        )
        await handlers.sent(self._log, notice.notice_id, push, acknowledged.seq)
        metrics.JOBS.labels("delivery", "done").inc()
        metrics.JOB_SECONDS.labels("delivery").observe(time.monotonic() - started)

    # -- what its system answers

    async def _listen(self, js: JetStreamContext) -> None:
        subscription = await js.pull_subscribe_bind(durable=REVIEW_DURABLE, stream=REVIEW_STREAM)
        while True:
            try:
                (message,) = await subscription.fetch(1, timeout=_POLL)
            except (nats.errors.TimeoutError, TimeoutError):
                continue
            await self._take(message)

    async def _take(self, message: Msg) -> None:
        delivered = message.metadata.num_delivered or 1
        try:
            code = await handlers.take_answer(self._log, self._domain_id, message.data)
        except _DATABASE_DOWN as failure:
            _log.warning("answer put off", domain=self._domain_id, error=f"{type(failure).__name__}: {failure}"[:300])
            await message.nak(delay=1)
            await asyncio.sleep(0.5)
            return
        except Exception as failure:
            # A defect of ours. It must neither be lost nor stop the other answers: in the end it is refused, and both sides see it.
            _log.error("answer failed", domain=self._domain_id, attempts=delivered, exc_info=failure)
            if delivered < _ATTEMPTS:
                await message.nak(delay=delivered)
                return
            code = await handlers.refuse(self._log, self._domain_id, message.data, "internal")
        await message.ack()
        metrics.DOMAIN_ANSWERS.labels(self._domain_id, code or "taken").inc()
        if code:
            self.wake()

    # -- what became of what it was told

    async def _look(self, client: Client, js: JetStreamContext, created: datetime | None) -> None:
        """Sees what the domain's system has taken, and whether the streams are still those that were filled."""
        while True:
            await asyncio.sleep(self._look_seconds)
            try:
                info = await js.stream_info(PUSH_STREAM)
                reviews = await js.stream_info(REVIEW_STREAM)
                taken = await js.consumer_info(PUSH_STREAM, SYSTEM_DURABLE)
                read = await js.consumer_info(REVIEW_STREAM, REVIEW_DURABLE)
            except nats.js.errors.NotFoundError:
                await nats_accounts.ensure_domain_streams(client, self._domain_id, replicas=self._replicas)
                continue
            try:
                if info.created != created or await self._out_of_range(info):
                    created = info.created
                    await self._find_lost(js, info)
                floor = taken.ack_floor.stream_seq if taken.ack_floor is not None else 0
                for one in await notices.untaken(self._log, self._domain_id, up_to=floor) if floor else ():
                    is_push = one.kind == "requested"
                    await handlers.taken(self._log, one.notice_id, one.push_id, self._domain_id, is_push=is_push)
            except _DATABASE_DOWN as failure:
                _log.warning("cannot look after a domain", domain=self._domain_id, error=f"{type(failure).__name__}: {failure}"[:300])
                continue
            await _trim(js, info, floor)
            await _trim(js, reviews, read.ack_floor.stream_seq if read.ack_floor is not None else 0)

    async def _out_of_range(self, info: StreamInfo) -> bool:
        """Whether the stream can't hold all that it should: somebody purged it."""
        untaken = await notices.untaken(self._log, self._domain_id)
        if not untaken:
            return False
        return untaken[0].stream_sequence < info.state.first_seq or untaken[-1].stream_sequence > info.state.last_seq

    async def _find_lost(self, js: JetStreamContext, info: StreamInfo) -> None:
        """Compares the stream with what it should hold and the system hasn't taken; what is missing is published again."""
        lost = []
        for one in await notices.untaken(self._log, self._domain_id):
            if not info.state.first_seq <= one.stream_sequence <= info.state.last_seq or not await _holds(js, one):
                lost.append(one.notice_id)
        if lost:
            _log.warning("a domain's stream lost messages: they are published again", domain=self._domain_id, count=len(lost))
            await notices.resend(self._log, lost)
            self.wake()


async def _holds(js: JetStreamContext, one: notices.Untaken) -> bool:
    try:
        message = await js.get_msg(PUSH_STREAM, one.stream_sequence)
    except nats.js.errors.NotFoundError:
        return False
    return (message.headers or {}).get("Nats-Msg-Id") == one.notice_id


async def _trim(js: JetStreamContext, info: StreamInfo, floor: int) -> None:
    """Makes room in a stream that fills up, out of what its reader has acknowledged; the log keeps all of it."""
    name, limit = info.config.name, info.config.max_bytes or 0
    if name and limit > 0 and info.state.bytes > limit * _FULL and floor >= info.state.first_seq:
        await js.purge_stream(name, seq=floor)
