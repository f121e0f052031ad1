"""Webhooks in Dagster: what starts a run, what a run tells, and each check provoked."""

import http.server
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from calendar_pipeline.db.connect import Database
from calendar_pipeline.definitions import defs as load
from calendar_pipeline.defs.resources import Pipeline
from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets.keyring import KeyRing, generate
from calendar_pipeline.webhooks import log, subscriptions
from calendar_pipeline.webhooks.model import NewSubscription, Subscription

KEYS = generate("hooks")


@pytest.fixture
def repository(
    instance: dg.DagsterInstance, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> dg.RepositoryDefinition:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CALENDAR_PIPELINE_KEYS", KEYS)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("WEBHOOK_ALLOW_HTTP", "true")
    monkeypatch.setenv("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8")
    monkeypatch.setenv("WEBHOOK_PORTS", "any")
    monkeypatch.setenv("WEBHOOK_LINGER_SECONDS", "0")
    return load().get_repository_def()


@pytest.fixture
def endpoint() -> Iterator[Any]:
    class Handler(http.server.BaseHTTPRequestHandler):
        got: list[bytes] = []
        status = 200

        def do_POST(self) -> None:
            self.got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(type(self).status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        Handler.url = f"http://127.0.0.1:{server.server_port}/"  # type: ignore[attr-defined]
        yield Handler
        server.shutdown()
        thread.join()


@pytest.fixture
def subscription(db: Database, endpoint: Any) -> Subscription:
    keyring, now = KeyRing.parse(KEYS), datetime.now(UTC)
    with db.begin() as connection:
        project = projects.create(connection, "ours", now=now).id
        projects.set_webhook_secret(connection, keyring, project, now=now)
        new = NewSubscription(url=endpoint.url, triggers=["calendar.events_update"])
        return subscriptions.create(connection, keyring, project, [new], now=now)[0]


def tell(db: Database, subscription: Subscription, *, age: timedelta = timedelta()) -> str:
    with db.begin() as connection:
        return log.test(connection, subscription.project_id, subscription.id, now=datetime.now(UTC) - age)


def execute(db: Database, statement: str) -> None:
    with db.begin() as connection:
        connection.execute(sa.text(statement))


def tick(repository: dg.RepositoryDefinition, instance: dg.DagsterInstance) -> Any:
    sensor = repository.get_sensor_def("webhook_sensor")
    return sensor(
        dg.build_sensor_context(instance=instance, repository_def=repository, resources={"pipeline": Pipeline()})
    )


def run(repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, job: str) -> dg.ExecuteInProcessResult:
    return repository.get_job(job).execute_in_process(instance=instance, resources={"pipeline": Pipeline()})


def checks(repository: dg.RepositoryDefinition, instance: dg.DagsterInstance) -> dict[str, dg.AssetCheckEvaluation]:
    result = run(repository, instance, "check_webhooks")
    assert result.success
    return {one.check_name: one for one in result.get_asset_check_evaluations()}


def test_the_sensor_starts_a_run_when_something_is_due_and_none_is_under_way(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, db: Database, subscription: Subscription
) -> None:
    assert isinstance(tick(repository, instance), dg.SkipReason)
    tell(db, subscription)
    assert isinstance(tick(repository, instance), dg.RunRequest)
    job = repository.get_job("deliver_webhooks")
    instance.create_run_for_job(job_def=job, status=dg.DagsterRunStatus.STARTED)
    assert "under way" in tick(repository, instance).skip_message


def test_the_sensor_leaves_to_a_live_run_what_is_due_for_less_than_a_minute(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, db: Database, subscription: Subscription
) -> None:
    tell(db, subscription)
    execute(
        db,
        "INSERT INTO live_run (id, state, beat_until) VALUES (gen_random_uuid(), 'working', now() + interval '1 hour')",
    )
    assert isinstance(tick(repository, instance), dg.SkipReason)
    tell(db, subscription, age=timedelta(seconds=61))
    assert isinstance(tick(repository, instance), dg.RunRequest), "the live run lives, but does not deliver"


def test_the_schedule_finds_what_is_due_whatever_the_sensor_thinks(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, db: Database, subscription: Subscription
) -> None:
    schedule = repository.get_schedule_def("webhook_schedule")

    def requests() -> Any:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=datetime.now(UTC), resources={"pipeline": Pipeline()}
        )
        return schedule.evaluate_tick(context).run_requests

    assert not requests()
    tell(db, subscription)
    instance.create_run_for_job(job_def=repository.get_job("deliver_webhooks"), status=dg.DagsterRunStatus.STARTED)
    assert len(requests()) == 1


def test_a_run_delivers_and_tells_in_numbers(
    repository: dg.RepositoryDefinition,
    instance: dg.DagsterInstance,
    db: Database,
    subscription: Subscription,
    endpoint: Any,
) -> None:
    for _ in range(3):
        tell(db, subscription)
    result = run(repository, instance, "deliver_webhooks")
    assert result.success
    assert len(endpoint.got) == 3
    [event] = result.get_asset_materialization_events()
    told = event.materialization.metadata
    assert (told["delivered"].value, told["failed_attempts"].value, told["pending"].value) == (3, 0, 0)
    assert told["sql_statements"].value <= 6
    assert all(one.passed for one in result.get_asset_check_evaluations())
    assert len(result.get_asset_check_evaluations()) == 4


def test_the_oldest_delivery_counts_held_and_throttled_ones(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, db: Database, subscription: Subscription
) -> None:
    """Throttled messages once were in no alert, and a whole service waited unseen."""
    name = "oldest_delivery_is_young"
    tell(db, subscription, age=timedelta(minutes=5))
    assert checks(repository, instance)[name].passed
    execute(db, "UPDATE webhook_delivery SET created_at = now() - interval '20 minutes'")
    for state in (
        "blocked_until = now() + interval '1 hour'",
        "disabled_at = now(), disabled_reason = 'operator'",
    ):
        execute(db, f"UPDATE webhook_subscription SET {state}")
        late = checks(repository, instance)[name]
        assert (late.passed, late.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert "calendar-pipeline webhooks list" in (late.description or "")
    execute(db, "UPDATE webhook_delivery SET created_at = now() - interval '25 hours'")
    assert checks(repository, instance)[name].severity == dg.AssetCheckSeverity.ERROR


def test_failing_attempts_are_seen(
    repository: dg.RepositoryDefinition,
    instance: dg.DagsterInstance,
    db: Database,
    subscription: Subscription,
    endpoint: Any,
) -> None:
    endpoint.status = 500
    for _ in range(25):
        tell(db, subscription)
    result = run(repository, instance, "deliver_webhooks")
    found = {one.check_name: one for one in result.get_asset_check_evaluations()}["attempts_succeed"]
    assert not found.passed
    assert found.metadata["success_rate"].value == 0.0
    assert "calendar-pipeline webhooks deliveries" in (found.description or "")


def test_a_disabled_endpoint_is_seen_with_what_to_do(
    repository: dg.RepositoryDefinition,
    instance: dg.DagsterInstance,
    db: Database,
    subscription: Subscription,
    endpoint: Any,
) -> None:
    endpoint.status = 410
    tell(db, subscription)
    result = run(repository, instance, "deliver_webhooks")
    found = {one.check_name: one for one in result.get_asset_check_evaluations()}["no_endpoint_is_disabled"]
    assert not found.passed
    assert "1 gone" in (found.description or "")
    assert "calendar-pipeline webhooks enable" in (found.description or "")


@pytest.mark.parametrize("status", ["dead", "rejected"])
def test_a_lost_delivery_is_an_error(
    repository: dg.RepositoryDefinition,
    instance: dg.DagsterInstance,
    db: Database,
    subscription: Subscription,
    status: str,
) -> None:
    tell(db, subscription)
    execute(db, f"UPDATE webhook_delivery SET status = '{status}', finished_at = now() - interval '2 hours'")
    found = checks(repository, instance)["nothing_was_lost"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "calendar-pipeline webhooks recover" in (found.description or "")


def test_retention_takes_bodies_after_30_days_and_deliveries_after_90(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, db: Database, subscription: Subscription
) -> None:
    young, old, ancient, held = (tell(db, subscription, age=timedelta(days=days)) for days in (29, 31, 91, 31))
    execute(db, f"UPDATE webhook_delivery SET status = 'delivered', finished_at = now() WHERE id <> '{held}'")
    assert run(repository, instance, "webhook_retention").success
    with db.single() as connection:
        rows = connection.execute(sa.text("SELECT id, body IS NULL, status, last_error FROM webhook_delivery")).all()
    assert {row[0]: tuple(row[1:]) for row in rows} == {
        young: (False, "delivered", None),
        old: (True, "delivered", None),
        held: (True, "dead", "expired"),
    }
    assert ancient not in {row[0] for row in rows}
