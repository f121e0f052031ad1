"""A calendar event in our words, whatever provider told it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

Platform = Literal["google", "microsoft"]
Response = Literal["accepted", "declined", "tentative", "needs_action", "organizer", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendee:
    """A person or resource invited. Both names may be missing: providers hide guests."""

    email: str | None
    name: str | None
    response: Response | None = None
    is_optional: bool = False
    is_self: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One meeting at one time: a single event or one instance of a series. Instants are aware and UTC."""

    provider_event_id: str
    ical_uid: str | None = None
    title: str | None = None
    starts_at: datetime
    """The true instant. An all-day event starts at midnight in its calendar's zone."""
    ends_at: datetime
    start_date: date | None = None
    """Set for all-day events, with `end_date` exclusive."""
    end_date: date | None = None
    start_time: datetime
    """As the API shows it: equal to `starts_at`, but midnight UTC for an all-day event without a zone of its own."""
    end_time: datetime
    time_zone: str | None = None
    status: Literal["confirmed", "tentative"] = "confirmed"
    meeting_url: str | None = None
    """The first meeting link as it stands in the event."""
    meeting_link: str | None = None
    """The same link, unwrapped and normalised."""
    meeting_platform: str | None = None
    meeting_key: str | None = None
    organizer_email: str | None = None
    own_response: Response | None = None
    attendees: tuple[Attendee, ...] = ()
    series_id: str | None = None
    original_starts_at: datetime | None = None
    location: str | None = None
    visibility: str = "default"
    is_busy: bool = True
    event_type: str = "default"
    provider_updated_at: datetime | None = None
    raw: Mapping[str, object]
    """The provider's JSON as received, long texts cut."""
    noise: frozenset[str] = frozenset()
    """Keys of `raw` that may differ without anything having happened (etags, modification times)."""

    @property
    def is_all_day(self) -> bool:
        """Whether the event is made of whole days."""
        return self.start_date is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """The provider says that this event is gone."""

    provider_event_id: str
    with_instances: bool = False
    """If set, every instance of the series `provider_event_id` is gone too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Awkward:
    """An event that cannot be kept as it is. It is set aside with its reason; its neighbours are not held up."""

    provider_event_id: str
    reason: str
    """A short machine-readable reason such as ``no_end``; never a text out of the event."""
    raw: Mapping[str, object]


Item = Event | Tombstone | Awkward
