"""The table of an import: what each row says, column by column (docs/http-api.md, "Imports"). Pure.

The head names the columns: the fixed ones by their name or Chinese text, all others are fields, by name or label, or ``fields.<name>``
where a field has a fixed column's name. A head may carry both, ``企业名称[company_name]``: what is in the brackets counts.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from catalogue import Catalogue, CertificateType
from kernel import texts
from kernel.errors import FieldError, YunkuError

MAX_ROWS: Final = 1000
MAX_COLUMNS: Final = 400
MAX_CELL: Final = 20_000
MAX_KEY: Final = 100
#: The columns that every table may have; only ``type`` must be there.
FIXED: Final = ("row_key", "type", "mode", "person", "performance", "document", "absent", "marks", "verify")
_BRACKETED: Final = re.compile(r".*\[([^\[\]]+)\]\s*", re.DOTALL)
_SPLIT: Final = re.compile(r"[,;，；、\s]+")
_YES: Final = frozenset({"1", "true", "yes", "y", "是"})
_NO: Final = frozenset({"", "0", "false", "no", "n", "否"})


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark as a row gives it."""

    field: str
    page: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One row, read: what entry it wants. ``columns`` says which head stands for a pointer."""

    key: str
    type: str
    mode: str
    person: str
    performance: str
    document: str
    fields: Mapping[str, str]
    absent: tuple[str, ...] | None
    marks: tuple[Mark, ...] | None
    verify: bool
    columns: Mapping[str, str] = field(default_factory=dict)

    def digest(self, document_sha256: str) -> bytes:
        """A hash over all that the row says, its document included; not over the key, which is its name."""
        said: dict[str, Any] = {
            "type": self.type,
            "mode": self.mode,
            "person": self.person,
            "performance": self.performance,
            "fields": {name: value for name, value in self.fields.items() if value},
            "absent": self.absent,
            "marks": self.marks and [(mark.field, mark.page, mark.box) for mark in self.marks],
            "verify": self.verify,
            "document": document_sha256,
        }
        return hashlib.sha256(json.dumps(said, ensure_ascii=False, sort_keys=True).encode()).digest()


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose head was understood; its rows are read one by one, so that one that is wrong stops no other."""

    heads: tuple[str, ...]
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def read(data: bytes) -> Table:
    """The table in ``data``: CSV in UTF-8 or GBK.

    Raises ``table_unreadable``, ``table_too_long``, ``table_head_wrong``, ``table_empty``."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("gb18030")
        except UnicodeDecodeError:
            raise YunkuError("table_unreadable", field="/file") from None
    if "\0" in text:
        raise YunkuError("table_unreadable", field="/file")
    rows: list[tuple[str, ...]] = []
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), strict=True):
            if not any(cell.strip() for cell in cells):
                continue
            if len(rows) > MAX_ROWS:
                raise YunkuError("table_too_long", field="/file", max=str(MAX_ROWS))
            if len(cells) > MAX_COLUMNS or any(len(cell) > MAX_CELL for cell in cells):
                raise YunkuError("table_unreadable", field="/file")
            rows.append(tuple(cell.strip() for cell in cells))
    except csv.Error:
        raise YunkuError("table_unreadable", field="/file") from None
    if len(rows) < 2:
        raise YunkuError("table_empty", field="/file")
    heads = rows[0]
    known = {texts.text(f"import.column.{name}"): name for name in FIXED}
    names = tuple(known.get(name, name) for name in map(_named, heads))
    given = [name for name in names if name]
    repeated = next((name for number, name in enumerate(given) if name in given[:number]), "")
    if repeated or "type" not in given:
        raise YunkuError("table_head_wrong", field="/file", column=(repeated or texts.text("import.column.type"))[:100])
    return Table(heads, names, tuple(rows[1:]))


def _named(head: str) -> str:
    bracketed = _BRACKETED.fullmatch(head)
    return (bracketed[1] if bracketed else head).strip()


def parse(table: Table, cells: Sequence[str], known: Catalogue, marks_file: Callable[[str], bytes]) -> Row:
    """What a row says. ``marks_file`` reads a file of marks by its name, KeyError where there is none.

    Raises YunkuError, with pointers as in the request that would make such an entry."""
    cells = (*cells, *[""] * (len(table.names) - len(cells)))
    if any(cells[len(table.names) :]) or any(cell and not name for cell, name in zip(cells, table.names, strict=False)):
        raise YunkuError("value_invalid", field="")
    fixed = {name: cell for name, cell in zip(table.names, cells, strict=False) if name in FIXED}
    kind = _kind(fixed["type"], known)
    columns = {f"/{name}": head for name, head in zip(table.names, table.heads, strict=True) if name in FIXED}
    # As the entry itself calls what these columns name.
    columns |= {f"/{name}_id": columns[f"/{name}"] for name in ("person", "performance") if f"/{name}" in columns}
    fields: dict[str, str] = {}
    problems: list[FieldError] = []
    labels = {one.label: one.name for one in kind.fields}
    for name, head, cell in zip(table.names, table.heads, cells, strict=False):
        if not name or name in FIXED:
            continue
        plain = name.removeprefix("fields.")
        plain = plain if kind.has_field(plain) else labels.get(plain, plain)
        columns[f"/fields/{plain}"] = head
        if kind.has_field(plain):
            fields[plain] = cell
        elif cell:
            # Another type's column, in a table of several types: it must be empty here.
            problems.append(FieldError(f"/fields/{plain[:100]}", "field_unknown", {"field": plain[:100]}))
    key = fixed.get("row_key", "")
    if len(key) > MAX_KEY or any(not character.isprintable() for character in key):
        problems.append(FieldError("/row_key", "value_too_long", {"max": str(MAX_KEY)}))
    mode = _mode(fixed.get("mode", ""), kind)
    verify = fixed.get("verify", "").lower()
    if verify not in _YES | _NO:
        problems.append(FieldError("/verify", "value_invalid"))
    if problems:
        raise RowRefused(YunkuError(problems[0].code, errors=problems[:50]), columns)
    try:
        marks = _marks(fixed.get("marks", ""), marks_file)
        absent = _absent(fixed, kind)
    except YunkuError as refused:
        raise RowRefused(refused, columns) from None
    return Row(
        key=key,
        type=kind.code,
        mode=mode,
        person=fixed.get("person", ""),
        performance=fixed.get("performance", ""),
        document=fixed.get("document", ""),
        fields=fields,
        absent=absent,
        marks=marks,
        verify=verify in _YES,
        columns=columns,
    )


class RowRefused(Exception):
    """A row that can't be read, with the heads of its columns."""

    def __init__(self, refusal: YunkuError, columns: Mapping[str, str]) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal
        self.columns = columns


