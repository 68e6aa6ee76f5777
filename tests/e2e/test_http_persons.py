"""企业人员 over HTTP (manual 三 (三)): binding, unbinding, being bound elsewhere, claims, and their certificates meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from infra.testing import RunningSuite
from tests.e2e.http_world import World, id_number
from tests.id_reader import Card, SimulatedReader

PERSONS = "/api/v1/persons"


@pytest.fixture(scope="module")
def world(suite: RunningSuite) -> World:
    return World(suite)


def test_a_person_is_bound_listed_changed_and_unbound_and_another_company_begins_anew(world: World) -> None:
    api, other = world.company(), world.company()
    number = id_number()
    typed = {
        "source": "typed",
        "name": "王 建国",
        "id_no": number,
        "phone": "13900000001",
        "position": "项目经理",
        "bound_on": "2026-01-05",
    }
    made = api.ask("POST", PERSONS, 201, json=typed)
    path = f"{PERSONS}/{made['id']}"
    assert (made["name"], made["id_no"], made["phone"], made["state"], made["bound_on"]) == (
        "王建国",
        number,
        "13900000001",
        "bound",
        "2026-01-05",
    )
    assert {**api.ask("GET", path), "certificate_id": None} == made
    api.refused("POST", PERSONS, 409, "person_bound", json=typed)
    # Not yours is not there, but that somebody holds the person is told to who names them.
    other.refused("GET", path, 404, "not_found")
    elsewhere = other.refused("POST", PERSONS, 409, "person_bound_elsewhere", json=typed)
    assert api.subject_id not in str(elsewhere)

    second = world.employee(api, name="李梅")
    listed = api.ask("GET", PERSONS, params={"limit": 1})
    assert [one["id"] for one in listed["items"]] == [second["id"]]
    (first,) = api.ask("GET", PERSONS, params={"limit": 1, "cursor": listed["next_cursor"]})["items"]
    assert (first["id"], first["id_no"], first["phone"]) == (made["id"], f"{number[:4]}************{number[-2:]}", "139****0001")
    for query, expected in (("建国", made["id"]), (number, made["id"]), (number[10:].lower(), made["id"]), ("0000001", made["id"])):
        assert [one["id"] for one in api.ask("GET", PERSONS, params={"q": query})["items"]] == [expected]
    assert api.ask("GET", PERSONS, params={"state": "unbound"})["items"] == []

    stale = {"If-Match": '"1.1"'}
    changed = api.ask("PUT", path, json={"position": "项目总监", "phone": ""}, headers=stale)
    assert (changed["position"], changed["phone"], changed["version"]) == ("项目总监", None, 2)
    api.refused("PUT", path, 409, "version_conflict", json={"position": "总工"}, headers=stale)
    api.refused("PUT", path, 422, "phone_malformed", "/phone", json={"phone": "12345"})

    # What was drafted for the person, and what is refused.
    title = world.draft(api, type="professional_title", person_id=made["id"])
    assert title["person_id"] == made["id"]
    wanted = {"type": "professional_title", "mode": "MANUAL"}
    api.refused("POST", "/api/v1/certificates", 422, "field_required", "/person_id", json=wanted)
    other.refused("POST", "/api/v1/certificates", 422, "person_unknown", "/person_id", json=wanted | {"person_id": made["id"]})
    of_company = {"type": "business_license", "mode": "MANUAL", "person_id": made["id"]}
    api.refused("POST", "/api/v1/certificates", 422, "field_unknown", "/person_id", json=of_company)

    api.refused("POST", f"{path}/unbinding", 422, "value_invalid", "/unbound_on", json={"unbound_on": "2026-01-04"})
    gone = api.ask("POST", f"{path}/unbinding", json={"unbound_on": "2026-11-20"})
    assert (gone["state"], gone["bound_on"], gone["unbound_on"]) == ("unbound", "2026-01-05", "2026-11-20")
    assert (gone["id_no"], gone["phone"], gone["position"]) == (first["id_no"], None, None)
    assert api.ask("GET", path) == gone
    assert [one["id"] for one in api.ask("GET", PERSONS, params={"state": "unbound"})["items"]] == [made["id"]]
    assert [one["id"] for one in api.ask("GET", PERSONS, params={"state": "bound"})["items"]] == [second["id"]]
    api.refused("PUT", path, 409, "person_not_bound", json={"position": "总工"})
    api.refused("POST", f"{path}/unbinding", 409, "person_not_bound")
    # Its certificate is still listed, and can be given up but not changed; no new one is begun.
    kept = f"/api/v1/certificates/{title['id']}"
    assert [one["id"] for one in api.ask("GET", "/api/v1/certificates", params={"person_id": made["id"]})["items"]] == [title["id"]]
    api.refused("PUT", f"{kept}/fields", 409, "person_not_bound", json={"fields": {"name": "王建国"}})
    api.refused("POST", f"{kept}/submission", 409, "person_not_bound")
    api.refused("POST", "/api/v1/certificates", 422, "person_unknown", "/person_id", json=wanted | {"person_id": made["id"]})
    assert api.ask("POST", f"{kept}/discard")["state"] == "discarded"

    begun = other.ask("POST", PERSONS, 201, json={"source": "typed", "name": "王建国", "id_no": number})
    assert (begun["id"], begun["phone"], begun["position"], begun["version"]) == (made["id"], None, None, 1)
    assert other.ask("GET", "/api/v1/certificates", params={"person_id": made["id"]})["items"] == []
    assert [one["type"] for one in other.ask("GET", f"{path}/history")["items"]] == ["PersonBound"]
    lines = api.ask("GET", f"{path}/history")["items"]
    assert [(one["number"], one["type"]) for one in lines] == [(1, "PersonBound"), (2, "EmploymentChanged"), (3, "PersonUnbound")]
    assert lines[0]["actor"]["name"] == "王测试"
    assert (lines[0]["action"], lines[0]["summary"]) == ("绑定人员", "自行录入；绑定日期：2026-01-05；职务：项目经理")
    assert number not in str(lines)
    assert api.ask("GET", path) == gone


def test_a_person_bound_elsewhere_is_claimed_and_released(world: World) -> None:
    holder, claimant, third = world.company(), world.company(), world.company()
    number = id_number()
    person = world.employee(holder, id_no=number, name="赵一")
    wanted = {"source": "typed", "name": "赵一", "id_no": number, "claim": True}
    claimant.refused("POST", PERSONS, 422, "field_required", "/reason", json=wanted)
    claim = claimant.ask("POST", PERSONS, 202, json=wanted | {"reason": "已签订劳动合同"})
    assert (claim["side"], claim["state"], claim["person_id"], claim["claimant_name"]) == ("made", "open", None, None)
    assert number not in str(claim)
    assert holder.subject_id not in str(claim)
    (received,) = holder.ask("GET", "/api/v1/person-claims", params={"side": "received", "state": "open"})["items"]
    assert (received["id"], received["person_id"], received["reason"]) == (claim["id"], person["id"], "已签订劳动合同")
    own = claimant.ask("GET", f"/api/v1/subjects/{claimant.subject_id}")
    assert (received["claimant_name"], received["claimant_uscc"]) == (own["name"], own["uscc"])
    assert third.ask("GET", "/api/v1/person-claims")["items"] == []

    path = f"/api/v1/person-claims/{claim['id']}"
    third.refused("POST", f"{path}/objection", 404, "not_found", json={"reason": "x"})
    claimant.refused("POST", f"{path}/objection", 404, "not_found", json={"reason": "x"})
    holder.refused("POST", f"{path}/objection", 422, "field_required", "/reason", json={"reason": " "})
    assert holder.ask("POST", f"{path}/objection", json={"reason": "仍在本企业任职"})["state"] == "objected"
    (told,) = claimant.ask("GET", "/api/v1/person-claims")["items"]
    assert (told["state"], told["objection"]) == ("objected", "仍在本企业任职")
    claimant.refused("POST", f"{path}/withdrawal", 409, "claim_answered")

    again = claimant.ask("POST", PERSONS, 202, json=wanted | {"reason": "劳动合同见附件"})
    holder.ask("POST", f"{PERSONS}/{person['id']}/unbinding")
    states = {one["id"]: one["state"] for one in claimant.ask("GET", "/api/v1/person-claims")["items"]}
    assert states == {claim["id"]: "objected", again["id"]: "released"}
    assert claimant.ask("POST", PERSONS, 201, json=wanted | {"reason": "劳动合同见附件"})["id"] == person["id"]
    assert [one["type"] for one in holder.ask("GET", f"{PERSONS}/{person['id']}/history")["items"]] == [
        "PersonBound",
        "PersonClaimed",
        "ClaimObjected",
        "PersonClaimed",
        "PersonUnbound",
    ]


def test_what_is_wrong_with_a_person_is_said_where_it_is(world: World) -> None:
    api = world.company()
    right = {"source": "typed", "name": "王建国", "id_no": id_number()}
    for changes, code, pointer in (
        ({"id_no": None}, "field_required", "/id_no"),
        ({"id_no": right["id_no"][:17] + ("1" if right["id_no"][17] != "1" else "2")}, "value_invalid", "/id_no"),
        ({"id_no": "123"}, "value_invalid", "/id_no"),
        ({"document_kind": "licence"}, "value_invalid", "/document_kind"),
        ({"name": ""}, "field_required", "/name"),
        ({"name": "1" * 20}, "name_malformed", "/name"),
        ({"phone": "1"}, "phone_malformed", "/phone"),
        ({"position": "总" * 101}, "value_too_long", "/position"),
        ({"bound_on": "2999-01-01"}, "value_invalid", "/bound_on"),
        ({"source": "heard"}, "value_invalid", "/source"),
        ({"age": 3}, "field_unknown", "/age"),
    ):
        api.refused("POST", PERSONS, 422, code, pointer, json=right | changes)
    assert api.ask("GET", PERSONS)["items"] == []
    api.refused("GET", PERSONS, 422, "cursor_invalid", json=None, params={"cursor": "x"})
    api.refused("GET", f"{PERSONS}/nobody", 404, "not_found")
    passport = {"source": "typed", "name": "John Smith", "document_kind": "passport", "id_no": f"E{id_number()[:8]}"}
    assert api.ask("POST", PERSONS, 201, json=passport)["name"] == "John Smith"
    world.person().refused("GET", PERSONS, 403, "subject_not_picked")


def test_a_person_is_bound_by_what_a_reader_read(world: World) -> None:
    api, reader, card = world.company(), SimulatedReader(), Card("赵一", id_number(), valid_until="长期")
    read = reader.read(card)
    asked = {"source": "reader", "reader": read, "phone": "13900000002", "position": "安全员"}
    key = {"Idempotency-Key": read["nonce"]}
    made = api.ask("POST", PERSONS, 201, json=asked, headers=key)
    assert api.ask("POST", PERSONS, 201, json=asked, headers=key) == made
    assert (made["name"], made["id_no"], made["source"], made["position"]) == ("赵一", card.id_no, "reader", "安全员")
    told = {name: value for name, value in read.items() if name not in ("name", "id_no", "nonce")}
    assert made["details"] == told
    path = f"{PERSONS}/{made['id']}"
    assert api.ask("GET", path)["details"] == told
    begun = api.ask("GET", f"/api/v1/certificates/{made['certificate_id']}")
    assert (begun["type"], begun["person_id"], begun["mode"], begun["state"]) == ("personal_id", made["id"], "MANUAL", "draft")
    assert (begun["fields"]["id_no"], begun["fields"]["valid_term"]) == (card.id_no, "2020-01-01/长期")

    # Unbound, nothing of it is shown; and the same reading doesn't bind a second time.
    assert api.ask("POST", f"{path}/unbinding")["details"] is None
    api.refused("POST", PERSONS, 409, "reading_used", "/reader/nonce", json=asked)
    stale = reader.read(card, datetime.now(UTC) - timedelta(minutes=11))
    for changes, code, pointer in (
        (stale, "reading_stale", "/reader/read_at"),
        (reader.read(card) | {"birth_date": "1990-03-08"}, "value_invalid", "/reader/birth_date"),
        (reader.read(card) | {"id_no": card.id_no[:17]}, "value_invalid", "/reader/id_no"),
        (reader.read(card) | {"height": "180"}, "field_unknown", "/reader/height"),
        (reader.read(card) | {"address": "路" * 1001}, "value_too_long", "/reader/address"),
    ):
        api.refused("POST", PERSONS, 422, code, pointer, json=asked | {"reader": changes})
    api.refused("POST", PERSONS, 422, "value_invalid", "/id_no", json=asked | {"reader": reader.read(card), "id_no": card.id_no})
    api.refused("POST", PERSONS, 422, "field_required", "/reader", json={"source": "reader"})
    assert api.ask("POST", PERSONS, 201, json=asked | {"reader": reader.read(card)})["details"]


def test_a_person_is_bound_by_the_confirmed_fields_of_a_document(world: World) -> None:
    api, other, number = world.company(), world.company(), id_number()
    draft = world.draft(api, type="personal_id")
    path = f"/api/v1/certificates/{draft['id']}"
    asked = {"source": "document", "certificate_id": draft["id"], "position": "技术负责人"}
    api.refused("POST", PERSONS, 422, "field_required", "/certificate_id", json=asked)
    api.refused("POST", f"{path}/submission", 409, "person_missing")
    api.ask("PUT", f"{path}/fields", json={"fields": {"name": "钱二", "id_no": number}})
    other.refused("POST", PERSONS, 404, "not_found", json=asked)
    licence = world.draft(api, type="business_license")["id"]
    api.refused("POST", PERSONS, 422, "value_invalid", "/certificate_id", json=asked | {"certificate_id": licence})
    made = api.ask("POST", PERSONS, 201, json=asked)
    assert (made["name"], made["id_no"], made["source"], made["certificate_id"]) == ("钱二", number, "document", draft["id"])
    assert api.ask("GET", path)["person_id"] == made["id"]
    # A second document of a person whom the company has bound already becomes that person's too.
    second = world.draft(api, type="personal_id", fields={"name": "钱二", "id_no": number})["id"]
    assert api.ask("POST", PERSONS, 201, json=asked | {"certificate_id": second})["id"] == made["id"]

    title = world.draft(api, type="professional_title", person_id=made["id"])["id"]
    world.draft(api, type="registered_constructor", person_id=made["id"])
    gone = world.draft(api, type="personal_honour", person_id=made["id"])["id"]
    api.ask("POST", f"/api/v1/certificates/{gone}/discard")
    sections = api.ask("GET", f"{PERSONS}/{made['id']}/sections")["items"]
    assert [one["label"] for one in sections] == [
        "基本信息",
        "社会保险",
        "专业技术职称",
        "注册执业资格",
        "职业（岗位）资格",
        "特种作业资格",
        "业绩信息",
        "工程获奖",
        "荣誉表彰（个人）",
        "专业能力评价结果",
    ]
    assert [one["count"] for one in sections] == [2, 0, 1, 1, 0, 0, None, None, 0, 0]
    assert [one["code"] for one in sections if one["automatic"]] == ["performance", "award"]
    assert (sections[2]["lights"]["NONE"], sections[2]["submitted"], len(sections[5]["types"])) == (0, 0, 3)
    listed = api.ask("GET", "/api/v1/certificates", params={"person_id": made["id"], "type": "professional_title"})["items"]
    assert [one["id"] for one in listed] == [title]
    other.refused("GET", f"{PERSONS}/{made['id']}/sections", 404, "not_found")
    api.ask("POST", f"{PERSONS}/{made['id']}/unbinding")
    api.refused("GET", f"{PERSONS}/{made['id']}/sections", 409, "person_not_bound")
