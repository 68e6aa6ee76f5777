"""A walk through the operations manual (shared/manual), section by section: what it says can be done is done, what it says is refused is
refused, and the columns that it shows are there. The numbers of the tests are the manual's: 三 (一) 1 is ``test_3_1_1``.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import samples
from infra.testing import RunningSuite, running_suite
from samples import forms
from samples.facts import make_company
from tests.e2e.http_world import Api, Json, World, eventually, id_number
from tests.id_reader import Card, SimulatedReader

CERTIFICATES = "/api/v1/certificates"
#: The six certificates of 企业基本信息, as the figure in 四 (一) 2 lists them.
BASIC = (
    "business_license",
    "legal_rep_id_card",
    "bank_account",
    "commitment_letter",
    "legal_rep_authorisation",
    "articles_of_association",
)
PROFILE: Json = {
    "registered_place": "辽宁省沈阳市和平区文化路1号",
    "company_type": "有限责任公司",
    "contact": "王建国",
    "contact_phone": "024-12345678",
    "website": "www.example.com",
    "fax": "无",
    "postal_code": "110000",
    "is_sme": True,
    "founded_on": "2009-05-01",
    "business_types": ["CONSTRUCTION", "DESIGN"],
}
PERFORMANCE: Json = {
    "category": "construction",
    "section_name": "沈阳市浑南区创新路综合楼一标段",
    "performance_type": "A类",
    "region": "辽宁省沈阳市浑南区",
    "funding_source": "国有资金",
    "project_category": "房屋建筑",
    "speciality": "建筑工程",
    "section_no": "LN-2024-0107",
    "construction_nature": "新建",
}


class Walk:
    """The demo company's operator at work, with a document for every type."""

    def __init__(self, suite: RunningSuite) -> None:
        self.world = World(suite)
        self.api = self.world.operator()
        self.reviewer = self.world.reviewer()
        self.domain: str = self.world.demo["reviewer"]["domain"]
        known = self.api.ask("GET", "/api/v1/catalogue")
        self.types: dict[str, Json] = {one["code"]: one for module in known["modules"] for one in module["types"]}
        own = self.api.ask("GET", f"/api/v1/subjects/{self.api.subject_id}")
        self.name, self.uscc = own["name"], own["uscc"]
        company = make_company(random.Random(1))
        self.company = replace(company, name=self.name, uscc=self.uscc)
        self.person: Json = {}

    def document(self, code: str, **stated: str) -> samples.Sample:
        """A born-digital form of the type, true of this company (and of the walk's person)."""
        rng = random.Random(zlib.crc32(code.encode()))
        who = {"person": self.person["name"], "id_no": self.person["id_no"]} if self.person else {}
        values = forms.fill(self.types[code], self.company, rng, **who) | stated
        return samples.form(self.types[code], values, seed=1, format="digital_pdf")

    def begin(self, code: str, *, mode: str = "", **draft: Any) -> str:
        """【新增】: a draft; its path."""
        asked = {"type": code, "mode": mode or self.types[code]["modes"][-1], **draft}
        return f"{CERTIFICATES}/{self.api.ask('POST', CERTIFICATES, 201, json=asked)['id']}"

    def upload(self, path: str, document: samples.Sample) -> None:
        self.api.ask("PUT", f"{path}/document", 202, files={"file": ("电子件.pdf", document.bytes, "application/pdf")})

    def state(self, path: str, document: samples.Sample, **stated: str) -> Json:
        """The fields as the document has them, and what only the user can say."""
        kind = self.types[self.api.ask("GET", path)["type"]]
        plain = forms.fill(kind, self.company, random.Random(1))
        values = {one["name"]: plain[one["name"]] for one in kind["fields"] if one["name"] in plain and not one["takes_mark"]}
        return self.api.ask(
            "PUT", f"{path}/fields", json={"fields": values | document.values() | stated, "absent": document.truth["absent"]}
        )

    def mark(self, path: str, document: samples.Sample) -> None:
        """【标记】"""
        marks = [{"field": name, "page": page, "box": box} for name, (page, box) in document.boxes().items()]
        self.api.ask("PUT", f"{path}/marks", json={"marks": marks})

    def verify(self, path: str) -> Json:
        """智能核验"""
        return self.world.verified(self.api, path)

    def seal(self, path: str) -> Json:
        """【签章】【确认提交】: shown as 已签章."""
        sealed = self.world.sealed(self.api, path)
        assert sealed["seal"]["signer_uscc"] == self.uscc
        return sealed

    def submit(self, path: str) -> Json:
        """【提交】"""
        submitted = self.api.ask("POST", f"{path}/submission")
        assert submitted["state"] == "submitted"
        assert submitted["unique_code"]
        return submitted

    def enter(self, code: str, *, submit: bool = True, document: samples.Sample | None = None, **draft: Any) -> str:
        """The whole entry of a type, in 人工模式: fields, document, marks, verification, seal, submission; its path."""
        kind, document = self.types[code], document or self.document(code)
        path = self.begin(code, **draft)
        if kind["documents"] and (kind["verification"] or kind["sealed"] or any(one["required"] for one in kind["documents"])):
            self.upload(path, document)
        self.state(path, document)
        if kind["verification"]:
            self.mark(path, document)
            light = self.verify(path)["light"]
            assert light in ("GREEN", "YELLOW"), self.api.ask("GET", path)["verification"]
        if kind["sealed"]:
            self.seal(path)
        if submit:
            self.submit(path)
        return path

    def push(self, path: str, decision: str, opinion: str) -> Json:
        """【推送】 to the walk's domain, and its reviewer's decision; the line of the push record."""
        push = self.api.ask("POST", f"{path}/pushes", 201, json={"domain": self.domain})
        review = f"/api/v1/reviews/{push['id']}"
        eventually(lambda: self.reviewer.send("GET", review).status_code == 200)
        self.reviewer.ask("POST", review, json={"decision": decision, "opinion": opinion})

        def told() -> Json | None:
            record: list[Json] = self.api.ask("GET", f"{path}/pushes")["items"]
            return next((one for one in record if one["id"] == push["id"] and one["state"] == decision), None)

        return eventually(told)

    def operations(self, path: str) -> list[str]:
        """The actions in the 操作记录."""
        return [one["action"] for one in self.api.ask("GET", f"{path}/history")["items"]]


