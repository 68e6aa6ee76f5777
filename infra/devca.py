"""The development certificate authority: a small PKI that stands in for the licensed CAs of real company keys.

``ensure(data_dir)`` makes it once under ``<data>/pki`` and renews its revocation lists on every start: a root, an
issuing CA, a timestamping certificate, and company keys as PKCS#12 files: the demo company's, a second company's, a
revoked and an expired one. There is no OCSP: revocation is by CRL, and a missing or stale CRL makes a certificate
untrusted.

Never for production: the CA's private keys lie unencrypted beside the data (directory 0700, files 0600).

Issue a further key with ``python -m infra.devca issue --name 某某公司 --uscc 91… --out file.p12``.
"""

import argparse
import json
import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
KeyKind = Literal["rsa", "rsa3072", "ec"]

ORGANIZATION_IDENTIFIER: Final = ObjectIdentifier("2.5.4.97")
#: Two invented companies of Shenyang and Dalian; the codes' check digits are right (GB 32100 and GB 11714).
DEMO_COMPANY: Final = ("沈阳云库示范建设工程有限公司", "91210102MA0YK0007G")
SECOND_COMPANY: Final = ("大连另一建筑工程有限公司", "91210202MA0YK0015G")

_DAY: Final = timedelta(days=1)
_CA_LIFE: Final = 3650 * _DAY
_COMPANY_LIFE: Final = 730 * _DAY
# Long enough for a machine that is asleep for a week; renewed on each start and by `refresh_crls`.
_CRL_LIFE: Final = 14 * _DAY


@dataclass(frozen=True, slots=True)
class CompanyKey:
    """One PKCS#12 file and the file that holds its password."""

    p12: Path
    password_file: Path

    @property
    def password(self) -> str:
        return self.password_file.read_text().strip()


@dataclass(frozen=True, slots=True)
class PkiPaths:
    """Where everything of the development PKI lies."""

    directory: Path
    #: PEM bundle of the trusted roots.
    roots: Path
    #: PEM bundle of the issuing CAs.
    intermediates: Path
    #: Directory of DER revocation lists, ``*.crl``.
    crls: Path
    demo: CompanyKey
    #: A second company's key, as an EC key.
    second: CompanyKey
    #: The demo company's key that was revoked, and one that expired.
    revoked: CompanyKey
    expired: CompanyKey
    #: The timestamping key: PKCS#12 without a company.
    tsa: CompanyKey


def ensure(data_dir: Path) -> PkiPaths:
    """Makes the PKI under ``data_dir/pki`` if it isn't there, renews the CRLs, and returns the paths.

    A start that is killed half-way leaves nothing behind that the next one would take for whole: the directory is made
    under another name and renamed.
    """
    directory = data_dir / "pki"
    if not (directory / "roots.pem").exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        fresh = data_dir / f".pki-{secrets.token_hex(4)}"
        fresh.mkdir(mode=0o700)
        try:
            _create(fresh)
            os.rename(fresh, directory)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    refresh_crls(data_dir)
    return paths(data_dir)


def paths(data_dir: Path) -> PkiPaths:
    """The paths of a PKI that ``ensure`` made."""
    directory = data_dir / "pki"

    def key(name: str) -> CompanyKey:
        return CompanyKey(directory / f"{name}.p12", directory / f"{name}.password")

    return PkiPaths(
        directory=directory,
        roots=directory / "roots.pem",
        intermediates=directory / "intermediates.pem",
        crls=directory / "crls",
        demo=key("demo-company"),
        second=key("second-company"),
        revoked=key("revoked-company"),
        expired=key("expired-company"),
        tsa=key("tsa"),
    )


def issue_company(
    data_dir: Path,
    name: str,
    uscc: str,
    *,
    key: KeyKind = "rsa",
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> tuple[bytes, str]:
    """A new company key with its certificate and chain as PKCS#12 bytes, and the password that opens it.

    The USCC stands in ``organizationIdentifier`` and ``serialNumber`` of the subject, the name in ``CN`` and ``O``.
    """
    issuing = _Authority.load(data_dir / "pki" / "ca" / "issuing")
    root = _Authority.load(data_dir / "pki" / "ca" / "root")
    return _company(issuing, root.certificate, name, uscc, key, not_before, not_after)


def revoke(data_dir: Path, serial: int) -> None:
    """Puts a certificate of the issuing CA on its revocation list, from now on."""
    record = data_dir / "pki" / "ca" / "revoked.json"
    revoked = {int(key): value for key, value in json.loads(record.read_text()).items()}
    revoked.setdefault(serial, datetime.now(UTC).isoformat())
    _write(record, json.dumps({str(key): value for key, value in revoked.items()}).encode())
    refresh_crls(data_dir)


def refresh_crls(data_dir: Path) -> None:
    """Writes both CAs' revocation lists anew, each replaced atomically."""
    _write_crls(data_dir / "pki")


class _Authority:
    """A CA's key and certificate."""

    def __init__(self, key: PrivateKey, certificate: x509.Certificate) -> None:
        self.key = key
        self.certificate = certificate

    @classmethod
    def load(cls, stem: Path) -> "_Authority":
        key = serialization.load_pem_private_key(stem.with_suffix(".key").read_bytes(), None)
        assert isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey))
        return cls(key, x509.load_pem_x509_certificate(stem.with_suffix(".pem").read_bytes()))

    def save(self, stem: Path) -> None:
        _write(stem.with_suffix(".key"), _key_pem(self.key))
        _write(stem.with_suffix(".pem"), self.certificate.public_bytes(serialization.Encoding.PEM))


