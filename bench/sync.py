"""What a sync costs: first, without news, and with 1 % of the calendars changed.

``python -m bench.sync --calendars 1000 --events 40``. Counts first; seconds are of this machine, CPU is of the syncing
process alone (the sandbox and PostgreSQL run in their own).
"""

import argparse
import resource
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from bench.fleet import Fleet, fleet
from calendar_pipeline.ingest import run
from sandbox.client import Client
from sandbox.replies import Credentials

out = Console(width=120)


def measure(name: str, bench: Fleet, table: Table, *, threads: int, full: bool = False) -> None:
    """Sync the whole fleet once and add a row of figures per calendar."""
    bench.db.statements = 0
    wall, cpu = time.perf_counter(), time.process_time()
    outcomes = list(run.sync_many(bench.ingest, bench.keys, threads=threads, regardless=True, full=full))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    count = len(outcomes)
    failed = sum(outcome.is_failure for outcome in outcomes)
    table.add_row(
        name,
        f"{count}" + (f" ({failed} failed)" if failed else ""),
        f"{sum(outcome.changes for outcome in outcomes)}",
        f"{count / wall:.0f}",
        f"{sum(outcome.requests for outcome in outcomes) / count:.2f}",
        f"{sum(outcome.response_bytes for outcome in outcomes) / count:.0f}",
        f"{bench.db.statements / count:.2f}",
        f"{cpu / count * 1000:.2f}",
    )


def columns(title: str) -> Table:
    """An empty table of figures."""
    names = ("what", "calendars", "history rows", "calendars/s", "requests", "bytes", "statements", "CPU ms")
    table = Table(title=title)
    for name in names:
        table.add_column(name, justify="left" if name == "what" else "right")
    return table


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calendars", type=int, default=1000)
    parser.add_argument("--events", type=int, default=40)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--platform", choices=["google", "microsoft"], default="google")
    parser.add_argument("--sizes", type=int, nargs="*", default=[20, 100, 500, 2000])
    given = parser.parse_args()

    fleet_of = f"{given.calendars} {given.platform} calendars of {given.events} events"
    table = columns(f"{fleet_of}, {given.threads} threads; per calendar")
    with fleet(given.calendars, given.events, platform=given.platform) as bench:
        measure("first sync", bench, table, threads=given.threads)
        measure("no change", bench, table, threads=given.threads)
        measure("no change", bench, table, threads=given.threads)
        touch(bench, max(1, given.calendars // 100))
        measure("1 % changed", bench, table, threads=given.threads)
        measure("listed anew, no change", bench, table, threads=given.threads, full=True)
    out.print(table)
    out.print(f"peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")

    sizes = columns("by size of the calendar: 20 calendars each; per calendar")
    for events in given.sizes:
        with fleet(20, events, platform=given.platform) as bench:
            step(sizes, bench, events, given.threads)
    out.print(sizes)


def step(table: Table, bench: Fleet, events: int, threads: int) -> None:
    """First, no change, one of the events changed."""
    named: list[tuple[str, Callable[[], None]]] = [
        ("first", lambda: None),
        ("no change", lambda: None),
        ("one changed", lambda: touch(bench, len(bench.keys))),
    ]
    for name, prepare in named:
        prepare()
        measure(f"{events} events: {name}", bench, table, threads=threads)


def touch(bench: Fleet, count: int) -> None:
    """Change the first `count` calendars."""
    for one in bench.made[:count]:
        touch_one(bench.sandbox, one)


def touch_one(sandbox: Client, one: Credentials) -> None:
    """Retitle an event in the middle of the calendar."""
    rows = sandbox.events(one.calendar_id)
    event = rows[len(rows) // 2]
    sandbox.retitle_event(one.calendar_id, str(event["id"]), f"changed {time.time()}")


if __name__ == "__main__":
    main()
