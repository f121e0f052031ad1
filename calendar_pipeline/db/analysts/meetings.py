"""The same meeting across the calendars of a project."""

from calendar_pipeline.db.analysts.view import View

MEETING = View(
    name="meeting",
    comment="Each meeting once, however many of a project's calendars have it; current events, not deleted ones.",
    columns={
        "project_id": "the tenant",
        "ical_uid": "the iCalendar UID, which all copies share; else the provider's id of the event",
        "occurrence_at": "which occurrence of a series: where it stood before it was moved; null: no series",
        "calendars": "how many of the project's calendars have it",
        "calendar_ids": "these calendars",
        "event_ids": "the copies, in the order of calendar_ids",
        "title": "as in the copy that changed last",
        "starts_at": "as in the copy that changed last",
        "ends_at": "as in the copy that changed last",
        "is_all_day": "whether it is made of whole days",
        "organizer_email": "who called it",
        "meeting_platform": "zoom, google_meet, teams …; null: no link is recognised",
        "meeting_key": "equal for the same place of meeting",
        "attendees": "the most that any copy names",
        "accepted": "calendars whose owner accepted, or called it",
        "declined": "calendars whose owner declined",
        "versions": "of the copy with the most",
        "copies_agree": "whether all copies have the same times",
        "first_recorded_at": "when the first copy was recorded",
        "last_changed_at": "when a copy last changed",
    },
    # Copies of a single meeting may stand at different times, so only of a series the time says which is meant. Who is
    # invited to one occurrence alone may have it without its series.
    query="""
        SELECT project_id, uid, CASE WHEN is_series THEN COALESCE(original_starts_at, starts_at) END AS occurrence_at,
               count(DISTINCT calendar_id),
               array_agg(calendar_id ORDER BY calendar_id, id), array_agg(id ORDER BY calendar_id, id),
               (array_agg(title ORDER BY updated_at DESC, id))[1],
               (array_agg(starts_at ORDER BY updated_at DESC, id))[1],
               (array_agg(ends_at ORDER BY updated_at DESC, id))[1],
               bool_or(start_date IS NOT NULL),
               (array_agg(organizer_email ORDER BY updated_at DESC, id))[1],
               (array_agg(meeting_platform ORDER BY updated_at DESC, id))[1],
               (array_agg(meeting_key ORDER BY updated_at DESC, id))[1],
               max(json_array_length(attendees)),
               count(*) FILTER (WHERE own_response IN ('accepted', 'organizer')),
               count(*) FILTER (WHERE own_response = 'declined'),
               max(version),
               count(DISTINCT (starts_at, ends_at)) = 1,
               min(created_at), max(updated_at)
        FROM (
            SELECT *, COALESCE(ical_uid, provider_event_id) AS uid,
                   bool_or(series_id IS NOT NULL OR original_starts_at IS NOT NULL)
                   OVER (PARTITION BY project_id, COALESCE(ical_uid, provider_event_id)) AS is_series
            FROM calendar_event WHERE NOT is_deleted
        ) AS copy
        GROUP BY project_id, uid, occurrence_at
    """,
)
