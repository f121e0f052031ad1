"""The table of meeting platforms: their hosts, which paths are a meeting, how its link is written, and by what key.

Zoom and Teams have so many forms that each has its own module. A row's paths are those by which a guest joins: a
platform's web site, its registration pages, view-only streams and telephone pages match no row.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple
from urllib.parse import quote, unquote

from calendar_pipeline.meetings import teams, zoom
from calendar_pipeline.meetings.address import Address, holds_url, parameter, split
from calendar_pipeline.meetings.place import Place

# The first path segments of web sites which are no room, where rooms have names that people choose.
_NO_ROOM = (
    r"(?!(?:about|account|accounts|api|app-store|apps|assets|auth|blog|careers|contact|cookies|dashboard|developers|docs"
    r"|download|downloads|enterprise|explore|faq|features|feedback|help|home|images|integrations|jobs|landing|legal"
    r"|login|logout|new|news|oauth|partners|plans|press|pricing|privacy|privacy-policy|product|products|register"
    r"|resources|security|settings|sign-in|sign-up|signin|signup|sitemap\.xml|solutions|static|status|support|terms"
    r"|terms-of-service|tos|users?|robots\.txt|favicon\.ico|manifest\.json)(?:/|\Z))"
)
_SEGMENT = r"[A-Za-z0-9._~%@:!$()*+,=-]+"
_ROOM = rf"/{_NO_ROOM}{_SEGMENT}"
_ROOMS = rf"{_ROOM}(?:/{_SEGMENT})*"
_UUID = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|[0-9A-Fa-f]{32}"


class Rule(NamedTuple):
    """One form of a platform's links. The whole path has to match; a final slash does not count."""

    platform: str
    path: re.Pattern[str]
    """Its group `id`, if it has one, is the key; else the whole address without scheme is."""
    keep: tuple[str, ...] | None = ()
    """The parameters needed to join; None keeps all but those that only track."""
    needs: str = ""
    """A parameter without which the path is no meeting."""
    fragment: Literal["dropped", "kept", "needed"] = "dropped"
    """What becomes of what stands after `#`."""


def _rule(
    platform: str,
    path: str,
    *,
    keep: Sequence[str] | None = (),
    needs: str = "",
    fragment: Literal["dropped", "kept", "needed"] = "dropped",
) -> Rule:
    return Rule(platform, re.compile(path, re.ASCII), None if keep is None else tuple(keep), needs, fragment)


def _rooms(platform: str, *, fragment: Literal["dropped", "kept", "needed"] = "dropped") -> tuple[Rule, ...]:
    return (_rule(platform, _ROOMS, keep=None, fragment=fragment),)


