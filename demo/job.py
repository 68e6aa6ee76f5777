"""The main job, step by step, as its actors do it: operator, domain's system, reviewer."""

from __future__ import annotations

import base64
import random
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import samples
from demo.company_key import CompanyKey, validate_with_pdfsig
from demo.console import Console, expect
from demo.domain_system import DomainSystem
from demo.http import Client, Json, Problem, eventually
from samples import Sample
from samples.facts import CertificateType, make_company


@dataclass
class Operator:
    """Who works for the demo company: a session, the company, its key."""

    client: Client
    subject_id: str
    name: str
    uscc: str
    key: CompanyKey


def register(console: Console, base_url: str) -> None:
    """A new person with a new company: phone code, account, password login, company, subject type."""
    client = Client(base_url)
    phone = f"139{secrets.randbelow(10**8):08}"
    password = f"Demo-{secrets.token_urlsafe(9)}"
    console.step("register an account with phone and code")
    code = str(client.post("/api/v1/phone-codes", {"phone": phone})["code"])
    client.post("/api/v1/accounts", {"phone": phone, "code": code, "password": password, "name": "演示操作员"})
    console.step("log in with the password")
    session = client.post("/api/v1/sessions", {"method": "password", "phone": phone, "password": password})
    expect(session["subjects"] == [], "no company yet", session["subjects"])
    client.use_token(session["token"])

    company = make_company(random.SystemRandom())
    console.step(f"register the company {company.name} {company.uscc} as BIDDER 投标人")
    wrong = company.uscc[:-1] + ("0" if company.uscc[-1] != "0" else "1")
    refusal = refused(client, "/api/v1/subjects", {"uscc": wrong, "name": company.name, "types": ["BIDDER"]}, {422})
    console.note(f"a code whose check digit fails is asked about: {refusal.body.get('title')}")
    subject = client.post("/api/v1/subjects", {"uscc": company.uscc, "name": company.name, "types": ["BIDDER"]})
    token = client.post("/api/v1/sessions/current/subject", {"subject_id": subject["id"], "subject_type": "BIDDER"})["token"]
    client.use_token(token)
    console.step("read the company back as its operator, and log out")
    seen = client.get(f"/api/v1/subjects/{subject['id']}")
    expect((seen["uscc"], seen["name"]) == (company.uscc, company.name), "the company as registered", seen)
    client.delete("/api/v1/sessions/current")
    expect(refused(client, None, None, {401}, get=f"/api/v1/subjects/{subject['id']}").status == 401, "401")
    client.close()


def ca_login(console: Console, base_url: str, demo: Json) -> Operator:
    """Log in as the demo company with its key: challenge, signature, chain."""
    who = demo["operator"]
    console.step(f"log in with the company's CA key {Path(who['key_file']).name}")
    key = CompanyKey(Path(who["key_file"]), who["key_password"])
    client = Client(base_url)
    challenge = client.post("/api/v1/ca-challenges")
    signed = {
        "method": "ca",
        "challenge_id": challenge["id"],
        "certificate": key.pem_chain,
        "signature": key.sign_login(challenge["text"], client.origin),
    }
    session = client.post("/api/v1/sessions", signed)
    again = refused(client, "/api/v1/sessions", signed, {401, 409, 422})
    console.note(f"the same challenge a second time: {again.status} {again.code}")
    company = next(entry for entry in session["subjects"] if entry["id"] == who["subject_id"])
    client.use_token(session["token"])
    picked = client.post("/api/v1/sessions/current/subject", {"subject_id": company["id"], "subject_type": "BIDDER"})
    client.use_token(picked["token"])
    console.note(f"acting for {company['name']} {company['uscc']} as BIDDER 投标人")
    return Operator(client, company["id"], company["name"], company["uscc"], key)


def refused(client: Client, path: str | None, body: Json | None, statuses: set[int], *, get: str | None = None) -> Problem:
    """Make a call that must be refused with one of the statuses, and return the refusal."""
    try:
        if get is not None:
            client.get(get)
        else:
            client.post(str(path), body)
    except Problem as problem:
        expect(problem.status in statuses, f"a refusal with {sorted(statuses)}", problem)
        return problem
    expect(False, f"a refusal of {get or path}")
    raise AssertionError


