"""Calendar exports (.ics, RFC 5545) as calendars of the sandbox: series stay series, with their exceptions.

An awkward event is left out with its reason and never stops the file. Nothing is read but the text given.
"""

import hashlib
import re
from base64 import b32hexencode
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, cast

import icalendar
import msgspec

from sandbox import edits, expand, zones
from sandbox.errors import Unusable
from sandbox.microsoft.words import GRAPH
from sandbox.model import Calendar
from sandbox.when import Day, Moment, When, as_json, end_of, instant, later, length, moment, suffix, wall

_GOOGLE_ID = re.compile(r"[a-v0-9]{5,}(_R\d{8}(T\d{6})?)?")
_ANSWERS = {"ACCEPTED": "accepted", "DECLINED": "declined", "TENTATIVE": "tentative"}
_CLASSES = {"PRIVATE": "private", "CONFIDENTIAL": "confidential", "PUBLIC": "public"}
_WEEKS_BACK, _WEEKS = 1, 4
_LINKS = ("X-GOOGLE-CONFERENCE", "X-MICROSOFT-SKYPETEAMSMEETINGURL", "X-MICROSOFT-ONLINEMEETINGCONFLINK")
CUSTOM_ZONE = "tzone://Microsoft/Custom"
"""What Exchange calls a zone that a file defines by itself."""


class Row(msgspec.Struct, frozen=True):
    """One VEVENT, understood."""

    uid: str
    start: When
    end: When
    fields: dict[str, Any]
    status: str
    sequence: int
    rules: tuple[tuple[str, When | None], ...] = ()
    """RRULE bodies without UNTIL, each with its UNTIL: the last moment in the series' zone, or the last day."""
    added: tuple[When, ...] = ()
    left_out: tuple[When, ...] = ()
    original: When | None = None
    link: str | None = None
    """A meeting link that stands in a property of its own."""
    own_zone: bool = False
    """Its zone is the file's own, not a known one."""

    @property
    def recurrence(self) -> tuple[str, ...]:
        """Google's `recurrence` lines."""
        lines = [f"RRULE:{body}" + (f";UNTIL={suffix(until)}" if until else "") for body, until in self.rules]
        for name, dates in (("RDATE", self.added), ("EXDATE", self.left_out)):
            kind = ";VALUE=DATE" if isinstance(self.start, Day) else ""
            lines += [f"{name}{kind}:{suffix(one)}" for one in dates if type(one) is type(self.start)]
        return tuple(lines)


class Export(msgspec.Struct, frozen=True):
    """A whole file."""

    name: str | None
    zone: str
    rows: list[Row]
    skipped: list[str]


def read(text: str, *, zone: str | None = None) -> Export:
    """Understand an export; floating times are read in `zone`, or else in the file's own. Raises `Unusable`."""
    try:
        files: list[Any] = [*icalendar.Calendar.from_ical(text.lstrip("\ufeff"), multiple=True)]
    except (ValueError, IndexError) as error:
        message = f"That is no readable .ics file: {error}. Export the calendar again and load the .ics file in it."
        raise Unusable(message) from None
    if not files or any(file.name != "VCALENDAR" for file in files):
        message = "That file holds no calendar: it should start with BEGIN:VCALENDAR."
        raise Unusable(message)
    name = str(files[0].get("X-WR-CALNAME", "")) or None
    zone = zone or _zone_of(files[0])
    rows: list[Row] = []
    skipped: list[str] = []
    for number, event in enumerate(one for file in files for one in file.walk("VEVENT")):
        try:
            rows.append(_row(event, zone, number))
        except (Unusable, ValueError, TypeError, KeyError, AttributeError) as error:
            skipped.append(f"{event.get('SUMMARY', 'an event')} ({event.get('UID', 'no UID')}): {error}")
    return Export(name, zone, _latest(rows, skipped), skipped)


def weeks_to(export: Export, now: datetime) -> int:
    """By how many weeks to move the export so that its densest four weeks lie around `now` (one back, two ahead)."""
    weeks = Counter(_monday(at) for at in _happenings(export))
    if not weeks:
        return 0
    step = timedelta(weeks=1)
    firsts = sorted({monday - step * back for monday in weeks for back in range(_WEEKS)})
    densest = max(firsts, key=lambda first: sum(weeks[first + step * k] for k in range(_WEEKS)))
    return (_monday(now) - step * _WEEKS_BACK - densest) // step


def shifted(export: Export, weeks: int) -> Export:
    """Everything `weeks` later: weekdays and wall clocks stay, also those of UNTIL, EXDATE and RECURRENCE-ID."""
    if weeks == 0:
        return export
    by = timedelta(weeks=weeks)

    def move(row: Row) -> Row:
        return msgspec.structs.replace(
            row,
            start=later(row.start, by),
            end=end_of(later(row.start, by), length(row.start, row.end)),
            rules=tuple((body, later(until, by) if until else None) for body, until in row.rules),
            added=tuple(later(one, by) for one in row.added),
            left_out=tuple(later(one, by) for one in row.left_out),
            original=later(row.original, by) if row.original else None,
        )

    return msgspec.structs.replace(export, rows=[move(row) for row in export.rows])


