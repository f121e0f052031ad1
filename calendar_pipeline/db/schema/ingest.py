"""What each sync did, and what it could not keep."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from calendar_pipeline.db.schema.columns import at, metadata

sync_run = Table(
    "sync_run",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("calendar_id", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True), nullable=False),
    Column("outcome", Text, nullable=False, comment="synced, or the class of error"),
    Column("error_code", Text, comment="the provider's machine code"),
    Column("mode", Text, comment="incremental or listing"),
    Column("why", Text, comment="what made it a listing"),
    Column("requests", Integer, nullable=False),
    Column("response_bytes", BigInteger, nullable=False),
    Column("pages", Integer, nullable=False),
    Column("items", Integer, nullable=False),
    Column("created", Integer, nullable=False),
    Column("updated", Integer, nullable=False),
    Column("deleted", Integer, nullable=False),
    Column("restored", Integer, nullable=False),
    Column("quarantined", Integer, nullable=False),
    Column("run_id", Text, comment="the Dagster run, if any"),
    Column(
        "drift",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="changes that a listing found and the cursor had not announced",
    ),
    Column("covers_from", DateTime(timezone=True), comment="what a listing covered"),
    at("covers_until"),
    Column("digest", LargeBinary, comment="of all event fingerprints of a listing; equal means the same content"),
    Column("token_kind", Text, comment="cached or fresh access token"),
    Column("cause", Text, comment="push, second_look, asked, retry, or poll"),
    Column("pushed_at", DateTime(timezone=True), comment="when the notification came that caused it"),
    Column(
        "changed_at", DateTime(timezone=True), comment="by the provider's clock: the first change that it brought anew"
    ),
    Column(
        "missed", Integer, nullable=False, server_default=text("0"), comment="changes that push should have told of"
    ),
    Index("ix_sync_run_drift", "id", postgresql_where=text("drift > 0")),
    Index("ix_sync_run_changed", "finished_at", postgresql_where=text("changed_at IS NOT NULL")),
    Index("ix_sync_run_calendar", "calendar_id", text("id DESC")),
    comment="One row for each attempt to sync a calendar.",
)

quarantined_event = Table(
    "quarantined_event",
    metadata,
    Column("calendar_id", Text, ForeignKey("calendar.id", ondelete="CASCADE"), nullable=False),
    Column("provider_event_id", Text, nullable=False),
    Column("project_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("raw", Text, nullable=False, comment="the provider's JSON, ASCII, cut at 64 KiB"),
    Column("first_seen_at", DateTime(timezone=True), nullable=False),
    Column("last_seen_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("calendar_id", "provider_event_id"),
    comment="Events that cannot be kept as they are, with the reason; the rest of their calendar goes on.",
)
