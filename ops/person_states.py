"""Every state of a person as seen by one company ("me"), as its history of events, and every command: what the real decisions do in each.

One source of two things: docs/states.md (``python -m ops.states_document``) and the table of tests/unit/test_subject_persons.py.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from google.protobuf.message import Message
from yunku.kernel.v1 import kernel_pb2
from yunku.subject.v1 import events_pb2

from kernel.errors import YunkuError
from services.subject import persons

ME, OTHER, THIRD, PERSON, CLAIM = "me", "other", "third", "p", "k"
AT = datetime(2026, 11, 28, 8, tzinfo=UTC)
TODAY = date(2026, 11, 28)


def value(text: str) -> kernel_pb2.EncryptedValue:
    return kernel_pb2.EncryptedValue(person_id=PERSON, ciphertext=text.encode())


def bound(subject: str = ME, number: int = 1, **more: Any) -> events_pb2.PersonBound:
    stated: dict[str, Any] = {
        "person_id": PERSON,
        "subject_id": subject,
        "employment_id": f"{subject}-{number}",
        "document_kind": "id_card",
        "number": value("n"),
        "name": value(f"name by {subject}"),
        "phone": value("phone"),
        "position": "项目经理",
        "bound_on": "2026-11-20",
        "source": "typed",
    }
    return events_pb2.PersonBound(**(stated | more))


def unbound(subject: str = ME, number: int = 1) -> events_pb2.PersonUnbound:
    return events_pb2.PersonUnbound(person_id=PERSON, subject_id=subject, employment_id=f"{subject}-{number}", unbound_on="2026-11-28")


def claimed(subject: str = ME, holder: str = OTHER, claim_id: str = CLAIM) -> events_pb2.PersonClaimed:
    return events_pb2.PersonClaimed(
        person_id=PERSON, claim_id=claim_id, subject_id=subject, holder_id=holder, name=value("name by me"), reason="已入职"
    )


OBJECTED = events_pb2.ClaimObjected(person_id=PERSON, claim_id=CLAIM, reason="仍在职")
WITHDRAWN = events_pb2.ClaimWithdrawn(person_id=PERSON, claim_id=CLAIM)


def given(*events: Message) -> persons.Person:
    state = persons.Person()
    for number, event in enumerate(events):
        state = persons.evolve(state, event, AT + timedelta(seconds=number))
    return state


HISTORIES: Final[dict[str, Sequence[Message]]] = {
    "nobody": (),
    "mine": (bound(),),
    "mine, claimed by another": (bound(), claimed(OTHER, ME)),
    "mine, objected": (bound(), claimed(OTHER, ME), OBJECTED),
    "mine, withdrawn": (bound(), claimed(OTHER, ME), WITHDRAWN),
    "was mine": (bound(), unbound()),
    "was mine, released": (bound(), claimed(OTHER, ME), unbound()),
    "another's": (bound(OTHER),),
    "another's, claimed by me": (bound(OTHER), claimed()),
    "another's, objected to me": (bound(OTHER), claimed(), OBJECTED),
    "another's, withdrawn by me": (bound(OTHER), claimed(), WITHDRAWN),
    "another's, released": (bound(OTHER), claimed(), unbound(OTHER)),
    "was mine, another's": (bound(), unbound(), bound(OTHER)),
    "was another's, mine": (bound(OTHER), unbound(OTHER), bound()),
    "third's": (bound(THIRD), claimed(OTHER, THIRD)),
}

COMMANDS: Final[dict[str, Callable[[persons.Person], list[Message]]]] = {
    "bind": lambda state: persons.bind(state, bound(number=2)),
    "claim": lambda state: persons.bind(state, bound(number=2), claimed(claim_id="new", holder="")),
    "change": lambda state: persons.change(state, ME, position="技术负责人", phone=None, same_phone=lambda _: True, expected_version=0),
    "unbind": lambda state: persons.unbind(state, ME, unbound_on="2026-11-28", expected_version=0),
    "object": lambda state: persons.object_to(state, ME, CLAIM, "仍在职"),
    "withdraw": lambda state: persons.withdraw(state, ME, CLAIM),
}


def outcome(command: Callable[[persons.Person], list[Message]], state: persons.Person) -> str:
    try:
        events = command(state)
    except YunkuError as refused:
        return refused.code
    for event in events:
        persons.evolve(state, event, AT)
    return ",".join(event.DESCRIPTOR.name for event in events)