class CertificateJob:
    """One certificate from its scan on."""

    def __init__(self, console: Console, operator: Operator, sample: Sample, mode: str) -> None:
        self._console, self._operator, self._client = console, operator, operator.client
        self.sample, self.mode = sample, mode
        self.id = ""

    @property
    def path(self) -> str:
        return f"/api/v1/certificates/{self.id}"

    def look(self) -> Json:
        """The certificate as it is now."""
        return self._client.get(self.path)

    def draft_and_upload(self, file_name: str) -> None:
        truth = self.sample.truth
        self._console.step(
            f"{self.mode}: draft, upload {file_name} ({truth['layout']}, {truth['degradation']}, {len(self.sample.bytes) // 1024} kB)"
        )
        self.id = str(self._client.post("/api/v1/certificates", {"type": truth["type"], "mode": self.mode})["id"])
        self._client.upload(f"{self.path}/document", file_name, self.sample.bytes, self.sample.media_type)
        document = self.look()["document"]
        expect(len(document["pages"]) == len(truth["pages"]), f"{len(truth['pages'])} page(s)", document["pages"])
        self._console.note(f"certificate {self.id}, document sha256 {document['sha256'][:16]}…")

    def recognised(self) -> Json:
        """Wait for SMART mode's recognition; show it; return field → {value, confidence, page, box}."""
        self._console.step("wait for the recognition")

        def done() -> Json | None:
            recognition = self.look()["recognition"]
            return recognition if recognition["state"] == "done" else None

        fields: Json = eventually("recognition", done)["fields"]
        page = self._client.raw(f"{self.path}/pages/1.png")
        expect(page.startswith(b"\x89PNG"), "the page's picture as PNG")
        truth = self.sample.truth["fields"]
        rows = []
        for name in truth:
            found = fields.get(name)
            if found is None:
                rows.append((name, "(not found)", "", ""))
            else:
                right = found["value"] in (truth[name]["value"], truth[name]["printed"])
                rows.append((name, found["value"], f"{found['confidence']:.2f}", "" if right else "wrong"))
        self._console.table(("field", "recognised", "confidence", ""), rows, limit=46)
        return fields

    def state(self, recognised: Json, mistakes: dict[str, str]) -> dict[str, str]:
        """Confirm what was recognised right, correct the rest from the print, and make the given mistakes."""
        stated: dict[str, str] = {}
        corrected = []
        for name, entry in self.sample.truth["fields"].items():
            found = recognised.get(name, {}).get("value")
            stated[name] = found if found in (entry["value"], entry["printed"]) else entry["value"]
            if recognised and stated[name] != found:
                corrected.append(name)
        stated.update(mistakes)
        if self.sample.truth["type"] == "construction_qualification":
            stated["is_primary"] = "true"  # 是否主项资质: the company's own word, no print carries it
        if recognised:
            self._console.step(f"confirm the fields ({len(corrected)} corrected: {', '.join(corrected) or 'none'})")
        else:
            self._console.step(f"type {len(stated)} fields")
        for name, value in mistakes.items():
            self._console.note(f"stated wrongly: {name} = {value}, printed {self.sample.truth['fields'][name]['printed']}")
        body: Json = {"fields": stated}
        if self.sample.truth["absent"]:
            body["absent"] = self.sample.truth["absent"]
            self._console.note(f"declared as not on this print: {', '.join(self.sample.truth['absent'])}")
        self._client.put(f"{self.path}/fields", body)
        return stated

    def mark(self, recognised: Json) -> None:
        """Mark each field: the recognised box where it lies on the value, else a box drawn by hand."""
        marks, drawn = [], []
        for name, (page, by_hand) in self.sample.boxes().items():
            found = recognised.get(name)
            if found and found["page"] == page and covers(found["box"], by_hand):
                marks.append({"field": name, "page": page, "box": found["box"]})
            else:
                drawn.append(name)
                marks.append({"field": name, "page": page, "box": by_hand})
        self._console.step(f"mark {len(marks)} fields: {len(marks) - len(drawn)} from recognition, {len(drawn)} drawn by hand")
        self._client.put(f"{self.path}/marks", {"marks": marks})

    def verify(self, expected: str) -> None:
        """Verify, show both columns and the light, and insist on it."""
        self._console.step("verify what is stated against what is printed")
        self._client.post(f"{self.path}/verification", wait=30)

        def done() -> Json | None:
            certificate = self.look()
            return certificate if certificate["light"] != "NONE" else None

        certificate = eventually("verification", done)
        fields = certificate["verification"]["fields"]
        rows = [
            (name, str(f["verdict"]), str(f.get("stated") or ""), str(f.get("recognised") or ""), str(f.get("reason") or ""))
            for name, f in fields.items()
            if f["verdict"] != "NOT_COMPARED"
        ]
        self._console.table(("field", "verdict", "stated", "recognised", "reason"), rows, limit=30)
        self._console.note(f"light: {self._console.light(certificate['light'])}")
        expect(certificate["light"] == expected, f"light {expected}", certificate["verification"])

    def refused_as_red(self) -> None:
        """RED can be neither sealed nor submitted; the draft is discarded and its history stays."""
        key = self._operator.key
        self._console.step("RED is refused at sealing and at submission")
        for path, body in ((f"{self.path}/seal/preparation", {"certificate": key.pem_chain}), (f"{self.path}/submission", {})):
            problem = refused(self._client, path, body, {409})
            self._console.note(f"POST {path.removeprefix(self.path)} → {problem.status} {problem.code} {problem.body.get('title')}")
        expect(self.look()["state"] == "draft", "still a draft")
        self._console.step("discard the draft; its history stays readable")
        self._client.post(f"{self.path}/discard")

    def seal(self) -> None:
        """Prepare on the server, sign here, complete; then judge the sealed PDF with two independent validators."""
        key = self._operator.key
        self._console.step("seal with the company's own key (signed here; the key stays here)")
        prepared = self._client.post(f"{self.path}/seal/preparation", {"certificate": key.pem_chain})
        expect(str(prepared["digest_algorithm"]).lower().replace("-", "") == "sha256", "SHA-256", prepared)
        right = {"preparation_id": prepared["id"], "signature": key.sign(base64.b64decode(prepared["to_sign"]))}
        wrong = {"preparation_id": prepared["id"], "signature": key.sign(b"another document")}
        problem = refused(self._client, f"{self.path}/seal", wrong, {422})
        self._console.note(f"a signature over another document: {problem.status} {problem.code}")
        self._client.post(f"{self.path}/seal", right)
        problem = refused(self._client, f"{self.path}/seal", right, {409})
        self._console.note(f"the same signature a second time: {problem.status} {problem.code}")
        sealed = self._client.raw(f"{self.path}/sealed.pdf")
        self._console.step(f"judge the sealed PDF ({len(sealed) // 1024} kB) with pyHanko and poppler")
        self._console.note(f"pyHanko: valid, trusted, unmodified; signer {key.validate_with_pyhanko(sealed)}")
        self._console.note(f"pdfsig: {validate_with_pdfsig(sealed)}")

    def submit(self) -> str:
        self._console.step("submit to the register")
        self._client.post(f"{self.path}/submission")
        certificate = self.look()
        expect(certificate["state"] == "submitted", "state submitted", certificate["state"])
        expect(bool(certificate["unique_code"]), "a unique code")
        self._console.note(f"unique code 唯一标识码 {certificate['unique_code']}")
        return str(certificate["unique_code"])

    def push(self, domain: Json) -> str:
        self._console.step(f"push to {domain['id']} {domain['name']}")
        answer = self._client.post(f"{self.path}/pushes", {"domain": domain["id"]})
        push = answer if "pushes" not in answer else answer["pushes"][-1]
        return str(push["id"])

    def reviewed(self, push_id: str, decision: str) -> None:
        """Wait until the company sees the decision in its push record."""

        def decided() -> Json | None:
            pushes = self.look()["pushes"]
            push = next((p for p in pushes if p["id"] == push_id), None)
            return push if push and push["state"] in ("approved", "rejected") else None

        push = eventually("the review", decided)
        expect(push["state"] == decision, f"decision {decision}", push)
        self._console.note(f"push record: no. {push['number']} {push['state']} {push.get('opinion', '')} at {push['reviewed_at']}")

    def history(self) -> None:
        self._console.step("the operation record 操作记录, from the log")
        items = self._client.get(f"{self.path}/history")["items"]
        expect([item["number"] for item in items] == list(range(1, len(items) + 1)), "numbers without a gap", items)
        rows = [
            (str(item["number"]), str(item["at"])[:19], actor(item["actor"]), str(item["type"]), str(item["summary"])) for item in items
        ]
        self._console.table(("no.", "at (UTC)", "actor", "event", "summary"), rows, limit=44)


