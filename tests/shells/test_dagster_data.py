"""What looks after the record: each job does its work, and each alarm says what to do."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from calendar_pipeline.db.connect import Database
from calendar_pipeline.definitions import defs as load
from calendar_pipeline.defs import purge
from calendar_pipeline.defs.assets import EVENT_HISTORY
from calendar_pipeline.defs.partitions import calendars, range_tags
from calendar_pipeline.projects import rotate
from calendar_pipeline.secrets.keyring import KeyRing, generate
from sandbox.server import Running, running

OLD = generate("old")
COMPARING = [("verify", "compare_with_providers", "calendars"), ("reconcile", "compare_and_mend", "calendars")]


@pytest.fixture
def sandbox() -> Iterator[Running]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture
def keyring() -> KeyRing:
    return KeyRing.parse(OLD)


@pytest.fixture
def definitions(sandbox: Running, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dg.Definitions:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CALENDAR_PIPELINE_KEYS", OLD)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("GOOGLE_API_BASE_URL", f"{sandbox.url}/google")
    monkeypatch.setenv("GOOGLE_TOKEN_URL", sandbox.token_url)
    monkeypatch.setenv("SYNC_THREADS", "2")
    monkeypatch.setenv("EXPORT_URL", str(tmp_path / "export"))
    return load()


@pytest.fixture
def followed(sandbox: Running, follow: Any, instance: dg.DagsterInstance, definitions: dg.Definitions) -> list[str]:
    """Two synced calendars."""
    keys: list[str] = follow(sandbox.create_calendars(2, 3))
    instance.add_dynamic_partitions(str(calendars.name), keys)
    job = definitions.get_repository_def().get_job("sync")
    job.execute_in_process(instance=instance, tags=range_tags(keys[0], keys[-1], cause="schedule"))
    return keys


def run(definitions: dg.Definitions, instance: dg.DagsterInstance, name: str, **config: Any) -> Any:
    job = definitions.get_repository_def().get_job(name)
    ops = {op: {"config": given} for op, given in config.items()}
    return job.execute_in_process(instance=instance, run_config={"ops": ops}, raise_on_error=False)


def message(result: Any) -> str:
    [failure] = [event for event in result.all_events if event.is_step_failure]
    return failure.step_failure_data.user_failure_data.description


def number(db: Database, statement: str) -> int:
    with db.single() as connection:
        return int(connection.execute(sa.text(statement)).scalar_one())


def test_retention_removes_what_a_project_does_not_keep(
    followed: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database, project_id: str
) -> None:
    assert run(definitions, instance, "retention").success
    assert number(db, "SELECT count(*) FROM event_history") == 4
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE project SET retention_days = 1"))
        connection.execute(
            sa.text(
                "UPDATE calendar_event SET ends_at = now() - interval '9 days', updated_at = now() - interval '9 days'"
            )
        )
    assert run(definitions, instance, "retention").success
    assert number(db, "SELECT count(*) FROM event_history") == 0
    assert number(db, "SELECT count(*) FROM calendar_event") == 0
    [last, _] = instance.fetch_materializations(dg.AssetKey("history_retention"), limit=3).records
    assert last.asset_materialization is not None
    assert last.asset_materialization.metadata["versions"].value == 4


def test_the_export_writes_files_that_open(
    followed: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    assert run(definitions, instance, "export").success
    assert len(pd.read_parquet(tmp_path / "export" / "event_version")) == 4
    [event] = instance.fetch_materializations(dg.AssetKey("history_export"), limit=2).records
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["rows"].value >= 4


def test_secrets_are_sealed_under_the_first_key_and_syncs_go_on(
    followed: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    new = generate("new")
    monkeypatch.setenv("CALENDAR_PIPELINE_KEYS", f"{new},{OLD}")
    assert run(definitions, instance, "rotate_keys").success
    with db.single() as connection:
        assert set(rotate.by_key(connection)) == {"new"}
    monkeypatch.setenv("CALENDAR_PIPELINE_KEYS", new)
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE calendar SET next_sync_at = 'epoch', access_token = NULL"))
    job = definitions.get_repository_def().get_job("sync")
    tags = range_tags(followed[0], followed[-1], cause="schedule")
    assert job.execute_in_process(instance=instance, tags=tags, raise_on_error=False).success


def test_a_value_that_no_key_opens_is_left_and_the_failure_says_what_to_do(
    followed: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("CALENDAR_PIPELINE_KEYS", generate("new"))
    result = run(definitions, instance, "rotate_keys")
    assert "put the missing key back into CALENDAR_PIPELINE_KEYS" in message(result)
    with db.single() as connection:
        assert set(rotate.by_key(connection)) == {"old"}


def test_rotation_goes_on_where_it_stopped(followed: list[str], db: Database, keyring: KeyRing) -> None:
    ring = KeyRing.parse(f"{generate('new')},{OLD}")
    with db.single() as connection:
        count = rotate.by_key(connection)["old"]
    assert sum(rotate.rotate(db, ring, batch=1).sealed.values()) == count
    assert rotate.rotate(db, ring).sealed == {}


@pytest.mark.parametrize(("which", "asked"), [("all", 2), ("failed", 1), ("one", 1)])
def test_resync_asks_for_those_that_are_wanted(
    followed: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database, which: str, asked: int
) -> None:
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE calendar SET failures = 1 WHERE id = :id"), {"id": followed[0]})
    wanted = followed[1] if which == "one" else which
    assert run(definitions, instance, "resync", ask_for_syncs={"which": wanted}).success
    assert number(db, "SELECT count(*) FROM calendar WHERE requested_gen > synced_gen") == asked


def test_a_verified_calendar_is_well_and_a_lost_event_is_named_with_what_to_do(
    followed: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database
) -> None:
    assert run(definitions, instance, "verify").success
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE calendar_event SET fingerprint = 'lost' WHERE id = (SELECT min(id) FROM calendar_event "
                "WHERE calendar_id = :id)"
            ),
            {"id": followed[0]},
        )
    told = message(run(definitions, instance, "verify"))
    assert followed[0] in told
    assert "Start the job 'resync'" in told


@pytest.mark.parametrize(("job", "op", "field"), [("resync", "ask_for_syncs", "which"), *COMPARING])
def test_an_id_that_no_calendar_has_is_told_rather_than_nothing_done(
    followed: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database, job: str, op: str,
    field: str,
) -> None:  # fmt: skip
    told = message(run(definitions, instance, job, **{op: {field: f"{followed[0]}, cal_none"}}))
    assert "No calendar here is called cal_none: give ids" in told
    assert number(db, "SELECT count(*) FROM calendar WHERE requested_gen > synced_gen") == 0


@pytest.mark.parametrize("job", [job for job, *_ in COMPARING])
def test_what_could_not_be_compared_is_not_taken_for_well(
    followed: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database, job: str
) -> None:
    """A disconnected calendar is nobody's failure."""
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE calendar SET held_from = NULL WHERE id = :id"), {"id": followed[0]})
        connection.execute(sa.text("UPDATE calendar SET state = 'disconnected' WHERE id = :id"), {"id": followed[1]})
    told = message(run(definitions, instance, job))
    assert f"1 of 1 calendars could not be compared: {followed[0]} (never_synced)." in told


