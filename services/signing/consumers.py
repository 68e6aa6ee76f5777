"""What enters the register (certificate): GREEN certificates earn a digital certificate, and lose it when something takes their place."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, select
from yunku.certificate.v1 import events_pb2 as certificate_events_pb2
from yunku.certificate.v1 import types_pb2
from yunku.signing.v1 import events_pb2

from kernel import ids
from kernel.bus.consumer import Subscription
from kernel.context import CallContext
from kernel.eventlog.events import RecordedEvent
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog, Transaction
from services.signing import digital
from services.signing.attestation import Attestor, public_jwk
from services.signing.handlers import microseconds
from services.signing.projections import DIGITAL_CERTIFICATE
from services.signing.tables import digital_certificates


def subscriptions(log: EventLog, attestor: Attestor | None = None) -> list[Subscription]:
    """Issues and revokes. Without the register's key the events wait (OSError is tried again), so that no attestation is lost."""

    async def on_submitted(event: RecordedEvent, transaction: Transaction, context: CallContext) -> None:
        submitted: certificate_events_pb2.Submitted = event.data
        await _revoke(transaction, context, submitted.certificate_id, digital.REPLACED, before=submitted.version)
        if submitted.light != types_pb2.LIGHT_GREEN:
            return
        assert attestor is not None
        key = attestor.key()
        # One consumer applies one event after the other, so nobody else takes the place; the table holds it unique.
        highest = select(func.coalesce(func.max(digital_certificates.c.status_index), -1))
        row = await (await transaction.connection.execute(*render(highest))).fetchone()
        assert row is not None
        index = int(row[0]) + 1
        at = datetime.now(UTC)
        stream = ids.derived("digital-certificate", submitted.certificate_id, str(submitted.version))
        issued = events_pb2.DigitalCertificateIssued(
            digital_certificate_id=str(stream),
            certificate_id=submitted.certificate_id,
            version=submitted.version,
            subject_id=submitted.holder.subject_id,
            unique_code=submitted.unique_code,
            type=submitted.type,
            holder_name=submitted.holder.name,
            holder_uscc=submitted.holder.uscc,
            token=attestor.token(submitted, index, at, key),
            key_id=key.thumbprint(),
            key_jwk=public_jwk(key),
            status_index=index,
            issued_at_us=microseconds(at),
            valid_until=submitted.valid_until,
            document_sha256=submitted.document.sha256,
            sealed_sha256=submitted.seal.sealed_sha256,
        )
        await log.execute(
            DIGITAL_CERTIFICATE,
            stream,
            lambda state: digital.issue(state, issued),
            context,
            transaction=transaction,
            subject_id=submitted.holder.subject_id,
        )

    async def on_superseded(event: RecordedEvent, transaction: Transaction, context: CallContext) -> None:
        await _revoke(transaction, context, event.data.certificate_id, digital.SUPERSEDED)

    async def _revoke(transaction: Transaction, context: CallContext, certificate_id: str, reason: str, before: int | None = None) -> None:
        found = select(digital_certificates.c.digital_certificate_id, digital_certificates.c.subject_id).where(
            digital_certificates.c.certificate_id == certificate_id, digital_certificates.c.revoked == ""
        )
        if before is not None:
            found = found.where(digital_certificates.c.version < before)
        for stream, subject_id in await (await transaction.connection.execute(*render(found))).fetchall():
            await log.execute(
                DIGITAL_CERTIFICATE,
                UUID(str(stream)),
                lambda state: digital.revoke(state, reason),
                context,
                transaction=transaction,
                subject_id=subject_id,
            )

    return [
        Subscription(
            "certificate",
            certificate_events_pb2,
            {certificate_events_pb2.Submitted: on_submitted, certificate_events_pb2.Superseded: on_superseded},
        )
    ]
