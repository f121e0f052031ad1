"""RFC 5545 rules as Graph's patternedRecurrence. Pure.

Graph has fewer patterns than RFC 5545: a series whose rule it cannot say shows none, and happens all the same.
"""

from datetime import date, datetime
from typing import Any

from sandbox.when import When, wall

_DAYS = {
    "MO": "monday",
    "TU": "tuesday",
    "WE": "wednesday",
    "TH": "thursday",
    "FR": "friday",
    "SA": "saturday",
    "SU": "sunday",
}
_WEEKDAYS = tuple(_DAYS.values())
_INDEX = {"1": "first", "2": "second", "3": "third", "4": "fourth", "-1": "last"}
_KNOWN = {"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "BYMONTHDAY", "BYMONTH", "BYSETPOS", "WKST"}


def patterned(start: When, lines: tuple[str, ...], zone_name: str) -> dict[str, Any] | None:
    """`recurrence` of a series' master, its range in the series' own zone; None if Graph has no such pattern."""
    rules = [line for line in lines if line.startswith("RRULE")]
    if len(rules) != 1 or any(line.startswith(("RDATE", "EXRULE")) for line in lines):
        return None
    parts = dict(part.split("=", 1) for part in rules[0].removeprefix("RRULE:").split(";") if "=" in part)
    first = wall(start).date()
    pattern = _pattern(parts, first) if set(parts) <= _KNOWN else None
    return None if pattern is None else {"pattern": pattern, "range": _range(parts, first, zone_name)}


def _pattern(parts: dict[str, str], first: date) -> dict[str, Any] | None:
    days = [day for day in parts.get("BYDAY", "").split(",") if day]
    shown: dict[str, Any] = {
        "interval": int(parts.get("INTERVAL", "1")),
        "month": 0,
        "dayOfMonth": 0,
        "firstDayOfWeek": _DAYS.get(parts.get("WKST", "MO"), "monday"),
        "index": "first",
    }
    match parts.get("FREQ"):
        case "DAILY" if not days:
            return shown | {"type": "daily"}
        case "WEEKLY" | "DAILY" if all(day in _DAYS for day in days):
            named = [_DAYS[day] for day in days] or [_WEEKDAYS[first.weekday()]]
            return shown | {"type": "weekly", "daysOfWeek": named}
        case "MONTHLY":
            return _monthly("Monthly", shown, parts, days, first)
        case "YEARLY":
            month = parts.get("BYMONTH", str(first.month))
            return _monthly("Yearly", shown | {"month": int(month)}, parts, days, first) if month.isdecimal() else None
        case _:
            return None


def _monthly(
    kind: str, shown: dict[str, Any], parts: dict[str, str], days: list[str], first: date
) -> dict[str, Any] | None:
    if not days:
        day = parts.get("BYMONTHDAY", str(first.day))
        return shown | {"type": f"absolute{kind}", "dayOfMonth": int(day)} if day.isdecimal() else None
    places = {day[:-2] for day in days} if "BYSETPOS" not in parts else {parts["BYSETPOS"]}
    names = [_DAYS.get(day[-2:]) for day in days]
    if len(places) != 1 or (place := _INDEX.get(places.pop().removeprefix("+"))) is None or None in names:
        return None
    return shown | {"type": f"relative{kind}", "daysOfWeek": names, "index": place}


def _range(parts: dict[str, str], first: date, zone_name: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": "noEnd",
        "startDate": first.isoformat(),
        "endDate": "0001-01-01",
        "recurrenceTimeZone": zone_name,
        "numberOfOccurrences": 0,
    }
    if "COUNT" in parts:
        return shown | {"type": "numbered", "numberOfOccurrences": int(parts["COUNT"])}
    if "UNTIL" in parts:
        until = datetime.strptime(parts["UNTIL"][:8], "%Y%m%d").date()  # noqa: DTZ007 - a date
        return shown | {"type": "endDate", "endDate": until.isoformat()}
    return shown
