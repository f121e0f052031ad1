"""Erasing a person's or a calendar's content wherever it is kept, without a hole in the record.

Rows of the history stay, with their numbers, versions and times of recording; what was in them goes. The current
events are redacted alike, so replaying still gives them. A row in `erasure` says which versions are not as they were
written. All in the caller's one transaction; the project's syncs wait for it, and those that have read already lose
their claim and read again.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from calendar_pipeline import ids
from calendar_pipeline.db.schema import calendar_event, erasure, event_history, metadata
from calendar_pipeline.errors import NotFound, SetupError
from calendar_pipeline.history import accept, persons, redact
from calendar_pipeline.providers.google.parse import NOISE as GOOGLE_NOISE
from calendar_pipeline.providers.microsoft.parse import NOISE as MICROSOFT_NOISE
from calendar_pipeline.secrets.keyring import KeyRing

BATCH = 500
NOISE = {"google": GOOGLE_NOISE, "microsoft": MICROSOFT_NOISE}
UNREADABLE = ("sealed", "digest")
"""Beginnings of the comments of binary columns that hold no text."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure did."""

    id: str
    rows: Mapping[str, int]
    """Rows redacted or removed, by table."""


def calendar(connection: Connection, calendar_id: str, *, now: datetime) -> Erased:
    """Erase all content of a calendar that is not followed any more.

    Raises SetupError while it is followed, since the next sync would bring all of it back; NotFound if it never was.
    """
    if connection.execute(sa.text("SELECT 1 FROM calendar WHERE id = :id FOR UPDATE"), {"id": calendar_id}).first():
        raise SetupError(
            f"{calendar_id} is still followed: delete it first (DELETE /api/v1/calendars/{calendar_id}), then erase it."
        )
    project = connection.execute(
        sa.text("SELECT project_id FROM calendar_status WHERE calendar_id = :id LIMIT 1"), {"id": calendar_id}
    ).scalar_one_or_none()
    if project is None:
        raise NotFound(f"No calendar {calendar_id} was ever followed here.")
    record = ids.new("ers")
    _begin(connection, project, record, kind="calendar", calendar_id=calendar_id, now=now)
    rows = _empty_calendar(connection, calendar_id, record)
    return _end(connection, record, rows)


def person(
    connection: Connection, ring: KeyRing, project: str, email: str, *, names: Sequence[str] = (), now: datetime
) -> Erased:
    """Erase a person's address, and given names, from everything of a project; what is told later is not kept.

    Of the address a digest stays, of the names what `ring` seals. Calendars of the person's own that are not followed
    any more are emptied. Raises SetupError while one is followed.
    """
    if "@" not in email or any(character.isspace() for character in email):
        raise SetupError("Give the person's e-mail address.")
    connection.execute(
        sa.text("SELECT id FROM calendar WHERE project_id = :project ORDER BY id FOR UPDATE"), {"project": project}
    )
    if followed := _own_calendars(connection, project, email, followed=True):
        raise SetupError(
            f"This person's own calendar is still followed: delete {', '.join(followed)} first, then erase the person."
        )
    connection.execute(
        sa.text("UPDATE calendar SET lease_token = NULL, lease_until = NULL WHERE project_id = :project"),
        {"project": project},
    )
    record = ids.new("ers")
    sealed = persons.seal(ring, names, erasure=record, project=project)
    known = {"digest": redact.digest(project, email), "names": sealed}
    _begin(connection, project, record, kind="person", **known, now=now)
    rows: Counter[str] = Counter()
    for own in _own_calendars(connection, project, email, followed=False):
        rows += _empty_calendar(connection, own, record)
    redactor = redact.Redactor({email: redact.alias(record)}, names=names)
    sought = [*redact.forms(email), *(form for name in names if name.strip() for form in redact.spellings(name))]
    for table in metadata.sorted_tables:
        if table is not erasure and (mine := _of_project(table, project)) is not None:
            rows[table.name] += _redact_table(connection, table, mine, redactor, sought, record)
    return _end(connection, record, +rows)


def _begin(connection: Connection, project: str, record: str, *, now: datetime, **subject: object) -> None:
    connection.execute(sa.insert(erasure).values(id=record, project_id=project, erased_at=now, rows={}, **subject))
    connection.execute(sa.text("SELECT set_config('calendar_pipeline.erasure', :record, true)"), {"record": record})


def _end(connection: Connection, record: str, rows: Mapping[str, int]) -> Erased:
    span = sa.select(sa.func.min(event_history.c.seq), sa.func.max(event_history.c.seq)).where(
        event_history.c.erasure_id == record
    )
    first, last = connection.execute(span).one()
    connection.execute(
        sa.update(erasure).where(erasure.c.id == record).values(rows=dict(rows), first_seq=first, last_seq=last)
    )
    connection.execute(sa.text("SELECT set_config('calendar_pipeline.erasure', '', true)"))
    return Erased(record, rows)


