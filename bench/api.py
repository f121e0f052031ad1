"""What reading events costs: GET /calendar_events of a real server process, on sets of growing size.

``python -m bench.api --events 1000 100000``. The server has one core of its own; the client and PostgreSQL have the
others. Events carry five guests, about 1.8 KB of JSON as Google sends it, and a bot each; rows are made by the
database. Statements are counted in an application in this process, all else is measured over the socket. `on one core`
is what the server's CPU time per request allows, which other work on the machine disturbs least; `asked` is how many
a second four connections got.
"""

import argparse
import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import psutil
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table
from sqlalchemy.event import listen, remove

from api import pagination
from api.app import create_app
from api.routes.calendar_events import PAGE
from bench.fleet import database
from bench.serve import serving
from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.keyset import Seek
from calendar_pipeline.history import read
from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets.keyring import KeyRing, generate
from calendar_pipeline.settings import Settings

out = Console(width=150)

PER_CALENDAR = 400
DEEP = 1000
"""A page as far down as this, or the last full one."""
CONNECTIONS = 4
NEW = 10

START = datetime(2026, 1, 1, tzinfo=UTC)
FAR = START + timedelta(days=300)

FILL = (
    """INSERT INTO calendar (id, project_id, platform, client_id, client_secret, refresh_token, updated_at, time_zone)
    SELECT 'cal_' || lpad(c::text, 16, '0'), :project, 'google', 'bench', '', '', now(), 'Europe/Berlin'
    FROM generate_series(0, :calendars - 1) AS c""",
    """INSERT INTO calendar_event (id, project_id, calendar_id, version, provider_event_id, ical_uid, title, starts_at,
        ends_at, start_time, end_time, time_zone, status, meeting_url, meeting_link, meeting_platform, meeting_key,
        organizer_email, own_response, attendees, location, visibility, is_busy, event_type, provider_updated_at, raw,
        fingerprint, created_at, updated_at)
    SELECT 'evt_' || lpad(e::text, 16, '0'), :project, 'cal_' || lpad(mod(e, :calendars)::text, 16, '0'), 1,
        md5(e::text), md5(e::text) || '@google.com', 'Weekly review ' || e, s, s + interval '30 min', s,
        s + interval '30 min', 'Europe/Berlin', 'confirmed', link, link, 'google_meet', 'abc-defg-hij',
        'person0@example.com', 'accepted', to_json(kept), 'Room ' || mod(e, 50), 'default', true, 'default', made,
        json_build_object('kind', 'calendar#event', 'etag', '"' || md5(e || 'etag') || '"', 'id', md5(e::text),
            'status', 'confirmed', 'htmlLink', 'https://www.google.com/calendar/event?eid=' || md5(e || 'link'),
            'created', made, 'updated', made, 'summary', 'Weekly review ' || e,
            'description', 'Notes: https://docs.example.com/d/' || md5(e || 'a') || md5(e || 'b') || ' Agenda: '
                || md5(e || 'c') || ' ' || md5(e || 'd') || ' ' || md5(e || 'e') || ' ' || md5(e || 'f'),
            'location', 'Room ' || mod(e, 50),
            'creator', json_build_object('email', 'person0@example.com'),
            'organizer', json_build_object('email', 'person0@example.com', 'displayName', 'Person 0'),
            'start', json_build_object('dateTime', s, 'timeZone', 'Europe/Berlin'),
            'end', json_build_object('dateTime', s + interval '30 min', 'timeZone', 'Europe/Berlin'),
            'iCalUID', md5(e::text) || '@google.com', 'sequence', 0, 'attendees', to_json(sent), 'hangoutLink', link,
            'conferenceData', json_build_object('conferenceId', 'abc-defg-hij', 'entryPoints', json_build_array(
                json_build_object('entryPointType', 'video', 'uri', link, 'label', 'meet.google.com/abc-defg-hij'))),
            'reminders', json_build_object('useDefault', true), 'eventType', 'default'),
        decode(md5(e::text), 'hex'), made, made
    FROM generate_series(0, :events - 1) AS e,
        LATERAL (SELECT CAST(:start AS timestamptz) + mod(e * 7919::bigint, :events) * interval '20 seconds' AS s,
            CAST(:start AS timestamptz) + e * interval '17 seconds' AS made,
            'https://meet.google.com/abc-defg-hij' AS link) AS moment,
        LATERAL (SELECT array_agg(json_build_object('email', 'person' || g || '-' || mod(e, 977) || '@example.com',
                    'displayName', 'Person ' || g, 'responseStatus', 'accepted')) AS sent,
                array_agg(json_build_object('email', 'person' || g || '-' || mod(e, 977) || '@example.com',
                    'name', 'Person ' || g, 'response', 'accepted', 'is_optional', false, 'is_self', g = 1)) AS kept
            FROM generate_series(0, 4) AS g) AS people""",
    """INSERT INTO bot (id, project_id, calendar_id, event_id, name, meeting_url, join_at, state, created_at,
        updated_at)
    SELECT 'bot_' || substr(id, 5), project_id, calendar_id, id, 'Notes', meeting_url, start_time, 'scheduled',
        created_at, updated_at
    FROM calendar_event""",
    "UPDATE calendar_event SET updated_at = :far WHERE id IN (SELECT id FROM calendar_event ORDER BY id LIMIT :new)",
)


