"""A part of the live path: a loop of its own, in a thread of its own.

A database that is away for a moment ends no loop: what was claimed is claimed again when its lease has run out.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from calendar_pipeline.db.connect import AWAY

log = logging.getLogger(__name__)

Loop = Callable[[threading.Event], None]
"""Works until the event is set, and ends soon after."""

PAUSE = 0.5
"""Seconds until a database that was away is asked again."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One kind of work."""

    name: str
    loop: Loop


def polled(name: str, work: Callable[[], int], *, every: float) -> Stage:
    """Work as long as there is work, and look again after `every` seconds. `work` returns how much it did."""

    def loop(stop: threading.Event) -> None:
        while not stop.is_set():
            if not work():
                stop.wait(every)

    return Stage(name, loop)


class Running:
    """A stage at work, in a thread of its own."""

    def __init__(self, stage: Stage, stop: threading.Event) -> None:
        self.away = 0
        """How often the database was away."""
        pool = ThreadPoolExecutor(1, thread_name_prefix=f"live-{stage.name}")
        self._future = pool.submit(self._run, stage, stop)
        pool.shutdown(wait=False)

    def _run(self, stage: Stage, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                stage.loop(stop)
            except AWAY as error:
                self.away += 1
                log.warning("%s: the database is away (%s)", stage.name, type(error).__name__)
                stop.wait(PAUSE)

    @property
    def is_alive(self) -> bool:
        """Whether its thread still runs."""
        return not self._future.done()

    def join(self, seconds: float) -> None:
        """Wait for it to end; raises the bug that ended it, and TimeoutError if it does not end."""
        self._future.result(seconds)
