"""What people do to a calendar. Each edit takes the next change number and leaves it on what it changed.

Refuses to know accounts, tokens or HTTP. Whatever is asked for in vain raises `Missing` or `Unusable`.
"""

import hashlib
import re
from base64 import b32hexencode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox import expand
from sandbox.errors import Missing, Unusable
from sandbox.microsoft import ids
from sandbox.model import Calendar, Event, Retired
from sandbox.when import Day, Moment, When, as_json, end_of, from_json, instant, later, length, suffix

_COMPUTED = ("kind", "etag", "id", "created", "updated", "htmlLink", "recurringEventId", "originalStartTime", "iCalUID")
_PLACED = ("start", "end", "recurrence", "status")
_RETIRED_CAP = 730


def insert(
    calendar: Calendar,
    body: Mapping[str, Any],
    now: datetime,
    *,
    event_id: str | None = None,
    ical_uid: str | None = None,
    series_id: str | None = None,
    original: When | None = None,
) -> Event:
    """Add an event given in Google's JSON (`start` and `end` at least)."""
    if event_id is None:
        event_id = _new_id(calendar)
    if event_id in calendar.events:
        message = f"The calendar already has an event {event_id}."
        raise Unusable(message)
    start, end = from_json(body["start"], calendar.zone), from_json(body["end"], calendar.zone)
    _check_order(start, end)
    recurrence = tuple(body.get("recurrence") or ())
    if recurrence:
        expand.check(start, recurrence)
    organizer = {"email": calendar.account, "self": True}
    fields: dict[str, Any] = {"eventType": "default", "creator": organizer, "organizer": organizer, "sequence": 0}
    fields |= {k: v for k, v in body.items() if k not in _COMPUTED and k not in _PLACED and v is not None}
    fields.setdefault("reminders", {"useDefault": True})
    event = Event(
        id=event_id,
        start=start,
        end=end,
        fields=fields,
        ical_uid=ical_uid or _ical_uid(calendar, event_id),
        status=body.get("status", "confirmed"),
        recurrence=recurrence,
        series_id=series_id,
        original=original,
        created_at=now,
    )
    if calendar.provider == "microsoft":
        event.zone = str(body["start"].get("timeZone") or calendar.zone)
    calendar.events[event_id] = event
    event.born = calendar.seq + 1
    return touch(calendar, event, now)


def touch(calendar: Calendar, event: Event, now: datetime) -> Event:
    """Give `event` the next change number."""
    calendar.seq += 1
    event.seq = calendar.seq
    event.updated_at = calendar.updated_at = now
    return event


def find(calendar: Calendar, event_id: str) -> tuple[Event, When | None]:
    """The stored event of this id; or the master and the original start, if it is a computed instance."""
    if (event := calendar.events.get(event_id)) is not None:
        return event, None
    series_id, _, ending = event_id.rpartition("_")
    master = calendar.events.get(series_id)
    if master is not None and master.recurrence and (original := _original(master, ending)) is not None:
        return master, original
    message = f"The calendar {calendar.id} has no event {event_id!r}."
    raise Missing(message)


def exceptions(calendar: Calendar, series_id: str) -> list[Event]:
    """The stored exceptions of a series, cancelled ones too."""
    return [event for event in calendar.events.values() if event.series_id == series_id]


def patch(calendar: Calendar, event_id: str, changes: Mapping[str, Any], now: datetime) -> Event:
    """Set raw fields (Google's JSON; None removes one) on a single event, one instance, or a whole series.

    New times or rules of a series give its instances new ids: changed exceptions are dropped, as Google does,
    and cancelled ones stay cancelled where the shifted series still has that instance.
    """
    event = _stored(calendar, event_id, now)
    start, end = event.start, event.end
    if (told := changes.get("start")) is not None:
        start = from_json(told, calendar.zone)
        end = end_of(start, length(event.start, event.end)) if "end" not in changes else end
    if (told := changes.get("end")) is not None:
        end = from_json(told, calendar.zone)
    _check_order(start, end)
    if event.recurrence:
        recurrence = tuple(changes["recurrence"]) if changes.get("recurrence") else event.recurrence
        _reschedule(calendar, event, start, recurrence, now)
    elif changes.get("recurrence"):
        _repeat(event, start, tuple(changes["recurrence"]))
    if (event.start, event.end) != (start, end):
        event.fields = event.fields | {"sequence": int(event.fields.get("sequence", 0)) + 1}
    event.start, event.end = start, end
    event.status = str(changes.get("status") or event.status)
    plain = {name: value for name, value in changes.items() if name not in _PLACED and name not in _COMPUTED}
    for exception in exceptions(calendar, event.id) if event.recurrence else []:
        inherited = {k: v for k, v in plain.items() if exception.fields.get(k) == event.fields.get(k)}
        if inherited and not exception.cancelled:
            exception.fields = _merged(exception.fields, inherited)
            touch(calendar, exception, now)
    event.fields = _merged(event.fields, plain)
    return touch(calendar, event, now)