_WEBEX: Final = (
    _rule("webex", rf"(?:/{_SEGMENT})?/[jegm]\.php", keep=("MTID", "AT", "ED", "UID", "PW", "RG"), needs="MTID"),
    _rule("webex", rf"(?:/{_SEGMENT})?/(?:meet|join)/(?P<site>{_SEGMENT})"),
    _rule(
        "webex",
        rf"/wbxmjs/joinservice/sites/(?!.*/register(?:/|\Z)){_SEGMENT}(?:/{_SEGMENT})+",
        keep=("MTID", "siteurl"),
    ),
    _rule(
        "webex",
        rf"/(?:webappng|wbxmjs)/sites/{_SEGMENT}/meeting/(?!register(?:/|\Z)){_SEGMENT}(?:/{_SEGMENT})*",
        keep=("MTID",),
    ),
    _rule("webex", rf"/m/(?P<id>{_UUID})"),
)
_GOTO: Final = (
    _rule("gotomeeting", r"(?:/join|/meeting|/[a-z]{2})?/(?P<id>[0-9]{9})"),
    _rule("gotomeeting", r"(?:/meeting)?/?", keep=("meetingId",), needs="meetingId"),
)
_GOTO_ROOM: Final = (*_GOTO, _rule("gotomeeting", rf"(?:/meet)?/(?P<id>{_NO_ROOM}(?!join(?:/|\Z)){_SEGMENT})"))
_GOTO_WEBINAR: Final = (_rule("gotowebinar", r"/join/(?P<id>[0-9]+(?:/[0-9]+)?)"),)
_RINGCENTRAL: Final = (
    _rule("ringcentral", r"(?:/conf)?/(?:join|j|w)/(?P<id>[0-9]{6,16})", keep=("pw", "pwd", "tk")),
    _rule("ringcentral", rf"/(?:conf/)?join/(?P<id>{_SEGMENT})", keep=("pw", "pwd")),
)
_JITSI: Final = (_rule("jitsi", _ROOMS, keep=("jwt",)),)
_BLUEJEANS: Final = (
    _rule("bluejeans", r"/(?P<id>[0-9]{3,16})(?:/[A-Za-z0-9]+)?(?:/webrtc)?"),
    _rule("bluejeans", rf"/a2m/live-event/(?P<id>{_SEGMENT})"),
    _rule("bluejeans", rf"/(?:meet|join)/(?P<id>{_SEGMENT})"),
)
_DISCORD: Final = (
    _rule("discord", r"/channels/(?P<id>(?:@me|[0-9]+)(?:/[0-9]+)*)"),
    _rule("discord", r"/invite/(?P<id>[A-Za-z0-9-]+)"),
)
_ZOHO: Final = (
    _rule("zoho", r"(?:/meeting)?/join(?:\.do)?", keep=("key", "t"), needs="key"),
    _rule("zoho", r"(?:/meeting)?/(?:join/|videoprd/)?(?P<id>[A-Za-z0-9]+-[A-Za-z0-9-]+|[0-9]{9,12})"),
)
_LARK: Final = (_rule("lark", r"/j/(?P<id>[A-Za-z0-9]+)", keep=("pwd",)),)
_TENCENT: Final = (_rule("tencent", r"/(?:dm|p|s|j|v2/cloud-record/detail)/(?P<id>[A-Za-z0-9]+)", keep=("pwd",)),)
_LYNC: Final = (_rule("skype_business", rf"(?:/meet)?/{_SEGMENT}/{_SEGMENT}(?:/{_SEGMENT})?"),)
_DIALPAD: Final = (_rule("dialpad", rf"/(?:room|meetings|meet|r)/(?P<id>{_SEGMENT})", keep=None),)

