"""What happens in a calendar arrives in the history: once, in order, with what was before."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from calendar_pipeline.ingest import plan, run
from calendar_pipeline.providers.transport import Answer

WEEKLY = ["RRULE:FREQ=WEEKLY"]
TEN_WEEKS = ["RRULE:FREQ=WEEKLY;COUNT=10"]
DAILY = ["RRULE:FREQ=DAILY"]


def kinds(rows: list[Any]) -> list[tuple[str, str]]:
    return [(row["provider_event_id"], row["change"]) for row in rows]


def test_the_first_sync_records_what_is_there(bench: Any) -> None:
    single = bench.add("Single")
    series = bench.add("Weekly", start="2026-11-25T10:00", recurrence=WEEKLY)
    bench.add("Far off", start="2027-03-01T10:00")
    bench.add("Long ago", start="2026-11-01T10:00")
    outcome = bench.sync()
    assert (outcome.status, outcome.mode, outcome.why) == ("synced", "listing", "first")
    weekly = [f"{series}_2026{day}T090000Z" for day in ("1125", "1202", "1209", "1216", "1223")]
    assert sorted(bench.live()) == sorted([single, *weekly])
    history = bench.history()
    assert [(row["seq"], row["version"], row["change"]) for row in history] == [
        (seq, 1, "created") for seq in range(1, 7)
    ]
    assert {row["provider_event_id"]: row["title"] for row in history} == bench.live()
    assert all((row["changed"], row["before"]) == ([], {}) for row in history)


def test_a_first_sync_leaves_the_calendar_ready_for_the_next(bench: Any) -> None:
    bench.sync()
    row, now = bench.row, bench.clock()
    assert (row["state"], row["failures"], row["requested_gen"], row["synced_gen"]) == ("connected", 0, 1, 1)
    assert row["last_successful_sync_at"] == row["last_attempted_sync_at"] == now
    assert now < row["next_sync_at"] <= now + timedelta(minutes=30)
    assert (row["held_from"], row["held_until"]) == (now - timedelta(days=1), now + timedelta(days=36))
    assert row["sync_token"]
    assert row["lease_token"] is None
    [run] = bench.runs()
    assert (run["outcome"], run["mode"], run["why"], run["requests"], run["pages"]) == (
        "synced",
        "listing",
        "first",
        2,
        1,
    )


def test_a_sync_without_news_costs_one_request_and_four_statements_at_most(bench: Any) -> None:
    bench.add()
    bench.sync()
    bench.asked()
    before = bench.db.statements
    [outcome] = bench.tick(minutes=30)
    assert bench.asked() == {"events.list": 1}
    assert bench.db.statements - before <= 4
    assert (outcome.status, outcome.mode, outcome.why, outcome.items) == ("synced", "incremental", "changes", 0)
    assert len(bench.history()) == 1


def test_a_calendar_is_left_alone_until_it_is_due(bench: Any) -> None:
    bench.sync()
    bench.asked()
    bench.clock.now = bench.row["next_sync_at"] - timedelta(seconds=1)
    assert bench.tick() == []
    assert bench.asked() == {}
    assert len(bench.tick(seconds=1)) == 1
    assert bench.row["next_sync_at"] == bench.clock() + timedelta(minutes=30)


def test_a_turn_that_is_taken_early_is_not_taken_twice(bench: Any) -> None:
    bench.sync()
    turn = bench.row["next_sync_at"]
    bench.clock.now = turn - plan.EARLY
    assert bench.sync_all(bench.cal) == []
    assert len(bench.sync_all(bench.cal, early=plan.EARLY)) == 1
    assert bench.row["next_sync_at"] == turn + timedelta(minutes=30)


def test_a_sync_by_hand_shortly_before_a_calendars_turn_leaves_the_turn_alone(bench: Any) -> None:
    """Else it would be left alone for nearly an hour."""
    bench.sync()
    turn = bench.row["next_sync_at"]
    bench.clock.now = turn - timedelta(minutes=1)
    bench.sync()
    assert bench.row["next_sync_at"] == turn


def test_what_is_due_is_done_up_to_a_limit_and_then_there_is_nothing(bench: Any) -> None:
    others = [bench.follow() for _ in range(4)]
    done = [len(run.sync_due(bench.ingest, limit=2, threads=2)) for _ in range(4)]
    assert done == [2, 2, 1, 0]
    assert len(bench.runs()) == 1
    assert bench.rows("SELECT 1 FROM sync_run") == [{"?column?": 1}] * (1 + len(others))


def test_a_changed_event_is_recorded_with_what_was_before(bench: Any) -> None:
    event = bench.add("Before")
    bench.sync()
    bench.world.retitle_event(bench.cal.at_google, event, "After")
    [outcome] = bench.tick(minutes=30)
    assert (outcome.updated, outcome.changes) == (1, 1)
    created, updated = bench.history()
    assert (updated["change"], updated["version"], updated["title"]) == ("updated", 2, "After")
    assert updated["event_id"] == created["event_id"]
    assert updated["changed"] == ["title", "raw"]
    assert updated["before"] == {"title": "Before", "raw": {"summary": "Before"}}
    assert updated["recorded_at"] == bench.clock()
    assert updated["sync_run_id"] == bench.runs()[-1]["id"]


def test_an_event_that_was_touched_but_not_changed_is_not_recorded(bench: Any) -> None:
    event = bench.add("Same")
    bench.sync()
    bench.world.retitle_event(bench.cal.at_google, event, "Same")
    [outcome] = bench.tick(minutes=30)
    assert (outcome.items, outcome.changes) == (1, 0)
    assert bench.events()[event]["updated_at"] == bench.clock() - timedelta(minutes=30)


def test_an_answer_to_the_invitation_is_a_change(bench: Any) -> None:
    event = bench.add(attendees=["guest@example.com"], organizer="boss@example.com")
    bench.sync()
    bench.world.respond(bench.cal.at_google, event, "declined")
    bench.tick(minutes=30)
    updated = bench.history()[-1]
    assert updated["own_response"] == "declined"
    assert updated["before"]["own_response"] == "accepted"
    assert "attendees" in updated["changed"]


@pytest.mark.parametrize("tombstones", ["id", "full"])
def test_a_deleted_event_stays_as_deleted_and_comes_back_under_its_id(bench: Any, tombstones: str) -> None:
    bench.world.set_switches({"tombstones": tombstones})
    event = bench.add("Here")
    bench.sync()
    ours = bench.events()[event]["id"]
    bench.world.cancel_event(bench.cal.at_google, event)
    bench.tick(minutes=30)
    assert bench.live() == {}
    assert bench.events()[event]["title"] == "Here"
    bench.world.restore_event(bench.cal.at_google, event)
    bench.tick(minutes=30)
    assert bench.live() == {event: "Here"}
    created, deleted, restored = bench.history()
    assert {row["event_id"] for row in (created, deleted, restored)} == {ours}
    assert (deleted["change"], deleted["changed"], deleted["before"]) == (
        "deleted",
        ["is_deleted"],
        {"is_deleted": False},
    )
    assert (restored["change"], restored["version"], restored["is_deleted"]) == ("restored", 3, False)
    assert restored["before"] == {"is_deleted": True}


def test_an_event_restored_with_other_content_tells_both(bench: Any) -> None:
    event = bench.add("Old")
    bench.sync()
    bench.world.cancel_event(bench.cal.at_google, event)
    bench.tick(minutes=30)
    bench.world.restore_event(bench.cal.at_google, event)
    bench.world.retitle_event(bench.cal.at_google, event, "New")
    bench.tick(minutes=30)
    restored = bench.history()[-1]
    assert restored["changed"] == ["is_deleted", "title", "raw"]
    assert restored["before"]["title"] == "Old"


def test_an_event_moved_out_of_the_window_stays_live_with_its_new_times_and_comes_back(bench: Any) -> None:
    event = bench.add("Traveller")
    bench.add("Neighbour")
    bench.sync()
    bench.world.move_event(bench.cal.at_google, event, to="2027-06-01T10:00")
    bench.lose_token()
    outcome = bench.sync()
    assert bench.asked()["events.get"] == 1
    assert (outcome.updated, outcome.deleted) == (1, 0)
    moved = bench.events()[event]
    assert (moved["is_deleted"], moved["starts_at"]) == (False, datetime(2027, 6, 1, 8, tzinfo=UTC))
    assert bench.sync(full=True).changes == 0
    bench.world.move_event(bench.cal.at_google, event, to="2026-11-26T10:00")
    bench.tick(minutes=30)
    assert bench.events()[event]["starts_at"] == datetime(2026, 11, 26, 9, tzinfo=UTC)
    assert [change for key, change in kinds(bench.history()) if key == event] == ["created", "updated", "updated"]


@pytest.mark.parametrize("platform", ["google", "microsoft"])
@pytest.mark.parametrize("knows", [True, False], ids=["incremental", "listing"])
def test_an_event_that_is_made_to_repeat_is_its_instances_and_no_meeting_of_its_own(bench: Any, knows: bool) -> None:
    """Asked for by its id, Google shows the series, as if it were one more meeting at its first time."""
    event, neighbour = bench.add("Talk"), bench.add("Neighbour")
    bench.sync()
    bench.world.patch_event(bench.cal.there, event, {"recurrence": ["RRULE:FREQ=WEEKLY;COUNT=3"]})
    if not knows:
        bench.lose_token()
    outcome = bench.sync()
    assert (outcome.created, outcome.deleted) == (3, 1)
    assert bench.events()[event]["is_deleted"]
    assert sorted(bench.live().values()) == ["Neighbour", "Talk", "Talk", "Talk"]
    assert bench.events()[neighbour]["version"] == 1


@pytest.mark.parametrize("platform", ["google", "microsoft"])
def test_an_event_that_its_calendars_listing_does_not_name_is_gone_though_the_provider_still_has_it(bench: Any) -> None:
    """It lies among deleted items, or was moved to another calendar of the mailbox, under the same id."""
    event, neighbour = bench.add("Thrown away"), bench.add("Neighbour")
    bench.sync()

    def listing(url: str, answer: Answer) -> Answer:
        page = json.loads(answer.body)
        key = next((key for key in ("items", "value") if key in page), None)
        if key is None or "/delta" in url:
            return answer
        page[key] = [raw for raw in page[key] if raw["id"] != event]
        return replace(answer, body=json.dumps(page).encode())

    bench.transport.rewrite = listing
    bench.lose_token()
    outcome = bench.sync()
    asked = bench.asked()
    listings = asked.get("events.list", 0) + asked.get("calendarView", 0)
    assert (asked["events.get"], listings) == (2, 1 + 2), "the listing was made twice before it was believed"
    assert (outcome.deleted, set(bench.live())) == (1, {neighbour})


NOT_FOUND = b'{"error": {"errors": [{"reason": "notFound"}], "details": [{"reason": "NOT_FOUND"}]}}'
FORBIDDEN = b'{"error": {"errors": [{"reason": "forbidden"}], "code": "ErrorAccessDenied"}}'


def refuse_look_ups(bench: Any, status: int, body: bytes) -> None:
    def refused(url: str, answer: Answer) -> Answer:
        is_single = url.partition("?")[0].rpartition("/")[2] not in ("events", "calendarView", "delta", "token")
        return replace(answer, status=status, body=body) if is_single else answer

    bench.transport.rewrite = refused


@pytest.mark.parametrize("platform", ["google", "microsoft"])
@pytest.mark.parametrize("body", [b"<html>Not Found</html>", NOT_FOUND], ids=["page", "two reasons"])
def test_a_missing_event_that_is_not_found_is_gone_however_that_is_said(bench: Any, body: bytes) -> None:
    event, neighbour = bench.add("Gone"), bench.add("Neighbour")
    bench.sync()
    bench.world.delete_event(bench.cal.there, event)
    refuse_look_ups(bench, 404, body)
    bench.lose_token()
    outcome = bench.sync()
    assert (outcome.status, outcome.deleted, set(bench.live())) == ("synced", 1, {neighbour})


@pytest.mark.parametrize("platform", ["google", "microsoft"])
@pytest.mark.parametrize("status", [400, 403])
def test_a_missing_event_that_cannot_be_asked_for_is_left_alone_and_holds_up_nobody(bench: Any, status: int) -> None:
    """The calendar itself had just been listed; yet it was taken for lost, and all of its events with it."""
    event, neighbour = bench.add("Hidden"), bench.add("Neighbour")
    bench.sync()
    bench.world.delete_event(bench.cal.there, event)
    bench.world.retitle_event(bench.cal.there, neighbour, "Retitled")
    refuse_look_ups(bench, status, FORBIDDEN)
    bench.lose_token()
    outcome = bench.sync()
    assert (outcome.status, bench.live()) == ("synced", {event: "Hidden", neighbour: "Retitled"})
    assert (bench.quarantined(), bench.row["suspected_at"]) == ({event: "refused"}, None)
    bench.transport.rewrite = None
    bench.lose_token()
    assert (bench.sync().deleted, bench.quarantined()) == (1, {})


def test_an_event_moved_out_is_told_incrementally_too(bench: Any) -> None:
    event = bench.add()
    bench.sync()
    bench.world.move_event(bench.cal.at_google, event, to="2027-06-01T10:00")
    [outcome] = bench.tick(minutes=30)
    assert (outcome.mode, outcome.updated) == ("incremental", 1)
    assert bench.events()[event]["starts_at"] == datetime(2027, 6, 1, 8, tzinfo=UTC)


def test_an_event_moved_into_the_window_is_new(bench: Any) -> None:
    event = bench.add(start="2027-06-01T10:00")
    bench.sync()
    assert bench.live() == {}
    bench.world.move_event(bench.cal.at_google, event, to="2026-11-26T10:00")
    bench.tick(minutes=30)
    assert kinds(bench.history()) == [(event, "created")]


def test_a_change_outside_the_window_is_not_ours_to_keep(bench: Any) -> None:
    event = bench.add(start="2027-06-01T10:00")
    bench.sync()
    bench.world.retitle_event(bench.cal.at_google, event, "Still far off")
    [outcome] = bench.tick(minutes=30)
    assert (outcome.items, outcome.changes) == (1, 0)


@pytest.mark.parametrize("told", ["instances", "master", "both"])
def test_a_deleted_series_takes_its_instances(bench: Any, told: str) -> None:
    bench.world.set_switches({"deleted_series": told})
    series = bench.add("Daily", recurrence=DAILY)
    single = bench.add("Single")
    bench.sync()
    bench.world.cancel_event(bench.cal.at_google, series)
    bench.tick(minutes=30)
    assert bench.live() == {single: "Single"}


def test_a_deleted_series_that_is_missed_by_a_listing_costs_one_look_up(bench: Any) -> None:
    series = bench.add("Weekly", recurrence=WEEKLY)
    bench.sync()
    bench.world.cancel_event(bench.cal.at_google, series)
    bench.lose_token()
    bench.asked()
    outcome = bench.sync()
    assert bench.asked() == {"events.list": 1, "events.get": 1}
    assert outcome.deleted == 5
    assert bench.live() == {}


def test_missing_instances_of_a_living_series_cost_one_look_up_each_and_one_for_the_series(bench: Any) -> None:
    series = bench.add("Weekly", recurrence=WEEKLY)
    bench.sync()
    bench.world.move_event(bench.cal.at_google, series, by=timedelta(hours=1))
    bench.lose_token()
    bench.asked()
    outcome = bench.sync()
    assert bench.asked() == {"events.list": 1, "events.get": 6}
    assert (outcome.created, outcome.deleted) == (5, 5)


@pytest.mark.parametrize("announced", [True, False], ids=["old-ids-announced", "old-ids-silent"])
def test_a_shifted_series_leaves_no_ghosts(bench: Any, announced: bool) -> None:
    bench.world.set_switches({"old_id_tombstones": announced})
    series = bench.add("Weekly", recurrence=TEN_WEEKS)
    bench.sync()
    bench.world.move_event(bench.cal.at_google, series, by=timedelta(hours=1))
    [outcome] = bench.tick(minutes=30)
    assert (outcome.mode, outcome.why) == ("listing", "series_touched")
    oracle = bench.world.listing(bench.cal.at_google, time_min=bench.row["held_from"], time_max=bench.row["held_until"])
    assert sorted(bench.live()) == sorted(row["id"] for row in oracle)


def test_one_deleted_instance_leaves_the_others(bench: Any) -> None:
    series = bench.add("Weekly", recurrence=WEEKLY)
    bench.sync()
    before = set(bench.live())
    instance = f"{series}_20261201T140000Z"
    bench.world.cancel_event(bench.cal.at_google, instance)
    bench.tick(minutes=30)
    assert before - set(bench.live()) == {instance}


@pytest.mark.parametrize("what", ["deleted", "moved away", "awkward and deleted"])
def test_what_goes_between_the_cursors_answer_and_the_listing_that_it_leads_to_is_gone(bench: Any, what: str) -> None:
    """The listing's token is later than the step and says nothing of it; the cursor's answer is from before it."""
    event = bench.add("Single")
    series = bench.add("Weekly", start="2026-11-25T10:00", recurrence=TEN_WEEKS)
    bench.sync()
    there = bench.cal.at_google
    bench.world.retitle_event(there, event, "Single\0" if what.startswith("awkward") else "Retitled")
    bench.world.retitle_event(there, series, "Weekly, touched")
    steps: list[str] = []

    def step(url: str, answer: Answer) -> Answer:
        if "syncToken=" in url and not steps:
            steps.append(url)
            if what == "moved away":
                bench.world.move_event(there, event, by=timedelta(days=100))
            else:
                bench.world.delete_event(there, event)
        return answer

    bench.transport.rewrite = step
    outcome = bench.sync()
    assert (outcome.why, len(steps)) == ("series_touched", 1)
    if what == "moved away":
        assert bench.events()[event]["starts_at"] == datetime(2027, 3, 4, 14, tzinfo=UTC)
    else:
        assert event not in bench.live()
    before = len(bench.history())
    bench.sync(full=True)
    assert (len(bench.history()), bench.quarantined()) == (before, {})


def test_an_untouched_instance_enters_by_the_passing_of_time(bench: Any) -> None:
    series = bench.add("Weekly", recurrence=WEEKLY)
    bench.sync()
    new = f"{series}_20270105T140000Z"
    assert new not in bench.live()
    [outcome] = bench.tick(days=8)
    assert (outcome.mode, outcome.why) == ("listing", "periodic")
    assert bench.live()[new] == "Weekly"
    assert outcome.deleted == 0


def test_what_is_over_stays_as_it_was(bench: Any) -> None:
    event = bench.add("Over soon")
    bench.sync()
    bench.tick(days=8)
    assert bench.live() == {event: "Over soon"}


def test_an_all_day_event_moves_with_its_calendars_zone(bench: Any) -> None:
    event = bench.add(start="2026-11-26")
    bench.sync()
    bench.world.set_zone(bench.cal.at_google, "America/New_York")
    [outcome] = bench.tick(minutes=30)
    assert outcome.why == "zone_changed"
    assert bench.events()[event]["starts_at"] == datetime(2026, 11, 26, 5, tzinfo=UTC)
    assert bench.history()[-1]["before"]["starts_at"] == "2026-11-25T23:00:00Z"


def test_many_changes_at_once_are_listed(bench: Any) -> None:
    bench.sync()
    events = {bench.add(f"No {number}") for number in range(60)}
    [outcome] = bench.tick(minutes=30)
    assert (outcome.mode, outcome.why, outcome.created) == ("listing", "many_changes", 60)
    assert set(bench.live()) == events


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_listing_in_small_pages_is_whole(bench: Any, size: int) -> None:
    bench.world.set_switches({"page_size": size, "empty_first_page": True})
    events = {bench.add(f"No {number}") for number in range(5)}
    outcome = bench.sync()
    assert set(bench.live()) == events
    assert outcome.pages == 1 + -(-5 // size)


def test_a_listing_that_would_delete_most_is_read_twice(bench: Any) -> None:
    """An empty answer of a provider in trouble once emptied whole calendars."""
    events = {bench.add(f"No {number}") for number in range(12)}
    bench.sync()
    times = iter([1])

    def emptied(url: str, answer: Answer) -> Answer:
        if "/events?" not in url or next(times, None) is None:
            return answer
        return replace(answer, body=json.dumps({**json.loads(answer.body), "items": []}).encode())

    bench.transport.rewrite = emptied
    bench.asked()
    outcome = bench.sync(full=True)
    assert bench.asked() == {"events.list": 2}
    assert outcome.changes == 0
    assert set(bench.live()) == events


def test_a_calendar_that_was_really_emptied_is_empty_after_the_second_look(bench: Any) -> None:
    for number in range(12):
        bench.add(f"No {number}")
    bench.sync()
    for event in bench.live():
        bench.world.cancel_event(bench.cal.at_google, event)
    assert bench.sync(full=True).deleted == 12
    assert bench.live() == {}


def test_projects_count_their_history_apart(bench: Any) -> None:
    other = bench.follow()
    bench.add()
    bench.world.create_event(other.at_google, start="2026-11-24T15:00")
    bench.sync_all(bench.cal, other, regardless=True)
    found = bench.rows("SELECT seq, calendar_id FROM event_history ORDER BY seq")
    assert [row["seq"] for row in found] == [1, 2]
    assert {row["calendar_id"] for row in found} == {bench.cal.id, other.id}


def test_whoever_is_interested_is_told_of_changes_and_of_nothing_else(bench: Any) -> None:
    bench.add()
    assert bench.sync().unpublished
    bench.execute("UPDATE calendar SET unpublished = false")
    assert not bench.sync().unpublished
    bench.add()
    assert bench.sync().unpublished
    assert bench.sync().unpublished
