"""NATS accounts by decentralised JWTs: keys, account and user claims, `.creds` files; and the accounts of domains.

The server trusts one operator. Every account is a JWT signed by that operator, every user a JWT signed by its account,
and a client proves that it holds the user's key by signing the server's nonce. Accounts cannot see each other's
subjects at all; within an account a user sees what its permissions name. Accounts can be added while the server runs
(`create_domain_account`), because the server keeps them in a resolver directory that it accepts updates for.

Formats: https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/jwt (claims version 2).

Here is what the push service does at run time: ``DOMAIN-<domain>``, one account a domain. User ``yunku`` is the push
service there; user ``system`` is the domain's own system. The accounts of the suite itself (``SYS``, ``YUNKU``) are
made by infra/nats_accounts.py.
"""

import base64
import hashlib
import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nats
import nkeys
from nats.aio.client import Client

_PREFIX: Final = {
    "operator": nkeys.PREFIX_BYTE_OPERATOR,
    "account": nkeys.PREFIX_BYTE_ACCOUNT,
    "user": nkeys.PREFIX_BYTE_USER,
}
UNLIMITED: Final = -1

#: What a domain's account may hold at most, replicas counted; it is reserved out of the server's `max_file_store`.
DOMAIN_STORAGE_BYTES: Final = 1024**3
DOMAIN_CONNECTIONS: Final = 64
DOMAIN_PAYLOAD_BYTES: Final = 1024**2

PUSH_STREAM: Final = "PUSHES"
REVIEW_STREAM: Final = "REVIEWS"
#: The durable consumer of PUSHES that is made for the domain's system; its acknowledgements show what has arrived.
SYSTEM_DURABLE: Final = "system"
#: The durable consumer of REVIEWS by which the push service reads the domain's answers.
REVIEW_DURABLE: Final = "yunku"

#: A domain's id is a subject token and a directory name too.
DOMAIN_ID: Final = re.compile(r"[a-z0-9-]{2,40}")


class AccountError(Exception):
    """The server refused an account or a stream, or a domain id is malformed."""


def push_subject(domain_id: str) -> str:
    """Where a domain's pushes appear in its account."""
    return f"push.{domain_id}"


def review_subject(domain_id: str) -> str:
    """Where a domain's system publishes its reviews."""
    return f"review.{domain_id}"


# ---- keys and claims ------------------------------------------------------------------------------------------------


def write_private(path: Path, content: str) -> None:
    """Atomically, readable by the owner only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def load_key(path: Path, kind: str) -> nkeys.KeyPair:
    """The key whose seed the file holds; made and stored first if there is none."""
    if not path.exists():
        write_private(path, nkeys.encode_seed(os.urandom(32), _PREFIX[kind]).decode())
    return nkeys.from_seed(bytearray(path.read_bytes().strip()))


def public_key(key: nkeys.KeyPair) -> str:
    public: bytes = key.public_key
    return public.decode()


def _b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def encode_jwt(*, subject: str, name: str, signer: nkeys.KeyPair, claims: dict[str, Any]) -> str:
    """Encode claims the way the NATS server reads them; ``jti`` is the hash of the claims, as in its own library."""
    body: dict[str, Any] = {
        "iat": int(time.time()),
        "iss": public_key(signer),
        "name": name,
        "sub": subject,
        "nats": {**claims, "version": 2},
    }
    digest = hashlib.new("sha512_256", json.dumps(body, sort_keys=True).encode()).digest()
    body["jti"] = base64.b32encode(digest).rstrip(b"=").decode()
    header = _b64url(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    signed = f"{header}.{_b64url(json.dumps(body).encode())}"
    return f"{signed}.{_b64url(signer.sign(signed.encode()))}"


def account_jwt(key: nkeys.KeyPair, name: str, signer: nkeys.KeyPair, limits: dict[str, int]) -> str:
    return encode_jwt(
        subject=public_key(key),
        name=name,
        signer=signer,
        claims={
            "type": "account",
            "limits": {
                "subs": UNLIMITED,
                "data": UNLIMITED,
                "payload": UNLIMITED,
                "imports": 0,
                "exports": 0,
                "wildcards": True,
                "conn": UNLIMITED,
                "leaf": 0,
                **limits,
            },
            "default_permissions": {"pub": {}, "sub": {}},
            "authorization": {},
        },
    )


_DOMAIN_LIMITS: Final = {
    "conn": DOMAIN_CONNECTIONS,
    "payload": DOMAIN_PAYLOAD_BYTES,
    "mem_storage": 0,
    "disk_storage": DOMAIN_STORAGE_BYTES,
    "streams": 2,
    "consumer": 16,
}


@dataclass(frozen=True)
class Permissions:
    """Subjects that a user may publish and subscribe to; nothing else. ``None``: everything in its account."""

    publish: Sequence[str] | None
    subscribe: Sequence[str] | None


def write_credentials(directory: Path, user: str, account: nkeys.KeyPair, permissions: Permissions) -> Path:
    """Write ``<user>.creds`` (JWT and seed in one file, the form that every NATS client takes)."""
    key = load_key(directory / f"{user}.nk", "user")
    claims: dict[str, Any] = {"type": "user", "subs": UNLIMITED, "data": UNLIMITED, "payload": UNLIMITED}
    for side, allowed in (("pub", permissions.publish), ("sub", permissions.subscribe)):
        claims[side] = {} if allowed is None else {"allow": list(allowed)}
    token = encode_jwt(subject=public_key(key), name=user, signer=account, claims=claims)
    path = directory / f"{user}.creds"
    seed = (directory / f"{user}.nk").read_text().strip()
    write_private(
        path,
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n"
        "This file proves who its holder is. Keep it secret.\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n\n"
        "*************************************************************\n",
    )
    return path


# ---- who may do what ------------------------------------------------------------------------------------------------


def consume_permissions(stream: str, consumer: str) -> list[str]:
    """What reading through one durable pull consumer takes: see it, fetch from it, acknowledge.

    The server may put its domain and the account's hash into acknowledgement subjects, hence the second form.
    """
    return [
        f"$JS.API.CONSUMER.INFO.{stream}.{consumer}",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}",
        f"$JS.ACK.{stream}.{consumer}.>",
        f"$JS.ACK.*.*.{stream}.{consumer}.>",
    ]


def domain_system_permissions(domain_id: str) -> Permissions:
    """A domain's own system: receive its pushes (live or from its stream), answer with reviews, and nothing else."""
    stream = PUSH_STREAM
    return Permissions(
        publish=[
            review_subject(domain_id),
            "$JS.API.INFO",
            "$JS.API.STREAM.NAMES",
            f"$JS.API.STREAM.INFO.{stream}",
            f"$JS.API.CONSUMER.NAMES.{stream}",
            f"$JS.API.CONSUMER.LIST.{stream}",
            *consume_permissions(stream, "*"),
        ],
        subscribe=[push_subject(domain_id), "_INBOX.>"],
    )


