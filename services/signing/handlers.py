"""Commands: load, decide, append; and the work before it, which makes and judges the sealed PDF.

Order of what a kill can come between: objects are written before the event that names them, and locked after it
(``SealLocker``). What was written for an event that never came is named by nothing and harms nothing.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from google.protobuf.timestamp_pb2 import Timestamp
from yunku.certificate.v1 import types_pb2
from yunku.signing.v1 import events_pb2, service_pb2

from kernel import ids, pki
from kernel.context import CallContext, system_context
from kernel.errors import YunkuError
from kernel.eventlog.store import EventLog
from kernel.observability.logging import get_logger
from kernel.sandbox import SandboxUnavailable
from services.signing import adapters, domain
from services.signing.objects import DOCUMENTS, SEALED, ObjectMissing, Objects
from services.signing.ports import Judgement, PdfSealer, SealRequest, Timestamper
from services.signing.projections import SEAL

_log = get_logger(__name__)

PREPARED_PREFIX: Final = "prepared/"
#: Roots, issuing CAs and revocation lists by which a seal was judged, kept so that it can be judged again for ever.
TRUST_PREFIX: Final = "trust/"
MEDIA_TYPES: Final = ("application/pdf", "image/jpeg", "image/png", "image/tiff")
MAX_STATEMENT_BYTES: Final = 1024 * 1024
DIGEST: Final = "sha256"
#: What the service itself calls the format of the facts in a seal.
FACTS_FORMAT: Final = "yunku-seal/1"


@dataclass(frozen=True, slots=True)
class Desk:
    """What the commands work with."""

    log: EventLog
    objects: Objects
    pdf: PdfSealer
    #: Read anew for each use: revocation lists change while the service runs. Raises OSError or ValueError.
    trust: Callable[[], pki.Trust]
    #: None where seals get no timestamp.
    timestamper: Callable[[], Timestamper | None]
    preparation_seconds: int
    #: Called when there is a new object to lock.
    wake_locker: Callable[[], None]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def load_trust(self) -> pki.Trust:
        """The trust as it is now; raises ``service_unavailable`` when it can't be read."""
        try:
            return self.trust()
        except (OSError, ValueError) as error:
            _log.error("trust_unreadable", error=f"{type(error).__name__}: {error}")
            raise YunkuError("service_unavailable") from error


# -- prepare ---------------------------------------------------------------------------------------------------------


async def prepare(desk: Desk, request: service_pb2.PrepareRequest, context: CallContext) -> service_pb2.PrepareResponse:
    """Makes the PDF that the company is to sign, and records it.

    Raises ``certificate_*``, ``document_*``, ``page_unknown``, ``box_outside_page``, ``request_malformed``.
    """
    require_service(context)
    _check_request(request)
    # The same command again makes the same preparation.
    preparation_id = ids.derived("preparation", context.idempotency_key) if context.idempotency_key else ids.uuid7()
    earlier = (await desk.log.load(SEAL, preparation_id)).state
    event = earlier.prepared or await _prepare(desk, request, preparation_id)
    outcome = await desk.log.execute(
        SEAL,
        preparation_id,
        lambda state: domain.prepare(state, event),
        context,
        respond=lambda state, _: _prepared_response(state),
        subject_id=request.holder.subject_id,
    )
    response: service_pb2.PrepareResponse = outcome.response
    return response


