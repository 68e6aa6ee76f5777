"""Reminders of coming expiry: when one is due, and what is done about it; pure (domain.md, "The light": expiry is no colour).

A reminder is of the version accepted last. A later one of the same version takes the place of the former; a new version, a successor
or an acknowledgement ends it.
"""

from collections.abc import Sequence
from datetime import date
from typing import Final

from google.protobuf.message import Message
from yunku.certificate.v1 import events_pb2, service_pb2

from catalogue import CertificateType
from kernel.errors import YunkuError
from services.certificate import domain

#: The threshold of what has ended: from the day after its last day on.
AFTER: Final = -1


def threshold(valid_until: date, today: date, days: Sequence[int]) -> int | None:
    """The threshold that counts today: the least of ``days`` (days before the end) that is reached, ``AFTER`` once it has ended."""
    left = (valid_until - today).days
    return AFTER if left < 0 else min((day for day in days if left <= day), default=None)


def end(view: service_pb2.Certificate, kind: CertificateType) -> date | None:
    """The last day of the version that stands in the register; None where none stands or it has no end."""
    if view.state != domain.SUBMITTED:
        return None
    _, valid_until = kind.validity(view.accepted.fields)
    return date.fromisoformat(valid_until) if valid_until else None


def present(view: service_pb2.Certificate) -> service_pb2.ExpiryNotice | None:
    """The reminder of the version that stands, acknowledged or not."""
    if view.state == domain.SUBMITTED and view.HasField("expiry_notice") and view.expiry_notice.version == view.accepted.version:
        return view.expiry_notice
    return None


def notice(state: domain.State, kind: CertificateType, today: date, days: Sequence[int]) -> list[Message]:
    """Notices what is due today, once for each version and threshold; a threshold that was passed over isn't made up for."""
    view = state.view
    ends = end(view, kind)
    due = threshold(ends, today, days) if ends is not None else None
    if ends is None or due is None:
        return []
    former = present(view)
    if former is not None and former.days_before <= due:
        return []
    return [
        events_pb2.ExpiryNoticed(
            certificate_id=view.id,
            notice_id=f"{view.id}.{view.accepted.version}.{due if due != AFTER else 'after'}",
            version=view.accepted.version,
            days_before=due,
            valid_until=ends.isoformat(),
        )
    ]


def certificate_of(notice_id: str) -> str:
    """The certificate that a reminder's id names."""
    return notice_id.partition(".")[0]


def acknowledge(state: domain.State, subject_id: str, notice_id: str) -> list[Message]:
    """Takes note of a reminder; again changes nothing. One that another has taken the place of isn't there any more."""
    view = domain.owned(state, subject_id)
    standing = present(view)
    if standing is None or standing.id != notice_id:
        raise YunkuError("not_found")
    return [] if standing.acknowledged else [events_pb2.NoticeAcknowledged(certificate_id=view.id, notice_id=notice_id)]
