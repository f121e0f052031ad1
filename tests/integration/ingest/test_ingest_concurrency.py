"""Many workers, one truth: a calendar has one reader at a time, and whoever lost it writes nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from typing import Any

import pytest

from calendar_pipeline.calendars.store import secret_place
from calendar_pipeline.db.connect import Database, new_lease
from calendar_pipeline.ingest import store
from calendar_pipeline.ingest.run import sync_calendar, sync_many

ROUNDS = 50


def test_two_workers_at_one_calendar_do_its_work_once(bench: Any, database_url: str) -> None:
    event = bench.add("0")
    bench.sync()
    start = threading.Barrier(2, timeout=10)

    def work(database: Database) -> list[str]:
        start.wait()
        return [one.status for one in sync_many(replace(bench.ingest, db=database), [bench.cal.id], threads=1)]

    with Database(database_url) as one, Database(database_url) as two, ThreadPoolExecutor(2) as pool:
        for number in range(1, ROUNDS + 1):
            bench.world.retitle_event(bench.cal.at_google, event, str(number))
            bench.clock.pass_by(minutes=30)
            statuses = pool.map(work, [one, two])
            assert [*chain.from_iterable(statuses)] == ["synced"]
    history = bench.history()
    assert [row["seq"] for row in history] == [row["version"] for row in history] == list(range(1, ROUNDS + 2))
    assert [row["title"] for row in history] == [str(number) for number in range(ROUNDS + 1)]
    assert [run["outcome"] for run in bench.runs()] == ["synced"] * (ROUNDS + 1)


def test_workers_of_one_project_share_its_numbers_without_a_hole(bench: Any) -> None:
    calendars = [bench.cal, *(bench.follow() for _ in range(11))]
    for calendar in calendars:
        for number in range(3):
            bench.world.create_event(calendar.at_google, start=f"2026-11-2{number + 4}T10:00")
    outcomes = bench.sync_all(*calendars, threads=6)
    assert [one.status for one in outcomes] == ["synced"] * 12
    seqs = [row["seq"] for row in bench.rows("SELECT seq FROM event_history ORDER BY recorded_at, seq")]
    assert seqs == list(range(1, 37))


def test_a_claimed_calendar_is_left_to_its_worker(bench: Any) -> None:
    bench.execute("UPDATE calendar SET lease_token = gen_random_uuid(), lease_until = now() + interval '1 minute'")
    assert bench.sync_all(bench.cal, regardless=True) == []
    assert bench.asked() == {}


def test_a_dead_workers_calendar_is_taken_over_when_its_lease_has_run_out(bench: Any) -> None:
    bench.execute("UPDATE calendar SET lease_token = gen_random_uuid(), lease_until = now() - interval '1 second'")
    assert bench.sync().status == "synced"


def test_fault_29_of_three_workers_at_a_lease_that_runs_out_one_writes(bench: Any, database_url: str) -> None:
    """The first is slow, and two find its lease run out at once: one does the work, the others leave it."""
    bench.add("Before")
    start = threading.Barrier(2, timeout=10)
    took_over: list[str] = []

    def work(database: Database) -> list[str]:
        start.wait()
        return [one.status for one in sync_many(replace(bench.ingest, db=database), [bench.cal.id], threads=1)]

    def run_out() -> None:
        bench.execute("UPDATE calendar SET lease_until = now() - interval '1 second'")
        with Database(database_url) as one, Database(database_url) as two, ThreadPoolExecutor(2) as pool:
            took_over.extend(chain.from_iterable(pool.map(work, [one, two])))

    assert bench.sync(ingest=bench.crashing("read", run_out)).status == "stepped_aside"
    assert took_over == ["synced"]
    assert [(row["seq"], row["version"], row["change"]) for row in bench.history()] == [(1, 1, "created")]
    assert [run["outcome"] for run in bench.runs()] == ["synced"]


STEAL = "UPDATE calendar SET lease_token = gen_random_uuid() WHERE id = :cal"


@pytest.mark.parametrize("at", ["read", "granted"])
@pytest.mark.parametrize("known", [False, True], ids=["first-sync", "later-sync"])
def test_whoever_lost_the_calendar_while_reading_writes_nothing(bench: Any, at: str, known: bool) -> None:
    event = bench.add("Before")
    if known:
        bench.sync()
        bench.world.retitle_event(bench.cal.at_google, event, "After")
        bench.add("New")
        bench.clock.pass_by(hours=2)
    before, history, runs = bench.row, bench.history(), bench.runs()
    thief = bench.crashing(at, lambda: bench.execute(STEAL))
    assert bench.sync(ingest=thief).status == "stepped_aside"
    changed = {name for name, value in before.items() if bench.row[name] != value}
    assert changed <= {"lease_token", "lease_until", "access_token", "access_token_expires_at", "account"}
    assert (bench.history(), bench.runs()) == (history, runs)
    assert bench.live() == ({event: "Before"} if known else {})


def test_whoever_lost_the_calendar_does_not_keep_a_new_token(bench: Any) -> None:
    with bench.db.single() as connection:
        [claimed] = store.claim(
            connection,
            [bench.cal.id],
            regardless=True,
            lease=new_lease(),
            length=timedelta(minutes=5),
            now=bench.clock(),
        )
    bench.execute(STEAL)
    assert sync_calendar(bench.ingest, claimed).status == "stepped_aside"
    assert bench.row["access_token"] is None
    assert bench.asked() == {"token": 1}


def test_a_failure_of_whoever_lost_the_calendar_is_not_recorded(bench: Any) -> None:
    bench.sync()
    bench.world.add_fault("unavailable", endpoint="events.list")

    def stolen(url: str, answer: Any) -> Any:
        bench.execute(STEAL)
        return answer

    bench.transport.rewrite = stolen
    assert bench.sync().status == "stepped_aside"
    assert bench.row["failures"] == 0
    assert len(bench.runs()) == 1


def test_a_sync_asked_for_during_a_sync_is_due_at_once(bench: Any) -> None:
    bench.sync_all(bench.cal, ingest=bench.crashing("read", bench.patch))
    assert (bench.row["requested_gen"], bench.row["synced_gen"]) == (2, 1)
    assert bench.row["next_sync_at"] == bench.clock()
    bench.asked()
    assert [one.status for one in bench.sync_all(bench.cal)] == ["synced"]
    assert bench.asked() == {"events.list": 1}
    assert bench.row["synced_gen"] == 2
    assert bench.sync_all(bench.cal) == []


def test_a_sync_asked_for_during_one_that_fails_is_due_at_once(bench: Any) -> None:
    bench.sync()
    bench.world.add_fault("unavailable", endpoint="events.list")

    def asked(_: str, answer: Any) -> Any:
        bench.patch()
        return answer

    bench.transport.rewrite = asked
    assert bench.sync().status == "retry"
    assert bench.row["next_sync_at"] == bench.clock()


def during(bench: Any, event: str, happening: str) -> None:
    match happening:
        case "nothing":
            pass
        case "update":
            bench.world.retitle_event(bench.cal.at_google, event, "After")
        case "deletion":
            bench.world.cancel_event(bench.cal.at_google, event)
        case "creation":
            bench.add("New")
        case _:
            raise AssertionError(happening)


@pytest.mark.parametrize("happening", ["nothing", "update", "deletion", "creation"])
def test_a_calendar_that_is_deleted_during_its_sync_is_gone(bench: Any, happening: str) -> None:
    event = bench.add("Before")
    bench.sync()
    history = bench.history()
    during(bench, event, happening)
    assert bench.sync(ingest=bench.crashing("read", bench.forget)).status == "stepped_aside"
    assert bench.history() == history
    assert bench.rows("SELECT 1 FROM calendar UNION ALL SELECT 1 FROM calendar_event") == []


def test_a_calendar_that_is_deleted_during_its_first_sync_leaves_nothing(bench: Any) -> None:
    bench.add()
    assert bench.sync(ingest=bench.crashing("granted", bench.forget)).status == "stepped_aside"
    assert bench.rows("SELECT 1 FROM event_history UNION ALL SELECT 1 FROM sync_run") == []


class Killed(BaseException):
    """The process ends here."""


def kill() -> None:
    raise Killed


POINTS = ["granted", "read", "finished", "told", "deleted", "appended", "committed"]


@pytest.mark.parametrize("point", POINTS)
def test_a_sync_that_is_killed_anywhere_is_done_once_in_the_end(bench: Any, point: str) -> None:
    changed, gone = bench.add("Before"), bench.add("Gone")
    bench.sync()
    bench.clock.pass_by(hours=2)
    bench.world.retitle_event(bench.cal.at_google, changed, "After")
    bench.world.cancel_event(bench.cal.at_google, gone)
    new = bench.add("New")
    with pytest.raises(Killed):
        bench.sync(ingest=bench.crashing(point, kill, lease=timedelta()))
    bench.sync()
    assert bench.live() == {changed: "After", new: "New"}
    assert sorted((row["change"], row["version"]) for row in bench.history(since=2)) == [
        ("created", 1),
        ("deleted", 2),
        ("updated", 2),
    ]


def test_a_killed_sync_is_still_to_be_told_of(bench: Any) -> None:
    bench.add()
    bench.execute("UPDATE calendar SET unpublished = false")
    with pytest.raises(Killed):
        bench.sync(ingest=bench.crashing("committed", kill, lease=timedelta()))
    assert bench.sync().unpublished


def test_a_long_chunk_holds_on_to_its_claims(bench: Any) -> None:
    others = [bench.follow() for _ in range(2)]
    short = replace(bench.ingest, lease=timedelta(seconds=0.0001))
    assert len(bench.sync_all(bench.cal, *others, regardless=True, ingest=short)) == 3


def test_a_calendar_lost_while_its_neighbour_was_read_is_passed_over(bench: Any) -> None:
    other = bench.follow()

    def lose_the_rest() -> None:
        bench.execute("UPDATE calendar SET lease_token = gen_random_uuid() WHERE lease_token IS NOT NULL")

    slow = bench.crashing("committed", lose_the_rest, lease=timedelta(microseconds=1))
    outcomes = bench.sync_all(bench.cal, other, regardless=True, ingest=slow)
    assert [one.status for one in outcomes] == ["synced"]
    assert bench.asked() == {"token": 1, "events.list": 1}


def test_credentials_given_during_a_refresh_are_not_overwritten_by_what_the_old_ones_rotated_to(bench: Any) -> None:
    """The user reconnected while a worker was asking for a token: the worker's answer belongs to the old grant."""
    bench.world.set_switches({"rotate_refresh_tokens": True})
    bench.sync()
    bench.clock.pass_by(hours=2)
    given = bench.world.issue_refresh_token(bench.cal.google.account)

    def reconnected(url: str, answer: Any) -> Any:
        if url.endswith("/token"):
            bench.transport.rewrite = None
            bench.patch(refresh_token=given)
        return answer

    bench.transport.rewrite = reconnected
    assert bench.sync().status == "stepped_aside"
    stored = bench.row["refresh_token"]
    assert bench.keyring.open(stored, secret_place("refresh_token", bench.cal.id, bench.project)) == given
    assert bench.row["lease_token"] is None  # so it is tried again at once
    assert [one.status for one in bench.sync_all(bench.cal)] == ["synced"]


