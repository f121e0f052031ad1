"""Graph's event JSON into our words. Pure.

Source: Microsoft Graph v1.0, resource "event". Times are asked for in UTC (`Prefer: outlook.timezone`); an all-day
event comes as plain midnights whatever zone was asked for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import Literal
from zoneinfo import ZoneInfo

from calendar_pipeline.event import Attendee, Awkward, Event, Item, Response, Tombstone
from calendar_pipeline.meetings import recognise as meetings
from calendar_pipeline.meetings.model import MeetingLink, Source
from calendar_pipeline.providers.json_values import Json, mapping, objects, text
from calendar_pipeline.providers.microsoft.zones import zone

LONG_TEXT = 8000
"""Characters kept of a body in `raw`."""

MAX_ID = 1024

NOISE = frozenset({"@odata.etag", "@odata.context", "@odata.type", "changeKey", "lastModifiedDateTime"})

SELECT = (
    "id,subject,start,end,attendees,organizer,iCalUId,seriesMasterId,isCancelled,isOnlineMeeting,"
    "onlineMeetingProvider,onlineMeeting,onlineMeetingUrl,location,body,webLink,"
    "type,isAllDay,isDraft,isOrganizer,originalStart,originalStartTimeZone,responseStatus,sensitivity,showAs,changeKey"
)

RESPONSES: Mapping[str, Response] = {
    "none": "none",
    "organizer": "organizer",
    "tentativelyAccepted": "tentative",
    "accepted": "accepted",
    "declined": "declined",
    "notResponded": "needs_action",
}
VISIBILITY = {"normal": "default", "personal": "private", "private": "private", "confidential": "confidential"}


class _Unfit(Exception):
    """The item cannot be an Event; the argument is the reason."""


def item(raw: Json, *, hosts: Sequence[str] = ()) -> Item | None:
    """An Event, a Tombstone, or an Awkward one with its reason; None for what is no meeting (a series master)."""
    event_id = text(raw, "id")
    if not event_id:
        return Awkward(provider_event_id="", reason="no_id", raw=raw)
    if len(event_id) > MAX_ID or not (event_id.isascii() and event_id.isprintable()):
        return Awkward(provider_event_id=ascii(event_id)[:MAX_ID], reason="bad_id", raw=raw)
    if "@removed" in raw or raw.get("isCancelled") is True:
        return Tombstone(provider_event_id=event_id, with_instances=True)
    if raw.get("type") == "seriesMaster":
        return None
    try:
        return _event(event_id, raw, hosts)
    except _Unfit as unfit:
        return Awkward(provider_event_id=event_id, reason=str(unfit), raw=raw)


def stamps(entries: Iterable[Json]) -> Mapping[str, datetime]:
    """When each event or series that a delta round tells in full was last changed; of several tellings the latest."""
    found: dict[str, datetime] = {}
    for raw in entries:
        event_id, at = text(raw, "id"), _instant(text(raw, "lastModifiedDateTime"))
        if event_id is not None and at is not None:
            found[event_id] = max(at, found.get(event_id, at))
    return found


def dated(told: Item, stamps: Mapping[str, datetime]) -> Item:
    """`told` with the time of its last change, if that is known: its own, or its series', which changes it as well."""
    if not isinstance(told, Event):
        return told
    names = (told.provider_event_id, told.series_id)
    known = [stamps[name] for name in names if name is not None and name in stamps]
    return replace(told, provider_updated_at=max(known)) if known else told


def _event(event_id: str, raw: Json, hosts: Sequence[str]) -> Event:
    zone_name = text(raw, "originalStartTimeZone")
    all_day = raw.get("isAllDay") is True
    start, end = _moment(raw, "start"), _moment(raw, "end")
    days: tuple[date, date] | None = (start.date(), end.date()) if all_day else None
    starts_at, ends_at = (start, end) if days is None else _midnights(days, zone(zone_name) or _UTC)
    if ends_at < starts_at:
        raise _Unfit("ends_before_it_starts")
    link = _link(raw, hosts)
    own = mapping(raw, "responseStatus")
    return Event(
        provider_event_id=event_id,
        ical_uid=text(raw, "iCalUId"),
        title=text(raw, "subject"),
        starts_at=starts_at,
        ends_at=ends_at,
        start_date=days[0] if days else None,
        end_date=days[1] if days else None,
        start_time=start,
        end_time=end,
        time_zone=zone_name,
        status="tentative" if raw.get("showAs") == "tentative" else "confirmed",
        meeting_url=link.found if link else None,
        meeting_link=link.url if link else None,
        meeting_platform=link.platform if link else None,
        meeting_key=link.key if link else None,
        organizer_email=text(mapping(mapping(raw, "organizer"), "emailAddress"), "address"),
        own_response=RESPONSES.get(text(own, "response") or ""),
        attendees=tuple(_person(person) for person in objects(raw, "attendees")),
        series_id=text(raw, "seriesMasterId"),
        original_starts_at=_instant(text(raw, "originalStart")),
        location=text(mapping(raw, "location"), "displayName") or None,
        visibility=VISIBILITY.get(text(raw, "sensitivity") or "normal", "default"),
        is_busy=raw.get("showAs") not in ("free", "workingElsewhere"),
        event_type="default",
        provider_updated_at=_instant(text(raw, "lastModifiedDateTime")),
        raw=_cut(raw),
        noise=NOISE,
    )


_UTC = ZoneInfo("UTC")


def _moment(raw: Json, key: str) -> datetime:
    """A start or end as shown: in the zone it names, which is UTC as we ask for it; raises _Unfit."""
    stated = mapping(raw, key)
    value = text(stated, "dateTime")
    if value is None:
        raise _Unfit(f"no_{key}")
    named = zone(text(stated, "timeZone") or "UTC")
    if named is None:
        raise _Unfit("unknown_zone")
    try:
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=named).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Unfit(f"bad_{key}") from None


def _midnights(days: tuple[date, date], zone: ZoneInfo) -> tuple[datetime, datetime]:
    try:
        first, last = (datetime.combine(day, time(), zone).astimezone(UTC) for day in days)
    except OverflowError:
        raise _Unfit("bad_start") from None
    return first, last


def _instant(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _person(person: Json) -> Attendee:
    address = mapping(person, "emailAddress")
    return Attendee(
        email=text(address, "address"),
        name=text(address, "name"),
        response=RESPONSES.get(text(mapping(person, "status"), "response") or ""),
        is_optional=person.get("type") == "optional",
    )


def _cut(raw: Json) -> Json:
    body = mapping(raw, "body")
    content = text(body, "content")
    if content is None or len(content) <= LONG_TEXT:
        return raw
    return {**raw, "body": {**body, "content": content[:LONG_TEXT]}}


def _link(raw: Json, hosts: Sequence[str]) -> MeetingLink | None:
    """Sources in the API contract's order, and after them the location, which the contract does not read."""
    body, location = mapping(raw, "body"), mapping(raw, "location")
    places: list[tuple[str | None, Literal["structured", "text", "html"]]] = [
        (text(mapping(raw, "onlineMeeting"), "joinUrl"), "structured"),
        (text(raw, "onlineMeetingUrl"), "structured"),
        (text(raw, "subject"), "text"),
        (text(body, "content"), "html" if body.get("contentType") == "html" else "text"),
        (text(location, "locationUri"), "text"),
        (text(location, "displayName"), "text"),
    ]
    return meetings.find([Source(place, kind) for place, kind in places if place], extra_hosts=hosts)
