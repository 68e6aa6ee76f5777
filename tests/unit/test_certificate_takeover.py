"""What the national platform's rows become, and which of them are told as faults."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

import catalogue
from infra import devca
from infra import national_platform as counterpart
from services.certificate import takeover
from services.certificate.takeover import Answer, Fault

AT = datetime(2026, 11, 23, 8, tzinfo=UTC)
NAME, USCC = devca.DEMO_COMPANY
KNOWN = catalogue.load()
#: The manual's own example.
ROW: dict[str, Any] = {
    "id": "zz-1",
    "uscc": USCC,
    "company_name": NAME,
    "name": "工程监理资质证书-专业资质-市政公用工程",
    "level": "乙级",
    "certificate_no": "E221000001",
    "valid_until": "2028-05-31",
    "primary": False,
    "more": {"than": "we know"},
}
REGISTRATION: dict[str, Any] = {
    "id": "zc-1",
    "name": "王建国",
    "certificate": "注册建造师注册证书",
    "level": "壹级",
    "speciality": "建筑工程",
    "registration_no": "辽1212023202300001",
    "employer": NAME,
    "issued_on": "2025-01-01",
    "valid_until": "2028-01-01",
}


def read(*rows: Any) -> takeover.Listing:
    return takeover.qualifications(Answer(rows, AT, "ab" * 32), KNOWN, USCC)


def test_the_manuals_example_becomes_a_supervision_qualification() -> None:
    listing = read(ROW)
    [row] = listing.rows
    assert (row.type, row.name, row.level, row.valid_until, row.primary) == (
        "supervision_qualification",
        ROW["name"],
        "乙级",
        "2028-05-31",
        False,
    )
    assert row.fields == {
        "company_name": NAME,
        "uscc": USCC,
        "qualification_name": "市政公用工程",
        "level": "乙级",
        "certificate_no": "E221000001",
        "valid_until": "2028-05-31",
        "is_primary": "false",
    }
    made = listing.provenance(row)
    assert (made.source, made.source_id, made.answer_sha256) == ("national_platform/qualifications", "zz-1", "ab" * 32)
    assert made.retrieved_at_us == 1_795_420_800_000_000
    assert json.loads(made.row_json) == ROW


@pytest.mark.parametrize("kind", [kind for kind in KNOWN.types if kind.has_field("qualification_name")], ids=lambda kind: kind.code)
def test_every_qualification_of_the_catalogue_is_found_by_the_platforms_name(kind: catalogue.CertificateType) -> None:
    choices = list(kind.field("qualification_name").choices)
    level = next(iter(kind.field("level").choices)) if kind.has_field("level") else None
    rows = [
        ROW | {"id": str(number), "level": level, "name": counterpart.platform_name(kind, choice)} for number, choice in enumerate(choices)
    ]
    for start in range(0, len(rows), takeover.MAX_ROWS):
        listing = read(*rows[start : start + takeover.MAX_ROWS])
        assert not listing.faults
        assert [(row.type, row.fields["qualification_name"]) for row in listing.rows] == [
            (kind.code, choice) for choice in choices[start : start + takeover.MAX_ROWS]
        ]


def test_wrong_rows_are_told_one_by_one_and_the_good_ones_stand() -> None:
    listing = read(
        ROW,
        None,
        {"id": "x"},
        ROW,
        ROW | {"id": "other", "uscc": devca.SECOND_COMPANY[1]},
        ROW | {"id": "kind", "name": "无此证书-专业资质-无"},
        ROW | {"id": "day", "valid_until": "2026-02-30"},
        ROW | {"id": "level", "level": "最高级"},
        ROW | {"id": "空"},
        ROW | {"id": "permit", "name": "安全生产许可证-专业资质-市政公用工程"},
        ROW | {"id": "long", "certificate_no": "1" * 301},
        ROW | {"id": "good"},
    )
    assert [row.id for row in listing.rows] == ["zz-1", "good"]
    assert listing.faults == (
        Fault(1, "", "row_malformed", ""),
        Fault(2, "x", "row_malformed", "uscc"),
        Fault(3, "zz-1", "row_repeated", "id"),
        Fault(4, "other", "not_holders", "uscc"),
        Fault(5, "kind", "certificate_unknown", "name"),
        Fault(6, "day", "row_malformed", "valid_until"),
        Fault(7, "level", "value_unusable", "level"),
        Fault(8, "空", "row_malformed", "id"),
        Fault(9, "permit", "certificate_unknown", "name"),
        Fault(10, "long", "row_malformed", "certificate_no"),
    )


def test_a_registration_becomes_the_persons_certificate() -> None:
    listing = takeover.registrations(Answer((REGISTRATION, REGISTRATION | {"id": "b", "name": "李四"}), AT, "cd" * 32), KNOWN, "王建国")
    [row] = listing.rows
    assert (row.type, row.name, row.valid_until) == ("registered_constructor", "注册建造师注册证书-建筑工程", "2028-01-01")
    assert row.fields["level"] == "一级"
    assert row.fields["employer"] == NAME
    assert "id_no" not in row.fields
    assert listing.faults == (Fault(1, "b", "not_holders", "name"),)


def test_what_the_counterpart_serves_follows_from_the_number_alone_and_can_all_be_taken_over() -> None:
    rows = counterpart.qualifications(USCC, NAME)
    assert rows == counterpart.qualifications(USCC, "another name")
    listing = read(*rows)
    assert not listing.faults
    assert {row.type for row in listing.rows} == {kind.code for kind in KNOWN.types if kind.has_field("qualification_name")}
    assert [row.primary for row in listing.rows] == [True] + [False] * (len(rows) - 1)
    for tail in "123456789X":
        answer = Answer(tuple(counterpart.registrations("王建国", f"21010219800101001{tail}", NAME)), AT, "")
        found = takeover.registrations(answer, KNOWN, "王建国")
        assert not found.faults
        assert found.rows
    assert counterpart.registrations("王建国", "210102198001010010", NAME) == []