async def _prepare(desk: Desk, request: service_pb2.PrepareRequest, preparation_id: UUID) -> events_pb2.SealPrepared:
    now = desk.now()
    trust = desk.load_trust()
    try:
        company = pki.verify_chain(request.certificate_pem, trust.roots, trust.crls, now, intermediates=trust.intermediates)
    except pki.CertificateError as error:
        _log.info("certificate_refused", code=error.code, detail=error.detail)
        raise YunkuError(error.code, field="/certificate") from error
    if company.uscc != request.holder.uscc:
        raise YunkuError("certificate_not_holders", field="/certificate")
    try:
        document = await desk.objects.get(DOCUMENTS, request.document.sha256)
    except ObjectMissing as error:
        _log.error("document_missing", sha256=request.document.sha256)
        raise YunkuError("document_missing") from error
    if len(document) != request.document.size:
        raise YunkuError("request_malformed", field="/document/size")
    statement_sha256 = hashlib.sha256(request.statement).hexdigest()
    chain = _whole_chain(pki.parse_chain(request.certificate_pem), trust)
    asked = SealRequest(
        preparation_id=str(preparation_id),
        document=document,
        media_type=request.document.media_type,
        statement=request.statement,
        facts=_facts(request, preparation_id, company, statement_sha256),
        chain=chain,
        company=company,
        seal_page=request.seal_page,
        seal_box=_box(request),
        at=now,
    )
    try:
        prepared = await desk.pdf.prepare(asked)
    except SandboxUnavailable as error:
        _log.error("sandbox_unavailable", error=str(error))
        raise YunkuError("service_unavailable") from error
    prepared_sha256 = await desk.objects.put(SEALED, PREPARED_PREFIX, prepared.pdf, "application/pdf")
    return events_pb2.SealPrepared(
        preparation_id=str(preparation_id),
        certificate_id=request.certificate_id,
        version=request.version,
        subject_id=request.holder.subject_id,
        subject_uscc=request.holder.uscc,
        document_sha256=request.document.sha256,
        statement_sha256=statement_sha256,
        prepared_sha256=prepared_sha256,
        prepared_size=len(prepared.pdf),
        to_sign=prepared.to_sign,
        certificate_pem=b"".join(item.public_bytes(serialization.Encoding.PEM) for item in chain).decode("ascii"),
        certificate_fingerprint=company.fingerprint,
        expires_at_us=microseconds(now + timedelta(seconds=desk.preparation_seconds)),
        finishing_json=adapters.finishing_json(prepared),
    )


def _check_request(request: service_pb2.PrepareRequest) -> None:
    """What another service got wrong is a defect of ours, and told as a malformed request."""
    wrong = {
        "/certificate_id": not request.certificate_id or len(request.certificate_id) > 64,
        "/version": request.version < 1,
        "/holder": not request.holder.uscc,
        "/document/media_type": request.document.media_type not in MEDIA_TYPES,
        "/statement": not 0 < len(request.statement) <= MAX_STATEMENT_BYTES,
        "/seal/page": request.seal_page < 0,
    }
    for pointer, malformed in wrong.items():
        if malformed:
            raise YunkuError("request_malformed", field=pointer)
    try:
        statement = json.loads(request.statement)
    except ValueError as error:
        raise YunkuError("request_malformed", field="/statement") from error
    about = {
        "certificate_id": request.certificate_id,
        "version": request.version,
        "document_sha256": request.document.sha256,
    }
    if not isinstance(statement, dict) or any(statement.get(key) != value for key, value in about.items()):
        raise YunkuError("request_malformed", field="/statement")
    holder = statement.get("holder")
    if not isinstance(holder, dict) or holder.get("uscc") != request.holder.uscc:
        raise YunkuError("request_malformed", field="/statement/holder")


def _facts(request: service_pb2.PrepareRequest, preparation_id: UUID, company: pki.CompanyIdentity, statement_sha256: str) -> str:
    """What the seal itself names; beside the statement, whose layout is the certificate service's."""
    facts = {
        "format": FACTS_FORMAT,
        "preparation_id": str(preparation_id),
        "certificate_id": request.certificate_id,
        "version": request.version,
        "subject": {
            "id": request.holder.subject_id,
            "uscc": request.holder.uscc,
            "name": request.holder.name,
        },
        "document": {
            "sha256": request.document.sha256,
            "size": request.document.size,
            "media_type": request.document.media_type,
        },
        "statement_sha256": statement_sha256,
        "certificate_fingerprint": company.fingerprint,
    }
    return json.dumps(facts, sort_keys=True)


def _whole_chain(given: list[x509.Certificate], trust: pki.Trust) -> list[x509.Certificate]:
    """The leaf with its issuers up to the root, from what was given and what we know; at most six. The chain was
    verified before: this only puts into the file what a reader elsewhere needs."""
    known = [*given[1:]]
    for bundle in (trust.intermediates, trust.roots):
        if bundle.strip():
            known.extend(x509.load_pem_x509_certificates(bundle))
    chain = [given[0]]
    while chain[-1].issuer != chain[-1].subject and len(chain) < pki.MAX_CHAIN_CERTIFICATES:
        issuer = next((item for item in known if item.subject == chain[-1].issuer), None)
        if issuer is None or issuer in chain:
            break
        chain.append(issuer)
    return chain


def _box(request: service_pb2.PrepareRequest) -> list[float] | None:
    if not request.HasField("seal_box"):
        return None
    box = request.seal_box
    return [box.x0, box.y0, box.x1, box.y1]