def move(calendar: Calendar, event_id: str, now: datetime, *, by: timedelta | None, to: When | None) -> Event:
    """Move an event, an instance or a series, by a wall-clock delta or to a start; its length stays."""
    event, original = find(calendar, event_id)
    start = original if original is not None else event.start
    if (by is None) == (to is None):
        message = "Say either by how much to move (by) or to when (to)."
        raise Unusable(message)
    target = to if to is not None else later(start, by or timedelta())
    if type(target) is not type(start):
        message = "A timed event stays timed and an all-day event all-day when moved: give a time or a date to match."
        raise Unusable(message)
    zone = calendar.zone
    finish = end_of(target, length(event.start, event.end))
    return patch(calendar, event_id, {"start": _told(target, zone), "end": _told(finish, zone)}, now)


def cancel(calendar: Calendar, event_id: str, now: datetime) -> Event:
    """Cancel (delete) an event, one instance, or, by the master's id, the whole series."""
    return patch(calendar, event_id, {"status": "cancelled"}, now)


def restore(calendar: Calendar, event_id: str, now: datetime) -> Event:
    """Bring a cancelled event, instance or series back."""
    event = patch(calendar, event_id, {"status": "confirmed"}, now)
    event.called_off = False
    return event


def call_off(calendar: Calendar, event_id: str, now: datetime) -> Event:
    """Its organizer cancels it, and it stays in this calendar as cancelled."""
    event = patch(calendar, event_id, {}, now)
    event.called_off = True
    return event


def respond(calendar: Calendar, event_id: str, answer: str, now: datetime) -> Event:
    """The calendar's owner answers an invitation: `needsAction`, `declined`, `tentative` or `accepted`."""
    event, _ = find(calendar, event_id)
    people: list[dict[str, Any]] = [dict(one) for one in event.fields.get("attendees", [])]
    if not any(one.get("self") for one in people):
        people.append({"email": calendar.account, "self": True})
    for one in people:
        if one.get("self"):
            one["responseStatus"] = answer
    return patch(calendar, event_id, {"attendees": people}, now)


def split(calendar: Calendar, instance_id: str, changes: Mapping[str, Any], now: datetime) -> Event:
    """Do "this and following": the series ends before the instance, a new one `{id}_R{date}` goes on with `changes`."""
    event, original = find(calendar, instance_id)
    original = original or event.original
    if original is None or (master := calendar.events.get(event.series_id or event.id)) is None:
        message = f"{instance_id!r} is no instance of a series: name one, such as {{master}}_20261124T140000Z."
        raise Unusable(message)
    ends = instant(original, calendar.zone) - timedelta(seconds=1)
    until = f"{ends:%Y%m%dT%H%M%SZ}" if len(suffix(original)) > len("20261124") else _day_before(original)
    cut = tuple(_until(line, until) if line.startswith("RRULE") else line for line in master.recurrence)
    rules = tuple(line for line in master.recurrence if line.startswith("RRULE"))
    begins, zone = instant(master.start, calendar.zone), calendar.zone
    over = sum(1 for _ in expand.starts(master.start, rules, begins, instant(original, zone), zone))
    rest = tuple(_less(line, over) if line.startswith("RRULE") else line for line in master.recurrence)
    body = dict(master.fields) | {"recurrence": list(rest)}
    body |= {"start": _told(original, calendar.zone)}
    body |= {"end": _told(end_of(original, length(master.start, master.end)), calendar.zone)}
    body |= {name: value for name, value in changes.items() if value is not None}
    base = master.id.partition("_R")[0]
    patch(calendar, master.id, {"recurrence": list(cut)}, now)
    new_id = f"{base}_R{suffix(original).rstrip('Z')}"
    return insert(calendar, body, now, event_id=new_id)


