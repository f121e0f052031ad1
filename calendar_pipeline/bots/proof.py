"""Whether bots are as they should be, read from the database alone."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

Row = sa.Row[*tuple[Any, ...]]

_STRAYED = sa.text("""
    SELECT b.id, b.event_id,
           CASE WHEN e.is_deleted THEN 'its event is cancelled'
                WHEN c.state <> 'connected' THEN 'its calendar is disconnected'
                WHEN b.follows_start IS DISTINCT FROM e.start_time THEN 'its event starts at another time'
                ELSE 'its event has another link' END AS difference
    FROM bot b JOIN calendar_event e ON e.id = b.event_id JOIN calendar c ON c.id = b.calendar_id
    WHERE b.state = 'scheduled' AND b.gone_at IS NULL
      AND (e.is_deleted OR c.state <> 'connected' OR b.follows_start IS DISTINCT FROM e.start_time
           OR b.follows_link IS DISTINCT FROM e.meeting_link)
      AND e.updated_at < :before AND c.updated_at < :before
    ORDER BY b.id LIMIT :limit
""")


def strayed(connection: Connection, *, before: datetime, limit: int = 100) -> Sequence[Row]:
    """Scheduled bots that do not match their event although it has not changed since `before`."""
    return list(connection.execute(_STRAYED, {"before": before, "limit": limit}))


_LATE = sa.text("""
    SELECT id, extract(epoch FROM COALESCE(handed_at, :now) - COALESCE(join_at, created_at))::float AS seconds,
           handed_at IS NULL AS is_waiting
    FROM bot
    WHERE gone_at IS NULL AND suspended_at IS NULL
      AND (handed_at >= :since OR (state IN ('scheduled', 'staged', 'joining') AND handed_at IS NULL
                                   AND COALESCE(join_at, created_at) <= :now))
      AND COALESCE(handed_at, :now) - COALESCE(join_at, created_at) > :slack
    ORDER BY seconds DESC LIMIT :limit
""")


def late(
    connection: Connection, *, since: datetime, now: datetime, slack: timedelta, limit: int = 100
) -> Sequence[Row]:
    """Bots handed to the runner since then more than `slack` after their time, or overdue by more than that now."""
    return list(connection.execute(_LATE, {"since": since, "now": now, "slack": slack, "limit": limit}))


_WAITING = sa.text("""
    SELECT (SELECT count(*) FROM bot WHERE due_at <= :now) AS due,
           EXISTS (SELECT FROM project_counter c LEFT JOIN bot_position p ON p.project_id = c.project_id
                   WHERE c.n > COALESCE(p.seq, 0))
           OR EXISTS (SELECT FROM bot_rules_review w JOIN project_counter c ON c.project_id = w.project_id)
           OR EXISTS (SELECT FROM bot_rules r JOIN project_counter c ON c.project_id = r.project_id
                      WHERE r.rules IS NOT NULL AND r.seq < c.n) AS is_behind
""")


def waiting(connection: Connection, *, now: datetime) -> tuple[int, bool]:
    """How many bots are due, and whether some project's history is ahead of its bots or rules."""
    row = connection.execute(_WAITING, {"now": now}).one()
    return row.due, row.is_behind
