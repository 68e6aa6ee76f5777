"""Installs a service's log, its read models and the rights of its role. Run by provisioning, as the owner of the database."""

import importlib
import logging
from importlib.resources import files

import psycopg
from psycopg import sql
from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

log = logging.getLogger(__name__)

#: The record: INSERT and SELECT, nothing else. tests/service/test_eventlog_rights.py proves it.
_RECORD_TABLES = ("events", "log")
_WORK_TABLES = ("outbox", "publisher", "commands", "inbox", "watermarks", "parked", "projections")


def service_metadata(service: str) -> MetaData | None:
    """The read models and work tables that ``services/<service>/tables.py`` declares as ``metadata``."""
    try:
        module = importlib.import_module(f"services.{service}.tables")
    except ModuleNotFoundError as missing:
        if missing.name in (f"services.{service}", f"services.{service}.tables"):
            return None
        raise
    metadata = module.metadata
    if not isinstance(metadata, MetaData):
        raise TypeError(f"services.{service}.tables.metadata is not a MetaData")
    return metadata


def install(owner_dsn: str, service: str, runtime_role: str) -> None:
    """Creates what is missing in the service's database and sets the rights of its runtime role. Safe to run again at any time.

    A projection whose declared version is newer than the one that stands is rebuilt here, before the service starts
    (kernel.eventlog.rebuild); a running service goes on meanwhile.
    """
    metadata = service_metadata(service)
    with psycopg.connect(owner_dsn) as connection:
        # Two provisioners at once would race on CREATE ... IF NOT EXISTS.
        connection.execute("SELECT pg_advisory_xact_lock(20261123)")
        connection.execute(files("kernel.eventlog").joinpath("schema.sql").read_text())
        tables = []
        if metadata is not None:
            create_tables(connection, metadata)
            tables = [table.name for table in metadata.sorted_tables]
        role = sql.Identifier(runtime_role)
        connection.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, {}").format(role))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role))
        for table in _RECORD_TABLES:
            connection.execute(sql.SQL("GRANT SELECT, INSERT ON {} TO {}").format(sql.Identifier(table), role))
        for table in (*_WORK_TABLES, *tables):
            connection.execute(sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}").format(sql.Identifier(table), role))
        connection.execute(sql.SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}").format(role))
    if metadata is not None:
        from kernel.eventlog.rebuild import rebuild_outdated

        rebuild_outdated(owner_dsn, service)


def create_tables(connection: psycopg.Connection[tuple[object, ...]], metadata: MetaData) -> None:
    """Creates the declared tables and their indexes where they don't exist yet.

    An index over columns that a standing table lacks is left out: that is an outdated read model, and its rebuild makes it.
    """
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in metadata.sorted_tables:
        statement = str(CreateTable(table, if_not_exists=True).compile(dialect=dialect))
        connection.execute(statement.encode())
        rows = connection.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", (table.name,)).fetchall()
        standing = {str(row[0]) for row in rows}
        for index in table.indexes:
            if not {column.name for column in index.columns} <= standing:
                continue
            connection.execute(str(CreateIndex(index, if_not_exists=True).compile(dialect=dialect)).encode())
