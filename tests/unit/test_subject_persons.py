"""Given events, when a command, then events or a refusal: persons, their employments and claims.

One table says what every command does in every state; what follows it says the rest.
"""

from typing import Final

import pytest
from google.protobuf.message import Message
from yunku.kernel.v1 import kernel_pb2
from yunku.subject.v1 import events_pb2, persons_pb2

from kernel.errors import YunkuError
from ops.person_states import (
    AT,
    COMMANDS,
    HISTORIES,
    ME,
    OBJECTED,
    OTHER,
    PERSON,
    THIRD,
    TODAY,
    bound,
    claimed,
    given,
    outcome,
    unbound,
    value,
)
from services.subject import persons

# -- every command in every state --------------------------------------------------------------------------------------

#: Event names, nothing (""), or the code of the refusal, in the order of COMMANDS.
TABLE: Final[dict[str, tuple[str, ...]]] = {
    "nobody": ("PersonBound", "PersonBound", "not_found", "not_found", "not_found", "not_found"),
    "mine": ("person_bound", "person_bound", "EmploymentChanged", "PersonUnbound", "not_found", "not_found"),
    "mine, claimed by another": ("person_bound", "person_bound", "EmploymentChanged", "PersonUnbound", "ClaimObjected", "not_found"),
    "mine, objected": ("person_bound", "person_bound", "EmploymentChanged", "PersonUnbound", "", "not_found"),
    "mine, withdrawn": ("person_bound", "person_bound", "EmploymentChanged", "PersonUnbound", "claim_answered", "not_found"),
    "was mine": ("PersonBound", "PersonBound", "person_not_bound", "person_not_bound", "not_found", "not_found"),
    "was mine, released": ("PersonBound", "PersonBound", "person_not_bound", "person_not_bound", "claim_answered", "not_found"),
    "another's": ("person_bound_elsewhere", "PersonClaimed", "not_found", "not_found", "not_found", "not_found"),
    "another's, claimed by me": ("person_bound_elsewhere", "", "not_found", "not_found", "not_found", "ClaimWithdrawn"),
    "another's, objected to me": ("person_bound_elsewhere", "PersonClaimed", "not_found", "not_found", "not_found", "claim_answered"),
    "another's, withdrawn by me": ("person_bound_elsewhere", "PersonClaimed", "not_found", "not_found", "not_found", ""),
    "another's, released": ("PersonBound", "PersonBound", "not_found", "not_found", "not_found", "claim_answered"),
    "was mine, another's": ("person_bound_elsewhere", "PersonClaimed", "person_not_bound", "person_not_bound", "not_found", "not_found"),
    "was another's, mine": ("person_bound", "person_bound", "EmploymentChanged", "PersonUnbound", "not_found", "not_found"),
    "third's": ("person_bound_elsewhere", "PersonClaimed", "not_found", "not_found", "not_found", "not_found"),
}


@pytest.mark.parametrize("situation", HISTORIES)
def test_every_command_in_every_state(situation: str) -> None:
    before = given(*HISTORIES[situation])
    kept = before.record.SerializeToString(deterministic=True)
    assert tuple(outcome(command, before) for command in COMMANDS.values()) == TABLE[situation]
    assert before.record.SerializeToString(deterministic=True) == kept


# -- employments -------------------------------------------------------------------------------------------------------


def test_at_most_one_company_holds_a_person_and_brings_nothing_of_the_former() -> None:
    state = given(bound(), unbound(), bound(OTHER, phone=None, position=""))
    assert state.current is not None
    assert (state.current.subject_id, state.current.position, state.current.HasField("phone")) == (OTHER, "", False)
    assert state.current.name == value("name by other")
    mine = state.employment(ME)
    assert mine is not None
    assert (mine.bound_on, mine.unbound_on, mine.position) == ("2026-11-20", "2026-11-28", "项目经理")
    again = given(bound(), unbound(), bound(number=2, position="项目总监"))
    assert again.current == again.employment(ME)
    assert again.current is not None
    assert again.current.position == "项目总监"


