"""ETags of certificates: ``"<content version>.<revision>"``. If-Match on a write is checked against the version part."""

import re
from typing import Annotated, Final

from fastapi import Depends, Request

from kernel.errors import YunkuError

_TAG: Final = re.compile(r'"(\d{1,9})(?:\.\d{1,9})?"')


def etag(version: int, revision: int) -> str:
    """The ETag of a certificate."""
    return f'"{version}.{revision}"'


def _expected_version(request: Request) -> int:
    """The version that the client changes; 0 where it doesn't say. Raises ``precondition_malformed``."""
    text = request.headers.get("if-match", "").strip()
    if text in ("", "*"):
        return 0
    found = _TAG.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise YunkuError("precondition_malformed", field="/If-Match")
    return int(found[1])


ExpectedVersion = Annotated[int, Depends(_expected_version)]
