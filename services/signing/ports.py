"""What the service needs from outside, and the values that go to and fro."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from cryptography import x509

from kernel.pki import CompanyIdentity, Trust


@dataclass(frozen=True, slots=True)
class SealRequest:
    """All that goes into a prepared seal."""

    preparation_id: str
    document: bytes
    #: application/pdf, image/jpeg, image/png or image/tiff.
    media_type: str
    #: What the company states and seals, UTF-8 JSON.
    statement: bytes
    #: What the seal names, ASCII JSON: certificate_id, version, subject, document, statement_sha256, …
    facts: str
    #: The signer's certificate and its issuers, leaf first.
    chain: list[x509.Certificate]
    company: CompanyIdentity
    #: From 1; 0 for the last page.
    seal_page: int
    #: x0, y0, x1, y1 as fractions of the page as seen, origin top left; None for bottom right.
    seal_box: list[float] | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Prepared:
    """A PDF with a place for the signature. ``byte_range`` is that of ISO 32000-2, 12.8.1."""

    pdf: bytes
    byte_range: tuple[int, int, int, int]
    #: Signed attributes, DER (243 bytes): what the company's key signs, with SHA-256.
    to_sign: bytes
    #: The CMS with zeros for a signature, DER.
    cms: bytes


@dataclass(frozen=True, slots=True)
class Judgement:
    """What validating a sealed PDF gave. ``reason`` is a short English word for records, empty when valid."""

    valid: bool
    reason: str
    facts: dict[str, Any]
    statement: bytes
    details: dict[str, str]


class PdfSealer(Protocol):
    """Reads documents; in the sandbox."""

    async def prepare(self, request: SealRequest) -> Prepared: ...

    async def validate(self, sealed: bytes, trust: Trust, at: datetime, expected: dict[str, Any] | None = None) -> Judgement: ...


class Timestamper(Protocol):
    """Gives an RFC 3161 token over a signature value, or raises ``service_unavailable``."""

    async def token(self, signature: bytes) -> bytes: ...
