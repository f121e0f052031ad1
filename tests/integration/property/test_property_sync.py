"""Whatever happens to a calendar: after a sync we hold exactly its window, and the history replays to it."""

import itertools
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from calendar_pipeline.db.connect import Database
from calendar_pipeline.errors import TryLater
from calendar_pipeline.event import Platform
from calendar_pipeline.history import proof
from calendar_pipeline.ingest import run
from calendar_pipeline.ingest.guard import Guard
from calendar_pipeline.ingest.outcome import Outcome
from calendar_pipeline.ingest.plan import AHEAD, PAST
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.providers.transport import Answer, Transport
from sandbox.errors import Unusable
from sandbox.google.errors import GoogleError
from sandbox.replies import Credentials
from sandbox.server import Running, running

PICK = st.integers(0, 1000)
CRASH_POINTS = ("granted", "read", "finished", "told", "deleted", "appended", "committed")
STEPS = int(os.environ.get("PROPERTY_STEPS", "30"))
EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "20"))
LEAST = int(os.environ.get("PROPERTY_LEAST", "100"))
"""Random steps that must have been made in the end, for each provider."""
PHASES = [Phase.generate, *([] if os.environ.get("PROPERTY_SHRINK") == "0" else [Phase.reuse, Phase.shrink])]
FAILURES = ("server_error", "truncated", "html_ok", "reset")
NOISE = {
    "google": ("etag", "updated"),
    "microsoft": ("@odata.etag", "@odata.context", "@odata.type", "changeKey", "lastModifiedDateTime"),
}

STORED = sa.text("""
    SELECT provider_event_id, title, starts_at, ends_at, start_date, end_date, raw FROM calendar_event
    WHERE calendar_id = :calendar AND NOT is_deleted AND ends_at > :start AND starts_at < :end
""")


class _Crash(Exception):
    """Stands for the death of the process: nothing after it runs, open transactions are rolled back."""


class Weather(Transport):
    """The real transport in bad weather: the n-th answer is lost, listings come shuffled and with items twice."""

    def __init__(self) -> None:
        super().__init__(timeout=5)
        self.calm()

    def calm(self) -> None:
        """Every answer arrives as it was sent."""
        self.lose = 0
        self.shuffle: random.Random | None = None

    def request(self, method: str, url: str, **more: Any) -> Answer:
        answer = super().request(method, url, **more)
        self.lose -= 1
        if self.lose == 0:
            raise TryLater("timeout")
        if self.shuffle is None or answer.status != 200 or method != "GET":
            return answer
        page = json.loads(answer.body)
        for key in ("items", "value"):
            items = page.get(key)
            if items and "/delta" not in url:  # there the order of an id's entries has a meaning
                page[key] = items = [*items, *self.shuffle.choices(items, k=2)]
                self.shuffle.shuffle(items)
        return replace(answer, body=json.dumps(page).encode())


