"""Which runs of the live path there are. One function, one statement."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

LOCK = 0x4C495645
"""Advisory lock under which runs take their places; any constant of our own ("LIVE")."""

LEFT_TO_US = timedelta(seconds=60)
"""What is due for so long a live run will not do."""

_HAS_ROOM = """:places > (SELECT count(*) FROM live_run other
                         WHERE other.state = 'working' AND other.beat_until > clock_timestamp()
                           AND other.retires_at > clock_timestamp() + :handover)"""
"""A run that retires soon can be succeeded while it still works."""

_WAIT = sa.text(f"""
    WITH dead AS (DELETE FROM live_run WHERE beat_until < clock_timestamp() - interval '10 minutes')
    INSERT INTO live_run (id, run_id, state, beat_until)
    VALUES (:id, :run_id, 'waiting', clock_timestamp() + :length)
    ON CONFLICT (id) DO UPDATE SET beat_until = excluded.beat_until
    RETURNING {_HAS_ROOM}
""")


def wait(
    connection: Connection,
    me: uuid.UUID,
    *,
    run_id: str | None,
    places: int,
    length: timedelta,
    handover: timedelta,
) -> bool:
    """Be known for `length` as waiting for a place; whether one seems to be free."""
    parameters = {"id": me, "run_id": run_id, "places": places, "length": length, "handover": handover}
    return bool(connection.execute(_WAIT, parameters).scalar_one())


_LOCK = sa.text("SELECT pg_advisory_xact_lock(:key)")


def lock(connection: Connection) -> None:
    """Be alone with `take` until the transaction ends."""
    connection.execute(_LOCK, {"key": LOCK})


_TAKE = sa.text(f"""
    UPDATE live_run
    SET state = 'working', retires_at = clock_timestamp() + :lifetime, beat_until = clock_timestamp() + :length
    WHERE id = :id AND {_HAS_ROOM}
""")


def take(
    connection: Connection,
    me: uuid.UUID,
    *,
    places: int,
    lifetime: timedelta,
    length: timedelta,
    handover: timedelta,
) -> bool:
    """Take one of `places`, if one is free or its run retires within `handover`. The caller holds `lock`."""
    parameters = {"id": me, "places": places, "lifetime": lifetime, "length": length, "handover": handover}
    return connection.execute(_TAKE, parameters).rowcount == 1


_BEAT = sa.text("""
    INSERT INTO live_run (id, run_id, state, beat_until, retires_at)
    VALUES (:id, :run_id, :state, clock_timestamp() + :length, clock_timestamp() + :left)
    ON CONFLICT (id) DO UPDATE SET beat_until = excluded.beat_until, state = excluded.state
    RETURNING :places <= (SELECT count(*) FROM live_run other
                          WHERE other.state = 'working' AND other.beat_until > clock_timestamp()
                            AND (other.retires_at, other.id) > (live_run.retires_at, live_run.id))
""")


def beat(
    connection: Connection,
    me: uuid.UUID,
    *,
    run_id: str | None,
    state: str,
    places: int,
    length: timedelta,
    left: timedelta,
) -> bool:
    """Say that we live; whether others who stay longer have all `places`. So two never both make way for each other."""
    parameters = {"id": me, "run_id": run_id, "state": state, "places": places, "length": length, "left": left}
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


_KNOWN = sa.text("SELECT run_id FROM live_run WHERE run_id IS NOT NULL")


def known(connection: Connection) -> set[str]:
    """Dagster runs that have waited or worked here, those that died in the last minutes included."""
    return set(connection.execute(_KNOWN).scalars())


_WORKS = sa.text("SELECT EXISTS (SELECT FROM live_run WHERE state = 'working' AND beat_until > clock_timestamp())")


def works(connection: Connection) -> bool:
    """Whether somebody does at once what is asked for."""
    return bool(connection.execute(_WORKS).scalar_one())


def patience(connection: Connection) -> timedelta:
    """How long others leave alone what is due: a live run does it sooner than another run could be started."""
    return LEFT_TO_US if works(connection) else timedelta()
