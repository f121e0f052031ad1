"""Hosted connect: a project's registered OAuth applications, and connections that a person is in the middle of."""

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY

from calendar_pipeline.db.schema.columns import at, created, metadata

oauth_application = Table(
    "oauth_application",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("project.id", ondelete="CASCADE"), nullable=False),
    Column("platform", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("client_secret", LargeBinary, nullable=False, comment="sealed"),
    Column("return_urls", ARRAY(Text), nullable=False, comment="where a person may be sent back to, letter for letter"),
    created(),
    at("updated_at", nullable=False),
    CheckConstraint("platform IN ('google', 'microsoft')", name="platform"),
    UniqueConstraint("project_id", "platform"),
    comment="The OAuth client that hosted connect uses for a project's users.",
)

connect_state = Table(
    "connect_state",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, ForeignKey("project.id", ondelete="CASCADE"), nullable=False),
    Column("application_id", Text, ForeignKey("oauth_application.id", ondelete="CASCADE"), nullable=False),
    Column("stage", Text, nullable=False, comment="offered, asked, answered, granted"),
    Column(
        "token_hash", LargeBinary, nullable=False, unique=True, comment="SHA-256 of the token that goes on from here"
    ),
    Column("browser_hash", LargeBinary, comment="SHA-256 of the cookie of the browser that began"),
    Column("verifier", LargeBinary, comment="sealed; PKCE"),
    Column("refresh_token", LargeBinary, comment="sealed; granted, and not yet a calendar's"),
    Column("account_id", Text, comment="the provider's subject"),
    Column("account_email", Text),
    Column("choices", JSON, comment="the account's calendars, while the person picks one"),
    Column("return_url", Text, nullable=False),
    Column("return_state", Text, comment="the application's own, handed back"),
    Column("user_label", Text, comment="for whom the application says it connects"),
    Column("login_hint", Text),
    Column("calendar_id", Text, comment="the calendar to reconnect"),
    Column("deduplication_key", Text),
    Column("metadata", JSON),
    created(),
    at("expires_at", nullable=False),
    CheckConstraint("stage IN ('offered', 'asked', 'answered', 'granted')", name="stage"),
    Index("ix_connect_state_expires", "expires_at"),
    comment="A connection under way. Each stage's token works once; rows live ten minutes.",
)

calendar_account = Table(
    "calendar_account",
    metadata,
    Column("calendar_id", Text, ForeignKey("calendar.id", ondelete="CASCADE"), primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("account_id", Text, nullable=False, comment="the provider's subject; a reconnect must show the same"),
    Column("account_email", Text),
    at("connected_at", nullable=False),
    comment="Whose account a calendar was connected with, where hosted connect saw it.",
)
