"""The read models of certificates."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Integer, LargeBinary, MetaData, Table, Text, Uuid

metadata = MetaData()

#: One row a certificate: what lists filter by, and the whole of it as callers see it (a yunku.certificate.v1.Certificate).
certificates = Table(
    "certificates",
    metadata,
    Column("certificate_id", Uuid, primary_key=True),
    Column("subject_id", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("light", Integer, nullable=False),
    Column("person_id", Text, nullable=False),
    Column("performance_id", Text, nullable=False),
    Column("unique_code", Text, unique=True),
    Column("document_sha256", Text),
    Column("document_locked", Boolean, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    Column("revision", Integer, nullable=False),
    # Ids are UUIDv7, so this order is the order of their making.
    Index("certificates_of_subject", "subject_id", "certificate_id"),
    Index("certificates_of_type", "subject_id", "type", "certificate_id"),
)
Index(
    "certificates_to_lock",
    certificates.c.certificate_id,
    postgresql_where=certificates.c.document_sha256.isnot(None) & ~certificates.c.document_locked,
)

#: What happened to whose certificates, by log position: live updates begin with it.
activity = Table(
    "activity",
    metadata,
    Column("position", BigInteger, primary_key=True),
    Column("subject_id", Text, nullable=False),
    Column("certificate_id", Uuid, nullable=False),
    Column("type", Text, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Index("activity_of_subject", "subject_id", "position"),
)
