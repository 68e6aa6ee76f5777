"""Given events, when a command, then events: accounts and sessions."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from yunku.identity.v1 import events_pb2
from yunku.kernel.v1 import kernel_pb2

from kernel.errors import YunkuError
from services.identity import domain

AT = datetime(2026, 11, 23, 8, tzinfo=UTC)


def value(text: str) -> kernel_pb2.EncryptedValue:
    return kernel_pb2.EncryptedValue(person_id="p", ciphertext=text.encode())


def stamp(moment: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def refused(code: str) -> Any:
    return pytest.raises(YunkuError, check=lambda error: error.code == code)


# -- accounts

REGISTERED = events_pb2.AccountRegistered(
    account_id="a", phone=value("phone"), phone_index=b"i", name=value("name"), password_hash=value("hash")
)
KEY_OPENED = events_pb2.KeyAccountOpened(account_id="k", uscc="U", company_name="C")
GRANTED = events_pb2.MembershipGranted(
    account_id="a", subject_id="s", uscc="U", subject_name="C", subject_types=["BIDDER"], role="ADMINISTRATOR"
)
ERASED = events_pb2.AccountErased(account_id="a")


def account(*events: Message) -> domain.Account:
    state = domain.Account()
    for event in events:
        state = domain.evolve_account(state, event, AT)
    return state


def register(state: domain.Account) -> list[Message]:
    return domain.register_account(
        state,
        account_id="a",
        phone=value("phone"),
        phone_index=b"i",
        name=value("name"),
        password_hash=value("hash"),
    )


def grant(state: domain.Account) -> list[Message]:
    return domain.grant_membership(
        state, account_id="a", subject_id="s", uscc="U", subject_name="C", subject_types=("BIDDER",), role="ADMINISTRATOR"
    )


def test_a_phone_registers_once() -> None:
    assert register(account()) == [REGISTERED]
    with refused("phone_registered"):
        register(account(REGISTERED))


def test_after_erasure_the_number_is_free_and_brings_nothing_along() -> None:
    state = account(REGISTERED, GRANTED, events_pb2.RoleGranted(role="AUDITOR"), ERASED)
    assert state == domain.Account(opened=True, erased=True)
    assert register(state) == [REGISTERED]
    again = account(REGISTERED, GRANTED, ERASED, REGISTERED)
    assert (again.erased, again.memberships, again.roles) == (False, (), ())


def test_membership_is_granted_once_and_also_before_a_key_logs_in() -> None:
    assert grant(account(REGISTERED)) == [GRANTED]
    assert grant(account(REGISTERED, GRANTED)) == []
    assert grant(account()) == [GRANTED]
    assert account(GRANTED, KEY_OPENED).memberships == (domain.Membership("s", "ADMINISTRATOR", accepted=True),)
    assert grant(account(REGISTERED, ERASED)) == []


def test_a_key_opens_its_account_once() -> None:
    assert domain.open_key_account(account(), account_id="k", uscc="U", company_name="C") == [KEY_OPENED]
    assert domain.open_key_account(account(KEY_OPENED), account_id="k", uscc="U", company_name="New") == []


@pytest.mark.parametrize(
    ("role", "domain_id", "code"),
    [
        ("OWNER", "", "role_unknown"),
        ("REVIEWER", "", "field_required"),
        ("ADMINISTRATOR", "ln-bidding", "value_invalid"),
    ],
)
def test_roles_that_are_none(role: str, domain_id: str, code: str) -> None:
    with refused(code):
        domain.grant_role(account(REGISTERED), account_id="a", role=role, domain_id=domain_id)


def test_roles_are_granted_once_to_accounts_that_exist() -> None:
    event = events_pb2.RoleGranted(account_id="a", role="REVIEWER", domain_id="ln-bidding")
    command = {"account_id": "a", "role": "REVIEWER", "domain_id": "ln-bidding"}
    assert domain.grant_role(account(REGISTERED), **command) == [event]
    assert domain.grant_role(account(REGISTERED, event), **command) == []
    for state in (account(), account(GRANTED), account(REGISTERED, ERASED)):
        with refused("not_found"):
            domain.grant_role(state, **command)


def test_a_role_is_revoked_and_nothing_else() -> None:
    granted = [events_pb2.RoleGranted(account_id="a", role="REVIEWER", domain_id=domain_id) for domain_id in ("d1", "d2")]
    state = account(REGISTERED, *granted)
    command = {"account_id": "a", "role": "REVIEWER", "domain_id": "d1"}
    [event] = domain.revoke_role(state, **command)
    assert event == events_pb2.RoleRevoked(account_id="a", role="REVIEWER", domain_id="d1")
    after = domain.evolve_account(state, event, AT)
    assert after.roles == (("REVIEWER", "d2"),)
    assert domain.revoke_role(after, **command) == domain.revoke_role(account(REGISTERED, ERASED), **command) == []
    with refused("not_found"):
        domain.revoke_role(account(), **command)
    with refused("role_unknown"):
        domain.revoke_role(state, account_id="a", role="OWNER", domain_id="")


def test_people_are_erased_and_companies_are_not() -> None:
    assert domain.erase_account(account(REGISTERED), account_id="a") == [ERASED]
    assert domain.erase_account(account(REGISTERED, ERASED), account_id="a") == []
    for state in (account(), account(KEY_OPENED)):
        with refused("not_found"):
            domain.erase_account(state, account_id="a")


# -- sessions

END = AT + timedelta(minutes=30)
LAST = AT + timedelta(hours=12)
OPENED = events_pb2.SessionOpened(
    session_id="x",
    account_id="a",
    person_id="p",
    method="password",
    token_hash=b"t1",
    refresh_token_hash=b"r1",
    expires_at=stamp(END),
    refresh_expires_at=stamp(LAST),
)
RENEWED = events_pb2.SessionRenewed(
    session_id="x", token_hash=b"t2", refresh_token_hash=b"r2", expires_at=stamp(END + timedelta(minutes=20))
)
CLOSED = events_pb2.SessionClosed(session_id="x")


def session(*events: Message) -> domain.Session:
    state = domain.Session()
    for event in events:
        state = domain.evolve_session(state, event, AT)
    return state


def pick(state: domain.Session, token: bytes = b"t1", now: datetime = AT, expires_at: datetime = END) -> list[Message]:
    return domain.pick_subject(
        state,
        session_id="x",
        token_hash=token,
        subject_id="s",
        subject_type="BIDDER",
        new_token_hash=b"t2",
        expires_at=expires_at,
        now=now,
    )


def renew(state: domain.Session, refresh: bytes = b"r1", now: datetime = AT, expires_at: datetime = END) -> list[Message]:
    return domain.renew_session(
        state,
        session_id="x",
        refresh_token_hash=refresh,
        new_token_hash=b"t2",
        new_refresh_token_hash=b"r2",
        expires_at=expires_at,
        now=now,
    )


def test_picking_a_subject_replaces_the_token() -> None:
    events = pick(session(OPENED))
    assert events == [
        events_pb2.SubjectPicked(session_id="x", subject_id="s", subject_type="BIDDER", token_hash=b"t2", expires_at=stamp(END))
    ]
    state = session(OPENED, *events)
    assert (state.subject_id, state.subject_type) == ("s", "BIDDER")
    with refused("unauthenticated"):
        pick(state, token=b"t1")


def test_only_the_present_token_of_an_open_session_counts() -> None:
    with refused("unauthenticated"):
        pick(session(OPENED), token=b"t2")
    with refused("unauthenticated"):
        pick(session(OPENED, CLOSED))
    with refused("unauthenticated"):
        pick(session())
    with refused("session_expired"):
        pick(session(OPENED), now=END)
    assert pick(session(OPENED), now=END - timedelta(microseconds=1))


def test_no_token_outlives_its_session() -> None:
    late = LAST - timedelta(minutes=5)
    (event,) = renew(session(OPENED), now=late, expires_at=late + timedelta(minutes=30))
    assert isinstance(event, events_pb2.SessionRenewed)
    assert event.expires_at == stamp(LAST)


def test_a_refresh_token_serves_once_and_its_reuse_ends_the_session() -> None:
    expires_at = END + timedelta(minutes=20)
    assert renew(session(OPENED), expires_at=expires_at) == [RENEWED]
    state = session(OPENED, RENEWED)
    with refused("unauthenticated"):
        renew(state, refresh=b"r1")
    assert domain.close_on_reuse(state, session_id="x", refresh_token_hash=b"r1") == [CLOSED]
    assert domain.close_on_reuse(state, session_id="x", refresh_token_hash=b"forged") == []
    assert domain.close_on_reuse(session(OPENED, RENEWED, CLOSED), session_id="x", refresh_token_hash=b"r1") == []


def test_renewal_ends_with_the_session() -> None:
    with refused("session_expired"):
        renew(session(OPENED), now=LAST)
    with refused("unauthenticated"):
        renew(session(OPENED, CLOSED))
    # The access token may have expired long before: that is what renewal is for.
    assert renew(session(OPENED), now=END + timedelta(hours=1))


def test_renewal_keeps_the_subject() -> None:
    state = session(OPENED, *pick(session(OPENED)))
    assert session(OPENED, *pick(session(OPENED)), *renew(state)).subject_id == "s"


def test_logging_out_needs_the_token_and_is_done_once() -> None:
    assert domain.close_session(session(OPENED), session_id="x", token_hash=b"t1") == [CLOSED]
    assert domain.close_session(session(OPENED, CLOSED), session_id="x", token_hash=b"t1") == []
    with refused("unauthenticated"):
        domain.close_session(session(OPENED), session_id="x", token_hash=b"other")
    with refused("unauthenticated"):
        domain.close_session(session(), session_id="x", token_hash=b"")
