"""Events as Google writes them in JSON. Pure: nothing here changes an event."""

from typing import Any

from sandbox.model import Calendar, Event
from sandbox.occurrence import Occurrence
from sandbox.when import as_json, stamp

_BUSY_ONLY = ("eventType", "transparency")
_PRIVATE = ("private", "confidential")


def item(calendar: Calendar, found: Occurrence, *, zone: str, max_attendees: int | None = None) -> dict[str, Any]:
    """One row of events.list, times written with the offsets of `zone`."""
    event, master = found.event, found.event.series_id is None and found.original is not None
    shown = _stub(found, event.seq) | {"status": event.status}
    shown["htmlLink"] = f"https://www.google.com/calendar/event?eid={found.id}"
    shown["created"], shown["updated"] = stamp(event.created_at), stamp(event.updated_at)
    shown |= _visible(calendar, event)
    _limit_attendees(shown, max_attendees)
    shown["start"], shown["end"] = as_json(found.start, zone), as_json(found.end, zone)
    if found.original is not None:
        shown["recurringEventId"] = event.id if master else event.series_id
        shown["originalStartTime"] = as_json(found.original, zone)
    elif event.recurrence:
        shown["recurrence"] = list(event.recurrence)
    shown["iCalUID"] = event.ical_uid
    return shown


def tombstone(
    calendar: Calendar, found: Occurrence, *, zone: str, full: bool, living_series: bool, seq: int | None = None
) -> dict[str, Any]:
    """A cancelled item: full detail, or only what Google guarantees (§ "status" of the event resource).

    Guaranteed is the id, and for a cancelled exception of a living series also what it was an exception to.
    """
    if full:
        return item(calendar, found, zone=zone) | {"status": "cancelled"}
    shown = _stub(found, found.event.seq if seq is None else seq) | {"status": "cancelled"}
    if living_series and found.original is not None:
        shown["recurringEventId"] = found.event.series_id or found.event.id
        shown["originalStartTime"] = as_json(found.original, zone, with_zone=False)
    return shown


def etag(number: int) -> str:
    """A quoted version, as Google's."""
    return f'"{3500_000 + number * 2}"'


def _stub(found: Occurrence, seq: int) -> dict[str, Any]:
    return {"kind": "calendar#event", "etag": etag(seq), "id": found.id}


def _visible(calendar: Calendar, event: Event) -> dict[str, Any]:
    if calendar.access_role == "freeBusyReader":
        return {name: event.fields[name] for name in _BUSY_ONLY if name in event.fields}
    if calendar.access_role == "reader" and event.fields.get("visibility") in _PRIVATE:
        return {"visibility": event.fields["visibility"]}
    return event.fields


def _limit_attendees(shown: dict[str, Any], most: int | None) -> None:
    people: list[dict[str, Any]] = shown.get("attendees", [])
    if most is not None and len(people) > most:
        shown["attendees"] = [one for one in people if one.get("self")]
        shown["attendeesOmitted"] = True