def test_a_change_replaces_what_is_named_and_the_second_writer_is_told() -> None:
    state = given(bound())

    def change(position: str | None, phone: kernel_pb2.EncryptedValue | None, *, same: bool, version: int = 0) -> list[Message]:
        return persons.change(state, ME, position=position, phone=phone, same_phone=lambda _: same, expected_version=version)

    assert change(None, None, same=True) == []
    assert change("项目经理", None, same=True) == []
    (moved,) = change("项目总监", None, same=True, version=1)
    assert moved == events_pb2.EmploymentChanged(
        person_id=PERSON, subject_id=ME, employment_id="me-1", position="项目总监", phone=value("phone"), version=2
    )
    (cleared,) = change(None, None, same=False)
    after = persons.evolve(state, cleared, AT).current
    assert after is not None
    assert (after.HasField("phone"), after.position, after.version) == (False, "项目经理", 2)
    with pytest.raises(YunkuError) as refused:
        change("项目总监", None, same=True, version=2)
    assert (refused.value.code, refused.value.params) == ("version_conflict", {"version": "1"})


def test_nobody_leaves_before_they_came() -> None:
    with pytest.raises(YunkuError) as refused:
        persons.unbind(given(bound()), ME, unbound_on="2026-11-19", expected_version=0)
    assert [one.pointer for one in refused.value.errors] == ["/unbound_on"]
    with pytest.raises(YunkuError) as second:
        persons.unbind(given(bound()), ME, unbound_on="2026-11-28", expected_version=7)
    assert second.value.code == "version_conflict"


def test_a_reading_binds_once() -> None:
    state = given(bound(nonce="aa"), unbound())
    with pytest.raises(YunkuError) as refused:
        persons.bind(state, bound(number=2, nonce="aa"))
    assert refused.value.code == "reading_used"
    assert persons.bind(state, bound(number=2, nonce="bb"))


# -- claims ------------------------------------------------------------------------------------------------------------


def test_a_claim_names_who_holds_the_person_when_it_is_made() -> None:
    (event,) = persons.bind(given(bound(OTHER)), bound(), claimed(holder=""))
    assert event == claimed(holder=OTHER)


def test_unbinding_answers_every_open_claim_and_no_other() -> None:
    state = given(bound(OTHER), claimed(), claimed(THIRD, OTHER, "k2"), OBJECTED, unbound(OTHER))
    assert [(one.claim_id, one.state) for one in state.record.claims] == [("k", "objected"), ("k2", "released")]
    assert state.record.claims[0].objection == "仍在职"


def test_no_more_than_so_many_claims_are_open() -> None:
    many = [claimed(f"c{number}", OTHER, f"k{number}") for number in range(persons.MAX_OPEN_CLAIMS)]
    with pytest.raises(YunkuError) as refused:
        persons.bind(given(bound(OTHER), *many), bound(), claimed())
    assert refused.value.code == "too_many_claims"
    assert persons.bind(given(bound(OTHER), *many[1:]), bound(), claimed())


def test_a_company_is_told_of_its_own_affairs_only() -> None:
    events = [bound(OTHER), claimed(), OBJECTED, claimed(THIRD, OTHER, "k2"), unbound(OTHER), bound(), unbound(), bound(THIRD)]
    told: dict[str, list[str]] = {ME: [], OTHER: [], THIRD: []}
    state = persons.Person()
    for event in events:
        for subject, lines in told.items():
            if persons.concerns(state, event, subject):
                lines.append(event.DESCRIPTOR.name)
        state = persons.evolve(state, event, AT)
    assert told[OTHER] == ["PersonBound", "PersonClaimed", "ClaimObjected", "PersonClaimed", "PersonUnbound"]
    assert told[ME] == ["PersonClaimed", "ClaimObjected", "PersonBound", "PersonUnbound"]
    assert told[THIRD] == ["PersonClaimed", "PersonUnbound", "PersonBound"]


# -- values ------------------------------------------------------------------------------------------------------------

NUMBER: Final = "210102199003078515"


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("id_card", " 210102 19900307 8515 ", NUMBER),
        ("id_card", "11010519491231002x", "11010519491231002X"),
        ("passport", "e12345678", "E12345678"),
        ("foreigner_permit", "CHN110100010203", "CHN110100010203"),
    ],
)
def test_numbers(kind: str, text: str, expected: str) -> None:
    assert persons.parse_number(kind, text) == expected


@pytest.mark.parametrize(
    ("kind", "text", "code", "pointer"),
    [
        ("id_card", "", "field_required", "/id_no"),
        ("id_card", "210102199003078516", "value_invalid", "/id_no"),
        ("id_card", "21010219900307851", "value_invalid", "/id_no"),
        ("id_card", "210102199002308515", "value_invalid", "/id_no"),
        ("residence_permit", "810000199003078516", "value_invalid", "/id_no"),
        ("passport", "E1", "value_invalid", "/id_no"),
        ("passport", "E/12345678", "value_invalid", "/id_no"),
        ("passport", "Ｅ" * 200, "value_invalid", "/id_no"),
        ("driving_licence", NUMBER, "value_invalid", "/document_kind"),
    ],
)
def test_numbers_that_are_none(kind: str, text: str, code: str, pointer: str) -> None:
    with pytest.raises(YunkuError) as refused:
        persons.parse_number(kind, text)
    assert (refused.value.code, [one.pointer for one in refused.value.errors]) == (code, [pointer])
    assert NUMBER[6:14] not in repr(refused.value.errors)


