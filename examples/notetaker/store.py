"""Notetaker's own SQLite: users, their calendars, the events it has been told of, webhooks it has seen."""

import hashlib
import secrets
import sqlite3
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS user (
    id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, connect_state TEXT
);
CREATE TABLE IF NOT EXISTS session (digest TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES user);
CREATE TABLE IF NOT EXISTS calendar (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES user, platform TEXT NOT NULL, state TEXT NOT NULL,
    synced_until TEXT
);
CREATE TABLE IF NOT EXISTS event (
    id TEXT PRIMARY KEY, calendar_id TEXT NOT NULL REFERENCES calendar ON DELETE CASCADE, title TEXT,
    starts_at TEXT NOT NULL, ends_at TEXT NOT NULL, meeting_url TEXT, bot_id TEXT, bot_state TEXT, bot_join_at TEXT,
    all_day_on TEXT
);
CREATE TABLE IF NOT EXISTS seen (key TEXT PRIMARY KEY);
"""

OVER = ("ended", "fatal_error", "data_deleted")
"""States of bots that do nothing any more: another one can be sent."""

SHOWN = 100
"""Meetings on one page."""

Row = sqlite3.Row


class Store:
    """One connection behind a lock: plenty for an example, and simple to reason about."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.executescript(SCHEMA)
        if not any(column["name"] == "all_day_on" for column in self._all("PRAGMA table_info(event)")):
            self._db.execute("ALTER TABLE event ADD COLUMN all_day_on TEXT")  # a database of an earlier version

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    # -- people

    def sign_in(self, email: str) -> str:
        """A session for this address; returns its secret, of which only a digest is kept."""
        secret = secrets.token_urlsafe(32)
        with self._write() as db:
            db.execute("INSERT INTO user VALUES (?, ?, NULL) ON CONFLICT DO NOTHING", (secrets.token_hex(8), email))
            db.execute("INSERT INTO session SELECT ?, id FROM user WHERE email = ?", (_digest(secret), email))
        return secret

    def sign_out(self, secret: str) -> None:
        """End the session."""
        with self._write() as db:
            db.execute("DELETE FROM session WHERE digest = ?", (_digest(secret),))

    def user(self, secret: str) -> Row | None:
        """Who is signed in."""
        return self._one("SELECT user.* FROM user JOIN session ON user_id = user.id WHERE digest = ?", _digest(secret))

    def begin_connecting(self, user_id: str) -> str:
        """The state that must come back with this user's connection."""
        state = secrets.token_urlsafe(24)
        with self._write() as db:
            db.execute("UPDATE user SET connect_state = ? WHERE id = ?", (state, user_id))
        return state

    def end_connecting(self, user_id: str, state: str) -> bool:
        """Whether `state` is the one this user was sent away with; it works once."""
        with self._write() as db:
            done = db.execute(
                "UPDATE user SET connect_state = NULL WHERE id = ? AND connect_state = ?", (user_id, state)
            )
            return done.rowcount == 1

    # -- calendars

    def keep_calendar(self, calendar: Mapping[str, Any], user_id: str) -> None:
        """A calendar that was connected, or connected again."""
        with self._write() as db:
            db.execute(
                "INSERT INTO calendar VALUES (?, ?, ?, ?, NULL) ON CONFLICT (id) DO UPDATE SET state = excluded.state",
                (calendar["id"], user_id, calendar["platform"], calendar["state"]),
            )

    def set_state(self, calendar_id: str, state: str) -> bool:
        """Whether that was news."""
        with self._write() as db:
            done = db.execute("UPDATE calendar SET state = ? WHERE id = ? AND state <> ?", (state, calendar_id, state))
            return done.rowcount == 1

    def forget(self, calendar_id: str) -> None:
        """The calendar and its events."""
        with self._write() as db:
            db.execute("DELETE FROM calendar WHERE id = ?", (calendar_id,))

    def calendar(self, calendar_id: str) -> Row | None:
        """One calendar."""
        return self._one("SELECT * FROM calendar WHERE id = ?", calendar_id)

    def calendars(self, user_id: str | None = None) -> Sequence[Row]:
        """A user's calendars, or all."""
        if user_id is None:
            return self._all("SELECT * FROM calendar")
        return self._all("SELECT * FROM calendar WHERE user_id = ? ORDER BY rowid", user_id)

    # -- events

    def keep_events(self, calendar_id: str, events: Sequence[Mapping[str, Any]], *, until: str | None) -> None:
        """What the API told, and how far it has been read, together or not at all."""
        with self._write() as db:
            for event in events:
                if event["is_deleted"]:
                    db.execute("DELETE FROM event WHERE id = ?", (event["id"],))
                    continue
                bot = _current(event["bots"])
                db.execute(
                    "INSERT OR REPLACE INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        event["id"], calendar_id, event["name"], event["start_time"], event["end_time"],
                        event["meeting_url"], bot.get("id"), bot.get("state"), bot.get("join_at"),
                        _all_day_on(event),
                    ),
                )  # fmt: skip
            if until is not None:
                db.execute("UPDATE calendar SET synced_until = ? WHERE id = ?", (until, calendar_id))

    def set_bot(self, event_id: str, bot: Mapping[str, Any] | None) -> None:
        """The event's bot, or that it has none."""
        told = bot or {}
        with self._write() as db:
            db.execute(
                "UPDATE event SET bot_id = ?, bot_state = ?, bot_join_at = ? WHERE id = ?",
                (told.get("id"), told.get("state"), told.get("join_at"), event_id),
            )

    def event(self, user_id: str, event_id: str) -> Row | None:
        """A user's event."""
        return self._one(
            "SELECT event.* FROM event JOIN calendar ON calendar.id = calendar_id WHERE user_id = ? AND event.id = ?",
            user_id,
            event_id,
        )

    def upcoming(self, user_id: str, *, now: datetime) -> Sequence[Row]:
        """A user's events that are not over, the next one first: as many as are shown, and one that tells of more."""
        return self._all(
            "SELECT event.*, calendar.state, calendar.platform FROM event JOIN calendar ON calendar.id = calendar_id "
            "WHERE user_id = ? AND datetime(ends_at) > datetime(?) ORDER BY datetime(starts_at), title LIMIT ?",
            user_id,
            now.isoformat(),
            SHOWN + 1,
        )

    def waiting_for_bots(self, *, now: datetime) -> set[str]:
        """Calendars of which an event moved whose bot has not followed yet: it does so a moment later."""
        found = self._all(
            "SELECT DISTINCT calendar_id FROM event WHERE bot_state = 'scheduled' "
            "AND datetime(bot_join_at) <> datetime(starts_at) AND datetime(starts_at) > datetime(?)",
            now.isoformat(),
        )
        return {row["calendar_id"] for row in found}

    # -- webhooks

    def is_new(self, key: str) -> bool:
        """Whether a webhook was not seen before; it is now. One may be delivered twice."""
        with self._write() as db:
            return db.execute("INSERT INTO seen VALUES (?) ON CONFLICT DO NOTHING", (key,)).rowcount == 1

    @contextmanager
    def _write(self) -> Generator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _one(self, statement: str, *values: object) -> Row | None:
        with self._lock:
            return self._db.execute(statement, values).fetchone()

    def _all(self, statement: str, *values: object) -> Sequence[Row]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()


def _current(bots: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Of an event's bots, oldest first, the one that counts: the newest of those at work, or else the newest."""
    at_work = [bot for bot in bots if bot["state"] not in OVER]
    return (at_work or bots or [{}])[-1]


def _all_day_on(event: Mapping[str, Any]) -> str | None:
    """The day of an all-day event, which is the same everywhere on earth; only the provider's own JSON has it."""
    raw = event["raw"]
    start = raw.get("start") or {}
    day = start.get("dateTime") if raw.get("isAllDay") else start.get("date")
    return day[:10] if day else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
