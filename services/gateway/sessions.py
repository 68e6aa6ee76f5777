"""Whose request it is: the bearer token, authenticated by identity, becomes the caller that the services are told of."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from yunku.identity.v1 import service_pb2

from kernel import context as call_context
from kernel import ids
from kernel.context import CallContext, Caller
from kernel.errors import YunkuError
from kernel.observability.logging import bind
from services.gateway.means import Means, means_of


@dataclass(frozen=True)
class Who:
    """The session of a request."""

    token: str
    session: service_pb2.AuthenticateResponse
    caller: Caller


def bearer(request: Request) -> str:
    """The token of the Authorization header; raises ``unauthenticated``."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not 1 <= len(token) <= 1000 or not token.isascii() or not token.isprintable():
        raise YunkuError("unauthenticated")
    return token


def caller_of(session: service_pb2.AuthenticateResponse) -> Caller:
    """The caller as the services see it."""
    acting = next((one for one in session.subjects if one.id == session.subject_id), None)
    return Caller(
        kind="account",
        id=session.account_id,
        session_id=session.session_id,
        subject_id=session.subject_id,
        subject_type=session.subject_type,
        roles=tuple((role.role, role.domain_id) for role in session.roles),
        subject_uscc=acting.uscc if acting is not None else "",
        subject_name=acting.name if acting is not None else "",
        key_uscc=session.key_uscc,
        member_role=acting.role if acting is not None else "",
    )


async def authenticate(means: Means, token: str) -> Who:
    """Asks identity who holds the token; raises ``unauthenticated`` or ``session_expired``."""
    session = await means.services.identity.Authenticate(service_pb2.AuthenticateRequest(token=token))
    return Who(token, session, caller_of(session))


#: For the OpenAPI document; the token itself is read by ``bearer``, whose refusals are problems.
_scheme = HTTPBearer(auto_error=False, description="The token of `POST /api/v1/sessions` or `…/current/subject`")


async def _who(request: Request, _: Annotated[object, Depends(_scheme)]) -> AsyncIterator[Who]:
    who = await authenticate(means_of(request), bearer(request))
    # Left bound until the request's task ends, so that its last line names the caller too.
    bind(caller_kind="account", caller_id=who.caller.id)
    with call_context.use(replace(call_context.current(), caller=who.caller)):
        yield who


Session = Annotated[Who, Depends(_who)]


def anonymous_key(context: CallContext, *principal: str) -> CallContext:
    """The context of a command without a session: its idempotency key counts for one principal (a phone number, a
    challenge, an address) only, so that strangers who choose the same key never meet."""
    if context.idempotency_key is None:
        return context
    return context.with_key(str(ids.derived("anonymous", *principal, context.idempotency_key)))
