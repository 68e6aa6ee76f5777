"""Questions, answered from the read models."""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from google.protobuf.json_format import MessageToJson
from sqlalchemy import select, tuple_
from yunku.kernel.v1 import kernel_pb2
from yunku.push.v1 import events_pb2, service_pb2

from kernel.context import Caller
from kernel.errors import YunkuError
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog, utc_now
from services.push import domain
from services.push.handlers import as_uuid, domain_message, push_message, stream_of
from services.push.tables import domains, pushes

_DEFAULT_LIMIT = 50
_MAX_LIMIT = 200
_MAX_SEARCH = 100
_STATES = ("", domain.PENDING, *domain.DECISIONS, domain.WITHDRAWN)
_DOMAIN_COLUMNS = (
    domains.c.domain_id,
    domains.c.name,
    domains.c.automatic_types,
    domains.c.closed,
    domains.c.version,
    domains.c.registered_at,
)
_PUSH_COLUMNS = (
    pushes.c.push_id,
    pushes.c.opened,
    pushes.c.reviewed,
    pushes.c.state,
    pushes.c.opened_at,
    pushes.c.delivered_at,
    pushes.c.acknowledged_at,
    pushes.c.reviewed_at,
    pushes.c.appealed,
    pushes.c.appealed_at,
    pushes.c.answered,
    pushes.c.answered_at,
)


async def list_domains(log: EventLog) -> service_pb2.ListDomainsResponse:
    """Every domain, by id; there are few."""
    query = select(*_DOMAIN_COLUMNS).order_by(domains.c.domain_id)
    async with log.pool.connection() as connection:
        rows = await (await connection.execute(*render(query), prepare=True)).fetchall()
    return service_pb2.ListDomainsResponse(domains=[domain_message(_domain(row)) for row in rows])


async def get_domain(log: EventLog, domain_id: str) -> service_pb2.GetDomainResponse:
    """One domain; raises ``not_found``."""
    if not domain.DOMAIN_ID.fullmatch(domain_id):
        raise YunkuError("not_found")
    query = select(*_DOMAIN_COLUMNS).where(domains.c.domain_id == domain_id)
    async with log.pool.connection() as connection:
        row = await (await connection.execute(*render(query), prepare=True)).fetchone()
    if row is None:
        raise YunkuError("not_found")
    return service_pb2.GetDomainResponse(domain=domain_message(_domain(row)))


def _domain(row: Sequence[Any]) -> domain.Domain:
    domain_id, name, automatic_types, closed, version, registered_at = row
    return domain.Domain(domain_id, name, tuple(automatic_types), closed, version, registered_at)


async def domain_history(log: EventLog, domain_id: str, caller: Caller) -> service_pb2.GetDomainHistoryResponse:
    """How a domain was administrated, event by event. Raises ``role_missing`` and ``not_found``."""
    if not caller.has_role("AUDITOR"):
        caller.require_role("ADMINISTRATOR", "")
    await get_domain(log, domain_id)
    items, shown = [], _shown(domain.Domain())
    state = domain.Domain()
    for event in await log.read_stream(stream_of(domain_id)):
        state = domain.evolve_domain(state, event.data, event.recorded_at)
        before, shown = shown, _shown(state)
        changes = [
            {"path": path, "before": before.get(path), "after": shown.get(path)}
            for path in sorted(before.keys() | shown.keys())
            if before.get(path) != shown.get(path)
        ]
        item = service_pb2.HistoryItem(
            number=event.version,
            actor_kind=kernel_pb2.ActorKind.Name(event.meta.actor_kind).removeprefix("ACTOR_KIND_").lower(),
            actor_id=event.meta.actor_id,
            type=event.short_type,
            event_json=MessageToJson(event.data, preserving_proto_field_name=True, indent=None, ensure_ascii=False),
            changes_json=json.dumps(changes, ensure_ascii=False),
            event_id=str(event.event_id),
            hash=event.hash.hex(),
            version=state.version,
        )
        item.at.FromDatetime(event.recorded_at)
        items.append(item)
    return service_pb2.GetDomainHistoryResponse(items=items)


def _shown(state: domain.Domain) -> dict[str, Any]:
    if state.registered_at is None:
        return {}
    return {"name": state.name, "automatic_types": list(state.automatic_types), "closed": state.closed}


