"""Events that cannot be kept as they are: set aside one by one, so that the rest of their calendar goes on."""

from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.db.connect import json_text
from calendar_pipeline.event import Awkward

_SET_ASIDE = sa.text("""
    INSERT INTO quarantined_event (calendar_id, provider_event_id, project_id, reason, raw, first_seen_at, last_seen_at)
    SELECT :calendar, r.id, :project, r.reason, r.raw, :at, :at
    FROM json_to_recordset(CAST(:rows AS json)) AS r(id text, reason text, raw text)
    ON CONFLICT (calendar_id, provider_event_id) DO UPDATE
        SET reason = excluded.reason, raw = excluded.raw, last_seen_at = excluded.last_seen_at
""")

RAW_KEPT = 64 * 1024


def set_aside(
    connection: Connection, events: Sequence[tuple[Awkward, str]], *, project: str, calendar: str, at: datetime
) -> None:
    """Quarantine these events, each with its JSON as ASCII text. The caller holds the calendar's row lock."""
    payload = [{"id": event.provider_event_id, "reason": event.reason, "raw": raw[:RAW_KEPT]} for event, raw in events]
    connection.execute(_SET_ASIDE, {"rows": json_text(payload), "project": project, "calendar": calendar, "at": at})


_TAKE_BACK = sa.text("""
    DELETE FROM quarantined_event
    WHERE calendar_id = :calendar
      AND ((:only_these AND provider_event_id = ANY(:ids)) OR (NOT :only_these AND NOT provider_event_id = ANY(:ids)))
""")


def take_back(connection: Connection, calendar: str, ids: Collection[str], *, only_these: bool) -> int:
    """Forget quarantined events: these, or (after a complete listing) all but these. Returns how many."""
    return connection.execute(_TAKE_BACK, {"calendar": calendar, "ids": list(ids), "only_these": only_these}).rowcount


_COUNT = sa.text("""
    UPDATE calendar SET quarantined = (SELECT count(*) FROM quarantined_event WHERE calendar_id = :calendar)
    WHERE id = :calendar
""")


def count(connection: Connection, calendar: str) -> None:
    """Bring the calendar's own count in line. The caller holds the calendar's row lock."""
    connection.execute(_COUNT, {"calendar": calendar})


_BY_REASON = sa.text("""
    SELECT reason, count(*) AS events, count(DISTINCT calendar_id) AS calendars
    FROM quarantined_event GROUP BY reason ORDER BY events DESC, reason
""")


def by_reason(connection: Connection) -> list[tuple[str, int, int]]:
    """Events set aside: reason, how many, of how many calendars."""
    return [(row.reason, row.events, row.calendars) for row in connection.execute(_BY_REASON)]
