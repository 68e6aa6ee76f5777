"""One verification, carried out: ask recognition, decide, record. Safe to run twice, and to be killed anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from yunku.verify.v1 import events_pb2

import catalogue
from catalogue import CertificateType
from kernel.context import CallContext, system_context, use
from kernel.errors import YunkuError
from kernel.eventlog.store import EventLog, fold, utc_now
from kernel.observability.logging import get_logger
from services.verify import domain, light
from services.verify.ports import Persons, Recogniser, Region
from services.verify.projections import VERIFICATION

_log = get_logger(__name__)

#: Refusals of recognition that pass by themselves, and what the user is told meanwhile (texts ``verify.postponed``).
_REASONS = {
    "service_unavailable": "recognition_unavailable",
    "deadline_exceeded": "recognition_timeout",
    "too_many_requests": "recognition_unavailable",
}


class PersonsUnavailable(Exception):
    """The subject service couldn't say now whose the certificate is."""


class Incomplete(Exception):
    """Recognition answered, but not for every region that it was asked for, or by two engine versions."""


async def carry_out(
    log: EventLog,
    recogniser: Recogniser,
    persons: Persons,
    verification_id: UUID,
    *,
    longest_pause: float,
    clock: Callable[[], datetime] = utc_now,
) -> bool:
    """Carries one verification out. True: it has its verdict (now or from before); False: it was put off.

    Whatever goes wrong with recognition or the rules puts it off with a reason, visibly, and it is tried again; only the
    loss of the database surfaces, and then nothing has happened.
    """
    events = await log.read_stream(verification_id)
    state = fold(VERIFICATION, events).state
    if state.accepted is None or state.verified is not None:
        return True
    accepted = state.accepted
    context = system_context(
        log.service,
        correlation_id=events[0].meta.correlation_id,
        causation_id=str(events[0].event_id),
        trace_parent=events[0].meta.trace_parent,
    )
    try:
        with use(context):
            verified = await _verdict(recogniser, persons, accepted)
    except PersonsUnavailable as refused:
        reason = "persons_unavailable"
        _log.warning("persons can't be asked", verification_id=str(verification_id), why=str(refused), attempts=state.attempts + 1)
    except YunkuError as refused:
        reason = _REASONS.get(refused.code, "recognition_failed")
        _log.warning("recognition refused", verification_id=str(verification_id), code=refused.code, attempts=state.attempts + 1)
    except Exception as failure:
        # A defect or a mismatch of versions: it must not be lost, and somebody must see it.
        reason = "recognition_failed"
        _log.error("verification failed", verification_id=str(verification_id), exc_info=failure)
    else:
        await log.execute(
            VERIFICATION,
            verification_id,
            lambda now: domain.conclude(now, verified),
            context,
            subject_id=accepted.holder.subject_id,
        )
        return True
    await _put_off(log, verification_id, reason, longest_pause, clock(), context, accepted.holder.subject_id)
    return False


async def _put_off(
    log: EventLog, verification_id: UUID, reason: str, longest_pause: float, now: datetime, context: CallContext, subject_id: str
) -> None:
    await log.execute(
        VERIFICATION,
        verification_id,
        lambda state: domain.postpone(state, reason=reason, now=now, longest_pause=longest_pause),
        context,
        subject_id=subject_id,
    )


async def _person_agrees(persons: Persons, accepted: events_pb2.VerificationAccepted, rules: CertificateType) -> frozenset[str]:
    statements = light.person_statements(rules, dict(accepted.fields))
    if not statements or not accepted.person_id:
        return frozenset()
    try:
        return await persons.agreeing(accepted.person_id, accepted.holder.subject_id, statements)
    except YunkuError as refused:
        raise PersonsUnavailable(refused.code) from refused


async def _verdict(recogniser: Recogniser, persons: Persons, accepted: events_pb2.VerificationAccepted) -> events_pb2.Verified:
    rules = catalogue.load().type(accepted.type)
    agrees = await _person_agrees(persons, accepted, rules)
    regions = _regions(accepted, rules)
    if not regions:
        return domain.verdict(accepted, rules, {}, "", "", agrees)
    first = await recogniser.read(accepted.document, [one for several in regions.values() for one in several])
    engine, version, evidence = first.engine, first.engine_version, dict(first.evidence)
    again = _unscored(accepted, rules, regions, evidence)
    if again:
        second = await recogniser.read(accepted.document, again)
        if (second.engine, second.engine_version) != (engine, version):
            raise Incomplete("the engine changed between two questions")
        for one in again:
            more = second.evidence.get(one.key, light.Evidence())
            evidence[one.key] = replace(evidence[one.key], candidates=(*evidence[one.key].candidates, *more.candidates))
    joined: dict[str, light.Evidence] = {}
    for name, several in regions.items():
        missing = [one.key for one in several if one.key not in evidence]
        if missing:
            raise Incomplete(f"no answer for {missing}")
        joined[name] = light.joined([evidence[one.key].pruned() for one in several])
    return domain.verdict(accepted, rules, joined, engine, version, agrees)


def _regions(accepted: events_pb2.VerificationAccepted, rules: CertificateType) -> dict[str, list[Region]]:
    """The marks to be read, by field. The parts of a value that has several marks can only be scored once they are read."""
    fields = dict(accepted.fields)
    found: dict[str, list[Region]] = {name: [] for name in light.fields_to_read(rules, domain.marked(accepted))}
    for number, mark in enumerate(accepted.marks):
        if mark.field in found:
            found[mark.field].append(Region(f"{mark.field}#{number}", mark.page, mark.box, ()))
    for name, several in found.items():
        if len(several) == 1:
            several[0] = replace(several[0], candidates=light.candidates(rules, fields, name))
    return found


def _unscored(
    accepted: events_pb2.VerificationAccepted,
    rules: CertificateType,
    regions: Mapping[str, Sequence[Region]],
    evidence: Mapping[str, light.Evidence],
) -> list[Region]:
    """What has to be asked a second time: readings whose look-alike margin isn't known, and the parts of values in parts."""
    fields = dict(accepted.fields)
    again = []
    for name, several in regions.items():
        for one in several:
            seen = evidence.get(one.key)
            if seen is None:
                continue
            if len(several) == 1:
                texts = light.unscored(rules, fields, name, seen.pruned())
            else:
                texts = tuple(reading.text for reading in seen.readings[:1] if reading.text)
            if texts:
                again.append(replace(one, candidates=texts[: light.MAX_CANDIDATES]))
    return again
