"""The main job over HTTP: what the contract promises to those who keep to it."""

from __future__ import annotations

import json
import queue
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from demo.company_key import validate_with_pdfsig
from infra.testing import RunningSuite
from samples import Sample
from tests.e2e.http_world import DOCUMENT, PASSWORD, Api, Json, World, eventually


@pytest.fixture(scope="module")
def world(suite: RunningSuite) -> World:
    return World(suite)


@pytest.fixture(scope="module")
def operator(world: World) -> Api:
    return world.operator()


@pytest.fixture(scope="module")
def sample(world: World, operator: Api) -> Sample:
    return world.sample(operator)


@pytest.fixture(scope="module")
def green(world: World, operator: Api, sample: Sample) -> str:
    """The path of a GREEN, submitted certificate that no test changes (pushes apart)."""
    return world.submitted(operator, sample)


# -- sessions ----------------------------------------------------------------------------------------------------------


def test_a_person_registers_a_company_and_acts_for_it_at_once(world: World) -> None:
    api = world.person()
    before = api.ask("GET", "/api/v1/sessions/current")
    assert (before["subjects"], before["subject_id"], before["name"], before["method"]) == ([], None, "王测试", "password")
    world.company(api, "TENDERER")
    now = api.ask("GET", "/api/v1/sessions/current")
    assert [one["id"] for one in now["subjects"]] == [api.subject_id]
    assert (now["subject_id"], now["subject_type"]) == (api.subject_id, "TENDERER")
    answer = api.send("GET", f"/api/v1/subjects/{api.subject_id}")
    assert answer.headers["etag"].startswith(f'"{answer.json()["version"]}.')
    assert api.send("GET", f"/api/v1/subjects/{api.subject_id}", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_a_session_is_renewed_once_by_each_refresh_token(world: World) -> None:
    api = Api(world.url)
    who = world.demo["operator"]
    session = api.ask("POST", "/api/v1/sessions", 201, json={"method": "password", "phone": who["phone"], "password": who["password"]})
    renewed = api.ask("POST", "/api/v1/sessions/current/renewal", json={"refresh_token": session["refresh_token"]})
    api.token = session["token"]
    api.refused("GET", "/api/v1/sessions/current", 401, "unauthenticated")
    api.token = renewed["token"]
    api.ask("GET", "/api/v1/sessions/current")
    # A refresh token that comes a second time was stolen, or its thief came first: the session ends.
    api.refused("POST", "/api/v1/sessions/current/renewal", 401, "unauthenticated", json={"refresh_token": session["refresh_token"]})
    api.refused("GET", "/api/v1/sessions/current", 401, "unauthenticated")


def test_logging_out_ends_the_session(world: World) -> None:
    api = world.person()
    assert api.send("DELETE", "/api/v1/sessions/current").status_code == 204
    api.refused("GET", "/api/v1/sessions/current", 401, "unauthenticated")


def test_a_company_logs_in_with_its_key(world: World) -> None:
    api, key = Api(world.url), world.key()
    challenge = api.ask("POST", "/api/v1/ca-challenges", 201)
    signed = {
        "method": "ca",
        "challenge_id": challenge["id"],
        "certificate": key.pem_chain,
        "signature": key.sign_login(challenge["text"], world.url),
    }
    session = api.ask("POST", "/api/v1/sessions", 201, json=signed)
    assert world.demo["operator"]["subject_id"] in [one["id"] for one in session["subjects"]]
    api.refused("POST", "/api/v1/sessions", 401, "challenge_used", json=signed)
    fresh = api.ask("POST", "/api/v1/ca-challenges", 201, json={})
    wrong = signed | {"challenge_id": fresh["id"]}
    api.refused("POST", "/api/v1/sessions", 422, "signature_invalid", "/signature", json=wrong)
    api.refused("POST", "/api/v1/sessions", 422, "signature_invalid", "/signature", json=wrong | {"signature": "no base64!"})
    # A page elsewhere gets no challenge in its own name, whether it says where it is or pretends to be us.
    api.refused("POST", "/api/v1/ca-challenges", 422, "origin_invalid", headers={"Origin": "https://elsewhere.example"}, json={})
    api.refused("POST", "/api/v1/ca-challenges", 422, "origin_invalid", headers={"Host": "elsewhere.example"}, json={})
    api.refused("POST", "/api/v1/ca-challenges", 422, "origin_invalid", headers={"Host": "127.0.0.1.elsewhere.example"}, json={})


# -- certificates ------------------------------------------------------------------------------------------------------


def test_the_whole_life_is_shown(world: World, operator: Api, sample: Sample, green: str) -> None:
    view = operator.ask("GET", green)
    assert (view["state"], view["light"], view["mode"]) == ("submitted", "GREEN", "MANUAL")
    assert view["unique_code"].startswith("21")
    assert view["holder"]["subject_id"] == operator.subject_id
    assert view["validity"]["state"] in ("VALID", "EXPIRING")
    assert view["document"]["file_name"] == "资质证书.pdf"
    assert {name: value for name, value in view["fields"].items() if name != "is_primary"} == sample.values()
    compared = {name: one for name, one in view["verification"]["fields"].items() if one["verdict"] != "NOT_COMPARED"}
    assert {one["verdict"] for one in compared.values()} == {"MATCH"}
    assert all(one["reason"] and one["reason_code"] for one in compared.values())
    assert view["seal"]["signer_uscc"] == view["holder"]["uscc"]


def test_files_are_what_was_uploaded_and_sealed(world: World, operator: Api, sample: Sample, green: str) -> None:
    original = operator.send("GET", f"{green}/document")
    assert original.content == sample.bytes
    assert original.headers["content-disposition"].endswith("%E8%B5%84%E8%B4%A8%E8%AF%81%E4%B9%A6.pdf")
    sealed = operator.send("GET", f"{green}/sealed.pdf").content
    assert world.key().validate_with_pyhanko(sealed)
    assert validate_with_pdfsig(sealed)
    page = eventually(lambda: (lambda got: got if got.status_code == 200 else None)(operator.send("GET", f"{green}/pages/1.png")))
    assert page.content.startswith(b"\x89PNG")
    for answer in (original, page):
        assert answer.headers["cache-control"] == "no-store"
        assert "sandbox" in answer.headers["content-security-policy"]
    for number in ("0", "2", "x", "1e0", "-1", "٣"):
        assert operator.send("GET", f"{green}/pages/{number}.png").status_code == 404


def test_the_operation_record_is_the_log(operator: Api, green: str) -> None:
    whole = operator.ask("GET", f"{green}/history")
    items = whole["items"]
    assert whole["next_cursor"] is None
    assert [one["number"] for one in items] == list(range(1, len(items) + 1))
    types = [one["type"] for one in items]
    wanted = ["CertificateDrafted", "CertificateUploaded", "FieldsStated", "FieldsMarked", "VerificationRequested", "VerdictRecorded"]
    wanted += ["SealRecorded", "Submitted"]
    assert [one for one in types if one in wanted] == wanted
    by_type = {one["type"]: one for one in items}
    assert by_type["Submitted"]["action"] == "提交入库"
    assert by_type["Submitted"]["actor"]["kind"] == "account"
    assert by_type["Submitted"]["actor"]["name"]
    assert {"path": "state", "label": "状态", "before": "draft", "after": "submitted"} in by_type["Submitted"]["changes"]
    stated = {one["path"]: one for one in by_type["FieldsStated"]["changes"]}
    assert stated["fields.company_name"]["label"] == "单位名称"
    paged: list[Json] = []
    cursor = ""
    while True:
        page = operator.ask("GET", f"{green}/history", params={"limit": 3, "cursor": cursor})
        assert len(page["items"]) <= 3
        paged += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert paged == items
    operator.refused("GET", f"{green}/history", 422, "cursor_invalid", "/cursor", params={"cursor": "x"})


def test_a_person_reviews(world: World, operator: Api, green: str) -> None:
    domain = world.demo["reviewer"]["domain"]
    push = operator.ask("POST", f"{green}/pushes", 201, json={"domain": domain})
    operator.refused("POST", f"{green}/pushes", 409, "push_exists", "/domain", json={"domain": domain})
    reviewer = world.reviewer()
    review = f"/api/v1/reviews/{push['id']}"
    shown = eventually(lambda: (lambda got: got.json() if got.status_code == 200 else None)(reviewer.send("GET", review)))
    assert (shown["state"], shown["light"], shown["channel"]) == ("pending", "GREEN", None)
    # What the company saw: the marks, and both columns of the verification.
    own = operator.ask("GET", green)
    assert shown["marks"] == own["marks"]
    assert shown["verification"] == own["verification"]
    assert shown["verification"]["fields"]["company_name"]["recognised"]
    assert push["id"] in [one["id"] for one in reviewer.ask("GET", "/api/v1/reviews", params={"state": "pending"})["items"]]
    assert reviewer.send("GET", f"{review}/document").content == operator.send("GET", f"{green}/document").content
    assert reviewer.send("GET", f"{review}/sealed.pdf").content == operator.send("GET", f"{green}/sealed.pdf").content
    assert reviewer.send("GET", f"{review}/pages/1.png").content.startswith(b"\x89PNG")
    reviewer.refused("POST", review, 422, "opinion_required", json={"decision": "rejected", "opinion": " "})
    reviewer.refused("POST", review, 422, "decision_invalid", json={"decision": "perhaps"})
    decided = reviewer.ask("POST", review, json={"decision": "approved", "opinion": "同意"})
    assert (decided["state"], decided["channel"]) == ("approved", "REVIEWER")
    reviewer.refused("POST", review, 409, "push_not_pending", json={"decision": "approved"})

    def record() -> Json | None:
        items = operator.ask("GET", f"{green}/pushes")["items"]
        return next((one for one in items if one["id"] == push["id"] and one["state"] == "approved"), None)

    assert eventually(record)["opinion"] == "同意"
    last = next(one for one in operator.ask("GET", f"{green}/history")["items"] if one["type"] == "ReviewRecorded")
    assert (last["actor"]["kind"], last["action"]) == ("account", "核验")
    assert last["actor"]["name"] != "（已注销账号）"


def test_a_pending_push_is_withdrawn(world: World, operator: Api, green: str) -> None:
    other = next(one["id"] for one in world.demo["domains"] if one["id"] != world.demo["reviewer"]["domain"])
    push = operator.ask("POST", f"{green}/pushes", 201, json={"domain": other})
    path = f"{green}/pushes/{push['id']}"
    assert operator.send("DELETE", path).status_code in (200, 202)

    def withdrawn() -> bool:
        items = operator.ask("GET", f"{green}/pushes")["items"]
        return any(one["id"] == push["id"] and one["state"] == "withdrawn" for one in items)

    eventually(withdrawn)
    assert operator.send("DELETE", path).status_code == 200  # once more changes nothing


def test_lists_are_paged_newest_first_and_filtered(world: World) -> None:
    api = world.company()
    made = [world.draft(api)["id"] for _ in range(4)]
    made.append(world.draft(api, type="business_license")["id"])
    api.ask("POST", f"/api/v1/certificates/{made[1]}/discard")
    pages: list[str] = []
    cursor = ""
    while cursor is not None:
        page = api.ask("GET", "/api/v1/certificates", params={"limit": 2, "cursor": cursor})
        pages += [one["id"] for one in page["items"]]
        cursor = page["next_cursor"]
    assert pages == [one for one in reversed(made) if one != made[1]]
    discarded = api.ask("GET", "/api/v1/certificates", params={"state": "discarded"})["items"]
    assert [one["id"] for one in discarded] == [made[1]]
    licences = api.ask("GET", "/api/v1/certificates", params={"type": "business_license", "light": "NONE"})["items"]
    assert [one["id"] for one in licences] == [made[4]]
    assert api.ask("GET", "/api/v1/certificates", params={"light": "GREEN"})["items"] == []
    assert api.ask("GET", f"/api/v1/certificates/{made[1]}/history")["items"][-1]["type"] == "Discarded"


def test_modes_are_switched_and_nothing_is_lost(world: World) -> None:
    api = world.company()
    draft = world.draft(api, fields={"certificate_no": "D121000001"})
    path = f"/api/v1/certificates/{draft['id']}"
    assert api.ask("PUT", f"{path}/mode", json={"mode": "SMART"})["mode"] == "SMART"
    back = api.ask("PUT", f"{path}/mode", json={"mode": "MANUAL"})
    assert (back["mode"], back["fields"]) == ("MANUAL", {"certificate_no": "D121000001"})
    api.refused("PUT", f"{path}/mode", 422, "mode_invalid", "/mode", json={"mode": "CLEVER"})


def test_the_second_writer_is_told_and_loses_nothing(world: World) -> None:
    api = world.company()
    answer = api.send("POST", "/api/v1/certificates", json={"type": "construction_qualification", "mode": "MANUAL"})
    path, tag = answer.headers["location"], answer.headers["etag"]
    assert tag == '"1.1"'
    first = api.send("PUT", f"{path}/fields", json={"fields": {"certificate_no": "D121000001"}}, headers={"If-Match": tag})
    assert (first.status_code, first.headers["etag"]) == (200, '"2.2"')
    api.refused("PUT", f"{path}/fields", 409, "version_conflict", json={"fields": {"level": "一级"}}, headers={"If-Match": tag})
    assert api.ask("GET", path)["fields"] == {"certificate_no": "D121000001"}
    api.ask("PUT", f"{path}/fields", json={"fields": {"level": "一级"}}, headers={"If-Match": '"2"'})
    for bad in ("2", '"x"', '"0"', 'W/"2.2"', '"1.1", "2.2"'):
        api.refused("PUT", f"{path}/fields", 412, "precondition_malformed", json={"fields": {}}, headers={"If-Match": bad})


def test_a_repeated_command_is_carried_out_once(world: World) -> None:
    api, other = world.company(), world.company()
    key = {"Idempotency-Key": f"我的键{uuid.uuid4()}".encode().hex()}
    asked = {"type": "construction_qualification", "mode": "MANUAL"}
    first = api.ask("POST", "/api/v1/certificates", 201, json=asked, headers=key)
    assert api.ask("POST", "/api/v1/certificates", 201, json=asked, headers=key) == first
    api.refused("POST", "/api/v1/certificates", 422, "idempotency_key_reused", json=asked | {"mode": "SMART"}, headers=key)
    assert other.ask("POST", "/api/v1/certificates", 201, json=asked, headers=key)["id"] != first["id"]
    assert len(api.ask("GET", "/api/v1/certificates")["items"]) == 1


def test_strangers_with_the_same_key_never_meet(world: World) -> None:
    """Without a session the key counts for the phone number only: one person's login is never another's answer."""
    one, two = world.demo["operator"], world.demo["reviewer"]
    key = {"Idempotency-Key": "1"}
    api = Api(world.url)
    first, second = (
        api.send("POST", "/api/v1/sessions", json={"method": "password", "phone": who["phone"], "password": who["password"]}, headers=key)
        for who in (one, two)
    )
    assert first.status_code == second.status_code == 201
    assert first.json()["token"] != second.json()["token"]
    api.refused(
        "POST", "/api/v1/sessions", 401, "credentials_wrong", json={"method": "password", "phone": one["phone"], "password": PASSWORD}
    )


# -- live updates ------------------------------------------------------------------------------------------------------


@contextmanager
def listening(api: Api, **more: Any) -> Iterator[queue.Queue[tuple[str, str, str]]]:
    """The events of a stream as they come: (id, event, data)."""
    got: queue.Queue[tuple[str, str, str]] = queue.Queue()
    headers = {"Authorization": f"Bearer {api.token}", **more.pop("headers", {})}
    client = httpx.Client(base_url=api.url, timeout=httpx.Timeout(10, read=60), trust_env=False)
    with client.stream("GET", "/api/v1/events", headers=headers, params=more) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        while next(lines):  # the first block tells where the stream begins
            pass

        def read() -> None:
            block: dict[str, str] = {}
            try:
                for line in lines:
                    name, _, value = line.partition(": ")
                    if line:
                        block[name] = value
                    elif block.get("event"):
                        got.put((block.get("id", ""), block["event"], block.get("data", "")))
                        block = {}
            except httpx.HTTPError:
                got.put(("", "closed", ""))

        threading.Thread(target=read, daemon=True).start()
        yield got
    client.close()


def test_a_subject_hears_its_own_and_nothing_else(world: World) -> None:
    api, other = world.company(), world.company()
    with listening(api) as heard, listening(other) as elsewhere:
        draft = world.draft(api)["id"]
        api.ask("PUT", f"/api/v1/certificates/{draft}/fields", json={"fields": {"level": "一级"}})
        first, second = heard.get(timeout=30), heard.get(timeout=30)
        assert [first[1], second[1]] == ["CertificateDrafted", "FieldsStated"]
        told = json.loads(first[2])
        assert (told["certificate_id"], str(told["position"])) == (draft, first[0])
        mine = world.draft(other)["id"]
        heard_there = elsewhere.get(timeout=30)
        assert json.loads(heard_there[2])["certificate_id"] == mine
        assert heard.empty()
    # What happened while nobody listened comes first when the client comes again.
    api.ask("POST", f"/api/v1/certificates/{draft}/discard")
    with listening(api, since=int(first[0])) as again:
        assert [again.get(timeout=30)[1] for _ in range(2)] == ["FieldsStated", "Discarded"]
    with listening(api, headers={"Last-Event-ID": second[0]}) as again:
        assert again.get(timeout=30)[1] == "Discarded"


def test_streams_of_one_session_are_bounded(world: World) -> None:
    api = world.company()
    with listening(api), listening(api), listening(api), listening(api), listening(api), listening(api), listening(api), listening(api):
        api.refused("GET", "/api/v1/events", 429, "too_many_requests")
    eventually(lambda: _streams(api))


def _streams(api: Api) -> bool:
    with api.http.stream("GET", "/api/v1/events", headers={"Authorization": f"Bearer {api.token}"}) as stream:
        return stream.status_code == 200


# -- operations --------------------------------------------------------------------------------------------------------


def test_health_and_metrics(world: World, suite: RunningSuite) -> None:
    api = Api(world.url)
    assert api.ask("GET", "/healthz") == {"service": "gateway", "ok": True}
    ready = api.ask("GET", "/readyz")
    assert ready["ready"]
    assert {"identity", "subject", "certificate", "push", "nats", "objects"} <= set(ready["dependencies"])
    metrics = httpx.get(f"{suite.state['urls']['ops_gateway']}/metrics", trust_env=False).text
    assert 'yunku_http_requests_total{method="GET",route="/healthz",status="200"}' in metrics
    assert httpx.get(f"{world.url}/metrics", trust_env=False).status_code == 404


def test_the_served_document_is_the_kept_one(world: World) -> None:
    assert httpx.get(f"{world.url}/api/openapi.json", trust_env=False).json() == DOCUMENT


def test_the_correlation_id_is_in_the_logs_of_all_that_took_part(world: World, suite: RunningSuite) -> None:
    api = world.company()
    mark = f"trace-{uuid.uuid4()}"
    unknown = {"subject_id": str(uuid.uuid4()), "subject_type": "BIDDER"}
    api.refused("POST", "/api/v1/sessions/current/subject", 403, "not_member", json=unknown, headers={"X-Correlation-Id": mark})
    for service in ("gateway", "identity"):
        assert mark in suite.log(service, 400), service
