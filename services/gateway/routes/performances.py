"""Performances 业绩 (http-api.md, "Persons, performances, domains, reviews"; manual 三 (五))."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from yunku.certificate.v1 import performance_pb2, types_pb2
from yunku.subject.v1 import service_pb2 as subject_pb2

from services.gateway import models, render, render_performances
from services.gateway.means import Means, means_of
from services.gateway.preconditions import ExpectedVersion, etag
from services.gateway.replies import problems, reply
from services.gateway.routes import API
from services.gateway.routes.certificates import Cursor, Filter, Id, Limit, account_names, cursor_number, domain_names
from services.gateway.sessions import Session

router = APIRouter(prefix=API, tags=["performances"])

#: Submitting and pushing write several streams in one transaction. Seconds.
_WHOLE_SECONDS = 30


@router.post("/performances", status_code=201, response_model=models.Performance, responses=problems(401, 403))
async def draft_performance(request: Request, body: models.PerformanceRequest, who: Session) -> Response:
    """Begins a performance 增加业绩 of a category 业绩类别."""
    asked = performance_pb2.DraftPerformanceRequest(category=body.category, information=_information(body))
    view = (await means_of(request).services.performance.DraftPerformance(asked)).view
    return _whole(request, view, 201, {"Location": f"{API}/performances/{view.performance.id}"})


@router.get("/performances", response_model=models.PerformancePage, responses=problems(401, 403))
async def list_performances(
    request: Request,
    who: Session,
    category: Filter = "",
    performance_type: Filter = "",
    state: models.PerformanceState | None = None,
    light: models.Light | None = None,
    search: Annotated[str, Query(max_length=100, description="Part of the section's name or number")] = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Response:
    """The subject's performances, newest first; discarded ones only when asked for by `state`."""
    asked = performance_pb2.ListPerformancesRequest(
        category=category,
        performance_type=performance_type,
        state=state or "",
        light=types_pb2.Light.Value(f"LIGHT_{light}") if light else types_pb2.LIGHT_UNSPECIFIED,
        search=search,
        limit=limit,
        cursor=cursor,
    )
    found = await means_of(request).services.performance.ListPerformances(asked)
    items = [render_performances.summary(one.performance, one.light) for one in found.items]
    return reply(request, models.PerformancePage(items=items, next_cursor=found.next_cursor or None))


@router.get("/performances/{performance_id}", response_model=models.Performance, responses=problems(401))
async def get_performance(request: Request, performance_id: Id, who: Session) -> Response:
    """The whole of a performance: overall information, the table of materials, the contract with its changes, pushes."""
    return _whole(request, await _look(means_of(request), performance_id))


@router.put("/performances/{performance_id}", response_model=models.Performance, responses=problems(401, 403, 409, 412))
async def state_information(
    request: Request, performance_id: Id, body: models.PerformanceInformationRequest, who: Session, expected: ExpectedVersion
) -> Response:
    """States the overall information 业绩总体信息 anew, whole."""
    asked = performance_pb2.StateInformationRequest(
        performance_id=performance_id, information=_information(body), category=body.category or "", expected_version=expected
    )
    return _whole(request, (await means_of(request).services.performance.StateInformation(asked)).view)


@router.post(
    "/performances/{performance_id}/contract-changes",
    status_code=201,
    response_model=models.ContractChange,
    responses=problems(401, 403, 409),
)
async def record_contract_change(request: Request, performance_id: Id, body: models.ContractChangeRequest, who: Session) -> Response:
    """Records a contract change 合同变更: a certificate, whose document and seal follow under `/certificates/{certificate_id}`."""
    asked = performance_pb2.RecordContractChangeRequest(
        performance_id=performance_id, item=body.item, content=body.content, value=body.value, changed_on=body.changed_on
    )
    answer = await means_of(request).services.performance.RecordContractChange(asked)
    made = next(one for one in answer.view.changes if one.certificate.id == answer.certificate_id)
    return reply(request, render_performances.change(made), 201)


