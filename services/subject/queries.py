"""Questions, answered from the read model."""

from uuid import UUID

from sqlalchemy import select
from yunku.subject.v1 import service_pb2

from kernel.context import Caller
from kernel.errors import YunkuError
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog
from services.subject.handlers import timestamp
from services.subject.tables import subjects


async def get(log: EventLog, subject_id: str, caller: Caller) -> service_pb2.Subject:
    """The subject, for a session that acts for it or registered it, for auditors and for services; else ``not_found``."""
    try:
        wanted = UUID(subject_id)
    except ValueError:
        raise YunkuError("not_found") from None
    async with log.pool.connection() as connection:
        row = await (await connection.execute(*render(select(subjects).where(subjects.c.subject_id == wanted)), prepare=True)).fetchone()
    if row is None:
        raise YunkuError("not_found")
    _, uscc, name, former_names, types, account_id, registered_at, revision = row
    if not (
        caller.kind == "service"
        or (caller.kind == "account" and (caller.subject_id == str(wanted) or caller.id == account_id))
        or caller.has_role("AUDITOR")
    ):
        raise YunkuError("not_found")
    return service_pb2.Subject(
        id=str(wanted),
        uscc=uscc,
        name=name,
        former_names=former_names,
        types=types,
        registered_at=timestamp(registered_at),
        version=revision,
    )
