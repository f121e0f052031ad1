"""Why a bot is as it is: its record, read for whoever asks. Bots that are gone have one, too."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.bots.model import Decision
from calendar_pipeline.errors import NotFound

MOST = 1000
"""Lines of one bot's record that are shown: the latest."""

_COLUMNS = "d.bot_id, d.at, d.decision, d.reason, d.event_id, d.event_version, d.old_state, d.new_state"

_OF_BOT = sa.text(f"""
    SELECT b.id IS NOT NULL AS is_there, {_COLUMNS} FROM bot b
    LEFT JOIN LATERAL (SELECT * FROM bot_event WHERE bot_id = b.id ORDER BY id DESC LIMIT :most) d ON true
    WHERE b.id = :bot AND b.project_id = :project ORDER BY d.id
""")


def decisions(connection: Connection, project_id: str, bot_id: str) -> Sequence[Decision]:
    """The record of the project's bot, oldest first, whether it is gone or not; raises NotFound."""
    rows = connection.execute(_OF_BOT, {"bot": bot_id, "project": project_id, "most": MOST}).all()
    if not rows:
        raise NotFound(bot_id)
    return [_decision(row) for row in rows if row.bot_id is not None]


_WHY = sa.text(f"""
    SELECT {_COLUMNS} FROM bot_event d
    WHERE d.bot_id IN (SELECT id FROM bot WHERE id = :name OR event_id = :name) ORDER BY d.bot_id, d.id
""")


def why(connection: Connection, name: str) -> Sequence[Decision]:
    """The records of the bot `name`, or of all bots of the event `name`, of whatever project. For the operator."""
    return [_decision(row) for row in connection.execute(_WHY, {"name": name})]


_NOW = sa.text("""
    SELECT b.id, b.state, b.join_at, b.gone_because, b.suspended_because, b.due_at FROM bot b
    WHERE b.id = :name OR b.event_id = :name ORDER BY b.created_at, b.id
""")


def standing(connection: Connection, name: str) -> Sequence[sa.Row[*tuple[Any, ...]]]:
    """How these bots stand now."""
    return list(connection.execute(_NOW, {"name": name}))


_HISTORY = sa.text("""
    SELECT version, change, changed, recorded_at FROM event_history WHERE event_id = :event ORDER BY version
""")


def versions(connection: Connection, event_id: str) -> Sequence[sa.Row[*tuple[Any, ...]]]:
    """What became of an event, version by version."""
    return list(connection.execute(_HISTORY, {"event": event_id}))


def _decision(row: sa.Row[*tuple[Any, ...]]) -> Decision:
    return Decision(
        bot_id=row.bot_id,
        at=row.at,
        decision=row.decision,
        reason=row.reason,
        event_id=row.event_id,
        event_version=row.event_version,
        old_state=row.old_state,
        new_state=row.new_state,
    )
