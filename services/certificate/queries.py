"""Questions, answered from the read models and, for history, from the log itself."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from google.protobuf.json_format import MessageToDict, MessageToJson
from sqlalchemy import func, select
from yunku.certificate.v1 import events_pb2, service_pb2, types_pb2
from yunku.kernel.v1 import kernel_pb2

from kernel.calendar import CHINA
from kernel.context import Caller
from kernel.errors import YunkuError
from kernel.eventlog.events import RecordedEvent
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog
from services.certificate import domain, listing
from services.certificate.handlers import certificate_id
from services.certificate.tables import activity, certificates


def _may_see(view: service_pb2.Certificate, caller: Caller) -> bool:
    return caller.kind == "service" or view.holder.subject_id == caller.subject_id or caller.has_role("AUDITOR")


async def get(log: EventLog, text: str, caller: Caller) -> service_pb2.Certificate:
    """The certificate, for its subject, auditors and services; else ``not_found``."""
    wanted = certificate_id(text)
    statement = select(certificates.c.certificate).where(certificates.c.certificate_id == wanted)
    async with log.pool.connection() as connection:
        row = await (await connection.execute(*render(statement), prepare=True)).fetchone()
    if row is not None:
        view = service_pb2.Certificate.FromString(bytes(row[0]))
        if _may_see(view, caller):
            return view
    raise YunkuError("not_found")


async def find(log: EventLog, request: service_pb2.ListCertificatesRequest, caller: Caller) -> service_pb2.ListCertificatesResponse:
    """The subject's certificates that the request asks for, in its order. Paging goes on after the last one given, so what is added
    meanwhile neither repeats nor hides any. Raises as ``listing.attempts``."""
    subject_id = caller.require_subject()
    limit = listing.limit_of(request)
    rows: list[tuple[Any, ...]] = []
    async with log.pool.connection() as connection:
        for statement in listing.attempts(request, subject_id, datetime.now(CHINA).date()):
            # Never prepared: a plan that fits every company and word fits none well.
            rows = await (await connection.execute(*render(statement), prepare=False)).fetchall()
            if len(rows) > limit:
                break
    items = [service_pb2.Certificate.FromString(bytes(row[2])) for row in rows[:limit]]
    more = listing.cursor(request, subject_id, rows[limit - 1][0], rows[limit - 1][1]) if len(rows) > limit else ""
    return service_pb2.ListCertificatesResponse(items=items, next_cursor=more)


async def counts(log: EventLog, request: service_pb2.CountCertificatesRequest, caller: Caller) -> service_pb2.CountCertificatesResponse:
    """How many the subject has, by type, state and light; discarded ones aren't counted."""
    if request.person_id:
        return await _counts_of_person(log, caller.require_subject(), request.person_id)
    kept = (certificates.c.subject_id == caller.require_subject(), certificates.c.state != domain.DISCARDED)
    groups = (certificates.c.type, certificates.c.state, certificates.c.light)
    statement = select(*groups, func.count()).where(*kept).group_by(*groups).order_by(*groups)
    async with log.pool.connection() as connection:
        rows = await (await connection.execute(*render(statement), prepare=True)).fetchall()
    return service_pb2.CountCertificatesResponse(
        items=[service_pb2.CertificateCount(type=kind, state=state, light=light, count=count) for kind, state, light, count in rows]
    )


async def _counts_of_person(log: EventLog, subject_id: str, person_id: str) -> service_pb2.CountCertificatesResponse:
    counted: Counter[tuple[str, str, types_pb2.Light.ValueType]] = Counter()
    statement = select(certificates.c.item).where(*listing.of_person(subject_id, person_id), certificates.c.state != domain.DISCARDED)
    async with log.pool.connection() as connection:
        for (stored,) in await (await connection.execute(*render(statement))).fetchall():
            one = service_pb2.Certificate.FromString(bytes(stored))
            if one.person_id == person_id:
                counted[one.type, one.state, one.light] += 1
    return service_pb2.CountCertificatesResponse(
        items=[
            service_pb2.CertificateCount(type=kind, state=state, light=light, count=number)
            for (kind, state, light), number in sorted(counted.items())
        ]
    )


async def history(log: EventLog, text: str, caller: Caller) -> service_pb2.GetHistoryResponse:
    """The operation record: one line per event of the log, with who, when and what changed."""
    events = await log.read_stream(certificate_id(text))
    items: list[service_pb2.HistoryItem] = []
    state = domain.State()
    for event in events:
        if event.short_type.startswith("Performance"):
            raise YunkuError("not_found")  # a performance's stream
        before, state = state.view, domain.evolve(state, event.data, event.recorded_at)
        item = service_pb2.HistoryItem(
            number=event.version,
            actor_kind=kernel_pb2.ActorKind.Name(event.meta.actor_kind).removeprefix("ACTOR_KIND_").lower(),
            actor_id=event.meta.actor_id,
            type=event.short_type,
            event_json=MessageToJson(event.data, preserving_proto_field_name=True, indent=None, ensure_ascii=False),
            changes_json=json.dumps(changes_between(_shown(before) if before.id else {}, _shown(state.view)), ensure_ascii=False),
            event_id=str(event.event_id),
            hash=event.hash.hex(),
            version=state.view.version,
        )
        item.at.FromDatetime(event.recorded_at)
        items.append(item)
    if not items or not _may_see(state.view, caller):
        raise YunkuError("not_found")
    return service_pb2.GetHistoryResponse(items=items)


