"""How a certificate is found in its subject's lists: what its row says, and what a query asks of the rows.

Every filter and every piece of a searched text is a *word*: 64 bits of a hash over the subject and the word, so that one index (GIN)
holds them all, finds them within one subject only, and intersects any of them. Chinese has no words to split at, so a text's words are
its pairs of neighbouring characters; what holds all pairs of a query is then compared with the whole of it. One character alone finds
what begins with it.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Select, and_, cast, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY, array
from yunku.certificate.v1 import service_pb2, types_pb2

import catalogue
from catalogue import listing
from kernel.errors import YunkuError
from services.certificate.tables import certificates

MAX_LIMIT: Final = 200
MAX_QUERY: Final = 100
MAX_TYPES: Final = 100
VALIDITIES: Final = ("VALID", "EXPIRING", "EXPIRED", "NOT_YET")
NEVER: Final = date(9999, 12, 31)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DIGEST: Final = 8
#: How many of the next entries in the order are looked through before the index of words is asked.
NEAR: Final = 1000
#: The columns that orders and conditions look at.
_ASKED: Final = (
    "certificate_id",
    "type",
    "state",
    "updated_at",
    "submitted_at",
    "dated",
    "valid_from",
    "ends_on",
    "words",
    "searched",
    "item",
)

# -- a certificate's row -----------------------------------------------------------------------------------------------


def columns(view: service_pb2.Certificate) -> Mapping[str, Any]:
    """What the row of a certificate says beside the certificate itself; pure."""
    kind = catalogue.load().type(view.type)
    searched = listing.searched(kind, view.fields, view.unique_code)
    named = [
        ("module", kind.module),
        ("type", view.type),
        ("state", view.state),
        ("light", types_pb2.Light.Name(view.light)),
        ("person_id", view.person_id),
        ("performance_id", view.performance_id),
    ]
    words = {word(view.holder.subject_id, f"{name}={value}") for name, value in named}
    words.update(word(view.holder.subject_id, piece) for piece in _pieces(searched))
    return {
        "subject_id": view.holder.subject_id,
        "type": view.type,
        "state": view.state,
        "light": view.light,
        "updated_at": view.updated_at.ToDatetime(UTC),
        "submitted_at": view.submitted_at.ToDatetime(UTC) if view.HasField("submitted_at") else _EPOCH,
        "dated": bool(view.valid_from or view.valid_until or view.endless),
        "valid_from": date.fromisoformat(view.valid_from) if view.valid_from else None,
        "ends_on": date.fromisoformat(view.valid_until) if view.valid_until else NEVER,
        "words": sorted(words),
        "searched": searched,
        "item": item(view).SerializeToString(deterministic=True),
    }


def item(view: service_pb2.Certificate) -> service_pb2.Certificate:
    """A certificate without what no list shows."""
    shown = service_pb2.Certificate()
    shown.CopyFrom(view)
    for name in ("recognition", "marks", "verification", "accepted", "absent"):
        shown.ClearField(name)
    if shown.HasField("document"):
        shown.document.ClearField("pages")
    return shown


def word(subject_id: str, text: str) -> int:
    """The 64 bits that stand for a word within a subject."""
    digest = hashlib.blake2b(f"{subject_id}\n{text}".encode(), digest_size=_DIGEST).digest()
    return int.from_bytes(digest, "big", signed=True)


def _pieces(searched: str) -> set[str]:
    """The pairs of neighbours of every line, and the character that it begins with."""
    lines = [line for line in searched.split("\n") if line]
    return {line[at : at + 2] for line in lines for at in range(len(line) - 1)} | {f"^{line[0]}" for line in lines}


# -- a query -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Order:
    column: ColumnElement[Any] | None
    descending: bool


def _order(sort: str) -> _Order:
    name = sort.removeprefix("-") if sort else "created"
    keys: dict[str, ColumnElement[Any] | None] = {
        "created": None,
        "updated": certificates.c.updated_at,
        "submitted": certificates.c.submitted_at,
        "valid_until": certificates.c.ends_on,
        "type": certificates.c.type,
    }
    if name not in keys:
        raise YunkuError("value_invalid", field="/sort")
    return _Order(keys[name], sort.startswith("-") or not sort)


def attempts(request: service_pb2.ListCertificatesRequest, subject_id: str, today: date) -> list[Select[Any]]:
    """What to ask for the rows (sort key, id, item) of a request, in turn, until one gives more than its limit or all were asked.

    Words go together (a text's pairs most of all), which no planner's statistics know: asked at once, a search that finds a company's
    every other entry is carried out as if it found five, and reads them all. So what many match is looked for among the next few in
    the order, and only what few match by the index of words. Each attempt that gives enough gives the same; the last gives all.

    Raises ``value_invalid`` (sort, validity), ``value_too_long`` (q, type) and ``cursor_invalid`` (also for one of another query).
    """
    order = _order(request.sort)
    places = [certificates.c.certificate_id] if order.column is None else [order.column, certificates.c.certificate_id]
    own = certificates.c.subject_id == subject_id
    if request.cursor:
        after = tuple_(*_after(request, subject_id, order))
        own = and_(own, tuple_(*places) < after if order.descending else tuple_(*places) > after)

    def ordered(statement: Select[Any], row: Any) -> Select[Any]:
        by = [row[place.name] for place in places]
        return statement.order_by(*(place.desc() if order.descending else place.asc() for place in by))

    def asked(row: Any) -> Select[Any]:
        statement = select(row[places[0].name].label("key"), row.certificate_id.label("id"), row.item)
        return ordered(statement.where(*_conditions(request, subject_id, today, row)), row).limit(limit_of(request) + 1)

    whole = asked(certificates.c).where(own)
    if not _wanted(request, subject_id):
        return [whole]
    near = ordered(select(*(certificates.c[name] for name in _ASKED)).where(own), certificates.c).limit(NEAR).subquery("near")
    return [asked(near.c), whole]


def limit_of(request: service_pb2.ListCertificatesRequest) -> int:
    """How many are answered at most."""
    return min(request.limit if request.limit > 0 else 50, MAX_LIMIT)


def _wanted(request: service_pb2.ListCertificatesRequest, subject_id: str) -> list[int]:
    """The words that a row must have."""
    asked = {name: getattr(request, name) for name in ("module", "state", "person_id", "performance_id")}
    if request.light:
        asked["light"] = types_pb2.Light.Name(request.light)
    wanted = [word(subject_id, f"{name}={value}") for name, value in asked.items() if value]
    text = listing.fold(request.q)
    if len(text) == 1:  # every single character as a word would double what each write costs
        wanted.append(word(subject_id, f"^{text}"))
    return wanted + [word(subject_id, text[at : at + 2]) for at in range(len(text) - 1)]


def _conditions(request: service_pb2.ListCertificatesRequest, subject_id: str, today: date, row: Any) -> Iterable[ColumnElement[bool]]:
    text = listing.fold(request.q)
    if len(text) > MAX_QUERY:
        raise YunkuError("value_too_long", field="/q", max=str(MAX_QUERY))
    if wanted := _wanted(request, subject_id):
        yield row.words.bool_op("@>")(_words(wanted))
    if len(text) > 2:  # a pair is its own word
        yield func.strpos(row.searched, text) > 0
    if request.type:
        if len(request.type) > MAX_TYPES:
            raise YunkuError("value_too_long", field="/type", max=str(MAX_TYPES))
        known = catalogue.load()
        yield row.type.in_(sorted({one for one in request.type if known.has_type(one)}))
    if not request.state:
        yield row.state != "discarded"
    if request.validity:
        yield _validity(request, today, row)


def of_person(subject_id: str, person_id: str) -> tuple[ColumnElement[bool], ...]:
    """Rows of a person's certificates within a subject. Words may meet: what is found is looked at again."""
    row = certificates.c
    return row.subject_id == subject_id, row.words.bool_op("@>")(_words([word(subject_id, f"person_id={person_id}")]))


def has(subject_id: str, name: str, value: str) -> ColumnElement[bool]:
    """The subject's rows that have the value in one of the filters."""
    return certificates.c.words.bool_op("@>")(_words([word(subject_id, f"{name}={value}")]))


def _words(words: Iterable[int]) -> ColumnElement[Any]:
    return cast(array(list(dict.fromkeys(words))), ARRAY(BigInteger))


def _validity(request: service_pb2.ListCertificatesRequest, today: date, row: Any) -> ColumnElement[bool]:
    begun: ColumnElement[bool] = or_(row.valid_from.is_(None), row.valid_from <= today)
    soon = today + timedelta(days=max(0, request.expiring_days))
    match request.validity:
        case "NOT_YET":
            return and_(row.valid_from > today)
        case "EXPIRED":
            return and_(row.ends_on < today, begun)
        case "EXPIRING":
            return and_(row.ends_on.between(today, soon), begun)
        case "VALID":
            return and_(row.ends_on > soon, row.dated, begun)
    raise YunkuError("value_invalid", field="/validity")


# -- cursors -----------------------------------------------------------------------------------------------------------


def cursor(request: service_pb2.ListCertificatesRequest, subject_id: str, key: Any, certificate: UUID) -> str:
    """Where the next page of this very query begins: its fingerprint, the last row's id and its sort key."""
    text = key.isoformat() if isinstance(key, date) else "" if isinstance(key, UUID) else str(key)
    return base64.urlsafe_b64encode(_fingerprint(request, subject_id) + certificate.bytes + text.encode()).decode().rstrip("=")


def _after(request: service_pb2.ListCertificatesRequest, subject_id: str, order: _Order) -> list[Any]:
    try:
        told = base64.b64decode(request.cursor + "=" * (-len(request.cursor) % 4), altchars=b"-_", validate=True)
        made_for, identity, key = told[:_DIGEST], UUID(bytes=told[_DIGEST : _DIGEST + 16]), told[_DIGEST + 16 :].decode()
        if made_for != _fingerprint(request, subject_id):
            raise ValueError("another query's")
        if order.column is None:
            return [identity]
        if order.column is certificates.c.type:
            return [key, identity]
        return [date.fromisoformat(key) if order.column is certificates.c.ends_on else datetime.fromisoformat(key), identity]
    except ValueError:
        raise YunkuError("cursor_invalid", field="/cursor") from None


def _fingerprint(request: service_pb2.ListCertificatesRequest, subject_id: str) -> bytes:
    """What a cursor belongs to: the subject, the filters and the order; not the page's size."""
    asked = service_pb2.ListCertificatesRequest()
    asked.CopyFrom(request)
    for name in ("cursor", "limit", "expiring_days"):
        asked.ClearField(name)
    return hashlib.blake2b(subject_id.encode() + b"\n" + asked.SerializeToString(deterministic=True), digest_size=_DIGEST).digest()
