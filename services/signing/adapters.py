"""The real things behind the ports: the sandboxed PDF operations, finishing a seal, timestamps."""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import httpx
from asn1crypto import cms as asn1_cms
from asn1crypto import keys as asn1_keys
from asn1crypto import tsp as asn1_tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from kernel import pki
from kernel.errors import YunkuError
from kernel.observability.logging import get_logger
from kernel.sandbox import Sandbox, SandboxCrashed, SandboxMemory, SandboxRefused, SandboxTimeout
from services.signing import cms as cms_parts
from services.signing.ports import Judgement, Prepared, SealRequest, Timestamper
from services.signing.sealimage import draw_seal

_log = get_logger(__name__)

OPERATIONS: Final = {"prepare": "services.signing.pdfops:prepare", "validate": "services.signing.pdfops:validate"}

#: What a document can be refused with when it is to be sealed.
_REFUSALS: Final = frozenset({"document_encrypted", "document_damaged", "page_unknown", "box_outside_page"})
_FIELDS: Final = {"page_unknown": "/seal/page", "box_outside_page": "/seal/box"}
#: What the increment adds beyond the attachments, at most: the seal's picture, catalogue, page, room for the CMS.
_INCREMENT_BYTES: Final = 8 * 1024 * 1024
_MAX_SIGNED_ATTRIBUTES: Final = 1024
_MAX_CMS: Final = cms_parts.CMS_ROOM


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may cost."""

    wall_seconds: float = 30.0
    cpu_seconds: int = 20
    #: About seven times a file of the largest size, and a decoded picture.
    memory_bytes: int = 1536 * 1024 * 1024


class SandboxedPdf:
    """The port ``PdfSealer`` over the sandbox: runs the operation and believes nothing of its answer."""

    def __init__(self, sandbox: Sandbox, limits: Limits | None = None) -> None:
        self._sandbox = sandbox
        self._limits = limits or Limits()

    async def prepare(self, request: SealRequest) -> Prepared:
        """The PDF that is to be signed.

        Raises:
            YunkuError: ``document_encrypted``, ``document_damaged``, ``document_too_complex``, ``page_unknown``,
            ``box_outside_page``. SandboxUnavailable: nothing is known about the document; try again.
        """
        pem = b"".join(item.public_bytes(serialization.Encoding.PEM) for item in request.chain)
        header = {
            "media_type": request.media_type,
            "facts": request.facts,
            "seal_page": request.seal_page,
            "seal_box": request.seal_box,
            "signer_name": request.company.name,
            "at": request.at.isoformat(),
            "preparation_id": request.preparation_id,
            "source_name": "source." + request.media_type.rpartition("/")[2],
        }
        picture = draw_seal(request.company.name, request.company.uscc)
        blobs = [request.document, request.statement, picture, pem]
        # An image becomes samples without loss, which may be larger than its own compression.
        most = _INCREMENT_BYTES + len(request.statement) + 12 * len(request.document)
        answer, parts = await self._run("prepare", header, blobs, most)
        try:
            return _check_prepared(request, answer, parts)
        except Exception as error:  # asn1crypto on bytes of a worker that may have been taken over
            _log.error("sandbox_answer_refused", operation="prepare", error=f"{type(error).__name__}: {error}")
            raise YunkuError("document_damaged", field="/document") from error

    async def validate(self, sealed: bytes, trust: pki.Trust, at: datetime, expected: dict[str, Any] | None = None) -> Judgement:
        """Whether a sealed PDF is valid at the moment ``at``; whatever goes wrong with the file makes it invalid."""
        header = {"at": at.isoformat(), "expected": expected or {}}
        blobs = [sealed, trust.roots, trust.intermediates, *trust.crls]
        try:
            answer, parts = await self._run("validate", header, blobs, _INCREMENT_BYTES + len(sealed))
            return _judgement(answer, parts)
        except YunkuError as error:
            return Judgement(False, f"unreadable: {error.code}", {}, b"", {})

    async def _run(self, operation: str, header: dict[str, Any], blobs: Sequence[bytes], most: int) -> tuple[dict[str, Any], list[bytes]]:
        try:
            return await self._sandbox.run(
                operation,
                header,
                blobs,
                wall_seconds=self._limits.wall_seconds,
                cpu_seconds=self._limits.cpu_seconds,
                memory_bytes=self._limits.memory_bytes,
                max_output_bytes=most,
            )
        except SandboxRefused as refused:
            code = refused.code if refused.code in _REFUSALS else "document_damaged"
            raise YunkuError(code, field=_FIELDS.get(code)) from refused
        except (SandboxTimeout, SandboxMemory) as error:
            raise YunkuError("document_too_complex") from error
        except SandboxCrashed as error:
            _log.warning("sandbox_crashed", operation=operation, reason=error.reason)
            raise YunkuError("document_damaged") from error


def _check_prepared(request: SealRequest, answer: dict[str, Any], parts: list[bytes]) -> Prepared:
    """What the worker says is checked against what it was given: the document's bytes stand in front, unaltered (they
    come from here, not from the worker), the statement and the facts are in what is signed, the signed attributes hold
    the digest of exactly these bytes and name this certificate. ``ValueError`` for anything else."""
    rest, to_sign, cms = parts
    kept = int(answer["kept"])
    whole = request.media_type == "application/pdf" and kept == len(request.document)
    # Where the document doesn't stand in front it is attached, and the judgement of the seal compares the pages.
    _require(whole or (kept == 0 and request.document in rest), "kept")
    pdf = request.document[:kept] + rest
    start, first, second, length = (int(number) for number in answer["byte_range"])
    _require(start == 0 and kept < first < second, "byte range")
    _require(second - first == 2 * cms_parts.CMS_ROOM + 2 and second + length == len(pdf), "byte range")
    _require(pdf[first : first + 1] == b"<" and pdf[second - 1 : second] == b">", "place of the signature")
    signed = hashlib.sha256(pdf[:first])
    signed.update(pdf[second:])
    _require(request.statement in rest, "statement")
    _require(len(to_sign) <= _MAX_SIGNED_ATTRIBUTES and len(cms) <= _MAX_CMS, "size")

    leaf = request.chain[0]
    attributes = {item["type"].native: item["values"] for item in asn1_cms.CMSAttributes.load(to_sign, strict=True)}
    _require(set(attributes) == {"content_type", "message_digest", "signing_certificate_v2"}, "attributes")
    _require(attributes["content_type"][0].native == "data", "content type")
    _require(attributes["message_digest"][0].native == signed.digest(), "digest")
    named = attributes["signing_certificate_v2"][0]["certs"]
    _require(len(named) == 1 and named[0]["cert_hash"].native == leaf.fingerprint(hashes.SHA256()), "certificate")

    data = asn1_cms.ContentInfo.load(cms, strict=True)["content"]
    (signer,) = data["signer_infos"]
    _require(signer["sid"].chosen["serial_number"].native == leaf.serial_number, "signer")
    _require(signer["digest_algorithm"]["algorithm"].native == cms_parts.DIGEST, "digest algorithm")
    _require(b"\x31" + signer["signed_attrs"].dump()[1:] == to_sign, "signed attributes")
    enclosed = {certificate.chosen.dump() for certificate in data["certificates"]}
    _require(enclosed == {item.public_bytes(serialization.Encoding.DER) for item in request.chain}, "certificates")
    return Prepared(pdf=pdf, byte_range=(start, first, second, length), to_sign=to_sign, cms=cms)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _judgement(answer: dict[str, Any], parts: list[bytes]) -> Judgement:
    if answer.get("valid") is not True:
        return Judgement(False, str(answer.get("reason", "malformed answer"))[:200], {}, b"", {})
    facts = answer["facts"]
    if not isinstance(facts, dict) or len(parts) != 1:
        return Judgement(False, "malformed answer", {}, b"", {})
    details = {name: str(answer.get(name, ""))[:500] for name in ("signed_at", "timestamp", "summary", "coverage", "modification_level")}
    return Judgement(True, "", facts, parts[0], details)


# -- finishing -------------------------------------------------------------------------------------------------------


def finish(prepared: Prepared, signature: bytes, leaf: x509.Certificate, timestamp: bytes | None = None) -> bytes:
    """The sealed PDF: the signature, and a timestamp token over it where given, put into its place. Parses no document.

    Raises:
        YunkuError: ``signature_invalid`` unless the signature is by the prepared certificate's key over ``to_sign``.
    """
    check_signature(prepared.to_sign, signature, leaf)
    cms = cms_parts.patch_cms(prepared.cms, pki.der_signature(leaf, signature), timestamp)
    _, first, second, _ = prepared.byte_range
    encoded = cms.hex().encode("ascii")
    room = second - first - 2
    if len(encoded) > room:
        raise YunkuError("internal")
    place = b"<" + encoded.ljust(room, b"0") + b">"
    return prepared.pdf[:first] + place + prepared.pdf[second:]


def check_signature(to_sign: bytes, signature: bytes, leaf: x509.Certificate) -> None:
    """Raises ``signature_invalid`` unless the signature is by the certificate's key over ``to_sign``."""
    if not pki.verify_signature(leaf, to_sign, signature):
        raise YunkuError("signature_invalid", field="/signature")


