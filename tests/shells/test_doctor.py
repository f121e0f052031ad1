"""`doctor`: well where all is well; each thing gone wrong is found, and its remedy is told."""

import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
import urllib3
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, TickData, TickStatus
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo

from calendar_pipeline import doctor
from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.calendars.model import NewCalendar
from calendar_pipeline.db.connect import Database
from calendar_pipeline.doctor import machine, record, setup, work
from calendar_pipeline.doctor.finding import found
from calendar_pipeline.projects import store as projects
from calendar_pipeline.secrets.keyring import KeyRing, generate
from calendar_pipeline.settings import Settings

KEYS = generate("now")
FORMER = generate("former")
CLOSED = "http://127.0.0.1:9"
"""Where nobody answers."""


@contextmanager
def answering(status: int, *, at: datetime | str | None = None) -> Iterator[str]:
    """A server that answers everything so, with this Date if any."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            date = at if isinstance(at, str) else format_datetime(at or datetime.now(UTC), usegmt=True)
            self.send_header("date", date)
            self.send_header("content-length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815 - the name is the base's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base's
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def settings(database_url: str, instance: dg.DagsterInstance, tmp_path: Path) -> Iterator[Callable[..., Settings]]:
    """Settings of an installation that is well, and whatever is given."""
    storage = instance.event_log_storage.postgres_url  # type: ignore[attr-defined]
    with answering(200) as url:

        def settings(**given: Any) -> Settings:
            well = {
                "database_url": database_url,
                "dagster_postgres_url": storage,
                "calendar_pipeline_keys": KEYS,
                "state_dir": tmp_path,
                "public_base_url": url,
                "google_api_base_url": url,
                "microsoft_graph_base_url": url,
                "microsoft_login_base_url": url,
            }
            return Settings(_env_file=None, **{**well, **given})

        yield settings


Examine = Callable[..., dict[str, doctor.Finding]]


@pytest.fixture
def examine(settings: Callable[..., Settings]) -> Examine:
    def examine(*, clock: Callable[[], datetime] = lambda: datetime.now(UTC), **given: Any) -> Any:
        return {one.check: one for one in doctor.examine(settings(**given), clock=clock)}

    return examine


@pytest.fixture
def well(db: Database, instance: dg.DagsterInstance) -> str:
    """A calendar that was read, a live run at work, a daemon that lives; the calendar's id."""
    now = datetime.now(UTC)
    with db.begin() as connection:
        project = projects.create(connection, "doctor", now=now).id
        projects.create_key(connection, project, now=now)
        new = NewCalendar(platform="google", client_id="c", client_secret="s", refresh_token="r")
        calendar = calendars.create(connection, KeyRing.parse(KEYS), project, new, now=now).id
        connection.execute(
            sa.text(
                "UPDATE calendar SET last_successful_sync_at = now(), next_sync_at = now() + interval '20 minutes', "
                "synced_gen = requested_gen"
            )
        )
        connection.execute(
            sa.text(
                "INSERT INTO live_run (id, state, beat_until) "
                "VALUES (gen_random_uuid(), 'working', now() + interval '1 hour')"
            )
        )
    instance.add_daemon_heartbeat(DaemonHeartbeat(now.timestamp(), "SENSOR", "one"))
    return calendar


def odd(findings: dict[str, doctor.Finding]) -> dict[str, str]:
    return {name: one.level for name, one in findings.items() if one.level != "ok"}


