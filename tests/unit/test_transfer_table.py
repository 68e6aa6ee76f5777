"""The table of an import, the spreadsheet that is written, and what an import's log decides."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from yunku.certificate.v1 import events_pb2, service_pb2, types_pb2

import catalogue
from kernel import spreadsheets
from kernel.errors import YunkuError
from services.certificate import domain as certificates
from services.certificate.transfers import domain, imports, table

AT = datetime(2026, 11, 28, tzinfo=UTC)
KIND = catalogue.load().type("litigation_case")


def csv_of(*rows: tuple[str, ...], encoding: str = "utf-8") -> bytes:
    made = io.StringIO()
    csv.writer(made).writerows(rows)
    return made.getvalue().encode(encoding)


def no_file(name: str) -> bytes:
    raise KeyError(name)


def row(head: tuple[str, ...], cells: tuple[str, ...]) -> table.Row:
    read = table.read(csv_of(head, cells))
    return table.parse(read, read.rows[0], catalogue.load(), no_file)


def test_heads_are_names_labels_or_both_in_any_encoding() -> None:
    for encoding in ("utf-8", "utf-8-sig", "gb18030"):
        heads = ("row_key", "证照类型", f"{KIND.field('description').label}", "随便[fields.occurred_on]")
        read = table.read(csv_of(heads, ("k", KIND.label, "说明", "2026-01-01"), encoding=encoding))
        one = table.parse(read, read.rows[0], catalogue.load(), no_file)
        assert (one.key, one.type, dict(one.fields)) == ("k", KIND.code, {"description": "说明", "occurred_on": "2026-01-01"})
        assert table.column_of(one.columns, "/fields/occurred_on") == "随便[fields.occurred_on]"
        assert table.column_of(one.columns, "/type") == "证照类型"
        assert table.column_of(one.columns, "/elsewhere/0") == ""


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "table_empty"),
        (csv_of(("type",)), "table_empty"),
        (csv_of(("type", "type"), ("a", "b")), "table_head_wrong"),
        (csv_of(("证照类型", "x[type]"), ("a", "b")), "table_head_wrong"),
        (csv_of(("row_key",), ("a",)), "table_head_wrong"),
        (b"type\n\xff\xff\xff", "table_unreadable"),
        (b"type\n\0", "table_unreadable"),
        (b'type\n"open', "table_unreadable"),
        (csv_of(("type",), ("x" * 20_001,)), "table_unreadable"),
        (csv_of(("type",), *[("x",)] * 1001), "table_too_long"),
    ],
)
def test_tables_that_cannot_be_read_are_refused_whole(data: bytes, code: str) -> None:
    with pytest.raises(YunkuError) as refused:
        table.read(data)
    assert refused.value.code == code


def test_what_is_wrong_with_a_row_is_told_by_its_column() -> None:
    with pytest.raises(table.RowRefused) as refused:
        row(("type", "a field of nothing", "verify"), (KIND.code, "x", "perhaps"))
    assert [(one.code, one.pointer) for one in refused.value.refusal.errors] == [
        ("field_unknown", "/fields/a field of nothing"),
        ("value_invalid", "/verify"),
    ]
    assert table.column_of(refused.value.columns, "/fields/a field of nothing") == "a field of nothing"
    with pytest.raises(YunkuError) as unknown:
        row(("type",), ("nothing",))
    assert unknown.value.code == "type_unknown"
    # A column of another type may stand there empty.
    assert row(("type", "a field of nothing", "verify"), (KIND.code, "", "是")).verify


def test_marks_stand_in_the_cell_or_in_a_file() -> None:
    marks = [{"field": "uscc", "page": 1, "box": [0.1, 0.2, 0.3, 0.4]}]
    given = row(("type", "marks"), (KIND.code, json.dumps(marks))).marks
    read = table.read(csv_of(("type", "marks"), (KIND.code, "a.json")))
    from_file = table.parse(read, read.rows[0], catalogue.load(), lambda name: json.dumps({"marks": marks}).encode()).marks
    assert given == from_file == (table.Mark("uscc", 1, (0.1, 0.2, 0.3, 0.4)),)
    for wrong in ("[", "[1]", '[{"field": 1}]', '[{"field":"a","page":1e400,"box":[0,0,1,1]}]', "[" * 9000):
        with pytest.raises(table.RowRefused) as refused:
            row(("type", "marks"), (KIND.code, wrong))
        assert refused.value.refusal.code == "value_invalid"
    with pytest.raises(table.RowRefused) as missing:
        row(("type", "marks"), (KIND.code, "a.json"))
    assert missing.value.refusal.code == "archive_entry_missing"


def test_a_digest_is_over_all_that_a_row_says_and_not_its_key() -> None:
    head = ("row_key", "type", "description")
    same = {row(head, (key, KIND.code, "x")).digest("ab") for key in ("k", "", "other")}
    assert len(same) == 1
    others = {row(head, ("k", KIND.code, "y")).digest("ab"), row(head, ("k", KIND.code, "x")).digest("cd")}
    assert len(same | others) == 3


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠1"])
def test_no_cell_is_run_by_a_spreadsheet(cell: str) -> None:
    (written,) = next(csv.reader(io.StringIO(spreadsheets.table([[cell]]).decode("utf-8-sig"), newline="")))
    assert written == "'" + cell
    assert spreadsheets.safe("a=1") == "a=1"


def test_rows_are_recorded_once_and_in_their_order() -> None:
    state = domain.evolve_import(domain.Import(), events_pb2.ImportRequested(import_id="i", rows=2), AT)
    first = events_pb2.ImportRowDone(import_id="i", row=1, outcome=domain.CREATED)
    assert domain.record_row(state, events_pb2.ImportRowDone(import_id="i", row=2, outcome=domain.CREATED)) == []
    assert domain.record_row(state, first) == [first]
    state = domain.evolve_import(state, first, AT)
    assert domain.record_row(state, first) == []
    assert (state.done, state.counts, state.state) == (1, (1, 0, 0, 0), domain.WAITING)
    state = domain.evolve_import(state, domain.finish_import(state, "i")[0], AT)
    assert (state.state, domain.finish_import(state, "i"), domain.record_row(state, first)) == (domain.DONE, [], [])


def rehearsed(state: certificates.State, head: tuple[str, ...], cells: tuple[str, ...]) -> str:
    """The code and pointer with which a row is refused before anything is recorded; empty where it isn't."""
    one = row(head, cells)
    draft = service_pb2.DraftCertificateRequest(
        type=one.type, mode=types_pb2.MODE_MANUAL if one.mode == "MANUAL" else types_pb2.MODE_UNSPECIFIED, person_id=one.person
    )
    try:
        imports._rehearse(state, draft, one, None, "s")
    except YunkuError as refused:
        return f"{refused.errors[0].code} {refused.errors[0].pointer}"
    return ""


