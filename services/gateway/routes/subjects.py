"""Companies: their basic information, names, members and completeness (http-api.md, "Sessions and companies")."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from yunku.certificate.v1 import service_pb2 as certificate_pb2
from yunku.identity.v1 import service_pb2 as identity_pb2
from yunku.subject.v1 import profile_pb2, service_pb2

from kernel.errors import YunkuError
from services.gateway import models, render
from services.gateway.completeness import completeness
from services.gateway.means import means_of
from services.gateway.preconditions import ExpectedVersion, etag
from services.gateway.replies import problems, reply
from services.gateway.routes import API
from services.gateway.routes.certificates import Cursor, account_names, cursor_number
from services.gateway.sessions import Session, Who

router = APIRouter(prefix=API, tags=["subjects"])

Id = Annotated[str, Path(max_length=64)]


def _require_member(who: Who, subject_id: str) -> None:
    """Raises ``not_found`` for who isn't a member any more, were it the one who registered the company; auditors read everything."""
    if not who.caller.has_role("AUDITOR") and all(one.id != subject_id for one in who.session.subjects):
        raise YunkuError("not_found")


def _whole(request: Request, one: service_pb2.Subject) -> Response:
    return reply(request, render.subject(one), etag=etag(one.version, one.revision))


@router.get("/subjects/{subject_id}", response_model=models.Subject, responses=problems(401))
async def get_subject(request: Request, subject_id: Id, who: Session) -> Response:
    """A company, for its members: its basic information as stated last, and as accepted."""
    _require_member(who, subject_id)
    answer = await means_of(request).services.subject.GetSubject(service_pb2.GetSubjectRequest(subject_id=subject_id))
    return _whole(request, answer.subject)


@router.post("/subjects/{subject_id}/name", response_model=models.Subject, responses=problems(401, 403, 409, 412))
async def rename_subject(request: Request, subject_id: Id, body: models.NameRequest, who: Session, expected: ExpectedVersion) -> Response:
    """Changes the registered name. The former one stays recorded: documents under it are still the company's."""
    asked = service_pb2.RenameSubjectRequest(subject_id=subject_id, name=body.name, expected_version=expected)
    return _whole(request, (await means_of(request).services.subject.RenameSubject(asked)).subject)


@router.put("/subjects/{subject_id}/profile", response_model=models.Subject, responses=problems(401, 403, 409, 412))
async def state_profile(request: Request, subject_id: Id, body: models.ProfileRequest, who: Session, expected: ExpectedVersion) -> Response:
    """States basic information 企业基本信息. What was submitted last stands until it is submitted again."""
    given = body.model_dump(exclude_unset=True)
    business_types = given.get("business_types") or []
    texts = {name: _text(value) for name, value in given.items() if name != "business_types"}
    asked = service_pb2.StateProfileRequest(
        subject_id=subject_id,
        profile=profile_pb2.Profile(**texts, business_types=business_types),
        fields=given.keys(),
        expected_version=expected,
    )
    return _whole(request, (await means_of(request).services.subject.StateProfile(asked)).subject)


def _text(value: str | bool | None) -> str:
    return str(value).lower() if isinstance(value, bool) else value or ""


@router.post("/subjects/{subject_id}/profile/submission", response_model=models.Subject, responses=problems(401, 403, 409, 412))
async def submit_profile(request: Request, subject_id: Id, who: Session, expected: ExpectedVersion) -> Response:
    """Submits the basic information 提交, or submits it again 修改. Every field must be stated (422 `field_required`) and every
    certificate of the basic information be in the register (409 `certificates_missing`, `errors` names them)."""
    asked = service_pb2.SubmitProfileRequest(subject_id=subject_id, expected_version=expected)
    return _whole(request, (await means_of(request).services.subject.SubmitProfile(asked)).subject)


@router.get("/subjects/{subject_id}/profile/versions", response_model=models.ProfileVersions, responses=problems(401))
async def list_profile_versions(request: Request, subject_id: Id, who: Session) -> Response:
    """Every submission of the basic information, newest first, with who, when and what changed."""
    _require_member(who, subject_id)
    means = means_of(request)
    answer = await means.services.subject.ListProfileVersions(service_pb2.ListProfileVersionsRequest(subject_id=subject_id))
    names = await account_names(means, {one.account_id for one in answer.items})
    return reply(request, models.ProfileVersions(items=[render.profile_version(one, names) for one in answer.items]))


