"""Builds a read model anew from the log, beside the one that stands, and swaps it in. Run by the owner of the database.

Writers go on while the new table is built; they wait only for the swap, which first folds again whatever changed meanwhile. The same
code, without the swap, gives the copy against which ``yunku check`` compares what stands.
"""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import sql
from sqlalchemy import MetaData, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql import quoted_name

from kernel.eventlog.aggregate import Aggregate, StateProjection
from kernel.eventlog.events import EVENT_COLUMNS, EventTypes, RecordedEvent, row_to_event
from kernel.eventlog.projections import LogProjection
from kernel.eventlog.sql import render

Connection = psycopg.Connection[tuple[Any, ...]]

#: Suffix of the table that is being built.
NEXT: Final = "__next"
#: Suffix of the copy that ``yunku check`` compares with.
CHECK: Final = "__check"


@dataclass(frozen=True)
class Declared:
    """What ``services/<service>/projections.py`` declares: TYPES, AGGREGATES and (optional) LOG_PROJECTIONS."""

    types: EventTypes
    aggregates: tuple[Aggregate[Any], ...]
    log_projections: tuple[LogProjection, ...]

    @property
    def state_projections(self) -> tuple[tuple[Aggregate[Any], StateProjection[Any]], ...]:
        return tuple((aggregate, projection) for aggregate in self.aggregates for projection in aggregate.projections)


def declared(service: str) -> Declared:
    """The projections of a service; ``ModuleNotFoundError`` where it has none."""
    module: ModuleType = importlib.import_module(f"services.{service}.projections")
    return Declared(module.TYPES, tuple(module.AGGREGATES), tuple(getattr(module, "LOG_PROJECTIONS", ())))


def rebuild_outdated(owner_dsn: str, service: str) -> list[str]:
    """Rebuilds every read model whose declared version isn't the one that stands; answers their names."""
    found = declared(service)
    with psycopg.connect(owner_dsn, autocommit=True) as connection:
        standing: dict[Any, Any] = dict(connection.execute("SELECT name, version FROM projections").fetchall())
    outdated = [projection for _, projection in found.state_projections if standing.get(projection.name) != projection.version]
    following = [projection for projection in found.log_projections if standing.get(projection.name) != projection.version]
    names = [projection.name for projection in outdated] + [projection.name for projection in following]
    for name in names:
        rebuild(owner_dsn, service, name)
    return names


def rebuild(owner_dsn: str, service: str, name: str) -> int:
    """Builds read model ``name`` from nothing and swaps it in; answers its rows. ``LookupError`` for an unknown name."""
    found = declared(service)
    for aggregate, projection in found.state_projections:
        if projection.name == name:
            return _rebuild_states(owner_dsn, found.types, aggregate, projection)
    for following in found.log_projections:
        if following.name == name:
            return _rebuild_following(owner_dsn, found.types, following)
    raise LookupError(f"{service} has no read model {name!r}")


# -- one row per stream ------------------------------------------------------------------------------------------------


def _rebuild_states(owner_dsn: str, types: EventTypes, aggregate: Aggregate[Any], projection: StateProjection[Any]) -> int:
    with psycopg.connect(owner_dsn) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        row = connection.execute("SELECT coalesce(max(position), 0) FROM log").fetchone()
        snapshot = int(row[0]) if row else 0
        with psycopg.connect(owner_dsn) as writer:
            table = create_beside(writer, projection.table, NEXT)
            copy_rows(writer, table, state_rows(connection, types, aggregate, projection))
            writer.commit()
            connection.rollback()
            # Appends write the read model in their own statement, so this lock stops them until the swap.
            writer.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(projection.name)))
            changed = [
                stream_id
                for (stream_id,) in writer.execute(
                    "SELECT stream_id FROM log WHERE position > %s UNION SELECT stream_id FROM outbox", (snapshot,)
                ).fetchall()
            ]
            if changed:
                (key,) = (column.name for column in table.primary_key.columns)
                writer.execute(
                    sql.SQL("DELETE FROM {} WHERE {} = ANY(%s)").format(sql.Identifier(str(table.name)), sql.Identifier(key)),
                    (changed,),
                )
                copy_rows(writer, table, list(state_rows(writer, types, aggregate, projection, changed)))
            return _swap(writer, projection.table, projection.version, 0)


def state_rows(
    connection: Connection,
    types: EventTypes,
    aggregate: Aggregate[Any],
    projection: StateProjection[Any],
    streams: list[UUID] | None = None,
) -> Iterator[tuple[Any, ...]]:
    """The read model's rows, folded from the events of the connection's snapshot (of these streams, or of all)."""
    columns = [column.name for column in projection.table.columns]
    for stream_id, events in _streams(connection, types, aggregate, streams):
        state = aggregate.initial
        for event in events:
            state = aggregate.evolve(state, event.data, event.recorded_at)
        row = projection.row(stream_id, state, events[-1].version)
        if row is not None:
            yield tuple(row.get(column) for column in columns)


