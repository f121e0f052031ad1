"""Between Graph's words and the sandbox's own (Google's): zones, answers, links, raw fields. Pure."""

import html
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from sandbox import zones
from sandbox.errors import Unusable

Json = dict[str, Any]

GRAPH = "graph:"
"""How the name of a field begins that only Graph shows; it is shown as it is, over all that is computed."""

ANSWERS: Mapping[str, str] = {
    "needsAction": "notResponded",
    "accepted": "accepted",
    "tentative": "tentativelyAccepted",
    "declined": "declined",
}
_SENSITIVITY: Mapping[str, str] = {"private": "private", "confidential": "confidential"}
_WINDOWS: Mapping[str, str] = {iana: windows for windows, iana in sorted(WINDOWS_TO_OLSON.items(), reverse=True)}
_TEAMS = ("teams.microsoft.com", "teams.live.com", "teams.cloud.microsoft", "gov.teams.microsoft.us")
_TAG = re.compile(r"<[a-zA-Z/!][^>]*>")
_SPACE = re.compile(r"[ \t\r\n]+")


def windows(iana: str) -> str:
    """Windows' name of a zone, by CLDR's table; the IANA name where that has none."""
    return _WINDOWS.get(iana, iana)


def iana(name: str) -> str:
    """The zone that a Windows or IANA name means; raises `Unusable`."""
    if (known := zones.by_name(name)) is None:
        message = f"There is no time zone {name!r}. Use a Windows name such as W. Europe Standard Time, or an IANA one."
        raise Unusable(message)
    return known


def is_teams(url: str) -> bool:
    """Whether Graph says the link in `onlineMeeting`."""
    return (urlsplit(url).hostname or "") in _TEAMS


def as_html(text: str, link: str | None) -> str:
    """A body as Outlook stores it; a link that has no other place goes below."""
    inner = text if _TAG.search(text) else html.escape(text, quote=False).replace("\n", "<br>\r\n")
    if link is not None:
        inner += f'<div><a href="{html.escape(link)}">Join the meeting now</a></div>'
    if not inner:
        return ""
    head = '<meta http-equiv="Content-Type" content="text/html; charset=utf-8">'
    return f"<html><head>\r\n{head}</head><body>{inner}</body></html>"


def as_text(body: str) -> str:
    """The same without markup: links lose their targets."""
    return html.unescape(_TAG.sub(" ", body.replace("<br>", "\n"))).strip()


def preview(body: str) -> str:
    """`bodyPreview`."""
    return _SPACE.sub(" ", as_text(body))[:255]


def own(told: Json) -> Json:
    """Raw Graph fields as `edits.patch` takes them; fields in the sandbox's own words are taken as they are."""
    made: Json = {}
    for name, value in told.items():
        made |= _own(name, value, told)
    return made


def _own(name: str, value: Any, told: Json) -> Json:
    match name:
        case "subject":
            return {"summary": value}
        case "body":
            return {"description": None if value is None else value.get("content")}
        case "location" if isinstance(value, dict):
            return {"location": value.get("displayName")}
        case "start" | "end" if isinstance(value, dict):
            return {name: _time(value, all_day=told.get("isAllDay") is True)}
        case "sensitivity":
            return {"visibility": _SENSITIVITY.get(str(value))}
        case "showAs" if value in ("free", "busy"):
            return {"transparency": "transparent" if value == "free" else None, f"{GRAPH}showAs": None}
        case "organizer" if isinstance(value, dict) and "emailAddress" in value:
            return {"organizer": _address(value)}
        case "attendees" if isinstance(value, list) and all("emailAddress" in one for one in value):
            return {"attendees": [_person(one) for one in value]}
        case "isAllDay":
            return {}
        case "isCancelled":
            message = "Whether an event is cancelled is not set as a field: use cancel_event and restore_event."
            raise Unusable(message)
        case _ if name in _OWN_WORDS:
            return {name: value}
        case _:
            return {f"{GRAPH}{name}": value}


_OWN_WORDS = (
    *("summary", "description", "location", "start", "end", "recurrence", "status", "visibility", "transparency"),
    *("organizer", "creator", "attendees", "link", "sequence"),
)


def _time(value: Json, *, all_day: bool) -> Json:
    zone = {"timeZone": iana(str(value["timeZone"]))} if value.get("timeZone") else {}
    if "date" in value:
        return {"date": value["date"]} | zone
    text = str(value.get("dateTime", ""))
    if all_day:
        return {"date": text[:10]} | zone
    return {"dateTime": text} | zone


def _address(value: Json) -> Json:
    told = value["emailAddress"]
    return {"email": told.get("address"), "displayName": told.get("name")}


def _person(value: Json) -> Json:
    answers = {theirs: ours for ours, theirs in ANSWERS.items()}
    row = _address(value) | {
        "responseStatus": answers.get(str((value.get("status") or {}).get("response")), "needsAction")
    }
    kind = value.get("type")
    return row | ({"optional": True} if kind == "optional" else {}) | ({"resource": True} if kind == "resource" else {})
