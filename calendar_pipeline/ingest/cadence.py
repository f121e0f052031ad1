"""What push changes about when a calendar is read, and what is learnt of push by reading. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from calendar_pipeline.event import Platform
from calendar_pipeline.history.diff import Change

Cause = Literal["push", "second_look", "asked", "retry", "poll"]

SECOND_LOOK = timedelta(seconds=45)
"""Microsoft may notify before the change can be read: after a push without news, one more look."""

DISTRUST = timedelta(days=1)
"""How long a calendar whose push missed something is polled as if it had none."""

ON_ITS_WAY = timedelta(seconds=60)
"""A change so young that its notification may still come is not missed yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a claimed calendar's row says of push."""

    platform: Platform
    requested: bool
    """A sync was asked for."""
    pushed_at: datetime | None
    """The notification that a sync is still owed to."""
    look_again: bool
    failures: int
    push_since: datetime | None
    """Since when its channel is known to work; None: it has none."""
    missed_at: datetime | None
    read_at: datetime | None
    """The last good sync."""


def cause(standing: Standing) -> Cause:
    """What made this sync due."""
    if standing.requested:
        return "asked" if standing.pushed_at is None else "push"
    if standing.look_again:
        return "second_look"
    return "retry" if standing.failures else "poll"


def interval(standing: Standing, *, now: datetime, missed: int, plain: timedelta, safety: timedelta) -> timedelta:
    """How old a calendar may get before it is polled: longer while its push can be relied on."""
    if standing.push_since is None or missed:
        return plain
    if standing.missed_at is not None and now - standing.missed_at < DISTRUST:
        return plain
    return safety


def looks_again(standing: Standing, changes: Sequence[Change]) -> bool:
    """Whether this push may have come before its change."""
    return standing.platform == "microsoft" and cause(standing) == "push" and not changes


def news_since(changes: Sequence[Change], read_at: datetime | None) -> list[datetime]:
    """When these changes were made, by the provider's clock, as far as they were made after `read_at`.

    An event that time brought into the window is no news, and the first listing has none.
    """
    if read_at is None:
        return []
    times = (change.told.event.provider_updated_at for change in changes if change.told is not None)
    return [at for at in times if at is not None and at > read_at]


def missed(standing: Standing, changes: Sequence[Change], *, started_at: datetime) -> int:
    """How many changes a poll found that notifications should have told.

    Only if push worked since the last read. Of a deletion no time is known: it counts.
    """
    read_at, since = standing.read_at, standing.push_since
    if cause(standing) != "poll" or read_at is None or since is None or since > read_at:
        return 0
    late = [at for at in news_since(changes, read_at) if at < started_at - ON_ITS_WAY]
    return len(late) + sum(change.kind == "deleted" for change in changes)