class SyncMachine(RuleBasedStateMachine):
    """A person at a calendar, time, a provider with its moods, and a sync now and then."""

    platform: Platform
    series_key: str
    title_key: str
    token_losses: tuple[str, ...]
    refusals: tuple[str, ...]
    steps: Counter[str]
    """What was done, in all examples of a machine together."""

    def __init__(
        self,
        db: Database,
        clock: Any,
        ingest: Ingest,
        weather: Weather,
        sandbox: Running,
        follow: Callable[[Iterable[Credentials]], list[str]],
    ) -> None:
        super().__init__()
        self.began = datetime(2026, 10, 20, 9, 0, tzinfo=UTC)  # clocks are changed within the window
        self.db, self.clock, self.weather, self.sandbox, self.follow = db, clock, weather, sandbox, follow
        # Refusals come minutes apart here, so no client is paused for a storm of them.
        self.ingest = replace(ingest, guard=Guard(monotonic=itertools.count(step=100).__next__))
        self.world = sandbox.world
        self.sandbox.clear_faults()
        self.weather.calm()
        self.steps["examples"] += 1

    @invariant()
    def count(self) -> None:
        self.steps["steps"] += 1

    def begin(self, zone: str, switches: Mapping[str, object]) -> None:
        """A new calendar, followed."""
        self.clock.now = self.began
        self._tell_time()
        made = self.sandbox.create_calendar(zone=zone, provider=self.platform)
        self.provider_id = made.calendar_id
        self.world.set_switches(dict(switches), calendar_id=self.provider_id)
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
        ids = dict.fromkeys(str(item["id"] if instances else item.get(self.series_key) or item["id"]) for item in shown)
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

    @rule(zone_hours=st.integers(0, 4), recurs=st.booleans())
    def create_on_the_day_the_clocks_change(self, zone_hours: int, recurs: bool) -> None:
        """Europe: 25 October 2026; America: 1 November."""
        for day in ("2026-10-25", "2026-11-01"):
            self._edit(
                self.world.create_event,
                start=f"{day}T0{zone_hours}:30:00",
                title="dst",
                minutes=90,
                recurrence=["RRULE:FREQ=DAILY;COUNT=3"] if recurs else None,
            )

    @rule(days=st.integers(-10, 60), length=st.integers(1, 4))
    def create_all_day(self, days: int, length: int) -> None:
        day = (self.clock.now + timedelta(days=days)).date()
        self._edit(
            self.world.create_event, start=day.isoformat(), end=(day + timedelta(days=length)).isoformat(), title="day"
        )

    @rule(days=st.integers(-10, 60))
    def be_invited(self, days: int) -> None:
        at = (self.clock.now + timedelta(days=days)).replace(hour=10, minute=0)
        self._edit(
            self.world.create_event, start=at.isoformat(), title="invited", organizer="boss@example.com", attendees=[]
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

    @rule(pick=PICK, frequency=st.sampled_from(["DAILY;COUNT=4", "WEEKLY"]))
    def make_it_repeat(self, pick: int, frequency: str) -> None:
        """A single event becomes a series, a series gets another rule."""
        if event := self._some_event(pick, instances=False):
            self._edit(self.world.patch_event, event, {"recurrence": [f"RRULE:FREQ={frequency}"]})

    @rule(pick=PICK, instances=st.booleans(), hours=st.sampled_from([-700, -48, -1, 1, 24, 72, 900]))
    def move(self, pick: int, instances: bool, hours: int) -> None:
        if event := self._some_event(pick, instances=instances):
            self._edit(self.world.move_event, event, by=timedelta(hours=hours))

    @rule(pick=PICK, instances=st.booleans(), title=st.sampled_from(["one", "two", "drei ü", "🎉"]))
    def retitle(self, pick: int, instances: bool, title: str) -> None:
        if event := self._some_event(pick, instances=instances):
            self._edit(self.world.retitle_event, event, title)

    @rule(pick=PICK, instances=st.booleans(), answer=st.sampled_from(["declined", "declined", "accepted", "tentative"]))
    def respond(self, pick: int, instances: bool, answer: str) -> None:
        if event := self._some_event(pick, instances=instances):
            self._edit(self.world.respond, event, answer)

    @rule(pick=PICK, instances=st.booleans(), link=st.sampled_from([None, "https://meet.google.com/abc-defg-hij"]))
    def link(self, pick: int, instances: bool, link: str | None) -> None:
        if event := self._some_event(pick, instances=instances):
            self._edit(self.world.set_link, event, link)

    @rule(pick=PICK, instances=st.booleans())
    def cancel(self, pick: int, instances: bool) -> None:
        if event := self._some_event(pick, instances=instances):
            self._edit(self.world.cancel_event, event)

    @rule(pick=PICK, instances=st.booleans())
    def delete(self, pick: int, instances: bool) -> None:
        if event := self._some_event(pick, instances=instances):
            self._edit(self.world.delete_event, event)

    @rule(pick=PICK)
    def restore(self, pick: int) -> None:
        rows = [
            str(row["id"])
            for row in self.world.events(self.provider_id)
            if row.get("status") == "cancelled" or "@removed" in row or row.get("isCancelled")
        ]
        if rows:
            self._edit(self.world.restore_event, rows[pick % len(rows)])

    @rule(pick=PICK)
    def split(self, pick: int) -> None:
        if event := self._some_event(pick, instances=True):
            self._edit(self.world.split_series, event, {self.title_key: "split off"})

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

    @rule(pick=PICK)
    def token_is_lost(self, pick: int) -> None:
        kinds = self.token_losses
        self.sandbox.clear_faults()  # two would strike a round and the one that takes its place
        self.sandbox.add_fault(kinds[pick % len(kinds)], calendar_id=self.provider_id)

    @rule()
    def cursor_is_lost(self) -> None:
        with self.db.begin() as connection:
            connection.execute(sa.text("UPDATE calendar SET sync_token = NULL WHERE id = :id"), {"id": self.calendar})

    @rule()
    def access_token_dies(self) -> None:
        self.world.state.access.clear()

    @rule(pick=PICK)
    def provider_fails(self, pick: int) -> None:
        kinds = (*FAILURES, *self.refusals)
        # A broken connection is tried once more.
        self.sandbox.add_fault(kinds[pick % len(kinds)], calendar_id=self.provider_id, times=2)
        [outcome] = self._sync()
        assert outcome.status == "retry"
        self.sandbox.clear_faults()

    @rule(number=st.integers(1, 6))
    def an_answer_is_lost(self, number: int) -> None:
        """Of the pages of a round or listing it may be any; if fewer are asked for, it is none."""
        self.weather.lose = number
        [outcome] = self._sync()
        assert outcome.status == ("retry" if self.weather.lose <= 0 else "synced")
        self.weather.calm()

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

    @rule(full=st.booleans(), seed=st.none() | st.integers(0, 9))
    def sync(self, full: bool, seed: int | None) -> None:
        self.weather.shuffle = None if seed is None else random.Random(seed)
        [outcome] = self._sync(full=full)
        self.weather.calm()
        assert outcome.status == "synced", outcome

    @rule()
    def sync_again_changes_nothing(self) -> None:
        self._sync()
        self._sync()  # a provider may tell once more what it told
        [outcome] = self._sync()
        assert (outcome.status, outcome.changes) == ("synced", 0)

    def _sync(self, ingest: Ingest | None = None, *, full: bool = False) -> list[Outcome]:
        outcomes = list(run.sync_many(ingest or self.ingest, [self.calendar], threads=1, regardless=True, full=full))
        for outcome in outcomes:
            if outcome.status == "synced":
                self.steps[f"synced: {outcome.why}"] += 1
                assert outcome.drift == 0, "a listing found what the cursor had not told"
                assert self._stored() == self._listed()
        return outcomes

    def teardown(self) -> None:
        if hasattr(self, "calendar"):
            self.sandbox.clear_faults()
            self.sync(full=False, seed=None)
            with self.db.single() as connection:
                assert proof.replay_differences(connection) == []
                assert proof.holes(connection) == []

    # -- the two sides, without any code in common

    def _stored(self) -> dict[str, Any]:
        bounds = {"start": self.clock.now - PAST, "end": self.clock.now + AHEAD}
        with self.db.single() as connection:
            rows = connection.execute(STORED, {"calendar": self.calendar, **bounds}).all()
        return {
            row.provider_event_id: (
                row.title,
                row.starts_at,
                row.ends_at,
                row.start_date,
                row.end_date,
                self._calm(row.raw),
            )
            for row in rows
        }

    def _listed(self) -> dict[str, Any]:
        raise NotImplementedError

    def _calm(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in raw.items() if key not in NOISE[self.platform]}


class GoogleMachine(SyncMachine):
    """Google's moods and words."""

    platform = "google"
    steps = Counter()
    series_key, title_key = "recurringEventId", "summary"
    token_losses = ("gone", "gone_without_reason", "bad_sync_token")
    refusals = ("unavailable", "rate_limit")

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
        self.begin(
            zone,
            {
                "page_size": page,
                "token_keeps_window": keeps,
                "tombstones": tombstones,
                "deleted_series": series,
                "old_id_tombstones": old_ids,
                "empty_first_page": empty_first,
            },
        )

    def _listed(self) -> dict[str, Any]:
        now = self.clock.now
        zone = ZoneInfo(self.world.calendar(self.provider_id).zone)
        listed = self.world.listing(self.provider_id, time_min=now - PAST, time_max=now + AHEAD)
        return {
            str(item["id"]): (
                item.get("summary"),
                _google_instant(item["start"], zone),
                _google_instant(item["end"], zone),
                _google_day(item["start"]),
                _google_day(item["end"]),
                self._calm(item),
            )
            for item in listed
        }


class MicrosoftMachine(SyncMachine):
    """Microsoft's moods and words."""

    platform = "microsoft"
    steps = Counter()
    series_key, title_key = "seriesMasterId", "subject"
    token_losses = (
        "sync_state_not_found",
        "sync_state_not_found_404",
        "sync_state_invalid",
        "resync_required",
        "delta_bad_request",
    )
    refusals = ("service_unavailable", "too_many_requests", "mailbox_info_stale")

    @initialize(
        page=st.sampled_from([None, 1, 2, 3]),
        delta_page=st.sampled_from([None, 1, 3]),
        noise=st.booleans(),
        reason=st.sampled_from(["deleted", "changed"]),
        status=st.sampled_from([400, 404, 410]),
        empty_first=st.booleans(),
        declined=st.booleans(),
        late=st.booleans(),
        zone=st.sampled_from(["Europe/Berlin", "America/Los_Angeles", "Pacific/Auckland", "UTC"]),
    )
    def start(
        self,
        page: int | None,
        delta_page: int | None,
        noise: bool,
        reason: str,
        status: int,
        empty_first: bool,
        declined: bool,
        late: bool,
        zone: str,
    ) -> None:
        event(f"delta noise: {noise}")
        # A grant dies after ninety idle days, and here a hundred may pass between two syncs.
        self.world.set_switches({"refresh_token_days": 3650.0}, provider="microsoft")
        self.begin(
            zone,
            {
                "page_size": delta_page if page is None else page,
                "empty_first_page": empty_first,
                "duplicates": noise,
                "replay": noise,
                "removed_reason": reason,
                "expired_status": status,
                "gone_location": noise,
                "delta_token_max_age_s": 20 * 86_400 if noise else None,
                "preserve_declined": declined,
                "online_meeting_late": late,
            },
        )

    def _listed(self) -> dict[str, Any]:
        now = self.clock.now
        # All-day events are shown as plain midnights; which of them overlap is decided by their own zone.
        listed = self.world.listing(
            self.provider_id, time_min=now - PAST - timedelta(days=2), time_max=now + AHEAD + timedelta(days=2)
        )
        # A meeting that its organizer called off still stands in the guest's calendar; to us it is gone.
        read = {str(item["id"]): self._read(item) for item in listed if not item["isCancelled"]}
        return {key: row for key, row in read.items() if row[2] > now - PAST and row[1] < now + AHEAD}

    def _read(self, item: Mapping[str, Any]) -> tuple[Any, ...]:
        zone = ZoneInfo("UTC")
        days: tuple[date | None, date | None] = (None, None)
        if item["isAllDay"]:
            name = item["originalStartTimeZone"]
            zone = ZoneInfo(WINDOWS_TO_OLSON.get(name, name))
            days = _microsoft_day(item["start"]), _microsoft_day(item["end"])
        return (
            item["subject"],
            _microsoft_instant(item["start"], zone),
            _microsoft_instant(item["end"], zone),
            *days,
            self._calm(item),
        )

    def _calm(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        kept = super()._calm(raw)
        return {key: value for key, value in kept.items() if key not in NOT_SELECTED}


NOT_SELECTED = frozenset(
    {
        "allowNewTimeProposals",
        "bodyPreview",
        "categories",
        "createdDateTime",
        "hasAttachments",
        "hideAttendees",
        "importance",
        "isReminderOn",
        "locations",
        "originalEndTimeZone",
        "recurrence",
        "reminderMinutesBeforeStart",
        "responseRequested",
        "transactionId",
    }
)
"""What a listing shows and we do not ask for."""


def _google_day(moment: Mapping[str, str]) -> date | None:
    return date.fromisoformat(moment["date"]) if "date" in moment else None


def _google_instant(moment: Mapping[str, str], zone: ZoneInfo) -> datetime:
    if day := _google_day(moment):
        return datetime.combine(day, time(), zone).astimezone(UTC)
    return datetime.fromisoformat(moment["dateTime"]).astimezone(UTC)


def _microsoft_day(moment: Mapping[str, str]) -> date:
    return date.fromisoformat(moment["dateTime"][:10])


def _microsoft_instant(moment: Mapping[str, str], zone: ZoneInfo) -> datetime:
    assert moment["timeZone"] == "UTC"
    return datetime.fromisoformat(moment["dateTime"][:19]).replace(tzinfo=zone).astimezone(UTC)


@pytest.mark.parametrize("machine", [GoogleMachine, MicrosoftMachine], ids=["google", "microsoft"])
def test_stored_window_equals_the_providers_whatever_happens(
    machine: type[SyncMachine],
    db: Database,
    clock: Any,
    ingest: Callable[[Running], Ingest],
    wire: Callable[..., Any],
    follow: Callable[[Iterable[Credentials]], list[str]],
) -> None:
    """`make soak` runs many more steps (PROPERTY_EXAMPLES, PROPERTY_STEPS)."""
    weather = Weather()
    with running() as sandbox:
        wired = replace(ingest(sandbox), providers=wire(sandbox, weather, clock))
        run_state_machine_as_test(
            lambda: machine(db, clock, wired, weather, sandbox, follow),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                phases=PHASES,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                print_blob=True,
                report_multiple_bugs=False,
            ),
        )
    weather.close()
    print(f"{machine.platform}: {dict(machine.steps)}")
    assert machine.steps["steps"] >= LEAST
