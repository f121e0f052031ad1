"""A provider that pushes, our API that hears it, and a database between them: real HTTP both ways, time as we like."""

import re
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import uvicorn

from api.app import create_app
from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.channels import run
from calendar_pipeline.channels.run import Channels
from calendar_pipeline.db.connect import Database
from calendar_pipeline.event import Platform
from calendar_pipeline.ingest.outcome import Outcome
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.ingest.run import sync_many
from calendar_pipeline.providers.google.watch import GooglePush
from calendar_pipeline.providers.microsoft.subscriptions import MicrosoftPush
from calendar_pipeline.providers.transport import Transport
from calendar_pipeline.settings import Settings
from sandbox.server import Running, listen, running
from sandbox.world import World
from tests.serving import serving

SETTLE_S = 10.0
METRICS = "of-metrics-and-long-enough-for-it-0123"


@dataclass
class Pushing:
    """A followed calendar whose provider tells of changes."""

    db: Database
    sandbox: Running
    clock: Any
    channels: Channels
    calendar: str
    """Ours."""
    at: str
    """The provider's."""
    project: str
    platform: Platform

    def keep(self, **passed: float) -> int:
        """What the live path and the schedule do about channels, after this time has passed."""
        self.clock.pass_by(**passed)
        done = run.keep(self.channels)
        self.settle()
        return done

    def settle(self) -> None:
        """Wait for all notifications to be heard."""
        assert self.sandbox.world.pushes(settle_s=SETTLE_S).waiting == 0

    def sync(self, *, regardless: bool = False, **passed: float) -> list[Outcome]:
        """Sync the calendar if it is due, after this time has passed."""
        self.clock.pass_by(**passed)
        return list(sync_many(self.channels.ingest, [self.calendar], threads=1, regardless=regardless))

    def change(self) -> None:
        """Something changes at the provider, and it says so."""
        start = (self.clock() + timedelta(days=1)).isoformat()  # in view, however long the test's time has passed
        self.sandbox.world.create_event(self.at, start=start, title="Meeting")
        self.settle()

    def connect(self) -> None:
        """First sync, channel, greeting, and the sync that closes the gap before it."""
        self.sync()
        assert self.keep() == 1
        self.sync()

    def rows(self, query: str, **given: Any) -> list[Any]:
        with self.db.single() as connection:
            return list(connection.execute(sa.text(query), {"cal": self.calendar, **given}).mappings())

    def execute(self, statement: str, **given: Any) -> None:
        with self.db.begin() as connection:
            connection.execute(sa.text(statement), {"cal": self.calendar, **given})

    def switch(self, **changes: Any) -> None:
        """Set switches of the provider."""
        self.sandbox.set_switches(provider=self.platform, **changes)

    @property
    def row(self) -> Any:
        [row] = self.rows("SELECT * FROM calendar WHERE id = :cal")
        return row

    @property
    def is_due(self) -> bool:
        return bool(self.row["next_sync_at"] <= self.clock())

    def counted(self, verdict: str) -> int:
        """Notifications of which `/metrics` says this."""
        request = urllib.request.Request(
            f"{self.channels.public_base_url}/metrics", headers={"authorization": f"Bearer {METRICS}"}
        )
        with urllib.request.urlopen(request, timeout=SETTLE_S) as answer:
            labels = rf'platform="{self.platform}",verdict="{verdict}"'
            found = re.search(rf"notifications_total\{{{labels}\}} (\S+)", answer.read().decode())
        return int(float(found[1])) if found else 0

    def states(self) -> list[str]:
        return [row["state"] for row in self.rows("SELECT state FROM notification_channel ORDER BY created_at, id")]

    def asked(self) -> dict[str, int]:
        """Requests by endpoint since the last look."""
        asked = self.sandbox.world.stats().requests
        self.sandbox.world.reset_stats()
        return asked

    def forget(self) -> None:
        """What DELETE of the calendar does."""
        with self.db.begin() as connection:
            calendars.delete(connection, self.project, self.calendar)

    def crashing(self, point: str, what: Callable[[], object]) -> Channels:
        """The same, but `what` happens at a point of the work."""
        ingest = replace(self.channels.ingest, crash=lambda at: what() if at == point else None)
        return replace(self.channels, ingest=ingest)


@pytest.fixture
def sandbox(clock: Any) -> Iterator[Running]:
    with running(World(clock=clock)) as one:
        yield one


@pytest.fixture
def public_url(db: Database, keyring: Any, clock: Any) -> Iterator[str]:
    """The API behind a real socket, where the provider reaches it."""
    app = create_app(Settings(_env_file=None, metrics_token=METRICS), db=db, keyring=keyring, clock=clock)
    sock = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none")
    with serving(uvicorn.Server(config), sock):
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


ENDPOINTS = {
    "google": {"watch": "events.watch", "stop": "channels.stop", "away": "unavailable"},
    "microsoft": {"watch": "subscriptions.create", "stop": "subscriptions.delete", "away": "service_unavailable"},
}


@pytest.fixture(params=["google", "microsoft"])
def platform(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def endpoints(platform: Platform) -> dict[str, str]:
    """What the provider calls its requests about channels, and the sandbox its being away."""
    return ENDPOINTS[platform]


@pytest.fixture
def pushing(
    db: Database,
    platform: Platform,
    sandbox: Running,
    public_url: str,
    clock: Any,
    ingest: Callable[[Running], Ingest],
    follow: Callable[..., list[str]],
    project_id: str,
) -> Iterator[Pushing]:
    made = sandbox.world.create_calendar(account="ada@example.com", provider=platform)
    [calendar] = follow([made])
    transport = Transport(timeout=5)
    push: dict[Platform, Any] = {
        "google": GooglePush(transport, api_base_url=f"{sandbox.url}/google", clock=clock),
        "microsoft": MicrosoftPush(transport, graph_base_url=sandbox.graph_url, clock=clock),
    }
    syncs = replace(ingest(sandbox), safety_poll=timedelta(hours=6))
    yield Pushing(
        db=db,
        sandbox=sandbox,
        clock=clock,
        channels=Channels(ingest=syncs, push=push, public_base_url=public_url),
        calendar=calendar,
        at=made.calendar_id,
        project=project_id,
        platform=platform,
    )
    transport.close()
