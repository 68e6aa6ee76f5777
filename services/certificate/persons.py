"""A subject's persons of one name, and how far their basic information is: what automatic ties begin with (manual 三 (三) 7, 8)."""

from dataclasses import dataclass

from sqlalchemy import select
from yunku.certificate.v1 import service_pb2

import catalogue
from catalogue import Owner
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog
from services.certificate import listing
from services.certificate.ports import Persons
from services.certificate.tables import certificates


@dataclass(frozen=True)
class Standing:
    """One person. ``submitted`` and ``approved`` say it of the basic information: in the register, and the version that stands there
    approved by a domain."""

    person_id: str
    bound: bool
    submitted: bool
    approved: bool


async def standings(log: EventLog, persons: Persons, subject_id: str, name: str) -> list[Standing]:
    """The subject's persons of exactly this name, those whom it employs no more too."""
    bound = await persons.named(subject_id, name)
    basic = [one.code for one in catalogue.load().types if one.owner is Owner.PERSON and one.revisable]
    found = []
    async with log.pool.connection() as connection:
        for person_id, now in sorted(bound.items()):
            statement = select(certificates.c.certificate).where(
                *listing.of_person(subject_id, person_id), certificates.c.type.in_(basic), certificates.c.state == "submitted"
            )
            rows = await (await connection.execute(*render(statement))).fetchall()
            views = [service_pb2.Certificate.FromString(bytes(row[0])) for row in rows]
            own = [view for view in views if view.person_id == person_id]
            found.append(Standing(person_id, now, bool(own), any(_approved(view) for view in own)))
    return found


def _approved(view: service_pb2.Certificate) -> bool:
    return any(push.state == "approved" and push.version == view.accepted.version for push in view.pushes)
