"""The read models of subjects and persons, and the persons' keys."""

from sqlalchemy import ARRAY, Column, DateTime, Index, Integer, LargeBinary, MetaData, Table, Text, Uuid

from kernel.privacy import person_keys_table

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

#: One row a person: who employs them, and the whole of what the log tells (a yunku.subject.v1.PersonRecord; personal values encrypted).
persons = Table(
    "persons",
    metadata,
    Column("person_id", Uuid, primary_key=True),
    # The subject that employs the person now; empty where none does.
    Column("holder", Text, nullable=False),
    # Every subject that ever did, and when it bound the person last: same places, since rows of a state are one a stream.
    Column("subject_ids", ARRAY(Text), nullable=False),
    Column("since", ARRAY(DateTime(timezone=True)), nullable=False),
    # Every subject that made a claim or received one.
    Column("claim_sides", ARRAY(Text), nullable=False),
    Column("person", LargeBinary, nullable=False),
    Column("revision", Integer, nullable=False),
    Index("persons_of_subject", "subject_ids", postgresql_using="gin"),
    Index("persons_claimed", "claim_sides", postgresql_using="gin"),
)

person_keys = person_keys_table(metadata)
