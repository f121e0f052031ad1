"""Bots under Dagster: what a run tells, when the sensor asks for one, and what turns the checks red."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from calendar_pipeline.bots import run as bots
from calendar_pipeline.bots import store
from calendar_pipeline.bots.model import NewBot
from calendar_pipeline.db.connect import Database
from calendar_pipeline.definitions import defs as load
from calendar_pipeline.defs.resources import Pipeline
from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets.keyring import KeyRing, generate

KEY = generate("bots")
MEET = "https://meet.google.com/abc-defg-hij"
HOUR = timedelta(hours=1)


@pytest.fixture
def repository(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> dg.RepositoryDefinition:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CALENDAR_PIPELINE_KEYS", KEY)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("BOT_LINGER_SECONDS", "0")
    return load().get_repository_def()


@pytest.fixture
def project(db: Database) -> str:
    with db.begin() as conn:
        return projects.create(conn, "bots", now=datetime.now(UTC)).id


def make(db: Database, project: str, join_at: datetime | None) -> str:
    with db.begin() as conn:
        new = NewBot(name="x", meeting_url=MEET, join_at=join_at)
        return store.create(conn, KeyRing.parse(KEY), project, new, now=datetime.now(UTC)).id


def follow_an_event(db: Database, project: str, bot: str) -> None:
    """An event an hour from now that the bot should have followed long ago."""
    with db.begin() as conn:
        conn.execute(
            sa.text(
                "INSERT INTO calendar (id, project_id, platform, client_id, client_secret, refresh_token, updated_at)"
                " VALUES ('cal', :project, 'google', 'c', '', '', now() - interval '1 day')"
            ),
            {"project": project},
        )
        conn.execute(
            sa.text("""
                INSERT INTO calendar_event (id, project_id, calendar_id, version, provider_event_id, starts_at, ends_at,
                    start_time, end_time, status, attendees, visibility, is_busy, event_type, raw, fingerprint,
                    created_at, updated_at)
                SELECT 'evt', :project, 'cal', 1, 'x', t, t, t, t, 'confirmed', '[]', 'default', true, 'default', '{}',
                    '', now() - interval '1 day', now() - interval '1 day'
                FROM (SELECT now() + interval '1 hour' AS t) x
            """),
            {"project": project},
        )
        conn.execute(
            sa.text("UPDATE bot SET event_id = 'evt', calendar_id = 'cal', follows_start = 'epoch' WHERE id = :bot"),
            {"bot": bot},
        )


def execute(repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, job: str) -> Any:
    return repository.get_job(job).execute_in_process(instance=instance)


def check(repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, name: str) -> Any:
    result = execute(repository, instance, "check_bots")
    return next(one for one in result.get_asset_check_evaluations() if one.check_name == name)


def test_a_run_tells_what_it_did(repository, instance, db, project) -> None:
    make(db, project, None)
    make(db, project, datetime.now(UTC) + timedelta(minutes=2))
    make(db, project, datetime.now(UTC) + HOUR)
    result = execute(repository, instance, "run_bots")
    [materialised] = result.get_asset_materialization_events()
    told = {key: value.value for key, value in materialised.materialization.metadata.items()}
    assert (told["planned"], told["launched"], told["staged"], told["late"]) == (3, 1, 1, 0)
    assert told["sql_statements"] < 25


def test_the_sensor_asks_for_a_run_only_if_there_is_something_to_do(repository, instance, db, project) -> None:
    sensor = repository.get_sensor_def("bot_sensor")

    def tick(cursor: str | None = None) -> Any:
        context = dg.build_sensor_context(
            instance=instance, repository_def=repository, resources={"pipeline": Pipeline()}, cursor=cursor
        )
        return sensor(context)

    assert isinstance(tick(), dg.SkipReason)
    bot = make(db, project, datetime.now(UTC) + HOUR)
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE bot SET due_at = now() - interval '5 seconds' WHERE id = :id"), {"id": bot})
    assert isinstance(tick(), dg.SkipReason), "the live path does that"
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE bot SET due_at = now() - interval '15 seconds' WHERE id = :id"), {"id": bot})
    assert isinstance(tick(), dg.RunRequest)
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE bot SET due_at = NULL"))
        conn.execute(sa.text("UPDATE project_counter SET n = 1"))
    assert isinstance(tick(), dg.SkipReason)
    assert isinstance(tick("behind"), dg.RunRequest), "behind twice in a row: nobody does it"


def test_a_bot_that_does_not_match_its_event_turns_the_check_red(repository, instance, db, project) -> None:
    bot = make(db, project, datetime.now(UTC) + HOUR)
    assert check(repository, instance, "every_scheduled_bot_matches_its_event").passed
    follow_an_event(db, project, bot)
    red = check(repository, instance, "every_scheduled_bot_matches_its_event")
    assert not red.passed
    assert f"{bot} (its event starts at another time)" in red.description
    assert "calendar-pipeline bots run" in red.description
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE bot SET due_at = now()"))
    execute(repository, instance, "run_bots")
    assert check(repository, instance, "every_scheduled_bot_matches_its_event").passed


def test_a_late_launch_turns_the_check_red(repository, instance, db, project) -> None:
    bot = make(db, project, datetime.now(UTC) + HOUR)
    assert check(repository, instance, "no_late_launch").passed
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE bot SET join_at = now() - interval '5 minutes'"))
    red = check(repository, instance, "no_late_launch")
    assert not red.passed
    assert f"1 bots were late, 1 of them are waiting still: {bot} (30" in red.description
    assert "BOT_RUNNER_URL" in red.description
    execute(repository, instance, "run_bots")
    red = check(repository, instance, "no_late_launch")
    assert "0 of them are waiting still" in red.description
    assert timedelta(minutes=5) > bots.LATE_AFTER
