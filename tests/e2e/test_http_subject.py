"""Companies over HTTP: basic information and its versions, names, members and their roles, completeness."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from PIL import Image

from infra.testing import RunningSuite
from samples.pdf import digital
from samples.scene import Scene
from tests.e2e.http_world import PASSWORD, Api, Json, World

PROFILE: Json = {
    "registered_place": "辽宁省沈阳市和平区文化路1号",
    "company_type": "有限责任公司",
    "contact": "王建国",
    "contact_phone": "024-12345678",
    "website": "www.example.com",
    "fax": "无",
    "postal_code": "110000",
    "is_sme": True,
    "founded_on": "2009年5月1日",
    "business_types": ["CONSTRUCTION", "DESIGN"],
}
BASIC = [
    "business_license",
    "legal_rep_id_card",
    "bank_account",
    "commitment_letter",
    "legal_rep_authorisation",
    "articles_of_association",
]


@pytest.fixture(scope="module")
def world(suite: RunningSuite) -> World:
    return World(suite)


def sheet(title: str, lines: dict[str, tuple[str, str]]) -> tuple[bytes, list[Json]]:
    """A page of real text, one line a field (label, value), and its marks."""
    scene = Scene(210, 297, lambda width, height, dots: Image.new("RGB", (width, height), "white"))
    scene.centre(105, 30, title, 8)
    for number, (name, (label, value)) in enumerate(lines.items()):
        scene.write(25, 60 + 20 * number, f"{label}：", 5)
        scene.value(name, 75, 60 + 20 * number, value, 5, 110)
    boxes = {name: found[0] for name, found in scene.value_boxes().items()}
    marks = [{"field": name, "page": 1, "box": [box[0] / 210, box[1] / 297, box[2] / 210, box[3] / 297]} for name, box in boxes.items()]
    return digital([scene], title), marks


def submit(world: World, api: Api, kind: str, values: Json, printed: dict[str, tuple[str, str]]) -> Json:
    """A certificate of the demo company in the register, whatever its type asks for; the certificate."""
    path = f"/api/v1/certificates/{world.draft(api, type=kind, fields=values)['id']}"
    document, marks = sheet(kind, printed or {"text": ("内容", "本公司资料")})
    api.ask("PUT", f"{path}/document", 202, files={"file": ("材料.pdf", document, "application/pdf")})
    if printed:
        api.ask("PUT", f"{path}/marks", json={"marks": marks})
        assert world.verified(api, path)["light"] in ("GREEN", "YELLOW")
    world.sealed(api, path)
    return api.ask("POST", f"{path}/submission")


def basic_certificates(world: World, api: Api) -> None:
    """All of the basic information's certificates of the demo company, those that are there left out."""
    own = api.ask("GET", f"/api/v1/subjects/{api.subject_id}")
    name, uscc = own["name"], own["uscc"]
    licence = {
        "uscc": ("统一社会信用代码", uscc),
        "company_name": ("名称", name),
        "company_type": ("类型", "有限责任公司"),
        "address": ("住所", "辽宁省沈阳市和平区文化路1号"),
        "legal_rep_name": ("法定代表人", "王建国"),
        "registered_capital": ("注册资本", "5000万元"),
        "established_on": ("成立日期", "2009年5月1日"),
        "business_term": ("营业期限", "2009年5月1日至长期"),
        "business_scope": ("经营范围", "房屋建筑工程施工。"),
        "registration_authority": ("登记机关", "沈阳市和平区市场监督管理局"),
    }
    card = {
        "name": ("姓名", "王建国"),
        "id_no": ("公民身份号码", "11010519491231002X"),
        "issuing_authority": ("签发机关", "北京市公安局朝阳分局"),
        "valid_term": ("有效期限", "2015.01.01-长期"),
    }
    account = {
        "account_name": ("账户名称", name),
        "account_no": ("账号", "6222020200112233445"),
        "bank_branch": ("开户银行", "中国工商银行沈阳和平支行"),
        "legal_rep_name": ("法定代表人", "王建国"),
        "approval_no": ("基本存款账户编号", "J2210012345601"),
    }
    there = {one["type"] for one in api.ask("GET", "/api/v1/certificates", params={"state": "submitted", "limit": 200})["items"]}
    for kind, printed in (("business_license", licence), ("legal_rep_id_card", card), ("bank_account", account)):
        if kind not in there:
            submit(world, api, kind, {field: value for field, (_, value) in printed.items()}, printed)
    for kind in BASIC[3:]:
        if kind not in there:
            submit(world, api, kind, {"kind": "法定代表人授权委托书"} if kind == "legal_rep_authorisation" else {}, {})


