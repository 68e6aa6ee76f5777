"""The real ones: passwords, phone codes, challenges, rate limits, trusted CAs, the SMS gateway."""

import asyncio
import base64
import hashlib
import hmac
import os
import re
import secrets
import threading
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from psycopg_pool import AsyncConnectionPool

from kernel import pki, texts
from kernel.errors import YunkuError
from kernel.observability.logging import get_logger

Pool = AsyncConnectionPool[Any]

_log = get_logger(__name__)

# -- passwords ---------------------------------------------------------------------------------------------------------

MIN_PASSWORD: Final = 8
MAX_PASSWORD: Final = 128
#: What attackers try first, as far as the rules below don't refuse it already.
_COMMON: Final = frozenset(
    """
    password1 password123 passw0rd p@ssw0rd p@ssword p@ssw0rd1 qwerty123 qwer1234 1234qwer 1qaz2wsx 1q2w3e4r 1q2w3e4r5t
    q1w2e3r4 abc12345 abc123456 abcd1234 a1234567 a12345678 a123456789 aa123456 aa12345678 asd12345 asd123456 asdf1234
    zxc123456 zxcv1234 qq123456 wang1234 woaini123 woaini1314 woaini520 iloveyou1 admin123 admin1234 admin@123 root1234
    test1234 welcome1 letmein1 yunku123 yunku1234 changeme1 12345678a 123456789a 123456abc 1234abcd 123qweasd 123qwe123
    5201314a
    """.split()  # noqa: SIM905 (words are read as words)
)


def check_password(password: str, phone: str) -> str:
    """The password in the form that is hashed (NFC, so that every keyboard's é is one); raises ``password_weak``.

    8 to 128 characters, of two kinds at least (letters, digits, others), no common one, not around the phone number.
    """
    password = unicodedata.normalize("NFC", password[: 4 * MAX_PASSWORD])
    kinds = {"letter" if c.isalpha() else "digit" if c.isdecimal() else "other" for c in password}
    if (
        not MIN_PASSWORD <= len(password) <= MAX_PASSWORD
        or len(kinds) < 2
        or len(set(password)) < 4
        or password.lower() in _COMMON
        or phone in password
    ):
        raise YunkuError("password_weak", field="/password")
    return password


class Passwords:
    """Argon2id off the event loop, two at a time: 19 MiB and about 35 ms of one core each (notes.md)."""

    _AT_ONCE: Final = 2
    _WAITING: Final = 64

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._turn = asyncio.Semaphore(self._AT_ONCE)
        self._waiting = 0
        #: Checked where there is no account, so that a refusal takes as long as for one that exists.
        self._nobody = self._hasher.hash(os.urandom(16).hex())

    async def hash(self, password: str) -> str:
        """The password's hash in the encoded form."""
        encoded: str = await self._run(self._hasher.hash, password)
        return encoded

    async def matches(self, encoded: str | None, password: str) -> bool:
        """Whether the password is the one hashed; None (no such account) takes as long and is False."""
        password = unicodedata.normalize("NFC", password[: 4 * MAX_PASSWORD])
        matched: bool = await self._run(self._verify, encoded or self._nobody, password)
        return matched and encoded is not None

    def _verify(self, encoded: str, password: str) -> bool:
        try:
            return self._hasher.verify(encoded, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Any, *arguments: str) -> Any:
        if self._waiting >= self._WAITING:
            raise YunkuError("too_many_requests")
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(work, *arguments)
        finally:
            self._waiting -= 1


# -- rate limits -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """At most ``limit`` in each window of ``seconds`` (aligned windows, so at most twice that across an edge)."""

    limit: int
    seconds: int


