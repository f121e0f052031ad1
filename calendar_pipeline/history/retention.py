"""Removing what a project does not want to keep for longer, so that what is left still proves itself.

At the cutoff an event is over when it is deleted or has ended, and has not changed since: it goes, with all of its
versions. Of the others those versions go that no longer held at the cutoff. So replaying still gives the current
events, states as of any instant after the cutoff are whole, and the counter says how many numbers are missing and
above which none is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from calendar_pipeline.db.connect import Database

BATCH = 5_000
"""Rows removed in one transaction."""

DETACH_AFTER = timedelta(days=62)
"""An empty month is kept until nobody can be about to write to it."""


@dataclass(frozen=True, slots=True)
class Expired:
    """What one project's retention removed."""

    project_id: str
    cutoff: datetime
    events: int
    versions: int


_PROJECTS = sa.text("SELECT id, retention_days FROM project WHERE retention_days IS NOT NULL ORDER BY id")

# Calendars that are being synced are left for the next time: a sync relies on what it has read.
_EVENTS = sa.text("""
    WITH free AS MATERIALIZED (
        SELECT id FROM calendar
        WHERE project_id = :project AND (lease_until IS NULL OR lease_until < clock_timestamp())
          AND EXISTS (SELECT FROM calendar_event e WHERE e.calendar_id = calendar.id AND e.updated_at < :cutoff
                          AND (e.is_deleted OR e.ends_at < :cutoff))
        ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED
    ), over AS (
        SELECT e.id FROM calendar_event e JOIN free ON free.id = e.calendar_id
        WHERE e.updated_at < :cutoff AND (e.is_deleted OR e.ends_at < :cutoff) LIMIT :limit
    ), gone AS (
        DELETE FROM calendar_event USING over WHERE calendar_event.id = over.id RETURNING calendar_event.id
    ), versions AS (
        DELETE FROM event_history h USING gone WHERE h.event_id = gone.id RETURNING h.seq
    )
    SELECT (SELECT count(*) FROM gone) AS events, count(*) AS versions, max(seq) AS last FROM versions
""")

_VERSIONS = sa.text("""
    WITH over AS (
        SELECT h.seq, h.recorded_at FROM event_history h
        WHERE h.project_id = :project AND h.recorded_at < :cutoff AND (
            EXISTS (SELECT FROM event_history n WHERE n.event_id = h.event_id AND n.version > h.version
                    AND n.recorded_at < :cutoff)
            OR NOT EXISTS (SELECT FROM event_history n WHERE n.event_id = h.event_id AND n.version > h.version)
               AND NOT EXISTS (SELECT FROM calendar_event e WHERE e.id = h.event_id))
        ORDER BY h.seq LIMIT :limit
    ), versions AS (
        DELETE FROM event_history h USING over
        WHERE h.project_id = :project AND h.seq = over.seq AND h.recorded_at = over.recorded_at RETURNING h.seq
    )
    SELECT 0 AS events, count(*) AS versions, max(seq) AS last FROM versions
""")

_KEPT_FROM = sa.text("""
    UPDATE project_counter SET kept_from = GREATEST(kept_from, :cutoff) WHERE project_id = :project
""")

_COUNT = sa.text("""
    UPDATE project_counter SET expired = expired + :versions, floor = GREATEST(floor, :last)
    WHERE project_id = :project
""")


def projects(connection: Connection, *, now: datetime) -> list[tuple[str, datetime]]:
    """Projects that do not keep everything, with the instant before which theirs goes."""
    return [(row.id, now - timedelta(days=row.retention_days)) for row in connection.execute(_PROJECTS)]


def expire(db: Database, project: str, cutoff: datetime, *, batch: int = BATCH) -> Expired:
    """Remove what a project keeps no longer, in short transactions; stopped anywhere, the next time goes on.

    Before anything goes, it is on record that states before the cutoff are not whole any more.
    """
    events = versions = 0
    with db.single() as connection:
        connection.execute(_KEPT_FROM, {"project": project, "cutoff": cutoff})
    for statement in (_EVENTS, _VERSIONS):
        while True:
            with db.begin() as connection:
                connection.execute(sa.text("SET LOCAL calendar_pipeline.retention = 'on'"))
                given = {"project": project, "cutoff": cutoff, "limit": batch}
                done = connection.execute(statement, given).one()
                if done.versions:
                    connection.execute(_COUNT, {"project": project, "versions": done.versions, "last": done.last})
            events += done.events
            versions += done.versions
            if not (done.events or done.versions):
                break
    return Expired(project, cutoff, events, versions)


_MONTHS = sa.text("""
    SELECT relid::text AS name FROM pg_partition_tree('event_history')
    WHERE isleaf AND relid::text ~ '^event_history_[0-9]{4}_[0-9]{2}$'
      AND to_date(right(relid::text, 7), 'YYYY_MM') + interval '1 month' < :before
    ORDER BY 1
""")


def detach_months(db: Database, *, now: datetime) -> Sequence[str]:
    """Detach and drop old months in which nothing is left; returns their names.

    Waits two seconds at most for readers and writers; a month that is in use goes the next time.
    """
    with db.single() as connection:
        old = list(connection.execute(_MONTHS, {"before": now - DETACH_AFTER}).scalars())
    gone: list[str] = []
    for name in old:
        try:
            with db.begin() as connection:
                connection.execute(sa.text("SET LOCAL lock_timeout = '2s'"))
                if connection.execute(sa.text(f"SELECT 1 FROM {name} LIMIT 1")).first():
                    continue
                connection.execute(sa.text(f"ALTER TABLE event_history DETACH PARTITION {name}"))
                if connection.execute(sa.text(f"SELECT 1 FROM {name} LIMIT 1")).first():
                    raise AssertionError(f"{name} was written to while it was detached")  # rolled back
                connection.execute(sa.text(f"DROP TABLE {name}"))
            gone.append(name)
        except OperationalError:
            continue  # the lock's time-out
    return gone


_SYNCS = sa.text("""
    DELETE FROM sync_run WHERE id IN (
        SELECT id FROM sync_run r WHERE finished_at < :cutoff ORDER BY finished_at LIMIT :limit)
""")


def expire_syncs(db: Database, cutoff: datetime, *, batch: int = BATCH) -> int:
    """Remove old sync records, of all projects; returns how many."""
    removed = 0
    while True:
        with db.begin() as connection:
            done = connection.execute(_SYNCS, {"cutoff": cutoff, "limit": batch}).rowcount
        removed += done
        if done < batch:
            return removed


def keep(connection: Connection, project: str, days: int | None) -> bool:
    """Say how long a project's history is kept (None: for ever); False if there is no such project."""
    return (
        connection.execute(
            sa.text("UPDATE project SET retention_days = :days WHERE id = :project"), {"days": days, "project": project}
        ).rowcount
        == 1
    )