@pytest.fixture(scope="module")
def suite() -> Iterator[RunningSuite]:
    """One of its own: the demo company begins with nothing."""
    with running_suite("all") as running:
        yield running


@pytest.fixture(scope="module")
def walk(suite: RunningSuite) -> Walk:
    return Walk(suite)


# -- 二、系统登录 ------------------------------------------------------------------------------------------------------


def test_2_1_three_ways_to_log_in(walk: Walk) -> None:
    """(一) CA 登录, 辽易通登录, 账号密码登录 with registration by phone."""
    origin, key = walk.world.url, walk.world.key()
    api = Api(origin)
    challenge = api.ask("POST", "/api/v1/ca-challenges", 201)
    login = {
        "method": "ca",
        "challenge_id": challenge["id"],
        "certificate": key.pem_chain,
        "signature": key.sign_login(challenge["text"], origin),
    }
    assert walk.uscc in [one["uscc"] for one in api.ask("POST", "/api/v1/sessions", 201, json=login)["subjects"]]
    shown = api.ask("POST", "/api/v1/qr-logins", 201, json={})
    approval = {"certificate": key.pem_chain, "signature": key.sign(shown["qr_text"].encode())}
    Api(origin).ask("POST", f"/api/v1/qr-logins/{shown['id']}/approval", json=approval)
    taken = {"method": "qr", "qr_login_id": shown["id"], "claim": shown["claim"]}
    assert walk.uscc in [one["uscc"] for one in api.ask("POST", "/api/v1/sessions", 201, json=taken)["subjects"]]
    assert walk.world.person().ask("GET", "/api/v1/sessions/current")["method"] == "password"


def test_2_2_subject_types_are_chosen_and_switched(walk: Walk) -> None:
    """(二) 投标人, 招标人, 代理机构; (三) a company of several types logs out and in again as another."""
    api = walk.world.person()
    company = make_company(random.SystemRandom())
    asked = {"uscc": company.uscc, "name": company.name, "types": ["BIDDER", "TENDERER", "AGENCY"]}
    subject = api.ask("POST", "/api/v1/subjects", 201, json=asked)
    for kind in asked["types"]:
        walk.world.pick(api, subject["id"], kind)
        assert api.ask("GET", "/api/v1/sessions/current")["subject_type"] == kind


# -- 三、信息录入 ------------------------------------------------------------------------------------------------------


