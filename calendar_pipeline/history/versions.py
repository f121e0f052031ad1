"""The record itself, read for whoever shows it: an event in full, its versions, a calendar as of an instant, the feed.

Every statement is limited to one project. Nothing is written here but a new epoch.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.db.schema import EVENT_FIELDS
from calendar_pipeline.errors import NotFound

Row = sa.Row[*tuple[Any, ...]]

_HIDDEN = ("fingerprint",)
_AS_TEXT = ("raw", "attendees")
FIELDS = tuple(name for name in EVENT_FIELDS if name not in _HIDDEN)
_CONTENT = ", ".join(f"{name}::text AS {name}" if name in _AS_TEXT else name for name in FIELDS)
_VERSION = f"seq, recorded_at, calendar_id, event_id, version, change, changed, before::text AS before, {_CONTENT}"

_DETAILS = sa.text(f"""
    SELECT id, calendar_id, version, created_at, updated_at, {_CONTENT} FROM calendar_event
    WHERE project_id = :project AND id = :event
""")


def details(conn: Connection, project_id: str, event_id: str) -> Row:
    """The event as it is, with every field we keep; `raw` and `attendees` as JSON text. Raises NotFound."""
    row = conn.execute(_DETAILS, {"project": project_id, "event": event_id}).one_or_none()
    if row is None:
        raise NotFound(event_id)
    return row


_OF_EVENT = sa.text(f"""
    SELECT {_VERSION} FROM event_history
    WHERE event_id = :event AND project_id = :project AND version > :after ORDER BY version LIMIT :limit
""")


def of_event(conn: Connection, project_id: str, event_id: str, *, after: int, limit: int) -> Sequence[Row]:
    """The event's versions behind number `after`, in order; deleted calendars' events have theirs still."""
    given = {"project": project_id, "event": event_id, "after": after, "limit": limit}
    return conn.execute(_OF_EVENT, given).all()


_AS_OF = sa.text(f"""
    SELECT * FROM (
        SELECT DISTINCT ON (event_id) {_VERSION} FROM event_history
        WHERE calendar_id = :calendar AND project_id = :project AND recorded_at <= :at AND event_id > :after
        ORDER BY event_id, version DESC
    ) AS at_that_time
    WHERE :deleted OR NOT is_deleted ORDER BY event_id LIMIT :limit
""")


def as_of(
    conn: Connection, project_id: str, calendar_id: str, *, at: datetime, deleted: bool, after: str, limit: int
) -> Sequence[Row]:
    """What the calendar's events were at `at`, by event id behind `after`: the last version of each up to then."""
    given = {
        "project": project_id,
        "calendar": calendar_id,
        "at": at,
        "deleted": deleted,
        "after": after,
        "limit": limit,
    }
    return conn.execute(_AS_OF, given).all()


_KEPT_FROM = sa.text("SELECT kept_from FROM project_counter WHERE project_id = :project")


def kept_from(conn: Connection, project_id: str) -> datetime | None:
    """The instant before which states are not whole any more; None: all are. Read it behind what it is asked for."""
    found: datetime | None = conn.execute(_KEPT_FROM, {"project": project_id}).scalar_one()
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where the feed ends now, and in which epoch."""

    epoch: str
    last: int
    floor: int
    """Retention has left nothing out above this number, and perhaps something up to it."""


_HEAD = sa.text("SELECT n, floor, epoch FROM project_counter, feed_epoch WHERE project_id = :project")


def head(conn: Connection, project_id: str) -> Head:
    """The last number given out. Read it before the rows: what comes in between is then only more of them."""
    row = conn.execute(_HEAD, {"project": project_id}).one()
    return Head(epoch=row.epoch, last=row.n, floor=row.floor)


_FEED = sa.text(f"""
    SELECT {_VERSION} FROM event_history WHERE project_id = :project AND seq > :after ORDER BY seq LIMIT :limit
""")


def feed(conn: Connection, project_id: str, *, after: int, limit: int) -> Sequence[Row]:
    """Changes behind number `after`, in commit order, without gaps."""
    return conn.execute(_FEED, {"project": project_id, "after": after, "limit": limit}).all()


def new_epoch(conn: Connection, *, now: datetime) -> str:
    """Begin another epoch: every cursor given out so far is refused from now on, and consumers begin anew."""
    epoch = uuid.uuid4().hex
    conn.execute(sa.text("UPDATE feed_epoch SET epoch = :epoch, since = :now"), {"epoch": epoch, "now": now})
    return epoch
