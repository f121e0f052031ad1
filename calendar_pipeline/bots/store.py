"""Bots in the database, for those who make and show them. Each function's statements are limited to one project.

A bot that is gone (its row says since when and why) is not there for any of these functions. No function commits.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from calendar_pipeline import ids
from calendar_pipeline.bots.model import Bot, BotPatch, Filter, Followed, NewBot
from calendar_pipeline.db.connect import json_text
from calendar_pipeline.db.keyset import Order, Page, Row, Seek
from calendar_pipeline.db.schema import bot
from calendar_pipeline.db.schema.bots import LIVE
from calendar_pipeline.errors import DuplicateKey, NotFound
from calendar_pipeline.secrets.keyring import KeyRing, Place
from calendar_pipeline.webhooks import outbox, subscriptions
from calendar_pipeline.webhooks.model import BotChange

_SHOWN = (
    "id, event_id, name, meeting_url, state, join_at, transcription_state, recording_state, events::text AS events,"
    " metadata::text AS metadata, deduplication_key, created_at"
)

_PUBLIC: Sequence[sa.ColumnElement[Any]] = (
    bot.c.id,
    bot.c.event_id,
    bot.c.name,
    bot.c.meeting_url,
    bot.c.state,
    bot.c.join_at,
    bot.c.transcription_state,
    bot.c.recording_state,
    sa.cast(bot.c.events, sa.Text).label("events"),
    sa.cast(bot.c.metadata, sa.Text).label("metadata"),
    bot.c.deduplication_key,
    bot.c.created_at,
)

_OLDEST_FIRST = Order(instant=bot.c.created_at, id=bot.c.id, descending=False)

_EVENT = sa.text("""
    SELECT e.id, e.calendar_id, e.version, e.start_time AS starts_at, e.end_time AS ends_at, e.meeting_link AS link,
           e.is_deleted, e.own_response, c.state = 'connected' AS is_connected
    FROM calendar_event e JOIN calendar c ON c.id = e.calendar_id
    WHERE e.project_id = :project AND e.id = :event
""")


def event(conn: Connection, project_id: str, event_id: str) -> Followed:
    """The project's event as a bot sees it; raises NotFound."""
    row = conn.execute(_EVENT, {"project": project_id, "event": event_id}).mappings().one_or_none()
    if row is None:
        raise NotFound(event_id)
    return Followed(**row)


_CREATE = sa.text(f"""
    WITH made AS (
        INSERT INTO bot (id, project_id, calendar_id, event_id, name, meeting_url, join_at, state, events, metadata,
                         deduplication_key, settings, made_by, created_at, updated_at, event_version, follows_start,
                         follows_link, ends_at, due_at)
        VALUES (:id, :project, :calendar, :event, :name, :meeting_url, :join_at, :state, CAST(:events AS jsonb),
                CAST(:metadata AS json), :deduplication_key, :settings, :made_by, :now, :now, :event_version,
                :follows_start, :follows_link, :ends_at, :now)
        ON CONFLICT (project_id, deduplication_key) WHERE deduplication_key IS NOT NULL AND {LIVE} DO NOTHING
        RETURNING *
    ), told AS (
        INSERT INTO bot_event (bot_id, at, decision, reason, event_id, event_version, new_state, type)
        SELECT id, :now, 'made', :reason, event_id, event_version, state, :type FROM made
    )
    SELECT {_SHOWN} FROM made
""")


