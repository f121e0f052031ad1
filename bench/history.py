"""A long history, made by the database itself: replay, states as of an instant, and what they cost.

``python -m bench.history --rows 1000000``. Events have five versions each, over five months, with 1 KB of JSON.
"""

import argparse
import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table
from sqlalchemy.engine import Connection

from bench.fleet import database
from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import EVENT_FIELDS
from calendar_pipeline.history import proof

out = Console(width=120)

VERSIONS = 5
EVENTS = 40
START = datetime(2026, 1, 1, tzinfo=UTC)

_PROJECT = """
    INSERT INTO project (id, name) VALUES ('proj_bench', 'bench');
    INSERT INTO project_counter (project_id, n) VALUES ('proj_bench', {rows});
    INSERT INTO calendar (id, project_id, platform, client_id, client_secret, refresh_token, updated_at, time_zone)
    SELECT 'cal_' || lpad(c::text, 16, '0'), 'proj_bench', 'google', 'bench', '', '', now(), 'Europe/Berlin'
    FROM generate_series(1, {calendars}) AS c
"""
_HISTORY = f"""
    INSERT INTO event_history (project_id, seq, recorded_at, calendar_id, event_id, version, change, changed, before,
                               {", ".join(EVENT_FIELDS)})
    SELECT 'proj_bench', (v - 1) * {{events}} + e,
           TIMESTAMPTZ '{START.isoformat()}' + (v - 1) * interval '1 month' + e * interval '5 seconds',
           'cal_' || lpad((1 + mod(e, {{calendars}}))::text, 16, '0'), 'evt_' || lpad(e::text, 16, '0'), v,
           CASE WHEN v = 1 THEN 'created' WHEN v = 5 AND mod(e, 20) = 0 THEN 'deleted' ELSE 'updated' END,
           '{{{{starts_at}}}}', '{{{{}}}}',
           'provider-' || e, 'uid-' || e, 'Meeting ' || e, s, s + interval '30 min', NULL, NULL, s,
           s + interval '30 min', 'Europe/Berlin', 'confirmed', 'https://meet.google.com/abc-defg-hij', 'https://x',
           'google_meet', 'abc-defg-hij', 'someone@example.com', 'accepted', '[]', NULL, NULL, 'Room ' || mod(e, 50),
           'default', true, 'default', s, json_build_object('id', e, 'padding', repeat(md5(e::text), 28)),
           decode(md5(e::text || v), 'hex'), v = 5 AND mod(e, 20) = 0
    FROM generate_series(1, {{events}}) AS e, generate_series(1, {VERSIONS}) AS v,
         LATERAL (SELECT TIMESTAMPTZ '2026-06-01 08:00Z' + mod(e, 30) * interval '1 day' + v * interval '1 hour' AS s)
    ORDER BY v, e
"""
_CURRENT = f"""
    INSERT INTO calendar_event (id, project_id, calendar_id, version, created_at, updated_at, {", ".join(EVENT_FIELDS)})
    SELECT event_id, project_id, calendar_id, version, recorded_at, recorded_at, {", ".join(EVENT_FIELDS)}
    FROM event_history WHERE version = {VERSIONS}
"""


def fill(db: Database, rows: int) -> str:
    """A project with `rows` versions of events; returns one of its calendars."""
    events = rows // VERSIONS
    calendars = max(1, events // EVENTS)
    with db.begin() as connection:
        for month in range(VERSIONS + 1):
            at = (START + timedelta(days=31 * month)).date()
            connection.execute(sa.text("SELECT event_history_prepare(:month, 1)"), {"month": at})
        for statement in (_PROJECT, _HISTORY, _CURRENT):
            connection.exec_driver_sql(statement.format(rows=rows, events=events, calendars=calendars))
    with db.single() as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
    return f"cal_{calendars // 2 + 1:016d}"


def server_memory(connection: Connection) -> int:
    """Peak memory of the connection's own server process, in MiB, buffers shared by all included."""
    process = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    table = Table("what", "seconds", "result")

    def measure(what: str, act: Callable[[], object]) -> None:
        started = time.monotonic()
        result = act()
        table.add_row(what, f"{time.monotonic() - started:.3f}", str(result))

    with database() as url, Database(url, connections=2) as db:
        started = time.monotonic()
        calendar = fill(db, given.rows)
        table.add_row(f"fill with {given.rows} rows", f"{time.monotonic() - started:.1f}", "")

        def ask(statement: str, **values: object) -> object:
            with db.single() as connection:
                return connection.execute(sa.text(statement), values).scalar_one()

        whole = "SELECT count(*) FROM event_as_of(:at) WHERE project_id = 'proj_bench'"
        by_platform = (
            "SELECT json_object_agg(k, n) FROM (SELECT meeting_platform || ' ' || extract(isodow FROM starts_at) AS k, "
            "count(*) AS n FROM event_as_of(:at) WHERE project_id = 'proj_bench' GROUP BY k) AS t"
        )
        for months in (1, 3, 5):
            at = START + timedelta(days=31 * months - 3)
            measure(f"project as of month {months}: count", lambda at=at: ask(whole, at=at))
            measure(f"project as of month {months}: by weekday", lambda at=at: len(str(ask(by_platform, at=at))))
        one = "SELECT count(*) FROM event_as_of(:at) WHERE calendar_id = :calendar"
        measure("one calendar as of month 3", lambda: ask(one, at=START + timedelta(days=90), calendar=calendar))
        with db.single() as connection:
            measure("replay: events that differ", lambda: len(proof.replay_differences(connection)))
            measure("numbers: holes", lambda: len(proof.holes(connection)))
            table.add_row("peak memory of the server's process for both", "", f"{server_memory(connection)} MiB")
        table.add_row("size of event_history", "", str(ask(
            "SELECT pg_size_pretty(sum(pg_total_relation_size(inhrelid))) FROM pg_inherits "
            "WHERE inhparent = 'event_history'::regclass")))  # fmt: skip
    out.print(table)
    out.print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


if __name__ == "__main__":
    main()
