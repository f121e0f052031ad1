"""What a calendar costs its provider at rest with healthy push: seven days of virtual time, real HTTP, one process."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from rich.table import Table

from api.app import create_app
from bench.fleet import database
from bench.serve import serving
from calendar_pipeline import wiring
from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.calendars.model import NewCalendar
from calendar_pipeline.channels import run as channels
from calendar_pipeline.db.connect import Database
from calendar_pipeline.event import Platform
from calendar_pipeline.ingest import run
from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets.keyring import generate
from calendar_pipeline.settings import Settings
from sandbox.server import running
from sandbox.world import World

DAYS = 7
STEP = timedelta(minutes=5)
CALENDARS = 20
PLATFORMS: tuple[Platform, ...] = ("google", "microsoft")
START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        """The time now."""
        return self.now


def week() -> Table:
    """Requests per calendar and day, by endpoint. Token requests are counted apart: they are no quota of the API's."""
    table = Table(title=f"{CALENDARS} calendars at rest for {DAYS} days, healthy push; per calendar and day")
    for name in ("provider", "API requests", "token requests", "by endpoint"):
        table.add_column(name, justify="right" if "requests" in name else "left")
    for platform in PLATFORMS:
        asked, misses = _rest(platform)
        per = CALENDARS * DAYS
        tokens = asked.pop("token", 0)
        named = ", ".join(f"{name} {count / per:.2f}" for name, count in asked.most_common())
        table.add_row(platform, f"{asked.total() / per:.2f}", f"{tokens / per:.2f}", f"{named}; {misses} misses")
    return table


def _rest(platform: Platform) -> tuple[Counter[str], int]:
    """The requests of the week by endpoint, and how many misses were seen."""
    clock = Clock()
    with database() as url, Database(url, connections=16) as db, running(World(clock=clock)) as box:
        settings = Settings(
            _env_file=None,  # pyright: ignore[reportCallIssue]
            calendar_pipeline_keys=generate("week"),  # pyright: ignore[reportArgumentType]
            google_api_base_url=f"{box.url}/google",
            google_token_url=box.token_url,
            microsoft_graph_base_url=box.graph_url,
            microsoft_login_base_url=box.login_url,
        )
        with serving(lambda: create_app(settings, db=db, clock=clock)) as public:
            settings = settings.model_copy(update={"public_base_url": public})
            ingest = wiring.ingest(settings, db, clock=clock)
            kept = wiring.channels(settings, ingest)
            made = box.create_calendars(CALENDARS, 20, provider=platform)
            with db.begin() as connection:
                project = projects.create(connection, "week", now=clock()).id
                for one in made:
                    new = NewCalendar(
                        platform=platform,
                        platform_uuid=one.calendar_id,
                        client_id=one.client_id,
                        client_secret=one.client_secret,
                        refresh_token=one.refresh_token,
                    )
                    calendars.create(connection, ingest.keyring, project, new, now=clock())
            while clock.now < START + timedelta(days=DAYS):
                while run.sync_due(ingest, limit=1000, threads=4) or channels.keep(kept):
                    box.world.pushes(settle_s=5)
                if clock.now == START:
                    box.world.reset_stats()  # the first day's first hour is not rest
                clock.now += STEP
            with db.single() as connection:
                misses = connection.execute(sa.text("SELECT sum(misses) FROM calendar")).scalar_one()
            return Counter(box.world.stats().requests), int(misses)
