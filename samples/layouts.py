"""The prints of each certificate type, as scenes.

A layout places labels and values as the real print does and says which optional fields it carries: the newer business
licence has no 营业期限, the older names its office by the seal alone. `LAYOUTS` lists them by type.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

from PIL import Image

from samples import ornament
from samples.facts import CertificateType, Style
from samples.fonts import Family
from samples.scene import Colour, Line, Picture, Scene

GOLD: Colour = (176, 132, 48)
PALE_GOLD: Colour = (222, 192, 120)
BLUE: Colour = (58, 92, 150)
PALE_BLUE: Colour = (190, 206, 228)
GREEN: Colour = (60, 120, 84)
PALE_GREEN: Colour = (184, 214, 190)
GREY: Colour = (70, 70, 70)
#: Stands in the seal and at the foot of every page, so that no sample passes for a real document.
SAMPLE_SEAL = "样例专用章"
SAMPLE_NOTE = "样例　仅供软件测试　文中单位、人员、编号均为虚构"


@dataclass(frozen=True)
class Sheet:
    """What a layout is given: printed values by field, the style they are printed in, and its own randomness."""

    printed: dict[str, str]
    qualifications: tuple[str, ...]
    style: Style
    rng: random.Random
    #: how much seals, watermarks and print faults disturb the values: 0 none over values, 1 the worst
    disturbance: float = 0.0


@dataclass(frozen=True)
class Layout:
    """One print of a certificate type."""

    name: str
    title: str
    #: the fields it doesn't carry
    absent: frozenset[str]
    draw: Callable[[Sheet], Scene]
    #: the years in which it was printed: certificates of this layout are issued from the first to the second day
    printed_from: date = date(2019, 3, 1)
    printed_until: date = date(2026, 10, 30)


def _ground(
    rng: random.Random,
    tint: Colour,
    pattern: Colour | None,
    dark: Colour,
    light: Colour,
    margin: float,
    band: float,
    motif: str,
) -> Callable[[int, int, float], Image.Image]:
    seed = rng.getrandbits(32)

    def paint(width: int, height: int, dots: float) -> Image.Image:
        page = ornament.paper(width, height, dots, tint=tint, rng=random.Random(seed), pattern=pattern)  # noqa: S311
        if motif != "none":
            ornament.border(page, dots, margin=margin, band=band, dark=dark, light=light, motif=motif)
        return page

    return paint


def _stamp(scene: Scene, sheet: Sheet, name: str, x: float, y: float, radius: float) -> None:
    """The authority's seal around (x, y); with disturbance a second one lies over a value, as careless clerks do."""
    image = ornament.seal(name, SAMPLE_SEAL, radius, sheet.rng, strength=0.62 + 0.2 * sheet.rng.random())
    scene.over.append(Picture(x - radius, y - radius, image, image.width / (2 * radius)))
    if sheet.disturbance > 0.5:
        boxes = [box for field, found in scene.value_boxes().items() for box in found if field not in ("business_scope", "address")]
        left, top, right, bottom = sheet.rng.choice(boxes)
        across = ornament.seal(sheet.printed["company_name"], "合同专用章", 19, sheet.rng, strength=0.45 * sheet.disturbance)
        cx = sheet.rng.uniform(left, right)
        scene.over.append(Picture(cx - 19, (top + bottom) / 2 - 19 + sheet.rng.uniform(-8, 8), across, across.width / 38))
        scene.over.append(ornament.watermark(scene.width, scene.height, "仅供投标使用", sheet.rng, strength=0.3 * sheet.disturbance))


def _foot(scene: Scene) -> None:
    scene.centre(scene.width / 2, scene.height - 2.6, SAMPLE_NOTE, 2.2, family="hei", colour=(150, 150, 150))


def _code(scene: Scene, sheet: Sheet, x: float, y: float, side: float) -> None:
    block = ornament.code_block(f"YUNKU SAMPLE {sheet.printed.get('uscc', '')}", side)
    scene.over.append(replace(block, x=x, y=y))


def _emblem(scene: Scene, x: float, y: float, diameter: float) -> None:
    image = ornament.emblem(diameter, 12)
    scene.over.append(Picture(x - diameter / 2, y, image, image.width / diameter))


