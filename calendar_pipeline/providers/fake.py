"""A provider in memory: the port's second kind of implementation.

It keeps every promise of `port.CalendarProvider` by the simplest means, so it says what the promises are, and a stage
can be tried without a network. It has accounts, calendars with a log of changes, grants, and refusals on demand. The
contract suite (``tests/contract/providers``) holds it to the same facts as the real ones.
"""

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from calendar_pipeline.errors import (
    AccessRevoked,
    CursorExpired,
    OperatorMustAct,
    ProviderError,
    TokenRefused,
)
from calendar_pipeline.event import Event, Item, Platform, Tombstone
from calendar_pipeline.providers.missing import MAX_LOOK_UPS
from calendar_pipeline.providers.port import Credentials, Cursor, Grant, Known, Meter, News, Window

PARAMETERS = "fake"
TOKEN_LIFE = timedelta(hours=1)


@dataclass(slots=True)
class _Calendar:
    events: dict[str, Event] = field(default_factory=dict[str, Event])
    log: list[tuple[str, str | None]] = field(default_factory=list[tuple[str, "str | None"]])
    """Event and series of each change; a cursor is a length of it."""
    forgotten: int = 0
    """Cursors below this are not honoured any more."""


class FakeProvider:
    """Any number of accounts with one primary calendar each, and more calendars by name. Not for several threads."""

    def __init__(self, *, clock: Callable[[], datetime], platform: Platform = "google", rotates: bool = False) -> None:
        self._clock = clock
        self._platform: Platform = platform
        self._rotates = rotates
        self._secrets: dict[str, str] = {}
        self._accounts: dict[str, tuple[str, str]] = {}
        self._access: dict[str, tuple[str, datetime]] = {}
        self._calendars: dict[str, _Calendar] = {}
        self._refusals: deque[ProviderError] = deque()

    # -- what people and operators do

    def connect(self, account: str, *, client_id: str = "client", client_secret: str = "secret") -> Credentials:  # noqa: S107 - a play secret
        """The user connects: credentials of a new grant, and the account's calendar if it is new."""
        self._secrets.setdefault(client_id, client_secret)
        self._calendars.setdefault(account, _Calendar())
        refresh_token = secrets.token_hex(8)
        self._accounts[refresh_token] = (account, client_id)
        return Credentials(client_id=client_id, client_secret=client_secret, refresh_token=refresh_token)

    def put(self, calendar: str, *events: Event) -> None:
        """Add events, or change those of the same id."""
        kept = self._calendars[calendar]
        for event in events:
            kept.events[event.provider_event_id] = event
            kept.log.append((event.provider_event_id, event.series_id))

    def remove(self, calendar: str, event_id: str) -> None:
        """Delete an event, an instance, or a series with all its instances."""
        kept = self._calendars[calendar]
        gone = [key for key, event in kept.events.items() if event_id in (key, event.series_id)]
        for key in gone:
            kept.log.append((key, kept.events.pop(key).series_id))

    def forget_cursors(self, calendar: str) -> None:
        """Cursors given so far are of no use from now on."""
        self._calendars[calendar].forgotten = len(self._calendars[calendar].log) + 1
        self._calendars[calendar].log.append(("", None))

    def forget_access_tokens(self) -> None:
        """Access tokens given so far are refused from now on."""
        self._access.clear()

    def disconnect(self, account: str) -> None:
        """The user withdraws every grant."""
        self._accounts = {token: of for token, of in self._accounts.items() if of[0] != account}

    def delete_calendar(self, calendar: str) -> None:
        """The calendar is not there any more."""
        del self._calendars[calendar]

    def change_secret(self, client_id: str) -> None:
        """The operator's secret is not honoured any more."""
        self._secrets[client_id] = secrets.token_hex(8)

    def refuse(self, *errors: ProviderError) -> None:
        """The next requests are answered with these errors, one each."""
        self._refusals.extend(errors)

    # -- the port

    @property
    def platform(self) -> Platform:
        """As given."""
        return self._platform

    @property
    def parameters(self) -> str:
        """Always the same."""
        return PARAMETERS

    def authorize(self, credentials: Credentials, *, now: datetime, meter: Meter, claims: str | None = None) -> Grant:  # noqa: ARG002 - none are demanded
        """An access token for an hour."""
        self._request(meter)
        if self._secrets.get(credentials.client_id) != credentials.client_secret:
            raise OperatorMustAct("invalid_client")
        account, client = self._accounts.get(credentials.refresh_token, ("", ""))
        if client != credentials.client_id:
            raise AccessRevoked("invalid_grant", body={"error": "invalid_grant"})
        rotated = None
        if self._rotates:
            rotated = self.connect(account, client_id=client).refresh_token
        token = secrets.token_hex(8)
        self._access[token] = (account, now + TOKEN_LIFE)
        return Grant(access_token=token, expires_at=now + TOKEN_LIFE, refresh_token=rotated, account=account)

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
        """Changes of any date since the cursor, or all of the window."""
        why = "asked"
        announced: frozenset[str] | None = None
        if since is not None:
            try:
                told = self._changes(grant, calendar, since, meter)
            except CursorExpired:
                why = "cursor_expired"
            else:
                kept = self._calendar(grant, calendar)
                if not relist:
                    items = [kept.events.get(key) or Tombstone(provider_event_id=key) for key, _ in told]
                    return News(items=items, cursor=_cursor(kept, since.window))
                announced = frozenset(name for pair in told for name in pair if name)
        self._request(meter)
        kept = self._calendar(grant, calendar)
        items = [event for event in kept.events.values() if window.overlaps(event.starts_at, event.ends_at)]
        return News(items=items, cursor=_cursor(kept, window), complete=window, why=why, announced=announced)

    def look_up(
        self,
        grant: Grant,
        calendar: str | None,
        missing: Sequence[Known],
        *,
        time_zone: str | None,  # noqa: ARG002 - events have their own
        meter: Meter,
    ) -> Sequence[Item]:
        """Those that are somewhere else now."""
        if len(missing) > MAX_LOOK_UPS:
            return ()
        self._request(meter)
        kept = self._calendar(grant, calendar)
        return [kept.events[one.provider_event_id] for one in missing if one.provider_event_id in kept.events]

    def _changes(
        self, grant: Grant, calendar: str | None, since: Cursor, meter: Meter
    ) -> Sequence[tuple[str, str | None]]:
        self._request(meter)
        kept = self._calendar(grant, calendar)
        if int(since.token) < kept.forgotten:
            raise CursorExpired("gone")
        return list(dict.fromkeys(kept.log[int(since.token) :]))

    def _calendar(self, grant: Grant, calendar: str | None) -> _Calendar:
        account, until = self._access.get(grant.access_token, ("", self._clock()))
        if until <= self._clock():
            raise TokenRefused("unknown_token")
        kept = self._calendars.get(calendar or account)
        if kept is None:
            raise AccessRevoked("notFound", needs_confirmation=True)
        return kept

    def _request(self, meter: Meter) -> None:
        with meter.turn():
            meter.count(0)
        if self._refusals:
            raise self._refusals.popleft()


def _cursor(kept: _Calendar, window: Window | None) -> Cursor:
    return Cursor(token=str(len(kept.log)), parameters=PARAMETERS, window=window)
