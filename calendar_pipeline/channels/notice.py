"""Whether a notification is what it says it is. Pure.

It carries nothing that is believed: a genuine one says that a calendar should be read, and no more.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from calendar_pipeline.channels.plan import State, hashed
from calendar_pipeline.event import Platform

Verdict = Literal["genuine", "unknown_channel", "wrong_token", "wrong_path", "wrong_resource"]

Lifecycle = Literal["missed", "subscriptionRemoved", "reauthorizationRequired"]
LIFECYCLE: tuple[Lifecycle, ...] = ("missed", "subscriptionRemoved", "reauthorizationRequired")

LONGEST_ID = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What we keep of a channel, as far as a notification can be held against it."""

    id: str
    calendar_id: str
    platform: Platform
    state: State
    token_hash: bytes = field(repr=False)
    path_hash: bytes = field(repr=False)
    remote_id: str | None
    resource_id: str | None
    confirmed: bool
    follows: bool
    """Its calendar is there and connected."""
    is_asked_for: bool
    """A sync is asked for and has not begun: it will see what this notification is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One notification, as it came."""

    channel: str
    """Google's channel id, or Graph's subscription id."""
    token: str = field(repr=False)
    resource: str | None
    """Google's resource id."""
    lifecycle: Lifecycle | None = None


def google(headers: Mapping[str, str]) -> Notice:
    """Of Google's headers; the body is empty."""
    return Notice(
        channel=headers.get("x-goog-channel-id", "")[:LONGEST_ID],
        token=headers.get("x-goog-channel-token", ""),
        resource=headers.get("x-goog-resource-id", "")[:LONGEST_ID],
    )


def judge(notice: Notice, known: Known | None, *, path: str | None) -> Verdict:
    """Everything must fit. Secrets are compared by their hashes, in constant time."""
    if known is None:
        return "unknown_channel"
    if not hmac.compare_digest(hashed(notice.token), known.token_hash):
        return "wrong_token"
    if path is not None and not hmac.compare_digest(hashed(path), known.path_hash):
        return "wrong_path"
    if known.platform == "google" and known.resource_id is not None and notice.resource != known.resource_id:
        return "wrong_resource"
    return "genuine"


def asks_for_sync(known: Known) -> bool:
    """Whether a genuine notification is news: channels outlive their stop and their calendar's access for a while."""
    return known.follows and known.state in ("asked", "live", "stopping") and not known.is_asked_for
