"""A URL taken apart strictly: what is read as the host here is what every browser would contact.

Accepted is the part of RFC 3986 that meeting links use: a scheme, a DNS name of ASCII letters, digits, dots and
hyphens, perhaps the scheme's default port, then path, query and fragment. Refused is all on which parsers disagree:
user information, other ports, IP literals, backslashes, white space and control characters, non-ASCII or
percent-encoded hosts.
"""

import html.entities
import re
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote

LONGEST: Final = 8192
"""Characters; longer URLs are not looked at."""
MAX_LINK: Final = 2048
"""Characters of a link that is kept; PostgreSQL's indexes hold no more than 2704 bytes."""

# re.ASCII matters: without it, IGNORECASE lets U+212A pass as "k" and U+017F as "s".
_AUTHORITY = re.compile(
    r"(https?|zoommtg|zoomus|msteams)://([a-z0-9.-]{1,254})(?::([0-9]{1,5}))?(?=[/?#]|\Z)", re.IGNORECASE | re.ASCII
)
_TEAMS_WITHOUT_HOST = re.compile(r"msteams:(?=/(?!/))", re.IGNORECASE | re.ASCII)
_REFUSED = re.compile(r"[\s\x00-\x20\x7f-\x9f\\\ud800-\udfff]")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# What UTS #46 tells browsers to drop from a name, and mail programs put in to allow a line break.
_INVISIBLE: Final = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
_APPS: Final[dict[str, Literal["zoom", "teams"]]] = {"zoommtg": "zoom", "zoomus": "zoom", "msteams": "teams"}
_DEFAULT_PORTS: Final = {"https": "443", "http": "80"}


class Address(NamedTuple):
    """A URL's parts. `host` is lower-case and without a final dot; the others are as they stood, entities resolved."""

    host: str
    rest: str
    """All after the host: path, query and fragment, with their marks."""
    path: str
    query: str
    fragment: str
    app: Literal["", "zoom", "teams"] = ""
    """Which app the scheme belongs to; empty for the web."""


def parse(url: str) -> Address | None:
    """The parts of `url`, or None if it is not of the form above. `http` is taken as `https`."""
    if len(url) > LONGEST:
        return None
    if not url.isascii():
        url = visible(url)
    found = _AUTHORITY.match(url)
    if found is None:
        bare = _TEAMS_WITHOUT_HOST.match(url)
        return None if bare is None else _parts("teams.microsoft.com", url[bare.end() :], "teams")
    host = found[2].lower().removesuffix(".")
    if not host or host[0] == "." or ".." in host or host[-1] == ".":
        return None
    scheme = found[1].lower()
    if found[3] is not None and found[3] != _DEFAULT_PORTS.get(scheme):
        return None
    return _parts(host, url[found.end() :], _APPS.get(scheme, ""))


def split(host: str, rest: str, app: Literal["", "zoom", "teams"] = "") -> Address:
    """The parts of `rest`, which follows `host`; that one the caller has checked."""
    before, _, fragment = rest.partition("#")
    path, _, query = before.partition("?")
    return Address(host, rest, path, query, fragment, app)


def parameter(query: str, name: str) -> str | None:
    """The first parameter called `name`, still percent-encoded; None if there is none."""
    for part in query.split("&"):
        key, _, value = part.partition("=")
        if key == name:
            return value
    return None


def visible(text: str) -> str:
    """`text` without the characters that show nothing and mean nothing in a link."""
    return text.translate(_INVISIBLE)


def unescape(text: str) -> str:
    """`text` with HTML's character references resolved, once.

    Only those that end in a semicolon: `html.unescape` also takes those that do not, and would turn `&region=1` into
    `®ion=1`.
    """
    if "&" not in text or ";" not in text:
        return text
    return _ENTITY.sub(_character, text)


def holds_url(rest: str) -> bool:
    """Whether another web address stands in `rest`, in plain or under one or two rounds of percent-encoding."""
    for _ in range(3):
        lower = rest.lower()
        if "http://" in lower or "https://" in lower:
            return True
        if "%" not in rest:
            return False
        rest = unquote(rest)
    return False


def _parts(host: str, rest: str, app: Literal["", "zoom", "teams"]) -> Address | None:
    rest = unescape(rest)
    return None if _REFUSED.search(rest) else split(host, rest, app)


def _character(found: re.Match[str]) -> str:
    name = found[0][1:]
    if name[0] != "#":
        return html.entities.html5.get(name, found[0])
    point = int(name[2:-1], 16) if name[1] in "xX" else int(name[1:-1])
    return chr(point) if 0 < point < 0xD800 or 0xDFFF < point < 0x110000 else "\ufffd"
