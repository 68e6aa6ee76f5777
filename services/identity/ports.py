"""What is outside of this service."""

from typing import Protocol


class CodeSender(Protocol):
    """Takes a code to a phone."""

    async def send(self, phone: str, code: str) -> None:
        """Returns when the operator's gateway accepted it; raises YunkuError ``service_unavailable`` otherwise."""
