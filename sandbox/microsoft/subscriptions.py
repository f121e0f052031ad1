"""Graph's subscriptions: made, renewed, deleted, and told of changes. Delivery is `push`'s; the handshake is too.

Works on `State`; what is wrong comes out as `GraphError`. A notification says that an event changed, never how; a
series is told of by its master alone.
"""

import random
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec

from sandbox.microsoft import ids, render
from sandbox.microsoft.errors import GraphError, bad_request
from sandbox.microsoft.switches import Switches
from sandbox.model import Access, Calendar, Event, State, Subscription
from sandbox.push import Parcel

_STATE_MAX = 128
_CHANGES = ("created", "updated", "deleted")
_ANSWER_S = 3.0
"""A receiver that takes longer is tried again."""
LIFECYCLE = ("reauthorizationRequired", "subscriptionRemoved", "missed")


def drafted(
    state: State,
    access: Access,
    body: Mapping[str, Any],
    *,
    calendar_id: str | None,
    immutable: bool,
    switches: Switches,
    now: datetime,
) -> Subscription:
    """A subscription as asked for, not yet validated; raises the 400, 403 or 409 of a bad request.

    `calendar_id` is the calendar that the resource means; None if there is none such.
    """
    changes = tuple(part.strip() for part in str(body.get("changeType", "")).split(",") if part.strip())
    if not changes or any(change not in _CHANGES for change in changes):
        raise _invalid("changeType is invalid: created, updated and deleted are allowed.")
    for name in ("notificationUrl", "lifecycleNotificationUrl"):
        if (url := body.get(name)) is not None or name == "notificationUrl":
            _check_url(name, url)
    client_state = body.get("clientState")
    if client_state is not None and len(str(client_state)) > _STATE_MAX:
        raise _invalid(f"clientState is longer than {_STATE_MAX} characters.")
    if calendar_id is None:
        raise GraphError(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    if switches.poll_only:
        message = "Operation: Create; Exception: [Status Code: Forbidden; Reason: Access is denied.]"
        raise GraphError(403, "ExtensionError", message)
    ends = expiry(body, switches, now)
    resource = str(body.get("resource", ""))
    living = [one for one in state.subscriptions.values() if one.expires_at > now and one.account == access.account]
    if len(living) >= switches.subscriptions_per_mailbox:
        message = "Operation: Create; Exception: [Status Code: Forbidden; Reason: Subscription limit reached.]"
        raise GraphError(403, "ExtensionError", message)
    same = (access.client_id, calendar_id, set(changes))
    if any((one.client_id, one.calendar_id, set(one.changes)) == same for one in living):
        message = "One or more subscriptions for the requested combination of resource and change type already exist."
        raise GraphError(409, "Conflict", message)
    state.made += 1
    return Subscription(
        str(uuid.uuid5(uuid.NAMESPACE_OID, f"{state.epoch}/{state.made}")),
        resource,
        calendar_id,
        access.account,
        access.client_id,
        changes,
        str(body["notificationUrl"]),
        str(body["lifecycleNotificationUrl"]) if body.get("lifecycleNotificationUrl") is not None else None,
        str(client_state) if client_state is not None else None,
        ends,
        immutable,
        access.expires_at,
        state.calendars[calendar_id].seq,
    )


def expiry(body: Mapping[str, Any], switches: Switches, now: datetime) -> datetime:
    """When it is to end: at least 45 minutes from now; raises 400 for more than the longest life."""
    text = body.get("expirationDateTime")
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        raise _invalid("expirationDateTime is missing or no time.") from None
    at = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).astimezone(UTC)
    if at <= now:
        raise _invalid("Subscription expiration must be in the future.")
    if at > now + timedelta(minutes=switches.subscription_max_minutes, seconds=30):
        raise _invalid(
            f"Subscription expiration can only be {switches.subscription_max_minutes} minutes in the future."
        )
    return max(at, now + timedelta(minutes=switches.subscription_min_minutes))


def named(state: State, access: Access, subscription_id: str, now: datetime) -> Subscription:
    """The living subscription of this application and mailbox; raises 404."""
    found = state.subscriptions.get(subscription_id)
    mine = found is not None and (found.client_id, found.account) == (access.client_id, access.account)
    if found is None or not mine or found.expires_at <= now:
        raise GraphError(404, "ResourceNotFound", "The object was not found.")
    return found


def renewed(found: Subscription, body: Mapping[str, Any], switches: Switches, access: Access, now: datetime) -> None:
    """PATCH: a new end, which also reauthorizes; the lifecycle address cannot be changed."""
    if unknown := sorted(set(body) - {"expirationDateTime"}):
        raise _invalid(f"The property '{unknown[0]}' cannot be updated.")
    found.expires_at = expiry(body, switches, now)
    reauthorized(found, access)


def reauthorized(found: Subscription, access: Access) -> None:
    """Delivery goes on with this access token."""
    found.token_ends_at, found.stops_at = access.expires_at, None


