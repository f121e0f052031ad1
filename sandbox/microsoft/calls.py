"""From an HTTP request to an HTTP reply, without HTTP: routing, authentication, faults, the handlers.

`answer` is called with the world's lock held. It never waits: a slow or broken reply is a value that
`wire` acts out.
"""

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, unquote

import msgspec

from sandbox import consent as pages
from sandbox.faults import Fault, Target
from sandbox.microsoft import ask, consent, entra, faults, reads, subscribing
from sandbox.microsoft.ask import Preferences
from sandbox.microsoft.errors import EntraError, GraphError, bad_request, invalid_token
from sandbox.microsoft.subscribing import Pending
from sandbox.model import Access
from sandbox.wire import Call, Reply, html, spoiled

if TYPE_CHECKING:
    from sandbox.world import World

MOUNT = "/microsoft"
_GRAPH = "/graph/v1.0/"
_CONTENT = "application/json; odata.metadata=minimal; odata.streaming=true; IEEE754Compatible=false; charset=utf-8"


def answer(world: "World", call: Call) -> Reply:
    """The reply to any request below the mount."""
    parts = call.path.strip("/").split("/")
    match parts:
        case ["login", tenant, "v2.0", ".well-known", "openid-configuration"]:
            return _login(world, call, unquote(tenant), "discovery")
        case ["login", tenant, "oauth2", "v2.0", "token"]:
            return _login(world, call, unquote(tenant), "token")
        case ["login", _, "oauth2", "v2.0", "authorize"]:
            return _authorize(world, call)
        case _:
            return _graph(world, call)


def _authorize(world: "World", call: Call) -> Reply:
    """A person in a browser: pages, and at the end the way back to the application."""
    content = "text/html; charset=utf-8"
    try:
        asked = consent.start(world.state, dict(parse_qsl(call.query, keep_blank_values=True)))
    except EntraError as error:
        told = error.body(world.now())
        page = pages.refuse("Microsoft", str(told["error"]), str(told["error_description"]).splitlines()[0])
        return Reply(error.status, page, content, endpoint="authorize")
    if call.method != "POST":
        return Reply(200, consent.page(world.state, asked), content, endpoint="authorize")
    world.changes += 1
    form = parse_qs(call.body.decode("utf-8", "replace"))
    location = consent.decide(world.state, asked, form, now=world.now())
    return Reply(303, b"", content, {"location": location}, endpoint="authorize")


def _login(world: "World", call: Call, tenant: str, endpoint: str) -> Reply:
    form = dict(parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True))
    text = form.get("refresh_token")
    granted = world.state.grants.get(text or "")
    target = Target(
        endpoint,
        client_id=form.get("client_id"),
        refresh_token=text,
        account=granted.account if granted is not None else None,
        provider="microsoft",
    )
    fault = world.faults.take(target)
    try:
        if fault is not None and (error := faults.raised(fault)) is not None:
            raise error
        if endpoint == "discovery":
            body = entra.discovery(world.state, tenant)
        elif call.method != "POST":
            message = "The endpoint only accepts POST requests. Received a GET request."
            raise EntraError(400, "invalid_request", 900561, message)
        else:
            body = entra.token(world.state, tenant, form, now=world.now())
            if fault is not None and fault.kind == "no_refresh_token":
                body.pop("refresh_token", None)
            if fault is not None and fault.kind == "scope_missing":
                body["scope"] = "openid profile email"
        reply = Reply(200, msgspec.json.encode(body))
    except EntraError as error:
        reply = Reply(error.status, msgspec.json.encode(error.body(world.now())), headers=error.headers)
    except GraphError as error:
        reply = Reply(error.status, msgspec.json.encode(error.body(world.now(), "")), headers=error.headers)
    reply.endpoint = endpoint
    return _spoiled(reply, fault)


