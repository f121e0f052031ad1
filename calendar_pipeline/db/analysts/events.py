"""Versions of events with the time in which each held, and all events as of an instant.

Both answer alike: of the versions recorded up to an instant, the highest holds. Workers' clocks may differ by a
moment, so a version's time ends with the earliest record of any later one.
"""

from calendar_pipeline.db.analysts.view import AsOf, View
from calendar_pipeline.db.schema import event_history

_EXPLAINED = {column.name: str(column.comment) for column in event_history.columns}

_INDEXED = ("project_id", "calendar_id", "event_id", "version", "recorded_at", "seq", "is_deleted")
"""Columns of the index `ix_event_history_as_of`."""

VERSION = View(
    name="event_version",
    comment="Every version of every event with the time in which it held. Name a calendar or a project.",
    columns={
        "valid_from": "from when it held: its recorded_at",
        "valid_to": "until when it held, exclusive; null: it still holds",
        **_EXPLAINED,
    },
    query=f"""
        SELECT h.recorded_at,
               min(h.recorded_at) OVER (
                   PARTITION BY h.project_id, h.calendar_id, h.event_id ORDER BY h.version DESC
                   ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
               {", ".join(f"h.{name}" for name in _EXPLAINED)}
        FROM event_history h
    """,
)

AS_OF = AsOf(
    name="event_as_of",
    comment="Events as they were recorded at an instant, without those that were deleted by then. Columns are those of "
    "event_history. An error says so where retention has removed what held then.",
    returns="event_history",
    # Which versions these are is read from an index alone, and what the index has is taken from it; they themselves are
    # fetched only if other columns are asked for. Hence LEFT JOIN, which the planner leaves out where nothing is.
    query=f"""
        SELECT {", ".join(f"last.{name}" if name in _INDEXED else f"h.{name}" for name in _EXPLAINED)} FROM (
            SELECT DISTINCT ON (project_id, calendar_id, event_id) {", ".join(_INDEXED)}
            FROM event_history
            WHERE recorded_at <= instant
            ORDER BY project_id, calendar_id, event_id, version DESC
        ) AS last
        LEFT JOIN event_history h ON (h.project_id, h.calendar_id, h.seq, h.recorded_at)
                              = (last.project_id, last.calendar_id, last.seq, last.recorded_at)
        LEFT JOIN project_counter kept ON kept.project_id = last.project_id AND kept.kept_from > instant
        WHERE NOT last.is_deleted
          AND CASE WHEN kept.project_id IS NULL THEN true
                   ELSE history_is_not_kept(last.project_id, kept.kept_from) END
    """,
)
