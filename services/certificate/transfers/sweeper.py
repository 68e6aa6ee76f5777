"""Drops archives of imports and exports that had their time. The entries and their documents stay; an export can be made again."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from kernel.observability.logging import get_logger
from services.certificate.ports import Transfers

_PAUSE: Final = 3600.0
_log = get_logger(__name__)


class Sweeper:
    """A background loop."""

    def __init__(self, transfers: Transfers, kept: timedelta) -> None:
        self._transfers = transfers
        self._kept = kept

    async def run(self) -> None:
        while True:
            dropped = await self._transfers.drop_older(datetime.now(UTC) - self._kept)
            if dropped:
                _log.info("archives dropped", count=dropped)
            await asyncio.sleep(_PAUSE)
