"""Google's event JSON into our words. Pure.

Source: Calendar API v3 reference, resource "Events". A cancelled item may carry nothing but its id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import cast
from zoneinfo import ZoneInfo

from calendar_pipeline.event import Attendee, Awkward, Event, Item, Response, Tombstone
from calendar_pipeline.meetings import recognise as meetings
from calendar_pipeline.meetings.model import MeetingLink, Source
from calendar_pipeline.providers.json_values import Json, mapping, objects, text

LONG_TEXT = 8000
"""Characters kept of a description or title in `raw`."""

MAX_ID = 1024
"""Google's own limit."""

NOISE = frozenset({"etag", "updated"})
"""Change without anything having happened: a reminder set, a calendar touched."""

RESPONSES: Mapping[str, Response] = {
    "needsAction": "needs_action",
    "declined": "declined",
    "tentative": "tentative",
    "accepted": "accepted",
}


class _Unfit(Exception):
    """The item cannot be an Event; the argument is the reason."""


@dataclass(frozen=True, slots=True)
class _Moment:
    at: datetime
    date: date | None
    shown: datetime


def item(raw: Json, *, zone: str | None, hosts: Sequence[str] = ()) -> Item:
    """An Event, a Tombstone, or an Awkward one with its reason; never an exception.

    `zone` is the calendar's own (from the listing's envelope): all-day dates stand in it.
    """
    event_id = raw.get("id")
    if not isinstance(event_id, str) or not event_id:
        return Awkward(provider_event_id="", reason="no_id", raw=raw)
    if len(event_id) > MAX_ID or not (event_id.isascii() and event_id.isprintable()):
        return Awkward(provider_event_id=ascii(event_id)[:MAX_ID], reason="bad_id", raw=raw)
    if raw.get("status") == "cancelled":
        return Tombstone(provider_event_id=event_id, with_instances=True)
    try:
        return _event(event_id, raw, zone, hosts)
    except _Unfit as unfit:
        return Awkward(provider_event_id=event_id, reason=str(unfit), raw=raw)


def _event(event_id: str, raw: Json, zone: str | None, hosts: Sequence[str]) -> Event:
    start = _moment(raw, "start", zone)
    end = _moment(raw, "end", zone)
    if end.at < start.at:
        raise _Unfit("ends_before_it_starts")
    if (start.date is None) != (end.date is None):
        raise _Unfit("half_all_day")
    people = _people(raw)
    organizer = mapping(raw, "organizer")
    link = _link(raw, hosts)
    cut = {key: value[:LONG_TEXT] for key in ("description", "summary") if isinstance(value := raw.get(key), str)}
    return Event(
        provider_event_id=event_id,
        ical_uid=text(raw, "iCalUID"),
        title=text(raw, "summary"),
        starts_at=start.at,
        ends_at=end.at,
        start_date=start.date,
        end_date=end.date,
        start_time=start.shown,
        end_time=end.shown,
        time_zone=text(mapping(raw, "start"), "timeZone") or zone,
        status="tentative" if raw.get("status") == "tentative" else "confirmed",
        meeting_url=link.found if link else None,
        meeting_link=link.url if link else None,
        meeting_platform=link.platform if link else None,
        meeting_key=link.key if link else None,
        organizer_email=text(organizer, "email"),
        own_response=_own_response(people, organizer),
        attendees=people,
        series_id=text(raw, "recurringEventId"),
        original_starts_at=_moment(raw, "originalStartTime", zone).at if "originalStartTime" in raw else None,
        location=text(raw, "location"),
        visibility=text(raw, "visibility") or "default",
        is_busy=raw.get("transparency") != "transparent",
        event_type=text(raw, "eventType") or "default",
        provider_updated_at=_instant(raw.get("updated")),
        raw={**raw, **cut} if cut else raw,
        noise=NOISE,
    )


def _moment(raw: Json, key: str, zone: str | None) -> _Moment:
    """A start or end; raises _Unfit. Shown is the API contract's: an all-day date without a zone is UTC's midnight."""
    stated = raw.get(key)
    if not isinstance(stated, dict):
        raise _Unfit(f"no_{key}")
    stated = cast("Json", stated)
    own_zone = text(stated, "timeZone")
    try:
        if isinstance(value := stated.get("dateTime"), str):
            at = datetime.fromisoformat(value)
            if at.tzinfo is None:
                at = at.replace(tzinfo=_zone(own_zone or zone))
            at = at.astimezone(UTC)
            return _Moment(at, None, at)
        if isinstance(value := stated.get("date"), str):
            day = date.fromisoformat(value)
            at = _midnight(day, own_zone or zone)
            return _Moment(at, day, _midnight(day, own_zone))
    except (ValueError, OverflowError):
        raise _Unfit(f"bad_{key}") from None
    raise _Unfit(f"no_{key}")


def _midnight(day: date, zone: str | None) -> datetime:
    return datetime.combine(day, time(), _zone(zone)).astimezone(UTC)


def _zone(name: str | None) -> ZoneInfo:
    if name is None:
        return _UTC_ZONE
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError; odd names give the others
        raise _Unfit("unknown_zone") from None


_UTC_ZONE = ZoneInfo("UTC")


def _instant(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if at.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _people(raw: Json) -> tuple[Attendee, ...]:
    return tuple(
        Attendee(
            email=text(person, "email"),
            name=text(person, "displayName"),
            response=RESPONSES.get(str(person.get("responseStatus"))),
            is_optional=person.get("optional") is True,
            is_self=person.get("self") is True,
        )
        for person in objects(raw, "attendees")
    )


def _own_response(people: Sequence[Attendee], organizer: Json) -> Response | None:
    """The calendar owner's answer; an organizer without guests has no row among them."""
    for person in people:
        if person.is_self and person.response is not None:
            return person.response
    return "organizer" if organizer.get("self") is True else None


def _link(raw: Json, hosts: Sequence[str]) -> MeetingLink | None:
    """Sources in the API contract's order."""
    sources: list[Source] = []
    conference = mapping(raw, "conferenceData")
    for entry in objects(conference, "entryPoints"):
        if entry.get("entryPointType") == "video" and (uri := text(entry, "uri")):
            sources.append(Source(uri, "structured"))
            break
    if hangout := text(raw, "hangoutLink"):
        sources.append(Source(hangout, "structured"))
    if location := text(raw, "location"):
        sources.append(Source(location, "location"))
    if description := text(raw, "description"):
        sources.append(Source(description, "html" if "<" in description else "text"))
    if summary := text(raw, "summary"):
        sources.append(Source(summary, "text"))
    return meetings.find(sources, extra_hosts=hosts)
