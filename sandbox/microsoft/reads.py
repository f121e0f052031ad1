"""What Graph answers about people, calendars and events."""

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

import msgspec

from sandbox import edits
from sandbox.errors import Missing
from sandbox.ground import Ground
from sandbox.microsoft import ask, delta, ids, lag, render, view
from sandbox.microsoft.errors import GraphError, bad_request, item_not_found, malformed_id
from sandbox.microsoft.render import Manner
from sandbox.microsoft.switches import Switches
from sandbox.model import Access, Calendar
from sandbox.occurrence import Occurrence
from sandbox.tokens import sealed

if TYPE_CHECKING:
    from sandbox.microsoft.calls import Context

Answer = tuple[int, dict[str, Any]]
_READ = ("calendars.read", "calendars.readwrite", "calendars.read.shared", "calendars.readwrite.shared")
_BASIC = ("user.read", "user.readbasic.all", "user.readwrite", *_READ)


def named(world: Ground, account: str, calendar_id: str | None) -> str | None:
    """The id of the calendar that a path means; None for a mailbox that has none."""
    if calendar_id is not None:
        return calendar_id
    own = (one for one in world.state.calendars.values() if one.account == account and one.provider == "microsoft")
    return next((one.id for one in own if one.primary), None)


def me(context: "Context") -> Answer:
    """The signed-in user."""
    need(context.access, _BASIC)
    account = context.access.account
    return 200, {
        "@odata.context": f"{root(context)}/$metadata#users/$entity",
        "id": _user(account),
        "displayName": account.partition("@")[0],
        "mail": account,
        "userPrincipalName": account,
        "preferredLanguage": None,
    }


def calendars(context: "Context") -> Answer:
    """The mailbox's calendars, ten a page unless $top says otherwise."""
    need(context.access, _READ)
    world, account = context.world, context.access.account
    own = [one for one in world.state.calendars.values() if one.account == account and not one.deleted]
    size = world.state.microsoft_switches.default_page_size
    return 200, paged(context, [_calendar_row(one) for one in own], f"users('{quote(account)}')/calendars", size)


def calendar(context: "Context") -> Answer:
    """One calendar."""
    need(context.access, _READ)
    found = _calendar(context)
    return 200, {"@odata.context": f"{root(context)}/$metadata#users/calendars/$entity"} | _calendar_row(found)


def calendar_view(context: "Context") -> Answer:
    """The single events, occurrences and exceptions that overlap a window; no masters."""
    need(context.access, _READ)
    found = _calendar(context)
    ask.refuse(context.one, ("$expand", "$filter", "$search"))
    window = ask.window(context.one)
    switches: Switches = context.world.microsoft_switches(found.id)
    keep, manner = switches.preserve_declined, _manner(context, switches)
    rows = [
        render.event(found, one, manner)
        for one in view.occurrences(found, window.low, window.high, preserve_declined=keep)
    ]
    return 200, _events(context, found, rows, switches)


def events(context: "Context") -> Answer:
    """Single events and series' masters, nothing expanded."""
    need(context.access, _READ)
    found = _calendar(context)
    ask.refuse(context.one, ("$expand", "$filter", "$search"))
    switches: Switches = context.world.microsoft_switches(found.id)
    keep, manner = switches.preserve_declined, _manner(context, switches)
    rows = [
        render.event(found, Occurrence(one), manner)
        for one in found.events.values()
        if one.series_id is None and view.is_there(found, one, preserve_declined=keep)
    ]
    return 200, _events(context, found, rows, switches)


