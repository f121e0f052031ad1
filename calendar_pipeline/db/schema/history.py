"""Events as they are, and every version of them."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
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
        Column("provider_event_id", Text, nullable=False, comment="the provider's id of the event or instance"),
        Column("ical_uid", Text, comment="the iCalendar UID: the same in every attendee's calendar"),
        Column("title", Text, comment="as it became; null: none, or private"),
        at(
            "starts_at",
            nullable=False,
            comment="true instant; an all-day event begins at its calendar's midnight",
        ),
        at("ends_at", nullable=False, comment="true instant of the end"),
        Column("start_date", Date, comment="set for all-day events only"),
        Column("end_date", Date, comment="set for all-day events only; exclusive"),
        at("start_time", nullable=False, comment="as the API shows it: for all-day events midnight UTC"),
        at("end_time", nullable=False, comment="as the API shows it"),
        Column("time_zone", Text, comment="IANA name of the event's zone, else of its calendar's"),
        Column("status", Text, nullable=False, comment="confirmed or tentative"),
        Column("meeting_url", Text, comment="the meeting link as it stands in the event"),
        Column("meeting_link", Text, comment="the link unwrapped and normalised"),
        Column("meeting_platform", Text, comment="zoom, google_meet, teams …; null: no link is recognised"),
        Column("meeting_key", Text, comment="equal for the same meeting, however its link is written"),
        Column("organizer_email", Text, comment="who called the meeting"),
        Column("own_response", Text, comment="the calendar owner's: accepted, declined, tentative …"),
        Column("attendees", JSON, nullable=False, comment="array of {email, name, response, is_optional, is_self}"),
        Column("series_id", Text, comment="the provider's id of the series; null: a single event"),
        at("original_starts_at", comment="where the instance stood in its series before it was moved"),
        Column("location", Text, comment="as it became"),
        Column("visibility", Text, nullable=False, comment="default, public, private or confidential"),
        Column("is_busy", Boolean, nullable=False, comment="whether it blocks the owner's time"),
        Column("event_type", Text, nullable=False, comment="the provider's kind of event; default for meetings"),
        at("provider_updated_at", comment="the provider's own stamp of its last change"),
        Column("raw", JSON, nullable=False, comment="the provider's JSON as received, long texts cut"),
        Column("fingerprint", LargeBinary, nullable=False, comment="digest of all content; equal means unchanged"),
        Column(
            "is_deleted",
            Boolean,
            nullable=False,
            server_default=false(),
            comment="gone at the provider; the last content stays",
        ),
    ]


EVENT_FIELDS: tuple[str, ...] = tuple(column.name for column in event_columns())

calendar_event = Table(
    "calendar_event",
    metadata,
    Column("id", Text, primary_key=True, comment="evt_…, as in the API; event_history.event_id"),
    Column("project_id", Text, nullable=False, comment="the tenant"),
    Column(
        "calendar_id",
        Text,
        ForeignKey("calendar.id", ondelete="CASCADE"),
        nullable=False,
        comment="cal_…, as in the API",
    ),
    Column("version", Integer, nullable=False, comment="number of its last version: 1, 2, 3, …"),
    *event_columns(),
    at("created_at", nullable=False, comment="when it was first recorded"),
    at("updated_at", nullable=False, comment="when its last version was recorded"),
    UniqueConstraint("calendar_id", "provider_event_id"),
    Index("ix_calendar_event_updated", "project_id", "updated_at", "id"),
    Index("ix_calendar_event_start", "project_id", "start_time", "id"),
    Index("ix_calendar_event_end", "project_id", "end_time", "id"),
    Index("ix_calendar_event_created", "project_id", "created_at", "id"),
    Index("ix_calendar_event_calendar_updated", "calendar_id", "updated_at", "id"),
    Index("ix_calendar_event_held", "calendar_id", "ends_at", "starts_at", postgresql_where=text("NOT is_deleted")),
    Index("ix_calendar_event_uid", "project_id", "ical_uid", "original_starts_at"),
    Index(
        "ix_calendar_event_link",
        "project_id",
        "meeting_key",
        "starts_at",
        postgresql_where=text("meeting_key IS NOT NULL"),
    ),
    Index("ix_calendar_event_series", "calendar_id", "series_id", postgresql_where=text("series_id IS NOT NULL")),
    comment="Each event as it is now; equals the last version in event_history.",
)

event_history = Table(
    "event_history",
    metadata,
    Column("project_id", Text, nullable=False, comment="the tenant"),
    Column("seq", BigInteger, nullable=False, comment="dense per project, in commit order"),
    at("recorded_at", nullable=False, comment="when the sync wrote it; the table is partitioned by its month (UTC)"),
    Column("calendar_id", Text, nullable=False, comment="cal_…, as in the API"),
    Column("event_id", Text, nullable=False, comment="evt_…, as in the API"),
    Column("version", Integer, nullable=False, comment="1, 2, 3, … of this event"),
    Column("change", Text, nullable=False, comment="created, updated, deleted or restored"),
    Column(
        "changed",
        ARRAY(Text),
        nullable=False,
        comment="names of the columns that changed",
    ),
    Column("before", JSONB, nullable=False, comment="former values of the changed columns, by name"),
    *event_columns(),
    Column("sync_run_id", BigInteger, comment="sync_run.id of the sync that wrote it; null: not made by a sync"),
    Column("erasure_id", Text, comment="the erasure that redacted it; null: as it was written"),
    PrimaryKeyConstraint("project_id", "seq", "recorded_at"),
    CheckConstraint("change IN ('created', 'updated', 'deleted', 'restored')", name="change"),
    Index("ix_event_history_event", "event_id", "version"),
    Index("ix_event_history_calendar", "calendar_id", "seq"),
    Index(
        "ix_event_history_as_of",
        "project_id",
        "calendar_id",
        "event_id",
        text("version DESC"),
        postgresql_include=["recorded_at", "seq", "is_deleted"],
    ),
    postgresql_partition_by="RANGE (recorded_at)",
    comment="Every version of every event, append-only, partitioned by month of recorded_at.",
)
