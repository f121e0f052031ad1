"""From what a person says ("Weekly, Tuesday 15:00, with bob") to Google's JSON, and back to an event's id."""

from datetime import datetime, timedelta
from typing import Any

from sandbox.errors import Missing, Unusable
from sandbox.model import Calendar, Event
from sandbox.when import Day, as_json, end_of, instant, parse

Json = dict[str, Any]


def body(
    *,
    account: str,
    zone: str,
    title: str,
    start: str,
    end: str | None,
    minutes: int,
    recurrence: list[str] | None,
    attendees: list[str] | None,
    organizer: str | None,
    location: str | None,
    description: str | None,
    linked: Json,
) -> Json:
    """The event as an insert would carry it."""
    begins = parse(start, zone)
    duration = timedelta(days=1) if isinstance(begins, Day) else timedelta(minutes=minutes)
    ends = parse(end, zone) if end is not None else end_of(begins, duration)
    made: Json = {"summary": title, "start": as_json(begins, zone), "end": as_json(ends, zone)}
    made |= {"location": location, "description": description, "recurrence": recurrence}
    if isinstance(begins, Day):
        made["transparency"] = "transparent"
        made["start"]["timeZone"] = zone
    if organizer is not None and organizer != account:
        made["organizer"] = made["creator"] = {"email": organizer}
    if attendees:
        made["attendees"] = people(account, organizer or account, attendees)
    made |= linked
    return {name: value for name, value in made.items() if value is not None}


def people(account: str, organizer: str, addresses: list[str]) -> list[Json]:
    """The attendees: the organizer first, the calendar's owner always among them."""
    everyone = dict.fromkeys([organizer, account, *addresses])
    rows: list[Json] = []
    for address in everyone:
        row: Json = {
            "email": address,
            "responseStatus": "accepted" if address in (organizer, account) else "needsAction",
        }
        row |= {"organizer": True} if address == organizer else {}
        row |= {"self": True} if address == account else {}
        rows.append(row)
    return rows


def choose(calendar: Calendar, name: str, now: datetime, *, cancelled: bool = False) -> str:
    """The id of the one event whose title holds `name`; raises `Unusable` naming the candidates."""
    found = [one for one in calendar.events.values() if name.lower() in str(one.fields.get("summary", "")).lower()]
    if cancelled:
        found = sorted((one for one in found if one.cancelled or one.called_off), key=lambda one: one.seq)[-1:]
    found = [one for one in found if one.series_id is None] or found
    if len(found) > 1:
        found = [one for one in found if not one.cancelled] or found
    if len(found) > 1:
        found = [one for one in found if one.recurrence or instant(one.end, calendar.zone) > now] or found
    if len(found) > 1:
        found = [one for one in found if one.fields.get("summary") == name] or found
    if not found:
        kind = "cancelled event" if cancelled else "event"
        message = f"No {kind} in {calendar.id} has the id or a title like {name!r}. `events` shows what there is."
        raise Missing(message)
    if len(found) > 1:
        message = f"{len(found)} events have a title like {name!r}: {_named(found)}. Say which by its id."
        raise Unusable(message)
    return found[0].id


def _named(events: list[Event]) -> str:
    rows = [f"{one.fields.get('summary')} ({one.id})" for one in events[:5]]
    return ", ".join(rows) + (", …" if len(events) > len(rows) else "")
