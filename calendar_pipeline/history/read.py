"""Events as they are now, read a page at a time for whoever shows them. Nothing is written here."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.db.keyset import Order, Page, Row, Seek
from calendar_pipeline.db.schema import calendar, calendar_event

Ordering = Literal[
    "-updated_at", "updated_at", "start_time", "-start_time", "end_time", "-end_time", "created_at", "-created_at"
]

ORDERINGS: tuple[Ordering, ...] = (
    "-updated_at",
    "updated_at",
    "start_time",
    "-start_time",
    "end_time",
    "-end_time",
    "created_at",
    "-created_at",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What an event must match: everything that is not None. Bounds include their instant."""

    calendar_id: str | None = None
    calendar_deduplication_key: str | None = None
    event_id: str | None = None
    updated_at_gte: datetime | None = None
    start_time_gte: datetime | None = None
    end_time_lte: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event as it is now. `raw` and `attendees` are JSON text, as stored: most readers only pass them on."""

    id: str
    calendar_id: str
    provider_event_id: str
    meeting_url: str | None
    start_time: datetime
    end_time: datetime
    is_deleted: bool
    attendees: str
    ical_uid: str | None
    title: str | None
    raw: str
    created_at: datetime
    updated_at: datetime


_COLUMNS: Sequence[sa.ColumnElement[Any]] = (
    calendar_event.c.id,
    calendar_event.c.calendar_id,
    calendar_event.c.provider_event_id,
    calendar_event.c.meeting_url,
    calendar_event.c.start_time,
    calendar_event.c.end_time,
    calendar_event.c.is_deleted,
    sa.cast(calendar_event.c.attendees, sa.Text).label("attendees"),
    calendar_event.c.ical_uid,
    calendar_event.c.title,
    sa.cast(calendar_event.c.raw, sa.Text).label("raw"),
    calendar_event.c.created_at,
    calendar_event.c.updated_at,
)


def page(
    conn: Connection,
    project_id: str,
    *,
    where: Filter,
    ordering: Ordering = "-updated_at",
    size: int,
    seek: Seek | None = None,
) -> Page[StoredEvent]:
    """Some of the project's events, deleted ones too, in one statement."""
    if any(isinstance(value, str) and "\x00" in value for value in astuple(where)):
        return Page(rows=())  # PostgreSQL has no such text, so no event matches
    order = Order(
        instant=calendar_event.c[ordering.removeprefix("-")],
        id=calendar_event.c.id,
        descending=ordering.startswith("-"),
    )
    query = sa.select(*_COLUMNS).where(calendar_event.c.project_id == project_id, *_conditions(project_id, where))
    found = conn.execute(order.limited(query, seek=seek, size=size)).all()
    part = order.page(found, seek=seek, size=size)
    return Page(rows=[_event(row) for row in part.rows], next=part.next, previous=part.previous)


def _conditions(project_id: str, where: Filter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    event: Any = calendar_event.c
    if where.calendar_id is not None:
        conditions.append(event.calendar_id == where.calendar_id)
    if where.calendar_deduplication_key is not None:
        owner = sa.select(calendar.c.id).where(
            calendar.c.project_id == project_id, calendar.c.deduplication_key == where.calendar_deduplication_key
        )
        conditions.append(event.calendar_id == owner.scalar_subquery())
    if where.event_id is not None:
        conditions.append(event.id == where.event_id)
    if where.updated_at_gte is not None:
        conditions.append(event.updated_at >= where.updated_at_gte)
    if where.start_time_gte is not None:
        conditions.append(event.start_time >= where.start_time_gte)
    if where.end_time_lte is not None:
        conditions.append(event.end_time <= where.end_time_lte)
    return conditions


def _event(row: Row) -> StoredEvent:
    return StoredEvent(
        id=row.id,
        calendar_id=row.calendar_id,
        provider_event_id=row.provider_event_id,
        meeting_url=row.meeting_url,
        start_time=row.start_time,
        end_time=row.end_time,
        is_deleted=row.is_deleted,
        attendees=row.attendees,
        ical_uid=row.ical_uid,
        title=row.title,
        raw=row.raw,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