def test_3_1_1_basic_information(walk: Walk) -> None:
    """(一) 1: 基本信息, 基本信息证照, 签章, 红灯 with 温馨提示, 提交 once all is there, 操作记录; one for all subject types."""
    api, subject = walk.api, f"/api/v1/subjects/{walk.api.subject_id}"
    api.ask("PUT", f"{subject}/profile", json=PROFILE)
    missing = api.refused("POST", f"{subject}/profile/submission", 409, "certificates_missing")
    assert "/certificates/business_license" in [one["pointer"] for one in missing["errors"]]

    # 注 b: red can't be submitted; the notice and both columns are shown.
    document = walk.document("business_license")
    path = walk.begin("business_license")
    walk.upload(path, document)
    walk.state(path, document, legal_rep_name="赵无极")
    walk.mark(path, document)
    verdict = walk.verify(path)
    assert verdict["light"] == "RED"
    wrong = verdict["fields"]["legal_rep_name"]
    assert (wrong["verdict"], wrong["stated"]) == ("MISMATCH", "赵无极")
    assert wrong["recognised"] == document.values()["legal_rep_name"]
    notice = api.ask("GET", "/api/v1/catalogue")["verification_notice"]
    assert notice["title"].startswith("温馨提示")
    assert any("红灯" in line and "无法提交" in line for line in notice["lines"])
    api.refused("POST", f"{path}/seal/preparation", 409, "light_red", json={"certificate": walk.world.key().pem_chain})
    api.refused("POST", f"{path}/submission", 409, "light_red")
    # Corrected, it goes through.
    walk.state(path, document)
    walk.verify(path)
    walk.seal(path)
    walk.submit(path)

    for code in BASIC[1:]:
        walk.enter(code)
    submitted = api.ask("POST", f"{subject}/profile/submission")
    assert (submitted["profile"]["state"], submitted["profile"]["accepted"]["number"]) == ("submitted", 1)
    line = api.ask("GET", f"{subject}/history")["items"][-1]
    assert {"number", "actor", "at", "action"} <= set(line)
    assert "提交" in line["action"]
    whole = {one["module"]: one for one in api.ask("GET", "/api/v1/completeness")["modules"]}
    assert whole["basic_information"]["complete"]

    # 注: all subject types share it.
    other = walk.world.operator()
    for kind in api.ask("GET", subject)["types"]:
        walk.world.pick(other, walk.api.subject_id, kind)
        assert other.ask("GET", subject)["profile"]["accepted"]["number"] == 1


def test_3_2_1_qualification_by_hand(walk: Walk) -> None:
    """(二) 1 【增加资质】 (1)-(9): 智能模式, recognised fields beside the document, corrected, confirmed, 标记, 签章, 保存 or 提交."""
    api, document = walk.api, walk.document("construction_qualification")
    path = walk.begin("construction_qualification", mode="SMART", fields={"is_primary": "true"})
    walk.upload(path, document)

    def read() -> Json | None:
        now: Json = api.ask("GET", path)
        return now if now["recognition"]["state"] == "done" else None

    recognised = eventually(read, 90)["recognition"]["fields"]
    assert {"company_name", "certificate_no"} <= set(recognised)
    assert recognised["company_name"]["value"] == walk.name
    assert len(recognised["company_name"]["box"]) == 4
    assert api.send("GET", f"{path}/pages/1.png").headers["content-type"] == "image/png"
    # (5), (6): confirmed into the form; 人工模式 for changes, nothing is lost by switching.
    taken = {name: one["value"] for name, one in recognised.items() if one["value"]}
    api.ask("PUT", f"{path}/fields", json={"fields": taken})
    api.ask("PUT", f"{path}/mode", json={"mode": "MANUAL"})
    kept = api.ask("GET", path)
    assert (kept["mode"], kept["fields"]["company_name"], kept["fields"]["is_primary"]) == ("MANUAL", walk.name, "true")
    walk.state(path, document, is_primary="true")
    walk.mark(path, document)
    assert walk.verify(path)["light"] in ("GREEN", "YELLOW")
    walk.seal(path)
    # (9) 【保存】 keeps it as it is, 【提交】 enters it.
    assert api.ask("GET", path)["state"] == "draft"
    walk.submit(path)
    listed = api.ask("GET", CERTIFICATES, params={"type": "construction_qualification", "state": "submitted", "limit": 200})["items"]
    row = next(one for one in listed if path.endswith(one["id"]))
    # The list's columns: 资质名称, 资质等级, 有效期至, 主项资质, 智能核验, 是否签章, 提交时间, 推送领域情况.
    assert {"name", "level", "validity", "light", "sealed", "submitted_at", "pushes"} <= set(row)
    assert (row["sealed"], bool(row["submitted_at"])) == (True, True)


