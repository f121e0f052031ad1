"""Meeting load: a calendar's days."""

from calendar_pipeline.db.analysts.view import View

CALENDAR_DAY = View(
    name="calendar_day",
    comment="How full each day of each calendar is, in the calendar's zone; current events, not deleted or declined. "
    "Days beyond what is held of the calendar are not here, nor those of an event that lie more than a year before it "
    "was recorded.",
    columns={
        "project_id": "the tenant",
        "calendar_id": "cal_…, as in the API",
        "day": "in the calendar's own time zone",
        "time_zone": "that zone; UTC where none is known",
        "weekday": "1 is Monday, 7 Sunday",
        "meetings": "timed events that touch the day",
        "meeting_minutes": "their minutes within the day, added up",
        "busy_minutes": "minutes of the day in which at least one of those that block time takes place",
        "overlap_minutes": "minutes of such events that run at the same time as another",
        "with_link": "of the meetings: those with a recognised link",
        "first_starts_at": "when the first begins or the day does",
        "last_ends_at": "when the last ends or the day does",
        "all_day": "all-day events on this day",
    },
    query="""
        SELECT project_id, calendar_id, day, time_zone, extract(isodow FROM day)::int,
               count(*) FILTER (WHERE timed),
               COALESCE(sum(extract(epoch FROM upper(span) - lower(span)) / 60) FILTER (WHERE timed), 0)::int,
               COALESCE(minutes_of(range_agg(span) FILTER (WHERE timed AND is_busy)), 0)::int,
               (COALESCE(sum(extract(epoch FROM upper(span) - lower(span)) / 60) FILTER (WHERE timed AND is_busy), 0)
                - COALESCE(minutes_of(range_agg(span) FILTER (WHERE timed AND is_busy)), 0))::int,
               count(*) FILTER (WHERE timed AND meeting_link IS NOT NULL),
               min(lower(span)) FILTER (WHERE timed), max(upper(span)) FILTER (WHERE timed),
               count(*) FILTER (WHERE NOT timed)
        FROM (
            SELECT e.project_id, e.calendar_id, d.day::date AS day, z.zone AS time_zone, e.start_date IS NULL AS timed,
                   e.is_busy, e.meeting_link,
                   tstzrange(e.starts_at, e.ends_at)
                   * tstzrange(d.day AT TIME ZONE z.zone, (d.day + interval '1 day') AT TIME ZONE z.zone) AS span
            FROM calendar_event e
            JOIN calendar c ON c.id = e.calendar_id
            CROSS JOIN LATERAL (SELECT COALESCE(c.time_zone, 'UTC') AS zone) AS z
            CROSS JOIN LATERAL generate_series(
                date_trunc('day', GREATEST(e.starts_at, e.created_at - interval '1 year') AT TIME ZONE z.zone),
                date_trunc('day', GREATEST(LEAST(e.ends_at, c.held_until) - interval '1 microsecond', e.starts_at)
                                  AT TIME ZONE z.zone),
                interval '1 day') AS d(day)
            WHERE NOT e.is_deleted AND e.own_response IS DISTINCT FROM 'declined'
        ) AS part
        GROUP BY project_id, calendar_id, day, time_zone
    """,
)