@router.get("/subjects/{subject_id}/history", response_model=models.SubjectHistoryPage, responses=problems(401))
async def get_subject_history(
    request: Request,
    subject_id: Id,
    who: Session,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
    cursor: Cursor = "",
) -> Response:
    """The company's operation record 操作记录, from the log: every event, oldest first, with who, when and what changed."""
    _require_member(who, subject_id)
    means = means_of(request)
    after = cursor_number(cursor)
    answer = await means.services.subject.GetSubjectHistory(service_pb2.GetSubjectHistoryRequest(subject_id=subject_id))
    later = [one for one in answer.items if one.number > after]
    shown = later[:limit]
    names = await account_names(means, {one.actor_id for one in shown if one.actor_kind == "account"})
    masked = subject_id != who.caller.subject_id
    items = [render.subject_history_item(one, names, masked=masked) for one in shown]
    return reply(request, models.SubjectHistoryPage(items=items, next_cursor=str(shown[-1].number) if len(later) > limit else None))


# -- members -----------------------------------------------------------------------------------------------------------


@router.get("/subjects/{subject_id}/members", response_model=models.MemberPage, responses=problems(401, 403))
async def list_members(request: Request, subject_id: Id, who: Session) -> Response:
    """Who may act for the company, and as what; its CA keys are a member of their own."""
    answer = await means_of(request).services.identity.ListMembers(identity_pb2.ListMembersRequest(subject_id=subject_id))
    return reply(request, models.MemberPage(items=[render.company_member(one) for one in answer.items], next_cursor=None))


@router.post("/subjects/{subject_id}/members", status_code=201, response_model=models.Member, responses=problems(401, 403, 409))
async def add_member(request: Request, subject_id: Id, body: models.MemberRequest, who: Session) -> Response:
    """Invites a phone number (administrators). It holds until the number registers, or its account picks the company; whether there
    is an account isn't told before."""
    asked = identity_pb2.AddMemberRequest(subject_id=subject_id, phone=body.phone, role=body.role)
    member = (await means_of(request).services.identity.AddMember(asked)).member
    return reply(request, render.company_member(member), 201)


@router.put("/subjects/{subject_id}/members/{account_id}", response_model=models.Member, responses=problems(401, 403, 409))
async def change_member_role(request: Request, subject_id: Id, account_id: Id, body: models.MemberRoleRequest, who: Session) -> Response:
    """Gives a member another role (administrators), at once. The last administrator stays one: 409 `last_administrator`."""
    asked = identity_pb2.ChangeMemberRoleRequest(subject_id=subject_id, account_id=account_id, role=body.role)
    return reply(request, render.company_member((await means_of(request).services.identity.ChangeMemberRole(asked)).member))


@router.delete("/subjects/{subject_id}/members/{account_id}", status_code=204, responses=problems(401, 403, 409))
async def remove_member(request: Request, subject_id: Id, account_id: Id, who: Session) -> Response:
    """Removes a member (administrators) or leaves (everybody, oneself): open sessions act for the company no more."""
    asked = identity_pb2.RemoveMemberRequest(subject_id=subject_id, account_id=account_id)
    await means_of(request).services.identity.RemoveMember(asked)
    return Response(None, 204)


# -- completeness ------------------------------------------------------------------------------------------------------


@router.get("/completeness", response_model=models.Completeness, responses=problems(401, 403))
async def get_completeness(request: Request, who: Session) -> Response:
    """What each of the nine modules requires of the session's company, what is there and what is missing."""
    services, subject_id = means_of(request).services, who.caller.require_subject()
    found, counted = await asyncio.gather(
        services.subject.GetSubject(service_pb2.GetSubjectRequest(subject_id=subject_id)),
        services.certificate.CountCertificates(certificate_pb2.CountCertificatesRequest()),
    )
    return reply(request, completeness(found.subject, counted.items))
