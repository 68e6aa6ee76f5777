"""Who calls, and within what: the context that a call or an event's effect runs in.

The RPC server binds it for each call, consumers bind it for each event; the event log writes it into the metadata of
every event, and the RPC client passes it on. Held in a contextvar, so that no function hands it through.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final, Literal

from kernel import ids
from kernel.errors import YunkuError

CallerKind = Literal["account", "service", "domain_system"]

#: Roles of an account in a company: what it may do when it acts for it.
MEMBER_ADMINISTRATOR: Final = "ADMINISTRATOR"
MEMBER_OPERATOR: Final = "OPERATOR"
MEMBER_READER: Final = "READER"
MEMBER_ROLES: Final = (MEMBER_ADMINISTRATOR, MEMBER_OPERATOR, MEMBER_READER)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who acts. Strings are empty where there is nothing to say.

    ``id`` is the account id, the service's name or the domain id, by kind. ``subject_id`` and ``subject_type``
    (TENDERER, BIDDER, AGENCY) say for whom the session acts; ``roles`` are (role, domain id) pairs, the domain id
    empty for roles of the whole register; ``key_uscc`` is the USCC of the CA key that opened the session.
    ``member_role`` is the account's role in the subject that the session acts for (``MEMBER_ROLES``).
    """

    kind: CallerKind
    id: str
    session_id: str = ""
    subject_id: str = ""
    subject_type: str = ""
    roles: tuple[tuple[str, str], ...] = ()
    subject_uscc: str = ""
    subject_name: str = ""
    key_uscc: str = ""
    member_role: str = ""

    def has_role(self, role: str, domain_id: str | None = None) -> bool:
        """Whether the caller has ``role``; with ``domain_id``, for that domain (a register-wide role doesn't count)."""
        return any(held == role and (domain_id is None or held_for == domain_id) for held, held_for in self.roles)

    def require_role(self, role: str, domain_id: str | None = None) -> None:
        """Raises ``role_missing`` unless :meth:`has_role`."""
        if not self.has_role(role, domain_id):
            raise YunkuError("role_missing", role=role)

    def require_command(self) -> None:
        """Raises ``role_missing`` for a READER of the subject that the session acts for: it changes nothing."""
        if self.kind == "account" and self.member_role == MEMBER_READER:
            raise YunkuError("role_missing", role=MEMBER_OPERATOR)

    def require_member_administrator(self) -> None:
        """Raises ``role_missing`` unless the account is an administrator of the subject that the session acts for."""
        if self.member_role != MEMBER_ADMINISTRATOR:
            raise YunkuError("role_missing", role=MEMBER_ADMINISTRATOR)

    def require_subject(self) -> str:
        """The subject that the caller acts for; raises ``subject_not_picked`` where there is none."""
        if not self.subject_id:
            raise YunkuError("subject_not_picked")
        return self.subject_id


@dataclass(frozen=True, slots=True)
class CallContext:
    """The surroundings of one call or one event's effect.

    ``correlation_id`` is shared by all that follows from one outside request; ``causation_id`` is the id of the event
    that caused this, if one did. ``idempotency_key`` (of a command) is unique per caller and request; the RPC server
    has already mixed the caller into it, so keys of different callers never meet. ``request_hash`` is the SHA-256 over
    method and deterministic request bytes. ``trace_parent`` is a W3C traceparent, empty when not traced.
    ``deadline`` is on the clock of ``time.monotonic()``, in seconds; None means no limit.
    """

    caller: Caller
    correlation_id: str
    causation_id: str | None = None
    idempotency_key: str | None = None
    request_hash: bytes | None = None
    trace_parent: str = ""
    deadline: float | None = None

    def with_key(self, idempotency_key: str) -> "CallContext":
        """The same surroundings with another idempotency key: for the second command that one cause sends."""
        return replace(self, idempotency_key=idempotency_key)


_current: Final[ContextVar[CallContext]] = ContextVar("yunku_call_context")


def current() -> CallContext:
    """The context of the running call. Raises LookupError outside of any: a defect of the caller's."""
    return _current.get()


def current_or_none() -> CallContext | None:
    """The context of the running call, or None outside of any."""
    return _current.get(None)


@contextmanager
def use(context: CallContext) -> Iterator[CallContext]:
    """Binds ``context`` for the block, and for tasks started in it."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def system_context(service: str, correlation_id: str | None = None, causation_id: str | None = None, trace_parent: str = "") -> CallContext:
    """The context in which a service acts by itself: on an event (``causation_id``) or on its own schedule."""
    return CallContext(
        caller=Caller(kind="service", id=service),
        correlation_id=correlation_id or str(ids.uuid7()),
        causation_id=causation_id,
        trace_parent=trace_parent,
    )
