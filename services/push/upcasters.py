"""How events of earlier schema versions are read: (type, version) -> a function of the payload. None yet: all are version 1."""

from typing import Final

from kernel.eventlog.events import Upcaster

UPCASTERS: Final[dict[tuple[str, int], Upcaster]] = {}
