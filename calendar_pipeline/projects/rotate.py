"""Sealing stored secrets anew under the active key, in batches, while everything runs.

What is still to be done stands in the values themselves, so it can be stopped anywhere and goes on. A value that
somebody else writes meanwhile is theirs: it is sealed under the active key already.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.engine import Connection

from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import metadata
from calendar_pipeline.errors import CredentialUnreadable
from calendar_pipeline.secrets.keyring import KeyRing, Place

BATCH = 500

STANDS_IN: Mapping[str, tuple[str, str]] = {
    # A channel's copies are bound to the calendar that they were taken from.
    "notification_channel": ("calendar", "calendar_id"),
    "idempotency_key": ("idempotency_key", "key"),
    "bot_rules": ("bot_rules", "project_id"),
}
"""Tables whose values are bound to another table's place or not to ``id``: table → (table, column of the row)."""


@dataclass(slots=True)
class Rotated:
    """What a rotation did."""

    sealed: dict[str, int] = field(default_factory=dict[str, int])
    """Values sealed anew, by table and column."""
    unreadable: int = 0
    """Values that no key opens: left as they are."""


def sealed_columns() -> list[sa.Column[bytes]]:
    """Every column that holds sealed values: its comment says so."""
    return [
        column
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, sa.LargeBinary) and (column.comment or "").startswith("sealed")
    ]


def kid(column: sa.Column[bytes]) -> sa.ColumnElement[str]:
    """The name of the key that sealed a value, read from the value's first bytes."""
    length = sa.func.get_byte(column, 1)
    return sa.func.convert_from(sa.func.substr(column, 3, length), "UTF8")


def by_key(connection: Connection) -> dict[str, int]:
    """How many stored values each key has sealed."""
    counts: dict[str, int] = {}
    for column in sealed_columns():
        query = sa.select(kid(column).label("kid"), sa.func.count()).where(
            column.is_not(None), sa.func.length(column) > 1
        )
        for name, count in connection.execute(query.group_by(sa.text("kid"))):
            counts[name] = counts.get(name, 0) + count
    return counts


def rotate(db: Database, ring: KeyRing, *, batch: int = BATCH) -> Rotated:
    """Seal every value under the ring's active key that is not."""
    done = Rotated()
    for column in sealed_columns():
        after: tuple[object, ...] | None = None
        while True:
            with db.begin() as connection:
                after, sealed, unreadable = _some(connection, column, ring, after, batch)
            name = f"{column.table.name}.{column.name}"
            if sealed:
                done.sealed[name] = done.sealed.get(name, 0) + sealed
            done.unreadable += unreadable
            if after is None:
                break
    return done


def _some(
    connection: Connection, column: sa.Column[bytes], ring: KeyRing, after: tuple[object, ...] | None, batch: int
) -> tuple[tuple[object, ...] | None, int, int]:
    """One batch behind `after`; returns its last key (None: that was all), how many it sealed and could not read."""
    table = column.table
    stands, row_column = STANDS_IN.get(table.name, (table.name, "id"))
    key = list(table.primary_key.columns)
    query = (
        sa.select(*key, table.c.project_id, table.c[row_column].label("row"), column.label("value"))
        .where(column.is_not(None), sa.func.length(column) > 1, kid(column) != ring.active)
        .order_by(*key)
        .limit(batch)
    )
    if after is not None:
        query = query.where(sa.tuple_(*key) > sa.tuple_(*(sa.literal(part) for part in after)))
    rows = connection.execute(query).all()
    sealed = unreadable = 0
    for row in rows:
        place = Place(table=stands, column=column.name, row=row.row, project=row.project_id)
        try:
            fresh = ring.seal(ring.open(bytes(row.value), place), place)
        except CredentialUnreadable:
            unreadable += 1
            continue
        same = [part == value for part, value in zip(key, row, strict=False)]
        sealed += connection.execute(
            sa.update(table).where(*same, column == row.value).values({column.name: fresh})
        ).rowcount
    last = tuple(rows[-1][: len(key)]) if len(rows) == batch else None
    return last, sealed, unreadable


def shut(connection: Connection, ring: KeyRing) -> list[str]:
    """Columns of which a value does not open although its key is in the ring: one value of each key is tried."""
    found: list[str] = []
    for column in sealed_columns():
        table = column.table
        stands, row_column = STANDS_IN.get(table.name, (table.name, "id"))
        name = kid(column)
        query = (
            sa.select(table.c.project_id, table.c[row_column].label("row"), column.label("value"))
            .where(column.is_not(None), sa.func.length(column) > 1, name.in_(ring.kids))
            .ext(distinct_on(name))
            .order_by(name)
        )
        for row in connection.execute(query):
            place = Place(table=stands, column=column.name, row=row.row, project=row.project_id)
            try:
                ring.open(bytes(row.value), place)
            except CredentialUnreadable:
                found.append(f"{table.name}.{column.name}")
    return found
