"""What each sync did, and what it could not keep."""

from sqlalchemy import (
    BigInteger,
    Column,
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
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="event_history.sync_run_id"),
    Column("project_id", Text, nullable=False, comment="the tenant"),
    Column("calendar_id", Text, nullable=False, comment="cal_…, as in the API"),
    at("started_at", nullable=False, comment="before the first request to the provider"),
    at("finished_at", nullable=False, comment="when its result was written"),
    Column("outcome", Text, nullable=False, comment="synced, or the class of error"),
    Column("error_code", Text, comment="the provider's machine code"),
    Column("mode", Text, comment="incremental or listing"),
    Column("why", Text, comment="what made it a listing"),
    Column("requests", Integer, nullable=False, comment="sent to the provider"),
    Column("response_bytes", BigInteger, nullable=False, comment="read from the provider, bodies only"),
    Column("pages", Integer, nullable=False, comment="of the provider's listing or changes"),
    Column("items", Integer, nullable=False, comment="events and tombstones told"),
    Column("created", Integer, nullable=False, comment="events recorded for the first time"),
    Column("updated", Integer, nullable=False, comment="events that changed"),
    Column("deleted", Integer, nullable=False, comment="events that are gone"),
    Column("restored", Integer, nullable=False, comment="events that came back"),
    Column("quarantined", Integer, nullable=False, comment="events set aside by this sync"),
    Column("run_id", Text, comment="the Dagster run, if any"),
    Column(
        "drift",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="changes that a listing found and the cursor had not announced",
    ),
    at("covers_from", comment="start of what a listing covered; null: not a listing"),
    at("covers_until", comment="end of what a listing covered"),
    Column("digest", LargeBinary, comment="of all event fingerprints of a listing; equal means the same content"),
    Column("token_kind", Text, comment="cached or fresh access token"),
    Column("cause", Text, comment="push, second_look, asked, retry, or poll"),
    at("pushed_at", comment="when the notification came that caused it"),
    at("changed_at", comment="by the provider's clock: the first change that it brought anew"),
    Column(
        "missed", Integer, nullable=False, server_default=text("0"), comment="changes that push should have told of"
    ),
    Index("ix_sync_run_finished", "finished_at"),
    Index("ix_sync_run_drift", "id", postgresql_where=text("drift > 0")),
    Index("ix_sync_run_changed", "finished_at", postgresql_where=text("changed_at IS NOT NULL")),
    Index("ix_sync_run_calendar", "calendar_id", text("id DESC")),
    comment="One row for each attempt to sync a calendar.",
)

quarantined_event = Table(
    "quarantined_event",
    metadata,
    Column(
        "calendar_id",
        Text,
        ForeignKey("calendar.id", ondelete="CASCADE"),
        nullable=False,
        comment="cal_…, as in the API",
    ),
    Column("provider_event_id", Text, nullable=False, comment="the provider's id of the event"),
    Column("project_id", Text, nullable=False, comment="the tenant"),
    Column("reason", Text, nullable=False, comment="why it cannot be kept: no_end, unknown_zone, too_large …"),
    Column("raw", Text, nullable=False, comment="the provider's JSON, ASCII, cut at 64 KiB"),
    at("first_seen_at", nullable=False, comment="when it was first told in this form"),
    at("last_seen_at", nullable=False, comment="when it was last told"),
    PrimaryKeyConstraint("calendar_id", "provider_event_id"),
    comment="Events that cannot be kept as they are, with the reason; the rest of their calendar goes on.",
)
