"""What the gateway does with clients that send too much, too slowly, or no HTTP at all: the real server, no services behind it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from kernel.service import OpsServer
from services.gateway import openapi, uploads
from services.gateway.app import create
from services.gateway.edge import Edge
from services.gateway.protocol import protocol
from services.gateway.settings import Settings
from tests.contract.openapi_schema import errors, resolve

PROBLEM = "application/problem+json"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 100


class Door:
    """A running gateway without services, and what its probes saw."""

    def __init__(self, port: int, uploads_seen: list[tuple[int, str, str]]) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.uploads = uploads_seen

    async def talk(self, sent: bytes, seconds: float = 5.0) -> bytes:
        """Sends bytes and reads until the other side closes (or nothing comes for ``seconds``)."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(sent)
        got = b""
        try:
            async with asyncio.timeout(seconds):
                while chunk := await reader.read(65536):
                    got += chunk
        except TimeoutError:
            got += b"<still open>"
        finally:
            writer.close()
        return got


def _probe(app: FastAPI, settings: Settings, seen: list[tuple[int, str, str]]) -> None:
    async def take(request: Request) -> Response:
        async with uploads.receive(request, settings.uploads, settings.upload_bytes) as upload:
            seen.append((upload.size, upload.sha256, upload.name))
        return Response(None, 204)

    async def fail(request: Request) -> Response:
        raise RuntimeError("13800000001 is the secret")

    # Instead of the route that asks the certificate service first whose certificate it is.
    app.router.routes.insert(0, app.router.route_class("/api/v1/certificates/{certificate_id}/document", take, methods=["PUT"]))
    app.router.routes.insert(0, app.router.route_class("/fail", fail, methods=["GET"]))


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    settings = Settings(
        service="gateway",
        upload_dir=tmp_path,
        body_bytes=4096,
        upload_bytes=100_000,
        header_seconds=0.5,
        chunk_seconds=0.5,
        body_seconds=1.5,
    )
    app = create(None)
    seen: list[tuple[int, str, str]] = []
    _probe(app, settings, seen)
    server = OpsServer(Edge(app, settings), "127.0.0.1", 0, http=protocol(settings.header_seconds), ws="none")
    port = await server.start()
    yield Door(port, seen)
    await server.stop()


@pytest.fixture
async def client(door: Door) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=door.url, trust_env=False, timeout=20) as made:
        yield made


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem that an answer must be."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), answer.text
    told: dict[str, Any] = answer.json()
    document = json.loads(openapi.text())
    assert list(errors(told, resolve("#/components/schemas/Problem", document), document)) == []
    assert told["code"] == code
    assert told["title"]
    assert told["correlation_id"] == answer.headers["x-correlation-id"]
    return told


async def test_errors_of_the_frameworks_are_problems(client: httpx.AsyncClient) -> None:
    problem(await client.get("/nothing/here"), 404, "not_found")
    problem(await client.get("/api/v1/certificates/x/pages/"), 404, "not_found")
    refused = await client.patch("/api/v1/catalogue")
    problem(refused, 405, "method_not_allowed")
    assert "GET" in refused.headers["allow"]
    problem(await client.get("/api/v1/certificates"), 401, "unauthenticated")
    told = await client.get("/api/v1/certificates", headers={"Authorization": "Basic eA=="})
    assert problem(told, 401, "unauthenticated")["errors"] == []
    assert told.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("content", "content_type", "code", "pointers"),
    [
        (b"{", "application/json", "request_malformed", [""]),
        (b"\xff\xfe", "application/json", "request_malformed", [""]),
        (b"[" * 3000, "application/json", "request_malformed", [""]),
        (b"[]", "application/json", "request_malformed", [""]),
        (b"", "application/json", "request_malformed", [""]),
        (b'{"phone":"1"}', "text/plain", "request_malformed", [""]),
        (b"{}", "application/json", "field_required", ["/phone"]),
        (b'{"phone":"1","fone":"2"}', "application/json", "field_unknown", ["/fone"]),
        (b'{"phone":1}', "application/json", "value_invalid", ["/phone"]),
        (b'{"phone":"%s"}' % (b"1" * 201), "application/json", "value_too_long", ["/phone"]),
        (b'{"a/b":"1","c~d":2}', "application/json", "value_invalid", ["/phone", "/a~1b", "/c~0d"]),
    ],
)
async def test_bodies_that_are_no_request(
    client: httpx.AsyncClient, content: bytes, content_type: str, code: str, pointers: list[str]
) -> None:
    answer = await client.post("/api/v1/phone-codes", content=content, headers={"Content-Type": content_type})
    told = problem(answer, 422, code)
    assert [one["pointer"] for one in told["errors"]] == pointers
    assert all(one["message"] for one in told["errors"])


