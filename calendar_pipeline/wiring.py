"""From settings to things that work: the one place where the parts are put together."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from calendar_pipeline.bots import reports
from calendar_pipeline.bots.plan import Policy
from calendar_pipeline.bots.port import BotRunner
from calendar_pipeline.bots.run import Bots
from calendar_pipeline.bots.runners.attendee import AttendeeRunner
from calendar_pipeline.bots.runners.webhook import WebhookRunner
from calendar_pipeline.channels.run import Channels
from calendar_pipeline.db import embedded
from calendar_pipeline.db.connect import Database
from calendar_pipeline.errors import SetupError
from calendar_pipeline.ingest.guard import Guard
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.providers import registry
from calendar_pipeline.providers.transport import Transport
from calendar_pipeline.secrets import keyfile
from calendar_pipeline.settings import Settings
from calendar_pipeline.webhooks import address
from calendar_pipeline.webhooks.client import Limits
from calendar_pipeline.webhooks.run import Dispatch


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


def bots(settings: Settings, db: Database, *, clock: Callable[[], datetime] = utc_now) -> Bots:
    """All that is needed to plan and launch bots; raises SetupError if the runner is not told of as it must be."""
    ring = keyfile.load(settings)
    return Bots(
        db=db,
        keyring=ring,
        runner=runner(settings),
        clock=clock,
        policy=Policy(
            lead=timedelta(minutes=settings.bot_lead_minutes),
            early=timedelta(seconds=settings.bot_handover_seconds),
            patience=timedelta(minutes=settings.bot_patience_minutes),
            follow_declines=settings.bot_follow_declines,
        ),
        lease=timedelta(seconds=settings.bot_lease_seconds),
        threads=settings.bot_threads,
        reports_to=lambda bot_id, launch: reports.webhooks(settings.public_base_url, ring, bot_id, launch),
    )


def runner(settings: Settings) -> BotRunner:
    """Who runs bots."""
    if settings.bot_runner == "webhook":
        return WebhookRunner()
    if settings.bot_runner_url is None or settings.bot_runner_api_key is None:
        raise SetupError("BOT_RUNNER=attendee needs BOT_RUNNER_URL and BOT_RUNNER_API_KEY: set both.")
    return AttendeeRunner(
        Transport(timeout=settings.bot_runner_timeout_seconds, max_body=1024 * 1024),
        base_url=settings.bot_runner_url,
        api_key=settings.bot_runner_api_key.get_secret_value(),
    )


def dispatch(settings: Settings, db: Database, *, clock: Callable[[], datetime] = utc_now) -> Dispatch:
    """All that delivering webhooks needs."""
    total = timedelta(seconds=settings.webhook_timeout_seconds)
    return Dispatch(
        db=db,
        keyring=keyfile.load(settings),
        policy=address.policy(
            http=settings.webhook_allow_http,
            networks=settings.webhook_allowed_networks,
            ports=settings.webhook_ports,
        ),
        clock=clock,
        limits=Limits(total=total, connect=min(total, Limits().connect)),
        lease=timedelta(seconds=settings.webhook_lease_seconds),
        slots=settings.webhook_slots,
    )
