"""What every kind of value answers; the kinds themselves stand in the sibling modules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kernel.values.folding import fold, trim_edges
from kernel.values.problems import BadValue, Finding


@dataclass(frozen=True, slots=True)
class Spec:
    """What a field of the catalogue adds to its kind.

    ``choices`` maps each value of an enumeration to its other spellings; ``open`` lets values beside them pass;
    ``unit`` is the unit that the print gives in its heading rather than beside the figure (money: 元, 万元, 亿元);
    ``labels`` are the captions that stand before the value on the print, and may be caught by a mark.
    """

    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    open: bool = False
    unit: str = ""
    labels: tuple[str, ...] = ()


PLAIN = Spec()


class Kind:
    """One kind of value. Canonical values are strings, so that they travel in events and JSON as they are."""

    name: str = ""
    max_length: int = 300

    def parse(self, text: str, spec: Spec) -> str:
        """The canonical value that a person or a machine *stated*; raises BadValue."""
        raise NotImplementedError

    def read(self, text: str, spec: Spec) -> str:
        """The canonical value of a *print*: edge punctuation is free, but nothing may be guessed; raises BadValue."""
        text = trim_edges(text)
        if not text:
            raise BadValue("text.empty")
        return self.parse(text, spec)

    def equal(self, a: str, b: str) -> bool:
        """Whether two canonical values are the same value."""
        return a == b

    def spellings(self, value: str, spec: Spec) -> Iterable[str]:
        """How a print may write the canonical value, the most usual first."""
        return (value,)

    def checks(self, value: str) -> tuple[Finding, ...]:
        """What is implausible about the canonical value."""
        return ()


def without_label(text: str, labels: tuple[str, ...]) -> str:
    """``text`` without the caption before it, where the mark caught that too; the text itself where it has none."""
    folded = fold(text)
    for label in sorted((fold(one) for one in labels), key=len, reverse=True):
        if label and folded.startswith(label) and len(folded) > len(label):
            return folded[len(label) :].lstrip(":")
    return folded
