"""A calendar at the provider sandbox, followed by us: real HTTP, real PostgreSQL, a clock that stands."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.calendars.model import CalendarPatch, NewCalendar
from calendar_pipeline.db.connect import Database
from calendar_pipeline.event import Platform
from calendar_pipeline.history import proof
from calendar_pipeline.ingest.outcome import Outcome
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.ingest.run import sync_many
from calendar_pipeline.projects import store as projects
from calendar_pipeline.providers.port import CalendarProvider
from calendar_pipeline.providers.transport import Answer, Transport
from calendar_pipeline.secrets.keyring import KeyRing, generate
from calendar_pipeline.settings import Settings
from sandbox.model import State
from sandbox.replies import Credentials
from sandbox.server import Running, running
from sandbox.world import World

Rewrite = Callable[[str, Answer], Answer]

TROUBLES: dict[str, dict[Platform, str]] = {
    "down": {"google": "unavailable", "microsoft": "service_unavailable"},
    "throttled": {"google": "too_many_requests", "microsoft": "too_many_requests"},
    "cursor refused": {"google": "gone", "microsoft": "sync_state_not_found"},
    "token endpoint down": {"google": "html_bad_gateway", "microsoft": "html_unavailable"},
    "grant withdrawn": {"google": "invalid_grant", "microsoft": "aadsts50173"},
    "secret wrong": {"google": "invalid_secret", "microsoft": "aadsts7000215"},
    "no right": {"google": "forbidden", "microsoft": "access_denied"},
    "no calendar": {"google": "not_found", "microsoft": "item_not_found"},
    "access token refused": {"google": "auth_error", "microsoft": "invalid_authentication_token"},
}
"""What can go wrong at either provider, and what its sandbox calls it."""


class Tampered(Transport):
    """The real transport; what comes over it can be rewritten on its way."""

    rewrite: Rewrite | None = None

    def request(self, method: str, url: str, **more: Any) -> Answer:
        answer = super().request(method, url, **more)
        return self.rewrite(url, answer) if self.rewrite is not None else answer


@dataclass(frozen=True)
class Followed:
    """A calendar as its provider knows it and as we do."""

    id: str
    project: str
    google: Credentials

    @property
    def credentials(self) -> Credentials:
        return self.google

    @property
    def at_google(self) -> str:
        return self.google.calendar_id

    @property
    def there(self) -> str:
        """Its id at the provider."""
        return self.google.calendar_id


@dataclass
class Bench:
    """What a test of a sync does and looks at."""

    db: Database
    world: World
    clock: Any
    keyring: KeyRing
    transport: Tampered
    ingest: Ingest
    project: str
    platform: Platform = "google"
    cal: Followed = field(init=False)
    """The calendar that most tests are about."""

    def __post_init__(self) -> None:
        self.cal = self.follow()

    def follow(self, *, project: str | None = None, secret: str | None = None, **given: Any) -> Followed:
        """A new calendar at the provider, followed; with `secret` in place of its client's, and for our project."""
        made = self.world.create_calendar(**{"provider": self.platform, **given})
        project = project or self.project
        new = NewCalendar(
            platform=made.provider,
            client_id=made.client_id,
            client_secret=secret or made.client_secret,
            refresh_token=made.refresh_token,
            platform_uuid=made.calendar_id,
        )
        with self.db.begin() as connection:
            row = calendars.create(connection, self.keyring, project, new, now=self.clock())
        return Followed(row.id, project, made)

    def add(self, title: str = "Meeting", start: str = "2026-11-24T15:00", **given: Any) -> str:
        """A new event of the calendar at its provider; its id."""
        return str(self.world.create_event(self.cal.at_google, title=title, start=start, **given)["id"])

    def trouble(self, name: str, **more: Any) -> int:
        """From now on (`times`: so often) this goes wrong at the provider; the trouble's id."""
        kind = TROUBLES[name][self.platform]
        endpoint = "token" if name in ("token endpoint down", "grant withdrawn", "secret wrong") else ""
        return self.world.add_fault(kind, provider=self.platform, **{"endpoint": endpoint, "times": None, **more}).id

    @property
    def refresh_token(self) -> str:
        """The stored one."""
        place = calendars.secret_place("refresh_token", self.cal.id, self.project)
        return self.keyring.open(self.row["refresh_token"], place)

    def sync_all(self, *ours: Followed, ingest: Ingest | None = None, **how: Any) -> list[Outcome]:
        how = {"threads": 1, **how}
        return list(sync_many(ingest or self.ingest, [one.id for one in ours], **how))

    def sync(self, *, full: bool = False, ingest: Ingest | None = None) -> Outcome:
        """Sync the calendar now, due or not."""
        [outcome] = self.sync_all(self.cal, regardless=True, full=full, ingest=ingest)
        return outcome

    def tick(self, **passed: float) -> list[Outcome]:
        """What a schedule does once this time has passed: sync it if it is due."""
        self.clock.pass_by(**passed)
        return self.sync_all(self.cal)

    def patch(self, which: Followed | None = None, **change: Any) -> None:
        """What PATCH of the calendar does: another sync is asked for."""
        one = which or self.cal
        with self.db.begin() as connection:
            calendars.patch(connection, self.keyring, one.project, one.id, CalendarPatch(**change), now=self.clock())

    def lose_token(self) -> None:
        """The next sync starts from a listing alone, with nothing announced."""
        with self.db.begin() as connection:
            connection.execute(sa.text("UPDATE calendar SET sync_token = NULL WHERE id = :id"), {"id": self.cal.id})

    def forget(self) -> None:
        """What DELETE of the calendar does."""
        with self.db.begin() as connection:
            calendars.delete(connection, self.project, self.cal.id)

    def crashing(self, point: str, what: Callable[[], object], **more: Any) -> Ingest:
        """The same, but `what` happens at a point of the sync."""
        return replace(self.ingest, crash=lambda at: what() if at == point else None, **more)

    def asked(self) -> dict[str, int]:
        """Requests by endpoint since the last look."""
        asked = self.world.stats().requests
        self.world.reset_stats()
        return asked

    # -- what is in the database ---------------------------------------------------------------------------

    def rows(self, query: str, **parameters: object) -> list[Any]:
        with self.db.single() as connection:
            return list(connection.execute(sa.text(query), {"cal": self.cal.id, **parameters}).mappings())

    def execute(self, statement: str, **parameters: object) -> None:
        with self.db.single() as connection:
            connection.execute(sa.text(statement), {"cal": self.cal.id, **parameters})

    @property
    def row(self) -> Any:
        """The calendar's row."""
        [row] = self.rows("SELECT * FROM calendar WHERE id = :cal")
        return row

    def events(self) -> dict[str, Any]:
        """Rows of events by Google's id."""
        found = self.rows("SELECT * FROM calendar_event WHERE calendar_id = :cal")
        return {row["provider_event_id"]: row for row in found}

    def live(self) -> dict[str, str | None]:
        """Titles of events that are not deleted, by Google's id."""
        return {key: row["title"] for key, row in self.events().items() if not row["is_deleted"]}

    def history(self, since: int = 0) -> list[Any]:
        return self.rows(
            "SELECT * FROM event_history WHERE calendar_id = :cal AND seq > :since ORDER BY seq", since=since
        )

    def runs(self) -> list[Any]:
        return self.rows("SELECT * FROM sync_run WHERE calendar_id = :cal ORDER BY id")

    def quarantined(self) -> dict[str, str]:
        """Reasons by Google's id."""
        found = self.rows("SELECT provider_event_id, reason FROM quarantined_event WHERE calendar_id = :cal")
        return {row["provider_event_id"]: row["reason"] for row in found}


