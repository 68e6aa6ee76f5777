"""CloudEvents: what a domain is told, and which answers are read at all."""

import contextlib
import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yunku.certificate.v1 import types_pb2
from yunku.push.v1 import events_pb2

import catalogue
from services.push import cloudevents, domain

AT = datetime(2026, 11, 23, 8, 0, 0, 123456, tzinfo=UTC)
ID = "0193f000-0000-7000-8000-00000000f001"


def push(**more: Any) -> domain.Push:
    opened = events_pb2.PushOpened(
        push_id=ID,
        certificate_id="c1",
        number=2,
        domain_id="ln-bidding",
        holder=types_pb2.Holder(subject_id="s1", uscc="91210102MA0XABCD1K", name="沈阳测试建设有限公司", former_names=["旧名"]),
        type="business_license",
        version=7,
        unique_code="A1B2",
        light=types_pb2.LIGHT_GREEN,
        fields={"legal_rep_name": "张己", "uscc": "91210102MA0XABCD1K", "company_name": "沈阳测试建设有限公司"},
        document=types_pb2.Document(sha256="ab" * 32, file_name="身份证.pdf"),
        seal=types_pb2.Seal(seal_id="x", sealed_sha256="cd" * 32, signed_at_us=1_700_000_000_000_001, signer_name="沈阳测试建设有限公司"),
        requested_at_us=1_700_000_000_123_456,
    )
    state = domain.evolve_push(domain.Push(), opened, AT)
    return domain.Push(**{**state.__dict__, **more})


def sent(event: cloudevents.CloudEvent) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(cloudevents.encode(event))
    return content


def test_a_push_is_told_whole() -> None:
    event = sent(cloudevents.requested(push(), catalogue.load()))
    data = event.pop("data")
    assert event == {
        "specversion": "1.0",
        "id": ID,
        "source": "/yunku/push",
        "type": "yunku.push.requested",
        "subject": "A1B2",
        "time": "2023-11-14T22:13:20.123456Z",
        "datacontenttype": "application/json",
    }
    assert (data["push_id"], data["number"], data["version"], data["light"]) == (ID, 2, 7, "GREEN")
    assert data["holder"] == {"uscc": "91210102MA0XABCD1K", "name": "沈阳测试建设有限公司"}
    assert list(data["fields"]) == ["uscc", "company_name", "legal_rep_name"]
    assert data["fields"]["legal_rep_name"] == {"label": "法定代表人", "value": "张己"}
    assert (data["document_sha256"], data["sealed_sha256"], data["sealed_at"]) == ("ab" * 32, "cd" * 32, "2023-11-14T22:13:20.000001Z")
    assert data["objection"] is None
    assert (data["type_label"], data["review"], data["review_subject"]) == ("营业执照", "manual", "review.ln-bidding")


def test_an_automatic_review_is_announced_for_green_only() -> None:
    state = push()
    assert state.opened is not None
    assert cloudevents.requested(state, catalogue.load()).data.review == "manual"
    state.opened.automatic = True
    assert cloudevents.requested(state, catalogue.load()).data.review == "automatic"
    state.opened.light = types_pb2.LIGHT_YELLOW
    assert cloudevents.requested(state, catalogue.load()).data.review == "manual"


def test_a_type_that_left_the_catalogue_and_lacks_a_seal_can_still_be_told() -> None:
    state = push()
    assert state.opened is not None
    state.opened.type = "gone"
    state.opened.ClearField("seal")
    state.opened.ClearField("document")
    data = sent(cloudevents.requested(state, catalogue.load()))["data"]
    assert (data["type_label"], data["sealed_sha256"], data["sealed_at"], data["document_sha256"]) == ("gone", None, None, None)
    assert data["fields"]["uscc"]["label"] == "uscc"


def test_withdrawal_and_decision_have_ids_of_their_own() -> None:
    channel = events_pb2.REVIEW_CHANNEL_REVIEWER
    review = events_pb2.Reviewed(version=7, decision="rejected", opinion="不符", channel=channel, reviewer_id="a1")
    told = [sent(cloudevents.withdrawn(push(withdrawn_at=AT))), sent(cloudevents.decided(push(reviewed=review, reviewed_at=AT)))]
    assert [one["type"] for one in told] == ["yunku.push.withdrawn", "yunku.push.decided"]
    assert len({ID, *(one["id"] for one in told)}) == 3
    assert (told[1]["data"]["decision"], told[1]["data"]["opinion"], told[1]["data"]["channel"]) == ("rejected", "不符", "REVIEWER")
    assert "a1" not in json.dumps(told[1])  # who it was stays with the register


# -- answers