def event(context: "Context") -> Answer:
    """One event, occurrence, exception or master, by an id of either format."""
    need(context.access, _READ)
    told = context.ids[-1]
    found, own_id = _located(context, told)
    switches: Switches = context.world.microsoft_switches(found.id)
    try:
        one, original = edits.find(found, own_id)
    except Missing:
        raise item_not_found() from None
    if not view.is_there(found, one, preserve_declined=switches.preserve_declined):
        raise item_not_found()
    row = render.event(found, Occurrence(one, original), _manner(context, switches))
    names = ask.selected(context.one)
    if names is not None and "cancelledOccurrences" in names:
        row["cancelledOccurrences"] = [
            f"OID.{ids.event_id(found.id, gone.id)}" for gone in edits.exceptions(found, one.id) if gone.cancelled
        ]
    return 200, {"@odata.context": _context(context, found) + "/$entity"} | _only(row, names)


def no_event_delta(_: "Context") -> Answer:
    """Events themselves have no change tracking in v1.0."""
    message = "Change tracking is not supported against 'microsoft.graph.event'."
    raise bad_request(message, "ErrorInvalidRequest")


def delta_round(context: "Context") -> Answer:
    """calendarView/delta; see `delta`."""
    need(context.access, _READ)
    found = _calendar(context)
    world, one = context.world, context.one
    switches: Switches = world.microsoft_switches(found.id)
    ask.refuse(one, ("$expand", "$filter", "$orderby", "$search"), delta=True)
    now, epoch = world.now(), world.state.epoch
    first = False
    if text := one.get("$skiptoken"):
        link = delta.read(text, "skip", found)
        _alive(context, link, found, switches)
    elif text := one.get("$deltatoken"):
        link = delta.read(text, "delta", found)
        _alive(context, link, found, switches)
        link, first = delta.next_round(link, found, now=now), True
    else:
        window = ask.window(one)
        link, first = delta.begin(found, window.low, window.high, epoch=epoch, now=now), True
    size = context.preferred.page_size or switches.delta_page_size
    size = size if switches.page_size is None else min(size, switches.page_size)
    empty = context.empty or (first and switches.empty_first_page)
    page = delta.page(found, link, _manner(context, switches), switches, size=size, empty=empty, now=now)
    name, token = ("nextLink", "$skiptoken") if page.link.kind == "skip" else ("deltaLink", "$deltatoken")
    return 200, {
        "@odata.context": f"{root(context)}/$metadata#Collection(microsoft.graph.event)",
        "value": page.entries,
        f"@odata.{name}": f"{context.url}?{quote(token, safe='$')}={sealed(page.link)}",
    }


def _alive(context: "Context", link: delta.Link, found: Calendar, switches: Switches) -> None:
    try:
        delta.check(link, found, switches, epoch=context.world.state.epoch, now=context.world.now())
    except GraphError as error:
        if switches.gone_location:
            low, high = f"{link.low:%Y-%m-%dT%H:%M:%SZ}", f"{link.high:%Y-%m-%dT%H:%M:%SZ}"
            bounds = {"startDateTime": low, "endDateTime": high}
            error.headers["location"] = f"{context.url}?{urlencode(bounds)}&$deltatoken="
        raise


# -- who may, and where ------------------------------------------------------------------------------------


