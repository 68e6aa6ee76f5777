"""Every state of a performance as its history of events, and every command of the company: what the real decisions do in each.

One source of two things: docs/states.md (``python -m ops.states_document``) and the table of tests/unit/test_performance_domain.py.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from google.protobuf.message import Message
from yunku.certificate.v1 import events_pb2, types_pb2

import catalogue
from kernel.errors import YunkuError
from services.certificate.domain import unique_code
from services.certificate.performances import domain

ME, STRANGER, ID, PUSH, DOMAIN = "s", "another", "p", "w", "ln-bidding"
AT = datetime(2026, 11, 23, 8, tzinfo=UTC)
KNOWN = catalogue.load()
PERFORMANCES = KNOWN.performances
HOLDER = types_pb2.Holder(subject_id=ME, uscc="91210102MA0YK0015B", name="沈阳云库建设有限公司")
INFORMATION = {
    "section_name": "一标段",
    "performance_type": "B类",
    "region": "沈阳市",
    "funding_source": "国有资金",
    "project_category": "房屋建筑",
    "speciality": "建筑工程",
    "section_no": "LN-1",
    "construction_nature": "新建",
}
RED, NONE, YELLOW, GREEN = types_pb2.LIGHT_RED, types_pb2.LIGHT_NONE, types_pb2.LIGHT_YELLOW, types_pb2.LIGHT_GREEN
REQUIRED = ("bid_award_notice", "construction_contract", "completion_acceptance")

DRAFTED = events_pb2.PerformanceDrafted(
    performance_id=ID, holder=HOLDER, category="construction", information={"section_name": "一标段"}, version=1
)
STATED = events_pb2.PerformanceInformationStated(performance_id=ID, information=INFORMATION, version=2)
SUBMITTED = events_pb2.PerformanceSubmitted(
    performance_id=ID,
    holder=HOLDER,
    category="construction",
    information=INFORMATION,
    version=2,
    unique_code=unique_code("J", ID),
    light=YELLOW,
    materials=[events_pb2.PerformanceSubmitted.Material(certificate_id="c", type="bid_award_notice", version=4, light=YELLOW)],
)
SUBMITTED_GREEN = events_pb2.PerformanceSubmitted()
SUBMITTED_GREEN.CopyFrom(SUBMITTED)
SUBMITTED_GREEN.light = GREEN
DISCARDED = events_pb2.PerformanceDiscarded(performance_id=ID)
REOPENED = events_pb2.PerformanceReopened(performance_id=ID, version=3)
ABANDONED = events_pb2.PerformanceReopeningAbandoned(performance_id=ID, version=2)
PUSHED = events_pb2.PerformancePushRequested(
    performance_id=ID,
    push_id=PUSH,
    number=1,
    domain_id=DOMAIN,
    version=2,
    materials=[events_pb2.PerformancePushRequested.Material(certificate_id="c", push_id="q")],
)


def given(*events: Message) -> domain.State:
    state = domain.State()
    for event in events:
        state = domain.evolve(state, event, AT)
    return state


STATES: dict[str, domain.State] = {
    "nothing": given(),
    "draft": given(DRAFTED, STATED),
    "submitted": given(DRAFTED, STATED, SUBMITTED),
    "reopened": given(DRAFTED, STATED, SUBMITTED, REOPENED),
    "reopening given up": given(DRAFTED, STATED, SUBMITTED, REOPENED, ABANDONED),
    "submitted again": given(DRAFTED, STATED, SUBMITTED, REOPENED, SUBMITTED),
    "discarded": given(DRAFTED, DISCARDED),
}

Command = Callable[[domain.State], Sequence[Message]]


def state_information(state: domain.State, who: str = ME, category: str = "", expected: int = 0, **told: str) -> list[Message]:
    return domain.state_information(state, who, PERFORMANCES, {**INFORMATION, "region": "大连市", **told}, category, expected)


def submit(state: domain.State, who: str = ME, expected: int = 0) -> list[Message]:
    return domain.submit(state, who, materials=[], light=YELLOW, confirmed=[], expected_version=expected)


def push(state: domain.State, who: str = ME, fresh: bool = True) -> list[Message]:
    return domain.request_push(state, who, push_id="new", domain_id=DOMAIN, materials=[("c", "q")], fresh=fresh)


COMMANDS: dict[str, Callable[..., Sequence[Message]]] = {
    "state": state_information,
    "submit": submit,
    "reopen": lambda state, who=ME, expected=0: domain.reopen(state, who, expected),
    "discard": lambda state, who=ME, expected=0: domain.discard(state, who, expected),
    "push": lambda state, who=ME, expected=0: push(state, who),
}


def outcome(command: Command, state: domain.State) -> str:
    try:
        events = command(state)
    except YunkuError as refused:
        return refused.code
    return ",".join(type(event).__name__ for event in events)
