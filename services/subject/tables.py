"""The read model of subjects."""

from sqlalchemy import ARRAY, Column, DateTime, Integer, MetaData, Table, Text, Uuid

metadata = MetaData()

subjects = Table(
    "subjects",
    metadata,
    Column("subject_id", Uuid, primary_key=True),
    Column("uscc", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("former_names", ARRAY(Text), nullable=False),
    Column("types", ARRAY(Text), nullable=False),
    Column("account_id", Text, nullable=False),
    Column("registered_at", DateTime(timezone=True), nullable=False),
    Column("revision", Integer, nullable=False),
)
