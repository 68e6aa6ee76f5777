"""Reminders of coming expiry: when one is due, once each, and what ends it."""

from datetime import date, timedelta

import pytest
from google.protobuf.message import Message
from yunku.certificate.v1 import events_pb2

from kernel.errors import YunkuError
from ops.certificate_states import AT, DRAFTED, FOLLOWED, HISTORIES, ID, KIND, ME, NEXT, REQUIRED, STRANGER, SUBMITTED, given
from services.certificate import domain, expiry

DAYS = (90, 30, 7)
END = date(2027, 6, 30)
FIELDS = REQUIRED | {"business_term": f"2016-03-01/{END}"}


def submitted(version: int = 4, fields: dict[str, str] = FIELDS) -> events_pb2.Submitted:
    made = events_pb2.Submitted()
    made.CopyFrom(SUBMITTED)
    made.ClearField("fields")
    made.fields.update(fields)
    made.version = version
    return made


STATED = events_pb2.FieldsStated(certificate_id=ID, fields=FIELDS, version=4)
STANDS = given(DRAFTED, STATED, submitted())


def notice(state: domain.State, left: int, days: tuple[int, ...] = DAYS) -> list[Message]:
    return expiry.notice(state, KIND, END - timedelta(days=left), days)


@pytest.mark.parametrize(
    ("left", "threshold"),
    [(400, None), (91, None), (90, 90), (31, 90), (30, 30), (8, 30), (7, 7), (1, 7), (0, 7), (-1, -1), (-4000, -1)],
)
def test_the_threshold_that_counts(left: int, threshold: int | None) -> None:
    assert expiry.threshold(END, END - timedelta(days=left), DAYS) == threshold
    assert expiry.threshold(END, END - timedelta(days=left), (7, 90, 30)) == threshold
    assert expiry.threshold(END, END - timedelta(days=left), ()) == (-1 if left < 0 else None)


def test_each_threshold_is_noticed_once_as_the_days_pass() -> None:
    state, noticed = STANDS, []
    for left in range(120, -120, -1):
        for event in notice(state, left):
            assert isinstance(event, events_pb2.ExpiryNoticed)
            noticed.append((left, event.days_before, event.version, event.valid_until, event.notice_id))
            state = domain.evolve(state, event, AT)
        assert notice(state, left) == []
    assert noticed == [
        (90, 90, 4, "2027-06-30", f"{ID}.4.90"),
        (30, 30, 4, "2027-06-30", f"{ID}.4.30"),
        (7, 7, 4, "2027-06-30", f"{ID}.4.7"),
        (-1, -1, 4, "2027-06-30", f"{ID}.4.after"),
    ]
    # The clock may go back: nothing is noticed again.
    assert all(notice(state, left) == [] for left in range(-120, 120))


def test_what_was_passed_over_isnt_made_up_for() -> None:
    (event,) = notice(STANDS, 5)
    assert event.days_before == 7  # type: ignore[attr-defined]
    assert notice(domain.evolve(STANDS, event, AT), 5) == []


def test_a_new_version_begins_anew() -> None:
    (event,) = notice(STANDS, 5)
    noticed = domain.evolve(STANDS, event, AT)
    opened = domain.evolve(noticed, events_pb2.SupplementBegun(certificate_id=ID, version=5), AT)
    # While it is open, the accepted version stands, and so does its reminder.
    assert expiry.present(opened.view) is not None
    assert [one.version for one in notice(opened, -1)] == [4]  # type: ignore[attr-defined]
    renewed = domain.evolve(opened, submitted(5), AT)
    assert expiry.present(renewed.view) is None
    assert [one.version for one in notice(renewed, 5)] == [5]  # type: ignore[attr-defined]
    endless = REQUIRED | {"business_term": "2016-03-01/长期"}
    stated = domain.evolve(opened, events_pb2.FieldsStated(certificate_id=ID, fields=endless, version=6), AT)
    assert [one.version for one in notice(stated, -1)] == [4]  # type: ignore[attr-defined]
    assert notice(domain.evolve(stated, submitted(6, endless), AT), -1) == []


def test_a_superseded_one_isnt_noticed() -> None:
    (event,) = notice(STANDS, 5)
    followed = domain.evolve(domain.evolve(STANDS, event, AT), FOLLOWED, AT)
    assert expiry.present(followed.view) is not None
    ended = domain.evolve(followed, events_pb2.Superseded(certificate_id=ID, successor_id=NEXT), AT)
    assert expiry.present(ended.view) is None
    assert notice(ended, -1) == []
    with pytest.raises(YunkuError, match="not_found"):
        expiry.acknowledge(ended, ME, event.notice_id)  # type: ignore[attr-defined]


@pytest.mark.parametrize("situation", HISTORIES)
def test_only_what_stands_in_the_register_comes_to_its_end(situation: str) -> None:
    history = HISTORIES[situation]
    state = given(*(STATED if isinstance(event, events_pb2.FieldsStated) else event for event in history))
    stands = state.view.state == "submitted"
    reminded = situation in ("noticed", "acknowledged_notice")
    assert len(notice(state, 90)) == (1 if stands and not reminded else 0)
    assert len(notice(state, -1)) == (1 if stands else 0)


def test_acknowledging() -> None:
    (event,) = notice(STANDS, 20)
    state, notice_id = domain.evolve(STANDS, event, AT), f"{ID}.4.30"
    for whose, other in ((STRANGER, notice_id), (ME, f"{ID}.4.90"), (ME, f"{ID}.4.7"), (ME, ID)):
        with pytest.raises(YunkuError, match="not_found"):
            expiry.acknowledge(state, whose, other)
    (acknowledged,) = expiry.acknowledge(state, ME, notice_id)
    state = domain.evolve(state, acknowledged, AT)
    assert expiry.acknowledge(state, ME, notice_id) == []
    # The next threshold is a reminder of its own, which waits again.
    (following,) = notice(state, 7)
    state = domain.evolve(state, following, AT)
    assert not state.view.expiry_notice.acknowledged
    with pytest.raises(YunkuError, match="not_found"):
        expiry.acknowledge(state, ME, notice_id)
    assert expiry.certificate_of(notice_id) == ID
