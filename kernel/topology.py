"""Who is in the suite and who listens to whom: the one table that provisioning, consumers and the checker share."""

from typing import Final

#: The services that own an event log, in the order in which they start.
LOG_SERVICES: Final = ("identity", "subject", "certificate", "ocr", "verify", "signing", "push")

#: Every process of the suite; the gateway owns no log.
SERVICES: Final = (*LOG_SERVICES, "gateway")

#: consumer -> the services whose events it applies (docs/architecture.md, "Who does what").
LISTENS: Final[dict[str, tuple[str, ...]]] = {
    "identity": ("subject",),
    "subject": (),
    "certificate": ("ocr", "verify", "signing", "push"),
    "ocr": ("certificate",),
    "verify": ("certificate",),
    "signing": ("certificate",),
    "push": ("certificate", "identity"),
}

#: Messages that a consumer could not apply are parked here, visibly, until an operator replays them.
DEAD_LETTERS: Final = "YUNKU_DEAD_LETTERS"
DEAD_LETTER_SUBJECT: Final = "yunku.dead"

SUBJECT_PREFIX: Final = "yunku"


def stream_name(service: str) -> str:
    """The JetStream stream that carries a service's log, e.g. ``YUNKU_CERTIFICATE``."""
    return f"YUNKU_{service.upper()}"


def stream_subjects(service: str) -> str:
    """The subjects of a service's stream, e.g. ``yunku.certificate.*``."""
    return f"{SUBJECT_PREFIX}.{service}.*"


def event_subject(service: str, event_type: str) -> str:
    """The subject of one event type; ``event_type`` is the full proto name, of which the last part is used (no ids)."""
    return f"{SUBJECT_PREFIX}.{service}.{event_type.rsplit('.', 1)[-1]}"


def durable(consumer: str, producer: str) -> str:
    """The durable JetStream consumer under which ``consumer`` reads ``producer``'s stream."""
    return f"{consumer}-from-{producer}"


def dead_letter_subject(consumer: str, producer: str) -> str:
    """Where ``consumer`` parks a message of ``producer`` that it could not apply."""
    return f"{DEAD_LETTER_SUBJECT}.{consumer}.{producer}"
