"""How soon: a sandbox event moved → push → visible → webhook at a receiver, under everything that `up` runs.

``python -m bench.live --trials 200 --sizes 1 1000``. With ``--week``, requests per calendar at rest over seven days of
virtual time. All on 127.0.0.1; seconds are of this machine.
"""

import argparse
import json
import os
import signal
import statistics
import threading
import time
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from bench.system import System, running, wait
from sandbox.replies import Credentials

out = Console(width=120)


class Receiver:
    """A customer's endpoint: notes when each calendar's webhook came."""

    def __init__(self) -> None:
        self.heard: dict[str, list[float]] = {}
        self.news = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                at = time.time()
                body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()
                if body.get("trigger") == "calendar.events_update":
                    with receiver.news:
                        receiver.heard.setdefault(body["calendar_id"], []).append(at)
                        receiver.news.notify_all()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base's
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, calendar: str, after: float, within: float) -> float | None:
        """When the calendar's next webhook after this moment came."""

        def latest() -> float | None:
            return next((at for at in self.heard.get(calendar, ()) if at > after), None)

        with self.news:
            self.news.wait_for(lambda: latest() is not None, within)
            return latest()


@contextmanager
def receiving() -> Generator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1, 1000])
    parser.add_argument("--trials", type=int, nargs="*", default=[200], help="for each size, or for all")
    parser.add_argument("--events", type=int, default=20)
    parser.add_argument("--kills", type=int, default=5, help="live runs killed, to see when the next one works")
    parser.add_argument("--storm", type=int, default=10_000, help="notifications of one calendar at once")
    parser.add_argument("--week", action="store_true", help="only the requests of a week at rest")
    given = parser.parse_args()
    if given.week:
        from bench.week import week

        out.print(week())
        return
    table = Table(title="moved events; seconds")
    for name in ("calendars", "trials", "leg", "p50", "p95", "max", "lost"):
        table.add_column(name, justify="left" if name == "leg" else "right")
    os.environ |= {"WEBHOOK_ALLOW_HTTP": "true", "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8", "WEBHOOK_PORTS": "any"}
    with running() as system, receiving() as receiver:
        _subscribe(system, receiver.url)
        followed: list[tuple[str, Credentials]] = []
        trials = given.trials * len(given.sizes) if len(given.trials) == 1 else given.trials
        for size, count in zip(given.sizes, trials, strict=True):
            followed += _connect(system, size - len(followed), given.events, first=len(followed))
            _trials(table, system, receiver, followed, count)
        out.print(table)
        out.print(_idle(system))
        if given.kills:
            out.print(_kills(system, given.kills))
        if given.storm:
            out.print(_storm(system, *followed[0], given.storm))


def _subscribe(system: System, url: str) -> None:
    body = {"url": url, "triggers": ["calendar.events_update"]}
    _post(system, "/webhooks", body)


def _connect(system: System, count: int, events: int, *, first: int) -> list[tuple[str, Credentials]]:
    """Follow so many calendars more, and wait until all are pushed to; says how long first events took."""
    if count <= 0:
        return []
    made = system.sandbox.create_calendars(count, events, first=first, prefix=f"live{first}")
    took: list[float] = []
    ours: list[tuple[str, Credentials]] = []
    for one in made:
        begun = time.time()
        calendar = _post(
            system,
            "/calendars",
            {
                "platform": "google",
                "client_id": one.client_id,
                "client_secret": one.client_secret,
                "refresh_token": one.refresh_token,
            },
        )["id"]
        ours.append((calendar, one))
        if len(took) < 20:
            wait(lambda calendar=calendar: _number(system, SYNCED, calendar) == 1, 60)
            took.append(time.time() - begun)
    wait(lambda: system.number("SELECT count(*) FROM calendar WHERE channel_wanted") == 0, 900)
    wait(lambda: system.number("SELECT count(*) FROM calendar WHERE requested_gen > synced_gen") == 0, 600)
    p50, longest = statistics.median(took), max(took)
    out.print(f"POST /calendars to first events: p50 {p50:.2f} s, max {longest:.2f} s ({len(took)} tried)")
    return ours


SYNCED = "SELECT count(*) FROM calendar WHERE id = :id AND last_successful_sync_at IS NOT NULL"


def _number(system: System, query: str, calendar: str) -> int:
    with system.db.single() as connection:
        return int(connection.execute(sa.text(query), {"id": calendar}).scalar_one())


def _trials(
    table: Table, system: System, receiver: Receiver, followed: Sequence[tuple[str, Credentials]], count: int
) -> None:
    """One moved event after another, each of another calendar as far as there are."""
    total: list[float] = []
    events: dict[str, str] = {}
    lost = 0
    begun = time.time()
    for number in range(count):
        calendar, one = followed[number % len(followed)]
        event = events.get(calendar) or events.setdefault(calendar, _in_view(system, one))
        # A calendar that was just synced waits for its window; people do not move an event every second.
        time.sleep(max(0.0, 3.2 - (time.time() - begun)) if len(followed) == 1 else 0.05)
        begun = time.time()
        system.sandbox.move_event(one.calendar_id, event, by=timedelta(minutes=15 if number % 2 else -15))
        at = receiver.wait(calendar, begun, 60)
        if at is None:
            lost += 1
        else:
            total.append(at - begun)
    with system.db.single() as connection:
        rows = list(
            connection.execute(
                sa.text(
                    "SELECT extract(epoch FROM pushed_at - changed_at)::float8, "
                    "extract(epoch FROM finished_at - changed_at)::float8 FROM sync_run "
                    "WHERE changed_at IS NOT NULL AND pushed_at IS NOT NULL ORDER BY id DESC LIMIT :count"
                ),
                {"count": count},
            )
        )
    legs: list[tuple[str, list[float]]] = [
        ("changed → pushed", [row[0] for row in rows]),
        ("changed → visible", [row[1] for row in rows]),
        ("moved → webhook received", total),
    ]
    for leg, seconds in legs:
        table.add_row(
            str(len(followed)), str(count), leg, *_quantiles(seconds), str(lost) if leg.startswith("moved") else ""
        )


