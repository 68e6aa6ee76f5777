"""Outside clients for tests over HTTP. Every answer is checked against docs/openapi.json on its way in."""

from __future__ import annotations

import base64
import json
import random
import secrets
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx

import samples
from demo.company_key import CompanyKey
from infra.testing import RunningSuite
from kernel.values.codes import id_check_digit
from samples import Sample
from samples.facts import make_company
from tests.contract.openapi_schema import response_errors

Json = dict[str, Any]
T = TypeVar("T")
DOCUMENT: Json = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text("utf-8"))
PASSWORD = "Test-2026-yunku"


class Api:
    """One client; ``token`` is its session's."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=90, trust_env=False)
        self.token = token
        self.subject_id = ""
        self.phone = ""

    def send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One call. Fails when the answer isn't as documented, whatever it is."""
        headers = dict(arguments.pop("headers", {}))
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if method == "POST":
            headers.setdefault("Idempotency-Key", str(uuid.uuid4()))
        answer = self.http.request(method, path, headers=headers, **arguments)
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        body = answer.json() if media_type.endswith("json") else None
        wrong = response_errors(method, answer.url.path, answer.status_code, media_type, body, DOCUMENT)
        assert not wrong, wrong
        assert answer.headers["x-correlation-id"]
        return answer

    def ask(self, method: str, path: str, status: int = 200, **arguments: Any) -> Json:
        """One call that must succeed with ``status``; its JSON."""
        answer = self.send(method, path, **arguments)
        assert answer.status_code == status, answer.text
        told: Json = answer.json() if answer.content else {}
        return told

    def refused(self, method: str, path: str, status: int, code: str, pointer: str | None = None, **arguments: Any) -> Json:
        """One call that must be refused so; the problem."""
        answer = self.send(method, path, **arguments)
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        told: Json = answer.json()
        assert (answer.status_code, told["code"]) == (status, code), answer.text
        if pointer is not None:
            assert pointer in [one["pointer"] for one in told["errors"]], told
        assert all(one["message"] for one in told["errors"])
        return told


def eventually(look: Callable[[], T | None], seconds: float = 60.0) -> T:
    """What ``look`` gives once it is true; fails after ``seconds``."""
    until = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.1)


def id_number() -> str:
    """A citizen's number that no other test uses (a man's, born on 7 March 1990)."""
    number = f"21010219900307{secrets.randbelow(500) * 2 + 1:03}"
    # 500 numbers a region: the region changes too.
    number = f"21{secrets.randbelow(10_000):04}{number[6:]}"
    return number + id_check_digit(number)


