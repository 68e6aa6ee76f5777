"""The read model of jobs, and the cache of readings."""

from sqlalchemy import Column, DateTime, Index, Integer, LargeBinary, MetaData, Table, Text, Uuid, func, text

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    # extraction or regions
    Column("kind", Text, nullable=False),
    Column("certificate_id", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("document_sha256", Text, nullable=False),
    # waiting or done
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    # NULL when done
    Column("due_at", DateTime(timezone=True)),
    Column("revision", Integer, nullable=False),
)
# What the worker asks for again and again stays as small as the work that waits.
Index("jobs_due", jobs.c.due_at, postgresql_where=text("state = 'waiting'"))

# No projection: readings are made from pictures, not from events, and can be made again. One row is about 3 kB.
readings = Table(
    "readings",
    metadata,
    # SHA-256 over document hash, page, box (as marked, 5 decimals) and engine version
    Column("key", Text, primary_key=True),
    Column("document_sha256", Text, nullable=False),
    Column("engine_version", Text, nullable=False),
    Column("reading", LargeBinary, nullable=False),
    Column("made_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
Index("readings_of_document", readings.c.document_sha256)