def _row(
    scene: Scene,
    sheet: Sheet,
    field: str,
    label: str,
    x: float,
    y: float,
    at: float,
    width: float,
    size: float,
    families: tuple[Family, Family],
    leading: float = 1.4,
) -> float:
    """A label at x and its value at ``at``; returns the last line's baseline. An absent value prints nothing."""
    text = sheet.printed.get(field)
    if text is None:
        return y
    _label(scene, x, y, label, size, families[0])
    return scene.value(field, at, y, text, size, width, leading=leading, family=families[1])


def _label(scene: Scene, x: float, y: float, label: str, size: float, family: Family = "song") -> None:
    """A label; one written with spaces (名　称) is spread over the width of five characters, as forms do."""
    colour = (60, 46, 30) if family == "song" else GREY
    text, colon = label.rstrip("："), "：" if label.endswith("：") else ""
    letters = "".join(text.split())
    if letters == text or len(letters) > 5:
        scene.write(x, y, letters + colon, size, family=family, colour=colour)
        return
    spacing = (5 - len(letters)) * size / (len(letters) - 1)
    run = scene.write(x, y, letters, size, family=family, colour=colour, spacing=spacing)
    if colon:
        scene.write(x + run.width, y, colon, size, family=family, colour=colour)


# ---------------------------------------------------------------- 营业执照


def _licence_landscape(sheet: Sheet, *, copy: bool, electronic: bool = False) -> Scene:
    """The print of March 2019: landscape, two columns, code at the left of the emblem, QR code at the right."""
    rng, printed = sheet.rng, sheet.printed
    motif = "plain" if electronic else "scroll"
    scene = Scene(297, 210, _ground(rng, (253, 250, 240), (243, 232, 205), GOLD, PALE_GOLD, 7, 8, motif))
    _emblem(scene, 148.5, 20, 27)
    scene.write(112, 66, "营业执照", 15, bold=True, spacing=4.6)
    if copy:
        scene.centre(148.5, 76.5, "（副　本）" if electronic else "（副 本）", 6)
    if "copy_no" in printed:
        scene.write(167, 76.5, "（", 5)
        scene.value("copy_no", 173, 76.5, printed["copy_no"], 5, 30)
        scene.write(182.5, 76.5, "）", 5)
    code_face: Family = rng.choice(("hei", "song"))
    scene.write(26, 46, "统一社会信用代码", 4.2, family="hei")
    scene.value("uscc", 26, 53.5, printed["uscc"], 5.2, 90, family=code_face)
    _code(scene, sheet, 229, 28, 25)
    for index, line in enumerate(("扫描二维码登录“国家", "企业信用信息公示系", "统”了解更多登记、备", "案、许可、监管信息。")):
        scene.write(255.5, 34 + index * 4.2, line, 2.3, family="hei", colour=GREY)

    size = rng.choice((4.3, 4.5, 4.6))
    families: tuple[Family, Family] = ("song", rng.choice(("song", "hei", "kai")))
    left, left_at, right, right_at = 26, 53, 161, 190
    y = 92.0
    for field, label in (
        ("company_name", "名　　　　称"),
        ("company_type", "类　　　　型"),
        ("legal_rep_name", "法定代表人"),
        ("business_scope", "经 营 范 围"),
    ):
        narrow = size * 0.94 if field == "business_scope" else size
        if field == "business_scope":
            _label(scene, left, y, label, size)
            scene.value(field, left_at, y, printed[field], narrow * 0.92, 100, leading=1.35, family=families[1])
        else:
            y = _row(scene, sheet, field, label, left, y, left_at, 100, narrow, families, 1.25) + 11.5
    y = 92.0
    for field, label in (
        ("registered_capital", "注 册 资 本"),
        ("established_on", "成 立 日 期"),
        ("business_term", "营 业 期 限"),
        ("address", "住　　　所"),
    ):
        if field in printed:
            y = _row(scene, sheet, field, label, right, y, right_at, 82, size, families, 1.25) + 11.5
    scene.write(178, 157, "登 记 机 关", 5.2)
    if "registration_authority" in printed and not _seal_only(sheet):
        scene.value("registration_authority", 209, 157, printed["registration_authority"], 4.4, 66, family=families[1], fit=True)
    scene.value("issued_on", 205, 176, printed["issued_on"], 5.0, 70)
    name = sheet.printed["registration_authority"]
    _stamp(scene, sheet, name, 232, 165, 19)
    if _seal_only(sheet):
        scene.drawn_values["registration_authority"] = (232 - 19, 165 - 19, 232 + 19, 165 + 19)
    scene.write(19, 185, "国家企业信用信息公示系统网址：http://www.gsxt.gov.cn", 2.6, colour=GREY)
    scene.centre(96, 190.5, "市场主体应当于每年1月1日至6月30日通过国家企业信用信息公示系统报送公示年度报告", 2.5, colour=GREY)
    scene.write(226, 191.5, "国家市场监督管理总局监制", 3.2, colour=GREY)
    if electronic:
        scene.over.append(ornament.watermark(297, 210, "电子营业执照", rng, strength=0.1))
    _foot(scene)
    return scene


