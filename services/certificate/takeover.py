"""What the national platform (全国建筑市场监管公共服务平台) says, as entries of this register: pure (manual 三 (二) 1, 三 (三) 4).

The platform's own wire format isn't public. The format of :class:`QualificationRow` and :class:`RegistrationRow` is ours: what a connector
beside the platform has to serve (docs/operations.md). Nothing of an answer is believed: a row that is malformed, another's, or unknown to
the catalogue is told as a fault and can't be taken over; the others can.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from yunku.certificate.v1 import types_pb2

from catalogue import Catalogue, CertificateType

#: More rows than this no company has: the answer is refused as a whole.
MAX_ROWS: Final = 500
QUALIFICATIONS: Final = "national_platform/qualifications"
REGISTRATIONS: Final = "national_platform/registrations"

_Id = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z._:-]{1,100}$")]
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]


class _Row(BaseModel):
    """Members beyond those named are kept in the raw row and otherwise passed over: the platform may come to say more."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    id: _Id
    level: _Text | None = None
    issuing_authority: _Text | None = None
    issued_on: date | None = None
    valid_until: date | None = None


class QualificationRow(_Row):
    """A company's qualification. ``name`` is certificate, category and speciality with hyphens: 工程监理资质证书-专业资质-市政公用工程."""

    uscc: _Text
    company_name: _Text
    name: _Text
    certificate_no: _Text
    primary: bool = False


class RegistrationRow(_Row):
    """A person's registration. The ID number is asked for and never answered: it has no place in what is kept."""

    name: _Text
    certificate: _Text
    employer: _Text
    registration_no: _Text
    speciality: _Text | None = None


@dataclass(frozen=True)
class Answer:
    """What the platform answered: the rows as they came, when, and the SHA-256 of the whole answer's bytes."""

    rows: tuple[Any, ...]
    retrieved_at: datetime
    sha256: str


@dataclass(frozen=True)
class Row:
    """A row that can be taken over, with the draft that it becomes."""

    id: str
    name: str
    level: str
    valid_until: str
    primary: bool
    type: str
    fields: Mapping[str, str]
    raw: str


@dataclass(frozen=True)
class Fault:
    """A row that can't. ``reason`` is a key of the texts' section ``platform``; ``member`` names what is wrong, where one thing is."""

    row: int
    id: str
    reason: str
    member: str = ""


@dataclass(frozen=True)
class Listing:
    """An answer, read."""

    source: str
    answer: Answer
    rows: tuple[Row, ...]
    faults: tuple[Fault, ...]

    def provenance(self, row: Row) -> types_pb2.Provenance:
        """What is recorded with the entry that the row becomes."""
        made = types_pb2.Provenance(source=self.source, source_id=row.id, answer_sha256=self.answer.sha256, row_json=row.raw)
        made.retrieved_at_us = round(self.answer.retrieved_at.timestamp() * 1_000_000)
        return made


class _Unusable(Exception):
    def __init__(self, reason: str, member: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.member = member


def qualifications(answer: Answer, known: Catalogue, uscc: str) -> Listing:
    """The company's qualifications."""

    def read(raw: Any) -> Row:
        row = QualificationRow.model_validate(raw)
        if row.uscc != uscc:
            raise _Unusable("not_holders", "uscc")
        label, _, rest = row.name.partition("-")
        kind = _kind(known, label.strip(), "qualification_name")
        stated = {
            "company_name": row.company_name,
            "uscc": row.uscc,
            "qualification_name": _qualification_name(kind, rest),
            "level": row.level,
            "certificate_no": row.certificate_no,
            "is_primary": "true" if row.primary else "false",
        }
        return _row(kind, row, row.name, stated, raw, primary=row.primary)

    return _read(QUALIFICATIONS, answer, read)


def registrations(answer: Answer, known: Catalogue, person: str) -> Listing:
    """A person's registrations; ``person`` is the name that was asked for."""

    def read(raw: Any) -> Row:
        row = RegistrationRow.model_validate(raw)
        if row.name != person:
            raise _Unusable("not_holders", "name")
        kind = _kind(known, row.certificate, "registration_no")
        stated = {
            "name": row.name,
            "employer": row.employer,
            "registration_no": row.registration_no,
            "level": row.level,
            "speciality": row.speciality,
        }
        return _row(kind, row, "-".join(filter(None, (row.certificate, row.speciality))), stated, raw)

    return _read(REGISTRATIONS, answer, read)


def _read(source: str, answer: Answer, read: Callable[[Any], Row]) -> Listing:
    rows: dict[str, Row] = {}
    faults: list[Fault] = []
    for number, raw in enumerate(answer.rows):
        try:
            row = read(raw)
            if row.id in rows:
                raise _Unusable("row_repeated", "id")
        except ValidationError as wrong:
            member = ".".join(str(part) for part in wrong.errors(include_url=False, include_input=False)[0]["loc"])
            faults.append(Fault(number, _id_of(raw), "row_malformed", member))
        except _Unusable as wrong:
            faults.append(Fault(number, _id_of(raw), wrong.reason, wrong.member))
        else:
            rows[row.id] = row
    return Listing(source, answer, tuple(rows.values()), tuple(faults))


def _id_of(raw: Any) -> str:
    found = raw.get("id") if isinstance(raw, Mapping) else None
    return found[:100] if isinstance(found, str) else ""


def _kind(known: Catalogue, label: str, field: str) -> CertificateType:
    """The certificate type that is printed so, among those that have the field; the platform says the same words as the certificates."""
    for kind in known.types:
        if kind.label == label and kind.has_field(field):
            return kind
    raise _Unusable("certificate_unknown", "name")


def _qualification_name(kind: CertificateType, rest: str) -> str:
    """施工总承包资质-建筑工程 is 建筑工程施工总承包 where the catalogue writes it so, and 专业资质-市政公用工程 is 市政公用工程."""
    *categories, speciality = (part.strip() for part in rest.split("-"))
    choices: Iterable[str] = kind.field("qualification_name").choices
    candidates = [speciality + category.removesuffix("资质") for category in categories]
    return next((name for name in candidates if name in choices), speciality)


def _row(
    kind: CertificateType,
    row: QualificationRow | RegistrationRow,
    name: str,
    stated: Mapping[str, str | None],
    raw: Any,
    *,
    primary: bool = False,
) -> Row:
    said = {
        **stated,
        "issuing_authority": row.issuing_authority,
        "issued_on": row.issued_on.isoformat() if row.issued_on else None,
        "valid_until": row.valid_until.isoformat() if row.valid_until else None,
    }
    fields, problems = kind.parse({field: value for field, value in said.items() if value and kind.has_field(field)})
    if problems:
        raise _Unusable("value_unusable", next(iter(problems)))
    return Row(
        id=row.id,
        name=name,
        level=row.level or "",
        valid_until=said["valid_until"] or "",
        primary=primary,
        type=kind.code,
        fields=fields,
        raw=json.dumps(raw, ensure_ascii=False, sort_keys=True, separators=(",", ":")),
    )
