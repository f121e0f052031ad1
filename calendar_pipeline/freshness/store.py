"""How long a change takes: from the provider's clock until it can be read here, and until the webhook has been taken.

Measured on what was done, for all processes together: each sync and each delivery leaves its times in its row.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

_MEASURED = sa.text("""
    WITH leg AS (
        SELECT c.platform, 'pushed' AS leg, r.pushed_at - r.changed_at AS took
        FROM sync_run r JOIN calendar c ON c.id = r.calendar_id
        WHERE r.finished_at > :since AND r.changed_at IS NOT NULL AND r.pushed_at IS NOT NULL
        UNION ALL
        SELECT c.platform, 'visible', r.finished_at - r.changed_at
        FROM sync_run r JOIN calendar c ON c.id = r.calendar_id
        WHERE r.finished_at > :since AND r.changed_at IS NOT NULL
        UNION ALL
        SELECT c.platform, 'webhook', d.finished_at - r.changed_at
        FROM webhook_delivery d JOIN sync_run r ON r.id = d.sync_run_id JOIN calendar c ON c.id = r.calendar_id
        WHERE d.created_at > :since AND d.status = 'delivered' AND r.changed_at IS NOT NULL
    ), seconds AS (
        SELECT platform, leg, GREATEST(extract(epoch FROM took), 0)::float8 AS s FROM leg WHERE took IS NOT NULL
    )
    SELECT platform, leg, count(*) AS changes, percentile_cont(0.5) WITHIN GROUP (ORDER BY s) AS p50,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY s) AS p95, max(s) AS longest
    FROM seconds GROUP BY platform, leg ORDER BY platform, leg
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One leg at one provider, in seconds."""

    platform: str
    leg: str
    changes: int
    p50: float
    p95: float
    longest: float


def measured(connection: Connection, *, since: datetime) -> list[Measured]:
    """All legs since then."""
    return [Measured(**row) for row in connection.execute(_MEASURED, {"since": since}).mappings()]


_WORST = sa.text("""
    SELECT r.calendar_id, max(extract(epoch FROM r.finished_at - r.changed_at))::float8 AS seconds, count(*) AS changes
    FROM sync_run r WHERE r.finished_at > :since AND r.changed_at IS NOT NULL
    GROUP BY r.calendar_id ORDER BY max(r.finished_at - r.changed_at) DESC LIMIT :limit
""")


def worst(connection: Connection, *, since: datetime, limit: int = 10) -> dict[str, float]:
    """The calendars whose changes were seen latest, with seconds."""
    return {row.calendar_id: row.seconds for row in connection.execute(_WORST, {"since": since, "limit": limit})}


_BACKLOG = sa.text("""
    SELECT (SELECT count(*) FROM calendar WHERE next_sync_at <= :now
              AND ((requested_gen > synced_gen AND failures = 0) OR look_again)) AS asked,
           (SELECT count(*) FROM live_run WHERE state = 'working' AND beat_until > clock_timestamp()) AS live_runs,
           (SELECT COALESCE(sum(misses), 0) FROM calendar) AS misses
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits, and who is there to do it."""

    asked: int
    live_runs: int
    misses: int
    """Polls of all calendars that found what push had not told."""


def backlog(connection: Connection, *, now: datetime) -> Backlog:
    """As it stands."""
    return Backlog(**connection.execute(_BACKLOG, {"now": now}).mappings().one())


_FLEET = sa.text("""
    SELECT count(*) FILTER (WHERE state = 'connected') AS connected,
           count(*) FILTER (WHERE state = 'disconnected') AS disconnected,
           count(*) FILTER (WHERE failures > 0) AS failing,
           count(*) FILTER (WHERE state = 'connected' AND next_sync_at < :late) AS overdue,
           count(*) FILTER (WHERE quarantined > 0) AS with_quarantine
    FROM calendar
""")
OVERDUE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Calendars by state; one may be in several."""

    connected: int
    disconnected: int
    failing: int
    overdue: int
    """Their turn is over for `OVERDUE`."""
    with_quarantine: int


def fleet(connection: Connection, *, now: datetime) -> Fleet:
    """All calendars of all projects."""
    return Fleet(**connection.execute(_FLEET, {"late": now - OVERDUE}).mappings().one())


_ENDED = sa.text("""
    SELECT c.platform, r.outcome, count(*) AS syncs, sum(r.requests)::bigint AS requests
    FROM sync_run r JOIN calendar c ON c.id = r.calendar_id WHERE r.finished_at > :since GROUP BY c.platform, r.outcome
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How syncs at one provider ended."""

    platform: str
    outcome: str
    syncs: int
    requests: int


def ended(connection: Connection, *, since: datetime) -> list[Ended]:
    """The syncs since then."""
    return [Ended(**row) for row in connection.execute(_ENDED, {"since": since}).mappings()]