def _prepared_response(state: domain.Preparation) -> service_pb2.PrepareResponse:
    prepared = state.prepared
    assert prepared is not None
    expires = Timestamp()
    expires.FromMicroseconds(prepared.expires_at_us)
    return service_pb2.PrepareResponse(
        preparation_id=prepared.preparation_id,
        to_sign=prepared.to_sign,
        digest_algorithm=DIGEST,
        expires_at=expires,
    )


# -- complete --------------------------------------------------------------------------------------------------------


async def complete(desk: Desk, request: service_pb2.CompleteRequest, context: CallContext) -> service_pb2.CompleteResponse:
    """Puts the company's signature into the prepared PDF, judges the stored bytes, and records the seal.

    Raises ``seal_not_prepared``, ``seal_used``, ``seal_expired``, ``signature_invalid``, ``seal_invalid``,
    ``certificate_*`` (revoked or expired since), ``service_unavailable`` (timestamp authority or object store down).
    """
    require_service(context)
    try:
        stream_id = UUID(request.preparation_id)
    except ValueError:
        raise YunkuError("seal_not_prepared", field="/preparation_id") from None
    now = desk.now()
    now_us = microseconds(now)
    # A seal is completed once. The same command again (its key, its signature) is a retry whose answer was lost; the same signature
    # under another key is a second use.
    digest = hashlib.sha256((context.idempotency_key or "").encode() + b"\n" + request.signature).hexdigest()
    state = (await desk.log.load(SEAL, stream_id)).state
    prepared = domain.check_completable(state, request.certificate_id, digest, now_us)
    if state.phase is domain.Phase.PREPARED:
        event = await _complete(desk, prepared, request.signature, digest, now, context)
    else:
        event = events_pb2.Signed(certificate_id=prepared.certificate_id)  # decides nothing: it is signed already
    outcome = await desk.log.execute(
        SEAL,
        stream_id,
        lambda current: domain.complete(current, event, digest, now_us),
        context,
        respond=lambda after, _: service_pb2.CompleteResponse(seal=after.seal),
        subject_id=prepared.subject_id,
    )
    desk.wake_locker()
    response: service_pb2.CompleteResponse = outcome.response
    return response


async def _complete(
    desk: Desk,
    prepared: events_pb2.SealPrepared,
    signature: bytes,
    completion_sha256: str,
    now: datetime,
    context: CallContext,
) -> events_pb2.Signed:
    leaf = pki.parse_chain(prepared.certificate_pem)[0]
    adapters.check_signature(prepared.to_sign, signature, leaf)
    pdf = await desk.objects.get(SEALED, PREPARED_PREFIX + prepared.prepared_sha256)
    kept = adapters.prepared_from(pdf, prepared.to_sign, prepared.finishing_json)
    timestamper = desk.timestamper()
    token = await timestamper.token(pki.der_signature(leaf, signature)) if timestamper is not None else None
    finished = adapters.finish(kept, signature, leaf, token)
    sealed_sha256 = await desk.objects.put(SEALED, "", finished, "application/pdf")
    trust = desk.load_trust()
    trust_sha256 = await desk.objects.put(SEALED, TRUST_PREFIX, trust_bundle(trust), "application/json")
    # Judged on what the store gives back, not on what was meant to be stored.
    stored = await desk.objects.get(SEALED, sealed_sha256)
    judgement = await _judge(desk, stored, trust, now, prepared)
    if judgement.valid and timestamper is not None and not judgement.details.get("timestamp"):
        judgement = Judgement(False, "the timestamp is missing", {}, b"", {})
    if not judgement.valid:
        _log.error("seal_invalid", preparation_id=prepared.preparation_id, reason=judgement.reason)
        await _record_refusal(desk, prepared, judgement.reason, context)
        _tell_certificate_trouble(prepared, trust, now)
        raise YunkuError("seal_invalid")
    company = pki.company_of(leaf)
    validation = judgement.details | {
        "completion_sha256": completion_sha256,
        "trust_sha256": trust_sha256,
        "judged_at": now.isoformat(),
    }
    seal = types_pb2.Seal(
        seal_id=prepared.preparation_id,
        version=prepared.version,
        sealed_sha256=sealed_sha256,
        size=len(finished),
        signer_name=company.name,
        signer_uscc=company.uscc,
        certificate_fingerprint=company.fingerprint,
        certificate_serial=company.serial,
        signed_at_us=microseconds(now),
        statement_sha256=prepared.statement_sha256,
    )
    return events_pb2.Signed(
        certificate_id=prepared.certificate_id,
        seal=seal,
        subject_id=prepared.subject_id,
        document_sha256=prepared.document_sha256,
        validation_json=json.dumps(validation, sort_keys=True),
    )


