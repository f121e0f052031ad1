"""When and how a calendar is read next. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from calendar_pipeline.providers.port import Window

PAST = timedelta(days=1)
AHEAD = timedelta(days=28)
"""The visible window is [now - PAST, now + AHEAD]: a promise to API clients."""

RELIST_EARLY = timedelta(hours=36)
CONFIRM_AFTER = timedelta(minutes=10)
LONGEST_BACKOFF = timedelta(minutes=30)
EARLY = timedelta(minutes=5)
"""Dagster's schedule comes by this often, and takes along what is due until it comes again."""

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """What a listing covered, and when the next one is due."""

    window: Window
    relist_at: datetime


def horizon(calendar: str, *, now: datetime, buffer: timedelta) -> Horizon:
    """The window to list now: the visible one and `buffer` more, in whole seconds as providers read them.

    Until `relist_at` the visible window stays inside. Calendars listed together are spread over a day.
    """
    now = now.replace(microsecond=0)
    spread = timedelta(days=1) * share(calendar, "relist")
    return Horizon(
        window=Window(start=now - PAST, end=now + AHEAD + buffer),
        relist_at=now + max(buffer - RELIST_EARLY - spread, buffer / 2),
    )


def needs_listing(
    *,
    full: bool,
    token: str | None,
    parameters: str | None,
    current_parameters: str,
    held_until: datetime | None,
    relist_at: datetime | None,
    now: datetime,
) -> str | None:
    """Why the window must be listed, or None if the sync token will do."""
    if token is None or held_until is None or relist_at is None:
        return "first"
    if full:
        return "asked"
    if parameters != current_parameters:
        return "parameters_changed"
    if held_until - now < AHEAD:
        return "window_not_covered"
    if now >= relist_at:
        return "periodic"
    return None


def next_sync(calendar: str, *, due_at: datetime | None, now: datetime, interval: timedelta) -> datetime:
    """When a calendar that was read well is due again: at its own next turn.

    Turns are `interval` apart, at an offset that is a hash of the calendar's id, so that work is spread evenly and
    stays so. A turn that was taken early (`due_at` is still to come) is not taken twice.
    """
    offset = timedelta(seconds=int(interval.total_seconds() * share(calendar, "turn")))
    turn = _EPOCH + offset + ((now - _EPOCH - offset) // interval + 1) * interval
    return turn + interval if due_at == turn else turn


def backoff(calendar: str, failures: int, *, retry_after: timedelta | None) -> timedelta:
    """How long to leave a calendar alone after its `failures`-th failure in a row: doubling, jittered by ±25 %.

    What the provider asked for is a floor.
    """
    doubled = min(timedelta(minutes=1) * 2 ** min(failures - 1, 10), LONGEST_BACKOFF)
    jittered = doubled * (0.75 + 0.5 * share(calendar, str(failures)))
    return max(jittered, retry_after or timedelta())


def is_suspicious(*, deletes: int, live: int) -> bool:
    """Whether a listing would delete so much that it is read once more before it is believed."""
    return live >= 10 and deletes * 2 > live


def share(key: str, salt: str) -> float:
    """A stable number in [0, 1) for a key."""
    digest = hashlib.blake2b(f"{salt}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
