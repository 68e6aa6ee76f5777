"""Digital certificates: what is issued and revoked, and what the tokens say to those who check them offline."""

from __future__ import annotations

import base64
import json
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jws
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey
from yunku.certificate.v1 import events_pb2 as certificate_events_pb2
from yunku.certificate.v1 import types_pb2
from yunku.signing.v1 import events_pb2

from services.signing import digital
from services.signing.attestation import STATUS_LIST_TYPE, TOKEN_TYPE, Attestor, public_jwk

AT = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)
ISSUED = events_pb2.DigitalCertificateIssued(digital_certificate_id="d1", certificate_id="c1", version=3, status_index=7)


def private_pem(curve: ec.EllipticCurve) -> bytes:
    return ec.generate_private_key(curve).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def attestor(tmp_path: Path) -> Attestor:
    file = tmp_path / "attestation.pem"
    file.write_bytes(private_pem(ec.SECP256R1()))
    return Attestor(file, "urn:yunku:test")


def submitted() -> certificate_events_pb2.Submitted:
    return certificate_events_pb2.Submitted(
        certificate_id="c1",
        holder=types_pb2.Holder(subject_id="s1", uscc="91210102MA0YK0007G", name="沈阳云库示范建设工程有限公司"),
        type="personal_id",
        version=3,
        unique_code="21PABCDEFGHIJKLMNOPQ",
        light=types_pb2.LIGHT_GREEN,
        fields={"id_no": "210102199001011234"},
        document=types_pb2.Document(sha256="ab" * 32),
        seal=types_pb2.Seal(sealed_sha256="cd" * 32),
        valid_until="2030-01-01",
    )


def folded(*events: object) -> digital.DigitalCertificate:
    state = digital.DigitalCertificate()
    for event in events:
        state = digital.evolve(state, event, AT)
    return state


def test_a_version_is_attested_once() -> None:
    assert digital.issue(folded(), ISSUED) == [ISSUED]
    assert digital.issue(folded(ISSUED), ISSUED) == []


def test_an_attestation_is_revoked_once_and_only_if_there_is_one() -> None:
    assert digital.revoke(folded(), digital.REPLACED) == []
    [revoked] = digital.revoke(folded(ISSUED), digital.REPLACED)
    assert isinstance(revoked, events_pb2.DigitalCertificateRevoked)
    assert (revoked.certificate_id, revoked.version, revoked.reason) == ("c1", 3, "replaced")
    assert digital.revoke(folded(ISSUED, revoked), digital.SUPERSEDED) == []
    assert folded(ISSUED, revoked).revoked == "replaced"


def test_the_token_checks_offline_and_names_no_person(attestor: Attestor) -> None:
    key = attestor.key()
    token = attestor.token(submitted(), 7, AT, key)
    public = ECKey.import_key(json.loads(public_jwk(key)))
    assert not public.is_private
    read = jws.deserialize_compact(token, public, algorithms=["ES256"])
    claims = json.loads(read.payload)
    assert read.headers() == {"alg": "ES256", "kid": key.thumbprint(), "typ": TOKEN_TYPE}
    assert (claims["iss"], claims["sub"], claims["code"], claims["version"]) == (
        "urn:yunku:test", "91210102MA0YK0007G", "21PABCDEFGHIJKLMNOPQ", 3
    )  # fmt: skip
    assert (claims["document_sha256"], claims["sealed_sha256"], claims["valid_until"]) == ("ab" * 32, "cd" * 32, "2030-01-01")
    assert claims["status"]["status_list"]["idx"] == 7
    assert "210102199001011234" not in read.payload.decode()
    assert len(token) < 1100


def test_a_token_with_another_word_in_it_fails(attestor: Attestor) -> None:
    key = attestor.key()
    head, body, signature = attestor.token(submitted(), 7, AT, key).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["version"] = 4
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    with pytest.raises(BadSignatureError):
        jws.deserialize_compact(f"{head}.{forged}.{signature}", key, algorithms=["ES256"])


def test_the_status_list_says_which_are_revoked(attestor: Attestor) -> None:
    read = jws.deserialize_compact(attestor.status_list([0, 9], 12, AT), attestor.key(), algorithms=["ES256"])
    claims = json.loads(read.payload)
    assert read.headers()["typ"] == STATUS_LIST_TYPE
    packed = claims["status_list"]["lst"]
    bits = zlib.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    assert [index for index in range(12) if bits[index // 8] >> (index % 8) & 1] == [0, 9]
    assert len(bits) == 2


def test_only_the_register_s_kind_of_key_signs(tmp_path: Path) -> None:
    file = tmp_path / "wrong.pem"
    with pytest.raises(OSError, match=r"wrong\.pem"):
        Attestor(file, "x").key()
    file.write_bytes(private_pem(ec.SECP384R1()))
    with pytest.raises(ValueError, match="P-256"):
        Attestor(file, "x").key()
