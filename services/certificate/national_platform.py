"""The connector to the national platform, over HTTP: every wait, every repetition and every size has its bound."""

import asyncio
import hashlib
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from pydantic_core import from_json

from kernel.errors import YunkuError
from kernel.observability.logging import get_logger
from services.certificate.takeover import MAX_ROWS, Answer

#: Calls that run at once; more are told that the platform is unavailable rather than queue behind a slow one.
_AT_ONCE: Final = 16
#: What Retry-After says where the platform doesn't say it itself, and at most. Seconds.
_COME_AGAIN: Final = 30
_LONGEST_WAIT: Final = 3600

_log = get_logger(__name__)


class _Passing(Exception):
    """It didn't work, and may the next time."""

    def __init__(self, why: str, retry_after: int = _COME_AGAIN) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class HttpPlatform:
    """Asks ``url``. One call tries up to ``attempts`` times, each for ``seconds`` at most, with pauses that double and scatter."""

    def __init__(self, url: str, *, seconds: float, attempts: int, answer_bytes: int, pause_seconds: float = 0.2) -> None:
        self._url = url.rstrip("/")
        self._seconds = seconds
        self._attempts = attempts
        self._answer_bytes = answer_bytes
        self._pause = pause_seconds
        self._running = 0
        # A redirect would carry a person's number to an address that nobody set.
        self._client = httpx.AsyncClient(timeout=seconds, follow_redirects=False, trust_env=False, headers={"Accept-Encoding": "identity"})

    async def close(self) -> None:
        await self._client.aclose()

    async def qualifications(self, uscc: str, name: str) -> Answer:
        return await self._ask("qualifications", {"uscc": uscc, "name": name})

    async def registrations(self, name: str, id_no: str, employer: str) -> Answer:
        return await self._ask("registrations", {"name": name, "id_no": id_no, "employer": employer})

    async def _ask(self, what: str, question: Mapping[str, str]) -> Answer:
        if not self._url:
            raise YunkuError("national_platform_not_set")
        if self._running >= _AT_ONCE:
            raise YunkuError("national_platform_unavailable", retry_after=str(_COME_AGAIN))
        self._running += 1
        try:
            return await self._try(what, question)
        finally:
            self._running -= 1

    async def _try(self, what: str, question: Mapping[str, str]) -> Answer:
        for attempt in range(1, self._attempts + 1):
            try:
                async with asyncio.timeout(self._seconds):
                    return await self._once(what, question)
            except (_Passing, TimeoutError, httpx.TransportError) as failed:
                # The kind of the failure and no more: what was asked for is a person's.
                why = str(failed) if isinstance(failed, _Passing) else type(failed).__name__
                _log.warning("national platform failed", asked=what, attempt=attempt, why=why)
                if attempt == self._attempts:
                    wait = failed.retry_after if isinstance(failed, _Passing) else _COME_AGAIN
                    raise YunkuError("national_platform_unavailable", retry_after=str(wait)) from None
            await asyncio.sleep(self._pause * 2 ** (attempt - 1) * random.uniform(0.5, 1.0))  # noqa: S311 (spreads retries, guards nothing)
        raise AssertionError("unreachable")

    async def _once(self, what: str, question: Mapping[str, str]) -> Answer:
        # POST, so that a person's number stands in no address and in no access log.
        async with self._client.stream("POST", f"{self._url}/v1/{what}", json=question) as response:
            if response.status_code >= 500 or response.status_code == 429:
                raise _Passing(f"status {response.status_code}", _retry_after(response.headers.get("retry-after", "")))
            if response.status_code != 200 or response.headers.get("content-encoding", "identity") != "identity":
                raise _unusable(what, f"status {response.status_code}")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > self._answer_bytes:
                    raise _unusable(what, "too large")
        return Answer(_rows(what, bytes(body)), datetime.now(UTC), hashlib.sha256(body).hexdigest())


def _rows(what: str, body: bytes) -> tuple[Any, ...]:
    try:
        told = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise _unusable(what, "no JSON") from None
    rows = told.get("items") if isinstance(told, dict) else None
    if not isinstance(rows, list) or len(rows) > MAX_ROWS:
        raise _unusable(what, "not the format")
    return tuple(rows)


def _unusable(what: str, why: str) -> YunkuError:
    _log.error("national platform's answer can't be used", asked=what, why=why)
    return YunkuError("national_platform_unusable")


def _retry_after(text: str) -> int:
    return min(max(int(text), 1), _LONGEST_WAIT) if text.isascii() and text.isdecimal() and len(text) < 9 else _COME_AGAIN