class World:
    """A running suite seen from outside."""

    def __init__(self, suite: RunningSuite) -> None:
        self.url = suite.http_url
        self.demo = Api(self.url).ask("GET", "/api/v1/demo")

    def person(self) -> Api:
        """Somebody new, logged in."""
        api, phone = Api(self.url), f"139{secrets.randbelow(10**8):08}"
        code = api.ask("POST", "/api/v1/phone-codes", 201, json={"phone": phone})["code"]
        api.ask("POST", "/api/v1/accounts", 201, json={"phone": phone, "code": code, "password": PASSWORD, "name": "王测试"})
        session = api.ask("POST", "/api/v1/sessions", 201, json={"method": "password", "phone": phone, "password": PASSWORD})
        api.token, api.phone = session["token"], phone
        return api

    def company(self, api: Api | None = None, kind: str = "BIDDER") -> Api:
        """A session of somebody (new) that acts for a new company."""
        api = api or self.person()
        company = make_company(random.SystemRandom())
        asked = {"uscc": company.uscc, "name": company.name, "types": [kind]}
        subject = api.ask("POST", "/api/v1/subjects", 201, json=asked)
        self.pick(api, subject["id"], kind)
        return api

    def pick(self, api: Api, subject_id: str, kind: str = "BIDDER") -> None:
        picked = api.ask("POST", "/api/v1/sessions/current/subject", json={"subject_id": subject_id, "subject_type": kind})
        api.token, api.subject_id = picked["token"], subject_id

    def employee(self, api: Api, **more: Any) -> Json:
        """A person whom the session's company employs, bound by a typed number that nobody else has."""
        return api.ask("POST", "/api/v1/persons", 201, json={"source": "typed", "name": "王建国", "id_no": id_number(), **more})

    def key(self) -> CompanyKey:
        """The demo company's key."""
        return CompanyKey(Path(self.demo["operator"]["key_file"]), self.demo["operator"]["key_password"])

    def operator(self) -> Api:
        """A session of the demo company's operator."""
        who = self.demo["operator"]
        api = Api(self.url)
        session = api.ask(
            "POST", "/api/v1/sessions", 201, json={"method": "password", "phone": who["phone"], "password": who["password"]}
        )
        api.token = session["token"]
        self.pick(api, who["subject_id"])
        return api

    def reviewer(self) -> Api:
        """A session of the demo domain's reviewer."""
        who = self.demo["reviewer"]
        api = Api(self.url)
        asked = {"method": "password", "phone": who["phone"], "password": who["password"]}
        api.token = api.ask("POST", "/api/v1/sessions", 201, json=asked)["token"]
        return api

    def administrator(self) -> Api:
        """A session of the register's administrator."""
        who = self.demo["administrator"]
        api = Api(self.url)
        asked = {"method": "password", "phone": who["phone"], "password": who["password"]}
        api.token = api.ask("POST", "/api/v1/sessions", 201, json=asked)["token"]
        return api

    def sample(self, api: Api) -> Sample:
        """A qualification of the session's own company, as born-digital PDF."""
        own = api.ask("GET", f"/api/v1/subjects/{api.subject_id}")
        overrides = {"company_name": own["name"], "uscc": own["uscc"]}
        return samples.generate("construction_qualification", seed=2, layout="electronic", format="digital_pdf", overrides=overrides)

    def draft(self, api: Api, **more: Any) -> Json:
        asked = {"type": "construction_qualification", "mode": "MANUAL", **more}
        return api.ask("POST", "/api/v1/certificates", 201, json=asked)

    def performance(self, api: Api, **more: Any) -> Json:
        asked = {"category": "construction", "section_name": "和平区综合楼一标段", **more}
        return api.ask("POST", "/api/v1/performances", 201, json=asked)

    def filled(self, api: Api, sample: Sample, **more: Any) -> str:
        """A draft with its document, fields and marks, ready to be verified; its path."""
        path = f"/api/v1/certificates/{self.draft(api, **more)['id']}"
        api.ask("PUT", f"{path}/document", 202, files={"file": ("资质证书.pdf", sample.bytes, sample.media_type)})
        body: Json = {"fields": sample.values() | {"is_primary": "true"}, "absent": sample.truth["absent"]}
        api.ask("PUT", f"{path}/fields", json=body)
        marks = [{"field": name, "page": page, "box": box} for name, (page, box) in sample.boxes().items()]
        api.ask("PUT", f"{path}/marks", json={"marks": marks})
        return path

    def verified(self, api: Api, path: str) -> Json:
        """Runs the verification to its end; the verification."""
        answer = api.send("POST", f"{path}/verification", params={"wait": 60})
        assert answer.status_code in (200, 202), answer.text

        def done() -> Json | None:
            now: Json = api.ask("GET", path)["verification"]
            return now if now["state"] == "done" else None

        return eventually(done, 120)

    def sealed(self, api: Api, path: str) -> Json:
        """Seals with the demo company's key; the certificate."""
        key = self.key()
        prepared = api.ask("POST", f"{path}/seal/preparation", 201, json={"certificate": key.pem_chain})
        signature = key.sign(base64.b64decode(prepared["to_sign"]))
        return api.ask("POST", f"{path}/seal", json={"preparation_id": prepared["id"], "signature": signature})

    def submitted(self, api: Api, sample: Sample, **more: Any) -> str:
        """A GREEN certificate in the register; its path."""
        path = self.filled(api, sample, **more)
        assert self.verified(api, path)["light"] == "GREEN"
        self.sealed(api, path)
        api.ask("POST", f"{path}/submission")
        return path