def _seal_only(sheet: Sheet) -> bool:
    """Whether the office stands in the seal alone: `generate` leaves out the straight print for such layouts."""
    return sheet.printed.get("_seal_only") == "1"


def _licence_portrait(sheet: Sheet) -> Scene:
    """The duplicate of 2015 to 2019 (三证合一): portrait, one column, with 营业期限."""
    rng, printed = sheet.rng, sheet.printed
    scene = Scene(210, 297, _ground(rng, (252, 247, 236), (244, 226, 205), (168, 92, 52), (224, 176, 128), 8, 8.5, "scroll"))
    _emblem(scene, 105, 24, 31)
    scene.write(66, 80, "营业执照", 15, bold=True, spacing=6)
    scene.centre(105, 92, "（副　本）", 6.4)
    scene.write(132, 92, "副本编号：", 3.8)
    scene.value("copy_no", 151, 92, printed["copy_no"], 3.8, 30, family="song")
    scene.write(52, 104, "统一社会信用代码", 4.6)
    scene.value("uscc", 92, 104, printed["uscc"], 5.0, 90, family=rng.choice(("hei", "song")))
    size = rng.choice((4.5, 4.7, 4.8))
    families: tuple[Family, Family] = ("song", rng.choice(("kai", "song", "kai")))
    y = 119.0
    for field, label in (
        ("company_name", "名　　　　称"),
        ("company_type", "类　　　　型"),
        ("address", "住　　　　所"),
        ("legal_rep_name", "法定代表人"),
        ("registered_capital", "注 册 资 本"),
        ("established_on", "成 立 日 期"),
        ("business_term", "营 业 期 限"),
        ("business_scope", "经 营 范 围"),
    ):
        last = _row(scene, sheet, field, label, 28, y, 60, 122, size, families, 1.3)
        y = last + 10.6
    scene.write(104, 247, "登 记 机 关", 5)
    if not _seal_only(sheet):
        scene.value("registration_authority", 134, 247, printed["registration_authority"], 4.4, 55, family=families[1], fit=True)
    scene.value("issued_on", 128, 264, printed["issued_on"], 5, 60)
    _stamp(scene, sheet, printed["registration_authority"], 152, 253, 19)
    if _seal_only(sheet):
        scene.drawn_values["registration_authority"] = (133, 234, 171, 272)
    scene.write(22, 269, "企业信用信息公示系统网址：", 2.6, colour=GREY)
    scene.write(22, 273, "http://www.gsxt.gov.cn", 2.6, colour=GREY)
    scene.centre(105, 278.5, "中华人民共和国国家工商行政管理总局监制", 3.1, colour=GREY)
    _foot(scene)
    return scene


# ---------------------------------------------------------------- 建筑业企业资质证书


def _qualification_lines(scene: Scene, sheet: Sheet, x: float, y: float, width: float, size: float, family: Family) -> float:
    """资质类别及等级: one qualification a line; the first shows 资质名称 and 等级 as parts of it."""
    name, level = sheet.printed["qualification_name"], sheet.printed["level"]
    for index, line in enumerate(sheet.qualifications):
        last = index == len(sheet.qualifications) - 1
        parts = ((0, len(name), "qualification_name"), (len(name), len(name + level), "level")) if index == 0 else ()
        y = scene.value("category_and_level", x, y, line + ("" if last else "；"), size, width, parts=parts, family=family) + size * 1.5
    return y - size * 1.5