# ---- the files of one installation ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class DomainCredentials:
    """The two users of a domain's account: hand ``system`` to the domain, keep ``yunku`` for the push service."""

    domain_id: str
    account: str  # public key
    yunku: Path
    system: Path


@dataclass(frozen=True)
class Keyring:
    """The key directory of an installation: who holds it can make accounts.

    ``signing`` alone is needed to make accounts at run time; the operator's own key can be taken offline.
    """

    root: Path

    @property
    def operator_jwt(self) -> Path:
        return self.root / "operator.jwt"

    @property
    def signing_key(self) -> Path:
        """The operator's signing key: accounts are made with it."""
        return self.root / "operator-signing.nk"

    @property
    def system_credentials(self) -> Path:
        """User of the server's own account; it may update accounts."""
        return self.root / "SYS" / "server.creds"

    @property
    def operator_credentials(self) -> Path:
        """User ``operator`` of account YUNKU, for the registry's administrators."""
        return self.root / "YUNKU" / "operator.creds"

    def service_credentials(self, service: str) -> Path:
        return self.root / "YUNKU" / f"{service}.creds"

    def domain_directory(self, domain_id: str) -> Path:
        return self.root / "domains" / domain_id

    def domains(self) -> list[str]:
        """The domains that have an account."""
        return sorted(path.parent.name for path in (self.root / "domains").glob("*/account.jwt"))

    def account_jwts(self) -> dict[str, str]:
        """Every account's public key and JWT, as the server's resolver directory holds them."""
        paths = [self.root / "SYS" / "account.jwt", self.root / "YUNKU" / "account.jwt"]
        paths += [self.domain_directory(domain) / "account.jwt" for domain in self.domains()]
        tokens = [path.read_text() for path in paths]
        return {_claims(token)["sub"]: token for token in tokens}


def _claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


def ensure_domain_files(keyring: Keyring, domain_id: str) -> DomainCredentials:
    """Make (or find) a domain's account and its users, as files only; the server doesn't know of it yet.

    Raises AccountError for an id that isn't a lower-case subject token (letters, digits, hyphen; 2 to 40).
    """
    if not DOMAIN_ID.fullmatch(domain_id):
        raise AccountError(f"domain id {domain_id[:60]!r} is not of the form {DOMAIN_ID.pattern}")
    directory = keyring.domain_directory(domain_id)
    account = load_key(directory / "account.nk", "account")
    yunku = write_credentials(directory, "yunku", account, Permissions(None, None))
    system = write_credentials(directory, "system", account, domain_system_permissions(domain_id))
    signing = load_key(keyring.signing_key, "operator")
    write_private(directory / "account.jwt", account_jwt(account, f"DOMAIN-{domain_id}", signing, _DOMAIN_LIMITS))
    return DomainCredentials(domain_id, public_key(account), yunku, system)


