"""Persons 企业人员: binding, unbinding, claims (http-api.md, "Persons")."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi import Body as BodyOf
from yunku.certificate.v1 import service_pb2 as certificate_pb2
from yunku.certificate.v1 import types_pb2 as certificate_types_pb2
from yunku.subject.v1 import persons_pb2, service_pb2

from kernel.errors import YunkuError
from services.gateway import models, render
from services.gateway.means import Means, means_of
from services.gateway.preconditions import ExpectedVersion, etag
from services.gateway.replies import problems, reply
from services.gateway.routes import API
from services.gateway.routes.certificates import Cursor, Limit, account_names, look
from services.gateway.sessions import Session, Who

router = APIRouter(prefix=API, tags=["persons"])

Id = Annotated[str, Path(max_length=64)]

#: The catalogue's type of a person's basic information 个人证件.
_BASIC: Final = "personal_id"


@router.post(
    "/persons",
    status_code=201,
    response_model=models.BoundPerson,
    responses={202: {"model": models.Claim, "description": "Another company has bound the person: claimed"}, **problems(401, 403, 409)},
)
async def bind_person(request: Request, body: models.PersonRequest, who: Session) -> Response:
    """Adds a person 增加人员: binds them to the company. 409 `person_bound_elsewhere` where another company has; `claim` claims them.

    By a document whose person the company has bound already, the certificate becomes that person's.
    """
    means = means_of(request)
    asked = service_pb2.BindPersonRequest(
        document_kind=body.document_kind,
        phone=body.phone or "",
        position=body.position or "",
        bound_on=body.bound_on or "",
        source=body.source,
        claim=body.claim,
        reason=body.reason or "",
    )
    _only_its_own(body)
    if body.source == "document":
        draft = await _confirmed(means, who, body.certificate_id or "")
        asked.number, asked.name, asked.certificate_id = draft.fields["id_no"], draft.fields["name"], draft.id
    elif body.reader is not None:
        asked.number, asked.name, asked.reading.nonce = body.reader.id_no, body.reader.name, body.reader.nonce
        asked.reading.details.CopyFrom(persons_pb2.Details(**body.reader.model_dump(exclude={"id_no", "name", "nonce"})))
    else:
        asked.number, asked.name = body.id_no or "", body.name or ""
    try:
        answer = await means.services.subject.BindPerson(asked)
    except YunkuError as refused:
        if refused.code != "person_bound" or body.source != "document":
            raise
        known = service_pb2.GetPersonRequest(person_id=refused.params["person_id"])
        answer = service_pb2.BindPersonResponse(person=(await means.services.subject.GetPerson(known)).person)
    if answer.HasField("claim"):
        return reply(request, render.claim(answer.claim), 202)
    made = answer.person
    certificate_id = await _basic_information(means, made, body)
    headers = {"Location": f"/api/v1/persons/{made.id}"}
    return reply(request, render.bound_person(made, certificate_id), 201, etag=etag(made.version, made.revision), headers=headers)


#: What each source is told by.
_MEMBERS: Final = {"typed": ("name", "id_no"), "document": ("certificate_id",), "reader": ("reader",)}


def _only_its_own(body: models.PersonRequest) -> None:
    """What belongs to another source isn't silently left out, and what this one needs must be there."""
    for source, names in _MEMBERS.items():
        for name in names:
            if source != body.source and getattr(body, name) is not None:
                raise YunkuError("value_invalid", field=f"/{name}")
            if source == body.source and getattr(body, name) is None:
                raise YunkuError("field_required", field=f"/{name}")


async def _confirmed(means: Means, who: Who, certificate_id: str) -> certificate_pb2.Certificate:
    """The company's draft of basic information whose name and number the user has confirmed."""
    view = await look(means, certificate_id)
    if view.holder.subject_id != who.caller.require_subject():
        raise YunkuError("not_found")
    if view.type != _BASIC:
        raise YunkuError("value_invalid", field="/certificate_id")
    if "name" not in view.fields or "id_no" not in view.fields:
        raise YunkuError("field_required", field="/certificate_id")
    return view


async def _basic_information(means: Means, made: persons_pb2.Person, body: models.PersonRequest) -> str:
    """The person's certificate: the document that they were bound by, or a draft with what was read of the card."""
    if body.source == "document":
        assigned = certificate_pb2.AssignPersonRequest(certificate_id=body.certificate_id or "", person_id=made.id)
        return (await means.services.certificate.AssignPerson(assigned)).certificate.id
    if body.reader is None:
        return ""
    read = body.reader
    fields = {
        "name": read.name,
        "gender": read.gender,
        "ethnicity": read.ethnicity,
        "birth_date": read.birth_date,
        "address": read.address,
        "id_no": read.id_no,
        "issuing_authority": read.issuing_authority,
        "valid_term": f"{read.valid_from}/{read.valid_until}",
    }
    begun = certificate_pb2.DraftCertificateRequest(type=_BASIC, mode=certificate_types_pb2.MODE_MANUAL, person_id=made.id, fields=fields)
    return (await means.services.certificate.DraftCertificate(begun)).certificate.id


