"""Questions about persons, answered from the read model; personal values are decrypted for who may see them, here and nowhere else."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from yunku.kernel.v1 import kernel_pb2
from yunku.subject.v1 import events_pb2, persons_pb2, service_pb2

from kernel import ids, values
from kernel.context import Caller
from kernel.errors import YunkuError
from kernel.eventlog.store import EventLog
from kernel.privacy import Keyring, PersonKey
from services.subject import persons

#: What each encrypted value of a person is (kernel.privacy).
NUMBER: Final = "subject person number"
NAME: Final = "subject person name"
PHONE: Final = "subject person phone"
DETAILS: Final = "subject person details"

MAX_LIMIT: Final = 200
#: Rows that a search decrypts at a time.
_BATCH: Final = 500
MAX_QUERY: Final = 100
#: A query that isn't a whole number is looked for within numbers from this length on.
_LEAST_DIGITS: Final = 4

_ONE: Final = """
SELECT p.person, p.revision, k.wrapped_key FROM persons p JOIN person_keys k USING (person_id)
WHERE p.person_id = %s AND k.wrapped_key IS NOT NULL
"""
# In the order in which the subject bound them, newest first; a subject's place in `subject_ids` is its place in `since`.
_LIST: Final = """
SELECT p.person_id, p.person, p.revision, k.wrapped_key, x.since
FROM persons p JOIN person_keys k USING (person_id)
CROSS JOIN LATERAL (SELECT p.since[array_position(p.subject_ids, %(subject)s::text)] AS since) x
WHERE p.subject_ids @> ARRAY[%(subject)s::text] AND k.wrapped_key IS NOT NULL
AND (%(state)s = '' OR (p.holder = %(subject)s) = (%(state)s = 'bound'))
AND (x.since, p.person_id) < (%(since)s, %(person)s)
ORDER BY x.since DESC, p.person_id DESC LIMIT %(limit)s
"""
_CLAIMS: Final = """
SELECT p.person, k.wrapped_key FROM persons p JOIN person_keys k USING (person_id)
WHERE p.claim_sides @> ARRAY[%s::text] AND k.wrapped_key IS NOT NULL
"""
_CLAIMANTS: Final = "SELECT subject FROM subjects WHERE subject_id = ANY(%s)"
_LAST: Final = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))


# -- one person --------------------------------------------------------------------------------------------------------


async def get(log: EventLog, keyring: Keyring, text: str, caller: Caller) -> service_pb2.GetPersonResponse:
    """A person as the caller's subject sees them; ``not_found`` where it never employed them."""
    subject_id = caller.require_subject()
    record, revision, key = await _read(log, keyring, text)
    if persons.Person(record).employment(subject_id) is None:
        raise YunkuError("not_found")
    return service_pb2.GetPersonResponse(person=person(record, subject_id, revision, key))


async def check(
    log: EventLog, keyring: Keyring, request: service_pb2.CheckPersonRequest, caller: Caller
) -> service_pb2.CheckPersonResponse:
    """For services: whether the subject employs the person now, and which statements are true of the person (as the subject knows
    them, also when it employs them no more). Of a person whom it never employed nothing is true."""
    _require_service(caller)
    try:
        record, _, key = await _read(log, keyring, request.person_id)
    except YunkuError as refused:
        if refused.code != "not_found":
            raise
        return service_pb2.CheckPersonResponse()
    employment = persons.Person(record).employment(request.subject_id)
    if employment is None:
        return service_pb2.CheckPersonResponse()
    known = {"person_id": ("id18", key.decrypt(record.number, NUMBER)), "person_name": ("person", key.decrypt(employment.name, NAME))}
    agreeing = [one.field for one in request.statements if one.kind in known and _agrees(*known[one.kind], one.value)]
    return service_pb2.CheckPersonResponse(bound=not employment.unbound_on, agreeing=agreeing)


def _agrees(kind: str, own: str, stated: str) -> bool:
    return bool(stated) and values.equal(kind, own, stated)


# -- many --------------------------------------------------------------------------------------------------------------


