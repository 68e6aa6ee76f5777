"""The life of a preparation: given events, when a command, then events or a refusal."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.message import Message
from yunku.certificate.v1 import types_pb2
from yunku.signing.v1 import events_pb2

from kernel.errors import YunkuError
from services.signing import domain
from services.signing.domain import Phase, Preparation

AT = datetime(2026, 11, 23, 8, tzinfo=UTC)
EXPIRES = 1_000_000
PREPARED = events_pb2.SealPrepared(
    preparation_id="p", certificate_id="c", version=1, subject_id="s", expires_at_us=EXPIRES, to_sign=b"attributes"
)
SEAL = types_pb2.Seal(seal_id="p", version=1, sealed_sha256="ab", signed_at_us=5)


def signed(signature: str = "first") -> events_pb2.Signed:
    return events_pb2.Signed(certificate_id="c", seal=SEAL, validation_json=json.dumps({"completion_sha256": signature}))


REFUSED = events_pb2.SealRefused(preparation_id="p", certificate_id="c", reason="revoked", final=True)
WARNED = events_pb2.SealRefused(preparation_id="p", certificate_id="c", reason="slip", final=False)
LOCKED = events_pb2.SealedDocumentLocked(seal_id="p", sha256="ab", retain_until_us=99)


def given(*events: Message) -> Preparation:
    state = Preparation()
    for event in events:
        state = domain.evolve(state, event, AT)
    return state


def complete(signature: str = "first", certificate_id: str = "c", now: int = EXPIRES - 1) -> Callable[[Any], Any]:
    event = signed(signature)
    event.certificate_id = certificate_id
    return lambda state: domain.complete(state, event, signature, now)


@pytest.mark.parametrize(
    ("history", "command", "then"),
    [
        ([], lambda state: domain.prepare(state, PREPARED), [PREPARED]),
        ([PREPARED], lambda state: domain.prepare(state, PREPARED), []),
        ([PREPARED], complete(), [signed()]),
        ([PREPARED, WARNED], complete(), [signed()]),
        ([PREPARED, signed()], complete(), []),
        ([PREPARED, signed()], complete(now=EXPIRES + 1), []),
        ([PREPARED], lambda state: domain.refuse(state, "revoked"), [REFUSED]),
        ([PREPARED, REFUSED], lambda state: domain.refuse(state, "again"), []),
        ([PREPARED, signed()], lambda state: domain.refuse(state, "late"), []),
        ([], lambda state: domain.refuse(state, "nothing"), []),
        ([PREPARED, signed()], lambda state: domain.lock(state, 99), [LOCKED]),
        ([PREPARED, signed(), LOCKED], lambda state: domain.lock(state, 100), []),
        ([PREPARED], lambda state: domain.lock(state, 99), []),
    ],
)
def test_decisions(history: Sequence[Message], command: Callable[[Preparation], Any], then: list[Message]) -> None:
    assert command(given(*history)) == then


@pytest.mark.parametrize(
    ("history", "command", "code"),
    [
        ([], complete(), "seal_not_prepared"),
        ([PREPARED], complete(certificate_id="another"), "seal_not_prepared"),
        ([PREPARED, signed()], complete(certificate_id="another"), "seal_not_prepared"),
        ([PREPARED, signed()], complete("second"), "seal_used"),
        ([PREPARED], complete(now=EXPIRES), "seal_expired"),
        ([PREPARED, REFUSED], complete(), "seal_invalid"),
        ([PREPARED, REFUSED], complete(now=EXPIRES), "seal_invalid"),
    ],
)
def test_refusals(history: Sequence[Message], command: Callable[[Preparation], Any], code: str) -> None:
    with pytest.raises(YunkuError) as refused:
        command(given(*history))
    assert refused.value.code == code


def test_state_follows_its_events() -> None:
    assert given().phase is Phase.NONE
    assert given(PREPARED).phase is Phase.PREPARED
    assert given(PREPARED, WARNED).phase is Phase.PREPARED
    assert given(PREPARED, REFUSED).phase is Phase.REFUSED
    after = given(PREPARED, signed(), LOCKED)
    assert after.phase is Phase.SIGNED
    assert after.seal == SEAL
    assert after.completion_sha256 == "first"
    assert after.retain_until_us == 99


def test_a_strange_event_is_a_defect() -> None:
    with pytest.raises(TypeError):
        domain.evolve(Preparation(), SEAL, AT)
