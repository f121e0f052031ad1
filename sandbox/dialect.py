"""What one provider does differently from the other when somebody works on a calendar.

`google.dialect` and `microsoft.dialect` are the two implementations, as modules.
"""

from datetime import datetime
from typing import Protocol

from sandbox.ground import Ground
from sandbox.model import Calendar, Event, Grant, State
from sandbox.occurrence import Occurrence
from sandbox.replies import Json


class Dialect(Protocol):
    """One provider's words and ways."""

    SCOPE: str
    """What is granted unless another scope is asked for."""
    SERIES: str
    """The key of an instance that names its series."""
    TITLE: str
    """The key of an event's title."""

    def calendar_id(self, state: State, account: str, *, primary: bool) -> str:
        """The id of a new calendar."""
        ...

    def grant(self, world: Ground, *, account: str, client_id: str, scope: str, refresh_token: str | None) -> Grant:
        """A new refresh token, this one if it is given."""
        ...

    def access(self, world: Ground, granted: Grant, /) -> str:
        """An access token for a grant."""
        ...

    def own_id(self, calendar: Calendar, event_id: str, /) -> str:
        """The sandbox's own id of the event that the provider calls `event_id`; own ids are taken as well."""
        ...

    def shown(self, calendar: Calendar, event_id: str, /) -> Json:
        """An event, instance or series by its own id, as a GET of it shows it; raises `Missing`."""
        ...

    def event_id(self, calendar: Calendar, own_id: str, /) -> str:
        """What the provider calls the event."""
        ...

    def row(self, calendar: Calendar, found: Occurrence, /) -> Json:
        """An event as it is kept, whether or not a GET would show it."""
        ...

    def listing(self, world: Ground, calendar: Calendar, low: datetime | None, high: datetime | None, /) -> list[Json]:
        """The oracle: all single events and instances in the window, by start."""
        ...

    def fields(self, calendar: Calendar, told: Json, /) -> Json:
        """Raw fields in the provider's JSON as `edits.patch` takes them."""
        ...

    def linked(self, url: str | None, /) -> Json:
        """The fields of an event with this meeting link, or without one."""
        ...

    def cancel(self, calendar: Calendar, event_id: str, now: datetime, /) -> Event:
        """The organizer cancels; raises `Missing`."""
        ...
