"""Bots that are due: marked, claimed by lease, and written back. One function, one statement; no function commits.

`asked` counts what comes in for a bot: a change of its event, of its calendar's state, of a client. A plan is written
only if nothing came in since the bot was claimed; otherwise the bot is due again.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.bots.model import Followed, Gone, MadeBy, State
from calendar_pipeline.db.connect import json_text
from calendar_pipeline.db.schema.bots import LIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A bot that this worker alone may plan and launch until its lease runs out."""

    id: str
    project_id: str
    calendar_id: str | None
    event_id: str | None
    meeting_url: str
    join_at: datetime | None
    state: State
    made_by: MadeBy
    unwanted_because: str | None
    deduplication_key: str | None
    created_at: datetime
    event_version: int | None
    follows_start: datetime | None
    follows_link: str | None
    ends_at: datetime | None
    suspended_at: datetime | None
    suspended_because: str | None
    gone_at: datetime | None
    gone_because: Gone | None
    due_at: datetime
    asked: int
    attempts: int
    launch: int
    sent_at: datetime | None
    handed_at: datetime | None
    runner_bot_id: str | None
    is_first: bool
    """The runner was not asked about it in vain: not at all, or nobody heard its answer."""


_CLAIMED = ", ".join(f"bot.{name}" for name in Claimed.__dataclass_fields__ if name != "is_first")

_IS_DUE = "due_at <= :now AND (lease_until IS NULL OR lease_until < clock_timestamp())"

_IS_FIRST = "(attempts = 0 OR lease_token IS NOT NULL)"
"""A lease that was not given back ran out: whoever asked died, or lost the database, before the answer was written."""

_CLAIM = sa.text(f"""
    WITH first AS (
        SELECT id FROM bot
        WHERE {_IS_DUE} AND {_IS_FIRST}
        ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), again AS (
        SELECT id FROM bot
        WHERE {_IS_DUE} AND NOT {_IS_FIRST}
          AND (due_at <= :overdue OR NOT EXISTS (SELECT FROM first))
        ORDER BY due_at LIMIT CASE WHEN EXISTS (SELECT FROM first) THEN :few ELSE :again END FOR UPDATE SKIP LOCKED
    ), due AS (
        SELECT id, true AS is_first FROM first UNION ALL SELECT id, false FROM again
    )
    UPDATE bot SET lease_token = :lease, lease_until = clock_timestamp() + :length
    FROM due WHERE bot.id = due.id
    RETURNING {_CLAIMED}, due.is_first
""")

FEW = 4
OVERDUE = timedelta(seconds=10)
"""Bots that the runner was asked about in vain come last, but no later than this: then a few come along each time."""


def claim(
    connection: Connection, *, lease: uuid.UUID, length: timedelta, now: datetime, limit: int, again: int
) -> list[Claimed]:
    """Claim bots that are due and that nobody else holds, the longest due first.

    Where there is none else, up to `again` are claimed of those that the runner was asked about in vain; otherwise a
    few that have been due for long.
    """
    again = min(again, limit)
    values = {"lease": lease, "length": length, "now": now, "limit": limit, "again": again}
    values |= {"few": min(FEW, again), "overdue": now - OVERDUE}
    rows = connection.execute(_CLAIM, values)
    return [Claimed(**row) for row in rows.mappings()]


_RENEW = sa.text("""
    UPDATE bot SET lease_until = clock_timestamp() + :length WHERE id IN (
        SELECT id FROM bot WHERE id = ANY(:bots) AND lease_token = :lease FOR UPDATE SKIP LOCKED)
""")


def renew(connection: Connection, bots: Sequence[str], *, lease: uuid.UUID, length: timedelta) -> None:
    """Hold on to claims for another lease. Waits for nobody: whoever has a row locked is writing what came of it."""
    connection.execute(_RENEW, {"bots": list(bots), "lease": lease, "length": length})


