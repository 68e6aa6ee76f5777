"""Logs: one JSON object a line on stderr, through structlog; what libraries log through the standard module too.

Each line carries time, level, logger, service, correlation id and the caller's id, from contextvars. As a safety net a
processor masks what looks like an ID number (18 characters) or a mobile number in any value: personal numbers must not
be logged at all, and the net is for the case that someone forgot. Line breaks and control characters are escaped by
JSON (``ensure_ascii``), so that no value forges a line or a terminal sequence.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

#: Longer values are cut: a log line is no place for a document.
MAX_VALUE: Final = 16_384
#: Nesting and number of items beyond which a value is cut.
_MAX_DEPTH: Final = 6
_MAX_ITEMS: Final = 200

# UUIDs and long hexadecimal digests come first in the alternation and are kept: runs of digits happen in them.
_PERSONAL: Final = re.compile(
    r"(?P<keep>\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b|\b[0-9a-fA-F]{32,}\b)"
    r"|(?<![0-9])(?P<id>[1-9][0-9]{16}[0-9Xx])(?![0-9])"
    r"|(?<![0-9])(?P<prefix>(?:\+?86[ -]?)?)(?P<phone>1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4})(?![0-9])"
)


def _mask(match: re.Match[str]) -> str:
    if match["keep"]:
        return match["keep"]
    if match["id"]:
        return "<id-number>"
    return "<phone>"


def redact(text: str) -> str:
    """``text`` with everything masked that looks like an ID number (18 characters) or a mobile number (11 digits)."""
    return _PERSONAL.sub(_mask, text)


def _clean(value: object, depth: int = 0) -> object:
    if isinstance(value, str):
        return redact(value if len(value) <= MAX_VALUE else value[:MAX_VALUE] + "…")
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        masked = redact(str(value))
        return value if masked == str(value) else masked
    if depth >= _MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {str(_clean(str(k))): _clean(v, depth + 1) for k, v in list(value.items())[:_MAX_ITEMS]}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, depth + 1) for item in list(value)[:_MAX_ITEMS]]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    return _clean(str(value), depth)


def redacting(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor: every value of a line, whatever its type, made safe and bounded."""
    return {key: _clean(value) for key, value in event.items()}


def _render(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return json.dumps(event, ensure_ascii=True, default=lambda value: redact(str(value)))


def _shared(service: str) -> list[Processor]:
    def name_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_service,
    ]


def configure(service: str, level: str = "info", stream: TextIO | None = None) -> None:
    """Sends all logs of the process as JSON lines to ``stream`` (stderr by default), from ``level`` on.

    May be called again (after a fork, in tests): the last call counts.
    """
    shared = _shared(service)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redacting,
                _render,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Libraries: their warnings matter, their chatter doesn't; some log request lines with addresses and headers.
    for name in ("uvicorn", "uvicorn.access", "uvicorn.error", "httpx", "httpcore", "urllib3", "asyncio", "faststream"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(logging.WARNING)
    # nats-py's default callback and the pool log every reconnection attempt; the runtime logs the change of state once.
    for name in ("nats", "psycopg.pool"):
        logging.getLogger(name).setLevel(logging.ERROR)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module. Events are short English phrases; what varies goes into keyword arguments."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def bind(**values: Any) -> Mapping[str, Any]:
    """Adds values to every line of the running call (contextvars); returns the tokens for :func:`unbind`."""
    return structlog.contextvars.bind_contextvars(**values)


def unbind(tokens: Mapping[str, Any]) -> None:
    """Takes back what :func:`bind` added."""
    structlog.contextvars.reset_contextvars(**tokens)
