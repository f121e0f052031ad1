"""What Graph answers about subscriptions; see `subscriptions` for what they are."""

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import msgspec

from sandbox.ground import Ground
from sandbox.microsoft import reads, subscriptions
from sandbox.microsoft.errors import GraphError, bad_request
from sandbox.model import Subscription
from sandbox.push import Courier, Parcel
from sandbox.tokens import secret

if TYPE_CHECKING:
    from sandbox.microsoft.calls import Context

Answer = tuple[int, dict[str, Any] | None]
_READ = ("calendars.read", "calendars.readwrite", "calendars.read.shared", "calendars.readwrite.shared")


class Pending(msgspec.Struct, frozen=True):
    """A subscription whose addresses are still to be validated, which must not be done under the world's lock."""

    draft: Subscription
    checks: tuple[Parcel, ...]
    """The validations, each with the token that is to come back as its body."""
    tokens: tuple[str, ...]

    def validate(self, courier: Courier) -> None:
        """Ask each address; raises the 400 of the first that does not answer as it should."""
        for check, token in zip(self.checks, self.tokens, strict=True):
            status, kind, body = courier.ask(check)
            plain = kind.partition(";")[0].strip().lower() == "text/plain"
            if status != 200 or not plain or body != token.encode():
                message = (
                    "Subscription validation request failed. Notification endpoint must respond with 200 OK to "
                    f"validation request. Received {status or 'no answer'}."
                )
                raise bad_request(message, "ValidationError")


def create(context: "Context") -> Pending:
    """`POST /subscriptions`; raises what is wrong with it before any address is asked."""
    reads.need(context.access, _READ)
    world, body = context.world, _body(context)
    calendar_id = _calendar_of(context.world, context.access.account, str(body.get("resource", "")))
    switches = world.microsoft_switches(calendar_id or "")
    immutable = context.preferred.manner.immutable
    draft = subscriptions.drafted(
        world.state,
        context.access,
        body,
        calendar_id=calendar_id,
        immutable=immutable,
        switches=switches,
        now=world.now(),
    )
    urls = {"notification_handshake_fails": draft.url, "lifecycle_handshake_fails": draft.lifecycle_url}
    checks: list[Parcel] = []
    tokens: list[str] = []
    for kind, url in urls.items():
        if url is None:
            continue
        # With characters that must be decoded: who echoes the query as it came has not read it.
        token = f"Validation: Testing client application reachability for subscription {secret(world.state)[:12]} +/&="
        checks.append(_check(url, token, timeout_s=switches.handshake_s))
        tokens.append("the sandbox was told to find fault with the answer" if context.spoils == kind else token)
    return Pending(draft, tuple(checks), tuple(tokens))


def created(context: "Context", draft: Subscription) -> Answer:
    """Keep a validated subscription."""
    context.world.state.subscriptions[draft.id] = draft
    kind = f"{reads.root(context)}/$metadata#subscriptions/$entity"
    return 201, {"@odata.context": kind} | subscriptions.shown(draft)


def listed(context: "Context") -> Answer:
    """`GET /subscriptions`: the application's own at this mailbox."""
    now, access = context.world.now(), context.access
    own = [
        subscriptions.shown(one)
        for one in context.world.state.subscriptions.values()
        if (one.client_id, one.account) == (access.client_id, access.account) and one.expires_at > now
    ]
    return 200, reads.paged(context, own, "subscriptions", 100)


def told(context: "Context") -> Answer:
    """`GET /subscriptions/{id}`."""
    return 200, subscriptions.shown(_named(context))


def renew(context: "Context") -> Answer:
    """`PATCH /subscriptions/{id}`."""
    found, world = _named(context), context.world
    switches = world.microsoft_switches(found.calendar_id)
    subscriptions.renewed(found, _body(context), switches, context.access, world.now())
    return 200, subscriptions.shown(found)


def reauthorize(context: "Context") -> Answer:
    """`POST /subscriptions/{id}/reauthorize`."""
    subscriptions.reauthorized(_named(context), context.access)
    return 204, None


def delete(context: "Context") -> Answer:
    """`DELETE /subscriptions/{id}`."""
    del context.world.state.subscriptions[_named(context).id]
    return 204, None


def _named(context: "Context") -> Subscription:
    return subscriptions.named(context.world.state, context.access, context.ids[-1], context.world.now())


def about(world: Ground, account: str, subscription_id: str | None, raw: bytes) -> str | None:
    """The calendar that a request is about, whether or not it is a good request."""
    if subscription_id is not None:
        found = world.state.subscriptions.get(subscription_id)
        return found.calendar_id if found is not None else None
    try:
        return _calendar_of(world, account, msgspec.json.decode(raw, type=_Named).resource) if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError, GraphError):
        return None


class _Named(msgspec.Struct):
    resource: str = ""


def _calendar_of(world: Ground, account: str, resource: str) -> str | None:
    """The calendar whose events the resource means; None if this mailbox has none such. Raises 400."""
    parts = [unquote(part) for part in resource.strip("/").split("/")]
    if parts[0].lower() == "users" and len(parts) > 1:
        parts = ["me", *parts[2:]]
    match parts:
        case ["me", "events"] | ["me", "calendar", "events"]:
            calendar_id = reads.named(world, account, None)
        case ["me", "calendars", given, "events"]:
            calendar_id = given
        case _:
            message = f"Resource '{resource}' is not supported."
            raise bad_request(message, "ExtensionError")
    found = world.state.calendars.get(calendar_id or "")
    if found is None or found.account != account or found.deleted:
        return None
    return found.id


def _check(url: str, token: str, *, timeout_s: float) -> Parcel:
    parts = urlsplit(url)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), ("validationToken", token)], quote_via=quote)
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    return Parcel(urlunsplit(parts._replace(query=query)), headers, timeout_s=timeout_s)


def _body(context: "Context") -> dict[str, Any]:
    try:
        return msgspec.json.decode(context.call.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise GraphError(400, "BadRequest", "Unable to read JSON request payload.") from None
