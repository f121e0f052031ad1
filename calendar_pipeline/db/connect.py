"""Connections to PostgreSQL.

`Database` hands out transactions and single autocommit statements, and counts statements for whoever measures.
"""

import uuid
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.event import listen
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

from calendar_pipeline.errors import SetupError

MINIMUM_VERSION = 150_000
"""PostgreSQL 15, as the server numbers its versions."""


OPTIONS = "-c timezone=UTC -c idle_in_transaction_session_timeout=60s"
"""A worker that is stopped or cut off in the middle of a transaction holds up others for a minute at most."""


def json_text(value: object) -> str:
    """Compact JSON of what we store; aware datetimes as RFC 3339, dates as ISO 8601."""
    return msgspec.json.encode(value).decode()


class Database:
    """A pooled PostgreSQL database. Safe to share among threads, not across a fork."""

    def __init__(self, url: str | URL, *, connections: int = 10, application: str = "calendar-pipeline") -> None:
        self.url = psycopg_url(url)
        self.engine: Engine = sa.create_engine(
            self.url,
            pool_size=connections,
            max_overflow=4,
            pool_pre_ping=False,
            pool_use_lifo=True,
            pool_recycle=1800,
            hide_parameters=True,  # they hold titles and addresses, and an error's text is logged
            connect_args={"application_name": application, "connect_timeout": 10, "options": OPTIONS},
            json_serializer=json_text,
            json_deserializer=msgspec.json.Decoder().decode,
        )
        self._single = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self.statements = 0
        listen(self.engine, "before_cursor_execute", self._count)

    def _count(self, *_: object) -> None:
        self.statements += 1

    @contextmanager
    def begin(self) -> Generator[Connection]:
        """One transaction: committed at the end, rolled back on an exception."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def single(self) -> Generator[Connection]:
        """Statements that each stand alone: no BEGIN, no COMMIT."""
        with self._single.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def psycopg_url(url: str | URL) -> URL:
    """The URL with the psycopg 3 driver named, whatever driver it named before."""
    return _read(url).set(drivername="postgresql+psycopg")


def dagster_url(url: str | URL) -> str:
    """The URL as dagster-postgres needs it: psycopg2, whose NOTIFY takes parameters."""
    return _read(url).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)


def _read(url: str | URL) -> URL:
    """The URL taken apart; raises SetupError, which does not repeat it, since a password may stand in it."""
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        raise SetupError(
            "DATABASE_URL and DAGSTER_POSTGRES_URL are written postgresql://user:password@host:5432/name; what is "
            "special in the password is written %-encoded."
        ) from None


AWAY = (OperationalError, InterfaceError)
"""What is raised where the database is away; an OperationalError may mean more, see `is_away`."""


def is_away(error: BaseException) -> bool:
    """Whether the database was not there. One that says "disk full", or "too long for an index", is."""
    if not isinstance(error, AWAY):
        return False
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state is None or state.startswith(("08", "57P"))


def said(error: DBAPIError) -> str:
    """PostgreSQL's own words, or the driver's, in a line; neither parameters nor the statement are among them."""
    return next(iter(str(error.orig).splitlines()), type(error).__name__)


def new_lease() -> uuid.UUID:
    """A fencing token for one batch of claims."""
    return uuid.uuid4()


Row = sa.Row[*tuple[Any, ...]]
