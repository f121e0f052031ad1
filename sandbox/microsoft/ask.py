"""What a Graph request asks for: its OData query and its Prefer headers, read and judged as Graph does. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from sandbox.errors import Unusable
from sandbox.microsoft import words
from sandbox.microsoft.errors import GraphError, bad_request
from sandbox.microsoft.render import PROPERTIES, Manner

MAX_TOP = 1000
_PREFERENCE = re.compile(r"([\w.-]+)\s*(?:=\s*(\"[^\"]*\"|[^,;\s]+))?")
_HONOURED = ("outlook.timezone", "idtype", "outlook.body-content-type", "odata.maxpagesize")
_FRACTION = re.compile(r"\.\d+")
_ORDERS = ("start/dateTime", "end/dateTime", "subject", "createdDateTime", "lastModifiedDateTime")


class Preferences(msgspec.Struct, frozen=True):
    """The Prefer headers, understood, and those that were honoured."""

    manner: Manner
    page_size: int | None
    applied: str


class Window(msgspec.Struct, frozen=True):
    """A stretch of time."""

    low: datetime
    high: datetime


def preferences(header: str) -> Preferences:
    """Read `Prefer`. What is left out falls back: UTC, mutable ids, HTML bodies. Raises 400 for an unknown zone."""
    told = {name.lower(): value.strip('"') for name, value in _PREFERENCE.findall(header)}
    zone_name = told.get("outlook.timezone", "UTC")
    try:
        zone = words.iana(zone_name)
    except Unusable:
        supported = f"The following TimeZone value is not supported: '{zone_name}'."
        message = f"A valid TimeZone value must be specified. {supported}"
        raise bad_request(message, "TimeZoneNotSupportedException") from None
    size = told.get("odata.maxpagesize", "")
    manner = Manner(
        zone_name,
        zone,
        immutable=told.get("idtype", "").lower() == "immutableid",
        text_body=told.get("outlook.body-content-type", "").lower() == "text",
    )
    honoured = ", ".join(f'{name}="{told[name]}"' for name in _HONOURED if name in told)
    return Preferences(manner, int(size) if size.isdecimal() and int(size) > 0 else None, honoured)


def window(one: Mapping[str, str]) -> Window:
    """`startDateTime` and `endDateTime`: an offset is honoured, without one it is UTC. Raises 400."""
    low, high = one.get("startdatetime"), one.get("enddatetime")
    if not low or not high:
        message = "A time window is required: the query string parameters StartDateTime and EndDateTime."
        raise bad_request(message, "ErrorInvalidParameter")
    found = Window(_time(low, "StartDateTime"), _time(high, "EndDateTime"))
    if found.low > found.high:
        message = "The value of the parameter 'EndDateTime' must be greater than or equal to 'StartDateTime'."
        raise bad_request(message, "ErrorInvalidParameter")
    return found


def _time(text: str, name: str) -> datetime:
    try:
        at = datetime.fromisoformat(_FRACTION.sub("", text.strip()))
    except ValueError:
        message = f"The value '{text}' of parameter '{name}' is invalid."
        raise bad_request(message, "ErrorInvalidParameter") from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).astimezone(UTC)


def number(one: Mapping[str, str], name: str, default: int, *, most: int | None = None, least: int = 0) -> int:
    """`$top`, `$skip`; raises 400 outside its bounds."""
    text = one.get(name)
    if text is None:
        return default
    value = int(text) if text.isascii() and text.isdecimal() else -1
    if value < least or (most is not None and value > most):
        if name == "$top":
            message = f"Invalid page size specified: '{text}'. Must be between {least} and {most} inclusive."
        else:
            message = f"Invalid value '{text}' for {name} query option found."
        raise bad_request(message)
    return value


def selected(one: Mapping[str, str]) -> tuple[str, ...] | None:
    """`$select`; None for all. Raises 400 for a property that events haven't."""
    text = one.get("$select")
    if not text:
        return None
    known = {name.lower(): name for name in PROPERTIES}
    names: list[str] = []
    for name in (part.strip() for part in text.split(",")):
        if (real := known.get(name.lower())) is None:
            message = (
                f"Parsing OData Select and Expand failed: Could not find a property named '{name}' on type "
                "'microsoft.graph.event'."
            )
            raise bad_request(message, "RequestBroker--ParseUri")
        names.append(real)
    return tuple(names)


def order(one: Mapping[str, str]) -> tuple[str, bool] | None:
    """`$orderby`: the property and whether descending; None if nothing is asked. Raises 400 for an unknown one."""
    text = one.get("$orderby")
    if not text:
        return None
    name, _, how = text.split(",")[0].strip().partition(" ")
    found = next((known for known in _ORDERS if known.lower() == name.lower()), None)
    if found is None or how.strip().lower() not in ("", "asc", "desc"):
        message = f"The property '{name}' is not supported for ordering."
        raise bad_request(message, "ErrorInvalidUrlQuery")
    return found, how.strip().lower() == "desc"


def refuse(one: Mapping[str, str], names: tuple[str, ...], *, delta: bool = False) -> None:
    """Raise the 400 of query options that do not go here."""
    for name in names:
        if name in one:
            raise _refused(name, delta=delta)


def _refused(name: str, *, delta: bool) -> GraphError:
    if name == "$expand":
        message = "Parsing OData Select and Expand failed: Value cannot be null. (Parameter 'initialState')"
        return bad_request(message, "RequestBroker--ParseUri")
    where = "with change tracking over calendarView" if delta else "here"
    return bad_request(f"The query parameter '{name}' is not supported {where}.", "ErrorInvalidUrlQuery")
