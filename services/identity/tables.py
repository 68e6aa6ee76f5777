"""Read models of accounts and sessions; what is kept of subjects; and what is forgotten after minutes."""

from sqlalchemy import ARRAY, Boolean, Column, DateTime, Index, Integer, LargeBinary, MetaData, Table, Text, Uuid

from kernel.privacy import person_keys_table

metadata = MetaData()

# -- read models of the own log

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    # EncryptedValue bytes; NULL for accounts of company keys, and once erased.
    Column("phone", LargeBinary),
    Column("name", LargeBinary),
    Column("password_hash", LargeBinary),
    Column("person_id", Uuid),
    # The company of a key's account; empty for people's.
    Column("key_uscc", Text, nullable=False),
    Column("company_name", Text, nullable=False),
    # The companies that it is a member of and, at the same places, its role there, whether it ever acted for it, and
    # the number that was invited (masked; empty where it wasn't).
    Column("subject_ids", ARRAY(Uuid), nullable=False),
    Column("member_roles", ARRAY(Text), nullable=False),
    Column("member_accepted", ARRAY(Boolean), nullable=False),
    Column("member_phones", ARRAY(Text), nullable=False),
    # "ROLE" or "ROLE:domain".
    Column("roles", ARRAY(Text), nullable=False),
    Column("erased", Boolean, nullable=False),
    Column("revision", Integer, nullable=False),
    Index("accounts_of_subject", "subject_ids", postgresql_using="gin"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Uuid, primary_key=True),
    Column("account_id", Uuid, nullable=False),
    Column("person_id", Uuid),
    Column("method", Text, nullable=False),
    Column("token_hash", LargeBinary, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("subject_type", Text, nullable=False),
    Column("closed", Boolean, nullable=False),
    Column("revision", Integer, nullable=False),
)

# -- taken from the subject service's events

subjects = Table(
    "subjects",
    metadata,
    Column("subject_id", Uuid, primary_key=True),
    Column("uscc", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("types", ARRAY(Text), nullable=False),
)

# -- keys of persons (kernel.privacy)

person_keys = person_keys_table(metadata)

# -- ephemeral: rows are deleted a while after they expire

phone_codes = Table(
    "phone_codes",
    metadata,
    # The code itself is derived from this id and a secret; it is stored nowhere.
    Column("issue_id", Uuid, primary_key=True),
    Column("phone_index", LargeBinary, nullable=False),
    Column("issued_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    # The command that used it; only the same command, repeated, may use it again.
    Column("used_by", Text),
    Index("phone_codes_by_phone", "phone_index", "issued_at"),
)

challenges = Table(
    "challenges",
    metadata,
    Column("challenge_id", Uuid, primary_key=True),
    Column("text", Text, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("used_by", Text),
)

qr_logins = Table(
    "qr_logins",
    metadata,
    Column("qr_login_id", Uuid, primary_key=True),
    Column("text", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("claim", LargeBinary, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    # Of the company's key that approved it: its certificate's fingerprint, and which company.
    Column("approved_fingerprint", Text),
    Column("approved_uscc", Text),
    Column("approved_name", Text),
    Column("used_by", Text),
)

rate_limits = Table(
    "rate_limits",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("window_start", DateTime(timezone=True), primary_key=True),
    Column("used", Integer, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)
