"""What analysts read: versions with their time, states as of an instant, meetings, days and syncs."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from calendar_pipeline.db import migrate
from calendar_pipeline.db.analysts import VIEWS, make
from calendar_pipeline.db.analysts import role as roles
from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import metadata
from calendar_pipeline.errors import SetupError

MONDAY = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def as_of(record: Any, instant: datetime, where: str = "true") -> dict[str, int]:
    """Versions by event."""
    return dict(
        record.rows(f"SELECT event_id, version FROM event_as_of(:at) WHERE {where} ORDER BY event_id", at=instant)
    )


def by_validity(record: Any, instant: datetime) -> dict[str, int]:
    """The same by `event_version`."""
    return dict(
        record.rows(
            "SELECT event_id, version FROM event_version WHERE valid_from <= :at AND (valid_to > :at OR valid_to IS "
            "NULL) AND NOT is_deleted ORDER BY event_id",
            at=instant,
        )
    )


def test_a_version_holds_until_the_next(record: Any) -> None:
    record.calendar("c")
    for hour in range(3):
        record.write("evt_1", at=MONDAY + hour * HOUR)
    found = record.rows("SELECT version, valid_from, valid_to FROM event_version ORDER BY version")
    assert found == [
        (1, MONDAY, MONDAY + HOUR),
        (2, MONDAY + HOUR, MONDAY + 2 * HOUR),
        (3, MONDAY + 2 * HOUR, None),
    ]


def test_both_ways_to_ask_for_an_instant_agree_at_every_instant(record: Any) -> None:
    """Also where a worker's clock went back: of what was recorded by then, the highest version holds."""
    record.calendar("c")
    for minute, event in ((0, "a"), (5, "a"), (3, "a"), (9, "a"), (1, "b"), (40, "b"), (2, "d")):
        record.write(event, at=MONDAY + timedelta(minutes=minute))
    record.write("b", at=MONDAY + timedelta(days=40), change="deleted")
    record.write("b", at=MONDAY + timedelta(days=41), change="restored")
    for minutes in (-1, 0, 1, 2, 3, 4, 5, 9, 40, 41, 40 * 1440, 41 * 1440, 99 * 1440):
        instant = MONDAY + timedelta(minutes=minutes)
        assert as_of(record, instant) == by_validity(record, instant), minutes
    assert as_of(record, MONDAY + timedelta(minutes=4)) == {"a": 3, "b": 1, "d": 1}
    assert as_of(record, MONDAY + timedelta(days=40, hours=1)) == {"a": 4, "d": 1}
    assert as_of(record, MONDAY - HOUR) == {}


def test_a_state_is_made_of_the_versions_themselves_column_by_column(record: Any) -> None:
    record.calendar("c")
    record.write("a", at=MONDAY, location="Room 1", meeting_link="https://x", before={"title": "was"})
    asked = "SELECT to_jsonb(v) FROM {} AS v"
    assert record.rows(asked.format("event_as_of(now())")) == record.rows(asked.format("event_history"))


def test_counting_a_state_reads_an_index_and_fetches_no_version(record: Any) -> None:
    counted = "EXPLAIN (FORMAT JSON) SELECT count(*) FROM event_as_of('2026-02-01') WHERE project_id = 'p'"
    titled = counted.replace("count(*)", "min(title)")
    with record.db.single() as connection:
        plans = [connection.exec_driver_sql(query).scalar_one()[0]["Plan"] for query in (counted, titled)]
    fetched = [any(node.get("Alias", "").startswith("h") for node in _nodes(plan)) for plan in plans]
    assert fetched == [False, True]


def test_a_deleted_calendars_events_are_still_there_as_of_before(record: Any) -> None:
    record.calendar("c")
    record.write("a", at=MONDAY)
    with record.db.begin() as connection:
        connection.exec_driver_sql("DELETE FROM calendar")
    assert as_of(record, MONDAY) == {"a": 1}


@pytest.mark.parametrize("where", ["calendar_id = 'c7'", "calendar_id = 'c7' AND project_id = 'p'"])
@pytest.mark.parametrize("source", ["event_as_of('2026-02-10')", "event_version"])
def test_one_calendars_state_is_read_by_index(record: Any, where: str, source: str) -> None:
    """No partition is read whole, and no other calendar's rows."""
    for calendar in range(12):
        record.calendar(f"c{calendar}")
    with record.db.begin() as connection:
        record.write("seed", calendar="c7", at=MONDAY)
        names = [c.name for c in metadata.tables["event_history"].columns]
        skipped = ("seq", "event_id", "calendar_id", "recorded_at")
        rest = ", ".join(name for name in names if name not in skipped)
        connection.exec_driver_sql(
            f"INSERT INTO event_history (seq, event_id, calendar_id, recorded_at, {rest}) "
            "SELECT 1 + n, 'e' || n, 'c' || n %% 12, recorded_at + n * interval '4 minutes', "
            f"{rest} FROM event_history, generate_series(1, 20000) AS n"
        )
    with record.db.single() as connection:
        connection.exec_driver_sql("VACUUM ANALYZE event_history")
        plan = connection.exec_driver_sql(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT count(*), min(title) FROM {source} WHERE {where}"
        ).scalar_one()[0]["Plan"]
    nodes = list(_nodes(plan))
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan" and node["Actual Rows"] > 100]
    read = [node for node in nodes if "Index" in node["Node Type"] and "Bitmap Heap" not in node["Node Type"]]
    assert read
    most = max(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in read)
    assert most <= 1700  # a twelfth of the rows


