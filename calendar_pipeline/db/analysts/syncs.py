"""How well calendars were kept up to date, and what it cost."""

from calendar_pipeline.db.analysts.view import View

SYNC_QUALITY = View(
    name="sync_quality",
    comment="Each calendar's syncs of each day (UTC), summed up.",
    columns={
        "project_id": "the tenant",
        "calendar_id": "cal_…, as in the API",
        "day": "in UTC, by the sync's start",
        "syncs": "attempts",
        "synced": "of these, those that went well",
        "failed": "those that did not",
        "last_error": "the machine code of the last that did not go well",
        "listings": "those that listed the whole window",
        "requests": "sent to the provider",
        "response_bytes": "read from the provider",
        "changes": "versions written to the history",
        "drift": "changes that a listing found and the cursor had not announced; 0 is the promise",
        "quarantined": "events set aside",
        "median_seconds": "half of the syncs were faster",
        "p95_seconds": "95 of 100 syncs were faster",
        "longest_gap": "the longest time between two good syncs that ended on this day, or before it and on it",
        "last_synced_at": "when the last good one of the day ended",
    },
    query="""
        SELECT project_id, calendar_id, day, count(*), count(*) FILTER (WHERE good), count(*) FILTER (WHERE NOT good),
               (array_agg(error_code ORDER BY id DESC) FILTER (WHERE NOT good))[1],
               count(*) FILTER (WHERE mode = 'listing'), sum(requests), sum(response_bytes),
               sum(created + updated + deleted + restored), sum(drift), sum(quarantined),
               percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - started_at)),
               percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - started_at)),
               max(gap), max(finished_at) FILTER (WHERE good)
        FROM (
            SELECT r.*, (started_at AT TIME ZONE 'UTC')::date AS day, outcome = 'synced' AS good,
                   CASE WHEN outcome = 'synced' THEN finished_at - lag(finished_at) OVER (
                       PARTITION BY project_id, calendar_id, outcome = 'synced' ORDER BY id) END AS gap
            FROM sync_run r
        ) AS run
        GROUP BY project_id, calendar_id, day
    """,
)
