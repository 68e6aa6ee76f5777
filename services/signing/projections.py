"""What the log of this service holds, and the read models made of it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from yunku.signing.v1 import events_pb2

from kernel.eventlog.aggregate import Aggregate, StateProjection
from kernel.eventlog.events import EventTypes
from services.signing import digital, domain, tables
from services.signing.upcasters import UPCASTERS


def preparation_row(stream_id: UUID, state: domain.Preparation, version: int) -> Mapping[str, Any] | None:
    """The row of one preparation."""
    if state.prepared is None:
        return None
    return {
        "preparation_id": stream_id,
        "certificate_id": state.prepared.certificate_id,
        "subject_id": state.prepared.subject_id,
        "phase": state.phase.value,
        "prepared_sha256": state.prepared.prepared_sha256,
        "sealed_sha256": state.seal.sealed_sha256 if state.seal else "",
        "expires_at_us": state.prepared.expires_at_us,
        "to_lock": state.seal is not None and not state.retain_until_us,
        "revision": version,
    }


def digital_row(stream_id: UUID, state: digital.DigitalCertificate, version: int) -> Mapping[str, Any] | None:
    """The row of one digital certificate."""
    if state.issued is None:
        return None
    return {
        "digital_certificate_id": stream_id,
        "certificate_id": state.issued.certificate_id,
        "version": state.issued.version,
        "subject_id": state.issued.subject_id,
        "unique_code": state.issued.unique_code,
        "status_index": state.issued.status_index,
        "key_id": state.issued.key_id,
        "revoked": state.revoked,
        "issued": state.issued.SerializeToString(deterministic=True),
        "revision": version,
    }


TYPES = EventTypes(events_pb2, UPCASTERS)
SEAL = Aggregate(
    name="seal",
    initial=domain.Preparation(),
    evolve=domain.evolve,
    events=(
        events_pb2.SealPrepared,
        events_pb2.Signed,
        events_pb2.SealRefused,
        events_pb2.SealedDocumentLocked,
    ),
    projections=(StateProjection(tables.preparations, version=1, row=preparation_row),),
)
DIGITAL_CERTIFICATE = Aggregate(
    name="digital_certificate",
    initial=digital.DigitalCertificate(),
    evolve=digital.evolve,
    events=(events_pb2.DigitalCertificateIssued, events_pb2.DigitalCertificateRevoked),
    projections=(StateProjection(tables.digital_certificates, version=1, row=digital_row),),
)
AGGREGATES = (SEAL, DIGITAL_CERTIFICATE)