def create(
    conn: Connection,
    keyring: KeyRing,
    project_id: str,
    new: NewBot,
    *,
    now: datetime,
    reason: str = "made by the client",
) -> Bot:
    """A new bot: scheduled, or joining if it has no time. Its settings are sealed; it is due to be looked at.

    Raises DuplicateKey if a bot that is not over yet has the key, NotFound if its event was deleted meanwhile; leaves
    the caller's transaction usable.
    """
    row, followed = ids.new("bot"), new.event
    events = [] if new.join_at else [{"type": "join_requested", "created_at": now}]
    values: dict[str, object] = {
        "id": row,
        "project": project_id,
        "calendar": followed and followed.calendar_id,
        "event": followed and followed.id,
        "name": new.name,
        "meeting_url": new.meeting_url,
        "join_at": new.join_at,
        "state": "scheduled" if new.join_at else "joining",
        "events": json_text(events),
        "metadata": None if new.metadata is None else json_text(new.metadata),
        "deduplication_key": new.deduplication_key,
        "settings": keyring.seal(json_text(new.settings), settings_place(row, project_id)) if new.settings else None,
        "made_by": new.made_by,
        "now": now,
        "event_version": followed and followed.version,
        "follows_start": followed and followed.starts_at,
        "follows_link": followed and followed.link,
        "ends_at": followed and followed.ends_at,
        "reason": reason,
        "type": None if new.join_at else "join_requested",
    }
    try:
        with conn.begin_nested():
            made = conn.execute(_CREATE, values).one_or_none()
    except IntegrityError:
        raise NotFound(str(values["event"])) from None
    if made is None:
        raise DuplicateKey("deduplication_key")
    own = [replace(one, bot_id=row) for one in new.webhooks]
    subscriptions.create(conn, keyring, project_id, own, now=now)  # before anything is told of the bot
    if new.join_at is None:
        outbox.bots_changed(conn, [_on_its_way(row, now)], at=now)
    return _bot(made)


def _on_its_way(bot_id: str, now: datetime) -> BotChange:
    return BotChange(
        bot_id=bot_id,
        event_type="join_requested",
        event_sub_type=None,
        event_metadata={},
        old_state="ready",
        new_state="joining",
        at=now,
    )


_GET = sa.text(f"SELECT {_SHOWN} FROM bot WHERE project_id = :project AND id = :bot AND gone_at IS NULL")


def get(conn: Connection, project_id: str, bot_id: str) -> Bot:
    """The project's bot; raises NotFound."""
    row = conn.execute(_GET, {"project": project_id, "bot": bot_id}).one_or_none()
    if row is None:
        raise NotFound(bot_id)
    return _bot(row)


_LOCK = sa.text(f"{_GET.text} FOR UPDATE")


def lock(conn: Connection, project_id: str, bot_id: str) -> Bot:
    """The project's bot, which nobody changes until the transaction ends; raises NotFound."""
    row = conn.execute(_LOCK, {"project": project_id, "bot": bot_id}).one_or_none()
    if row is None:
        raise NotFound(bot_id)
    return _bot(row)


def page(conn: Connection, project_id: str, *, where: Filter, size: int, seek: Seek | None = None) -> Page[Bot]:
    """Some of the project's bots, oldest first."""
    texts = (where.meeting_url, where.deduplication_key)
    if any(text is not None and "\x00" in text for text in texts):
        return Page(rows=())  # PostgreSQL has no such text, so no bot matches
    query = sa.select(*_PUBLIC).where(bot.c.project_id == project_id, bot.c.gone_at.is_(None))
    if where.meeting_url is not None:
        query = query.where(bot.c.meeting_url == where.meeting_url)
    if where.deduplication_key is not None:
        query = query.where(bot.c.deduplication_key == where.deduplication_key)
    if where.states:
        query = query.where(bot.c.state.in_(where.states))
    if where.join_at_after is not None:
        query = query.where(bot.c.join_at > where.join_at_after)
    if where.join_at_before is not None:
        query = query.where(bot.c.join_at < where.join_at_before)
    found = conn.execute(_OLDEST_FIRST.limited(query, seek=seek, size=size)).all()
    part = _OLDEST_FIRST.page(found, seek=seek, size=size)
    return Page(rows=[_bot(row) for row in part.rows], next=part.next, previous=part.previous)


_OF_EVENTS = sa.text(f"""
    SELECT {_SHOWN} FROM bot WHERE event_id = ANY(:events) AND gone_at IS NULL ORDER BY created_at, id
""")


def of_events(conn: Connection, events: Collection[str]) -> Mapping[str, Sequence[Bot]]:
    """The bots of these events, in any state, oldest first, by event id; an event without bots is left out."""
    found: dict[str, list[Bot]] = {}
    if events:
        for row in conn.execute(_OF_EVENTS, {"events": list(events)}):
            found.setdefault(row.event_id, []).append(_bot(row))
    return found


