"""Eight writers, some held open or rolled back: who polls as the guide says misses nothing; the feed has no hole."""

import random
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from calendar_pipeline import ids
from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.db.connect import Database
from calendar_pipeline.history import store as history
from calendar_pipeline.history import versions
from calendar_pipeline.history.read import Filter, page
from calendar_pipeline.projects import store as projects
from tests.integration.api.test_api_record import APPEND, NEW, WRITE

SECONDS = 4.0
WRITERS = 8


def utc_now() -> datetime:
    return datetime.now(UTC)


class RolledBack(Exception):
    """On purpose."""


def write(db: Database, project: str, calendar: str, seed: int, stop: threading.Event, done: set[str]) -> None:
    """Commits events one at a time; one in ten is held for up to 50 ms before the commit, one in twenty rolled back."""
    chance = random.Random(seed)
    skew = chance.uniform(-0.2, 0.2)

    def clock() -> datetime:
        return datetime.fromtimestamp(time.time() + skew, UTC)

    while not stop.is_set():
        event = ids.new("evt")
        try:
            with db.begin() as conn:
                at = history.turn(conn, project, clock=clock if seed % 2 else utc_now)
                names: dict[str, Any] = {"id": event, "project": project, "at": at}
                told = {"calendar": calendar, "title": "x", "attendees": "[]", "raw": "{}", "deleted": False}
                conn.execute(WRITE, names | told)
                conn.execute(APPEND, names | {"change": "created", "changed": [], "before": "{}"})
                if chance.random() < 0.10:
                    time.sleep(chance.uniform(0, 0.05))
                if chance.random() < 0.05:
                    raise RolledBack
            done.add(event)
        except RolledBack:
            continue


def poll(db: Database, project: str, secret: str, since: datetime) -> list[Any]:
    """What the API does for ``updated_at_gte``: the key, waiting for the turn that is taken, then all pages."""
    rows: list[Any] = []
    seek = None
    with db.single() as conn:
        assert projects.find_key(conn, secret, now=utc_now(), settled=True) is not None
    while True:
        with db.single() as conn:
            found = page(conn, project, where=Filter(updated_at_gte=since), ordering="updated_at", size=100, seek=seek)
        rows += found.rows
        if found.next is None:
            return rows
        seek = found.next


@pytest.fixture
def writing(database_url: str, db: Database, keyring) -> Any:
    with db.begin() as conn:
        project = projects.create(conn, "busy", now=utc_now()).id
        secret = projects.create_key(conn, project, now=utc_now()).secret
        calendar = calendars.create(conn, keyring, project, NEW, now=utc_now()).id
    return project, secret, calendar


def test_fault_21_and_23_no_poll_and_no_feed_misses_a_change(database_url: str, writing) -> None:
    project, secret, calendar = writing
    stop = threading.Event()
    done: set[str] = set()
    largest: set[str] = set()
    fed: list[int] = []

    def by_largest(db: Database) -> None:
        since = datetime(2000, 1, 1, tzinfo=UTC)
        while True:
            last = stop.is_set() and not any(thread.is_alive() for thread in writers)
            rows = poll(db, project, secret, since)
            largest.update(row.id for row in rows)
            since = max((row.updated_at for row in rows), default=since)
            if last:
                return

    def by_feed(db: Database) -> None:
        after = 0
        while True:
            last = stop.is_set() and not any(thread.is_alive() for thread in writers)
            with db.single() as conn:
                rows = versions.feed(conn, project, after=after, limit=500)
            fed.extend(row.seq for row in rows)
            after += len(rows)
            if last and not rows:
                return

    with Database(database_url, connections=WRITERS + 4) as db:
        writers = [
            threading.Thread(target=write, args=(db, project, calendar, seed, stop, done)) for seed in range(WRITERS)
        ]
        readers = [threading.Thread(target=target, args=(db,)) for target in (by_largest, by_feed)]
        for thread in [*writers, *readers]:
            thread.start()
        time.sleep(SECONDS)
        stop.set()
        for thread in [*writers, *readers]:
            thread.join(60)
            assert not thread.is_alive()
    assert len(done) > 20
    assert largest >= done, f"{len(done - largest)} of {len(done)} missed"
    assert fed == list(range(1, len(done) + 1))


def test_a_poll_by_the_time_of_the_last_poll_misses_nothing(database_url: str, writing) -> None:
    """The writers' clocks are right here: who goes by the clock relies on it."""
    project, secret, calendar = writing
    stop = threading.Event()
    done: set[str] = set()
    seen: set[str] = set()
    with Database(database_url, connections=WRITERS + 4) as db:
        writers = [
            threading.Thread(target=write, args=(db, project, calendar, 2 * seed, stop, done))
            for seed in range(WRITERS)
        ]
        for thread in writers:
            thread.start()
        since, end = datetime(2000, 1, 1, tzinfo=UTC), time.monotonic() + SECONDS
        while time.monotonic() < end:
            asked = utc_now()
            seen.update(row.id for row in poll(db, project, secret, since))
            since = asked
        stop.set()
        for thread in writers:
            thread.join(60)
        seen.update(row.id for row in poll(db, project, secret, since))
    assert len(done) > 20
    assert seen >= done, f"{len(done - seen)} of {len(done)} missed"


def test_fault_22_a_writer_that_stands_still_delays_and_loses_nothing(db: Database, writing) -> None:
    """The feed goes on without it; a poll by stamps says "later" after two seconds instead of leaving it out."""
    project, secret, _ = writing
    with db.begin() as held:
        history.turn(held, project, clock=utc_now)
        with db.single() as conn:
            assert list(versions.feed(conn, project, after=0, limit=10)) == []
        with pytest.raises(sa.exc.OperationalError), db.single() as conn:
            projects.find_key(conn, secret, now=utc_now(), settled=True)
    assert poll(db, project, secret, datetime(2000, 1, 1, tzinfo=UTC)) == []
