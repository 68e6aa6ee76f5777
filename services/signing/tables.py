"""The read model of seals."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, MetaData, Table, Text, Uuid

metadata = MetaData()

preparations = Table(
    "preparations",
    metadata,
    Column("preparation_id", Uuid, primary_key=True),
    Column("certificate_id", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    # PREPARED, SIGNED or REFUSED.
    Column("phase", Text, nullable=False),
    Column("prepared_sha256", Text, nullable=False),
    # Empty until signed.
    Column("sealed_sha256", Text, nullable=False, index=True),
    Column("expires_at_us", BigInteger, nullable=False),
    # Signed, and the sealed object isn't locked yet.
    Column("to_lock", Boolean, nullable=False, index=True),
    Column("revision", Integer, nullable=False),
)
