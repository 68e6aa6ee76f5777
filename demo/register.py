"""``python -m demo.register``: fills the demo company's register in all nine modules, as an outside client.

Every entry has a name of its own (its slug), which makes the idempotency keys of its commands; a step is taken only if the
certificate's state asks for it. So a second run makes nothing twice, and one that was broken off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import base64
import os
import random
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import samples
from demo.company_key import CompanyKey
from demo.console import Console, UnexpectedError, expect
from demo.http import Client, Json, Problem, eventually
from demo.register_plan import PERFORMANCES, PERSONS, PROFILE, Entry, Outcome, Performance, Person, entries
from samples import Sample, fonts, forms
from samples.facts import Company, make_company

T = TypeVar("T")
R = TypeVar("R")
#: Entries worked on at once: recognition has two processes, and each entry waits for a seal or a page in between.
THREADS = 4
#: Longest that one entry waits for a recognition or a verdict, seconds: all the others stand before it in the queue.
PATIENCE = 900.0
_DECIDED = ("approved", "rejected", "withdrawn")


class Register:
    """The demo company's register being filled. ``only`` are the slugs to make; empty: all."""

    def __init__(self, console: Console, url: str, only: Iterable[str] = ()) -> None:
        self._console, self._url, self._only = console, url, frozenset(only)
        visitor = Client(url)
        demo = visitor.get("/api/v1/demo")
        modules = visitor.get("/api/v1/catalogue")["modules"]
        visitor.close()
        self._modules = {kind["code"]: module for module in modules for kind in module["types"]}
        self._kinds: dict[str, Json] = {kind["code"]: kind for module in modules for kind in module["types"]}
        self._reviewed_by = demo["reviewer"]
        who = demo["operator"]
        self._key = CompanyKey(Path(who["key_file"]), who["key_password"])
        self._client = self._session(who)
        asked = {"subject_id": who["subject_id"], "subject_type": "BIDDER"}
        self._client.use_token(self._client.post("/api/v1/sessions/current/subject", asked)["token"])
        self._reviewer = self._session(demo["reviewer"])
        self._subject = str(who["subject_id"])
        subject = self._client.get(f"/api/v1/subjects/{self._subject}")
        self.company: Company = replace(make_company(random.Random(2026)), name=subject["name"], uscc=subject["uscc"])  # noqa: S311
        self._plan = [one for one in entries(date.today(), self.company.name) if not self._only or one.slug in self._only]
        self.ids: dict[str, str] = {}
        self._people: dict[str, tuple[str, str]] = {}
        self._works: dict[str, str] = {}

    def _session(self, who: Json) -> Client:
        client = Client(self._url)
        session = client.post("/api/v1/sessions", {"method": "password", "phone": who["phone"], "password": who["password"]})
        client.use_token(session["token"])
        return client

    # -- the whole -----------------------------------------------------------------------------------------------------

    def fill(self) -> None:
        """Everything of the plan, in the order in which one thing needs another."""
        console = self._console
        console.title(f"the register of {self.company.name} {self.company.uscc}")
        wanted = {one.person for one in self._plan}
        _all(self._bind, [one for one in PERSONS if one.slug in wanted])
        wanted = {one.performance for one in self._plan}
        works = [one for one in PERFORMANCES if one.slug in wanted or not self._only]
        _all(self._begin, works)
        console.step(f"{len(self._people)} persons, {len(self._works)} performances; {len(self._plan)} entries follow")
        late = {one.slug for one in self._plan if one.follows or one.type == "project_award"}
        _all(self._make, [one for one in self._plan if one.slug not in late])
        for work in works:
            self._finish(work)
        if {kind["code"] for kind in self._kinds.values() if kind["module"] == "basic_information"} <= {one.type for one in self._plan}:
            self._state_profile()
        _all(self._make, [one for one in self._plan if one.slug in late])
        console.step("pushes and their reviews")
        _all(self._push, [one for one in self._plan if one.push])
        for person in PERSONS:
            if person.unbound and person.slug in self._people:
                self._unbind(person)
        if not self._only:
            console.step("taken over from the national platform")
            self._take_over()

    # -- persons and performances --------------------------------------------------------------------------------------

    def _bind(self, one: Person) -> None:
        """Binds a person by a number that the slug gives."""
        number = forms.make_id(random.Random(f"register/{one.slug}"), one.born)  # noqa: S311
        typed = {"source": "typed", "name": one.name, "id_no": number, "position": one.position, "bound_on": "2024-01-02"}
        made = self._client.post("/api/v1/persons", typed, key=_key(one.slug, "bind"))
        self._people[one.slug] = (str(made["id"]), number)

    def _unbind(self, one: Person) -> None:
        path = f"/api/v1/persons/{self._people[one.slug][0]}"
        if self._client.get(path)["state"] == "bound":
            self._client.post(f"{path}/unbinding", {"unbound_on": "2026-11-02"}, key=_key(one.slug, "unbind"))
            self._console.note(f"{one.name} 解绑")

    def _begin(self, one: Performance) -> None:
        """A performance with its overall information, and its contract change."""
        information = {
            "category": one.category,
            "section_name": one.section,
            "performance_type": one.kind,
            "region": "辽宁省沈阳市",
            "funding_source": "国有资金",
            "project_category": "市政公用",
            "speciality": "市政公用工程",
            "section_no": f"LN-2022-{one.slug.upper()}",
            "construction_nature": "改造",
        }
        made = self._client.post("/api/v1/performances", information, key=_key(one.slug, "performance"))
        self._works[one.slug] = str(made["id"])

    def _finish(self, one: Performance) -> None:
        """Contract change, logic check, submission and push of a performance whose materials are made; or its end as a draft."""
        path = f"/api/v1/performances/{self._works[one.slug]}"
        now = self._client.get(path)
        if one.change and now["state"] == "draft":
            body = {"item": "project_manager", "content": "因工作调动变更项目经理", "value": one.change, "changed_on": "2022-06-01"}
            change = self._client.post(f"{path}/contract-changes", body, key=_key(one.slug, "change"))
            self._seal_material(str(change["certificate_id"]), self._kinds["contract_change_proof"])
        if one.ends == "submitted" and now["state"] == "draft":
            check = self._client.post(f"{path}/check")
            errors = [finding for finding in check["findings"] if finding["severity"] == "ERROR"]
            expect(not errors, "no error in the logic check", errors)
            warnings = [finding["code"] for finding in check["findings"]]
            expect(bool(warnings) == one.warned, f"warnings {one.warned}", check["findings"])
            self._client.post(f"{path}/submission", {"confirm": [check["digest"]]}, key=_key(one.slug, f"submit/{check['digest']}"))
            self._console.note(f"业绩 {one.section}: submitted" + (f" over the warnings {', '.join(warnings)}" if warnings else ""))
        elif one.ends == "discarded" and now["state"] == "draft":
            self._client.post(f"{path}/discard")
        if one.push and one.ends == "submitted":
            domain = self._reviewed_by["domain"]
            push = self._client.post(f"{path}/pushes", {"domain": domain}, key=_key(one.slug, "push"))
            _all(lambda material: self._review(str(material["push_id"]), one.push or "pending"), push["materials"])
            if one.push == "approved":

                def told() -> bool:
                    return bool(self._line(path, str(push["id"]))["state"] == "approved")

                eventually("the whole performance's approval", told, PATIENCE)

    def _state_profile(self) -> None:
        """Basic information 企业基本信息, submitted, and changed and submitted again 修改."""
        path = f"/api/v1/subjects/{self._subject}"
        changes: tuple[dict[str, object], ...] = ({}, {"contact": "李雪梅", "contact_phone": "024-62345678"})
        for number, changed in enumerate(changes, 1):
            accepted = self._client.get(path)["profile"]["accepted"]
            if accepted is None or accepted["number"] < number:
                self._client.put(f"{path}/profile", {**PROFILE, **changed})
                self._client.post(f"{path}/profile/submission")
                self._console.note(f"企业基本信息: version {number} submitted")

    # -- one certificate -----------------------------------------------------------------------------------------------

    def _make(self, one: Entry) -> None:
        """Takes an entry from wherever it is to where it is to end."""
        kind = self._kinds[one.type]
        asked: Json = {"type": one.type, "mode": one.mode if one.mode in kind["modes"] else "MANUAL"}
        if one.person:
            asked["person_id"] = self._people[one.person][0]
        if one.performance:
            asked["performance_id"] = self._works[one.performance]
        if one.follows:
            asked["supersedes"] = self.ids[one.follows]
        made = self._client.post("/api/v1/certificates", asked, key=_key(one.slug, "draft"))
        self.ids[one.slug] = str(made["id"])
        path = f"/api/v1/certificates/{made['id']}"
        now = self._client.get(path)
        if now["state"] == "draft":
            now = self._complete(path, now, one, kind)
            if one.ends == "discarded":
                self._client.post(f"{path}/discard")
            elif one.ends == "expired":
                self._expired(path, kind)
            elif one.ends != "draft" and self._in_itself(one, kind):
                self._client.post(f"{path}/submission")
        if one.ends == "supplement" and not self._client.get(path)["supplementing"]:
            self._client.post(f"{path}/supplement")
        self._console.note(f"{kind['label']} ({one.slug}): {one.ends} {self._console.light(one.light)}")

    def _in_itself(self, one: Entry, kind: Json) -> bool:
        """Whether it is submitted by itself: materials enter with their performance."""
        return str(kind["module"]) != "performances"

    def _complete(self, path: str, now: Json, one: Entry, kind: Json) -> Json:
        """Document, fields, marks, verdict and seal, as far as the type has them and the entry is to get."""
        never_verified = kind["verification"] and one.light == "NONE"
        if now["verification"]["state"] != "done":
            sample, stated = self._document(one, kind)
            if any(document["required"] for document in kind["documents"]):
                self._client.upload(f"{path}/document", f"{kind['label']}.jpg", sample.bytes, sample.media_type)
            if one.mode == "SMART":
                eventually("recognition", lambda: self._client.get(path)["recognition"]["state"] == "done", PATIENCE)
            self._client.put(f"{path}/fields", {"fields": stated, "absent": sample.truth["absent"]})
            marked = self._marked(one, kind, sample)
            if marked:
                self._client.put(f"{path}/marks", {"marks": marked})
            if kind["verification"] and not never_verified:
                self._client.post(f"{path}/verification", wait=1)
                eventually("verification", lambda: self._client.get(path)["verification"]["state"] == "done", PATIENCE)
        now = self._client.get(path)
        expect(now["light"] == one.light, f"{one.slug} {one.light}", now["verification"])
        if kind["sealed"] and now["seal"] is None and one.light != "RED" and not never_verified and one.ends not in ("draft", "discarded"):
            self._seal(path)
        return now

    def _document(self, one: Entry, kind: Json) -> tuple[Sample, dict[str, str]]:
        """The entry's document and what is to be stated; RED states one KEY field otherwise than printed."""
        seed = zlib.crc32(one.slug.encode())
        rng = random.Random(seed)  # noqa: S311
        name, number = next(((p.name, self._people[p.slug][1]) for p in PERSONS if p.slug == one.person), ("", ""))
        if one.type in ("business_license", "construction_qualification"):
            own = {"company_name": self.company.name, "uscc": self.company.uscc}
            layout = {"business_license": "portrait_copy", "construction_qualification": "electronic"}[one.type]
            seeds = {"business_license": 8, "construction_qualification": 2}
            sample = samples.generate(
                one.type,  # type: ignore[arg-type]
                seed=seeds[one.type],
                layout=layout,
                degradation="good",
                format="jpeg",
                overrides=own,
            )
            values = sample.values() | ({"is_primary": "true"} if one.type == "construction_qualification" else {})
        else:
            values = forms.fill(kind, self.company, rng, person=name, id_no=number) | dict(one.stated)
            sample = samples.form(kind, values, seed=seed, degradation="good")
        if one.light == "RED":
            values |= _mistake(kind, values)
        return sample, values

    def _marked(self, one: Entry, kind: Json, sample: Sample) -> list[Json]:
        """All that can be marked; YELLOW leaves the last DIGITAL field out."""
        digital = [field["name"] for field in kind["fields"] if field["role"] == "DIGITAL" and field["name"] in sample.truth["fields"]]
        left_out = digital[-1:] if one.light == "YELLOW" else []
        expect(one.light != "YELLOW" or bool(left_out), f"a DIGITAL field of {one.type}")
        return [{"field": name, "page": page, "box": box} for name, (page, box) in sample.boxes().items() if name not in left_out]

    def _seal(self, path: str) -> None:
        """Seals with the company's key, which stays here."""
        prepared = self._client.post(f"{path}/seal/preparation", {"certificate": self._key.pem_chain})
        signature = self._key.sign(base64.b64decode(prepared["to_sign"]))
        self._client.post(f"{path}/seal", {"preparation_id": prepared["id"], "signature": signature})

    def _seal_material(self, certificate: str, kind: Json) -> None:
        """A document and a seal for a contract change, which is no entry of the plan."""
        path = f"/api/v1/certificates/{certificate}"
        if self._client.get(path)["seal"] is None:
            sample = samples.form(kind, {}, seed=1)
            self._client.upload(f"{path}/document", "变更.jpg", sample.bytes, sample.media_type)
            self._seal(path)

    def _expired(self, path: str, kind: Json) -> None:
        """Its document has run out: the register refuses it."""
        try:
            self._client.post(f"{path}/submission")
        except Problem as problem:
            expect(problem.code == "document_expired", "document_expired", problem)
            return
        raise UnexpectedError(f"an expired {kind['code']} was taken in")

    # -- pushes --------------------------------------------------------------------------------------------------------

    def _push(self, one: Entry) -> None:
        path = f"/api/v1/certificates/{self.ids[one.slug]}"
        push = str(self._client.post(f"{path}/pushes", {"domain": self._reviewed_by["domain"]}, key=_key(one.slug, "push"))["id"])
        outcome = one.push or "pending"
        if outcome == "withdrawn":
            if self._line(path, push)["state"] not in _DECIDED:
                self._client.delete(f"{path}/pushes/{push}")
        else:
            self._review(push, outcome, self._kinds[one.type]["fields"][0]["name"])
        if outcome != "pending":
            told = "rejected" if outcome == "appealed" else outcome
            eventually("the company to be told", lambda: self._line(path, push)["state"] == told, PATIENCE)
        if outcome == "appealed" and self._line(path, push)["appeal"] is None:
            self._client.post(f"/api/v1/reviews/{push}/appeal", {"grounds": "所列信息与证照一致，请复核"}, key=_key(one.slug, "appeal"))

    def _line(self, path: str, push: str) -> Json:
        """The push record's line, as the company sees it."""
        found: Json = next(line for line in self._client.get(path)["pushes"] if line["id"] == push)
        return found

    def _review(self, push: str, outcome: Outcome, field: str = "") -> None:
        """The domain's reviewer decides as the outcome says; a rejection says which field it is about."""
        path = f"/api/v1/reviews/{push}"
        if outcome == "pending":
            return

        def arrived() -> Json | None:
            try:
                return self._reviewer.get(path)
            except Problem as problem:
                if problem.status != 404:
                    raise
                return None

        state = eventually("the push at its domain", arrived, PATIENCE)["state"]
        if state not in _DECIDED:
            if outcome == "approved":
                self._reviewer.post(path, {"decision": "approved", "opinion": "信息一致，同意"})
            else:
                reasons = [{"field": field, "text": "请核对"}] if field else []
                self._reviewer.post(path, {"decision": "rejected", "opinion": "请补充完善后再推送", "reasons": reasons})

    # -- the national platform -----------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        """Everything that the platform has of the company, as drafts that still need document, marks and seal."""
        base = "/api/v1/national-platform/qualifications"
        rows = self._client.get(base)["items"]
        taken = self._client.post(f"{base}/takeover", {"items": [row["id"] for row in rows]})["items"]
        for row, one in zip(rows, taken, strict=True):
            self.ids[f"platform/{row['id']}"] = str(one["certificate"]["id"])
            self._console.note(f"{row['name']}: " + ("taken over" if one["created"] else "was there"))

    # -- what there is now ---------------------------------------------------------------------------------------------

    def table(self) -> None:
        """Prints what the register holds of the plan, and insists on it."""
        certificates = _all(lambda slug: (slug, self._client.get(f"/api/v1/certificates/{self.ids[slug]}")), sorted(self.ids))
        planned = {one.slug: one for one in self._plan}
        rows: Counter[tuple[int, str, str, str, str]] = Counter()
        pushes: Counter[str] = Counter()
        for slug, now in certificates:
            module, kind = self._modules[now["type"]], self._kinds[now["type"]]
            state = "supplement open" if now["supplementing"] else now["state"]
            validity = now["validity"]["state"] or ""
            shown = f"{state}, {validity}" if validity in ("EXPIRED", "EXPIRING") else state
            stands = now["accepted"] if now["supplementing"] else now
            rows[module["number"], module["label"], kind["label"], shown, stands["light"]] += 1
            pushes.update(f"{push['state']} and appealed" if push["appeal"] else push["state"] for push in now["pushes"])
            if slug in planned:
                self._as_planned(planned[slug], now)
        self._console.title("what the register holds")
        lines = [
            (f"{number} {label}", kind, state, self._console.light(light), str(count))
            for (number, label, kind, state, light), count in sorted(rows.items())
        ]
        self._console.table(("module", "type", "state", "light", "count"), lines)
        self._console.note(
            f"{len(certificates)} certificates, {len(self._works)} performances, {len(self._people)} persons; pushes: " + _counted(pushes)
        )

    def _as_planned(self, one: Entry, now: Json) -> None:
        expected = {"expired": "draft", "supplement": "submitted"}.get(one.ends, one.ends)
        expect(now["state"] == expected, f"{one.slug} {expected}", now["state"])
        expect(now["supplementing"] == (one.ends == "supplement"), f"{one.slug} {one.ends}", now["state"])
        light = now["accepted"]["light"] if now["supplementing"] else now["light"]
        expect(light == one.light, f"{one.slug} {one.light}", light)

    def close(self) -> None:
        for client in (self._client, self._reviewer):
            client.close()


