"""A worker that is killed at any point of a sync has either changed nothing or finished: there is no third.

Each case has a twin: the same calendar, changed in the same way, whose worker lives. In the end both tell the same.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.calendars.model import NewCalendar
from calendar_pipeline.db.connect import Database
from calendar_pipeline.history import proof
from calendar_pipeline.ingest import run
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets.keyring import KeyRing, generate
from sandbox.server import Running, running

WORKER = Path(__file__).with_name("crash_worker.py")
KEYS = generate("crash")
POINTS = ("granted", "read", "finished", "told", "deleted", "appended", "committed")
SITUATIONS = ("first", "mixed", "relist")

NEVER_PASSED = {("first", "deleted")}
"""A first sync has nothing to delete. There the worker lives, and its twin is told the same all the more."""


@dataclass
class Followed:
    """A calendar at the provider and here, and the ids of its events by what they are for."""

    id: str
    provider_id: str
    events: dict[str, str] = field(default_factory=dict)


@dataclass
class Site:
    """A database, a provider, and workers."""

    url: str
    db: Database
    sandbox: Running
    clock: Any
    project: str
    ingest: Ingest
    count: int

    def follow(self) -> Followed:
        """A calendar with a few events and a series; its twin is told from it by nothing but its address."""
        self.count += 1
        made = self.sandbox.create_calendar(account=f"p{self.count}@example.com", zone="Europe/Berlin")
        with self.db.begin() as connection:
            here = calendars.create(
                connection,
                KeyRing.parse(KEYS),
                self.project,
                NewCalendar(
                    platform="google",
                    platform_uuid=made.calendar_id,
                    client_id=made.client_id,
                    client_secret=made.client_secret,
                    refresh_token=made.refresh_token,
                ),
                now=self.clock(),
            )
        followed = Followed(here.id, made.calendar_id)
        for day, name in enumerate(("moved", "renamed", "cancelled", "left", "back"), start=1):
            self._create(followed, name, day)
        self._create(followed, "series", 1, recurrence=["RRULE:FREQ=WEEKLY"])
        return followed

    def _create(self, followed: Followed, name: str, day: int, **more: Any) -> None:
        start = (self.clock() + timedelta(days=day)).isoformat()
        event = f"{name}0{day}".replace("w", "v")  # Google's ids are base32hex
        event = "".join(letter for letter in event if letter in "0123456789abcdefghijklmnopqrstuv").ljust(6, "0")
        self.sandbox.create_event(followed.provider_id, start=start, title=name, event_id=event, **more)
        followed.events[name] = event

    def change(self, followed: Followed) -> None:
        """Something of everything: moved, renamed, cancelled, restored, new, and one instance of a series gone."""
        one, calendar, ids = self.sandbox, followed.provider_id, followed.events
        one.move_event(calendar, ids["moved"], by=timedelta(hours=2))
        one.retitle_event(calendar, ids["renamed"], "another name")
        one.cancel_event(calendar, ids["cancelled"])
        one.restore_event(calendar, ids["back"])
        one.cancel_event(calendar, one.next_instance(calendar, ids["series"]))
        self._create(followed, "new", 7)

    def work(self, followed: Followed, point: str = "-", *, full: bool = False) -> int:
        """A worker's exit code; one that lives must have synced."""
        mode = "full" if full else "due"
        words = [self.url, self.sandbox.url, KEYS, followed.id, self.clock().isoformat(), point, mode]
        ended = subprocess.run(
            [sys.executable, WORKER, *words], capture_output=True, text=True, timeout=120, check=False
        )
        assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
        if ended.returncode == 0:
            assert ended.stdout == "synced"
        return ended.returncode

    def sync(self, followed: Followed) -> None:
        """A sync in this process, on the way to where a worker is to die."""
        [outcome] = run.sync_many(self.ingest, [followed.id], threads=1, regardless=True)
        assert outcome.status == "synced"

    def wait_for_lease(self, followed: Followed) -> None:
        """Until the dead worker's claim has run out."""
        held = sa.text("SELECT lease_until > clock_timestamp() FROM calendar WHERE id = :id")
        deadline = time.monotonic() + 30
        with self.db.single() as connection:
            while connection.execute(held, {"id": followed.id}).scalar():
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def history(self, followed: Followed) -> list[tuple[Any, ...]]:
        """What was recorded of each event, in order. Changes of one sync come in no particular order among events."""
        with self.db.single() as connection:
            rows = connection.execute(
                sa.text(
                    "SELECT provider_event_id, change, version, changed, before - 'raw' AS before, title, starts_at"
                    " FROM event_history WHERE calendar_id = :id ORDER BY provider_event_id, seq"
                ),
                {"id": followed.id},
            )
            return [tuple(row) for row in rows]

    def stored(self, followed: Followed) -> dict[str, tuple[Any, ...]]:
        """What we hold as living."""
        with self.db.single() as connection:
            rows = connection.execute(
                sa.text(
                    "SELECT provider_event_id, title, starts_at, ends_at, raw FROM calendar_event"
                    " WHERE calendar_id = :id AND NOT is_deleted"
                ),
                {"id": followed.id},
            )
            return {row.provider_event_id: (row.title, row.starts_at, row.ends_at, row.raw) for row in rows}

    def listed(self, followed: Followed) -> dict[str, tuple[Any, ...]]:
        """What the provider lists of the window that we hold."""
        with self.db.single() as connection:
            held = connection.execute(
                sa.text("SELECT held_from, held_until FROM calendar WHERE id = :id"), {"id": followed.id}
            ).one()
        items = self.sandbox.listing(followed.provider_id, time_min=held.held_from, time_max=held.held_until)
        instant = type(self.clock()).fromisoformat
        return {
            item["id"]: (
                item["summary"],
                instant(item["start"]["dateTime"]),
                instant(item["end"]["dateTime"]),
                item,
            )
            for item in items
        }


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Running]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture
def site(
    database_url: str, db: Database, sandbox: Running, clock: Any, ingest: Callable[[Running], Ingest], request: Any
) -> Iterator[Site]:
    with db.begin() as connection:
        project = projects.create(connection, "crash", now=clock()).id
    sandbox.set_clock(clock(), frozen=True)
    wired = replace(ingest(sandbox), keyring=KeyRing.parse(KEYS))
    first = 1000 * SITUATIONS.index(request.node.callspec.params["situation"])
    site = Site(database_url, db, sandbox, clock, project, wired, first)
    yield site
    sandbox.clear_faults()


