"""Reading what we hold and writing what changed. One function, one statement; the caller's transaction."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from calendar_pipeline.db.connect import json_text
from calendar_pipeline.db.schema import EVENT_FIELDS, event_columns
from calendar_pipeline.history.diff import Change, Difference, Held
from calendar_pipeline.providers.port import Window

_HELD = "id, provider_event_id, version, fingerprint, is_deleted, series_id, starts_at, ends_at"

_HELD_OF_IDS = sa.text(f"""
    SELECT {_HELD} FROM calendar_event
    WHERE calendar_id = :calendar
      AND (provider_event_id = ANY(:ids) OR series_id = ANY(:series))
""")

_HELD_OF_WINDOW = sa.text(f"""
    SELECT {_HELD} FROM calendar_event
    WHERE calendar_id = :calendar
      AND (provider_event_id = ANY(:ids) OR series_id = ANY(:series)
           OR (NOT is_deleted AND ends_at > :start AND starts_at < :end))
""")


def held(
    connection: Connection, calendar: str, ids: Collection[str], *, series: Collection[str], window: Window | None
) -> list[Held]:
    """What we hold of these events, of the instances of these series, and of all that is live in `window`."""
    parameters: dict[str, object] = {"calendar": calendar, "ids": list(ids), "series": list(series)}
    if window is None:
        rows = connection.execute(_HELD_OF_IDS, parameters)
    else:
        rows = connection.execute(_HELD_OF_WINDOW, {**parameters, "start": window.start, "end": window.end})
    return [
        Held(
            event_id=row.id,
            provider_event_id=row.provider_event_id,
            version=row.version,
            fingerprint=bytes(row.fingerprint),
            is_deleted=row.is_deleted,
            series_id=row.series_id,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
        )
        for row in rows
    ]


_ROWS = sa.text(f"""
    SELECT {", ".join(EVENT_FIELDS)} FROM calendar_event
    WHERE calendar_id = :calendar AND provider_event_id = ANY(:ids)
""").columns(*event_columns())


def rows(connection: Connection, calendar: str, ids: Collection[str]) -> dict[str, Mapping[str, object]]:
    """Whole rows of these events, by provider event id."""
    found = connection.execute(_ROWS, {"calendar": calendar, "ids": list(ids)})
    return {str(row["provider_event_id"]): dict(row) for row in found.mappings()}


_SENT = [name for name in EVENT_FIELDS if name not in ("fingerprint", "is_deleted")]
_TYPES = {column.name: column.type.compile(dialect=postgresql.dialect()) for column in event_columns()}

_UPSERT = sa.text(f"""
    INSERT INTO calendar_event (id, project_id, calendar_id, version, {", ".join(_SENT)},
                                fingerprint, is_deleted, created_at, updated_at)
    SELECT r.id, :project, :calendar, r.version, {", ".join(f"r.{name}" for name in _SENT)},
           decode(r.fingerprint, 'hex'), false, :at, :at
    FROM json_to_recordset(CAST(:rows AS json)) AS r(
        id text, version int, fingerprint text, {", ".join(f"{name} {_TYPES[name]}" for name in _SENT)})
    ON CONFLICT (calendar_id, provider_event_id) DO UPDATE SET
        version = excluded.version, fingerprint = excluded.fingerprint, is_deleted = false,
        updated_at = excluded.updated_at, {", ".join(f"{name} = excluded.{name}" for name in _SENT)}
""")


def write_told(
    connection: Connection,
    changes: Sequence[tuple[Change, str]],
    *,
    project: str,
    calendar: str,
    at: datetime,
) -> None:
    """Write the rows of created, updated and restored events; each change comes with its event id.

    The caller holds the calendar's row lock.
    """
    payload = [
        {"id": event_id, "version": change.version, "fingerprint": change.told.fingerprint.hex(), **change.told.row}
        for change, event_id in changes
        if change.told is not None
    ]
    connection.execute(_UPSERT, {"rows": json_text(payload), "project": project, "calendar": calendar, "at": at})


_DELETE = sa.text("""
    UPDATE calendar_event SET is_deleted = true, version = version + 1, updated_at = :at
    WHERE calendar_id = :calendar AND provider_event_id = ANY(:ids)
""")


def write_deleted(connection: Connection, ids: Collection[str], *, calendar: str, at: datetime) -> None:
    """Mark these events deleted; their last content stays. The caller holds the calendar's row lock."""
    connection.execute(_DELETE, {"ids": list(ids), "calendar": calendar, "at": at})


_TURN = sa.text("""
    WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(project_lock(:project)))
    SELECT stamped_at FROM project_counter, turn WHERE project_id = :project FOR UPDATE OF project_counter
""")


def turn(connection: Connection, project: str, *, clock: Callable[[], datetime]) -> datetime:
    """Wait for our turn to write events of the project, and return the stamp for all that is written in it.

    The turn lasts until the commit and the stamp is taken within it, so the order of stamps is the order of commits,
    whatever the clocks of several workers say: no stamp is smaller than that of an earlier commit. Readers by stamp
    wait for the turn that is taken (`project_settled`).
    """
    last: datetime | None = connection.execute(_TURN, {"project": project}).scalar_one()
    now = clock()
    return now if last is None else max(now, last)


_APPEND = sa.text(f"""
    WITH counter AS (
        UPDATE project_counter SET n = n + :count, stamped_at = :at WHERE project_id = :project
        RETURNING n - :count AS before, webhooks
    )
    INSERT INTO event_history (project_id, seq, recorded_at, calendar_id, event_id, version, change, changed, before,
                               sync_run_id, {", ".join(EVENT_FIELDS)})
    SELECT e.project_id, counter.before + r.ord, :at, e.calendar_id, e.id, e.version, r.change, r.changed, r.before,
           :sync_run, {", ".join(f"e.{name}" for name in EVENT_FIELDS)}
    FROM counter, json_to_recordset(CAST(:changes AS json)) AS r(
            ord int, provider_event_id text, change text, changed text[], before jsonb)
    JOIN calendar_event e ON e.calendar_id = :calendar AND e.provider_event_id = r.provider_event_id
    RETURNING (SELECT before FROM counter) AS before, (SELECT webhooks > 0 FROM counter) AS watched
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """Where changes stand in the project's record."""

    seqs: range
    at: datetime
    """Their `recorded_at`."""
    watched: bool
    """Whether the project has webhooks."""


def append(
    connection: Connection,
    changes: Sequence[tuple[Change, Difference]],
    *,
    project: str,
    calendar: str,
    sync_run: int,
    at: datetime,
) -> Appended:
    """Record what `write_told` and `write_deleted` just wrote, in our `turn` and with its stamp.

    It takes the project's next sequence numbers, and the counter's row stays locked until the commit, so the order
    of `seq` is the order of commits and a rollback leaves no hole.
    """
    payload = [
        {
            "ord": position,
            "provider_event_id": change.provider_event_id,
            "change": change.kind,
            "changed": difference.changed,
            "before": difference.before,
        }
        for position, (change, difference) in enumerate(changes, start=1)
    ]
    found = connection.execute(
        _APPEND,
        {
            "count": len(changes),
            "project": project,
            "calendar": calendar,
            "changes": json_text(payload),
            "sync_run": sync_run,
            "at": at,
        },
    ).all()
    if len(found) != len(changes):
        raise AssertionError(f"{len(changes)} changes, {len(found)} recorded")
    first: int = found[0].before + 1
    return Appended(seqs=range(first, first + len(found)), at=at, watched=found[0].watched)
