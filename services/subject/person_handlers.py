"""Commands over persons: check what was stated, encrypt it under the person's key, load, decide, append.

Replies hold personal values, and the log keeps replies for repeated commands: so what it keeps is the reply encrypted under the
person's own key (as in services.identity).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from google.protobuf.message import Message
from yunku.kernel.v1 import kernel_pb2
from yunku.subject.v1 import events_pb2, persons_pb2, service_pb2

from kernel import ids
from kernel.calendar import CHINA
from kernel.context import CallContext
from kernel.errors import YunkuError
from kernel.eventlog.store import EventLog
from kernel.privacy import Keyring, PersonKey
from services.subject import person_queries, persons
from services.subject.projections import PERSON

M = TypeVar("M", bound=Message)

_REPLY: Final = "subject reply"


@dataclass(frozen=True)
class Means:
    """What the commands are carried out with; put together in ``bootstrap``."""

    log: EventLog
    keyring: Keyring
    clock: Callable[[], datetime]


async def bind(means: Means, request: service_pb2.BindPersonRequest, context: CallContext) -> service_pb2.BindPersonResponse:
    """Binds a person to the caller's subject, or records a claim where that is asked for; see ``persons`` for the refusals."""
    subject_id = _acting(context)
    now = means.clock()
    kind = request.document_kind or "id_card"
    if request.source not in persons.SOURCES:
        raise YunkuError("value_invalid", field="/source")
    if request.source == "reader" and kind != "id_card":
        raise YunkuError("value_invalid", field="/document_kind")
    within = "/reader" if request.source == "reader" else ""
    number = persons.parse_number(kind, request.number, f"{within}/id_no")
    name = persons.parse_name(request.name, f"{within}/name")
    phone = persons.parse_phone(request.phone)
    position = persons.parse_text(request.position, "/position", persons.MAX_POSITION)
    reason = persons.parse_text(request.reason, "/reason", persons.MAX_REASON)
    if request.claim and not reason:
        raise YunkuError("field_required", field="/reason")
    bound_on = persons.parse_day(request.bound_on, "/bound_on", now.astimezone(CHINA).date())
    details = None
    if request.source == "reader":
        details = persons.parse_reading(number, request.reading.details, request.reading.nonce, now)
    person_id = person_queries.person_of(means.keyring, kind, number)
    key = await means.keyring.person(person_id)
    bound = events_pb2.PersonBound(
        person_id=str(person_id),
        subject_id=subject_id,
        employment_id=str(ids.uuid7()),
        document_kind=kind,
        number=key.encrypt(number, person_queries.NUMBER),
        name=key.encrypt(name, person_queries.NAME),
        phone=key.encrypt(phone, person_queries.PHONE) if phone else None,
        position=position,
        bound_on=bound_on,
        source=request.source,
        certificate_id=request.certificate_id,
        details=key.encrypt_bytes(details.SerializeToString(), person_queries.DETAILS) if details else None,
        nonce=request.reading.nonce,
    )
    claimed = None
    if request.claim:
        claimed = events_pb2.PersonClaimed(
            person_id=str(person_id),
            claim_id=str(ids.uuid7()),
            subject_id=subject_id,
            name=bound.name,
            reason=reason,
        )

    def reply(state: persons.Person, version: int) -> service_pb2.BindPersonResponse:
        current = state.current
        if current is not None and current.subject_id == subject_id:
            return service_pb2.BindPersonResponse(person=person_queries.person(state.record, subject_id, version, key))
        waiting = [one for one in state.record.claims if one.subject_id == subject_id and one.state == "open"]
        return service_pb2.BindPersonResponse(claim=person_queries.claim(state.record, waiting[-1], subject_id, key) if waiting else None)

    return await _command(
        means, context, person_id, key, lambda state: persons.bind(state, bound, claimed), reply, service_pb2.BindPersonResponse
    )