def add(
    calendar: Calendar, export: Export, now: datetime, *, linked: Callable[[str | None], dict[str, Any]]
) -> tuple[int, list[str]]:
    """Put the export's events into the calendar; how many, and what was left out and why.

    `linked` says where a meeting link stands at the calendar's provider.
    Exceptions whose master isn't in the file become single events, as for a guest of one instance only.
    """
    added, skipped = 0, list[str]()
    masters = {row.uid for row in export.rows if row.original is None and row.recurrence}
    for row in sorted(export.rows, key=lambda row: row.original is not None):
        series = _event_id(row.uid) if row.original is not None and row.uid in masters else None
        event_id = _event_id(row.uid) if row.original is None else f"{_event_id(row.uid)}_{suffix(row.original)}"
        body = row.fields | {"start": as_json(row.start, calendar.zone), "end": as_json(row.end, calendar.zone)}
        body |= {"status": row.status, "recurrence": list(row.recurrence) if row.original is None else []}
        if row.link is not None:
            body |= {name: value for name, value in linked(row.link).items() if value is not None}
        if row.own_zone and calendar.provider == "microsoft":
            body |= {f"{GRAPH}original{end}TimeZone": CUSTOM_ZONE for end in ("Start", "End")}
        _mark_self(body, calendar.account)
        try:
            if series is not None and series not in calendar.events:
                message = "its series was left out"
                raise Unusable(message)
            original = row.original if series is not None else None
            edits.insert(calendar, body, now, event_id=event_id, ical_uid=row.uid, series_id=series, original=original)
            added += 1
        except Unusable as error:
            skipped.append(f"{row.fields.get('summary', 'an event')} ({row.uid}): {error}")
    return added, skipped


def _row(event: Any, zone: str, number: int) -> Row:
    if (told := event.get("DTSTART")) is None:
        message = "it has no DTSTART"
        raise Unusable(message)
    recurring = "RRULE" in event or "RDATE" in event
    start = _when(told, told.dt, zone, keep_utc=recurring)
    if (ends := event.get("DTEND")) is not None:
        end = _when(ends, ends.dt, zone, keep_utc=recurring)
    elif (lasts := event.get("DURATION")) is not None:
        end = end_of(start, lasts.dt)
    else:
        end = end_of(start, timedelta(days=1) if isinstance(start, Day) else timedelta())
    if length(start, end) < timedelta():
        message = "it ends before it starts"
        raise Unusable(message)
    original = event.get("RECURRENCE-ID")
    digest = hashlib.sha1(event.to_ical(), usedforsecurity=False).hexdigest()[:20]
    return Row(
        uid=str(event.get("UID") or f"{digest}{number}@sandbox.invalid"),
        start=start,
        end=end,
        fields=_fields(event),
        status=str(event.get("STATUS", "CONFIRMED")).lower(),
        sequence=int(event.get("SEQUENCE", 0)),
        rules=tuple(_rule(one, start) for one in _many(event.get("RRULE"))),
        added=tuple(_dates(event, "RDATE", start, zone)),
        left_out=tuple(_dates(event, "EXDATE", start, zone)),
        original=_like(_when(original, original.dt, zone, keep_utc=True), start) if original is not None else None,
        link=next((link for name in _LINKS if (link := str(event.get(name, ""))).startswith("http")), None),
        own_zone=bool(named := str(told.params.get("TZID", ""))) and zones.by_name(named) is None,
    )


def _when(prop: Any, value: date | datetime, zone: str, *, keep_utc: bool = False) -> When:
    if not isinstance(value, datetime):
        return Day(value)
    if value.tzinfo is None:
        return moment(value, zone)
    if value.utcoffset() == timedelta() and (value.tzinfo is UTC or str(value.tzinfo) in ("UTC", "tzutc()")):
        return Moment(value.astimezone(UTC), "UTC" if keep_utc else zone)
    named = zones.by_name(str(prop.params.get("TZID", "")))
    if named is not None:
        return moment(value.replace(tzinfo=None), named)
    return moment(value.replace(tzinfo=None), zones.by_clock(value.tzinfo, value, zone))


def _like(original: When, start: When) -> When:
    """A RECURRENCE-ID in the words of DTSTART: some programs name a day where they mean a time."""
    if isinstance(original, Day) and isinstance(start, Moment):
        return moment(datetime.combine(original.day, wall(start).time()), start.zone)
    if isinstance(original, Moment) and isinstance(start, Day):
        return Day(wall(original).date())
    return original


