"""The pages of domains' reviewers (http-api.md, "Persons, performances, domains, reviews")."""

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from yunku.certificate.v1 import service_pb2 as certificate_pb2
from yunku.certificate.v1 import types_pb2
from yunku.push.v1 import service_pb2

from services.gateway import models, render
from services.gateway.means import Means, means_of
from services.gateway.replies import problems, reply
from services.gateway.routes import API
from services.gateway.routes.certificates import (
    FILE_TYPES,
    LOOK_SECONDS,
    RECORD_SECONDS,
    Cursor,
    Id,
    Limit,
    file_response,
    look,
    original,
    page,
    push_record,
    sealed,
)
from services.gateway.sessions import Session

router = APIRouter(prefix=API, tags=["reviews"])


@router.get("/reviews", response_model=models.ReviewPage, responses=problems(401, 403))
async def list_reviews(
    request: Request,
    who: Session,
    state: Annotated[models.ReviewState | None, Query()] = None,
    type: Annotated[str, Query(max_length=100, description="Code of a certificate type")] = "",
    q: Annotated[str, Query(max_length=100, description="Part of the company's name or USCC, or of the 唯一标识码")] = "",
    domain: Annotated[str, Query(max_length=40, description="One of the reviewer's domains")] = "",
    appeal: Annotated[models.AppealState | None, Query(description="pending: appeals that wait, the oldest first")] = None,
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Response:
    """The pushes that this session's domain is to review, or has reviewed."""
    asked = service_pb2.ListReviewsRequest(
        state=state or "", type=type, q=q, domain_id=domain, appeal=appeal or "", limit=limit, cursor=cursor
    )
    found = await means_of(request).services.push.ListReviews(asked)
    return reply(request, models.ReviewPage(items=[render.review(one) for one in found.items], next_cursor=found.next_cursor or None))


@router.get("/reviews/{push_id}", response_model=models.ReviewDetail, responses=problems(401, 403))
async def get_review(request: Request, push_id: Id, who: Session) -> Response:
    """One push, as its domain sees it, with the marks and the verification of the version that was pushed."""
    means = means_of(request)
    push = await _push(means, push_id)
    asked = certificate_pb2.GetPushedVersionRequest(certificate_id=push.certificate_id, push_id=push_id)
    pushed = await means.services.certificate.GetPushedVersion(asked)
    return reply(request, render.review_detail(push, pushed.accepted))


@router.post("/reviews/{push_id}", response_model=models.Review, responses=problems(401, 403, 409))
async def review(request: Request, push_id: Id, body: models.ReviewRequest, who: Session) -> Response:
    """Approves or rejects exactly the version that was pushed; a rejection needs an opinion."""
    reasons = [types_pb2.FieldReason(field=one.field, text=one.text) for one in body.reasons]
    asked = service_pb2.ReviewRequest(push_id=push_id, decision=body.decision, opinion=body.opinion, reasons=reasons)
    return reply(request, render.review((await means_of(request).services.push.Review(asked)).push))


@router.post(
    "/reviews/{push_id}/appeal",
    status_code=201,
    response_model=models.Push,
    responses={202: {"model": models.Push, "description": "Taken; the push record shows it soon"}, **problems(401, 403, 409)},
)
async def appeal(request: Request, push_id: Id, body: models.AppealRequest, who: Session) -> Response:
    """The company contests a rejection 申诉, once; another reviewer of the domain answers. Answers with the push record's line."""
    means = means_of(request)
    subject_id = who.caller.require_subject()
    made = (await means.services.push.Appeal(service_pb2.AppealRequest(push_id=push_id, grounds=body.grounds))).push
    until = time.monotonic() + RECORD_SECONDS
    with means.live.bell(subject_id) as bell:
        while True:
            record = push_record(await look(means, made.certificate_id), push_id)
            if record.HasField("appeal"):
                return reply(request, render.push(record), 201)
            if time.monotonic() >= until or means.live.stopping:
                return reply(request, render.push(record), 202)
            await bell.wait(LOOK_SECONDS)


@router.post("/reviews/{push_id}/appeal/answer", response_model=models.Review, responses=problems(401, 403, 409))
async def answer_appeal(request: Request, push_id: Id, body: models.AppealAnswerRequest, who: Session) -> Response:
    """Another reviewer than the one who rejected upholds the rejection or overturns it; either way with an opinion."""
    asked = service_pb2.AnswerAppealRequest(push_id=push_id, decision=body.decision, opinion=body.opinion)
    return reply(request, render.review((await means_of(request).services.push.AnswerAppeal(asked)).push))


@router.get(
    "/reviews/{push_id}/pages/{number}.png",
    response_class=Response,
    responses={**problems(401, 403, 409), **file_response("image/png")},
)
async def get_pushed_page(request: Request, push_id: Id, number: Id, who: Session) -> Response:
    """A page of the pushed document, as picture."""
    means = means_of(request)
    return await page(means, (await _push(means, push_id)).document, number)


@router.get(
    "/reviews/{push_id}/document",
    response_class=Response,
    responses={**problems(401, 403), **file_response(*FILE_TYPES)},
)
async def get_pushed_document(request: Request, push_id: Id, who: Session) -> Response:
    """The pushed document as it was uploaded."""
    means = means_of(request)
    return await original(means, (await _push(means, push_id)).document)


@router.get(
    "/reviews/{push_id}/sealed.pdf",
    response_class=Response,
    responses={**problems(401, 403), **file_response("application/pdf")},
)
async def get_pushed_sealed(request: Request, push_id: Id, who: Session) -> Response:
    """The pushed document with the company's seal."""
    means = means_of(request)
    return await sealed(means, (await _push(means, push_id)).seal)


async def _push(means: Means, push_id: str) -> service_pb2.Push:
    return (await means.services.push.GetReview(service_pb2.GetReviewRequest(push_id=push_id))).push