async def test_pointers_of_logins_name_the_member_not_the_method(client: httpx.AsyncClient) -> None:
    for body, pointers in (
        ({"method": "password", "phone": "1"}, ["/password"]),
        ({"method": "ca", "challenge_id": "1", "certificate": 7}, ["/certificate", "/signature"]),
        ({"method": "guess"}, ["/method"]),
        ({"phone": "1"}, ["/method"]),
    ):
        told = (await client.post("/api/v1/sessions", json=body)).json()
        assert [one["pointer"] for one in told["errors"]] == pointers


async def test_a_defect_is_told_without_its_secret(client: httpx.AsyncClient) -> None:
    answer = await client.get("/fail")
    problem(answer, 500, "internal")
    assert "secret" not in answer.text


async def test_every_answer_has_the_headers_that_protect_it(client: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/nothing", "/api/v1/certificates", "/api/openapi.json"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] in ("no-store", "no-cache")
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


async def test_correlation_is_taken_over_when_it_can_be(client: httpx.AsyncClient) -> None:
    given = await client.get("/healthz", headers={"X-Correlation-Id": "job-7.a:b"})
    assert given.headers["x-correlation-id"] == "job-7.a:b"
    for bad in ("", "a b", "x" * 65, "<script>"):
        made = (await client.get("/healthz", headers={"X-Correlation-Id": bad})).headers["x-correlation-id"]
        assert made not in (bad, "")


async def test_idempotency_keys_are_bounded(client: httpx.AsyncClient) -> None:
    for bad in (b"", b"x" * 201, b"\xc3\xa9"):
        answer = await client.post("/api/v1/phone-codes", json={}, headers=[(b"Idempotency-Key", bad)])
        told = problem(answer, 422, "value_invalid")
        assert told["errors"][0]["pointer"] == "/Idempotency-Key"
    problem(await client.post("/api/v1/phone-codes", json={}, headers={"Idempotency-Key": "x" * 200}), 422, "field_required")


async def test_bodies_are_counted_whatever_the_headers_say(client: httpx.AsyncClient, door: Door) -> None:
    large = json.dumps({"phone": "1" * 5000}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b'"' + b"x" * 1000

    problem(await client.post("/api/v1/phone-codes", content=large, headers={"Content-Type": "application/json"}), 413, "too_large")
    problem(await client.post("/api/v1/phone-codes", content=chunks(), headers={"Content-Type": "application/json"}), 413, "too_large")
    # Announced, never sent: refused at once, without asking for it.
    answer = await door.talk(
        b"POST /api/v1/phone-codes HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in answer


async def test_slow_clients_lose_their_connection(door: Door) -> None:
    assert await door.talk(b"GET /healthz HTTP/1.1\r\nHost: x\r\n") == b""
    assert await door.talk(b"") == b""
    # A second request on the same connection has no more time than the first.
    second = await door.talk(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HT")
    assert second.count(b"HTTP/1.1 200") == 1
    assert not second.endswith(b"<still open>")
    slow = await door.talk(b"POST /api/v1/phone-codes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{")
    assert slow.startswith(b"HTTP/1.1 408")
    assert b"request_too_slow" in slow


async def test_a_trickle_ends_too(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(b"POST /api/v1/phone-codes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n")

    async def trickle() -> None:
        for _ in range(1000):
            writer.write(b" ")
            await asyncio.sleep(0.05)

    sending = asyncio.create_task(trickle())
    async with asyncio.timeout(30):
        answer = await reader.read(100)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 408")


async def test_what_is_no_http_is_told_so(door: Door) -> None:
    endless = b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 100_000
    for sent in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET\r\n\r\n", endless):
        answer = await door.talk(sent)
        assert answer.startswith(b"HTTP/1.1 400"), answer
        assert PROBLEM.encode() in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "request_malformed"


async def test_two_requests_in_one_are_two(door: Door) -> None:
    """A body that its headers measure in two ways is how one request is smuggled in another."""
    answer = await door.talk(
        b"POST /api/v1/phone-codes HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    assert b"request_malformed" in answer
    assert b'"ok":true' not in answer


# -- uploads -----------------------------------------------------------------------------------------------------------

PATH = "/api/v1/certificates/x/document"


async def test_an_upload_is_counted_and_hashed(client: httpx.AsyncClient, door: Door, tmp_path: Path) -> None:
    content = PNG + bytes(range(256)) * 300
    answer = await client.put(PATH, files={"other": (None, "x"), "file": ("目录/..\\营业\u200b执照.png", content)})
    assert answer.status_code == 204, answer.text
    assert door.uploads == [(len(content), hashlib.sha256(content).hexdigest(), "营业执照.png")]
    assert os.listdir(tmp_path) == []


async def test_uploads_that_are_none(client: httpx.AsyncClient) -> None:
    for files, status, code in (
        ({"file": ("a.txt", b"just words, no document")}, 415, "document_not_recognised"),
        ({"file": ("a.png", b"GIF89a" + PNG)}, 415, "document_not_recognised"),
        ({"file": ("short.pdf", b"%P")}, 415, "document_not_recognised"),
        ({"file": ("a.png", b"")}, 422, "document_empty"),
        ({"document": ("a.png", PNG)}, 422, "field_required"),
        ({"file": ("a.png", PNG + b"x" * 100_000)}, 413, "document_too_large"),
    ):
        told = problem(await client.put(PATH, files=files), status, code)
        assert [one["pointer"] for one in told["errors"]] == ["/file"]
    for headers in ({"Content-Type": "application/json"}, {"Content-Type": "multipart/form-data"}, {}):
        problem(await client.put(PATH, content=b"x", headers=headers), 422, "request_malformed")
    cut = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + PNG
    problem(await client.put(PATH, content=cut, headers={"Content-Type": "multipart/form-data; boundary=b"}), 422, "request_malformed")


async def test_an_endless_upload_is_cut_off(client: httpx.AsyncClient, door: Door) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + PNG
        while sent < 200_000_000:
            sent += 65536
            yield b"x" * 65536

    try:
        answer = await client.put(PATH, content=endless(), headers={"Content-Type": "multipart/form-data; boundary=b"})
    except httpx.TransportError:
        pass  # it went on sending after the refusal, and the connection was closed
    else:
        problem(answer, 413, "document_too_large")
    assert sent < 200_000_000
    assert door.uploads == []
    assert (await client.get("/healthz")).status_code == 200


async def test_headers_without_end_within_a_part(client: httpx.AsyncClient) -> None:
    body = b"--b\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(5000))
    problem(await client.put(PATH, content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}), 422, "request_malformed")


async def test_the_port_is_taken(door: Door, tmp_path: Path) -> None:
    """It says so rather than serving beside another."""
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", door.port)) == 0
    again = OpsServer(create(None), "127.0.0.1", door.port)
    with pytest.raises(RuntimeError, match="can't listen"):
        await again.start()
