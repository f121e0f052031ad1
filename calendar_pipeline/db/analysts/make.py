"""Bring a database's views, functions, comments and grants to those of this code."""

import hashlib
from collections.abc import Iterator, Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from calendar_pipeline.db.analysts import FUNCTIONS, VIEWS, AsOf, View
from calendar_pipeline.db.schema import metadata

_FOUND = sa.text("""
    SELECT name, digest FROM analyst_view
    WHERE to_regclass(name) IS NOT NULL OR EXISTS (SELECT FROM pg_proc WHERE proname = name)
""")
_NOTE = sa.text("""
    INSERT INTO analyst_view (name, digest) VALUES (:name, :digest)
    ON CONFLICT (name) DO UPDATE SET digest = excluded.digest
""")
_COMMENTS = sa.text("""
    SELECT c.relname AS relation, a.attname AS name, d.description
    FROM pg_class c
    JOIN pg_description d ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid > 0
    WHERE c.relnamespace = current_schema()::regnamespace
""")


def everything(connection: Connection) -> None:
    """Make what is missing or of another code; what is as it should be is not touched, so readers do not wait."""
    found = {row.name: row.digest for row in connection.execute(_FOUND)}
    for thing in (*FUNCTIONS, *VIEWS):
        digest = hashlib.sha256(thing.create.encode()).hexdigest()[:16]
        if found.get(thing.name) != digest:
            _make(connection, thing)
            connection.execute(_NOTE, {"name": thing.name, "digest": digest})
    _explain(connection)


def _make(connection: Connection, thing: View | AsOf) -> None:
    """Replace it where PostgreSQL allows that, which keeps its grants; else make it anew."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(thing.create)
    except DBAPIError:
        connection.exec_driver_sql(thing.drop)
        connection.exec_driver_sql(thing.create)
    if isinstance(thing, AsOf):
        connection.exec_driver_sql(f"COMMENT ON FUNCTION {thing.signature} IS {_quoted(thing.comment)}")


def explained() -> Iterator[tuple[str, str, str | None, str]]:
    """Kind, relation, column (None: the relation itself) and comment, for all tables and views."""
    for table in metadata.sorted_tables:
        if table.comment:
            yield "TABLE", table.name, None, table.comment
        for column in table.columns:
            if column.comment:
                yield "TABLE", table.name, column.name, column.comment
    for view in VIEWS:
        yield "VIEW", view.name, None, view.comment
        for name, comment in view.columns.items():
            yield "VIEW", view.name, name, comment


def _explain(connection: Connection) -> None:
    found: Mapping[tuple[str, str | None], str] = {
        (row.relation, row.name): row.description for row in connection.execute(_COMMENTS)
    }
    for kind, relation, column, comment in explained():
        if found.get((relation, column)) == comment:
            continue
        if column is None:
            connection.exec_driver_sql(f'COMMENT ON {kind} "{relation}" IS {_quoted(comment)}')
        else:
            connection.exec_driver_sql(f'COMMENT ON COLUMN "{relation}"."{column}" IS {_quoted(comment)}')


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''").replace("%", "%%") + "'"