def _graph(world: "World", call: Call) -> Reply:
    now = world.now()
    request_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{world.state.epoch}/{len(world.log)}/{now.isoformat()}"))
    route = _route(call)
    endpoint, handler, ids = route or ("unknown", None, ())
    told = _Telling(endpoint, {"request-id": request_id})
    told.headers["client-request-id"] = call.headers.get("client-request-id", request_id)
    try:
        access = _authenticated(world, call.headers.get("authorization", ""))
        one = {name.lower(): value for name, value in parse_qsl(call.query, keep_blank_values=True)}
        calendar_id = _about(world, access.account, endpoint, ids, call)
        target = Target(
            endpoint,
            calendar_id,
            access.client_id,
            access.refresh_token,
            "$deltatoken" in one or "$skiptoken" in one,
            access.account,
            "microsoft",
        )
        told.fault = world.faults.take(target)
        if told.fault is not None and told.fault.kind == "claims_challenge" and access.claims:
            told.fault = None  # this token was got in answer to a challenge
        if told.fault is not None and (error := faults.raised(told.fault)) is not None:
            raise error
        told.sent = _enter(world, access, calendar_id)
        if handler is None:
            message = f"Resource not found for the segment '{call.path.rsplit('/', 1)[-1]}'."
            raise bad_request(message, "BadRequest")
        reads.check_user(call.path, access.account)
        preferred = ask.preferences(call.headers.get("prefer", ""))
        if preferred.applied:
            told.headers["preference-applied"] = preferred.applied
        context = Context(world, access, ids, one, call, preferred, told.fault.kind if told.fault else None)
        answered = handler(context)
        if isinstance(answered, Pending):
            return Reply(500, b"", later=lambda: _validated(context, answered, told, now))
        return told.answer(*answered)
    except GraphError as error:
        return told.refusal(error, now)


def _about(world: "World", account: str, endpoint: str, ids: tuple[str, ...], call: Call) -> str | None:
    """The calendar that a request is about."""
    if endpoint.startswith("subscriptions"):
        return subscribing.about(world, account, ids[0] if ids else None, call.body)
    return reads.named(world, account, ids[0] if ids and "/calendars/" in call.path.lower() else None)


def _validated(context: "Context", pending: Pending, told: "_Telling", now: datetime) -> Reply:
    """The answer to a subscription request; runs without the world's lock."""
    world: World = context.world
    try:
        pending.validate(world.courier)
    except GraphError as error:
        return told.refusal(error, now)
    with world.lock:
        return told.answer(*subscribing.created(context, pending.draft))


class _Telling(msgspec.Struct):
    """How an answer of Graph's leaves."""

    endpoint: str
    headers: dict[str, str]
    fault: Fault | None = None
    sent: Callable[[], None] = lambda: None

    def answer(self, status: int, value: dict[str, Any] | None) -> Reply:
        """A good one."""
        if self.fault is not None and self.fault.kind == "no_links" and value is not None:
            value = {name: it for name, it in value.items() if name not in ("@odata.nextLink", "@odata.deltaLink")}
        return self._dressed(Reply(status, b"" if value is None else msgspec.json.encode(value), _CONTENT))

    def refusal(self, error: GraphError, now: datetime) -> Reply:
        """An error."""
        body = msgspec.json.encode(error.body(now, self.headers["request-id"]))
        return self._dressed(Reply(error.status, body, "application/json", headers=error.headers))

    def _dressed(self, reply: Reply) -> Reply:
        reply.headers |= self.headers
        reply.endpoint, reply.sent = self.endpoint, self.sent
        return _spoiled(reply, self.fault)


class Context(msgspec.Struct, frozen=True):
    """What a handler gets."""

    world: Any
    access: Access
    ids: tuple[str, ...]
    """Of the path: the calendar's and the event's, or the subscription's."""
    one: dict[str, str]
    """The query, names in lower case."""
    call: Call
    preferred: Preferences
    spoils: str | None = None
    """A fault that spoils the answer."""

    @property
    def empty(self) -> bool:
        """Whether a listing is to answer with an empty page."""
        return self.spoils == "empty_pages"

    @property
    def url(self) -> str:
        """The request's address without its query."""
        return f"{self.world.base_url}{MOUNT}{self.call.path}"


