"""Company certificates: is this chain ours to trust, which company does it name, and did its key sign this?

The same rules serve the CA login (identity) and the seal (signing): own trust roots only, revocation by cached CRLs
that must be there and fresh (hard fail), no network. The path is validated by pyHanko's certificate validator (RFC
5280), the engine that also judges a finished seal, so that a key that may log in is a key whose seal counts, and the
other way round.

A certificate names its company by the USCC in ``organizationIdentifier`` (2.5.4.97) or ``serialNumber`` (2.5.4.5) of
the subject; the former decides where both stand.
"""

import re
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import pyhanko_certvalidator as certvalidator
from asn1crypto import crl as asn1_crl
from asn1crypto import pem as asn1_pem
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import NameOID, ObjectIdentifier
from pyhanko_certvalidator import errors as path_errors

from kernel.errors import YunkuError

#: A PEM chain from outside: at most this many bytes and certificates (a real one is 2-3 certificates of 1-2 kB).
MAX_CHAIN_BYTES: Final = 64 * 1024
MAX_CHAIN_CERTIFICATES: Final = 6
#: No RSA key or ECDSA signature in use is longer (RSA-4096).
MAX_SIGNATURE_BYTES: Final = 512
MIN_RSA_BITS: Final = 2048
_DER: Final = serialization.Encoding.DER

CERTIFICATE_UNTRUSTED: Final = "certificate_untrusted"
CERTIFICATE_EXPIRED: Final = "certificate_expired"
CERTIFICATE_REVOKED: Final = "certificate_revoked"
CERTIFICATE_WITHOUT_USCC: Final = "certificate_without_uscc"

ORGANIZATION_IDENTIFIER: Final = ObjectIdentifier("2.5.4.97")
_T = TypeVar("_T")
# GB 32100-2015: 18 characters without I, O, Z, S, V. The check digit isn't judged here: real codes exist that fail it.
_USCC: Final = re.compile(r"[0-9A-HJ-NPQRTUWXY]{2}[0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}")
# GB 11643: region, date of birth, sequence, check digit. Companies' codes begin with 9, so none reads as one.
_ID_NUMBER: Final = re.compile(r"[1-8][0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9X]")
# EN 319 412-1 writes an organization identifier with a scheme and country before the number.
_SCHEME: Final = re.compile(r"^(?:NTR|VAT|USC)CN-")


class CertificateError(YunkuError):
    """A certificate that can't be accepted; ``code`` says why (one of the ``CERTIFICATE_*`` codes of this module)."""

    def __init__(self, code: str, detail: str = "", *, field: str | None = None) -> None:
        super().__init__(code, field=field)
        #: For the log only; English, carries no personal value.
        self.detail = detail


@dataclass(frozen=True, slots=True)
class CompanyIdentity:
    """The company that a verified certificate names."""

    uscc: str
    name: str
    #: Serial number of the certificate, lower-case hexadecimal.
    serial: str
    #: SHA-256 over the DER of the certificate, lower-case hexadecimal.
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Trust:
    """What certificates are judged by: roots and known issuing CAs as PEM bundles, revocation lists as DER."""

    roots: bytes
    crls: tuple[bytes, ...]
    intermediates: bytes = b""


def load_trust(directory: Path) -> Trust:
    """Reads ``roots.pem``, ``intermediates.pem`` (optional) and ``crls/*.crl`` of ``directory``.

    Read again for each use or on a timer: revocation lists are replaced while the service runs. A missing or empty
    roots file raises ``OSError`` or ``ValueError``; missing CRLs are no error here, they make every certificate
    untrusted.
    """
    roots = (directory / "roots.pem").read_bytes()
    if not asn1_pem.detect(roots):
        raise ValueError(f"no certificate in {directory / 'roots.pem'}")
    extra = directory / "intermediates.pem"
    crls = tuple(path.read_bytes() for path in sorted((directory / "crls").glob("*.crl")))
    return Trust(roots=roots, crls=crls, intermediates=extra.read_bytes() if extra.exists() else b"")


def parse_chain(chain_pem: str | bytes) -> list[x509.Certificate]:
    """The certificates of a PEM bundle from outside, the holder's first.

    Raises:
        CertificateError: ``certificate_untrusted`` for anything that isn't 1-6 well-formed certificates in 64 kB.
    """
    data = chain_pem.encode("utf-8", "replace") if isinstance(chain_pem, str) else chain_pem
    if len(data) > MAX_CHAIN_BYTES:
        raise CertificateError(CERTIFICATE_UNTRUSTED, f"{len(data)} bytes")
    try:
        chain = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise CertificateError(CERTIFICATE_UNTRUSTED, str(error)) from error
    if len(chain) > MAX_CHAIN_CERTIFICATES:
        raise CertificateError(CERTIFICATE_UNTRUSTED, f"{len(chain)} certificates")
    return chain


def check_key(certificate: x509.Certificate) -> None:
    """Raises ``certificate_untrusted`` unless the key is RSA of 2048 to 4096 bits or ECDSA on P-256."""
    try:
        key = certificate.public_key()
    except Exception as error:  # what the library raises for a key it doesn't know differs by version
        raise CertificateError(CERTIFICATE_UNTRUSTED, type(error).__name__) from error
    if isinstance(key, rsa.RSAPublicKey) and MIN_RSA_BITS <= key.key_size <= MAX_SIGNATURE_BYTES * 8:
        return
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return
    raise CertificateError(CERTIFICATE_UNTRUSTED, type(key).__name__)