def test_3_2_1_qualification_from_the_national_platform(walk: Walk) -> None:
    """(二) 1 【同步全国建筑市场监管公共服务平台数据】: listed, taken over unsealed and unverified in 人工模式, then as by hand."""
    api, rows = walk.api, "/api/v1/national-platform/qualifications"
    listed = api.ask("GET", rows)["items"]
    first = listed[0]
    assert {"name", "level", "valid_until", "primary"} <= set(first)
    taken = api.ask("POST", f"{rows}/takeover", json={"items": [first["id"]]})["items"][0]["certificate"]
    path = f"{CERTIFICATES}/{taken['id']}"
    assert (taken["light"], taken["sealed"], taken["submitted_at"], taken["mode"]) == ("NONE", False, None, "MANUAL")
    # 【查看】: what the platform doesn't hold is filled in, the document is uploaded and marked.
    document = walk.document(taken["type"], **{name: value for name, value in api.ask("GET", path)["fields"].items() if value})
    walk.state(path, document)
    api.refused("POST", f"{path}/submission", 409, "document_missing")
    walk.upload(path, document)
    walk.mark(path, document)
    assert walk.verify(path)["light"] in ("GREEN", "YELLOW")
    walk.seal(path)
    walk.submit(path)


@pytest.mark.parametrize("code", ["qualification_permit", "safety_production_license"])
def test_3_2_2_and_3_permits(walk: Walk, code: str) -> None:
    """(二) 2 资质许可证书, 3 安全生产许可证: as the qualifications."""
    walk.enter(code)


def test_3_3_1_a_person_and_their_id_document(walk: Walk) -> None:
    """(三) 【增加人员】; 1 人员基本信息: 个人证件 typed or by the reader; only 职务 is filled in above."""
    api = walk.api
    reading = SimulatedReader().read(Card("孙读卡", id_number()))
    read = api.ask("POST", "/api/v1/persons", 201, json={"source": "reader", "reader": reading})
    assert (read["source"], read["state"]) == ("reader", "bound")
    typed = {"source": "typed", "name": "李建国", "id_no": id_number(), "phone": "13900000007", "position": "项目经理"}
    walk.person = api.ask("POST", "/api/v1/persons", 201, json=typed)
    row = next(one for one in api.ask("GET", "/api/v1/persons")["items"] if one["id"] == walk.person["id"])
    # Columns: 人员姓名, 身份证号, 手机号码 (masked), and whether bound.
    assert (row["name"], row["state"]) == ("李建国", "bound")
    assert "*" in row["id_no"]
    assert "*" in row["phone"]
    walk.enter("personal_id", person_id=walk.person["id"])
    api.ask("PUT", f"/api/v1/persons/{walk.person['id']}", json={"position": "项目经理、技术负责人"})


PERSONAL = [
    ("2", "personal_social_insurance"),
    ("3", "professional_title"),
    ("4", "registered_constructor"),
    ("5", "site_training_certificate"),
    ("5", "safety_assessment_certificate"),
    ("6", "special_operation_certificate"),
    ("6", "construction_special_operation_certificate"),
    ("6", "special_equipment_certificate"),
    ("9", "personal_honour"),
    ("10", "ability_evaluation"),
]


@pytest.mark.parametrize(("section", "code"), PERSONAL)
def test_3_3_sections_of_a_person(walk: Walk, section: str, code: str) -> None:
    """(三) 2-6, 9, 10: each section's certificates, of the person and nobody else."""
    path = walk.enter(code, person_id=walk.person["id"])
    listed = walk.api.ask("GET", CERTIFICATES, params={"person_id": walk.person["id"], "type": code})["items"]
    assert [one["id"] for one in listed] == [path.rpartition("/")[2]]


def test_3_3_4_registrations_from_the_national_platform(walk: Walk) -> None:
    """(三) 4 注册执业资格: by hand, or taken over."""
    rows = "/api/v1/national-platform/registrations"
    listed = walk.api.ask("GET", rows, params={"person_id": walk.person["id"]})["items"]
    wanted = {"items": [listed[0]["id"]]}
    [taken] = walk.api.ask("POST", f"{rows}/takeover", params={"person_id": walk.person["id"]}, json=wanted)["items"]
    assert (taken["certificate"]["light"], taken["certificate"]["sealed"]) == ("NONE", False)
    assert walk.api.ask("GET", f"{CERTIFICATES}/{taken['certificate']['id']}")["person_id"] == walk.person["id"]


def test_3_3_another_persons_document_is_red(walk: Walk) -> None:
    """A document that isn't the person's (domain.md, "The light")."""
    other = walk.api.ask("POST", "/api/v1/persons", 201, json={"source": "typed", "name": "周不同", "id_no": id_number()})
    document = walk.document("professional_title")
    path = walk.begin("professional_title", person_id=other["id"])
    walk.upload(path, document)
    walk.state(path, document)
    walk.mark(path, document)
    assert walk.verify(path)["light"] == "RED"
    walk.api.refused("POST", f"{path}/submission", 409, "light_red")


