"""Whatever happens to a calendar: after a sync we hold exactly its window, and the history replays to it."""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from calendar_pipeline.db.connect import Database
from calendar_pipeline.history import proof
from calendar_pipeline.ingest import run
from calendar_pipeline.ingest.guard import Guard
from calendar_pipeline.ingest.outcome import Outcome
from calendar_pipeline.ingest.plan import AHEAD, PAST
from calendar_pipeline.ingest.read import Ingest
from sandbox.errors import Unusable
from sandbox.google.errors import GoogleError
from sandbox.replies import Credentials
from sandbox.server import Running, running

PICK = st.integers(0, 1000)
NOISE = ("etag", "updated")
CRASH_POINTS = ("granted", "read", "finished", "told", "deleted", "appended", "committed")
STEPS = int(os.environ.get("PROPERTY_STEPS", "30"))
EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "25"))

STORED = sa.text("""
    SELECT provider_event_id, title, starts_at, ends_at, start_date, end_date, raw, time_zone FROM calendar_event
    WHERE calendar_id = :calendar AND NOT is_deleted AND ends_at > :start AND starts_at < :end
""")


class _Crash(Exception):
    """Stands for the death of the process: nothing after it runs, open transactions are rolled back."""


class SyncMachine(RuleBasedStateMachine):
    """A person at a calendar, time, a provider with its moods, and a sync now and then."""

    def __init__(
        self,
        db: Database,
        clock: Any,
        ingest: Ingest,
        sandbox: Running,
        follow: Callable[[Iterable[Credentials]], list[str]],
    ) -> None:
        super().__init__()
        self.began = datetime(2026, 10, 20, 9, 0, tzinfo=UTC)  # clocks are changed within the window
        self.db, self.clock, self.sandbox, self.follow = db, clock, sandbox, follow
        # Refusals come minutes apart here, so no client is paused for a storm of them.
        self.ingest = replace(ingest, guard=Guard(monotonic=itertools.count(step=100).__next__))
        self.world = sandbox.world
        self.sandbox.clear_faults()

    @initialize(
        page=st.sampled_from([None, 1, 2, 3]),
        keeps=st.booleans(),
        tombstones=st.sampled_from(["random", "id", "full"]),
        series=st.sampled_from(["instances", "master", "both"]),
        old_ids=st.booleans(),
        empty_first=st.booleans(),
        zone=st.sampled_from(["Europe/Berlin", "America/Los_Angeles", "Pacific/Auckland", "UTC"]),
    )
    def start(
        self, page: int | None, keeps: bool, tombstones: str, series: str, old_ids: bool, empty_first: bool, zone: str
    ) -> None:
        self.clock.now = self.began
        self._tell_time()
        made = self.sandbox.create_calendar(zone=zone)
        self.provider_id = made.calendar_id
        self.world.set_switches(
            {
                "page_size": page,
                "token_keeps_window": keeps,
                "tombstones": tombstones,
                "deleted_series": series,
                "old_id_tombstones": old_ids,
                "empty_first_page": empty_first,
            },
            calendar_id=self.provider_id,
        )
        [self.calendar] = self.follow([made])

    def _tell_time(self) -> None:
        self.world.set_clock(self.clock.now, frozen=True)

    def _some_event(self, pick: int, *, instances: bool) -> str | None:
        """The `pick`-th event, series or instance, going round, that the provider shows in the months around now."""
        shown = self.world.listing(
            self.provider_id,
            time_min=self.clock.now - timedelta(days=40),
            time_max=self.clock.now + timedelta(days=80),
        )
        ids = dict.fromkeys(
            str(item["id"] if instances else item.get("recurringEventId", item["id"])) for item in shown
        )
        return list(ids)[pick % len(ids)] if ids else None

    def _edit(self, operation: Callable[..., object], *arguments: object, **more: object) -> None:
        """An edit that the provider refuses is no edit."""
        try:
            operation(self.provider_id, *arguments, **more)
        except (Unusable, GoogleError):
            return

    # -- a person at a calendar

    @rule(days=st.integers(-10, 60), hours=st.integers(0, 23), minutes=st.sampled_from([0, 1, 30, 600, 3000]))
    def create_timed(self, days: int, hours: int, minutes: int) -> None:
        at = (self.clock.now + timedelta(days=days)).replace(hour=hours, minute=15)
        self._edit(self.world.create_event, start=at.isoformat(), title=f"timed {days}", minutes=minutes)

    @rule(days=st.integers(-10, 60), length=st.integers(1, 4))
    def create_all_day(self, days: int, length: int) -> None:
        day = (self.clock.now + timedelta(days=days)).date()
        self._edit(
            self.world.create_event, start=day.isoformat(), end=(day + timedelta(days=length)).isoformat(), title="day"
        )

    @rule(
        days=st.integers(-40, 40),
        frequency=st.sampled_from(["DAILY", "WEEKLY", "WEEKLY;INTERVAL=2", "MONTHLY"]),
        count=st.sampled_from([None, 2, 10, 40]),
        all_day=st.booleans(),
    )
    def create_series(self, days: int, frequency: str, count: int | None, all_day: bool) -> None:
        at = (self.clock.now + timedelta(days=days)).replace(hour=14, minute=0, tzinfo=None)
        until = f";COUNT={count}" if count else ""
        self._edit(
            self.world.create_event,
            start=at.date().isoformat() if all_day else at.isoformat(),
            title=f"series {frequency}",
            recurrence=[f"RRULE:FREQ={frequency}{until}"],
        )

    @rule(pick=PICK, instances=st.booleans(), hours=st.sampled_from([-700, -48, -1, 1, 24, 72, 900]))
    def move(self, pick: int, instances: bool, hours: int) -> None:
        if event := self._some_event(pick, instances=instances):
            self._edit(self.world.move_event, event, by=timedelta(hours=hours))

    @rule(pick=PICK, instances=st.booleans(), title=st.sampled_from(["one", "two", "drei ü", "🎉"]))
    def retitle(self, pick: int, instances: bool, title: str) -> None:
        if event := self._some_event(pick, instances=instances):
            self._edit(self.world.retitle_event, event, title)

    @rule(pick=PICK, instances=st.booleans())
    def decline(self, pick: int, instances: bool) -> None:
        if event := self._some_event(pick, instances=instances):
            self._edit(self.world.respond, event, "declined")

    @rule(pick=PICK, instances=st.booleans(), link=st.sampled_from([None, "https://meet.google.com/abc-defg-hij"]))
    def link(self, pick: int, instances: bool, link: str | None) -> None:
        if event := self._some_event(pick, instances=instances):
            self._edit(self.world.set_link, event, link)

    @rule(pick=PICK, instances=st.booleans())
    def cancel(self, pick: int, instances: bool) -> None:
        if event := self._some_event(pick, instances=instances):
            self._edit(self.world.cancel_event, event)

    @rule(pick=PICK)
    def restore(self, pick: int) -> None:
        rows = [str(row["id"]) for row in self.world.events(self.provider_id) if row.get("status") == "cancelled"]
        if rows:
            self._edit(self.world.restore_event, rows[pick % len(rows)])

    @rule(pick=PICK)
    def split(self, pick: int) -> None:
        if event := self._some_event(pick, instances=True):
            self._edit(self.world.split_series, event, {"summary": "split off"})

    @rule(zone=st.sampled_from(["Europe/Berlin", "Asia/Tokyo", "America/Sao_Paulo"]))
    def change_zone(self, zone: str) -> None:
        self.world.set_zone(self.provider_id, zone)

    # -- time, and the provider's moods

    @rule(days=st.integers(1, 40))
    def days_pass(self, days: int) -> None:
        self.clock.pass_by(days=days)
        self._tell_time()

    @rule(minutes=st.integers(1, 90))
    def minutes_pass(self, minutes: int) -> None:
        self.clock.pass_by(minutes=minutes)
        self._tell_time()

    @rule(kind=st.sampled_from(["gone", "gone_without_reason", "bad_sync_token"]))
    def token_is_lost(self, kind: str) -> None:
        self.sandbox.add_fault(kind, calendar_id=self.provider_id)

    @rule()
    def cursor_is_lost(self) -> None:
        with self.db.begin() as connection:
            connection.execute(sa.text("UPDATE calendar SET sync_token = NULL WHERE id = :id"), {"id": self.calendar})

    @rule(kind=st.sampled_from(["server_error", "unavailable", "rate_limit", "truncated", "html_ok", "reset"]))
    def provider_fails(self, kind: str) -> None:
        self.sandbox.add_fault(kind, calendar_id=self.provider_id, times=2)  # a broken connection is tried once more
        [outcome] = self._sync()
        assert outcome.status == "retry"
        self.sandbox.clear_faults()

    @rule(point=st.sampled_from(CRASH_POINTS))
    def worker_dies(self, point: str) -> None:
        """The step where it dies may not be on the way; then the sync just ends."""

        def crash(reached: str) -> None:
            if reached == point:
                raise _Crash

        try:
            self._sync(replace(self.ingest, crash=crash))
        except _Crash:
            with self.db.begin() as connection:  # the lease of a dead worker runs out
                connection.execute(
                    sa.text("UPDATE calendar SET lease_until = 'epoch' WHERE id = :id"), {"id": self.calendar}
                )

    # -- us

    @rule(full=st.booleans())
    def sync(self, full: bool) -> None:
        [outcome] = self._sync(full=full)
        assert outcome.status == "synced", outcome
        assert outcome.drift == 0, "a listing found what the sync token had not told"
        assert self._stored() == self._listed()

    @precondition(lambda self: hasattr(self, "calendar"))
    @rule()
    def sync_again_changes_nothing(self) -> None:
        self._sync()
        [outcome] = self._sync()
        assert (outcome.status, outcome.changes) == ("synced", 0)

    def _sync(self, ingest: Ingest | None = None, *, full: bool = False) -> list[Outcome]:
        return list(run.sync_many(ingest or self.ingest, [self.calendar], threads=1, regardless=True, full=full))

    def teardown(self) -> None:
        if hasattr(self, "calendar"):
            self.sandbox.clear_faults()
            self.sync(full=False)
            with self.db.single() as connection:
                assert proof.replay_differences(connection) == []
                assert proof.holes(connection) == []

    # -- the two sides, without any code in common

    def _stored(self) -> dict[str, Any]:
        bounds = {"start": self.clock.now - PAST, "end": self.clock.now + AHEAD}
        with self.db.single() as connection:
            rows = connection.execute(STORED, {"calendar": self.calendar, **bounds}).all()
        return {
            row.provider_event_id: (row.title, row.starts_at, row.ends_at, row.start_date, row.end_date, _calm(row.raw))
            for row in rows
        }

    def _listed(self) -> dict[str, Any]:
        now = self.clock.now
        zone = ZoneInfo(self.world.calendar(self.provider_id).zone)
        listed = self.world.listing(self.provider_id, time_min=now - PAST, time_max=now + AHEAD)
        return {
            str(item["id"]): (
                item.get("summary"),
                _instant(item["start"], zone),
                _instant(item["end"], zone),
                _day(item["start"]),
                _day(item["end"]),
                _calm(item),
            )
            for item in listed
        }


def _calm(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in NOISE}


def _day(moment: Mapping[str, str]) -> date | None:
    return date.fromisoformat(moment["date"]) if "date" in moment else None


def _instant(moment: Mapping[str, str], zone: ZoneInfo) -> datetime:
    if day := _day(moment):
        return datetime.combine(day, time(), zone).astimezone(UTC)
    return datetime.fromisoformat(moment["dateTime"]).astimezone(UTC)


def test_stored_window_equals_the_providers_whatever_happens(
    db: Database,
    clock: Any,
    ingest: Callable[[Running], Ingest],
    follow: Callable[[Iterable[Credentials]], list[str]],
) -> None:
    """`make soak` runs many more steps (PROPERTY_EXAMPLES, PROPERTY_STEPS)."""
    with running() as sandbox:
        wired = ingest(sandbox)
        run_state_machine_as_test(
            lambda: SyncMachine(db, clock, wired, sandbox, follow),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                print_blob=True,
                report_multiple_bugs=False,
            ),
        )
