"""What notifications do to the database: one look, and at most one UPDATE. One function, one statement."""

from collections.abc import Collection
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.channels.notice import Known
from calendar_pipeline.event import Platform

_FIND = sa.text("""
    SELECT n.id, n.calendar_id, n.platform, n.state, n.token_hash, n.path_hash, n.remote_id, n.resource_id,
           n.confirmed_at IS NOT NULL AS confirmed, COALESCE(c.state = 'connected', false) AS follows,
           COALESCE(c.requested_gen > c.synced_gen AND c.failures = 0
                    AND (c.lease_until IS NULL OR c.lease_until < clock_timestamp()), false) AS is_asked_for
    FROM notification_channel n LEFT JOIN calendar c ON c.id = n.calendar_id
    WHERE n.platform = :platform
      AND (n.id = ANY(:ids) OR n.remote_id = ANY(:ids) OR n.path_hash = :path)
""")


def find(connection: Connection, platform: Platform, ids: Collection[str], *, path: bytes | None) -> list[Known]:
    """Channels with one of these ids, ours or the provider's, and the one with this address."""
    rows = connection.execute(_FIND, {"platform": platform, "ids": list(ids), "path": path})
    return [Known(**row) for row in rows.mappings()]


_RING = sa.text("""
    WITH heard AS (
        UPDATE notification_channel n
        SET notifications = n.notifications + 1, last_notified_at = :now, confirmed_at = COALESCE(n.confirmed_at, :now)
        FROM (SELECT id FROM notification_channel WHERE id = ANY(:channels) ORDER BY id FOR UPDATE) AS held
        WHERE n.id = held.id
    )
    UPDATE calendar c
    SET requested_gen = c.requested_gen + 1, pushed_at = :now,
        next_sync_at = CASE WHEN c.failures > 0 THEN c.next_sync_at
                            ELSE LEAST(c.next_sync_at, GREATEST(:now, c.last_attempted_sync_at + :window)) END
    FROM (SELECT id FROM calendar WHERE id = ANY(:calendars) AND state = 'connected' ORDER BY id FOR UPDATE) AS held
    WHERE c.id = held.id
""")


def ring(connection: Connection, known: Collection[Known], *, now: datetime, window: timedelta) -> None:
    """Ask for a sync of these channels' calendars: at once, or when `window` has passed since the last one."""
    parameters = {"channels": [one.id for one in known], "calendars": [one.calendar_id for one in known]}
    connection.execute(_RING, {**parameters, "now": now, "window": window})


_GREET = sa.text("""
    UPDATE notification_channel
    SET confirmed_at = COALESCE(confirmed_at, :now), resource_id = COALESCE(resource_id, :resource)
    WHERE id = :id
""")


def greet(connection: Connection, channel: str, *, resource: str | None, now: datetime) -> None:
    """The channel's first message came: it reaches us. After a lost answer it also says what stopping it takes."""
    connection.execute(_GREET, {"id": channel, "resource": resource, "now": now})


_RENEW = sa.text("UPDATE notification_channel SET next_at = :now WHERE id = ANY(:ids) AND state = 'live'")


def renew(connection: Connection, channels: Collection[str], *, now: datetime) -> None:
    """These channels' providers want to hear that they are still wanted."""
    connection.execute(_RENEW, {"ids": list(channels), "now": now})


_REMOVED = sa.text("""
    WITH removed AS (
        UPDATE notification_channel SET state = 'ended', next_at = expires_at, code = 'removed_by_provider'
        WHERE id = ANY(:ids) AND state IN ('asked', 'live') RETURNING calendar_id
    )
    UPDATE calendar SET channel_wanted = true FROM removed WHERE calendar.id = removed.calendar_id
""")


def removed(connection: Connection, channels: Collection[str]) -> None:
    """These channels are gone at their provider; their calendars need others."""
    connection.execute(_REMOVED, {"ids": list(channels)})
