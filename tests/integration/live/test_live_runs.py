"""Live runs: places, hand-over, and deaths."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from calendar_pipeline.db.connect import Database
from calendar_pipeline.ingest import store as calendars
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.live import plan, run, store
from calendar_pipeline.live.run import Live
from calendar_pipeline.live.stage import Stage, polled
from calendar_pipeline.live.store import Alive
from calendar_pipeline.live.syncs import Syncs
from sandbox.server import Running, running
from sandbox.world import World

WAIT_S = 20.0


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Started:
    """A live run in a thread."""

    def __init__(self, live: Live) -> None:
        self.live, self.stop, self.worked, self.error = live, threading.Event(), None, None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.worked = run.work(self.live, self.stop)
        except ValueError as error:
            self.error = error

    def end(self) -> Any:
        self.stop.set()
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()
        return self.worked


@pytest.fixture
def start(db: Database) -> Iterator[Callable[..., Started]]:
    started: list[Started] = []

    def make(*stages: Stage, places: int = 1, lifetime: float = 600.0, outcomes: Any = None, **more: Any) -> Started:
        live = Live(
            db=db,
            stages=stages,
            outcomes=outcomes or SimpleQueue(),
            places=places,
            lifetime=timedelta(seconds=lifetime),
            **more,
        )
        started.append(Started(live))
        return started[-1]

    yield make
    for one in started:
        one.end()


def states(db: Database) -> list[str]:
    with db.single() as connection:
        return sorted(one.state for one in store.alive(connection))


@pytest.fixture
def sandbox(clock: Any) -> Iterator[Running]:
    with running(World(clock=clock)) as one:
        yield one


@pytest.fixture
def syncs(sandbox: Running, ingest: Callable[[Running], Ingest]) -> Callable[[], tuple[Syncs, Any]]:
    def make(**changes: Any) -> tuple[Syncs, Any]:
        from dataclasses import replace

        outcomes: Any = SimpleQueue()
        return Syncs(replace(ingest(sandbox), **changes), threads=4, every=0.02, done=outcomes.put), outcomes

    return make


def synced(db: Database) -> list[Any]:
    with db.single() as connection:
        return list(connection.execute(sa.text("SELECT calendar_id, outcome FROM sync_run ORDER BY id")))


def test_what_is_asked_for_is_done_at_once_and_told_of(
    db: Database, sandbox: Running, follow: Any, syncs: Any, start: Any
) -> None:
    followed = follow(sandbox.create_calendars(20, 3))
    told: list[str] = []
    work, outcomes = syncs()
    live = start(work.stage, outcomes=outcomes, publish=lambda some: told.extend(one.calendar_id for one in some))
    until(lambda: len(synced(db)) == 20)
    worked = live.end()
    assert sorted(told) == sorted(followed)
    assert (worked.syncs, worked.changed, worked.failed) == (20, 20, 0)


def test_two_live_runs_at_once_do_each_sync_once(
    db: Database, sandbox: Running, follow: Any, syncs: Any, start: Any
) -> None:
    followed = follow(sandbox.create_calendars(30, 2))
    one, two = syncs(), syncs()
    start(one[0].stage, outcomes=one[1], places=2)
    start(two[0].stage, outcomes=two[1], places=2)
    until(lambda: len(synced(db)) >= 30)
    time.sleep(0.2)
    assert sorted(row.calendar_id for row in synced(db)) == sorted(followed)


def test_a_second_run_waits_until_the_first_one_leaves(db: Database, start: Any) -> None:
    first = start()
    until(lambda: states(db) == ["working"])
    second = start()
    until(lambda: states(db) == ["waiting", "working"])
    first.end()
    until(lambda: states(db) == ["working"])
    assert second.end().had_a_place


def test_a_successor_takes_over_without_a_gap(db: Database, start: Any) -> None:
    """In its last minute a run makes way as soon as another one has begun."""
    ticks: list[tuple[str, float]] = []

    def stage(name: str) -> Stage:
        def work() -> int:
            ticks.append((name, time.monotonic()))
            return 0

        return polled(name, work, every=0.05)

    first = start(stage("first"), lifetime=30.0)
    until(lambda: bool(ticks))
    second = start(stage("second"))
    first.thread.join(WAIT_S)
    assert first.worked.had_a_place
    until(lambda: ticks[-1][0] == "second")
    last = max(at for name, at in ticks if name == "first")
    begun = min(at for name, at in ticks if name == "second")
    assert begun < last
    assert second.end().had_a_place


def test_of_two_runs_in_one_place_the_one_that_stays_longer_stays(db: Database, start: Any) -> None:
    """So it ends when a run was only slow, and its place was taken."""
    first = start(lifetime=600.0)
    until(lambda: states(db) == ["working"])
    with db.single() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO live_run (id, state, beat_until, retires_at) "
                "VALUES (:id, 'working', now() + interval '1 hour', now() + interval '1 hour')"
            ),
            {"id": uuid4()},
        )
    first.thread.join(WAIT_S)
    assert first.worked.had_a_place
    assert states(db) == ["working"]


def test_a_run_ends_when_its_lifetime_is_over(db: Database, start: Any) -> None:
    one = start(lifetime=1.0)
    one.thread.join(WAIT_S)
    assert one.worked.had_a_place
    assert states(db) == []


def test_the_place_of_a_dead_run_is_free_after_a_few_seconds(db: Database, start: Any) -> None:
    with db.single() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO live_run (id, state, beat_until, retires_at) "
                "VALUES (:id, 'working', now() + interval '1s', now() + interval '1h')"
            ),
            {"id": uuid4()},
        )
    start()
    until(lambda: states(db) == ["waiting", "working"])
    until(lambda: states(db) == ["working"])
    with db.single() as connection:
        assert store.works(connection)


def test_a_run_starts_over_after_its_lifetime(
    db: Database, sandbox: Running, follow: Any, syncs: Any, start: Any
) -> None:
    """As `calendar-pipeline live` does, with the same stages."""
    work, outcomes = syncs()
    follow(sandbox.create_calendars(1, 1))
    first = start(work.stage, lifetime=0.5, outcomes=outcomes)
    first.thread.join(WAIT_S)
    follow(sandbox.create_calendars(1, 1, first=1))
    start(work.stage, outcomes=outcomes)
    until(lambda: len(synced(db)) == 2)


def test_what_dagster_could_not_be_told_it_is_told_later(
    db: Database, sandbox: Running, follow: Any, syncs: Any, start: Any
) -> None:
    [calendar] = follow(sandbox.create_calendars(1, 1))
    told: list[list[str]] = []

    def publish(some: Any) -> None:
        told.append([one.calendar_id for one in some])
        if len(told) == 1:
            raise OperationalError("INSERT", None, Exception("away"))

    work, outcomes = syncs()
    live = start(work.stage, outcomes=outcomes, publish=publish)
    until(lambda: len(told) == 2)
    assert told == [[calendar], [calendar]]
    assert live.end().syncs == 1


def test_a_bug_in_one_stage_ends_the_run_and_says_so(db: Database, start: Any) -> None:
    def broken() -> int:
        raise ValueError("a bug")

    one = start(polled("broken", broken, every=0.01))
    one.thread.join(WAIT_S)
    assert isinstance(one.error, ValueError)
    assert states(db) == []


@pytest.mark.parametrize(
    "error",
    [KeyError("a bug"), OperationalError("INSERT", None, psycopg.errors.DiskFull("no space left"))],
    ids=["a bug", "a full disk"],
)
def test_a_bug_in_one_calendars_sync_leaves_the_others_alone(
    db: Database, sandbox: Running, follow: Any, syncs: Any, start: Any, error: Exception
) -> None:
    """Nor is it read again and again without a pause, as if the database were only away for a moment."""
    follow(sandbox.create_calendars(3, 1))
    left = [1]

    def crash(point: str) -> None:
        if point == "read" and left and left.pop():
            raise error

    work, outcomes = syncs(crash=crash)
    start(work.stage, outcomes=outcomes)
    until(lambda: len(synced(db)) == 2)
    until(lambda: len(work.bugs) == 1)


def test_a_database_that_goes_away_is_asked_again_and_nothing_is_lost(
    db: Database, server_url: str, sandbox: Running, follow: Any, syncs: Any, start: Any
) -> None:
    """All connections are cut in the middle of the work, several times."""
    followed = follow(sandbox.create_calendars(40, 3))
    work, outcomes = syncs()
    start(work.stage, outcomes=outcomes)
    engine = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    for _ in range(3):
        time.sleep(0.15)
        with engine.connect() as connection:
            connection.execute(
                sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
                {"name": db.url.database},
            )

    def done() -> set[str]:
        with engine.connect().execution_options() as _, Database(db.url) as other, other.single() as connection:
            rows = connection.execute(sa.text("SELECT DISTINCT calendar_id FROM sync_run WHERE outcome = 'synced'"))
            return set(rows.scalars())

    until(lambda: done() == set(followed))


def test_failed_syncs_are_left_to_the_sensors_runs(
    db: Database, sandbox: Running, follow: Any, syncs: Any, start: Any, clock: Any
) -> None:
    """There they turn their partition red."""
    follow(sandbox.create_calendars(1, 1))
    sandbox.add_fault("unavailable", endpoint="events.list", times=None)
    work, outcomes = syncs()
    start(work.stage, outcomes=outcomes)
    until(lambda: len(synced(db)) == 1)
    clock.pass_by(minutes=30)
    time.sleep(0.3)
    assert len(synced(db)) == 1


def waiting(db: Database, clock: Any) -> list[str]:
    """Calendars for which a run is to be asked."""
    with db.single() as connection:
        return list(calendars.waiting(connection, now=clock(), limit=9, patience=timedelta(minutes=1)))


def test_what_an_operator_must_mend_is_left_for_a_run_to_find_at_once(
    db: Database, sandbox: Running, follow: Any, syncs: Any, start: Any, clock: Any, ingest: Any
) -> None:
    """Nobody would try it again for half an hour, and the partition would stay green for so long."""
    from calendar_pipeline.ingest.run import sync_many

    [calendar] = follow(sandbox.create_calendars(1, 1))
    sandbox.add_fault("invalid_client", endpoint="token", times=None)
    work, outcomes = syncs()
    start(work.stage, outcomes=outcomes)
    until(lambda: len(synced(db)) == 1)

    assert waiting(db, clock) == [calendar]
    [outcome] = sync_many(ingest(sandbox), [calendar], threads=1)
    assert (outcome.status, outcome.code) == ("operator", "invalid_client")
    clock.pass_by(minutes=29)
    assert waiting(db, clock) == []
    clock.pass_by(minutes=2)
    assert waiting(db, clock) == [calendar]


def test_a_disconnection_is_left_for_a_run_to_find_once_more(
    db: Database, sandbox: Running, follow: Any, syncs: Any, start: Any, clock: Any, ingest: Any
) -> None:
    """Users and customers are told at once, and once; the run turns the partition red."""
    from calendar_pipeline.ingest.run import sync_many

    [made] = sandbox.create_calendars(1, 1)
    [calendar] = follow([made])
    sandbox.revoke_account(made.calendar_id)
    work, outcomes = syncs()
    start(work.stage, outcomes=outcomes)
    until(lambda: len(synced(db)) == 1)

    def row() -> Any:
        with db.single() as connection:
            query = sa.text("SELECT state, failures, next_sync_at FROM calendar")
            return tuple(connection.execute(query).one())

    assert waiting(db, clock) == [calendar]
    assert row()[:2] == ("disconnected", 1)
    [outcome] = sync_many(ingest(sandbox), [calendar], threads=1)
    assert (outcome.status, outcome.is_failure) == ("disconnected", True)
    assert (waiting(db, clock), row()) == ([], ("disconnected", 0, None))


NOW = datetime.fromisoformat("2026-11-23T09:00:00+00:00")


def alive(state: str, retires_in: float | None = None) -> Alive:
    retires_at = NOW + timedelta(seconds=retires_in) if retires_in is not None else None
    return Alive(id=uuid4(), run_id=None, state=state, created_at=NOW, retires_at=retires_at, now=NOW)


ONE, SOON, NEXT = alive("working", 600), alive("working", 59), alive("waiting")


@pytest.mark.parametrize(
    ("there", "places", "standby", "starting", "missing"),
    [
        ([], 1, 0, 0, 1),
        ([], 1, 0, 1, 0),
        ([ONE], 1, 0, 0, 0),
        ([SOON], 1, 0, 0, 1),
        ([SOON, NEXT], 1, 0, 0, 0),
        ([SOON], 1, 0, 1, 0),
        ([ONE], 3, 0, 0, 2),
        ([alive("ending")], 1, 0, 0, 1),
        ([ONE, ONE], 1, 0, 0, 0),
        ([], 1, 1, 0, 2),
        ([ONE], 1, 1, 0, 1),
        ([ONE], 1, 1, 1, 0),
        ([ONE, NEXT], 1, 1, 0, 0),
        ([SOON, NEXT], 1, 1, 0, 1),
        ([NEXT], 1, 1, 0, 1),
        ([], 0, 1, 0, 0),
    ],
)
def test_how_many_runs_are_missing(there: list[Alive], places: int, standby: int, starting: int, missing: int) -> None:
    assert plan.to_start(there, places=places, standby=standby, starting=starting) == missing
