"""What to do about a channel, and when. Pure."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, assert_never

from calendar_pipeline.errors import (
    AccessRevoked,
    ChannelGone,
    ContractBroken,
    CredentialUnreadable,
    OperatorMustAct,
    ProviderError,
    PushRefused,
    TryLater,
)
from calendar_pipeline.event import Platform
from calendar_pipeline.ingest.plan import share

State = Literal["asked", "live", "refused", "stopping", "ended"]
"""``asked``: the answer is awaited, or was lost. ``refused``: there is none. ``ended``: late messages are known."""

LIFE: Mapping[Platform, timedelta] = {"google": timedelta(days=7), "microsoft": timedelta(minutes=10_070)}
"""What is asked for: the longest that each provider gives. What the answer says is what counts."""

ANSWER = timedelta(minutes=2)
"""An answer that has not come by then is lost; the channel may exist all the same."""

OVERLAP = timedelta(minutes=2)
"""How long an old channel goes on beside its successor."""

LONGEST_BACKOFF = timedelta(hours=6)
REVOKED_AGAIN = timedelta(days=1)
MOST_STOPS = 6
"""Attempts to stop a channel; after that it ends by itself."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What only the provider and we know of a channel; we keep hashes."""

    token: str = field(repr=False)
    path: str = field(repr=False)

    @classmethod
    def new(cls) -> "Secrets":
        """256 random bits each."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32))


def hashed(secret: str) -> bytes:
    """What is kept of a random secret; it is long, so a fast hash will do."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def address(public_base_url: str, platform: Platform, path: str) -> str:
    """Where a provider posts a channel's notifications."""
    return f"{public_base_url}/external_webhooks/{platform}_calendar/{path}"


def renew_at(channel: str, *, made_at: datetime, expires_at: datetime) -> datetime:
    """At about 80 % of a channel's life, spread over 10 % of it so that channels made together are not renewed so."""
    life = max(expires_at - made_at, timedelta())
    return made_at + life * (0.75 + 0.1 * share(channel, "renew"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A channel that something is to be done about."""

    state: State
    renews: bool
    expires_at: datetime
    stoppable: bool
    """Its provider's name for it is known."""
    calendar_follows: bool
    """The calendar is there and connected."""


Step = Literal["renew", "replace", "stop", "give_up", "forget", "ask_again", "wait"]


def step(due: Due, *, now: datetime) -> Step:
    """The next thing to do about a channel whose time has come."""
    match due.state:
        case "asked":
            return "stop" if due.stoppable else "give_up"
        case "live":
            if not due.calendar_follows:
                return "stop"
            if now >= due.expires_at or not due.renews:
                return "replace"
            return "renew"
        case "refused":
            return "ask_again" if due.calendar_follows else "forget"
        case "stopping":
            if now >= due.expires_at:
                return "forget"
            return "stop" if due.stoppable else "give_up"
        case "ended":
            return "forget" if now >= due.expires_at else "wait"
        case _:
            assert_never(due.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a refused request for a channel means."""

    code: str
    again_after: timedelta | None
    """None: this calendar is polled only."""
    ask_for_sync: bool = False
    """A sync shall find out whether the calendar's access is gone."""


def refused(error: ProviderError | CredentialUnreadable, channel: str, failures: int) -> Refusal:
    """When to ask again after the `failures`-th refusal in a row."""
    patience = backoff(channel, failures)
    match error:
        case PushRefused(code=code, again_after=again_after):
            return Refusal(code=code, again_after=again_after)
        case AccessRevoked(code=code):
            return Refusal(code=code, again_after=REVOKED_AGAIN, ask_for_sync=True)
        case TryLater(code=code, retry_after=retry_after):
            return Refusal(code=code, again_after=max(patience, retry_after or timedelta()))
        case ChannelGone(code=code):
            return Refusal(code=code, again_after=timedelta(), ask_for_sync=True)
        case OperatorMustAct(code=code) | ContractBroken(code=code) | ProviderError(code=code):
            return Refusal(code=code, again_after=max(patience, timedelta(hours=1)))
        case CredentialUnreadable():
            return Refusal(code="credential_unreadable", again_after=LONGEST_BACKOFF)


def backoff(channel: str, failures: int) -> timedelta:
    """Doubling from a minute to hours, jittered by ±25 %."""
    doubled = min(timedelta(minutes=1) * 2 ** min(failures - 1, 12), LONGEST_BACKOFF)
    return doubled * (0.75 + 0.5 * share(channel, str(failures)))
