"""What a fresh suite in the development profile has to try it with: accounts, a company, two authorities.

``ensure(home)`` is called by the supervisor when all services are up. It makes what is missing through the services' own
calls, signed as the gateway signs them, and last writes ``<data>/demo.json``: exactly what ``GET /api/v1/demo`` answers. A
later start finds that file, sees that the operator can log in, and is done.

Nothing of it exists in the production profile, and no door is left behind: the administrator's role is granted with the
identity service's own private key, as on a real register (services/identity/administrator.py).
"""

import asyncio
import json
import os
from dataclasses import dataclass
from typing import Any, Final

from yunku.identity.v1 import service_pb2 as identity_pb2
from yunku.identity.v1 import service_pb2_grpc as identity_grpc
from yunku.push.v1 import service_pb2 as push_pb2
from yunku.push.v1 import service_pb2_grpc as push_grpc
from yunku.subject.v1 import service_pb2 as subject_pb2
from yunku.subject.v1 import service_pb2_grpc as subject_grpc

from infra import devca
from infra.embedded.home import Home, read_json, write_private
from kernel import ids
from kernel.context import CallContext, Caller, system_context, use
from kernel.errors import YunkuError
from kernel.rpc.client import Peers
from kernel.settings import KernelSettings

#: One for all demo accounts; they exist on developers' machines only.
PASSWORD: Final = "Yunku-demo-2026"  # noqa: S105


@dataclass(frozen=True)
class Person:
    """A demo account and its role."""

    phone: str
    name: str
    role: str = ""
    domain_id: str = ""


@dataclass(frozen=True)
class Domain:
    """A demo authority; certificates of its automatic types are approved by rule when they are GREEN."""

    id: str
    name: str
    automatic_types: tuple[str, ...] = ()


DOMAINS: Final = (
    Domain("ln-bidding", "辽宁省建设工程招标投标领域"),
    Domain("ln-housing", "辽宁省住房城乡建设领域", ("business_license",)),
)
OPERATOR: Final = Person("13800000001", "张操作")
REVIEWERS: Final = (
    Person("13800000002", "李审核", "REVIEWER", "ln-bidding"),
    Person("13800000003", "赵审核", "REVIEWER", "ln-housing"),
)
ADMINISTRATOR: Final = Person("13800000009", "周管理", "ADMINISTRATOR")


def ensure(home: Home) -> None:
    """Makes the demo data of a suite whose services are up; safe to run at each start. Raises YunkuError."""
    running = read_json(home.state_file).get("processes", {})
    development = os.environ.get("YUNKU_PROFILE", "development") == "development"
    if development and {"identity", "subject"} <= running.keys():
        asyncio.run(_ensure(home, with_domains="push" in running))


async def _ensure(home: Home, *, with_domains: bool) -> None:
    from infra.supervisor import service_environment  # it imports this module's caller

    async def peers(service: str) -> Peers:
        return Peers(KernelSettings.load(service_environment(home, service), service=service))

    suite = _Suite(await peers("gateway"), await peers("identity"))
    try:
        if await _is_complete(home, suite, with_domains):
            return
        people = (OPERATOR, ADMINISTRATOR, *REVIEWERS)
        sessions = dict(zip(people, await asyncio.gather(*map(suite.session, people)), strict=True))
        for person in people:
            if person.role:
                await suite.grant(person)
        subject_id = await suite.company(sessions[OPERATOR])
        domains = []
        if with_domains:
            administrator = await suite.caller(sessions[ADMINISTRATOR].token)
            domains = [await suite.domain(domain, administrator, home.nats_url) for domain in DOMAINS]
        write_private(home.root / "demo.json", json.dumps(_document(home, subject_id, domains), ensure_ascii=False))
    finally:
        await suite.close()


async def _is_complete(home: Home, suite: "_Suite", with_domains: bool) -> bool:
    """Whether an earlier start made everything, and it is there."""
    demo = read_json(home.root / "demo.json")
    if not demo or (with_domains and len(demo["domains"]) < len(DOMAINS)):
        return False
    session = await suite.login(OPERATOR)
    return session is not None and demo["operator"]["subject_id"] in [one.id for one in session.subjects]


