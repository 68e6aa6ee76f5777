"""Recorded events, and the registry that turns stored bytes into messages (through upcasters where they are old)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from types import ModuleType
from typing import Any, Final
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from yunku.kernel.v1 import kernel_pb2

from kernel.eventlog.hashing import event_hash, microseconds

#: Turns the payload of one (type, schema version) into a newer (type, schema version, payload). Pure; chained until current.
Upcaster = Callable[[bytes], tuple[str, int, bytes]]

#: An event of 1 MiB is a programming error: documents are objects, not events. JetStream's own default limit is the same.
MAX_PAYLOAD: Final = 900_000


class EventTypes:
    """The event types of one service: its ``events_pb2`` module and the upcasters of what it wrote earlier.

    Stored names are proto names, never class paths, so that code can move.
    """

    def __init__(self, module: ModuleType, upcasters: Mapping[tuple[str, int], Upcaster] | None = None) -> None:
        self._classes: dict[str, type[Message]] = {}
        for descriptor in module.DESCRIPTOR.message_types_by_name.values():
            self._classes[descriptor.full_name] = getattr(module, descriptor.name)
        self._upcasters = dict(upcasters or {})

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._classes)

    def current_version(self, type_name: str) -> int:
        """The schema version in which events of this type are written today (proto option; 1 where it isn't set)."""
        options = self._classes[type_name].DESCRIPTOR.GetOptions()
        return options.Extensions[kernel_pb2.schema_version] or 1

    def encode(self, event: Message) -> tuple[str, int, bytes]:
        """(type, schema version, payload) of an event to be recorded; deterministic, so that equal events have equal bytes."""
        name = event.DESCRIPTOR.full_name
        if name not in self._classes:
            raise TypeError(f"{name} is no event of this service")
        payload = event.SerializeToString(deterministic=True)
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"{name} has {len(payload)} bytes; events carry at most {MAX_PAYLOAD}")
        return name, self.current_version(name), payload

    def decode(self, type_name: str, schema_version: int, payload: bytes) -> Message:
        """The message that stored bytes mean today. ``LookupError`` where neither a class nor an upcaster knows them."""
        for _ in range(64):
            known = self._classes.get(type_name)
            if known is not None and schema_version == self.current_version(type_name):
                message = known()
                message.ParseFromString(payload)
                return message
            upcaster = self._upcasters.get((type_name, schema_version))
            if upcaster is None:
                raise LookupError(f"no way to read {type_name} version {schema_version}")
            type_name, schema_version, payload = upcaster(payload)
        raise LookupError(f"upcasters of {type_name} go in circles")


@dataclass(frozen=True)
class RecordedEvent:
    """One row of a log, as stored. ``position`` is None until the sequencer gave one."""

    stream_id: UUID
    version: int
    event_id: UUID
    type: str
    schema_version: int
    payload: bytes
    metadata: bytes
    recorded_at: datetime
    previous_hash: bytes
    hash: bytes
    types: EventTypes = field(repr=False, compare=False)
    position: int | None = None
    log_hash: bytes = b""

    @cached_property
    def data(self) -> Any:
        """The event's message, upcast to today's meaning."""
        return self.types.decode(self.type, self.schema_version, self.payload)

    @cached_property
    def meta(self) -> kernel_pb2.EventMetadata:
        return kernel_pb2.EventMetadata.FromString(self.metadata)

    @property
    def short_type(self) -> str:
        """``CertificateUploaded`` of ``yunku.certificate.v1.CertificateUploaded``."""
        return self.type.rsplit(".", 1)[-1]

    def computed_hash(self) -> bytes:
        """The hash that this row should have."""
        return event_hash(
            stream_id=self.stream_id,
            version=self.version,
            event_id=self.event_id,
            type_name=self.type,
            schema_version=self.schema_version,
            payload=self.payload,
            metadata=self.metadata,
            recorded_at=self.recorded_at,
            previous_hash=self.previous_hash,
        )

    def to_record(self) -> kernel_pb2.EventRecord:
        at = Timestamp()
        at.FromMicroseconds(microseconds(self.recorded_at))
        return kernel_pb2.EventRecord(
            position=self.position or 0,
            event_id=str(self.event_id),
            stream_id=str(self.stream_id),
            version=self.version,
            type=self.type,
            schema_version=self.schema_version,
            payload=self.payload,
            metadata=self.metadata,
            recorded_at=at,
            previous_hash=self.previous_hash,
            hash=self.hash,
            log_hash=self.log_hash,
        )

    @classmethod
    def from_record(cls, record: kernel_pb2.EventRecord, types: EventTypes) -> "RecordedEvent":
        return cls(
            stream_id=UUID(record.stream_id),
            version=record.version,
            event_id=UUID(record.event_id),
            type=record.type,
            schema_version=record.schema_version,
            payload=record.payload,
            metadata=record.metadata,
            recorded_at=record.recorded_at.ToDatetime(tzinfo=UTC),
            previous_hash=record.previous_hash,
            hash=record.hash,
            types=types,
            position=record.position,
            log_hash=record.log_hash,
        )


#: Columns in the order in which queries select them and ``row_to_event`` reads them.
EVENT_COLUMNS: Final = (
    "e.stream_id, e.version, e.event_id, e.type, e.schema_version, e.payload, e.metadata, e.recorded_at, e.previous_hash, e.hash"
)


def row_to_event(row: tuple[Any, ...], types: EventTypes) -> RecordedEvent:
    """A row of ``EVENT_COLUMNS``, optionally followed by position and log_hash."""
    return RecordedEvent(
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        bytes(row[5]),
        bytes(row[6]),
        row[7].astimezone(UTC),
        bytes(row[8]),
        bytes(row[9]),
        types,
        row[10] if len(row) > 10 else None,
        bytes(row[11]) if len(row) > 11 else b"",
    )
