"""What is exported opens in pandas and DuckDB, is written once, and follows every change of the record."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from calendar_pipeline.errors import SetupError
from calendar_pipeline.export.relation import RELATIONS, relation
from calendar_pipeline.export.write import export
from calendar_pipeline.history import erase
from calendar_pipeline.secrets.keyring import KeyRing

JANUARY = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 5, 9, 0, tzinfo=UTC)


@pytest.fixture
def busy(record: Any) -> Any:
    """Two projects, two months, every kind of column set."""
    record.calendar("c", zone="Europe/Berlin")
    record.calendar("q1", project="q")
    record.write("a", at=JANUARY, attendees=[{"email": "ä@x"}], start_date="2026-01-05", end_date="2026-01-06")
    record.write("a", at=FEBRUARY, starts_at=FEBRUARY, before={"starts_at": "2026-01-05T09:00:00Z"})
    record.write("b", at=JANUARY)
    record.write("z", at=JANUARY, calendar="q1", project="q")
    return record


def run(record: Any, root: Path, table: str = "event_version", **given: Any) -> tuple[int, int, int]:
    done = export(record.db, relation(table), str(root), **given)
    return done.written, done.unchanged, done.removed


@pytest.mark.parametrize("table", RELATIONS)
def test_everything_opens_in_pandas_and_duckdb_with_all_rows(busy: Any, tmp_path: Path, table: str) -> None:
    done = export(busy.db, relation(table), str(tmp_path))
    [(count,)] = busy.rows(f"SELECT count(*) FROM {table}")
    assert done.rows == count
    if not count:
        return
    frame = pd.read_parquet(tmp_path / table)
    assert len(frame) == count
    found = duckdb.sql(
        f"SELECT count(*), count(DISTINCT project_id) FROM read_parquet('{tmp_path}/{table}/**/*.parquet')"
    ).fetchall()
    assert found == [(count, 2)]


def test_values_come_back_as_they_are(busy: Any, tmp_path: Path) -> None:
    run(busy, tmp_path, "event_history")
    frame = pd.read_parquet(tmp_path / "event_history").sort_values(["project_id", "seq"])
    first, last = frame.iloc[0], frame.iloc[1]
    assert first["recorded_at"] == JANUARY
    assert first["start_date"].isoformat() == "2026-01-05"
    assert json.loads(first["attendees"]) == [{"email": "ä@x"}]
    assert list(last["changed"]) == ["starts_at"]
    assert first["fingerprint"] == b"1"


def test_duckdb_answers_an_analysts_question(busy: Any, tmp_path: Path) -> None:
    run(busy, tmp_path)
    moved = duckdb.sql(f"""
        SELECT event_id, starts_at - CAST(before ->> '$.starts_at' AS TIMESTAMPTZ) AS moved_by
        FROM read_parquet('{tmp_path}/event_version/**/*.parquet') WHERE list_contains(changed, 'starts_at')
    """).fetchall()
    assert moved == [("a", timedelta(days=31))]


def test_columns_carry_their_meaning(busy: Any, tmp_path: Path) -> None:
    run(busy, tmp_path)
    [first, *_] = sorted(tmp_path.rglob("*.parquet"))
    field = pq.read_schema(first).field("valid_to")
    assert field.metadata == {b"comment": b"until when it held, exclusive; null: it still holds"}


def test_a_second_export_writes_nothing(busy: Any, tmp_path: Path) -> None:
    assert run(busy, tmp_path) == (3, 0, 0)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")}
    assert run(busy, tmp_path) == (0, 3, 0)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")} == before


def test_a_new_version_touches_its_month_and_the_month_of_the_one_that_it_ends(busy: Any, tmp_path: Path) -> None:
    run(busy, tmp_path)
    run(busy, tmp_path, "event_history")
    busy.write("b", at=FEBRUARY)
    assert run(busy, tmp_path, "event_history") == (1, 2, 0)
    assert run(busy, tmp_path) == (2, 1, 0)
    frame = pd.read_parquet(tmp_path / "event_version")
    ended = frame[(frame["event_id"] == "b") & (frame["version"] == 1)].iloc[0]
    assert ended["valid_to"] == FEBRUARY


def test_months_before_since_and_other_projects_are_left_alone(busy: Any, tmp_path: Path) -> None:
    assert run(busy, tmp_path, since=FEBRUARY) == (1, 0, 0)
    assert [file.parent.name for file in tmp_path.rglob("*.parquet")] == ["month=2026-02"]
    assert run(busy, tmp_path, project="q") == (1, 0, 0)
    assert run(busy, tmp_path) == (1, 2, 0)


def test_a_month_that_is_gone_loses_its_file(busy: Any, tmp_path: Path) -> None:
    run(busy, tmp_path)
    with busy.db.begin() as connection:
        connection.exec_driver_sql("SET LOCAL calendar_pipeline.retention = 'on'")
        connection.exec_driver_sql("DELETE FROM event_history WHERE project_id = 'p' AND recorded_at < '2026-02-01'")
    assert run(busy, tmp_path, since=FEBRUARY) == (0, 1, 0)
    assert run(busy, tmp_path)[2] == 1
    assert not (tmp_path / "event_version/project=p/month=2026-01/part.parquet").exists()


def test_a_meeting_that_leaves_one_of_its_calendars_is_written_again(busy: Any, tmp_path: Path) -> None:
    """The copy that is left has not changed; what is told of the meeting has."""
    busy.calendar("other")
    busy.write("copy", at=JANUARY, calendar="other", ical_uid="uid-b")
    run(busy, tmp_path, "meeting")
    busy.write("copy", at=JANUARY, calendar="other", ical_uid="uid-b", change="deleted")
    assert run(busy, tmp_path, "meeting") == (1, 2, 0)
    meetings = pd.read_parquet(tmp_path / "meeting").set_index("ical_uid")
    assert meetings.loc["uid-b", "calendars"] == 1


def test_days_that_come_as_others_go_are_written(busy: Any, tmp_path: Path) -> None:
    """Where records of syncs are kept for less than a month, as many days of one go as come."""

    def sync(day: int) -> None:
        busy.execute(
            "INSERT INTO sync_run (project_id, calendar_id, started_at, finished_at, outcome, requests, pages, items,"
            " created, updated, deleted, restored, quarantined, response_bytes)"
            " VALUES ('p', 'c', :at, :at, 'synced', 0, 0, 0, 0, 0, 0, 0, 0, 0)",
            at=JANUARY + timedelta(days=day),
        )

    sync(0)
    run(busy, tmp_path, "sync_quality")
    busy.execute("DELETE FROM sync_run")
    sync(1)
    assert run(busy, tmp_path, "sync_quality") == (1, 0, 0)
    assert str(pd.read_parquet(tmp_path / "sync_quality")["day"].iloc[0]) == "2026-01-06"


def test_erased_content_leaves_the_files_with_the_next_export(busy: Any, keyring: KeyRing, tmp_path: Path) -> None:
    busy.write("secret", at=JANUARY, title="call bob@example.com")
    run(busy, tmp_path)
    with busy.db.begin() as connection:
        erase.person(connection, keyring, "p", "bob@example.com", now=FEBRUARY)
    run(busy, tmp_path)
    frame = pd.read_parquet(tmp_path / "event_version").drop(columns="fingerprint")
    assert not frame.astype(str).apply(lambda column: column.str.contains("bob@example")).to_numpy().any()
    assert not any(b"bob@example.com" in file.read_bytes() for file in tmp_path.rglob("*.parquet"))


def test_an_object_store_is_written_the_same(busy: Any) -> None:
    import fsspec

    root = "memory://exports/calendar"
    done = export(busy.db, relation("event_version"), root)
    assert (done.written, export(busy.db, relation("event_version"), root).unchanged) == (3, 3)
    files = fsspec.filesystem("memory")
    with files.open("/exports/calendar/event_version/project=q/month=2026-01/part.parquet", "rb") as source:
        assert pq.read_table(source).num_rows == 1


def test_an_export_that_dies_leaves_the_old_file(busy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from calendar_pipeline.export import store

    run(busy, tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    busy.write("b", at=FEBRUARY)

    def die(*_: object) -> Any:
        raise OSError("the disk is full")

    monkeypatch.setattr(store, "rows", die)
    with pytest.raises(OSError, match="disk is full"):
        run(busy, tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_who_reads_while_it_is_written_reads_what_was_there(
    busy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is for good if the export is killed then: what it had begun stays."""
    from calendar_pipeline.export import store

    run(busy, tmp_path)
    busy.write("b", at=FEBRUARY)
    rows, seen = store.rows, list[int]()

    def in_the_middle(*given: Any) -> Any:
        for batch in rows(*given):
            seen.append(len(pd.read_parquet(tmp_path / "event_version")))
            yield batch

    monkeypatch.setattr(store, "rows", in_the_middle)
    assert run(busy, tmp_path) == (2, 1, 0)
    assert (seen, len(pd.read_parquet(tmp_path / "event_version"))) == ([4, 4], 5)


def test_what_cannot_be_exported_is_refused_with_what_can() -> None:
    with pytest.raises(SetupError, match="choose from event_history"):
        relation("api_key")


def test_a_long_month_is_streamed_in_batches(busy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from calendar_pipeline.export import store

    monkeypatch.setattr(store, "ROWS_AT_ONCE", 2)
    for number in range(5):
        busy.write(f"more{number}", at=JANUARY)
    run(busy, tmp_path, "event_history")
    file = pq.ParquetFile(tmp_path / "event_history/project=p/month=2026-01/part.parquet")
    assert (file.num_row_groups, file.metadata.num_rows) == (4, 7)
    with busy.db.single() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM event_history")).scalar_one() == 9
