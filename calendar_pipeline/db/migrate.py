"""Bring a database to the schema of this code, and refuse one that is newer."""

from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from calendar_pipeline.db.analysts import make
from calendar_pipeline.db.connect import MINIMUM_VERSION, Database
from calendar_pipeline.errors import SetupError

LOCK = 0x43414C50
"""Advisory lock held while migrating; any constant of our own ("CALP")."""

MONTHS_AHEAD = 3


def upgrade(db: Database) -> None:
    """Run the missing migrations under an advisory lock; safe to call from many processes at once."""
    with db.engine.connect() as connection:
        _check_server(connection)
        connection.execute(sa.text("SET lock_timeout = '10s'"))
        connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
        connection.commit()
        try:
            check_not_newer(connection)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            make.everything(connection)
            connection.commit()
        finally:
            connection.rollback()
            connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK})
            connection.execute(sa.text("RESET lock_timeout"))
            connection.commit()
    prepare_history(db, now=datetime.now(UTC))


def check(db: Database) -> None:
    """Raise SetupError unless the database has exactly this code's schema."""
    with db.single() as connection:
        _check_server(connection)
        check_not_newer(connection)
        at = MigrationContext.configure(connection).get_current_revision()
    if at != _scripts().get_current_head():
        raise SetupError("The database's schema is older than this program: run 'calendar-pipeline migrate'.")


def check_not_newer(connection: Connection) -> None:
    """Raise SetupError if the database has a revision that this code does not know."""
    at = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in _scripts().walk_revisions()}
    if at is not None and at not in known:
        raise SetupError(
            f"The database's schema (revision {at}) is newer than this program: upgrade the program, "
            "or restore the database from before its upgrade."
        )


def prepare_history(db: Database, *, now: datetime) -> None:
    """Make the history's partitions for this month and the next ones, where they are missing.

    A row whose month has no partition goes to the default one, so nothing waits for this.
    """
    with db.begin() as connection:
        connection.execute(
            sa.text("SELECT event_history_prepare(CAST(:month AS date), :months)"),
            {"month": now.astimezone(UTC).date().replace(day=1), "months": MONTHS_AHEAD},
        )


def _check_server(connection: Connection) -> None:
    version = int(connection.execute(sa.text("SHOW server_version_num")).scalar_one())
    if version < MINIMUM_VERSION:
        raise SetupError(f"PostgreSQL 15 or newer is needed; this server says {version // 10_000}.")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
