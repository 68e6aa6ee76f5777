"""Typed values: what is the same value however it is written, and what never is."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernel import values
from kernel.values import PLAIN, BadValue, Spec
from kernel.values.codes import USCC_ALPHABET, id_check_digit, org_check_digit, uscc_check_digit
from kernel.values.numerals import count_of, money_words

# -- strategies ----------------------------------------------------------------------------------------------------

dates = st.dates(date(1900, 1, 1), date(2199, 12, 31)).map(date.isoformat)
fen = st.integers(min_value=1, max_value=10**15)
hanzi = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=2, max_size=12)


@st.composite
def usccs(draw: st.DrawFn) -> str:
    head = draw(st.sampled_from(["91", "92", "12", "52", "93"])) + draw(st.from_regex(r"[0-9]{6}", fullmatch=True))
    body = "".join(draw(st.lists(st.sampled_from(USCC_ALPHABET), min_size=8, max_size=8)))
    code = head + body + org_check_digit(body)
    return code + uscc_check_digit(code)


def code_of(kind: str, text: str, spec: Spec = PLAIN) -> str:
    """The problem that reading ``text`` as a print gives."""
    with pytest.raises(BadValue) as problem:
        values.read(kind, text, spec)
    return problem.value.code


# -- codes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["91350100M000100Y43", "91110000101623741K", "911101066976941872", "91110108MA01EBFH9B"])
def test_real_company_codes_pass_both_check_digits(code: str) -> None:
    assert values.parse("uscc", f" {code.lower()} ") == code
    assert values.checks("uscc", code) == ()


def test_a_real_code_whose_outer_digit_fails_is_a_value_with_a_finding() -> None:
    assert values.parse("uscc", "91350211M0000XUF46") == "91350211M0000XUF46"
    assert [f.code for f in values.checks("uscc", "91350211M0000XUF46")] == ["uscc.check_digit"]


def test_a_sum_that_is_a_multiple_of_31_gives_digit_zero() -> None:
    zeros = [code for n in range(200) if (code := f"9111010800000{n:04d}") and uscc_check_digit(code) == "0"]
    assert zeros, "the trap must be exercised"
    assert all(values.checks("uscc", code + "0")[:1] != (values.Finding("uscc.check_digit"),) for code in zeros)


@given(usccs(), st.integers(0, 16), st.sampled_from(USCC_ALPHABET))
def test_any_single_wrong_character_fails_the_outer_check_digit(code: str, position: int, char: str) -> None:
    assert values.checks("uscc", code) == ()
    wrong = code[:position] + char + code[position + 1 :]
    if wrong != code:
        assert uscc_check_digit(wrong) != wrong[17]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("9135010000", "uscc.length"),
        ("91350100M00010OY43", "uscc.character"),
        ("91350100I000100Y43", "uscc.character"),
        ("913A0100M000100Y43", "uscc.region"),
        ("   ", "text.empty"),
        ("9" * 100, "text.too_long"),
        ("91350100M0001\u202e00Y43", "text.control_character"),
    ],
)
def test_company_codes_that_are_none(text: str, code: str) -> None:
    with pytest.raises(BadValue) as problem:
        values.parse("uscc", text)
    assert problem.value.code == code


def test_id_numbers() -> None:
    assert values.parse("id18", "11010519491231002x") == "11010519491231002X"
    assert values.checks("id18", "11010519491231002X") == ()
    assert code_of("id18", "440524188001010014") == "id18.shape"  # born in 1880: its digit holds, its century doesn't
    assert id_check_digit("44052418800101001") == "4"
    assert [f.code for f in values.checks("id18", "110105194902310023")][-1] == "id18.birth_date"


def test_a_problem_with_an_id_number_does_not_repeat_it() -> None:
    with pytest.raises(BadValue) as problem:
        values.parse("id18", "11010519491231002Z")
    assert "1101" not in str(problem.value.details) + str(problem.value)


# -- dates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["2026年3月1日", "2026 年 03 月 01 日", "二〇二六年三月一日", "二○二六年三月一日", "二零二六年三月一日",
     "贰零贰陆年叁月壹日", "二O二六年三月一日", "2026-03-01", "2026－3－1", "2026.3.1", "2026/03/01", "20260301",
     "２０２６年３月１日", "2026年3月1日。", "：2026年3月1日", "至2026年3月1日止"],
)  # fmt: skip
def test_one_day_however_it_is_printed(text: str) -> None:
    assert values.agrees("date", text, "2026-03-01")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("2026年3月", "date.no_day"),
        ("二〇二六年三月", "date.no_day"),
        ("2026年2月30日", "date.no_such_day"),
        ("0026年3月1日", "date.year"),
        ("2026年3月1日2026年3月2日", "date.shape"),
        ("长期", "date.shape"),
        ("26年3月1日", "date.shape"),
    ],
)
def test_dates_that_are_none(text: str, code: str) -> None:
    assert code_of("date", text) == code


def test_days_up_to_thirty_one_in_words() -> None:
    for day, words in ((10, "十"), (11, "十一"), (20, "二十"), (21, "二十一"), (29, "廿九"), (31, "三十一")):
        assert values.parse("date", f"二〇二五年十二月{words}日") == f"2025-12-{day:02d}"


def test_long_term() -> None:
    for text in ("长期", "长期有效", "永久", "有效期至：长期"):
        assert values.agrees("date_or_long", text, "长期")
    assert not values.agrees("date_or_long", "2036年3月1日", "长期")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2017年03月01日至2037年02月28日", "2017-03-01/2037-02-28"),
        ("自2017年03月01日至2037年02月28日止", "2017-03-01/2037-02-28"),
        ("2017-03-01-2037-02-28", "2017-03-01/2037-02-28"),
        ("2017.3.1—2037.2.28", "2017-03-01/2037-02-28"),
        ("2017/3/1-2037/2/28", "2017-03-01/2037-02-28"),
        ("2017-03-01 至 长期", "2017-03-01/长期"),
        ("长期", "长期"),
        ("2017-03-01/2037-02-28", "2017-03-01/2037-02-28"),
    ],
)
def test_periods(text: str, value: str) -> None:
    assert values.read("period", text) == value


def test_a_period_that_ends_before_it_starts_is_implausible() -> None:
    assert [f.code for f in values.checks("period", "2027-01-01/2026-01-01")] == ["period.reversed"]
    assert values.checks("period", "2026-01-01/长期") == ()


def test_long_term_without_a_start_is_not_long_term_with_one() -> None:
    assert not values.agrees("period", "长期", "2017-03-01/长期")


# -- money ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["5000万元", "5,000万元整", "5000.000000万人民币", "人民币5000万元", "¥50,000,000.00", "￥50000000.00",
     "50000000元", "0.5亿元", "伍仟万元整", "人民币伍仟万圆整", "人民币（大写）伍仟万元整（¥50,000,000.00元）",
     "小写：50000000元 大写：伍仟万元整"],
)  # fmt: skip
def test_one_amount_however_it_is_printed(text: str) -> None:
    assert values.agrees("money", text, "50000000.00")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("5000", "money.unit_missing"),  # a cut-off 5000万元 must not pass for 5000 yuan
        ("5000万", "money.unit_missing"),  # nor a cut-off 5000万美元 for yuan
        ("伍仟", "money.unit_missing"),
        ("伍仟万元整（¥5000000.00）", "money.words_differ"),
        ("50,00,000元", "money.shape"),
        ("100.001元", "money.fraction_of_fen"),
        ("5000万人民币美元", "money.currency"),
        ("9" * 20 + "元", "money.too_large"),
        ("伍仟伍元", "money.shape"),  # read as 5005 by some and as 5500 by others
    ],
)
def test_amounts_that_are_none(text: str, code: str) -> None:
    assert code_of("money", text) == code


def test_a_stated_bare_figure_is_yuan_and_a_heading_can_give_the_unit_of_a_print() -> None:
    assert values.parse("money", "5000") == "5000.00"
    assert values.read("money", "5000", Spec(unit="万元")) == "50000000.00"
    assert values.read("money", "5000元", Spec(unit="万元")) == "5000.00"


def test_foreign_money_is_not_yuan() -> None:
    assert values.read("money", "500万美元") == "USD 5000000.00"
    assert values.read("money", "500.000000万美元") == "USD 5000000.00"
    assert not values.agrees("money", "500万美元", "5000000.00")


@given(st.integers(1, 10**15))
@example(1053900001000)  # 亿 and then 仟: 零 stands for the missing 万
def test_amounts_in_words_read_back(number: int) -> None:
    assert count_of(money_words(number)) == number


@given(fen)
def test_canonical_money_is_a_fixed_point(amount: int) -> None:
    canonical = f"{Decimal(amount) / 100:.2f}"
    assert values.parse("money", canonical) == canonical


# -- names, numbers, levels ------------------------------------------------------------------------------------------


def test_width_blanks_and_brackets_carry_no_meaning() -> None:
    name = values.parse("org", "沈阳 (集团) 建设 有限公司")
    assert name == "沈阳（集团）建设有限公司"
    assert values.agrees("org", "名 称：沈阳（集团）建设有限公司", name, Spec(labels=("名称",)))
    assert values.agrees("org", "沈阳〔集团〕建设有限公司，", name)
    number = values.parse("certno", "辽建〔2020〕12号")
    assert values.agrees("certno", "辽建（2020）12号", number)
    assert values.agrees("person", "买买提・艾力", values.parse("person", "买买提·艾力"))


@pytest.mark.parametrize(
    ("kind", "stated", "printed"),
    [
        ("person", "张己", "张已"),
        ("person", "佘明", "余明"),
        ("person", "王淼", "王森"),
        ("org", "亳州建工有限公司", "毫州建工有限公司"),
        ("certno", "D0123", "DO123"),
        ("certno", "L1I", "L11"),
        ("org", "大连建设有限公司", "太连建设有限公司"),
        ("org", "辽宁建工有限公司", "辽宁建工有限公司沈阳分公司"),
        ("string", "建筑工程", "建筑工程施工"),
        ("org", "東方有限公司", "东方有限公司"),
    ],
)
def test_what_looks_alike_is_not_the_same(kind: str, stated: str, printed: str) -> None:
    assert not values.agrees(kind, printed, values.parse(kind, stated))


@pytest.mark.parametrize("text", ["一级", "壹级", "Ⅰ级", "I级", "1级", "壹 级"])
def test_one_level_however_it_is_printed(text: str) -> None:
    assert values.parse("level", text) == "一级"
    assert values.agrees("level_text", f"建筑工程施工总承包{text}", "建筑工程施工总承包一级")


def test_what_separates_listed_levels_carries_no_meaning() -> None:
    stated = values.parse("level_text", "机电工程施工总承包贰级；消防设施工程专业承包壹级")
    for printed in ("机电工程施工总承包二级、消防设施工程专业承包一级", "机电工程施工总承包贰级 消防设施工程专业承包壹级。"):
        assert values.agrees("level_text", printed, stated)
    assert not values.agrees("level_text", "机电工程施工总承包壹级；消防设施工程专业承包贰级", stated)


def test_levels_that_differ() -> None:
    assert not values.agrees("level_text", "建筑工程施工总承包贰级", "建筑工程施工总承包一级")
    assert not values.agrees("level", "Ⅱ级", "一级")
    assert values.parse("level", "Ⅲ级") == "三级"
    assert code_of("level", "五级") == "level.unknown"
    assert code_of("level", "甲级", Spec(choices={"一级": ()})) == "level.unknown"


def test_enumerations() -> None:
    spec = Spec(choices={"有限责任公司(自然人独资)": ("一人有限责任公司",)})
    assert values.parse("enum", "有限责任公司（自然人独资）", spec) == "有限责任公司(自然人独资)"
    assert values.parse("enum", "一人有限责任公司", spec) == "有限责任公司(自然人独资)"
    assert code_of("enum", "合伙", spec) == "enum.unknown"
    assert values.parse("enum", "合伙", Spec(choices=spec.choices, open=True)) == "合伙"


def test_small_kinds() -> None:
    assert values.parse("int", "1,200") == "1200"
    assert code_of("int", "12.5") == "int.shape"
    assert values.parse("bool", "是") == "true"
    assert values.parse("phone", "+86 138-0013-8000") == "13800138000"
    assert code_of("phone", "12800138000") == "phone.shape"
    assert values.parse("month", "2026年3月") == "2026-03"
    assert code_of("month", "2026年13月") == "date.no_such_day"


# -- years, spans of months, shares, lists -------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["2023年度", "2023", "2023 年", "二〇二三年度", "二O二三年", "２０２３年度。"])
def test_one_year_however_it_is_printed(text: str) -> None:
    assert values.agrees("year", text, "2023")


@pytest.mark.parametrize(
    ("text", "code"), [("23年", "year.shape"), ("2023年3月", "year.shape"), ("0123", "date.year"), ("十十十十", "year.shape")]
)
def test_years_that_are_none(text: str, code: str) -> None:
    assert code_of("year", text) == code


@pytest.mark.parametrize(
    "text",
    ["2024年1月至2024年12月", "202401-202412", "2024-01至2024-12", "2024-01/2024-12", "2024.1—2024.12", "自2024年01月至2024年12月止"],
)
def test_one_span_of_months_however_it_is_printed(text: str) -> None:
    assert values.agrees("months", text, "2024-01/2024-12")


def test_spans_of_months() -> None:
    assert values.parse("months", "2024年3月") == "2024-03/2024-03"
    assert values.agrees("months", "2024年3月", "2024-03/2024-03")
    assert code_of("months", "2024年") == "months.shape"
    assert code_of("months", "2024年1月至长期") == "months.shape"
    assert values.checks("months", "2024-03/2024-01") == (values.Finding("months.reversed"),)
    assert values.checks("months", "2024-01/2024-01") == ()


@pytest.mark.parametrize("text", ["35%", "35.00%", "35％", "百分之三十五", "持股比例：35%"])
def test_one_share_however_it_is_printed(text: str) -> None:
    assert values.agrees("percent", text, "35", Spec(labels=("持股比例",)))


def test_shares_that_are_none() -> None:
    assert values.parse("percent", "33.330") == "33.33"
    assert values.parse("percent", "百分之三十三点三三") == "33.33"
    assert values.parse("percent", "100") == "100"
    assert code_of("percent", "35") == "percent.unit_missing"
    assert values.read("percent", "35", Spec(unit="%")) == "35"
    assert code_of("percent", "100.01%") == "percent.range"
    assert code_of("percent", "-3%") == "percent.shape"
    assert code_of("percent", "三成") == "percent.shape"


def test_lists_know_no_order_and_no_manner() -> None:
    spec = Spec(choices={"养老保险": ("养老", "基本养老保险"), "工伤保险": ("工伤",), "失业保险": ("失业",)})
    value = values.parse("enums", "工伤，养老", spec)
    assert value == "养老保险、工伤保险"
    assert values.agrees("enums", "基本养老保险；工伤保险", value, spec)
    assert not values.agrees("enums", "养老、工伤、失业", value, spec)
    assert "养老、工伤" in values.spellings("enums", value, spec)
    assert code_of("enums", "养老、车险", spec) == "enum.unknown"
    assert code_of("enums", "、".join(f"第{n}项" for n in range(51))) == "list.too_long"
    assert values.agrees("people", "李四 张三", values.parse("people", "李四、张三"))
    assert values.agrees("people", "张三，李四", "李四、张三")
    assert not values.agrees("people", "张三、李五", "李四、张三")


def test_lines_of_a_table_add_up() -> None:
    value = values.parse("amounts", "增值税 1,200.00元\n城市维护建设税：84元；增值税 -3.50")
    assert value == "增值税 1200.00；城市维护建设税 84.00；增值税 -3.50"
    assert values.total("amounts", value) == "1280.50"
    for wrong, code in (("增值税", "amounts.shape"), ("增值税 很多", "money.shape"), ("税 5美元", "money.currency"), ("；", "text.empty")):
        with pytest.raises(BadValue) as problem:
            values.parse("amounts", wrong)
        assert problem.value.code == code


def test_first_and_last_days() -> None:
    assert [values.first_day(one) for one in ("2024", "2024-02", "2024-02-03", "2024-02-03/长期", "2024-02/2024-05", "长期")] == [
        "2024-01-01", "2024-02-01", "2024-02-03", "2024-02-03", "2024-02-01", "长期"
    ]  # fmt: skip
    assert [values.last_day(one) for one in ("2024", "2024-02", "2024-02-03", "2024-02-03/长期", "2024-02/2024-04")] == [
        "2024-12-31", "2024-02-29", "2024-02-03", "长期", "2024-04-30"
    ]  # fmt: skip


# -- spellings -----------------------------------------------------------------------------------------------------


@st.composite
def canonical_values(draw: st.DrawFn) -> tuple[str, str]:
    kind = draw(st.sampled_from(sorted(values.KINDS)))
    text: str
    match kind:
        case "uscc":
            text = draw(usccs())
        case "id18":
            text = draw(st.from_regex(r"[0-9]{6}19[0-9]{9}[0-9X]", fullmatch=True))
        case "phone":
            text = draw(st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True))
        case "date":
            text = draw(dates)
        case "date_or_long":
            text = draw(dates | st.just("长期"))
        case "period":
            text = draw(st.builds("{}/{}".format, dates, dates | st.just("长期")) | st.just("长期"))
        case "month":
            text = draw(dates)[:7]
        case "months":
            text = "/".join(sorted([draw(dates)[:7], draw(dates)[:7]]))
        case "year":
            text = draw(dates)[:4]
        case "percent":
            text = str(draw(st.decimals(0, 100, places=draw(st.integers(0, 4)))))
        case "enums" | "people":
            text = "、".join(draw(st.lists(hanzi, min_size=1, max_size=4)))
        case "amounts":
            lines = draw(st.lists(st.tuples(hanzi, fen), min_size=1, max_size=4))
            text = "\n".join(f"{name}：{amount // 100}.{amount % 100:02d}元" for name, amount in lines)
        case "money":
            amount = draw(fen)
            text = draw(st.sampled_from(["", "USD ", "HKD "])) + f"{amount // 100}.{amount % 100:02d}"
        case "level":
            text = draw(st.sampled_from(["特级", "一级", "二级", "三级", "甲级", "不分等级"]))
        case "level_text":
            text = draw(hanzi) + draw(st.sampled_from(["一级", "二级", "甲级", ""]))
        case "int":
            text = str(draw(st.integers(0, 10**12)))
        case "bool":
            text = draw(st.sampled_from(["true", "false"]))
        case "certno":
            text = draw(st.from_regex(r"[A-Z][0-9]{6}(\[20[0-9]{2}\])?[0-9]{3}", fullmatch=True))
        case _:
            text = draw(hanzi) + draw(st.sampled_from(["", "（集团）有限公司"]))
    return kind, values.parse(kind, text)


@given(canonical_values())
def test_every_spelling_reads_back_as_the_value(case: tuple[str, str]) -> None:
    kind, value = case
    forms = values.spellings(kind, value)
    assert 1 <= len(forms) <= values.MAX_SPELLINGS
    assert len(set(forms)) == len(forms)
    for form in forms:
        assert values.agrees(kind, form, value), (kind, form, value)
    assert values.parse(kind, value) == value
    assert values.display(kind, value) == forms[0]


@given(canonical_values(), canonical_values())
def test_values_that_differ_share_no_spelling(one: tuple[str, str], other: tuple[str, str]) -> None:
    if one[0] == other[0] and not values.equal(one[0], one[1], other[1]):
        assert not {values.fold(s) for s in values.spellings(*one)} & {values.fold(s) for s in values.spellings(*other)}


@given(st.sampled_from(sorted(values.KINDS)), st.text(max_size=80))
def test_any_text_is_a_value_or_a_coded_problem(kind: str, text: str) -> None:
    for take in (values.parse, values.read):
        try:
            canonical = take(kind, text)
        except BadValue as problem:
            code = problem.code
            assert code.count(".") == 1, code
        else:
            assert values.equal(kind, values.parse(kind, canonical), canonical)


@pytest.mark.parametrize("text", ["H¨", "ΐ1", "a ̈b"])
def test_a_number_with_combining_marks_parses_to_itself(text: str) -> None:
    canonical = values.parse("certno", text)
    assert values.parse("certno", canonical) == canonical
