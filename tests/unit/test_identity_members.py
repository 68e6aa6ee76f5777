"""Given events, when a command, then events: members of a company."""

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.message import Message
from yunku.identity.v1 import events_pb2
from yunku.kernel.v1 import kernel_pb2

from kernel.context import Caller
from kernel.errors import YunkuError
from kernel.rpc.server import is_query
from services.identity import domain

AT = datetime(2026, 11, 23, 8, tzinfo=UTC)
VALUE = kernel_pb2.EncryptedValue(person_id="p", ciphertext=b"c")
REGISTERED = events_pb2.AccountRegistered(account_id="a", phone=VALUE, phone_index=b"i", name=VALUE, password_hash=VALUE)
FOUNDED = events_pb2.MembershipGranted(account_id="a", subject_id="s", role="ADMINISTRATOR")
INVITED = events_pb2.MembershipGranted(
    account_id="a", subject_id="s", uscc="U", subject_name="C", role="OPERATOR", invited_by="b", masked_phone="138****0000"
)
ACCEPTED = events_pb2.MembershipAccepted(account_id="a", subject_id="s")
ENDED = events_pb2.MembershipEnded(account_id="a", subject_id="s")


def account(*events: Message) -> domain.Account:
    state = domain.Account()
    for event in events:
        state = domain.evolve_account(state, event, AT)
    return state


def refused(code: str) -> Any:
    return pytest.raises(YunkuError, check=lambda error: error.code == code)


def invite(state: domain.Account, role: str = "OPERATOR", members: int = 1) -> list[Message]:
    return domain.invite(
        state,
        account_id="a",
        subject_id="s",
        uscc="U",
        subject_name="C",
        subject_types=(),
        role=role,
        invited_by="b",
        masked_phone="138****0000",
        members=members,
    )


def role(state: domain.Account, wanted: str, others: int) -> list[Message]:
    return domain.change_member_role(state, account_id="a", subject_id="s", role=wanted, other_administrators=others)


def end(state: domain.Account, others: int = 1, *, is_key: bool = False) -> list[Message]:
    return domain.end_membership(state, account_id="a", subject_id="s", is_key=is_key, other_administrators=others)


def test_an_invitation_is_the_same_for_a_number_with_and_without_account_and_holds_until_it_registers() -> None:
    assert invite(account()) == invite(account(REGISTERED)) == [INVITED]
    waiting = account(INVITED, REGISTERED)
    assert waiting.memberships == (domain.Membership("s", "OPERATOR", accepted=False, masked_phone="138****0000"),)
    assert domain.accept_membership(waiting, account_id="a", subject_id="s") == [ACCEPTED]
    active = account(INVITED, REGISTERED, ACCEPTED)
    assert active.membership("s") == domain.Membership("s", "OPERATOR", accepted=True, masked_phone="138****0000")
    assert domain.accept_membership(active, account_id="a", subject_id="s") == []
    assert domain.accept_membership(account(REGISTERED), account_id="a", subject_id="s") == []


def test_an_invitation_comes_once_with_one_role_and_to_so_many() -> None:
    assert invite(account(INVITED)) == []
    with refused("member_exists"):
        invite(account(INVITED), "READER")
    with refused("role_unknown"):
        invite(account(), "OWNER")
    assert invite(account(), members=domain.MAX_MEMBERS - 1)
    with refused("members_full"):
        invite(account(), members=domain.MAX_MEMBERS)


def test_an_erased_holder_leaves_nothing_and_the_next_one_gets_the_later_invitations_only() -> None:
    erased = events_pb2.AccountErased(account_id="a")
    assert account(REGISTERED, FOUNDED, erased, REGISTERED).memberships == ()
    later = account(REGISTERED, FOUNDED, erased, INVITED, REGISTERED)
    assert [one.role for one in later.memberships] == ["OPERATOR"]


def test_what_was_granted_before_there_were_roles_is_an_administrators() -> None:
    state = account(events_pb2.MembershipGranted(account_id="a", subject_id="s"))
    assert state.membership("s") == domain.Membership("s", "ADMINISTRATOR", accepted=True)


def test_the_last_administrator_stays_one() -> None:
    founder = account(REGISTERED, FOUNDED)
    with refused("last_administrator"):
        role(founder, "OPERATOR", 0)
    with refused("last_administrator"):
        end(founder, 0)
    assert role(founder, "ADMINISTRATOR", 0) == []
    (changed,) = role(founder, "READER", 1)
    assert changed == events_pb2.MemberRoleChanged(account_id="a", subject_id="s", role="READER")
    demoted = account(REGISTERED, FOUNDED, changed)
    assert [one.role for one in demoted.memberships] == ["READER"]
    assert end(founder, 1) == [ENDED]
    assert account(REGISTERED, FOUNDED, ENDED).memberships == ()
    # Who is only invited as administrator leaves no gap.
    invited = account(events_pb2.MembershipGranted(account_id="a", subject_id="s", role="ADMINISTRATOR", invited_by="b"))
    assert end(invited, 0) == [ENDED]


def test_who_is_no_member_has_no_role_and_a_key_stays() -> None:
    with refused("not_found"):
        role(account(REGISTERED), "READER", 1)
    with refused("not_found"):
        end(account(REGISTERED))
    with refused("role_unknown"):
        role(account(FOUNDED), "", 1)
    with refused("key_member_stays"):
        end(account(FOUNDED), is_key=True)


def test_a_reader_gives_no_command() -> None:
    reader = Caller(kind="account", id="a", subject_id="s", member_role="READER")
    with refused("role_missing"):
        reader.require_command()
    for other in ("ADMINISTRATOR", "OPERATOR", ""):
        Caller(kind="account", id="a", subject_id="s", member_role=other).require_command()
    for other in ("OPERATOR", "READER", ""):
        with refused("role_missing"):
            Caller(kind="account", id="a", subject_id="s", member_role=other).require_member_administrator()
    queries = ("GetCertificate", "ListMembers", "CountCertificates", "FindPersons", "CheckPerformance", "Explain", "Replay", "ReadLog")
    commands = ("Submit", "StateFields", "DraftCertificate", "Review", "RequestPush", "TakeOver", "BindPerson", "PrepareSeal", "Complete")
    assert all(is_query(name) for name in queries)
    assert not any(is_query(name) for name in commands)