def finishing_json(prepared: Prepared) -> str:
    """What finishing needs besides the prepared PDF and ``to_sign``, as the event keeps it."""
    kept = {"byte_range": list(prepared.byte_range), "cms": base64.b64encode(prepared.cms).decode("ascii")}
    return json.dumps(kept, sort_keys=True)


def prepared_from(pdf: bytes, to_sign: bytes, kept_json: str) -> Prepared:
    """The reverse of ``finishing_json``."""
    kept = json.loads(kept_json)
    start, first, second, length = kept["byte_range"]
    return Prepared(pdf, (start, first, second, length), to_sign, base64.b64decode(kept["cms"]))


TimestamperSource = Callable[[], Timestamper | None]

# -- timestamps ------------------------------------------------------------------------------------------------------


class DevelopmentTimestamper(Timestamper):
    """A timestamp authority inside the process, for development: the certificate that ``infra.devca`` made."""

    def __init__(self, p12: bytes, password: str) -> None:
        from pyhanko.sign.timestamps import DummyTimeStamper  # 20 MB that a real register doesn't need

        key, certificate, others = pkcs12.load_key_and_certificates(p12, password.encode())
        if key is None or certificate is None:
            raise ValueError("the timestamping PKCS#12 holds no key")
        encoded = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        store: Any = [_asn1(item) for item in others]
        self._authority: Any = DummyTimeStamper(_asn1(certificate), asn1_keys.PrivateKeyInfo.load(encoded), store)

    async def token(self, signature: bytes) -> bytes:
        made = await self._authority.async_timestamp(hashlib.sha256(signature).digest(), "sha256")
        token: bytes = made.dump()
        return token