def test_a_calendar_that_lacks_events_is_read_anew_by_reconcile(
    followed: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database
) -> None:
    with db.begin() as connection:
        connection.execute(
            sa.text("UPDATE calendar_event SET fingerprint = 'lost' WHERE calendar_id = :id"), {"id": followed[0]}
        )
    assert run(definitions, instance, "reconcile").success
    job = definitions.get_repository_def().get_job("sync")
    job.execute_in_process(instance=instance, tags=range_tags(followed[0], followed[-1], cause="asked"))
    with db.single() as connection:
        [row] = connection.execute(sa.text("SELECT calendar_id, mode FROM sync_run ORDER BY id DESC LIMIT 1"))
    assert row == (followed[0], "listing")
    assert run(definitions, instance, "verify").success


def quarantine(definitions: dg.Definitions, instance: dg.DagsterInstance) -> Any:
    result = run(definitions, instance, "quarantine")
    [evaluation] = result.get_asset_check_evaluations()
    return evaluation


def test_the_quarantines_check_names_reasons_and_what_to_do(
    followed: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database, project_id: str
) -> None:
    assert quarantine(definitions, instance).passed
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO quarantined_event (calendar_id, provider_event_id, project_id, reason, raw, first_seen_at,"
                " last_seen_at) VALUES (:c, 'e', :p, 'no_end', '{}', now(), now())"
            ),
            {"c": followed[0], "p": project_id},
        )
    red = quarantine(definitions, instance)
    assert not red.passed
    assert "correct the event at the provider" in red.description
    assert "| no_end | 1 | 1 |" in red.metadata["by_reason"].value


