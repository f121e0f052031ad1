"""Rules in the database: kept, and what they need to judge. One function, one statement; no function commits.

Whoever judges holds the project's row of `bot_rules`, so that a meeting is judged by one worker at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.bots.meetings import Candidate, RuledBot
from calendar_pipeline.bots.rules import Rules, Subject, restored, stored
from calendar_pipeline.db.connect import json_text
from calendar_pipeline.errors import NotFound
from calendar_pipeline.event import Attendee
from calendar_pipeline.secrets.keyring import KeyRing, Place

Row = sa.Row[*tuple[Any, ...]]

_SET = sa.text("""
    WITH kept AS (
        INSERT INTO bot_rules (project_id, rules, settings, seq, updated_at)
        SELECT p.id, CAST(:rules AS json), :settings, COALESCE(c.n, 0), :now
        FROM project p LEFT JOIN project_counter c ON c.project_id = p.id WHERE p.id = :project
        ON CONFLICT (project_id) DO UPDATE SET rules = excluded.rules, settings = excluded.settings, updated_at = :now,
            seq = CASE WHEN bot_rules.rules IS NULL THEN excluded.seq ELSE bot_rules.seq END
        RETURNING project_id
    )
    INSERT INTO bot_rules_review (project_id) SELECT project_id FROM kept
""")


def put(connection: Connection, keyring: KeyRing, project_id: str, rules: Rules, *, now: datetime) -> bool:
    """Keep a project's rules and have its upcoming events judged by them. False if there is no such project."""
    bare = msgspec.structs.replace(rules, bot=msgspec.structs.replace(rules.bot, settings={}))
    settings = rules.bot.settings
    sealed = keyring.seal(json_text(settings), _place(project_id)) if settings else None
    values = {"project": project_id, "rules": stored(bare), "settings": sealed, "now": now}
    return connection.execute(_SET, values).rowcount == 1


_STRANGERS = sa.text("""
    SELECT name FROM unnest(CAST(:calendars AS text[])) AS name
    WHERE NOT EXISTS (SELECT FROM calendar c WHERE c.id = name AND c.project_id = :project) ORDER BY name
""")


def strangers(connection: Connection, project_id: str, calendars: Sequence[str]) -> list[str]:
    """Those of these calendars that the project does not have."""
    return list(connection.execute(_STRANGERS, {"project": project_id, "calendars": list(calendars)}).scalars())


_CLEAR = sa.text("""
    WITH cleared AS (
        UPDATE bot_rules SET rules = NULL, settings = NULL, updated_at = :now
        WHERE project_id = :project AND rules IS NOT NULL RETURNING project_id
    )
    INSERT INTO bot_rules_review (project_id) SELECT project_id FROM cleared
""")


def clear(connection: Connection, project_id: str, *, now: datetime) -> bool:
    """Forget a project's rules; their bots will be cancelled. False if there are none."""
    return connection.execute(_CLEAR, {"project": project_id, "now": now}).rowcount == 1


_GET = sa.text("SELECT rules, settings FROM bot_rules WHERE project_id = :project")


def get(connection: Connection, keyring: KeyRing, project_id: str) -> Rules | None:
    """The project's rules; raises CredentialUnreadable."""
    row = connection.execute(_GET, {"project": project_id}).one_or_none()
    return None if row is None else _rules(row, keyring, project_id)


_IS_RULED = sa.text("SELECT FROM bot_rules WHERE project_id = :project AND rules IS NOT NULL")


def is_ruled(connection: Connection, project_id: str) -> bool:
    """Whether the project has rules."""
    return connection.execute(_IS_RULED, {"project": project_id}).one_or_none() is not None


_OVERRIDE = sa.text("""
    WITH event AS (
        SELECT id, project_id FROM calendar_event WHERE id = :event AND project_id = :project
    ), said AS (
        INSERT INTO bot_override (event_id, is_wanted, at) SELECT id, :is_wanted, :now FROM event
        WHERE CAST(:is_wanted AS boolean) IS NOT NULL
        ON CONFLICT (event_id) DO UPDATE SET is_wanted = excluded.is_wanted, at = excluded.at
    ), unsaid AS (
        DELETE FROM bot_override WHERE CAST(:is_wanted AS boolean) IS NULL AND event_id IN (SELECT id FROM event)
    ), judged AS (
        INSERT INTO bot_rules_review (project_id, event_id)
        SELECT r.project_id, event.id FROM event JOIN bot_rules r ON r.project_id = event.project_id
    )
    SELECT count(*) FROM event
""")