_SETTINGS = sa.text("SELECT settings FROM bot WHERE project_id = :project AND id = :bot")


def settings(conn: Connection, keyring: KeyRing, project_id: str, bot_id: str) -> dict[str, object]:
    """What else the bot was made with; raises CredentialUnreadable."""
    sealed = conn.execute(_SETTINGS, {"project": project_id, "bot": bot_id}).scalar_one_or_none()
    return opened(keyring, sealed, bot_id, project_id)


def patch(conn: Connection, keyring: KeyRing, project_id: str, bot_id: str, change: BotPatch, *, now: datetime) -> Bot:
    """Apply `change`, and have the bot looked at again. The caller holds the bot's row lock; raises NotFound."""
    values: dict[str, Any] = {"updated_at": now}
    said = [name for name in ("name", "meeting_url", "join_at") if getattr(change, name) is not None]
    values |= {name: getattr(change, name) for name in said}
    if change.metadata is not None:
        values["metadata"] = change.metadata
    if change.settings:
        kept = settings(conn, keyring, project_id, bot_id) | dict(change.settings)
        values["settings"] = keyring.seal(json_text(kept), settings_place(bot_id, project_id))
    if said:
        values |= {"due_at": now, "asked": bot.c.asked + 1}
    if change.meeting_url is not None:
        values |= {"suspended_at": None, "suspended_because": None}
    row = conn.execute(
        sa.update(bot)
        .where(bot.c.project_id == project_id, bot.c.id == bot_id, bot.c.gone_at.is_(None))
        .values(values)
        .returning(*_PUBLIC)
    ).one_or_none()
    if row is None:
        raise NotFound(bot_id)
    told = [*said, *(["metadata"] if change.metadata is not None else []), *change.settings]
    if told:
        note(conn, [bot_id], decision="changed", reason=f"the client set {', '.join(told)}", at=now)
    return _bot(row)


_DELETE = sa.text("""
    WITH gone AS (
        UPDATE bot SET gone_at = :now, gone_because = 'deleted', updated_at = :now, settings = NULL, due_at = NULL,
               metadata = NULL, asked = asked + 1, lease_token = NULL, lease_until = NULL
        WHERE project_id = :project AND id = :bot AND gone_at IS NULL AND state = 'scheduled'
        RETURNING id, event_id, event_version, state
    )
    INSERT INTO bot_event (bot_id, at, decision, reason, event_id, event_version, old_state)
    SELECT id, :now, 'deleted', 'deleted by the client', event_id, event_version, state FROM gone
""")


def delete(conn: Connection, project_id: str, bot_id: str, *, now: datetime) -> bool:
    """Forget a scheduled bot for good; that it was there stays on record. False if there is none."""
    return conn.execute(_DELETE, {"project": project_id, "bot": bot_id, "now": now}).rowcount == 1


_LOCK_CALENDAR = sa.text("SELECT FROM calendar WHERE project_id = :project AND id = :calendar FOR UPDATE")
_CALENDAR_DELETED = sa.text("""
    WITH judged AS (
        INSERT INTO bot_rules_review (project_id)
        SELECT r.project_id FROM bot_rules r WHERE r.project_id = :project AND r.rules IS NOT NULL
    )
    DELETE FROM bot WHERE project_id = :project AND calendar_id = :calendar
        AND (state = 'scheduled' OR gone_at IS NOT NULL)
""")


def calendar_deleted(conn: Connection, project_id: str, calendar_id: str) -> int:
    """Take away the scheduled bots of a calendar that is about to be deleted; others stay, no longer linked.

    Locks the calendar first, so that nobody makes another one meanwhile. Returns how many.
    """
    parameters = {"project": project_id, "calendar": calendar_id}
    conn.execute(_LOCK_CALENDAR, parameters)
    return conn.execute(_CALENDAR_DELETED, parameters).rowcount


