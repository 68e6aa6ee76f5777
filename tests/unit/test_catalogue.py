"""The catalogue: what it must hold, and that a wrong file is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

import catalogue
from catalogue import CatalogueError, PrintedBy, Role, snapshot
from catalogue.loading import HERE

SAFETY_LICENCE = """
module: qualifications
number: 2
label: 经营资质
types:
  - code: safety_production_license
    label: 安全生产许可证
    owner: subject
    modes: [SMART, MANUAL]
    verification: true
    code_letter: S
    valid_from: valid_term
    valid_until: valid_term
    documents: [{name: licence, label: 安全生产许可证}]
    fields:
      - {name: company_name, label: 单位名称, type: org, role: KEY, holder: company_name, labels: [单位名称]}
      - name: certificate_no
        label: 编号
        type: certno
        role: KEY
        labels: [编号]
        format: '\\(.\\)JZ安许证字\\[\\d{4}\\]\\d{6}'
      - {name: valid_term, label: 有效期, type: period, role: KEY, labels: [有效期]}
      - name: scope
        label: 许可范围
        type: enum
        role: DIGITAL
        labels: [许可范围]
        choices: [建筑施工: [建筑施工企业]]
      - {name: issued_on, label: 发证日期, type: date, role: DIGITAL, labels: [发证日期]}
    plausibility:
      - {rule: not_after, fields: [issued_on, valid_term]}
