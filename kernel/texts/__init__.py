"""Everything that the user reads, in one place: ``zh_CN.toml``, key to Chinese text.

Keys are dotted (``errors.not_found``: section ``[errors]``, key ``not_found``). Code raises codes; the edge asks here.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

__all__ = ["keys", "text"]


class _Lenient(dict[str, str]):
    """A missing parameter shows as nothing: better a text with a gap than an answer that fails."""

    def __missing__(self, key: str) -> str:
        return ""


def _flatten(table: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, str):
            flat[prefix + key] = value
        elif isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            raise TypeError(f"zh_CN.toml: {prefix}{key} is neither text nor section")
    return flat


@cache
def _texts() -> dict[str, str]:
    return _flatten(tomllib.loads(files(__name__).joinpath("zh_CN.toml").read_text("utf-8")))


def keys(section: str = "") -> frozenset[str]:
    """All keys, or those of one section (without its name)."""
    if not section:
        return frozenset(_texts())
    return frozenset(key.removeprefix(f"{section}.") for key in _texts() if key.startswith(f"{section}."))


def text(key: str, **params: str) -> str:
    """The Chinese text of ``key`` with its ``{placeholders}`` filled from ``params``.

    Raises KeyError when there is no such text: a defect. Placeholders are names only; parameters are inserted as they
    are and never read as patterns.
    """
    return _texts()[key].format_map(_Lenient(params))
