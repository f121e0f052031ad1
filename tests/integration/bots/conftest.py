"""A calendar at the sandbox, its bots here, and a runner that does as it is told."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from calendar_pipeline.bots import run as bots
from calendar_pipeline.bots import store
from calendar_pipeline.bots.model import Bot, NewBot
from calendar_pipeline.bots.run import Bots, Worked
from calendar_pipeline.bots.runners.fake import FakeRunner
from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.calendars.model import CalendarPatch
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
        for _ in range(200):  # each change of rules is a round of its own
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

    def reconnect(self) -> None:
        """The person gives access again."""
        fresh = self.sandbox.issue_refresh_token(self.credentials.account)
        with self.db.begin() as conn:
            change = CalendarPatch(refresh_token=fresh)
            calendars.patch(conn, self.keyring, self.project, self.calendar, change, now=self.clock())
        self.credentials = msgspec.structs.replace(self.credentials, refresh_token=fresh)
        assert self.sync() == "synced"


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