def test_a_row_is_rehearsed_before_anything_is_recorded() -> None:
    head, good = ("type", "description", "occurred_on"), (KIND.code, "x", "2026-01-01")
    assert rehearsed(certificates.State(), head, good) == ""
    assert rehearsed(certificates.State(), head, (KIND.code, "x", "never")) == "value_invalid /fields/occurred_on"
    assert rehearsed(certificates.State(), (*head, "mode"), (*good, "SMART")) == "mode_invalid /mode"
    assert rehearsed(certificates.State(), (*head, "absent"), (*good, "nothing")) == "field_unknown /absent/0"
    drafted = events_pb2.CertificateDrafted(
        certificate_id="c", holder=types_pb2.Holder(subject_id="s"), type=KIND.code, mode=types_pb2.MODE_MANUAL, version=1, person_id="p"
    )
    state = certificates.evolve(certificates.State(), drafted, AT)
    assert rehearsed(state, head, good) == "import_key_taken /row_key"
    assert rehearsed(state, (*head, "person"), (*good, "p")) == ""
    discarded = certificates.evolve(state, events_pb2.Discarded(certificate_id="c"), AT)
    assert rehearsed(discarded, (*head, "person"), (*good, "p")) == "wrong_state /row_key"


def test_a_row_names_its_person_by_id_or_by_number_of_which_there_is_one() -> None:
    assert imports.names_number("11010119900307001X")
    assert imports.names_number("E12345678")
    assert not imports.names_number("")
    assert not imports.names_number("01970000-0000-7000-8000-00000000000a")
    assert imports.the_one(["a"]) == "a"
    read = row(("证照类型", "所属人员[person]"), ("personal_id", "11010119900307001X"))
    for found, code in (([], "person_unknown"), (["a", "b"], "person_ambiguous")):
        with pytest.raises(YunkuError) as refused:
            imports.the_one(found)
        (error,) = refused.value.errors
        assert (error.code, table.column_of(read.columns, error.pointer)) == (code, "所属人员[person]")
