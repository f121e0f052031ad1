"""The HTTP application, put together. Nothing happens at import; whatever it needs is handed in or in the settings."""

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime

from anyio import to_thread
from litestar import Litestar, Router
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from sqlalchemy.exc import OperationalError

from api import auth, body, edge, methods, negotiation, own, problems, writes
from api.limits import Limits
from api.metrics import Metrics
from api.routes import (
    api_keys,
    bot_rules,
    bots,
    calendar_events,
    calendar_status,
    calendars,
    connect,
    event_versions,
    health,
    metrics,
    openapi,
    pushes,
    reference,
    runner_reports,
    webhooks,
)
from api.services import STATE, Services
from calendar_pipeline.connect.run import connector
from calendar_pipeline.db import embedded, migrate
from calendar_pipeline.db.connect import Database
from calendar_pipeline.errors import SetupError
from calendar_pipeline.secrets import keyfile
from calendar_pipeline.secrets.keyring import KeyRing
from calendar_pipeline.settings import Settings

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """The time now, aware."""
    return datetime.now(UTC)


def create_app(
    settings: Settings,
    *,
    db: Database | None = None,
    keyring: KeyRing | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> Litestar:
    """The API. A database handed in is used as it is and left open; otherwise the settings' one is opened on start.

    Starting raises SetupError unless that database has this code's schema and the key ring can be read.
    """
    counted = Metrics()
    app = Litestar(
        route_handlers=[
            _below_base([*calendars.HANDLERS, *calendar_events.HANDLERS, *bots.HANDLERS, *connect.API_HANDLERS]),
            _below_base(
                [
                    *event_versions.HANDLERS,
                    *calendar_status.HANDLERS,
                    *bot_rules.HANDLERS,
                    *api_keys.HANDLERS,
                    *webhooks.HANDLERS,
                ],
                opt=own.OPT,
            ),
            connect.PAGES,
            Router(path="", route_handlers=pushes.HANDLERS, dependencies=pushes.DEPENDENCIES),
            *runner_reports.HANDLERS,
            *metrics.HANDLERS,
            *health.HANDLERS,
            *openapi.HANDLERS,
            *reference.HANDLERS,
        ],
        exception_handlers={Exception: problems.answer},
        lifespan=[_lifespan(settings, db=db, keyring=keyring, clock=clock, counted=counted)],
        request_max_body_size=body.LARGEST,
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    app.asgi_handler = edge.wrap(writes.wrap(app.asgi_handler), metrics=counted)
    return app


def _below_base(handlers: list[HTTPRouteHandler], *, opt: Mapping[str, object] | None = None) -> Router:
    """Paths below ``/api/v1``: a key with the right scope, JSON, and what holds for every write."""
    return Router(
        path=methods.BASE,
        route_handlers=handlers,
        guards=[negotiation.require_json, auth.require_key],
        before_request=writes.begin,
        dependencies={"posted": Provide(body.read)},
        opt=opt,
    )


def _lifespan(
    settings: Settings,
    *,
    db: Database | None,
    keyring: KeyRing | None,
    clock: Callable[[], datetime],
    counted: Metrics,
) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None, None]:
        try:
            ring = keyring or keyfile.load(settings)
            opened = db or await to_thread.run_sync(_open, settings)
        except SetupError as refusal:
            log.critical("The API does not start: %s", refusal)
            raise
        app.state[STATE] = Services(
            settings=settings,
            db=opened,
            keyring=ring,
            clock=clock,
            connector=connector(settings, opened, ring, clock=clock),
            limits=Limits(
                keys_per_minute=settings.api_key_requests_per_minute,
                strangers_per_minute=settings.api_stranger_requests_per_minute,
                visitors_per_minute=settings.connect_visits_per_minute,
            ),
            metrics=counted,
            keyring_was_given=keyring is not None,
        )
        try:
            yield
        finally:
            if db is None:
                opened.close()

    return lifespan


def _open(settings: Settings) -> Database:
    """The settings' database; raises SetupError unless its schema is this code's."""
    if settings.database_url is None:
        url = embedded.url(embedded.start(settings.state_dir))
    else:
        url = settings.database_url.get_secret_value()
    db = Database(url, application="calendar-pipeline api")
    try:
        migrate.check(db)
    except OperationalError:
        db.close()
        raise SetupError(
            "The database cannot be reached: see that PostgreSQL runs and that DATABASE_URL names it."
        ) from None
    except SetupError:
        db.close()
        raise
    return db