def test_a_user_who_reconnects_while_the_old_grant_is_refused_is_not_disconnected(bench: Any) -> None:
    bench.sync()
    bench.world.revoke(bench.cal.google.refresh_token)
    bench.clock.pass_by(hours=2)
    given = bench.world.issue_refresh_token(bench.cal.google.account)

    def reconnected(url: str, answer: Any) -> Any:
        if url.endswith("/token"):
            bench.transport.rewrite = None
            bench.patch(refresh_token=given)
        return answer

    bench.transport.rewrite = reconnected
    assert bench.sync().status == "stepped_aside"
    assert bench.row["state"] == "connected"
    assert [one.status for one in bench.sync_all(bench.cal)] == ["synced"]


def test_calendars_of_one_account_are_worked_on_by_three_workers_at_most(bench: Any) -> None:
    """Providers limit what is asked at once for a mailbox, and workers of other processes do not see each other."""
    mine = [bench.follow(account="busy@example.com") for _ in range(5)]
    bench.sync_all(*mine, regardless=True)
    bench.execute("UPDATE calendar SET account = 'busy' WHERE id <> :cal")
    bench.clock.pass_by(minutes=30)
    with bench.db.single() as connection:
        claims = [
            store.claim(
                connection,
                [one.id],
                regardless=False,
                lease=new_lease(),
                length=timedelta(minutes=5),
                now=bench.clock(),
            )
            for one in mine
        ]
        assert [len(claimed) for claimed in claims] == [1, 1, 1, 0, 0]
        store.release(connection, claims[0][0])
    assert len(bench.sync_all(*mine)) == 3  # one worker takes all that are free: it asks for one at a time
