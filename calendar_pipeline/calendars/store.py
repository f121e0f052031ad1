"""Calendars in the database. Every statement is limited to one project; no function here commits."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from calendar_pipeline import ids
from calendar_pipeline.calendars.model import Calendar, CalendarPatch, NewCalendar
from calendar_pipeline.db.keyset import Order, Page, Row, Seek
from calendar_pipeline.db.schema import calendar
from calendar_pipeline.errors import DuplicateKey, NotFound
from calendar_pipeline.secrets.keyring import KeyRing, Place

_PUBLIC: Sequence[sa.ColumnElement[Any]] = (
    calendar.c.id,
    calendar.c.project_id,
    calendar.c.platform,
    calendar.c.client_id,
    calendar.c.platform_uuid,
    calendar.c.state,
    calendar.c.metadata,
    calendar.c.deduplication_key,
    calendar.c.connection_failure_data,
    calendar.c.created_at,
    calendar.c.updated_at,
    calendar.c.last_successful_sync_at,
    calendar.c.last_attempted_sync_at,
)

_GET = sa.select(*_PUBLIC).where(
    calendar.c.project_id == sa.bindparam("project"), calendar.c.id == sa.bindparam("calendar")
)

_NEWEST_FIRST = Order(instant=calendar.c.created_at, id=calendar.c.id, descending=True)


def create(conn: Connection, keyring: KeyRing, project_id: str, new: NewCalendar, *, now: datetime) -> Calendar:
    """Follow a calendar: connected, and due at once. Credentials are sealed.

    Raises DuplicateKey, and leaves the caller's transaction usable, if a calendar of the project has the key.
    """
    row = ids.new("cal")
    made = conn.execute(
        postgresql.insert(calendar)
        .values(
            id=row,
            project_id=project_id,
            platform=new.platform,
            platform_uuid=new.platform_uuid,
            client_id=new.client_id,
            client_secret=keyring.seal(new.client_secret, secret_place("client_secret", row, project_id)),
            refresh_token=keyring.seal(new.refresh_token, secret_place("refresh_token", row, project_id)),
            deduplication_key=new.deduplication_key,
            metadata=sa.null() if new.metadata is None else new.metadata,
            created_at=now,
            updated_at=now,
            requested_gen=1,
            synced_gen=0,
            next_sync_at=now,
        )
        .on_conflict_do_nothing(index_elements=[calendar.c.project_id, calendar.c.deduplication_key])
        .returning(*_PUBLIC)
    ).one_or_none()
    if made is None:
        raise DuplicateKey("deduplication_key")
    return _calendar(made)


def get(conn: Connection, project_id: str, calendar_id: str) -> Calendar:
    """The project's calendar; raises NotFound."""
    row = conn.execute(_GET, {"project": project_id, "calendar": calendar_id}).one_or_none()
    if row is None:
        raise NotFound(calendar_id)
    return _calendar(row)


def page(
    conn: Connection, project_id: str, *, size: int, seek: Seek | None = None, deduplication_key: str | None = None
) -> Page[Calendar]:
    """Some of the project's calendars, newest first; with `deduplication_key`, the one that has it."""
    query = sa.select(*_PUBLIC).where(calendar.c.project_id == project_id)
    if deduplication_key is not None:
        if "\x00" in deduplication_key:
            return Page(rows=())  # PostgreSQL has no such text, so no calendar has it
        query = query.where(calendar.c.deduplication_key == deduplication_key)
    found = conn.execute(_NEWEST_FIRST.limited(query, seek=seek, size=size)).all()
    part = _NEWEST_FIRST.page(found, seek=seek, size=size)
    return Page(rows=[_calendar(row) for row in part.rows], next=part.next, previous=part.previous)


def patch(
    conn: Connection, keyring: KeyRing, project_id: str, calendar_id: str, change: CalendarPatch, *, now: datetime
) -> Calendar:
    """Apply `change` and ask for a sync at once, even if nothing is to change; raises NotFound.

    New credentials replace those given and keep the other. The next sync tries them from scratch, without the cached
    access token and without what the older ones earned: failures, any suspicion that access was revoked, a pause of
    the client.
    """
    values: dict[str, Any] = {
        "updated_at": now,
        "requested_gen": calendar.c.requested_gen + 1,
        "next_sync_at": now,
    }
    if change.metadata is not None:
        values["metadata"] = change.metadata
    if change.client_id is not None:
        values["client_id"] = change.client_id
    if change.client_secret is not None:
        place = secret_place("client_secret", calendar_id, project_id)
        values["client_secret"] = keyring.seal(change.client_secret, place)
    if change.refresh_token is not None:
        place = secret_place("refresh_token", calendar_id, project_id)
        values["refresh_token"] = keyring.seal(change.refresh_token, place)
    if change.has_credentials:
        values |= {"access_token": None, "access_token_expires_at": None, "credentials_at": now}
        values |= {"failures": 0, "suspected_at": None}
    row = conn.execute(
        sa.update(calendar)
        .where(calendar.c.project_id == project_id, calendar.c.id == calendar_id)
        .values(values)
        .returning(*_PUBLIC)
    ).one_or_none()
    if row is None:
        raise NotFound(calendar_id)
    return _calendar(row)


def delete(conn: Connection, project_id: str, calendar_id: str) -> None:
    """Forget the calendar, its credentials and its current events; history stays. Raises NotFound.

    Waits for a sync that is writing to the calendar, and takes the row from one that is still reading.
    """
    gone = conn.execute(
        sa.delete(calendar)
        .where(calendar.c.project_id == project_id, calendar.c.id == calendar_id)
        .returning(calendar.c.id)
    ).one_or_none()
    if gone is None:
        raise NotFound(calendar_id)


def secret_place(
    column: Literal["client_secret", "refresh_token", "access_token"], calendar_id: str, project_id: str
) -> Place:
    """Where a calendar's credential stands."""
    return Place(table="calendar", column=column, row=calendar_id, project=project_id)


def _calendar(row: Row) -> Calendar:
    return Calendar(
        id=row.id,
        project_id=row.project_id,
        platform=row.platform,
        client_id=row.client_id,
        platform_uuid=row.platform_uuid,
        state=row.state,
        metadata=row.metadata,
        deduplication_key=row.deduplication_key,
        connection_failure_data=row.connection_failure_data,
        created_at=row.created_at,
        updated_at=row.updated_at,
        last_successful_sync_at=row.last_successful_sync_at,
        last_attempted_sync_at=row.last_attempted_sync_at,
    )
