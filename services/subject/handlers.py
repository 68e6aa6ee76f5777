"""Commands: load, decide, append."""

from datetime import UTC, datetime
from uuid import UUID

from yunku.subject.v1 import service_pb2

import catalogue
from kernel import ids
from kernel.calendar import CHINA
from kernel.context import CallContext
from kernel.errors import YunkuError
from kernel.eventlog.store import EventLog
from services.subject import domain
from services.subject.ports import Certificates
from services.subject.projections import SUBJECT, message_of


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
        respond=lambda state, version: service_pb2.RegisterSubjectResponse(subject=message_of(stream_id, state, version)),
        subject_id=str(stream_id),
    )
    response: service_pb2.RegisterSubjectResponse = outcome.response
    return response


async def rename(log: EventLog, request: service_pb2.RenameSubjectRequest, context: CallContext) -> service_pb2.RenameSubjectResponse:
    """Changes the name of the subject that the caller acts for and is an administrator of. Raises ``role_missing`` too."""
    stream_id = own(request.subject_id, context)
    context.caller.require_member_administrator()
    name = domain.parse_name(request.name)
    outcome = await log.execute(
        SUBJECT,
        stream_id,
        lambda state: domain.rename(state, subject_id=str(stream_id), name=name, expected_version=request.expected_version),
        context,
        respond=lambda state, version: service_pb2.RenameSubjectResponse(subject=message_of(stream_id, state, version)),
    )
    response: service_pb2.RenameSubjectResponse = outcome.response
    return response


async def state_profile(log: EventLog, request: service_pb2.StateProfileRequest, context: CallContext) -> service_pb2.StateProfileResponse:
    """States basic information of the subject that the caller acts for."""
    stream_id = own(request.subject_id, context)
    today = datetime.now(UTC).astimezone(CHINA).date()
    outcome = await log.execute(
        SUBJECT,
        stream_id,
        lambda state: domain.state_profile(
            state,
            subject_id=str(stream_id),
            stated=request.profile,
            fields=request.fields,
            today=today,
            expected_version=request.expected_version,
        ),
        context,
        respond=lambda state, version: service_pb2.StateProfileResponse(subject=message_of(stream_id, state, version)),
    )
    response: service_pb2.StateProfileResponse = outcome.response
    return response


async def submit_profile(
    log: EventLog, certificates: Certificates, request: service_pb2.SubmitProfileRequest, context: CallContext
) -> service_pb2.SubmitProfileResponse:
    """Submits the basic information, once the certificates that belong to it are submitted."""
    stream_id = own(request.subject_id, context)
    required = [one for one in catalogue.load().types if one.required_of == "all"]
    submitted = await certificates.submitted_types()
    missing = {one.code: one.label for one in required if one.code not in submitted}
    outcome = await log.execute(
        SUBJECT,
        stream_id,
        lambda state: domain.submit_profile(
            state, subject_id=str(stream_id), missing_types=missing, expected_version=request.expected_version
        ),
        context,
        respond=lambda state, version: service_pb2.SubmitProfileResponse(subject=message_of(stream_id, state, version)),
    )
    response: service_pb2.SubmitProfileResponse = outcome.response
    return response


def own(subject_id: str, context: CallContext) -> UUID:
    """The stream of the subject that the account acts for; ``not_found`` for every other one's."""
    if context.caller.kind != "account" or context.caller.require_subject() != subject_id:
        raise YunkuError("not_found")
    return UUID(subject_id)
