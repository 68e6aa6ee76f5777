"""One verification: given what happened, when this comes, then that follows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.message import Message
from yunku.certificate.v1 import events_pb2 as certificate_events_pb2
from yunku.certificate.v1 import types_pb2
from yunku.verify.v1 import events_pb2

import catalogue
from services.verify import domain, light
from services.verify.domain import Verification
from services.verify.projections import verification_row

AT = datetime(2026, 11, 23, 16, 0, 0, 123456, UTC)
LICENCE = catalogue.load().type("business_license")
FIELDS = {"uscc": "91110108MA01EBFH9B", "company_name": "沈阳鑫恒建设工程有限公司", "legal_rep_name": "张己"}
REQUEST = certificate_events_pb2.VerificationRequested(
    certificate_id="c1",
    verification_id="018f0000-0000-7000-8000-000000000001",
    holder=types_pb2.Holder(subject_id="s1", uscc=FIELDS["uscc"], name=FIELDS["company_name"], former_names=["旧名有限公司"]),
    type="business_license",
    document=types_pb2.Document(sha256="ab" * 32),
    fields=FIELDS,
    absent=["business_term"],
    marks=[types_pb2.Mark(field=name, page=1, box=types_pb2.Box(x1=1, y1=1)) for name in FIELDS],
    version=4,
    catalogue_version="v",
)


def given(*events: Message) -> Verification:
    state = Verification()
    for event in events:
        state = domain.evolve(state, event, AT)
    return state


def seen(text: str) -> light.Evidence:
    return light.Evidence((light.Reading(text, 0.9, -0.1),), (light.Candidate(text, -0.1, 0.0, 50.0),))


ACCEPTED: Any = domain.accept(Verification(), REQUEST)[0]
EVIDENCE = {name: seen(value) for name, value in FIELDS.items()}
VERIFIED = domain.verdict(ACCEPTED, LICENCE, EVIDENCE, "ppocr", "6")


def postponed(state: Verification, **changes: Any) -> list[Message]:
    return domain.postpone(state, reason="recognition_timeout", now=AT, longest_pause=60.0, **changes)


def test_a_request_is_taken_on_once_with_everything_it_states() -> None:
    for name in ("certificate_id", "verification_id", "holder", "type", "document", "version", "catalogue_version"):
        assert getattr(ACCEPTED, name) == getattr(REQUEST, name), name
    assert (dict(ACCEPTED.fields), list(ACCEPTED.absent), len(ACCEPTED.marks)) == (FIELDS, ["business_term"], 3)
    assert domain.accept(given(ACCEPTED), REQUEST) == []
    assert given(ACCEPTED).due_at == AT


def test_it_is_put_off_ever_longer_and_never_given_up() -> None:
    state, pauses = given(ACCEPTED), []
    for attempt in range(1, 60):
        (event,) = postponed(state)
        assert isinstance(event, events_pb2.VerificationPostponed)
        assert (event.attempts, event.reason, event.subject_id, event.version) == (attempt, "recognition_timeout", "s1", 4)
        state = domain.evolve(state, event, AT)
        assert state.due_at is not None
        pauses.append((state.due_at - AT) / timedelta(seconds=1))
    assert pauses[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pauses[-1] == 60
    assert domain.conclude(state, VERIFIED) == [VERIFIED]


def test_what_is_decided_stays_decided() -> None:
    state = given(ACCEPTED, VERIFIED)
    assert state.due_at is None
    assert postponed(state) == []
    assert domain.conclude(state, VERIFIED) == []
    assert domain.accept(state, REQUEST) == []


def test_nothing_happens_to_what_was_never_asked() -> None:
    assert postponed(Verification()) == []
    assert domain.conclude(Verification(), VERIFIED) == []


def test_the_row_follows_the_state() -> None:
    stream = UUID(REQUEST.verification_id)
    assert verification_row(stream, Verification(), 0) is None
    (late,) = postponed(given(ACCEPTED))
    for events, expected in (
        ((ACCEPTED,), ("waiting", 0, "", AT)),
        ((ACCEPTED, late), ("waiting", 1, "recognition_timeout", AT + timedelta(seconds=1))),
        ((ACCEPTED, late, VERIFIED), ("done", 1, "", None)),
    ):
        row = verification_row(stream, given(*events), len(events))
        assert row is not None
        assert (row["state"], row["attempts"], row["reason"], row["due_at"]) == expected
        assert (row["certificate_id"], row["subject_id"], row["revision"]) == ("c1", "s1", len(events))


def test_the_verdict_records_all_that_it_is_a_function_of() -> None:
    assert VERIFIED.light == types_pb2.LIGHT_YELLOW  # the other DIGITAL fields are neither stated nor marked
    assert (VERIFIED.document_sha256, VERIFIED.rules_version, VERIFIED.engine, VERIFIED.engine_version) == (
        "ab" * 32, light.RULES_VERSION, "ppocr", "6"
    )  # fmt: skip
    verdicts = {one.field: types_pb2.Verdict.Name(one.verdict) for one in VERIFIED.fields}
    assert verdicts["uscc"] == "VERDICT_MATCH"
    assert verdicts["address"] == "VERDICT_UNMARKED"
    assert verdicts["business_term"] == "VERDICT_ABSENT"
    assert verdicts["business_scope"] == "VERDICT_NOT_COMPARED"
    assert {one.field for one in VERIFIED.evidence} == set(FIELDS)


def test_a_replay_gives_the_same_bytes_and_notices_another_verdict() -> None:
    again = domain.replay(ACCEPTED, VERIFIED)
    assert again.SerializeToString(deterministic=True) == VERIFIED.SerializeToString(deterministic=True)
    forged = events_pb2.Verified.FromString(VERIFIED.SerializeToString())
    forged.light = types_pb2.LIGHT_GREEN
    assert domain.same(again, VERIFIED)
    assert not domain.same(domain.replay(ACCEPTED, forged), forged)


@pytest.mark.parametrize("name", ["沈阳鑫恒建设工程有限公司", "旧名有限公司"])
def test_the_holder_of_the_request_counts(name: str) -> None:
    stated = events_pb2.VerificationAccepted.FromString(ACCEPTED.SerializeToString())
    stated.fields["company_name"] = name
    evidence = {**EVIDENCE, "company_name": seen(name)}
    assert domain.verdict(stated, LICENCE, evidence, "e", "1").light == types_pb2.LIGHT_YELLOW
    stated.holder.name = "别家有限公司"
    lights = domain.verdict(stated, LICENCE, evidence, "e", "1").light
    assert lights == (types_pb2.LIGHT_YELLOW if name == "旧名有限公司" else types_pb2.LIGHT_RED)
