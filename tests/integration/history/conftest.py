"""A record written by hand: projects, calendars and versions of events at chosen times."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from calendar_pipeline.db import migrate
from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import EVENT_FIELDS

JANUARY = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""A Monday."""


def insert(connection: sa.Connection, table: str, **values: object) -> None:
    names = ", ".join(values)
    connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{n}' for n in values)})"), values)


@dataclass
class Record:
    """Writes versions as a sync would: history, number and current row."""

    db: Database
    fingerprints: int = field(default=0)

    def calendar(self, key: str, *, project: str = "p", zone: str | None = None) -> str:
        with self.db.begin() as connection:
            if not connection.execute(sa.text("SELECT 1 FROM project WHERE id = :p"), {"p": project}).first():
                insert(connection, "project", id=project, name=project)
                insert(connection, "project_counter", project_id=project, n=0)
            secret = {"client_id": "c", "client_secret": b"", "refresh_token": b"", "updated_at": JANUARY}
            insert(connection, "calendar", id=key, project_id=project, platform="google", time_zone=zone, **secret)
        return key

    def write(
        self,
        event: str,
        *,
        at: datetime,
        calendar: str = "c",
        project: str = "p",
        starts_at: datetime = JANUARY,
        minutes: int = 30,
        change: str | None = None,
        before: dict[str, Any] | None = None,
        **fields: Any,
    ) -> int:
        """One version; returns its `seq`."""
        with self.db.begin() as connection:
            last = connection.execute(
                sa.text("SELECT version FROM calendar_event WHERE id = :id"), {"id": event}
            ).scalar_one_or_none()
            version = (last or 0) + 1
            self.fingerprints += 1
            end = starts_at + timedelta(minutes=minutes)
            row: dict[str, Any] = {
                "provider_event_id": f"provider-{event}",
                "ical_uid": f"uid-{event}",
                "title": f"Title of {event}",
                "starts_at": starts_at,
                "ends_at": end,
                "start_time": starts_at,
                "end_time": end,
                "status": "confirmed",
                "attendees": [],
                "visibility": "default",
                "is_busy": True,
                "event_type": "default",
                "raw": {"id": event},
                "fingerprint": str(self.fingerprints).encode(),
                "is_deleted": change == "deleted",
                **fields,
            }
            row = {name: json.dumps(value) if isinstance(value, (dict, list)) else value for name, value in row.items()}
            stamps = {"created_at": at, "updated_at": at}
            if last is None:
                insert(
                    connection, "calendar_event", id=event, project_id=project, calendar_id=calendar, version=1,
                    **row, **stamps,
                )  # fmt: skip
            else:
                sets = ", ".join(f"{name} = :{name}" for name in row)
                connection.execute(
                    sa.text(f"UPDATE calendar_event SET {sets}, version = :version, updated_at = :at WHERE id = :id"),
                    {**row, "version": version, "at": at, "id": event},
                )
            seq = connection.execute(
                sa.text("UPDATE project_counter SET n = n + 1 WHERE project_id = :p RETURNING n"), {"p": project}
            ).scalar_one()
            connection.execute(
                sa.text(f"""
                    INSERT INTO event_history (project_id, seq, recorded_at, calendar_id, event_id, version, change,
                                               changed, before, {", ".join(EVENT_FIELDS)})
                    SELECT project_id, :seq, :at, calendar_id, id, version, :change, :changed, :before,
                           {", ".join(EVENT_FIELDS)} FROM calendar_event WHERE id = :id
                """),
                {
                    "seq": seq,
                    "at": at,
                    "id": event,
                    "change": change or ("created" if version == 1 else "updated"),
                    "changed": list(before or {}),
                    "before": json.dumps(before or {}),
                },
            )
        return int(seq)

    def execute(self, statement: str, **values: object) -> None:
        with self.db.begin() as connection:
            connection.execute(sa.text(statement), values)

    def rows(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        with self.db.single() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query), values)]

    def one(self, query: str, **values: object) -> Any:
        """The only row, by column name."""
        with self.db.single() as connection:
            return connection.execute(sa.text(query), values).mappings().one()


@pytest.fixture
def record(db: Database) -> Record:
    """An empty record with partitions for the first months of 2026."""
    migrate.prepare_history(db, now=JANUARY)
    return Record(db)


def planted(db: Database, text: str, *, besides: tuple[str, ...] = ()) -> list[str]:
    """Where in the whole database `text` is found: a dump of each table, partitions and views too.

    Where it stands as a part of one of `besides`, that does not count.
    """
    with db.single() as connection:
        tables = (
            connection.execute(
                sa.text(
                    "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v') "
                    "AND relnamespace = 'public'::regnamespace"
                )
            )
            .scalars()
            .all()
        )
        found = []
        for name in tables:
            dump = "\n".join(connection.execute(sa.text(f'SELECT t::text FROM "{name}" AS t')).scalars())
            binary = connection.execute(
                sa.text("SELECT attname FROM pg_attribute WHERE attrelid = CAST(:n AS regclass) AND attnum > 0 "
                        "AND atttypid = 'bytea'::regtype AND NOT attisdropped"), {"n": f'"{name}"'}
            ).scalars().all()  # fmt: skip
            for column in binary:
                texts = connection.execute(sa.text(f'SELECT "{column}" FROM "{name}" WHERE "{column}" IS NOT NULL'))
                dump += "\n".join(bytes(part).decode(errors="replace") for part in texts.scalars())
            dump = dump.casefold()
            for other in besides:
                dump = dump.replace(other, "")
            if text.casefold() in dump:
                found.append(name)
    return found


@pytest.fixture
def find() -> Any:
    return planted
