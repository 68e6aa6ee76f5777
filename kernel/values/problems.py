"""What can be wrong with a value, as codes: the Chinese sentence for each stands in kernel/texts."""

from __future__ import annotations

from dataclasses import dataclass


class BadValue(ValueError):
    """The text is no value of its kind.

    ``code`` names what is wrong (``uscc.length``, ``date.no_such_day`` …) and is the key of the text
    ``values.<code>``; ``details`` fill that text's placeholders. Details never carry a personal number.
    """

    def __init__(self, code: str, **details: str) -> None:
        super().__init__(code)
        self.code = code
        self.details = details


@dataclass(frozen=True, slots=True)
class Finding:
    """A well-formed value that is implausible; it explains and asks, it does not refuse.

    Real codes exist whose check digit fails, so a finding makes a light YELLOW at most (domain.md, "The light").
    """

    code: str
