"""A server process of this session's own, started as an operator starts one, and the keys to ask it with."""

import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from calendar_pipeline import ids
from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import calendar_event
from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets.keyring import generate

RETURN = "https://app.example/connected"


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where it answers, its database, and what it wrote."""

    url: str
    database_url: str
    log: Path
    ring: str


@contextmanager
def serving(directory: Path, database_url: str, **changes: str) -> Iterator[Server]:
    """``uvicorn api.asgi:app`` as a process of its own; limits are out of the way unless `changes` say otherwise."""
    ring = generate("contract")
    log = directory / f"server-{secrets.token_hex(4)}.log"
    plain = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    given = {
        "DATABASE_URL": database_url,
        "CALENDAR_PIPELINE_KEYS": ring,
        "STATE_DIR": str(directory),
        "PROJECT_POSTS_PER_MINUTE": "1000000000",
        "API_KEY_REQUESTS_PER_MINUTE": "1000000000",
        "API_STRANGER_REQUESTS_PER_MINUTE": "1000000000",
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    }
    words = [sys.executable, "-m", "uvicorn", "api.asgi:app", "--host", "127.0.0.1", "--port", "0", "--ws", "none"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*words, "--no-server-header", "--no-access-log"],
            env=plain | given | changes,
            cwd=directory,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Server(url=_address(process, log), database_url=database_url, log=log, ring=ring)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where it says that it listens."""
    deadline = time.monotonic() + 60
    while not (told := re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    return told[1]


@pytest.fixture(scope="session")
def server(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One process for all tests of the session."""
    with serving(tmp_path_factory.mktemp("server"), new_database()) as server:
        yield server
    assert "Traceback" not in server.log.read_text()


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """A project and a key of it."""

    id: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.key}"}


@pytest.fixture(scope="session")
def store(server: Server) -> Iterator[Database]:
    """The server's database."""
    with Database(server.database_url) as database:
        yield database


@pytest.fixture(scope="session")
def new_tenant(store: Database) -> Callable[[], Tenant]:
    """Makes projects; what one holds no other sees, so that tests share the server."""

    def make() -> Tenant:
        now = datetime.now(UTC)
        with store.begin() as conn:
            project = projects.create(conn, "contract", now=now)
            return Tenant(id=project.id, key=projects.create_key(conn, project.id, now=now).secret)

    return make


@pytest.fixture
def tenant(new_tenant: Callable[[], Tenant]) -> Tenant:
    """A project of the test's own."""
    return new_tenant()


@pytest.fixture
def remote(server: Server, tenant: Tenant) -> Iterator[httpx.Client]:
    """A client with a key of the test's own project."""
    with httpx.Client(base_url=f"{server.url}/api/v1", headers=tenant.headers, trust_env=False, timeout=20) as client:
        yield client


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A project in which requests only look or are refused: a calendar, an event, a bot, and another project's."""

    client: httpx.Client
    their_key: str
    names: dict[str, str]

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; ``{calendar}`` and the like become what they stand for, and ``...`` leaves a field out."""
        return self.client.request(method, self.fill(path), **self.fill(options))

    def fill(self, value: Any) -> Any:
        """`value` with names replaced, at any depth."""
        match value:
            case str():
                for name, text in self.names.items():
                    value = value.replace(f"{{{name}}}", text)
                return value
            case list():
                return [self.fill(item) for item in value]
            case dict():
                return {key: self.fill(item) for key, item in value.items() if item is not ...}
            case _:
                return value


CALENDAR = {"platform": "google", "client_id": "c", "client_secret": "s", "refresh_token": "t"}
MEET = "https://meet.google.com/abc-defg-hij"


def instant(moment: datetime) -> str:
    """As the API writes it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def put_events(store: Database, project_id: str, calendar_id: str, changes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write events as a sync would have left them; returns their ids."""
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    plain = {
        "project_id": project_id,
        "calendar_id": calendar_id,
        "version": 1,
        "title": "Weekly",
        "starts_at": start,
        "ends_at": start + timedelta(hours=1),
        "status": "confirmed",
        "attendees": [
            {"email": "ada@example.com", "name": None, "response": "accepted", "is_optional": False, "is_self": True}
        ],
        "visibility": "default",
        "is_busy": True,
        "event_type": "default",
        "raw": {"id": "x", "summary": "Weekly"},
        "fingerprint": b"",
        "created_at": start - timedelta(hours=2),
        "updated_at": start - timedelta(hours=2),
        "meeting_url": f"{MEET}?authuser=0",
        "meeting_link": MEET,
        "is_deleted": False,
    }
    rows = [plain | {"id": ids.new("evt"), "provider_event_id": ids.new("evt")} | change for change in changes]
    rows = [row | {"start_time": row["starts_at"], "end_time": row["ends_at"]} for row in rows]
    with store.begin() as conn:
        conn.execute(sa.insert(calendar_event), rows)
    return [row["id"] for row in rows]


@pytest.fixture(scope="session")
def scene(server: Server, store: Database, new_tenant: Callable[[], Tenant]) -> Iterator[Scene]:
    """Made once; nothing that uses it may change it."""
    ours, theirs = new_tenant(), new_tenant()
    now = datetime.now(UTC)
    past = now - timedelta(hours=1)
    names = {
        "key": ours.key,
        "past": instant(past),
        "soon": instant(now.replace(microsecond=0) + timedelta(hours=4)),
        "in four years": instant(now + timedelta(days=4 * 365)),
    }
    with httpx.Client(base_url=f"{server.url}/api/v1", headers=ours.headers, trust_env=False, timeout=20) as client:

        def post(path: str, body: dict[str, Any], tenant: Tenant) -> str:
            answer = client.post(path, json=body, headers=tenant.headers)
            assert answer.status_code == 201, answer.text
            return answer.json()["id"]

        for prefix, tenant in (("", ours), ("their ", theirs)):
            calendar = post("/calendars", CALENDAR | {"deduplication_key": "taken"}, tenant)
            made = put_events(
                store,
                tenant.id,
                calendar,
                [{}, {"meeting_url": None, "meeting_link": None}, {"starts_at": past}, {"is_deleted": True}],
            )
            names |= {f"{prefix}{name}": event for name, event in zip(EVENTS, made, strict=True)}
            names[f"{prefix}calendar"] = calendar
            names[f"{prefix}bot"] = post(
                "/bots",
                {
                    "bot_name": "Notes",
                    "meeting_url": MEET,
                    "join_at": names["soon"],
                    "deduplication_key": "taken",
                },
                tenant,
            )
        yield Scene(client=client, their_key=theirs.key, names=names)


EVENTS = ("event", "event without a link", "event under way", "deleted event")


@pytest.fixture
def put(store: Database) -> Callable[[str, str, Sequence[Mapping[str, Any]]], list[str]]:
    """Writes events of a project's calendar, each given by what matters; returns their ids."""
    return partial(put_events, store)


@pytest.fixture
def limited(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, int]]:
    """A client of a server process that allows few POSTs, and how many."""
    budget = 4
    with Database(database_url) as db, db.begin() as conn:
        now = datetime.now(UTC)
        project = projects.create(conn, "limited", now=now)
        key = projects.create_key(conn, project.id, now=now).secret
    with (
        serving(tmp_path_factory.mktemp("limited"), database_url, PROJECT_POSTS_PER_MINUTE=str(budget)) as server,
        httpx.Client(
            base_url=f"{server.url}/api/v1", headers={"Authorization": f"Token {key}"}, trust_env=False, timeout=20
        ) as client,
    ):
        yield client, budget
