"""Migrations bring any database to the schema of the code, whoever runs them and however many at once."""

import multiprocessing
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from calendar_pipeline.db import embedded, migrate
from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import metadata
from calendar_pipeline.errors import SetupError

PARTITION = re.compile(r"event_history_(default|\d{4}_\d{2})")


@pytest.fixture
def empty_url(server_url: str, request: pytest.FixtureRequest) -> str:
    """A database without any table."""
    name = f"empty_{abs(hash(request.node.nodeid))}"
    embedded.create_database(server_url, name)
    return sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def empty(empty_url: str) -> Iterator[Database]:
    with Database(empty_url) as database:
        yield database


def differences(db: Database) -> list[object]:
    def ours(thing: object, name: str | None, kind: str, reflected: bool, other: object) -> bool:
        table = thing if kind == "table" else getattr(thing, "table", None)
        return not PARTITION.fullmatch(str(getattr(table, "name", "")))

    with db.single() as connection:
        options = {"include_object": ours, "compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def test_the_migrated_schema_is_the_codes_schema(db: Database) -> None:
    assert differences(db) == []


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE calendar DROP COLUMN suspected_at",
        "ALTER TABLE calendar_event ALTER COLUMN title SET NOT NULL",
        "DROP INDEX ix_calendar_due",
        "ALTER TABLE oauth_client ALTER COLUMN paused_code TYPE varchar",
        "CREATE TABLE stray (id int)",
        "COMMENT ON COLUMN event_history.seq IS 'any number'",
    ],
)
def test_the_comparison_sees_a_difference(db: Database, damage: str) -> None:
    with db.begin() as connection:
        connection.exec_driver_sql(damage)
    assert differences(db) != []


def checks(connection: sa.Connection) -> set[tuple[str, str]]:
    """Named checks by table; alembic does not compare them."""
    found = connection.execute(
        sa.text("SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'c' AND conparentid = 0")
    )
    return {(table, name) for table, name in found if not PARTITION.fullmatch(table) and table != "alembic_version"}


def test_the_migrated_checks_are_the_codes_checks(db: Database, empty: Database) -> None:
    metadata.create_all(empty.engine)
    with db.single() as migrated, empty.single() as declared:
        assert checks(migrated) == checks(declared)


def test_migrating_twice_is_migrating_once(empty: Database) -> None:
    migrate.upgrade(empty)
    migrate.upgrade(empty)
    migrate.check(empty)


def test_a_database_without_tables_is_refused_with_what_to_do(empty: Database) -> None:
    with pytest.raises(SetupError, match="run 'calendar-pipeline migrate'"):
        migrate.check(empty)


@pytest.mark.parametrize("act", [migrate.upgrade, migrate.check], ids=["upgrade", "check"])
def test_a_newer_database_is_refused_with_what_to_do_and_left_alone(
    db: Database, act: Callable[[Database], None]
) -> None:
    with db.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SetupError, match=r"revision 9999.* newer than this program: upgrade the program"):
        act(db)
    with db.single() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "9999"


def test_a_refused_upgrade_gives_its_lock_back(db: Database) -> None:
    with db.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for _ in range(2):
        with pytest.raises(SetupError):
            migrate.upgrade(db)
    with db.single() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").scalar() == 0


def test_fault_32_a_failed_upgrade_leaves_the_database_as_it_was(empty: Database) -> None:
    with empty.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE quarantined_event (mine text)")
    with pytest.raises(sa.exc.ProgrammingError):
        migrate.upgrade(empty)
    with empty.single() as connection:
        tables = (
            connection.exec_driver_sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").scalars().all()
        )
    assert set(tables) <= {"quarantined_event", "alembic_version"}


def test_a_client_that_was_granted_tokens_keeps_that_in_each_project_in_which_it_was_and_no_pause(
    empty: Database,
) -> None:
    """It was kept for all projects together, so that one's mistake made the others' calendars wait."""
    with empty.begin() as connection:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0016")
    with empty.begin() as connection:
        connection.exec_driver_sql("""
            INSERT INTO project (id, name, created_at) SELECT p, p, now() FROM unnest(ARRAY['a', 'b', 'junk']) p;
            INSERT INTO calendar (id, project_id, platform, client_id, client_secret, refresh_token, updated_at,
                                  last_successful_sync_at)
            SELECT p || n, p, 'google', 'ours', '', '', now(), CASE WHEN p <> 'junk' THEN now() END
            FROM unnest(ARRAY['a', 'b', 'junk']) p, generate_series(1, 2) n;
            INSERT INTO oauth_client (platform, client_id, last_granted_at, paused_until, paused_code) VALUES
                ('google', 'ours', '2026-01-01', 'infinity', 'invalid_client'), ('google', 'gone', now(), NULL, NULL)
        """)
    migrate.upgrade(empty)
    with empty.single() as connection:
        kept = connection.exec_driver_sql("""
            SELECT project_id, client_id, last_granted_at = '2026-01-01', paused_until FROM oauth_client ORDER BY 1
        """)
        assert [tuple(row) for row in kept] == [("a", "ours", True, None), ("b", "ours", True, None)]


def _upgrade(url: str) -> None:
    with Database(url) as database:
        migrate.upgrade(database)


def test_four_threads_upgrade_at_once(empty: Database, empty_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(_upgrade, [empty_url] * 4))
    assert differences(empty) == []


def test_four_processes_upgrade_at_once(empty: Database, empty_url: str) -> None:
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_upgrade, args=(empty_url,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert [process.exitcode for process in processes] == [0] * 4
    migrate.check(empty)
    assert differences(empty) == []
