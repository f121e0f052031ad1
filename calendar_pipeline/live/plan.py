"""How many runs of the live path are to be started. Pure."""

from collections.abc import Sequence
from datetime import timedelta

from calendar_pipeline.live.store import Alive

HANDOVER = timedelta(seconds=60)
"""So long before a run retires its successor is started, and from then on it may take over."""


def to_start(alive: Sequence[Alive], *, places: int, starting: int) -> int:
    """How many runs are missing, those counted that wait for a place or are `starting`.

    A run that retires soon does not count: its successor gets warm while it works.
    """
    staying = sum(
        one.state == "working" and (one.retires_at is None or one.retires_at > one.now + HANDOVER) for one in alive
    )
    waiting = sum(one.state == "waiting" for one in alive)
    return max(0, places - staying - waiting - starting)
