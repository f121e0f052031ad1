"""A live run: from its start until its successor takes over.

It waits for one of the places, works with all stages at once, and gives sign of life every second. Nothing is held in
memory that would be missed: whatever it has claimed is free again soon after its death.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from queue import Empty, SimpleQueue

from calendar_pipeline.db.connect import Database
from calendar_pipeline.ingest.outcome import Outcome
from calendar_pipeline.live import store
from calendar_pipeline.live.plan import HANDOVER
from calendar_pipeline.live.stage import AWAY, PAUSE, Running, Stage

log = logging.getLogger(__name__)

BEAT = 1.0
ALIVE = timedelta(seconds=6)
"""Without a sign of life for so long a run is dead."""
LOOK = 0.2
"""Seconds between looks of a waiting run for a place."""
PATIENCE = HANDOVER * 3
"""A run that finds no place for so long is not needed."""
DRAIN = 60.0
PUBLISH = 2.0


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
    """Tell of what was done, a few seconds' worth at a time. Called from the thread that runs `work`."""


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
    """Wait for a place, work until the lifetime is over or `stop` is set, and leave; raises what ended a stage."""
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
    """Whether we got a place."""
    begun = beaten = time.monotonic()
    with live.db.single() as connection:
        store.join(connection, me, run_id=live.run_id, length=ALIVE)
    while not stop.is_set() and time.monotonic() - begun < PATIENCE.total_seconds():
        with live.db.begin() as connection:
            store.lock(connection)
            if store.take(connection, me, places=live.places, lifetime=live.lifetime, length=ALIVE):
                return True
        if time.monotonic() - beaten > BEAT:
            beaten = time.monotonic()
            with live.db.single() as connection:
                store.join(connection, me, run_id=live.run_id, length=ALIVE)
        stop.wait(LOOK)
    return False


def _work(live: Live, me: uuid.UUID, stop: threading.Event, worked: Worked) -> None:
    begun, cpu, statements = time.monotonic(), time.process_time(), live.db.statements
    ends_at = begun + live.lifetime.total_seconds()
    ending = threading.Event()
    running = [Running(stage, ending) for stage in live.stages]
    published = begun
    try:
        while not stop.wait(BEAT):
            now = time.monotonic()
            awaited = _beat(live, me, "working", ends_at - now)
            if now - published > PUBLISH:
                published = now
                _publish(live, worked)
            if now >= ends_at or (awaited and now >= ends_at - HANDOVER.total_seconds()):
                break
            if any(not one.is_alive for one in running):
                break
    finally:
        ending.set()
        _beat(live, me, "ending", 0.0)
        try:
            deadline = time.monotonic() + DRAIN
            for one in running:
                one.join(max(0.0, deadline - time.monotonic()))
        finally:
            _publish(live, worked)
            worked.seconds = time.monotonic() - begun
            worked.cpu = time.process_time() - cpu
            worked.statements = live.db.statements - statements
            worked.database_away = sum(one.away for one in running)


def _beat(live: Live, me: uuid.UUID, state: str, left: float) -> bool:
    """Say that we live; whether a successor waits. A database that is away hears it next time."""
    try:
        with live.db.single() as connection:
            return store.beat(
                connection, me, run_id=live.run_id, state=state, length=ALIVE, left=timedelta(seconds=max(0.0, left))
            )
    except AWAY as error:
        log.warning("the database is away (%s)", type(error).__name__)
        time.sleep(PAUSE)
        return False


def _publish(live: Live, worked: Worked) -> None:
    outcomes: list[Outcome] = []
    try:
        while True:
            outcomes.append(live.outcomes.get_nowait())
    except Empty:
        pass
    if not outcomes:
        return
    worked.syncs += len(outcomes)
    worked.changed += sum(outcome.changes > 0 for outcome in outcomes)
    worked.failed += sum(outcome.is_failure for outcome in outcomes)
    live.publish(outcomes)


def _leave(live: Live, me: uuid.UUID) -> None:
    try:
        with live.db.single() as connection:
            store.leave(connection, me)
    except AWAY:
        log.warning("left without a word: the database is away")