def test_days_texts_names_and_phones() -> None:
    assert persons.parse_day("", "/d", TODAY) == "2026-11-28"
    assert persons.parse_day("2020-02-29", "/d", TODAY) == "2020-02-29"
    for day in ("2026-11-29", "2021-02-29", "20200101", "1899-12-31", "x"):
        with pytest.raises(YunkuError):
            persons.parse_day(day, "/d", TODAY)
    assert persons.parse_name(" 王 建国 ") == "王建国"
    for name in ("", "123", "王" * 200, "王\x00国"):
        with pytest.raises(YunkuError):
            persons.parse_name(name)
    assert (persons.parse_phone(""), persons.parse_phone("139-0000-0001")) == ("", "13900000001")
    with pytest.raises(YunkuError):
        persons.parse_phone("12345")
    assert persons.parse_text("  总工 ", "/position", 100) == "总工"
    for text in ("长" * 101, "a\x07"):
        with pytest.raises(YunkuError):
            persons.parse_text(text, "/position", 100)
    assert (persons.mask(NUMBER, 4, 2), persons.mask("12345", 4, 2)) == ("2101************15", "*****")


def reading(**changes: str) -> persons_pb2.Details:
    return persons_pb2.Details(
        **{
            "gender": "男",
            "ethnicity": "汉",
            "birth_date": "1990-03-07",
            "address": "沈阳市和平区南京南街1号",
            "issuing_authority": "沈阳市公安局和平分局",
            "valid_from": "2020-01-01",
            "valid_until": "2040-01-01",
            "photo_sha256": "ab" * 32,
            "reader_serial": "IDR210-0001",
            "read_at": "2026-11-28T07:59:30Z",
        }
        | changes
    )


def test_a_reading_says_what_the_card_says() -> None:
    assert persons.parse_reading(NUMBER, reading(), "0f" * 16, AT) == reading()
    assert persons.parse_reading(NUMBER, reading(valid_until="长期", photo_sha256=""), "0f" * 16, AT).valid_until == "长期"


@pytest.mark.parametrize(
    ("changes", "nonce", "code", "pointer"),
    [
        ({"gender": "女"}, "0f" * 16, "value_invalid", "gender"),
        ({"birth_date": "1990-03-08"}, "0f" * 16, "value_invalid", "birth_date"),
        ({"birth_date": ""}, "0f" * 16, "value_invalid", "birth_date"),
        ({"valid_until": "2019-01-01"}, "0f" * 16, "value_invalid", "valid_until"),
        ({"valid_from": "长期"}, "0f" * 16, "value_invalid", "valid_from"),
        ({"ethnicity": ""}, "0f" * 16, "field_required", "ethnicity"),
        ({"address": "路" * 301}, "0f" * 16, "value_too_long", "address"),
        ({"issuing_authority": " "}, "0f" * 16, "field_required", "issuing_authority"),
        ({"photo_sha256": "x"}, "0f" * 16, "value_invalid", "photo_sha256"),
        ({"reader_serial": "a b"}, "0f" * 16, "value_invalid", "reader_serial"),
        ({"read_at": "2026-11-28 07:59:30"}, "0f" * 16, "value_invalid", "read_at"),
        ({"read_at": "2026-11-28T07:49:59Z"}, "0f" * 16, "reading_stale", "read_at"),
        ({"read_at": "2026-11-28T08:02:01Z"}, "0f" * 16, "reading_stale", "read_at"),
        ({}, "0F" * 16, "value_invalid", "nonce"),
        ({}, "0f" * 15, "value_invalid", "nonce"),
    ],
)
def test_readings_that_no_card_gave(changes: dict[str, str], nonce: str, code: str, pointer: str) -> None:
    with pytest.raises(YunkuError) as refused:
        persons.parse_reading(NUMBER, reading(**changes), nonce, AT)
    assert (refused.value.code, [one.pointer for one in refused.value.errors]) == (code, [f"/reader/{pointer}"])