def _rule(rule: Any, start: When) -> tuple[str, When | None]:
    parts: list[str] = rule.to_ical().decode().split(";")
    body = ";".join(part for part in parts if not part.startswith("UNTIL="))
    until: list[date | datetime] = rule.get("UNTIL", [])
    if not until:
        return body, None
    last = until[0]
    match start:
        case Day():
            return body, Day(last.date() if isinstance(last, datetime) else last)
        case Moment(_, zone) if isinstance(last, datetime):
            return body, moment(last, zone)
        case Moment(_, zone):
            return body, moment(datetime.combine(last, time(23, 59, 59)), zone)


def _dates(event: Any, name: str, start: When, zone: str) -> Iterator[When]:
    for prop in _many(event.get(name)):
        for one in prop.dts:
            value: Any = one.dt
            period = isinstance(value, tuple)
            yield _like(_when(prop, cast("tuple[Any, Any]", value)[0] if period else value, zone, keep_utc=True), start)


def _fields(event: Any) -> dict[str, Any]:
    told = {"summary": "SUMMARY", "description": "DESCRIPTION", "location": "LOCATION"}
    fields: dict[str, Any] = {ours: str(event[theirs]) for ours, theirs in told.items() if event.get(theirs)}
    fields["sequence"] = int(event.get("SEQUENCE", 0))
    if str(event.get("TRANSP", "")).upper() == "TRANSPARENT":
        fields["transparency"] = "transparent"
    if (visibility := _CLASSES.get(str(event.get("CLASS", "")).upper())) is not None:
        fields["visibility"] = visibility
    people = [_person(one) for one in _many(event.get("ATTENDEE"))]
    if people:
        fields["attendees"] = people
    if (organizer := event.get("ORGANIZER")) is not None:
        fields["organizer"] = fields["creator"] = _named(organizer)
        for one in people:
            if one["email"] == fields["organizer"]["email"]:
                one["organizer"] = True
    return fields


def _person(prop: Any) -> dict[str, Any]:
    row = _named(prop)
    row["responseStatus"] = _ANSWERS.get(str(prop.params.get("PARTSTAT", "")).upper(), "needsAction")
    if str(prop.params.get("CUTYPE", "")).upper() in ("RESOURCE", "ROOM"):
        row["resource"] = True
    if str(prop.params.get("ROLE", "")).upper() == "OPT-PARTICIPANT":
        row["optional"] = True
    return row


def _named(prop: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"email": re.sub(r"(?i)^mailto:", "", str(prop))}
    name = str(prop.params.get("CN", ""))
    return row | {"displayName": name} if name and name != row["email"] else row


def _mark_self(body: dict[str, Any], account: str) -> None:
    people: list[dict[str, Any]] = [dict(one) for one in body.get("attendees", [])]
    for one in people:
        if one["email"].lower() == account.lower():
            one["self"] = True
    if people:
        body["attendees"] = people


def _latest(rows: Sequence[Row], skipped: list[str]) -> list[Row]:
    """Of rows for the same event or instance, the one with the highest SEQUENCE, or the last of those."""
    best: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = (row.uid, suffix(row.original) if row.original is not None else "")
        if (other := best.get(key)) is not None:
            skipped.append(f"{row.fields.get('summary', 'an event')} ({row.uid}): the file has it twice, one was kept")
            if other.sequence > row.sequence:
                continue
        best[key] = row
    return list(best.values())


def _happenings(export: Export) -> Iterator[datetime]:
    """When things happen, endless series only as long as the file names dates."""
    ends = [until for row in export.rows for _, until in row.rules if until is not None]
    named = [instant(one, export.zone) for one in (*(row.start for row in export.rows), *ends)]
    if not named:
        return
    last = max(named) + timedelta(days=1)
    for row in export.rows:
        if row.original is not None or not row.recurrence:
            yield instant(row.start, export.zone)
            continue
        try:
            expand.check(row.start, row.recurrence)
        except Unusable:
            continue
        found = expand.starts(row.start, row.recurrence, instant(row.start, export.zone), last, export.zone)
        yield from (instant(one, export.zone) for one in found)


def _monday(at: datetime) -> date:
    return at.date() - timedelta(days=at.weekday())


def _zone_of(file: Any) -> str:
    told = zones.by_name(str(file.get("X-WR-TIMEZONE", "")))
    if told is not None:
        return told
    named = (zones.by_name(str(zone.get("TZID", ""))) for zone in file.walk("VTIMEZONE"))
    return next((name for name in named if name is not None), "UTC")


def _event_id(uid: str) -> str:
    ours = uid.partition("@")[0]
    if _GOOGLE_ID.fullmatch(ours):
        return ours
    return b32hexencode(hashlib.sha1(uid.encode(), usedforsecurity=False).digest()).decode().lower()[:26]


def _many(value: Any) -> list[Any]:
    if value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]
