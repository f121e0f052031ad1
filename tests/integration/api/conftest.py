"""A project, its key and a client for the API over a database of the test's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import httpx
import pytest
import sqlalchemy as sa
import uvicorn
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app
from calendar_pipeline import ids
from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import calendar_event
from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets.keyring import KeyRing
from calendar_pipeline.settings import Settings
from sandbox.server import listen
from tests.serving import serving as answering

NOW = datetime(2026, 11, 22, 8, 31, 27, 366061, tzinfo=UTC)


class Clock(Protocol):
    """The clock of the tests, which moves when it is told to."""

    now: datetime

    def __call__(self) -> datetime: ...


@pytest.fixture
def clock(clock: Clock) -> Clock:
    """At a moment with microseconds, which the API shows."""
    clock.now = NOW
    return clock


@pytest.fixture
def settings() -> Settings:
    return Settings(_env_file=None)


@pytest.fixture
def app(settings: Settings, db: Database, keyring: KeyRing, clock: Clock) -> Litestar:
    return create_app(settings, db=db, keyring=keyring, clock=clock)


@dataclass(frozen=True)
class Tenant:
    """A project and a key of it."""

    id: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.key}"}


def make_tenant(db: Database, name: str) -> Tenant:
    with db.begin() as conn:
        project = projects.create(conn, name, now=NOW)
        return Tenant(project.id, projects.create_key(conn, project.id, now=NOW).secret)


@pytest.fixture
def tenant(db: Database) -> Tenant:
    return make_tenant(db, "ours")


@pytest.fixture
def stranger(db: Database) -> Tenant:
    return make_tenant(db, "theirs")


@pytest.fixture
def anonymous(app: Litestar) -> Iterator[httpx.Client]:
    with TestClient(app, base_url="http://testserver.local/api/v1") as client:
        yield client


@pytest.fixture
def client(app: Litestar, tenant: Tenant) -> Iterator[httpx.Client]:
    with TestClient(app, base_url="http://testserver.local/api/v1") as client:
        client.headers.update(tenant.headers)
        yield client


@pytest.fixture
def served(app: Litestar) -> Iterator[str]:
    """The address of the app behind a real socket."""
    with serving(app) as url:
        yield url


@pytest.fixture(scope="module")
def shared(new_database: Callable[[], str], keyring: KeyRing) -> Iterator[httpx.Client]:
    """A client of an app behind a real socket, with a database that all tests of the module share: for refusals."""
    with Database(new_database()) as db:
        ours = make_tenant(db, "shared")
        app = create_app(Settings(_env_file=None), db=db, keyring=keyring, clock=lambda: NOW)
        with (
            serving(app) as url,
            httpx.Client(base_url=f"{url}/api/v1", headers=ours.headers, trust_env=False, timeout=20) as client,
        ):
            yield client


@contextmanager
def serving(app: Litestar) -> Iterator[str]:
    """The address of `app` behind a real socket."""
    sock = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, ws="none")
    with answering(uvicorn.Server(config), sock):
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


def event_row(project_id: str, calendar_id: str, **changes: Any) -> dict[str, Any]:
    """A row of calendar_event."""
    row: dict[str, Any] = {
        "id": ids.new("evt"),
        "project_id": project_id,
        "calendar_id": calendar_id,
        "version": 1,
        "provider_event_id": ids.new("evt"),
        "title": "Weekly",
        "starts_at": NOW,
        "ends_at": NOW + timedelta(hours=1),
        "status": "confirmed",
        "attendees": [],
        "visibility": "default",
        "is_busy": True,
        "event_type": "default",
        "raw": {"id": "x"},
        "fingerprint": b"",
        "created_at": NOW,
        "updated_at": NOW,
    } | changes
    return {"start_time": row["starts_at"], "end_time": row["ends_at"]} | row


Events = Callable[[str, str, list[dict[str, Any]]], list[str]]


@pytest.fixture
def events(db: Database) -> Events:
    """Writes events of a project's calendar, each given by what matters; returns their ids."""

    def write(project_id: str, calendar_id: str, changes: list[dict[str, Any]]) -> list[str]:
        rows = [event_row(project_id, calendar_id, **change) for change in changes]
        keys = {key for row in rows for key in row}
        with db.begin() as conn:
            conn.execute(sa.insert(calendar_event), [dict.fromkeys(keys) | row for row in rows])
        return [row["id"] for row in rows]

    return write
