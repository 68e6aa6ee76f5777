"""Commands: load, decide, append."""

from datetime import datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from yunku.subject.v1 import service_pb2

from kernel import ids
from kernel.context import CallContext
from kernel.errors import YunkuError
from kernel.eventlog.store import EventLog
from services.subject import domain
from services.subject.projections import SUBJECT


def stream_of(uscc: str) -> UUID:
    """The subject's id, which follows from its USCC: a second registration meets the first one's stream."""
    return ids.derived("subject", uscc)


async def register(log: EventLog, request: service_pb2.RegisterSubjectRequest, context: CallContext) -> service_pb2.RegisterSubjectResponse:
    """Registers a company for the calling account; see ``domain`` for the refusals."""
    caller = context.caller
    if caller.kind != "account":
        raise YunkuError("unauthenticated")
    uscc = domain.parse_uscc(request.uscc)
    name = domain.parse_name(request.name)
    types = domain.parse_types(request.types)
    stream_id = stream_of(uscc)
    outcome = await log.execute(
        SUBJECT,
        stream_id,
        lambda state: domain.register(
            state,
            subject_id=str(stream_id),
            uscc=uscc,
            name=name,
            types=types,
            account_id=caller.id,
            key_uscc=caller.key_uscc,
            confirm_uscc=request.confirm_uscc,
        ),
        context,
        respond=lambda state, version: service_pb2.RegisterSubjectResponse(subject=message(stream_id, state, version)),
        subject_id=str(stream_id),
    )
    response: service_pb2.RegisterSubjectResponse = outcome.response
    return response


async def rename(log: EventLog, request: service_pb2.RenameSubjectRequest, context: CallContext) -> service_pb2.RenameSubjectResponse:
    """Changes the name of the subject that the caller acts for."""
    caller = context.caller
    if caller.kind != "account" or caller.require_subject() != request.subject_id:
        raise YunkuError("not_found")
    name = domain.parse_name(request.name)
    stream_id = UUID(request.subject_id)
    outcome = await log.execute(
        SUBJECT,
        stream_id,
        lambda state: domain.rename(state, subject_id=str(stream_id), name=name),
        context,
        respond=lambda state, version: service_pb2.RenameSubjectResponse(subject=message(stream_id, state, version)),
    )
    response: service_pb2.RenameSubjectResponse = outcome.response
    return response


def message(subject_id: UUID, subject: domain.Subject, version: int) -> service_pb2.Subject:
    """A subject as callers see it."""
    return service_pb2.Subject(
        id=str(subject_id),
        uscc=subject.uscc,
        name=subject.name,
        former_names=subject.former_names,
        types=subject.types,
        registered_at=timestamp(subject.registered_at) if subject.registered_at else None,
        version=version,
    )


def timestamp(moment: datetime) -> Timestamp:
    """A moment as protobuf carries it."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
