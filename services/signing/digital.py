"""What may happen to a digital certificate 数字证照: pure decisions over a frozen state. The stream is one of one version."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from google.protobuf.message import Message
from yunku.signing.v1 import events_pb2

#: A later version of the same certificate was submitted.
REPLACED: Final = "replaced"
#: Another certificate took its place.
SUPERSEDED: Final = "superseded"


@dataclass(frozen=True)
class DigitalCertificate:
    """One attestation of one version of a certificate."""

    issued: events_pb2.DigitalCertificateIssued | None = None
    #: Why it no longer holds; empty while it does.
    revoked: str = ""


def evolve(state: DigitalCertificate, event: Any, recorded_at: datetime) -> DigitalCertificate:
    """The state after ``event``."""
    match event:
        case events_pb2.DigitalCertificateIssued():
            return replace(state, issued=event)
        case events_pb2.DigitalCertificateRevoked():
            return replace(state, revoked=event.reason)
    raise TypeError(f"{type(event).__name__} is no event of a digital certificate")


def issue(state: DigitalCertificate, event: events_pb2.DigitalCertificateIssued) -> list[Message]:
    """Attests a version, once."""
    return [event] if state.issued is None else []


def revoke(state: DigitalCertificate, reason: str) -> list[Message]:
    """Takes an attestation back, once; the first reason stands."""
    if state.issued is None or state.revoked:
        return []
    issued = state.issued
    return [
        events_pb2.DigitalCertificateRevoked(
            digital_certificate_id=issued.digital_certificate_id,
            certificate_id=issued.certificate_id,
            version=issued.version,
            reason=reason,
        )
    ]