async def find(log: EventLog, keyring: Keyring, request: service_pb2.ListPersonsRequest, caller: Caller) -> service_pb2.ListPersonsResponse:
    """The persons whom the caller's subject employs or employed, the last bound first; numbers masked."""
    subject_id = caller.require_subject()
    if request.state not in ("", "bound", "unbound"):
        raise YunkuError("value_invalid", field="/state")
    if len(request.query) > MAX_QUERY:
        raise YunkuError("value_too_long", field="/q", max=str(MAX_QUERY))
    limit = min(request.limit or 50, MAX_LIMIT)
    query = values.fold(request.query)
    found: list[persons_pb2.Person] = []
    at: tuple[datetime, UUID] = _cursor(request.cursor)
    after = at
    while len(found) <= limit:
        wanted = _BATCH if query else limit + 1 - len(found)
        rows = await _page(log, subject_id, request.state, after, wanted)
        for person_id, record, revision, wrapped, since in rows:
            after = (since, person_id)
            key = keyring.unwrap(person_id, bytes(wrapped))
            one = persons_pb2.PersonRecord.FromString(bytes(record))
            if query and not _matches(one, subject_id, key, query):
                continue
            if len(found) == limit:
                return service_pb2.ListPersonsResponse(items=found, next_cursor=f"{_microseconds(at[0])}.{at[1]}")
            found.append(person(one, subject_id, revision, key, masked=True))
            at = after
        if len(rows) < wanted:
            break
    return service_pb2.ListPersonsResponse(items=found)


async def named(
    log: EventLog, keyring: Keyring, request: service_pb2.FindPersonsRequest, caller: Caller
) -> service_pb2.FindPersonsResponse:
    """For services: the subject's persons of exactly this name, or of this document's number, whether bound or not."""
    _require_service(caller)
    if request.number:
        return await _numbered(log, keyring, request.subject_id, request.number)
    answer = service_pb2.FindPersonsResponse()
    after = _LAST
    while True:
        rows = await _page(log, request.subject_id, "", after, _BATCH)
        for person_id, record, _, wrapped, since in rows:
            after = (since, person_id)
            one = persons_pb2.PersonRecord.FromString(bytes(record))
            employment = persons.Person(one).employment(request.subject_id)
            key = keyring.unwrap(person_id, bytes(wrapped))
            if employment is not None and _agrees("person", key.decrypt(employment.name, NAME), request.name):
                answer.persons.append(_found(str(person_id), employment))
        if len(rows) < _BATCH:
            return answer


async def _numbered(log: EventLog, keyring: Keyring, subject_id: str, text: str) -> service_pb2.FindPersonsResponse:
    """The number leads to the id, so nobody's number is decrypted; documents of several kinds may have the same one."""
    answer = service_pb2.FindPersonsResponse()
    for kind in persons.DOCUMENT_KINDS:
        try:
            number = persons.parse_number(kind, text)
            record, _, _ = await _read(log, keyring, str(person_of(keyring, kind, number)))
        except YunkuError as refused:
            if refused.code not in ("not_found", "value_invalid", "field_required"):
                raise
            continue
        employment = persons.Person(record).employment(subject_id)
        if employment is not None:
            answer.persons.append(_found(record.person_id, employment))
    return answer


def _found(person_id: str, employment: persons_pb2.EmploymentRecord) -> service_pb2.FoundPerson:
    return service_pb2.FoundPerson(
        person_id=person_id,
        bound=not employment.unbound_on,
        bound_on=employment.bound_on,
        unbound_on=employment.unbound_on,
    )


async def _page(log: EventLog, subject_id: str, state: str, after: tuple[datetime, UUID], limit: int) -> list[Any]:
    parameters = {"subject": subject_id, "state": state, "since": after[0], "person": after[1], "limit": limit}
    async with log.pool.connection() as connection:
        return await (await connection.execute(_LIST, parameters, prepare=True)).fetchall()


def _matches(record: persons_pb2.PersonRecord, subject_id: str, key: PersonKey, query: str) -> bool:
    employment = persons.Person(record).employment(subject_id)
    if employment is None:
        return False
    if query in values.fold(key.decrypt(employment.name, NAME)):
        return True
    if len(query) < _LEAST_DIGITS or employment.unbound_on:
        return False
    return query.upper() in key.decrypt(record.number, NUMBER) or query in phone_of(employment, key)