MANAGEMENT = ["quality_management", "environmental_management", "occupational_health_management"]


@pytest.mark.parametrize("code", MANAGEMENT)
def test_3_4_1_management_systems(walk: Walk, code: str) -> None:
    """(四) 1 管理体系认证: the kind is chosen first."""
    walk.enter(code)


@pytest.mark.parametrize(("section", "code"), [("2", "company_credit"), ("4", "honour"), ("5", "other_material")])
def test_3_4_credit_honours_other(walk: Walk, section: str, code: str) -> None:
    """(四) 2 企业信用, 4 荣誉表彰, 5 其他材料."""
    walk.enter(code)


def papers(walk: Walk) -> dict[str, samples.Sample]:
    """The required materials of the performance, agreeing with one another."""
    shared = {"section_name": PERFORMANCE["section_name"], "project_manager": walk.person["name"]}
    client = "沈阳城建投资有限公司"
    stated: dict[str, dict[str, str]] = {
        "bid_award_notice": {"tenderee": client, "winner": walk.name, "award_price": "12000000.00", "issued_on": "2022-03-01"},
        "construction_contract": {
            "employer": client,
            "contractor": walk.name,
            "contract_price": "12000000.00",
            "signed_on": "2022-03-20",
        },
        "completion_acceptance": {
            "employer": client,
            "contractor": walk.name,
            "actual_start": "2022-04-01",
            "accepted_on": "2023-10-30",
            "conclusion": "合格",
        },
    }
    made = {}
    for code, values in stated.items():
        fields = {one["name"] for one in walk.types[code]["fields"]}
        numbers = {"section_no": PERFORMANCE["section_no"]}
        rest = {name: value for name, value in (values | shared | numbers).items() if name in fields}
        made[code] = walk.document(code, **rest)
    return made


def test_3_5_1_a_performance_of_class_a(walk: Walk) -> None:
    """(五) 1: category, 业绩总体信息, 业绩材料, 佐证材料, 合同变更, 逻辑校验, 继续提交, 操作记录."""
    api = walk.api
    made = api.ask("POST", "/api/v1/performances", 201, json=PERFORMANCE)
    path = f"/api/v1/performances/{made['id']}"
    # 注 a: the category can't be changed.
    api.refused("PUT", path, 409, "category_fixed", "/category", json=PERFORMANCE | {"category": "design"})
    required = ("bid_award_notice", "construction_contract", "completion_acceptance")
    # The table of materials: 证照名称, 必要材料, 唯一标识码, 智能核验, 是否签章.
    assert [(row["name"], row["required"], row["light"], row["sealed"]) for row in made["materials"] if row["type"] in required] == [
        ("中标通知书", True, "NONE", False),
        ("合同", True, "NONE", False),
        ("竣工验收报告", True, "NONE", False),
    ]
    for code, document in papers(walk).items():
        walk.enter(code, performance_id=made["id"], submit=False, document=document)
    # 注 b: class A needs a supporting material with each.
    lacking = api.ask("POST", f"{path}/check")["missing_materials"]
    assert {one["type"] for one in lacking} == {"supporting_material"}
    for label in ("中标通知书", "合同", "竣工验收报告"):
        support = walk.begin("supporting_material", performance_id=made["id"])
        evidence = walk.document("supporting_material")
        walk.upload(support, evidence)
        walk.state(support, evidence, supports=label)
        walk.seal(support)
    walk.enter("overall_supplement", performance_id=made["id"], submit=False)
    # 合同内容是否发生变更: the manager changed; content, document and seal of its own.
    change = {
        "item": "project_manager",
        "content": "因工作调动，项目经理由李建国变更为王接任",
        "value": "王接任",
        "changed_on": "2022-06-01",
    }
    recorded = api.ask("POST", f"{path}/contract-changes", 201, json=change)
    own = f"{CERTIFICATES}/{recorded['certificate_id']}"
    walk.upload(own, walk.document("supporting_material"))
    walk.seal(own)
    told = next(one for one in api.ask("GET", path)["contract"] if one["item"] == "project_manager")
    assert (told["original"], told["effective"]) == (walk.person["name"], "王接任")
    back = change | {"content": "原项目经理复任", "value": walk.person["name"], "changed_on": "2022-09-01"}
    recorded = api.ask("POST", f"{path}/contract-changes", 201, json=back)
    own = f"{CERTIFICATES}/{recorded['certificate_id']}"
    walk.upload(own, walk.document("supporting_material"))
    walk.seal(own)
    # (7): warnings are listed with where they come from, and confirmed by 【继续提交】.
    api.ask("PUT", path, json=PERFORMANCE | {"section_name": "沈阳市浑南区创新路综合楼二标段"})
    check = api.ask("POST", f"{path}/check")
    assert check["missing_materials"] == []
    assert {one["severity"] for one in check["findings"]} == {"WARNING"}, check["findings"]
    assert all(one["text"] and len(one["sources"]) >= 2 for one in check["findings"])
    unconfirmed = api.refused("POST", f"{path}/submission", 409, "check_unconfirmed")
    assert unconfirmed["errors"]
    submitted = api.ask("POST", f"{path}/submission", json={"confirm": [check["digest"]]})
    assert submitted["state"] == "submitted"
    assert all(row["unique_code"] for row in submitted["materials"] if row["required"])
    assert submitted["light"] in ("GREEN", "YELLOW")
    # (8) 操作记录: 序号, 操作人, 操作时间, 操作事项.
    last = api.ask("GET", f"{path}/history")["items"][-1]
    assert last["number"]
    assert last["actor"]["name"]
    assert last["at"]
    assert "提交" in last["action"]
    walk.world.demo["performance_id"] = made["id"]


