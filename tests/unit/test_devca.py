"""The development CA, and the rules by which company certificates are judged (kernel.pki)."""

import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from infra import devca
from kernel import pki
from kernel.values import checks
from tests.service import seal_kit as kit

# Ahead of the moment of collection: in a long run the revocation lists are made much later, and hold from then on.
NOW = datetime.now(UTC) + timedelta(hours=2)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> kit.DevelopmentPki:
    return kit.DevelopmentPki(tmp_path_factory.mktemp("data"))


def verify(ca: kit.DevelopmentPki, signer: kit.Signer, at: datetime | None = None, leaf_only: bool = False) -> pki.CompanyIdentity:
    pem = signer.chain[0].public_bytes(serialization.Encoding.PEM) if leaf_only else signer.pem
    trust = ca.trust
    return pki.verify_chain(pem, trust.roots, trust.crls, at or datetime.now(UTC), intermediates=trust.intermediates)


def test_made_once_and_private(ca: kit.DevelopmentPki) -> None:
    before = ca.paths.demo.p12.read_bytes()
    crl = (ca.paths.crls / "issuing.crl").read_bytes()
    again = devca.ensure(ca.data)
    assert again == ca.paths
    assert again.demo.p12.read_bytes() == before
    assert (again.crls / "issuing.crl").read_bytes() != crl, "revocation lists are renewed on each start"
    assert stat.S_IMODE(again.directory.stat().st_mode) == 0o700
    for path in again.directory.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_a_start_that_was_killed_leaves_no_half_pki(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(devca, "_write_crls", killed)
        with pytest.raises(KeyboardInterrupt):
            devca.ensure(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert devca.ensure(tmp_path).roots.exists()


@pytest.mark.parametrize("company", [devca.DEMO_COMPANY, devca.SECOND_COMPANY])
def test_codes_of_the_demo_companies_are_right(company: tuple[str, str]) -> None:
    assert not checks("uscc", company[1])


@pytest.mark.parametrize(("name", "company"), [("demo", devca.DEMO_COMPANY), ("second", devca.SECOND_COMPANY)])
@pytest.mark.parametrize("leaf_only", [False, True])
def test_company_keys_are_trusted(name: str, company: tuple[str, str], leaf_only: bool, ca: kit.DevelopmentPki) -> None:
    signer = ca.signer(name)
    found = verify(ca, signer, leaf_only=leaf_only)
    assert (found.name, found.uscc) == company
    assert found.fingerprint == signer.chain[0].fingerprint(hashes.SHA256()).hex()
    assert int(found.serial, 16) == signer.chain[0].serial_number


@pytest.mark.parametrize(
    ("name", "code"),
    [("revoked", "certificate_revoked"), ("expired", "certificate_expired"), ("tsa", "certificate_without_uscc")],
)
def test_keys_that_are_refused(name: str, code: str, ca: kit.DevelopmentPki) -> None:
    with pytest.raises(pki.CertificateError) as refused:
        verify(ca, ca.signer(name))
    assert refused.value.code == code


def test_revoking(ca: kit.DevelopmentPki) -> None:
    signer = ca.issue("ec")
    assert verify(ca, signer).uscc == devca.DEMO_COMPANY[1]
    devca.revoke(ca.data, signer.chain[0].serial_number)
    with pytest.raises(pki.CertificateError, match="certificate_revoked"):
        verify(ca, signer)


def test_revocation_must_be_known(ca: kit.DevelopmentPki) -> None:
    """Without a list, with only one of the two, with a stale one or with another CA's: not accepted."""
    trust, pem = ca.trust, ca.signer("demo").pem
    issuing, root = trust.crls
    for crls in ((), (issuing,), (root,)):
        with pytest.raises(pki.CertificateError, match="certificate_revoked"):
            pki.verify_chain(pem, trust.roots, crls, NOW)
    with pytest.raises(pki.CertificateError, match="certificate_revoked"):
        verify(ca, ca.signer("demo"), at=NOW + timedelta(days=60))


@pytest.mark.parametrize("years", [-1, 5])
def test_outside_its_validity(years: int, ca: kit.DevelopmentPki) -> None:
    with pytest.raises(pki.CertificateError) as refused:
        verify(ca, ca.signer("demo"), at=NOW + timedelta(days=365 * years))
    assert refused.value.code == "certificate_expired"


def test_a_strangers_ca(ca: kit.DevelopmentPki, tmp_path: Path) -> None:
    stranger = kit.DevelopmentPki(tmp_path).signer("demo")
    with pytest.raises(pki.CertificateError, match="certificate_untrusted"):
        verify(ca, stranger)


@pytest.mark.parametrize(
    "pem",
    ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "x" * 70_000, "\udcff"],
)
def test_what_is_no_certificate(pem: str, ca: kit.DevelopmentPki) -> None:
    with pytest.raises(pki.CertificateError, match="certificate_untrusted"):
        pki.verify_chain(pem, ca.trust.roots, ca.trust.crls, NOW)


def test_too_many_certificates(ca: kit.DevelopmentPki) -> None:
    with pytest.raises(pki.CertificateError, match="certificate_untrusted"):
        pki.verify_chain(ca.signer("demo").pem * 3, ca.trust.roots, ca.trust.crls, NOW)


def test_a_cas_own_certificate_is_no_company(ca: kit.DevelopmentPki) -> None:
    for certificate in ca.signer("demo").chain[1:]:
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        with pytest.raises(pki.CertificateError, match="certificate_untrusted"):
            pki.verify_chain(pem, ca.trust.roots, ca.trust.crls, NOW, intermediates=ca.trust.intermediates)


def named(**fields: str) -> x509.Certificate:
    oids = {"organization": pki.ORGANIZATION_IDENTIFIER, "serial": x509.NameOID.SERIAL_NUMBER}
    name = x509.Name([x509.NameAttribute(oids[key], value) for key, value in fields.items()])
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


USCC = devca.DEMO_COMPANY[1]


@pytest.mark.parametrize(
    "fields",
    [
        {"organization": USCC},
        {"serial": USCC},
        {"organization": USCC, "serial": USCC},
        {"organization": f"NTRCN-{USCC}"},
        {"organization": USCC.lower()},
        {"organization": USCC, "serial": "210102199001011234"},
        {"organization": USCC, "serial": devca.SECOND_COMPANY[1]},
    ],
)
def test_where_the_code_stands(fields: dict[str, str]) -> None:
    assert pki.company_of(named(**fields)).uscc == USCC


@pytest.mark.parametrize(
    "fields",
    [
        {"serial": "12345"},
        {"organization": "O" + USCC[1:]},
        {"organization": "12345", "serial": USCC},
        {"serial": "210102199001011234"},
    ],
)
def test_codes_that_are_missing_or_doubtful(fields: dict[str, str]) -> None:
    with pytest.raises(pki.CertificateError, match="certificate_without_uscc"):
        pki.company_of(named(**fields))


@pytest.mark.parametrize("kind", ["rsa", "rsa3072", "ec"])
def test_signatures(kind: devca.KeyKind, ca: kit.DevelopmentPki) -> None:
    signer, stranger = ca.issue(kind), ca.issue(kind)
    good = signer.sign(b"text")
    leaf = signer.chain[0]
    assert pki.verify_signature(leaf, b"text", good)
    assert not pki.verify_signature(leaf, b"test", good)
    assert not pki.verify_signature(leaf, b"text", stranger.sign(b"text"))
    for bad in (b"", good[:-1], good + b"\0", bytes(64), b"x" * 10_000):
        assert not pki.verify_signature(leaf, b"text", bad)


def test_ecdsa_as_two_numbers(ca: kit.DevelopmentPki) -> None:
    signer = ca.issue("ec")
    r, s = decode_dss_signature(signer.sign(b"text"))
    assert pki.verify_signature(signer.chain[0], b"text", r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    assert not pki.verify_signature(signer.chain[0], b"text", s.to_bytes(32, "big") + r.to_bytes(32, "big"))


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(public_exponent=65537, key_size=1024), ec.generate_private_key(ec.SECP384R1())],
    ids=["rsa1024", "p384"],
)
def test_keys_of_other_kinds(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1))
    with pytest.raises(pki.CertificateError, match="certificate_untrusted"):
        pki.check_key(builder.sign(key, hashes.SHA256()))


def test_command_line(tmp_path: Path) -> None:
    out = tmp_path / "key.p12"
    command = [sys.executable, "-m", "infra.devca", "--data", str(tmp_path), "issue"]
    command += ["--name", "某某公司", "--uscc", USCC, "--out", str(out), "--key", "ec"]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    signer = kit.open_p12(out.read_bytes(), ran.stdout.strip())
    assert signer.company.name == "某某公司"
    assert signer.company.uscc == USCC
