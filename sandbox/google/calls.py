"""From an HTTP request to an HTTP reply, without HTTP: routing, authentication, faults, the handlers.

`answer` is called with the world's lock held. It never waits: a slow or broken reply is a value that
`routes` acts out.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, unquote

import msgspec

from sandbox import consent as pages
from sandbox import edits
from sandbox.errors import Missing
from sandbox.faults import Target
from sandbox.google import consent, faults, listing, mask, oauth, query, render, watch
from sandbox.google.errors import GoogleError, OAuthError, bad_credentials, invalid, not_found
from sandbox.model import CALENDAR_SCOPE, Access, Calendar
from sandbox.occurrence import Occurrence
from sandbox.wire import Call, Reply, spoiled

if TYPE_CHECKING:
    from sandbox.world import World

MOUNT = "/google"
_BASE = "/calendar/v3/"
_LIST_SCOPES = ("calendar", "calendar.readonly", "calendar.calendarlist", "calendar.calendarlist.readonly")
_CALENDAR_SCOPES = ("calendar", "calendar.readonly", "calendar.calendars", "calendar.calendars.readonly")
_EVENT_SCOPES = (
    "calendar",
    "calendar.readonly",
    "calendar.events",
    "calendar.events.readonly",
    "calendar.events.owned",
    "calendar.events.owned.readonly",
)


class Context(msgspec.Struct, frozen=True):
    """What a handler of the Calendar API gets."""

    world: Any
    access: Access
    ids: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    body: bytes
    empty: bool = False
    """A listing answers with an empty page."""

    @property
    def calendar(self) -> Calendar:
        """The calendar of the path, `primary` resolved; raises 404 if this account cannot see it."""
        return _calendar(self.world, self.access.account, self.ids[0])


def answer(world: "World", call: Call) -> Reply:
    """The reply to any request below the mount."""
    method = call.headers.get("x-http-method-override", call.method).upper()
    text = call.query
    if method == "GET" and call.method == "POST":
        text = "&".join(part for part in (text, call.body.decode("utf-8", "replace")) if part)
    pairs = tuple(parse_qsl(text, keep_blank_values=True))
    if call.path in ("/token", "/revoke"):
        return _oauth(world, call, method)
    if call.path == consent.PATH:
        return _consent(world, call, method)
    return _api(world, call, method, pairs)


def _oauth(world: "World", call: Call, method: str) -> Reply:
    endpoint = call.path[1:]
    form = dict(parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True))
    target = Target(endpoint, client_id=form.get("client_id"), refresh_token=form.get("refresh_token"))
    fault = world.faults.take(target)
    try:
        if method != "POST":
            raise OAuthError(405, "invalid_request", "Use POST")
        if fault is not None and (error := faults.raised(fault)) is not None:
            raise error
        if endpoint == "revoke":
            oauth.revoke(world.state, form.get("token", dict(parse_qsl(call.query)).get("token", "")))
            body: dict[str, Any] = {}
        else:
            body = oauth.token(world.state, form, now=world.now())
            if fault is not None and fault.kind == "scope_missing":
                body["scope"] = "openid https://www.googleapis.com/auth/userinfo.email"
        reply = Reply(200, _json(body))
    except (OAuthError, GoogleError) as error:
        reply = _failed(error)
    reply.endpoint = endpoint
    return spoiled(reply, fault)


def _consent(world: "World", call: Call, method: str) -> Reply:
    """A person in a browser: pages, and at the end the way back to the application."""
    html = "text/html; charset=UTF-8"
    try:
        if method not in ("GET", "POST"):
            raise OAuthError(405, "invalid_request", "Use GET")
        asked = consent.start(world.state, dict(parse_qsl(call.query, keep_blank_values=True)))
    except OAuthError as error:
        told = error.body
        page = pages.refuse("Google", str(told["error"]), str(told["error_description"]))
        return Reply(error.status, page, html, endpoint="authorize")
    if method == "GET":
        return Reply(200, consent.page(world.state, asked), html, endpoint="authorize")
    world.changes += 1
    location = consent.decide(world.state, asked, parse_qs(call.body.decode("utf-8", "replace")))
    return Reply(303, b"", html, {"location": location}, endpoint="authorize")


def _api(world: "World", call: Call, method: str, pairs: tuple[tuple[str, str], ...]) -> Reply:
    one = dict(pairs)
    route = _route(method, call.path)
    endpoint, handler, ids = route or ("unknown", None, ())
    fault = None
    try:
        access = _authenticated(world, call.headers.get("authorization", ""))
        calendar_id = _alias(world, access.account, ids[0]) if ids else None
        target = Target(endpoint, calendar_id, access.client_id, access.refresh_token, "syncToken" in one)
        fault = world.faults.take(target)
        if fault is not None and (error := faults.raised(fault)) is not None:
            raise error
        if handler is None:
            raise not_found()
        if one.get("alt", "json") != "json":
            message = f'Invalid value for alt: "{one["alt"]}"'
            raise invalid(message, "alt")
        mask_of = mask.parse(one["fields"]) if one.get("fields") else {}
        empty = fault is not None and fault.kind == "empty_pages"
        value = handler(Context(world, access, ids, pairs, call.body, empty))
        if fault is not None and fault.kind == "no_tokens" and value is not None:
            value = {name: it for name, it in value.items() if name not in ("nextPageToken", "nextSyncToken")}
        body = b"" if value is None else _json(mask.apply(mask_of, value))
        if one.get("prettyPrint", "true") != "false":
            body = msgspec.json.format(body, indent=1) if body else body
        reply = Reply(200 if value is not None else 204, body)
    except (GoogleError, OAuthError) as error:
        reply = _failed(error)
    reply.endpoint = endpoint
    return spoiled(reply, fault)


# -- what each endpoint answers ----------------------------------------------------------------------------


def _events_list(context: Context) -> dict[str, Any]:
    world, calendar = context.world, context.calendar
    _need(context.access, _EVENT_SCOPES)
    switches = world.google_switches(calendar.id)
    asked = query.read(context.pairs, switches)
    return listing.Listing(calendar, asked, switches, now=world.now(), epoch=world.state.epoch).page(
        empty=context.empty
    )


def _events_get(context: Context) -> dict[str, Any]:
    calendar = context.calendar
    _need(context.access, _EVENT_SCOPES)
    try:
        event, original = edits.find(calendar, context.ids[1])
    except Missing:
        raise not_found() from None
    zone = query.read([pair for pair in context.pairs if pair[0] == "timeZone"], context.world.state.switches).zone
    return render.item(calendar, Occurrence(event, original), zone=zone or calendar.zone)


def _events_instances(context: Context) -> dict[str, Any]:
    world, calendar = context.world, context.calendar
    _need(context.access, _EVENT_SCOPES)
    master = calendar.events.get(context.ids[1])
    if master is None:
        raise not_found()
    switches = world.google_switches(calendar.id)
    asked = query.read(context.pairs, switches)
    found = listing.Listing(calendar, asked, switches, now=world.now(), epoch=world.state.epoch)
    return found.instances(master)


def _events_watch(context: Context) -> dict[str, Any]:
    _need(context.access, _EVENT_SCOPES)
    world, calendar = context.world, context.calendar
    switches = world.google_switches(calendar.id)
    base = world.base_url + "/google"
    body = _body(context)
    shown = watch.start(world.state, calendar, context.access, body, switches=switches, now=world.now(), base=base)
    greeting = watch.message(world.state.channels[shown["id"]], "sync", base=base)
    if switches.sync_message_early:
        world.courier.deliver(greeting)
    else:
        world.courier.send(greeting, switches.push)
    return shown


def _channels_stop(context: Context) -> None:
    watch.stop(context.world.state, context.access, _body(context), now=context.world.now())


def _calendar_get(context: Context) -> dict[str, Any]:
    calendar = context.calendar
    _need(context.access, _CALENDAR_SCOPES)
    shown = {"kind": "calendar#calendar", "etag": render.etag(calendar.seq), "id": calendar.id}
    return shown | {"summary": calendar.summary, "timeZone": calendar.zone}


def _calendar_list(context: Context) -> dict[str, Any]:
    _need(context.access, _LIST_SCOPES)
    world: World = context.world
    one = dict(context.pairs)
    size = min(int(one["maxResults"]) if one.get("maxResults", "").isdecimal() else 100, 250)
    skip = int(one["pageToken"]) if one.get("pageToken", "").isdecimal() else 0
    own = [cal for cal in world.state.calendars.values() if cal.account == context.access.account and not cal.deleted]
    rows = own[skip : skip + size]
    shown: dict[str, Any] = {"kind": "calendar#calendarList", "etag": '"p1"', "items": [_list_row(cal) for cal in rows]}
    if skip + size < len(own):
        return shown | {"nextPageToken": str(skip + size)}
    return shown | {"nextSyncToken": f"list-{len(own)}"}


def _list_row(calendar: Calendar) -> dict[str, Any]:
    row = {
        "kind": "calendar#calendarListEntry",
        "etag": render.etag(calendar.seq),
        "id": calendar.id,
        "summary": calendar.summary,
        "timeZone": calendar.zone,
        "colorId": "14",
        "backgroundColor": "#9fe1e7",
        "foregroundColor": "#000000",
        "selected": True,
        "accessRole": calendar.access_role,
        "defaultReminders": [{"method": "popup", "minutes": 10}],
        "conferenceProperties": {"allowedConferenceSolutionTypes": ["hangoutsMeet"]},
    }
    return row | {"primary": True} if calendar.primary else row


Handler = Callable[[Context], dict[str, Any] | None]
_ROUTES: tuple[tuple[str, tuple[str, ...], str, Handler], ...] = (
    ("GET", ("calendars", "*", "events"), "events.list", _events_list),
    ("POST", ("calendars", "*", "events", "watch"), "events.watch", _events_watch),
    ("GET", ("calendars", "*", "events", "*"), "events.get", _events_get),
    ("GET", ("calendars", "*", "events", "*", "instances"), "events.instances", _events_instances),
    ("POST", ("channels", "stop"), "channels.stop", _channels_stop),
    ("GET", ("users", "me", "calendarList"), "calendarList.list", _calendar_list),
    ("GET", ("calendars", "*"), "calendars.get", _calendar_get),
)


def _route(method: str, path: str) -> tuple[str, Handler, tuple[str, ...]] | None:
    if not path.startswith(_BASE):
        return None
    parts = path[len(_BASE) :].split("/")
    for wanted, pattern, endpoint, handler in _ROUTES:
        if wanted == method and len(pattern) == len(parts) and _fits(pattern, parts):
            ids = tuple(unquote(part) for want, part in zip(pattern, parts, strict=True) if want == "*")
            return endpoint, handler, ids
    return None


def _fits(pattern: Sequence[str], parts: Sequence[str]) -> bool:
    return all(want in ("*", part) for want, part in zip(pattern, parts, strict=True))


# -- who asks ----------------------------------------------------------------------------------------------


def _authenticated(world: "World", header: str) -> Access:
    kind, _, text = header.partition(" ")
    access = world.state.access.get(text.strip()) if kind.lower() == "bearer" else None
    if access is None or access.provider != "google" or access.expires_at <= world.now():
        raise bad_credentials()
    granted = world.state.grants.get(access.refresh_token)
    if granted is None or (granted.revoked and not world.state.switches.rotate_refresh_tokens):
        raise bad_credentials()
    return access


def _need(access: Access, scopes: Sequence[str]) -> None:
    """At least one of these scopes (given without the common beginning), or 403 insufficientPermissions."""
    granted = access.scope.split()
    if not any(CALENDAR_SCOPE.removesuffix("calendar") + scope in granted for scope in scopes):
        error = faults.API["insufficient_permissions"]()
        raise error


def _alias(world: "World", account: str, calendar_id: str) -> str:
    if calendar_id != "primary":
        return calendar_id
    own = (one for one in world.state.calendars.values() if one.account == account)
    return next((one.id for one in own if one.primary), calendar_id)


def _calendar(world: "World", account: str, calendar_id: str) -> Calendar:
    calendar = world.state.calendars.get(_alias(world, account, calendar_id))
    if calendar is None or calendar.account != account or calendar.deleted:
        raise not_found()
    return calendar


# -- bodies ------------------------------------------------------------------------------------------------


def _body(context: Context) -> dict[str, Any]:
    try:
        return msgspec.json.decode(context.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise GoogleError(400, "parseError", "Parse Error") from None


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _failed(error: GoogleError | OAuthError) -> Reply:
    headers: dict[str, str] = {}
    if isinstance(error, GoogleError) and error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if error.status == 401 and isinstance(error, GoogleError):
        headers["www-authenticate"] = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
    return Reply(error.status, _json(error.body), headers=headers)