# ---- telling the server ---------------------------------------------------------------------------------------------


async def connect(url: str, credentials: Path, *, name: str) -> Client:
    """Connect for a short administrative task: no reconnecting, errors raised."""
    return await nats.connect(url.split(","), user_credentials=str(credentials), name=name, allow_reconnect=False, connect_timeout=5)


async def _request(client: Client, subject: str, body: str | dict[str, Any]) -> dict[str, Any]:
    payload = body if isinstance(body, str) else json.dumps(body)
    reply = await client.request(subject, payload.encode(), timeout=10)
    answer: dict[str, Any] = json.loads(reply.data)
    return answer


async def update_account(client: Client, account_jwt: str) -> None:
    """Make the running server know an account; ``client`` is a user of SYS. Raises AccountError if it refuses."""
    answer = await _request(client, "$SYS.REQ.CLAIMS.UPDATE", account_jwt)
    if answer.get("data", {}).get("code") != 200:
        raise AccountError(f"the server refused the account: {answer.get('error')}")


#: JetStream's error code for "no such stream/consumer".
_NOT_FOUND: Final = {10059, 10014}


async def _jetstream(client: Client, subject: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """One JetStream API call: its answer, or None if the stream or consumer doesn't exist."""
    answer = await _request(client, f"$JS.API.{subject}", body)
    error = answer.get("error")
    if error is None:
        return answer
    if error.get("err_code") in _NOT_FOUND:
        return None
    raise AccountError(f"JetStream refused {subject}: {error}")


async def ensure_stream(client: Client, name: str, subjects: Sequence[str], *, replicas: int = 1, **settings: Any) -> None:
    """Make a file-backed stream that accepts atomic batches, or bring an existing one to these settings."""
    config = {
        "name": name,
        "subjects": list(subjects),
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msg_size": 1024**2,
        "num_replicas": replicas,
        "duplicate_window": 120 * 1_000_000_000,
        "allow_direct": True,
        "allow_atomic": True,
        **settings,
    }
    if await _jetstream(client, f"STREAM.INFO.{name}", {}) is None:
        await _jetstream(client, f"STREAM.CREATE.{name}", config)
    else:
        await _jetstream(client, f"STREAM.UPDATE.{name}", config)


async def ensure_consumer(client: Client, stream: str, name: str, **settings: Any) -> None:
    """Make a durable pull consumer that keeps order on redelivery, or bring an existing one to these settings."""
    config = {
        "durable_name": name,
        "name": name,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": 30 * 1_000_000_000,
        "max_deliver": -1,
        "max_ack_pending": 1000,
        "max_waiting": 64,
        "replay_policy": "instant",
        **settings,
    }
    await _jetstream(client, f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config})


async def ensure_domain_streams(client: Client, domain_id: str, *, replicas: int = 1) -> None:
    """Make PUSHES and REVIEWS in a domain's account, each with the durable consumer of its reader.

    ``client`` is the account's user ``yunku``. Raises AccountError if the server refuses.
    """
    share: dict[str, Any] = {"max_bytes": DOMAIN_STORAGE_BYTES // 2 // replicas, "discard": "new", "replicas": replicas}
    await ensure_stream(client, PUSH_STREAM, [push_subject(domain_id)], **share)
    await ensure_stream(client, REVIEW_STREAM, [review_subject(domain_id)], **share)
    await ensure_consumer(client, PUSH_STREAM, SYSTEM_DURABLE)
    await ensure_consumer(client, REVIEW_STREAM, REVIEW_DURABLE)


async def create_domain_account(domain_id: str, *, keyring: Keyring, url: str, replicas: int = 1) -> DomainCredentials:
    """Give a domain its account on the running server, with streams and credentials; calling again changes nothing.

    Raises AccountError if the id is malformed or the server refuses, nats.errors.Error if it can't be reached.
    """
    credentials = ensure_domain_files(keyring, domain_id)
    client = await connect(url, keyring.system_credentials, name="provision")
    try:
        await update_account(client, (keyring.domain_directory(domain_id) / "account.jwt").read_text())
    finally:
        await client.close()
    client = await connect(url, credentials.yunku, name="provision")
    try:
        await ensure_domain_streams(client, domain_id, replicas=replicas)
    finally:
        await client.close()
    return credentials
