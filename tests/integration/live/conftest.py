"""Everything that a live worker meets, each behind a gate: a provider, a runner, a customer's endpoint, and our API.

The worker is `calendar-pipeline live`, a process like any other; the PostgreSQL is the module's own, to be stopped.
"""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import sqlalchemy as sa

from api.app import create_app
from bench.serve import serving
from calendar_pipeline import wiring
from calendar_pipeline.db import embedded, migrate
from calendar_pipeline.db.connect import Database
from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets.keyring import KeyRing, generate
from calendar_pipeline.settings import Settings
from sandbox.server import Running, running

WAIT_S = 150.0
"""Before a test gives up; a machine may be busy with other things."""
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")


def until(what: str, done: Callable[[], Any]) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + WAIT_S
    while not (answer := done()):
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.03)
    return answer


@dataclass(frozen=True)
class Arrived:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Hold:
    """Requests that get no answer until `release`, and then none either."""

    method: str
    part: str
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


class Gate:
    """Stands in front of a server (or of nobody: then it answers 200): notes what comes, and holds what it is told."""

    def __init__(self, behind: str = "") -> None:
        self.behind = behind
        self.arrived: list[Arrived] = []
        self.holds: list[Hold] = []
        handler = type("Handler", (_Handler,), {"gate": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # who asked is dead
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def hold(self, method: str, part: str) -> Hold:
        """From now on such requests are passed on, and what is answered to them is held back."""
        self.holds.append(Hold(method, part))
        return self.holds[-1]

    def release(self) -> None:
        """Hold nothing any more."""
        for one in self.holds:
            one.released.set()
        self.holds = []

    def close(self) -> None:
        self.release()
        self.http.shutdown()
        self.http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gate: Gate

    def log_message(self, *_: object) -> None:
        """Silence."""

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Arrived(self.command, unquote(self.path), headers, body)
        self.gate.arrived.append(asked)
        status, told, answer = self._behind(headers, body)
        for hold in self.gate.holds:
            if hold.method == asked.method and hold.part in asked.path:
                hold.reached.set()
                hold.released.wait(WAIT_S)
                self.close_connection = True
                return
        self.send_response(status)
        for name, value in told:
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _behind(self, headers: dict[str, str], body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        if not self.gate.behind:
            return 200, [], b""
        connection = http.client.HTTPConnection(urlsplit(self.gate.behind).netloc, timeout=WAIT_S)
        try:
            passed = {name: value for name, value in headers.items() if name not in HOP_BY_HOP}
            connection.request(self.command, self.path, body=body or None, headers=passed)
            answer = connection.getresponse()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Any method alike."""
        if name.startswith("do_"):
            return self._pass
        raise AttributeError(name)


class Worker:
    """`calendar-pipeline live` as a process."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "calendar_pipeline.cli", "live"],
                env=environment,
                cwd=log.parent,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """With no chance to say anything."""
        self.process.kill()
        self.process.wait(20)

    def stop(self) -> int:
        """As a service manager does; the exit code."""
        self.process.terminate()
        return self.process.wait(60)


@dataclass
class Site:
    """An installation whose only workers are live ones."""

    until = staticmethod(until)

    server: Any
    db: Database
    sandbox: Running
    provider: Gate
    runner: Gate
    receiver: Gate
    attendee: Any
    api: str
    key: str
    environment: dict[str, str]
    log: Path
    workers: list[Worker] = field(default_factory=list)

    def start(self) -> Worker:
        """Another worker, at work."""
        before = self.working()
        self.workers.append(Worker(self.environment, self.log))
        until("a worker at work", lambda: self.working() - before)
        return self.workers[-1]

    def working(self) -> set[str]:
        rows = self.rows("SELECT id FROM live_run WHERE state = 'working' AND beat_until > clock_timestamp()")
        return {str(row.id) for row in rows}

    def rows(self, query: str, **given: object) -> list[Any]:
        with self.db.single() as connection:
            return list(connection.execute(sa.text(query), given))

    def execute(self, statement: str, **given: object) -> None:
        with self.db.begin() as connection:
            connection.execute(sa.text(statement), given)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The API's answer."""
        request = urllib.request.Request(
            f"{self.api}/api/v1{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", "authorization": f"Token {self.key}"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return json.load(answer)

    def follow(self, count: int, *, first: int) -> dict[str, str]:
        """So many calendars of one event, read, watched, and at rest: our id → the provider's."""
        made = {}
        for one in self.sandbox.create_calendars(count, 1, first=first, prefix="live"):
            body = {"platform": "google", "client_id": one.client_id, "client_secret": one.client_secret}
            body |= {"refresh_token": one.refresh_token, "platform_uuid": one.calendar_id}
            made[self.ask("POST", "/calendars", body)["id"]] = one.calendar_id
        until("channels", lambda: all(self.watched(calendar) == 1 for calendar in made))
        until("rest", self.rests)
        return made

    def watched(self, calendar: str) -> int:
        """Its channels that are alive and have been heard of."""
        [row] = self.rows(
            "SELECT count(*) AS n FROM notification_channel WHERE calendar_id = :id AND state = 'live' "
            "AND confirmed_at IS NOT NULL",
            id=calendar,
        )
        return int(row.n)

    def rests(self) -> bool:
        """Nothing is asked for, held or to be delivered."""
        [row] = self.rows(
            "SELECT (SELECT count(*) FROM calendar WHERE requested_gen > synced_gen OR look_again "
            "OR lease_until > clock_timestamp() OR channel_wanted) + "
            "(SELECT count(*) FROM webhook_delivery WHERE status = 'pending') AS n"
        )
        return row.n == 0

    def change(self, provider_id: str, title: str) -> None:
        """A new event at the provider, which says that something changed."""
        start = self.sandbox.now().replace(microsecond=0).isoformat()
        self.sandbox.create_event(provider_id, start=start, title=title)

    def versions(self, title: str) -> int:
        """How often an event of this title stands in the record."""
        [row] = self.rows("SELECT count(*) AS n FROM event_history WHERE title = :title", title=title)
        return int(row.n)

    def received(self, calendar: str) -> list[str]:
        """The ids of webhooks that came for it, in their order."""
        return [
            one.headers["webhook-id"]
            for one in self.receiver.arrived
            if json.loads(one.body).get("calendar_id") == calendar
        ]

    def leases_run_out(self) -> None:
        """What is claimed is free."""
        for table in ("calendar", "bot", "notification_channel", "webhook_delivery"):
            self.execute(f"UPDATE {table} SET lease_until = clock_timestamp() WHERE lease_until IS NOT NULL")
        self.execute("UPDATE webhook_delivery SET next_attempt_at = now() WHERE status = 'pending'")

    def restart_postgresql(self) -> None:
        """It is stopped with all its connections, is away for a moment, and comes back."""
        self.server.stop()
        self.server.ensure_postgres_running()
        self.db.engine.dispose()  # ours and the API's: it is the workers that are tried


@pytest.fixture(scope="module")
def site(shared_attendee: Any) -> Iterator[Site]:
    keys = generate("live")
    with tempfile.TemporaryDirectory(prefix="cp-live-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # the embedded PostgreSQL may run as another user
        server = embedded.start(directory)
        url = embedded.url(server, "live")
        given = {"WEBHOOK_ALLOW_HTTP": "true", "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8", "WEBHOOK_PORTS": "any"}
        settings = Settings(_env_file=None, **{name.lower(): value for name, value in given.items()})
        with Database(url) as db, running() as sandbox:
            migrate.upgrade(db)
            with db.begin() as connection:
                project = projects.create(connection, "live", now=wiring.utc_now())
                key = projects.create_key(connection, project.id, now=wiring.utc_now()).secret
            gates = [Gate(sandbox.url), Gate(shared_attendee.url), Gate()]
            with serving(lambda: create_app(settings, db=db, keyring=KeyRing.parse(keys))) as api:
                environment = {
                    **{name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields},
                    **given,
                    "STATE_DIR": name,
                    "DATABASE_URL": url,
                    "CALENDAR_PIPELINE_KEYS": keys,
                    "GOOGLE_API_BASE_URL": f"{gates[0].url}/google",
                    "GOOGLE_TOKEN_URL": f"{gates[0].url}/google/token",
                    "PUBLIC_BASE_URL": api,
                    "PUSH_WINDOW_SECONDS": "0.1",
                    "BOT_RUNNER": "attendee",
                    "BOT_RUNNER_URL": gates[1].url,
                    "BOT_RUNNER_API_KEY": "of the runner",
                    "LIVE_RUNS": "2",
                    # What is held stays held, however long the rest takes.
                    "PROVIDER_TIMEOUT_SECONDS": str(WAIT_S),
                    "BOT_RUNNER_TIMEOUT_SECONDS": str(WAIT_S),
                    "WEBHOOK_TIMEOUT_SECONDS": str(WAIT_S),
                    "WEBHOOK_LEASE_SECONDS": str(int(2 * WAIT_S)),
                }
                site = Site(
                    server, db, sandbox, *gates, shared_attendee, api, key, environment, directory / "workers.log"
                )
                try:
                    yield site
                finally:
                    for worker in site.workers:
                        worker.kill()
                    for gate in gates:
                        gate.close()
        server.cleanup()
