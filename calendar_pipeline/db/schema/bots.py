"""Which bot joins what and when, and why each of them is as it is."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from calendar_pipeline.db.schema.columns import at, created, metadata

LIVE = "gone_at IS NULL AND state NOT IN ('fatal_error', 'ended', 'data_deleted')"
"""A bot whose deduplication key is taken."""

bot = Table(
    "bot",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("project.id", ondelete="CASCADE"), nullable=False),
    Column("calendar_id", Text, ForeignKey("calendar.id", ondelete="SET NULL")),
    Column("event_id", Text, ForeignKey("calendar_event.id", ondelete="SET NULL")),
    Column("name", Text, nullable=False),
    Column("meeting_url", Text, nullable=False, comment="normalised"),
    at("join_at"),
    Column("state", Text, nullable=False),
    Column("transcription_state", Text, nullable=False, server_default=text("'not_started'")),
    Column("recording_state", Text, nullable=False, server_default=text("'not_started'")),
    Column("events", JSONB, nullable=False, server_default=text("'[]'"), comment="as the API shows them, oldest first"),
    Column("metadata", JSON),
    Column("deduplication_key", Text),
    Column("settings", LargeBinary, comment="sealed JSON: what else the bot was made with; may hold stream keys"),
    Column("made_by", Text, nullable=False, server_default=text("'client'")),
    Column("unwanted_because", Text, comment="why the rules do not want the bot that they made; null: they do"),
    created(),
    at("updated_at", nullable=False),
    # What the bot last followed. A client's own join_at or meeting_url stays until the event's changes.
    Column("event_version", Integer, comment="of the event, when the bot was last planned"),
    at("follows_start"),
    Column("follows_link", Text),
    at("ends_at"),
    at("suspended_at"),
    Column("suspended_because", Text, comment="the event has no meeting link"),
    # Gone to API clients. All but bots deleted by a client come back when the reason passes.
    at("gone_at"),
    Column("gone_because", Text),
    # Launching. Work on a bot is claimed by lease; only the holder of the token may write what came of it.
    Column("due_at", DateTime(timezone=True), comment="when the bot is to be looked at; null: when its event changes"),
    Column(
        "asked",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="counts what came in; a plan made before counts no more",
    ),
    Column("attempts", Integer, nullable=False, server_default=text("0"), comment="hand-overs tried in a row"),
    Column("launch", Integer, nullable=False, server_default=text("1"), comment="2: replaced after a recall"),
    at("sent_at"),
    at("handed_at"),
    Column("reported_at", DateTime(timezone=True), comment="when what the runner last told happened"),
    Column("runner_bot_id", Text, comment="the runner's own id of this bot"),
    Column("lease_token", Uuid),
    at("lease_until"),
    CheckConstraint("made_by IN ('client', 'rules')", name="made_by"),
    CheckConstraint("(gone_at IS NULL) = (gone_because IS NULL)", name="gone"),
    Index(
        "uq_bot_deduplication_key",
        "project_id",
        "deduplication_key",
        unique=True,
        postgresql_where=text(f"deduplication_key IS NOT NULL AND {LIVE}"),
    ),
    Index("ix_bot_page", "project_id", "created_at", "id", postgresql_where=text("gone_at IS NULL")),
    Index("ix_bot_meeting_url", "project_id", "meeting_url", postgresql_where=text("gone_at IS NULL")),
    Index("ix_bot_join_at", "project_id", "join_at", postgresql_where=text("gone_at IS NULL")),
    Index("ix_bot_event", "event_id", postgresql_where=text("event_id IS NOT NULL")),
    Index("ix_bot_calendar", "calendar_id", postgresql_where=text("calendar_id IS NOT NULL")),
    Index("ix_bot_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    comment="Each bot: what it joins, what it follows, how far its launch is.",
)

bot_event = Table(
    "bot_event",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("bot_id", Text, ForeignKey("bot.id", ondelete="CASCADE"), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("decision", Text, nullable=False, comment="made, moved, suspended, launched, ..."),
    Column("reason", Text, nullable=False, comment="one line"),
    Column("event_id", Text),
    Column("event_version", Integer, comment="the version of the event that caused it"),
    Column("old_state", Text),
    Column("new_state", Text),
    Column("type", Text, comment="of the event that the API shows, if it shows one"),
    Column("sub_type", Text),
    Column("details", JSON),
    Index("ix_bot_event_bot", "bot_id", "id"),
    Index("ix_bot_event_event", "event_id", "event_version", postgresql_where=text("event_id IS NOT NULL")),
    comment="Each decision about a bot, with the reason and the event's version that caused it.",
)

bot_position = Table(
    "bot_position",
    metadata,
    Column("project_id", Text, ForeignKey("project.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", BigInteger, nullable=False, server_default=text("0"), comment="history read up to here"),
    comment="How far the bots of each project have followed its history.",
)

bot_rules = Table(
    "bot_rules",
    metadata,
    Column("project_id", Text, ForeignKey("project.id", ondelete="CASCADE"), primary_key=True),
    Column("rules", JSON, comment="which meetings get a bot, per project and per calendar; null: none"),
    Column("settings", LargeBinary, comment="sealed JSON: what the bots are made with; may hold stream keys"),
    Column("seq", BigInteger, nullable=False, comment="history judged up to here"),
    at("updated_at", nullable=False),
    comment="Rules by which a project's bots are made. A project without rules has no row.",
)

bot_rules_review = Table(
    "bot_rules_review",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("project_id", Text, ForeignKey("project.id", ondelete="CASCADE"), nullable=False),
    Column("calendar_id", Text, comment="of this calendar alone"),
    Column("event_id", Text, comment="this event alone"),
    at("after_end", comment="events are judged in order of their ends; up to here they are"),
    Column("after_id", Text, nullable=False, server_default=text("''")),
    Index("ix_bot_rules_review_project", "project_id", "id"),
    comment="Upcoming events to be judged again: rules, a calendar's state or an override changed.",
)

bot_override = Table(
    "bot_override",
    metadata,
    Column("event_id", Text, ForeignKey("calendar_event.id", ondelete="CASCADE"), primary_key=True),
    Column("is_wanted", Boolean, nullable=False, comment="a person's yes or no, which goes before the rules"),
    at("at", nullable=False),
    comment="Events for which somebody said whether a bot joins.",
)