def _in_view(system: System, one: Credentials) -> str:
    """An event of the next two weeks."""
    now = system.sandbox.now()
    found = system.sandbox.listing(one.calendar_id, time_min=now, time_max=now + timedelta(days=14))
    return str(found[len(found) // 2]["id"])


def _quantiles(seconds: Sequence[float]) -> tuple[str, str, str]:
    if len(seconds) < 2:
        return ("-", "-", "-")
    cuts = statistics.quantiles(seconds, n=20)
    return f"{statistics.median(seconds):.2f}", f"{cuts[-1]:.2f}", f"{max(seconds):.2f}"


def _idle(system: System, seconds: float = 15.0) -> str:
    """What a live run costs when there is nothing to do: the process's CPU, and statements it sends."""
    run = _scalar(system, "SELECT run_id FROM live_run WHERE state = 'working'")
    spare = _scalar(system, "SELECT min(run_id) FROM live_run WHERE state = 'waiting'")
    calls = "SELECT sum(xact_commit) FROM pg_stat_database WHERE datname = 'calendar_pipeline'"
    before, cpu, warm = int(float(_scalar(system, calls))), _cpu(run), _cpu(spare)
    time.sleep(seconds)
    after, used, kept = int(float(_scalar(system, calls))), _cpu(run), _cpu(spare)
    return (
        f"at rest: live run {100 * (used - cpu) / seconds:.1f} % of a core, the one in waiting "
        f"{100 * (kept - warm) / seconds:.1f} % and {_memory(spare):.0f} MB; "
        f"all of the installation {(after - before) / seconds:.1f} statements/s"
    )


def _storm(system: System, calendar: str, one: Credentials, times: int) -> str:
    """So many notifications of one calendar, as fast as the sandbox posts and the API takes them: how many syncs."""
    runs = "SELECT count(*) FROM sync_run WHERE calendar_id = :id"
    before, heard = _number(system, runs, calendar), system.sandbox.pushes().answers
    begun = time.monotonic()
    system.sandbox.ring(one.calendar_id, times)
    while (tally := system.sandbox.pushes(settle_s=60)).waiting:
        pass
    seconds = time.monotonic() - begun
    wait(lambda: system.number("SELECT count(*) FROM calendar WHERE requested_gen > synced_gen") == 0, 60)
    answers = {code: count - heard.get(code, 0) for code, count in tally.answers.items() if count > heard.get(code, 0)}
    return (
        f"storm: {times} notifications of one calendar in {seconds:.1f} s, answered {answers}: "
        f"{_number(system, runs, calendar) - before} syncs"
    )


def _kills(system: System, times: int) -> str:
    """The process of the live run is killed, again and again: how long until the next one is at work."""
    working = "SELECT run_id FROM live_run WHERE state = 'working' AND beat_until > clock_timestamp()"
    waiting = "SELECT count(*) FROM live_run WHERE state = 'waiting' AND beat_until > clock_timestamp()"
    took: list[float] = []
    for _ in range(times):
        wait(lambda: system.number(waiting) >= 1, 120)
        run = _scalar(system, working)
        begun = time.monotonic()
        os.kill(int(_pid(run)), signal.SIGKILL)
        while _scalar(system, f"SELECT count(*) FROM ({working}) AS r WHERE run_id <> '{run}'") == "0":
            time.sleep(0.02)
        took.append(time.monotonic() - begun)
    return f"killed -9 {times} times: at work again after {statistics.median(took):.1f} s, at most {max(took):.1f} s"


def _cpu(run: str) -> float:
    """CPU seconds of the process that carries a Dagster run."""
    fields = Path(f"/proc/{_pid(run)}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _memory(run: str) -> float:
    """Megabytes that the process of a Dagster run has to itself."""
    rollup = Path(f"/proc/{_pid(run)}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in rollup if line.startswith(("Private_Clean", "Private_Dirty"))) / 1024


def _pid(run: str) -> str:
    """The run's process: the parent of those that follow its logs, whose command lines name the run."""
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        if run.encode() in line.read_bytes():
            return (line.parent / "stat").read_text().rpartition(")")[2].split()[1]
    raise RuntimeError(f"no process carries run {run}")


def _scalar(system: System, query: str) -> str:
    with system.db.single() as connection:
        return str(connection.execute(sa.text(query)).scalar_one())


def _post(system: System, path: str, body: Mapping[str, object]) -> dict[str, str]:
    request = urllib.request.Request(
        f"{system.api}/api/v1{path}",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json", "authorization": f"Token {system.key}"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
