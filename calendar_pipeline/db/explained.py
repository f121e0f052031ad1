"""What each column of a table or an analysts' view means, as it is said in the database too."""

from collections.abc import Mapping

import sqlalchemy as sa

from calendar_pipeline.db import analysts

Columns = Mapping[str, tuple[str, str]]
"""Name → type and meaning."""


def table(table: sa.Table, *names: str) -> Columns:
    """Columns of a table: those named, or all."""
    columns = [table.c[name] for name in names] if names else table.columns
    return {column.name: (str(column.type).lower(), column.comment or "") for column in columns}


def view(name: str) -> Columns:
    """Columns of an analysts' view. Their types are those of the tables behind it."""
    [found] = [view for view in analysts.VIEWS if view.name == name]
    return {column: ("", meaning) for column, meaning in found.columns.items()}
