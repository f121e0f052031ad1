"""Zoom's links (https://support.zoom.com/hc/en, "Zoom URL schemes" and "Joining a Zoom meeting").

On `zoom.us` and `zoom.com` any path with a digit counts, as in the API that ours is compatible with, except for pages
that are known to be no meeting; on Zoom's other domains only the forms that are known to be one.
"""

import re
from typing import Final

from calendar_pipeline.meetings.address import Address, parameter
from calendar_pipeline.meetings.place import Place

HOSTS: Final = ("zoom.us", "zoom.com", "zoom.com.cn", "zoom-x.de", "zoom.de", "zoomgov.com")

_KEPT_PATH = re.compile(r"[A-Za-z0-9/_-]*", re.ASCII)
_NUMBERED = re.compile(r"/(?:j|w|s|wc|jc|join|meeting)/([0-9][0-9-]*)", re.ASCII)
_PERSONAL = re.compile(r"/my/([A-Za-z0-9._-]*[A-Za-z0-9_-])/?", re.ASCII)
_EVENT = re.compile(r"/ej[a-z]{0,2}/[A-Za-z0-9._~=-]+", re.ASCII)
_PASSCODE = re.compile(r"[A-Za-z0-9]+(?:\.[0-9]+)?", re.ASCII)
_TICKET = re.compile(r"[A-Za-z0-9._~-]*[A-Za-z0-9_~-]", re.ASCII)
_NUMBER = re.compile(r"[0-9]{3,16}", re.ASCII)
_DIGIT = re.compile(r"[0-9]", re.ASCII)
# Registration, recordings, dial-in numbers, calendar files, installers, and the web site's own pages.
_PAGES = (
    r"(?:webinar|meeting)(?!/[0-9])|rec|recording|u|zoomconference|docs|hc|client|download|clips|blog|pricing|profile"
    r"|signin|signup|register|account|[a-z]{2}(?:-[a-z]{2})?/(?:blog|products|resources|trust|legal)"
)
_NOT_JOINABLE = re.compile(rf"/+(?:{_PAGES})(?:/|\Z)", re.ASCII)
_NOT_MEETINGS: Final = frozenset(
    {
        "support",
        "blog",
        "marketplace",
        "developers",
        "explore",
        "status",
        "learning",
        "library",
        "community",
        "devforum",
    }
)


def place(address: Address) -> Place | None:
    """The meeting at `address`, whose host is one of `HOSTS` or a subdomain; None if there is none to join."""
    if address.host.partition(".")[0] in _NOT_MEETINGS:
        return None
    host = address.host
    contracted = host.endswith("zoom.us")
    if host.endswith("zoom.com"):
        host, contracted = f"{host.removesuffix('zoom.com')}zoom.us", True
    government = host.endswith("zoomgov.com")
    if (personal := _PERSONAL.match(address.path)) is not None:
        return _place(address, host, f"/my/{personal[1]}", f"my/{personal[1].lower()}", government=government)
    if host == "events.zoom.us" and (event := _EVENT.match(address.path)) is not None:
        return _place(address, host, event[0], f"events{event[0]}", government=government)
    if address.path in {"/join", "/start"}:
        number = _NUMBER.fullmatch(parameter(address.query, "confno") or "")
        return None if number is None else _place(address, host, f"/j/{number[0]}", number[0], government=government)
    if _NOT_JOINABLE.match(address.path):
        return None
    path = _kept(_KEPT_PATH, address.path) or ""
    if (numbered := _NUMBERED.search(path)) is not None:
        return _place(address, host, path, numbered[1].replace("-", ""), government=government)
    if contracted and _DIGIT.search(path):
        return _place(address, host, path, f"{host}{path}", government=government)
    return None


def _place(address: Address, host: str, path: str, meeting: str, *, government: bool) -> Place:
    kept = [
        f"{name}={value}"
        for name, form in (("pwd", _PASSCODE), ("tk", _TICKET))
        if (value := _kept(form, parameter(address.query, name) or ""))
    ]
    query = f"?{'&'.join(kept)}" if kept else ""
    # Zoom for Government gives out its own numbers.
    return Place("zoom", f"https://{host}{path}{query}", f"zoom:{'gov:' if government else ''}{meeting}")


def _kept(form: re.Pattern[str], text: str) -> str | None:
    found = form.match(text)
    return None if found is None else found[0]
