"""An outside client of the public HTTP contract (docs/http-api.md)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from demo.console import UnexpectedError

Json = dict[str, Any]
T = TypeVar("T")
#: Longest that the demo waits for recognition, a verdict, a delivery or a review, seconds.
PATIENCE = 180.0


class Problem(Exception):
    """An answer of application/problem+json."""

    def __init__(self, call: str, status: int, body: Json) -> None:
        self.status, self.code, self.body = status, str(body.get("code", "")), body
        details = "; ".join(f"{e.get('pointer')}: {e.get('message')}" for e in body.get("errors", []))
        super().__init__(f"{call} answered {status} {self.code} {body.get('title', '')} {details}".strip())


class Client:
    """One person's session. Every POST carries an Idempotency-Key; every refusal is raised as Problem."""

    def __init__(self, base_url: str) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=60.0, trust_env=False)
        self.origin = base_url.rstrip("/")

    def close(self) -> None:
        self._http.close()

    def use_token(self, token: str) -> None:
        """Act with this session's token from now on."""
        self._http.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **params: str | int) -> Json:
        return self._json("GET", path, params=params)

    def raw(self, path: str) -> bytes:
        """A file's bytes."""
        return self._send("GET", path).content

    def post(self, path: str, body: Json | None = None, *, key: str = "", **params: str | int) -> Json:
        """A command. The same ``key`` with the same body does nothing a second time and gets the first answer."""
        return self._json("POST", path, json=body or {}, params=params, headers={"Idempotency-Key": key or str(uuid.uuid4())})

    def put(self, path: str, body: Json) -> Json:
        return self._json("PUT", path, json=body)

    def upload(self, path: str, name: str, content: bytes, media_type: str) -> Json:
        """Send a file as multipart field ``file``."""
        return self._json("PUT", path, files={"file": (name, content, media_type)})

    def delete(self, path: str) -> None:
        self._send("DELETE", path)

    def _json(self, method: str, path: str, **arguments: Any) -> Json:
        response = self._send(method, path, **arguments)
        if not response.content:
            return {}
        body = response.json()
        if not isinstance(body, dict):
            raise UnexpectedError(f"{method} {path} answered no JSON object")
        return body

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise UnexpectedError(f"{method} {path}: {error} (is the suite running? `make start`)") from error
        if response.is_success:
            return response
        if not response.headers.get("content-type", "").startswith("application/problem+json"):
            raise UnexpectedError(f"{method} {path} answered {response.status_code}: {response.text[:300]}")
        raise Problem(f"{method} {path}", response.status_code, response.json())


def eventually(what: str, look: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """Ask again until ``look()`` gives something true, and return that. Raises UnexpectedError after ``patience``."""
    deadline = time.monotonic() + patience
    pause = 0.05
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise UnexpectedError(f"{what} did not happen in {patience:.0f} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)
