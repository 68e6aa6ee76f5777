"""uvicorn's HTTP protocol with a limit that it lacks: how long a client may take over a request's headers."""

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from kernel import texts


def protocol(header_seconds: float) -> type[H11Protocol]:
    """The protocol class for uvicorn's ``http=``."""

    class PatientProtocol(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._arm()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._arm()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            # From here on uvicorn's own keep-alive timeout counts, until the next byte comes (or has come already).
            self._disarm()
            if self.conn.trailing_data[0]:
                self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            """What is no HTTP is told like every other refusal."""
            problem = {
                "type": "urn:yunku:problem:request_malformed",
                "title": texts.text("errors.request_malformed"),
                "status": 400,
                "code": "request_malformed",
                "detail": None,
                "errors": [],
                "correlation_id": "",
            }
            body = json.dumps(problem, ensure_ascii=False).encode()
            headers = [
                (b"content-type", b"application/problem+json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            try:
                self.transport.write(self.conn.send(h11.Response(status_code=400, headers=headers, reason=b"Bad Request")) or b"")
                self.transport.write(self.conn.send(h11.Data(data=body)) or b"")
                self.transport.write(self.conn.send(h11.EndOfMessage()) or b"")
            except h11.LocalProtocolError:
                pass
            self.transport.close()

        def _arm(self) -> None:
            waiting = self.conn.their_state is h11.IDLE
            if waiting and self._timer is None:
                self._timer = self.loop.call_later(header_seconds, self._late)
            elif not waiting:
                self._disarm()

        def _disarm(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _late(self) -> None:
            self._timer = None
            if not self.transport.is_closing() and self.conn.their_state is h11.IDLE:
                self.transport.close()

    return PatientProtocol
