"""kill -9 in the middle of the work, of what one would rather not lose; afterwards nothing is missing or doubled."""

import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psutil
import pytest

CALENDARS = 60
LEASE_SECONDS = 5
SLOW_SECONDS = 0.4
CHANGES = Counter[tuple[str, str, str]]
"""Calendar, provider's event id, change: how often it is to stand in the history."""


@dataclass
class Site:
    """An installation that follows a crowd of calendars, and what its history has to say of them in the end."""

    here: Any
    followed: dict[str, str] = field(default_factory=dict)
    """Our id → the provider's."""
    expected: CHANGES = field(default_factory=CHANGES)
    rounds: int = 0

    def follow_crowd(self) -> None:
        """Sixty calendars of a few events and a series each, first synced."""
        for made in self.here.sandbox.create_calendars(CALENDARS, 6, series=1, prefix="crowd"):
            self.followed[self.here.follow(made)] = made.calendar_id
        self.here.until("the first syncs", lambda: self.synced() == CALENDARS)
        for calendar, provider_id in self.followed.items():
            [held] = self.here.rows("SELECT held_from, held_until FROM calendar WHERE id = %s", calendar)
            listed = self.here.sandbox.listing(provider_id, time_min=held.held_from, time_max=held.held_until)
            self.expected.update((calendar, item["id"], "created") for item in listed)

    def edit_and_ask(self) -> None:
        """In every calendar an event moves, one goes and one comes; then every calendar is asked to be synced."""
        sandbox = self.here.sandbox
        self.rounds += 1
        start = (sandbox.now() + timedelta(days=self.rounds)).isoformat()
        for calendar, provider_id in self.followed.items():
            number = provider_id.removeprefix("crowd").partition("@")[0]
            moved, gone = f"e{number}x5", f"e{number}x{self.rounds}"
            sandbox.move_event(provider_id, moved, by=timedelta(minutes=30))
            sandbox.cancel_event(provider_id, gone)
            come = sandbox.create_event(provider_id, start=start, title="come")["id"]
            self.expected.update(
                [(calendar, moved, "updated"), (calendar, gone, "deleted"), (calendar, come, "created")]
            )
        sandbox.add_fault("slow", endpoint="events.list", times=None, seconds=SLOW_SECONDS)
        for calendar in self.followed:
            self.here.api("PATCH", f"/calendars/{calendar}", {"metadata": {"round": str(self.rounds)}})

    def wait_for_the_middle(self) -> None:
        """Until a run holds calendars and has finished some of this round, not all."""
        self.here.until("the middle of a run", self._is_amid)

    def _is_amid(self) -> bool:
        [row] = self.here.rows("SELECT count(*) AS held FROM calendar WHERE lease_until > clock_timestamp()")
        done = self.synced()
        assert done < CALENDARS, "too late: all is done"
        return done >= 4 and row.held >= 4

    def synced(self) -> int:
        """How many of the crowd have been synced since that was last asked for."""
        [row] = self.here.rows(
            "SELECT count(*) AS n FROM calendar WHERE id = ANY(%s) AND synced_gen = requested_gen", list(self.followed)
        )
        return int(row.n)

    def catches_up(self) -> None:
        """Assert that in the end all is synced, equal to the provider, and in the history exactly once."""
        self.here.until("all calendars to be synced", lambda: self.synced() == CALENDARS)
        for calendar, provider_id in self.followed.items():
            self.here.equals_provider(calendar, provider_id)
        rows = self.here.rows(
            "SELECT calendar_id, provider_event_id, change FROM event_history WHERE calendar_id = ANY(%s)",
            list(self.followed),
        )
        assert Counter((row.calendar_id, row.provider_event_id, row.change) for row in rows) == self.expected
        self.here.history_is_whole()


@pytest.fixture(scope="module")
def site(new_installation: Callable[..., Any]) -> Site:
    installation = new_installation(SYNC_LEASE_SECONDS=str(LEASE_SECONDS), SYNC_THREADS="4", LIVE_STANDBY="0")
    installation.start()
    site = Site(installation)
    site.follow_crowd()
    return site


def killed(process: psutil.Process) -> None:
    """Kill it, and see it dead."""
    process.send_signal(signal.SIGKILL)
    gone, _ = psutil.wait_procs([process], timeout=20)
    assert gone or process.status() == psutil.STATUS_ZOMBIE


def test_a_killed_run_worker_costs_no_change(site: Site) -> None:
    """Its run is seen to have failed and is started again; calendars that it held are free when their lease is over."""
    site.edit_and_ask()
    site.wait_for_the_middle()
    [run] = site.here.rows(
        "SELECT run_id FROM runs WHERE status = 'STARTED' ORDER BY id DESC LIMIT 1", database="dagster"
    )
    for worker in site.here.part("multiprocessing.spawn", "spawn_main"):
        killed(worker)
    left = CALENDARS - site.synced()
    assert left > 0
    site.here.sandbox.clear_faults()
    site.here.until("the run to be seen as failed", lambda: site.here.run(run.run_id)["status"] == "FAILURE")
    site.catches_up()
    assert site.here.up.poll() is None


def test_a_killed_daemon_is_noticed_and_the_next_start_goes_on(site: Site) -> None:
    """`up` says which part died, stops the rest and ends with code 1."""
    site.edit_and_ask()
    site.wait_for_the_middle()
    site.here.processes()
    [daemon] = site.here.part("-m dagster._daemon run")
    killed(daemon)
    assert site.here.up.wait(60) == 1
    assert "up | daemon ended with code -9; stopping the rest" in site.here.output()
    site.here.leaves_nothing()

    site.here.start()
    assert site.synced() >= 4
    # While all was being stopped the worker may have met a provider that was gone, and left calendars for a minute.
    assert site.here.command("sync", "--all").returncode == 0
    site.catches_up()


def test_fault_28_a_killed_postgresql_comes_back_with_all_that_it_had_promised(site: Site) -> None:
    """`up` says that it is gone, stops the rest and ends with code 1; started again, it goes on where it was."""
    site.edit_and_ask()
    site.wait_for_the_middle()
    site.here.processes()
    killed(psutil.Process(site.here.postmaster))
    assert site.here.up.wait(60) == 1
    assert "up | PostgreSQL ended" in site.here.output()
    site.here.leaves_nothing()

    site.here.start()
    site.catches_up()
    ended = site.here.command("doctor")
    assert ended.returncode == 0, ended.stdout
    assert site.here.stop() == 0
    site.here.leaves_nothing()