async def list_reviews(log: EventLog, request: service_pb2.ListReviewsRequest, caller: Caller) -> service_pb2.ListReviewsResponse:
    """The pushes of the caller's domains (of all, for an auditor): those that wait the longest first, decided ones newest first.

    Raises ``role_missing``, ``value_invalid`` (state, appeal), ``value_too_long`` (q), ``cursor_invalid``.
    """
    visible = _visible_domains(caller)
    if request.state not in _STATES:
        raise YunkuError("value_invalid", field="/state")
    if request.appeal not in ("", domain.PENDING, *domain.APPEAL_DECISIONS):
        raise YunkuError("value_invalid", field="/appeal")
    if len(request.q) > _MAX_SEARCH:
        raise YunkuError("value_too_long", field="/q", max=str(_MAX_SEARCH))
    limit = min(request.limit if request.limit > 0 else _DEFAULT_LIMIT, _MAX_LIMIT)
    query = select(*_PUSH_COLUMNS)
    if visible is not None:
        query = query.where(pushes.c.domain_id.in_(sorted(visible)))
    for column, wanted in (
        (pushes.c.state, request.state),
        (pushes.c.type, request.type),
        (pushes.c.domain_id, request.domain_id),
        (pushes.c.appeal, request.appeal),
    ):
        if wanted:
            query = query.where(column == wanted)
    if request.q.strip():
        query = query.where(pushes.c.searched.contains(domain.folded(request.q.strip()), autoescape=True))
    place = tuple_(pushes.c.opened_at, pushes.c.push_id)
    oldest_first = domain.PENDING in (request.state, request.appeal)
    if request.cursor:
        after = tuple_(*_from_cursor(request.cursor))
        query = query.where(place > after if oldest_first else place < after)
    if oldest_first:
        query = query.order_by(pushes.c.opened_at, pushes.c.push_id)
    else:
        query = query.order_by(pushes.c.opened_at.desc(), pushes.c.push_id.desc())
    async with log.pool.connection() as connection:
        rows = await (await connection.execute(*render(query.limit(limit + 1)))).fetchall()
    now = utc_now()
    shown = rows[:limit]
    return service_pb2.ListReviewsResponse(
        items=[push_message(_state(row), now) for row in shown],
        next_cursor=_cursor(shown[-1][4], shown[-1][0]) if len(rows) > limit else "",
    )


async def get_review(log: EventLog, push_id: str, caller: Caller) -> service_pb2.GetReviewResponse:
    """One push of the caller's domains (of any, for an auditor). Raises ``role_missing``, ``not_found``."""
    visible = _visible_domains(caller)
    query = select(*_PUSH_COLUMNS).where(pushes.c.push_id == as_uuid(push_id))
    if visible is not None:
        query = query.where(pushes.c.domain_id.in_(sorted(visible)))
    async with log.pool.connection() as connection:
        row = await (await connection.execute(*render(query))).fetchone()
    if row is None:
        raise YunkuError("not_found")
    return service_pb2.GetReviewResponse(push=push_message(_state(row), utc_now()))


def _visible_domains(caller: Caller) -> set[str] | None:
    """The domains whose pushes the caller sees; None: all."""
    if caller.has_role("AUDITOR"):
        return None
    caller.require_role("REVIEWER")
    return {domain_id for role, domain_id in caller.roles if role == "REVIEWER"}


def _state(row: Sequence[Any]) -> domain.Push:
    """The state that a row was made of, as far as it is shown."""
    _, opened, reviewed, state, opened_at, delivered_at, acknowledged_at, reviewed_at, appealed, appealed_at, answered, answered_at = row
    return domain.Push(
        opened=events_pb2.PushOpened.FromString(bytes(opened)),
        opened_at=opened_at,
        delivered_at=delivered_at,
        acknowledged_at=acknowledged_at,
        withdrawn_at=opened_at if state == domain.WITHDRAWN else None,
        reviewed=events_pb2.Reviewed.FromString(bytes(reviewed)) if reviewed_at is not None else None,
        reviewed_at=reviewed_at,
        appealed=events_pb2.Appealed.FromString(bytes(appealed)) if appealed_at is not None else None,
        appealed_at=appealed_at,
        answered=events_pb2.AppealAnswered.FromString(bytes(answered)) if answered_at is not None else None,
        answered_at=answered_at,
    )


def _cursor(opened_at: datetime, push_id: UUID) -> str:
    return base64.urlsafe_b64encode(f"{opened_at.astimezone(UTC).isoformat()}|{push_id}".encode()).decode().rstrip("=")


def _from_cursor(cursor: str) -> tuple[datetime, UUID]:
    try:
        moment, _, push_id = base64.urlsafe_b64decode(cursor[:200] + "=" * (-len(cursor) % 4)).decode().partition("|")
        opened_at = datetime.fromisoformat(moment)
        if opened_at.tzinfo is None:
            raise ValueError("no zone")
        return opened_at, UUID(push_id)
    except (ValueError, binascii.Error):
        raise YunkuError("cursor_invalid", field="/cursor") from None