"""


def written(folder: Path, text: str) -> Path:
    (folder / "02-qualifications.yaml").write_text(text, "utf-8")
    return folder


def test_all_nine_modules_in_the_order_of_the_manual() -> None:
    modules = catalogue.load().modules
    assert [module.number for module in modules] == list(range(1, 10))
    assert [module.label for module in modules] == [
        "企业基本信息", "经营资质", "企业人员", "企业认证荣誉", "企业业绩", "经营管理信息", "在建工程", "企业诉讼", "外埠入辽"
    ]  # fmt: skip


def test_the_business_licence_has_its_real_fields() -> None:
    licence = catalogue.load().type("business_license")
    assert [(f.label, f.role.value) for f in licence.fields if f.role is not Role.PLAIN] == [
        ("统一社会信用代码", "KEY"), ("企业名称", "KEY"), ("企业类型", "DIGITAL"), ("住所", "DIGITAL"), ("法定代表人", "KEY"),
        ("注册资本", "DIGITAL"), ("成立日期", "DIGITAL"), ("营业期限", "DIGITAL"), ("登记机关", "DIGITAL"),
    ]  # fmt: skip
    assert {f.name for f in licence.fields if f.role is Role.PLAIN} == {"business_scope", "issued_on", "copy_no"}
    assert {f.name: f.holder for f in licence.fields if f.holder} == {"uscc": "uscc", "company_name": "company_name"}
    assert {f.name for f in licence.fields if f.may_be_absent} == {
        "registered_capital", "business_term", "issued_on", "copy_no"
    }  # fmt: skip


def test_the_qualification_has_its_real_fields() -> None:
    one = catalogue.load().type("construction_qualification")
    keys = {f.name for f in one.fields if f.role is Role.KEY}
    assert keys == {"company_name", "qualification_name", "level", "certificate_no", "valid_until", "uscc"}
    assert {f.name for f in one.fields if f.role is Role.DIGITAL} == {
        "category_and_level", "issuing_authority", "legal_rep_name", "issued_on"
    }  # fmt: skip
    primary = one.field("is_primary")
    assert primary.printed_by is PrintedBy.USER
    assert not primary.takes_mark
    assert one.field("level").parse("壹级") == "一级"
    assert one.validity({"valid_until": "2030-01-02", "issued_on": "2025-01-03"}) == ("2025-01-03", "2030-01-02")


def test_stated_values_become_canonical_and_bad_ones_say_why() -> None:
    licence = catalogue.load().type("business_license")
    values, problems = licence.parse(
        {
            "company_name": "沈阳(集团)有限公司",
            "established_on": "2020年3月1日",
            "registered_capital": "5000万元",
            "uscc": "91",
            "copy_no": "  ",
            "colour": "red",
        }
    )
    assert values == {
        "company_name": "沈阳（集团）有限公司",
        "established_on": "2020-03-01",
        "registered_capital": "50000000.00",
    }
    assert {name: problem.code for name, problem in problems.items()} == {
        "uscc": "uscc.length",
        "colour": "field.unknown",
    }
    assert licence.validity({"established_on": "2020-03-01", "business_term": "2020-03-01/长期"}) == ("2020-03-01", "")
    assert licence.validity({"business_term": "2020-03-01/2040-02-28"})[1] == "2040-02-28"
    assert licence.validity({"business_term": "长期"}) == ("", "")


def test_an_unusual_number_is_implausible_not_refused() -> None:
    number = catalogue.load().type("construction_qualification").field("certificate_no")
    assert number.checks(number.parse("D221034567")) == ()
    assert [finding.code for finding in number.checks(number.parse("ＸＹ-7"))] == ["format.unusual"]


def test_a_further_type_is_a_change_of_data_alone(tmp_path: Path) -> None:
    made = catalogue.load_from(written(tmp_path, SAFETY_LICENCE)).type("safety_production_license")
    assert made.field("scope").parse("建筑施工企业") == "建筑施工"
    number = made.field("certificate_no")
    assert number.checks(number.parse("（辽）JZ安许证字〔2022〕012345")) == ()
    assert made.validity({"valid_term": "2022-01-01/2024-12-31"}) == ("2022-01-01", "2024-12-31")


def test_the_public_form_tells_what_a_client_needs() -> None:
    public = catalogue.load().to_public()
    assert len(public["modules"]) == 9
    field = public["modules"][0]["types"][0]["fields"][0]
    assert field == {
        "name": "uscc", "label": "统一社会信用代码", "type": "uscc", "role": "KEY", "required": True, "may_be_absent": False,
        "takes_mark": True, "choices": [], "open": False, "holder": "uscc",
    }  # fmt: skip


def test_the_version_follows_the_content(tmp_path: Path) -> None:
    first = catalogue.load_from(written(tmp_path, SAFETY_LICENCE)).version
    assert catalogue.load_from(written(tmp_path, SAFETY_LICENCE)).version == first
    assert catalogue.load_from(written(tmp_path, SAFETY_LICENCE + "# \n")).version != first
    assert catalogue.load() is catalogue.load()
    assert catalogue.load_from(HERE).version == catalogue.load().version


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ("role: KEY, holder", "role: MAIN, holder", 16, "MAIN is none of KEY, DIGITAL, PLAIN"),
        ("type: period", "type: span", 23, "span is none of"),
        ("owner: subject", "owner: state", 8, "none of subject, person, performance"),
        ("modes: [SMART, MANUAL]", "modes: [SMART, QUICK]", 9, "modes must be"),
        ("label: 单位名称, ", "", 16, "label is missing"),
        ("code_letter: S", "code_letter: SS", 11, "must match"),
        ("valid_until: valid_term", "valid_until: scope", 13, "no date or period"),
        ("verification: true", "verification: maybe", 10, "none of true, false"),
        ("[issued_on, valid_term]", "[issued_on, ended_on]", 32, "no field ended_on"),
        ("[issued_on, valid_term]", "[scope, valid_term]", 32, "compares dates"),
        ("[issued_on, valid_term]", "[issued_on]", 32, "takes 2 to 2 fields"),
        ("rule: not_after", "rule: not_before", 32, "none of"),
        ("name: issued_on", "name: scope", 30, "stands twice"),
        ("name: issued_on", "name: Issued", 30, "must match"),
        ("role: DIGITAL, labels: [发证日期]", "role: DIGITAL, labels: [发证日期], colour: red", 30, "colour is no key"),
        ("role: DIGITAL, labels: [发证日期]", "role: DIGITAL, labels: [发证日期], holder: uscc", 30, "must be KEY"),
        ("role: DIGITAL, labels: [发证日期]", "role: DIGITAL, labels: [发证日期], printed_by: user", 30, "must be printed"),
        ("role: DIGITAL, labels: [发证日期]", "role: DIGITAL", 30, "labels must say how"),
        ("role: DIGITAL, labels: [发证日期]", "role: DIGITAL, labels: [发证日期], may_be_absent: true", 30, "can't be required"),
        ("format: '\\\\(.", "format: '\\\\((.", 17, "no regular expression"),
        ("choices: [建筑施工: [建筑施工企业]]", "choices: [建筑施工, 建筑施工]", 29, "stands twice"),
        ("choices: [建筑施工: [建筑施工企业]]", "choices: []", 24, "needs choices"),
        ("number: 2\n", "number: two\n", 3, "must match"),
        ("label: 经营资质\n", "label: 经营资质\nlabel: 又\n", 5, "stands twice"),
        ("types:\n", "types: {\n", 6, "no YAML"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_file_line_and_reason(
    tmp_path: Path, old: str, new: str, line: int, reason: str
) -> None:
    text = SAFETY_LICENCE.replace(old.replace("\\\\", "\\"), new.replace("\\\\", "\\"), 1)
    assert text != SAFETY_LICENCE
    with pytest.raises(CatalogueError) as problem:
        catalogue.load_from(written(tmp_path, text))
    assert (problem.value.file, problem.value.line) == ("02-qualifications.yaml", line), problem.value
    assert reason in problem.value.reason


def test_an_empty_folder_or_file_and_a_doubled_module_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="no file"):
        catalogue.load_from(tmp_path)
    written(tmp_path, SAFETY_LICENCE)
    (tmp_path / "03-again.yaml").write_text(SAFETY_LICENCE, "utf-8")
    with pytest.raises(CatalogueError, match=r"stands in 02-qualifications\.yaml"):
        catalogue.load_from(tmp_path)
    (tmp_path / "03-again.yaml").write_text("", "utf-8")
    with pytest.raises(CatalogueError, match="empty"):
        catalogue.load_from(tmp_path)


def test_rules_survive_their_snapshot() -> None:
    for one in catalogue.load().types:
        text = snapshot.dump(one)
        assert snapshot.restore(text) == one
        assert snapshot.dump(snapshot.restore(text)) == text
