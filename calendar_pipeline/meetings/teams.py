"""Microsoft Teams' links (https://learn.microsoft.com/microsoftteams/, "Deep links").

The same meeting is written as a deep link, as a short link with a passcode, and as either of them inside the page that
starts the app ("launcher") or the browser's light client. All come out as the deep link or the short link itself.
"""

import base64
import json
import re
from typing import Final, cast
from urllib.parse import unquote

from calendar_pipeline.meetings.address import Address, parameter, split
from calendar_pipeline.meetings.place import Place

HOSTS: Final = (
    "teams.microsoft.com",
    "teams.live.com",
    "teams.cloud.microsoft",
    "gov.teams.microsoft.us",
    "dod.teams.microsoft.us",
    "teams.microsoft.us",
    "teams.microsoftonline.cn",
)

_DEEP = re.compile(r"/l/(meetup-join|meeting)/([^/?#]{1,512})/([^/?#]{1,64})/?\Z")
_SHORT = re.compile(r"/meet/([A-Za-z0-9]{1,64})/?\Z", re.ASCII)
_THREAD = re.compile(r"[A-Za-z0-9:@._=-]+", re.ASCII)
_MESSAGE = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_PASSCODE = re.compile(r"[A-Za-z0-9]+", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_TENANT = re.compile(r'"Tid"\s{0,2}:\s{0,2}"([A-Za-z0-9._-]{1,64})"', re.IGNORECASE | re.ASCII)
_ORGANIZER = re.compile(r'"Oid"\s{0,2}:\s{0,2}"([A-Za-z0-9._-]{1,64})"', re.IGNORECASE | re.ASCII)
_ROUNDS: Final = 3
"""As it stands, and after one and two rounds of percent-decoding."""
_DEEPEST: Final = 2
"""The launcher holds a path of the client, which holds the link: two layers."""


def place(address: Address) -> Place | None:
    """The meeting at `address`, whose host is one of `HOSTS`; None if there is none."""
    return _read(address, depth=0)


def _read(address: Address, *, depth: int) -> Place | None:
    path = address.path
    # The older client's "/_" and the newer client's "/v2/" stand before the "#"; the link itself after it.
    if path in {"/_", "/v2", "/v2/"}:
        return _behind(address.host, address.fragment, depth)
    if path.startswith("/dl/launcher/"):
        return _behind(address.host, unquote(parameter(address.query, "url") or ""), depth)
    if path == "/light-meetings/launch":
        return _light(address)
    if (short := _SHORT.match(path)) is not None:
        return _short(address.host, short[1], parameter(address.query, "p") or "")
    if (deep := _DEEP.match(path)) is not None:
        context = _decoded(parameter(address.query, "context") or "")
        tenant, organizer = _TENANT.search(context), _ORGANIZER.search(context)
        if tenant is not None and organizer is not None:
            return _deep(address.host, deep[1], _decoded(deep[2]), deep[3], tenant[1], organizer[1])
    return None


def _behind(host: str, rest: str, depth: int) -> Place | None:
    """The meeting of a path that stood inside another link of the same host."""
    for _ in range(_ROUNDS if depth < _DEEPEST else 0):
        found = _read(split(host, rest), depth=depth + 1) if rest.startswith("/") else None
        if found is not None or "%" not in rest:
            return found
        rest = unquote(rest)
    return None


def _light(address: Address) -> Place | None:
    """The light client names the meeting in `coords`, which is JSON in base64."""
    coords = _decoded(parameter(address.query, "coords") or "").rstrip("=").replace("-", "+").replace("_", "/")
    try:
        told = cast(object, json.loads(base64.b64decode(coords + "=" * (-len(coords) % 4), validate=True)))
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    fields = cast(dict[str, object], told)
    thread, tenant, organizer = (fields.get(name) for name in ("conversationId", "tenantId", "organizerId"))
    message = fields.get("messageId", "0")
    if not (
        isinstance(thread, str) and isinstance(tenant, str) and isinstance(organizer, str) and isinstance(message, str)
    ):
        return None
    return _deep(address.host, "meetup-join", thread, message, tenant, organizer)


def _deep(host: str, verb: str, thread: str, message: str, tenant: str, organizer: str) -> Place | None:
    if not (
        _THREAD.fullmatch(thread) and _MESSAGE.fullmatch(message) and _ID.fullmatch(tenant) and _ID.fullmatch(organizer)
    ):
        return None
    host = "teams.microsoft.com" if host == "teams.live.com" else host
    url = f'https://{host}/l/{verb}/{thread}/{message}?context={{"Tid":"{tenant}","Oid":"{organizer}"}}'
    return Place("teams", url, f"teams:{thread}:{tenant.lower()}:{organizer.lower()}")


def _short(host: str, meeting: str, passcode: str) -> Place | None:
    """A short link cannot be joined without its passcode."""
    found = _PASSCODE.match(passcode)
    if found is None:
        return None
    # Personal accounts have their own numbers.
    space = "live:" if host == "teams.live.com" else ""
    return Place("teams", f"https://{host}/meet/{meeting}?p={found[0]}", f"teams:{space}{meeting.lower()}")


def _decoded(text: str) -> str:
    for _ in range(_ROUNDS - 1):
        if "%" not in text:
            break
        text = unquote(text)
    return text