def _document(home: Home, subject_id: str, domains: list[dict[str, Any]]) -> dict[str, Any]:
    """What scripts need to run the main job (http-api.md, "Demo accounts")."""
    key = devca.ensure(home.root).demo
    reviewer = REVIEWERS[0]
    return {
        "operator": {
            "phone": OPERATOR.phone,
            "password": PASSWORD,
            "subject_id": subject_id,
            "key_file": str(key.p12.absolute()),
            "key_password": key.password,
        },
        "reviewer": {"phone": reviewer.phone, "password": PASSWORD, "domain": reviewer.domain_id},
        "administrator": {"phone": ADMINISTRATOR.phone, "password": PASSWORD},
        "domains": domains,
    }


class _Suite:
    """The running services, called as the gateway calls them; and, for roles, as identity's own operator does."""

    def __init__(self, gateway: Peers, operator: Peers) -> None:
        self._peers = (gateway, operator)
        self._identity = gateway.stub(identity_grpc.IdentityServiceStub, "identity")
        self._roles = operator.stub(identity_grpc.IdentityServiceStub, "identity")
        self._subject = gateway.stub(subject_grpc.SubjectServiceStub, "subject")
        self._push = gateway.stub(push_grpc.PushServiceStub, "push")

    async def close(self) -> None:
        for peers in self._peers:
            await peers.close()

    async def login(self, person: Person) -> identity_pb2.Session | None:
        """A session; None where there is no such account yet."""
        credential = identity_pb2.PasswordCredential(phone=person.phone, password=PASSWORD)
        with use(system_context("gateway")):
            try:
                answer = await self._identity.OpenSession(identity_pb2.OpenSessionRequest(password=credential))
            except YunkuError as refused:
                if refused.code == "credentials_wrong":
                    return None
                raise
        return answer.session

    async def session(self, person: Person) -> identity_pb2.Session:
        """A session of an account that is made now if it isn't there."""
        session = await self.login(person)
        if session is None:
            with use(system_context("gateway")):
                issued = await self._identity.IssuePhoneCode(identity_pb2.IssuePhoneCodeRequest(phone=person.phone))
                await self._identity.RegisterAccount(
                    identity_pb2.RegisterAccountRequest(phone=person.phone, code=issued.code, password=PASSWORD, name=person.name)
                )
            session = await self.login(person)
        if session is None:
            raise YunkuError("credentials_wrong")
        return session

    async def grant(self, person: Person) -> None:
        """Gives the person's role; a second time it changes nothing."""
        request = identity_pb2.GrantRoleRequest(phone=person.phone, role=person.role, domain_id=person.domain_id)
        with use(system_context("identity")):
            await self._roles.GrantRole(request)

    async def company(self, session: identity_pb2.Session) -> str:
        """The operator's company, whose key the development CA issues; answers its id when the operator may act for it."""
        name, uscc = devca.DEMO_COMPANY
        for subject in session.subjects:
            if subject.uscc == uscc:
                return subject.id
        with use(_as(await self.caller(session.token))):
            request = subject_pb2.RegisterSubjectRequest(uscc=uscc, name=name, types=["TENDERER", "BIDDER"])
            subject_id = (await self._subject.RegisterSubject(request)).subject.id
        with use(system_context("gateway")):
            await self._identity.PickSubject(
                identity_pb2.PickSubjectRequest(token=session.token, subject_id=subject_id, subject_type="BIDDER")
            )
        return subject_id

    async def domain(self, domain: Domain, administrator: Caller, nats_url: str) -> dict[str, Any]:
        """An authority, with the credentials of its own system; the fixed key makes a repetition answer as before."""
        request = push_pb2.RegisterDomainRequest(id=domain.id, name=domain.name, automatic_types=domain.automatic_types)
        with use(_as(administrator).with_key(str(ids.derived("demo-domain", domain.id)))):
            answer = await self._push.RegisterDomain(request, timeout=30)
        return {
            "id": answer.domain.id,
            "name": answer.domain.name,
            "nats_url": nats_url,
            "credentials_file": answer.credentials_file,
            "push_subject": answer.domain.push_subject,
            "review_subject": answer.domain.review_subject,
        }

    async def caller(self, token: str) -> Caller:
        """Who holds the token, as the gateway tells the other services."""
        with use(system_context("gateway")):
            who = await self._identity.Authenticate(identity_pb2.AuthenticateRequest(token=token))
        return Caller(
            kind="account",
            id=who.account_id,
            session_id=who.session_id,
            roles=tuple((role.role, role.domain_id) for role in who.roles),
        )


def _as(caller: Caller) -> CallContext:
    return CallContext(caller=caller, correlation_id=str(ids.uuid7()))
