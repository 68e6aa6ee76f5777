"""How a certificate is found in its subject's lists: what its row says, and what a query asks of the rows.

Every filter and every piece of a searched text is a *word*: 64 bits of a hash over the subject and the word, so that one index (GIN)
holds them all, finds them within one subject only, and intersects any of them. Chinese has no words to split at, so a text's words are
its pairs of neighbouring characters; what holds all pairs of a query is then compared with the whole of it.
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
    """The pairs of neighbours of every line."""
    return {line[at : at + 2] for line in searched.split("\n") for at in range(len(line) - 1)}


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


def query(request: service_pb2.ListCertificatesRequest, subject_id: str, today: date) -> Select[Any]:
    """The rows (sort key, id, item) that a request asks for, one more than its limit.

    Raises ``value_invalid`` (sort, validity), ``value_too_long`` (q, type) and ``cursor_invalid`` (also for one of another query).
    """
    order = _order(request.sort)
    row = certificates.c
    key = row.certificate_id if order.column is None else order.column
    statement = select(key, row.certificate_id, row.item).where(row.subject_id == subject_id, *_conditions(request, subject_id, today))
    places = [row.certificate_id] if order.column is None else [order.column, row.certificate_id]
    if request.cursor:
        after = _after(request, subject_id, order)
        beyond = tuple_(*places) < tuple_(*after) if order.descending else tuple_(*places) > tuple_(*after)
        statement = statement.where(beyond)
    statement = statement.order_by(*(place.desc() if order.descending else place.asc() for place in places))
    return statement.limit(limit_of(request) + 1)


def limit_of(request: service_pb2.ListCertificatesRequest) -> int:
    """How many are answered at most."""
    return min(request.limit if request.limit > 0 else 50, MAX_LIMIT)


def _conditions(request: service_pb2.ListCertificatesRequest, subject_id: str, today: date) -> Iterable[ColumnElement[bool]]:
    row = certificates.c
    asked = {name: getattr(request, name) for name in ("module", "state", "person_id", "performance_id")}
    if request.light:
        asked["light"] = types_pb2.Light.Name(request.light)
    wanted = [word(subject_id, f"{name}={value}") for name, value in asked.items() if value]
    text = listing.fold(request.q)
    if len(text) > MAX_QUERY:
        raise YunkuError("value_too_long", field="/q", max=str(MAX_QUERY))
    wanted.extend(word(subject_id, text[at : at + 2]) for at in range(len(text) - 1))
    if wanted:
        yield row.words.bool_op("@>")(_words(wanted))
    if text and len(text) != 2:  # a pair is its own word; of one character there are none, since every write would pay for them
        yield func.strpos(row.searched, text) > 0
    if request.type:
        if len(request.type) > MAX_TYPES:
            raise YunkuError("value_too_long", field="/type", max=str(MAX_TYPES))
        known = catalogue.load()
        yield row.type.in_(sorted({one for one in request.type if known.has_type(one)}))
    if not request.state:
        yield row.state != "discarded"
    if request.validity:
        yield _validity(request, today)


def _words(words: Iterable[int]) -> ColumnElement[Any]:
    return cast(array(list(dict.fromkeys(words))), ARRAY(BigInteger))


def _validity(request: service_pb2.ListCertificatesRequest, today: date) -> ColumnElement[bool]:
    row = certificates.c
    begun = or_(row.valid_from.is_(None), row.valid_from <= today)
    soon = today + timedelta(days=max(0, request.expiring_days))
    match request.validity:
        case "NOT_YET":
            return row.valid_from > today
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
