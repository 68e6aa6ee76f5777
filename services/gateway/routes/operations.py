"""Health, and what the development profile tells of its demo data."""

import json
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from kernel.errors import YunkuError
from kernel.service import is_ready
from services.gateway import models
from services.gateway.means import means_of
from services.gateway.replies import problems, reply
from services.gateway.routes import API

router = APIRouter(prefix=API, tags=["operations"])
public = APIRouter(tags=["operations"])

_MAX_DEMO: Final = 256 * 1024


@router.get("/demo", response_model=models.Demo, responses=problems())
def demo(request: Request) -> Response:
    """What a script needs to run the main job; in the development profile only, 404 elsewhere."""
    settings = means_of(request).settings
    if settings.profile != "development":
        raise YunkuError("not_found")
    try:
        with open(settings.data / "demo.json", "rb") as file:
            told: dict[str, Any] = json.loads(file.read(_MAX_DEMO))
    except FileNotFoundError:
        raise YunkuError("not_found") from None
    return reply(request, models.Demo.model_validate(told))


@public.get("/healthz", response_model=models.Health)
async def healthz(request: Request) -> Response:
    """Alive."""
    return reply(request, models.Health(service="gateway", ok=True))


@public.get("/readyz", response_model=models.Readiness, responses={503: {"model": models.Readiness, "description": "Not ready"}})
async def readyz(request: Request) -> Response:
    """Each dependency's state."""
    states = await means_of(request).readiness()
    ready = is_ready(states)
    told = models.Readiness(service="gateway", ready=ready, dependencies=states)
    return reply(request, told, 200 if ready else 503)
