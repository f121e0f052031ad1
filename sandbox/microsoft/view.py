"""A calendar view: what of a Microsoft calendar is there, and what lies in a window. Pure."""

from collections.abc import Iterator
from datetime import datetime

from sandbox.microsoft import render
from sandbox.model import Calendar, Event
from sandbox.occurrence import Occurrence, instances
from sandbox.when import instant

_CAP = 730
"""How many instances of a series a window without an end holds."""


def is_there(calendar: Calendar, event: Event, *, preserve_declined: bool) -> bool:
    """Whether a GET would find it: not deleted, itself or its series, and not declined away."""
    master = calendar.events.get(event.series_id) if event.series_id else None
    if event.cancelled or (master is not None and master.cancelled):
        return False
    return preserve_declined or render.is_organizer(calendar, event) or render.answer(calendar, event) != "declined"


def occurrences(
    calendar: Calendar,
    low: datetime | None,
    high: datetime | None,
    *,
    preserve_declined: bool,
    series: Event | None = None,
) -> Iterator[Occurrence]:
    """Single events, exceptions and occurrences that overlap the window; only those of `series` if that is given."""
    exceptions: set[str] = set()
    masters: list[Event] = []
    for event in calendar.events.values():
        if series is not None and series.id not in (event.id, event.series_id):
            continue
        if event.series_id is not None:
            exceptions.add(event.id)
        if not is_there(calendar, event, preserve_declined=preserve_declined):
            continue
        if event.recurrence:
            masters.append(event)
        elif (found := Occurrence(event)).within(low, high, calendar.zone_of(event)):
            yield found
    for master in masters:
        yield from instances(master, calendar.zone_of(master), low, high, cap=_CAP, taken=exceptions)


def starts_at(calendar: Calendar, found: Occurrence) -> datetime:
    """When it starts."""
    return instant(found.start, calendar.zone_of(found.event))
