"""An event as a JetStream message: payload as stored, everything else of the row in headers, so that a consumer can verify it."""

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from kernel.eventlog.events import EventTypes, RecordedEvent

HEADER_TYPE: Final = "Yunku-Type"
HEADER_SCHEMA: Final = "Yunku-Schema-Version"
HEADER_STREAM: Final = "Yunku-Stream"
HEADER_VERSION: Final = "Yunku-Version"
HEADER_POSITION: Final = "Yunku-Position"
HEADER_RECORDED_AT: Final = "Yunku-Recorded-At"
HEADER_METADATA: Final = "Yunku-Metadata"
HEADER_PREVIOUS_HASH: Final = "Yunku-Previous-Hash"
HEADER_HASH: Final = "Yunku-Hash"
HEADER_LOG_HASH: Final = "Yunku-Log-Hash"
#: Readable in `nats sub`, and by which the gateway finds whose session to tell.
HEADER_SUBJECT: Final = "Yunku-Subject"
HEADER_CORRELATION: Final = "Yunku-Correlation"
HEADER_TRACE: Final = "traceparent"
HEADER_MESSAGE_ID: Final = "Nats-Msg-Id"


def message_headers(event: RecordedEvent) -> dict[str, str]:
    """What travels beside the payload. The message id is the event id: JetStream stores it once."""
    headers = {
        HEADER_MESSAGE_ID: str(event.event_id),
        HEADER_TYPE: event.type,
        HEADER_SCHEMA: str(event.schema_version),
        HEADER_STREAM: str(event.stream_id),
        HEADER_VERSION: str(event.version),
        HEADER_POSITION: str(event.position),
        HEADER_RECORDED_AT: event.recorded_at.isoformat(),
        HEADER_METADATA: base64.b64encode(event.metadata).decode(),
        HEADER_PREVIOUS_HASH: event.previous_hash.hex(),
        HEADER_HASH: event.hash.hex(),
        HEADER_LOG_HASH: event.log_hash.hex(),
        HEADER_CORRELATION: event.meta.correlation_id,
    }
    if event.meta.acting_subject_id:
        headers[HEADER_SUBJECT] = event.meta.acting_subject_id
    if event.meta.trace_parent:
        headers[HEADER_TRACE] = event.meta.trace_parent
    return headers


def from_message(headers: Mapping[str, str], payload: bytes, types: EventTypes) -> RecordedEvent:
    """The event that a message carries. ``KeyError`` or ``ValueError`` where it is none of ours."""
    return RecordedEvent(
        stream_id=UUID(headers[HEADER_STREAM]),
        version=int(headers[HEADER_VERSION]),
        event_id=UUID(headers[HEADER_MESSAGE_ID]),
        type=headers[HEADER_TYPE],
        schema_version=int(headers[HEADER_SCHEMA]),
        payload=payload,
        metadata=base64.b64decode(headers[HEADER_METADATA], validate=True),
        recorded_at=datetime.fromisoformat(headers[HEADER_RECORDED_AT]),
        previous_hash=bytes.fromhex(headers[HEADER_PREVIOUS_HASH]),
        hash=bytes.fromhex(headers[HEADER_HASH]),
        types=types,
        position=int(headers[HEADER_POSITION]),
        log_hash=bytes.fromhex(headers[HEADER_LOG_HASH]),
    )