def test_3_5_1_a_performance_whose_dates_are_impossible_is_blocked(walk: Walk) -> None:
    """(五) 1 (7): what can't be is an error, and no confirmation helps."""
    api = walk.api
    made = api.ask("POST", "/api/v1/performances", 201, json=PERFORMANCE | {"performance_type": "B类"})
    path = f"/api/v1/performances/{made['id']}"
    stated = {"construction_contract": {"signed_on": "2024-01-01"}, "completion_acceptance": {"accepted_on": "2023-01-01"}}
    for code, fields in stated.items():
        api.ask("POST", CERTIFICATES, 201, json={"type": code, "mode": "MANUAL", "performance_id": made["id"], "fields": fields})
    findings = api.ask("POST", f"{path}/check")["findings"]
    assert ("ERROR", "completion_before_contract") in [(one["severity"], one["code"]) for one in findings]
    assert api.ask("POST", f"{path}/discard")["state"] == "discarded"


def test_3_4_3_an_award_needs_a_submitted_section(walk: Walk) -> None:
    """(四) 3 工程获奖: the 标段 is chosen first, and must be in the register."""
    api = walk.api
    draft = api.ask("POST", "/api/v1/performances", 201, json=PERFORMANCE | {"performance_type": "B类"})
    wanted = {"type": "project_award", "mode": "MANUAL", "performance_id": draft["id"]}
    api.refused("POST", CERTIFICATES, 409, "performance_not_submitted", "/performance_id", json=wanted)
    api.ask("POST", f"/api/v1/performances/{draft['id']}/discard")
    performance = api.ask("GET", f"/api/v1/performances/{walk.world.demo['performance_id']}")
    document = walk.document("project_award", section_name=performance["section_name"])
    award = walk.enter("project_award", performance_id=performance["id"], document=document)
    walk.world.demo["award"] = award


def test_3_3_7_and_8_performances_and_awards_of_a_person_come_by_themselves(walk: Walk) -> None:
    """(三) 7 业绩信息, 8 工程获奖: once the person's basic information and the performance (the award) are approved."""
    api, person = walk.api, f"/api/v1/persons/{walk.person['id']}"
    performance = f"/api/v1/performances/{walk.world.demo['performance_id']}"
    assert api.ask("GET", f"{person}/performances")["items"] == []
    push = api.ask("POST", f"{performance}/pushes", 201, json={"domain": walk.domain})
    for one in push["materials"]:
        review = f"/api/v1/reviews/{one['push_id']}"
        eventually(lambda review=review: walk.reviewer.send("GET", review).status_code == 200)  # type: ignore[misc]
        walk.reviewer.ask("POST", review, json={"decision": "approved", "opinion": "属实"})
    eventually(lambda: api.ask("GET", f"{performance}/pushes")["items"][0]["state"] == "approved")
    assert api.ask("GET", f"{person}/performances")["items"] == [], "the person's own basic information isn't approved yet"
    [basic] = api.ask("GET", CERTIFICATES, params={"person_id": walk.person["id"], "type": "personal_id"})["items"]
    walk.push(f"{CERTIFICATES}/{basic['id']}", "approved", "属实")
    [line] = eventually(lambda: api.ask("GET", f"{person}/performances")["items"])
    assert walk.world.demo["performance_id"] in str(line)
    assert api.ask("GET", f"{person}/awards")["items"] == []
    walk.push(walk.world.demo["award"], "approved", "属实")
    [award] = eventually(lambda: api.ask("GET", f"{person}/awards")["items"])
    assert walk.world.demo["award"].rpartition("/")[2] in str(award)