@router.get("/performances/{performance_id}/contract-changes", response_model=models.ContractChangePage, responses=problems(401))
async def list_contract_changes(request: Request, performance_id: Id, who: Session) -> Response:
    """The record of contract changes 合同变更记录, in the order in which they took effect."""
    view = await _look(means_of(request), performance_id)
    return reply(request, models.ContractChangePage(items=[render_performances.change(one) for one in view.changes], next_cursor=None))


@router.post("/performances/{performance_id}/check", response_model=models.PerformanceCheck, responses=problems(401, 403))
async def check_performance(request: Request, performance_id: Id, who: Session) -> Response:
    """The logic check over the whole; changes nothing."""
    asked = performance_pb2.CheckPerformanceRequest(performance_id=performance_id)
    return reply(request, render_performances.check(await means_of(request).services.performance.CheckPerformance(asked)))


@router.post("/performances/{performance_id}/submission", response_model=models.Performance, responses=problems(401, 403, 409, 412))
async def submit_performance(
    request: Request, performance_id: Id, who: Session, expected: ExpectedVersion, body: models.PerformanceSubmissionRequest | None = None
) -> Response:
    """Submits the performance with all of its materials: all or nothing. 409 `check_unconfirmed` lists the warnings to confirm."""
    asked = performance_pb2.SubmitPerformanceRequest(
        performance_id=performance_id, confirm=body.confirm if body else (), expected_version=expected
    )
    return _whole(request, (await means_of(request).services.performance.SubmitPerformance(asked, timeout=_WHOLE_SECONDS)).view)


@router.post("/performances/{performance_id}/supplement", response_model=models.Performance, responses=problems(401, 403, 409, 412))
async def reopen_performance(request: Request, performance_id: Id, who: Session, expected: ExpectedVersion) -> Response:
    """Opens a submitted performance that isn't GREEN to be changed. What was submitted stands until it is submitted again."""
    asked = performance_pb2.ReopenPerformanceRequest(performance_id=performance_id, expected_version=expected)
    return _whole(request, (await means_of(request).services.performance.ReopenPerformance(asked)).view)


@router.post("/performances/{performance_id}/discard", response_model=models.Performance, responses=problems(401, 403, 409, 412))
async def discard_performance(request: Request, performance_id: Id, who: Session, expected: ExpectedVersion) -> Response:
    """Gives a draft up with its materials; of a reopened performance only what was changed since."""
    asked = performance_pb2.DiscardPerformanceRequest(performance_id=performance_id, expected_version=expected)
    answer = await means_of(request).services.performance.DiscardPerformance(asked, timeout=_WHOLE_SECONDS)
    return _whole(request, answer.view)


@router.post(
    "/performances/{performance_id}/pushes", status_code=201, response_model=models.PerformancePush, responses=problems(401, 403, 409)
)
async def push_performance(request: Request, performance_id: Id, body: models.PushRequest, who: Session) -> Response:
    """Pushes every submitted material to a domain for its review."""
    asked = performance_pb2.PushPerformanceRequest(performance_id=performance_id, domain_id=body.domain)
    answer = await means_of(request).services.performance.PushPerformance(asked, timeout=_WHOLE_SECONDS)
    made = next(one for one in answer.view.performance.pushes if one.id == answer.push_id)
    return reply(request, render_performances.push(made), 201)


@router.get("/performances/{performance_id}/pushes", response_model=models.PerformancePushPage, responses=problems(401))
async def list_performance_pushes(request: Request, performance_id: Id, who: Session) -> Response:
    """The push record of the whole, with the combined state of each push."""
    view = await _look(means_of(request), performance_id)
    items = [render_performances.push(one) for one in view.performance.pushes]
    return reply(request, models.PerformancePushPage(items=items, next_cursor=None))