def _nodes(plan: Any) -> Any:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


def test_a_meeting_of_three_calendars_is_one_meeting(record: Any) -> None:
    for calendar in ("c", "d", "e"):
        record.calendar(calendar)
    for number, calendar in enumerate(("c", "d", "e")):
        answer = ("accepted", "declined", "organizer")[number]
        record.write(
            f"evt_{number}", calendar=calendar, at=MONDAY, ical_uid="same", own_response=answer,
            attendees=[{"email": f"{n}@x"} for n in range(number)],
        )  # fmt: skip
    record.write("other", at=MONDAY)
    found = record.one("SELECT * FROM meeting WHERE ical_uid = 'same'")
    assert (found["calendars"], found["calendar_ids"]) == (3, ["c", "d", "e"])
    assert (found["accepted"], found["declined"], found["attendees"]) == (2, 1, 2)
    assert found["copies_agree"]
    assert len(record.rows("SELECT * FROM meeting")) == 2


def test_copies_that_differ_in_time_are_told(record: Any) -> None:
    for calendar in ("c", "d"):
        record.calendar(calendar)
        moved = {"original_starts_at": MONDAY, "ical_uid": "same"}
        record.write(f"evt_{calendar}", calendar=calendar, at=MONDAY, **moved)
    record.write("evt_d", calendar="d", at=MONDAY + HOUR, starts_at=MONDAY + HOUR, **moved)
    found = record.one("SELECT * FROM meeting")
    assert (found["copies_agree"], found["starts_at"], found["versions"]) == (False, MONDAY + HOUR, 2)


def test_copies_of_a_single_meeting_are_one_wherever_each_was_moved(record: Any) -> None:
    for calendar in ("c", "d"):
        record.calendar(calendar)
        record.write(f"evt_{calendar}", calendar=calendar, at=MONDAY, ical_uid="same")
    record.write("evt_d", calendar="d", at=MONDAY + HOUR, starts_at=MONDAY + HOUR, ical_uid="same")
    found = record.one("SELECT * FROM meeting")
    assert (found["calendars"], found["copies_agree"], found["occurrence_at"]) == (2, False, None)


def test_an_occurrence_without_its_series_is_the_same_meeting(record: Any) -> None:
    for calendar in ("c", "d"):
        record.calendar(calendar)
    series = {"ical_uid": "same", "series_id": "s", "calendar": "c", "at": MONDAY}
    for day in range(2):
        start = MONDAY + timedelta(days=day)
        record.write(f"evt_{day}", starts_at=start, original_starts_at=start, **series)
    record.write("alone", calendar="d", at=MONDAY, ical_uid="same", starts_at=MONDAY + timedelta(days=1))
    assert record.rows("SELECT occurrence_at, calendars FROM meeting ORDER BY 1") == [
        (MONDAY, 1),
        (MONDAY + timedelta(days=1), 2),
    ]


def test_a_day_is_the_calendars_and_overlaps_count_once(record: Any) -> None:
    record.calendar("c", zone="Asia/Tokyo")  # nine hours ahead of UTC
    at = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)  # 23:30 in Tokyo
    record.write("night", at=MONDAY, starts_at=at, minutes=60)
    record.write("same", at=MONDAY, starts_at=at, minutes=30)
    record.write("free", at=MONDAY, starts_at=at, minutes=30, is_busy=False, meeting_link="https://x")
    record.write("no", at=MONDAY, starts_at=at, minutes=30, own_response="declined")
    record.write("holiday", at=MONDAY, starts_at=at - timedelta(hours=23.5), minutes=1440, start_date="2026-01-05")
    days = record.rows(
        "SELECT day::text, weekday, meetings, meeting_minutes, busy_minutes, overlap_minutes, with_link, all_day "
        "FROM calendar_day ORDER BY day"
    )
    assert days == [("2026-01-05", 1, 3, 90, 30, 30, 1, 1), ("2026-01-06", 2, 1, 30, 30, 0, 0, 0)]


