"""What was decided about bots for each version of an event, and what became of them."""

from calendar_pipeline.db.analysts.view import View

BOT_OUTCOME = View(
    name="bot_outcome",
    comment="Each version of an event with each bot that followed it by then: what the version made us decide, and "
    "what became of the bot. Bots without an event are not here. Name an event, a calendar or a project.",
    columns={
        "project_id": "the tenant",
        "calendar_id": "cal_…, as in the API",
        "event_id": "evt_…, as in the API",
        "version": "of the event: 1, 2, 3, …",
        "change": "what the version did: created, updated, deleted or restored",
        "recorded_at": "when the version was recorded",
        "starts_at": "of the event, as of this version",
        "ends_at": "of the event, as of this version",
        "meeting_platform": "as of this version; null: it had no link that is recognised",
        "bot_id": "bot_…, as in the API",
        "made_by": "client or rules",
        "decisions": "made, moved, suspended, sent, launched …: those this version led to, in order; empty: none",
        "reasons": "why, one line for each of decisions",
        "decided_after": "from the version's record to the first decision; null: there was none",
        "launched_at": "when a runner took the bot, by this version; null: not by this one",
        "late_by": "from the bot's time to launched_at; less than 0: handed over ahead, as configured",
        "late_because": "null: not late by more than 5 s; made_late: the bot was made after its time; changed_late: "
        "the provider changed the event after its time; told_late: we recorded the change after its time; runner: it "
        "did not take the bot at first; us: none of these",
        "joined_at": "when the runner first reported that the bot was in the meeting, by this version",
        "state": "of the bot now: scheduled, staged, joining, …, ended, fatal_error",
        "join_at": "of the bot now; null: at once",
        "gone_because": "why it is taken away now: event_deleted, not_wanted, …; null: it is there",
        "suspended_because": "why it waits now; null: it does not",
        "failure": "sub-type of its last fatal error: bot_not_launched, or what the runner told; null: none",
    },
    # A recalled bot is launched once more: its own time is that of its last launch, an earlier one's was the event's.
    query="""
        SELECT h.project_id, h.calendar_id, h.event_id, h.version, h.change, h.recorded_at, h.starts_at, h.ends_at,
               h.meeting_platform, b.id, b.made_by,
               COALESCE(d.decisions, '{}'), COALESCE(d.reasons, '{}'), d.decided_at - h.recorded_at,
               d.launched_at, d.launched_at - t.at,
               CASE WHEN d.launched_at - t.at <= interval '5 seconds' OR d.launched_at IS NULL THEN NULL
                    WHEN b.created_at > t.at THEN 'made_late'
                    WHEN h.provider_updated_at > t.at THEN 'changed_late'
                    WHEN h.recorded_at > t.at THEN 'told_late'
                    WHEN d.is_put_off THEN 'runner'
                    ELSE 'us' END,
               d.joined_at, b.state, b.join_at, b.gone_because, b.suspended_because,
               (SELECT f.sub_type FROM bot_event f WHERE f.bot_id = b.id AND f.type = 'fatal_error'
                ORDER BY f.id DESC LIMIT 1)
        FROM (
            SELECT event_id, bot_id, min(event_version) AS version FROM bot_event
            WHERE event_id IS NOT NULL GROUP BY event_id, bot_id
        ) AS follows
        JOIN event_history h ON h.event_id = follows.event_id AND h.version >= follows.version
        JOIN bot b ON b.id = follows.bot_id
        CROSS JOIN LATERAL (
            SELECT array_agg(decision ORDER BY id) AS decisions, array_agg(reason ORDER BY id) AS reasons,
                   min(at) AS decided_at,
                   max(at) FILTER (WHERE decision = 'launched') AS launched_at,
                   min(at) FILTER (WHERE type = 'joined_meeting') AS joined_at,
                   bool_or(decision IN ('not taken', 'refused')) AS is_put_off
            FROM bot_event e
            WHERE e.event_id = h.event_id AND e.event_version = h.version AND e.bot_id = follows.bot_id
        ) AS d
        CROSS JOIN LATERAL (
            SELECT CASE WHEN b.handed_at = d.launched_at THEN COALESCE(b.join_at, b.created_at)
                        ELSE h.start_time END AS at
        ) AS t
    """,
)
