"""How a calendar fares, and asking for a sync. One statement each, limited to one project; no function here commits."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.errors import NotFound

Row = sa.Row[*tuple[Any, ...]]

RECENT = 10

_STATUS = sa.text("""
    SELECT id, platform, state, reason, reason_code, reason_since, created_at, last_successful_sync_at,
           last_attempted_sync_at, next_sync_at, requested_gen, synced_gen, failures, quarantined,
           held_from, held_until,
           COALESCE(lease_until > clock_timestamp(), false) AS is_syncing,
           (SELECT COALESCE(json_agg(r ORDER BY r.id DESC), '[]')::text FROM (
               SELECT id, started_at, finished_at, outcome, error_code, mode, why, requests, items, created, updated,
                      deleted, restored, quarantined
               FROM sync_run WHERE calendar_id = calendar.id AND project_id = calendar.project_id
               ORDER BY id DESC LIMIT :recent) AS r) AS syncs,
           (SELECT COALESCE(json_agg(s ORDER BY s.id DESC), '[]')::text FROM (
               SELECT id, at, state, reason, reason_code
               FROM calendar_status WHERE calendar_id = calendar.id AND project_id = calendar.project_id
               ORDER BY id DESC LIMIT :recent) AS s) AS changes,
           (SELECT row_to_json(c)::text FROM (
               SELECT state, created_at, confirmed_at, expires_at, last_notified_at, notifications, code
               FROM notification_channel WHERE calendar_id = calendar.id AND project_id = calendar.project_id
                    AND state IN ('asked', 'live', 'refused')
               ORDER BY (state = 'live') DESC, created_at DESC LIMIT 1) AS c) AS channel
    FROM calendar WHERE project_id = :project AND id = :calendar
""")


def status(conn: Connection, project_id: str, calendar_id: str) -> Row:
    """State, freshness, what is held, the last syncs, and the channel, the last three as JSON. Raises NotFound."""
    given = {"project": project_id, "calendar": calendar_id, "recent": RECENT}
    row = conn.execute(_STATUS, given).one_or_none()
    if row is None:
        raise NotFound(calendar_id)
    return row


_REQUEST = sa.text("""
    UPDATE calendar SET requested_gen = requested_gen + 1, next_sync_at = LEAST(next_sync_at, :now)
    WHERE project_id = :project AND id = :calendar RETURNING requested_gen, synced_gen
""")


def request_sync(conn: Connection, project_id: str, calendar_id: str, *, now: datetime) -> Row:
    """Make the calendar due at once; once served, `synced_gen` is as large as this answer's `requested_gen`.

    Raises NotFound.
    """
    given = {"project": project_id, "calendar": calendar_id, "now": now}
    row = conn.execute(_REQUEST, given).one_or_none()
    if row is None:
        raise NotFound(calendar_id)
    return row
