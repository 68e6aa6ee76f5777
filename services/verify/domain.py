"""What may happen to one verification: it is accepted, put off as often as recognition can't answer, and decided once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from google.protobuf.message import Message
from yunku.certificate.v1 import events_pb2 as certificate_events_pb2
from yunku.certificate.v1 import types_pb2
from yunku.verify.v1 import events_pb2

from catalogue import CertificateType, snapshot
from services.verify import light

#: Seconds before the second attempt; it doubles with each one, up to a limit that is handed in.
FIRST_PAUSE: Final = 1.0

_LIGHTS: Final = {
    light.Light.RED: types_pb2.LIGHT_RED,
    light.Light.YELLOW: types_pb2.LIGHT_YELLOW,
    light.Light.GREEN: types_pb2.LIGHT_GREEN,
}


@dataclass(frozen=True)
class Verification:
    """One verification as its stream says; ``accepted`` holds all stated inputs and is never changed.

    ``due_at`` is when it is to be tried (again), None once it is decided.
    """

    accepted: events_pb2.VerificationAccepted | None = None
    verified: events_pb2.Verified | None = None
    attempts: int = 0
    reason: str = ""
    due_at: datetime | None = None


def evolve(state: Verification, event: Any, recorded_at: datetime) -> Verification:
    """The state after ``event``."""
    match event:
        case events_pb2.VerificationAccepted():
            return replace(state, accepted=event, due_at=recorded_at)
        case events_pb2.VerificationPostponed():
            due_at = recorded_at.fromtimestamp(event.next_attempt_us / 1e6, recorded_at.tzinfo)
            return replace(state, attempts=event.attempts, reason=event.reason, due_at=due_at)
        case events_pb2.Verified():
            return replace(state, verified=event, reason="", due_at=None)
    raise TypeError(f"{type(event).__name__} is no event of a verification")


def accept(state: Verification, request: certificate_events_pb2.VerificationRequested) -> list[Message]:
    """Takes a verification on; one that was taken on already changes nothing."""
    if state.accepted is not None:
        return []
    return [
        events_pb2.VerificationAccepted(
            verification_id=request.verification_id,
            certificate_id=request.certificate_id,
            holder=request.holder,
            type=request.type,
            document=request.document,
            fields=request.fields,
            absent=request.absent,
            marks=request.marks,
            version=request.version,
            catalogue_version=request.catalogue_version,
            person_id=request.person_id,
        )
    ]


def postpone(state: Verification, *, reason: str, now: datetime, longest_pause: float) -> list[Message]:
    """Recognition could not answer (``reason``: a key of the texts ``verify.postponed``): tried again, ever more slowly."""
    if state.accepted is None or state.verified is not None:
        return []
    pause = min(FIRST_PAUSE * 2 ** min(state.attempts, 30), longest_pause)
    due_at = now + timedelta(seconds=pause)
    return [
        events_pb2.VerificationPostponed(
            verification_id=state.accepted.verification_id,
            certificate_id=state.accepted.certificate_id,
            version=state.accepted.version,
            reason=reason,
            attempts=state.attempts + 1,
            next_attempt_us=int(due_at.timestamp() * 1_000_000),
            subject_id=state.accepted.holder.subject_id,
        )
    ]


def conclude(state: Verification, verified: events_pb2.Verified) -> list[Message]:
    """Records the verdict; a second one (of another process that worked on the same) changes nothing."""
    if state.accepted is None or state.verified is not None:
        return []
    return [verified]


# -- the verdict ---------------------------------------------------------------------------------------------------------


def marked(accepted: events_pb2.VerificationAccepted) -> frozenset[str]:
    """The fields that have a mark."""
    return frozenset(mark.field for mark in accepted.marks)


def inputs_of(
    accepted: events_pb2.VerificationAccepted,
    rules: CertificateType,
    evidence: Mapping[str, light.Evidence],
    engine_version: str,
    person_agrees: Collection[str],
) -> light.Inputs:
    """All that the verdict is a function of."""
    return light.Inputs(
        rules=rules,
        holder=light.Holder(accepted.holder.uscc, accepted.holder.name, tuple(accepted.holder.former_names)),
        fields=dict(accepted.fields),
        absent=frozenset(accepted.absent),
        marked=marked(accepted),
        evidence=dict(evidence),
        person_agrees=frozenset(person_agrees),
        document_sha256=accepted.document.sha256,
        engine_version=engine_version,
    )


def verdict(
    accepted: events_pb2.VerificationAccepted,
    rules: CertificateType,
    evidence: Mapping[str, light.Evidence],
    engine: str,
    engine_version: str,
    person_agrees: Collection[str] = (),
) -> events_pb2.Verified:
    """The verdict with everything from which it can be reached again. Raises light.EvidenceMissing."""
    inputs = inputs_of(accepted, rules, evidence, engine_version, person_agrees)
    outcome = light.decide(inputs)
    return events_pb2.Verified(
        verification_id=accepted.verification_id,
        certificate_id=accepted.certificate_id,
        version=accepted.version,
        document_sha256=accepted.document.sha256,
        light=_LIGHTS[outcome.light],
        fields=[_field_verdict(one) for one in outcome.fields],
        rules=[_rule_failure(one) for one in outcome.failures],
        rules_version=light.RULES_VERSION,
        engine=engine,
        engine_version=engine_version,
        evidence=[events_pb2.FieldEvidence(field=name, evidence_json=one.to_json()) for name, one in sorted(inputs.evidence.items())],
        subject_id=accepted.holder.subject_id,
        rules_json=snapshot.dump(rules),
        person_agrees=sorted(person_agrees),
    )


def replay(accepted: events_pb2.VerificationAccepted, recorded: events_pb2.Verified) -> events_pb2.Verified:
    """Decides again from what was recorded, by the rules of then; equal to ``recorded`` while RULES_VERSION is the same."""
    evidence = {one.field: light.Evidence.from_json(one.evidence_json) for one in recorded.evidence}
    return verdict(
        accepted, snapshot.restore(recorded.rules_json), evidence, recorded.engine, recorded.engine_version, recorded.person_agrees
    )


def same(one: events_pb2.Verified, other: events_pb2.Verified) -> bool:
    """Whether two verdicts are the same, whichever version of the rules said so."""
    return one.light == other.light and _list(one.fields) == _list(other.fields) and _list(one.rules) == _list(other.rules)


def _list(messages: Sequence[Message]) -> list[bytes]:
    return [message.SerializeToString(deterministic=True) for message in messages]


def _field_verdict(one: light.FieldVerdict) -> types_pb2.FieldVerdict:
    return types_pb2.FieldVerdict(
        field=one.name,
        verdict=types_pb2.Verdict.Value(f"VERDICT_{one.verdict.value}"),
        stated=one.stated,
        recognised=one.recognised,
        reason=one.reason,
        params=one.params,
        confidence=one.confidence,
    )


def _rule_failure(one: light.RuleFailure) -> types_pb2.RuleFailure:
    return types_pb2.RuleFailure(rule=one.rule, fields=one.fields, reason=one.reason, decisive=one.decisive, note=one.note)
