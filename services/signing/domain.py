"""What may happen to a seal: pure decisions over a frozen state. The stream is the preparation, used once."""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any

from google.protobuf.message import Message
from yunku.certificate.v1 import types_pb2
from yunku.signing.v1 import events_pb2

from kernel.errors import YunkuError


class Phase(Enum):
    """Where a preparation stands."""

    NONE = "NONE"
    #: Waits for the company's signature, until it expires.
    PREPARED = "PREPARED"
    SIGNED = "SIGNED"
    #: The finished seal didn't validate: it can be used no more.
    REFUSED = "REFUSED"


@dataclass(frozen=True)
class Preparation:
    """One preparation and the seal that became of it."""

    phase: Phase = Phase.NONE
    prepared: events_pb2.SealPrepared | None = None
    seal: types_pb2.Seal | None = None
    #: What the validation found, and by which revocation lists; JSON.
    validation: str = ""
    #: SHA-256 over the completing command: its idempotency key and the signature.
    completion_sha256: str = ""
    refusal: str = ""
    #: The retention date of the sealed object, microseconds since 1970; 0 until it is locked.
    retain_until_us: int = 0


def evolve(state: Preparation, event: Any, recorded_at: datetime) -> Preparation:
    """The state after ``event``."""
    match event:
        case events_pb2.SealPrepared():
            return replace(state, phase=Phase.PREPARED, prepared=event)
        case events_pb2.Signed():
            return replace(
                state,
                phase=Phase.SIGNED,
                seal=event.seal,
                validation=event.validation_json,
                completion_sha256=json.loads(event.validation_json)["completion_sha256"],
            )
        case events_pb2.SealRefused():
            return replace(state, phase=Phase.REFUSED if event.final else state.phase, refusal=event.reason)
        case events_pb2.SealedDocumentLocked():
            return replace(state, retain_until_us=event.retain_until_us)
    raise TypeError(f"{type(event).__name__} is no event of a seal")


def prepare(state: Preparation, event: events_pb2.SealPrepared) -> list[Message]:
    """Records a preparation; a second one under the same id (a retry) changes nothing."""
    return [event] if state.phase is Phase.NONE else []


def check_completable(state: Preparation, certificate_id: str, completion_sha256: str, now_us: int) -> events_pb2.SealPrepared:
    """The preparation, if this command may complete it (or has); ``completion_sha256`` is over its key and signature.

    Raises ``seal_not_prepared`` (no such preparation for this certificate), ``seal_used``, ``seal_invalid`` (it was
    refused), ``seal_expired``.
    """
    prepared = state.prepared
    if prepared is None or prepared.certificate_id != certificate_id:
        raise YunkuError("seal_not_prepared", field="/preparation_id")
    if state.phase is Phase.REFUSED:
        raise YunkuError("seal_invalid")
    if state.phase is Phase.SIGNED:
        if state.completion_sha256 != completion_sha256:
            raise YunkuError("seal_used", field="/preparation_id")
    elif now_us >= prepared.expires_at_us:
        raise YunkuError("seal_expired", field="/preparation_id")
    return prepared


def complete(state: Preparation, event: events_pb2.Signed, completion_sha256: str, now_us: int) -> list[Message]:
    """Records the seal; the same command a second time changes nothing. Raises as ``check_completable``."""
    check_completable(state, event.certificate_id, completion_sha256, now_us)
    return [event] if state.phase is Phase.PREPARED else []


def refuse(state: Preparation, reason: str) -> list[Message]:
    """Records that the finished seal didn't validate."""
    prepared = state.prepared
    if prepared is None or state.phase is not Phase.PREPARED:
        return []
    return [
        events_pb2.SealRefused(
            preparation_id=prepared.preparation_id,
            certificate_id=prepared.certificate_id,
            reason=reason,
            final=True,
        )
    ]


def lock(state: Preparation, retain_until_us: int) -> list[Message]:
    """Records that the sealed object is locked; once."""
    if state.seal is None or state.retain_until_us:
        return []
    return [events_pb2.SealedDocumentLocked(seal_id=state.seal.seal_id, sha256=state.seal.sealed_sha256, retain_until_us=retain_until_us)]