async def _judge(desk: Desk, sealed: bytes, trust: pki.Trust, at: datetime, prepared: events_pb2.SealPrepared) -> Judgement:
    expected = {
        "preparation_id": prepared.preparation_id,
        "certificate_id": prepared.certificate_id,
        "version": prepared.version,
        "statement_sha256": prepared.statement_sha256,
        "certificate_fingerprint": prepared.certificate_fingerprint,
    }
    try:
        judgement = await desk.pdf.validate(sealed, trust, at, expected)
    except SandboxUnavailable as error:
        _log.error("sandbox_unavailable", error=str(error))
        raise YunkuError("service_unavailable") from error
    if not judgement.valid:
        return judgement
    # The worker that read the file is not to be believed: what it says must be what we recorded.
    facts = judgement.facts
    same = (
        all(facts.get(key) == value for key, value in expected.items())
        and facts.get("subject", {}).get("uscc") == prepared.subject_uscc
        and facts.get("document", {}).get("sha256") == prepared.document_sha256
        and hashlib.sha256(judgement.statement).hexdigest() == prepared.statement_sha256
    )
    return judgement if same else Judgement(False, "the seal names something else", {}, b"", {})


async def _record_refusal(desk: Desk, prepared: events_pb2.SealPrepared, reason: str, context: CallContext) -> None:
    """The service's own act: the command itself is refused and leaves no event."""
    own = system_context("signing", context.correlation_id, trace_parent=context.trace_parent)
    await desk.log.execute(
        SEAL,
        UUID(prepared.preparation_id),
        lambda state: domain.refuse(state, reason[:500]),
        own,
        subject_id=prepared.subject_id,
    )


def _tell_certificate_trouble(prepared: events_pb2.SealPrepared, trust: pki.Trust, now: datetime) -> None:
    """Raises the certificate's own code where that is why the seal is invalid (revoked or expired since prepared)."""
    try:
        pki.verify_chain(prepared.certificate_pem, trust.roots, trust.crls, now, intermediates=trust.intermediates)
    except pki.CertificateError as error:
        raise YunkuError(error.code, field="/certificate") from error


def trust_bundle(trust: pki.Trust) -> bytes:
    """A trust as one object: JSON with the PEM bundles and the CRLs in base64."""
    bundle = {
        "roots": trust.roots.decode("ascii"),
        "intermediates": trust.intermediates.decode("ascii"),
        "crls": [base64.b64encode(crl).decode("ascii") for crl in trust.crls],
    }
    return json.dumps(bundle, sort_keys=True).encode("ascii")


def trust_of_bundle(data: bytes) -> pki.Trust:
    """The reverse of ``trust_bundle``."""
    bundle: dict[str, Any] = json.loads(data)
    return pki.Trust(
        roots=bundle["roots"].encode("ascii"),
        crls=tuple(base64.b64decode(crl) for crl in bundle["crls"]),
        intermediates=bundle["intermediates"].encode("ascii"),
    )


# -- judging again ---------------------------------------------------------------------------------------------------


async def judge_again(desk: Desk, state: domain.Preparation) -> Judgement:
    """Judges a stored seal as it was judged when it was made: by the revocation lists and at the moment of then.

    A certificate that expired or was revoked later doesn't touch what it sealed before.
    """
    seal, prepared = state.seal, state.prepared
    assert seal is not None
    assert prepared is not None
    validation = json.loads(state.validation)
    try:
        sealed = await desk.objects.get(SEALED, seal.sealed_sha256)
        bundle = await desk.objects.get(SEALED, TRUST_PREFIX + validation["trust_sha256"])
    except ObjectMissing as error:
        return Judgement(False, f"missing: {error}", {}, b"", {})
    if len(sealed) != seal.size:
        return Judgement(False, "another size", {}, b"", {})
    at = datetime.fromisoformat(validation["judged_at"])
    return await _judge(desk, sealed, trust_of_bundle(bundle), at, prepared)


def require_service(context: CallContext) -> None:
    """Raises ``role_missing`` unless a service calls: who may seal what is the certificate service's to decide."""
    if context.caller.kind != "service":
        raise YunkuError("role_missing", role="service")


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970, UTC."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
