"""Live updates: Server-Sent Events of one subject's certificates, from a position on, without a gap."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse
from yunku.certificate.v1 import service_pb2

from kernel import context as call_context
from kernel.errors import YunkuError
from services.gateway import models, render
from services.gateway.live import Bell
from services.gateway.means import Means, means_of
from services.gateway.replies import problems
from services.gateway.routes import API
from services.gateway.sessions import Session, Who, authenticate

router = APIRouter(prefix=API, tags=["events"])

_PAGE: Final = 200
#: How often the session is looked at while a stream runs: a session that ended hears no more after this, and where there
#: are news, who was removed from the company gets none that are later than the shorter one.
_SESSION_SECONDS: Final = 30.0
_NEWS_SESSION_SECONDS: Final = 1.0
#: The message of an event and its line of activity are made by two loops of the certificate service; after a ring the
#: activity is asked for again after these pauses, until it is there.
_PAUSES: Final = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
#: How long a stream that lost the certificate service tells its client to wait before it comes again.
_RETRY_MS: Final = 1000

_DOCUMENT: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "`id` is the position to go on from, `event` the event's type, `data` an Activity. Comments keep the "
        "stream alive. It ends when the session ends or the service stops; come again with `Last-Event-ID` or `since`.",
        "model": models.Activity,
        "content": {"text/event-stream": {"schema": {"$ref": "#/components/schemas/Activity"}}},
    }
}


@router.get("/events", response_class=Response, responses={**problems(401, 403), **_DOCUMENT})
async def live_updates(
    request: Request,
    who: Session,
    since: Annotated[int | None, Query(ge=0, lt=2**62, description="Position after which to begin; default: now")] = None,
) -> Response:
    """What happens to the certificates of this session's subject, as it happens."""
    means = means_of(request)
    subject_id = who.caller.require_subject()
    last = request.headers.get("last-event-id", "")
    position = int(last) if last.isdecimal() and len(last) < 19 else since or 0
    live = means.live
    if sum(live.streams.values()) >= live.streams_at_once:
        raise YunkuError("service_unavailable")
    if live.streams[who.caller.session_id] >= live.streams_per_session:
        raise YunkuError("too_many_requests")
    # Asked before the stream begins, so that a refusal is still an answer of its own.
    begin = await means.services.certificate.ListActivity(service_pb2.ListActivityRequest(since=position, limit=1))
    first = position or begin.position
    context = replace(call_context.current(), idempotency_key=None)
    return StreamingResponse(
        _stream(means, who, subject_id, first, context),
        200,
        {"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        media_type="text/event-stream",
    )


async def _stream(means: Means, who: Who, subject_id: str, position: int, context: call_context.CallContext) -> AsyncIterator[str]:
    live = means.live
    session_id = who.caller.session_id
    live.streams[session_id] += 1
    try:
        with live.bell(subject_id) as bell:
            yield f"retry: {_RETRY_MS}\nid: {position}\n: stream of {subject_id}\n\n"
            checked = time.monotonic()
            news = True
            while not live.stopping:
                if time.monotonic() - checked >= (_NEWS_SESSION_SECONDS if news else _SESSION_SECONDS):
                    if not await _goes_on(means, who, context):
                        yield "event: session-ended\ndata: {}\n\n"
                        return
                    checked = time.monotonic()
                async for one in _news(means, context, position, again=news):
                    position = one.position
                    data = render.activity(one).model_dump_json()
                    yield f"id: {position}\nevent: {one.type}\ndata: {data}\n\n"
                news = await _wait(bell, means.settings.keepalive_seconds)
                if not news:
                    yield ": alive\n\n"
    except YunkuError:
        return  # the certificate service is away: the client comes again and goes on where it was
    finally:
        live.streams[session_id] -= 1
        if not live.streams[session_id]:
            del live.streams[session_id]


async def _wait(bell: Bell, seconds: float) -> bool:
    return await bell.wait(seconds)


async def _news(means: Means, context: call_context.CallContext, position: int, *, again: bool) -> AsyncIterator[service_pb2.Activity]:
    """The activity after a position. ``again``: something rang, so nothing yet means too early, and it is asked again."""
    for pause in _PAUSES if again else (0.0,):
        await asyncio.sleep(pause)
        found = False
        while True:
            with call_context.use(context):
                page = await means.services.certificate.ListActivity(service_pb2.ListActivityRequest(since=position, limit=_PAGE))
            for one in page.items:
                found, position = True, one.position
                yield one
            if len(page.items) < _PAGE:
                break
        if found or means.live.stopping:
            return


async def _goes_on(means: Means, who: Who, context: call_context.CallContext) -> bool:
    """Whether the session still acts for the same subject; a doubt (identity is away) lets the stream go on."""
    try:
        with call_context.use(context):
            now = await authenticate(means, who.token)
    except YunkuError as refused:
        return refused.http_status >= 500
    return now.caller.subject_id == who.caller.subject_id
