"""Events as Graph writes them in JSON. Pure: nothing here changes an event."""

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from sandbox.microsoft import ids, recurrence, words
from sandbox.model import Calendar, Event
from sandbox.occurrence import Occurrence
from sandbox.when import Day, Moment, When, instant, wall, zone_info

_OWA = "https://outlook.office365.com/owa/"
_NEVER = "0001-01-01T00:00:00Z"
SPARSE = ("@odata.etag", "seriesMasterId", "type", "start", "end", "id")
"""All that a delta round tells of an occurrence, besides its @odata.type."""


PROPERTIES = (
    *("id", "createdDateTime", "lastModifiedDateTime", "changeKey", "categories", "transactionId", "iCalUId"),
    *("originalStartTimeZone", "originalEndTimeZone", "reminderMinutesBeforeStart", "isReminderOn", "hasAttachments"),
    *("subject", "bodyPreview", "importance", "sensitivity", "isAllDay", "isCancelled", "isOrganizer", "isDraft"),
    *("responseRequested", "seriesMasterId", "showAs", "type", "webLink", "onlineMeetingUrl", "isOnlineMeeting"),
    *("onlineMeetingProvider", "onlineMeeting", "allowNewTimeProposals", "hideAttendees", "responseStatus", "body"),
    *("start", "end", "originalStart", "location", "locations", "recurrence", "attendees", "organizer"),
    *("occurrenceId", "exceptionOccurrences", "cancelledOccurrences"),
)
"""All that $select may name."""


class Manner(msgspec.Struct, frozen=True):
    """How the reader wants to be told (its Prefer headers), and what of it the mailbox holds back."""

    zone_name: str = "UTC"
    zone: str = "UTC"
    immutable: bool = True
    text_body: bool = False
    join_link_late: bool = False
    """A Teams meeting that was never changed since it was made shows no join link yet."""


def kind(found: Occurrence) -> str:
    """`singleInstance`, `seriesMaster`, `occurrence` or `exception`."""
    if found.event.series_id is not None:
        return "exception"
    if found.original is not None:
        return "occurrence"
    return "seriesMaster" if found.event.recurrence else "singleInstance"


def event(calendar: Calendar, found: Occurrence, manner: Manner) -> dict[str, Any]:
    """The whole event."""
    one, fields = found.event, found.event.fields
    key = change_key(calendar, one)
    master = calendar.events.get(one.series_id) if one.series_id else None
    called_off = one.called_off or (master is not None and master.called_off)
    body, where = _body(fields)
    series = one.series_id or (one.id if found.original is not None else None)
    zone_name = words.windows(one.start.zone if isinstance(one.start, Moment) else calendar.zone_of(one))
    subject = fields.get("summary")
    shown: dict[str, Any] = {
        "@odata.etag": f'W/"{key}"',
        "id": ids.event_id(calendar.id, found.id, immutable=manner.immutable),
        "createdDateTime": stamp(one.created_at),
        "lastModifiedDateTime": stamp(one.updated_at),
        "changeKey": key,
        "categories": [],
        "transactionId": None,
        "originalStartTimeZone": zone_name,
        "originalEndTimeZone": zone_name,
        "iCalUId": _ical_uid(found),
        "reminderMinutesBeforeStart": 15,
        "isReminderOn": True,
        "hasAttachments": False,
        "subject": f"Canceled: {subject or ''}" if called_off else subject,
        "bodyPreview": words.preview(body),
        "importance": "normal",
        "sensitivity": fields.get("visibility") if fields.get("visibility") in _HIDDEN else "normal",
        "isAllDay": isinstance(found.start, Day),
        "isCancelled": called_off,
        "isOrganizer": is_organizer(calendar, one),
        "responseRequested": True,
        "seriesMasterId": ids.event_id(calendar.id, series, immutable=manner.immutable) if series else None,
        "showAs": "free" if fields.get("transparency") == "transparent" or called_off else _busy(one),
        "type": kind(found),
        "webLink": f"{_OWA}?itemid={quote(found.id, safe='')}&exvsurl=1&path=/calendar/item",
        "onlineMeetingUrl": None,
        **_online(one, manner),
        "allowNewTimeProposals": True,
        "isDraft": False,
        "hideAttendees": False,
        "responseStatus": _own_answer(calendar, one),
        "body": _told_body(body, manner),
        "start": time(found.start, manner),
        "end": time(found.end, manner),
        "location": _location(where),
        "locations": [_location(where)] if where else [],
        "recurrence": None,
        "attendees": _people(one),
        "organizer": {"emailAddress": _named(fields.get("organizer") or {})},
    }
    if found.original is not None:
        shown["originalStart"] = stamp(instant(found.original, calendar.zone_of(one)), digits=0)
    elif one.recurrence:
        shown["recurrence"] = recurrence.patterned(one.start, one.recurrence, zone_name)
    return shown | {n.removeprefix(words.GRAPH): value for n, value in fields.items() if n.startswith(words.GRAPH)}


def sparse(shown: dict[str, Any]) -> dict[str, Any]:
    """What a delta round leaves of an occurrence."""
    return {"@odata.type": "#microsoft.graph.event"} | {name: shown[name] for name in SPARSE}


