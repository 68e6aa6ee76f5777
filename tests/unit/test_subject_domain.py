"""Given events, when a command, then events: subjects."""

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.message import Message
from yunku.subject.v1 import events_pb2

from kernel.errors import YunkuError
from services.subject import domain

AT = datetime(2026, 11, 23, 8, tzinfo=UTC)
#: A code whose check digit is right, and the same with a wrong one.
USCC, DOUBTFUL = "91210102MA0YK0015B", "91210102MA0YK00151"
REGISTERED = events_pb2.SubjectRegistered(subject_id="s", uscc=USCC, name="沈阳云库建设有限公司", types=["BIDDER"], account_id="a")


def given(*events: Message) -> domain.Subject:
    state = domain.Subject()
    for event in events:
        state = domain.evolve(state, event, AT)
    return state


def register(state: domain.Subject, **changes: Any) -> list[Message]:
    command: dict[str, Any] = {
        "subject_id": "s",
        "uscc": USCC,
        "name": "沈阳云库建设有限公司",
        "types": ["BIDDER"],
        "account_id": "a",
        "key_uscc": "",
        "confirm_uscc": False,
    }
    return domain.register(state, **(command | changes))


def refused(code: str, pointer: str = "") -> Any:
    def matches(error: YunkuError) -> bool:
        return error.code == code and (not pointer or [one.pointer for one in error.errors] == [pointer])

    return pytest.raises(YunkuError, check=matches)


def test_first_registration() -> None:
    assert register(given()) == [REGISTERED]


def test_second_registration_conflicts() -> None:
    with refused("subject_registered", "/uscc"):
        register(given(REGISTERED), account_id="b")


def test_failing_check_digit_asks_and_is_remembered() -> None:
    with refused("uscc_check_digit", "/uscc"):
        register(given(), uscc=DOUBTFUL)
    (event,) = register(given(), uscc=DOUBTFUL, confirm_uscc=True)
    assert isinstance(event, events_pb2.SubjectRegistered)
    assert event.uscc_confirmed
    (sound,) = register(given(), confirm_uscc=True)
    assert isinstance(sound, events_pb2.SubjectRegistered)
    assert not sound.uscc_confirmed


def test_a_company_key_registers_its_own_company_only() -> None:
    assert register(given(), key_uscc=USCC) == [REGISTERED]
    with refused("certificate_not_holders", "/uscc"):
        register(given(), key_uscc="91210202MA0YK0023B")


def test_renaming_keeps_the_former_name() -> None:
    (event,) = domain.rename(given(REGISTERED), subject_id="s", name="辽宁云库建设有限公司")
    assert event == events_pb2.SubjectRenamed(subject_id="s", former_name="沈阳云库建设有限公司", name="辽宁云库建设有限公司")
    state = given(REGISTERED, event)
    assert (state.name, state.former_names) == ("辽宁云库建设有限公司", ("沈阳云库建设有限公司",))
    assert state.registered_at == AT


def test_renaming_to_the_same_name_is_nothing_and_of_nobody_is_refused() -> None:
    assert domain.rename(given(REGISTERED), subject_id="s", name="沈阳云库建设有限公司") == []
    with refused("not_found"):
        domain.rename(given(), subject_id="s", name="任何公司")


@pytest.mark.parametrize("text", ["", "123", "91210102MA0YK0015", "9I210102MA0YK0015B", USCC * 10, "91210102MA0YK0015B\x00"])
def test_malformed_codes(text: str) -> None:
    with refused("uscc_malformed", "/uscc"):
        domain.parse_uscc(text)


def test_codes_are_normalised() -> None:
    assert domain.parse_uscc(" 91210102ma0yk0015b ") == USCC


@pytest.mark.parametrize(
    ("text", "name"),
    [(" 沈阳 云库建设有限公司 ", "沈阳云库建设有限公司"), ("云库(沈阳)公司", "云库（沈阳）公司"), ("ACME  Ltd", "ACME Ltd")],
)
def test_names_are_normalised(text: str, name: str) -> None:
    assert domain.parse_name(text) == name


@pytest.mark.parametrize("text", ["", " ", "库", "x" * 201, "云库\u202e公司", "云\x00库", "----", "1234"])
def test_names_that_are_none(text: str) -> None:
    with refused("name_malformed", "/name"):
        domain.parse_name(text)


def test_types_are_of_the_known_ones_in_one_order() -> None:
    assert domain.parse_types(["AGENCY", "BIDDER", "AGENCY"]) == ("BIDDER", "AGENCY")
    with refused("field_required", "/types"):
        domain.parse_types([])
    with refused("subject_type_unknown", "/types"):
        domain.parse_types(["BIDDER", "bidder"])
