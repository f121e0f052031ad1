"""Points in time as a calendar means them: a moment in a zone, or a whole day.

Promises: a `Moment` is stored in UTC with the zone its wall clock is read in; a `Day` has no zone until a
calendar gives it one (Google: an all-day date is a date in the *calendar's* zone).
"""

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from sandbox.errors import Unusable

_FRACTION = re.compile(r"\.\d+")


class Moment(msgspec.Struct, frozen=True, tag="moment"):
    """An instant (`at`, UTC) and the IANA zone in which people see it."""

    at: datetime
    zone: str


class Day(msgspec.Struct, frozen=True, tag="day"):
    """A whole day."""

    day: date


When = Moment | Day


@lru_cache(maxsize=1024)
def zone_info(name: str) -> ZoneInfo:
    """The zone called `name`; raises `Unusable` naming it if there is no such IANA zone."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        message = f"There is no time zone {name!r}. Use an IANA name such as Europe/Berlin."
        raise Unusable(message) from None


def moment(wall: datetime, zone: str) -> Moment:
    """The instant at which clocks in `zone` show `wall`; an aware `wall` is taken as the instant it names."""
    if wall.tzinfo is None:
        wall = wall.replace(tzinfo=zone_info(zone))
    return Moment(wall.astimezone(UTC), zone)


def wall(when: When) -> datetime:
    """What the clock on the wall shows (naive); midnight for a day."""
    match when:
        case Moment(at, zone):
            return at.astimezone(zone_info(zone)).replace(tzinfo=None)
        case Day(day):
            return datetime(day.year, day.month, day.day)  # noqa: DTZ001 - a wall clock has no zone


def instant(when: When, calendar_zone: str) -> datetime:
    """When it is, in UTC; a day begins at midnight of the calendar's zone."""
    match when:
        case Moment(at, _):
            return at
        case Day(day):
            return datetime(day.year, day.month, day.day, tzinfo=zone_info(calendar_zone)).astimezone(UTC)


def later(when: When, by: timedelta) -> When:
    """`when` moved by `by` on the wall clock, so that 'a week later' keeps its hour over a DST change."""
    match when:
        case Moment(_, zone):
            return moment(wall(when) + by, zone)
        case Day(day):
            return Day(day + timedelta(days=round(by / timedelta(days=1))))


def length(start: When, end: When) -> timedelta:
    """How long from `start` to `end`: elapsed time for moments, days for days."""
    match start, end:
        case Moment(a, _), Moment(b, _):
            return b - a
        case Day(a), Day(b):
            return b - a
        case _:
            message = "An event starts and ends either at a time or on a day: start and end are mixed."
            raise Unusable(message)


def end_of(start: When, duration: timedelta) -> When:
    """The end of something that starts at `start` and takes `duration` (elapsed time, or whole days)."""
    match start:
        case Moment(at, zone):
            return Moment(at + duration, zone)
        case Day(day):
            return Day(day + timedelta(days=duration.days))


def suffix(when: When) -> str:
    """How an instance id ends: `20261124T140000Z`, or `20261124` for all-day."""
    match when:
        case Moment(at, _):
            return at.strftime("%Y%m%dT%H%M%SZ")
        case Day(day):
            return day.strftime("%Y%m%d")


def as_json(when: When, zone: str, *, with_zone: bool = True) -> dict[str, Any]:
    """Google's shape; `zone` decides the offset in which a moment is written."""
    match when:
        case Day(day):
            return {"date": day.isoformat()}
        case Moment(at, own):
            text = "Z" if zone == "UTC" else ""
            local = at.astimezone(zone_info(zone)).isoformat() if not text else at.strftime("%Y-%m-%dT%H:%M:%S") + text
            return {"dateTime": local, "timeZone": own} if with_zone else {"dateTime": local}


def from_json(value: dict[str, Any], default_zone: str) -> When:
    """Read Google's `start`/`end`/`originalStartTime` shape; raises `Unusable` if it holds no time."""
    if isinstance(day := value.get("date"), str):
        return parse(day, default_zone)
    if isinstance(text := value.get("dateTime"), str):
        return parse(text, str(value.get("timeZone") or default_zone))
    message = f"A time needs 'dateTime' or 'date'; got {sorted(value)}."
    raise Unusable(message)


def parse(text: str, zone: str) -> When:
    """A date (`2026-11-24`), a wall time in `zone`, or a time with an offset."""
    try:
        if len(text) == len("2026-11-24"):
            return Day(date.fromisoformat(text))
        return moment(datetime.fromisoformat(text).replace(microsecond=0), zone)
    except ValueError:
        message = f"{text!r} is neither a date (2026-11-24) nor a time (2026-11-24T15:00, 2026-11-24T15:00:00+01:00)."
        raise Unusable(message) from None


def rfc3339(text: str) -> datetime | None:
    """A query's `timeMin`/`timeMax`: an offset is mandatory, fractions are ignored; None if it isn't one."""
    try:
        value = datetime.fromisoformat(_FRACTION.sub("", text.strip()))
    except ValueError:
        return None
    return value.astimezone(UTC) if value.tzinfo and "T" in text.upper() else None


def stamp(at: datetime) -> str:
    """`created`/`updated` as Google writes them: UTC with milliseconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
