"""When a series happens: RFC 5545 recurrence by `icalendar` and `recurring_ical_events`.

A pure function of the first start and the rule lines, cached by those values: listing a calendar twice, or
a thousand calendars with the same weekly rule, expands once. Exceptions are no business of this module.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any

import icalendar
import recurring_ical_events

from sandbox.errors import Unusable
from sandbox.when import Day, Moment, When, instant, moment, wall, zone_info

HORIZON = 2099
"""No series is followed beyond this year."""
_LINE = re.compile(r"RRULE:(.*;)?FREQ=|(RDATE|EXDATE|EXRULE)[;:]")
_REFUSED = ("FREQ=SECONDLY", "FREQ=MINUTELY")


def check(start: When, lines: tuple[str, ...]) -> None:
    """Raise `Unusable` if these rule lines cannot be expanded; the message quotes them."""
    if any(word in line for line in lines for word in _REFUSED):
        message = "A series repeats at most hourly: use FREQ=HOURLY, DAILY, WEEKLY, MONTHLY or YEARLY."
        raise Unusable(message)
    try:
        if not all(_LINE.match(line) for line in lines):
            message = "a line is no RRULE with a FREQ, RDATE or EXDATE"
            raise ValueError(message)
        _series(start, lines)
    except (ValueError, IndexError, TypeError, KeyError) as error:
        message = f"Cannot read the recurrence {list(lines)}: {error}. Use lines such as 'RRULE:FREQ=WEEKLY;BYDAY=MO'."
        raise Unusable(message) from None


def starts(start: When, lines: tuple[str, ...], low: datetime, high: datetime, zone: str) -> Iterator[When]:
    """Starts of the series with low <= start < high, in order; a day begins at midnight in `zone`."""
    for found in _from(start, lines, low, min(high.year + 1, HORIZON)):
        at = instant(found, zone)
        if at >= high:
            return
        if at >= low:
            yield found


def around(start: When, lines: tuple[str, ...], now: datetime, cap: int, zone: str) -> list[When]:
    """At most `cap` starts, past and future: of the past at most half, the nearest; the rest from now on."""
    past: list[When] = []
    first = instant(start, zone)
    year = min(now.year, HORIZON)
    while len(past) < cap // 2 and year >= first.year - 1:
        past[:0] = [found for found in _year(start, lines, year) if instant(found, zone) < now]
        year -= 1
    past = past[max(0, len(past) - cap // 2) :]
    future = (found for found in _from(start, lines, now, HORIZON) if instant(found, zone) >= now)
    return past + list(islice(future, cap - len(past)))


def exists(start: When, lines: tuple[str, ...], original: When) -> bool:
    """Whether the series has an occurrence that starts exactly at `original`."""
    if type(original) is not type(start):
        return False
    at = instant(original, "UTC")
    near = (year for year in (at.year - 1, at.year, at.year + 1))
    return any(instant(found, "UTC") == at for year in near for found in _year(start, lines, year))


def _from(start: When, lines: tuple[str, ...], low: datetime, last_year: int) -> Iterator[When]:
    first = wall(start).year
    for year in range(max(first, low.year - 1), last_year + 1):
        yield from _year(start, lines, year)


@lru_cache(maxsize=65536)
def _year(start: When, lines: tuple[str, ...], year: int) -> tuple[When, ...]:
    """The starts whose wall clock shows `year`."""
    if year < wall(start).year:
        return ()
    found: set[datetime] = set()
    low, high = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    margin = timedelta(days=2)
    for series in _series(start, lines):
        for occurrence in series.between(low - margin, high + margin):
            begins: date | datetime = occurrence.start
            if isinstance(begins, datetime):
                found.add(_on_the_wall(begins, start))
            else:
                found.add(datetime(begins.year, begins.month, begins.day))  # noqa: DTZ001 - a wall clock
    ordered = sorted(at for at in found if at.year == year)
    match start:
        case Moment(_, zone):
            return tuple(moment(at, zone) for at in ordered)
        case Day():
            return tuple(Day(at.date()) for at in ordered)


def _on_the_wall(at: datetime, start: When) -> datetime:
    """An RDATE may be given in another zone than the series' own."""
    if at.tzinfo is None or isinstance(start, Day):
        return at.replace(tzinfo=None)
    return at.astimezone(zone_info(start.zone)).replace(tzinfo=None)


@lru_cache(maxsize=8192)
def _series(start: When, lines: tuple[str, ...]) -> list[Any]:
    match start:
        case Day(day):
            begins = f"DTSTART;VALUE=DATE:{day:%Y%m%d}"
        case Moment(_, "UTC"):
            begins = f"DTSTART:{wall(start):%Y%m%dT%H%M%S}Z"
        case Moment(_, zone):
            begins = f"DTSTART;TZID={zone}:{wall(start):%Y%m%dT%H%M%S}"
    text = "\r\n".join(["BEGIN:VCALENDAR", "BEGIN:VEVENT", "UID:series", begins, *lines, "END:VEVENT", "END:VCALENDAR"])
    return recurring_ical_events.of(icalendar.Calendar.from_ical(text + "\r\n")).series
