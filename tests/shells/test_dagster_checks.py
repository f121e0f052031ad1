"""Asset checks on the event history: green on a healthy database, red with what to do on each thing gone wrong."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from calendar_pipeline.db.connect import Database
from calendar_pipeline.definitions import defs as load
from calendar_pipeline.defs.partitions import calendars, range_tags
from calendar_pipeline.ingest import checks, run
from calendar_pipeline.ingest.read import Ingest
from calendar_pipeline.secrets.keyring import generate
from sandbox.replies import Credentials
from sandbox.server import Running, running

NAMES = {"horizon", "freshness", "drift", "replay"}


@pytest.fixture
def definitions(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> dg.Definitions:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CALENDAR_PIPELINE_KEYS", generate("checks"))
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    return load()


@pytest.fixture
def healthy(
    db: Database,
    clock: Any,
    ingest: Callable[[Running], Ingest],
    follow: Callable[[Iterable[Credentials]], list[str]],
) -> Iterator[list[str]]:
    """Two calendars at each provider, synced just now; their ids."""
    clock.now = datetime.now(UTC)
    with running() as sandbox:
        made = [sandbox.create_calendar(provider=name) for name in ("google", "google", "microsoft", "microsoft")]
        for one in made:
            sandbox.create_event(one.calendar_id, start=(clock.now + timedelta(days=1)).isoformat(), title="Meeting")
        keys = follow(made)
        assert {one.status for one in run.sync_many(ingest(sandbox), keys, threads=1)} == {"synced"}
        yield keys


def evaluate(definitions: dg.Definitions, instance: dg.DagsterInstance) -> dict[str, Any]:
    """What the operator sees: each check's evaluation."""
    job = definitions.get_repository_def().get_job("proof")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    found = {one.check_name: one for one in result.get_asset_check_evaluations()}
    assert set(found) == NAMES
    return found


def execute(db: Database, statement: str, **parameters: object) -> None:
    with db.begin() as connection:
        connection.execute(sa.text(statement), parameters)


def test_a_healthy_history_is_green(
    healthy: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    found = evaluate(definitions, instance)
    assert {name: one.passed for name, one in found.items()} == dict.fromkeys(NAMES, True)
    assert {one.metadata["checked"].value for one in found.values()} == {4}


WRONG = {
    "horizon": (
        "UPDATE calendar SET held_until = now() + interval '27 days' WHERE id = :id",
        "calendar-pipeline sync --all --full",
    ),
    "freshness": (
        "UPDATE calendar SET last_successful_sync_at = 'epoch', next_sync_at = 'epoch' WHERE id = :id",
        "Dagster daemon",
    ),
    "drift": ("UPDATE sync_run SET drift = 3 WHERE calendar_id = :id", "calendar-pipeline verify"),
    "replay": (
        "UPDATE calendar_event SET title = 'Somebody else was here' WHERE calendar_id = :id",
        "restore the rows",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_red_names_the_calendar_and_says_what_to_do(
    name: str, healthy: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database
) -> None:
    statement, advice = WRONG[name]
    execute(db, statement, id=healthy[2])
    found = evaluate(definitions, instance)
    assert {check for check, one in found.items() if not one.passed} == {name}
    red = found[name]
    assert red.severity == dg.AssetCheckSeverity.ERROR
    assert red.description.startswith("1 of 4 calendars. ")
    assert advice in red.description
    [named] = red.metadata["calendars"].value
    assert named["calendar"] == healthy[2]
    assert "Somebody" not in str(red.metadata)


def test_a_disconnected_calendar_is_nobodys_failure(
    healthy: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database
) -> None:
    execute(
        db,
        "UPDATE calendar SET state = 'disconnected', held_until = now(), last_successful_sync_at = 'epoch' "
        "WHERE id = :id",
        id=healthy[0],
    )
    assert all(one.passed for one in evaluate(definitions, instance).values())


@pytest.mark.parametrize(
    ("row", "red"),
    [
        ("next_sync_at = now() + interval '5 hours'", False),
        ("next_sync_at = now() + interval '5 minutes', failures = 3, reason = 'retrying'", True),
        ("next_sync_at = NULL", True),
    ],
    ids=["relies-on-push", "failing", "forgotten"],
)
def test_a_calendar_is_stale_when_its_turn_was_missed(row: str, red: bool, healthy: list[str], db: Database) -> None:
    execute(
        db,
        f"UPDATE calendar SET last_successful_sync_at = now() - interval '1 hour', {row} WHERE id = :id",
        id=healthy[0],
    )
    with db.single() as connection:
        found = checks.freshness(connection, now=datetime.now(UTC), interval=timedelta(minutes=30))
    assert found.failing == int(red)


def test_a_drift_is_red_until_a_later_listing_found_none(healthy: list[str], db: Database, clock: Any) -> None:
    execute(db, "UPDATE sync_run SET drift = 3 WHERE calendar_id = :id", id=healthy[0])
    with db.single() as connection:
        assert checks.drift(connection, now=clock()).failing == 1
        assert checks.drift(connection, now=clock() + timedelta(days=9)).failing == 0
    execute(
        db,
        "INSERT INTO sync_run (project_id, calendar_id, started_at, finished_at, outcome, mode, why, requests, "
        "response_bytes, pages, items, created, updated, deleted, restored, quarantined) "
        "SELECT project_id, id, now(), now(), 'synced', 'listing', 'periodic', 1, 1, 1, 1, 0, 0, 0, 0, 0 "
        "FROM calendar WHERE id = :id",
        id=healthy[0],
    )
    with db.single() as connection:
        assert checks.drift(connection, now=clock()).failing == 0


def test_a_check_is_one_statement_however_many_calendars_there_are(db: Database, clock: Any, project_id: str) -> None:
    """10,000 of them, all red: fifty are named, the rest are counted."""
    execute(
        db,
        "INSERT INTO calendar (id, project_id, platform, client_id, client_secret, refresh_token, created_at, "
        "updated_at, held_from, held_until) SELECT 'cal_' || n, :project, 'google', 'c', '', '', 'epoch', 'epoch', "
        "'epoch', 'epoch' FROM generate_series(1, 10000) AS n",
        project=project_id,
    )
    with db.single() as connection:
        for find in (
            lambda: checks.horizon(connection, now=clock()),
            lambda: checks.freshness(connection, now=clock(), interval=timedelta(minutes=30)),
        ):
            before = db.statements
            found = find()
            assert db.statements - before == 1
            assert (found.checked, found.failing, len(found.calendars)) == (10_000, 10_000, checks.NAMED)


def test_the_history_of_many_calendars_is_replayed_in_parts_and_wholly_in_a_day(
    healthy: list[str], db: Database, clock: Any
) -> None:
    execute(db, "UPDATE calendar_event SET title = 'Somebody else was here'")
    red: list[str] = []
    with db.single() as connection:
        for hour in range(24):
            found = checks.replay(connection, now=clock() + timedelta(hours=hour), many=1)
            red += [one["calendar"] for one in found.calendars]
    assert sorted(red) == sorted(healthy)


def test_a_sync_does_not_run_the_checks(
    healthy: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions(str(calendars.name), healthy)
    job = definitions.get_repository_def().get_job("sync")
    result = job.execute_in_process(
        instance=instance, tags=range_tags(healthy[0], healthy[-1], cause="schedule"), raise_on_error=False
    )
    assert result.get_asset_check_evaluations() == []
