"""Half-hour cycles under Dagster: the schedule's own runs, queued and launched by a real daemon.

``python -m bench.cycle --calendars 1000 --events 40``. Starts `up` in a state directory of its own on free ports.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from bench.sync import touch_one
from calendar_pipeline import wiring
from calendar_pipeline.db.connect import Database
from sandbox.client import Client
from sandbox.replies import Credentials

out = Console(width=120)

SELECTOR = {"repositoryName": "__repository__", "repositoryLocationName": "calendar_pipeline"}
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
RUNS = "{ runsOrError(limit: 500) { ... on Runs { results { status startTime endTime } } } }"
PARTITIONS = """
{ assetNodeOrError(assetKey: {path: ["event_history"]}) {
    ... on AssetNode { partitionStats { numMaterialized numFailed numPartitions numMaterializing } } } }"""


@dataclass(frozen=True, slots=True)
class System:
    """Everything running, as `up` starts it."""

    state: Path
    api: str
    dagster: str
    sandbox: Client
    db: Database
    dagster_db: Database
    key: str

    def ask(self, query: str, **variables: object) -> Any:
        """One GraphQL request to the Dagster UI's own endpoint."""
        answer = _post(f"{self.dagster}/graphql", {"query": query, "variables": variables}, {})
        if "errors" in answer:
            raise RuntimeError(answer["errors"])
        return answer["data"]

    def number(self, statement: str) -> int:
        """One number from the product's database."""
        with self.db.single() as connection:
            return int(connection.execute(sa.text(statement)).scalar_one())

    def events(self) -> int:
        """Rows of Dagster's event log."""
        with self.dagster_db.single() as connection:
            return int(connection.execute(sa.text("SELECT count(*) FROM event_logs")).scalar_one())


@contextmanager
def running() -> Generator[System]:
    """`up` in a temporary state directory; stopped in the end."""
    with tempfile.TemporaryDirectory(prefix="cp-cycle-") as directory:
        state = Path(directory)
        state.chmod(0o755)
        api, dagster, box = _free_ports(3)
        command = [sys.executable, "-m", "calendar_pipeline.cli", "up", "--api-port", str(api)]
        command += ["--dagster-port", str(dagster), "--sandbox-port", str(box)]
        log = state / "up.log"
        with log.open("w") as sink:
            process = subprocess.Popen(
                command, env={**os.environ, "STATE_DIR": directory}, stdout=sink, stderr=subprocess.STDOUT
            )
        try:
            wait(lambda: "ready:" in log.read_text(), 180)
            url = f"postgresql://postgres@/calendar_pipeline?host={state / 'postgres'}"
            with (
                Client(f"http://127.0.0.1:{box}") as client,
                Database(url, connections=2) as db,
                Database(url.replace("/calendar_pipeline?", "/dagster?"), connections=1) as dagster_db,
            ):
                key = (state / "demo-key").read_text().strip()
                yield System(
                    state, f"http://127.0.0.1:{api}", f"http://127.0.0.1:{dagster}", client, db, dagster_db, key
                )
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calendars", type=int, default=1000)
    parser.add_argument("--events", type=int, default=40)
    given = parser.parse_args()
    table = Table(title=f"{given.calendars} calendars of {given.events} events under Dagster")
    for name in ("what", "runs", "synced", "wall s", "busy s", "history rows", "requests", "event-log rows"):
        table.add_column(name, justify="left" if name == "what" else "right")
    with running() as system:
        made = system.sandbox.create_calendars(given.calendars, given.events)

        def post_all() -> None:
            for one in made:
                _follow(system, one)

        cycle(table, system, "POST all, first syncs", post_all)
        for name, changed in (("tick, no change", 0), ("tick, 1 % changed", max(1, given.calendars // 100))):
            for one in made[:changed]:
                touch_one(system.sandbox, one)
            with system.db.begin() as connection:
                connection.execute(sa.text("UPDATE calendar SET next_sync_at = 'epoch'"))
            cycle(table, system, name, lambda: _tick(system))
        stats = system.ask(PARTITIONS)["assetNodeOrError"]["partitionStats"]
        started = time.perf_counter()
        system.ask(PARTITIONS)
        page = time.perf_counter() - started
    out.print(table)
    out.print(f"partitions in the UI: {stats}; counting them took {page:.2f} s")


def cycle(table: Table, system: System, name: str, begin: Callable[[], None]) -> None:
    """Do `begin` and wait until nothing is due and no run is left; add a row of what it took."""
    counts = (
        "SELECT count(*) FROM sync_run",
        "SELECT count(*) FROM event_history",
        "SELECT sum(requests) FROM sync_run",
    )
    before = [system.number(statement) for statement in counts]
    events, runs, begun = system.events(), len(_runs(system)), time.time()
    begin()
    due = "SELECT count(*) FROM calendar WHERE next_sync_at < clock_timestamp()"
    wait(lambda: system.number(due) == 0, 900)
    wait(lambda: all(run["status"] in ("SUCCESS", "FAILURE") for run in _runs(system)), 300)
    wall = time.time() - begun
    new = _runs(system)[: len(_runs(system)) - runs]
    busy = sum(run["endTime"] - run["startTime"] for run in new)
    synced, rows, requests = (
        system.number(statement) - former for statement, former in zip(counts, before, strict=True)
    )
    figures = (len(new), synced, f"{wall:.1f}", f"{busy:.1f}", rows, requests, system.events() - events)
    table.add_row(name, *map(str, figures))


def _tick(system: System) -> None:
    """Evaluate the schedule and launch what it asks for, through the UI's own API."""
    schedule = {**SELECTOR, "scheduleName": "sync_schedule"}
    tick = system.ask(DRY_RUN, selector=schedule, at=wiring.utc_now().timestamp())["scheduleDryRun"]
    runs = [
        {
            "selector": {**SELECTOR, "pipelineName": "sync"},
            "mode": "default",
            "executionMetadata": {"tags": [{"key": tag["key"], "value": tag["value"]} for tag in request["tags"]]},
        }
        for request in tick["evaluationResult"]["runRequests"]
    ]
    answer = system.ask(LAUNCH, runs=runs)["launchMultipleRuns"]
    results = [result["__typename"] for result in answer["launchMultipleRunsResult"]]
    if set(results) != {"LaunchRunSuccess"}:
        raise RuntimeError(results)


def _runs(system: System) -> list[dict[str, Any]]:
    return system.ask(RUNS)["runsOrError"]["results"]


def _follow(system: System, one: Credentials) -> None:
    body = {
        "platform": "google",
        "client_id": one.client_id,
        "client_secret": one.client_secret,
        "refresh_token": one.refresh_token,
    }
    _post(f"{system.api}/api/v1/calendars", body, {"authorization": f"Token {system.key}"})


def _post(url: str, body: Mapping[str, object], headers: Mapping[str, str]) -> Any:
    request = urllib.request.Request(
        url, data=json.dumps(body).encode(), headers={"content-type": "application/json", **headers}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def wait(done: Callable[[], bool], seconds: float) -> None:
    """Until `done`; raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.5)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


if __name__ == "__main__":
    main()