def test_an_event_without_end_is_counted_as_far_as_its_calendar_is_held(record: Any) -> None:
    """To the year 9999 it would be three million days, and a file for each of its months in an export."""
    record.calendar("c", zone="Europe/Berlin")
    record.execute("UPDATE calendar SET held_until = :until", until=MONDAY + timedelta(days=36))
    forever = int((datetime(9999, 12, 31, tzinfo=UTC) - datetime(1900, 1, 1, tzinfo=UTC)).total_seconds()) // 60
    record.write("forever", at=MONDAY, starts_at=datetime(1900, 1, 1, tzinfo=UTC), minutes=forever)
    [days] = record.rows("SELECT min(day)::text, max(day)::text, count(*), max(busy_minutes) FROM calendar_day")
    assert days == ("2025-01-05", "2026-02-10", 402, 25 * 60)  # with an hour that comes twice


def test_a_day_of_a_clock_change_has_its_real_length(record: Any) -> None:
    record.calendar("c", zone="Europe/Berlin")
    record.write("all", at=MONDAY, starts_at=datetime(2026, 3, 28, 23, 0, tzinfo=UTC), minutes=23 * 60)
    [day] = record.rows("SELECT day::text, busy_minutes FROM calendar_day")
    assert day == ("2026-03-29", 23 * 60)


def sync(record: Any, at: datetime, *, seconds: int = 2, outcome: str = "synced", **numbers: Any) -> None:
    given = {
        "project_id": "p", "calendar_id": "c", "started_at": at, "finished_at": at + timedelta(seconds=seconds),
        "outcome": outcome, "mode": "incremental",
        **dict.fromkeys(("requests", "response_bytes", "pages", "items", "created", "updated", "deleted", "restored",
                         "quarantined"), 0),
        **numbers,
    }  # fmt: skip
    with record.db.begin() as connection:
        names = ", ".join(given)
        values = ", ".join(f":{name}" for name in given)
        connection.execute(sa.text(f"INSERT INTO sync_run ({names}) VALUES ({values})"), given)


def test_syncs_are_summed_up_by_day_with_the_longest_gap(record: Any) -> None:
    sync(record, MONDAY - timedelta(days=1))
    sync(record, MONDAY, requests=2, created=3)
    sync(record, MONDAY + HOUR, outcome="retry", error_code="http_503", requests=1)
    sync(record, MONDAY + 2 * HOUR, seconds=4, requests=1, drift=1, mode="listing")
    found = record.one("SELECT * FROM sync_quality WHERE day = '2026-01-05'")
    assert (found["syncs"], found["synced"], found["failed"], found["last_error"]) == (3, 2, 1, "http_503")
    assert (found["requests"], found["changes"], found["drift"], found["listings"]) == (4, 3, 1, 1)
    assert found["longest_gap"] == timedelta(days=1)
    assert (found["median_seconds"], found["last_synced_at"]) == (2, MONDAY + 2 * HOUR + timedelta(seconds=4))


def test_one_projects_webhooks_are_found_without_a_look_at_the_others(record: Any) -> None:
    """Attempts have no project of their own: they are found by their deliveries, and these by the project."""
    plan = "\n".join(row for (row,) in record.rows("EXPLAIN SELECT * FROM webhook_quality WHERE project_id = 'p'"))
    assert len(re.findall(r"project_id = 'p'", plan)) == 2, plan


# -- explained ---------------------------------------------------------------------------------------------


def test_every_column_an_analyst_reads_is_explained_in_the_database(db: Database) -> None:
    readable = (*roles.READABLE, *(view.name for view in VIEWS))
    with db.single() as connection:
        silent = connection.execute(
            sa.text(
                "SELECT attrelid::regclass::text, attname FROM pg_attribute WHERE attrelid = ANY(CAST(:of AS "
                "regclass[])) AND attnum > 0 AND NOT attisdropped AND col_description(attrelid, attnum) IS NULL"
            ),
            {"of": list(readable)},
        ).all()
        unexplained = connection.execute(
            sa.text("SELECT n FROM unnest(CAST(:of AS text[])) AS n WHERE obj_description(n::regclass) IS NULL"),
            {"of": list(readable)},
        ).all()
    assert silent == []
    assert unexplained == []


