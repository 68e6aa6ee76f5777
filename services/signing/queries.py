"""Questions."""

import re
from datetime import UTC, date, datetime
from typing import Any, Final

from sqlalchemy import Select, distinct, func, select
from yunku.signing.v1 import events_pb2, service_pb2

from kernel.calendar import CHINA
from kernel.context import CallContext, Caller
from kernel.errors import YunkuError
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog
from services.signing.attestation import Attestor, public_jwk
from services.signing.handlers import Desk, judge_again, require_service
from services.signing.projections import SEAL
from services.signing.tables import digital_certificates, preparations

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


async def validate(desk: Desk, request: service_pb2.ValidateRequest, context: CallContext) -> service_pb2.ValidateResponse:
    """Judges a sealed PDF as it is stored. Raises ``not_found`` for one that this service never made."""
    require_service(context)
    if not _SHA256.fullmatch(request.sealed_sha256):
        raise YunkuError("not_found")
    query = select(preparations.c.preparation_id).where(preparations.c.sealed_sha256 == request.sealed_sha256)
    async with desk.log.pool.connection() as connection:
        row = await (await connection.execute(*render(query.limit(1)), prepare=True)).fetchone()
    if row is None:
        raise YunkuError("not_found")
    state = (await desk.log.load(SEAL, row[0])).state
    judgement = await judge_again(desk, state)
    return service_pb2.ValidateResponse(valid=judgement.valid, reason=judgement.reason, seal=state.seal, statement=judgement.statement)


# -- digital certificates --------------------------------------------------------------------------------------------

_UNIQUE_CODE: Final = re.compile(r"[0-9A-Z*]{4,40}")


async def digital_certificate(log: EventLog, certificate_id: str, caller: Caller) -> service_pb2.DigitalCertificate:
    """The latest one of a certificate of the caller's subject. Raises ``not_found``, also where it isn't the subject's."""
    subject_id = caller.require_subject()
    if len(certificate_id) > 64:
        raise YunkuError("not_found")
    query = _latest().where(digital_certificates.c.certificate_id == certificate_id, digital_certificates.c.subject_id == subject_id)
    return await _one(log, query)


async def check_unique_code(log: EventLog, unique_code: str) -> service_pb2.DigitalCertificate:
    """The latest one of a unique code 唯一标识码, whoever asks. Raises ``not_found``."""
    if not _UNIQUE_CODE.fullmatch(unique_code):
        raise YunkuError("not_found")
    return await _one(log, _latest().where(digital_certificates.c.unique_code == unique_code))


async def keys(log: EventLog, attestor: Attestor) -> service_pb2.ListKeysResponse:
    """The keys of every token, the present one first."""
    present = attestor.key()
    newest = (
        select(digital_certificates.c.issued)
        .where(digital_certificates.c.key_id != present.thumbprint())
        .distinct(digital_certificates.c.key_id)
        .order_by(digital_certificates.c.key_id)
    )
    async with log.pool.connection() as connection:
        rows = await (await connection.execute(*render(newest))).fetchall()
    former = [events_pb2.DigitalCertificateIssued.FromString(row[0]).key_jwk for row in rows]
    return service_pb2.ListKeysResponse(keys=[public_jwk(present), *former])


async def status_list(log: EventLog, attestor: Attestor) -> service_pb2.GetStatusListResponse:
    """Which of all tokens no longer hold, signed."""
    size = select(func.coalesce(func.max(digital_certificates.c.status_index), -1) + 1)
    revoked = select(distinct(digital_certificates.c.status_index)).where(digital_certificates.c.revoked != "")
    async with log.pool.connection() as connection:
        total = await (await connection.execute(*render(size))).fetchone()
        rows = await (await connection.execute(*render(revoked))).fetchall()
    # A token that was issued and revoked between the two questions is in the next list.
    issued = int(total[0]) if total else 0
    gone = [int(row[0]) for row in rows if row[0] < issued]
    return service_pb2.GetStatusListResponse(token=attestor.status_list(gone, issued, datetime.now(UTC)))


def _latest() -> Select[Any]:
    columns = digital_certificates.c
    return select(columns.issued, columns.revoked).order_by(columns.version.desc()).limit(1)


async def _one(log: EventLog, query: Select[Any]) -> service_pb2.DigitalCertificate:
    async with log.pool.connection() as connection:
        row = await (await connection.execute(*render(query))).fetchone()
    if row is None:
        raise YunkuError("not_found")
    issued = events_pb2.DigitalCertificateIssued.FromString(row[0])
    revoked: str = row[1]
    today = datetime.now(CHINA).date()
    expired = bool(issued.valid_until) and date.fromisoformat(issued.valid_until) < today
    answer = service_pb2.DigitalCertificate(
        id=issued.digital_certificate_id,
        certificate_id=issued.certificate_id,
        version=issued.version,
        unique_code=issued.unique_code,
        type=issued.type,
        holder_name=issued.holder_name,
        holder_uscc=issued.holder_uscc,
        token=issued.token,
        key_id=issued.key_id,
        status_index=issued.status_index,
        valid_until=issued.valid_until,
        status="REVOKED" if revoked else "EXPIRED" if expired else "VALID",
        reason=revoked,
        document_sha256=issued.document_sha256,
        sealed_sha256=issued.sealed_sha256,
    )
    answer.issued_at.FromMicroseconds(issued.issued_at_us)
    return answer
