"""The register's own signature under digital certificates and their status list: compact JWS, ES256 (RFC 7515, RFC 7518).

The key is the register's, not a company's: a PEM file (EC, P-256) that is read anew for each use, so that it can be replaced while
the service runs. A token says what the register vouches for and nothing personal; the stated values are under the company's seal,
whose hash the token names.
"""

import base64
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from joserfc import jws
from joserfc.jwk import ECKey
from yunku.certificate.v1 import events_pb2 as certificate_events_pb2

ALGORITHM: Final = "ES256"
TOKEN_TYPE: Final = "yunku-digital-certificate+jwt"  # noqa: S105
STATUS_LIST_TYPE: Final = "statuslist+jwt"
#: Where the status list is, below the register's address (draft-ietf-oauth-status-list: one bit a token, 1 is revoked).
STATUS_LIST: Final = "/api/v1/digital-certificates/status-list"
#: For how long a checker may keep a status list, in seconds.
STATUS_SECONDS: Final = 300


@dataclass(frozen=True)
class Attestor:
    """Signs for the register. ``issuer`` is its name in the tokens."""

    key_file: Path
    issuer: str

    def key(self) -> ECKey:
        """The present key; raises OSError while the file isn't there, ValueError when it is no P-256 key."""
        key = ECKey.import_key(self.key_file.read_bytes())
        if key.curve_name != "P-256" or not key.is_private:
            raise ValueError("the key of digital certificates must be a private P-256 key")
        return key

    def token(self, event: certificate_events_pb2.Submitted, status_index: int, at: datetime, key: ECKey) -> str:
        """The attestation of a submitted certificate."""
        claims = {
            "iss": self.issuer,
            "iat": int(at.timestamp()),
            "sub": event.holder.uscc,
            "name": event.holder.name,
            "code": event.unique_code,
            "type": event.type,
            "version": event.version,
            "light": "GREEN",
            "document_sha256": event.document.sha256,
            "sealed_sha256": event.seal.sealed_sha256,
            "status": {"status_list": {"idx": status_index, "uri": STATUS_LIST}},
        }
        if event.valid_until:
            claims["valid_until"] = event.valid_until
        return self._sign(TOKEN_TYPE, claims, key)

    def status_list(self, revoked: Iterable[int], size: int, at: datetime) -> str:
        """The status of the ``size`` tokens that were issued."""
        bits = bytearray(max(1, (size + 7) // 8))
        for index in revoked:
            bits[index // 8] |= 1 << (index % 8)
        packed = base64.urlsafe_b64encode(zlib.compress(bytes(bits), 9)).rstrip(b"=").decode()
        now = int(at.timestamp())
        claims = {
            "iss": self.issuer,
            "sub": STATUS_LIST,
            "iat": now,
            "exp": now + STATUS_SECONDS,
            "ttl": STATUS_SECONDS,
            "status_list": {"bits": 1, "lst": packed},
        }
        return self._sign(STATUS_LIST_TYPE, claims, self.key())

    def _sign(self, kind: str, claims: dict[str, Any], key: ECKey) -> str:
        header = {"alg": ALGORITHM, "kid": key.thumbprint(), "typ": kind}
        return jws.serialize_compact(header, json.dumps(claims, ensure_ascii=False, separators=(",", ":")), key, algorithms=[ALGORITHM])


def public_jwk(key: ECKey) -> str:
    """The public half, as JSON, with its id."""
    return json.dumps({**key.as_dict(private=False), "kid": key.thumbprint(), "alg": ALGORITHM, "use": "sig"}, sort_keys=True)
