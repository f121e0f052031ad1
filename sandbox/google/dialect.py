"""Google's words and ways: the sandbox's own, so there is little to do. See `sandbox.dialect.Dialect`."""

from datetime import datetime

from sandbox import edits
from sandbox.google import listing as listings
from sandbox.google import oauth, render
from sandbox.google.links import conference
from sandbox.google.query import Query
from sandbox.ground import Ground
from sandbox.model import CALENDAR_SCOPE, Calendar, Event, Grant, State
from sandbox.occurrence import Occurrence
from sandbox.replies import Json

SCOPE: str = CALENDAR_SCOPE
SERIES: str = "recurringEventId"
TITLE: str = "summary"


def calendar_id(state: State, account: str, *, primary: bool) -> str:
    """The account's address for its first calendar."""
    if primary:
        return account
    state.made += 1
    return f"c_{state.made:020d}@group.calendar.google.com"


def grant(world: Ground, *, account: str, client_id: str, scope: str, refresh_token: str | None) -> Grant:
    """See `oauth.grant`."""
    cap = world.state.switches.refresh_tokens_per_account
    return oauth.grant(
        world.state, account=account, client_id=client_id, scope=scope, cap=cap, refresh_token=refresh_token
    )


def access(world: Ground, granted: Grant) -> str:
    """See `oauth.access`."""
    return oauth.access(world.state, granted, now=world.now())[0]


def own_id(_: Calendar, event_id: str) -> str:
    """The same."""
    return event_id


def shown(calendar: Calendar, event_id: str) -> Json:
    """As events.get shows it."""
    event, original = edits.find(calendar, event_id)
    return render.item(calendar, Occurrence(event, original), zone=calendar.zone)


def event_id(_: Calendar, own_id: str) -> str:
    """The same."""
    return own_id


def row(calendar: Calendar, found: Occurrence) -> Json:
    """As events.get shows it, which it does for cancelled ones too."""
    return render.item(calendar, found, zone=calendar.zone)


def listing(world: Ground, calendar: Calendar, low: datetime | None, high: datetime | None) -> list[Json]:
    """All items that events.list with singleEvents=true would give."""
    query = Query(low=low, high=high, single_events=True)
    switches = world.google_switches(calendar.id)
    return listings.Listing(calendar, query, switches, now=world.now(), epoch=world.state.epoch).oracle()


def fields(_: Calendar, told: Json) -> Json:
    """The same."""
    return told


def linked(url: str | None) -> Json:
    """Meet in `hangoutLink` and `conferenceData`, others as an add-on's."""
    return conference(url) if url else {"hangoutLink": None, "conferenceData": None}


def cancel(calendar: Calendar, event_id: str, now: datetime) -> Event:
    """To Google, cancelled is deleted."""
    return edits.cancel(calendar, event_id, now)
