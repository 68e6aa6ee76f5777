"""The read model of verifications: which wait for recognition, and since when."""

from sqlalchemy import Column, DateTime, Index, Integer, MetaData, Table, Text, Uuid, text

metadata = MetaData()

verifications = Table(
    "verifications",
    metadata,
    Column("verification_id", Uuid, primary_key=True),
    Column("certificate_id", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    # waiting or done
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    # NULL when done
    Column("due_at", DateTime(timezone=True)),
    Column("revision", Integer, nullable=False),
)
# What the worker asks for again and again stays as small as the work that waits.
Index("verifications_due", verifications.c.due_at, postgresql_where=text("state = 'waiting'"))
