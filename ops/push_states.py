"""Every state of a push as its history of events, and every command: what the real decisions do in each.

One source of two things: docs/states.md (``python -m ops.states_document``) and the table of tests/unit/test_push_domain.py.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from google.protobuf.message import Message
from yunku.certificate.v1 import types_pb2
from yunku.push.v1 import events_pb2

import catalogue
from kernel.errors import YunkuError
from services.push import domain

AT: Final = datetime(2026, 11, 23, 8, tzinfo=UTC)
COMPANY, DOMAIN, REVIEWER, ANOTHER = "s1", "ln-bidding", "a1", "a2"

OPENED: Final = events_pb2.PushOpened(
    push_id="p",
    certificate_id="c",
    number=1,
    domain_id=DOMAIN,
    holder=types_pb2.Holder(subject_id=COMPANY),
    type="business_license",
    version=7,
    light=types_pb2.LIGHT_YELLOW,
)
DELIVERED: Final = events_pb2.PushDelivered(push_id="p", certificate_id="c", domain_id=DOMAIN, stream_sequence=41, subject_id=COMPANY)
ACKNOWLEDGED: Final = events_pb2.PushAcknowledged(push_id="p", certificate_id="c", domain_id=DOMAIN, subject_id=COMPANY)
WITHDRAWN: Final = events_pb2.PushWithdrawn(push_id="p", certificate_id="c", domain_id=DOMAIN, subject_id=COMPANY)
APPEALED: Final = events_pb2.Appealed(push_id="p", certificate_id="c", domain_id=DOMAIN, grounds="请复核", subject_id=COMPANY)


def reviewed(decision: str) -> events_pb2.Reviewed:
    return events_pb2.Reviewed(
        push_id="p",
        certificate_id="c",
        domain_id=DOMAIN,
        version=7,
        decision=decision,
        opinion="意见",
        channel=events_pb2.REVIEW_CHANNEL_REVIEWER,
        reviewer_id=REVIEWER,
        subject_id=COMPANY,
    )


def answered(decision: str) -> events_pb2.AppealAnswered:
    return events_pb2.AppealAnswered(
        push_id="p",
        certificate_id="c",
        domain_id=DOMAIN,
        decision=decision,
        opinion="意见",
        channel=events_pb2.REVIEW_CHANNEL_REVIEWER,
        reviewer_id=ANOTHER,
        subject_id=COMPANY,
    )


#: What has happened in each state.
HISTORIES: Final[dict[str, tuple[Message, ...]]] = {
    "nothing": (),
    "requested": (OPENED,),
    "delivered": (OPENED, DELIVERED),
    "acknowledged": (OPENED, DELIVERED, ACKNOWLEDGED),
    "withdrawn": (OPENED, DELIVERED, WITHDRAWN),
    "approved": (OPENED, DELIVERED, reviewed("approved")),
    "rejected": (OPENED, DELIVERED, reviewed("rejected")),
    "appealed": (OPENED, DELIVERED, reviewed("rejected"), APPEALED),
    "upheld": (OPENED, DELIVERED, reviewed("rejected"), APPEALED, answered("upheld")),
    "overturned": (OPENED, DELIVERED, reviewed("rejected"), APPEALED, answered("overturned")),
}
#: And what the push record shows: its state and its appeal's.
SHOWN: Final[dict[str, tuple[str, str]]] = {
    "nothing": ("pending", ""),
    "requested": ("pending", ""),
    "delivered": ("pending", ""),
    "acknowledged": ("pending", ""),
    "withdrawn": ("withdrawn", ""),
    "approved": ("approved", ""),
    "rejected": ("rejected", ""),
    "appealed": ("rejected", "pending"),
    "upheld": ("rejected", "upheld"),
    "overturned": ("approved", "overturned"),
}


def state_of(situation: str) -> domain.Push:
    """The push after the history of a state."""
    state = domain.Push()
    for event in HISTORIES[situation]:
        state = domain.evolve_push(state, event, AT)
    return state


def _review(state: domain.Push, decision: str) -> list[Message]:
    reviewer = domain.Reviewer(events_pb2.REVIEW_CHANNEL_REVIEWER, REVIEWER)
    return domain.review(state, decision=decision, opinion="意见", reasons=[], reviewer=reviewer, catalogue=catalogue.load())


def _answer(state: domain.Push, by: str) -> list[Message]:
    reviewer = domain.Reviewer(events_pb2.REVIEW_CHANNEL_REVIEWER, by)
    return domain.answer_appeal(state, decision="overturned", opinion="意见", reviewer=reviewer)


#: Commands of the domain and of the company.
COMMANDS: Final[dict[str, Callable[[domain.Push], list[Message]]]] = {
    "deliver": lambda state: domain.deliver(state, stream_sequence=41),
    "acknowledge": domain.acknowledge,
    "approve": lambda state: _review(state, "approved"),
    "reject": lambda state: _review(state, "rejected"),
    "withdraw": domain.withdraw,
    "appeal": lambda state: domain.appeal(state, subject_id=COMPANY, account_id="a", grounds="请复核"),
    "answer": lambda state: _answer(state, ANOTHER),
    "answer by who rejected": lambda state: _answer(state, REVIEWER),
}


def outcome(situation: str, command: str) -> str:
    """The event that the command makes in this state, ``-`` where it changes nothing, or the code of its refusal."""
    try:
        events = COMMANDS[command](state_of(situation))
    except YunkuError as refused:
        return refused.code
    return " ".join(event.DESCRIPTOR.name for event in events) or "-"