_EXACT: Final[dict[str, tuple[Rule, ...]]] = {
    "g.co": (_rule("google_meet", rf"/meet/(?P<id>{_SEGMENT})"),),
    "8x8.vc": _JITSI,
    "meet.8x8.com": _JITSI,
    "meet.jit.si": _JITSI,
    "gotomeet.me": _GOTO_ROOM,
    "meet.goto.com": _GOTO_ROOM,
    "v.ringcentral.com": _RINGCENTRAL,
    "meetings.ringcentral.com": _RINGCENTRAL,
    "video.ringcentral.com": _RINGCENTRAL,
    "webinar.ringcentral.com": _RINGCENTRAL,
    "meetings.officeathand.att.com": _RINGCENTRAL,
    "chime.aws": (_rule("chime", r"(?:/meetings)?/(?P<id>[0-9]{10})"), *_rooms("chime")),
    "app.chime.aws": (_rule("chime", r"(?:/meetings)?/(?P<id>[0-9]{10})"), *_rooms("chime")),
    "app.slack.com": (_rule("slack", r"/huddle/(?P<id>[A-Z0-9]+/[A-Z0-9]+)"),),
    "discord.com": _DISCORD,
    "discordapp.com": _DISCORD,
    "discord.gg": (_rule("discord", r"/(?P<id>[A-Za-z0-9-]+)"),),
    "join.skype.com": (_rule("skype", rf"/(?:invite/|conv/)?(?P<id>{_NO_ROOM}{_SEGMENT})"),),
    "zm.page": _rooms("zoom"),
    "facetime.apple.com": (_rule("facetime", r"/join", keep=None, fragment="needed"),),
    "meet.dialpad.com": _rooms("dialpad"),
    "meetings.dialpad.com": _rooms("dialpad"),
    "dialpad.com": _DIALPAD,
    "www.dialpad.com": _DIALPAD,
    "app.gather.town": _rooms("gather"),
    "app.element.io": (*_rooms("element", fragment="kept"), _rule("element", "", fragment="needed")),
    "call.element.io": (*_rooms("element", fragment="kept"), _rule("element", "", fragment="needed")),
    "kmeet.infomaniak.com": _JITSI,
    "meet.proton.me": _rooms("proton", fragment="kept"),
    "vc.larksuite.com": _LARK,
    "vc.feishu.cn": _LARK,
    "meeting.tencent.com": _TENCENT,
    "meet.zoho.com": _ZOHO,
    **{
        f"{name}.zoho.{ending}": _ZOHO
        for name in ("meeting", "meet")
        for ending in ("com", "eu", "in", "com.au", "com.cn", "jp", "sa", "uk", "ca")
    },
}
_SUFFIX: Final[dict[str, tuple[Rule, ...]]] = {
    "webex.com": _WEBEX,
    "gotomeeting.com": _GOTO,
    "goto.com": _GOTO,
    "gotowebinar.com": _GOTO_WEBINAR,
    "whereby.com": (_rule("whereby", _ROOM, keep=("roomKey",)),),
    "bluejeans.com": _BLUEJEANS,
    "btcloudphone.bt.com": _RINGCENTRAL,
    "lync.com": _LYNC,
    "join.me": _rooms("join_me"),
    "uberconference.com": _rooms("uberconference"),
    "around.co": _rooms("around"),
    "livestorm.co": _rooms("livestorm"),
    "demio.com": _rooms("demio"),
    "streamyard.com": _rooms("streamyard"),
    "riverside.fm": _rooms("riverside"),
    "pop.com": _rooms("pop"),
    "tuple.app": _rooms("tuple"),
    "workplace.com": _rooms("workplace"),
    "voovmeeting.com": _TENCENT,
    "starleaf.com": _rooms("starleaf"),
    "lifesizecloud.com": _rooms("lifesize"),
    "vsee.com": _rooms("vsee"),
    "doxy.me": _rooms("doxy"),
    "daily.co": _rooms("daily"),
    "livekit.io": _rooms("livekit"),
    "butter.us": _rooms("butter"),
    "hopin.com": _rooms("hopin"),
    "preply.com": _rooms("preply"),
}
"""By host; a subdomain counts as its parent."""

_MEET = re.compile(r"/(?:_meet/)?([A-Za-z]{3}-[A-Za-z]{4}-[A-Za-z]{3})(?![A-Za-z0-9_-])", re.ASCII)
_MEET_NAMED = re.compile(r"/(?:_meet/)?lookup/([A-Za-z0-9_-]{1,128})/?\Z", re.ASCII)


def _google_meet(address: Address) -> Place | None:
    """A code of 3-4-3 letters, or a name in an organization (https://support.google.com/meet)."""
    if (code := _MEET.match(address.path)) is not None:
        return Place("google_meet", f"https://meet.google.com/{code[1]}", f"google_meet:{code[1].lower()}")
    if (named := _MEET_NAMED.match(address.path)) is not None:
        return Place("google_meet", f"https://meet.google.com/lookup/{named[1]}", f"google_meet:{named[1].lower()}")
    return None


_OWN: Final[dict[str, Callable[[Address], Place | None]]] = {
    "meet.google.com": _google_meet,
    **dict.fromkeys(teams.HOSTS, teams.place),
}
_OWN_SUFFIX: Final[dict[str, Callable[[Address], Place | None]]] = dict.fromkeys(zoom.HOSTS, zoom.place)
_HOSTS_OF_APPS: Final = {"zoom": zoom.HOSTS, "teams": teams.HOSTS}


