"""What happens to imports and exports: pure decisions over frozen states."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from google.protobuf.message import Message
from yunku.certificate.v1 import events_pb2

from kernel.errors import YunkuError

WAITING: Final = "waiting"
DONE: Final = "done"
FAILED: Final = "failed"

CREATED: Final = "created"
UPDATED: Final = "updated"
UNCHANGED: Final = "unchanged"
ROW_FAILED: Final = "failed"
#: Seconds after which an export that failed is tried again, by how often it has; after one more try it has failed for good.
EXPORT_PAUSES: Final = (5, 30, 120, 600)

OUTCOMES: Final = (CREATED, UPDATED, UNCHANGED, ROW_FAILED)


@dataclass(frozen=True)
class Import:
    """One import. Rows are carried out in their order, so how many are done says which; ``counts`` are by ``OUTCOMES``."""

    requested: events_pb2.ImportRequested | None = None
    requested_at: datetime | None = None
    counts: tuple[int, int, int, int] = (0, 0, 0, 0)
    finished_at: datetime | None = None
    reason: str = ""

    @property
    def done(self) -> int:
        """Rows carried out."""
        return sum(self.counts)

    @property
    def state(self) -> str:
        if self.finished_at is None:
            return WAITING
        return FAILED if self.reason else DONE


def evolve_import(state: Import, event: Any, at: datetime) -> Import:
    """The state after ``event``."""
    match event:
        case events_pb2.ImportRequested():
            return replace(state, requested=event, requested_at=at)
        case events_pb2.ImportRowDone():
            first, second, third, fourth = (count + (name == event.outcome) for count, name in zip(state.counts, OUTCOMES, strict=True))
            return replace(state, counts=(first, second, third, fourth))
        case events_pb2.ImportFinished():
            return replace(state, finished_at=at, reason=event.reason)
    raise TypeError(f"{type(event).__name__} is no event of an import")


def request_import(state: Import, event: events_pb2.ImportRequested) -> list[Message]:
    """Takes an import in; its id stands for the one import."""
    return [] if state.requested is not None else [event]


def record_row(state: Import, event: events_pb2.ImportRowDone) -> list[Message]:
    """The next row's result; one that is there already (another process was first) changes nothing."""
    return [event] if state.finished_at is None and event.row == state.done + 1 else []


def finish_import(state: Import, import_id: str, reason: str = "") -> list[Message]:
    """Ends it, once."""
    return [] if state.finished_at is not None else [events_pb2.ImportFinished(import_id=import_id, reason=reason)]


@dataclass(frozen=True)
class Export:
    """One export."""

    requested: events_pb2.ExportRequested | None = None
    requested_at: datetime | None = None
    finished: events_pb2.ExportFinished | None = None
    #: When the archive was made, or given up.
    finished_at: datetime | None = None
    #: Tries that failed, and when and why the last of them did.
    tries: int = 0
    tried_at: datetime | None = None
    reason: str = ""

    @property
    def state(self) -> str:
        if self.finished is not None:
            return DONE
        return WAITING if self.finished_at is None else FAILED

    @property
    def due_at(self) -> datetime | None:
        """When it is made, or tried again."""
        if self.tried_at is None:
            return self.requested_at
        return self.tried_at + timedelta(seconds=EXPORT_PAUSES[min(self.tries, len(EXPORT_PAUSES)) - 1])


def evolve_export(state: Export, event: Any, at: datetime) -> Export:
    """The state after ``event``."""
    match event:
        case events_pb2.ExportRequested():
            return replace(state, requested=event, requested_at=at)
        case events_pb2.ExportFinished():
            return replace(state, finished=event, finished_at=at, reason="")
        case events_pb2.ExportTryFailed():
            return replace(state, tries=event.number, tried_at=at, reason=event.reason)
        case events_pb2.ExportFailed():
            return replace(state, finished_at=at, reason=event.reason)
    raise TypeError(f"{type(event).__name__} is no event of an export")


def request_export(state: Export, event: events_pb2.ExportRequested) -> list[Message]:
    """Asks for an export; its id stands for the one export."""
    return [] if state.requested is not None else [event]


def finish_export(state: Export, event: events_pb2.ExportFinished) -> list[Message]:
    """The archive was made, once."""
    return [] if state.finished_at is not None else [event]


def fail_try(state: Export, reason: str) -> list[Message]:
    """A try failed; the last one ends the export."""
    if state.requested is None or state.finished_at is not None:
        return []
    asked, number = state.requested, state.tries + 1
    events: list[Message] = [
        events_pb2.ExportTryFailed(export_id=asked.export_id, subject_id=asked.subject_id, number=number, reason=reason)
    ]
    if number > len(EXPORT_PAUSES):
        events.append(events_pb2.ExportFailed(export_id=asked.export_id, subject_id=asked.subject_id, reason=reason))
    return events


def owned(subject_id: str, acting_for: str, auditor: bool) -> None:
    """Raises ``not_found`` unless it is the session's own company's, or the session is an auditor's."""
    if not subject_id or (subject_id != acting_for and not auditor):
        raise YunkuError("not_found")


IMPORT_EVENTS: Final[Sequence[type[Message]]] = (
    events_pb2.ImportRequested,
    events_pb2.ImportRowDone,
    events_pb2.ImportFinished,
)
EXPORT_EVENTS: Final[Sequence[type[Message]]] = (
    events_pb2.ExportRequested,
    events_pb2.ExportFinished,
    events_pb2.ExportTryFailed,
    events_pb2.ExportFailed,
)
