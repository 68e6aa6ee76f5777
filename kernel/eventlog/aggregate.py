"""What a service declares about its aggregates: how events become state, and state becomes read model rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import Table

S = TypeVar("S")


@dataclass(frozen=True)
class StateProjection(Generic[S]):
    """One row per stream, a pure function of the stream's state, written in the append's own statement: who commanded reads it back.

    ``version`` rises whenever ``row`` or the table changes; the table is then rebuilt from the log (kernel.eventlog.rebuild).
    ``row`` answers None for a state that has no row. The table's single primary key column holds the stream id, and a column
    ``revision`` the stream's version.
    """

    table: Table
    version: int
    row: Callable[[UUID, S, int], Mapping[str, Any] | None]

    @property
    def name(self) -> str:
        return str(self.table.name)


@dataclass(frozen=True)
class Aggregate(Generic[S]):
    """``evolve(state, event, recorded_at) -> state`` is pure; ``events`` are the types that its streams may hold."""

    name: str
    initial: S
    evolve: Callable[[S, Any, datetime], S]
    events: tuple[type[Message], ...]
    projections: tuple[StateProjection[S], ...] = ()