def shown(found: Subscription) -> dict[str, Any]:
    """As Graph tells of one."""
    return {
        "id": found.id,
        "resource": found.resource,
        "applicationId": found.client_id,
        "changeType": ",".join(found.changes),
        "clientState": found.client_state,
        "notificationUrl": found.url,
        "lifecycleNotificationUrl": found.lifecycle_url,
        "notificationQueryOptions": None,
        "expirationDateTime": f"{found.expires_at:%Y-%m-%dT%H:%M:%SZ}",
        "creatorId": _user(found.account),
        "includeResourceData": None,
        "latestSupportedTlsVersion": "v1_2",
        "encryptionCertificate": None,
        "encryptionCertificateId": None,
        "notificationUrlAppId": None,
    }


# -- what is told ------------------------------------------------------------------------------------------


def changed(state: State, switches_of: Any, now: datetime) -> list[tuple[Subscription, dict[str, Any]]]:
    """Entries for all that changed since the last call, in the order of the subscriptions."""
    told: list[tuple[Subscription, dict[str, Any]]] = []
    for one in state.subscriptions.values():
        calendar = state.calendars.get(one.calendar_id)
        if calendar is None or calendar.seq <= one.told:
            continue
        since, one.told = one.told, calendar.seq
        if not delivers(one, now):
            continue
        entries = [entry for entry in _entries(one, calendar, since) if entry["changeType"] in one.changes]
        told += [(one, entry) for entry in entries for _ in range(switches_of(calendar.id).notifications_per_change)]
    return told


def delivers(one: Subscription, now: datetime) -> bool:
    """Whether notifications still go out: it has not ended, nor its token after a call to reauthorize."""
    return one.expires_at > now and (one.stops_at is None or now < one.stops_at)


def _entries(one: Subscription, calendar: Calendar, since: int) -> Iterable[dict[str, Any]]:
    """One entry for each event or series that changed."""
    roots: dict[str, Event] = {}
    for event in calendar.events.values():
        if event.seq > since:
            root = calendar.events.get(event.series_id or event.id, event)
            roots[root.id] = root
    for root in roots.values():
        kind = "deleted" if root.cancelled else "created" if root.born > since else "updated"
        yield entry(one, calendar, root, kind)


def entry(one: Subscription, calendar: Calendar, event: Event, kind: str) -> dict[str, Any]:
    """What is told of one event."""
    told = ids.event_id(calendar.id, event.id, immutable=one.immutable)
    where = f"Users/{_user(one.account)}/Events/{told}"
    return _head(one) | {
        "changeType": kind,
        "resource": where,
        "resourceData": {
            "@odata.type": "#Microsoft.Graph.Event",
            "@odata.id": where,
            "@odata.etag": f'W/"{render.change_key(calendar, event)}"',
            "id": told,
        },
    }


def lifecycle(one: Subscription, event: str) -> dict[str, Any]:
    """A lifecycle entry."""
    return _head(one) | {"lifecycleEvent": event, "resource": one.resource, "organizationId": one.account}


def latest(one: Subscription, calendar: Calendar) -> dict[str, Any] | None:
    """An entry about the calendar's last change, whether or not it was told; None for an empty calendar."""
    events = [event for event in calendar.events.values() if event.series_id is None]
    return entry(one, calendar, max(events, key=lambda event: event.seq), "updated") if events else None


def batches(
    state: State, told: list[tuple[Subscription, dict[str, Any]]], *, mixed: bool, now: datetime
) -> list[tuple[Subscription, Parcel]]:
    """POSTs for these entries. Each goes alone, or mixed with others' of the same address and strangers'."""
    if not mixed:
        return [(one, parcel(one.url, [row])) for one, row in told]
    posts: dict[str, list[tuple[Subscription, dict[str, Any]]]] = {}
    for one, row in told:
        posts.setdefault(one.url, []).append((one, row))
    made: list[tuple[Subscription, Parcel]] = []
    for url, rows in posts.items():
        named_here = {one.id for one, _ in rows}
        others = [one for one in state.subscriptions.values() if one.url == url and one.id not in named_here]
        again = [row for one in others if delivers(one, now) and (row := latest(one, state.calendars[one.calendar_id]))]
        stranger = rows[0][1] | {"subscriptionId": str(uuid.UUID(int=0)), "clientState": "stranger"}
        body = [stranger, *again, *(row for _, row in rows)]
        random.Random(len(body)).shuffle(body)  # noqa: S311 - another order, the same each time
        made.append((rows[0][0], parcel(url, body)))
    return made


def parcel(url: str, entries: list[dict[str, Any]]) -> Parcel:
    """One POST. It is repeated unless a 2xx comes within three seconds."""
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Microsoft Graph Change Notifications"}
    body = msgspec.json.encode({"value": entries})
    return Parcel(url, headers, body, lambda status: not 200 <= status < 300, _ANSWER_S)


def _head(one: Subscription) -> dict[str, Any]:
    return {
        "subscriptionId": one.id,
        "subscriptionExpirationDateTime": f"{one.expires_at:%Y-%m-%dT%H:%M:%S}.0000000-00:00",
        "clientState": one.client_state,
        "tenantId": str(uuid.uuid5(uuid.NAMESPACE_DNS, one.account.rpartition("@")[2])),
    }


def _user(account: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, account))


def _check_url(name: str, url: object) -> None:
    parts = urlsplit(str(url or ""))
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise _invalid(f"{name} must be an HTTPS address.")


def _invalid(message: str) -> GraphError:
    return bad_request(message, "ValidationError")
