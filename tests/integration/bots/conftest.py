"""A calendar at the sandbox, its bots here, and a runner that does as it is told."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from calendar_pipeline.bots import run as bots
from calendar_pipeline.bots import store
from calendar_pipeline.bots.model import Bot, NewBot
from calendar_pipeline.bots.run import Bots, Worked
from calendar_pipeline.bots.runners.fake import FakeRunner
from calendar_pipeline.db.connect import Database
from calendar_pipeline.errors import NotFound
from calendar_pipeline.ingest import run as ingest_run
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.secrets.keyring import KeyRing
from sandbox.replies import Credentials
from sandbox.server import Running, running

MEET = "https://meet.google.com/abc-defg-hij"
ZOOM = "https://zoom.us/j/123456789"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Running]:
    with running() as sandbox:
        yield sandbox


@dataclass
class Site:
    """Everything from the provider to the runner, driven by hand."""

    db: Database
    clock: Any
    keyring: KeyRing
    project: str
    sandbox: Running
    credentials: Credentials
    calendar: str
    ingest: Ingest
    runner: FakeRunner
    bots: Bots
    provider_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.provider_id = self.credentials.calendar_id

    def event(self, *, hours: float = 2, link: str = MEET, **more: Any) -> str:
        """An event at the provider, synced; gives the provider's id."""
        start = (self.clock() + timedelta(hours=hours)).isoformat()
        made = self.sandbox.create_event(self.provider_id, start=start, title="Talk", link=link, **more)
        self.sync()
        return str(made["id"])

    def sync(self, *, regardless: bool = True) -> str:
        """Read the provider; gives how that ended."""
        [outcome] = ingest_run.sync_many(self.ingest, [self.calendar], threads=1, regardless=regardless)
        return outcome.status

    def ours(self, provider_event_id: str) -> str:
        """Our id of the provider's event."""
        with self.db.single() as conn:
            return str(
                conn.execute(
                    sa.text("SELECT id FROM calendar_event WHERE provider_event_id = :id"), {"id": provider_event_id}
                ).scalar_one()
            )

    def bot(self, provider_event_id: str, **more: Any) -> str:
        """A bot for the event, made as the API makes it."""
        with self.db.begin() as conn:
            event = store.event(conn, self.project, self.ours(provider_event_id))
            assert event.link
            new = NewBot(name="Notes", meeting_url=event.link, join_at=event.starts_at, event=event, **more)
            return store.create(conn, self.keyring, self.project, new, now=self.clock()).id

    def lone_bot(self, join_at: datetime | None, **more: Any) -> str:
        """A bot that follows no event."""
        with self.db.begin() as conn:
            new = NewBot(name="Notes", meeting_url=MEET, join_at=join_at, **more)
            return store.create(conn, self.keyring, self.project, new, now=self.clock()).id

    def work(self, **changes: Any) -> Worked:
        """Follow and launch until there is nothing left to do now."""
        total = Worked()
        for _ in range(20):
            worked = bots.work(replace(self.bots, **changes))
            total.decisions.update(worked.decisions)
            total.late += worked.late
            total.lateness += worked.lateness
            if not worked.total:
                return total
        raise AssertionError("it does not come to rest")

    def settle(self) -> Worked:
        """Sync and work."""
        self.sync()
        return self.work()

    def shown(self, bot_id: str) -> Bot | None:
        """The bot as API clients see it; None if they do not."""
        with self.db.single() as conn:
            try:
                return store.get(conn, self.project, bot_id)
            except NotFound:
                return None

    def row(self, bot_id: str) -> sa.Row[Any]:
        with self.db.single() as conn:
            return conn.execute(sa.text("SELECT * FROM bot WHERE id = :id"), {"id": bot_id}).one()

    def decisions(self, bot_id: str) -> list[str]:
        with self.db.single() as conn:
            rows = conn.execute(
                sa.text("SELECT decision FROM bot_event WHERE bot_id = :id ORDER BY id"), {"id": bot_id}
            )
            return list(rows.scalars())

    def reasons(self, bot_id: str) -> list[str]:
        with self.db.single() as conn:
            rows = conn.execute(sa.text("SELECT reason FROM bot_event WHERE bot_id = :id ORDER BY id"), {"id": bot_id})
            return list(rows.scalars())

    def told(self) -> list[dict[str, Any]]:
        """What webhooks were written for bots."""
        with self.db.single() as conn:
            rows = conn.execute(sa.text("SELECT body FROM webhook_delivery WHERE bot_id IS NOT NULL ORDER BY n"))
            return [json.loads(body) for body in rows.scalars()]

    def disconnect(self) -> None:
        self.sandbox.revoke(self.credentials.refresh_token)
        self.sync()
        self.clock.pass_by(minutes=11)
        assert self.sync() == "disconnected"


@pytest.fixture
def site(
    db: Database,
    clock: Any,
    keyring: KeyRing,
    project_id: str,
    sandbox: Running,
    follow: Callable[[Iterable[Credentials]], list[str]],
    ingest: Callable[[Running], Ingest],
    request: pytest.FixtureRequest,
) -> Iterator[Site]:
    sandbox.set_clock(clock(), frozen=True)
    account = f"p{abs(hash(request.node.nodeid))}@example.com"
    credentials = sandbox.create_calendar(account=account, zone="Europe/Berlin")
    [calendar] = follow([credentials])
    runner = FakeRunner()
    yield Site(
        db=db,
        clock=clock,
        keyring=keyring,
        project=project_id,
        sandbox=sandbox,
        credentials=credentials,
        calendar=calendar,
        ingest=ingest(sandbox),
        runner=runner,
        bots=Bots(db=db, keyring=keyring, runner=runner, clock=clock),
    )
    sandbox.clear_faults()


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