def override(connection: Connection, project_id: str, event_id: str, is_wanted: bool | None, *, now: datetime) -> bool:
    """Say yes or no for one event, or leave it to the rules. False if the project has no such event."""
    values = {"project": project_id, "event": event_id, "is_wanted": is_wanted, "now": now}
    return connection.execute(_OVERRIDE, values).scalar_one() == 1


_OVERRIDDEN = sa.text("""
    SELECT o.is_wanted FROM calendar_event e LEFT JOIN bot_override o ON o.event_id = e.id
    WHERE e.id = :event AND e.project_id = :project
""")


def overridden(connection: Connection, project_id: str, event_id: str) -> bool | None:
    """What somebody said for the event; None: it is left to the rules. Raises NotFound."""
    row = connection.execute(_OVERRIDDEN, {"project": project_id, "event": event_id}).one_or_none()
    if row is None:
        raise NotFound(event_id)
    return row.is_wanted


_CLAIM = sa.text("SELECT rules, settings, seq FROM bot_rules WHERE project_id = :project FOR UPDATE SKIP LOCKED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A project's rules, which nobody else judges by until the transaction ends."""

    rules: Rules | None
    seq: int


def claim(connection: Connection, keyring: KeyRing, project_id: str) -> Held | None:
    """Take a project's rules to judge by; None if somebody else has them."""
    row = connection.execute(_CLAIM, {"project": project_id}).one_or_none()
    return None if row is None else Held(rules=_rules(row, keyring, project_id), seq=row.seq)


_NEWS = sa.text("""
    SELECT h.seq, h.event_id, h.ical_uid, h.original_starts_at, h.meeting_key, h.starts_at, h.before
    FROM event_history h WHERE h.project_id = :project AND h.seq > :after ORDER BY h.seq LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Identity:
    """By what an event is known as a meeting, now or before."""

    ical_uid: str | None
    original_starts_at: datetime | str | None
    meeting_key: str | None
    starts_at: datetime | str


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What changed since the rules were last applied."""

    seq: int
    count: int
    events: Sequence[str]
    former: Sequence[Identity]
    """What changed events were before: others may be left without a bot."""


def news(connection: Connection, project_id: str, *, after: int, limit: int) -> News:
    """Changes of the project's history after a position."""
    rows = connection.execute(_NEWS, {"project": project_id, "after": after, "limit": limit}).all()
    identity = ("ical_uid", "original_starts_at", "meeting_key", "starts_at")
    former = {
        Identity(**{name: row.before.get(name, getattr(row, name)) for name in identity})
        for row in rows
        if any(name in row.before for name in identity)
    }
    events = list(dict.fromkeys(row.event_id for row in rows))
    return News(seq=rows[-1].seq if rows else after, count=len(rows), events=events, former=list(former))


_REVIEW = sa.text("""
    SELECT id, calendar_id, event_id, after_end, after_id FROM bot_rules_review
    WHERE project_id = :project ORDER BY id LIMIT 1
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Upcoming events that are to be judged again."""

    id: int
    calendar_id: str | None
    event_id: str | None
    after_end: datetime | None
    after_id: str


def review(connection: Connection, project_id: str) -> Review | None:
    """The first of what is to be judged again; None if nothing is."""
    row = connection.execute(_REVIEW, {"project": project_id}).mappings().one_or_none()
    return None if row is None else Review(**row)


_UPCOMING = {
    scope: sa.text(f"""
        SELECT id, {end} AS after_end FROM calendar_event
        WHERE {where} AND ({end}, id) > (CAST(:after_end AS timestamptz), :after_id) ORDER BY {end}, id LIMIT :limit
    """)
    for scope, end, where in (
        ("project", "end_time", "project_id = :project"),
        ("calendar", "ends_at", "project_id = :project AND calendar_id = :calendar AND NOT is_deleted"),
    )
}


def upcoming(
    connection: Connection, project_id: str, one: Review, *, since: datetime, limit: int
) -> Sequence[tuple[str, datetime]]:
    """Ids and ends of the next events to judge, in order of their ends, beginning with those that end after `since`."""
    values = {
        "project": project_id,
        "calendar": one.calendar_id,
        "after_end": one.after_end or since,
        "after_id": one.after_id,
        "limit": limit,
    }
    rows = connection.execute(_UPCOMING["project" if one.calendar_id is None else "calendar"], values)
    return [(row.id, row.after_end) for row in rows]


_JUDGED = sa.text("""
    WITH done AS (
        DELETE FROM bot_rules_review WHERE id = :review AND CAST(:after_end AS timestamptz) IS NULL
    ), going_on AS (
        UPDATE bot_rules_review SET after_end = :after_end, after_id = :after_id
        WHERE id = :review AND CAST(:after_end AS timestamptz) IS NOT NULL
    )
    UPDATE bot_rules SET seq = GREATEST(seq, :seq) WHERE project_id = :project
""")


def judged(
    connection: Connection,
    project_id: str,
    *,
    seq: int,
    review_id: int | None = None,
    after: tuple[str, datetime] | None = None,
) -> None:
    """Note how far the rules were applied: up to `seq`, and in a review `after` the last event; None if it is done."""
    values = {
        "project": project_id,
        "seq": seq,
        "review": review_id,
        "after_end": after and after[1],
        "after_id": after[0] if after else "",
    }
    connection.execute(_JUDGED, values)


_KIN = sa.text("""
    WITH RECURSIVE former AS (
        SELECT * FROM json_to_recordset(CAST(:former AS json)) AS r(
            ical_uid text, original_starts_at timestamptz, meeting_key text, starts_at timestamptz)
    ), found AS (
        SELECT e.id, e.ical_uid, e.original_starts_at, e.meeting_key, e.starts_at
        FROM calendar_event e WHERE e.id = ANY(:events) AND e.project_id = :project
        UNION
        SELECT NULL, ical_uid, original_starts_at, meeting_key, starts_at FROM former
        UNION
        SELECT o.id, o.ical_uid, o.original_starts_at, o.meeting_key, o.starts_at
        FROM found f CROSS JOIN LATERAL (
            SELECT * FROM calendar_event e WHERE e.project_id = :project
                AND e.ical_uid = f.ical_uid AND e.original_starts_at = f.original_starts_at
            UNION ALL
            SELECT * FROM calendar_event e WHERE e.project_id = :project AND f.original_starts_at IS NULL
                AND e.ical_uid = f.ical_uid AND e.original_starts_at IS NULL
            UNION ALL
            SELECT * FROM calendar_event e WHERE e.project_id = :project
                AND e.meeting_key = f.meeting_key AND e.starts_at = f.starts_at
        ) o
    )
    SELECT e.id, e.calendar_id, e.version, e.title, e.starts_at, e.ends_at, e.start_time, e.time_zone,
           e.meeting_link, e.meeting_key, e.ical_uid, e.original_starts_at, e.organizer_email, e.own_response,
           e.attendees, e.series_id, e.is_deleted, c.account, c.state = 'connected' AS is_connected,
           o.is_wanted, o.at AS override_at
    FROM calendar_event e JOIN calendar c ON c.id = e.calendar_id LEFT JOIN bot_override o ON o.event_id = e.id
    WHERE e.id IN (SELECT id FROM found) ORDER BY e.starts_at, e.id
""")


def kin(
    connection: Connection, project_id: str, events: Sequence[str], former: Sequence[Identity] = ()
) -> list[Candidate]:
    """These events and all others of the same meetings, or of meetings that they were, in order of their starts."""
    values = {"project": project_id, "events": list(events), "former": json_text(former)}
    return [_candidate(row) for row in connection.execute(_KIN, values)]


_BOTS = sa.text("""
    SELECT id, event_id, state, gone_at, gone_because, follows_start, ends_at, unwanted_because, created_at FROM bot
    WHERE event_id = ANY(:events) AND made_by = 'rules' ORDER BY created_at, id
""")


def bots(connection: Connection, events: Sequence[str]) -> list[RuledBot]:
    """The bots that rules made for these events, those that are gone, too."""
    return [RuledBot(**row) for row in connection.execute(_BOTS, {"events": list(events)}).mappings()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A bot to make for an event."""

    id: str
    event: Candidate
    name: str
    metadata: Mapping[str, object] | None
    settings: bytes | None
    """Sealed."""
    reason: str


_MAKE = sa.text("""
    WITH made AS (
        INSERT INTO bot (id, project_id, calendar_id, event_id, name, meeting_url, join_at, state, metadata, settings,
                         made_by, created_at, updated_at, event_version, follows_start, follows_link, ends_at, due_at)
        SELECT r.id, e.project_id, e.calendar_id, e.id, r.name, e.meeting_link, e.start_time, 'scheduled', r.metadata,
               decode(r.settings, 'hex'), 'rules', :now, :now, e.version, e.start_time, e.meeting_link, e.end_time, :now
        FROM json_to_recordset(CAST(:rows AS json)) AS r(id text, event_id text, version int, name text, metadata json,
                                                         settings text)
        JOIN calendar_event e ON e.id = r.event_id
        WHERE e.version = r.version
        RETURNING id, event_id, event_version
    )
    INSERT INTO bot_event (bot_id, at, decision, reason, event_id, event_version, new_state)
    SELECT made.id, :now, 'made', r.reason, made.event_id, made.event_version, 'scheduled'
    FROM made JOIN json_to_recordset(CAST(:rows AS json)) AS r(id text, reason text) ON r.id = made.id
""")


def make(connection: Connection, rows: Sequence[Made], *, now: datetime) -> int:
    """Make these bots, but for events that changed meanwhile: they are judged again. Returns how many."""
    payload = [
        {
            "id": row.id,
            "event_id": row.event.id,
            "version": row.event.version,
            "name": row.name,
            "metadata": row.metadata,
            "settings": row.settings.hex() if row.settings else None,
            "reason": row.reason,
        }
        for row in rows
    ]
    return connection.execute(_MAKE, {"rows": json_text(payload), "now": now}).rowcount


_MARK = sa.text("""
    UPDATE bot SET unwanted_because = r.why, due_at = :now, asked = asked + 1
    FROM json_to_recordset(CAST(:rows AS json)) AS r(id text, why text)
    WHERE bot.id = r.id AND bot.made_by = 'rules'
""")


def mark(connection: Connection, marks: Mapping[str, str | None], *, now: datetime) -> int:
    """Say of bots why they are not wanted, or that they are again, and have them planned. Returns how many."""
    rows = [{"id": bot_id, "why": why} for bot_id, why in sorted(marks.items())]
    return connection.execute(_MARK, {"rows": json_text(rows), "now": now}).rowcount


def _rules(row: Row, keyring: KeyRing, project_id: str) -> Rules | None:
    if row.rules is None:
        return None
    rules = restored(row.rules)
    if row.settings is None:
        return rules
    settings = msgspec.json.decode(keyring.open(row.settings, _place(project_id)), type=dict[str, object])
    return msgspec.structs.replace(rules, bot=msgspec.structs.replace(rules.bot, settings=settings))


def _place(project_id: str) -> Place:
    return Place(table="bot_rules", column="settings", row=project_id, project=project_id)


def _candidate(row: Row) -> Candidate:
    return Candidate(
        id=row.id,
        version=row.version,
        subject=Subject(
            calendar_id=row.calendar_id,
            title=row.title,
            starts_at=row.starts_at,
            time_zone=row.time_zone,
            link=row.meeting_link,
            organizer_email=row.organizer_email,
            own_response=row.own_response,
            attendees=msgspec.convert(row.attendees, list[Attendee]),
            is_recurring=row.series_id is not None,
            account=row.account,
        ),
        start_time=row.start_time,
        ends_at=row.ends_at,
        ical_uid=row.ical_uid,
        original_starts_at=row.original_starts_at,
        meeting_key=row.meeting_key,
        is_deleted=row.is_deleted,
        is_connected=row.is_connected,
        override=row.is_wanted,
        override_at=row.override_at,
    )
