"""Pairing captions and values, on pages made of lines with places: no picture, no engine."""

from __future__ import annotations

import math

import pytest

import catalogue
from services.ocr.engines import imaging
from services.ocr.extraction import Extracted, PageLines, extract, lines_of_characters
from services.ocr.ports import Box, Character, Line

ASPECT = 1.4  # a landscape page
SIZE = 0.025  # page heights of a character


def line(text: str, x: float, y: float, *, size: float = SIZE, confidence: float = 0.99, tilt: float = 0.0) -> Line:
    """Text from (x, y), in page heights; a space is as wide as a character; ``tilt`` is the line's slope."""
    characters = []
    for number, char in enumerate(text):
        if char == " ":
            continue
        left, middle = x + number * size, y + number * size * tilt
        box = (left / ASPECT, middle - 0.6 * size, (left + 0.92 * size) / ASPECT, middle + 0.6 * size)
        characters.append(Character(char, confidence, box))
    boxes = [c.box for c in characters]
    whole = (min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes))
    return Line(text.replace(" ", ""), confidence, whole, tuple(characters))


def found(type_code: str, *lines: Line) -> dict[str, Extracted]:
    page = PageLines(1, ASPECT, lines)
    return {e.field: e for e in extract(catalogue.load().type(type_code), [page])}


def licence(*lines: Line) -> dict[str, str]:
    return {name: e.value for name, e in found("business_license", *lines).items()}


def qualification(*lines: Line) -> dict[str, str]:
    return {name: e.value for name, e in found("construction_qualification", *lines).items()}


def test_a_value_stands_right_of_its_caption() -> None:
    assert licence(line("法定代表人  张三丰", 0.1, 0.3)) == {"legal_rep_name": "张三丰"}


def test_a_colon_parts_caption_and_value() -> None:
    assert licence(line("法定代表人：张三丰", 0.1, 0.3)) == {"legal_rep_name": "张三丰"}


def test_a_spread_caption_may_run_into_its_value() -> None:
    assert licence(line("名    称辽宁云库建设有限公司", 0.1, 0.3)) == {"company_name": "辽宁云库建设有限公司"}


def test_a_caption_read_in_pieces_is_one() -> None:
    assert licence(line("成", 0.1, 0.3), line("立", 0.14, 0.3), line("日", 0.18, 0.3), line("期 2015年3月8日", 0.22, 0.3)) == {
        "established_on": "2015-03-08"
    }


def test_two_columns_keep_their_values() -> None:
    values = licence(
        line("名    称  辽宁云库建设有限公司", 0.1, 0.3),
        line("注册资本  伍仟万元整", 0.8, 0.3),
        line("法定代表人  张三丰", 0.1, 0.36),
        line("成立日期  2015年3月8日", 0.8, 0.36),
    )
    assert values == {
        "company_name": "辽宁云库建设有限公司",
        "registered_capital": "50000000.00",
        "legal_rep_name": "张三丰",
        "established_on": "2015-03-08",
    }


def test_a_long_value_goes_on_in_the_lines_below_in_its_column() -> None:
    values = licence(
        line("经营范围  建筑工程施工；建筑材料销售；", 0.1, 0.4),
        line("园林绿化工程施工；", 0.1 + 6 * SIZE, 0.43),
        line("住    所  辽宁省沈阳市浑南区创新", 0.8, 0.4),
        line("路155号", 0.8 + 7 * SIZE, 0.43),
        line("登记机关  沈阳市市场监督管理局", 0.8, 0.6),
    )
    assert values["business_scope"] == "建筑工程施工；建筑材料销售；园林绿化工程施工"
    assert values["address"] == "辽宁省沈阳市浑南区创新路155号"
    assert values["registration_authority"] == "沈阳市市场监督管理局"


def test_a_name_does_not_take_in_what_stands_far_below_or_is_a_date() -> None:
    values = licence(line("登记机关  沈阳市市场监督管理局", 0.6, 0.7), line("2022年08月24日", 0.6 + 6 * SIZE, 0.74))
    assert values == {"registration_authority": "沈阳市市场监督管理局", "issued_on": "2022-08-24"}


def test_a_value_may_stand_below_its_caption_though_something_stands_right_of_it() -> None:
    values = licence(
        line("统一社会信用代码", 0.1, 0.2), line("扫描二维码", 1.2, 0.2, size=0.015), line("91110108MA01EBFH9B", 0.1, 0.245)
    )
    assert values == {"uscc": "91110108MA01EBFH9B"}


def test_one_misread_letter_of_a_long_caption_is_forgiven() -> None:
    assert licence(line("法定代表入：张三丰", 0.1, 0.3)) == {"legal_rep_name": "张三丰"}
    assert licence(line("统—社会信用代码：91110108MA01EBFH9B", 0.1, 0.3)) == {"uscc": "91110108MA01EBFH9B"}


def test_a_table_gives_values_under_its_headings_and_the_first_row_counts() -> None:
    values = qualification(
        line("资质类别及等级：", 0.1, 0.4),
        line("资质名称", 0.25, 0.45),
        line("等级", 0.6, 0.45),
        line("有效期至", 0.85, 0.45),
        line("建筑工程施工总承包", 0.2, 0.5),
        line("壹级", 0.6, 0.5),
        line("2029年12月6日", 0.8, 0.5),
        line("市政公用工程施工总承包", 0.2, 0.55),
        line("贰级", 0.6, 0.55),
        line("2030年12月6日", 0.8, 0.55),
    )
    assert values["qualification_name"] == "建筑工程施工总承包"
    assert values["level"] == "一级"
    assert values["valid_until"] == "2029-12-06"
    assert values["category_and_level"] == "建筑工程施工总承包壹级"


