"""Whole half-hour cycles under Dagster: every calendar due at once, the schedule's own runs, a real daemon and queue.

``python -m bench.cycle --calendars 1000 --events 40``. Half of the calendars are Google's, half Microsoft's; no
provider can reach us, so that nothing but the cycle finds what changed. A webhook tells the sandbox of every change.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from bench.sync import touch_one
from bench.system import System, running, wait
from calendar_pipeline import wiring
from calendar_pipeline.event import Platform
from sandbox.replies import Credentials

out = Console(width=160)

SELECTOR = {
    "repositoryName": "__repository__",
    "repositoryLocationName": "calendar_pipeline",
    "scheduleName": "sync_schedule",
}
DRY_RUN = """
mutation Tick($selector: ScheduleSelector!, $at: Float) {
  scheduleDryRun(selectorData: $selector, timestamp: $at) {
    ... on DryRunInstigationTick { evaluationResult { runRequests { runKey tags { key value } } } }
  }
}"""
LAUNCH = """
mutation Launch($runs: [ExecutionParams!]!) {
  launchMultipleRuns(executionParamsList: $runs) {
    __typename
    ... on LaunchMultipleRunsResult { launchMultipleRunsResult { __typename } }
  }
}"""
RUNS = """
{ runsOrError(filter: {pipelineName: "sync"}, limit: 1000) {
    ... on Runs { results { status startTime endTime } } } }"""
TICKS = """
query Ticks($selector: ScheduleSelector!) {
  scheduleOrError(scheduleSelector: $selector) {
    ... on Schedule { scheduleState { ticks(limit: 5) { status timestamp endTimestamp runIds } } } } }"""
COUNTS = """
{ assetNodeOrError(assetKey: {path: ["event_history"]}) {
    ... on AssetNode { partitionStats { numMaterialized numFailed numPartitions numMaterializing } } } }"""
PAGE = """
{ assetNodeOrError(assetKey: {path: ["event_history"]}) {
    ... on AssetNode {
      partitionKeysByDimension { name partitionKeys }
      assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions failedPartitions } } } } }"""
"""What the UI's partition page asks for."""

NUMBERS = {
    "synced": "SELECT count(*) FROM sync_run",
    "history rows": "SELECT count(*) FROM event_history",
    "requests": "SELECT COALESCE(sum(requests), 0) FROM sync_run",
    "database KB": "SELECT pg_database_size(current_database()) / 1024",
}
DAGSTERS_NUMBERS = {
    "event-log rows": "SELECT count(*) FROM event_logs",
    "Dagster KB": "SELECT pg_database_size(current_database()) / 1024",
}
COLUMNS = ("runs", *NUMBERS, *DAGSTERS_NUMBERS, "wall s", "tick s", "CPU ms each", "and PostgreSQL ms")


@dataclass(slots=True)
class Bench:
    """A fleet in a running system, and the table of what its cycles cost."""

    system: System
    fleet: Sequence[Credentials]
    table: Table
    begun: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """A line of progress."""
        out.print(f"{time.monotonic() - self.begun:6.1f} s  {text}")

    def cycle(self, name: str, begin: Callable[[], float]) -> None:
        """Do `begin`, which says how long the tick took; wait until all were read and no run is left; add a row."""
        self.say(name)
        before, cpu, runs = self._numbers(), self.system.cpu(), len(self._runs())
        begun = time.time()
        ticked = begin()
        wait(lambda: self._unread(since=begun) == 0, 900)
        wait(lambda: all(run["status"] in ("SUCCESS", "FAILURE") for run in self._runs()), 300)
        wall = time.time() - begun
        after, spent = self._numbers(), self.system.cpu()
        each = [f"{(now - then) * 1000 / len(self.fleet):.1f}" for now, then in zip(spent, cpu, strict=True)]
        grown = [str(after[what] - before[what]) for what in before]
        self.table.add_row(name, str(len(self._runs()) - runs), *grown, f"{wall:.1f}", f"{ticked:.1f}", *each)
        self.say(f"{name}: {wall:.1f} s, {len(self._runs()) - runs} runs")

    def _unread(self, *, since: float) -> int:
        """Calendars that this cycle has not read yet. Turns are spread, so something is due again at any time."""
        return self.system.number(
            "SELECT count(*) FROM calendar WHERE last_successful_sync_at IS NULL "
            f"OR last_successful_sync_at < to_timestamp({since})"
        )

    def _numbers(self) -> dict[str, int]:
        return {name: self.system.number(statement) for name, statement in NUMBERS.items()} | {
            name: self.system.dagsters_number(statement) for name, statement in DAGSTERS_NUMBERS.items()
        }

    def _runs(self) -> list[dict[str, Any]]:
        return self.system.ask(RUNS)["runsOrError"]["results"]

    # -- what begins a cycle

    def post_all(self) -> float:
        """Follow all over the API, four requests at a time; the syncs begin meanwhile."""
        with ThreadPoolExecutor(4) as pool:
            for count, _ in enumerate(pool.map(self._follow, self.fleet), start=1):
                if count % 1000 == 0:
                    self.say(f"{count} followed")
        return 0.0

    def _follow(self, one: Credentials) -> None:
        body = {"client_id": one.client_id, "client_secret": one.client_secret, "refresh_token": one.refresh_token}
        self.system.call("/calendars", {**body, "platform": one.provider})

    def change(self, count: int) -> None:
        """Retitle an event in each of `count` calendars, of both providers' and spread over all runs."""
        step = len(self.fleet) // (count // 2) // 2 * 2
        for one in (one for start in range(0, len(self.fleet), step) for one in self.fleet[start : start + 2]):
            touch_one(self.system.sandbox, one)

    def tick(self) -> float:
        """Make all due, evaluate the schedule, and launch what it asks for, through the UI's own API."""
        self.make_all_due()
        started = time.monotonic()
        tick = self.system.ask(DRY_RUN, selector=SELECTOR, at=wiring.utc_now().timestamp())["scheduleDryRun"]
        launch = {key: SELECTOR[key] for key in ("repositoryName", "repositoryLocationName")}
        runs = [
            {
                "selector": {**launch, "pipelineName": "sync"},
                "mode": "default",
                "executionMetadata": {"tags": [{"key": tag["key"], "value": tag["value"]} for tag in request["tags"]]},
            }
            for request in tick["evaluationResult"]["runRequests"]
        ]
        answer = self.system.ask(LAUNCH, runs=runs)["launchMultipleRuns"]
        results = [result["__typename"] for result in answer["launchMultipleRunsResult"]]
        if set(results) != {"LaunchRunSuccess"}:
            raise RuntimeError(results)
        return time.monotonic() - started

    def make_all_due(self) -> None:
        """All calendars' turn, now."""
        with self.system.db.begin() as connection:
            connection.execute(sa.text("UPDATE calendar SET next_sync_at = 'epoch'"))

    def ticks(self) -> list[dict[str, Any]]:
        """The schedule's own ticks of late, the newest first."""
        return self.system.ask(TICKS, selector=SELECTOR)["scheduleOrError"]["scheduleState"]["ticks"]

    def own_tick(self) -> float:
        """Wait for the daemon's own tick of this moment to be over."""
        since = time.time() - EARLY

        def over() -> list[dict[str, Any]]:
            return [
                tick for tick in self.ticks() if tick["timestamp"] > since and tick["runIds"] and tick["endTimestamp"]
            ]

        wait(lambda: bool(over()), 120)
        return over()[0]["endTimestamp"] - over()[0]["timestamp"]


