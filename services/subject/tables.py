"""The read model of subjects."""

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, Text, Uuid

metadata = MetaData()

#: One row a subject: what it is found by, and the whole of it as callers see it (a yunku.subject.v1.Subject).
subjects = Table(
    "subjects",
    metadata,
    Column("subject_id", Uuid, primary_key=True),
    Column("uscc", Text, nullable=False, unique=True),
    Column("account_id", Text, nullable=False),
    Column("subject", LargeBinary, nullable=False),
    Column("revision", Integer, nullable=False),
)