def _qualification_original(sheet: Sheet) -> Scene:
    """The older original (正本): landscape, framed, flowing rows."""
    rng, printed = sheet.rng, sheet.printed
    scene = Scene(297, 210, _ground(rng, (251, 249, 240), (236, 226, 198), GREEN, PALE_GREEN, 8, 9, rng.choice(("key", "scroll"))))
    _emblem(scene, 148.5, 22, 22)
    scene.centre(148.5, 60, "建筑业企业资质证书", 12, bold=True, spacing=1.6)
    scene.centre(148.5, 69.5, "（正　本）", 5)
    size = rng.choice((4.6, 4.8, 5.0))
    families: tuple[Family, Family] = ("song", rng.choice(("kai", "song")))
    y = 84.0
    for field, label in (
        ("company_name", "企 业 名 称："),
        ("address", "详 细 地 址："),
        ("uscc", "统一社会信用代码："),
        ("legal_rep_name", "法定代表人："),
    ):
        at = 78 if field == "uscc" else 66
        y = _row(scene, sheet, field, label, 34, y, at, 190, size, families) + 10
    _row(scene, sheet, "registered_capital", "注 册 资 本：", 150, y - 10, 182, 85, size, families)
    _row(scene, sheet, "certificate_no", "证 书 编 号：", 34, y, 66, 80, size, families)
    _row(scene, sheet, "valid_until", "有 效 期 至：", 150, y, 182, 80, size, families)
    y += 10
    scene.write(34, y, "资质类别及等级：", size, colour=(60, 46, 30))
    _qualification_lines(scene, sheet, 74, y, 160, size, families[1])
    scene.write(176, 163, "发证机关：", 4.8)
    scene.value("issuing_authority", 199, 163, printed["issuing_authority"], 4.8, 76, family=families[1], fit=True)
    scene.write(176, 175, "发证日期：", 4.8)
    scene.value("issued_on", 199, 175, printed["issued_on"], 4.8, 70, family=families[1])
    _stamp(scene, sheet, printed["issuing_authority"], 232, 166, 19)
    scene.centre(100, 187, "中华人民共和国住房和城乡建设部制", 3.4, colour=GREY)
    _foot(scene)
    return scene


def _qualification_copy(sheet: Sheet) -> Scene:
    """The older duplicate (副本): a portrait page of ruled cells."""
    rng, printed = sheet.rng, sheet.printed
    scene = Scene(210, 297, _ground(rng, (250, 250, 246), (226, 234, 226), GREEN, PALE_GREEN, 9, 4, "plain"))
    scene.centre(105, 40, "建筑业企业资质证书", 10.5, bold=True, spacing=1.2)
    scene.centre(105, 51, "（副　本）", 5)
    size = rng.choice((4.2, 4.4, 4.5))
    value_face: Family = rng.choice(("song", "kai", "hei"))
    left, middle, right, y = 24.0, 66.0, 186.0, 62.0
    rows = [
        ("company_name", "企 业 名 称"),
        ("address", "详 细 地 址"),
        ("uscc", "统一社会信用代码"),
        ("legal_rep_name", "法 定 代 表 人"),
        ("registered_capital", "注 册 资 本"),
        ("certificate_no", "证 书 编 号"),
        ("valid_until", "有 效 期 至"),
        ("category_and_level", "资质类别及等级"),
    ]
    top = y
    for field, label in rows:
        scene.lines.append(Line(left, y, right, y))
        base = y + 9.2
        scene.centre((left + middle) / 2, base, label, size)
        if field == "category_and_level":
            last = _qualification_lines(scene, sheet, middle + 5, base, right - middle - 9, size, value_face)
            y = max(last + 7, y + 46)
        else:
            last = scene.value(field, middle + 5, base, printed[field], size, right - middle - 9, leading=1.3, family=value_face)
            y = last + 5.6
    for line in ((left, y, right, y), (left, top, left, y), (middle, top, middle, y), (right, top, right, y)):
        scene.lines.append(Line(*line))
    y = max(y + 26, 232)
    scene.write(96, y, "发证机关：", 4.6)
    scene.value("issuing_authority", 118, y, printed["issuing_authority"], 4.6, 70, family=value_face, fit=True)
    scene.write(96, y + 11, "发证日期：", 4.6)
    scene.value("issued_on", 118, y + 11, printed["issued_on"], 4.6, 60, family=value_face)
    _stamp(scene, sheet, printed["issuing_authority"], 148, y + 3, 19)
    scene.centre(105, 280, "中华人民共和国住房和城乡建设部制", 3.2, colour=GREY)
    _foot(scene)
    return scene