def actor(who: Any) -> str:
    """A history item's actor as one text."""
    if isinstance(who, dict):
        return str(who.get("name") or who.get("kind") or who.get("id"))
    return str(who)


def covers(suggested: list[float], value: list[float]) -> bool:
    """Whether a suggested box lies on the value and holds little else: as a person judges by eye."""
    left, top = max(suggested[0], value[0]), max(suggested[1], value[1])
    right, bottom = min(suggested[2], value[2]), min(suggested[3], value[3])
    shared = max(0.0, right - left) * max(0.0, bottom - top)
    return shared > 0.6 * area(value) and shared > 0.6 * area(suggested)


def area(box: list[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def sample_for(operator: Operator, kind: CertificateType, **arguments: Any) -> Sample:
    """A sample document of the operator's own company."""
    own = {"company_name": operator.name, "uscc": operator.uscc}
    return samples.generate(kind, overrides=own, **arguments)


def human_review(console: Console, base_url: str, demo: Json, push_id: str, decision: str, opinion: str) -> None:
    """A reviewer of the domain decides over HTTP."""
    who = demo["reviewer"]
    console.step(f"a reviewer of {who['domain']} logs in, finds the push and decides: {decision}")
    client = Client(base_url)
    session = client.post("/api/v1/sessions", {"method": "password", "phone": who["phone"], "password": who["password"]})
    client.use_token(session["token"])

    def waiting() -> Json | None:
        cursor = ""
        while True:
            page = client.get("/api/v1/reviews", state="pending", limit=100, **({"cursor": cursor} if cursor else {}))
            for item in page["items"]:
                if push_id in (item.get("id"), item.get("push_id")):
                    return dict(item)
            cursor = page.get("next_cursor") or ""
            if not cursor:
                return None

    item = eventually("the push among the pending reviews", waiting)
    console.note(f"shown: {item.get('type')} {item.get('unique_code')} {console.light(str(item.get('light')))}")
    client.post(f"/api/v1/reviews/{push_id}", {"decision": decision, "opinion": opinion})
    problem = refused(client, f"/api/v1/reviews/{push_id}", {"decision": "approved", "opinion": ""}, {409})
    console.note(f"deciding a second time: {problem.status} {problem.code}")
    client.close()


async def system_review(console: Console, domain: Json, push_id: str, unique_code: str, opinion: str) -> None:
    """The domain's system receives the push over NATS and approves it."""
    async with DomainSystem(domain) as system:
        console.step(f"{system.id}'s own system receives the push over NATS as a CloudEvent and answers")
        console.note(f"it sees nothing else: {await system.sees_nothing_else()}")
        event = await system.receive(push_id)
        data = event["data"]
        console.note(f"{event['type']} {event['id']}: {data['unique_code']} {console.light(str(data['light']))}")
        expect(data["unique_code"] == unique_code, unique_code, data["unique_code"])
        await system.review(push_id, "approved", opinion)