@router.delete(
    "/performances/{performance_id}/pushes/{push_id}",
    status_code=202,
    response_model=models.PerformancePush,
    responses=problems(401, 403, 409),
)
async def withdraw_performance_push(request: Request, performance_id: Id, push_id: Id, who: Session) -> Response:
    """Asks back what the domain hasn't decided of a push; the push service decides, since reviews may come first."""
    asked = performance_pb2.WithdrawPerformancePushRequest(performance_id=performance_id, push_id=push_id)
    answer = await means_of(request).services.performance.WithdrawPerformancePush(asked, timeout=_WHOLE_SECONDS)
    return reply(request, render_performances.push(next(one for one in answer.view.performance.pushes if one.id == push_id)), 202)


@router.get("/performances/{performance_id}/history", response_model=models.HistoryPage, responses=problems(401))
async def get_performance_history(
    request: Request, performance_id: Id, who: Session, limit: Annotated[int, Query(ge=1, le=500)] = 200, cursor: Cursor = ""
) -> Response:
    """The operation record 操作记录 of the performance itself; its materials have their own."""
    means = means_of(request)
    after = cursor_number(cursor)
    asked = performance_pb2.GetPerformanceHistoryRequest(performance_id=performance_id)
    history = await means.services.performance.GetPerformanceHistory(asked)
    later = [one for one in history.items if one.number > after]
    shown = later[:limit]
    names, domains = await asyncio.gather(
        account_names(means, {one.actor_id for one in shown if one.actor_kind == "account"}),
        domain_names(means, any(one.type == "PerformancePushRequested" for one in shown)),
    )
    items = [render.history_item(one, names, domains, "", masked=False) for one in shown]
    return reply(request, models.HistoryPage(items=items, next_cursor=str(shown[-1].number) if len(later) > limit else None))


def _information(body: models.PerformanceInformationRequest) -> dict[str, str]:
    return {name: value for name, value in body.model_dump(exclude={"category"}).items() if value}


async def _look(means: Means, performance_id: str) -> performance_pb2.PerformanceView:
    """The performance, where the caller may see it; ``not_found`` otherwise."""
    asked = performance_pb2.GetPerformanceRequest(performance_id=performance_id)
    return (await means.services.performance.GetPerformance(asked)).view


def _whole(request: Request, view: performance_pb2.PerformanceView, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    shown = render_performances.whole(view)
    # The materials are part of what is shown and have revisions of their own.
    materials = sum(row.certificate.revision for row in view.materials)
    revision = view.performance.revision + materials + sum(made.certificate.revision for made in view.changes)
    return reply(request, shown, status, etag=etag(view.performance.version, revision), headers=headers)


@router.get("/persons/{person_id}/performances", response_model=models.PersonPerformancePage, responses=problems(401, 403))
async def list_person_performances(request: Request, person_id: Id, who: Session) -> Response:
    """业绩信息 of an employed person: the approved performances whose contract names the person as manager, once the person's basic
    information is approved too."""
    means = means_of(request)
    await means.services.subject.GetPerson(subject_pb2.GetPersonRequest(person_id=person_id))
    found = await means.services.performance.ListPersonPerformances(performance_pb2.ListPersonPerformancesRequest(person_id=person_id))
    items = [render_performances.summary(one.performance, one.light) for one in found.items]
    return reply(request, models.PersonPerformancePage(items=items, next_cursor=None))


@router.get("/persons/{person_id}/awards", response_model=models.CertificatePage, responses=problems(401, 403))
async def list_person_awards(request: Request, person_id: Id, who: Session) -> Response:
    """工程获奖 of an employed person: the approved awards of the person's performances."""
    means = means_of(request)
    await means.services.subject.GetPerson(subject_pb2.GetPersonRequest(person_id=person_id))
    found = await means.services.performance.ListPersonAwards(performance_pb2.ListPersonAwardsRequest(person_id=person_id))
    items = [render.summary(one, expiring_days=means.settings.expiring_days) for one in found.items]
    return reply(request, models.CertificatePage(items=items, next_cursor=None))
