"""A fleet of sandbox calendars, followed in a database of the benchmark's own; everything on 127.0.0.1."""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from calendar_pipeline import wiring
from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.calendars.model import NewCalendar
from calendar_pipeline.db import embedded, migrate
from calendar_pipeline.db.connect import Database
from calendar_pipeline.event import Platform
from calendar_pipeline.ingest.guard import Guard
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.projects import store as projects
from calendar_pipeline.providers.google.client import GoogleCalendar
from calendar_pipeline.providers.microsoft.client import MicrosoftCalendar
from calendar_pipeline.providers.microsoft.oauth import Entra, calendar_scope
from calendar_pipeline.providers.port import CalendarProvider
from calendar_pipeline.providers.transport import Transport
from calendar_pipeline.secrets.keyring import KeyRing, generate
from sandbox.client import Client, Unreachable
from sandbox.replies import Credentials


@dataclass(frozen=True, slots=True)
class Fleet:
    """Followed calendars and all that a sync needs."""

    db: Database
    url: str
    key: str
    sandbox: Client
    ingest: Ingest
    made: Sequence[Credentials]
    keys: Sequence[str]


@contextmanager
def database() -> Generator[str]:
    """A migrated, embedded PostgreSQL with its default settings (fsync on)."""
    with tempfile.TemporaryDirectory(prefix="cp-bench-") as directory:
        Path(directory).chmod(0o755)
        server = embedded.start(Path(directory))
        url = embedded.url(server)
        with Database(url) as db:
            migrate.upgrade(db)
        yield url
        server.cleanup()


@contextmanager
def sandbox() -> Generator[Client]:
    """The sandbox in a process of its own, so that its CPU time is not counted as ours."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "calendar_pipeline.cli", "sandbox", "serve", "--port", str(port), "--no-demo"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            deadline = time.monotonic() + 180  # a busy machine starts slowly
            while True:
                try:
                    client.calendars()
                    break
                except Unreachable:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
            yield client
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def fleet(count: int, events: int, *, platform: Platform = "google") -> Generator[Fleet]:
    """`count` calendars of one provider with `events` single events each."""
    key = generate("bench")
    keyring = KeyRing.parse(key)
    with database() as url, sandbox() as client, Database(url, connections=16) as db:
        made = client.create_calendars(count, events, provider=platform)
        now = wiring.utc_now()
        with db.begin() as connection:
            project = projects.create(connection, "bench", now=now).id
            keys = [
                calendars.create(
                    connection,
                    keyring,
                    project,
                    NewCalendar(
                        platform=platform,
                        client_id=one.client_id,
                        client_secret=one.client_secret,
                        refresh_token=one.refresh_token,
                    ),
                    now=now,
                ).id
                for one in made
            ]
        ingest = Ingest(
            db=db,
            providers=_providers(client.url),
            keyring=keyring,
            clock=wiring.utc_now,
            interval=timedelta(minutes=30),
            buffer=timedelta(days=8),
            lease=timedelta(minutes=5),
            # All calendars are one client's here, and what a sync costs is not what its quota allows.
            guard=Guard(per_client=1e9, per_account=1e9),
        )
        yield Fleet(db, url, key, client, ingest, made, keys)


def _providers(url: str) -> Mapping[Platform, CalendarProvider]:
    """Both, as the sandbox at `url` has them."""
    transport = Transport(timeout=30)
    graph, login = f"{url}/microsoft/graph", f"{url}/microsoft/login"
    entra = Entra(transport, login_base_url=login, tenant="common", scope=calendar_scope(graph))
    google = GoogleCalendar(
        transport, api_base_url=f"{url}/google", token_url=f"{url}/google/token", clock=wiring.utc_now
    )
    return {
        "google": google,
        "microsoft": MicrosoftCalendar(transport, entra, graph_base_url=graph, clock=wiring.utc_now),
    }