def _repeat(event: Event, start: When, recurrence: tuple[str, ...]) -> None:
    """Make a single event a series: it keeps its id, which names no meeting any more but all of them."""
    if event.series_id is not None:
        message = "An instance does not repeat by itself: change its series, or create a new event."
        raise Unusable(message)
    expand.check(start, recurrence)
    event.recurrence = recurrence


def _reschedule(calendar: Calendar, master: Event, start: When, recurrence: tuple[str, ...], now: datetime) -> None:
    if (start, recurrence) == (master.start, master.recurrence):
        return
    expand.check(start, recurrence)
    zone = calendar.zone
    old = expand.around(master.start, master.recurrence, now, _RETIRED_CAP, zone)
    new = {suffix(one) for one in expand.around(start, recurrence, now, _RETIRED_CAP * 2, zone)}
    master.retired = [one for one in master.retired if suffix(one.original) not in new]
    known = {suffix(one.original) for one in master.retired}
    dropped = [one.original for one in exceptions(calendar, master.id) if one.original is not None]
    next_seq = calendar.seq + 1
    gone = {suffix(one): one for one in [*old, *dropped] if suffix(one) not in new and suffix(one) not in known}
    master.retired += [Retired(next_seq, one) for one in gone.values()]
    shift = instant(start, zone) - instant(master.start, zone)
    for exception in exceptions(calendar, master.id):
        if exception.original is None or expand.exists(start, recurrence, exception.original):
            continue
        del calendar.events[exception.id]
        moved = later(exception.original, shift) if type(exception.original) is type(start) else None
        if exception.cancelled and moved is not None and expand.exists(start, recurrence, moved):
            exception.id, exception.original = f"{master.id}_{suffix(moved)}", moved
            exception.end, exception.start = end_of(moved, length(exception.start, exception.end)), moved
            calendar.events[exception.id] = touch(calendar, exception, now)
    for one in master.retired:
        if one.seq == next_seq:
            one.seq = calendar.seq + 1
    master.start, master.recurrence = start, recurrence


def _stored(calendar: Calendar, event_id: str, now: datetime) -> Event:
    event, original = find(calendar, event_id)
    if original is None:
        return event
    event_copy = Event(
        id=event_id,
        start=original,
        end=end_of(original, length(event.start, event.end)),
        fields=dict(event.fields),
        ical_uid=event.ical_uid,
        series_id=event.id,
        original=original,
        created_at=event.created_at,
        zone=event.zone,
        called_off=event.called_off,
    )
    calendar.events[event_id] = event_copy
    return touch(calendar, event_copy, now)


def _original(master: Event, ending: str) -> When | None:
    try:
        match master.start:
            case Moment(_, zone):
                at: When = Moment(datetime.strptime(ending, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC), zone)
            case Day():
                at = Day(datetime.strptime(ending, "%Y%m%d").replace(tzinfo=UTC).date())
    except ValueError:
        return None
    return at if expand.exists(master.start, master.recurrence, at) else None


def _ical_uid(calendar: Calendar, event_id: str) -> str:
    return f"{event_id}@google.com" if calendar.provider == "google" else ids.ical_uid(calendar.id, event_id)


def _new_id(calendar: Calendar) -> str:
    calendar.made += 1
    digest = hashlib.sha1(f"{calendar.id}/{calendar.made}".encode(), usedforsecurity=False).digest()
    return b32hexencode(digest).decode().lower()[:26]


def _check_order(start: When, end: When) -> None:
    if length(start, end) < timedelta():
        message = "The event would end before it starts."
        raise Unusable(message)


def _merged(fields: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (fields | dict(changes)).items() if value is not None}


def _told(when: When, zone: str) -> dict[str, Any]:
    return as_json(when, zone)


def _parts(line: str) -> list[str]:
    return [part for part in line.removeprefix("RRULE:").split(";") if not part.startswith(("UNTIL=", "COUNT="))]


def _until(line: str, until: str) -> str:
    return "RRULE:" + ";".join([*_parts(line), f"UNTIL={until}"])


def _less(line: str, over: int) -> str:
    """The rule with `over` fewer occurrences, if it counts them."""
    return re.sub(r"COUNT=(\d+)", lambda found: f"COUNT={max(1, int(found[1]) - over)}", line)


def _day_before(original: When) -> str:
    return suffix(later(original, timedelta(days=-1)))
