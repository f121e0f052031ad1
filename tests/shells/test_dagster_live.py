"""The live path and its push channels in Dagster: each check, provoked."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from calendar_pipeline.db.connect import Database
from calendar_pipeline.definitions import defs as load
from calendar_pipeline.defs import channels, live
from calendar_pipeline.defs.resources import Pipeline
from calendar_pipeline.live import run
from calendar_pipeline.secrets.keyring import generate
from calendar_pipeline.settings import Settings


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
    return result.get_asset_check_evaluations()


def changed(db: Database, *, seen_after: float, pushed_after: float | None) -> None:
    """A change that was seen a moment ago."""
    now = datetime.now(UTC)
    changed_at = now - timedelta(seconds=seen_after)
    with db.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO sync_run (project_id, calendar_id, started_at, finished_at, outcome, changed_at, "
                "pushed_at, requests, response_bytes, pages, items, created, updated, deleted, restored, quarantined) "
                "VALUES ('p', 'cal', :now, :now, 'synced', :changed, :pushed, 1, 1, 1, 1, 1, 0, 0, 0, 0)"
            ),
            {
                "now": now,
                "changed": changed_at,
                "pushed": None if pushed_after is None else changed_at + timedelta(seconds=pushed_after),
            },
        )


@pytest.mark.parametrize(("seconds", "says"), [(1, None), (3000, "Set PUBLIC_BASE_URL")])
def test_changes_that_were_seen_late_turn_the_live_path_yellow(
    repository: dg.RepositoryDefinition,
    instance: dg.DagsterInstance,
    db: Database,
    calendar: str,
    seconds: int,
    says: str | None,
) -> None:
    changed(db, seen_after=seconds, pushed_after=None)
    [told] = checked(repository, instance, "check_live_path")
    assert told.passed is (says is None)
    assert (says or "As it should be.") in told.description
    assert told.metadata["changes"].value == 1
    assert told.metadata["google_visible_p95_seconds"].value == pytest.approx(seconds)
    assert told.metadata["latest_calendars_seconds"].value == {"cal": pytest.approx(seconds)}


CHANNEL = (
    "INSERT INTO notification_channel (id, calendar_id, project_id, platform, state, token_hash, path_hash, "
    "created_at, expires_at, next_at, confirmed_at) VALUES ('chn', 'cal', 'p', 'google', 'live', '', '', "
    "now() - interval '1 hour', now() + interval '3 days', now() + interval '1 day', now())"
)

THREE_MISSED = (
    "INSERT INTO calendar (id, project_id, platform, client_id, client_secret, refresh_token, updated_at, missed_at) "
    "SELECT 'cal' || n, 'p', 'google', 'c', '', '', now(), now() - interval '23 hours' FROM generate_series(1, 3) n"
)


@pytest.mark.usefixtures("calendar")
@pytest.mark.parametrize(
    ("check", "given", "kind", "says"),
    [
        ("alive", [], "missing", "See that a live run works"),
        ("alive", [CHANNEL], None, "As it should be."),
        (
            "alive",
            [CHANNEL, "UPDATE notification_channel SET expires_at = now() + interval '11 hours', code = 'http_500'"],
            "expiring",
            "their renewal fails (1 http_500)",
        ),
        (
            "alive",
            [CHANNEL, "UPDATE notification_channel SET confirmed_at = NULL"],
            "silent",
            "See that PUBLIC_BASE_URL/external_webhooks/ reaches the API",
        ),
        (
            "alive",
            [CHANNEL, "UPDATE notification_channel SET state = 'refused', code = 'push.webhookUrlNotHttps'"],
            "failing",
            "(1 push.webhookUrlNotHttps)",
        ),
        (
            "alive",
            [CHANNEL, "UPDATE notification_channel SET state = 'refused', next_at = NULL"],
            None,
            "As it should be.",
        ),
        ("tells_all", [CHANNEL, "UPDATE calendar SET missed_at = now()"], None, "As it should be."),
        (
            "tells_all",
            [
                CHANNEL,
                THREE_MISSED,
            ],
            "missed",
            "a 403 or 429 loses a message for good",
        ),
    ],
)
def test_channels_that_are_not_well_turn_yellow_and_say_what_to_do(
    db: Database,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    check: str,
    given: list[str],
    kind: str | None,
    says: str,
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    with db.begin() as connection:
        for statement in given:
            connection.execute(sa.text(statement))
    told = channels_checked(public_base_url="https://calendars.example.com")[check]
    assert told.passed is (kind is None)
    assert says in told.description
    assert told.severity == dg.AssetCheckSeverity.WARN
    if kind is not None:
        assert told.metadata[kind].value > 0


@pytest.mark.usefixtures("calendar")
def test_without_a_public_address_nobody_misses_channels(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert all(told.passed for told in channels_checked().values())


def channels_checked(**settings: str) -> dict[str, Any]:
    [check] = channels.definitions(Settings.load(**settings)).asset_checks or []
    return {told.check_name: told for told in check(pipeline=Pipeline())}  # type: ignore[operator]


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