def _streams(
    connection: Connection, types: EventTypes, aggregate: Aggregate[Any], streams: list[UUID] | None
) -> Iterator[tuple[UUID, list[RecordedEvent]]]:
    names = [message.DESCRIPTOR.full_name for message in aggregate.events]
    which = "" if streams is None else "AND e.stream_id = ANY(%(streams)s)"
    with connection.cursor(name="rebuild") as cursor:
        cursor.itersize = 5000
        cursor.execute(
            f"SELECT {EVENT_COLUMNS} FROM events e WHERE e.type = ANY(%(names)s) {which} ORDER BY e.stream_id, e.version",
            {"names": names, "streams": streams},
        )
        current: list[RecordedEvent] = []
        for row in cursor:
            event = row_to_event(row, types)
            if current and current[0].stream_id != event.stream_id:
                yield current[0].stream_id, current
                current = []
            current.append(event)
        if current:
            yield current[0].stream_id, current


# -- following the log -------------------------------------------------------------------------------------------------


def _rebuild_following(owner_dsn: str, types: EventTypes, projection: LogProjection) -> int:
    with psycopg.connect(owner_dsn) as connection:
        table = create_beside(connection, projection.table, NEXT)
        position = follow(connection, types, projection, table, 0)
        connection.commit()
        connection.execute("SELECT 1 FROM projections WHERE name = %s FOR UPDATE", (projection.name,))
        position = follow(connection, types, projection, table, position)
        return _swap(connection, projection.table, projection.version, position)


def follow(
    connection: Connection, types: EventTypes, projection: LogProjection, table: Table, position: int, until: int | None = None
) -> int:
    """Applies the log after ``position`` (up to ``until``) to ``table``; answers the position reached."""
    while True:
        rows = connection.execute(
            f"SELECT {EVENT_COLUMNS}, l.position, l.log_hash FROM log l JOIN events e USING (stream_id, version) "
            "WHERE l.position > %s AND (%s::bigint IS NULL OR l.position <= %s) ORDER BY l.position LIMIT 1000",
            (position, until, until),
        ).fetchall()
        if not rows:
            return position
        for row in rows:
            for statement in projection.apply(row_to_event(row, types), table):
                connection.execute(*render(statement))
        position = int(rows[-1][10])


# -- tables ------------------------------------------------------------------------------------------------------------


def create_beside(connection: Connection, table: Table, suffix: str) -> Table:
    """An empty table of the declared shape under ``<name><suffix>``, with its indexes."""
    beside = table.to_metadata(MetaData(), name=f"{table.name}{suffix}")
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(str(beside.name))))
    for constraint in beside.constraints:
        if isinstance(constraint.name, str):
            constraint.name = f"{constraint.name}{suffix}"
    connection.execute(str(CreateTable(beside).compile(dialect=dialect)).encode())
    for index in beside.indexes:
        if index.name is not None:
            index.name = quoted_name(f"{index.name}{suffix}", None)
        connection.execute(str(CreateIndex(index).compile(dialect=dialect)).encode())
    return beside


def copy_rows(connection: Connection, table: Table, rows: Iterator[tuple[Any, ...]] | list[tuple[Any, ...]]) -> None:
    """COPY, the fastest way in (156,000 rows/s with the fold, against 24,000 by executemany)."""
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(str(table.name)), columns)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _swap(connection: Connection, table: Table, version: int, position: int) -> int:
    """Puts ``<name>__next`` in the place of ``<name>``, with its rights, and records the version. Commits."""
    name, beside = str(table.name), f"{table.name}{NEXT}"
    grants = connection.execute(
        "SELECT DISTINCT grantee FROM information_schema.role_table_grants WHERE table_name = %s AND grantee <> current_user", (name,)
    ).fetchall()
    indexes = connection.execute("SELECT indexname FROM pg_indexes WHERE tablename = %s", (beside,)).fetchall()
    connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    connection.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(sql.Identifier(beside), sql.Identifier(name)))
    for (index,) in indexes:
        connection.execute(sql.SQL("ALTER INDEX {} RENAME TO {}").format(sql.Identifier(index), sql.Identifier(index.replace(NEXT, ""))))
    for (grantee,) in grants:
        to = sql.SQL("PUBLIC") if grantee == "PUBLIC" else sql.Identifier(grantee)
        connection.execute(sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}").format(sql.Identifier(name), to))
    connection.execute(
        "INSERT INTO projections (name, version, position) VALUES (%s, %s, %s) "
        "ON CONFLICT (name) DO UPDATE SET version = EXCLUDED.version, position = EXCLUDED.position, built_at = clock_timestamp()",
        (name, version, position),
    )
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))).fetchone()
    connection.commit()
    return int(row[0]) if row else 0
