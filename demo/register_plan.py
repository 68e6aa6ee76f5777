"""What the demo company's register is to hold: persons, performances and entries of all nine modules, and how each ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

Ends = Literal["draft", "submitted", "supplement", "superseded", "discarded", "expired"]
Light = Literal["NONE", "RED", "YELLOW", "GREEN"]
#: What becomes of a push; ``appealed``: rejected, and the company appeals.
Outcome = Literal["pending", "approved", "rejected", "withdrawn", "appealed"]


@dataclass(frozen=True)
class Person:
    """Somebody whom the company employs, or employed."""

    slug: str
    name: str
    born: date
    position: str
    unbound: bool = False


@dataclass(frozen=True)
class Performance:
    """A section with its materials; ``warned``: its papers differ in the price, which is confirmed."""

    slug: str
    category: str
    kind: str
    section: str
    ends: Literal["draft", "submitted", "discarded"] = "submitted"
    warned: bool = False
    #: the new project manager that a contract change names
    change: str = ""
    push: Outcome | None = None


@dataclass(frozen=True)
class Entry:
    """One certificate. ``slug`` names it for ever: it is made once, however often the register is run.

    YELLOW leaves a DIGITAL field unmarked, RED states a KEY field wrongly; ``light`` NONE of a type with verification is a draft that
    was never verified. ``expired`` is a draft that can't be submitted any more.
    """

    slug: str
    type: str
    light: Light = "GREEN"
    ends: Ends = "submitted"
    stated: Mapping[str, str] = field(default_factory=dict)
    mode: Literal["SMART", "MANUAL"] = "MANUAL"
    person: str = ""
    performance: str = ""
    follows: str = ""
    push: Outcome | None = None


#: Basic information of the company.
PROFILE: Mapping[str, object] = {
    "registered_place": "辽宁省沈阳市浑南区创新路88号",
    "company_type": "有限责任公司",
    "contact": "张操作",
    "contact_phone": "13800000001",
    "website": "无",
    "fax": "无",
    "postal_code": "110179",
    "is_sme": True,
    "founded_on": "2008-05-12",
    "business_types": ["CONSTRUCTION", "SUPERVISION"],
}
PERSONS = (
    Person("wang", "王建国", date(1981, 5, 6), "项目经理"),
    Person("li", "李雪梅", date(1985, 11, 23), "项目总监"),
    Person("zhao", "赵志强", date(1990, 2, 14), "专职安全员"),
    Person("chen", "陈立新", date(1978, 8, 30), "造价工程师", unbound=True),
)

ROAD = "沈阳市浑南区创新路道路改造工程施工一标段"
PARK = "沈阳市和平区滨河公园改造工程监理标段"
SCHOOL = "沈阳市铁西区第九小学扩建工程设计标段"
PERFORMANCES = (
    Performance("road", "construction", "A类", ROAD, change="王建国", push="approved"),
    Performance("park", "supervision", "B类", PARK, warned=True, push="pending"),
    Performance("school", "design", "B类", SCHOOL, ends="draft"),
    Performance("lamps", "material_equipment", "B类", "沈阳市浑南区路灯采购标段", ends="discarded"),
)


def papers(one: Performance, company: str) -> dict[str, dict[str, str]]:
    """What the required materials of a performance state."""
    owner, manager = "沈阳城建投资有限公司", "刘海东" if one.change else "王建国"
    supervised = one.category == "supervision"
    return {
        "bid_award_notice": {
            "section_name": one.section,
            "section_no": f"LN-2022-{one.slug.upper()}",
            "tenderee": owner,
            "winner": company,
            "award_price": "26800000.00",
            "project_manager": manager,
            "issued_on": "2022-03-01",
        },
        "construction_contract": {
            "section_name": one.section,
            "employer": owner,
            "contractor": company,
            "contract_price": "26500000.00" if one.warned else "26800000.00",
            "project_manager": manager,
            "planned_start": "2022-04-01",
            "planned_finish": "2023-11-30",
            "signed_on": "2022-03-20",
        },
        "completion_acceptance": {
            "section_name": one.section,
            "employer": owner,
            "contractor": "辽宁北方建工集团有限公司" if supervised else company,
            "supervisor": company if supervised else "沈阳市工程监理咨询有限公司",
            "project_manager": "王建国",
            "actual_start": "2022-04-05",
            "accepted_on": "2023-10-30",
            "conclusion": "合格",
        },
    }


def entries(today: date, company: str) -> tuple[Entry, ...]:
    """The certificates, in the order of the modules; ``today`` is when some of them are about to end."""
    soon, past = (today + timedelta(days=20)).isoformat(), (today - timedelta(days=40)).isoformat()
    return (
        *_basic(),
        *_qualifications(soon, past),
        *_persons(),
        *_certifications(),
        *_performances(company),
        *_operations(),
        *_others(soon, past),
    )


def _basic() -> tuple[Entry, ...]:
    return (
        Entry("business-licence", "business_license", mode="SMART", push="approved"),
        Entry("legal-rep-id", "legal_rep_id_card"),
        Entry("bank-account", "bank_account", push="rejected"),
        Entry("bank-account-wrong", "bank_account", "RED", "draft"),
        Entry("commitment", "commitment_letter", "NONE", stated={"signed_on": "2026-01-05"}),
        Entry("authorisation", "legal_rep_authorisation", "NONE", stated={"kind": "法定代表人资格证明书", "valid_until": "长期"}),
        Entry("articles", "articles_of_association", "NONE"),
    )


def _qualifications(soon: str, past: str) -> tuple[Entry, ...]:
    return (
        Entry("roads", "construction_qualification", mode="SMART", push="approved"),
        Entry("design", "design_qualification", "YELLOW", push="appealed"),
        Entry("survey", "survey_qualification", "YELLOW", "supplement", push="rejected"),
        Entry("supervision", "supervision_qualification", ends="superseded"),
        Entry(
            "supervision-anew",
            "supervision_qualification",
            follows="supervision",
            stated={"level": "甲级", "category_and_level": "市政公用工程甲级"},
        ),
        Entry("cost", "cost_consulting_qualification", ends="expired", stated={"valid_until": past, "issued_on": "2023-09-01"}),
        Entry("testing", "testing_qualification", "RED", "draft"),
        Entry("consulting", "engineering_consulting_credit", "NONE", "draft"),
        Entry("permit", "qualification_permit", ends="discarded", light="RED"),
        Entry(
            "safety", "safety_production_license", stated={"valid_term": f"2023-12-20/{soon}", "issued_on": "2023-12-20"}, push="pending"
        ),
    )


def _persons() -> tuple[Entry, ...]:
    return (
        Entry("wang-id", "personal_id", mode="SMART", push="approved", person="wang"),
        Entry("wang-insurance", "personal_social_insurance", person="wang"),
        Entry("wang-title", "professional_title", person="wang"),
        Entry("wang-constructor", "registered_constructor", push="approved", person="wang"),
        Entry("wang-safety", "safety_assessment_certificate", person="wang"),
        Entry("wang-honour", "personal_honour", "YELLOW", person="wang"),
        Entry("wang-ability", "ability_evaluation", person="wang"),
        Entry("li-id", "personal_id", person="li"),
        Entry("li-supervisor", "registered_supervisor", "YELLOW", person="li"),
        Entry("li-title", "professional_title", "RED", "draft", person="li"),
        Entry("zhao-id", "personal_id", "YELLOW", person="zhao"),
        Entry("zhao-training", "site_training_certificate", person="zhao"),
        Entry("zhao-electrician", "special_operation_certificate", person="zhao"),
        Entry("zhao-crane", "construction_special_operation_certificate", person="zhao"),
        Entry("zhao-lift", "special_equipment_certificate", "YELLOW", "supplement", person="zhao"),
        Entry("chen-id", "personal_id", person="chen"),
        Entry("chen-cost-engineer", "registered_cost_engineer", person="chen"),
    )


def _certifications() -> tuple[Entry, ...]:
    return (
        Entry("quality", "quality_management", ends="superseded"),
        Entry("quality-anew", "quality_management", follows="quality", push="approved"),
        Entry("environment", "environmental_management"),
        Entry("health", "occupational_health_management", "YELLOW", push="withdrawn"),
        Entry("information-security", "information_security_management", "RED", "draft"),
        Entry("services", "information_technology_service_management", "NONE", "draft"),
        Entry("credit", "company_credit"),
        Entry(
            "award",
            "project_award",
            performance="road",
            stated={"section_name": ROAD, "awarded_on": "2024-06-01", "project_manager": "王建国"},
        ),
        Entry("honour", "honour"),
        Entry("patent", "patent", "YELLOW"),
        Entry("other", "other_material", "NONE", stated={"material_name": "企业文化手册"}),
    )


def _performances(company: str) -> tuple[Entry, ...]:
    found = []
    for one in PERFORMANCES:
        kinds = papers(one, company)
        if one.ends == "submitted":
            for kind, stated in kinds.items():
                light: Light = "YELLOW" if one.warned and kind == "completion_acceptance" else "GREEN"
                found.append(Entry(f"{one.slug}-{kind}", kind, light, stated=stated, performance=one.slug))
        elif one.ends == "draft":
            for kind, light in (("bid_award_notice", "GREEN"), ("construction_contract", "RED")):
                found.append(Entry(f"{one.slug}-{kind}", kind, light, "draft", stated=kinds[kind], performance=one.slug))
        if one.kind == "A类":
            for supports in ("中标通知书", "合同", "竣工验收报告"):
                about = {"supports": supports, "material_kind": "业主证明", "material_name": f"{supports}佐证材料"}
                found.append(Entry(f"{one.slug}-{supports}", "supporting_material", "NONE", stated=about, performance=one.slug))
            about = {"material_name": "总体说明", "description": "项目按期完成，质量合格"}
            found.append(Entry(f"{one.slug}-supplement", "overall_supplement", "NONE", stated=about, performance=one.slug))
    return tuple(found)


def _operations() -> tuple[Entry, ...]:
    def audit(year: int) -> dict[str, str]:
        return {"fiscal_year": str(year), "reported_on": f"{year + 1}-03-31", "opinion": "无保留意见"}

    def month(text: str, last: int) -> dict[str, str]:
        return {"month": text, "tax_period": f"{text}-01/{text}-{last}", "issued_on": f"{text}-{last}"}

    return (
        Entry("audit-2023", "annual_audit_report", stated=audit(2023), push="approved"),
        Entry("audit-2024", "annual_audit_report", "YELLOW", stated=audit(2024)),
        Entry("audit-2025", "annual_audit_report", "RED", "draft", stated=audit(2025)),
        Entry("tax-09", "tax_payment_certificate", stated=month("2026-09", 30)),
        Entry("tax-10", "tax_payment_certificate", "YELLOW", "supplement", stated=month("2026-10", 31)),
        Entry("insurance-09", "social_insurance_payment", stated={"month": "2026-09"}),
        Entry("insurance-10", "social_insurance_payment", ends="discarded", stated={"month": "2026-10"}),
        Entry("tax-credit-2024", "tax_credit_level", stated={"fiscal_year": "2024", "credit_level": "A"}),
        Entry("shareholder-a", "shareholder", stated={"holder": "沈阳城建投资有限公司", "ratio": "60"}),
        Entry("shareholder-b", "shareholder", stated={"holder": "王建国", "ratio": "39.5"}),
        Entry("organisation", "organisation_chart", "NONE", stated={"material_name": "组织架构图"}),
        Entry("rules-safety", "management_rules", "NONE", stated={"material_name": "安全生产管理制度"}),
        Entry("rules-quality", "management_rules", "NONE", "superseded", stated={"material_name": "质量管理制度（2024版）"}),
        Entry(
            "rules-quality-anew", "management_rules", "NONE", stated={"material_name": "质量管理制度（2026版）"}, follows="rules-quality"
        ),
        Entry("insurance-account", "social_insurance_account"),
    )


def _others(soon: str, past: str) -> tuple[Entry, ...]:
    def works(name: str) -> dict[str, str]:
        return {"section_name": name, "project_manager": "王建国", "actual_start": "2026-05-06"}

    def case(text: str) -> dict[str, str]:
        return {"description": text, "occurred_on": "2026-03-02"}

    def entry(until: str) -> dict[str, str]:
        return {"contact": "王建国", "phone": "13900000001", "valid_until": until}

    return (
        Entry("works-bridge", "ongoing_project", "NONE", stated=works("浑河南桥改造工程"), push="approved"),
        Entry("works-road", "ongoing_project", "NONE", "supplement", stated=works("沈中大街道路工程")),
        Entry("case-goods", "litigation_case", "NONE", stated=case("买卖合同纠纷"), push="appealed"),
        Entry("case-labour", "litigation_case", "NONE", "draft", stated=case("劳动争议")),
        Entry("entry-report", "outside_entry_report", "NONE", stated=entry(soon), push="pending"),
        Entry("entry-report-old", "outside_entry_report", "NONE", "expired", stated=entry(past)),
    )
