"""How often one address may do what costs others: a count per address and minute, in memory."""

import time
from collections import OrderedDict
from typing import Final

from kernel.errors import YunkuError

_WINDOW: Final = 60.0
#: Addresses remembered; the one that asked longest ago is forgotten first.
_REMEMBERED: Final = 20_000


class PerAddress:
    """At most ``limit`` in each window of a minute, each kind by itself. Per process: a coarse net before identity's own limits."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def take(self, kind: str, address: str) -> None:
        """Counts one; raises ``too_many_requests`` with the seconds to wait."""
        now = time.monotonic()
        began, count = self._counts.pop((kind, address), (now, 0))
        if now - began >= _WINDOW:
            began, count = now, 0
        self._counts[kind, address] = (began, count + 1)
        if len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)
        if count >= self._limit:
            raise YunkuError("too_many_requests", retry_after=str(int(_WINDOW - (now - began)) + 1))
