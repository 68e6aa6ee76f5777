"""A plain form for any certificate type: a title, a caption and a value a line, a round seal; and values to fill it with.

It knows the kinds of values of the catalogue, and no type: which fields there are is handed in.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from PIL import Image

from samples import ornament
from samples.facts import Company, Style, make_person, print_money
from samples.scene import Line, Picture, Scene, wrap

#: As on every sample, so that none passes for a real document.
SAMPLE_SEAL = "样例专用章"
SAMPLE_NOTE = "样例　仅供软件测试　文中单位、人员、编号均为虚构"
WIDTH, MARGIN, SIZE, LEADING = 168.0, 14.0, 4.0, 1.45
_ROW = 9.0
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643


def printed(kind: str, value: str, style: Style) -> str:
    """A normal value as the form prints it. Raises ValueError where it is none of its kind."""
    match kind:
        case "date" | "period" | "level":
            return style.print(kind, value)
        case "date_or_long":
            return value if value == "长期" else style.print("date", value)
        case "money":
            # 大写 of an amount with 角 and 分 is long and rare on forms.
            return print_money(Decimal(value), "yuan")
        case "year":
            return f"{value}年度"
        case "month":
            return f"{value[:4]}年{int(value[5:])}月"
        case "months":
            first, last = value.split("/")
            return f"{first[:4]}年{int(first[5:])}月至{last[:4]}年{int(last[5:])}月"
        case "percent":
            return f"{value}%"
        case "bool":
            return "是" if value == "true" else "否"
    return value


def draw(title: str, rows: Sequence[tuple[str, str, str]], seal: str, rng: random.Random) -> Scene:
    """The page: ``rows`` are (field, caption, printed value); it is as high as they need, and at least as a postcard."""
    captions = max((len(caption) for _, caption, _ in rows), default=4)
    at = MARGIN + min(captions, 14) * SIZE + 9
    width = WIDTH - MARGIN - at
    texts = [(field, caption, text, len(wrap(text, SIZE, width))) for field, caption, text in rows]
    needed = sum(_ROW + (lines - 1) * SIZE * LEADING for *_, lines in texts)
    height = max(110.0, 34 + needed + 50)
    scene = Scene(WIDTH, height, _ground(rng))
    size = min(8.0, (WIDTH - 2 * MARGIN) / max(len(title), 1))
    scene.centre(WIDTH / 2, 20, title, size, bold=True)
    y = 34.0
    for field, caption, text, _ in texts:
        scene.write(MARGIN, y, f"{caption}：", SIZE, family="hei", colour=(70, 70, 70))
        y = scene.value(field, at, y, text, SIZE, width, leading=LEADING)
        scene.lines.append(Line(MARGIN - 2, y + 3.0, WIDTH - MARGIN + 2, y + 3.0, 0.15, (205, 205, 205)))
        y += _ROW
    radius = 17.0
    name = seal or next((text for field, _, text in reversed(rows) if "authority" in field or field in ("issuer", "agency")), "样例单位")
    image = ornament.seal(name, SAMPLE_SEAL, radius, rng, strength=0.7)
    scene.over.append(Picture(WIDTH - MARGIN - 2 * radius, height - 2 * radius - 8, image, image.width / (2 * radius)))
    scene.centre(WIDTH / 2, height - 2.6, SAMPLE_NOTE, 2.2, family="hei", colour=(150, 150, 150))
    return scene


def _ground(rng: random.Random) -> Callable[[int, int, float], Image.Image]:
    seed = rng.getrandbits(32)

    def paint(width: int, height: int, dots: float) -> Image.Image:
        page = ornament.paper(width, height, dots, tint=(253, 253, 251), rng=random.Random(seed), pattern=None)  # noqa: S311
        ornament.border(page, dots, margin=6, band=2.5, dark=(120, 130, 150), light=(200, 206, 216), motif="plain")
        return page

    return paint


# -- values to fill a form with ----------------------------------------------------------------------------------------

_TEXTS = {
    "gender": "女",
    "ethnicity": "汉",
    "standard": "GB/T 19001-2016",
    "scope": "房屋建筑工程、市政公用工程的施工及相关管理活动",
    "scale": "26800平方米",
    "section_name": "沈阳市浑南区创新路道路改造工程施工一标段",
    "permit_name": "承装（修、试）电力设施许可证",
    "credit_name": "建筑业企业信用评价证书",
    "credit_level": "AAA",
    "honour_name": "全省建筑业先进企业",
    "ability_level": "高级",
    "speciality": "建筑工程",
    "quality_standard": "合格",
    "item": "低压电工作业",
    "title": "一种装配式建筑墙板连接结构",
    "location": "辽宁省沈阳市浑南区创新路88号",
    "certificate_name": "管理体系认证证书",
    "material_name": "说明材料",
    "holder": "沈阳城建投资有限公司",
}
_ORGS = {
    "issuing_authority": "辽宁省住房和城乡建设厅",
    "registration_authority": "沈阳市市场监督管理局",
    "tax_authority": "国家税务总局沈阳市浑南区税务局",
    "agency": "沈阳市社会保险事业服务中心",
    "auditor": "辽宁信达会计师事务所有限公司",
    "bank_branch": "中国建设银行股份有限公司沈阳浑南支行",
    "issuer": "辽宁省建筑业协会",
    "certification_body": "北京中建协认证中心有限公司",
    "tenderee": "沈阳城建投资有限公司",
    "employer": "沈阳城建投资有限公司",
    "designer": "辽宁省建筑设计研究院有限责任公司",
    "supervisor": "沈阳市工程监理咨询有限公司",
    "surveyor": "沈阳市勘察测绘研究院有限公司",
}


_CONSTRUCTION = {"qualification_name": "市政公用工程施工总承包", "level": "二级", "category_and_level": "市政公用工程施工总承包二级"}
#: Values of some types that have a form of their own, or must agree with one another; # is any digit.
_SHAPES: dict[str, dict[str, str]] = {
    "bank_account": {"account_no": "2105017############", "approval_no": "J2210#########"},
    "construction_qualification": {**_CONSTRUCTION, "certificate_no": "D221######"},
    "design_qualification": {"qualification_name": "市政行业", "level": "乙级", "category_and_level": "市政行业乙级"},
    "survey_qualification": {"qualification_name": "工程测量", "level": "乙级", "category_and_level": "工程测量乙级"},
    "supervision_qualification": {"qualification_name": "市政公用工程", "level": "乙级", "category_and_level": "市政公用工程乙级"},
    "safety_production_license": {"certificate_no": "(辽)JZ安许证字[{year}]######", "scope": "建筑施工"},
    "professional_title": {"title": "高级工程师", "level": "副高级"},
    "safety_assessment_certificate": {"category": "B", "certificate_no": "辽建安B({year})#######"},
    "special_operation_certificate": {"certificate_no": "T{id}"},
    "construction_special_operation_certificate": {"certificate_no": "辽A0{year}######"},
    "special_equipment_certificate": {"certificate_no": "{id}"},
    "environmental_management": {"standard": "GB/T 24001-2016"},
    "occupational_health_management": {"standard": "GB/T 45001-2020"},
    "construction_quality_management": {"standard": "GB/T 50430-2017"},
    "energy_management": {"standard": "GB/T 23331-2020"},
    "information_security_management": {"standard": "GB/T 22080-2016"},
    "information_technology_service_management": {"standard": "ISO/IEC 20000-1:2018"},
    "intellectual_property_management": {"standard": "GB/T 29490-2023"},
    "measurement_management": {"standard": "GB/T 19022-2003"},
    "business_continuity_management": {"standard": "GB/T 30146-2023"},
    "compliance_management": {"standard": "GB/T 35770-2022"},
    "anti_bribery_management": {"standard": "ISO 37001:2016"},
    "patent": {"patent_no": "ZL200310102344.5", "kind": "发明专利", "filed_on": "2003-02-03", "grant_no": "CN1######B"},
    "tax_payment_certificate": {"tax_period": "{first}/{last}"},
    "annual_audit_report": {"total_assets": "386200000.00", "total_liabilities": "201150000.00", "net_assets": "185050000.00"},
}


def fill(kind: Mapping[str, Any], company: Company, rng: random.Random, *, person: str = "", id_no: str = "") -> dict[str, str]:
    """Normal values of the fields of a type that must be stated or are compared: the company's own where the type names it.

    ``person`` and ``id_no`` are whose certificate it is, for a type of a person. They agree with one another as
    the type's rules ask, and are valid until 2027 or 2028.
    """
    issued = date(2024, 1, 1) + timedelta(days=rng.randrange(600))
    who, number = person or make_person(rng), id_no or make_id(rng)
    values: dict[str, str] = {}
    for field in kind["fields"]:
        if field["required"] or field["role"] != "PLAIN":
            values[field["name"]] = _value(field, company, issued, who, number, rng)
    first = issued.replace(day=1)
    known = {"id": number, "year": issued.year, "first": first, "last": (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)}
    for name, shape in _SHAPES.get(kind["code"], {}).items():
        if name in values:
            values[name] = "".join(str(rng.randrange(10)) if char == "#" else char for char in shape.format(**known))
    return values


def make_id(rng: random.Random, born: date | None = None) -> str:
    """An invented ID number with its check digit."""
    day = born or date(1970, 1, 1) + timedelta(days=rng.randrange(365 * 30))
    body = f"210102{day:%Y%m%d}{rng.randrange(1000):03}"
    return body + "10X98765432"[sum(int(d) * w for d, w in zip(body, _ID_WEIGHTS, strict=True)) % 11]


def _value(field: Mapping[str, Any], company: Company, issued: date, who: str, id_no: str, rng: random.Random) -> str:
    name, kind = field["name"], field["type"]
    if field["holder"] == "company_name" or name in ("winner", "contractor"):
        return company.name
    if field["holder"] == "uscc":
        return company.uscc
    if field["choices"]:
        return str(rng.choice(field["choices"]))
    later = issued.replace(year=issued.year + 3, day=min(issued.day, 28))
    match kind:
        case "date" | "date_or_long":
            return (later if "until" in name or "due" in name or "finish" in name else issued).isoformat()
        case "period":
            return f"{issued}/{later - timedelta(days=1)}"
        case "month":
            return f"{issued:%Y-%m}"
        case "months":
            return f"{issued.year}-01/{issued.year}-12"
        case "year":
            return str(issued.year - 1)
        case "money":
            return f"{rng.randrange(500, 90000) * 1000}.00"
        case "percent":
            return str(rng.choice((5, 10, 15)))
        case "int":
            return str(rng.randrange(60, 720))
        case "bool":
            return "false"
        case "person":
            return who
        case "people":
            return f"{make_person(rng)}、{make_person(rng)}"
        case "id18":
            return id_no
        case "uscc":
            return company.uscc
        case "phone":
            return f"139{rng.randrange(10**8):08}"
        case "org":
            return _ORGS.get(name, "沈阳城建投资有限公司")
        case "certno":
            return f"LN{issued.year}{rng.randrange(10**6):06}"
        case "level":
            return "一级"
    return _TEXTS.get(name, "见附件材料" if kind == "long" else "样例资料")
