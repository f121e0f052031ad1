"""Which runs of the live path there are. One function, one statement."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

LOCK = 0x4C495645
"""Advisory lock under which runs take their places; any constant of our own ("LIVE")."""

_JOIN = sa.text("""
    WITH dead AS (DELETE FROM live_run WHERE beat_until < clock_timestamp() - interval '10 minutes')
    INSERT INTO live_run (id, run_id, state, beat_until)
    VALUES (:id, :run_id, 'waiting', clock_timestamp() + :length)
    ON CONFLICT (id) DO UPDATE SET beat_until = excluded.beat_until
""")


def join(connection: Connection, me: uuid.UUID, *, run_id: str | None, length: timedelta) -> None:
    """Be known as waiting for a place."""
    connection.execute(_JOIN, {"id": me, "run_id": run_id, "length": length})


_LOCK = sa.text("SELECT pg_advisory_xact_lock(:key)")


def lock(connection: Connection) -> None:
    """Be alone with `take` until the transaction ends."""
    connection.execute(_LOCK, {"key": LOCK})


_TAKE = sa.text("""
    UPDATE live_run
    SET state = 'working', retires_at = clock_timestamp() + :lifetime, beat_until = clock_timestamp() + :length
    WHERE id = :id AND :places > (SELECT count(*) FROM live_run other
                                  WHERE other.state = 'working' AND other.beat_until > clock_timestamp())
""")


def take(connection: Connection, me: uuid.UUID, *, places: int, lifetime: timedelta, length: timedelta) -> bool:
    """Take one of `places`, if one is free. The caller holds `lock`."""
    parameters = {"id": me, "places": places, "lifetime": lifetime, "length": length}
    return connection.execute(_TAKE, parameters).rowcount == 1


_BEAT = sa.text("""
    INSERT INTO live_run (id, run_id, state, beat_until, retires_at)
    VALUES (:id, :run_id, :state, clock_timestamp() + :length, clock_timestamp() + :left)
    ON CONFLICT (id) DO UPDATE SET beat_until = excluded.beat_until, state = excluded.state
    RETURNING EXISTS (SELECT FROM live_run other WHERE other.state = 'waiting'
                          AND other.beat_until > clock_timestamp())
""")


def beat(
    connection: Connection, me: uuid.UUID, *, run_id: str | None, state: str, length: timedelta, left: timedelta
) -> bool:
    """Say that we live; whether a successor is waiting."""
    parameters = {"id": me, "run_id": run_id, "state": state, "length": length, "left": left}
    return bool(connection.execute(_BEAT, parameters).scalar_one())


_LEAVE = sa.text("DELETE FROM live_run WHERE id = :id")


def leave(connection: Connection, me: uuid.UUID) -> None:
    """Be gone."""
    connection.execute(_LEAVE, {"id": me})


_ALIVE = sa.text("""
    SELECT id, run_id, state, created_at, retires_at, clock_timestamp() AS now FROM live_run
    WHERE beat_until > clock_timestamp() ORDER BY created_at
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """A run of the live path that gave sign of life a moment ago."""

    id: uuid.UUID
    run_id: str | None
    state: str
    created_at: datetime
    retires_at: datetime | None
    now: datetime
    """The database's clock."""


def alive(connection: Connection) -> list[Alive]:
    """All that live."""
    return [Alive(**row) for row in connection.execute(_ALIVE).mappings()]


_WORKS = sa.text("SELECT EXISTS (SELECT FROM live_run WHERE state = 'working' AND beat_until > clock_timestamp())")


def works(connection: Connection) -> bool:
    """Whether somebody does at once what is asked for."""
    return bool(connection.execute(_WORKS).scalar_one())
