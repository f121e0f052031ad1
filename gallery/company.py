"""A company whose people live at the sandbox: its calendars are followed, synced and served by the real stages.

Time is its own and stands still until it is told to move, so what is recorded is the same each time.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa

from calendar_pipeline.bots import run as bots
from calendar_pipeline.bots import store
from calendar_pipeline.bots.model import NewBot
from calendar_pipeline.bots.port import BotRunner
from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.calendars.model import NewCalendar
from calendar_pipeline.db.connect import Database
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.ingest.run import sync_many
from calendar_pipeline.projects import store as projects
from calendar_pipeline.providers.google.client import GoogleCalendar
from calendar_pipeline.providers.transport import Transport
from calendar_pipeline.secrets.keyring import KeyRing
from sandbox.model import State
from sandbox.server import Running, running
from sandbox.world import World


@dataclass
class Clock:
    """It stands still until it is told to move."""

    now: datetime

    def __call__(self) -> datetime:
        """The time that it was told last."""
        return self.now


@dataclass(kw_only=True)
class Company:
    """A project, and its people's calendars at a running sandbox."""

    db: Database
    keyring: KeyRing
    sandbox: Running
    clock: Clock
    project: str
    ingest: Ingest
    launcher: bots.Bots
    calendars: dict[str, str] = field(default_factory=dict[str, str])
    """Account → our id of its calendar. The provider's id is the account."""

    def hire(self, account: str, *, zone: str = "UTC") -> None:
        """Follow one more person's calendar."""
        made = self.sandbox.create_calendar(account=account, zone=zone)
        new = NewCalendar(
            platform="google",
            deduplication_key=account,
            client_id=made.client_id,
            client_secret=made.client_secret,
            refresh_token=made.refresh_token,
        )
        with self.db.begin() as connection:
            self.calendars[account] = calendars.create(connection, self.keyring, self.project, new, now=self.clock()).id

    def sync(self, accounts: Sequence[str] = ()) -> None:
        """Read these people's calendars, or all of them, now."""
        wanted = [self.calendars[account] for account in accounts or self.calendars]
        for one in sync_many(self.ingest, wanted, threads=1, regardless=True):
            if one.status != "synced":
                raise AssertionError(one)

    def ours(self, account: str, provider_event_id: str) -> str:
        """Our id of the provider's event in this person's calendar."""
        query = sa.text("SELECT id FROM calendar_event WHERE calendar_id = :calendar AND provider_event_id = :event")
        with self.db.single() as connection:
            given = {"calendar": self.calendars[account], "event": provider_event_id}
            return str(connection.execute(query, given).scalar_one())

    def send_bot(self, event_id: str) -> None:
        """Make a bot that follows the event, as a client does."""
        with self.db.begin() as connection:
            event = store.event(connection, self.project, event_id)
            if event.link is None:
                raise AssertionError(f"{event_id} has no link")
            new = NewBot(name="Notes", meeting_url=event.link, join_at=event.starts_at, event=event)
            store.create(connection, self.keyring, self.project, new, now=self.clock())

    def look_after_bots(self) -> None:
        """Do what bots need now."""
        bots.work(self.launcher)


@contextmanager
def company(db: Database, keyring: KeyRing, *, begins: datetime, runner: BotRunner) -> Generator[Company]:
    """A company of its own in a migrated database; its time begins then."""
    clock = Clock(begins)
    transport = Transport(timeout=30)
    with db.begin() as connection:
        project = projects.create(connection, "company", now=clock()).id
        projects.set_webhook_secret(connection, keyring, project, now=clock())
    try:
        with running(World(State(epoch="company"), clock=clock)) as sandbox:
            google = GoogleCalendar(
                transport, api_base_url=f"{sandbox.url}/google", token_url=sandbox.token_url, clock=clock
            )
            ingest = Ingest(
                db=db,
                providers={"google": google},
                keyring=keyring,
                clock=clock,
                interval=timedelta(minutes=30),
                buffer=timedelta(days=8),
                lease=timedelta(minutes=5),
            )
            launcher = bots.Bots(db=db, keyring=keyring, runner=runner, clock=clock)
            yield Company(
                db=db,
                keyring=keyring,
                sandbox=sandbox,
                clock=clock,
                project=project,
                ingest=ingest,
                launcher=launcher,
            )
    finally:
        transport.close()
