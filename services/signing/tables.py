"""The read models of seals and of digital certificates."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, MetaData, Table, Text, Uuid

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

digital_certificates = Table(
    "digital_certificates",
    metadata,
    Column("digital_certificate_id", Uuid, primary_key=True),
    Column("certificate_id", Text, nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("unique_code", Text, nullable=False, index=True),
    Column("status_index", BigInteger, nullable=False, unique=True),
    Column("key_id", Text, nullable=False, index=True),
    # Empty while it holds, else why it doesn't.
    Column("revoked", Text, nullable=False),
    # The DigitalCertificateIssued, as it stands in the log.
    Column("issued", LargeBinary, nullable=False),
    Column("revision", Integer, nullable=False),
)
