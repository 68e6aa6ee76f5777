"""Domains and pushes: given events, when a command, then events."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.message import Message
from yunku.certificate.v1 import types_pb2
from yunku.push.v1 import events_pb2

import catalogue
from kernel.errors import YunkuError
from ops import push_states
from services.push import domain
from services.push.projections import domain_row, push_row

AT = datetime(2026, 11, 23, 8, tzinfo=UTC)
ID = "0193f000-0000-7000-8000-00000000f001"
SYSTEM, REVIEWER, RULE = events_pb2.REVIEW_CHANNEL_SYSTEM, events_pb2.REVIEW_CHANNEL_REVIEWER, events_pb2.REVIEW_CHANNEL_RULE


def opened(light: types_pb2.Light.ValueType = types_pb2.LIGHT_YELLOW, automatic: bool = False) -> events_pb2.PushOpened:
    holder = types_pb2.Holder(subject_id="s1", name="沈阳测试建设有限公司")
    return events_pb2.PushOpened(
        push_id=ID,
        certificate_id="c1",
        number=2,
        domain_id="ln-bidding",
        holder=holder,
        type="business_license",
        version=7,
        light=light,
        automatic=automatic,
    )


def named(event: type[Message], **more: Any) -> Message:
    return event(push_id=ID, certificate_id="c1", domain_id="ln-bidding", subject_id="s1", **more)


DELIVERED = named(events_pb2.PushDelivered, stream_sequence=41)
ACKNOWLEDGED = named(events_pb2.PushAcknowledged)
WITHDRAWN = named(events_pb2.PushWithdrawn)


def reviewed(decision: str, opinion: str = "", channel: Any = SYSTEM, reviewer_id: str = "ln-bidding") -> Message:
    return named(events_pb2.Reviewed, version=7, decision=decision, opinion=opinion, channel=channel, reviewer_id=reviewer_id)


def given(*events: Any) -> domain.Push:
    state = domain.Push()
    for event in events:
        state = domain.evolve_push(state, event, AT)
    return state


def decide(
    state: domain.Push,
    decision: str,
    opinion: str = "",
    channel: Any = SYSTEM,
    reviewer_id: str = "ln-bidding",
    reasons: list[tuple[str, str]] | None = None,
    person: str = "",
) -> list[Message]:
    by = domain.Reviewer(channel, reviewer_id, person)
    return domain.review(state, decision=decision, opinion=opinion, reasons=reasons or [], reviewer=by, catalogue=catalogue.load())


def appeal(state: domain.Push, grounds: str = "公章清晰，请复核", subject_id: str = "s1") -> list[Message]:
    return domain.appeal(state, subject_id=subject_id, account_id="a9", grounds=grounds)


def answer(
    state: domain.Push, decision: str = "overturned", opinion: str = "属实", channel: Any = REVIEWER, by: str = "a2", person: str = ""
) -> list[Message]:
    return domain.answer_appeal(state, decision=decision, opinion=opinion, reviewer=domain.Reviewer(channel, by, person))


APPEALED = named(events_pb2.Appealed, grounds="公章清晰，请复核", account_id="a9")


def answered(decision: str, opinion: str = "属实", channel: Any = REVIEWER, by: str = "a2", person: str = "") -> Message:
    return named(
        events_pb2.AppealAnswered, decision=decision, opinion=opinion, channel=channel, reviewer_id=by, system_reviewer=person
    )


def refused(code: str, *pointers: str) -> Any:
    return pytest.raises(YunkuError, check=lambda e: e.code == code and tuple(one.pointer for one in e.errors) == pointers)


# -- domains


def register(state: domain.Domain, domain_id: str = "ln-bidding", name: str = "招标投标领域", types: Any = ()) -> list[Message]:
    return domain.register_domain(state, domain_id=domain_id, name=name, automatic_types=types, catalogue=catalogue.load())


def test_a_domain_is_registered_with_the_types_it_reviews_by_rule() -> None:
    [event] = register(domain.Domain(), name=" 招标投标领域 ", types=["construction_qualification", "business_license", "business_license"])
    types = ["business_license", "construction_qualification"]
    assert event == events_pb2.DomainRegistered(domain_id="ln-bidding", name="招标投标领域", automatic_types=types)


def test_a_registration_again_is_nothing_new_and_another_of_the_same_id_is_refused() -> None:
    state = domain.evolve_domain(domain.Domain(), register(domain.Domain(), types=["business_license"])[0], AT)
    assert register(state, types=["business_license"]) == []
    with refused("domain_registered", "/id"):
        register(state)
    with refused("domain_registered", "/id"):
        register(state, name="另一领域", types=["business_license"])


def changed(state: domain.Domain, expected_version: int = 0, **values: Any) -> list[Message]:
    asked = {"name": "招标投标领域", "automatic_types": [], "closed": False, **values}
    return domain.change_domain(state, expected_version=expected_version, catalogue=catalogue.load(), **asked)


def test_a_domain_changes_its_name_and_rules_and_closes() -> None:
    state = domain.evolve_domain(domain.Domain(), register(domain.Domain())[0], AT)
    assert changed(state) == changed(state, 1) == []
    [event] = changed(state, 1, name=" 新名称 ", automatic_types=["business_license"], closed=True)
    assert event == events_pb2.DomainChanged(domain_id="ln-bidding", name="新名称", automatic_types=["business_license"], closed=True)
    after = domain.evolve_domain(state, event, AT)
    assert (after.name, after.automatic_types, after.closed, after.version) == ("新名称", ("business_license",), True, 2)
    with refused("version_conflict"):
        changed(after, 1)
    with refused("name_malformed", "/name"):
        changed(after, name=" ")
    with refused("type_unknown", "/automatic_types/0"):
        changed(after, automatic_types=["nothing"])
    with refused("not_found"):
        changed(domain.Domain())


def test_reviewers_are_recorded_once_each_also_before_the_domain() -> None:
    admitted = events_pb2.ReviewerAdmitted(domain_id="ln-bidding", account_id="a1")
    dismissed = events_pb2.ReviewerDismissed(domain_id="ln-bidding", account_id="a1")
    state = domain.Domain()
    for event, again in ((admitted, True), (dismissed, False)):
        assert domain.record_reviewer(state, domain_id="ln-bidding", account_id="a1", admitted=again) == [event]
        state = domain.evolve_domain(state, event, AT)
        assert domain.record_reviewer(state, domain_id="ln-bidding", account_id="a1", admitted=again) == []
    assert domain_row(UUID(ID), state, 2) is None
    state = domain.evolve_domain(domain.evolve_domain(state, admitted, AT), register(state)[0], AT)
    assert (state.reviewers, state.version) == (frozenset({"a1"}), 1)


@pytest.mark.parametrize("bad", ["", "a", "A1", "a.b", "a b", "a*", ">", "辽宁", "a" * 41, "a\n"])
def test_an_id_that_is_no_subject_token_is_refused(bad: str) -> None:
    with refused("value_invalid", "/id"):
        register(domain.Domain(), domain_id=bad)


@pytest.mark.parametrize("bad", ["", "  ", "领" * 101, "领\x00域", "领\n域"])
def test_a_name_that_is_none_is_refused(bad: str) -> None:
    with refused("name_malformed", "/name"):
        register(domain.Domain(), name=bad)


def test_types_that_the_catalogue_has_not_are_named() -> None:
    with refused("type_unknown", "/automatic_types/1"):
        register(domain.Domain(), types=["business_license", "driving_license"])


# -- the life of a push


def test_a_push_is_opened_once() -> None:
    assert domain.open_push(domain.Push(), opened()) == [opened()]
    assert domain.open_push(given(opened()), opened()) == []


def test_delivery_and_acknowledgement_are_recorded_once_in_either_order() -> None:
    assert domain.deliver(given(opened()), stream_sequence=41) == [DELIVERED]
    assert domain.deliver(given(opened(), DELIVERED), stream_sequence=99) == []
    assert domain.acknowledge(given(opened(), DELIVERED)) == [ACKNOWLEDGED]
    assert domain.acknowledge(given(opened(), ACKNOWLEDGED)) == []
    early = given(opened(), ACKNOWLEDGED)
    assert domain.deliver(early, stream_sequence=41) == [DELIVERED]
    assert [given(opened()).delivery, given(opened(), DELIVERED).delivery] == ["requested", "delivered"]
    assert given(opened(), ACKNOWLEDGED, DELIVERED).delivery == "acknowledged"


@pytest.mark.parametrize(
    ("light", "automatic", "approved"),
    [
        (types_pb2.LIGHT_GREEN, True, True),
        (types_pb2.LIGHT_GREEN, False, False),
        (types_pb2.LIGHT_YELLOW, True, False),
        (types_pb2.LIGHT_NONE, True, False),
        (types_pb2.LIGHT_RED, True, False),
    ],
)
def test_only_green_is_approved_by_rule_and_only_where_the_domain_wants_it(light: Any, automatic: bool, approved: bool) -> None:
    events = domain.deliver(given(opened(light, automatic)), stream_sequence=41)
    assert events == [DELIVERED, *([reviewed("approved", channel=RULE)] if approved else [])]


@pytest.mark.parametrize("decided", [WITHDRAWN, reviewed("rejected", "不符")])
def test_the_rule_decides_nothing_that_isnt_pending(decided: Message) -> None:
    assert domain.deliver(given(opened(types_pb2.LIGHT_GREEN, True), decided), stream_sequence=41) == [DELIVERED]


def test_a_review_names_the_version_the_channel_and_the_reviewer() -> None:
    state = given(opened(), DELIVERED)
    assert decide(state, "approved") == [reviewed("approved")]
    by_person = decide(state, "rejected", " 发证日期不一致 ", REVIEWER, "a1")
    assert by_person == [reviewed("rejected", "发证日期不一致", REVIEWER, "a1")]
    assert by_person[0].version == 7  # type: ignore[attr-defined]
    assert given(opened(), reviewed("rejected", "不符")).state == "rejected"


@pytest.mark.parametrize(
    ("decision", "opinion", "code", "pointer"),
    [
        ("", "", "decision_invalid", "/decision"),
        ("APPROVED", "", "decision_invalid", "/decision"),
        ("withdrawn", "x", "decision_invalid", "/decision"),
        ("rejected", "", "opinion_required", "/opinion"),
        ("rejected", " \n\t", "opinion_required", "/opinion"),
        ("approved", "x" * 2001, "value_too_long", "/opinion"),
        ("approved", "a\x00b", "value_invalid", "/opinion"),
        ("approved", "\ud800", "value_invalid", "/opinion"),
    ],
)
def test_a_bad_review_is_refused_with_its_field(decision: str, opinion: str, code: str, pointer: str) -> None:
    with refused(code, pointer):
        decide(given(opened()), decision, opinion)


@pytest.mark.parametrize("decided", [WITHDRAWN, reviewed("approved"), reviewed("rejected", "不符")])
def test_a_push_is_decided_once(decided: Message) -> None:
    state = given(opened(), decided)
    with refused("push_not_pending"):
        decide(state, "approved")
    assert domain.withdraw(state) == []


def test_only_what_was_opened_can_be_reviewed_withdrawn_or_delivered() -> None:
    with refused("not_found"):
        decide(domain.Push(), "approved")
    assert domain.withdraw(domain.Push()) == domain.acknowledge(domain.Push()) == []
    assert domain.deliver(domain.Push(), stream_sequence=1) == []


def test_a_pending_push_is_withdrawn() -> None:
    for state in (given(opened()), given(opened(), DELIVERED), given(opened(), DELIVERED, ACKNOWLEDGED)):
        assert domain.withdraw(state) == [WITHDRAWN]
    assert given(opened(), WITHDRAWN).state == "withdrawn"


# -- reasons and appeals

REJECTED = reviewed("rejected", "不符", REVIEWER, "a1")
_DONE = ("withdrawn", "approved", "rejected", "appealed", "upheld", "overturned")
#: What every command does in every state (``ops.push_states``), written by hand.
TABLE: dict[str, dict[str, str]] = {
    "deliver": {"nothing": "-", "requested": "PushDelivered", "delivered": "-", "acknowledged": "-", **dict.fromkeys(_DONE, "-")},
    "acknowledge": {
        "nothing": "-",
        "requested": "PushAcknowledged",
        "delivered": "PushAcknowledged",
        "acknowledged": "-",
        **dict.fromkeys(_DONE, "PushAcknowledged"),
    },
    **{
        command: {
            "nothing": "not_found",
            **dict.fromkeys(("requested", "delivered", "acknowledged"), "Reviewed"),
            **dict.fromkeys(_DONE, "push_not_pending"),
        }
        for command in ("approve", "reject")
    },
    "withdraw": {
        "nothing": "-",
        **dict.fromkeys(("requested", "delivered", "acknowledged"), "PushWithdrawn"),
        **dict.fromkeys(_DONE, "-"),
    },
    "appeal": {
        "nothing": "not_found",
        **dict.fromkeys(("requested", "delivered", "acknowledged", "withdrawn", "approved"), "push_not_rejected"),
        "rejected": "Appealed",
        **dict.fromkeys(("appealed", "upheld", "overturned"), "appeal_exists"),
    },
    "answer": {
        "nothing": "not_found",
        **dict.fromkeys(("requested", "delivered", "acknowledged", *_DONE), "appeal_not_pending"),
        "appealed": "AppealAnswered",
    },
    "answer by who rejected": {
        "nothing": "not_found",
        **dict.fromkeys(("requested", "delivered", "acknowledged", *_DONE), "appeal_not_pending"),
        "appealed": "appeal_same_reviewer",
    },
}


@pytest.mark.parametrize("situation", push_states.HISTORIES)
@pytest.mark.parametrize("command", push_states.COMMANDS)
def test_every_command_in_every_state(command: str, situation: str) -> None:
    assert push_states.outcome(situation, command) == TABLE[command][situation]


@pytest.mark.parametrize("situation", push_states.HISTORIES)
def test_what_every_state_shows(situation: str) -> None:
    state = push_states.state_of(situation)
    assert (state.state, state.appeal) == push_states.SHOWN[situation]


def test_reasons_name_fields_of_the_pushed_type() -> None:
    [event] = decide(given(opened()), "rejected", "不符", reasons=[("company_name", " 与章不一致 "), ("uscc", "模糊")])
    assert [(one.field, one.text) for one in event.reasons] == [("company_name", "与章不一致"), ("uscc", "模糊")]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("reasons", "code", "pointer"),
    [
        ([("company_name", "x"), ("no_such", "x")], "field_unknown", "/reasons/1/field"),
        ([("", "x")], "field_unknown", "/reasons/0/field"),
        ([("uscc", " ")], "field_required", "/reasons/0/text"),
        ([("uscc", "x" * 501)], "value_too_long", "/reasons/0/text"),
        ([("uscc", "a\x00")], "value_invalid", "/reasons/0/text"),
        ([("uscc", "x")] * 101, "value_too_long", "/reasons"),
    ],
)
def test_bad_reasons_are_refused_with_their_place(reasons: list[tuple[str, str]], code: str, pointer: str) -> None:
    with refused(code, pointer):
        decide(given(opened()), "rejected", "不符", reasons=reasons)


@pytest.mark.parametrize(
    ("grounds", "code"), [("", "field_required"), (" \n", "field_required"), ("x" * 2001, "value_too_long"), ("\x00", "value_invalid")]
)
def test_bad_grounds_are_refused(grounds: str, code: str) -> None:
    with refused(code, "/grounds"):
        appeal(given(opened(), REJECTED), grounds)


def test_only_the_company_appeals() -> None:
    for stranger in ("", "s2"):
        with refused("not_found"):
            appeal(given(opened(), REJECTED), subject_id=stranger)
    with refused("not_found"):
        appeal(domain.Push())


@pytest.mark.parametrize(
    ("decision", "opinion", "code", "pointer"),
    [
        ("approved", "x", "decision_invalid", "/decision"),
        ("upheld", " ", "opinion_required", "/opinion"),
        ("overturned", "", "opinion_required", "/opinion"),
        ("overturned", "x" * 2001, "value_too_long", "/opinion"),
    ],
)
def test_a_bad_answer_to_an_appeal_is_refused(decision: str, opinion: str, code: str, pointer: str) -> None:
    with refused(code, pointer):
        answer(given(opened(), REJECTED, APPEALED), decision, opinion)


@pytest.mark.parametrize(
    ("rejected_by", "answered_by", "another"),
    [
        ((REVIEWER, "a1", ""), (REVIEWER, "a1", ""), False),
        ((REVIEWER, "a1", ""), (REVIEWER, "a2", ""), True),
        ((REVIEWER, "a1", ""), (SYSTEM, "ln-bidding", ""), True),
        ((SYSTEM, "ln-bidding", ""), (REVIEWER, "a1", ""), True),
        # A domain's system is one, unless it names the people who sit there.
        ((SYSTEM, "ln-bidding", ""), (SYSTEM, "ln-bidding", ""), False),
        ((SYSTEM, "ln-bidding", "7"), (SYSTEM, "ln-bidding", ""), False),
        ((SYSTEM, "ln-bidding", "7"), (SYSTEM, "ln-bidding", "7"), False),
        ((SYSTEM, "ln-bidding", "7"), (SYSTEM, "ln-bidding", "8"), True),
    ],
)
def test_an_appeal_is_answered_by_another(rejected_by: Any, answered_by: Any, another: bool) -> None:
    channel, by, person = rejected_by
    [rejection] = decide(given(opened()), "rejected", "不符", channel, by, person=person)
    state = given(opened(), rejection, APPEALED)
    if another:
        assert answer(state, "upheld", "维持", *answered_by) == [answered("upheld", "维持", *answered_by)]
    else:
        with refused("appeal_same_reviewer"):
            answer(state, "upheld", "维持", *answered_by)


def test_what_people_write_keeps_no_whole_personal_number() -> None:
    said, kept = "证号21010219900101123X，电话13912345678", "证号210102********123X，电话139****5678"
    [event] = decide(given(opened()), "rejected", said, reasons=[("uscc", said)])
    assert (event.opinion, event.reasons[0].text) == (kept, kept)  # type: ignore[attr-defined]
    assert appeal(given(opened(), REJECTED), said)[0].grounds == kept  # type: ignore[attr-defined]
    assert answer(given(opened(), REJECTED, APPEALED), "upheld", said)[0].opinion == kept  # type: ignore[attr-defined]


def test_foreign_events_are_defects() -> None:
    with pytest.raises(TypeError):
        domain.evolve_push(domain.Push(), events_pb2.DomainRegistered(), AT)
    with pytest.raises(TypeError):
        domain.evolve_domain(domain.Domain(), opened(), AT)


# -- read models


def test_rows_say_what_the_state_says() -> None:
    stream = UUID(ID)
    assert push_row(stream, domain.Push(), 0) is None
    assert domain_row(stream, domain.Domain(), 0) is None
    row = push_row(stream, given(opened(), DELIVERED, reviewed("approved")), 3)
    assert row is not None
    assert (row["state"], row["domain_id"], row["subject_id"], row["revision"]) == ("approved", "ln-bidding", "s1", 3)
    assert (row["delivered_at"], row["acknowledged_at"], row["reviewed_at"]) == (AT, None, AT)
    assert events_pb2.PushOpened.FromString(row["opened"]) == opened()
    assert events_pb2.Reviewed.FromString(row["reviewed"]) == reviewed("approved")
    assert (row["appeal"], row["appealed"], row["appealed_at"], row["answered_at"]) == ("", b"", None, None)
    row = push_row(stream, given(opened(), REJECTED, APPEALED, answered("overturned")), 4)
    assert row is not None
    assert (row["state"], row["appeal"], row["appealed_at"], row["answered_at"]) == ("approved", "overturned", AT, AT)
    assert events_pb2.Appealed.FromString(row["appealed"]) == APPEALED


# -- personal numbers


def catalogue_with(*kinds: str) -> catalogue.Catalogue:
    """A catalogue of one type, with one field of each kind, named as its kind."""
    fields = tuple(catalogue.Field(kind, kind, catalogue.Role.PLAIN, kind) for kind in kinds)
    one = catalogue.CertificateType("t", "t", "m", catalogue.Owner.PERSON, ("MANUAL",), False, "A", fields)
    return catalogue.Catalogue("1", (catalogue.Module("m", 1, "m", (one,)),))


def test_personal_numbers_are_masked_by_the_kind_of_their_field() -> None:
    types = catalogue_with("id18", "phone", "uscc", "cert_no")
    said = {"id18": "210102999999991234", "phone": "13912345678", "uscc": "912101199001011234", "cert_no": "210102199001011234"}
    seen = {"id18": "210102********1234", "phone": "139****5678", "uscc": "912101199001011234", "cert_no": "210102********1234"}
    assert domain.masked(types, "t", said) == seen
    assert domain.masked(types, "t", {"id18": "2101021990", "phone": "139"}) == {"id18": "*" * 10, "phone": "***"}


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("联系人张三13912345678，证号21010219900101123X。", "联系人张三139****5678，证号210102********123X。"),
        ("T210102199001011234", "T210102********1234"),
        ("2101021990010112345", "2101021990010112345"),
        ("13912345678901", "13912345678901"),
        ("210102202613011234", "210102202613011234"),
        ("D121000000", "D121000000"),
        ("", ""),
    ],
)
def test_what_looks_like_a_personal_number_is_masked_anywhere(said: str, seen: str) -> None:
    for type_code in ("business_license", "unknown"):
        assert domain.masked(catalogue.load(), type_code, {"note": said}) == {"note": seen}