def need(access: Access, scopes: Sequence[str]) -> None:
    """At least one of these scopes, or 403."""
    granted = {scope.rsplit("/", 1)[-1].lower() for scope in access.scope.split()}
    if not granted & set(scopes):
        raise GraphError(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")


def check_user(path: str, account: str) -> None:
    """Raise the 403 of a path that names another user: this is the signed-in one's token."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if len(parts) > 3 and parts[2] == "users" and parts[3].lower() not in (account.lower(), _user(account)):
        raise GraphError(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")


def _user(account: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, account))


def _calendar(context: "Context") -> Calendar:
    """The calendar of the path; raises 404 if this mailbox has none of that id, 400 if that is no id."""
    path = context.call.path.lower()
    told = context.ids[0] if "/calendars/" in path else None
    wanted = named(context.world, context.access.account, told)
    found = context.world.state.calendars.get(wanted or "")
    if found is None or found.account != context.access.account or found.deleted:
        raise item_not_found() if found is not None or told is None or ids.well_formed(told) else malformed_id()
    return lag.seen(found, context.world.now())


def _located(context: "Context", told: str) -> tuple[Calendar, str]:
    """The calendar and own id of an event: anywhere in the mailbox, unless the path names a calendar."""
    whole = "/calendars/" not in context.call.path.lower()
    own = [one for one in context.world.state.calendars.values() if one.account == context.access.account]
    places = [one for one in own if not one.deleted] if whole else [_calendar(context)]
    for place in places:
        if (own_id := ids.own_id(place.id, told)) is not None:
            return lag.seen(place, context.world.now()), own_id
    raise item_not_found() if ids.well_formed(told) else malformed_id()


def _manner(context: "Context", switches: Switches) -> Manner:
    return msgspec.structs.replace(context.preferred.manner, join_link_late=switches.online_meeting_late)


# -- pages -------------------------------------------------------------------------------------------------


def _events(context: "Context", found: Calendar, rows: list[dict[str, Any]], switches: Switches) -> dict[str, Any]:
    names = ask.selected(context.one)
    wanted = ask.order(context.one)
    rows.sort(key=lambda row: row["id"])
    if wanted is not None:
        name, descending = wanted
        rows.sort(key=lambda row: _value(row, name), reverse=descending)
    shown = [_only(row, names) for row in rows]
    size = switches.default_page_size
    return paged(context, shown, _context(context, found).partition("#")[2], size, switches.page_size)


def paged(
    context: "Context", rows: list[dict[str, Any]], what: str, size: int, most: int | None = None
) -> dict[str, Any]:
    """One page by $top and $skip, as Graph's own next links do it: what is deleted in between shifts the rest."""
    top = ask.number(context.one, "$top", size, most=ask.MAX_TOP, least=1)
    top = top if most is None else min(top, most)
    skip = ask.number(context.one, "$skip", 0)
    told = [] if context.empty else rows[skip : skip + top]
    body: dict[str, Any] = {"@odata.context": f"{root(context)}/$metadata#{what}"}
    if context.one.get("$count", "").lower() == "true":
        body["@odata.count"] = len(rows)
    body["value"] = told
    if skip + len(told) < len(rows):
        rest = {name: value for name, value in _query(context).items() if name.lower() != "$skip"}
        body["@odata.nextLink"] = f"{context.url}?{urlencode(rest | {'$skip': str(skip + len(told))}, safe='$')}"
    return body


def _query(context: "Context") -> Mapping[str, str]:
    return dict(parse_qsl(context.call.query, keep_blank_values=True))


def _only(row: dict[str, Any], names: tuple[str, ...] | None) -> dict[str, Any]:
    if names is None:
        return row
    return {name: row[name] for name in ("@odata.etag", "id", *names) if name in row}


def _value(row: dict[str, Any], name: str) -> str:
    value: Any = row
    for part in name.split("/"):
        value = value.get(part)
    return str(value or "")


def _calendar_row(one: Calendar) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.summary,
        "color": "auto",
        "hexColor": "",
        "isDefaultCalendar": one.primary,
        "changeKey": f"{one.seq:08d}",
        "canShare": one.access_role == "owner",
        "canViewPrivateItems": one.access_role == "owner",
        "canEdit": one.access_role in ("owner", "writer"),
        "allowedOnlineMeetingProviders": ["teamsForBusiness"],
        "defaultOnlineMeetingProvider": "teamsForBusiness",
        "isTallyingResponses": one.primary,
        "isRemovable": not one.primary,
        "owner": {"name": one.account.partition("@")[0], "address": one.account},
    }


def root(context: "Context") -> str:
    """Graph's address with its version."""
    return f"{context.world.base_url}/microsoft/graph/v1.0"


def _context(context: "Context", found: Calendar) -> str:
    return f"{root(context)}/$metadata#users('{quote(found.account)}')/calendars('{found.id}')/calendarView"
