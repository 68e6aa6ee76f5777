"""The read models of domains and pushes, and the tables of the work between the register and its domains."""

from sqlalchemy import ARRAY, BigInteger, Boolean, Column, DateTime, Index, Integer, LargeBinary, MetaData, Table, Text, Uuid, text

metadata = MetaData()

domains = Table(
    "domains",
    metadata,
    Column("stream_id", Uuid, primary_key=True),
    Column("domain_id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("automatic_types", ARRAY(Text), nullable=False),
    Column("closed", Boolean, nullable=False),
    # Counts its registration and its changes
    Column("version", Integer, nullable=False),
    Column("registered_at", DateTime(timezone=True), nullable=False),
    Column("revision", Integer, nullable=False),
)

pushes = Table(
    "pushes",
    metadata,
    Column("push_id", Uuid, primary_key=True),
    Column("certificate_id", Text, nullable=False),
    Column("domain_id", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    # What reviewers search: unique code, USCC and name of the company, folded
    Column("searched", Text, nullable=False),
    # pending, approved, rejected or withdrawn
    Column("state", Text, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("delivered_at", DateTime(timezone=True)),
    Column("acknowledged_at", DateTime(timezone=True)),
    Column("reviewed_at", DateTime(timezone=True)),
    # empty, pending, upheld or overturned
    Column("appeal", Text, nullable=False),
    Column("appealed_at", DateTime(timezone=True)),
    Column("answered_at", DateTime(timezone=True)),
    # The PushOpened and (empty until then) the Reviewed, Appealed and AppealAnswered, as protobuf: what a list shows.
    Column("opened", LargeBinary, nullable=False),
    Column("reviewed", LargeBinary, nullable=False),
    Column("appealed", LargeBinary, nullable=False),
    Column("answered", LargeBinary, nullable=False),
    Column("revision", Integer, nullable=False),
)
Index("pushes_by_domain", pushes.c.domain_id, pushes.c.state, pushes.c.opened_at, pushes.c.push_id)
# What is counted again and again stays as small as what waits.
Index(
    "pushes_unanswered",
    pushes.c.domain_id,
    pushes.c.opened_at,
    postgresql_where=text("state = 'pending' AND acknowledged_at IS NULL"),
)

# What each domain is told, in the order of the log; made from it by kernel-like following (services/push/notices.py), plus refusals.
notices = Table(
    "notices",
    metadata,
    # The CloudEvent's id and the Nats-Msg-Id
    Column("notice_id", Text, primary_key=True),
    Column("domain_id", Text, nullable=False),
    # requested, withdrawn, decided, appealed, appeal_decided or refused
    Column("kind", Text, nullable=False),
    # NULL for refusals, which may name a push that isn't the domain's
    Column("push_id", Uuid),
    # Position of the event in the log; 0 for refusals
    Column("position", BigInteger, nullable=False),
    # Refusals only: their CloudEvent, as it is sent
    Column("body", LargeBinary),
    Column("created_at", DateTime(timezone=True), nullable=False),
    # Where the domain's stream PUSHES has it; NULL: to be sent (again)
    Column("stream_sequence", BigInteger),
    Column("sent_at", DateTime(timezone=True)),
    # When the domain's system had taken it
    Column("taken_at", DateTime(timezone=True)),
)
Index("notices_due", notices.c.domain_id, notices.c.position, postgresql_where=text("stream_sequence IS NULL"))
Index(
    "notices_untaken",
    notices.c.domain_id,
    notices.c.stream_sequence,
    postgresql_where=text("stream_sequence IS NOT NULL AND taken_at IS NULL"),
)
Index("notices_refused", notices.c.domain_id, postgresql_where=text("kind = 'refused' AND taken_at IS NULL"))

# Up to which position of the log the notices are made. One row.
followed = Table("followed", metadata, Column("name", Text, primary_key=True), Column("position", BigInteger, nullable=False))

# What domains' systems said, once each: the inbox of review.<domain>.
answers = Table(
    "answers",
    metadata,
    # SHA-256 over domain, source and id of the CloudEvent
    Column("answer_key", Text, primary_key=True),
    Column("domain_id", Text, nullable=False),
    # SHA-256 of the message, hex: the same id with another content isn't the same answer
    Column("body_sha256", Text, nullable=False),
    # Empty where it took effect, else the refusal's code
    Column("code", Text, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
)

# Who may act for which company (identity's MembershipGranted): such an account doesn't review that company.
memberships = Table(
    "memberships",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("subject_id", Text, primary_key=True),
)