#: Codes asked for: for one phone, and by everybody. An SMS costs money, and a flood of them is an attack on the phone's owner.
CODES_PER_PHONE: Final = Rule(5, 600)
CODES_IN_ALL: Final = Rule(600, 60)
#: Wrong passwords: for one account, and by everybody.
REFUSALS_PER_ACCOUNT: Final = Rule(10, 900)
REFUSALS_IN_ALL: Final = Rule(1200, 60)
CHALLENGES_IN_ALL: Final = Rule(3000, 60)
#: Invitations of one company: each writes to a person's record.
INVITATIONS_PER_SUBJECT: Final = Rule(100, 3600)


class RateLimits:
    """Counters in the database, shared by all processes of the service."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def take(self, bucket: str, rule: Rule, now: datetime) -> None:
        """Counts one; raises ``too_many_requests`` beyond the limit."""
        start, end = self._window(rule, now)
        async with self._pool.connection() as connection:
            row = await (
                await connection.execute(
                    "INSERT INTO rate_limits (bucket, window_start, used, expires_at) VALUES (%s, %s, 1, %s) "
                    "ON CONFLICT (bucket, window_start) DO UPDATE SET used = least(rate_limits.used + 1, 1000000) RETURNING used",
                    (bucket, start, end),
                )
            ).fetchone()
        if row is not None and row[0] > rule.limit:
            raise YunkuError("too_many_requests")

    async def give_back(self, bucket: str, rule: Rule, now: datetime) -> None:
        """Uncounts one that was taken for what turned out well."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE rate_limits SET used = greatest(used - 1, 0) WHERE bucket = %s AND window_start = %s",
                (bucket, self._window(rule, now)[0]),
            )

    @staticmethod
    def _window(rule: Rule, now: datetime) -> tuple[datetime, datetime]:
        start = datetime.fromtimestamp(now.timestamp() // rule.seconds * rule.seconds, now.tzinfo)
        return start, start + timedelta(seconds=rule.seconds)


# -- phone codes -------------------------------------------------------------------------------------------------------


class PhoneCodes:
    """Registration codes of six digits: good for minutes, for five tries, for one command; only the latest counts."""

    ATTEMPTS: Final = 5

    def __init__(self, pool: Pool, secret: bytes) -> None:
        self._pool = pool
        self._secret = secret

    async def exists(self, issue_id: UUID) -> bool:
        """Whether the command of this issue was carried out before."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute("SELECT 1 FROM phone_codes WHERE issue_id = %s", (issue_id,))).fetchone()
        return row is not None

    async def issue(self, issue_id: UUID, phone_index: bytes, now: datetime, expires_at: datetime) -> tuple[str, datetime]:
        """The code and its end; the same issue gives the same code again."""
        async with self._pool.connection() as connection:
            row = await (
                await connection.execute(
                    "INSERT INTO phone_codes (issue_id, phone_index, issued_at, expires_at) VALUES (%s, %s, %s, %s) "
                    "ON CONFLICT (issue_id) DO UPDATE SET issue_id = EXCLUDED.issue_id RETURNING expires_at",
                    (issue_id, phone_index, now, expires_at),
                )
            ).fetchone()
        return self._code(issue_id), row[0] if row else expires_at

    async def use(self, phone_index: bytes, code: str, used_by: str, now: datetime) -> None:
        """Uses the code up for the command ``used_by``; raises ``code_wrong``."""
        async with self._pool.connection() as connection, connection.transaction():
            row = await (
                await connection.execute(
                    "SELECT issue_id, expires_at, attempts, used_by FROM phone_codes WHERE phone_index = %s "
                    "ORDER BY issued_at DESC, issue_id LIMIT 1 FOR UPDATE",
                    (phone_index,),
                )
            ).fetchone()
            if row is not None and now < row[1] and row[2] < self.ATTEMPTS and row[3] in (None, used_by):
                right = hmac.compare_digest(self._code(row[0]).encode(), code.strip().encode())
                await connection.execute(
                    "UPDATE phone_codes SET attempts = attempts + %s, used_by = %s WHERE issue_id = %s",
                    (0 if right else 1, used_by if right else row[3], row[0]),
                )
                if right:
                    return
        raise YunkuError("code_wrong", field="/code")

    def _code(self, issue_id: UUID) -> str:
        digest = hmac.digest(self._secret, issue_id.bytes, hashlib.sha256)
        return f"{int.from_bytes(digest[:16], 'big') % 1_000_000:06d}"


class SmsGateway:
    """Sends codes through the operator's SMS gateway: one POST, a bearer token from a file, five seconds."""

    def __init__(self, url: str, token_file: Path | None) -> None:
        self._url = url
        self._token_file = token_file

    async def send(self, phone: str, code: str) -> None:
        """See ``ports.CodeSender``."""
        headers = {}
        if self._token_file is not None:
            headers["Authorization"] = f"Bearer {self._token_file.read_text().strip()}"
        try:
            async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
                answer = await client.post(
                    self._url,
                    json={"phone": phone, "text": texts.text("identity.phone_code", code=code)},
                    headers=headers,
                )
            answer.raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            _log.warning("sms gateway failed", error=type(error).__name__)
            raise YunkuError("service_unavailable") from None


class NoSms:
    """The production profile without an SMS gateway: nobody can register by phone, and is told so at once."""

    async def send(self, phone: str, code: str) -> None:
        """See ``ports.CodeSender``."""
        _log.error("YUNKU_SMS_URL isn't set: no phone code can be sent")
        raise YunkuError("service_unavailable")


class ShownInReply:
    """The development profile: the code stands in the reply, nothing is sent."""

    async def send(self, phone: str, code: str) -> None:
        """See ``ports.CodeSender``."""


# -- CA login ----------------------------------------------------------------------------------------------------------

_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")


def parse_origin(text: str) -> str:
    """The origin of a page, ``scheme://host[:port]``, in lower case; raises ``origin_invalid``."""
    origin = text.strip().lower() if len(text) <= 300 else ""
    if not _ORIGIN.fullmatch(origin):
        raise YunkuError("origin_invalid", field="/origin")
    return origin


class Challenges:
    """What a company's key signs to log in: four lines of text, answered once, within a minute.

    The text is made so that nothing else can be meant by it: a fixed first line, who asks, a nonce, the end. The client
    hashes it itself; it never signs a digest that the server hands it (it might be a document's).
    """

    PREFIX: Final = "yunku-login:v1"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def issue(self, challenge_id: UUID, origin: str, expires_at: datetime) -> tuple[str, datetime]:
        """The text and its end; the same id gives the same again."""
        nonce = base64.urlsafe_b64encode(os.urandom(24)).decode()
        text = "\n".join((self.PREFIX, origin, nonce, expires_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")))
        async with self._pool.connection() as connection:
            row = await (
                await connection.execute(
                    "INSERT INTO challenges (challenge_id, text, expires_at) VALUES (%s, %s, %s) "
                    "ON CONFLICT (challenge_id) DO UPDATE SET challenge_id = EXCLUDED.challenge_id RETURNING text, expires_at",
                    (challenge_id, text, expires_at),
                )
            ).fetchone()
        return (row[0], row[1]) if row else (text, expires_at)

    async def answer(self, challenge_id: UUID, used_by: str, now: datetime) -> str:
        """The text that must have been signed. The challenge is used up by this, whatever comes of it.

        Raises ``challenge_unknown``, ``challenge_expired``, ``challenge_used`` (unless by the same command).
        """
        async with self._pool.connection() as connection:
            row = await (
                await connection.execute(
                    "UPDATE challenges SET used_by = coalesce(used_by, %s) WHERE challenge_id = %s RETURNING text, expires_at, used_by",
                    (used_by, challenge_id),
                )
            ).fetchone()
        if row is None:
            raise YunkuError("challenge_unknown")
        if now >= row[1]:
            raise YunkuError("challenge_expired")
        if row[2] != used_by:
            raise YunkuError("challenge_used")
        text: str = row[0]
        return text


@dataclass(frozen=True, slots=True)
class QrLogin:
    """One login by QR code as it stands."""

    text: str
    number: str
    claim: bytes
    expires_at: datetime
    fingerprint: str
    uscc: str
    company: str
    used_by: str

    def state(self, now: datetime) -> str:
        """pending, approved, used or expired."""
        if self.used_by:
            return "used"
        if now >= self.expires_at:
            return "expired"
        return "approved" if self.fingerprint else "pending"


class QrLogins:
    """Logins by 辽易通, a company's certificate on a phone: the browser shows a text as QR code, the phone signs it.

    The text can mean nothing else than this login (a fixed first line, who asks from where, the id, a nonce, a number that both
    sides show, the end), so that no signature over it serves for a CA login or a seal. The session goes to the browser that
    began: by its claim, which is kept here as a hash and isn't in the QR code. A photographed code is worth nothing by itself.
    """

    PREFIX: Final = "yunku-qr-login:v1"
    _COLUMNS: Final = "text, number, claim, expires_at, approved_fingerprint, approved_uscc, approved_name, used_by"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def issue(self, qr_login_id: UUID, origin: str, address: str, claim: str, expires_at: datetime) -> QrLogin:
        """Begins one; the same id gives the same again."""
        nonce = base64.urlsafe_b64encode(os.urandom(24)).decode()
        number = f"{secrets.randbelow(100):02}"
        ends = expires_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        text = "\n".join((self.PREFIX, origin, address, str(qr_login_id), nonce, number, ends))
        found = await self._row(
            "INSERT INTO qr_logins (qr_login_id, text, number, claim, expires_at) VALUES (%s, %s, %s, %s, %s) "
            f"ON CONFLICT (qr_login_id) DO UPDATE SET qr_login_id = EXCLUDED.qr_login_id RETURNING {self._COLUMNS}",
            (qr_login_id, text, number, self.claim_hash(claim), expires_at),
        )
        assert found is not None
        return found

    async def get(self, qr_login_id: UUID) -> QrLogin:
        """Raises ``challenge_unknown``."""
        found = await self._row(f"SELECT {self._COLUMNS} FROM qr_logins WHERE qr_login_id = %s", (qr_login_id,))
        if found is None:
            raise YunkuError("challenge_unknown")
        return found

    async def approve(self, qr_login_id: UUID, company: pki.CompanyIdentity) -> QrLogin:
        """Records the consent; the first certificate's counts. Raises ``challenge_unknown``, ``challenge_used``."""
        found = await self._row(
            "UPDATE qr_logins SET approved_fingerprint = coalesce(approved_fingerprint, %s), "
            "approved_uscc = coalesce(approved_uscc, %s), approved_name = coalesce(approved_name, %s) "
            f"WHERE qr_login_id = %s RETURNING {self._COLUMNS}",
            (company.fingerprint, company.uscc, company.name, qr_login_id),
        )
        if found is None:
            raise YunkuError("challenge_unknown")
        if found.fingerprint != company.fingerprint:
            raise YunkuError("challenge_used")
        return found

    async def take(self, qr_login_id: UUID, claim: str, used_by: str, now: datetime) -> QrLogin:
        """Uses an approved one up. Raises ``challenge_unknown`` (also for another's claim), ``challenge_expired``,
        ``qr_login_pending``, ``challenge_used`` (unless by the same command)."""
        found = await self.get(qr_login_id)
        if not hmac.compare_digest(found.claim, self.claim_hash(claim)):
            raise YunkuError("challenge_unknown")
        if now >= found.expires_at:
            raise YunkuError("challenge_expired")
        if not found.fingerprint:
            raise YunkuError("qr_login_pending")
        taken = await self._row(
            f"UPDATE qr_logins SET used_by = coalesce(used_by, %s) WHERE qr_login_id = %s RETURNING {self._COLUMNS}",
            (used_by, qr_login_id),
        )
        if taken is None or taken.used_by != used_by:
            raise YunkuError("challenge_used")
        return taken

    async def _row(self, query: str, parameters: tuple[Any, ...]) -> QrLogin | None:
        async with self._pool.connection() as connection:
            row = await (await connection.execute(query, parameters)).fetchone()
        if row is None:
            return None
        text, number, claim, expires_at, fingerprint, uscc, company, used_by = row
        return QrLogin(text, number, bytes(claim), expires_at, fingerprint or "", uscc or "", company or "", used_by or "")

    @staticmethod
    def claim_hash(claim: str) -> bytes:
        """What is kept of a claim."""
        return hashlib.sha256(claim.encode()).digest()


@dataclass(frozen=True, slots=True)
class VerifiedKey:
    """A company key that may log in."""

    company: pki.CompanyIdentity
    certificate: Any


class TrustStore:
    """The trusted CAs and their revocation lists, from a directory, read anew when a file there changes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._seen: tuple[tuple[str, int, int], ...] = ()
        self._trust: pki.Trust | None = None

    def trust(self) -> pki.Trust:
        """What certificates are judged by now. Raises ``service_unavailable`` where there are no roots."""
        try:
            seen = self._files()
            with self._lock:
                if self._trust is None or seen != self._seen:
                    self._trust, self._seen = pki.load_trust(self._directory), seen
                return self._trust
        except (OSError, ValueError) as error:
            _log.error("no trusted CAs", directory=str(self._directory), error=type(error).__name__)
            raise YunkuError("service_unavailable") from None

    async def verify(self, chain_pem: str, now: datetime) -> VerifiedKey:
        """Judges a certificate chain; raises ``certificate_…`` about /certificate."""

        def judge() -> VerifiedKey:
            trust = self.trust()
            company = pki.verify_chain(chain_pem, trust.roots, trust.crls, now, intermediates=trust.intermediates)
            return VerifiedKey(company, pki.parse_chain(chain_pem)[0])

        try:
            return await asyncio.to_thread(judge)
        except pki.CertificateError as error:
            _log.info("certificate refused", code=error.code, detail=error.detail[:300])
            raise YunkuError(error.code, field="/certificate") from None

    def _files(self) -> tuple[tuple[str, int, int], ...]:
        paths = [self._directory / "roots.pem", self._directory / "intermediates.pem"]
        paths += sorted((self._directory / "crls").glob("*.crl"))
        states = ((path, path.stat()) for path in paths if path.exists())
        return tuple((str(path), state.st_mtime_ns, state.st_size) for path, state in states)


# -- tokens ------------------------------------------------------------------------------------------------------------


_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{64}")


@dataclass(frozen=True, slots=True)
class Token:
    """An opaque bearer token: the session's id (to find it by) and 32 random bytes (to prove it), in base64."""

    session_id: UUID
    text: str

    @property
    def hash(self) -> bytes:
        """What is kept of it."""
        return hashlib.sha256(self.text.encode()).digest()

    @classmethod
    def new(cls, session_id: UUID) -> "Token":
        """A fresh one."""
        return cls(session_id, base64.urlsafe_b64encode(session_id.bytes + os.urandom(32)).decode())

    @classmethod
    def parse(cls, text: str) -> "Token":
        """A token from outside; raises ``unauthenticated`` for what can't be one."""
        if not _TOKEN.fullmatch(text):
            raise YunkuError("unauthenticated")
        return cls(UUID(bytes=base64.urlsafe_b64decode(text)[:16]), text)


# -- forgetting --------------------------------------------------------------------------------------------------------

_SWEEP_SECONDS: Final = 60


async def sweep(pool: Pool) -> None:
    """Loop: deletes codes, challenges and counters an hour after they expired (longer than any command is repeated)."""
    while True:
        async with pool.connection() as connection:
            for table in ("phone_codes", "challenges", "qr_logins", "rate_limits"):
                await connection.execute(f"DELETE FROM {table} WHERE expires_at < clock_timestamp() - interval '1 hour'")
        await asyncio.sleep(_SWEEP_SECONDS)
