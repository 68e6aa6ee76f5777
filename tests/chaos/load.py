"""Outside clients that do the main job again and again while everything around them dies, and remember what they were told."""

import asyncio
import base64
import contextlib
import json
import random
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import nats
import nats.errors
import nats.js.errors

import samples
from demo.company_key import CompanyKey

#: How long one call may be tried again. A killed process is back within seconds.
PATIENCE = 150.0
#: Refusals that say "not now" (a process is down or has just been restarted), and are tried again with the same key.
_AGAIN = {502, 503, 504}


@dataclass
class Ledger:
    """What the suite acknowledged: after the run, all of it must be there, once."""

    certificates: dict[str, dict[str, Any]] = field(default_factory=dict)
    acknowledged: Counter[str] = field(default_factory=Counter)
    retried: Counter[str] = field(default_factory=Counter)
    #: Calls of the jobs that were answered, commands and questions alike.
    answered: int = 0
    replayed: int = 0
    broken: list[str] = field(default_factory=list)


class Refused(Exception):
    """The suite refused for good."""

    def __init__(self, call: str, status: int, body: str) -> None:
        super().__init__(f"{call}: {status} {body[:400]}")
        self.status = status


class Company:
    """The demo company's operator: logs in with the CA key, does jobs over HTTP alone."""

    def __init__(self, url: str, ledger: Ledger, number: int) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=70)
        self._ledger = ledger
        self._random = random.Random(number)
        self._token = ""
        self._subject: dict[str, Any] = {}
        self._key: CompanyKey | None = None

    async def close(self) -> None:
        await self._http.aclose()

    async def call(self, method: str, path: str, *, key: str | None = None, **more: Any) -> Any:
        """One command or question, tried again with the same key until it is answered; sometimes asked twice on purpose."""
        headers = {"Idempotency-Key": key} if key else {}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while True:
            if self._token:
                headers["Authorization"] = f"Bearer {self._token}"
            try:
                answer = await self._http.request(method, path, headers=headers, **more)
            except httpx.TransportError as error:
                self._ledger.retried[type(error).__name__] += 1
            else:
                if answer.is_success:
                    self._ledger.answered += 1
                    body = answer.json() if "json" in answer.headers.get("content-type", "") else answer.content
                    if key and method == "POST":
                        await self._ask_twice(method, path, headers, more, body)
                    return body
                if answer.status_code == 401 and not path.endswith("sessions"):
                    self._token = ""
                    await self.log_in()
                    continue
                if answer.status_code not in _AGAIN:
                    raise Refused(f"{method} {path}", answer.status_code, answer.text)
                self._ledger.retried[str(answer.status_code)] += 1
            if loop.time() > deadline:
                raise TimeoutError(f"{method} {path} was not answered in {PATIENCE:.0f} s")
            await asyncio.sleep(0.3)

    async def _ask_twice(self, method: str, path: str, headers: dict[str, str], more: dict[str, Any], body: Any) -> None:
        """Invariant 2: the same key and body get the same answer."""
        if self._random.random() > 0.2:
            return
        with contextlib.suppress(httpx.TransportError):
            again = await self._http.request(method, path, headers=headers, **more)
            if again.is_success:
                self._ledger.replayed += 1
                told = again.json()
                # A verification's answer tells how far the one verification is by now; that it is the same one must hold.
                same = told["id"] == body["id"] if path.endswith("/verification") else told == body
                if not same:
                    self._ledger.broken.append(f"{method} {path}: the same key got another answer")

    async def log_in(self) -> None:
        demo = await self.call("GET", "/api/v1/demo")
        operator = demo["operator"]
        if self._key is None:
            self._key = CompanyKey(Path(operator["key_file"]), operator["key_password"])
        while True:
            challenge = await self.call("POST", "/api/v1/ca-challenges", json={})
            origin = str(self._http.base_url).rstrip("/")
            body = {
                "method": "ca",
                "challenge_id": challenge["id"],
                "certificate": self._key.pem_chain,
                "signature": self._key.sign_login(challenge["text"], origin),
            }
            try:
                session = await self.call("POST", "/api/v1/sessions", json=body)
                break
            except Refused as refused:
                # The answer to a login that succeeded was lost: a challenge serves once, so ask for another.
                if "challenge_used" not in str(refused) and "challenge_unknown" not in str(refused):
                    raise
        self._token = session["token"]
        self._subject = next(s for s in session["subjects"] if s["id"] == operator["subject_id"])
        picked = {"subject_id": self._subject["id"], "subject_type": "BIDDER"}
        self._token = (await self.call("POST", "/api/v1/sessions/current/subject", json=picked))["token"]

    async def job(self, domain: str) -> None:
        """One certificate from draft to pushed."""
        if not self._token:
            await self.log_in()
        seed = self._random.randrange(4)
        sample = await asyncio.to_thread(
            samples.generate,
            "business_license",
            seed=seed,
            degradation="clean",
            format="png",
            overrides={"company_name": self._subject["name"], "uscc": self._subject["uscc"]},
        )
        values = {name: entry["value"] for name, entry in sample.truth["fields"].items()}
        drafted = await self._post("/api/v1/certificates", {"type": "business_license", "mode": "MANUAL"}, "draft")
        path = f"/api/v1/certificates/{drafted['id']}"
        record = self._ledger.certificates.setdefault(drafted["id"], {"steps": ["draft"]})
        await self.call("PUT", f"{path}/document", files={"file": ("scan.png", sample.bytes, sample.media_type)})
        await self.call("PUT", f"{path}/fields", json={"fields": values, "absent": sample.truth["absent"]})
        marks = [{"field": name, "page": page, "box": list(box)} for name, (page, box) in sample.boxes().items()]
        await self.call("PUT", f"{path}/marks", json={"marks": marks})
        record["steps"] += ["document", "fields", "marks"]
        certificate = await self._verified(path)
        if certificate["light"] == "RED":
            record["light"] = "RED"
            raise Refused(path, 0, f"RED: {json.dumps(certificate['verification'], ensure_ascii=False)}")
        await self._seal(path)
        record["steps"] += ["seal"]
        submitted = await self._post(f"{path}/submission", {}, "submission")
        record["unique_code"] = submitted["unique_code"]
        await self._post(f"{path}/pushes", {"domain": domain}, "push")
        record["steps"] += ["submission", "push"]

    async def _post(self, path: str, body: dict[str, Any], what: str) -> Any:
        answer = await self.call("POST", path, key=str(uuid.uuid4()), json=body)
        self._ledger.acknowledged[what] += 1
        return answer

    async def _verified(self, path: str) -> dict[str, Any]:
        await self.call("POST", f"{path}/verification", key=str(uuid.uuid4()), params={"wait": 20})
        async with asyncio.timeout(PATIENCE):
            while True:
                certificate: dict[str, Any] = await self.call("GET", path)
                if certificate["light"] != "NONE":
                    return certificate
                await asyncio.sleep(0.5)

    async def _seal(self, path: str) -> None:
        assert self._key is not None
        while True:
            prepared = await self._post(f"{path}/seal/preparation", {"certificate": self._key.pem_chain}, "preparation")
            signature = self._key.sign(base64.b64decode(prepared["to_sign"]))
            await self._post(f"{path}/seal", {"preparation_id": prepared["id"], "signature": signature}, "seal")
            return

    async def approved(self) -> bool:
        """Whether every push of every certificate in the ledger is decided."""
        done = True
        for certificate_id, record in self._ledger.certificates.items():
            if record.get("decided") or "push" not in record["steps"]:
                continue
            certificate = await self.call("GET", f"/api/v1/certificates/{certificate_id}")
            record["decided"] = all(push["state"] == "approved" for push in certificate["pushes"])
            done = done and record["decided"]
        return done

    async def history(self, certificate_id: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self.call("GET", f"/api/v1/certificates/{certificate_id}/history"))["items"]
        return items


