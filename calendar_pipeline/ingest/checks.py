"""What must be true of the event history at any time, asked of all calendars at once. One check, one statement.

Each finding says what to do. None of these reads from a provider: whether a provider's calendar really equals ours is
`verify`'s question, and what every planned listing answers in passing (drift).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.history import proof
from calendar_pipeline.ingest import plan

NAMED = 50
"""Calendars named in a finding; the rest are counted."""

LATE = timedelta(minutes=15)
"""What a turn may be late by before it is worth a red mark: a tick, a queue, and a run in front of it."""

DRIFT_SHOWN = timedelta(days=8)
"""Each calendar is listed anew once a week; a drift stays red until the next listing has found none."""

PARTS = 24
MANY = 1000
"""With more calendars than this, the history is replayed one of `PARTS` parts at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How a check ended."""

    checked: int
    """Calendars that were asked about."""
    failing: int
    """Calendars of which it is not true."""
    calendars: Sequence[Mapping[str, str]]
    """Those, the worst first, up to `NAMED`."""
    advice: str
    """What it means that some are failing, and what to do."""

    @property
    def passed(self) -> bool:
        """Whether it is true of all."""
        return self.failing == 0


_SUMMARY = """
    SELECT (SELECT count(*) FROM calendar WHERE state = 'connected') AS checked, count(*) OVER () AS failing, found.*
    FROM found LIMIT :named
"""

_HORIZON = sa.text(f"""
    WITH found AS (
        SELECT id, 'held until ' || held_until AS what FROM calendar
        WHERE state = 'connected' AND (held_until < :until OR held_from > :from) ORDER BY held_until
    ) {_SUMMARY}
""")


def horizon(connection: Connection, *, now: datetime) -> Finding:
    """The whole visible window of every connected calendar is held, so that time alone brings events into view."""
    return _finding(
        connection,
        _HORIZON,
        {"until": now + plan.AHEAD, "from": now - plan.PAST},
        advice="Events far ahead are missing from view until these calendars are listed: see why their syncs fail "
        "(calendar.reason), then run `calendar-pipeline sync --all --full`.",
    )


_FRESHNESS = sa.text(f"""
    WITH found AS (
        SELECT id, 'last synced ' || COALESCE(last_successful_sync_at::text, 'never')
            || COALESCE(', ' || reason || ': ' || reason_code, '') AS what
        FROM calendar WHERE state = 'connected' AND COALESCE(last_successful_sync_at, created_at) < :since
            AND (failures > 0 OR next_sync_at IS NULL OR next_sync_at < :late)
        ORDER BY COALESCE(last_successful_sync_at, created_at)
    ) {_SUMMARY}
""")


def freshness(connection: Connection, *, now: datetime, interval: timedelta) -> Finding:
    """Every connected calendar was read when it was its turn, or a little later.

    One whose push can be relied on has its turns further apart than the interval.
    """
    return _finding(
        connection,
        _FRESHNESS,
        {"since": now - interval - LATE, "late": now - LATE},
        advice="Changes in these calendars are not seen. With a reason: it says who must act (docs/operate.md). "
        "Without one they were not tried: see that the Dagster daemon runs and its queue is not full.",
    )


_DRIFT = sa.text(f"""
    WITH listed AS (
        SELECT calendar_id, drift, finished_at,
            row_number() OVER (PARTITION BY calendar_id ORDER BY id DESC) AS age
        FROM sync_run WHERE mode = 'listing' AND why <> 'changes' AND finished_at > :since
            AND calendar_id IN (SELECT calendar_id FROM sync_run WHERE drift > 0 AND finished_at > :since)
    ), found AS (
        SELECT c.id, drift || ' changes were not announced, found at ' || finished_at AS what
        FROM listed JOIN calendar c ON c.id = listed.calendar_id WHERE age = 1 AND drift > 0 ORDER BY drift DESC
    ) {_SUMMARY}
""")


def drift(connection: Connection, *, now: datetime) -> Finding:
    """No listing of late found a change that its cursor had kept from us."""
    return _finding(
        connection,
        _DRIFT,
        {"since": now - DRIFT_SHOWN},
        advice="What was missed is mended; that it was missed is not. Run `calendar-pipeline verify` on one of them: "
        "if it loses events again, report it with the sync_run rows, and set HELD_BUFFER_DAYS=2 to list more often.",
    )


_CONNECTED = sa.text("SELECT count(*) FROM calendar WHERE state = 'connected'")


def replay(connection: Connection, *, now: datetime, many: int = MANY) -> Finding:
    """The last version of every event in the history is its current row.

    Of many calendars, one part an hour: all of them in a day.
    """
    count = connection.execute(_CONNECTED).scalar_one()
    parts = PARTS if count > many else 1
    odd = proof.replay_differences(connection, part=int(now.timestamp() // 3600) % parts, parts=parts, limit=1000)
    by_calendar: dict[str, list[str]] = {}
    for one in odd:
        by_calendar.setdefault(one.calendar_id, []).append(one.event_id)
    return Finding(
        checked=count // parts,
        failing=len(by_calendar),
        calendars=[
            {"calendar": calendar, "what": f"{len(events)} events, one is {events[0]}"}
            for calendar, events in list(by_calendar.items())[:NAMED]
        ],
        advice="Something other than this program wrote to calendar_event or event_history. The history is right: "
        "find who wrote (only the pipeline's own database user should be able to), and restore the rows from it.",
    )


def _finding(
    connection: Connection, statement: sa.TextClause, parameters: Mapping[str, object], *, advice: str
) -> Finding:
    rows = connection.execute(statement, {**parameters, "named": NAMED}).all()
    checked = rows[0].checked if rows else connection.execute(_CONNECTED).scalar_one()
    return Finding(
        checked=checked,
        failing=rows[0].failing if rows else 0,
        calendars=[{"calendar": row.id, "what": row.what} for row in rows],
        advice=advice,
    )