def _key(slug: str, what: str) -> str:
    """The idempotency key of one command of the register; headers are ASCII."""
    return f"register-1/{base64.b32encode(slug.encode()).decode().rstrip('=')}/{what}"[:200]


def _all(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """``work`` on every item, a few at once; the first failure is raised when those under way have ended."""
    with ThreadPoolExecutor(THREADS) as pool:
        return [future.result() for future in [pool.submit(work, item) for item in items]]


def _mistake(kind: Json, values: dict[str, str]) -> dict[str, str]:
    """One KEY field stated otherwise than it is printed; not the one that says whose certificate it is."""
    for field in kind["fields"]:
        value = values.get(field["name"], "")
        if field["role"] == "KEY" and not field["holder"] and value:
            match field["type"]:
                case "date" | "year":
                    return {field["name"]: f"{int(value[:4]) - 1}{value[4:]}"}
                case "person":
                    return {field["name"]: value[0] + "建军"}
                case "certno":
                    return {field["name"]: value[:-1] + ("3" if value[-1] != "3" else "6")}
    raise UnexpectedError(f"no KEY field of {kind['code']} to be wrong about")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"


def _wait_for(url: str, patience: float) -> None:
    """Until the suite at ``url`` is ready, its demo accounts included."""

    def ready() -> Any:
        client = Client(url)
        try:
            return client.get("/readyz") and client.get("/api/v1/demo")
        except (UnexpectedError, Problem):
            return None
        finally:
            client.close()

    eventually("the suite's start", ready, patience)


def run(console: Console, url: str, only: Iterable[str] = ()) -> Register:
    """Fills the register (or what of it ``only`` names) and prints it. Raises UnexpectedError or Problem."""
    fonts.ensure(quiet=True)
    register = Register(console, url, only)
    register.fill()
    register.table()
    register.close()
    return register


def main() -> int:
    """Run; 0 if everything went as it must, 1 with the reason otherwise."""
    parser = argparse.ArgumentParser(prog="python -m demo.register", description=__doc__)
    default = f"http://127.0.0.1:{os.environ.get('YUNKU_HTTP_PORT', '8080')}"
    parser.add_argument("--url", default=default, help="address of the gateway (default: %(default)s)")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for the suite to start (default: none)")
    parser.add_argument(
        "--only", nargs="*", default=(), metavar="ENTRY", help="these entries of demo/register_plan.py alone, by their slugs"
    )
    arguments = parser.parse_args()
    url, started = arguments.url.rstrip("/"), time.monotonic()
    try:
        if arguments.wait:
            _wait_for(url, arguments.wait)
        run(Console(), url, arguments.only)
    except (UnexpectedError, Problem) as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    print(f"\nThe register is filled, in {time.monotonic() - started:.1f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