def _qualification_electronic(sheet: Sheet) -> Scene:
    """The electronic certificate (landscape): number at the top, two columns, QR code, query address at the foot."""
    rng, printed = sheet.rng, sheet.printed
    scene = Scene(297, 210, _ground(rng, (250, 252, 255), (222, 232, 246), BLUE, PALE_BLUE, 8, 5, "plain"))
    scene.centre(148.5, 42, "建筑业企业资质证书", 12, family="song", bold=True, spacing=1.4)
    scene.centre(148.5, 53, "（电子证照）", 4.6)
    size = rng.choice((4.5, 4.7))
    families: tuple[Family, Family] = ("hei", rng.choice(("hei", "song")))
    _row(scene, sheet, "certificate_no", "证书编号：", 28, 66, 52, 70, size, families)
    _code(scene, sheet, 241, 24, 28)
    y = 79.0
    y = _row(scene, sheet, "company_name", "企业名称：", 28, y, 69, 190, size, families) + 10
    y = _row(scene, sheet, "uscc", "统一社会信用代码：", 28, y, 69, 90, size, families) + 10
    y = _row(scene, sheet, "legal_rep_name", "法定代表人：", 28, y, 69, 60, size, families) + 10
    y = _row(scene, sheet, "registered_capital", "注册资本：", 28, y, 69, 80, size, families) + 10
    y = _row(scene, sheet, "address", "注册地址：", 28, y, 69, 195, size, families, 1.3) + 10
    y = _row(scene, sheet, "valid_until", "有效期至：", 28, y, 69, 90, size, families) + 10
    scene.write(28, y, "资质类别及等级：", size, family="hei", colour=GREY)
    _qualification_lines(scene, sheet, 69, y, 110, size, families[1])
    scene.write(182, 166, "发证机关：", 4.4, family="hei", colour=GREY)
    scene.value("issuing_authority", 204, 166, printed["issuing_authority"], 4.4, 72, family=families[1], fit=True)
    scene.write(182, 176, "发证日期：", 4.4, family="hei", colour=GREY)
    scene.value("issued_on", 204, 176, printed["issued_on"], 4.4, 60, family=families[1])
    _stamp(scene, sheet, printed["issuing_authority"], 236, 168, 18)
    scene.write(24, 194, "全国建筑市场监管公共服务平台查询网址：http://jzsc.mohurd.gov.cn", 2.8, family="hei", colour=GREY)
    _foot(scene)
    return scene