def test_parts_are_cut_out_of_the_whole() -> None:
    whole = line("资质类别及等级：建筑工程施工总承包壹级；", 0.1, 0.4)
    values = found("construction_qualification", whole)
    assert values["qualification_name"].value == "建筑工程施工总承包"
    assert values["level"].value == "一级"
    assert values["level"].box[0] > values["qualification_name"].box[0]
    assert values["level"].box[2] <= values["category_and_level"].box[2] + 1e-9


def test_fields_without_a_caption_are_found_by_their_form() -> None:
    values = licence(line("（副 本） （1-1）", 0.6, 0.2), line("91110108MA01EBFH9B", 0.1, 0.25), line("2020年1月2日", 0.9, 0.9))
    assert values == {"uscc": "91110108MA01EBFH9B", "copy_no": "1-1", "issued_on": "2020-01-02"}


def test_a_value_whose_caption_was_overlooked_is_known_by_its_choices() -> None:
    values = licence(
        line("名    称  辽宁云库建设有限公司", 0.1, 0.3), line("有限责任公司（自然人独资）", 0.1 + 8 * SIZE, 0.36)
    )
    assert values == {"company_name": "辽宁云库建设有限公司", "company_type": "有限责任公司（自然人独资）"}


def test_a_watermark_across_the_page_is_left_out() -> None:
    values = licence(line("法定代表人：张三丰", 0.1, 0.3), line("仅供投标使用", 0.2, 0.28, tilt=-0.5))
    assert values == {"legal_rep_name": "张三丰"}


def test_a_watermarks_end_does_not_lengthen_a_company_or_a_number() -> None:
    assert licence(line("名称：辽宁云库建设有限公司使用", 0.1, 0.3)) == {"company_name": "辽宁云库建设有限公司"}
    assert qualification(line("证书编号：D221122149使用", 0.1, 0.3)) == {"certificate_no": "D221122149"}


@pytest.mark.parametrize("degrees", [-2.5, 2.5])
def test_a_skew_scan_pairs_as_an_upright_one(degrees: float) -> None:
    slope = math.tan(math.radians(degrees))

    def skew(text: str, x: float, y: float) -> Line:
        return line(text, x, y + x * slope, tilt=slope)

    values = licence(
        skew("名    称  辽宁云库建设有限公司", 0.1, 0.3),
        skew("注册资本  伍仟万元整", 0.9, 0.3),
        skew("法定代表人  张三丰", 0.1, 0.36),
        skew("成立日期  2015年3月8日", 0.9, 0.36),
    )
    assert values["registered_capital"] == "50000000.00"
    assert values["established_on"] == "2015-03-08"
    assert values["company_name"] == "辽宁云库建设有限公司"


def test_a_value_that_its_type_refuses_is_kept_as_seen_with_less_confidence() -> None:
    (capital,) = found("business_license", line("注册资本：伍什万元整", 0.1, 0.3)).values()
    assert capital.value == "伍什万元整"
    assert capital.confidence <= 0.5


def test_an_empty_page_has_no_fields() -> None:
    assert found("business_license") == {}


def test_boxes_are_those_of_the_value_alone() -> None:
    (name,) = found("business_license", line("法定代表人：张三丰", 0.1, 0.3)).values()
    assert name.box[0] == pytest.approx((0.1 + 6 * SIZE) / ASPECT)
    assert name.page == 1


def test_a_page_on_its_side_gives_boxes_on_the_page_as_it_lies() -> None:
    upright = line("法定代表人：张三丰", 0.1, 0.3)
    # the page was laid on its side clockwise; one quarter counter-clockwise makes it readable
    laid = tuple(
        Character(c.text, c.confidence, imaging.unrotate_box(c.box, 1)) for c in upright.characters
    )
    page = PageLines(1, 1 / ASPECT, (Line(upright.text, 0.99, imaging.unrotate_box(upright.box, 1), laid),))
    (name,) = extract(catalogue.load().type("business_license"), [page], [1])
    assert name.value == "张三丰"
    back = imaging.unrotate_box(name.box, 3)
    assert back == pytest.approx(found("business_license", upright)["legal_rep_name"].box)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_turning_a_box_there_and_back_changes_nothing(turns: int) -> None:
    box = (0.1, 0.2, 0.3, 0.25)
    assert imaging.unrotate_box(imaging.unrotate_box(box, turns), 4 - turns) == pytest.approx(box)


def test_characters_of_a_text_layer_become_lines_cut_at_wide_gaps() -> None:
    def place(text: str, x: float, y: float) -> list[tuple[str, Box]]:
        return [(c.text, c.box) for c in line(text, x, y).characters]

    characters = place("注册资本", 0.8, 0.3) + place("名称", 0.1, 0.3) + place("类型", 0.1, 0.35)
    lines = lines_of_characters(characters, ASPECT)
    assert [one.text for one in lines] == ["名称", "注册资本", "类型"]
