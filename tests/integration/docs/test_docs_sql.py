"""The SQL in the documentation runs."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from calendar_pipeline.db import schema
from calendar_pipeline.db.connect import Database

ROOT = Path(__file__).parents[3]


def statements(page: str) -> list[str]:
    blocks = re.findall(r"(?ms)^```sql\n(.*?)^```", (ROOT / page).read_text())
    return [statement.strip() for block in blocks for statement in block.split(";") if statement.strip()]


@pytest.mark.parametrize("page", ["docs/analyse.md", "docs/operate.md"])
def test_statements_run(db: Database, page: str) -> None:
    found = statements(page)
    assert found
    with db.engine.connect() as connection:  # rolled back: a role would outlive the test's database
        for statement in found:
            connection.execute(sa.text(statement.replace(":", r"\:")))
        connection.rollback()


def test_every_column_of_the_history_is_explained() -> None:
    text = (ROOT / "docs/analyse.md").read_text()
    explained = {name for row in re.findall(r"(?m)^\| (`.+?) \|", text) for name in re.findall(r"`(\w+)`", row)}
    assert {column.name for column in schema.event_history.columns} <= explained
