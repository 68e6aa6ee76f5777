"""What the subject service needs of others, as it needs it."""

from collections.abc import Set
from typing import Protocol


class Certificates(Protocol):
    """Knows which certificates a company has."""

    async def submitted_types(self) -> Set[str]:
        """The types of which the caller's subject has one in the register."""