def _create(directory: Path) -> None:
    now = datetime.now(UTC)
    (directory / "ca").mkdir(mode=0o700)
    root = _make_ca("云库开发根 CA", None, now, path_length=1)
    issuing = _make_ca("云库开发签发 CA", root, now, path_length=0)
    root.save(directory / "ca" / "root")
    issuing.save(directory / "ca" / "issuing")
    _write(directory / "intermediates.pem", issuing.certificate.public_bytes(serialization.Encoding.PEM))

    def keep(name: str, made: tuple[bytes, str]) -> bytes:
        _write(directory / f"{name}.p12", made[0])
        _write(directory / f"{name}.password", made[1].encode())
        return made[0]

    top = root.certificate
    keep("demo-company", _company(issuing, top, *DEMO_COMPANY, "rsa"))
    keep("second-company", _company(issuing, top, *SECOND_COMPANY, "ec"))
    keep("expired-company", _company(issuing, top, *DEMO_COMPANY, "ec", now - 30 * _DAY, now - _DAY))
    revoked, password = _company(issuing, top, *DEMO_COMPANY, "ec")
    keep("revoked-company", (revoked, password))
    certificate = pkcs12.load_key_and_certificates(revoked, password.encode())[1]
    assert certificate is not None
    _write(directory / "ca" / "revoked.json", json.dumps({str(certificate.serial_number): now.isoformat()}).encode())
    keep("tsa", _timestamping(issuing, top))
    _write_crls(directory)
    # Last: its presence says that the PKI is whole.
    _write(directory / "roots.pem", top.public_bytes(serialization.Encoding.PEM))


def _write_crls(directory: Path) -> None:
    root = _Authority.load(directory / "ca" / "root")
    issuing = _Authority.load(directory / "ca" / "issuing")
    revoked = json.loads((directory / "ca" / "revoked.json").read_text())
    (directory / "crls").mkdir(mode=0o700, exist_ok=True)
    _write(directory / "crls" / "root.crl", _crl(root, {}))
    entries = {int(serial): datetime.fromisoformat(at) for serial, at in revoked.items()}
    _write(directory / "crls" / "issuing.crl", _crl(issuing, entries))


def _make_ca(name: str, issuer: _Authority | None, now: datetime, *, path_length: int) -> _Authority:
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "云库开发环境"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    builder = _builder(subject, key, issuer, now - _DAY, now + _CA_LIFE).add_extension(
        x509.BasicConstraints(ca=True, path_length=path_length), critical=True
    )
    builder = builder.add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
    return _Authority(key, builder.sign(issuer.key if issuer else key, hashes.SHA256()))


def _company(
    issuing: _Authority,
    root: x509.Certificate,
    name: str,
    uscc: str,
    kind: KeyKind,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> tuple[bytes, str]:
    now = datetime.now(UTC)
    key = _new_key(kind)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, name[:64]),
            x509.NameAttribute(ORGANIZATION_IDENTIFIER, uscc),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, uscc),
            x509.NameAttribute(NameOID.COMMON_NAME, name[:64]),
        ]
    )
    builder = _builder(subject, key, issuing, not_before or now - timedelta(hours=1), not_after or now + _COMPANY_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage("digital_signature", "content_commitment"), critical=True)
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION]
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return _pack(name, key, builder.sign(issuing.key, hashes.SHA256()), [issuing.certificate, root])


def _timestamping(issuing: _Authority, root: x509.Certificate) -> tuple[bytes, str]:
    now = datetime.now(UTC)
    key = _new_key("rsa")
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "云库开发环境"),
            x509.NameAttribute(NameOID.COMMON_NAME, "云库开发时间戳"),
        ]
    )
    builder = _builder(subject, key, issuing, now - timedelta(hours=1), now + _CA_LIFE / 2)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage("digital_signature", "content_commitment"), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return _pack("tsa", key, builder.sign(issuing.key, hashes.SHA256()), [issuing.certificate, root])


def _builder(
    subject: x509.Name, key: PrivateKey, issuer: _Authority | None, not_before: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    issuer_key = issuer.key.public_key() if issuer else key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _key_usage(*names: str) -> x509.KeyUsage:
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in names for name in every})


def _crl(authority: _Authority, revoked: dict[int, datetime]) -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - timedelta(minutes=1))
        .next_update(now + _CRL_LIFE)
        .add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    for serial, at in revoked.items():
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at)
        entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _new_key(kind: KeyKind) -> PrivateKey:
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=3072 if kind == "rsa3072" else 2048)


def _pack(name: str, key: PrivateKey, certificate: x509.Certificate, chain: Sequence[x509.Certificate]) -> tuple[bytes, str]:
    password = secrets.token_urlsafe(12)
    encryption = serialization.BestAvailableEncryption(password.encode())
    data = pkcs12.serialize_key_and_certificates(name.encode(), key, certificate, list(chain), encryption)
    return data, password


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write(path: Path, data: bytes) -> None:
    """Replaces ``path`` atomically, readable by its owner only."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; prints the password of an issued key."""
    parser = argparse.ArgumentParser(prog="python -m infra.devca", description="The development certificate authority.")
    default = os.environ.get("YUNKU_DATA", ".yunku")
    parser.add_argument("--data", type=Path, default=Path(default), help="default: YUNKU_DATA or .yunku")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ensure", help="make the PKI if it isn't there, renew the CRLs")
    issue = commands.add_parser("issue", help="issue a company key")
    issue.add_argument("--name", required=True)
    issue.add_argument("--uscc", required=True)
    issue.add_argument("--out", type=Path, required=True)
    issue.add_argument("--key", choices=["rsa", "rsa3072", "ec"], default="rsa")
    given = parser.parse_args(arguments)
    made = ensure(given.data)
    if given.command == "issue":
        p12, password = issue_company(given.data, given.name, given.uscc, key=given.key)
        _write(given.out, p12)
        print(password)
    else:
        print(made.directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