class HttpTimestamper(Timestamper):
    """A timestamp authority over HTTP (RFC 3161). Down means ``service_unavailable``: a seal never goes without its
    timestamp silently."""

    def __init__(self, url: str, *, seconds: float = 5.0) -> None:
        self._url = url
        self._client = httpx.AsyncClient(timeout=seconds, follow_redirects=False, trust_env=False)

    async def token(self, signature: bytes) -> bytes:
        nonce = secrets.randbits(63)
        imprint = {
            "hash_algorithm": {"algorithm": "sha256"},
            "hashed_message": hashlib.sha256(signature).digest(),
        }
        request = asn1_tsp.TimeStampReq({"version": 1, "message_imprint": imprint, "cert_req": True, "nonce": nonce})
        try:
            answer = await self._client.post(self._url, content=request.dump(), headers={"Content-Type": "application/timestamp-query"})
            answer.raise_for_status()
            response = asn1_tsp.TimeStampResp.load(answer.content, strict=True)
            if response["status"]["status"].native not in ("granted", "granted_with_mods"):
                raise ValueError(f"refused: {response['status']['status'].native}")
            token: Any = response["time_stamp_token"]
            given = token["content"]["encap_content_info"]["content"].parsed
            digest = given["message_imprint"]["hashed_message"].native
            if digest != imprint["hashed_message"] or given["nonce"].native != nonce:
                raise ValueError("a timestamp over something else")
        except Exception as error:  # network, status or malformed answer: in each case there is no timestamp
            _log.error("timestamp_failed", error=f"{type(error).__name__}: {error}")
            raise YunkuError("service_unavailable") from error
        encoded: bytes = token.dump()
        return encoded

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.aclose()


def _asn1(certificate: x509.Certificate) -> Any:
    return asn1_x509.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))