def column_of(columns: Mapping[str, str], pointer: str) -> str:
    """The head of the column that a pointer is about; the part of a cell counts as the cell."""
    while pointer:
        if pointer in columns:
            return columns[pointer]
        pointer = pointer.rpartition("/")[0]
    return ""


def _kind(text: str, known: Catalogue) -> CertificateType:
    if not text:
        raise YunkuError("field_required", field="/type")
    if known.has_type(text):
        return known.type(text)
    labelled = [one for one in known.types if one.label == text]
    if len(labelled) != 1:
        raise YunkuError("type_unknown", field="/type")
    return labelled[0]


def _mode(text: str, kind: CertificateType) -> str:
    if not text:
        return "MANUAL" if "MANUAL" in kind.modes else kind.modes[0]
    return next((mode for mode in ("SMART", "MANUAL") if text in (mode, texts.text(f"gateway.mode.{mode}"))), text)


def _absent(fixed: Mapping[str, str], kind: CertificateType) -> tuple[str, ...] | None:
    if "absent" not in fixed:
        return None
    labels = {one.label: one.name for one in kind.fields}
    return tuple(labels.get(one, one) for one in _SPLIT.split(fixed["absent"]) if one)


def _marks(text: str, marks_file: Callable[[str], bytes]) -> tuple[Mark, ...] | None:
    """Marks as JSON in the cell, or the name of a file that holds them; as in ``PUT …/marks``."""
    if not text:
        return None
    if not text.startswith("["):
        try:
            text = marks_file(text).decode("utf-8-sig")
        except KeyError:
            raise YunkuError("archive_entry_missing", field="/marks", name=text[:100]) from None
        except UnicodeDecodeError:
            raise YunkuError("value_invalid", field="/marks") from None
    try:
        listed = json.loads(text)
        if isinstance(listed, dict):
            listed = listed["marks"]
        marks = []
        for one in listed:
            x0, y0, x1, y1 = (float(side) for side in one["box"])
            page = one["page"]
            if not isinstance(one["field"], str) or not isinstance(page, int) or not 0 <= page < 2**31:
                raise ValueError
            marks.append(Mark(one["field"], page, (x0, y0, x1, y1)))
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        raise YunkuError("value_invalid", field="/marks") from None
    return tuple(marks)
