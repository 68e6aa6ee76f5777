"""What the routes work with; put together in ``bootstrap``."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import Request

from kernel.errors import YunkuError
from services.gateway.limits import PerAddress
from services.gateway.live import Live
from services.gateway.objects import Objects
from services.gateway.peers import Services
from services.gateway.settings import Settings


@dataclass(frozen=True)
class Means:
    """Everything that answering a request may need."""

    settings: Settings
    services: Services
    objects: Objects
    live: Live
    limits: PerAddress
    readiness: Callable[[], Awaitable[dict[str, str]]]
    _uploading: list[None] = field(default_factory=list)

    @asynccontextmanager
    async def uploading(self) -> AsyncIterator[None]:
        """Takes one of the places for uploads; raises ``service_unavailable`` when all are taken."""
        if len(self._uploading) >= self.settings.uploads_at_once:
            raise YunkuError("service_unavailable")
        self._uploading.append(None)
        try:
            yield
        finally:
            self._uploading.pop()


def means_of(request: Request) -> Means:
    """The means of the running application."""
    means: Means = request.app.state.means
    return means