async def domain_system(domain: dict[str, Any]) -> None:
    """The domain's own system: takes pushes from its stream and approves them, for ever. Survives the broker's death."""
    while True:
        with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError):
            client = await nats.connect(
                domain["nats_url"], user_credentials=domain["credentials_file"], max_reconnect_attempts=-1, reconnect_time_wait=1
            )
            try:
                subscription = await client.jetstream().pull_subscribe_bind(consumer="system", stream="PUSHES")
                while True:
                    try:
                        messages = await subscription.fetch(1, timeout=2)
                    except (nats.errors.TimeoutError, TimeoutError):
                        continue
                    for message in messages:
                        event = json.loads(message.data)
                        if event["type"] == "yunku.push.requested":
                            answer = {
                                "specversion": "1.0",
                                "id": f"review-{event['data']['push_id']}",
                                "source": f"urn:domain:{domain['id']}",
                                "type": "yunku.push.reviewed",
                                "datacontenttype": "application/json",
                                "data": {"push_id": event["data"]["push_id"], "decision": "approved", "opinion": "同意"},
                            }
                            await client.publish(domain["review_subject"], json.dumps(answer, ensure_ascii=False).encode())
                            await client.flush(timeout=2)
                        await message.ack_sync()
            finally:
                await client.close()
        await asyncio.sleep(0.5)
