"""Look-alike characters, made from rendered glyphs by ``generate`` and read from ``lookalikes.txt``.

A line of the table is a character followed by its look-alikes, nearest first.
"""

from functools import lru_cache
from importlib import resources


@lru_cache(maxsize=1)
def _table() -> dict[str, str]:
    text = resources.files(__package__).joinpath("lookalikes.txt").read_text(encoding="utf-8")
    return {line[0]: line[1:] for line in text.splitlines() if line}


def lookalikes(char: str) -> str:
    """The characters that print like ``char``, nearest first; ``""`` where there is none."""
    return _table().get(char, "")
