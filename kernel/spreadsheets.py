"""CSV that spreadsheets open as it is, and in which nothing that a user once typed is run as a formula."""

import csv
import io
from collections.abc import Iterable
from typing import Final

#: First characters by which a spreadsheet takes a cell for a formula, or for the beginning of another cell; full width ones too.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
#: Without it Excel reads UTF-8 as the system's own encoding.
MARK: Final = b"\xef\xbb\xbf"


def safe(cell: str) -> str:
    """The cell, with an apostrophe before what a spreadsheet would run."""
    return "'" + cell if cell.startswith(_FORMULA) else cell


def lines(rows: Iterable[Iterable[str]]) -> bytes:
    """Rows as CSV in UTF-8, without the mark that a file begins with."""
    made = io.StringIO(newline="")
    csv.writer(made).writerows([safe(cell) for cell in row] for row in rows)
    return made.getvalue().encode()


def table(rows: Iterable[Iterable[str]]) -> bytes:
    """A whole CSV file."""
    return MARK + lines(rows)