Handler = Callable[[Context], tuple[int, dict[str, Any] | None] | Pending]
_ROUTES: tuple[tuple[str, tuple[str, ...], str, Handler], ...] = (
    ("GET", ("me",), "me", reads.me),
    ("GET", ("me", "calendars"), "calendars.list", reads.calendars),
    ("GET", ("me", "calendars", "*"), "calendars.get", reads.calendar),
    ("GET", ("me", "calendar"), "calendars.get", reads.calendar),
    ("POST", ("subscriptions",), "subscriptions.create", subscribing.create),
    ("GET", ("subscriptions",), "subscriptions.list", subscribing.listed),
    ("GET", ("subscriptions", "*"), "subscriptions.get", subscribing.told),
    ("PATCH", ("subscriptions", "*"), "subscriptions.renew", subscribing.renew),
    ("POST", ("subscriptions", "*", "reauthorize"), "subscriptions.renew", subscribing.reauthorize),
    ("DELETE", ("subscriptions", "*"), "subscriptions.delete", subscribing.delete),
    *(
        ("GET", (*where, *path), endpoint, handler)
        for where in (("me",), ("me", "calendar"), ("me", "calendars", "*"))
        for path, endpoint, handler in (
            (("calendarView",), "calendarView", reads.calendar_view),
            (("calendarView", "delta"), "calendarView.delta", reads.delta_round),
            (("events",), "events.list", reads.events),
            (("events", "delta"), "events.delta", reads.no_event_delta),
            (("events", "*"), "events.get", reads.event),
        )
    ),
)


def _route(call: Call) -> tuple[str, Handler, tuple[str, ...]] | None:
    if not call.path.startswith(_GRAPH):
        return None
    parts = call.path[len(_GRAPH) :].strip("/").split("/")
    if parts[0] == "users" and len(parts) > 1:
        parts = ["me", *parts[2:]]
    for wanted, pattern, endpoint, handler in _ROUTES:
        if wanted == call.method and len(pattern) == len(parts) and _fits(pattern, parts):
            return (
                endpoint,
                handler,
                tuple(unquote(part) for want, part in zip(pattern, parts, strict=True) if want == "*"),
            )
    return None


def _fits(pattern: Sequence[str], parts: Sequence[str]) -> bool:
    return all(want == "*" or want.lower() == part.lower() for want, part in zip(pattern, parts, strict=True))


def _authenticated(world: "World", header: str) -> Access:
    kind, _, text = header.partition(" ")
    access = world.state.access.get(text.strip()) if kind.lower() == "bearer" else None
    if access is None or access.provider != "microsoft":
        message = "Access token is empty." if not text else "IDX14100: JWT is not well formed, there are no dots (.)."
        raise invalid_token(message)
    if access.expires_at <= world.now():
        raise invalid_token()
    granted = world.state.grants.get(access.refresh_token)
    if access.can_be_challenged and (granted is None or granted.revoked):
        raise faults.challenged()
    return access


def _enter(world: "World", access: Access, calendar_id: str | None) -> Callable[[], None]:
    """Count the request as under way in its mailbox, until what is returned is called; raises 429 for too many."""
    mailbox = (access.client_id, access.account)
    switches = world.microsoft_switches(calendar_id or "")
    if world.in_flight[mailbox] >= switches.concurrent_requests:
        message = "Application is over its MailboxConcurrency limit."
        after = {"retry-after": str(switches.throttle_retry_after_s)}
        raise GraphError(429, "ApplicationThrottled", message, headers=after)
    world.in_flight[mailbox] += 1
    return lambda: world.in_flight.subtract([mailbox])


def _spoiled(reply: Reply, fault: Fault | None) -> Reply:
    if fault is not None and fault.kind == "html_unavailable":
        after = {"retry-after": str(fault.retry_after)} if fault.retry_after is not None else {}
        return Reply(503, html(503), "text/html; charset=UTF-8", after, endpoint=reply.endpoint, sent=reply.sent)
    return spoiled(reply, fault)
