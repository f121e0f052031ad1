"""How well customers' endpoints were told, and how they answered."""

from calendar_pipeline.db.analysts.view import View

WEBHOOK_QUALITY = View(
    name="webhook_quality",
    comment="Each subscription's deliveries of each day (UTC), summed up, for as long as deliveries are kept.",
    columns={
        "project_id": "the tenant",
        "subscription_id": "webhook_…, as in the API",
        "bot_id": "whose subscription it is; null: the project's",
        "day": "in UTC, by when it happened what is told",
        "deliveries": "what was to be told",
        "delivered": "of these, those that the endpoint took",
        "at_first": "of these, with the first attempt",
        "pending": "still to be delivered, or held while the endpoint is disabled",
        "dead": "given up after all attempts",
        "rejected": "never sent, because they cannot be signed",
        "attempts": "requests made for the day's deliveries, whenever",
        "failed_attempts": "of these, those that the endpoint did not take",
        "last_error": "machine code of the last failed attempt; its HTTP status where there is none",
        "median_answer_seconds": "half of the attempts took less",
        "p95_answer_seconds": "95 of 100 attempts took less",
        "median_seconds": "half of the delivered were taken sooner after they happened",
        "p95_seconds": "95 of 100 of the delivered were taken sooner",
        "longest_seconds": "the latest of the delivered",
        "disabled_at": "since when the endpoint is told nothing; null: it is enabled now",
        "disabled_reason": "gone, failing, or operator",
    },
    query="""
        SELECT d.project_id, d.subscription_id, s.bot_id, d.day, d.deliveries, d.delivered, d.at_first, d.pending,
               d.dead, d.rejected, COALESCE(a.attempts, 0), COALESCE(a.failed, 0), a.last_error, a.median, a.p95,
               d.median, d.p95, d.longest, s.disabled_at, s.disabled_reason
        FROM (
            SELECT project_id, subscription_id, (created_at AT TIME ZONE 'UTC')::date AS day, count(*) AS deliveries,
                   count(*) FILTER (WHERE status = 'delivered') AS delivered,
                   count(*) FILTER (WHERE status = 'delivered' AND attempts = 1) AS at_first,
                   count(*) FILTER (WHERE status = 'pending') AS pending,
                   count(*) FILTER (WHERE status = 'dead') AS dead,
                   count(*) FILTER (WHERE status = 'rejected') AS rejected,
                   percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS median,
                   percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95, max(seconds) AS longest
            FROM (
                SELECT w.*, CASE WHEN status = 'delivered' THEN extract(epoch FROM finished_at - created_at)::float8 END
                       AS seconds
                FROM webhook_delivery w
            ) AS w
            GROUP BY project_id, subscription_id, day
        ) AS d
        JOIN webhook_subscription s ON s.id = d.subscription_id
        LEFT JOIN (
            SELECT w.project_id, w.subscription_id, (w.created_at AT TIME ZONE 'UTC')::date AS day,
                   count(*) AS attempts, count(*) FILTER (WHERE t.outcome = 'failed') AS failed,
                   (array_agg(COALESCE(t.error, t.status::text) ORDER BY t.id DESC)
                    FILTER (WHERE t.outcome = 'failed'))[1] AS last_error,
                   percentile_cont(0.5) WITHIN GROUP (ORDER BY t.milliseconds) / 1000 AS median,
                   percentile_cont(0.95) WITHIN GROUP (ORDER BY t.milliseconds) / 1000 AS p95
            FROM webhook_attempt t JOIN webhook_delivery w ON w.id = t.delivery_id
            GROUP BY w.project_id, w.subscription_id, day
        ) AS a ON a.project_id = d.project_id AND a.subscription_id = d.subscription_id AND a.day = d.day
    """,
)