IN_THE_DATABASE = {
    "append-only": (
        "ALTER TABLE event_history DISABLE TRIGGER ALL",
        "ALTER TABLE event_history ENABLE TRIGGER ALL",
        "ENABLE TRIGGER",
    ),
    "history numbers": (
        "UPDATE project_counter SET n = n + 1",
        "UPDATE project_counter SET n = n - 1",
        "restore a backup",
    ),
    "history replay": (
        """INSERT INTO calendar_event (id, project_id, calendar_id, version, created_at, updated_at, provider_event_id,
        starts_at, ends_at, start_time, end_time, status, attendees, raw, fingerprint, visibility, is_busy, event_type)
        SELECT 'evt_x', project_id, id, 1, now(), now(), 'x', now(), now(), now(), now(), 'confirmed', '[]', '{}', 'x',
        'default', true, 'default' FROM calendar""",
        "DELETE FROM calendar_event",
        "find who wrote",
    ),
    "calendars": (
        "UPDATE calendar SET next_sync_at = 'epoch'",
        "UPDATE calendar SET next_sync_at = now() + interval '20 minutes'",
        "Dagster daemon runs",
    ),
    "quarantine": (
        "UPDATE calendar SET quarantined = 1",
        "UPDATE calendar SET quarantined = 0",
        "table quarantined_event",
    ),
    "push channels": (
        "UPDATE calendar SET last_successful_sync_at = now() - interval '20 minutes'",
        "UPDATE calendar SET last_successful_sync_at = now()",
        "channel_schedule",
    ),
    "live path": (
        "UPDATE live_run SET beat_until = 'epoch'",
        "UPDATE live_run SET beat_until = now() + interval '1 hour'",
        "live_sensor",
    ),
    "bots": (
        """INSERT INTO bot (id, project_id, name, meeting_url, state, join_at, updated_at) SELECT 'bot_x', project_id,
        'n', 'https://meet.google.com/abc-defg-hij', 'scheduled', now() - interval '1 hour', now() FROM calendar""",
        "DELETE FROM bot",
        "calendar-pipeline bots run",
    ),
    "API keys": (
        "UPDATE api_key SET expires_at = now() + interval '3 days'",
        "UPDATE api_key SET expires_at = NULL",
        "keys create",
    ),
}
OTHER_STATES = {
    "calendars": [
        (
            "UPDATE calendar SET next_sync_at = now() - interval '16 minutes'",
            "UPDATE calendar SET next_sync_at = now() + interval '20 minutes'",
            "Dagster daemon runs",
        ),
        ("UPDATE calendar SET failures = 1", "UPDATE calendar SET failures = 0", "failed partitions"),
        (
            "UPDATE calendar SET last_successful_sync_at = NULL, created_at = now() - interval '1 hour'",
            "UPDATE calendar SET last_successful_sync_at = now()",
            "sync_schedule",
        ),
    ],
    "push channels": [
        (
            """INSERT INTO notification_channel (id, project_id, calendar_id, platform, state, token_hash, path_hash,
            created_at, expires_at) SELECT 'ch', project_id, id, 'google', 'live', '', '', now() - interval '1 hour',
            now() + interval '3 days' FROM calendar""",
            "DELETE FROM notification_channel",
            "reaches the API from outside",
        )
    ],
}
BROKEN = {"append-only", "history numbers", "history replay"}


def test_an_installation_that_is_well_is_told_so_and_what_goes_wrong_in_the_record_is_found(
    well: str, examine: Examine, settings: Callable[..., Settings], db: Database
) -> None:
    assert odd(examine()) == {}
    given = settings()

    def look() -> dict[str, doctor.Finding]:
        clock = lambda: datetime.now(UTC)
        with db.single() as connection:
            told = [*record.examine(connection, KeyRing.parse(KEYS), clock), *work.examine(given, connection, clock)]
        return {one.check: one for one in told}

    cases = [(name, *case) for name, case in IN_THE_DATABASE.items()]
    cases += [(name, *case) for name, others in OTHER_STATES.items() for case in others]
    for name, wrong, right, remedy in cases:
        for statement, level in ((wrong, "broken" if name in BROKEN else "warning"), (right, None)):
            with db.begin() as connection:
                connection.exec_driver_sql(statement)
            findings = look()
            assert odd(findings) == ({name: level} if level else {}), statement
            if level:
                assert remedy in (findings[name].remedy or ""), name


def test_clocks_apart_and_a_transaction_left_open_are_told(well: str, examine: Examine, db: Database) -> None:
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE calendar SET quarantined = 0"))
        later = examine(clock=lambda: datetime.now(UTC) + timedelta(minutes=10))
    assert "NTP" in (later["clock"].remedy or "")
    assert "NTP" in (later["providers"].remedy or "")
    assert "pg_terminate_backend" in (later["transactions"].remedy or "")
    assert examine()["transactions"].level == "ok"


def test_keys_that_are_missing_old_or_another_under_the_same_name_are_told(well: str, examine: Examine) -> None:
    missing = examine(calendar_pipeline_keys=FORMER)
    assert (missing["stored secrets"].level, "keys now" in missing["stored secrets"].text) == ("broken", True)
    old = examine(calendar_pipeline_keys=f"{FORMER},{KEYS}")
    assert (old["stored secrets"].level, old["stored secrets"].text) == ("warning", "2 under other keys than former")
    assert "keys rotate" in (old["stored secrets"].remedy or "")
    changed = examine(calendar_pipeline_keys=generate("now"))
    assert changed["a sample of each"].level == "broken"
    assert changed["a sample of each"].text == "does not open: calendar.client_secret, calendar.refresh_token"
    assert examine(calendar_pipeline_keys="junk")["key ring"].level == "broken"