@pytest.mark.parametrize(
    ("section", "code"),
    [
        ("1", "annual_audit_report"),
        ("2", "tax_payment_certificate"),
        ("3", "social_insurance_payment"),
        ("4", "tax_credit_level"),
        ("5", "shareholder"),
        ("6", "organisation_chart"),
        ("7", "management_rules"),
        ("8", "social_insurance_account"),
    ],
)
def test_3_6_operations(walk: Walk, section: str, code: str) -> None:
    """(六) 1-8."""
    walk.enter(code)


@pytest.mark.parametrize(("section", "code"), [("7", "ongoing_project"), ("8", "litigation_case"), ("9", "outside_entry_report")])
def test_3_7_to_9_projects_lawsuits_entry(walk: Walk, section: str, code: str) -> None:
    """(七) 在建工程, (八) 企业诉讼, (九) 外埠入辽: filled in, documents attached, submitted."""
    path = walk.enter(code)
    assert walk.api.ask("GET", path)["light"] == "NONE"


# -- 四、信息及证照修改或更新 ------------------------------------------------------------------------------------------


def yellow(walk: Walk, **draft: Any) -> tuple[str, samples.Sample]:
    """A submitted YELLOW entry: one DIGITAL field isn't as printed."""
    document = walk.document("company_credit")
    field = next(one for one in walk.types["company_credit"]["fields"] if one["role"] == "DIGITAL" and one["type"] == "org")
    path = walk.begin("company_credit", **draft)
    walk.upload(path, document)
    walk.state(path, document, **{field["name"]: "辽宁省另一协会"})
    walk.mark(path, document)
    assert walk.verify(path)["light"] == "YELLOW"
    walk.seal(path)
    walk.submit(path)
    return path, document


def test_4_yellow_is_supplemented_but_no_key_field(walk: Walk) -> None:
    """黄灯: 【补充完善】 changes everything except 关键实质性信息; what was submitted stays shown."""
    api = walk.api
    path, document = yellow(walk)
    code = api.ask("GET", path)["unique_code"]
    opened = api.ask("POST", f"{path}/supplement")
    key = next(one["name"] for one in walk.types["company_credit"]["fields"] if one["role"] == "KEY")
    api.refused("PUT", f"{path}/fields", 409, "key_field_locked", f"/fields/{key}", json={"fields": {key: "别的"}})
    assert opened["supplementing"]
    assert opened["accepted"]["light"] == "YELLOW"
    walk.state(path, document)
    assert walk.verify(path)["light"] == "GREEN"
    walk.seal(path)
    done = walk.submit(path)
    assert (done["light"], done["unique_code"]) == ("GREEN", code)
    api.refused("POST", f"{path}/supplement", 409, "light_green_locked")
    versions = api.ask("GET", f"{path}/versions")["items"]
    assert [one["light"] for one in versions] in (["YELLOW", "GREEN"], ["GREEN", "YELLOW"])


def test_4_green_is_entered_anew_and_the_former_stays(walk: Walk) -> None:
    """绿灯: 重新点击对应模块新增录入; 注: what was entered before stays on the page, with its record."""
    api = walk.api
    path = walk.enter("patent")
    if api.ask("GET", path)["light"] == "GREEN":
        api.refused("POST", f"{path}/supplement", 409, "light_green_locked")
    former = path.rpartition("/")[2]
    successor = walk.enter("patent", supersedes=former)
    gone = api.ask("GET", path)
    assert gone["state"] == "superseded"
    assert successor.rpartition("/")[2] in str(gone)
    listed = api.ask("GET", CERTIFICATES, params={"type": "patent"})["items"]
    assert {one["id"]: one["state"] for one in listed} == {former: "superseded", successor.rpartition("/")[2]: "submitted"}
    assert len(walk.operations(path)) >= 6