# -- a calendar --------------------------------------------------------------------------------------------

_EMPTY: Mapping[str, str] = {
    **dict.fromkeys(
        ("ical_uid", "title", "start_date", "end_date", "time_zone", "meeting_url", "meeting_link", "meeting_platform",
         "meeting_key", "organizer_email", "own_response", "series_id", "original_starts_at", "location",
         "provider_updated_at"),
        "NULL",
    ),
    **dict.fromkeys(("starts_at", "ends_at", "start_time", "end_time"), "recorded_at"),
    "provider_event_id": "event_id",
    "status": "'confirmed'",
    "attendees": "'[]'",
    "raw": "'{}'",
    "before": "'{}'",
    "visibility": "'default'",
    "is_busy": "true",
    "event_type": "'default'",
    "fingerprint": "''",
}  # fmt: skip

_EMPTY_HISTORY = sa.text(f"""
    UPDATE event_history SET erasure_id = :record, {", ".join(f"{name} = {value}" for name, value in _EMPTY.items())}
    WHERE calendar_id = :calendar
""")

_REMOVED = ("webhook_delivery", "quarantined_event")
"""Tables whose rows about the calendar are removed: a log of bodies that were sent, and what never was an event."""

_BOTS = sa.text("""
    UPDATE bot SET name = 'erased', meeting_url = 'https://erased.invalid/', follows_link = NULL, metadata = NULL,
        deduplication_key = NULL, settings = NULL, events = '[]'
    WHERE id IN (SELECT e.bot_id FROM bot_event e JOIN event_history h ON h.event_id = e.event_id
                 WHERE h.calendar_id = :calendar)
""")


def _empty_calendar(connection: Connection, calendar_id: str, record: str) -> Counter[str]:
    rows = Counter(
        event_history=connection.execute(_EMPTY_HISTORY, {"calendar": calendar_id, "record": record}).rowcount
    )
    for name in _REMOVED:
        table = metadata.tables[name]
        rows[name] = connection.execute(sa.delete(table).where(table.c.calendar_id == calendar_id)).rowcount
    rows["bot"] = connection.execute(_BOTS, {"calendar": calendar_id}).rowcount
    return +rows


_OWN = """
    SELECT DISTINCT calendar_id FROM {table}
    WHERE project_id = :project AND attendees::text ILIKE :like
      AND lower(attendees::text)::jsonb @> CAST(:own AS jsonb)
      AND {where} (SELECT FROM calendar c WHERE c.id = calendar_id)
"""
_OWN_FOLLOWED = sa.text(
    _OWN.format(table="calendar_event", where="EXISTS")
    + "UNION SELECT id FROM calendar WHERE project_id = :project AND lower(platform_uuid) = lower(:email) ORDER BY 1"
)
_OWN_FORMER = sa.text(_OWN.format(table="event_history", where="NOT EXISTS") + "ORDER BY 1")


def _own_calendars(connection: Connection, project: str, email: str, *, followed: bool) -> list[str]:
    """Calendars whose owner is this person: the provider says so of an attendee, or names the calendar so."""
    statement = _OWN_FOLLOWED if followed else _OWN_FORMER
    own = json.dumps([{"email": email.lower(), "is_self": True}])
    given = {"project": project, "email": email, "like": _like(email), "own": own}
    return list(connection.execute(statement, given).scalars())


# -- a person ----------------------------------------------------------------------------------------------


def _of_project(table: sa.Table, project: str) -> sa.ColumnElement[bool] | None:
    """Which of a table's rows are the project's; None if it has nothing to do with projects."""
    if table.name == "project":
        return table.c.id == project
    if "project_id" in table.c:
        return table.c.project_id == project
    for key in table.foreign_keys:
        parent = key.column.table
        if "project_id" in parent.c:
            return key.parent.in_(sa.select(key.column).where(parent.c.project_id == project))
    return None


def _readable(column: sa.Column[Any]) -> bool:
    if column.primary_key or column.foreign_keys or column.name == "erasure_id" or column.name in redact.FIXED:
        return False
    if isinstance(column.type, sa.LargeBinary):
        return column.name != "key_hash" and not (column.comment or "").startswith(UNREADABLE)
    return isinstance(column.type, (sa.Text, sa.JSON)) or (
        isinstance(column.type, ARRAY | sa.ARRAY) and isinstance(column.type.item_type, sa.Text)
    )