def der_signature(certificate: x509.Certificate, signature: bytes) -> bytes:
    """The signature as X.509 and CMS carry it.

    Web browsers and PKCS#11 tokens give an ECDSA signature as the two numbers r||s (64 bytes on P-256), others as DER:
    both are taken, DER comes out. (A DER signature of 64 bytes would need numbers 7 bytes too short, chance 2^-56.)
    """
    if len(signature) == 64 and isinstance(certificate.public_key(), ec.EllipticCurvePublicKey):
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        return encode_dss_signature(r, s)
    return signature


def verify_signature(certificate: x509.Certificate, data: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is by the certificate's key over ``data``.

    RSA PKCS#1 v1.5 or ECDSA (in either form that ``der_signature`` takes), with SHA-256.
    """
    if len(signature) > MAX_SIGNATURE_BYTES:
        return False
    key = certificate.public_key()
    signature = der_signature(certificate, signature)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True


def company_of(certificate: x509.Certificate) -> CompanyIdentity:
    """The company that the subject names, without any check of trust.

    ``organizationIdentifier`` decides where it stands. Some CAs have only ``serialNumber``, which may also hold the ID
    number of a person: what reads as one names no company.

    Raises:
        CertificateError: ``certificate_without_uscc`` when no well-formed USCC stands there, or two different ones.
    """
    stated = certificate.subject.get_attributes_for_oid(ORGANIZATION_IDENTIFIER)
    values = {_SCHEME.sub("", str(attribute.value).strip().upper()) for attribute in stated}
    if not stated:
        others = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
        values = {str(attribute.value).strip().upper() for attribute in others}
        values = {value for value in values if not _ID_NUMBER.fullmatch(value)}
    if len(values) != 1 or not _USCC.fullmatch(uscc := values.pop()):
        raise CertificateError(CERTIFICATE_WITHOUT_USCC, "none, malformed, or more than one code in the subject")
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return CompanyIdentity(
        uscc=uscc,
        name=str(names[0].value) if names else "",
        serial=f"{certificate.serial_number:x}",
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def verify_chain(
    chain_pem: str | bytes, roots: bytes, crls: Sequence[bytes], at: datetime, *, intermediates: bytes = b""
) -> CompanyIdentity:
    """Checks a company's certificate against our own roots at the moment ``at`` (aware) and says whose it is.

    ``chain_pem`` is the holder's certificate, optionally followed by its issuers; issuers missing there are looked for
    in ``intermediates``. Every certificate below the root needs a current CRL of its issuer among ``crls``.

    Raises:
        CertificateError: ``certificate_expired`` (or not yet valid), ``certificate_revoked`` (or no current CRL to
        tell),
            ``certificate_without_uscc``, ``certificate_untrusted`` (unreadable, a key of another kind, or anything else
            that is wrong with the path).
    """
    chain = parse_chain(chain_pem)
    check_key(chain[0])
    if not chain[0].not_valid_before_utc <= at <= chain[0].not_valid_after_utc:
        # Told before anything else: where a certificate has expired, the revocation lists of then are gone too.
        raise CertificateError(CERTIFICATE_EXPIRED, "outside its validity")
    der = [asn1_x509.Certificate.load(certificate.public_bytes(_DER)) for certificate in chain]
    try:
        context = validation_context(roots, crls, at, other_certificates=[*der[1:], *load_certificates(intermediates)])
        validator: Any = certvalidator.CertificateValidator(der[0], validation_context=context)
        run_without_io(validator.async_validate_usage(set()))
        usage = der[0].key_usage_value
        if usage is not None and not usage.native & {"digital_signature", "non_repudiation"}:
            raise CertificateError(CERTIFICATE_UNTRUSTED, "key usage doesn't include signing")
        if der[0].ca:
            raise CertificateError(CERTIFICATE_UNTRUSTED, "a CA's own certificate")
    except CertificateError:
        raise
    except (path_errors.RevokedError, path_errors.InsufficientRevinfoError) as error:
        raise CertificateError(CERTIFICATE_REVOKED, str(error)) from error
    except (path_errors.ExpiredError, path_errors.NotYetValidError) as error:
        raise CertificateError(CERTIFICATE_EXPIRED, str(error)) from error
    except Exception as error:  # whatever a hostile certificate provokes in the validator, it isn't trusted
        raise CertificateError(CERTIFICATE_UNTRUSTED, f"{type(error).__name__}: {error}") from error
    return company_of(chain[0])


def validation_context(roots: bytes, crls: Sequence[bytes], at: datetime, *, other_certificates: Sequence[Any] = ()) -> Any:
    """The one set of rules under which certificates are judged (a ``pyhanko_certvalidator.ValidationContext``).

    The mode is ``require``: the library's "hard-fail" looks at no CRL at all, not even at one that is handed in, when
    the certificate names no distribution point; a revoked certificate passes it.
    """
    return certvalidator.ValidationContext(
        trust_roots=load_certificates(roots),
        other_certs=list(other_certificates),
        moment=at,
        crls=[asn1_crl.CertificateList.load(data) for data in crls],
        revocation_mode="require",
        allow_fetching=False,
    )


def load_certificates(bundle: bytes) -> list[Any]:
    """The certificates (asn1crypto) of a PEM bundle of our own; an empty bundle has none."""
    if not bundle.strip():
        return []
    return [asn1_x509.Certificate.load(der) for _, _, der in asn1_pem.unarmor(bundle, multiple=True)]


def run_without_io(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Runs a coroutine that never waits, here and now, without an event loop.

    pyHanko's validation is written as coroutines for the sake of fetching revocation data. We never fetch, so nothing
    is waited for; without a loop it works inside a running loop as well as in the sandbox, which forbids sockets.
    """
    try:
        coroutine.send(None)
    except StopIteration as result:
        value: _T = result.value
        return value
    coroutine.close()
    raise RuntimeError("a certificate check tried to wait for input or output")