def fill(db: Database, events: int) -> str:
    """A project with `events` events, of which a few are new; its key."""
    with db.begin() as connection:
        project = projects.create(connection, "bench", now=datetime.now(UTC)).id
        key = projects.create_key(connection, project, now=datetime.now(UTC)).secret
        values = {
            "project": project,
            "events": events,
            "calendars": max(1, events // PER_CALENDAR),
            "start": START,
            "far": FAR,
            "new": NEW,
        }
        for statement in FILL:
            connection.execute(sa.text(statement), values)
    with db.single() as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
    return key


@dataclass(frozen=True, slots=True)
class Plan:
    """How PostgreSQL read a page."""

    steps: Sequence[str]
    """Its nodes from the outside in, each with its index."""
    blocks: int
    """Blocks touched, 8 KiB each: what it costs wherever they are."""
    passed_over: int
    """Rows read and not wanted."""
    milliseconds: float


def plan(
    db: Database, project: str, where: read.Filter, ordering: read.Ordering = "-updated_at", seek: Seek | None = None
) -> Plan:
    """How the statement of one page is carried out."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        asked.append((statement, parameters))

    listen(db.engine, "before_cursor_execute", note)
    try:
        with db.single() as connection:
            read.page(connection, project, where=where, ordering=ordering, size=PAGE, seek=seek)
    finally:
        remove(db.engine, "before_cursor_execute", note)
    [(statement, parameters)] = asked
    with db.single() as connection:
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
        [told] = connection.exec_driver_sql(explain, parameters).scalar_one()
    nodes = list(_nodes(told["Plan"]))
    return Plan(
        steps=[" ".join(filter(None, map(node.get, ("Node Type", "Index Name")))) for node in nodes],
        blocks=told["Plan"]["Shared Hit Blocks"] + told["Plan"]["Shared Read Blocks"],
        passed_over=sum(node.get("Rows Removed by Filter", 0) for node in nodes),
        milliseconds=told["Execution Time"],
    )


def _nodes(node: dict[str, Any]) -> Generator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def shapes(db: Database, project: str) -> Generator[tuple[str, Plan]]:
    """Every kind of question, in every order: how each is answered."""
    with db.single() as connection:
        calendar: str = connection.execute(sa.text("SELECT max(id) FROM calendar")).scalar_one()
        middle = connection.execute(
            sa.text("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY id) FROM calendar_event")
        )
        event: str = middle.scalar_one()
        row = connection.execute(sa.text("SELECT * FROM calendar_event WHERE id = :id"), {"id": event}).one()
    filters = {
        "all": read.Filter(),
        "one calendar": read.Filter(calendar_id=calendar),
        "all, updated_at_gte": read.Filter(updated_at_gte=FAR),
        "all, updated_at_gte long ago": read.Filter(updated_at_gte=START),
        "one calendar, updated_at_gte": read.Filter(calendar_id=calendar, updated_at_gte=FAR),
        "one calendar, updated_at_gte long ago": read.Filter(calendar_id=calendar, updated_at_gte=START),
        "all, start_time_gte long ago": read.Filter(start_time_gte=START),
        "one calendar, start_time_gte": read.Filter(calendar_id=calendar, start_time_gte=row.start_time),
    }
    for name, where in filters.items():
        for ordering in read.ORDERINGS:
            at = getattr(row, ordering.removeprefix("-"))
            yield f"{name}: {ordering}", plan(db, project, where, ordering)
            yield f"{name}: {ordering}, deep", plan(db, project, where, ordering, Seek(step="after", at=at, id=event))
    yield "one event", plan(db, project, read.Filter(event_id=event))


class Process:
    """The API as a process on a core of its own."""

    def __init__(self, url: str, key: str, directory: Path, *, core: int | None) -> None:
        self._log = (directory / "api.log").open("wb")
        environment = {
            "DATABASE_URL": url,
            "CALENDAR_PIPELINE_KEYS": generate("bench"),
            "STATE_DIR": str(directory),
            "API_KEY_REQUESTS_PER_MINUTE": "100000000",
        }
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        words = ["-m", "uvicorn", "api.asgi:app", "--host", "127.0.0.1", "--port", str(self.port)]
        words += ["--no-access-log", "--no-server-header", "--log-level", "warning"]
        self._process = subprocess.Popen(
            [sys.executable, *words], env=os.environ | environment, stdout=self._log, stderr=self._log
        )
        if core is not None:
            os.sched_setaffinity(self._process.pid, {core})
        self._headers = {"Authorization": f"Token {key}"}
        deadline = time.monotonic() + 60
        while True:
            try:
                self.connection().close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((directory / "api.log").read_text()) from None
                time.sleep(0.05)

    def connection(self) -> http.client.HTTPConnection:
        """A connection to it."""
        made = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        made.connect()
        return made

    def get(self, connection: http.client.HTTPConnection, path: str) -> bytes:
        """A good answer's body."""
        connection.request("GET", path, headers=self._headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {body[:200]!r}")
        return body

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)
        self._log.close()


def measure(api: Process, path: str, *, seconds: float) -> list[str]:
    """Bytes, what one core can do, what four connections got, and how long one of them waits alone."""
    first = api.connection()
    body = api.get(first, path)
    for _ in range(20):
        api.get(first, path)
    waits: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(waits) < 20:
        started = time.perf_counter()
        api.get(first, path)
        waits.append((time.perf_counter() - started) * 1000)
    waits.sort()
    counts = [0] * CONNECTIONS
    used, started = api.cpu(), time.monotonic()
    end = started + seconds

    def ask(number: int) -> None:
        connection = api.connection()
        while time.monotonic() < end:
            api.get(connection, path)
            counts[number] += 1
        connection.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, used, done = time.monotonic() - started, api.cpu() - used, sum(counts)
    first.close()
    p95 = waits[int(len(waits) * 0.95)]
    times = [f"{statistics.median(waits):.1f}", f"{p95:.1f}"]
    return [f"{len(body):,}", f"{used / done * 1000:.2f}", f"{done / used:.0f}", f"{done / took:.0f}", *times]


def questions(db: Database) -> dict[str, str]:
    """What is asked, by name: path and query."""
    with db.single() as connection:
        events: int = connection.execute(sa.text("SELECT count(*) FROM calendar_event")).scalar_one()
        calendar: str = connection.execute(sa.text("SELECT max(id) FROM calendar")).scalar_one()
        page = min(DEEP, events // PAGE - 1)
        statement = "SELECT updated_at, id FROM calendar_event ORDER BY updated_at DESC, id DESC OFFSET :n LIMIT 1"
        last = connection.execute(sa.text(statement), {"n": page * PAGE - 1}).one()
    seek = Seek(step="after", at=last.updated_at, id=last.id)
    cursor = pagination.write_cursor(seek, listing="calendar_events -updated_at")
    return {
        "first page": _path(),
        f"page {page + 1:,}": _path(cursor=cursor),
        "first page of one calendar": _path(calendar_id=calendar),
        f"{NEW} new rows": _path(updated_at_gte=FAR.isoformat()),
        "none": _path(updated_at_gte=(FAR + timedelta(days=1)).isoformat()),
        "none of one calendar": _path(calendar_id=calendar, updated_at_gte=(FAR + timedelta(days=1)).isoformat()),
    }


def _path(**query: str) -> str:
    return f"/api/v1/calendar_events?{urlencode(query)}"


def statements(url: str, key: str, paths: Sequence[str]) -> list[int]:
    """SQL statements for each path, counted in an application of this process."""
    counted: list[int] = []
    with Database(url, connections=2) as db:
        settings = Settings(_env_file=None)  # pyright: ignore[reportCallIssue]
        make = lambda: create_app(settings, db=db, keyring=KeyRing.parse(generate("bench")))  # noqa: E731
        with serving(make) as address:
            place = urlsplit(address)
            connection = http.client.HTTPConnection(str(place.hostname), place.port)
            for path in paths:
                before = db.statements
                connection.request("GET", path, headers={"Authorization": f"Token {key}"})
                connection.getresponse().read()
                counted.append(db.statements - before)
            connection.close()
    return counted


@contextmanager
def running(url: str, key: str, *, core: int | None) -> Generator[Process]:
    """The API in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="cp-bench-") as directory:
        api = Process(url, key, Path(directory), core=core)
        try:
            yield api
        finally:
            api.close()


def main() -> None:
    """Print the figures for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--seconds", type=float, default=3, help="how long each figure is measured")
    parser.add_argument("--plans", action="store_true", help="print how PostgreSQL reads each kind of page as well")
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    apart = len(cores) > 1
    if apart:
        os.sched_setaffinity(0, set(cores[1:]))  # PostgreSQL, started from here, stays there too
    columns = ("statements", "bytes", "CPU ms", "on one core /s", "asked /s", "p50 ms", "p95 ms")
    for events in given.events:
        with database() as url, Database(url, connections=2) as db:
            started = time.monotonic()
            key = fill(db, events)
            out.print(f"{events:,} events made in {time.monotonic() - started:.0f} s")
            asked = questions(db)
            table = Table("what", *columns, title=f"{events:,} events, a bot each")
            counts = statements(url, key, list(asked.values()))
            with running(url, key, core=cores[0] if apart else None) as api:
                for (name, path), count in zip(asked.items(), counts, strict=True):
                    table.add_row(name, str(count), *measure(api, path, seconds=given.seconds))
            out.print(table)
            if given.plans:
                show(db)
    load = os.getloadavg()[0]
    out.print(f"{len(cores)} cores; load {load:.0f}. Client and PostgreSQL {'on the other' if apart else 'beside it'}.")


def show(db: Database) -> None:
    """Print how PostgreSQL reads each kind of page."""
    table = Table("page", "steps", "blocks", "passed over", "ms")
    with db.single() as connection:
        project: str = connection.execute(sa.text("SELECT id FROM project")).scalar_one()
    for name, how in shapes(db, project):
        steps = " < ".join(how.steps)
        table.add_row(name, steps, str(how.blocks), str(how.passed_over), f"{how.milliseconds:.1f}")
    out.print(table)


if __name__ == "__main__":
    main()
