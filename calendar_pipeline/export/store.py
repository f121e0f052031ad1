"""What stands in the database: months with what marks them, columns with their types, rows in batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.export.relation import Relation

ROWS_AT_ONCE = 20_000

_COLUMNS = sa.text("""
    SELECT attname AS name, format_type(atttypid, NULL) AS type, col_description(attrelid, attnum) AS comment
    FROM pg_attribute WHERE attrelid = CAST(:name AS regclass) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
""")


@dataclass(frozen=True, slots=True)
class Month:
    """A project's month: how many rows, and the mark that says whether they are what they were."""

    project_id: str
    month: str
    rows: int
    mark: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column as PostgreSQL describes it."""

    name: str
    type: str
    comment: str | None


def columns(connection: Connection, relation: Relation) -> list[Column]:
    """The relation's columns, in their order."""
    return [Column(row.name, row.type, row.comment) for row in connection.execute(_COLUMNS, {"name": relation.name})]


def months(connection: Connection, relation: Relation, *, project: str | None, since: datetime | None) -> list[Month]:
    """Months that have rows, of one project or all; from the month of `since` on."""
    rows = connection.execute(
        sa.text(f"""
            SELECT t.project_id, to_char(t.{relation.by} AT TIME ZONE 'UTC', 'YYYY-MM') AS month, count(*) AS rows,
                   count(*) || '/' || ({relation.mark}) || '/' ||
                   (SELECT count(*) FROM erasure e WHERE e.project_id = t.project_id) AS mark
            FROM {relation.name} t
            WHERE (CAST(:project AS text) IS NULL OR t.project_id = :project)
              AND (CAST(:since AS timestamptz) IS NULL
                   OR t.{relation.by} >= date_trunc('month', CAST(:since AS timestamptz), 'UTC'))
            GROUP BY t.project_id, month ORDER BY t.project_id, month
        """),
        {"project": project, "since": since},
    )
    return [Month(row.project_id, row.month, row.rows, row.mark) for row in rows]


def rows(
    connection: Connection, relation: Relation, month: Month, wanted: Sequence[Column]
) -> Iterator[list[tuple[object, ...]]]:
    """A month's rows in batches, from a cursor on the server: memory stays flat."""
    result = connection.execution_options(stream_results=True, yield_per=ROWS_AT_ONCE).execute(
        sa.text(f"""
            SELECT {", ".join(_readable(column) for column in wanted)} FROM {relation.name}
            WHERE project_id = :project
              AND {relation.by} >= CAST(:month AS date)::timestamp AT TIME ZONE 'UTC'
              AND {relation.by} < (CAST(:month AS date) + interval '1 month') AT TIME ZONE 'UTC'
            ORDER BY {relation.order}
        """),
        {"project": month.project_id, "month": f"{month.month}-01"},
    )
    for batch in result.partitions(ROWS_AT_ONCE):
        yield [tuple(row) for row in batch]


def _readable(column: Column) -> str:
    match column.type:
        case "json" | "jsonb":
            return f"{column.name}::text"
        case "interval":
            return f"extract(epoch FROM {column.name})::float8"
        case "numeric":
            return f"{column.name}::float8"
        case _:
            return column.name
