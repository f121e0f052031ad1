"""The record itself: the database, its clock, the history's proofs, and whether stored secrets open."""

from collections.abc import Iterator
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.doctor.finding import Clock, Finding, found
from calendar_pipeline.history import proof
from calendar_pipeline.projects import rotate
from calendar_pipeline.secrets.keyring import KeyRing

SKEW = timedelta(seconds=5)
LONG = timedelta(minutes=5)
"""A transaction that is open for longer holds up the change feed and keeps dead rows."""


def examine(connection: Connection, ring: KeyRing | None, clock: Clock) -> Iterator[Finding]:
    """The schema is known to be this code's."""
    version = connection.execute(sa.text("SHOW server_version")).scalar_one()
    yield found("database", f"PostgreSQL {version}, schema up to date")
    yield _clock(connection, clock)
    yield _transactions(connection, clock)
    yield _triggers(connection)
    holes = proof.holes(connection)
    yield found(
        "history numbers",
        "; ".join(holes) or "dense in every project",
        "restore a backup: rows of event_history are missing" if holes else None,
        broken=True,
    )
    odd = proof.replay_differences(connection)
    yield found(
        "history replay",
        f"{len(odd)} events differ, first {odd[0].event_id}" if odd else "gives the current events",
        "find who wrote to the tables beside this program, and restore the rows" if odd else None,
        broken=True,
    )
    if ring is not None:
        yield from _secrets(connection, ring)


def _clock(connection: Connection, clock: Clock) -> Finding:
    before = clock()
    theirs = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    skew = max(abs(theirs - before), abs(theirs - clock()))
    if skew > SKEW:
        return found("clock", f"{skew.total_seconds():.0f} s apart from the database", "let NTP set both clocks")
    return found("clock", "agrees with the database")


def _transactions(connection: Connection, clock: Clock) -> Finding:
    since = connection.execute(
        sa.text(
            "SELECT min(xact_start) FROM pg_stat_activity "
            "WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()"
        )
    ).scalar_one()
    longest = clock() - since if since else timedelta()
    if longest > LONG:
        return found(
            "transactions",
            f"one that writes is open for {longest.total_seconds() / 60:.0f} min; the change feed waits for it",
            "find it in pg_stat_activity (xact_start) and end it with pg_terminate_backend",
        )
    return found("transactions", "none that writes is open for long")


def _triggers(connection: Connection) -> Finding:
    enabled = connection.execute(
        sa.text(
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'event_history'::regclass AND NOT tgisinternal "
            "AND tgenabled <> 'D'"
        )
    ).scalar_one()
    return found(
        "append-only",
        "a trigger of event_history is missing or disabled"
        if enabled < 2
        else "the history refuses UPDATE, DELETE and TRUNCATE",
        "ALTER TABLE event_history ENABLE TRIGGER ALL, and find who disabled it" if enabled < 2 else None,
        broken=True,
    )


def _secrets(connection: Connection, ring: KeyRing) -> Iterator[Finding]:
    """Of every table with sealed columns, the copies in channels included."""
    used = rotate.by_key(connection)
    if lost := used.keys() - ring.kids:
        names = ", ".join(sorted(lost))
        yield found(
            "stored secrets",
            f"sealed with missing keys {names}",
            "add them to CALENDAR_PIPELINE_KEYS, behind the first",
            broken=True,
        )
    elif old := sum(count for kid, count in used.items() if kid != ring.active):
        yield found(
            "stored secrets",
            f"{old} under other keys than {ring.active}",
            "run 'calendar-pipeline keys rotate' before you retire one",
        )
    else:
        yield found("stored secrets", f"{sum(used.values())} sealed with the active key")
    shut = rotate.shut(connection, ring)
    yield found(
        "a sample of each",
        f"does not open: {', '.join(shut)}" if shut else "opens",
        "a key has changed under its old name, or the value was moved: restore the key or the row" if shut else None,
        broken=True,
    )