def test_what_stands_still_in_dagster_is_told(well: str, examine: Examine, instance: dg.DagsterInstance) -> None:
    now = datetime.now(UTC)
    origin = RemoteInstigatorOrigin(
        repository_origin=RemoteRepositoryOrigin(
            code_location_origin=GrpcServerCodeLocationOrigin("127.0.0.1", 1), repository_name="r"
        ),
        instigator_name="live",
    )
    instance.add_instigator_state(InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.STOPPED))
    off = examine()["schedules and sensors"]
    assert (off.level, off.text) == ("warning", "switched off: live")
    trouble = SerializableErrorInfo("away", [], None)
    instance.create_tick(
        TickData("o", "live", InstigatorType.SENSOR, TickStatus.FAILURE, now.timestamp(), error=trouble)
    )
    assert "Automation" in (examine()["ticks"].remedy or "")
    instance.create_run_for_job(dg.job(name="purge")(lambda: None), status=dg.DagsterRunStatus.NOT_STARTED)
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        for age, check, words in ((1, "runs", "max_concurrent_runs"), (30 * 24, "Dagster's storage", "purge_daily")):
            connection.execute(
                sa.text("UPDATE runs SET create_timestamp = now() AT TIME ZONE 'UTC' - :age * interval '1 hour'"),
                {"age": age},
            )
            assert words in (examine()[check].remedy or "")
        connection.execute(sa.text("UPDATE daemon_heartbeats SET timestamp = timestamp - interval '10 minutes'"))
        dead = examine()["Dagster daemon"]
        assert (dead.level, dead.remedy) == ("broken", "start it: dagster-daemon run -w workspace.yaml")
        connection.execute(sa.text("DELETE FROM daemon_heartbeats"))
        assert "has never run" in examine()["Dagster daemon"].text
    nowhere = examine(dagster_postgres_url="postgresql+psycopg2://127.0.0.1:9/none")["Dagster"]
    assert "DAGSTER_POSTGRES_URL" in (nowhere.remedy or "")


def test_an_address_or_a_provider_that_does_not_answer_is_told(well: str, examine: Examine) -> None:
    closed = examine(public_base_url=CLOSED, google_api_base_url=CLOSED)
    assert "proxy" in (closed["public address"].remedy or "")
    assert closed["providers"].text == "no answer from Google"
    with answering(503) as url:
        assert "/readyz" in (examine(public_base_url=url)["public address"].remedy or "")
    assert examine(public_base_url=None)["public address"].level == "ok"


@pytest.mark.parametrize("date", ["soon", "Wed, 25 Nov 2026 08:00:00 -0000"])
def test_a_date_that_says_nothing_is_not_believed(date: str, tmp_path: Path) -> None:
    """Somebody between us and the provider may answer as it likes."""
    with answering(200, at=date) as url, urllib3.PoolManager() as http:
        given = dict.fromkeys(("google_api_base_url", "microsoft_graph_base_url", "microsoft_login_base_url"), url)
        settings = Settings(_env_file=None, state_dir=tmp_path, **given)
        assert machine.providers(settings, http, lambda: datetime.now(UTC)).level == "ok"


def test_a_certificate_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_url: str) -> int:
        raise TimeoutError

    monkeypatch.setattr(machine, "certificate_days", away)
    with answering(200) as url, urllib3.PoolManager() as http:
        said = machine.public(Settings(_env_file=None, state_dir=tmp_path, public_base_url=url), http)
    assert (said.level, said.text) == ("warning", f"the certificate of {url} cannot be read")


def test_a_disk_that_is_nearly_full_is_broken(tmp_path: Path) -> None:
    usage = namedtuple("usage", "total free")
    settings = Settings(_env_file=None, state_dir=tmp_path)
    told = [machine.disk(settings, lambda _, free=free: usage(100 << 30, free)) for free in (50 << 30, 1 << 30)]
    assert [one.level for one in told] == ["ok", "broken"]


@pytest.mark.parametrize(
    ("given", "check", "remedy"),
    [
        ({"webhook_lease_seconds": 5}, "time-outs", "WEBHOOK_LEASE_SECONDS"),
        ({"bot_runner": "attendee"}, "bot runner", "BOT_RUNNER_URL"),
        ({"environment": "production"}, "exposure", "PUBLIC_BASE_URL"),
        (
            {"environment": "production", "public_base_url": "https://a.example", "dagster_host": "0.0.0.0"},
            "exposure",
            "DAGSTER_HOST",
        ),
        (
            {"environment": "production", "public_base_url": "https://a.example", "webhook_allow_http": True},
            "exposure",
            "WEBHOOK_ALLOW_HTTP",
        ),
    ],
)
def test_settings_that_will_not_do_are_told(given: dict[str, Any], check: str, remedy: str, tmp_path: Path) -> None:
    findings = {one.check: one for one in setup.examine(Settings(_env_file=None, state_dir=tmp_path, **given))}
    assert remedy in (findings[check].remedy or "")
    well = {one.level for one in setup.examine(Settings(_env_file=None, state_dir=tmp_path))}
    assert well == {"ok"}


def test_what_is_not_well_without_a_remedy_cannot_be_said() -> None:
    with pytest.raises(ValueError, match="disk"):
        doctor.Finding("warning", "disk", "full")
    findings = [found("a", "well"), found("b", "odd", "do this")]
    assert doctor.exit_code(findings[:1]) == 0
    assert doctor.exit_code(findings) == 1
    assert doctor.exit_code([*findings, found("c", "bad", "do that", broken=True)]) == 2
    assert '"remedy": "do this"' in doctor.to_json(findings)