def _cursor(text: str) -> tuple[datetime, UUID]:
    if not text:
        return _LAST
    moment, _, person_id = text.partition(".")
    try:
        if not moment.isdecimal() or len(moment) > 17:
            raise ValueError(moment)
        return datetime.fromtimestamp(int(moment) // 1_000_000, UTC).replace(microsecond=int(moment) % 1_000_000), UUID(person_id)
    except (ValueError, OverflowError, OSError):
        raise YunkuError("cursor_invalid", field="/cursor") from None


def _microseconds(moment: datetime) -> int:
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond


# -- claims ------------------------------------------------------------------------------------------------------------


async def claims(log: EventLog, keyring: Keyring, request: service_pb2.ListClaimsRequest, caller: Caller) -> service_pb2.ListClaimsResponse:
    """The claims that the caller's subject made and received, newest first."""
    subject_id = caller.require_subject()
    if request.side not in ("", "made", "received"):
        raise YunkuError("value_invalid", field="/side")
    if request.state not in ("", "open", "objected", "withdrawn", "released"):
        raise YunkuError("value_invalid", field="/state")
    found: list[tuple[persons_pb2.Claim, str]] = []
    async with log.pool.connection() as connection:
        rows = await (await connection.execute(_CLAIMS, (subject_id,), prepare=True)).fetchall()
        for row in rows:
            record = persons_pb2.PersonRecord.FromString(bytes(row[0]))
            key = keyring.unwrap(UUID(record.person_id), bytes(row[1]))
            for one in record.claims:
                side = _side(one, subject_id)
                if side and request.side in ("", side) and request.state in ("", one.state):
                    found.append((claim(record, one, subject_id, key), one.subject_id))
        found.sort(key=lambda pair: (pair[0].made_at.ToNanoseconds(), pair[0].id), reverse=True)
        found = found[:MAX_LIMIT]
        received = [UUID(claimant) for told, claimant in found if told.side == "received"]
        rows = await (await connection.execute(_CLAIMANTS, (received,), prepare=True)).fetchall()
    claimants = {one.id: one for one in (service_pb2.Subject.FromString(bytes(row[0])) for row in rows)}
    for told, claimant in found:
        if told.side == "received" and claimant in claimants:
            told.claimant_uscc, told.claimant_name = claimants[claimant].uscc, claimants[claimant].name
    return service_pb2.ListClaimsResponse(items=[told for told, _ in found])


async def person_of_claim(log: EventLog, claim_id: str, subject_id: str) -> str:
    """The id of the person whom a claim of or against the subject is about; ``not_found``."""
    async with log.pool.connection() as connection:
        for row in await (await connection.execute(_CLAIMS, (subject_id,), prepare=True)).fetchall():
            record = persons_pb2.PersonRecord.FromString(bytes(row[0]))
            if any(one.claim_id == claim_id for one in record.claims):
                return record.person_id
    raise YunkuError("not_found")


def claim_of(record: persons_pb2.PersonRecord, claim_id: str) -> persons_pb2.ClaimRecord:
    """The claim of that id."""
    return next(one for one in record.claims if one.claim_id == claim_id)


def claim(record: persons_pb2.PersonRecord, one: persons_pb2.ClaimRecord, subject_id: str, key: PersonKey) -> persons_pb2.Claim:
    """A claim as one of its sides sees it. Each side sees the name that it stated itself."""
    side = _side(one, subject_id)
    name = one.name
    if side == "received":
        own = persons.Person(record).employment(subject_id)
        name = own.name if own is not None else one.name
    return persons_pb2.Claim(
        id=one.claim_id,
        side=side,
        number=_masked_number(key.decrypt(record.number, NUMBER)),
        name=key.decrypt(name, NAME),
        reason=one.reason,
        state=one.state,
        objection=one.objection,
        made_at=one.made_at,
        answered_at=one.answered_at if one.HasField("answered_at") else None,
        person_id=record.person_id if side == "received" else "",
    )


def _side(one: persons_pb2.ClaimRecord, subject_id: str) -> str:
    return "made" if one.subject_id == subject_id else "received" if one.holder_id == subject_id else ""


# -- history -----------------------------------------------------------------------------------------------------------


async def history(log: EventLog, text: str, caller: Caller) -> service_pb2.GetPersonHistoryResponse:
    """What happened between the person and the caller's subject; ``not_found`` where nothing did."""
    subject_id = caller.require_subject()
    answer = service_pb2.GetPersonHistoryResponse()
    state = persons.Person()
    for event in await log.read_stream(parse_id(text)):
        before, state = state, persons.evolve(state, event.data, event.recorded_at)
        if not persons.concerns(before, event.data, subject_id):
            continue
        own = event.meta.acting_subject_id == subject_id
        item = answer.items.add(
            number=len(answer.items) + 1,
            actor_kind=kernel_pb2.ActorKind.Name(event.meta.actor_kind).removeprefix("ACTOR_KIND_").lower() if own else "",
            actor_id=event.meta.actor_id if own else "",
            type=event.short_type,
            params=_params(before, event.data, own),
            event_id=str(event.event_id),
            hash=event.hash.hex(),
        )
        item.at.FromDatetime(event.recorded_at)
    if not answer.items:
        raise YunkuError("not_found")
    return answer


def _params(before: persons.Person, event: Any, own: bool) -> Mapping[str, str]:
    """What the operation record says of an event; nothing personal, and of another company only what concerns this one."""
    match event:
        case events_pb2.PersonBound():
            return {"position": event.position, "bound_on": event.bound_on, "source": event.source}
        case events_pb2.EmploymentChanged():
            employment = before.record.employments[-1]
            phones = (employment.phone, event.phone)
            return {
                "position": event.position,
                "former_position": employment.position,
                "phone": "changed" if phones[0] != phones[1] else "",
            }
        case events_pb2.PersonUnbound():
            return {"unbound_on": event.unbound_on} if own else {}
        case events_pb2.PersonClaimed() | events_pb2.ClaimObjected():
            return {"reason": event.reason}
    return {}


# -- what the answers share --------------------------------------------------------------------------------------------


def person(record: persons_pb2.PersonRecord, subject_id: str, revision: int, key: PersonKey, *, masked: bool = False) -> persons_pb2.Person:
    """A person as one subject sees them. Of one whom it employs no more: who it was, from when to when, and nothing that is live."""
    employment = persons.Person(record).employment(subject_id)
    if employment is None:
        return persons_pb2.Person()
    bound = not employment.unbound_on
    number, phone = key.decrypt(record.number, NUMBER), phone_of(employment, key)
    told = persons_pb2.Person(
        id=record.person_id,
        document_kind=record.document_kind,
        number=number if bound and not masked else _masked_number(number),
        name=key.decrypt(employment.name, NAME),
        state="bound" if bound else "unbound",
        bound_on=employment.bound_on,
        unbound_on=employment.unbound_on,
        bound_at=employment.bound_at,
        unbound_at=employment.unbound_at if not bound else None,
        version=employment.version,
        # The stream's version would tell what other companies do with the person.
        revision=revision if bound else employment.version,
        source=employment.source,
    )
    if bound:
        told.position = employment.position
        told.phone = persons.mask(phone, 3, 4) if masked else phone
        if employment.HasField("details") and not masked:
            told.details.ParseFromString(key.decrypt_bytes(employment.details, DETAILS))
    return told


def phone_of(employment: persons_pb2.EmploymentRecord, key: PersonKey) -> str:
    """The phone number that the company states, empty where it states none."""
    return key.decrypt(employment.phone, PHONE) if employment.HasField("phone") else ""


def person_of(keyring: Keyring, kind: str, number: str) -> UUID:
    """The person's id, which follows from kind and number of the ID document through a keyed digest: a second company that names
    the same person meets the same stream, and nobody finds the number by trying."""
    return ids.derived("person", keyring.index("person document", f"{kind}:{number}").hex())


def parse_id(text: str) -> UUID:
    """A person's id; what is none names nobody."""
    try:
        return UUID(text)
    except ValueError:
        raise YunkuError("not_found") from None


async def _read(log: EventLog, keyring: Keyring, text: str) -> tuple[persons_pb2.PersonRecord, int, PersonKey]:
    person_id = parse_id(text)
    async with log.pool.connection() as connection:
        row: Sequence[Any] | None = await (await connection.execute(_ONE, (person_id,), prepare=True)).fetchone()
    if row is None:
        raise YunkuError("not_found")
    return persons_pb2.PersonRecord.FromString(bytes(row[0])), int(row[1]), keyring.unwrap(person_id, bytes(row[2]))


def _masked_number(number: str) -> str:
    return persons.mask(number, 4, 2)


def _require_service(caller: Caller) -> None:
    if caller.kind != "service":
        raise YunkuError("not_found")
