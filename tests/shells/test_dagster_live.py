"""The live path and its push channels in Dagster: each check, provoked."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from calendar_pipeline.db.connect import Database
from calendar_pipeline.definitions import defs as load
from calendar_pipeline.defs import live
from calendar_pipeline.defs.resources import Pipeline
from calendar_pipeline.live import run
from calendar_pipeline.secrets.keyring import generate


@pytest.fixture
def repository(
    instance: dg.DagsterInstance, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> dg.RepositoryDefinition:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CALENDAR_PIPELINE_KEYS", generate("live"))
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    return load().get_repository_def()


@pytest.fixture
def calendar(db: Database) -> str:
    """Connected, and read well half an hour ago."""
    with db.begin() as connection:
        connection.execute(sa.text("INSERT INTO project (id, name) VALUES ('p', 'p')"))
        connection.execute(
            sa.text(
                "INSERT INTO calendar (id, project_id, platform, client_id, client_secret, refresh_token, updated_at, "
                "next_sync_at, last_successful_sync_at) VALUES ('cal', 'p', 'google', 'c', '', '', now(), now(), "
                "now() - interval '30 minutes')"
            )
        )
    return "cal"


def checked(repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, job: str) -> Any:
    result = repository.get_job(job).execute_in_process(instance=instance, resources={"pipeline": Pipeline()})
    assert result.success
    [told] = result.get_asset_check_evaluations()
    return told


@pytest.mark.parametrize(("seconds", "passes"), [(1, True), (3000, False)])
def test_changes_that_were_seen_late_turn_the_live_path_yellow(
    repository: dg.RepositoryDefinition,
    instance: dg.DagsterInstance,
    db: Database,
    calendar: str,
    seconds: int,
    passes: bool,
) -> None:
    now = datetime.now(UTC)
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO sync_run (project_id, calendar_id, started_at, finished_at, outcome, changed_at, "
                "requests, response_bytes, pages, items, created, updated, deleted, restored, quarantined) "
                "VALUES ('p', 'cal', :now, :now, 'synced', :changed, 1, 1, 1, 1, 1, 0, 0, 0, 0)"
            ),
            {"now": now, "changed": now - timedelta(seconds=seconds)},
        )
    told = checked(repository, instance, "check_live_path")
    assert told.passed is passes
    assert told.metadata["changes"].value == 1
    assert told.metadata["google_visible_p95_seconds"].value == pytest.approx(seconds)
    assert told.metadata["latest_calendars_seconds"].value == {"cal": pytest.approx(seconds)}


@pytest.mark.usefixtures("repository")
def test_a_calendar_without_a_channel_turns_the_channels_yellow(db: Database, calendar: str) -> None:
    from calendar_pipeline.defs.channels import definitions
    from calendar_pipeline.settings import Settings

    def alive(**settings: str) -> Any:
        [check] = definitions(Settings.load(**settings)).asset_checks or []
        return check(pipeline=Pipeline())  # type: ignore[operator]

    assert alive().passed, "without PUBLIC_BASE_URL there is nothing to ask for"
    told = alive(public_base_url="https://calendars.example.com")
    assert (told.passed, told.metadata["missing"].value) == (False, 1)
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO notification_channel (id, calendar_id, project_id, platform, state, token_hash, "
                "path_hash, created_at, expires_at, confirmed_at) VALUES ('chn', :id, 'p', 'google', 'live', '', '', "
                "now(), now() + interval '3 days', now())"
            ),
            {"id": calendar},
        )
    assert alive(public_base_url="https://calendars.example.com").passed
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE notification_channel SET expires_at = now() + interval '11 hours'"))
    told = alive(public_base_url="https://calendars.example.com")
    assert (told.passed, told.metadata["expiring"].value) == (False, 1)


def test_a_dead_run_is_noticed_and_its_place_taken_within_the_sensors_period() -> None:
    """By the one that waits, warm: nothing has to be started first."""
    assert run.ALIVE.total_seconds() + run.LOOK < live.PERIOD_SECONDS


def test_the_sensor_starts_what_is_missing_and_waits_for_what_is_starting_but_not_for_the_dead(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, db: Database
) -> None:
    """Dagster takes a killed run for a started one until its monitor has looked; the database knows better."""
    sensor, job = repository.get_sensor_def("live_sensor"), repository.get_job(live.JOB)
    launched: list[str] = []

    def tick() -> int:
        context = dg.build_sensor_context(
            instance=instance, repository_def=repository, resources={"pipeline": Pipeline()}
        )
        asked = sensor.evaluate_tick(context).run_requests or []
        launched.extend(instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED).run_id for _ in asked)
        return len(asked)

    def heard(run_id: str, state: str, *, seconds: int) -> None:
        with db.begin() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO live_run (id, run_id, state, beat_until, retires_at) VALUES (gen_random_uuid(), :run, "
                    ":state, now() + make_interval(secs => :seconds), now() + interval '1 hour')"
                ),
                {"run": run_id, "state": state, "seconds": seconds},
            )

    assert tick() == 2, "one to work, one to wait"
    assert tick() == 0, "they are starting"
    heard(launched[0], "working", seconds=-1)
    heard(launched[1], "working", seconds=60)
    assert tick() == 1, "the first one was killed, and the second took its place"
    heard(launched[2], "waiting", seconds=60)
    assert tick() == 0
