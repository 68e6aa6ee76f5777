"""The catalogue: what it must hold, and that a wrong file is refused with its line."""

from __future__ import annotations

import re
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
      - {name: level, label: 等级, type: level, role: PLAIN, labels: [等级], choices: [一级, 二级]}
    plausibility:
      - {rule: not_after, fields: [issued_on, valid_term]}
      - rule: fits
        fields: [scope, level]
        allowed:
          '建筑.*': [一级]
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


def test_the_levels_of_every_kind_of_qualification_are_known() -> None:
    known = catalogue.load()
    names = list(known.type("construction_qualification").field("qualification_name").choices)
    assert len([one for one in names if one.endswith("工程施工总承包")]) == 12 + 1  # 民航 since the reform plan
    assert len([one for one in names if one.endswith("专业承包")]) == 36 + 6
    for code in ("construction_qualification", "design_qualification", "survey_qualification", "supervision_qualification"):
        (fits,) = [rule for rule in known.type(code).plausibility if rule.rule == "fits"]
        for name in known.type(code).field("qualification_name").choices:
            assert [pattern for pattern in fits.allowed if re.fullmatch(pattern, name)], name


def test_what_domain_md_lists_exists() -> None:
    labels = {module.number: [one.label for one in module.types] for module in catalogue.load().modules}
    assert labels[1] == [
        "营业执照",
        "法人身份证",
        "基本存款账户证明",
        "告知承诺书",
        "法定代表人授权委托书或法定代表人资格证明书",
        "公司章程",
    ]
    assert {"特种作业操作证", "建筑施工特种作业操作资格证书", "特种设备安全管理和作业人员证"} <= set(labels[3])
    for kind in ("质量", "环境", "职业健康安全", "能源", "信息安全", "信息技术服务", "知识产权", "其他"):
        assert f"{kind}管理体系认证" in labels[4]
    assert labels[5] == ["中标通知书", "合同", "竣工验收报告", "总体补充说明", "佐证材料", "合同变更材料"]
    assert labels[6] == [
        "年度审计报告", "税收完税证明（月度）", "缴纳社保凭证（月度）", "纳税信用级别", "股东信息", "组织架构", "管理制度",
        "社会保险开户证明",
    ]  # fmt: skip
    change = catalogue.load().type("contract_change_proof")
    assert list(change.field("item").choices) == ["标段名称", "承包人", "发包人", "项目经理", "合同金额", "合同内容"]
    assert (change.verification, change.sealed, change.needs_document) == (False, True, True)


def test_what_names_the_company_itself_is_tied_to_it() -> None:
    for one in catalogue.load().types:
        for field in one.fields:
            if field.role is Role.KEY and field.name in ("company_name", "account_name"):
                assert field.holder == "company_name", (one.code, field.name)
            if field.name == "uscc":
                assert field.holder == "uscc", one.code


def test_the_usual_caption_is_one_that_recognition_knows() -> None:
    for one in catalogue.load().types:
        for field in one.fields:
            assert not field.takes_mark or field.label in field.labels, (one.code, field.name)


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
        ("[issued_on, valid_term]", "[issued_on, ended_on]", 33, "no field ended_on"),
        ("[issued_on, valid_term]", "[scope, valid_term]", 33, "scope is no date"),
        ("[issued_on, valid_term]", "[issued_on]", 33, "takes 2 to 2 fields"),
        ("rule: not_after", "rule: not_before", 33, "none of"),
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
        ("holder: company_name", "holder: uscc", 16, "it must be uscc"),
        ("holder: company_name", "holder: owner", 16, "none of company_name, uscc, person_id, person_name"),
        ("type: date,", "type: date, choices: [今天],", 30, "date has no choices"),
        ("type: date,", "type: date, open: true,", 30, "date can't be open"),
        ("type: date,", "type: date, unit: 万元,", 30, "万元 is no unit of date"),
        ("type: date,", "type: date, unit: 斤,", 30, "斤 is none of"),
        ("choices: [一级, 二级]", "choices: [壹级, 二级]", 31, "壹级 is no canonical level"),
        ("documents: [{name: licence, label: 安全生产许可证}]", "documents: []", 6, "needs a document and a seal"),
        ("verification: true", "verification: true\n    sealed: false", 6, "needs a document and a seal"),
        ("fields: [scope, level]", "fields: [level, scope]", 34, "no choice of level is 建筑"),
        ("'建筑.*': [一级]", "'建筑.*': [三级]", 34, "三级 is no choice of level"),
        ("'建筑.*': [一级]", "'市政.*': [一级]", 34, "no choice of scope is 市政"),
        ("'建筑.*': [一级]", "'建筑(.*': [一级]", 37, "no regular expression"),
        ("'建筑.*': [一级]", "'建筑.*': []", 37, "allows nothing"),
        ("fields: [issued_on, valid_term]}", "fields: [issued_on, valid_term], years: [3]}", 33, "belong to years_between"),
        ("fields: [issued_on, valid_term]}", "fields: [issued_on, valid_term], within: 1}", 33, "belongs to sum"),
        ("rule: not_after", "rule: years_between", 33, "must stand there"),
        ("rule: not_after", "rule: sum", 33, "issued_on is no money"),
        ("code_letter: S", "code_letter: S\n    unique_by: [colour]", 12, "colour is no required field"),
        ("code_letter: S", "code_letter: S\n    at_most: {field: level, total: 100}", 12, "level is no percent"),
        ("code_letter: S", "code_letter: S\n    at_most: {field: level}", 12, "total is missing"),
        ("number: 2\n", "number: two\n", 3, "must match"),
        ("label: 经营资质\n", "label: 经营资质\nlabel: 又\n", 5, "stands twice"),
        ("types:\n", "types: {\n", 6, "no YAML"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_file_line_and_reason(tmp_path: Path, old: str, new: str, line: int, reason: str) -> None:
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
