"""A real PostgreSQL for every test that wants one: a migrated template on a server of this session, cloned per test."""

import gc
import itertools
import json
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import hypothesis
import pytest
import sqlalchemy as sa

from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.calendars.model import NewCalendar
from calendar_pipeline.db import embedded, migrate
from calendar_pipeline.db.connect import Database
from calendar_pipeline.event import Platform
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.projects import store as projects
from calendar_pipeline.providers.google.client import GoogleCalendar
from calendar_pipeline.providers.microsoft.client import MicrosoftCalendar
from calendar_pipeline.providers.microsoft.oauth import Entra, calendar_scope
from calendar_pipeline.providers.port import CalendarProvider
from calendar_pipeline.providers.transport import Transport
from calendar_pipeline.secrets.keyring import KeyRing, generate
from sandbox.replies import Credentials
from sandbox.server import Running

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
_numbers = itertools.count()

# Properties are checked without a stopwatch: a busy machine is no failure.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: no garbage collection need walk through it again."""
    gc.collect()
    gc.freeze()


@dataclass
class Clock:
    """A clock that stands still until it is told to move."""

    now: datetime = field(default=NOW)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **duration: float) -> None:
        """Let time pass: ``clock.pass_by(minutes=30)``."""
        self.now += timedelta(**duration)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def in_memory() -> str | None:
    """A directory in memory if the machine has one with room: there a database is cloned in 12 ms, on a disk in 290."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= 4 * 2**30
    return str(memory) if roomy else None


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The maintenance database of a PostgreSQL server of this session's own."""
    with tempfile.TemporaryDirectory(prefix="cp-test-", dir=in_memory()) as directory:
        os.chmod(directory, 0o755)
        server = embedded.start(Path(directory))
        url = embedded.url(server, "postgres")
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
        with engine.connect() as connection:
            # A test's database need not outlive the machine; crashes of processes lose nothing by this.
            connection.exec_driver_sql("ALTER SYSTEM SET fsync = off")
            connection.exec_driver_sql("ALTER SYSTEM SET full_page_writes = off")
            connection.exec_driver_sql("ALTER SYSTEM SET max_wal_size = '256MB'")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
        yield url
        server.cleanup()


@pytest.fixture(scope="session")
def new_database(server_url: str) -> Iterator[Callable[[], str]]:
    """Makes migrated databases; each is a clone of one template."""
    url = sa.make_url(server_url)
    template = url.set(database="template_calendar_pipeline")
    embedded.create_database(server_url, str(template.database))
    with Database(template) as db:
        migrate.upgrade(db)
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)

    def make() -> str:
        name = f"t{next(_numbers)}"
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template.database} STRATEGY file_copy")
        return url.set(database=name).render_as_string(hide_password=False)

    yield make
    engine.dispose()


@pytest.fixture
def database_url(new_database: Callable[[], str], server_url: str) -> Iterator[str]:
    """A migrated, empty database of this test's own, dropped after it."""
    url = new_database()
    yield url
    engine = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)")


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    with Database(database_url) as database:
        yield database


@pytest.fixture(scope="session")
def keyring() -> KeyRing:
    return KeyRing.parse(generate("test"))


@pytest.fixture
def project_id(db: Database, clock: Clock) -> str:
    with db.begin() as connection:
        return projects.create(connection, "test", now=clock()).id


@pytest.fixture
def follow(
    db: Database, keyring: KeyRing, clock: Clock, project_id: str
) -> Callable[[Iterable[Credentials]], list[str]]:
    """Follows sandbox calendars in the test's project; gives the calendars' ids."""

    def follow(given: Iterable[Credentials]) -> list[str]:
        with db.begin() as connection:
            return [
                calendars.create(
                    connection,
                    keyring,
                    project_id,
                    NewCalendar(
                        platform=one.provider,
                        platform_uuid=one.calendar_id,
                        client_id=one.client_id,
                        client_secret=one.client_secret,
                        refresh_token=one.refresh_token,
                    ),
                    now=clock(),
                ).id
                for one in given
            ]

    return follow


