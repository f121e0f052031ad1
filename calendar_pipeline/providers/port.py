"""What a calendar provider is to us: a grant, and news since a cursor."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from calendar_pipeline.event import Item, Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of time. An event is in it if it ends after `start` and starts before `end`."""

    start: datetime
    end: datetime

    def overlaps(self, starts_at: datetime, ends_at: datetime) -> bool:
        """The providers' own rule: both bounds exclusive; an event without length counts at its instant."""
        return ends_at > self.start and starts_at < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user's grant to the customer's OAuth client."""

    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a request to the provider carries."""

    access_token: str = field(repr=False)
    expires_at: datetime
    refresh_token: str | None = field(default=None, repr=False)
    """Set if the provider rotated the refresh token: store it before the grant is used."""
    account: str | None = None
    """The account behind the grant as the provider names it, if it did: calendars of one account share its limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where the next read starts."""

    token: str = field(repr=False)
    parameters: str
    """Fingerprint of the request parameters that must not change while the token lives."""
    time_zone: str | None = None
    """The calendar's zone when the token was issued; all-day events stand in it."""
    window: Window | None = None
    """The window that was listed when the cursor was made; what lies outside need not be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the reader must know of an event that we hold, to see that it is missing from a listing."""

    provider_event_id: str
    series_id: str | None
    starts_at: datetime
    ends_at: datetime


@contextmanager
def _at_once() -> Generator[None]:
    yield


@dataclass(slots=True)
class Meter:
    """What a read cost. Filled while it runs, so that a failed read is counted too."""

    turn: Callable[[], AbstractContextManager[None]] = _at_once
    """Held during each request: entering may wait for a turn, or raise TryLater."""
    requests: int = 0
    response_bytes: int = 0
    pages: int = 0

    def count(self, response_bytes: int) -> None:
        """One answered request."""
        self.requests += 1
        self.response_bytes += response_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a provider had to tell since a cursor."""

    items: Sequence[Item]
    cursor: Cursor
    """Where the next read starts. Save it together with `items`, or not at all."""
    complete: Window | None = None
    """If set, `items` are all events in that window: one left out is gone.
    If None, `items` are only what changed: one left out is as it was."""
    why: str = "changes"
    """``changes`` for an incremental answer, else what made it a listing: ``first``, ``asked``, ``cursor_expired`` …"""
    announced: frozenset[str] | None = None
    """For a listing that was compared with the cursor's own answer: ids of events and series which that answer named.
    Whatever else differs from what we held was kept from us until now. None: no such comparison was made."""


class CalendarProvider(Protocol):
    """One provider. Every method raises `errors.ProviderError`; none holds state of a calendar."""

    @property
    def platform(self) -> Platform:
        """The platform's name in the API."""
        ...

    @property
    def parameters(self) -> str:
        """Fingerprint of the request parameters; a cursor made with others is of no use."""
        ...

    def authorize(self, credentials: Credentials, *, now: datetime, meter: Meter, claims: str | None = None) -> Grant:
        """A fresh access token; `claims` as `TokenRefused` told them, if it did."""
        ...

    def news(
        self,
        grant: Grant,
        calendar: str | None,
        *,
        since: Cursor | None,
        window: Window,
        relist: bool = False,
        meter: Meter,
    ) -> News:
        """What changed since the cursor, or all of `window` if there is none or the provider wants a listing.

        With `relist` it is a listing in any case, and the cursor's answer is read only to compare (`announced`).
        """
        ...

    def look_up(
        self, grant: Grant, calendar: str | None, missing: Sequence[Known], *, time_zone: str | None, meter: Meter
    ) -> Sequence[Item]:
        """Say of each missing event what became of it: moved away (an Event) or gone (a Tombstone).

        One that is not mentioned in the answer is gone.
        """
        ...


EXPIRY_MARGIN = timedelta(seconds=60)


def is_fresh(grant: Grant | None, *, now: datetime) -> bool:
    """Whether an access token can still be used for a read that starts now."""
    return grant is not None and grant.expires_at - now > EXPIRY_MARGIN
