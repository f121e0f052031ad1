"""Opens the wrappers that mail filters and calendars put around links, as far as the link stands inside its wrapper.

Wrappers that hold only a token (Mimecast, Fortinet, `t.co`, `bit.ly`) stay closed: to open them is to make a request.
"""

import base64
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from calendar_pipeline.meetings.address import Address, parameter

_GOOGLE = re.compile(r"(?:www\.)?google\.(?:com|[a-z]{2}|com?\.[a-z]{2})")
_LOST_SLASH = re.compile(r"(https?):/(?!/)", re.IGNORECASE | re.ASCII)
_STARRED = re.compile(r"\*(?:\*([A-Za-z0-9_-]))?")
_RUN_LENGTHS: Final = {
    letter: length
    for length, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", start=2)
}


def once(address: Address) -> str | None:
    """The link that `address` wraps, with one layer taken off; None if it is no wrapper that can be opened."""
    if address.app:
        return None
    host = address.host
    opened = _google(address) if _GOOGLE.fullmatch(host) else None
    while opened is None:
        if (open_ := _WRAPPERS.get(host)) is not None:
            opened = open_(address)
            break
        _, dot, host = host.partition(".")
        if not dot:
            return None
    return None if opened is None else _LOST_SLASH.sub(r"\1://", opened, count=1)


def _decoded(name: str) -> Callable[[Address], str | None]:
    def read(address: Address) -> str | None:
        value = parameter(address.query, name)
        return None if value is None else unquote(value)

    return read


def _google(address: Address) -> str | None:
    """`google.com/url`, which Google Calendar puts around links of a description."""
    if address.path != "/url":
        return None
    for name in ("q", "url"):
        value = parameter(address.query, name)
        if value:
            return unquote(value)
    return None


def _teams(address: Address) -> str | None:
    """The page by which Teams shows a Safe Link."""
    return _decoded("url")(address) if address.path.startswith("/evergreen-assets/safelinks/") else None


def _proofpoint(address: Address) -> str | None:
    """Proofpoint's URL Defense, versions 1 to 3 (https://help.proofpoint.com/, "URL Defense decoder")."""
    if address.rest.startswith("/v3/"):
        return _proofpoint_3(address.rest)
    value = parameter(address.query, "u")
    if value is None:
        return None
    if address.path == "/v1/url":
        return unquote(value)
    if address.path == "/v2/url":
        return unquote(value.replace("-", "%").replace("_", "/"))
    return None


def _proofpoint_3(rest: str) -> str | None:
    """Version 3 keeps the link readable and moves the characters it dislikes to a base64 list after it.

    `*` stands for the list's next character, `**` and a letter for a run of them.
    """
    before, mark, after = rest.removeprefix("/v3/").partition("__;")
    if not mark or not before.startswith("__"):
        return None
    moved = _base64(after.partition("!")[0])
    if moved is None:
        return None
    at = 0

    def restore(star: re.Match[str]) -> str:
        nonlocal at
        start = at
        at += _RUN_LENGTHS[star[1]] if star[1] else 1
        return moved[start:at]

    return _STARRED.sub(restore, before[2:])


def _cisco(address: Address) -> str | None:
    """`secure-web.cisco.com/<hash>/<link>`."""
    _, slash, last = address.path.rpartition("/")
    return unquote(last) if slash else None


def _sophos(address: Address) -> str | None:
    """Sophos Email: the link is base64 in `u`."""
    value = parameter(address.query, "u")
    return None if value is None else _base64(unquote(value))


def _base64(text: str) -> str | None:
    """Base64 in either alphabet, padded or not, holding UTF-8; None if it is not that."""
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode()
    except ValueError:
        return None


_WRAPPERS: Final[dict[str, Callable[[Address], str | None]]] = {
    "safelinks.protection.outlook.com": _decoded("url"),
    "safelinks.protection.office365.us": _decoded("url"),
    "safelinks.protection.partner.outlook.cn": _decoded("url"),
    "statics.teams.cdn.office.net": _teams,
    "urldefense.proofpoint.com": _proofpoint,
    "urldefense.com": _proofpoint,
    "urldefense.us": _proofpoint,
    "linkprotect.cudasvc.com": _decoded("a"),
    "secure-web.cisco.com": _cisco,
    "protection.sophos.com": _sophos,
    "trendmicro.com": _decoded("url"),
}
"""By host; a subdomain counts as its parent."""