def test_a_changed_view_is_made_anew_and_an_unchanged_one_left_alone(db: Database) -> None:
    def born() -> dict[str, int]:
        with db.single() as connection:
            return dict(connection.execute(sa.text("SELECT relname, oid::int FROM pg_class WHERE relkind = 'v'")).all())

    before = born()
    with db.begin() as connection:
        connection.exec_driver_sql("UPDATE analyst_view SET digest = 'old' WHERE name = 'meeting'")
        connection.exec_driver_sql("DROP VIEW meeting")
        connection.exec_driver_sql("CREATE VIEW meeting AS SELECT 1 AS other")
        connection.exec_driver_sql("DROP VIEW calendar_day")
        connection.exec_driver_sql("COMMENT ON COLUMN event_history.seq IS NULL")
    migrate.upgrade(db)
    after = born()
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == {"meeting", "calendar_day"}
    with db.single() as connection:
        assert connection.execute(sa.text("SELECT count(calendar_ids) FROM meeting")).scalar_one() == 0
        comments = connection.execute(
            sa.text("SELECT col_description('event_history'::regclass, 2), obj_description('calendar_day'::regclass)")
        ).one()
    assert comments == ("dense per project, in commit order", VIEWS[2].comment)


def test_an_upgrade_that_changes_nothing_writes_no_comment(db: Database) -> None:
    with db.begin() as connection:
        before = db.statements
        make.everything(connection)
        assert db.statements - before == 2


# -- the analysts' role ------------------------------------------------------------------------------------


def test_an_analyst_reads_the_history_and_no_secret_and_cannot_write(record: Any) -> None:
    role = f"analyst_{abs(hash(record.db.url)) % 10**8}"
    record.calendar("c")
    record.write("a", at=MONDAY)
    with record.db.begin() as connection:
        assert roles.make(connection, role)
        assert not roles.make(connection, role)
    try:
        for question in (
            *(f"SELECT * FROM {name}" for name in (*roles.READABLE, *(view.name for view in VIEWS))),
            "SELECT * FROM event_as_of(now())",
            "SELECT id, state, last_successful_sync_at FROM calendar",
        ):
            with record.db.engine.connect() as connection:
                connection.exec_driver_sql(f"SET ROLE {role}")
                connection.exec_driver_sql(question)
        closed = (
            "SELECT refresh_token FROM calendar", "SELECT sync_token FROM calendar", "SELECT * FROM calendar",
            "SELECT * FROM api_key", "SELECT * FROM webhook_secret", "SELECT secret FROM webhook_subscription",
            "SELECT body FROM webhook_delivery", "SELECT settings FROM bot", "SELECT * FROM erasure",
            "INSERT INTO project (id, name) VALUES ('x', 'x')", "DELETE FROM calendar_event",
            "CREATE TABLE mine (id int)",
        )  # fmt: skip
        for statement in closed:
            with record.db.engine.connect() as connection:
                connection.exec_driver_sql(f"SET ROLE {role}")
                with pytest.raises(ProgrammingError, match="permission denied"):
                    connection.exec_driver_sql(statement)
        configured = record.rows("SELECT rolconfig FROM pg_roles WHERE rolname = :role", role=role)
        assert configured == [(["default_transaction_read_only=on", "statement_timeout=300s"],)]
    finally:
        with record.db.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {role}")
            connection.exec_driver_sql(f"DROP ROLE {role}")


def test_an_analyst_may_read_what_is_granted_and_nothing_of_it_is_sealed(record: Any) -> None:
    """Whatever is granted, by whatever way: told by PostgreSQL, column by column."""
    role = f"granted_{abs(hash(record.db.url)) % 10**8}"
    with record.db.engine.connect() as connection:  # rolled back: a role would outlive the test's database
        roles.make(connection, role)
        granted = connection.execute(
            sa.text(
                "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
                "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm') AND a.attnum > 0 "
                "AND NOT a.attisdropped AND has_column_privilege(:role, c.oid, a.attnum, 'SELECT')"
            ),
            {"role": role},
        ).all()
        may_write = connection.execute(
            sa.text(
                "SELECT count(*) FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', "
                "'v') AND has_table_privilege(:role, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')"
            ),
            {"role": role},
        ).scalar_one()
        connection.rollback()
    whole = {*roles.READABLE, *(view.name for view in VIEWS)}
    assert {name for name, _ in granted} == whole | {"calendar"}
    assert {column for name, column in granted if name == "calendar"} == set(roles.CALENDAR_COLUMNS)
    assert may_write == 0
    for name, column in granted:
        if name in metadata.tables:
            told = metadata.tables[name].c[column]
            assert not (told.comment or "").startswith("sealed"), f"{name}.{column}"
            assert not re.search("(secret|token|hash|password)$", column), f"{name}.{column}"


def test_a_superuser_is_not_made_an_analyst(db: Database) -> None:
    with pytest.raises(SetupError, match="superuser"), db.begin() as connection:
        roles.make(connection, "postgres")


def test_the_guide_explains_every_view() -> None:
    text = (Path(__file__).parents[3] / "docs/analyse.md").read_text()
    for view in VIEWS:
        assert re.search(rf"(?m)^\| `{view.name}` ", text), view.name
