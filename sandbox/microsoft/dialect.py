"""Microsoft's words and ways when somebody works on a calendar. See `sandbox.dialect.Dialect`."""

from datetime import datetime

from sandbox import edits
from sandbox.errors import Missing
from sandbox.ground import Ground
from sandbox.microsoft import entra, ids, render, view, words
from sandbox.microsoft.render import Manner
from sandbox.model import Calendar, Event, Grant, State
from sandbox.occurrence import Occurrence
from sandbox.replies import Json

SCOPE: str = "https://graph.microsoft.com/Calendars.Read https://graph.microsoft.com/User.Read offline_access"
SERIES: str = "seriesMasterId"
TITLE: str = "subject"
_MANNER = Manner()


def calendar_id(state: State, account: str, *, primary: bool) -> str:  # noqa: ARG001 - Google's differ
    """An opaque id."""
    state.made += 1
    return ids.calendar_id(account, state.made)


def grant(world: Ground, *, account: str, client_id: str, scope: str, refresh_token: str | None) -> Grant:
    """See `entra.grant`."""
    return entra.grant(
        world.state, account=account, client_id=client_id, scope=scope, now=world.now(), refresh_token=refresh_token
    )


def access(world: Ground, granted: Grant) -> str:
    """See `entra.access`."""
    return entra.access(world.state, granted, now=world.now())[0]


def own_id(calendar: Calendar, event_id: str) -> str:
    """Out of an id in either format."""
    return ids.own_id(calendar.id, event_id) or event_id


def event_id(calendar: Calendar, own_id: str) -> str:
    """The immutable one."""
    return ids.event_id(calendar.id, own_id)


def shown(calendar: Calendar, event_id: str) -> Json:
    """As a GET of the event shows it; declined ones can be looked at here."""
    event, original = edits.find(calendar, event_id)
    if not view.is_there(calendar, event, preserve_declined=True):
        message = f"The event {event_id!r} was deleted."
        raise Missing(message)
    return render.event(calendar, Occurrence(event, original), _MANNER)


def row(calendar: Calendar, found: Occurrence) -> Json:
    """The same, and deleted ones with `@removed`."""
    told = render.event(calendar, found, _MANNER)
    if view.is_there(calendar, found.event, preserve_declined=True):
        return told
    return told | {"@removed": {"reason": "deleted"}}


def listing(world: Ground, calendar: Calendar, low: datetime | None, high: datetime | None) -> list[Json]:
    """All items that a calendarView would give, in UTC and with immutable ids."""
    switches = world.microsoft_switches(calendar.id)
    found = view.occurrences(calendar, low, high, preserve_declined=switches.preserve_declined)
    manner = Manner(join_link_late=switches.online_meeting_late)
    ordered = sorted(found, key=lambda one: (view.starts_at(calendar, one), one.id))
    return [render.event(calendar, one, manner) for one in ordered]


def fields(_: Calendar, told: Json) -> Json:
    """Graph's words in the sandbox's own."""
    return words.own(told)


def linked(url: str | None) -> Json:
    """Kept as it is: `render` finds its place."""
    return {"link": url}


def cancel(calendar: Calendar, event_id: str, now: datetime) -> Event:
    """One's own meeting is deleted; others' stay, marked as cancelled."""
    event, _ = edits.find(calendar, event_id)
    if render.is_organizer(calendar, event):
        return edits.cancel(calendar, event_id, now)
    return edits.call_off(calendar, event_id, now)
