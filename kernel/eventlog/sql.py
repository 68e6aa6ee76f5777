"""SQLAlchemy Core as the language of queries, psycopg as the way: one connection pool, one transaction."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ClauseElement
from sqlalchemy.dialects.postgresql import psycopg as _psycopg

_DIALECT = _psycopg.PGDialect_psycopg(paramstyle="pyformat")  # type: ignore[no-untyped-call]


def render(statement: ClauseElement) -> tuple[bytes, Mapping[str, Any]]:
    """(SQL, parameters) of a Core statement, for ``connection.execute(*render(...))`` of psycopg."""
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    return str(compiled).encode(), compiled.construct_params() or {}
