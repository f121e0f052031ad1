"""What can be told, and a change of a bot. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

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
