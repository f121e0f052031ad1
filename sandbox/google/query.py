"""The query of events.list, read and judged as Google does. Pure: pairs in, a `Query` or a `GoogleError` out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from sandbox.errors import Unusable
from sandbox.google.errors import GoogleError, invalid
from sandbox.google.switches import Switches
from sandbox.google.tokens import digest
from sandbox.when import rfc3339, zone_info

MAX_RESULTS = 2500
_NOT_WITH_SYNC_TOKEN = (
    "iCalUID",
    "orderBy",
    "privateExtendedProperty",
    "q",
    "sharedExtendedProperty",
    "timeMin",
    "timeMax",
    "updatedMin",
)
_NO_SYNC_TOKEN_AFTER = ("orderBy", "q", "updatedMin", "iCalUID", "privateExtendedProperty", "sharedExtendedProperty")
_MAY_DIFFER = ("pageToken", "maxResults", "fields", "prettyPrint", "alt", "key", "quotaUser", "userIp", "access_token")
_WINDOW = ("timeMin", "timeMax", "syncToken", "alwaysIncludeEmail")


class Query(msgspec.Struct, frozen=True):
    """What an events.list (or events.instances) call asked for."""

    low: datetime | None = None
    high: datetime | None = None
    single_events: bool = False
    show_deleted: bool = False
    max_results: int = 250
    page_token: str | None = None
    sync_token: str | None = None
    order_by: Literal["startTime", "updated"] | None = None
    zone: str | None = None
    updated_min: datetime | None = None
    event_types: tuple[str, ...] = ()
    ical_uid: str | None = None
    text: str | None = None
    max_attendees: int | None = None
    gives_sync_token: bool = True
    sync_params: str = ""
    """Digest of what must stay the same between a sync token's issue and its use."""
    page_params: str = ""
    """Digest of what must stay the same from page to page."""


def read(pairs: Sequence[tuple[str, str]], switches: Switches) -> Query:
    """Read the query; raises the 400 that Google answers to what cannot be read or doesn't go together."""
    many: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        many[name] = (*many.get(name, ()), value)
    one = {name: values[-1] for name, values in many.items()}
    sync_token = one.get("syncToken")
    if sync_token is not None:
        _refuse_with_sync_token(one)
    order_by = one.get("orderBy")
    single_events = _bool(one, "singleEvents")
    if order_by not in (None, "startTime", "updated"):
        message = f'Invalid value "{order_by}". Allowed: [startTime, updated]'
        raise invalid(message, "orderBy")
    if order_by == "startTime" and not single_events:
        message = "The requested ordering is not available for the particular query."
        raise invalid(message, "orderBy", reason="invalid")
    low, high = _time(one, "timeMin"), _time(one, "timeMax")
    if low is not None and high is not None and high <= low:
        raise GoogleError(
            400, "timeRangeEmpty", "The specified time range is empty.", domain="calendar", location="timeMax"
        )
    return Query(
        low=low,
        high=high,
        single_events=single_events,
        show_deleted=_bool(one, "showDeleted"),
        max_results=_max_results(one, switches),
        page_token=one.get("pageToken"),
        sync_token=sync_token,
        order_by=order_by,  # type: ignore[arg-type]
        zone=_zone(one),
        updated_min=_time(one, "updatedMin"),
        event_types=many.get("eventTypes", ()),
        ical_uid=one.get("iCalUID"),
        text=one.get("q"),
        max_attendees=_number(one, "maxAttendees"),
        gives_sync_token=not any(name in one for name in _NO_SYNC_TOKEN_AFTER),
        sync_params=digest({k: v for k, v in many.items() if k not in _MAY_DIFFER and k not in _WINDOW}),
        page_params=digest({k: v for k, v in many.items() if k not in _MAY_DIFFER}),
    )


def _refuse_with_sync_token(one: dict[str, str]) -> None:
    for name in _NOT_WITH_SYNC_TOKEN:
        if name in one:
            ordering = name == "orderBy"
            what = "non-default ordering" if ordering else "other request restrictions"
            message = f"Sync token cannot be used with {what}."
            raise GoogleError(400, "invalid", message, location="syncToken" if not ordering else "orderBy")
    if one.get("showDeleted", "true").lower() == "false":
        message = "Sync token cannot be used with other request restrictions."
        raise GoogleError(400, "invalid", message, location="showDeleted")


def _bool(one: dict[str, str], name: str) -> bool:
    value = one.get(name, "false").lower()
    if value not in ("true", "false"):
        message = f'Invalid boolean value: "{one[name]}".'
        raise invalid(message, name)
    return value == "true"


def _number(one: dict[str, str], name: str) -> int | None:
    if (text := one.get(name)) is None:
        return None
    if not text.isdecimal() or not text.isascii() or int(text) < 1:
        message = f'Invalid value "{text}". Values must be within the range: [1, 2147483647]'
        raise invalid(message, name)
    return int(text)


def _max_results(one: dict[str, str], switches: Switches) -> int:
    asked = _number(one, "maxResults") or 250
    if asked > MAX_RESULTS and switches.refuse_large_max_results:
        message = f'Invalid value "{asked}". Values must be within the range: [1, 2500]'
        raise invalid(message, "maxResults")
    return min(asked, MAX_RESULTS)


def _time(one: dict[str, str], name: str) -> datetime | None:
    if (text := one.get(name)) is None:
        return None
    if (at := rfc3339(text)) is None:
        raise GoogleError(400, "badRequest", "Bad Request", location=name)
    return at


def _zone(one: dict[str, str]) -> str | None:
    if (name := one.get("timeZone")) is None:
        return None
    try:
        zone_info(name)
    except Unusable:
        message = "Invalid time zone definition for the request."
        raise invalid(message, "timeZone", reason="invalid") from None
    return name