def test_basic_information_is_stated_field_by_field_with_its_version(world: World) -> None:
    api = world.company()
    path = f"/api/v1/subjects/{api.subject_id}"
    first = api.send("GET", path)
    assert (first.json()["profile"]["state"], first.json()["profile"]["accepted"]) == ("none", None)
    api.refused("PUT", f"{path}/profile", 422, "value_invalid", "/postal_code", json={"postal_code": "11000"})
    api.refused("PUT", f"{path}/profile", 422, "value_invalid", "/business_types/0", json={"business_types": ["PAINTING"]})
    api.refused("PUT", f"{path}/profile", 422, "field_unknown", "/colour", json={"colour": "red"})
    stated = api.send("PUT", f"{path}/profile", json={"contact": "王建国", "is_sme": False}, headers={"If-Match": first.headers["etag"]})
    assert (stated.status_code, stated.json()["version"], stated.json()["profile"]["state"]) == (200, 2, "draft")
    assert stated.json()["profile"]["fields"]["is_sme"] is False
    api.refused("PUT", f"{path}/profile", 409, "version_conflict", json={"contact": "李四"}, headers={"If-Match": first.headers["etag"]})
    missing = api.refused("POST", f"{path}/profile/submission", 422, "field_required")
    assert {one["pointer"] for one in missing["errors"]} == {f"/{name}" for name in PROFILE} - {"/contact", "/is_sme"}
    api.ask("PUT", f"{path}/profile", json=PROFILE)
    whole = api.ask("GET", "/api/v1/completeness")
    basic, outside = whole["modules"][0], whole["modules"][8]
    assert (whole["complete"], basic["complete"], basic["profile"]) == (False, False, "draft")
    assert [one["code"] for one in basic["missing"]] == [one["code"] for one in basic["required"]] == BASIC
    assert (outside["label"], outside["complete"]) == ("外埠入辽", not whole["outside"])
    lacking = api.refused("POST", f"{path}/profile/submission", 409, "certificates_missing")
    assert [one["pointer"] for one in lacking["errors"]] == [f"/certificates/{kind}" for kind in BASIC]
    assert "营业执照、法人身份证" in lacking["title"]
    stranger = world.company()
    for method, part in (("GET", ""), ("PUT", "/profile"), ("POST", "/profile/submission"), ("GET", "/profile/versions")):
        body: dict[str, Any] = {"json": {}} if method == "PUT" else {}
        stranger.refused(method, path + part, 404, "not_found", **body)


