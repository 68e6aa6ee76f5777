"""Domains and who works for them (http-api.md, "Persons, performances, domains, reviews"), and auditors; kept by administrators."""

from fastapi import APIRouter, Request, Response
from yunku.identity.v1 import service_pb2 as identity_pb2
from yunku.push.v1 import service_pb2

from services.gateway import models, render
from services.gateway.means import Means, means_of
from services.gateway.preconditions import ExpectedVersion
from services.gateway.replies import problems, reply
from services.gateway.routes import API
from services.gateway.routes.certificates import Id, account_names
from services.gateway.sessions import Session

router = APIRouter(prefix=API, tags=["domains"])


@router.get("/domains", response_model=models.DomainPage, responses=problems(401))
async def list_domains(request: Request, who: Session) -> Response:
    """The authorities to which certificates can be pushed, closed ones too."""
    found = await means_of(request).services.push.ListDomains(service_pb2.ListDomainsRequest())
    return reply(request, models.DomainPage(items=[render.domain(one) for one in found.domains], next_cursor=None))


@router.post("/domains", status_code=201, response_model=models.RegisteredDomain, responses=problems(401, 403, 409))
async def register_domain(request: Request, body: models.DomainRequest, who: Session) -> Response:
    """Registers a domain and makes the account of its own system (administrators only)."""
    asked = service_pb2.RegisterDomainRequest(id=body.id, name=body.name, automatic_types=body.automatic_types)
    made = await means_of(request).services.push.RegisterDomain(asked)
    headers = {"Location": f"{API}/domains/{made.domain.id}"}
    shown = render.registered_domain(made.domain, made.credentials_file)
    return reply(request, shown, 201, etag=_etag(made.domain), headers=headers)


@router.get("/domains/{domain_id}", response_model=models.Domain, responses=problems(401))
async def get_domain(request: Request, domain_id: Id, who: Session) -> Response:
    """One domain."""
    found = await _domain(means_of(request), domain_id)
    return reply(request, render.domain(found), etag=_etag(found))


@router.put("/domains/{domain_id}", response_model=models.Domain, responses=problems(401, 403, 409, 412))
async def change_domain(
    request: Request, domain_id: Id, body: models.DomainChangeRequest, expected: ExpectedVersion, who: Session
) -> Response:
    """Changes a domain's name and review modes, from the next push on; closes or opens it (administrators only)."""
    asked = service_pb2.ChangeDomainRequest(
        id=domain_id,
        name=body.name,
        automatic_types=body.automatic_types,
        closed=body.state == "closed",
        expected_version=expected,
    )
    changed = (await means_of(request).services.push.ChangeDomain(asked)).domain
    return reply(request, render.domain(changed), etag=_etag(changed))


@router.get("/domains/{domain_id}/history", response_model=models.HistoryPage, responses=problems(401, 403))
async def get_domain_history(request: Request, domain_id: Id, who: Session) -> Response:
    """How the domain was administrated, oldest first: registration, changes, reviewers (administrators and auditors only)."""
    means = means_of(request)
    items = (await means.services.push.GetDomainHistory(service_pb2.GetDomainHistoryRequest(domain_id=domain_id))).items
    wanted = {one.actor_id for one in items if one.actor_kind == "account"} | {render.account_named(one) for one in items}
    names = await account_names(means, wanted - {""})
    shown = [render.history_item(one, names, {}, "", masked=True) for one in items]
    return reply(request, models.HistoryPage(items=shown, next_cursor=None))


@router.get("/domains/{domain_id}/reviewers", response_model=models.RoleHolderPage, responses=problems(401, 403))
async def list_reviewers(request: Request, domain_id: Id, who: Session) -> Response:
    """Who reviews for the domain (administrators and auditors only)."""
    means = means_of(request)
    await _domain(means, domain_id)
    return await _holders(request, "REVIEWER", domain_id)


@router.put("/domains/{domain_id}/reviewers", response_model=models.RoleHolderPage, responses=problems(401, 403))
async def grant_reviewer(request: Request, domain_id: Id, body: models.RoleGrantRequest, who: Session) -> Response:
    """Lets an account review for the domain, from its next request on (administrators only)."""
    means = means_of(request)
    await _domain(means, domain_id)
    await means.services.identity.GrantRole(identity_pb2.GrantRoleRequest(phone=body.phone, role="REVIEWER", domain_id=domain_id))
    return await _holders(request, "REVIEWER", domain_id)


@router.delete("/domains/{domain_id}/reviewers/{account_id}", status_code=204, responses=problems(401, 403))
async def revoke_reviewer(request: Request, domain_id: Id, account_id: Id, who: Session) -> Response:
    """Takes the role back; sessions that are open lose it at once (administrators only)."""
    asked = identity_pb2.RevokeRoleRequest(account_id=account_id, role="REVIEWER", domain_id=domain_id)
    await means_of(request).services.identity.RevokeRole(asked)
    return Response(None, 204)


@router.get("/auditors", response_model=models.RoleHolderPage, responses=problems(401, 403))
async def list_auditors(request: Request, who: Session) -> Response:
    """Who may read everything (administrators and auditors only)."""
    return await _holders(request, "AUDITOR", "")


@router.put("/auditors", response_model=models.RoleHolderPage, responses=problems(401, 403))
async def grant_auditor(request: Request, body: models.RoleGrantRequest, who: Session) -> Response:
    """Lets an account read everything and change nothing (administrators only)."""
    await means_of(request).services.identity.GrantRole(identity_pb2.GrantRoleRequest(phone=body.phone, role="AUDITOR"))
    return await _holders(request, "AUDITOR", "")


@router.delete("/auditors/{account_id}", status_code=204, responses=problems(401, 403))
async def revoke_auditor(request: Request, account_id: Id, who: Session) -> Response:
    """Takes the role back at once (administrators only)."""
    await means_of(request).services.identity.RevokeRole(identity_pb2.RevokeRoleRequest(account_id=account_id, role="AUDITOR"))
    return Response(None, 204)


async def _holders(request: Request, role: str, domain_id: str) -> Response:
    asked = identity_pb2.ListRoleHoldersRequest(role=role, domain_id=domain_id)
    found = await means_of(request).services.identity.ListRoleHolders(asked)
    return reply(request, models.RoleHolderPage(items=[render.role_holder(one) for one in found.holders], next_cursor=None))


async def _domain(means: Means, domain_id: str) -> service_pb2.Domain:
    return (await means.services.push.GetDomain(service_pb2.GetDomainRequest(domain_id=domain_id))).domain


def _etag(one: service_pb2.Domain) -> str:
    return f'"{one.version}"'
