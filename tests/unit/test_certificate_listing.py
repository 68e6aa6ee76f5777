"""What a certificate's row says, and what a query asks: words, folding, cursors."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Select
from yunku.certificate.v1 import service_pb2, types_pb2

import catalogue
from catalogue import listing as texts
from kernel.errors import YunkuError
from kernel.eventlog.sql import render
from services.certificate import listing

TODAY = date(2026, 11, 28)
ID = UUID("0193f000-0000-7000-8000-00000000c001")
KIND = catalogue.load().type("construction_qualification")
FIELDS = {
    "company_name": "沈阳云库建设有限公司",
    "qualification_name": "建筑工程施工总承包",
    "level": "一级",
    "certificate_no": "D221012345",
    "valid_until": "2026-12-01",
    "legal_rep_name": "王建国",
}


def view(**fields: str) -> service_pb2.Certificate:
    shown = service_pb2.Certificate(
        id=str(ID), type=KIND.code, state="draft", light=types_pb2.LIGHT_NONE, fields=FIELDS | fields, valid_until="2026-12-01"
    )
    shown.holder.subject_id = "s"
    shown.document.sha256 = "ab" * 32
    shown.document.pages.add(number=1)
    shown.recognition.fields.add(field="level", value="一级")
    return shown


def asked(**more: object) -> service_pb2.ListCertificatesRequest:
    return service_pb2.ListCertificatesRequest(**more)  # type: ignore[arg-type]


def attempt(request: service_pb2.ListCertificatesRequest, subject_id: str, today: date) -> Select[Any]:
    """The last one, which gives all."""
    return listing.attempts(request, subject_id, today)[-1]


def test_what_many_match_is_looked_for_in_the_order_first() -> None:
    assert len(listing.attempts(asked(sort="type", validity="VALID", type=["patent"]), "s", TODAY)) == 1
    for request in (asked(q="施工"), asked(state="draft", sort="-updated"), asked(q="施工", validity="VALID", type=["patent"])):
        near, whole = (str(render(one)[0]) for one in listing.attempts(request, "s", TODAY))
        assert "AS near" in near
        assert "AS near" not in whole


def words_of(request: service_pb2.ListCertificatesRequest, subject_id: str = "s") -> set[int]:
    _, parameters = render(attempt(request, subject_id, TODAY))
    return {value for name, value in parameters.items() if name.startswith("param_") and abs(value) > 1000}


@given(st.integers(0, 20), st.integers(1, 12))
def test_every_part_of_the_searched_text_has_its_words_in_the_row(start: int, length: int) -> None:
    row = listing.columns(view())
    for line in str(row["searched"]).split("\n"):
        part = line[start : start + length]
        if len(part) > 1 or (part and start == 0):
            assert words_of(asked(q=part)) <= set(row["words"])


def test_the_words_of_one_subject_are_no_others() -> None:
    row = listing.columns(view())
    assert words_of(asked(q="施工")) <= set(row["words"])
    assert not words_of(asked(q="施工"), "another") & set(row["words"])
    assert not words_of(asked(q="包一")) <= set(row["words"])  # two values don't run into each other
    assert words_of(asked(state="draft", light=types_pb2.LIGHT_NONE, module="qualifications")) <= set(row["words"])
    assert not words_of(asked(state="submitted")) & set(row["words"])


def test_what_is_searched_and_shown() -> None:
    searched = texts.searched(KIND, FIELDS, "21QX").split("\n")
    assert {"建筑工程施工总承包", "一级", "d221012345", "王建国", "21qx", "建筑业企业资质证书"} <= set(searched)
    assert not any("沈阳云库" in line for line in searched)
    assert (texts.name(KIND, FIELDS), texts.level(KIND, FIELDS), texts.number(KIND, FIELDS)) == (
        "建筑业企业资质证书-建筑工程施工总承包",
        "一级",
        "D221012345",
    )
    person = catalogue.load().type("personal_id")
    assert "11010519491231002X" not in texts.searched(person, {"id_no": "11010519491231002X"}, "").upper()
    assert (texts.name(person, {}), texts.level(person, {}), texts.number(person, {})) == (person.label, "", "")


def test_every_type_can_be_listed() -> None:
    for kind in catalogue.load().types:
        fields = {one.name: next(iter(one.choices), "x") for one in kind.fields}
        assert texts.name(kind, fields).startswith(kind.label)
        assert len(texts.searched(kind, {one.name: "长" * 4000 for one in kind.fields}, "")) <= 600


def test_a_line_leaves_out_what_no_list_shows() -> None:
    row = listing.columns(view())
    item = service_pb2.Certificate.FromString(row["item"])
    assert dict(item.fields) == FIELDS
    assert (item.document.sha256, list(item.document.pages), item.HasField("recognition")) == ("ab" * 32, [], False)
    assert (row["dated"], row["ends_on"], row["submitted_at"]) == (True, TODAY.replace(month=12, day=1), datetime(1970, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("", ID),
        ("-created", ID),
        ("updated", datetime(2026, 11, 28, 1, 2, 3, 456, tzinfo=UTC)),
        ("-submitted", datetime(1970, 1, 1, tzinfo=UTC)),
        ("valid_until", date(9999, 12, 31)),
        ("-type", "construction_special_operation_certificate"),
    ],
)
def test_a_cursor_brings_back_its_key_and_goes_with_its_query_only(sort: str, key: object) -> None:
    request = asked(sort=sort, state="draft", limit=5)
    told = listing.cursor(request, "s", key, ID)
    assert len(told) <= 100
    request.cursor, request.limit = told, 7
    _, parameters = render(attempt(request, "s", TODAY))
    assert key in parameters.values()
    assert ID in parameters.values()
    for other in (asked(sort=sort), asked(sort=sort, state="draft", q="施工"), asked(sort="type", state="draft")):
        other.cursor = told
        with pytest.raises(YunkuError, match="cursor_invalid"):
            attempt(other, "s", TODAY)
    with pytest.raises(YunkuError, match="cursor_invalid"):
        attempt(request, "another", TODAY)


@given(st.text(max_size=120))
def test_no_cursor_breaks_anything(text: str) -> None:
    with pytest.raises(YunkuError, match="cursor_invalid"):
        attempt(asked(cursor=text or "-", sort="updated"), "s", TODAY)


def test_bad_values_are_told() -> None:
    for wrong, at in ((asked(sort="fields"), "/sort"), (asked(validity="OLD"), "/validity"), (asked(q="长" * 101), "/q")):
        with pytest.raises(YunkuError) as caught:
            attempt(wrong, "s", TODAY)
        assert caught.value.errors[0].pointer == at
