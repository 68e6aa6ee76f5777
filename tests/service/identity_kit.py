"""What tests of identity and subject share: calls as the gateway makes them, fresh numbers and codes, and company keys."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from yunku.identity.v1 import service_pb2 as identity
from yunku.identity.v1 import service_pb2_grpc as identity_grpc
from yunku.subject.v1 import service_pb2 as subject
from yunku.subject.v1 import service_pb2_grpc as subject_grpc

from infra.testing import RunningSuite
from kernel.context import CallContext, Caller, use
from kernel.ids import uuid7
from kernel.rpc.client import Peers
from kernel.settings import KernelSettings
from kernel.values.codes import USCC_ALPHABET, org_check_digit, uscc_check_digit

PASSWORD = "Yun-ku-2026"
ANONYMOUS = Caller(kind="service", id="gateway")


def fresh_phone() -> str:
    """A number that no other test uses."""
    return f"139{random.SystemRandom().randrange(10**8):08d}"


def fresh_uscc(*, doubtful: bool = False) -> str:
    """A code whose check digits are right; or, ``doubtful``, whose last one is wrong."""
    serial = f"MA{random.SystemRandom().randrange(10**6):06d}"
    code = f"91210100{serial}{org_check_digit(serial)}"
    digit = uscc_check_digit(code + "0")
    return code + (next(c for c in USCC_ALPHABET if c != digit) if doubtful else digit)


@dataclass(frozen=True)
class CompanyKey:
    """A company's key, as the client holds it."""

    key: Any
    chain: str

    @classmethod
    def load(cls, p12: bytes, password: str) -> "CompanyKey":
        key, certificate, others = pkcs12.load_key_and_certificates(p12, password.encode())
        assert certificate is not None
        pem = serialization.Encoding.PEM
        return cls(key, "".join(one.public_bytes(pem).decode() for one in (certificate, *others)))

    def sign(self, text: str) -> bytes:
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        signature: bytes = self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
        return signature


class Client:
    """The gateway's stubs, and the steps that most tests begin with."""

    def __init__(self, suite: RunningSuite, service: str = "gateway") -> None:
        self.suite = suite
        self.peers = Peers(KernelSettings.load(suite.environment(service), service=service))
        self.identity = self.peers.stub(identity_grpc.IdentityServiceStub, "identity")
        self.subject = self.peers.stub(subject_grpc.SubjectServiceStub, "subject")

    @contextmanager
    def calling(self, caller: Caller = ANONYMOUS, key: str | None = None) -> Iterator[None]:
        """Calls within are by ``caller``, under an idempotency key where one is given."""
        with use(CallContext(caller=caller, correlation_id=str(uuid7()), idempotency_key=key)):
            yield

    async def register(self, phone: str, password: str = PASSWORD, name: str = "王小明") -> str:
        with self.calling():
            code = (await self.identity.IssuePhoneCode(identity.IssuePhoneCodeRequest(phone=phone))).code
            request = identity.RegisterAccountRequest(phone=phone, code=code, password=password, name=name)
            return (await self.identity.RegisterAccount(request)).account_id

    async def login(self, phone: str, password: str = PASSWORD, key: str | None = None) -> identity.Session:
        credential = identity.PasswordCredential(phone=phone, password=password)
        with self.calling(key=key):
            answer = await self.identity.OpenSession(identity.OpenSessionRequest(password=credential))
        return answer.session

    async def key_login(self, key: CompanyKey, *, text: str | None = None) -> identity.Session:
        with self.calling():
            request = identity.IssueChallengeRequest(origin="http://127.0.0.1:8080")
            challenge = await self.identity.IssueChallenge(request)
            credential = identity.CaCredential(challenge_id=challenge.id, certificate=key.chain, signature=key.sign(text or challenge.text))
            answer = await self.identity.OpenSession(identity.OpenSessionRequest(ca=credential))
        return answer.session

    async def authenticate(self, token: str) -> identity.AuthenticateResponse:
        with self.calling():
            return await self.identity.Authenticate(identity.AuthenticateRequest(token=token))

    async def caller(self, token: str) -> Caller:
        """The caller that the gateway makes of a token."""
        who = await self.authenticate(token)
        picked = next((one for one in who.subjects if one.id == who.subject_id), identity.MemberSubject())
        return Caller(
            kind="account",
            id=who.account_id,
            session_id=who.session_id,
            subject_id=who.subject_id,
            subject_type=who.subject_type,
            roles=tuple((role.role, role.domain_id) for role in who.roles),
            subject_uscc=picked.uscc,
            subject_name=picked.name,
            key_uscc=who.key_uscc,
            member_role=picked.role,
        )

    async def pick(self, token: str, subject_id: str, subject_type: str = "BIDDER") -> identity.Session:
        with self.calling():
            request = identity.PickSubjectRequest(token=token, subject_id=subject_id, subject_type=subject_type)
            return (await self.identity.PickSubject(request)).session

    async def register_subject(
        self, caller: Caller, uscc: str, *, name: str = "沈阳测试建设有限公司", key: str | None = None, **more: Any
    ) -> subject.Subject:
        more.setdefault("types", ["BIDDER", "TENDERER"])
        with self.calling(caller, key):
            request = subject.RegisterSubjectRequest(uscc=uscc, name=name, **more)
            return (await self.subject.RegisterSubject(request)).subject

    async def close(self) -> None:
        await self.peers.close()