Prepare = Callable[[Site, Followed], None]


def _before_first(_: Site, __: Followed) -> None:
    """Nothing: the first sync is the one that dies."""


def _before_mixed(site: Site, followed: Followed) -> None:
    """A first sync, one event gone, and then something of everything."""
    site.sync(followed)
    site.sandbox.cancel_event(followed.provider_id, followed.events["back"])
    site.sync(followed)
    site.change(followed)


PREPARE: dict[str, Prepare] = {"first": _before_first, "mixed": _before_mixed, "relist": _before_mixed}


def _forget_access(site: Site, followed: Followed) -> None:
    """So that the worker has to ask for an access token, and can die with it in hand."""
    with site.db.begin() as connection:
        connection.execute(sa.text("UPDATE calendar SET access_token = NULL WHERE id = :id"), {"id": followed.id})


@pytest.mark.parametrize("situation", SITUATIONS)
def test_killed_at_any_point_a_sync_is_done_once(site: Site, situation: str) -> None:
    """Killed at each point in turn, each time on a calendar of its own, the worker is followed by one that lives."""
    full = situation == "relist"
    twin = site.follow()
    PREPARE[situation](site, twin)
    _forget_access(site, twin)
    assert site.work(twin, full=full) == 0
    expected = site.history(twin)
    assert expected

    for point in POINTS:
        followed = site.follow()
        PREPARE[situation](site, followed)
        _forget_access(site, followed)
        before = site.history(followed)
        died = site.work(followed, point, full=full)
        assert died == (0 if (situation, point) in NEVER_PASSED else -signal.SIGKILL), point
        done = point == "committed" or died == 0
        assert site.history(followed) == (expected if done else before), point
        site.wait_for_lease(followed)
        assert site.work(followed) == 0
        assert site.history(followed) == expected, point
        assert site.stored(followed) == site.listed(followed), point
    with site.db.single() as connection:
        assert proof.replay_differences(connection) == []
        assert proof.holes(connection) == []