def test_each_submission_is_a_version_and_the_accepted_one_stands_meanwhile(world: World) -> None:
    api = world.operator()
    path = f"/api/v1/subjects/{api.subject_id}"
    api.ask("PUT", f"{path}/profile", json=PROFILE)
    basic_certificates(world, api)
    submitted = api.ask("POST", f"{path}/profile/submission")
    assert (submitted["profile"]["state"], submitted["profile"]["accepted"]["number"]) == ("submitted", 1)
    api.refused("POST", f"{path}/profile/submission", 409, "wrong_state")
    basic = api.ask("GET", "/api/v1/completeness")["modules"][0]
    assert (basic["complete"], basic["missing"], basic["profile"]) == (True, [], "submitted")
    assert sum(basic["lights"].values()) == basic["states"]["submitted"] >= len(BASIC)
    assert basic["lights"]["GREEN"] + basic["lights"]["YELLOW"] >= 3
    changing = api.ask("PUT", f"{path}/profile", json={"contact": "李四"})
    assert changing["profile"]["state"] == "changing"
    assert (changing["profile"]["fields"]["contact"], changing["profile"]["accepted"]["fields"]["contact"]) == ("李四", "王建国")
    assert api.ask("POST", f"{path}/profile/submission")["profile"]["accepted"]["number"] == 2
    newest, first = api.ask("GET", f"{path}/profile/versions")["items"]
    assert (newest["number"], first["number"], newest["actor"]["kind"]) == (2, 1, "account")
    assert newest["changes"] == [{"path": "profile.contact", "label": "联系人", "before": "王建国", "after": "李四"}]
    assert first["fields"]["founded_on"] == "2009-05-01"


# -- name and history --------------------------------------------------------------------------------------------------


def test_a_new_name_keeps_the_former_and_the_operation_record_tells_all(world: World) -> None:
    api = world.company()
    path = f"/api/v1/subjects/{api.subject_id}"
    former = api.ask("GET", path)["name"]
    api.refused("POST", f"{path}/name", 422, "name_malformed", "/name", json={"name": "-"})
    renamed = api.ask("POST", f"{path}/name", json={"name": f"{former}（新）"})
    assert (renamed["name"], renamed["former_names"]) == (f"{former}（新）", [former])
    # What is drafted from now on knows both: documents under the former name are still the company's.
    assert world.draft(api, type="articles_of_association")["holder"]["name"] == renamed["name"]
    api.ask("PUT", f"{path}/profile", json={"contact_phone": "13900000001", "is_sme": True})
    first, second, third = api.ask("GET", f"{path}/history")["items"]
    assert [one["type"] for one in (first, second, third)] == ["SubjectRegistered", "SubjectRenamed", "ProfileStated"]
    assert [one["number"] for one in (first, second, third)] == [1, 2, 3]
    assert (second["action"], second["actor"]["name"]) == ("变更名称", "王测试")
    assert second["summary"] == f"名称由 {former} 变更为 {renamed['name']}"
    assert {"path": "name", "label": "单位名称", "before": former, "after": renamed["name"]} in second["changes"]
    assert {"path": "profile.is_sme", "label": "是否中小企业", "before": None, "after": "是"} in third["changes"]
    page = api.ask("GET", f"{path}/history", params={"limit": 2})
    assert [one["number"] for one in api.ask("GET", f"{path}/history", params={"cursor": page["next_cursor"]})["items"]] == [3]
    world.company().refused("GET", f"{path}/history", 404, "not_found")


# -- members -----------------------------------------------------------------------------------------------------------


def number() -> str:
    return f"137{secrets.randbelow(10**8):08}"


def registered(world: World, phone: str, name: str = "李同事") -> Api:
    """The holder of a phone number, registered and logged in."""
    api = Api(world.url)
    code = api.ask("POST", "/api/v1/phone-codes", 201, json={"phone": phone})["code"]
    api.ask("POST", "/api/v1/accounts", 201, json={"phone": phone, "code": code, "password": PASSWORD, "name": name})
    api.token = api.ask("POST", "/api/v1/sessions", 201, json={"method": "password", "phone": phone, "password": PASSWORD})["token"]
    return api