def place(address: Address, *, extra_hosts: Sequence[str] = ()) -> Place | None:
    """The meeting at `address`; None if its host is in no row, or its path is not a meeting's.

    `extra_hosts` are the operator's own (a self-hosted Jitsi): any page of theirs but the first counts.
    """
    if address.app and not any(_is_under(address.host, host) for host in _HOSTS_OF_APPS[address.app]):
        return None
    own, rules = _row(address.host)
    if own is not None:
        return _decoding(own, address)
    for rule in rules:
        if (found := _apply(rule, address)) is not None:
            return found
    if not rules and any(_is_under(address.host, host) for host in map(_host, extra_hosts) if host):
        return _apply(_CUSTOM, address)
    return None


def _row(host: str) -> tuple[Callable[[Address], Place | None] | None, tuple[Rule, ...]]:
    """What the table says of `host`: a function of its own, or rules; neither if it has no row."""
    if (own := _OWN.get(host)) is not None:
        return own, ()
    if (rules := _EXACT.get(host)) is not None:
        return None, rules
    dot = "."
    while dot:
        if (own := _OWN_SUFFIX.get(host)) is not None:
            return own, ()
        if (rules := _SUFFIX.get(host)) is not None:
            return None, rules
        _, dot, host = host.partition(".")
    return None, ()


_CUSTOM: Final = _rule("custom", rf"(?:/{_SEGMENT})+", keep=None)
_TRACKING: Final = frozenset({"authuser", "hs", "fbclid", "gclid", "msclkid", "mc_cid", "mc_eid"})
_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}", re.ASCII)


def _decoding(own: Callable[[Address], Place | None], address: Address) -> Place | None:
    """What `own` finds in `address`, or after one or two rounds of percent-decoding what follows the host.

    A link with another address inside is refused: nobody can tell which of the two was meant.
    """
    if holds_url(address.rest):
        return None
    for _ in range(2):
        found = own(address)
        if found is not None or "%" not in address.rest:
            return found
        address = split(address.host, unquote(address.rest))
    return own(address)


def _apply(rule: Rule, address: Address) -> Place | None:
    path = quote(address.path.rstrip("/"), safe="/%~@:!$()*+,=.-_")
    found = rule.path.fullmatch(path)
    needed = (parameter(address.query, rule.needs) or "") if rule.needs else ""
    if found is None or (rule.needs and not needed):
        return None
    query = _query(rule, address.query)
    fragment = quote(address.fragment, safe="/%~@:!$()*+,=.-_&?") if rule.fragment != "dropped" else ""
    if rule.fragment == "needed" and not fragment:
        return None
    where = f"{address.host}{path or '/'}"
    url = f"https://{where}{'?' if query else ''}{query}{'#' if fragment else ''}{fragment}"
    return Place(rule.platform, url, f"{rule.platform}:{_key(found, needed, address.host, url)}")


def _key(found: re.Match[str], needed: str, host: str, url: str) -> str:
    names = found.groupdict()
    if "id" in names:
        return names["id"].lower()
    if "site" in names:
        return f"{host}/{names['site'].lower()}"
    return quote(needed, safe="%") or url.removeprefix("https://")


def _query(rule: Rule, query: str) -> str:
    if not query or rule.keep == ():
        return ""
    kept: list[str] = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if rule.keep is not None:
            wanted = name in rule.keep
        else:
            wanted = name not in _TRACKING and not name.startswith("utm_") and not (name == "from" and value == "addon")
        if part and wanted:
            kept.append(quote(part, safe="/%~@:!$()*+,=.-_?"))
    return "&".join(kept)


def _host(extra: str) -> str:
    """The operator's entry as a host, or nothing if it is no full name: a bare `com` would let in everything."""
    name = extra.strip().lower().strip(".")
    return name if _NAME.fullmatch(name) else ""


def _is_under(host: str, parent: str) -> bool:
    return host == parent or host.endswith(f".{parent}")
