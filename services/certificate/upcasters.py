"""Old events of this service, read as today's. None yet: every event type stands in its first version."""

from typing import Final

from kernel.eventlog.events import Upcaster

UPCASTERS: Final[dict[tuple[str, int], Upcaster]] = {}
