"""A live run: from its start until its successor takes over.

It waits, warm, for one of the places, works with all stages at once, and gives sign of life twice a second. Nothing is
held in memory that would be missed: whatever it has claimed is free again soon after its death.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from queue import Empty, SimpleQueue

from calendar_pipeline.db.connect import AWAY, Database
from calendar_pipeline.ingest.outcome import Outcome
from calendar_pipeline.live import store
from calendar_pipeline.live.plan import HANDOVER
from calendar_pipeline.live.stage import Running, Stage

log = logging.getLogger(__name__)

BEAT = 0.5
ALIVE = timedelta(seconds=2.5)
"""Without a sign of life for so long a run is dead. One that is only slow meets its successor, and makes way."""
LOOK = 0.5
"""Seconds between looks of a waiting run for a place, and of a working one for an end."""
DRAIN = 60.0
PUBLISH = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What a live run needs."""

    db: Database
    stages: Sequence[Stage]
    outcomes: SimpleQueue[Outcome]
    """Syncs that are done, for `publish`."""
    places: int
    lifetime: timedelta
    run_id: str | None = None
    publish: Callable[[Sequence[Outcome]], None] = field(default=lambda _outcomes: None)
    """Tell of what was done, a second's worth at a time. Called from the thread that runs `work`."""


@dataclass(slots=True, kw_only=True)
class Worked:
    """A live run in numbers."""

    had_a_place: bool = False
    seconds: float = 0.0
    waited: float = 0.0
    cpu: float = 0.0
    statements: int = 0
    syncs: int = 0
    changed: int = 0
    failed: int = 0
    database_away: int = 0


def work(live: Live, stop: threading.Event) -> Worked:
    """Wait for a place, work until replaced, `stop` is set or the lifetime is over; raises what ended a stage."""
    me, worked = uuid.uuid4(), Worked()
    begun = time.monotonic()
    try:
        worked.had_a_place = _wait(live, me, stop)
        worked.waited = time.monotonic() - begun
        if worked.had_a_place:
            _work(live, me, stop, worked)
    finally:
        _leave(live, me)
    return worked


def _wait(live: Live, me: uuid.UUID, stop: threading.Event) -> bool:
    """Whether we got a place. A run that finds none for a whole lifetime ends: its code and settings are old."""
    begun = time.monotonic()
    while not stop.is_set() and time.monotonic() - begun < live.lifetime.total_seconds():
        try:
            if _take(live, me):
                return True
        except AWAY as error:
            log.warning("the database is away (%s)", type(error).__name__)
        stop.wait(LOOK)
    return False


def _take(live: Live, me: uuid.UUID) -> bool:
    """Say that we wait, and take a place if there seems to be one; whether we got it."""
    with live.db.single() as connection:
        if not store.wait(connection, me, run_id=live.run_id, places=live.places, length=ALIVE, handover=HANDOVER):
            return False
    with live.db.begin() as connection:
        store.lock(connection)
        return store.take(connection, me, places=live.places, lifetime=live.lifetime, length=ALIVE, handover=HANDOVER)


def _work(live: Live, me: uuid.UUID, stop: threading.Event, worked: Worked) -> None:
    begun, cpu, statements = time.monotonic(), time.process_time(), live.db.statements
    ends_at = begun + live.lifetime.total_seconds()
    ending, replaced = threading.Event(), threading.Event()
    beating = Running(_beating(live, me, ends_at, replaced), ending)
    running = [Running(stage, ending) for stage in live.stages]
    published, untold = begun, list[Outcome]()
    try:
        while not stop.wait(LOOK):
            now = time.monotonic()
            if now - published > PUBLISH:
                published = now
                _publish(live, worked, untold)
            if now >= ends_at or replaced.is_set() or not all(one.is_alive for one in (beating, *running)):
                break
    finally:
        ending.set()
        try:
            deadline = time.monotonic() + DRAIN
            for one in (beating, *running):
                one.join(max(0.0, deadline - time.monotonic()))
        finally:
            _publish(live, worked, untold)
            worked.seconds = time.monotonic() - begun
            worked.cpu = time.process_time() - cpu
            worked.statements = live.db.statements - statements
            worked.database_away = sum(one.away for one in running)


def _beating(live: Live, me: uuid.UUID, ends_at: float, replaced: threading.Event) -> Stage:
    """Says that we live, whatever the rest of us is busy with; sets `replaced` when others have all places."""

    def beat(state: str) -> bool:
        left = timedelta(seconds=max(0.0, ends_at - time.monotonic()))
        with live.db.single() as connection:
            return store.beat(
                connection, me, run_id=live.run_id, state=state, places=live.places, length=ALIVE, left=left
            )

    def loop(stop: threading.Event) -> None:
        while not stop.is_set():
            if beat("working"):
                replaced.set()
            stop.wait(BEAT)
        beat("ending")

    return Stage("beat", loop)


def _publish(live: Live, worked: Worked, untold: list[Outcome]) -> None:
    """Tell of what was done; what a database that is away cannot be told stays `untold` until the next time."""
    try:
        while True:
            outcome = live.outcomes.get_nowait()
            untold.append(outcome)
            worked.syncs += 1
            worked.changed += outcome.changes > 0
            worked.failed += outcome.is_failure
    except Empty:
        pass
    if not untold:
        return
    try:
        live.publish(untold)
    except AWAY as error:
        log.warning("%d syncs are told of later: the database is away (%s)", len(untold), type(error).__name__)
    else:
        untold.clear()


def _leave(live: Live, me: uuid.UUID) -> None:
    try:
        with live.db.single() as connection:
            store.leave(connection, me)
    except AWAY:
        log.warning("left without a word: the database is away")
