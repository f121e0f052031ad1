"""How far the bots and rules of a project have followed its history. One function, one statement; none commits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

_BEHIND = sa.text("""
    SELECT c.project_id, p.seq IS NULL AS is_new, c.n > COALESCE(p.seq, 0) AS has_news,
           COALESCE(r.rules IS NOT NULL AND r.seq < c.n OR w.is_reviewed, false) AS is_ruled
    FROM project_counter c
    LEFT JOIN bot_position p ON p.project_id = c.project_id
    LEFT JOIN bot_rules r ON r.project_id = c.project_id
    LEFT JOIN LATERAL (
        SELECT true AS is_reviewed FROM bot_rules_review w WHERE w.project_id = r.project_id LIMIT 1
    ) w ON true
    WHERE c.n > COALESCE(p.seq, 0) OR (r.rules IS NOT NULL AND r.seq < c.n) OR w.is_reviewed
    ORDER BY c.project_id LIMIT :limit
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """What has not been followed yet of a project's history."""

    is_new: bool
    """It has no position yet."""
    has_news: bool
    """By its bots."""
    is_ruled: bool
    """By its rules, or they have something to judge again."""


def behind(connection: Connection, *, limit: int) -> dict[str, Behind]:
    """Projects whose bots or rules have not followed all of their history."""
    return {
        row.project_id: Behind(is_new=row.is_new, has_news=row.has_news, is_ruled=row.is_ruled)
        for row in connection.execute(_BEHIND, {"limit": limit})
    }


_BEGIN = sa.text("INSERT INTO bot_position (project_id) VALUES (:project) ON CONFLICT DO NOTHING")


def begin(connection: Connection, project_id: str) -> None:
    """Give a project its position, at the beginning of its history."""
    connection.execute(_BEGIN, {"project": project_id})


_FOLLOW = sa.text("""
    WITH place AS (
        SELECT seq FROM bot_position WHERE project_id = :project FOR UPDATE SKIP LOCKED
    ), news AS MATERIALIZED (
        SELECT h.seq, h.event_id, h.calendar_id, h.change, h.series_id
        FROM event_history h WHERE h.project_id = :project AND h.seq > (SELECT seq FROM place)
        ORDER BY h.seq LIMIT :limit
    ), found AS (
        SELECT id FROM bot WHERE event_id = ANY(ARRAY(SELECT DISTINCT event_id FROM news))
        UNION
        -- A series that was split goes on under another id: bots of its old instances may have an heir now.
        SELECT id FROM bot WHERE gone_because = 'event_deleted' AND join_at > :now AND calendar_id = ANY(ARRAY(
            SELECT DISTINCT calendar_id FROM news WHERE change = 'created' AND series_id LIKE '%\\_R%'))
    ), marked AS (
        -- Arrays, since of them the database knows that they are short: each is looked up in an index, however many
        -- changes it expects.
        UPDATE bot SET due_at = :now, asked = asked + 1
        WHERE id = ANY(ARRAY(SELECT id FROM found)) AND project_id = :project
          AND gone_because IS DISTINCT FROM 'deleted' AND gone_because IS DISTINCT FROM 'superseded'
        RETURNING 1
    ), moved AS (
        UPDATE bot_position SET seq = (SELECT max(seq) FROM news)
        WHERE project_id = :project AND EXISTS (SELECT FROM news)
    )
    SELECT (SELECT count(*) FROM news) AS news, (SELECT count(*) FROM marked) AS marked,
           (SELECT array_agg(DISTINCT event_id) FROM news) AS events
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What following a project's history came to."""

    news: int
    marked: int
    events: Sequence[str]


def follow(connection: Connection, project_id: str, *, now: datetime, limit: int) -> Progress:
    """Mark the bots of events that changed since we last looked, and move on by up to `limit` changes.

    The position's row is locked until the caller commits; whoever comes meanwhile finds nothing to do.
    """
    row = connection.execute(_FOLLOW, {"project": project_id, "now": now, "limit": limit}).one()
    return Progress(news=row.news, marked=row.marked, events=row.events or ())
