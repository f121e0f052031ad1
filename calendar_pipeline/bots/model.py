"""What a bot is, and which states it goes through. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, get_args

from calendar_pipeline.webhooks.model import NewSubscription

State = Literal[
    "ready",
    "joining",
    "joined_not_recording",
    "joined_recording",
    "leaving",
    "post_processing",
    "fatal_error",
    "waiting_room",
    "ended",
    "data_deleted",
    "scheduled",
    "staged",
    "joined_recording_paused",
    "joining_breakout_room",
    "leaving_breakout_room",
    "joined_recording_permission_denied",
]

STATES: Final[tuple[State, ...]] = get_args(State)

FILTERABLE: Final[tuple[str, ...]] = (*STATES, "connecting", "connected", "disconnecting")
"""States that a listing may be asked for; the last three belong to app sessions and no bot has them."""

TERMINAL: Final[frozenset[State]] = frozenset(("fatal_error", "ended", "data_deleted"))

EventType = Literal[
    "put_in_waiting_room",
    "joined_meeting",
    "recording_permission_granted",
    "meeting_ended",
    "left_meeting",
    "join_requested",
    "fatal_error",
    "leave_requested",
    "could_not_join_meeting",
    "post_processing_completed",
    "data_deleted",
    "staged",
    "recording_paused",
    "recording_resumed",
    "joined_breakout_room",
    "left_breakout_room",
    "began_joining_breakout_room",
    "began_leaving_breakout_room",
    "recording_permission_denied",
]

EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)

TranscriptionState = Literal["not_started", "in_progress", "complete", "failed"]
RecordingState = Literal["not_started", "in_progress", "complete", "failed", "paused"]

Gone = Literal[
    "deleted", "event_deleted", "event_declined", "event_over", "calendar_disconnected", "not_wanted", "superseded"
]
"""Why a bot is not there for API clients. ``deleted`` (by a client) and ``superseded`` (its deduplication key is
another bot's by now) are for good; the others pass when their reason does."""

MadeBy = Literal["client", "rules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    """A bot as the API shows it. `events` and `metadata` are JSON text, as stored."""

    id: str
    event_id: str | None
    name: str
    meeting_url: str
    state: State
    join_at: datetime | None
    transcription_state: TranscriptionState
    recording_state: RecordingState
    events: str
    metadata: str | None
    deduplication_key: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBot:
    """What is needed to make a bot. Texts are trimmed and free of NUL; `meeting_url` is normalised."""

    name: str
    meeting_url: str
    join_at: datetime | None = None
    """None: it joins at once."""
    event: "Followed | None" = None
    metadata: Mapping[str, object] | None = None
    deduplication_key: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict[str, object], repr=False)
    made_by: MadeBy = "client"
    webhooks: Sequence[NewSubscription] = ()
    """Who is told of this bot, in place of the project's endpoints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BotPatch:
    """What is to be changed; None leaves a value as it is."""

    name: str | None = None
    meeting_url: str | None = None
    join_at: datetime | None = None
    metadata: Mapping[str, object] | None = None
    settings: Mapping[str, object] = field(default_factory=dict[str, object], repr=False)
    """Settings objects, each of which replaces the former one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """An event as far as a bot cares."""

    id: str
    calendar_id: str
    version: int
    starts_at: datetime
    """As the API shows it: the bot's `join_at`."""
    ends_at: datetime
    link: str | None
    """Unwrapped and normalised."""
    is_deleted: bool
    own_response: str | None
    is_connected: bool
    """Whether its calendar is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a bot must match: everything that is not None."""

    meeting_url: str | None = None
    deduplication_key: str | None = None
    states: Sequence[str] = ()
    join_at_after: datetime | None = None
    join_at_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A line of a bot's record."""

    bot_id: str
    at: datetime
    decision: str
    reason: str
    event_id: str | None
    event_version: int | None
    old_state: State | None
    new_state: State | None