EVERY = 300
"""Seconds between the schedule's ticks."""
EARLY = 2
"""So long before a tick of its own a cycle is begun."""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calendars", type=int, default=1000)
    parser.add_argument("--events", type=int, default=40)
    parser.add_argument("--own-tick", action="store_true", help="one cycle more, begun by the daemon's own tick")
    given = parser.parse_args()
    changed = max(2, given.calendars // 50)
    table = Table(title=f"{given.calendars} calendars of {given.events} events under Dagster")
    for name in ("what", *COLUMNS):
        table.add_column(name, justify="left" if name == "what" else "right")
    # One project follows them all, faster than any application would.
    with running(push=False, environment={"PROJECT_POSTS_PER_MINUTE": "1000000"}) as system:
        bench = Bench(system, _fleet(system, given.calendars, given.events), table)
        bench.cycle("POST all, first syncs", bench.post_all)
        hook = {"url": f"{system.sandbox.url}/_sandbox/webhooks/bench", "triggers": ["calendar.events_update"]}
        system.call("/webhooks", hook)
        bench.cycle("no change", bench.tick)
        bench.change(changed)
        bench.cycle("2 % changed", bench.tick)
        if given.own_tick:
            bench.change(changed)
            bench.make_all_due()
            bench.say("waiting for the schedule's own tick")
            time.sleep(EVERY - (time.time() + EARLY) % EVERY)
            bench.cycle("2 % changed, the daemon's own tick", bench.own_tick)
        stats = system.ask(COUNTS)["assetNodeOrError"]["partitionStats"]
        page = [_seconds(system, PAGE) for _ in range(3)]
        counts = [_seconds(system, COUNTS) for _ in range(3)]
        failed = system.dagsters_number("SELECT count(*) FROM job_ticks WHERE status = 'FAILURE'")
        told = system.number("SELECT count(*) FROM webhook_delivery WHERE status = 'delivered'")
    out.print(table)
    out.print(
        f"partitions in the UI: {stats}; its page {max(page):.2f} s, their counts {max(counts):.2f} s (most of 3)"
    )
    out.print(f"ticks of all sensors and schedules that failed or timed out: {failed}; webhooks delivered: {told}")


def _seconds(system: System, query: str) -> float:
    started = time.perf_counter()
    system.ask(query)
    return time.perf_counter() - started


def _fleet(system: System, calendars: int, events: int) -> list[Credentials]:
    """So many calendars at the sandbox, Google's and Microsoft's by turns."""
    platforms: tuple[Platform, ...] = ("google", "microsoft")
    each: list[list[Credentials]] = []
    for platform in platforms:
        made: list[Credentials] = []
        while len(made) < calendars // 2:
            count = min(1000, calendars // 2 - len(made))
            made += system.sandbox.create_calendars(
                count, events, provider=platform, prefix=f"{platform}-bench", first=len(made)
            )
        each.append(made)
    return [one for pair in zip(*each, strict=True) for one in pair]


if __name__ == "__main__":
    main()
