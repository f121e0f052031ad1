"""Dagster for tests: an instance made from the project's own dagster.yaml, its storage in a database of its own."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.defs_state.base import DefsStateStorage
from sqlalchemy.engine import make_url

from calendar_pipeline.db import embedded
from calendar_pipeline.db.connect import dagster_url

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nothing_left_of_another_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading definitions asks no storage of Dagster's own: an instance that was entered twice leaves its behind.

    It comes back whenever the collector finds what held it, so setting it to nothing is not enough.
    """
    monkeypatch.setattr(DefsStateStorage, "get", classmethod(lambda _: None))


@pytest.fixture
def instance(
    tmp_path: Path, server_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    name = f"dagster_{make_url(database_url).database}"
    embedded.create_database(server_url, name)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", dagster_url(make_url(server_url).set(database=name)))
    monkeypatch.setenv("DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS", "1")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance
