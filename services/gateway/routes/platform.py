"""Taking over from the national platform (http-api.md, "Persons, performances, domains, reviews"; manual 三 (二) 1, 三 (三) 4)."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from yunku.certificate.v1 import service_pb2

from services.gateway import models, render
from services.gateway.means import means_of
from services.gateway.replies import problems, reply
from services.gateway.routes import API
from services.gateway.sessions import Session

router = APIRouter(prefix=f"{API}/national-platform", tags=["national platform"])

#: The certificate service tries the platform several times, each with its own limit.
_PLATFORM_SECONDS: Final = 30

PersonId = Annotated[str, Query(min_length=1, max_length=64, description="A person whom the company employs")]


@router.get("/qualifications", response_model=models.PlatformListing, responses=problems(401, 403))
async def list_qualifications(request: Request, who: Session) -> Response:
    """What the national platform holds of the company's qualifications, and what of it was taken over.

    503 `national_platform_unavailable` while the platform is away: nothing kept earlier is shown in its place.
    """
    asked = service_pb2.ListPlatformEntriesRequest(kind=service_pb2.PLATFORM_KIND_QUALIFICATION)
    found = await means_of(request).services.certificate.ListPlatformEntries(asked, timeout=_PLATFORM_SECONDS)
    return reply(request, render.platform_listing(found))


@router.post("/qualifications/takeover", response_model=models.TakenOverList, responses=problems(401, 403))
async def take_over_qualifications(request: Request, body: models.TakeOverRequest, who: Session) -> Response:
    """Begins a draft of each row, all or none: unsealed, light NONE, in MANUAL mode. A row taken over before gives its entry again."""
    means = means_of(request)
    asked = service_pb2.TakeOverRequest(kind=service_pb2.PLATFORM_KIND_QUALIFICATION, items=body.items)
    made = await means.services.certificate.TakeOver(asked, timeout=_PLATFORM_SECONDS)
    return reply(request, render.taken_over(made, expiring_days=means.settings.expiring_days))


@router.get("/registrations", response_model=models.PlatformListing, responses=problems(401, 403))
async def list_registrations(request: Request, who: Session, person_id: PersonId) -> Response:
    """What the national platform holds of a person's registrations, and what of it was taken over; as for qualifications."""
    asked = service_pb2.ListPlatformEntriesRequest(kind=service_pb2.PLATFORM_KIND_REGISTRATION, person_id=person_id)
    found = await means_of(request).services.certificate.ListPlatformEntries(asked, timeout=_PLATFORM_SECONDS)
    return reply(request, render.platform_listing(found))


@router.post("/registrations/takeover", response_model=models.TakenOverList, responses=problems(401, 403))
async def take_over_registrations(request: Request, body: models.TakeOverRequest, who: Session, person_id: PersonId) -> Response:
    """Begins a draft of each row among the person's certificates; as for qualifications."""
    means = means_of(request)
    asked = service_pb2.TakeOverRequest(kind=service_pb2.PLATFORM_KIND_REGISTRATION, person_id=person_id, items=body.items)
    made = await means.services.certificate.TakeOver(asked, timeout=_PLATFORM_SECONDS)
    return reply(request, render.taken_over(made, expiring_days=means.settings.expiring_days))
