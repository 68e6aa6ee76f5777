"""The read models of certificates."""

from sqlalchemy import ARRAY, BigInteger, Boolean, Column, Date, DateTime, Index, Integer, LargeBinary, MetaData, Table, Text, Uuid

metadata = MetaData()

#: The index that gives a material the one place of its kind in its performance.
MATERIAL_SLOT = "certificates_material_slot"

#: One row a certificate: what lists filter and sort by, its line in a list (``item``), and the whole of it as callers see it (both are
#: a yunku.certificate.v1.Certificate).
certificates = Table(
    "certificates",
    metadata,
    Column("certificate_id", Uuid, primary_key=True),
    Column("subject_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("unique_code", Text, unique=True),
    Column("document_sha256", Text),
    Column("document_locked", Boolean, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    # 1970 for what was never submitted, so that the order has no gaps.
    Column("submitted_at", DateTime(timezone=True), nullable=False),
    # Whether anything is known of its validity; its end is 9999-12-31 where it has none.
    Column("dated", Boolean, nullable=False),
    Column("valid_from", Date),
    Column("ends_on", Date, nullable=False),
    # Words by which it is found within its subject (services.certificate.listing): filters' values, and pieces of the text.
    Column("words", ARRAY(BigInteger), nullable=False),
    Column("searched", Text, nullable=False),
    Column("item", LargeBinary, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    Column("revision", Integer, nullable=False),
    # The light as it is now (a yunku.certificate.v1.Light), for counting.
    Column("light", Integer, nullable=False),
    # Of a performance's certificates only: its id, whether another follows or is being made to, and the one place that a
    # material has (NULL where there may be several, or it isn't taken any more).
    Column("performance_id", Text),
    Column("followed", Boolean),
    Column("material_slot", Text),
    # An order each, within a subject. Ids are UUIDv7, so theirs is the order of making.
    Index("certificates_by_created", "subject_id", "certificate_id"),
    Index("certificates_by_updated", "subject_id", "updated_at", "certificate_id"),
    Index("certificates_by_submitted", "subject_id", "submitted_at", "certificate_id"),
    Index("certificates_by_end", "subject_id", "ends_on", "certificate_id"),
    Index("certificates_by_type", "subject_id", "type", "certificate_id"),
    # Without a pending list: a search must not read through what wasn't sorted in yet.
    Index("certificates_by_words", "words", postgresql_using="gin", postgresql_with={"fastupdate": "off"}),
    Index(MATERIAL_SLOT, "material_slot", unique=True),
)
Index(
    "certificates_of_performance",
    certificates.c.performance_id,
    certificates.c.type,
    postgresql_where=certificates.c.performance_id.isnot(None),
)
Index(
    "certificates_to_lock",
    certificates.c.certificate_id,
    postgresql_where=certificates.c.document_sha256.isnot(None) & ~certificates.c.document_locked,
)

#: One row a performance: what lists filter by, and what its stream says of it (a yunku.certificate.v1.Performance).
performances = Table(
    "performances",
    metadata,
    Column("performance_id", Uuid, primary_key=True),
    Column("subject_id", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("performance_type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("section_name", Text, nullable=False),
    Column("section_no", Text, nullable=False),
    Column("unique_code", Text, unique=True),
    Column("performance", LargeBinary, nullable=False),
    Column("revision", Integer, nullable=False),
    Index("performances_of_subject", "subject_id", "performance_id"),
)

#: What happened to whose certificates, by log position: live updates begin with it.
activity = Table(
    "activity",
    metadata,
    Column("position", BigInteger, primary_key=True),
    Column("subject_id", Text, nullable=False),
    Column("certificate_id", Uuid),
    Column("performance_id", Uuid),
    Column("type", Text, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Index("activity_of_subject", "subject_id", "position"),
)

#: Which entries rows of the national platform became; a discarded draft no longer stands for its row.
taken_over = Table(
    "taken_over",
    metadata,
    Column("certificate_id", Uuid, primary_key=True),
    Column("subject_id", Text, nullable=False),
    Column("person_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("stands", Boolean, nullable=False),
    Column("revision", Integer, nullable=False),
    Index("taken_over_of_subject", "subject_id", "source", "source_id"),
)

#: Imports and exports, as ``kernel.jobs`` takes them up.
imports = Table(
    "imports",
    metadata,
    Column("import_id", Uuid, primary_key=True),
    Column("subject_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("reason", Text, nullable=False),
    Column("view", LargeBinary, nullable=False),
    Column("revision", Integer, nullable=False),
    Index("imports_of_subject", "subject_id", "import_id"),
)
exports = Table(
    "exports",
    metadata,
    Column("export_id", Uuid, primary_key=True),
    Column("subject_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("reason", Text, nullable=False),
    Column("view", LargeBinary, nullable=False),
    Column("revision", Integer, nullable=False),
    Index("exports_of_subject", "subject_id", "export_id"),
)

#: Which entry a row of an import stands for, and a hash of what it said when it was last carried out. No projection: places are given
#: before there is an event.
import_keys = Table(
    "import_keys",
    metadata,
    Column("row_id", Uuid, primary_key=True),
    Column("certificate_id", Uuid, nullable=False, unique=True),
    Column("content", LargeBinary),
)
#: The end of every certificate that stands in the register, and the reminder of it (services.certificate.expiry).
expiries = Table(
    "expiries",
    metadata,
    Column("certificate_id", Uuid, primary_key=True),
    Column("subject_id", Text, nullable=False),
    # Null: none stands, or it has no end.
    Column("ends_on", Date),
    # The threshold noticed last of the version that stands; null while none was.
    Column("noticed", Integer),
    # Whether the reminder waits to be acknowledged.
    Column("open", Boolean, nullable=False),
    # A yunku.certificate.v1.Notice.
    Column("notice", LargeBinary, nullable=False),
    Column("revision", Integer, nullable=False),
)
Index(
    "expiries_to_notice",
    expiries.c.ends_on,
    expiries.c.certificate_id,
    postgresql_where=expiries.c.ends_on.isnot(None) & (expiries.c.noticed.is_(None) | (expiries.c.noticed >= 0)),
)
Index("expiries_open", expiries.c.subject_id, expiries.c.ends_on, expiries.c.certificate_id, postgresql_where=expiries.c.open)