def wired(sandbox: Running, transport: Transport, clock: Callable[[], datetime]) -> dict[Platform, CalendarProvider]:
    """Both providers' clients, sent to a running sandbox."""
    entra = Entra(
        transport,
        login_base_url=sandbox.login_url,
        tenant="common",
        scope=calendar_scope(sandbox.graph_url),
        clock=clock,
    )
    return {
        "google": GoogleCalendar(
            transport, api_base_url=f"{sandbox.url}/google", token_url=sandbox.token_url, clock=clock
        ),
        "microsoft": MicrosoftCalendar(transport, entra, graph_base_url=sandbox.graph_url, clock=clock),
    }


@pytest.fixture
def wire() -> Callable[..., dict[Platform, CalendarProvider]]:
    """Makes both providers' clients over a transport of the test's own."""
    return wired


@pytest.fixture
def ingest(db: Database, keyring: KeyRing, clock: Clock) -> Iterator[Callable[[Running], Ingest]]:
    """What a sync needs to read from a running sandbox."""
    transports: list[Transport] = []

    def ingest(sandbox: Running) -> Ingest:
        transport = Transport(timeout=5)
        transports.append(transport)
        return Ingest(
            db=db,
            providers=wired(sandbox, transport, clock),
            keyring=keyring,
            clock=clock,
            interval=timedelta(minutes=30),
            buffer=timedelta(days=8),
            lease=timedelta(minutes=5),
        )

    yield ingest
    for transport in transports:
        transport.close()


class Attendee:
    """A small Attendee-compatible server: bots by deduplication key, and faults one after the other."""

    def __init__(self) -> None:
        self.bots: dict[str, dict[str, Any]] = {}
        self.faults: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.port = 0
        self.start()

    def start(self) -> None:
        handler = type("Handler", (_Handler,), {"attendee": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # who asked has given up waiting
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of(self, key: str) -> list[dict[str, Any]]:
        return [bot for bot in self.bots.values() if bot["deduplication_key"] == key]


class _Handler(BaseHTTPRequestHandler):
    attendee: Attendee

    def log_message(self, *_: object) -> None:
        """Silence."""

    def _answer(self, status: int, body: object = None) -> None:
        raw = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _fault(self) -> str | None:
        attendee = self.attendee
        with attendee.lock:
            attendee.requests.append((self.command, self.path))
            attendee.headers.append(dict(self.headers))
            return attendee.faults.pop(0) if attendee.faults else None

    def do_GET(self) -> None:
        if (fault := self._fault()) and fault.isdigit():
            return self._answer(int(fault))
        key = parse_qs(urlsplit(self.path).query)["deduplication_key"][0]
        return self._answer(200, {"next": None, "previous": None, "results": self.attendee.of(key)})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self._fault()
        if fault and fault.isdigit():
            return self._answer(int(fault), {"error": "no"})
        attendee = self.attendee
        if self.path.endswith("/leave"):
            attendee.bots[self.path.split("/")[-2]]["state"] = "ended"
            return self._answer(200, {})
        body = json.loads(raw)
        with attendee.lock:
            live = [bot for bot in attendee.of(body["deduplication_key"]) if bot["state"] != "ended"]
            if live:
                return self._answer(400, {"error": "Deduplication key already in use. A bot in a non-terminal state"})
            made = {"id": f"bot_{len(attendee.bots):016}", "state": "joining", **body}
            attendee.bots[made["id"]] = made
        if fault == "drop":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        if fault == "silence":
            time.sleep(1.5)
        return self._answer(201, made)

    def do_DELETE(self) -> None:
        if (fault := self._fault()) and fault.isdigit():
            return self._answer(int(fault))
        bot = self.attendee.bots[self.path.rsplit("/", 1)[1]]
        if bot["state"] != "scheduled":
            return self._answer(
                400, {"error": f"Bot is in state {bot['state']} but can only be deleted when scheduled"}
            )
        del self.attendee.bots[bot["id"]]
        return self._answer(200)


@pytest.fixture
def attendee() -> Iterator[Attendee]:
    server = Attendee()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def shared_attendee() -> Iterator[Attendee]:
    """One for all tests of a module."""
    server = Attendee()
    yield server
    server.stop()
