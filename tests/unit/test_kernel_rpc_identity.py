"""The proof of the caller: good for one service, for a minute, by the key of the one who says it."""

import base64
import hmac
import json
import time
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from kernel.context import CallContext, Caller
from kernel.rpc.client import outgoing_key
from kernel.rpc.identity import LIFETIME_SECONDS, MAX_TOKEN, CallerRefused, Signer, Verifier, write_key_pair

ACCOUNT = Caller(
    kind="account",
    id="01a20937-e627-71c2-abf1-000000000001",
    session_id="s-1",
    subject_id="sub-1",
    subject_type="BIDDER",
    roles=(("reviewer", "d-1"), ("auditor", "")),
    subject_uscc="91210103MA0XXXXX1K",
    subject_name="辽宁某某建设有限公司",
    key_uscc="91210103MA0XXXXX1K",
)
SERVICES = ("gateway", "certificate", "ocr")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("keys")
    for service in SERVICES:
        write_key_pair(service, root / "private" / f"{service}.pem", root / "public")
    return root


def _signer(keys: Path, service: str) -> Signer:
    return Signer(service, keys / "private" / f"{service}.pem")


def _verifier(keys: Path, service: str) -> Verifier:
    return Verifier(service, keys / "public")


def _signed(keys: Path, service: str, **claims: Any) -> str:
    """A token signed by a service's real key, with whatever claims an intruder in that service would choose."""
    now = int(time.time())
    base = {"iss": service, "aud": "ocr", "iat": now, "exp": now + 60, "caller": {"kind": "service", "id": service}}
    key = OKPKey.import_key((keys / "private" / f"{service}.pem").read_bytes())
    chosen = {name: value for name, value in (base | claims).items() if value is not None}
    return jwt.encode({"alg": "Ed25519"}, chosen, key, algorithms=["Ed25519"])


def test_private_keys_are_their_owners_only(keys: Path) -> None:
    assert (keys / "private" / "ocr.pem").stat().st_mode & 0o777 == 0o600


def test_the_gateway_speaks_for_an_account(keys: Path) -> None:
    token = _signer(keys, "gateway").sign(ACCOUNT, "certificate")
    assert _verifier(keys, "certificate").verify(token) == ("gateway", ACCOUNT)


def test_any_other_service_speaks_for_itself_at_most_acting_for_the_subject(keys: Path) -> None:
    token = _signer(keys, "certificate").sign(ACCOUNT, "ocr")
    assert _verifier(keys, "ocr").verify(token) == (
        "certificate",
        Caller(kind="service", id="certificate", subject_id="sub-1", subject_type="BIDDER"),
    )


def test_a_service_cannot_assert_an_account_whatever_it_signs(keys: Path) -> None:
    token = _signed(keys, "certificate", caller={"kind": "account", "id": ACCOUNT.id})
    with pytest.raises(CallerRefused, match="may not speak for accounts"):
        _verifier(keys, "ocr").verify(token)


def test_a_service_cannot_name_another_as_its_id(keys: Path) -> None:
    token = _signed(keys, "certificate", caller={"kind": "service", "id": "gateway", "roles": [["administrator", ""]]})
    assert _verifier(keys, "ocr").verify(token)[1] == Caller(kind="service", id="certificate")


def test_a_domain_system_cannot_be_asserted(keys: Path) -> None:
    token = _signed(keys, "certificate", caller={"kind": "domain_system", "id": "d-1"})
    assert _verifier(keys, "ocr").verify(token)[1] == Caller(kind="service", id="certificate")


def test_a_proof_for_another_service_is_refused(keys: Path) -> None:
    token = _signer(keys, "gateway").sign(ACCOUNT, "certificate")
    with pytest.raises(CallerRefused):
        _verifier(keys, "ocr").verify(token)


def test_one_service_cannot_sign_as_another(keys: Path) -> None:
    token = _signed(keys, "certificate", iss="gateway", caller={"kind": "account", "id": ACCOUNT.id})
    with pytest.raises(CallerRefused):
        _verifier(keys, "ocr").verify(token)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": int(time.time()) - 10, "iat": int(time.time()) - 70},
        {"iat": int(time.time()) + 3600, "exp": int(time.time()) + 3660},
        {"exp": int(time.time()) + LIFETIME_SECONDS + 3600},
        {"exp": None},
        {"iat": None},
        {"aud": None},
        {"caller": None},
        {"caller": "gateway"},
        {"caller": {"kind": "service", "subject_id": 7}},
    ],
    ids=["expired", "from the future", "long-lived", "no exp", "no iat", "no aud", "no caller", "text", "number"],
)
def test_a_proof_with_wrong_claims_is_refused(keys: Path, claims: dict[str, Any]) -> None:
    _verifier(keys, "ocr").verify(_signed(keys, "certificate"))  # the same without them is good
    with pytest.raises(CallerRefused):
        _verifier(keys, "ocr").verify(_signed(keys, "certificate", **claims))


