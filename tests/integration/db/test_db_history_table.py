"""The history only grows, month by month, and whoever tampers with it is found out."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from calendar_pipeline.db import migrate
from calendar_pipeline.db.connect import Database
from calendar_pipeline.history import proof

THIS_MONTH = datetime.now(UTC).replace(day=15, hour=12, minute=0, second=0, microsecond=0)
FAR_OFF = datetime(2040, 6, 15, tzinfo=UTC)

EVENT: dict[str, Any] = {
    "provider_event_id": "e1",
    "title": "Meeting",
    "starts_at": FAR_OFF,
    "ends_at": FAR_OFF,
    "start_time": FAR_OFF,
    "end_time": FAR_OFF,
    "status": "confirmed",
    "attendees": "[]",
    "visibility": "default",
    "is_busy": True,
    "event_type": "default",
    "raw": '{"id": "e1"}',
    "fingerprint": b"f",
    "is_deleted": False,
}


def insert(connection: sa.Connection, table: str, **values: object) -> None:
    names = ", ".join(values)
    connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{n}' for n in values)})"), values)


def record(
    connection: sa.Connection, seq: int, *, at: datetime = THIS_MONTH, version: int = 1, **changed: object
) -> None:
    """A row of the history."""
    row = {
        **EVENT,
        **changed,
        "project_id": "p",
        "seq": seq,
        "recorded_at": at,
        "calendar_id": "c",
        "event_id": "evt_1",
    }
    more = {"version": version, "change": "created" if version == 1 else "updated", "changed": [], "before": "{}"}
    insert(connection, "event_history", **row, **more)


def rows(db: Database, query: str) -> list[Any]:
    with db.single() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def partitions(db: Database) -> set[str]:
    return {
        name
        for (name,) in rows(
            db, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'event_history'::regclass"
        )
    }


def where(db: Database) -> list[tuple[str, int]]:
    """In which partition each row lies."""
    return rows(db, "SELECT tableoid::regclass::text, seq FROM event_history ORDER BY seq")


@pytest.fixture(scope="module")
def _shared(new_database: Callable[[], str]) -> Iterator[Database]:
    with Database(new_database()) as database:
        yield database


@pytest.fixture
def shared(_shared: Database) -> Database:
    """An empty database with the partitions that an upgrade makes; not for tests that make others."""
    with _shared.begin() as connection:
        connection.exec_driver_sql("SET LOCAL calendar_pipeline.retention = 'on'")
        connection.exec_driver_sql("DELETE FROM event_history")
        connection.exec_driver_sql("DELETE FROM project")
    return _shared


# -- append-only -------------------------------------------------------------------------------------------


@pytest.fixture
def full(shared: Database) -> Database:
    """A history with a row of this month, and one that went to the default partition."""
    with shared.begin() as connection:
        record(connection, 1)
        record(connection, 2, at=FAR_OFF, version=2)
    return shared


PLACES = ["event_history", f"event_history_{THIS_MONTH:%Y_%m}", "event_history_default"]


@pytest.mark.parametrize("place", PLACES, ids=["whole", "month", "default"])
@pytest.mark.parametrize(
    "statement",
    ["UPDATE {} SET title = 'forged'", "DELETE FROM {}", "TRUNCATE {}"],
    ids=["update", "delete", "truncate"],
)
def test_fault_31_history_is_never_changed(full: Database, place: str, statement: str) -> None:
    with pytest.raises(IntegrityError, match="append-only"), full.begin() as connection:
        connection.exec_driver_sql(statement.format(place))
    assert len(where(full)) == 2


def test_a_row_cannot_be_moved_to_another_month(full: Database) -> None:
    with pytest.raises(IntegrityError, match="append-only"), full.begin() as connection:
        connection.execute(sa.text("UPDATE event_history SET recorded_at = :at WHERE seq = 1"), {"at": FAR_OFF})


def test_a_month_that_is_made_later_is_as_closed_as_the_others(db: Database) -> None:
    with db.begin() as connection:
        record(connection, 1, at=FAR_OFF)
    migrate.prepare_history(db, now=FAR_OFF)
    for statement in ("UPDATE {} SET title = 'x'", "DELETE FROM {}", "TRUNCATE {}"):
        with pytest.raises(IntegrityError, match="append-only"), db.begin() as connection:
            connection.exec_driver_sql(statement.format("event_history_2040_06"))


def test_not_even_retention_may_rewrite(full: Database) -> None:
    with full.begin() as connection:
        connection.exec_driver_sql("SET LOCAL calendar_pipeline.retention = 'on'")
        with pytest.raises(IntegrityError, match="append-only"):
            connection.exec_driver_sql("UPDATE event_history SET title = 'forged'")


def test_retention_may_empty_a_month(full: Database) -> None:
    with full.begin() as connection:
        connection.exec_driver_sql("SET LOCAL calendar_pipeline.retention = 'on'")
        connection.exec_driver_sql(f"TRUNCATE event_history_{THIS_MONTH:%Y_%m}")
    assert where(full) == [("event_history_default", 2)]


def test_retention_may_delete_in_its_own_transaction_only(full: Database) -> None:
    with full.begin() as connection:
        connection.exec_driver_sql("SET LOCAL calendar_pipeline.retention = 'on'")
        connection.exec_driver_sql("DELETE FROM event_history WHERE seq = 1")
    with pytest.raises(IntegrityError, match="append-only"), full.begin() as connection:
        connection.exec_driver_sql("DELETE FROM event_history")


def test_making_a_month_leaves_no_door_open(full: Database) -> None:
    with full.begin() as connection:
        connection.execute(sa.text("SELECT event_history_prepare(CAST(:month AS date), 1)"), {"month": FAR_OFF.date()})
        with pytest.raises(IntegrityError, match="append-only"):
            connection.exec_driver_sql("DELETE FROM event_history")


def test_a_kind_of_change_that_is_none_is_refused(shared: Database) -> None:
    with shared.begin() as connection:
        record(connection, 1)
        connection.exec_driver_sql("CREATE TEMPORARY TABLE forged AS TABLE event_history")
        connection.exec_driver_sql("UPDATE forged SET seq = 2, change = 'forged'")
        with pytest.raises(IntegrityError, match="ck_event_history_change"):
            connection.exec_driver_sql("INSERT INTO event_history TABLE forged")


# -- months ------------------------------------------------------------------------------------------------


def month(at: datetime, later: int) -> str:
    first = at.year * 12 + at.month - 1 + later
    return f"event_history_{first // 12:04d}_{first % 12 + 1:02d}"


def test_this_month_and_the_next_two_are_ready_after_an_upgrade(db: Database) -> None:
    assert partitions(db) == {"event_history_default", *(month(datetime.now(UTC), later) for later in range(3))}


def test_months_are_made_over_the_turn_of_a_year_and_once(db: Database) -> None:
    before = partitions(db)
    for _ in range(2):
        migrate.prepare_history(db, now=datetime(2040, 11, 30, 23, 59, tzinfo=UTC))
    assert partitions(db) - before == {"event_history_2040_11", "event_history_2040_12", "event_history_2041_01"}


@pytest.mark.parametrize(
    ("at", "place"),
    [
        (datetime(2040, 6, 1, tzinfo=UTC), "event_history_2040_06"),
        (datetime(2040, 6, 30, 23, 59, 59, 999_999, tzinfo=UTC), "event_history_2040_06"),
        (datetime(2040, 7, 1, tzinfo=UTC), "event_history_2040_07"),
        (datetime(2040, 5, 31, 23, 59, 59, tzinfo=UTC), "event_history_default"),
    ],
    ids=["first-instant", "last-instant", "next-month", "month-before"],
)
def test_a_month_is_utcs(db: Database, at: datetime, place: str) -> None:
    with db.begin() as connection:
        connection.exec_driver_sql("SET LOCAL TIME ZONE 'Asia/Tokyo'")
        connection.execute(sa.text("SELECT event_history_prepare('2040-06-01', 2)"))
    with db.begin() as connection:
        record(connection, 1, at=at)
    assert where(db) == [(place, 1)]


def test_rows_of_a_month_without_partition_wait_in_the_default_one_and_move_over(db: Database) -> None:
    with db.begin() as connection:
        for seq, days in enumerate((0, 10, 40), start=1):
            record(connection, seq, at=FAR_OFF + timedelta(days=days))
    assert {place for place, _ in where(db)} == {"event_history_default"}
    before = rows(db, "SELECT * FROM event_history ORDER BY seq")
    with db.begin() as connection:
        connection.execute(sa.text("SELECT event_history_prepare('2040-06-01', 1)"))
    assert where(db) == [("event_history_2040_06", 1), ("event_history_2040_06", 2), ("event_history_default", 3)]
    assert rows(db, "SELECT * FROM event_history ORDER BY seq") == before


def test_a_row_written_while_its_month_is_made_is_not_lost(db: Database) -> None:
    """Copying and deleting are two statements: a row committed in between must be in both or in neither."""
    with db.engine.connect() as writing:
        record(writing, 1, at=FAR_OFF)
        making = threading.Thread(target=migrate.prepare_history, args=(db,), kwargs={"now": FAR_OFF})
        making.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'event_history_default'::regclass"
        until = time.monotonic() + 5
        while rows(db, waiting) == [(0,)] and time.monotonic() < until:
            time.sleep(0.005)
        writing.commit()
        making.join(10)
    assert where(db) == [("event_history_2040_06", 1)]


def test_months_are_made_by_many_at_once(db: Database) -> None:
    threads = [threading.Thread(target=migrate.prepare_history, args=(db,), kwargs={"now": FAR_OFF}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert {"event_history_2040_06", "event_history_2040_07", "event_history_2040_08"} <= partitions(db)


def test_a_question_about_one_month_reads_one_partition(shared: Database) -> None:
    asked = f"EXPLAIN SELECT * FROM event_history WHERE recorded_at = '{THIS_MONTH.isoformat()}'"
    plan = "\n".join(line for (line,) in rows(shared, asked))
    assert partitions(shared) & set(plan.replace("(", " ").split()) == {month(THIS_MONTH, 0)}


# -- proof -------------------------------------------------------------------------------------------------


@pytest.fixture
def proven(shared: Database) -> Database:
    """Two versions of an event whose row is the second."""
    with shared.begin() as connection:
        insert(connection, "project", id="p", name="ours")
        insert(connection, "project_counter", project_id="p", n=2)
        secret = {"client_id": "c", "client_secret": b"", "refresh_token": b"", "updated_at": THIS_MONTH}
        insert(connection, "calendar", id="c", project_id="p", platform="google", **secret)
        record(connection, 1, title="first")
        record(connection, 2, version=2)
        stamps = {"created_at": THIS_MONTH, "updated_at": THIS_MONTH}
        insert(connection, "calendar_event", id="evt_1", project_id="p", calendar_id="c", version=2, **EVENT, **stamps)
    return shared


def odd(db: Database) -> list[tuple[str, str]]:
    with db.single() as connection:
        return [(one.event_id, one.calendar_id) for one in proof.replay_differences(connection)]


def holes(db: Database) -> list[str]:
    with db.single() as connection:
        return proof.holes(connection)


def damage(db: Database, statement: str) -> None:
    """What only a superuser can do, or a slip of ours."""
    with db.begin() as connection:
        connection.exec_driver_sql("SET LOCAL calendar_pipeline.retention = 'on'")
        if statement.startswith("UPDATE event_history"):
            connection.exec_driver_sql("SET LOCAL session_replication_role = 'replica'")
        connection.exec_driver_sql(statement)


def test_a_whole_history_is_proven(proven: Database) -> None:
    assert (odd(proven), holes(proven)) == ([], [])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE calendar_event SET title = 'forged'",
        "UPDATE calendar_event SET title = NULL",
        "UPDATE calendar_event SET is_deleted = true",
        "UPDATE calendar_event SET version = 3",
        "UPDATE calendar_event SET starts_at = starts_at + interval '1 microsecond'",
        """UPDATE calendar_event SET raw = '{"id": "e1", "more": 1}'""",
        """UPDATE calendar_event SET attendees = '[{"email": null}]'""",
        "UPDATE calendar_event SET fingerprint = 'g'",
        "DELETE FROM calendar_event",
        "UPDATE event_history SET title = 'forged' WHERE seq = 2",
        "DELETE FROM event_history",
        "DELETE FROM event_history WHERE seq = 2",
    ],
)
def test_a_row_that_the_history_does_not_give_is_found(proven: Database, statement: str) -> None:
    damage(proven, statement)
    assert odd(proven) == [("evt_1", "c")]


def test_what_is_found_is_limited(proven: Database) -> None:
    damage(proven, "UPDATE calendar_event SET title = 'forged'")
    with proven.single() as connection:
        assert proof.replay_differences(connection, limit=0) == []


def test_a_deleted_calendars_history_is_no_difference(proven: Database) -> None:
    damage(proven, "DELETE FROM calendar")
    assert (odd(proven), holes(proven)) == ([], [])


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM event_history WHERE seq = 1", "p: counter 2, 1 rows, last 2, 0 doubled"),
        ("DELETE FROM event_history WHERE seq = 2", "p: counter 2, 1 rows, last 1, 0 doubled"),
        ("DELETE FROM event_history", "p: counter 2, 0 rows, last 0, 0 doubled"),
        ("UPDATE project_counter SET n = 3", "p: counter 3, 2 rows, last 2, 0 doubled"),
        ("UPDATE project_counter SET n = 1", "p: counter 1, 2 rows, last 2, 0 doubled"),
        ("UPDATE event_history SET seq = 3 WHERE seq = 1", "p: counter 2, 2 rows, last 3, 0 doubled"),
        (
            "UPDATE event_history SET seq = 2, recorded_at = recorded_at + interval '1 second' WHERE seq = 1",
            "p: counter 2, 2 rows, last 2, 1 doubled",
        ),
    ],
    ids=["first-gone", "last-gone", "all-gone", "counter-ahead", "counter-behind", "renumbered", "doubled"],
)
def test_a_hole_in_the_numbers_is_found(proven: Database, statement: str, found: str) -> None:
    damage(proven, statement)
    assert holes(proven) == [found]