def answer(**changes: Any) -> dict[str, Any]:
    data = {"push_id": ID, "decision": "approved", "opinion": "同意"}
    return {"specversion": "1.0", "id": "e1", "source": "/x", "type": "yunku.push.reviewed", "data": data} | changes


def encoded(content: Any) -> bytes:
    return json.dumps(content).encode()


def refusal(body: bytes) -> cloudevents.Refused:
    with pytest.raises(cloudevents.Refused) as caught:
        cloudevents.read_answer(body)
    return caught.value


def test_a_review_and_an_acknowledgement_are_read() -> None:
    read = cloudevents.read_answer(encoded(answer(extension="x", time="2026-01-01T00:00:00Z")))
    assert (read.data.push_id, read.answer_id) == (ID, "e1")
    assert read.data == cloudevents.ReviewAnswer(push_id=ID, decision="approved", opinion="同意")
    read = cloudevents.read_answer(encoded(answer(type="yunku.push.acknowledged", data={"push_id": ID})))
    assert read.data == cloudevents.Acknowledgement(push_id=ID)


def test_the_data_alone_is_a_review_that_is_itself_its_identity() -> None:
    bare = {"push_id": ID, "decision": "rejected", "opinion": "不符"}
    first, again = cloudevents.read_answer(encoded(bare)), cloudevents.read_answer(encoded(bare))
    assert first == again
    assert isinstance(first.data, cloudevents.ReviewAnswer)
    assert (first.data.decision, first.answer_id) == ("rejected", None)
    assert cloudevents.read_answer(encoded(bare | {"opinion": "又"})).identity != first.identity


def test_an_answer_is_known_by_source_and_id() -> None:
    def identity(**changes: Any) -> str:
        return cloudevents.read_answer(encoded(answer(**changes))).identity

    assert identity() == identity(time="2026-01-01T00:00:00Z")
    assert len({identity(), identity(id="e2"), identity(source="/y"), identity(source="/", id="xe1")}) == 4


NESTED = b"[" * 5000 + b"]" * 5000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"\xff\xfe",
        b"\x00",
        NESTED,
        b'{"a":' * 3000 + b"1" + b"}" * 3000,
        b'{"push_id":NaN,"decision":"approved"}',
        b'{"push_id":"1","decision":"approved","decision":"rejected"}',
        b'{"push_id":"\\ud800","decision":"approved"}',
        b'{"push_id":1' + b"0" * 5000 + b',"decision":"approved"}',
        encoded({}),
        encoded({"push_id": ID}),
        encoded({"decision": "approved"}),
        encoded({"push_id": 7, "decision": "approved"}),
        encoded({"push_id": ID, "decision": True}),
        encoded({"push_id": "x" * 65, "decision": "approved"}),
        encoded({"push_id": ID, "decision": "x" * 65}),
        encoded(answer(specversion="0.3")),
        encoded(answer(specversion=1.0)),
        encoded(answer(id="")),
        encoded(answer(id="x" * 201)),
        encoded(answer(source=None)),
        encoded(answer(type="yunku.push.requested")),
        encoded(answer(type=None)),
        encoded(answer(data=None)),
        encoded(answer(data=[ID])),
        encoded(answer(data={"push_id": ID, "decision": None})),
        encoded({**answer(), "deep": [[[[[[[[1]]]]]]]]}),
    ],
    ids=range(31),
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    assert refusal(body).code == "request_malformed"


def test_a_refusal_repeats_what_could_be_read_and_nothing_unprintable() -> None:
    told = refusal(encoded(answer(specversion="0.3")))
    assert (told.answer_id, told.push_id) == ("e1", ID)
    told = refusal(encoded(answer(specversion="0.3", id="a\nb", data={"push_id": "\x1b[31m"})))
    assert (told.answer_id, told.push_id) == (None, None)


def test_the_bound_on_size_is_exact() -> None:
    fitting = encoded(answer(pad=""))
    fitting = encoded(answer(pad="x" * (cloudevents.MAX_ANSWER - len(fitting))))
    assert len(fitting) == cloudevents.MAX_ANSWER
    assert cloudevents.read_answer(fitting).data.push_id == ID
    assert refusal(fitting + b" ").code == "too_large"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2**32))
def test_whatever_comes_is_read_or_refused(noise: bytes, seed: int) -> None:
    chance = random.Random(seed)
    body = bytearray(encoded(answer()))
    for _ in range(chance.randrange(4)):
        place = chance.randrange(len(body))
        body[place : place + chance.randrange(3)] = noise[:5]
    for one in (noise, bytes(body)):
        with contextlib.suppress(cloudevents.Refused):
            assert cloudevents.read_answer(one).data.push_id
