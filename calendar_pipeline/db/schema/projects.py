"""Tenants, their keys and their signing secrets."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from calendar_pipeline.db.schema.columns import at, created, metadata

project = Table(
    "project",
    metadata,
    Column("id", Text, primary_key=True, comment="proj_…"),
    Column("name", Text, nullable=False, comment="what people call it"),
    created(),
    Column("retention_days", Integer, comment="age at which history is removed; null: it is kept for ever"),
    CheckConstraint("retention_days > 0", name="retention"),
    comment="A tenant: the application whose users' calendars are followed.",
)

project_counter = Table(
    "project_counter",
    metadata,
    Column("project_id", Text, ForeignKey("project.id", ondelete="CASCADE"), primary_key=True, comment="the tenant"),
    Column("n", BigInteger, nullable=False, server_default=text("0"), comment="the last number given out"),
    at("stamped_at", comment="the last stamp given out"),
    Column("webhooks", Integer, nullable=False, server_default=text("0"), comment="the project's own subscriptions"),
    Column("expired", BigInteger, nullable=False, server_default=text("0"), comment="rows that retention removed"),
    Column("floor", BigInteger, nullable=False, server_default=text("0"), comment="numbers above it are all there"),
    at("kept_from", comment="states as of an instant before it are not whole any more; null: all are"),
    comment="The last history sequence number and stamp given out, by turns, so their order is commit order.",
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("project.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("key_hash", LargeBinary, nullable=False, unique=True, comment="SHA-256 of the key"),
    Column("name", Text, nullable=False, server_default=text("''")),
    Column("prefix", Text, nullable=False, server_default=text("''"), comment="how it begins, to tell keys apart"),
    Column("last_four", Text, nullable=False),
    Column(
        "scopes",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{*}'::text[]"),
        comment="what it may do; * is everything",
    ),
    created(),
    at("last_used_at"),
    at("expires_at"),
    at("revoked_at"),
)

feed_epoch = Table(
    "feed_epoch",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Text, nullable=False),
    at("since", nullable=False),
    CheckConstraint("id = 1", name="single"),
    comment="One row: the name of this run of sequence numbers. A restored backup gets another.",
)

webhook_secret = Table(
    "webhook_secret",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("project.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("secret", LargeBinary, nullable=False, comment="sealed"),
    created(),
    at("retired_at"),
)