@router.get("/persons", response_model=models.PersonPage, responses=problems(401, 403))
async def list_persons(
    request: Request,
    who: Session,
    state: models.PersonState | None = None,
    q: Annotated[str, Query(max_length=200, description="Part of the name, of the number or of the phone number")] = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Response:
    """人员管理: whom the company employs or employed, the last bound first; numbers masked."""
    asked = service_pb2.ListPersonsRequest(state=state or "", query=q, limit=limit, cursor=cursor)
    found = await means_of(request).services.subject.ListPersons(asked)
    items = [render.person_summary(one) for one in found.items]
    return reply(request, models.PersonPage(items=items, next_cursor=found.next_cursor or None))


@router.get("/persons/{person_id}", response_model=models.Person, responses=problems(401, 403))
async def get_person(request: Request, person_id: Id, who: Session) -> Response:
    """A person whom the company employs; of one whom it employed: who, and from when to when."""
    answer = await means_of(request).services.subject.GetPerson(service_pb2.GetPersonRequest(person_id=person_id))
    return _whole(request, answer.person)


@router.put("/persons/{person_id}", response_model=models.Person, responses=problems(401, 403, 409, 412))
async def change_person(
    request: Request, person_id: Id, body: models.PersonChangeRequest, who: Session, expected: ExpectedVersion
) -> Response:
    """Changes 职务 and phone number; everything else is what the person's ID document says."""
    asked = service_pb2.ChangeEmploymentRequest(person_id=person_id, position=body.position, phone=body.phone, expected_version=expected)
    return _whole(request, (await means_of(request).services.subject.ChangeEmployment(asked)).person)


@router.post("/persons/{person_id}/unbinding", response_model=models.Person, responses=problems(401, 403, 409, 412))
async def unbind_person(
    request: Request,
    person_id: Id,
    who: Session,
    expected: ExpectedVersion,
    body: Annotated[models.UnbindingRequest | None, BodyOf()] = None,
) -> Response:
    """解绑: the person is the company's no more, and it sees nothing of them from now on; what it submitted stays in its history."""
    unbound_on = (body.unbound_on if body else None) or ""
    asked = service_pb2.UnbindPersonRequest(person_id=person_id, unbound_on=unbound_on, expected_version=expected)
    return _whole(request, (await means_of(request).services.subject.UnbindPerson(asked)).person)


@router.get("/persons/{person_id}/sections", response_model=models.PersonSections, responses=problems(401, 403, 409))
async def get_person_sections(request: Request, person_id: Id, who: Session) -> Response:
    """The ten tabs of a person whom the company employs, with how much stands under each and in which light.

    What stands there: `GET /certificates?person_id=&type=`.
    """
    means = means_of(request)
    person = (await means.services.subject.GetPerson(service_pb2.GetPersonRequest(person_id=person_id))).person
    if person.state != "bound":
        raise YunkuError("person_not_bound")
    counted = await means.services.certificate.CountCertificates(certificate_pb2.CountCertificatesRequest(person_id=person.id))
    return reply(request, render.person_sections(counted.items))


@router.get("/persons/{person_id}/history", response_model=models.PersonHistoryPage, responses=problems(401, 403))
async def get_person_history(request: Request, person_id: Id, who: Session) -> Response:
    """What happened between the person and the company, oldest first."""
    means = means_of(request)
    told = await means.services.subject.GetPersonHistory(service_pb2.GetPersonHistoryRequest(person_id=person_id))
    names = await account_names(means, {one.actor_id for one in told.items if one.actor_kind == "account"})
    return reply(request, models.PersonHistoryPage(items=[render.person_history_item(one, names) for one in told.items], next_cursor=None))


# -- claims ------------------------------------------------------------------------------------------------------------


@router.get("/person-claims", response_model=models.ClaimPage, responses=problems(401, 403))
async def list_claims(
    request: Request,
    who: Session,
    side: Annotated[str, Query(max_length=20, description="made or received; default: both")] = "",
    state: models.ClaimState | None = None,
) -> Response:
    """The claims that the company made and received, newest first; the newest 200."""
    found = await means_of(request).services.subject.ListClaims(service_pb2.ListClaimsRequest(side=side, state=state or ""))
    return reply(request, models.ClaimPage(items=[render.claim(one) for one in found.items], next_cursor=None))


@router.post("/person-claims/{claim_id}/objection", response_model=models.Claim, responses=problems(401, 403, 409))
async def object_to_claim(request: Request, claim_id: Id, body: models.ClaimObjectionRequest, who: Session) -> Response:
    """The company that has bound the person keeps them, and says why. It agrees by unbinding."""
    asked = service_pb2.ObjectToClaimRequest(claim_id=claim_id, reason=body.reason)
    return reply(request, render.claim((await means_of(request).services.subject.ObjectToClaim(asked)).claim))


@router.post("/person-claims/{claim_id}/withdrawal", response_model=models.Claim, responses=problems(401, 403, 409))
async def withdraw_claim(request: Request, claim_id: Id, who: Session) -> Response:
    """The claimant gives its claim up."""
    asked = service_pb2.WithdrawClaimRequest(claim_id=claim_id)
    return reply(request, render.claim((await means_of(request).services.subject.WithdrawClaim(asked)).claim))


def _whole(request: Request, one: persons_pb2.Person, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return reply(request, render.person(one), status, etag=etag(one.version, one.revision), headers=headers)
