"""Dagster, as its own tables show it: is the daemon alive, is anything switched off, do ticks and runs pile up.

Read as SQL: nothing but the shell imports Dagster. A test fails should its tables change.
"""

import json
from collections.abc import Iterator
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError, ProgrammingError

from calendar_pipeline.db.connect import Database, psycopg_url
from calendar_pipeline.doctor.finding import Finding, found
from calendar_pipeline.settings import Settings

DEAD = timedelta(minutes=5)
"""A daemon gives a sign of life twice a minute."""
STUCK = timedelta(minutes=15)
OPTIONAL = {"export_daily", "live_sensor"}
"""What a setting switches off."""
PURGED = timedelta(days=2)
"""Old runs are removed once a day."""


def examine(settings: Settings, db: Database) -> Iterator[Finding]:
    """From Dagster's storage, wherever it is."""
    given = settings.dagster_postgres_url
    url = psycopg_url(given.get_secret_value()) if given else db.url.set(database="dagster")
    try:
        with Database(url, connections=1) as storage, storage.single() as connection:
            yield from _examine(settings, connection)
    except (OperationalError, ProgrammingError):
        yield found(
            "Dagster",
            "its storage cannot be read",
            "set DAGSTER_POSTGRES_URL to its database, and start the daemon, which makes the tables",
            broken=True,
        )


def _examine(settings: Settings, connection: Connection) -> Iterator[Finding]:
    yield _heartbeat(connection)
    yield _switches(connection)
    yield _ticks(connection)
    yield _runs(connection)
    yield _size(settings, connection)


def _heartbeat(connection: Connection) -> Finding:
    row = connection.execute(
        sa.text("SELECT max(timestamp) AS last, (now() AT TIME ZONE 'UTC') AS now FROM daemon_heartbeats")
    ).one()
    age = None if row.last is None else row.now - row.last
    if age is None or age > DEAD:
        said = "has never run" if age is None else f"gave no sign of life for {age.total_seconds() / 60:.0f} min"
        return found("Dagster daemon", said, "start it: dagster-daemon run -w workspace.yaml", broken=True)
    return found("Dagster daemon", "alive")


def _switches(connection: Connection) -> Finding:
    rows = connection.execute(sa.text("SELECT instigator_body FROM instigators WHERE status = 'STOPPED'")).scalars()
    origins = [json.loads(body)["origin"] for body in rows]
    names = {str(origin.get("instigator_name") or origin.get("job_name")) for origin in origins}
    off = sorted(names - OPTIONAL)
    return found(
        "schedules and sensors",
        f"switched off: {', '.join(off)}" if off else "on",
        "switch them on in the Dagster UI under Automation" if off else None,
    )


def _ticks(connection: Connection) -> Finding:
    row = connection.execute(
        sa.text("""
            SELECT count(*) FILTER (WHERE status = 'FAILURE') AS failed, count(*) AS all
            FROM job_ticks WHERE timestamp > (now() AT TIME ZONE 'UTC') - interval '1 hour'
        """)
    ).one()
    text = f"{row.failed} of the last hour's {row.all} failed"
    if row.failed * 20 > row.all:
        return found("ticks", text, "the Dagster UI shows their errors under Automation; is the database overloaded?")
    return found("ticks", text)


def _runs(connection: Connection) -> Finding:
    row = connection.execute(
        sa.text("""
            SELECT count(*) FILTER (WHERE status = 'QUEUED') AS queued,
                   count(*) FILTER (WHERE status IN ('QUEUED', 'NOT_STARTED', 'STARTING')
                                      AND create_timestamp < (now() AT TIME ZONE 'UTC') - CAST(:stuck AS interval))
                       AS stuck
            FROM runs WHERE status IN ('QUEUED', 'NOT_STARTED', 'STARTING')
        """),
        {"stuck": STUCK},
    ).one()
    if row.stuck:
        return found(
            "runs",
            f"{row.queued} queued, {row.stuck} not begun after {STUCK.seconds // 60} min",
            "see what holds the places (max_concurrent_runs, pools in dagster.yaml), and the daemon's log",
        )
    return found("runs", f"{row.queued} queued")


def _size(settings: Settings, connection: Connection) -> Finding:
    keeps = timedelta(days=settings.dagster_retention_days)
    row = connection.execute(
        sa.text("""
            SELECT pg_database_size(current_database()) / 1048576 AS mib,
                   EXISTS (SELECT FROM runs WHERE create_timestamp
                             < (now() AT TIME ZONE 'UTC') - CAST(:keeps AS interval)) AS has_old,
                   EXISTS (SELECT FROM runs WHERE pipeline_name = 'purge' AND status = 'SUCCESS'
                             AND end_time > extract(epoch FROM now() - CAST(:lately AS interval))) AS purged
        """),
        {"keeps": keeps + PURGED, "lately": PURGED},
    ).one()
    if row.has_old and not row.purged:
        return found(
            "Dagster's storage",
            f"{row.mib} MiB, with runs older than {keeps.days} days, and not purged of late",
            "see that purge_daily is on, and why runs of the job 'purge' fail",
        )
    return found("Dagster's storage", f"{row.mib} MiB")
