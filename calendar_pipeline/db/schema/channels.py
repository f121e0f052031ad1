"""How providers tell us of changes."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    text,
)

from calendar_pipeline.db.schema.columns import at, created, metadata

notification_channel = Table(
    "notification_channel",
    metadata,
    Column("id", Text, primary_key=True, comment="Google's channel id"),
    Column(
        "calendar_id", Text, nullable=False, comment="no foreign key: a channel is stopped after its calendar is gone"
    ),
    Column("project_id", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("state", Text, nullable=False, comment="asked, live, refused, stopping, ended"),
    Column("token_hash", LargeBinary, nullable=False, comment="SHA-256 of Google's token or Graph's clientState"),
    Column("path_hash", LargeBinary, nullable=False, unique=True, comment="SHA-256 of the secret part of the address"),
    Column("remote_id", Text, comment="Graph's subscription id"),
    Column("resource_id", Text, comment="Google's resource id"),
    created(),
    Column("confirmed_at", DateTime(timezone=True), comment="since when it is known to reach us"),
    at("expires_at", nullable=False),
    Column("next_at", DateTime(timezone=True), comment="when something is to be done about it; null: never"),
    Column("failures", Integer, nullable=False, server_default=text("0"), comment="in a row"),
    Column("code", Text, comment="machine code of the last failure"),
    Column("notifications", BigInteger, nullable=False, server_default=text("0"), comment="that asked for a sync"),
    at("last_notified_at"),
    # What it takes to stop the channel once its calendar is gone or disconnected: the calendar's, sealed as they were.
    Column("client_id", Text),
    Column("client_secret", LargeBinary, comment="sealed"),
    Column("refresh_token", LargeBinary, comment="sealed"),
    Column("access_token", LargeBinary, comment="sealed"),
    at("access_token_expires_at"),
    Column("lease_token", Uuid),
    at("lease_until"),
    CheckConstraint("platform IN ('google', 'microsoft')", name="platform"),
    CheckConstraint("state IN ('asked', 'live', 'refused', 'stopping', 'ended')", name="state"),
    Index("ix_notification_channel_calendar", "calendar_id"),
    Index("ix_notification_channel_next", "next_at", postgresql_where=text("next_at IS NOT NULL")),
    Index("ix_notification_channel_remote", "remote_id", postgresql_where=text("remote_id IS NOT NULL")),
    comment="A watch on a calendar at its provider, from the request for it until its last message can have come.",
)