def _qualification_table(sheet: Sheet) -> Scene:
    """The electronic duplicate (portrait) whose table gives 资质名称, 等级 and 有效期 in columns of their own."""
    rng, printed = sheet.rng, sheet.printed
    scene = Scene(210, 297, _ground(rng, (253, 251, 244), (240, 230, 206), GOLD, PALE_GOLD, 8, 6, "key"))
    _emblem(scene, 105, 22, 22)
    scene.centre(105, 60, "建筑业企业资质证书", 10.5, bold=True, spacing=1.2)
    scene.centre(105, 70, "（副　本）", 4.8)
    size = rng.choice((4.2, 4.4))
    families: tuple[Family, Family] = ("song", rng.choice(("song", "hei", "kai")))
    y = 84.0
    for field, label in (
        ("certificate_no", "证书编号："),
        ("company_name", "单位名称："),
        ("uscc", "统一社会信用代码："),
        ("legal_rep_name", "法定代表人："),
        ("registered_capital", "注册资本："),
        ("address", "注册地址："),
    ):
        y = _row(scene, sheet, field, label, 26, y, 65, 120, size, families, 1.3) + 9.2
    scene.write(26, y, "资质类别及等级：", size, colour=(60, 46, 30))
    y += 7
    columns = (26.0, 106.0, 134.0, 184.0)
    top = y
    for index, header in enumerate(("资质名称", "等级", "有效期至")):
        scene.centre((columns[index] + columns[index + 1]) / 2, y + 6.6, header, size, family="hei")
    scene.lines.append(Line(columns[0], y, columns[-1], y))
    y += 10
    names = [line[: len(line) - len(_level_of(line))] for line in sheet.qualifications]
    for index, line in enumerate(sheet.qualifications):
        scene.lines.append(Line(columns[0], y, columns[-1], y))
        base = y + 6.8
        level, name = _level_of(line), names[index]
        # The rows are the company's qualifications; the entry that this sample stands for is the first row alone.
        marks = ("category_and_level", "qualification_name") if index == 0 else ()
        scene.write(columns[0] + 3, base, name, size, family=families[1], marks=tuple((0, len(name), mark) for mark in marks))
        run_marks = ("category_and_level", "level") if index == 0 else ()
        scene.write(
            columns[1] + 6,
            base,
            level,
            size,
            family=families[1],
            marks=tuple((0, len(level), mark) for mark in run_marks),
        )
        date_marks = ((0, len(printed["valid_until"]), "valid_until"),) if index == 0 else ()
        scene.write(columns[2] + 4, base, printed["valid_until"], size * 0.92, family=families[1], marks=date_marks)
        y += 10
    scene.lines.append(Line(columns[0], y, columns[-1], y))
    scene.lines.extend(Line(x, top, x, y) for x in columns)
    scene.write(98, 252, "发证机关：", 4.5)
    scene.value("issuing_authority", 120, 252, printed["issuing_authority"], 4.5, 66, family=families[1], fit=True)
    scene.write(98, 263, "发证日期：", 4.5)
    scene.value("issued_on", 120, 263, printed["issued_on"], 4.5, 60, family=families[1])
    _code(scene, sheet, 30, 238, 28)
    _stamp(scene, sheet, printed["issuing_authority"], 150, 255, 18)
    scene.centre(105, 277, "请扫描二维码核验证书信息", 3, family="hei", colour=GREY)
    _foot(scene)
    return scene


def _level_of(line: str) -> str:
    """The level at the end of a printed qualification (级 and the character before it, or 不分等级)."""
    return "不分等级" if line.endswith("不分等级") else line[-2:]


_PLAIN_LICENCE = frozenset({"business_term", "copy_no"})

LAYOUTS: dict[CertificateType, tuple[Layout, ...]] = {
    "business_license": (
        Layout(
            "landscape_copy",
            "横版副本（2019）",
            frozenset({"business_term"}),
            lambda sheet: _licence_landscape(sheet, copy=True),
        ),
        Layout(
            "landscape_original",
            "横版正本（2019）",
            _PLAIN_LICENCE,
            lambda sheet: _licence_landscape(sheet, copy=False),
        ),
        Layout("portrait_copy", "竖版副本（2015）", frozenset(), _licence_portrait, date(2015, 10, 8), date(2019, 2, 28)),
        Layout(
            "electronic",
            "电子营业执照",
            frozenset(),
            lambda sheet: _licence_landscape(sheet, copy=True, electronic=True),
        ),
    ),
    "construction_qualification": (
        Layout("electronic", "电子证照", frozenset(), _qualification_electronic),
        Layout("original", "正本", frozenset(), _qualification_original),
        Layout("copy", "副本", frozenset(), _qualification_copy),
        Layout("table", "副本（列表）", frozenset(), _qualification_table),
    ),
}
#: Layouts whose 资质类别及等级 is one row of a table: the first qualification alone, not the list of all.
ONE_ROW = frozenset({("construction_qualification", "table")})
#: Layouts that name the registration authority in the seal alone.
SEAL_ONLY = frozenset({("business_license", "landscape_original")})