_CALENDAR_DISCONNECTED = sa.text("""
    WITH gone AS (
        UPDATE bot SET gone_at = :now, gone_because = 'calendar_disconnected', updated_at = :now, due_at = NULL,
               asked = asked + 1
        WHERE calendar_id = :calendar AND state = 'scheduled' AND gone_at IS NULL
        RETURNING id, event_id, event_version, state
    ), planned AS (
        UPDATE bot SET due_at = :now, asked = asked + 1
        WHERE calendar_id = :calendar AND gone_because NOT IN ('deleted', 'superseded', 'calendar_disconnected')
          AND (gone_because <> 'event_deleted' OR lease_token IS NOT NULL)
    ), judged AS (
        INSERT INTO bot_rules_review (project_id, calendar_id)
        SELECT r.project_id, c.id FROM calendar c JOIN bot_rules r ON r.project_id = c.project_id
        WHERE c.id = :calendar AND r.rules IS NOT NULL
    )
    INSERT INTO bot_event (bot_id, at, decision, reason, event_id, event_version, old_state)
    SELECT id, :now, 'suspended', 'its calendar is disconnected', event_id, event_version, state FROM gone
""")


def calendar_disconnected(conn: Connection, calendar_id: str, *, now: datetime) -> int:
    """Take the scheduled bots of a calendar away from API clients, in the transaction that disconnects it.

    Returns how many. Once it is connected again, the reconciliation brings them back. Those that are away for another
    reason that may pass are looked at again, and so is what is just being planned: it may be about to bring one back.
    """
    return conn.execute(_CALENDAR_DISCONNECTED, {"calendar": calendar_id, "now": now}).rowcount


_CALENDAR_RECONNECTED = sa.text("""
    WITH judged AS (
        INSERT INTO bot_rules_review (project_id, calendar_id)
        SELECT r.project_id, c.id FROM calendar c JOIN bot_rules r ON r.project_id = c.project_id
        WHERE c.id = :calendar AND r.rules IS NOT NULL
    )
    UPDATE bot SET due_at = :now, asked = asked + 1
    WHERE calendar_id = :calendar AND state IN ('scheduled', 'staged', 'joining')
      AND (gone_at IS NULL OR gone_because = 'calendar_disconnected'
           OR lease_token IS NOT NULL AND gone_because NOT IN ('deleted', 'superseded'))
""")


def calendar_reconnected(conn: Connection, calendar_id: str, *, now: datetime) -> int:
    """Have the bots looked at that a disconnection took away, in the transaction that connects the calendar again.

    Those as well that a plan made before may be about to take away, and those on their way, which wait while it is
    disconnected.
    """
    return conn.execute(_CALENDAR_RECONNECTED, {"calendar": calendar_id, "now": now}).rowcount


_NOTE = sa.text("""
    INSERT INTO bot_event (bot_id, at, decision, reason, event_id, event_version)
    SELECT id, :at, :decision, :reason, event_id, event_version FROM bot WHERE id = ANY(:bots)
""")


def note(conn: Connection, bots: Sequence[str], *, decision: str, reason: str, at: datetime) -> None:
    """Keep on record what was done to these bots, and why."""
    conn.execute(_NOTE, {"bots": list(bots), "decision": decision, "reason": reason, "at": at})


def settings_place(bot_id: str, project_id: str) -> Place:
    """Where a bot's settings stand."""
    return Place(table="bot", column="settings", row=bot_id, project=project_id)


def opened(keyring: KeyRing, sealed: bytes | None, bot_id: str, project_id: str) -> dict[str, object]:
    """Sealed settings as an object; none are an empty one. Raises CredentialUnreadable."""
    if sealed is None:
        return {}
    return msgspec.json.decode(keyring.open(sealed, settings_place(bot_id, project_id)), type=dict[str, object])


def _bot(row: Row | sa.Row[Any]) -> Bot:
    return Bot(
        id=row.id,
        event_id=row.event_id,
        name=row.name,
        meeting_url=row.meeting_url,
        state=row.state,
        join_at=row.join_at,
        transcription_state=row.transcription_state,
        recording_state=row.recording_state,
        events=row.events,
        metadata=row.metadata,
        deduplication_key=row.deduplication_key,
        created_at=row.created_at,
    )