def _redact_table(
    connection: Connection,
    table: sa.Table,
    mine: sa.ColumnElement[bool],
    redactor: redact.Redactor,
    sought: Sequence[str],
    record: str,
) -> int:
    """Redact the rows that mention the person; returns how many."""
    columns = [column for column in table.columns if _readable(column)]
    if not columns:
        return 0
    if table.name == "idempotency_key":  # its answers are sealed, so they cannot be searched; they are for a day only
        return connection.execute(sa.delete(table).where(mine)).rowcount
    texts = sa.func.concat_ws(
        " ",
        *(
            sa.func.encode(column, "escape") if isinstance(column.type, sa.LargeBinary) else sa.cast(column, sa.Text)
            for column in columns
        ),
    )
    mentioned = sa.or_(*(_contains(texts, form) for form in sought))
    key = list(table.primary_key.columns)
    events = table in (calendar_event, event_history)
    wanted = list(table.columns) if events else [*key, *columns]
    found = [
        {str(name): value for name, value in row.items()}
        for row in connection.execute(sa.select(*wanted).where(mine, mentioned)).mappings()
    ]
    text = redactor.text if events else partial(_text, redactor)
    changed = [(row, new) for row in found if (new := _redacted(row, columns, redactor, text))]
    if not changed:
        return 0
    if events:
        noise = _noise(connection, [str(row["calendar_id"]) for row, _ in changed])
        columns = [*columns, table.c.fingerprint]
        for row, new in changed:
            whole = {**row, **new}
            new["fingerprint"] = accept.fingerprint(whole, whole["raw"], noise=noise[str(row["calendar_id"])])
            new["erasure_id"] = record
    names = [column.name for column in columns]
    update = (
        sa.update(table)
        .where(*(column == sa.bindparam(f"key_{column.name}") for column in key))
        .values({name: sa.bindparam(f"new_{name}") for name in names})
    )
    if table is event_history:
        update = update.values(erasure_id=sa.bindparam("new_erasure_id"))
    for start in range(0, len(changed), BATCH):
        connection.execute(
            update,
            [
                {
                    **{f"key_{column.name}": row[column.name] for column in key},
                    **{f"new_{name}": new.get(name, row[name]) for name in names},
                    **({"new_erasure_id": record} if table is event_history else {}),
                }
                for row, new in changed[start : start + BATCH]
            ],
        )
    return len(changed)


def _redacted(
    row: Mapping[str, Any], columns: Sequence[sa.Column[Any]], redactor: redact.Redactor, text: Callable[[str], str]
) -> dict[str, Any]:
    """The columns that change, with their new values."""
    return {name: new for name, old, new in _pairs(row, columns, redactor, text) if new != old}


def _pairs(
    row: Mapping[str, Any], columns: Sequence[sa.Column[Any]], redactor: redact.Redactor, text: Callable[[str], str]
) -> Iterator[tuple[str, Any, Any]]:
    for column in columns:
        old = row[column.name]
        if isinstance(old, bytes | memoryview):
            old = bytes(old)
            try:
                yield column.name, old, _text(redactor, old.decode(), is_ascii=False).encode()
            except UnicodeDecodeError:
                continue  # no text
        else:
            yield column.name, old, text(old) if isinstance(old, str) else redactor.value(old)


_ESCAPED = re.compile(r"\\(?:[bfnrt]|u00[01][0-9a-fA-F])")
"""What separates words in JSON, and looks like a part of the next one."""


def _text(redactor: redact.Redactor, old: str, *, is_ascii: bool = True) -> str:
    """A text, which may be JSON, and then may have been cut off. JSON keeps the form in which webhooks are signed."""
    if not old.startswith("{"):
        return redactor.text(old)
    try:
        told = json.loads(old)
    except ValueError:
        unescaped = _ESCAPED.sub(" ", old)
        return old if redactor.text(unescaped) == unescaped else "{}"
    kept = redactor.value(told)
    return old if kept == told else json.dumps(kept, sort_keys=True, ensure_ascii=is_ascii, separators=(",", ":"))


def _noise(connection: Connection, calendars: Sequence[str]) -> Mapping[str, frozenset[str]]:
    """What counts as noise in each calendar's JSON. Of one that is not followed nothing will be told again."""
    rows = connection.execute(
        sa.text("SELECT id, platform FROM calendar WHERE id = ANY(:ids)"), {"ids": list(set(calendars))}
    )
    platforms = {row.id: row.platform for row in rows}
    return {one: NOISE[platforms.get(one, "google")] for one in calendars}


def _like(text: str) -> str:
    """A pattern for LIKE that matches texts which contain this one."""
    escaped = text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"


def _contains(texts: sa.ColumnElement[str], form: str) -> sa.ColumnElement[bool]:
    """Whether texts contain this one, in letters of either case."""
    if form.isascii():
        return texts.ilike(_like(form))
    return texts.op("~*", is_comparison=True)(
        "".join(re.escape(one) if one.isascii() else _letter(one) for one in form)
    )


def _letter(letter: str) -> str:
    """A regular expression for a letter beyond ASCII: as it is, or its bytes as `encode` writes them.

    Of either case by name, since in a database with the locale C PostgreSQL knows ASCII's alone.
    """
    cases = {letter, letter.lower(), letter.upper()}
    written = {"".join(rf"\\{byte:03o}" for byte in one.encode()) for one in cases}
    return f"(?:{'|'.join(sorted(cases | written))})"