async def pushed_version(
    log: EventLog, request: service_pb2.GetPushedVersionRequest, caller: Caller
) -> service_pb2.GetPushedVersionResponse:
    """What a push sent, with its marks and its verification, whatever was accepted since.

    For the reviewers of the push's domain and for auditors; ``not_found`` for everybody else.
    """
    state = domain.State()
    for event in await log.read_stream(certificate_id(request.certificate_id)):
        state = domain.evolve(state, event.data, event.recorded_at)
        if isinstance(event.data, events_pb2.PushRequested) and event.data.push_id == request.push_id:
            if not caller.has_role("AUDITOR") and not caller.has_role("REVIEWER", event.data.domain_id):
                break
            return service_pb2.GetPushedVersionResponse(accepted=state.view.accepted)
    raise YunkuError("not_found")


async def versions(log: EventLog, text: str, caller: Caller) -> service_pb2.GetVersionsResponse:
    """Every submitted version, oldest first, with what changed from the one before; the first of a successor is compared with the last
    of the certificate that it follows."""
    present, submitted = _submissions(await log.read_stream(certificate_id(text)))
    if not present.id or not _may_see(present, caller):
        raise YunkuError("not_found")
    before: service_pb2.Certificate | None = None
    if present.supersedes and submitted:
        _, former = _submissions(await log.read_stream(certificate_id(present.supersedes)))
        before = former[-1] if former else None
    answer = service_pb2.GetVersionsResponse(certificate=present)
    for number, view in enumerate(submitted, 1):
        item = answer.items.add(number=number, accepted=view.accepted)
        if before is not None:
            item.changes_json = json.dumps(changes_between(_versioned(before), _versioned(view)), ensure_ascii=False)
            item.before_certificate_id, item.before_version = before.id, before.accepted.version
        before = view
    return answer


def _submissions(events: Sequence[RecordedEvent]) -> tuple[service_pb2.Certificate, list[service_pb2.Certificate]]:
    """The certificate as it stands, and as it stood after each of its submissions."""
    state, submitted = domain.State(), []
    for event in events:
        state = domain.evolve(state, event.data, event.recorded_at)
        if isinstance(event.data, events_pb2.Submitted):
            submitted.append(state.view)
    return state.view, submitted


async def activity_since(log: EventLog, request: service_pb2.ListActivityRequest, caller: Caller) -> service_pb2.ListActivityResponse:
    """What happened to the subject's certificates after a position; ``since`` 0 answers only where the log stands."""
    subject_id = caller.require_subject()
    async with log.pool.connection() as connection:
        last = await (await connection.execute("SELECT position FROM projections WHERE name = 'activity'")).fetchone()
        end = int(last[0]) if last else 0
        if request.since <= 0:
            return service_pb2.ListActivityResponse(position=end)
        limit = min(request.limit or 100, 500)
        statement = (
            select(
                activity.c.position,
                activity.c.certificate_id,
                activity.c.type,
                activity.c.at,
                activity.c.event_id,
                activity.c.performance_id,
            )
            .where(activity.c.subject_id == subject_id, activity.c.position > request.since)
            .order_by(activity.c.position)
            .limit(limit)
        )
        rows = await (await connection.execute(*render(statement))).fetchall()
    answer = service_pb2.ListActivityResponse(position=rows[-1][0] if len(rows) == limit else max(end, request.since))
    for position, certificate, kind, at, event_id, performance in rows:
        item = answer.items.add(
            position=position,
            certificate_id=str(certificate or ""),
            type=kind,
            event_id=str(event_id),
            performance_id=str(performance or ""),
        )
        item.at.FromDatetime(at)
    return answer


def _shown(view: service_pb2.Certificate) -> dict[str, Any]:
    """What an operation record compares: everything a reader of the page sees."""
    shown: dict[str, Any] = {f"fields.{name}": value for name, value in view.fields.items()}
    for mark in view.marks:
        shown.setdefault(f"marks.{mark.field}", []).append(
            MessageToDict(mark, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        )
    for push in view.pushes:
        shown[f"pushes.{push.number}"] = push.state
        shown[f"pushes.{push.number}.reasons"] = {one.field: one.text for one in push.reasons}
        shown[f"pushes.{push.number}.appeal"] = push.appeal.state
    shown |= {
        "state": view.state,
        "supplementing": view.supplementing,
        "mode": types_pb2.Mode.Name(view.mode).removeprefix("MODE_"),
        "light": types_pb2.Light.Name(view.light).removeprefix("LIGHT_"),
        "absent": list(view.absent),
        "document": view.document.sha256,
        "recognition": view.recognition.state,
        "verification": view.verification.state,
        "seal": view.seal.sealed_sha256,
        "unique_code": view.unique_code,
        "supersedes": view.supersedes,
        "successor_id": view.successor_id,
        "expiry_notice": _expiry_notice(view.expiry_notice),
        "provenance": f"{view.provenance.source}/{view.provenance.source_id}" if view.HasField("provenance") else "",
    }
    return shown


#: What a version is made of; the rest of what is shown is its way there.
_VERSIONED: Final = frozenset({"fields", "marks", "document", "absent", "light", "mode"})


def _versioned(view: service_pb2.Certificate) -> dict[str, Any]:
    return {path: shown for path, shown in _shown(view).items() if path.partition(".")[0] in _VERSIONED}


def _expiry_notice(notice: service_pb2.ExpiryNotice) -> str:
    return f"{notice.id}{' acknowledged' if notice.acknowledged else ''}"


def changes_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The differences of two states as shown, by path."""
    return [
        {"path": path, "before": old.get(path), "after": new.get(path)}
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path) and (old.get(path) or new.get(path))
    ]
