"""Taking over from the national platform: ask it, then begin the drafts, all of them or none."""

from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy import select
from yunku.certificate.v1 import service_pb2, types_pb2

import catalogue
from kernel import context as call_context
from kernel import ids
from kernel.errors import FieldError, YunkuError
from kernel.eventlog.sql import render
from kernel.eventlog.store import Connection, EventLog, Transaction
from services.certificate import domain, takeover
from services.certificate.ports import Persons, Platform, Subjects
from services.certificate.projections import CERTIFICATE, view_of
from services.certificate.tables import taken_over

MAX_ITEMS: Final = 100


class TakeOvers:
    """What can be taken over for the caller's subject, and taking it over. What the platform says is asked anew each time."""

    def __init__(self, log: EventLog, subjects: Subjects, persons: Persons, platform: Platform) -> None:
        self._log = log
        self._subjects = subjects
        self._persons = persons
        self._platform = platform

    async def entries(self, request: service_pb2.ListPlatformEntriesRequest) -> service_pb2.ListPlatformEntriesResponse:
        """The platform's rows, those that were taken over with the entry that they became. Raises ``national_platform_*``."""
        subject_id = call_context.current().caller.require_subject()
        _, listing = await self._listing(request.kind, subject_id, request.person_id)
        async with self._log.pool.connection() as connection:
            became = await _became(connection, subject_id, request.person_id, listing.source)
        answer = service_pb2.ListPlatformEntriesResponse(answer_sha256=listing.answer.sha256)
        answer.retrieved_at.FromDatetime(listing.answer.retrieved_at)
        for row in listing.rows:
            answer.items.add(
                id=row.id,
                name=row.name,
                level=row.level,
                valid_until=row.valid_until,
                primary=row.primary,
                type=row.type,
                fields=row.fields,
                certificate_id=became.get(row.id, ""),
            )
        for fault in listing.faults:
            answer.faults.add(row=fault.row, id=fault.id, reason=fault.reason, member=fault.member)
        return answer

    async def take_over(self, request: service_pb2.TakeOverRequest) -> service_pb2.TakeOverResponse:
        """A draft of each row named; one that was taken over before is answered with its entry, whoever of the company did it.

        Raises ``platform_row_unknown`` and ``platform_row_unusable`` with the place in the list, ``national_platform_*``.
        """
        context = call_context.current()
        subject_id = context.caller.require_subject()
        if not 1 <= len(request.items) <= MAX_ITEMS or len(set(request.items)) != len(request.items):
            raise YunkuError("value_invalid", field="/items")
        earlier = await self._log.answered(context)
        if earlier is not None:
            return service_pb2.TakeOverResponse.FromString(earlier)
        holder, listing = await self._listing(request.kind, subject_id, request.person_id)
        rows = {row.id: row for row in listing.rows}
        unusable = {fault.id for fault in listing.faults}
        wrong = [
            FieldError(f"/items/{number}", "platform_row_unusable" if wanted in unusable else "platform_row_unknown")
            for number, wanted in enumerate(request.items)
            if wanted not in rows
        ]
        if wrong:
            raise YunkuError(wrong[0].code, errors=wrong)
        known = catalogue.load()

        async def work(transaction: Transaction) -> service_pb2.TakeOverResponse:
            # One at a time for a subject: two people who take the same row over get the same draft.
            await transaction.connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"takeover:{subject_id}:{request.person_id}",)
            )
            became = await _became(transaction.connection, subject_id, request.person_id, listing.source)
            answer = service_pb2.TakeOverResponse()
            for wanted in request.items:
                row, known_id = rows[wanted], became.get(wanted)
                made = UUID(known_id) if known_id else ids.uuid7()
                outcome = await self._log.execute(
                    CERTIFICATE,
                    made,
                    partial(
                        domain.draft,
                        certificate_id=str(made),
                        holder=holder,
                        kind=known.type(row.type),
                        catalogue_version=known.version,
                        mode=types_pb2.MODE_MANUAL,
                        fields=row.fields,
                        person_id=request.person_id,
                        # Asked of the subject service above, before the number went to the platform.
                        person_bound=bool(request.person_id),
                        provenance=listing.provenance(row),
                    ),
                    context,
                    transaction=transaction,
                )
                answer.items.add(id=wanted, certificate=view_of(outcome.state), created=known_id is None)
            return answer

        return await self._log.together(context, service_pb2.TakeOverResponse, work)

    async def _listing(
        self, kind: service_pb2.PlatformKind.ValueType, subject_id: str, person_id: str
    ) -> tuple[types_pb2.Holder, takeover.Listing]:
        holder = await self._subjects.holder(subject_id)
        if kind == service_pb2.PLATFORM_KIND_REGISTRATION:
            name, number = await self._persons.identity(person_id)
            answer = await self._platform.registrations(name, number, holder.name)
            return holder, takeover.registrations(answer, catalogue.load(), name)
        if kind != service_pb2.PLATFORM_KIND_QUALIFICATION or person_id:
            raise YunkuError("value_invalid", field="/kind")
        answer = await self._platform.qualifications(holder.uscc, holder.name)
        return holder, takeover.qualifications(answer, catalogue.load(), holder.uscc)


async def _became(connection: Connection, subject_id: str, person_id: str, source: str) -> dict[str, str]:
    """The entries that rows became, by the rows' ids. A discarded draft is none: the row can be taken over again."""
    statement = select(taken_over.c.source_id, taken_over.c.certificate_id).where(
        taken_over.c.subject_id == subject_id,
        taken_over.c.person_id == person_id,
        taken_over.c.source == source,
        taken_over.c.stands,
    )
    rows = await (await connection.execute(*render(statement))).fetchall()
    return {source_id: str(certificate_id) for source_id, certificate_id in rows}
