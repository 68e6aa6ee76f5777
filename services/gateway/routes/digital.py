"""Digital certificates 数字证照: a company's own, and their check by anybody (http-api.md, "Catalogue and certificates")."""

import json

from fastapi import APIRouter, Request, Response
from yunku.signing.v1 import service_pb2

from services.gateway import models, render
from services.gateway.means import means_of
from services.gateway.replies import problems, reply
from services.gateway.routes import API
from services.gateway.routes.accounts import address
from services.gateway.routes.certificates import Id
from services.gateway.sessions import Session

router = APIRouter(prefix=API, tags=["digital certificates"])

_STATUS_LIST = "application/statuslist+jwt"


@router.get("/certificates/{certificate_id}/digital-certificate", response_model=models.DigitalCertificate, responses=problems(401, 403))
async def get_digital_certificate(request: Request, certificate_id: Id, who: Session) -> Response:
    """The latest digital certificate of one of the company's own certificates; 404 where it earned none (it isn't GREEN)."""
    asked = service_pb2.GetDigitalCertificateRequest(certificate_id=certificate_id)
    found = await means_of(request).services.digital.GetDigitalCertificate(asked)
    return reply(request, render.digital_certificate(found.digital_certificate))


@router.get("/verify/{unique_code}", response_model=models.DigitalCertificate, responses=problems())
async def check_unique_code(request: Request, unique_code: Id) -> Response:
    """Public: whether the register attests a unique code 唯一标识码, and whether that still holds. 404 for a code without attestation."""
    means = means_of(request)
    means.limits.take("verify", address(request))
    found = await means.services.digital.CheckUniqueCode(service_pb2.CheckUniqueCodeRequest(unique_code=unique_code))
    return reply(request, render.digital_certificate(found.digital_certificate))


@router.get("/digital-certificates/keys", response_model=models.JsonWebKeys, responses=problems())
async def list_keys(request: Request) -> Response:
    """Public: the register's keys, for checking tokens without asking the register."""
    means = means_of(request)
    means.limits.take("verify", address(request))
    found = await means.services.digital.ListKeys(service_pb2.ListKeysRequest())
    return reply(request, models.JsonWebKeys(keys=[json.loads(one) for one in found.keys]), headers={"Cache-Control": "max-age=300"})


@router.get(
    "/digital-certificates/status-list",
    response_class=Response,
    responses={
        **problems(),
        200: {
            "content": {_STATUS_LIST: {"schema": {"type": "string"}}},
            "description": "A signed Token Status List (JWT): one bit a token, 1 is revoked",
        },
    },
)
async def get_status_list(request: Request) -> Response:
    """Public: which tokens no longer hold, without saying about which one asks."""
    means = means_of(request)
    means.limits.take("verify", address(request))
    found = await means.services.digital.GetStatusList(service_pb2.GetStatusListRequest())
    return Response(found.token, media_type=_STATUS_LIST, headers={"Cache-Control": "max-age=300"})