async def change(means: Means, request: service_pb2.ChangeEmploymentRequest, context: CallContext) -> service_pb2.ChangeEmploymentResponse:
    """Changes position and phone of a person whom the caller's subject employs."""
    subject_id = _acting(context)
    person_id, key = await _known(means, request.person_id)
    position = persons.parse_text(request.position, "/position", persons.MAX_POSITION) if request.HasField("position") else None
    phone = persons.parse_phone(request.phone) if request.HasField("phone") else None
    encrypted = key.encrypt(phone, person_queries.PHONE) if phone else None

    def same_phone(employment: persons_pb2.EmploymentRecord) -> bool:
        return phone is None or phone == person_queries.phone_of(employment, key)

    return await _command(
        means,
        context,
        person_id,
        key,
        lambda state: persons.change(
            state,
            subject_id,
            position=position,
            phone=encrypted,
            same_phone=same_phone,
            expected_version=request.expected_version,
        ),
        lambda state, version: service_pb2.ChangeEmploymentResponse(person=person_queries.person(state.record, subject_id, version, key)),
        service_pb2.ChangeEmploymentResponse,
    )


async def unbind(means: Means, request: service_pb2.UnbindPersonRequest, context: CallContext) -> service_pb2.UnbindPersonResponse:
    """Ends the employment of a person at the caller's subject."""
    subject_id = _acting(context)
    person_id, key = await _known(means, request.person_id)
    unbound_on = persons.parse_day(request.unbound_on, "/unbound_on", means.clock().astimezone(CHINA).date())
    return await _command(
        means,
        context,
        person_id,
        key,
        lambda state: persons.unbind(state, subject_id, unbound_on=unbound_on, expected_version=request.expected_version),
        lambda state, version: service_pb2.UnbindPersonResponse(person=person_queries.person(state.record, subject_id, version, key)),
        service_pb2.UnbindPersonResponse,
    )


async def object_to(means: Means, request: service_pb2.ObjectToClaimRequest, context: CallContext) -> service_pb2.ObjectToClaimResponse:
    """Answers a claim against the caller's subject: it keeps the person."""
    subject_id = _acting(context)
    reason = persons.parse_text(request.reason, "/reason", persons.MAX_REASON)
    if not reason:
        raise YunkuError("field_required", field="/reason")
    person_id, key = await _claimed(means, request.claim_id, subject_id)
    return await _command(
        means,
        context,
        person_id,
        key,
        lambda state: persons.object_to(state, subject_id, request.claim_id, reason),
        lambda state, _: service_pb2.ObjectToClaimResponse(
            claim=person_queries.claim(state.record, person_queries.claim_of(state.record, request.claim_id), subject_id, key)
        ),
        service_pb2.ObjectToClaimResponse,
    )


async def withdraw(means: Means, request: service_pb2.WithdrawClaimRequest, context: CallContext) -> service_pb2.WithdrawClaimResponse:
    """Gives a claim of the caller's subject up."""
    subject_id = _acting(context)
    person_id, key = await _claimed(means, request.claim_id, subject_id)
    return await _command(
        means,
        context,
        person_id,
        key,
        lambda state: persons.withdraw(state, subject_id, request.claim_id),
        lambda state, _: service_pb2.WithdrawClaimResponse(
            claim=person_queries.claim(state.record, person_queries.claim_of(state.record, request.claim_id), subject_id, key)
        ),
        service_pb2.WithdrawClaimResponse,
    )


# -- what the commands share -------------------------------------------------------------------------------------------


def _acting(context: CallContext) -> str:
    """The subject that an account acts for."""
    if context.caller.kind != "account":
        raise YunkuError("unauthenticated")
    return context.caller.require_subject()


async def _known(means: Means, text: str) -> tuple[UUID, PersonKey]:
    """A person's id and key; ``not_found`` for who isn't known, or was erased."""
    person_id = person_queries.parse_id(text)
    found = await means.keyring.find([person_id])
    if person_id not in found:
        raise YunkuError("not_found")
    return person_id, found[person_id]


async def _claimed(means: Means, claim_id: str, subject_id: str) -> tuple[UUID, PersonKey]:
    """The person whom a claim is about."""
    return await _known(means, await person_queries.person_of_claim(means.log, claim_id, subject_id))


async def _command(
    means: Means,
    context: CallContext,
    person_id: UUID,
    key: PersonKey,
    decide: Callable[[persons.Person], Sequence[Message]],
    reply: Callable[[persons.Person, int], M],
    kind: type[M],
) -> M:
    """Runs one command and answers its reply, which the log keeps encrypted."""
    outcome = await means.log.execute(
        PERSON,
        person_id,
        decide,
        context,
        respond=lambda state, version: key.encrypt_bytes(reply(state, version).SerializeToString(), _REPLY),
    )
    kept: kernel_pb2.EncryptedValue = outcome.response
    return kind.FromString(key.decrypt_bytes(kept, _REPLY))
