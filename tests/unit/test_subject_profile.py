"""Basic information of a company: what its fields take, and its submissions as versions."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from google.protobuf.message import Message
from yunku.subject.v1 import events_pb2, profile_pb2

from kernel.errors import YunkuError
from services.subject import domain, profile

AT, TODAY = datetime(2026, 11, 23, 8, tzinfo=UTC), date(2026, 11, 23)
REGISTERED = events_pb2.SubjectRegistered(
    subject_id="s", uscc="91210102MA0YK0015B", name="沈阳云库建设有限公司", types=["BIDDER"], account_id="a"
)
STATED: dict[str, Any] = {
    "registered_place": "辽宁省沈阳市和平区文化路1号",
    "company_type": "有限责任公司",
    "contact": "王建国",
    "contact_phone": "(024) 12345678",
    "website": "www.example.com",
    "fax": "无",
    "postal_code": "110000",
    "is_sme": "true",
    "founded_on": "2009年5月1日",
    "business_types": ["CONSTRUCTION", "DESIGN", "DESIGN"],
}


def given(*events: Message) -> domain.Subject:
    state = domain.Subject()
    for event in events:
        state = domain.evolve(state, event, AT)
    return state


def state(before: domain.Subject, expected_version: int = 0, **stated: Any) -> list[Message]:
    return domain.state_profile(
        before,
        subject_id="s",
        stated=profile_pb2.Profile(**stated),
        fields=list(stated),
        today=TODAY,
        expected_version=expected_version,
    )


def submit(before: domain.Subject, **missing: str) -> list[Message]:
    return domain.submit_profile(before, subject_id="s", missing_types=missing)


def refused(code: str, *pointers: str) -> Any:
    return pytest.raises(YunkuError, check=lambda error: error.code == code and [one.pointer for one in error.errors] == list(pointers))


def after(before: domain.Subject, events: list[Message]) -> domain.Subject:
    for event in events:
        before = domain.evolve(before, event, AT)
    return before


def test_what_is_stated_is_kept_canonical_and_rises_the_version() -> None:
    (event,) = state(given(REGISTERED), **STATED)
    assert isinstance(event, events_pb2.ProfileStated)
    assert (event.profile.contact_phone, event.profile.founded_on) == ("024-12345678", "2009-05-01")
    assert list(event.profile.business_types) == ["DESIGN", "CONSTRUCTION"]
    stated = given(REGISTERED, event)
    assert (stated.version, stated.profile_state, stated.accepted) == (2, "draft", None)
    assert state(stated, **STATED) == []


def test_only_what_is_named_changes_and_an_empty_value_clears() -> None:
    stated = after(given(REGISTERED), state(given(REGISTERED), **STATED))
    (event,) = state(stated, website="", postal_code="110001")
    assert isinstance(event, events_pb2.ProfileStated)
    assert (event.profile.website, event.profile.postal_code, event.profile.contact) == ("", "110001", "王建国")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("registered_place", "x" * 201),
        ("contact_phone", "12345678"),
        ("contact_phone", "139000000001"),
        ("website", "example"),
        ("website", "javascript:alert(1)"),
        ("website", "http://"),
        ("fax", "没有"),
        ("postal_code", "11000"),
        ("postal_code", "1100000"),
        ("is_sme", "perhaps"),
        ("founded_on", "2026-11-24"),
        ("founded_on", "1799-12-31"),
        ("founded_on", "2009-02-30"),
        ("contact", "王\u202e建国"),
    ],
)
def test_values_that_no_field_takes_are_told_with_their_field(field: str, value: Any) -> None:
    with refused("value_invalid", f"/{field}"):
        state(given(REGISTERED), **{field: value})


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("contact_phone", "139 0000 0001", "13900000001"),
        ("contact_phone", "０２４-１２３４５６７８-801", "024-12345678-801"),
        ("fax", " 无 ", "无"),
        ("website", "https://云库.中国/主页".removesuffix("/主页"), "https://云库.中国"),
        ("website", "http://www.example.com:8080/a?b=c", "http://www.example.com:8080/a?b=c"),
        ("founded_on", "2026-11-23", "2026-11-23"),
        ("is_sme", "否", "false"),
    ],
)
def test_values_as_people_write_them(field: str, value: Any, kept: str) -> None:
    (event,) = state(given(REGISTERED), **{field: value})
    assert isinstance(event, events_pb2.ProfileStated)
    assert getattr(event.profile, field) == kept


def test_all_wrong_fields_are_told_at_once_and_unknown_business_types_by_their_place() -> None:
    with refused("value_invalid", "/postal_code", "/business_types/1"):
        state(given(REGISTERED), postal_code="1", business_types=["DESIGN", "PAINTING"])
    with refused("field_unknown", "/DESCRIPTOR"):
        domain.state_profile(given(REGISTERED), subject_id="s", stated=profile_pb2.Profile(), fields=["DESCRIPTOR"], today=TODAY)


def test_a_second_writer_is_told() -> None:
    stated = after(given(REGISTERED), state(given(REGISTERED), expected_version=1, website="a.cn"))
    with pytest.raises(YunkuError, match="version_conflict"):
        state(stated, expected_version=1, website="b.cn")
    with pytest.raises(YunkuError, match="version_conflict"):
        domain.rename(stated, subject_id="s", name="新名公司", expected_version=1)
    with pytest.raises(YunkuError, match="not_found"):
        state(given(), website="a.cn")


def test_a_submission_needs_every_field_and_every_certificate() -> None:
    registered = given(REGISTERED)
    with refused("field_required", *(f"/{name}" for name in profile.FIELDS)):
        submit(registered)
    partly = after(registered, state(registered, **(STATED | {"fax": ""})))
    with refused("field_required", "/fax"):
        submit(partly)
    whole = after(registered, state(registered, **STATED))
    with refused("certificates_missing", "/certificates/business_license") as told:
        submit(whole, business_license="营业执照")
    assert told.value.params == {"types": "营业执照"}
    (event,) = submit(whole)
    assert isinstance(event, events_pb2.ProfileSubmitted)
    assert (event.number, event.name, event.profile, event.version) == (1, REGISTERED.name, whole.profile, 2)


def test_what_was_accepted_stands_while_a_change_is_open_and_each_submission_is_a_version() -> None:
    whole = after(given(REGISTERED), state(given(REGISTERED), **STATED))
    first = after(whole, submit(whole))
    assert (first.profile_state, first.version) == ("submitted", 2)
    with pytest.raises(YunkuError, match="wrong_state"):
        submit(first)
    open_change = after(first, state(first, contact="李四"))
    assert open_change.profile_state == "changing"
    assert open_change.accepted is not None
    assert (open_change.profile.contact, open_change.accepted.profile.contact) == ("李四", "王建国")
    # Stated back, nothing is open any more.
    assert after(open_change, state(open_change, contact="王建国")).profile_state == "submitted"
    second = after(open_change, submit(open_change))
    assert second.accepted is not None
    assert (second.profile_state, second.accepted.number, second.accepted.profile.contact) == ("submitted", 2, "李四")


def test_a_new_name_opens_a_change() -> None:
    whole = after(given(REGISTERED), state(given(REGISTERED), **STATED))
    first = after(whole, submit(whole))
    renamed = after(first, domain.rename(first, subject_id="s", name="辽宁云库建设有限公司"))
    assert renamed.profile_state == "changing"
    assert after(renamed, submit(renamed)).accepted == domain.Accepted(2, "辽宁云库建设有限公司", whole.profile, AT)


def test_changes_name_each_field_with_before_and_after() -> None:
    registered = given(REGISTERED)
    stated = after(registered, state(registered, contact="王建国", business_types=["DESIGN"]))
    assert domain.changes(domain.shown(registered), domain.shown(stated)) == [
        {"path": "profile.business_types", "before": None, "after": ["DESIGN"]},
        {"path": "profile.contact", "before": None, "after": "王建国"},
        {"path": "profile_state", "before": "none", "after": "draft"},
    ]
