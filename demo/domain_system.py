"""A domain's own system: an ordinary NATS client with credentials of its own, in an account of its own."""

from __future__ import annotations

import asyncio
import json
import uuid
from types import TracebackType

import nats
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeoutError

from demo.console import UnexpectedError, expect
from demo.http import PATIENCE, Json

#: The stream of a domain's pushes and the durable consumer that is made for its system (docs/operations.md).
STREAM, DURABLE = "PUSHES", "system"


class DomainSystem:
    """Receives pushes as CloudEvents and answers with reviews."""

    def __init__(self, domain: Json) -> None:
        self.id, self.name = str(domain["id"]), str(domain["name"])
        self._url, self._credentials = str(domain["nats_url"]), str(domain["credentials_file"])
        self._push_subject, self._review_subject = str(domain["push_subject"]), str(domain["review_subject"])
        self._client: Client | None = None
        self.refused: list[str] = []

    async def __aenter__(self) -> DomainSystem:
        async def on_error(error: Exception) -> None:
            self.refused.append(str(error))

        self._client = await nats.connect(
            self._url,
            user_credentials=self._credentials,
            name=f"demo {self.id}",
            error_cb=on_error,
            allow_reconnect=False,
            connect_timeout=10,
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._client is not None
        await self._client.close()

    async def sees_nothing_else(self) -> str:
        """Try what a domain must not do: read the services' events. Returns the server's refusal."""
        assert self._client is not None
        await self._client.subscribe("yunku.>")
        await self._client.flush()
        for _ in range(40):
            if self.refused:
                return self.refused[0]
            await asyncio.sleep(0.05)
        raise UnexpectedError(f"{self.id} may subscribe to the services' events")

    async def receive(self, push_id: str) -> Json:
        """The CloudEvent of a push, acknowledged; other waiting pushes are acknowledged and left to others."""
        assert self._client is not None
        subscription = await self._client.jetstream().pull_subscribe_bind(consumer=DURABLE, stream=STREAM)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while loop.time() < deadline:
            try:
                messages = await subscription.fetch(10, timeout=2)
            except (NatsTimeoutError, TimeoutError):
                continue
            for message in messages:
                expect(message.subject == self._push_subject, self._push_subject, message.subject)
                event = json.loads(message.data)
                await message.ack()
                if event.get("type") == "yunku.push.requested" and event["data"].get("push_id") == push_id:
                    return self._checked(event)
        raise UnexpectedError(f"push {push_id} did not reach {self.id} in {PATIENCE:.0f} s")

    @staticmethod
    def _checked(event: Json) -> Json:
        expect(event.get("specversion") == "1.0", "a CloudEvent 1.0", event)
        for name in ("id", "source", "type", "time", "data"):
            expect(name in event, f"a CloudEvent with {name}", event)
        return event

    async def review(self, push_id: str, decision: str, opinion: str) -> None:
        """Publish the domain's decision where the registry listens."""
        assert self._client is not None
        answer = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": f"/{self.id}/demo",
            "type": "yunku.push.reviewed",
            "datacontenttype": "application/json",
            "data": {"push_id": push_id, "decision": decision, "opinion": opinion},
        }
        await self._client.publish(self._review_subject, json.dumps(answer, ensure_ascii=False).encode())
        await self._client.flush()