def test_an_invited_number_becomes_a_member_and_nothing_is_told_of_it_before(world: World) -> None:
    owner = world.company()
    members = f"/api/v1/subjects/{owner.subject_id}/members"
    known, unknown = number(), number()
    colleague = registered(world, known)
    answers = [owner.ask("POST", members, 201, json={"phone": phone, "role": "OPERATOR"}) for phone in (known, unknown)]
    for one, phone in zip(answers, (known, unknown), strict=True):
        masked = f"{phone[:3]}****{phone[-4:]}"
        assert one | {"account_id": ""} == {
            "account_id": "", "kind": "person", "name": None, "phone": masked, "role": "OPERATOR", "state": "invited"
        }  # fmt: skip
    owner.refused("POST", members, 409, "member_exists", "/phone", json={"phone": known, "role": "READER"})
    owner.refused("POST", members, 422, "role_unknown", "/role", json={"phone": known, "role": "OWNER"})
    owner.refused("POST", members, 422, "phone_malformed", "/phone", json={"phone": "1", "role": "READER"})
    for api in (colleague, registered(world, unknown, "赵后来")):
        (offered,) = api.ask("GET", "/api/v1/sessions/current")["subjects"]
        assert (offered["id"], offered["role"], offered["invited"]) == (owner.subject_id, "OPERATOR", True)
        world.pick(api, owner.subject_id)
        world.draft(api, type="litigation_case")
    listed = {one["name"]: one for one in owner.ask("GET", members)["items"] if one["kind"] == "person"}
    assert {name: (one["role"], one["state"]) for name, one in listed.items()} == {
        "王测试": ("ADMINISTRATOR", "active"),
        "李同事": ("OPERATOR", "active"),
        "赵后来": ("OPERATOR", "active"),
    }
    # The company's CA keys act for it as an operator, and stay.
    (key,) = [one for one in owner.ask("GET", members)["items"] if one["kind"] == "key"]
    assert key["role"] == "OPERATOR"
    owner.refused("DELETE", f"{members}/{key['account_id']}", 409, "key_member_stays")
    # An operator changes neither members nor the name; strangers see nothing.
    colleague.refused("POST", members, 403, "role_missing", json={"phone": number(), "role": "READER"})
    colleague.refused("DELETE", f"{members}/{listed['赵后来']['account_id']}", 403, "role_missing")
    colleague.refused("POST", f"/api/v1/subjects/{owner.subject_id}/name", 403, "role_missing", json={"name": "辽宁新名建设有限公司"})
    stranger = world.company()
    stranger.refused("GET", members, 404, "not_found")
    stranger.refused("DELETE", f"{members}/{listed['李同事']['account_id']}", 404, "not_found")


def test_a_reader_reads_all_and_changes_nothing(world: World) -> None:
    owner, phone = world.company(), number()
    members = f"/api/v1/subjects/{owner.subject_id}/members"
    draft = world.draft(owner, type="articles_of_association")
    reader = registered(world, phone)
    account_id = owner.ask("POST", members, 201, json={"phone": phone, "role": "READER"})["account_id"]
    world.pick(reader, owner.subject_id)
    path, subject = f"/api/v1/certificates/{draft['id']}", f"/api/v1/subjects/{owner.subject_id}"
    for read in (path, f"{path}/history", "/api/v1/certificates", subject, f"{subject}/history", members):
        reader.ask("GET", read)
    commands: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/api/v1/certificates", {"json": {"type": "litigation_case", "mode": "MANUAL"}}),
        ("PUT", f"{path}/document", {"files": {"file": ("a.pdf", b"%PDF-1.7", "application/pdf")}}),
        ("PUT", f"{path}/fields", {"json": {"fields": {}}}),
        ("PUT", f"{path}/marks", {"json": {"marks": []}}),
        ("PUT", f"{path}/mode", {"json": {"mode": "MANUAL"}}),
        ("POST", f"{path}/verification", {}),
        ("POST", f"{path}/seal/preparation", {"json": {"certificate": "x"}}),
        ("POST", f"{path}/seal", {"json": {"preparation_id": "x", "signature": "eA=="}}),
        ("POST", f"{path}/submission", {}),
        ("POST", f"{path}/supplement", {}),
        ("POST", f"{path}/discard", {}),
        ("POST", f"{path}/pushes", {"json": {"domain": world.demo["reviewer"]["domain"]}}),
        ("DELETE", f"{path}/pushes/x", {}),
        ("PUT", f"{subject}/profile", {"json": {"contact": "李四"}}),
        ("POST", f"{subject}/profile/submission", {}),
        ("POST", f"{subject}/name", {"json": {"name": "辽宁新名建设有限公司"}}),
        ("POST", members, {"json": {"phone": number(), "role": "READER"}}),
        ("PUT", f"{members}/{account_id}", {"json": {"role": "ADMINISTRATOR"}}),
    ]
    for method, where, body in commands:
        reader.refused(method, where, 403, "role_missing", **body)
    assert owner.ask("GET", path)["version"] == draft["version"]
    # Another role counts from the next request on, and so does its loss; a reader may still register a company and leave.
    owner.ask("PUT", f"{members}/{account_id}", json={"role": "OPERATOR"})
    reader.ask("POST", f"{path}/discard")
    owner.ask("PUT", f"{members}/{account_id}", json={"role": "READER"})
    reader.refused("POST", "/api/v1/certificates", 403, "role_missing", json={"type": "litigation_case", "mode": "MANUAL"})
    reader.ask("DELETE", f"{members}/{account_id}", 204)
    reader.refused("GET", subject, 404, "not_found")


