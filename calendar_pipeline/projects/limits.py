"""Token buckets that all processes share. One statement each, on a table that a crash of the server empties."""

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

_TAKE = sa.text("""
    INSERT INTO rate_limit AS r (name, full_at) VALUES (:name, clock_timestamp() + :each)
    ON CONFLICT (name) DO UPDATE SET full_at = GREATEST(r.full_at, clock_timestamp()) + :each
        WHERE GREATEST(r.full_at, clock_timestamp()) + :each <= clock_timestamp() + interval '1 minute'
    RETURNING true
""")
_WAIT = sa.text("""
    SELECT full_at + :each - clock_timestamp() - interval '1 minute' FROM rate_limit WHERE name = :name
""")


def take(conn: Connection, name: str, *, per_minute: int) -> timedelta:
    """Take one from the bucket, which holds a minute's worth; zero, or how long until there is one."""
    given = {"name": name, "each": timedelta(minutes=1) / per_minute}
    if conn.execute(_TAKE, given).one_or_none():
        return timedelta()
    wait: timedelta | None = conn.execute(_WAIT, given).scalar_one_or_none()
    return max(wait or timedelta(), timedelta(milliseconds=1))
