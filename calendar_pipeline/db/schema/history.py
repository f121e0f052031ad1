"""Events as they are, and every version of them."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from calendar_pipeline.db.schema.columns import at, metadata


def event_columns() -> list[Column[object]]:
    """The typed fields of an event, the same in `calendar_event` and `event_history`."""
    return [
        Column("provider_event_id", Text, nullable=False),
        Column("ical_uid", Text),
        Column("title", Text),
        at("starts_at", nullable=False),
        at("ends_at", nullable=False),
        Column("start_date", Date),
        Column("end_date", Date),
        at("start_time", nullable=False),
        at("end_time", nullable=False),
        Column("time_zone", Text),
        Column("status", Text, nullable=False),
        Column("meeting_url", Text),
        Column("meeting_link", Text),
        Column("meeting_platform", Text),
        Column("meeting_key", Text),
        Column("organizer_email", Text),
        Column("own_response", Text),
        Column("attendees", JSON, nullable=False),
        Column("series_id", Text),
        at("original_starts_at"),
        Column("location", Text),
        Column("visibility", Text, nullable=False),
        Column("is_busy", Boolean, nullable=False),
        Column("event_type", Text, nullable=False),
        at("provider_updated_at"),
        Column("raw", JSON, nullable=False),
        Column("fingerprint", LargeBinary, nullable=False, comment="digest of all content; equal means unchanged"),
        Column("is_deleted", Boolean, nullable=False, server_default=false()),
    ]


EVENT_FIELDS: tuple[str, ...] = tuple(column.name for column in event_columns())

calendar_event = Table(
    "calendar_event",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("calendar_id", Text, ForeignKey("calendar.id", ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False),
    *event_columns(),
    at("created_at", nullable=False),
    at("updated_at", nullable=False),
    UniqueConstraint("calendar_id", "provider_event_id"),
    Index("ix_calendar_event_updated", "project_id", "updated_at", "id"),
    Index("ix_calendar_event_start", "project_id", "start_time", "id"),
    Index("ix_calendar_event_end", "project_id", "end_time", "id"),
    Index("ix_calendar_event_created", "project_id", "created_at", "id"),
    Index("ix_calendar_event_calendar_updated", "calendar_id", "updated_at", "id"),
    Index("ix_calendar_event_held", "calendar_id", "ends_at", "starts_at", postgresql_where=text("NOT is_deleted")),
    Index("ix_calendar_event_series", "calendar_id", "series_id", postgresql_where=text("series_id IS NOT NULL")),
    comment="Each event as it is now; equals the last version in event_history.",
)

event_history = Table(
    "event_history",
    metadata,
    Column("project_id", Text, nullable=False),
    Column("seq", BigInteger, nullable=False, comment="dense per project, in commit order"),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("calendar_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("change", Text, nullable=False),
    Column("changed", ARRAY(Text), nullable=False, comment="names of the fields that changed"),
    Column("before", JSONB, nullable=False, comment="former values of the changed fields"),
    *event_columns(),
    Column("sync_run_id", BigInteger, comment="null: not made by a sync"),
    PrimaryKeyConstraint("project_id", "seq", "recorded_at"),
    CheckConstraint("change IN ('created', 'updated', 'deleted', 'restored')", name="change"),
    Index("ix_event_history_event", "event_id", "version"),
    Index("ix_event_history_calendar", "calendar_id", "seq"),
    postgresql_partition_by="RANGE (recorded_at)",
    comment="Every version of every event, append-only, partitioned by month of recorded_at.",
)