def test_who_is_removed_is_out_at_once_and_the_last_administrator_stays(world: World) -> None:
    owner, phone = world.company(), number()
    members = f"/api/v1/subjects/{owner.subject_id}/members"
    founder = next(one["account_id"] for one in owner.ask("GET", members)["items"] if one["kind"] == "person")
    owner.refused("DELETE", f"{members}/{founder}", 409, "last_administrator")
    owner.refused("PUT", f"{members}/{founder}", 409, "last_administrator", json={"role": "READER"})
    second = registered(world, phone)
    second_id = owner.ask("POST", members, 201, json={"phone": phone, "role": "ADMINISTRATOR"})["account_id"]
    # Who is only invited is no administrator to rely on.
    owner.refused("DELETE", f"{members}/{founder}", 409, "last_administrator")
    world.pick(second, owner.subject_id)
    draft = world.draft(second, type="litigation_case")
    owner.ask("DELETE", f"{members}/{second_id}", 204)
    second.refused("GET", f"/api/v1/certificates/{draft['id']}", 404, "not_found")
    second.refused("POST", f"/api/v1/certificates/{draft['id']}/submission", 403, "subject_not_picked")
    assert second.ask("GET", "/api/v1/sessions/current")["subject_id"] is None
    second.refused(
        "POST", "/api/v1/sessions/current/subject", 403, "not_member", json={"subject_id": owner.subject_id, "subject_type": "BIDDER"}
    )
    owner.refused("DELETE", f"{members}/{second_id}", 404, "not_found")
    # Invited anew, the two change places; who founded the company sees nothing of it any more.
    owner.ask("POST", members, 201, json={"phone": phone, "role": "ADMINISTRATOR"})
    world.pick(second, owner.subject_id)
    second.ask("DELETE", f"{members}/{founder}", 204)
    for gone in ("", "/history", "/profile/versions", "/members"):
        assert owner.send("GET", f"/api/v1/subjects/{owner.subject_id}{gone}").status_code in (403, 404)


def test_one_account_acts_for_several_companies_by_picking(world: World) -> None:
    api = world.company()
    first = api.subject_id
    world.draft(api, type="litigation_case")
    world.company(api, "TENDERER")
    second = api.subject_id
    assert first != second
    assert {one["id"]: one["role"] for one in api.ask("GET", "/api/v1/sessions/current")["subjects"]} == {
        first: "ADMINISTRATOR", second: "ADMINISTRATOR"
    }  # fmt: skip
    assert api.ask("GET", "/api/v1/certificates")["items"] == []
    api.refused("PUT", f"/api/v1/subjects/{first}/profile", 404, "not_found", json={"contact": "李四"})
    world.pick(api, first)
    assert len(api.ask("GET", "/api/v1/certificates")["items"]) == 1
    api.refused(
        "POST", "/api/v1/sessions/current/subject", 422, "subject_type_unknown", json={"subject_id": second, "subject_type": "BIDDER"}
    )
