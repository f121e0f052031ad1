"""The tables. Migrations create them; a test compares the two.

Table names are singular; instants are ``timestamptz``; ids are made by the application.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _at(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _created() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp())


project = Table(
    "project",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    _created(),
    comment="A tenant: the application whose users' calendars are followed.",
)

project_counter = Table(
    "project_counter",
    metadata,
    Column("project_id", Text, ForeignKey("project.id", ondelete="CASCADE"), primary_key=True),
    Column("n", BigInteger, nullable=False, server_default=text("0")),
    comment="The last history sequence number given out; taken last in a transaction, so order is commit order.",
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("project.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("key_hash", LargeBinary, nullable=False, unique=True, comment="SHA-256 of the key"),
    Column("last_four", Text, nullable=False),
    _created(),
    _at("last_used_at"),
    _at("revoked_at"),
)

webhook_secret = Table(
    "webhook_secret",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("project.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("secret", LargeBinary, nullable=False, comment="sealed"),
    _created(),
    _at("retired_at"),
)

calendar = Table(
    "calendar",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("project.id", ondelete="CASCADE"), nullable=False),
    Column("platform", Text, nullable=False),
    Column("platform_uuid", Text, comment="the provider's calendar id; null: the account's primary calendar"),
    Column("client_id", Text, nullable=False),
    Column("client_secret", LargeBinary, nullable=False, comment="sealed"),
    Column("refresh_token", LargeBinary, nullable=False, comment="sealed"),
    Column("access_token", LargeBinary, comment="sealed; a cache"),
    _at("access_token_expires_at"),
    Column("deduplication_key", Text),
    Column("metadata", JSON),
    Column("state", Text, nullable=False, server_default=text("'connected'")),
    Column("connection_failure_data", JSON),
    _created(),
    _at("updated_at", nullable=False),
    _at("last_successful_sync_at"),
    _at("last_attempted_sync_at"),
    # What the next sync needs. A sync claims the row by lease; only the holder of the token may finish it.
    Column("sync_token", Text),
    Column("sync_parameters", Text),
    Column("time_zone", Text),
    _at("held_from"),
    _at("held_until"),
    _at("relist_at"),
    Column("requested_gen", BigInteger, nullable=False, server_default=text("1")),
    Column("synced_gen", BigInteger, nullable=False, server_default=text("0")),
    _at("next_sync_at"),
    Column("failures", Integer, nullable=False, server_default=text("0"), comment="failed syncs in a row"),
    _at("suspected_at"),
    Column(
        "reason",
        Text,
        comment="user_must_reconnect, operator_must_act, retrying, credential_unreadable, unexplained; "
        "null: all is well",
    ),
    Column("reason_code", Text, comment="the provider's machine code"),
    _at("reason_since"),
    Column("quarantined", Integer, nullable=False, server_default=text("0"), comment="events set aside now"),
    Column("unpublished", Boolean, nullable=False, server_default=true(), comment="Dagster is still to be told"),
    Column("lease_token", Uuid),
    _at("lease_until"),
    CheckConstraint("platform IN ('google', 'microsoft')", name="platform"),
    CheckConstraint("state IN ('connected', 'disconnected')", name="state"),
    CheckConstraint("synced_gen <= requested_gen", name="generation"),
    UniqueConstraint("project_id", "deduplication_key"),
    Index("ix_calendar_page", "project_id", text("created_at DESC"), text("id DESC")),
    Index("ix_calendar_due", "next_sync_at", postgresql_where=text("next_sync_at IS NOT NULL")),
    comment="A followed calendar: credentials, connection state, and where its next sync starts.",
)


def event_columns() -> list[Column[object]]:
    """The typed fields of an event, the same in `calendar_event` and `event_history`."""
    return [
        Column("provider_event_id", Text, nullable=False),
        Column("ical_uid", Text),
        Column("title", Text),
        _at("starts_at", nullable=False),
        _at("ends_at", nullable=False),
        Column("start_date", Date),
        Column("end_date", Date),
        _at("start_time", nullable=False),
        _at("end_time", nullable=False),
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
        _at("original_starts_at"),
        Column("location", Text),
        Column("visibility", Text, nullable=False),
        Column("is_busy", Boolean, nullable=False),
        Column("event_type", Text, nullable=False),
        _at("provider_updated_at"),
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
    _at("created_at", nullable=False),
    _at("updated_at", nullable=False),
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
    _at("covers_until"),
    Column("digest", LargeBinary, comment="of all event fingerprints of a listing; equal means the same content"),
    Column("token_kind", Text, comment="cached or fresh access token"),
    Index("ix_sync_run_drift", "id", postgresql_where=text("drift > 0")),
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

calendar_status = Table(
    "calendar_status",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("calendar_id", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("reason_code", Text),
    Index("ix_calendar_status_calendar", "calendar_id", text("id DESC")),
    comment="Each change of a calendar's state or reason, with its time.",
)

oauth_client = Table(
    "oauth_client",
    metadata,
    Column("platform", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column(
        "refusals",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="users' grants refused since refusals_since",
    ),
    _at("refusals_since"),
    _at("last_granted_at"),
    Column("paused_until", DateTime(timezone=True), comment="no calendar of this client is read before"),
    Column("paused_code", Text),
    PrimaryKeyConstraint("platform", "client_id"),
    comment="How each customer's OAuth client fares: refused grants, pauses.",
)
