"""Reminders of coming expiry (http-api.md, "Reminders")."""

from fastapi import APIRouter, Request, Response
from yunku.certificate.v1 import service_pb2

from services.gateway import models, render
from services.gateway.means import means_of
from services.gateway.replies import problems, reply
from services.gateway.routes import API
from services.gateway.routes.certificates import Cursor, Id, Limit
from services.gateway.sessions import Session

router = APIRouter(prefix=f"{API}/notices", tags=["notices"])


@router.get("", response_model=models.ExpiryNoticePage, responses=problems(401, 403))
async def list_notices(request: Request, who: Session, limit: Limit = 50, cursor: Cursor = "") -> Response:
    """The subject's open reminders, those that end first first. One is gone when it is acknowledged, or when a new version or a
    successor stands."""
    asked = service_pb2.ListNoticesRequest(limit=limit, cursor=cursor)
    found = await means_of(request).services.certificate.ListNotices(asked)
    items = [render.notice(one) for one in found.items]
    return reply(request, models.ExpiryNoticePage(items=items, next_cursor=found.next_cursor or None))


@router.post("/{notice_id}/acknowledgement", status_code=204, responses=problems(401, 403))
async def acknowledge_notice(request: Request, notice_id: Id, who: Session) -> Response:
    """Takes note of a reminder: it leaves the list. The next threshold makes a new one."""
    await means_of(request).services.certificate.AcknowledgeNotice(service_pb2.AcknowledgeNoticeRequest(notice_id=notice_id))
    return Response(None, 204)