def removed(calendar: Calendar, own_id: str, manner: Manner, reason: str) -> dict[str, Any]:
    """A tombstone: an id and nothing else."""
    told = ids.event_id(calendar.id, own_id, immutable=manner.immutable)
    return {"@odata.type": "#microsoft.graph.event", "id": told, "@removed": {"reason": reason}}


def change_key(calendar: Calendar, one: Event) -> str:
    """Another one for each change of the event, or of the series it is an exception of."""
    master = calendar.events.get(one.series_id) if one.series_id else None
    seq = max(one.seq, master.seq if master is not None and master.called_off else 0)
    raw = hashlib.blake2b(f"{calendar.id}/{one.id}/{seq}".encode(), digest_size=18).digest()
    return base64.b64encode(raw).decode() + "=="


def time(when: When, manner: Manner) -> dict[str, str]:
    """Seven digits and no offset; a day as plain midnight, whatever zone is asked for."""
    match when:
        case Day():
            at = wall(when)
        case Moment(instant_, _):
            at = instant_.astimezone(zone_info(manner.zone))
    return {"dateTime": f"{at:%Y-%m-%dT%H:%M:%S}.0000000", "timeZone": manner.zone_name}


def stamp(at: datetime, *, digits: int = 7) -> str:
    """A time stamp: UTC, with the seven digits that .NET writes."""
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}" + (f".{at.microsecond:06d}0"[: digits + 1] if digits else "") + "Z"


def is_organizer(calendar: Calendar, one: Event) -> bool:
    """Whether the mailbox's owner called the meeting."""
    return str((one.fields.get("organizer") or {}).get("email", "")).lower() == calendar.account.lower()


def answer(calendar: Calendar, one: Event) -> str | None:
    """What the owner answered, in the sandbox's words; None if there was nothing to answer."""
    for person in one.fields.get("attendees", []):
        if person.get("self") or str(person.get("email", "")).lower() == calendar.account.lower():
            return str(person.get("responseStatus", "needsAction"))
    return None


_HIDDEN = ("private", "confidential")


def _body(fields: dict[str, Any]) -> tuple[str, str | None]:
    """The body, and the place: what links a meeting elsewhere stands in the place, or below the body."""
    link, place = fields.get("link"), fields.get("location")
    below = link if link is not None and (place or words.is_teams(link)) else None
    return words.as_html(str(fields.get("description") or ""), below), place or (link if below is None else None)


def _told_body(body: str, manner: Manner) -> dict[str, str]:
    if manner.text_body:
        return {"contentType": "text", "content": words.as_text(body)}
    return {"contentType": "html", "content": body}


def _online(one: Event, manner: Manner) -> dict[str, Any]:
    link = one.fields.get("link")
    if link is None or not words.is_teams(link):
        return {"isOnlineMeeting": False, "onlineMeetingProvider": "unknown", "onlineMeeting": None}
    late = manner.join_link_late and one.updated_at == one.created_at
    return {
        "isOnlineMeeting": True,
        "onlineMeetingProvider": "teamsForBusiness",
        "onlineMeeting": None if late else {"joinUrl": link},
    }


def _busy(one: Event) -> str:
    return "tentative" if one.status == "tentative" else "busy"


def _location(place: str | None) -> dict[str, Any]:
    if not place:
        nowhere = {"displayName": "", "locationType": "default", "uniqueIdType": "unknown"}
        return nowhere | {"address": {}, "coordinates": {}}
    return {"displayName": place, "locationType": "default", "uniqueId": place, "uniqueIdType": "private"}


def _people(one: Event) -> list[dict[str, Any]]:
    """Whom the organizer invited; the organizer stands elsewhere."""
    organizer = str((one.fields.get("organizer") or {}).get("email", "")).lower()
    return [
        {
            "type": "resource" if person.get("resource") else "optional" if person.get("optional") else "required",
            "status": {
                "response": words.ANSWERS.get(str(person.get("responseStatus")), "none"),
                "time": stamp(one.updated_at) if person.get("responseStatus") != "needsAction" else _NEVER,
            },
            "emailAddress": _named(person),
        }
        for person in one.fields.get("attendees", [])
        if str(person.get("email", "")).lower() != organizer
    ]


def _own_answer(calendar: Calendar, one: Event) -> dict[str, str]:
    if is_organizer(calendar, one):
        return {"response": "organizer", "time": _NEVER}
    told = answer(calendar, one)
    at = stamp(one.updated_at) if told not in (None, "needsAction") else _NEVER
    return {"response": words.ANSWERS.get(told or "", "none"), "time": at}


def _named(person: dict[str, Any]) -> dict[str, str]:
    address = str(person.get("email") or "")
    return {"name": str(person.get("displayName") or address), "address": address}


def _ical_uid(found: Occurrence) -> str:
    """Exchange's own hold the day of the instance; those of others are shared by a series."""
    uid = found.event.ical_uid
    if found.original is None or not uid.startswith(ids.EXCHANGE_UID):
        return uid
    day = wall(found.original)
    return f"{uid[:32]}{day.year:04X}{day.month:02X}{day.day:02X}{uid[40:]}"
