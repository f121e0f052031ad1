"""Care for OAuth clients and accounts: how fast we ask in their name, and when we stop asking for a while.

One client's storm must not slow the others, and a client that is refused as a whole is its operator's matter. What is
known here is shared by the threads of a process; what must outlive it stands in `oauth_client`.

A quota is the client's, whoever asks in its name, so buckets and storms are too. Refusals are a project's own: only who
has a client's secret is granted tokens, and with them sent rate limits, but anyone can name a client and be refused.
"""

import threading
import time
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from calendar_pipeline.errors import TryLater

LONGEST_WAIT = 5.0
"""Seconds that a thread waits for its turn; beyond it the calendar is left for later."""

IN_FLIGHT = 3
"""Requests at once for one account, all its calendars together. Outlook allows an application four per mailbox."""

MOST_BUCKETS = 20_000
"""Buckets kept; beyond it those that are full again are forgotten, which changes nothing."""

STORM = 5
"""Rate limits answered to one client within a minute that make it pause."""

STORM_PAUSE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is sent in a client's name before `until`."""

    until: datetime
    code: str
    refused_at: datetime | None
    """When the client was refused, so newer credentials are tried; None: it was asked to slow down, whoever asks."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class Guard:
    """Token buckets per client and per account, and pauses. Safe to share among threads."""

    per_client: float = 10_000
    """Requests per minute in a client's name; Google's default quota for a project."""
    per_account: float = 600
    """Requests per minute for one user, all calendars together; Google's quota, and below Outlook's."""
    in_flight: int = IN_FLIGHT
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _buckets: dict[Hashable, _Bucket] = field(default_factory=dict[Hashable, _Bucket])
    _flying: dict[Hashable, int] = field(default_factory=dict[Hashable, int])
    _limited: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    _paused: dict[Hashable, Pause] = field(default_factory=dict[Hashable, "Pause"])
    _granted: dict[Hashable, datetime] = field(default_factory=dict[Hashable, datetime])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _landed: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def turn(self, client: str, account: str) -> Generator[None]:
        """Wait for a turn to send one request, and hold it; raises TryLater if that would take long."""
        key = (client, account)
        with self._landed:
            if not self._landed.wait_for(lambda: self._flying.get(key, 0) < self.in_flight, timeout=LONGEST_WAIT):
                raise TryLater("own_rate_limit", "too many requests at once for this account")
            self._flying[key] = self._flying.get(key, 0) + 1
        try:
            self._admit(client, key)
            yield
        finally:
            with self._landed:
                self._flying[key] -= 1
                if not self._flying[key]:
                    del self._flying[key]
                self._landed.notify_all()

    def _admit(self, client: str, account: Hashable) -> None:
        with self._lock:
            if len(self._buckets) > MOST_BUCKETS:
                self._forget()
            wait = max(self._take(("client", client), self.per_client), self._take(account, self.per_account))
        if wait > LONGEST_WAIT:
            raise TryLater("own_rate_limit", retry_after=timedelta(seconds=wait))
        if wait > 0:
            self.sleep(wait)

    def _forget(self) -> None:
        """Drop the buckets that nobody used for a minute: they are full by now."""
        now = self.monotonic()
        for key in [key for key, bucket in self._buckets.items() if now - bucket.at > 60]:
            del self._buckets[key]

    def _take(self, key: Hashable, per_minute: float) -> float:
        """Seconds until the token just taken is really there. A burst of six seconds' worth is allowed."""
        rate, now = per_minute / 60, self.monotonic()
        burst = max(1.0, rate * 6)
        bucket = self._buckets.setdefault(key, _Bucket(burst, now))
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.at) * rate) - 1
        bucket.at = now
        wait = -bucket.tokens / rate if bucket.tokens < 0 else 0.0
        if wait > LONGEST_WAIT:
            bucket.tokens += 1  # not sent, so not spent
        return wait

    def is_storm(self, client: str) -> bool:
        """Note a rate limit answered to a client; whether there were many within a minute."""
        at = self.monotonic()
        with self._lock:
            recent = [then for then in self._limited.get(client, ()) if at - then < 60] + [at]
            self._limited[client] = recent
            return len(recent) >= STORM

    def pause(self, client: str, pause: Pause, *, project: str) -> None:
        """Send nothing in this client's name for a while: for the project if the client was refused, else for all."""
        with self._lock:
            self._paused[client if pause.refused_at is None else (project, client)] = pause

    def paused(self, client: str, *, project: str, credentials_at: datetime, now: datetime) -> Pause | None:
        """The pause that holds the project's calendars with credentials of that age, if there is one now."""
        with self._lock:
            for pause in (self._paused.get(client), self._paused.get((project, client))):
                if pause is None or pause.until <= now:
                    continue
                if pause.refused_at is None or credentials_at <= pause.refused_at:
                    return pause
        return None

    def refused(self, client: str, *, project: str) -> None:
        """Note a refusal: whether others are granted tokens is news again."""
        with self._lock:
            self._granted.pop((project, client), None)

    def grant_is_news(self, client: str, *, project: str, now: datetime) -> bool:
        """Whether a granted token should be noted in the database: once in ten seconds per client, and after a refusal.

        A pause for a refusal is over.
        """
        key = (project, client)
        with self._lock:
            self._paused.pop(key, None)
            last = self._granted.get(key)
            if last is not None and timedelta() <= now - last < timedelta(seconds=10):
                return False
            self._granted[key] = now
            return True
