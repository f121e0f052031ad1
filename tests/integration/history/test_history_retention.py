"""What is kept no longer goes; what is left proves itself, and no state after the cutoff changes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError
from typer.testing import CliRunner

from calendar_pipeline.cli import app
from calendar_pipeline.db import migrate
from calendar_pipeline.history import proof, retention

JANUARY = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
CUTOFF = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def proven(record: Any) -> bool:
    with record.db.single() as connection:
        assert proof.holes(connection) == []
        assert proof.replay_differences(connection) == []
    return True


def state(record: Any, at: datetime) -> list[tuple[Any, ...]]:
    return record.rows("SELECT event_id, version, title FROM event_as_of(:at) ORDER BY event_id", at=at)


@pytest.fixture
def busy(record: Any) -> Any:
    """Events that ended, were deleted, changed before and after the cutoff, or wait for the future."""
    migrate.prepare_history(record.db, now=CUTOFF)
    record.calendar("c")
    record.write("ended", at=JANUARY)
    record.write("ended", at=JANUARY + DAY, title="moved")
    record.write("deleted", at=JANUARY, starts_at=CUTOFF + 9 * DAY)
    record.write("deleted", at=JANUARY + DAY, starts_at=CUTOFF + 9 * DAY, change="deleted")
    for days in (0, 1, 2):
        record.write("future", at=JANUARY + days * DAY, starts_at=CUTOFF + 9 * DAY)
    record.write("crossing", at=JANUARY, starts_at=CUTOFF + DAY)
    record.write("crossing", at=JANUARY + DAY, starts_at=CUTOFF + DAY)
    record.write("crossing", at=CUTOFF + DAY, starts_at=CUTOFF + DAY)
    record.write("new", at=CUTOFF + DAY, starts_at=CUTOFF + DAY)
    return record


def test_what_was_over_at_the_cutoff_goes_and_states_after_it_stay(busy: Any) -> None:
    instants = [CUTOFF, CUTOFF + DAY, CUTOFF + 9 * DAY]
    before = [[row for row in state(busy, at) if row[0] != "ended"] for at in instants]
    done = retention.expire(busy.db, "p", CUTOFF)
    assert (done.events, done.versions) == (2, 7)
    assert [state(busy, at) for at in instants] == before
    assert busy.rows("SELECT event_id, version FROM event_history ORDER BY 1, 2") == [
        ("crossing", 2), ("crossing", 3), ("future", 3), ("new", 1)
    ]  # fmt: skip
    assert proven(busy)


def test_the_counter_says_how_much_is_missing_and_above_which_number_none_is(busy: Any) -> None:
    retention.expire(busy.db, "p", CUTOFF)
    assert busy.rows("SELECT n, expired, floor FROM project_counter") == [(11, 7, 8)]
    assert busy.rows("SELECT seq FROM event_history WHERE seq > 8 ORDER BY seq") == [(9,), (10,), (11,)]


def test_small_batches_remove_the_same_and_a_second_time_nothing(busy: Any) -> None:
    assert retention.expire(busy.db, "p", CUTOFF, batch=1).versions == 7
    assert retention.expire(busy.db, "p", CUTOFF).versions == 0
    assert proven(busy)


@pytest.mark.parametrize("where", ["true", "project_id = 'p'", "calendar_id = 'c'", "event_id = 'future'"])
def test_a_state_from_before_the_cutoff_is_refused_with_the_instant_from_which_states_are_whole(
    busy: Any, where: str
) -> None:
    query = f"SELECT event_id FROM event_as_of(:at) WHERE {where}"
    assert busy.rows(query, at=JANUARY + 2 * DAY)
    retention.expire(busy.db, "p", CUTOFF)
    with pytest.raises(DBAPIError, match=r"p keeps its history from 2026-03-01 00:00:00\+00 on") as refused:
        busy.rows(query, at=JANUARY + 2 * DAY)
    assert "Ask for a later instant" in str(refused.value)
    assert busy.rows(query, at=CUTOFF)


def test_a_project_that_keeps_everything_is_asked_for_any_instant_beside_one_that_does_not(busy: Any) -> None:
    busy.calendar("q1", project="q")
    busy.write("old", calendar="q1", project="q", at=JANUARY)
    retention.expire(busy.db, "p", CUTOFF)
    query = "SELECT event_id FROM event_as_of(:at) WHERE project_id = 'q'"
    assert busy.rows(query, at=JANUARY + DAY) == [("old",)]


def test_a_shorter_cutoff_later_does_not_give_back_what_was_removed(busy: Any) -> None:
    retention.expire(busy.db, "p", CUTOFF)
    retention.expire(busy.db, "p", JANUARY)
    assert busy.rows("SELECT kept_from FROM project_counter") == [(CUTOFF,)]


def test_a_loss_beside_what_was_removed_is_still_found(busy: Any) -> None:
    retention.expire(busy.db, "p", CUTOFF)
    for seq in (7, 10):
        with busy.db.engine.connect() as connection:
            connection.exec_driver_sql("SET LOCAL calendar_pipeline.retention = 'on'")
            connection.exec_driver_sql(f"DELETE FROM event_history WHERE seq = {seq}")
            assert proof.holes(connection), seq
            connection.rollback()


def test_a_deleted_calendars_history_goes_too(busy: Any) -> None:
    busy.calendar("d")
    busy.write("theirs", calendar="d", at=JANUARY, starts_at=CUTOFF + DAY)
    with busy.db.begin() as connection:
        connection.exec_driver_sql("DELETE FROM calendar WHERE id = 'd'")
    retention.expire(busy.db, "p", CUTOFF)
    assert busy.rows("SELECT 1 FROM event_history WHERE calendar_id = 'd'") == []
    assert proven(busy)


def test_a_calendar_that_is_being_synced_is_left_for_the_next_time(busy: Any) -> None:
    with busy.db.begin() as connection:
        connection.exec_driver_sql("UPDATE calendar SET lease_until = clock_timestamp() + interval '1 hour'")
    assert retention.expire(busy.db, "p", CUTOFF).events == 0
    with busy.db.begin() as connection:
        connection.exec_driver_sql("UPDATE calendar SET lease_until = NULL")
    assert retention.expire(busy.db, "p", CUTOFF).events == 2


def test_another_projects_history_is_not_touched(busy: Any) -> None:
    busy.calendar("q1", project="q")
    busy.write("other", calendar="q1", project="q", at=JANUARY)
    retention.expire(busy.db, "p", CUTOFF)
    assert busy.rows("SELECT count(*) FROM event_history WHERE project_id = 'q'") == [(1,)]


def test_only_projects_with_a_limit_are_named(busy: Any) -> None:
    with busy.db.begin() as connection:
        assert retention.projects(connection, now=CUTOFF) == []
        assert retention.keep(connection, "p", 30)
        assert not retention.keep(connection, "nobody", 30)
        assert retention.projects(connection, now=CUTOFF) == [("p", CUTOFF - 30 * DAY)]
        assert retention.keep(connection, "p", None)
        assert retention.projects(connection, now=CUTOFF) == []


def test_the_history_is_closed_again_afterwards(busy: Any) -> None:
    retention.expire(busy.db, "p", CUTOFF)
    with pytest.raises(IntegrityError, match="append-only"), busy.db.begin() as connection:
        connection.exec_driver_sql("DELETE FROM event_history")


def months(record: Any) -> set[str]:
    query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'event_history'::regclass"
    return {name for (name,) in record.rows(query)}


def test_old_months_in_which_nothing_is_left_are_removed(busy: Any) -> None:
    now = datetime(2026, 8, 1, tzinfo=UTC)
    before = months(busy)
    assert "event_history_2026_02" in before  # nothing was recorded in it
    assert retention.detach_months(busy.db, now=now) == [
        "event_history_2026_02", "event_history_2026_04"
    ]  # fmt: skip
    retention.expire(busy.db, "p", now)
    assert retention.detach_months(busy.db, now=now) == ["event_history_2026_01", "event_history_2026_03"]
    assert busy.rows("SELECT count(*) FROM event_history") == [(0,)]
    assert {name for name in before - months(busy) if "2026_1" in name} == set()
    assert proven(busy)


def test_a_month_in_use_is_left_alone(busy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with busy.db.engine.connect() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM event_history_2026_02")
        reader.exec_driver_sql("LOCK TABLE event_history_2026_02 IN ACCESS SHARE MODE")
        assert "event_history_2026_02" not in retention.detach_months(busy.db, now=datetime(2026, 5, 10, tzinfo=UTC))
    assert retention.detach_months(busy.db, now=datetime(2026, 5, 10, tzinfo=UTC)) == ["event_history_2026_02"]


@pytest.mark.parametrize(
    ("now", "gone"),
    [
        (datetime(2041, 3, 4, tzinfo=UTC), set()),  # December ended 62 days and a moment before the next day
        (datetime(2041, 3, 5, tzinfo=UTC), {"event_history_2040_12"}),
        (datetime(2041, 4, 4, tzinfo=UTC), {"event_history_2040_12"}),
        (datetime(2041, 4, 5, tzinfo=UTC), {"event_history_2040_12", "event_history_2041_01"}),
    ],
)
def test_an_empty_month_goes_62_days_after_its_end_over_the_turn_of_a_year(
    record: Any, now: datetime, gone: set[str]
) -> None:
    migrate.prepare_history(record.db, now=datetime(2040, 12, 31, 23, 59, 59, tzinfo=UTC))
    done = retention.detach_months(record.db, now=now)
    assert {name for name in done if name >= "event_history_2040"} == gone


def test_old_sync_records_go_and_new_ones_stay(record: Any) -> None:
    zero = dict.fromkeys(
        ("requests", "response_bytes", "pages", "items", "created", "updated", "deleted", "restored", "quarantined"), 0
    )
    with record.db.begin() as connection:
        for days in range(10):
            at = JANUARY + days * DAY
            row = {"project_id": "p", "calendar_id": "c", "started_at": at, "finished_at": at, "outcome": "synced"}
            row |= zero
            names = ", ".join(row)
            connection.execute(
                sa.text(f"INSERT INTO sync_run ({names}) VALUES ({', '.join(f':{n}' for n in row)})"), row
            )
    assert retention.expire_syncs(record.db, JANUARY + 4 * DAY, batch=3) == 4
    assert record.rows("SELECT count(*), min(started_at) FROM sync_run") == [(6, JANUARY + 4 * DAY)]


@pytest.mark.parametrize(
    "words",
    [
        ["retention", "p", "--days", "999999999"],
        ["project", "keys", "create", "p", "--expires-in-days", "999999999"],
        ["analyst", "reader", "--timeout", "999999999"],
    ],
    ids=lambda words: words[0],
)
def test_ages_beyond_all_dates_are_refused(words: list[str]) -> None:
    """There is no such day: the job would have failed with it, for all projects, every day."""
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 2
    assert "less than" in ended.output
