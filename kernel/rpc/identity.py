"""Who calls, proved: the signed ``yunku-caller`` metadata of every gRPC call between services.

It is a compact JWS (EdDSA over Ed25519, by RFC 9864's name) by the calling service's key over: ``iss`` the calling
service, ``aud`` the called one, ``iat`` and ``exp`` (60 s later), and the caller's data. The called service verifies it
with ``<iss>.pem`` of its directory of public keys: a service can't speak as another, and a token caught at one service
is worth nothing at the next.

Only the gateway authenticates people, so only the gateway may assert an account. Whatever any other issuer says, its
caller is the service itself, at most acting for a subject.
"""

import json
import os
import re
import time
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from kernel.context import Caller

CALLER_METADATA: Final = "yunku-caller"
#: The one service that may speak for accounts.
GATEWAY: Final = "gateway"
#: Seconds that a proof is good for, and that clocks of two machines may differ.
LIFETIME_SECONDS: Final = 60
LEEWAY_SECONDS: Final = 5
#: A proof is about 600 bytes; an account with very many roles stays below this.
MAX_TOKEN: Final = 16_384
_ALGORITHM: Final = "Ed25519"
_SERVICE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_TEXTS: Final = (
    "id",
    "session_id",
    "subject_id",
    "subject_type",
    "subject_uscc",
    "subject_name",
    "key_uscc",
    "member_role",
)


class CallerRefused(Exception):
    """The proof of the caller is missing, forged, expired or for another service; the message says which."""


class Signer:
    """Makes the proofs of one service.

    Raises OSError when ``key_file`` can't be read and ValueError when it is no Ed25519 key.
    """

    def __init__(self, service: str, key_file: Path) -> None:
        self.service = service
        pem = key_file.read_bytes()
        if not isinstance(serialization.load_pem_private_key(pem, None), Ed25519PrivateKey):
            raise ValueError(f"{key_file} is no Ed25519 key")
        self._key = OKPKey.import_key(pem)

    def sign(self, caller: Caller, target: str) -> str:
        """The proof for a call to ``target``. A service that isn't the gateway speaks for itself, whoever called it."""
        if self.service == GATEWAY and caller.kind == "account":
            stated: dict[str, Any] = {name: getattr(caller, name) for name in _TEXTS if getattr(caller, name)}
            stated |= {"kind": "account", "roles": [list(role) for role in caller.roles]}
        else:
            stated = {"kind": "service", "id": self.service}
            stated |= {n: getattr(caller, n) for n in ("subject_id", "subject_type") if getattr(caller, n)}
        now = int(time.time())
        claims = {"iss": self.service, "aud": target, "iat": now, "exp": now + LIFETIME_SECONDS, "caller": stated}
        return jwt.encode({"alg": _ALGORITHM}, claims, self._key, algorithms=[_ALGORITHM])


class Verifier:
    """Checks the proofs of calls to one service, by the public keys in ``keys_dir`` (``<service>.pem``, SPKI)."""

    def __init__(self, service: str, keys_dir: Path) -> None:
        self.service = service
        self._keys_dir = keys_dir
        self._keys: dict[str, tuple[int, OKPKey]] = {}

    def verify(self, token: str) -> tuple[str, Caller]:
        """The issuing service and the caller; raises CallerRefused."""
        if not token or len(token) > MAX_TOKEN:
            raise CallerRefused("no proof of the caller")
        try:
            # The issuer is read before the check only to find its key; what is used afterwards comes from the check.
            issuer = _unchecked_issuer(token)
            decoded = jwt.decode(token, self._key(issuer), algorithms=[_ALGORITHM])
            claims = decoded.claims
            jwt.JWTClaimsRegistry(
                leeway=LEEWAY_SECONDS,
                iss={"essential": True, "value": issuer},
                aud={"essential": True, "value": self.service},
                iat={"essential": True},
                exp={"essential": True},
            ).validate(claims)
        except (JoseError, ValueError) as error:
            raise CallerRefused(f"{type(error).__name__}: {error}") from None
        if claims["exp"] - claims["iat"] > LIFETIME_SECONDS:
            raise CallerRefused("the proof lives longer than allowed")
        return issuer, _caller(issuer, claims.get("caller"))

    def _key(self, issuer: str) -> OKPKey:
        path = self._keys_dir / f"{issuer}.pem"
        try:
            modified = path.stat().st_mtime_ns
            cached = self._keys.get(issuer)
            if cached is None or cached[0] != modified:
                cached = (modified, OKPKey.import_key(path.read_bytes()))
                self._keys[issuer] = cached
        except OSError as error:
            raise CallerRefused(f"no public key of {issuer}: {error.strerror}") from None
        return cached[1]


def _unchecked_issuer(token: str) -> str:
    payload = json.loads(jws.extract_compact(token.encode("ascii")).payload)
    issuer = payload.get("iss") if isinstance(payload, dict) else None
    if not isinstance(issuer, str) or not _SERVICE_NAME.fullmatch(issuer):
        raise CallerRefused("the issuer is no service's name")
    return issuer


def _caller(issuer: str, stated: object) -> Caller:
    if not isinstance(stated, dict):
        raise CallerRefused("the proof names no caller")
    texts = {name: stated.get(name, "") for name in _TEXTS}
    if not all(isinstance(value, str) for value in texts.values()):
        raise CallerRefused("the caller's data aren't texts")
    if stated.get("kind") != "account":
        return Caller(kind="service", id=issuer, subject_id=texts["subject_id"], subject_type=texts["subject_type"])
    if issuer != GATEWAY:
        raise CallerRefused(f"{issuer} may not speak for accounts")
    roles = stated.get("roles", [])
    if not texts["id"] or not isinstance(roles, list):
        raise CallerRefused("the account's data are incomplete")
    pairs = []
    for role in roles:
        if not (isinstance(role, list) and len(role) == 2 and all(isinstance(part, str) for part in role)):
            raise CallerRefused("a role isn't a pair of texts")
        pairs.append((role[0], role[1]))
    return Caller(kind="account", roles=tuple(pairs), **texts)


def write_key_pair(service: str, private_key_file: Path, public_keys_dir: Path) -> None:
    """Makes the key pair of a service (provisioning): the private key readable by its owner only."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    private_key_file.parent.mkdir(parents=True, exist_ok=True)
    public_keys_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(private_key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(private)
    (public_keys_dir / f"{service}.pem").write_bytes(public)
