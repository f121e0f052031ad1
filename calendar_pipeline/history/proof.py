"""Proof that the history is whole: replayed, it gives the current events; and its numbers have no hole."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.db.schema import EVENT_FIELDS

_TEXT = ", ".join(f"{name}::text" if name in ("raw", "attendees") else name for name in EVENT_FIELDS)

_IS_OF_PART = "(hashtext(id) & 2147483647) % :parts = :part"


def _replay(calendars: str, of_these: str) -> sa.TextClause:
    return sa.text(f"""
        WITH replayed AS (
            SELECT DISTINCT ON (h.event_id) h.event_id, h.version, h.calendar_id,
                {", ".join(f"h.{n}" for n in EVENT_FIELDS)}
            FROM event_history h JOIN {calendars} c ON c.id = h.calendar_id
            ORDER BY h.event_id, h.version DESC
        ),
        a AS (SELECT event_id, version, calendar_id, {_TEXT} FROM replayed),
        b AS (SELECT id, version, calendar_id, {_TEXT} FROM calendar_event {of_these})
        SELECT event_id, calendar_id FROM ((TABLE a EXCEPT ALL TABLE b) UNION ALL (TABLE b EXCEPT ALL TABLE a)) AS odd
        GROUP BY event_id, calendar_id ORDER BY calendar_id, event_id LIMIT :limit
    """)


_WHOLE = _replay("calendar", "")
_PART = _replay(
    f"(SELECT id FROM calendar WHERE {_IS_OF_PART})",
    f"WHERE calendar_id IN (SELECT id FROM calendar WHERE {_IS_OF_PART})",
)
"""Finds its calendars first, and then their rows by an index: the others' are not read."""

_HOLES = sa.text("""
    SELECT p.project_id, p.n, count(h.seq) AS rows, COALESCE(max(h.seq), p.floor) AS last,
           count(h.seq) - count(DISTINCT h.seq) AS doubled, p.expired
    FROM project_counter p LEFT JOIN event_history h USING (project_id)
    GROUP BY p.project_id, p.n, p.expired, p.floor
    HAVING count(h.seq) + p.expired <> p.n OR GREATEST(max(h.seq), p.floor) <> p.n
        OR count(h.seq) FILTER (WHERE h.seq > p.floor) <> p.n - p.floor OR count(DISTINCT h.seq) <> count(h.seq)
    ORDER BY p.project_id
""")


@dataclass(frozen=True, slots=True)
class Odd:
    """An event whose last version in the history is not its current row."""

    event_id: str
    calendar_id: str


def replay_differences(connection: Connection, *, part: int = 0, parts: int = 1, limit: int = 100) -> list[Odd]:
    """Events for which replaying the history does not give the current row; empty means proven.

    Of all calendars, or of one of `parts` equal parts of them.
    """
    if parts == 1:
        found = connection.execute(_WHOLE, {"limit": limit})
    else:
        found = connection.execute(_PART, {"limit": limit, "part": part, "parts": parts})
    return [Odd(row.event_id, row.calendar_id) for row in found]


def holes(connection: Connection) -> list[str]:
    """Projects whose sequence numbers are not exactly 1 to n, once each, but for those that retention removed."""
    return [
        f"{row.project_id}: counter {row.n}, {row.rows} rows, last {row.last}, {row.doubled} doubled"
        + (f", {row.expired} expired" if row.expired else "")
        for row in connection.execute(_HOLES)
    ]
