"""From settings to things that work: the one place where the parts are put together."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from calendar_pipeline.channels.run import Channels
from calendar_pipeline.db import embedded
from calendar_pipeline.db.connect import Database
from calendar_pipeline.errors import SetupError
from calendar_pipeline.ingest.guard import Guard
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.providers import registry
from calendar_pipeline.secrets import keyfile
from calendar_pipeline.settings import Settings


def utc_now() -> datetime:
    """The wall clock, aware and UTC."""
    return datetime.now(UTC)


def database_url(settings: Settings) -> str:
    """The configured database, or the embedded one, which is started if it does not run."""
    if settings.database_url is not None and (url := settings.database_url.get_secret_value()):
        return url
    if settings.environment == "production":
        raise SetupError("DATABASE_URL is not set. Production does not start an embedded PostgreSQL: set it.")
    return embedded.url(embedded.start(settings.state_dir))


@contextmanager
def database(settings: Settings, *, connections: int = 10) -> Generator[Database]:
    """The configured database, closed at the end."""
    with Database(database_url(settings), connections=connections) as db:
        yield db


def ingest(
    settings: Settings, db: Database, *, clock: Callable[[], datetime] = utc_now, run_id: str | None = None
) -> Ingest:
    """All that a sync needs."""
    return Ingest(
        db=db,
        providers=registry.providers(settings, clock=clock),
        keyring=keyfile.load(settings),
        clock=clock,
        interval=settings.sync_interval,
        buffer=timedelta(days=settings.held_buffer_days),
        lease=timedelta(seconds=settings.sync_lease_seconds),
        safety_poll=settings.safety_poll,
        push_window=timedelta(seconds=settings.push_window_seconds),
        guard=Guard(per_client=settings.provider_requests_per_minute),
        run_id=run_id,
    )


def channels(settings: Settings, ingest: Ingest) -> Channels:
    """All that keeping push channels takes."""
    return Channels(
        ingest=ingest,
        push=registry.push(settings, clock=ingest.clock),
        public_base_url=settings.public_base_url,
    )
