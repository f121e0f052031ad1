"""What can be kept. Pure.

An event becomes a row, or it is set aside with a reason: PostgreSQL would refuse it (NUL, lone surrogates), or it is
so large that keeping it would cost everyone else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from calendar_pipeline.event import Awkward, Event
from calendar_pipeline.history.redact import texts
from calendar_pipeline.meetings.address import MAX_LINK

MAX_ID = 1024
"""Bytes of an id: they are indexed, and PostgreSQL's indexes hold no more than 2704."""
MAX_TITLE = 8000
MAX_ATTENDEES = 1000
MAX_RAW = 1024 * 1024
"""Bytes of the provider's JSON, after long texts were cut."""

CONTENT = (
    "provider_event_id", "ical_uid", "title", "starts_at", "ends_at", "start_date", "end_date", "start_time",
    "end_time", "time_zone", "status", "meeting_url", "meeting_link", "meeting_platform", "meeting_key",
    "organizer_email", "own_response", "attendees", "series_id", "original_starts_at", "location",
    "visibility", "is_busy", "event_type",
)  # fmt: skip
"""Columns that make an event's content."""

_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Prepared:
    """An event as a row of `calendar_event`: column name → value."""

    event: Event
    row: Mapping[str, object]
    fingerprint: bytes


def prepare(event: Event) -> Prepared | Awkward:
    """The row for `event`, or the reason why there can be none. Never raises."""
    if (reason := _objection(event)) is not None:
        return Awkward(provider_event_id=event.provider_event_id[:MAX_ID], reason=reason, raw=event.raw)
    row: dict[str, object] = {
        "provider_event_id": event.provider_event_id,
        "ical_uid": event.ical_uid,
        "title": event.title,
        "starts_at": event.starts_at,
        "ends_at": event.ends_at,
        "start_date": event.start_date,
        "end_date": event.end_date,
        "start_time": event.start_time,
        "end_time": event.end_time,
        "time_zone": event.time_zone,
        "status": event.status,
        "meeting_url": event.meeting_url,
        "meeting_link": event.meeting_link,
        "meeting_platform": event.meeting_platform,
        "meeting_key": event.meeting_key,
        "organizer_email": event.organizer_email,
        "own_response": event.own_response,
        "attendees": [
            {
                "email": person.email,
                "name": person.name,
                "response": person.response,
                "is_optional": person.is_optional,
                "is_self": person.is_self,
            }
            for person in event.attendees
        ],
        "series_id": event.series_id,
        "original_starts_at": event.original_starts_at,
        "location": event.location,
        "visibility": event.visibility,
        "is_busy": event.is_busy,
        "event_type": event.event_type,
    }
    kept = {**row, "provider_updated_at": event.provider_updated_at, "raw": event.raw}
    return Prepared(event, kept, fingerprint(row, event.raw, noise=event.noise))


def fingerprint(row: Mapping[str, object], raw: Mapping[str, object], *, noise: frozenset[str]) -> bytes:
    """Digest of all content: the columns of `row` but the provider's stamp, and `raw` but for its noise."""
    content = {key: value for key, value in raw.items() if key not in noise}
    columns = {name: row[name] for name in CONTENT}
    return blake2b(_encode_sorted([columns, content]), digest_size=16).digest()


def _objection(event: Event) -> str | None:
    if any(_is_long(text) for text in (event.provider_event_id, event.series_id, event.ical_uid)):
        return "id_too_long"
    if len(event.title or "") > MAX_TITLE:
        return "title_too_long"
    if len(event.meeting_url or "") > MAX_LINK or len(event.meeting_link or "") > MAX_LINK:
        return "link_too_long"
    if len(event.attendees) > MAX_ATTENDEES:
        return "too_many_attendees"
    try:
        encoded = _encode(event.raw)
    except (ValueError, OverflowError, RecursionError, TypeError, msgspec.MsgspecError):
        return "not_encodable"
    if len(encoded) > MAX_RAW:
        return "too_large"
    if b"\\u0000" in encoded and any("\0" in text for text in texts(event.raw)):
        return "nul_character"
    return None


def _is_long(text: str | None) -> bool:
    return text is not None and len(text.encode(errors="replace")) > MAX_ID