_EVENTS = sa.text(f"""
    SELECT b.id AS bot_id,
           b.gone_at IS NOT NULL AND b.deduplication_key IS NOT NULL AND EXISTS (
               SELECT FROM bot WHERE bot.project_id = b.project_id AND bot.deduplication_key = b.deduplication_key
                   AND bot.id <> b.id AND {LIVE}) AS is_key_taken,
           e.id, e.calendar_id, e.version, e.start_time AS starts_at, e.end_time AS ends_at, e.meeting_link AS link,
           e.is_deleted, e.own_response, c.state = 'connected' AS is_connected, e.series_id IS NULL AS is_single,
           COALESCE(e.series_id, e.provider_event_id) AS series_id,
           COALESCE(e.original_starts_at, e.starts_at) AS original_starts_at
    FROM bot b LEFT JOIN (calendar_event e JOIN calendar c ON c.id = e.calendar_id) ON e.id = b.event_id
    WHERE b.id = ANY(:bots)
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A bot's event as it is now."""

    event: Followed | None
    is_key_taken: bool
    is_single: bool = False
    series_id: str | None = None
    """Of a single event its own id: it would be its series', if it were made to repeat."""
    original_starts_at: datetime | None = None


def events(connection: Connection, bots: Sequence[str]) -> dict[str, Seen]:
    """The events of claimed bots, by bot id.

    In a statement of its own: what had been told of an event before the claim is seen here for certain.
    """
    rows = connection.execute(_EVENTS, {"bots": list(bots)})
    return {
        row.bot_id: Seen(
            event=_followed(row),
            is_key_taken=row.is_key_taken,
            is_single=row.is_single,
            series_id=row.series_id,
            original_starts_at=row.original_starts_at,
        )
        for row in rows
    }


def _followed(row: Any) -> Followed | None:
    if row.id is None:
        return None
    return Followed(
        id=row.id,
        calendar_id=row.calendar_id,
        version=row.version,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        link=row.link,
        is_deleted=row.is_deleted,
        own_response=row.own_response,
        is_connected=row.is_connected,
    )


_HEIRS = sa.text("""
    SELECT e.id, e.calendar_id, e.version, e.start_time AS starts_at, e.end_time AS ends_at, e.meeting_link AS link,
           e.is_deleted, e.own_response, e.series_id, e.original_starts_at, c.state = 'connected' AS is_connected
    FROM calendar_event e JOIN calendar c ON c.id = e.calendar_id
    WHERE e.calendar_id = ANY(:calendars) AND NOT e.is_deleted AND e.series_id IS NOT NULL
      AND e.original_starts_at >= :earliest AND e.original_starts_at < :latest
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A standing instance of a series."""

    event: Followed
    series_id: str
    original_starts_at: datetime


def instances(
    connection: Connection, calendars: Sequence[str], *, earliest: datetime, latest: datetime
) -> list[Instance]:
    """Standing instances of series in these calendars, by when they were to start originally."""
    rows = connection.execute(_HEIRS, {"calendars": list(calendars), "earliest": earliest, "latest": latest})
    found: list[Instance] = []
    for row in rows:
        event = _followed(row)
        assert event is not None
        found.append(Instance(event=event, series_id=row.series_id, original_starts_at=row.original_starts_at))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A line on a bot's record."""

    decision: str
    reason: str
    event_id: str | None = None
    event_version: int | None = None
    old_state: State | None = None
    new_state: State | None = None
    type: str | None = None
    """Of the event that the API shows of it, if it shows one."""
    sub_type: str | None = None
    details: Mapping[str, object] | None = None


PLANNED = (
    "event_id",
    "meeting_url",
    "join_at",
    "state",
    "event_version",
    "follows_start",
    "follows_link",
    "ends_at",
    "suspended_at",
    "suspended_because",
    "gone_at",
    "gone_because",
    "attempts",
    "sent_at",
)
"""What a plan may set of a bot."""

_PLANNED_TYPES = {
    "event_version": "int",
    "attempts": "int",
    **dict.fromkeys(("join_at", "follows_start", "ends_at", "suspended_at", "gone_at", "sent_at"), "timestamptz"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What is to be written of a bot."""

    id: str
    asked: int
    due_at: datetime | None
    keeps_lease: bool = False
    changes: bool = False
    """Anything but `due_at`: `updated_at` moves."""
    values: Mapping[str, object]
    notes: Sequence[Note] = ()
    events: Sequence[Mapping[str, object]] = field(default_factory=list[Mapping[str, object]])


_WRITE = sa.text(f"""
    WITH planned AS (
        SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS r(
            id text, asked bigint, due_at timestamptz, keeps_lease boolean, changes boolean, events jsonb,
            {", ".join(f"{name} {_PLANNED_TYPES.get(name, 'text')}" for name in PLANNED)})
    ), written AS (
        UPDATE bot SET {", ".join(f"{name} = r.{name}" for name in PLANNED)},
            events = bot.events || r.events, due_at = r.due_at,
            updated_at = CASE WHEN r.changes THEN :now ELSE bot.updated_at END,
            lease_token = CASE WHEN r.keeps_lease THEN bot.lease_token END,
            lease_until = CASE WHEN r.keeps_lease THEN bot.lease_until END
        FROM planned r
        WHERE bot.id = r.id AND bot.lease_token = :lease AND bot.asked = r.asked
        RETURNING bot.id
    ), released AS (
        UPDATE bot SET lease_token = NULL, lease_until = NULL
        FROM planned r
        WHERE bot.id = r.id AND bot.lease_token = :lease AND bot.asked <> r.asked
    )
    SELECT id FROM written
""")


def write(connection: Connection, rows: Sequence[Written], *, lease: uuid.UUID, now: datetime) -> set[str]:
    """Write plans of bots that are still ours and of which nothing came in since; returns their ids.

    The others are released: they are due again already.
    """
    payload = [
        {
            "id": row.id,
            "asked": row.asked,
            "due_at": row.due_at,
            "keeps_lease": row.keeps_lease,
            "changes": row.changes,
            "events": row.events,
            **row.values,
        }
        for row in rows
    ]
    return set(connection.execute(_WRITE, {"rows": json_text(payload), "lease": lease, "now": now}).scalars())


_RECORD = sa.text("""
    INSERT INTO bot_event (bot_id, at, decision, reason, event_id, event_version, old_state, new_state, type, sub_type,
                           details)
    SELECT bot_id, :now, decision, reason, event_id, event_version, old_state, new_state, type, sub_type, details
    FROM json_to_recordset(CAST(:rows AS json)) AS r(bot_id text, decision text, reason text, event_id text,
        event_version int, old_state text, new_state text, type text, sub_type text, details json)
""")


def record(connection: Connection, notes: Sequence[tuple[str, Note]], *, now: datetime) -> None:
    """Put lines on bots' records, each with its bot's id."""
    payload = [
        {
            "bot_id": bot_id,
            "decision": note.decision,
            "reason": note.reason,
            "event_id": note.event_id,
            "event_version": note.event_version,
            "old_state": note.old_state,
            "new_state": note.new_state,
            "type": note.type,
            "sub_type": note.sub_type,
            "details": note.details,
        }
        for bot_id, note in notes
    ]
    connection.execute(_RECORD, {"rows": json_text(payload), "now": now})


_ORDERS = sa.text("""
    SELECT id, project_id, name, meeting_url, join_at, metadata, settings, launch, attempts, runner_bot_id
    FROM bot WHERE id = ANY(:bots)
""")


def orders(connection: Connection, bots: Sequence[str]) -> list[sa.Row[*tuple[Any, ...]]]:
    """What a runner is to be told of these bots; settings are still sealed."""
    return list(connection.execute(_ORDERS, {"bots": list(bots)}))


_HANDED = sa.text("""
    WITH answered AS (
        SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS r(id text, asked bigint, runner_bot_id text)
    ), before AS (
        SELECT bot.id, bot.state FROM bot JOIN answered r ON r.id = bot.id
        WHERE bot.lease_token = :lease ORDER BY bot.id FOR UPDATE OF bot
    )
    UPDATE bot SET handed_at = :now, runner_bot_id = COALESCE(r.runner_bot_id, bot.runner_bot_id), updated_at = :now,
        state = CASE WHEN bot.state = 'staged' THEN 'joining' ELSE bot.state END,
        events = CASE WHEN bot.state = 'staged' THEN bot.events || CAST(:event AS jsonb) ELSE bot.events END,
        due_at = CASE WHEN bot.asked <> r.asked THEN :now END, attempts = 0, lease_token = NULL, lease_until = NULL
    FROM answered r JOIN before ON before.id = r.id
    WHERE bot.id = r.id AND bot.lease_token = :lease
    RETURNING bot.id, before.state AS old_state, bot.state AS new_state, bot.join_at, bot.created_at,
        bot.event_id, bot.event_version
""")


def handed(
    connection: Connection, taken: Mapping[str, tuple[int, str | None]], *, lease: uuid.UUID, now: datetime
) -> list[sa.Row[*tuple[Any, ...]]]:
    """Note that the runner has these bots, each with `asked` and its id there; those that are still ours are returned.

    One of which something came in meanwhile is due again at once.
    """
    rows = [{"id": bot_id, "asked": asked, "runner_bot_id": theirs} for bot_id, (asked, theirs) in taken.items()]
    event = json_text([{"type": "join_requested", "created_at": now}])
    return list(connection.execute(_HANDED, {"rows": json_text(rows), "lease": lease, "now": now, "event": event}))


_RECALLED = sa.text("""
    UPDATE bot SET state = 'scheduled', sent_at = NULL, handed_at = NULL, runner_bot_id = NULL, launch = launch + 1,
        attempts = 0, updated_at = :now, due_at = :now, asked = asked + 1, lease_token = NULL, lease_until = NULL,
        join_at = COALESCE(join_at, created_at)
    WHERE id = ANY(:bots) AND lease_token = :lease AND state IN ('staged', 'joining') RETURNING id
""")


def recalled(connection: Connection, bots: Sequence[str], *, lease: uuid.UUID, now: datetime) -> set[str]:
    """Note that the runner has given these bots back: they are scheduled again, and planned at once.

    Of a meeting that is over they count as given back if the runner does not say so.
    """
    return set(connection.execute(_RECALLED, {"bots": list(bots), "lease": lease, "now": now}).scalars())


_RELEASE = sa.text("""
    UPDATE bot SET lease_token = NULL, lease_until = NULL,
        attempts = CASE WHEN r.due_at IS NULL THEN 0 ELSE bot.attempts END,
        due_at = CASE WHEN bot.asked <> r.asked THEN bot.due_at ELSE r.due_at END
    FROM json_to_recordset(CAST(:rows AS json)) AS r(id text, asked bigint, due_at timestamptz)
    WHERE bot.id = r.id AND lease_token = :lease
""")


def release(connection: Connection, waits: Mapping[str, tuple[int, datetime | None]], *, lease: uuid.UUID) -> None:
    """Give claims back; each bot is looked at again at its instant, or at once if something came in (`asked`).

    One without an instant was answered: the runner is not asked again.
    """
    rows = [{"id": bot_id, "asked": asked, "due_at": due_at} for bot_id, (asked, due_at) in waits.items()]
    connection.execute(_RELEASE, {"rows": json_text(rows), "lease": lease})