def test_4_1_basic_information_is_changed_and_submitted_again(walk: Walk) -> None:
    """(一) 1 【修改】 of the page's basic information; 2 a certificate at any light, KEY fields too; 3 【提交】 again."""
    api, subject = walk.api, f"/api/v1/subjects/{walk.api.subject_id}"
    changed = api.ask("PUT", f"{subject}/profile", json={"contact": "新联系人"})
    assert changed["profile"]["state"] == "changing"
    assert changed["profile"]["accepted"]["fields"]["contact"] == PROFILE["contact"]
    [licence] = api.ask("GET", CERTIFICATES, params={"type": "business_license", "state": "submitted"})["items"]
    path = f"{CERTIFICATES}/{licence['id']}"
    api.ask("POST", f"{path}/supplement")
    document = walk.document("business_license", legal_rep_name="钱新任")
    walk.upload(path, document)
    walk.state(path, document)
    walk.mark(path, document)
    assert walk.verify(path)["light"] in ("GREEN", "YELLOW")
    walk.seal(path)
    walk.submit(path)
    again = api.ask("POST", f"{subject}/profile/submission")
    assert again["profile"]["accepted"]["number"] == 2
    first, second = sorted(api.ask("GET", f"{subject}/profile/versions")["items"], key=lambda one: one["number"])
    assert (first["number"], second["number"]) == (1, 2)
    assert any(one["before"] == PROFILE["contact"] and one["after"] == "新联系人" for one in second["changes"])


def test_4_2_a_persons_basic_information_is_changed(walk: Walk) -> None:
    """(二) 1: 【查看】, filled in and uploaded anew, submitted again."""
    [basic] = walk.api.ask("GET", CERTIFICATES, params={"person_id": walk.person["id"], "type": "personal_id"})["items"]
    path = f"{CERTIFICATES}/{basic['id']}"
    walk.api.ask("POST", f"{path}/supplement")
    document = walk.document("personal_id", address="辽宁省沈阳市皇姑区崇山路8号")
    walk.upload(path, document)
    walk.state(path, document)
    walk.mark(path, document)
    assert walk.verify(path)["light"] in ("GREEN", "YELLOW")
    walk.seal(path)
    walk.submit(path)
    assert len(walk.api.ask("GET", f"{path}/versions")["items"]) == 2


# -- 五、信息推送核验 --------------------------------------------------------------------------------------------------


def test_5_push_and_review(walk: Walk) -> None:
    """1 【推送】 to a domain; 2 推送记录 (序号, 推送时间, 推送领域, 状态, 审核时间, 审核意见) and 操作记录; 注 (2), (3)."""
    api = walk.api
    path, document = yellow(walk)
    api.refused("POST", f"{path}/pushes", 422, "domain_unknown", "/domain", json={"domain": "nowhere"})
    rejected = walk.push(path, "rejected", "颁发单位不一致，请补充完善")
    assert (rejected["number"], rejected["state"], rejected["opinion"]) == (1, "rejected", "颁发单位不一致，请补充完善")
    assert rejected["pushed_at"]
    assert rejected["reviewed_at"]
    assert rejected["domain_id"] == walk.domain
    assert any("推送" in action for action in walk.operations(path))
    # 注 (2): yellow, passed or not: 补充完善, and pushed again.
    api.ask("POST", f"{path}/supplement")
    walk.state(path, document)
    walk.verify(path)
    walk.seal(path)
    walk.submit(path)
    approved = walk.push(path, "approved", "")
    assert (approved["number"], approved["state"]) == (2, "approved")
    # 注 (3): green is entered anew.
    api.refused("POST", f"{path}/supplement", 409, "light_green_locked")


def test_5_before_submission_nothing_is_pushed(walk: Walk) -> None:
    """信息提交后: a draft can't be pushed."""
    walk.api.refused("POST", f"{walk.begin('litigation_case')}/pushes", 409, "not_submitted", json={"domain": walk.domain})


# -- 三 (三) 11, last since it ends what the walk's person is to the company -------------------------------------------


def test_3_3_11_unbinding(walk: Walk) -> None:
    """11 人员解绑: shown as 已解绑, and the person's information can't be seen any more; what was submitted stays in the history."""
    api, person = walk.api, f"/api/v1/persons/{walk.person['id']}"
    gone = api.ask("POST", f"{person}/unbinding", json={})
    assert gone["state"] == "unbound"
    assert "*" in gone["id_no"]
    row = next(one for one in api.ask("GET", "/api/v1/persons", params={"state": "unbound"})["items"] if one["id"] == walk.person["id"])
    assert row["state"] == "unbound"
    wanted = {"type": "professional_title", "mode": "MANUAL", "person_id": walk.person["id"]}
    api.refused("POST", CERTIFICATES, 422, "person_unknown", "/person_id", json=wanted)
    assert api.ask("GET", CERTIFICATES, params={"person_id": walk.person["id"]})["items"]
    assert api.ask("GET", f"{person}/performances")["items"] == []
