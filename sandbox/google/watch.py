"""Watch channels: started, told of changes, and stopped as Google does.

A notification says that something changed, never what. Its delivery is `push`'s.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal
from urllib.parse import quote

from sandbox.google.errors import GoogleError, invalid
from sandbox.google.switches import Switches
from sandbox.model import Access, Calendar, Channel, State
from sandbox.push import Parcel

_ID_MAX, _TOKEN_MAX = 64, 256


def start(
    state: State,
    calendar: Calendar,
    access: Access,
    body: Mapping[str, Any],
    *,
    switches: Switches,
    now: datetime,
    base: str,
) -> dict[str, Any]:
    """`events.watch`; raises the 400 of a bad request. Only the `expiration` in the answer counts."""
    channel_id, address = body.get("id"), body.get("address")
    if not isinstance(channel_id, str) or not 0 < len(channel_id) <= _ID_MAX:
        raise invalid("Required: id" if not channel_id else "Channel id is too long", "id", reason="required")
    if body.get("type") not in ("web_hook", "webhook"):
        raise invalid("Unknown channel type", "type", reason="invalid")
    if not isinstance(address, str) or not address.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        raise GoogleError(400, "push.webhookUrlNotHttps", f"WebHook callback must be HTTPS: {address}")
    token = body.get("token")
    if token is not None and len(str(token)) > _TOKEN_MAX:
        raise invalid("Channel token is too long", "token", reason="invalid")
    if calendar.poll_only or switches.poll_only:
        message = "Push notifications are not supported by this resource."
        raise GoogleError(400, "pushNotSupportedForRequestedResource", message)
    known = state.channels.get(channel_id)
    if known is not None and known.expires_at > now:
        raise invalid("Channel id not unique", "id", reason="channelIdNotUnique")
    ends = now + timedelta(seconds=min(_wanted_s(body, now), switches.watch_max_ttl_s))
    named = f"{calendar.id}/{access.account}".encode()
    resource_id = hashlib.sha1(named, usedforsecurity=False).hexdigest()[:27]
    made = Channel(
        channel_id,
        resource_id,
        calendar.id,
        access.account,
        access.client_id,
        address,
        str(token) if token else None,
        ends,
        told=calendar.seq,
    )
    state.channels[channel_id] = made
    shown = {
        "kind": "api#channel",
        "id": channel_id,
        "resourceId": resource_id,
        "resourceUri": _resource(made, base),
        "expiration": str(int(ends.timestamp() * 1000)),
    }
    return shown | ({"token": made.token} if made.token else {})


def stop(state: State, access: Access, body: Mapping[str, Any], *, now: datetime) -> None:
    """`channels.stop`; 404 if there is no such living channel of this user and client."""
    channel_id = str(body.get("id", ""))
    found = state.channels.get(channel_id)
    mine = found is not None and (found.account, found.client_id) == (access.account, access.client_id)
    if found is None or not mine or found.resource_id != body.get("resourceId") or found.expires_at <= now:
        message = f"Channel '{channel_id}' not found for project"
        raise GoogleError(404, "notFound", message)
    del state.channels[channel_id]


def message(channel: Channel, state: Literal["sync", "exists", "not_exists"], *, base: str) -> Parcel:
    """The channel's next notification. Numbers grow, with gaps; the first one, ``sync``, is number 1."""
    channel.number += 1 if state == "sync" else 1 + (channel.number * 7919) % 5
    headers = {
        "User-Agent": "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)",
        "Content-Type": "application/json; utf-8",
        "X-Goog-Channel-ID": channel.id,
        "X-Goog-Channel-Expiration": format_datetime(channel.expires_at, usegmt=True),
        "X-Goog-Resource-ID": channel.resource_id,
        "X-Goog-Resource-URI": _resource(channel, base),
        "X-Goog-Resource-State": state,
        "X-Goog-Message-Number": str(channel.number),
    }
    return Parcel(channel.address, headers | ({"X-Goog-Channel-Token": channel.token} if channel.token else {}))


def changed(state: State, *, now: datetime, base: str) -> list[tuple[str, Parcel]]:
    """Notifications of all that changed since the last call, each with its calendar's id."""
    parcels: list[tuple[str, Parcel]] = []
    for channel in state.channels.values():
        calendar = state.calendars[channel.calendar_id]
        seen = calendar.seq + (1 if calendar.deleted else 0)
        if seen > channel.told and channel.expires_at > now:
            channel.told = seen
            parcels.append((calendar.id, message(channel, "not_exists" if calendar.deleted else "exists", base=base)))
    return parcels


def _resource(channel: Channel, base: str) -> str:
    return f"{base}/calendar/v3/calendars/{quote(channel.calendar_id, safe='@')}/events?alt=json"


def _wanted_s(body: Mapping[str, Any], now: datetime) -> float:
    try:
        if (at := body.get("expiration")) is not None:
            return max(0.0, int(at) / 1000 - now.timestamp())
        params: Mapping[str, Any] = body.get("params") or {}
        return float(params.get("ttl", 604_800))
    except (TypeError, ValueError):
        raise invalid("Invalid expiration", "expiration", reason="invalid") from None