@pytest.mark.parametrize("roles", ["administrator", [["administrator"]], [["administrator", 1]], [[]]])
def test_malformed_roles_are_refused(keys: Path, roles: object) -> None:
    token = _signed(keys, "gateway", caller={"kind": "account", "id": "a", "roles": roles})
    with pytest.raises(CallerRefused):
        _verifier(keys, "ocr").verify(token)


def _segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_tampered_and_foreign_tokens_are_refused(keys: Path) -> None:
    good = _signed(keys, "certificate")
    header, payload, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    public = (keys / "public" / "certificate.pem").read_bytes()
    # The classic: the public key, which everybody has, used as an HMAC secret.
    signed = f"{_segment({'alg': 'HS256', 'typ': 'JWT'})}.{payload}"
    mac = hmac.new(public, signed.encode(), "sha256").digest()
    confused = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    stranger = jwt.encode({"alg": "Ed25519"}, claims, OKPKey.generate_key("Ed25519"), algorithms=["Ed25519"])
    forged = [
        f"{header}.{_segment(claims | {'iss': 'gateway'})}.{signature}",
        f"{header}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        f"{_segment({'alg': 'none'})}.{payload}.",
        confused,
        stranger,
        _signed(keys, "certificate", iss="../private/certificate"),
        _signed(keys, "certificate", iss="nobody"),
        "",
        "nonsense",
        "a.b.c",
        "é.é.é",
        f"{header}.{_segment([1])}.{signature}",
        good + "A" * MAX_TOKEN,
    ]
    verifier = _verifier(keys, "ocr")
    for token in forged:
        with pytest.raises(CallerRefused):
            verifier.verify(token)
    verifier.verify(good)


def test_a_replaced_key_counts_from_then_on(tmp_path: Path) -> None:
    private, public = tmp_path / "ocr.pem", tmp_path / "public"
    write_key_pair("ocr", private, public)
    verifier = Verifier("verify", public)
    old = Signer("ocr", private).sign(Caller("service", "ocr"), "verify")
    verifier.verify(old)
    write_key_pair("ocr", private, public)
    with pytest.raises(CallerRefused):
        verifier.verify(old)
    verifier.verify(Signer("ocr", private).sign(Caller("service", "ocr"), "verify"))


def test_only_ed25519_keys_sign(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "k.pem").write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()))
    with pytest.raises(ValueError, match="no Ed25519 key"):
        Signer("ocr", tmp_path / "k.pem")


def test_roles_of_a_caller() -> None:
    assert ACCOUNT.has_role("reviewer")
    assert ACCOUNT.has_role("reviewer", "d-1")
    assert not ACCOUNT.has_role("reviewer", "d-2")
    assert not ACCOUNT.has_role("auditor", "d-1")
    assert not ACCOUNT.has_role("administrator")


def test_the_key_of_a_nested_call_follows_from_its_cause_and_method() -> None:
    command = CallContext(ACCOUNT, "c-1", idempotency_key="k-1")
    event = CallContext(Caller("service", "verify"), "c-1", causation_id="e-1")
    neither = CallContext(Caller("service", "verify"), "c-1")
    assert outgoing_key("gateway", command, "/S/A") == "k-1"
    assert outgoing_key("certificate", command, "/S/A") == outgoing_key("certificate", command, "/S/A")
    assert outgoing_key("verify", event, "/S/A") == outgoing_key("verify", event, "/S/A")
    made = {
        outgoing_key("certificate", command, "/S/A"),
        outgoing_key("certificate", command, "/S/B"),
        outgoing_key("certificate", command.with_key("k-2"), "/S/A"),
        outgoing_key("verify", event, "/S/A"),
        outgoing_key("verify", event.with_key("e-1:2"), "/S/A"),
        outgoing_key("verify", neither, "/S/A"),
        outgoing_key("verify", neither, "/S/A"),
    }
    assert len(made) == 7
    assert outgoing_key("gateway", command.with_key("键\n"), "/S/A").isascii()
