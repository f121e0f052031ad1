"""The record by hand, as in the tests of the history."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from calendar_pipeline.db.connect import Database

_spec = importlib.util.spec_from_file_location(
    "history_conftest", Path(__file__).parents[1] / "history" / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
_history = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_history)


@pytest.fixture
def record(db: Database) -> Any:
    from calendar_pipeline.db import migrate

    migrate.prepare_history(db, now=_history.JANUARY)
    return _history.Record(db)
