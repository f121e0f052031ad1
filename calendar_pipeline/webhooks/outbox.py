"""What happened → a delivery for each endpoint that wants to know, in the very transaction of what happened.

The body is fixed here: what is delivered days later says how things were. Whoever wants to call this takes no other
locks afterwards: call it last.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline import ids
from calendar_pipeline.db.schema import calendar, webhook_delivery, webhook_subscription
from calendar_pipeline.history.store import Appended
from calendar_pipeline.webhooks import body, changes, sign
from calendar_pipeline.webhooks.model import BotChange, CalendarTrigger
from calendar_pipeline.webhooks.sign import Unsignable


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Something to tell one endpoint."""

    project_id: str
    subscription_id: str
    trigger: str
    key: uuid.UUID
    payload: Mapping[str, object]
    calendar_id: str | None = None
    bot_id: str | None = None
    sync_run: int | None = None


# Locking the counter's row makes a subscription that is being made wait, or us for it: its maker sees in the API what
# was committed before, and is told of what is committed after.
_WATCHED = sa.text("""
    SELECT webhooks FROM project_counter
    WHERE project_id = (SELECT project_id FROM calendar WHERE id = :calendar) FOR SHARE
""")

_CALENDAR = (
    sa.select(
        calendar.c.project_id,
        calendar.c.deduplication_key,
        calendar.c.metadata,
        calendar.c.state,
        calendar.c.connection_failure_data,
        calendar.c.last_successful_sync_at,
        calendar.c.last_attempted_sync_at,
        webhook_subscription.c.id.label("subscription"),
        webhook_subscription.c.content,
    )
    .join(webhook_subscription, webhook_subscription.c.project_id == calendar.c.project_id)
    .where(
        calendar.c.id == sa.bindparam("calendar"),
        webhook_subscription.c.bot_id.is_(None),
        sa.bindparam("trigger", type_=sa.Text) == sa.any_(webhook_subscription.c.triggers),
    )
)


def calendar_event(
    connection: Connection,
    calendar_id: str,
    trigger: CalendarTrigger,
    *,
    at: datetime,
    sync_run: int,
    recorded: Appended | None = None,
) -> int:
    """Tell the project's endpoints of a calendar; returns how many. The calendar's row is as it is to be told.

    One statement if the project has no subscription, three if it has, and one more if somebody wants what was
    `recorded` itself.
    """
    if not connection.execute(_WATCHED, {"calendar": calendar_id}).scalar():
        return 0
    rows = connection.execute(_CALENDAR, {"calendar": calendar_id, "trigger": trigger}).all()
    messages: list[Message] = []
    more: Mapping[str, object] = {}
    if recorded is not None and any(row.content == "changes" for row in rows):
        more = changes.of(connection, rows[0].project_id, recorded)
    for row in rows:
        data = body.calendar_data(
            state=row.state,
            connection_failure_data=row.connection_failure_data,
            last_successful_sync_at=row.last_successful_sync_at,
            last_attempted_sync_at=row.last_attempted_sync_at,
        )
        key = uuid.uuid4()
        messages.append(
            Message(
                project_id=row.project_id,
                subscription_id=row.subscription,
                trigger=trigger,
                key=key,
                payload=body.calendar(
                    key=key,
                    calendar_id=calendar_id,
                    deduplication_key=row.deduplication_key,
                    metadata=row.metadata,
                    trigger=trigger,
                    data={**data, **more} if row.content == "changes" else data,
                ),
                calendar_id=calendar_id,
                sync_run=sync_run,
            )
        )
    write(connection, messages, at=at)
    return len(messages)


_BOTS_WATCHED = sa.text("""
    SELECT webhooks FROM project_counter
    WHERE project_id IN (SELECT project_id FROM bot WHERE id = ANY(:bots)) ORDER BY project_id FOR SHARE
""")

_BOTS = sa.text("""
    SELECT bot.id, bot.project_id, bot.metadata, s.id AS subscription
    FROM bot
    JOIN webhook_subscription s ON s.project_id = bot.project_id
        AND (s.bot_id = bot.id
             OR s.bot_id IS NULL AND NOT EXISTS (SELECT FROM webhook_subscription own WHERE own.bot_id = bot.id))
    WHERE bot.id = ANY(:bots) AND 'bot.state_change' = ANY(s.triggers)
""")


def bots_changed(connection: Connection, told: Sequence[BotChange], *, at: datetime) -> int:
    """Tell of bots' changes of state, in the order given; returns how many deliveries that makes.

    A bot that has a subscription of its own is told of there and nowhere else. Three statements at most.
    """
    if not told:
        return 0
    bots = sorted({change.bot_id for change in told})
    connection.execute(_BOTS_WATCHED, {"bots": bots})
    endpoints: dict[str, list[sa.Row[*tuple[object, ...]]]] = {}
    for row in connection.execute(_BOTS, {"bots": bots}):
        endpoints.setdefault(str(row.id), []).append(row)
    messages: list[Message] = []
    for change in told:
        for row in endpoints.get(change.bot_id, ()):
            key = uuid.uuid4()
            messages.append(
                Message(
                    project_id=row.project_id,
                    subscription_id=row.subscription,
                    trigger="bot.state_change",
                    key=key,
                    payload=body.bot(
                        key=key,
                        bot_id=change.bot_id,
                        metadata=row.metadata,
                        trigger="bot.state_change",
                        data=body.bot_data(change),
                    ),
                    bot_id=change.bot_id,
                )
            )
    write(connection, messages, at=at)
    return len(messages)


def write(connection: Connection, messages: Sequence[Message], *, at: datetime) -> list[str]:
    """Put messages into the outbox, due at once; returns their ids. One statement.

    One that cannot be signed is kept as ``rejected``, with the reason, and stops nothing else.
    """
    rows = [_row(message, at=at) for message in messages]
    if rows:
        connection.execute(sa.insert(webhook_delivery), rows)
    return [str(row["id"]) for row in rows]


def _row(message: Message, *, at: datetime) -> dict[str, object]:
    row: dict[str, object] = {
        "id": ids.new("msg"),
        "project_id": message.project_id,
        "subscription_id": message.subscription_id,
        "calendar_id": message.calendar_id,
        "bot_id": message.bot_id,
        "trigger": message.trigger,
        "idempotency_key": message.key,
        "sync_run_id": message.sync_run,
        "next_attempt_at": at,
        "created_at": at,
    }
    try:
        return {
            **row,
            "body": sign.canonical(message.payload),
            "status": "pending",
            "last_error": None,
            "finished_at": None,
        }
    except Unsignable as error:
        return {**row, "body": None, "status": "rejected", "last_error": f"unsignable: {error}", "finished_at": at}
