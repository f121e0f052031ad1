"""What the API keeps for itself: who wrote what, answers to repeat, and how much was asked."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
)

from calendar_pipeline.db.schema.columns import at, metadata

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    at("at", nullable=False),
    Column("project_id", Text, nullable=False),
    Column("actor", Text, nullable=False, comment="the id of a key or of an OAuth application, or cli"),
    Column(
        "action",
        Text,
        nullable=False,
        comment="method and path template, a command, or what came of a visit",
    ),
    Column("subject", Text, comment="the id of what was written"),
    Column("request_id", Text, nullable=False),
    Column("stage", Text, nullable=False, comment="asked: before anything is done; answered: with the status"),
    Column("status", SmallInteger),
    CheckConstraint("stage IN ('asked', 'answered')", name="stage"),
    Index("ix_audit_log_project", "project_id", "id"),
    Index("ix_audit_log_request", "request_id"),
    comment="Every write that was asked for, and how it was answered. Append-only; holds no content.",
)

idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("project_id", Text, ForeignKey("project.id", ondelete="CASCADE"), nullable=False),
    Column("key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False, comment="digest of method, path, query and body"),
    Column("token", Uuid, nullable=False, comment="of the request that may finish it"),
    at("busy_until", nullable=False),
    at("expires_at", nullable=False),
    Column("status", SmallInteger, comment="null: not answered yet"),
    Column("content_type", Text),
    Column("answer", LargeBinary, comment="sealed"),
    PrimaryKeyConstraint("project_id", "key"),
    Index("ix_idempotency_key_expires", "expires_at"),
    comment="Answers to POSTs that carried an Idempotency-Key, to be given again.",
)

rate_limit = Table(
    "rate_limit",
    metadata,
    Column("name", Text, primary_key=True),
    at("full_at", nullable=False),
    comment="Token buckets that all API processes share: the instant at which each is full again.",
    prefixes=["UNLOGGED"],
)