def test_old_runs_go_but_those_that_a_partition_shows(
    followed: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    """Dagster's tables are read here: should it change them, this says so."""
    for _ in range(3):
        run(definitions, instance, "rotate_keys")
    before = {record.dagster_run.job_name for record in instance.get_run_records()}
    assert before == {"sync", "rotate_keys"}
    assert purge.purge(instance, older_than=timedelta(days=1)) == 0
    assert purge.purge(instance, older_than=timedelta(seconds=-5)) == 3
    assert [record.dagster_run.job_name for record in instance.get_run_records()] == ["sync"]
    found = instance.get_status_by_partition(EVENT_HISTORY, followed, calendars) or {}
    assert {status.name for status in found.values() if status} == {"MATERIALIZED"}


def test_what_showed_a_calendar_that_is_gone_goes(
    followed: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    instance.delete_dynamic_partition(str(calendars.name), followed[0])
    purge.purge(instance, older_than=timedelta(seconds=-5))
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        told = connection.execute(sa.text("SELECT DISTINCT partition FROM event_logs WHERE partition IS NOT NULL"))
        assert list(told.scalars()) == [followed[1]]


def test_of_checks_whose_runs_went_the_last_result_stays(
    followed: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    """Dagster removes none by itself: 700 a day."""
    for _ in range(3):
        run(definitions, instance, "quarantine")
    [last] = instance.get_run_records(dg.RunsFilter(job_name="quarantine"), limit=1)

    def results() -> list[Any]:
        with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
            rows = connection.execute(sa.text("SELECT check_name, run_id FROM asset_check_executions ORDER BY id"))
            return [tuple(row) for row in rows]

    assert len(results()) == 3
    purge.purge(instance, older_than=timedelta(days=1))
    assert len(results()) == 3
    purge.purge(instance, older_than=timedelta(seconds=-5))
    assert results() == [("quarantine_empty", last.dagster_run.run_id)]


CLONE_RUN = """
    INSERT INTO runs (run_id, snapshot_id, pipeline_name, mode, status, run_body, create_timestamp, update_timestamp,
                      start_time, end_time)
    SELECT :fresh, snapshot_id, pipeline_name, mode, status, replace(run_body, :run, :fresh),
           create_timestamp - :age * interval '1 minute', update_timestamp - :age * interval '1 minute',
           start_time - :age * 60, end_time - :age * 60
    FROM runs WHERE run_id = :run
"""
CLONE_EVENTS = """
    INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
    SELECT :fresh, replace(event, :run, :fresh), dagster_event_type, timestamp - :age * interval '1 minute', step_key,
           asset_key, partition
    FROM event_logs WHERE run_id = :run ORDER BY id
"""


def test_a_week_of_cycles_leaves_dagsters_tables_within_their_bound_after_a_purge(
    followed: list[str], definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    """The bound that docs/operate/scale.md states: the rows of the days kept, and an event for each asset and partition
    besides. 336 cycles are told to Dagster as one of them was; the oldest shows one of the partitions."""
    [record] = instance.get_run_records()
    template, keys = record.dagster_run.run_id, ("event_logs", "runs")

    def count(table: str, connection: Any) -> int:
        return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())

    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        rows = count("event_logs", connection)
        for cycle in range(336):
            given = {"run": template, "fresh": f"week-{cycle}", "age": 7 * 24 * 60 - 30 * cycle}
            connection.execute(sa.text(CLONE_RUN), given)
            connection.execute(sa.text(CLONE_EVENTS), given)
        connection.execute(
            sa.text("DELETE FROM event_logs WHERE partition = :key AND run_id <> 'week-0'"), {"key": followed[0]}
        )
        assert count("event_logs", connection) > 330 * (rows - 6)
    assert purge.purge(instance, older_than=timedelta(days=1, minutes=10)) == 336 - 48 - 1
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        left = {table: count(table, connection) for table in keys}
    assert left["runs"] <= 48 + len(followed) + 1
    assert left["event_logs"] <= 49 * rows + 2 * len(followed)
    found = instance.get_status_by_partition(EVENT_HISTORY, followed, calendars) or {}
    assert {status.name for status in found.values() if status} == {"MATERIALIZED"}
