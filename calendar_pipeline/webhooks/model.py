"""What can be told, to whom, and what became of it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args
from uuid import UUID

CalendarTrigger = Literal["calendar.events_update", "calendar.state_change"]

TRIGGERS: tuple[str, ...] = (
    "bot.state_change",
    "transcript.update",
    "chat_messages.update",
    "participant_events.join_leave",
    *get_args(CalendarTrigger),
    "async_transcription.state_change",
    "zoom_oauth_connection.state_change",
    "bot_logs.update",
    "participant_events.speech_start_stop",
)
"""What a subscription may name, as Attendee's API lists it. This installation itself sends the first of them, the two
for calendars, and its own."""

DISABLED = "webhook.endpoint_disabled"
"""Our own trigger: told to a project's other endpoints when one of them is given up."""

TEST = "webhook.test"
"""Our own trigger: what a test delivery carries, whatever its subscription asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BotChange:
    """A bot went from one state to another."""

    bot_id: str
    event_type: str
    event_sub_type: str | None
    event_metadata: Mapping[str, object]
    old_state: str
    new_state: str
    at: datetime


Content = Literal["reference", "changes"]
"""What a calendar's webhook holds: that something changed, or the changes themselves as well."""

Ordering = Literal["none", "calendar"]

MOST_CONCURRENCY = 64
MOST_SUBSCRIPTIONS = 50
"""Of one project, those of bots not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """An endpoint that is told of events, and how it fares. Its secrets never leave the store in the clear."""

    id: str
    project_id: str
    bot_id: str | None
    """None: the project's."""
    url: str
    triggers: Sequence[str]
    content: Content
    ordering: Ordering
    concurrency: int
    has_own_secret: bool
    former_secret_until: datetime | None
    failures: int
    failing_since: datetime | None
    blocked_until: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubscription:
    """What is needed to make one."""

    url: str
    triggers: Sequence[str]
    bot_id: str | None = None
    content: Content = "reference"
    ordering: Ordering = "none"
    concurrency: int = 4
    secret: str | None = field(default=None, repr=False)
    """Base64; None: the project's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionPatch:
    """What is to be changed; None leaves a value as it is."""

    url: str | None = None
    triggers: Sequence[str] | None = None
    content: Content | None = None
    ordering: Ordering | None = None
    concurrency: int | None = None
    enabled: bool | None = None


DeliveryStatus = Literal["pending", "held", "delivered", "dead", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event for one endpoint. ``held``: pending, and its endpoint is disabled."""

    id: str
    project_id: str
    subscription_id: str
    calendar_id: str | None
    bot_id: str | None
    trigger: str
    idempotency_key: UUID
    body: bytes | None = field(repr=False)
    """None once it is past retention, and where there never was one that could be signed."""
    status: DeliveryStatus
    attempts: int
    next_attempt_at: datetime | None
    last_status: int | None
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """One attempt, as it is kept."""

    attempt: int
    started_at: datetime
    milliseconds: int
    outcome: Literal["delivered", "failed"]
    status: int | None
    error: str | None
    excerpt: str | None
