"""How many runs of the live path are to be started. Pure."""

from collections.abc import Sequence
from datetime import timedelta

from calendar_pipeline.live.store import Alive

HANDOVER = timedelta(seconds=60)
"""So long before a run retires its successor is started, and from then on it may take the place."""


def to_start(alive: Sequence[Alive], *, places: int, standby: int, starting: int) -> int:
    """How many runs are missing until `places` work and `standby` wait, warm, for one of them to end or die.

    A run that retires soon does not count: its successor takes over while it still works. Those that are `starting`
    do. Without places nobody waits for one.
    """
    staying = sum(
        one.state == "working" and (one.retires_at is None or one.retires_at > one.now + HANDOVER) for one in alive
    )
    waiting = sum(one.state == "waiting" for one in alive)
    wanted = places + standby if places else 0
    return max(0, wanted - staying - waiting - starting)