class _Now:
    """The clock of whichever test is running."""

    clock: Callable[[], datetime]

    def __call__(self) -> datetime:
        return self.clock()


@pytest.fixture(scope="session")
def _now() -> _Now:
    return _Now()


@pytest.fixture(scope="session")
def _served(_now: _Now) -> Iterator[Running]:
    with running(World(State(epoch="none"), clock=_now)) as sandbox:
        yield sandbox


@pytest.fixture
def served(_served: Running) -> Running:
    """The sandbox that is asked."""
    return _served


@pytest.fixture(scope="session")
def _transport() -> Iterator[Tampered]:
    transport = Tampered(timeout=5)
    yield transport
    transport.close()


@pytest.fixture(scope="session")
def database_url(new_database: Callable[[], str]) -> str:
    """One database for all of these tests; each starts with it empty."""
    return new_database()


@pytest.fixture(scope="session")
def _pool(database_url: str) -> Iterator[Database]:
    with Database(database_url) as database:
        yield database


@pytest.fixture
def db(_pool: Database) -> Database:
    with _pool.begin() as connection:
        connection.execute(sa.text("SET LOCAL calendar_pipeline.retention = 'on'"))
        for table in ("event_history", "sync_run", "calendar_status", "oauth_client", "project"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
    return _pool


@pytest.fixture
def world(_served: Running, _now: _Now, clock: Any, request: pytest.FixtureRequest) -> World:
    """A provider that knows nothing yet and whose time is the test's."""
    _now.clock = clock
    _served.world.state = State(epoch=request.node.nodeid)
    _served.world.clear_faults()
    _served.world.reset_stats()
    return _served.world


@pytest.fixture
def providers(
    _served: Running, _transport: Tampered, clock: Any, wire: Callable[..., dict[Platform, CalendarProvider]]
) -> dict[Platform, CalendarProvider]:
    return wire(_served, _transport, clock)


@pytest.fixture
def google(providers: dict[Platform, CalendarProvider]) -> CalendarProvider:
    return providers["google"]


@pytest.fixture
def platform() -> Platform:
    """Whose calendar a test is about; parametrise it to ask of both."""
    return "google"


@pytest.fixture(scope="session")
def keys() -> str:
    """The key ring, as a setting holds it."""
    return generate("ingest")


@pytest.fixture(scope="session")
def keyring(keys: str) -> KeyRing:
    return KeyRing.parse(keys)


@pytest.fixture
def environment(_served: Running, database_url: str, keys: str, tmp_path: Path) -> Mapping[str, str]:
    """That of a process of ours: the test's database and key ring, the sandbox for providers, no other setting."""
    ours = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name not in ours} | {
        "DATABASE_URL": database_url,
        "CALENDAR_PIPELINE_KEYS": keys,
        "STATE_DIR": str(tmp_path),
        "GOOGLE_API_BASE_URL": f"{_served.url}/google",
        "GOOGLE_TOKEN_URL": _served.token_url,
        "MICROSOFT_LOGIN_BASE_URL": _served.login_url,
        "MICROSOFT_GRAPH_BASE_URL": _served.graph_url,
        "COLUMNS": "160",
    }


@pytest.fixture
def bench(
    db: Database,
    world: World,
    providers: dict[Platform, CalendarProvider],
    _transport: Tampered,
    clock: Any,
    keyring: KeyRing,
    platform: Platform,
) -> Iterator[Bench]:
    """A followed calendar. Afterwards the history must replay to the current events, without a hole."""
    _transport.rewrite = None
    with db.begin() as connection:
        project = projects.create(connection, "ours", now=clock())
    yield Bench(
        db=db,
        world=world,
        clock=clock,
        keyring=keyring,
        transport=_transport,
        project=project.id,
        platform=platform,
        ingest=Ingest(
            db=db,
            providers=providers,
            keyring=keyring,
            clock=clock,
            interval=timedelta(minutes=30),
            buffer=timedelta(days=8),
            lease=timedelta(minutes=5),
        ),
    )
    with db.begin() as connection:
        assert proof.replay_differences(connection) == []
        assert proof.holes(connection) == []
