"""Whatever the provider answers: nothing is lost, nothing is half written, and nobody is asked in a loop."""

import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from calendar_pipeline.providers.google.client import GoogleCalendar
from calendar_pipeline.providers.pages import MAX_EMPTY_PAGES
from calendar_pipeline.providers.transport import Transport

KEPT = ("sync_token", "held_from", "held_until", "relist_at", "last_successful_sync_at", "synced_gen", "state")


def fails(bench: Any, *, status: str, code: str) -> Any:
    """The next sync fails like this, and leaves everything as it was but for the attempt; the calendar's row."""
    before, events, history = bench.row, bench.events(), bench.history()
    [outcome] = bench.tick(minutes=30)
    assert (outcome.status, outcome.code) == (status, code)
    after = bench.row
    assert [after[name] for name in KEPT] == [before[name] for name in KEPT]
    assert (bench.events(), bench.history()) == (events, history)
    assert after["failures"] == before["failures"] + 1
    assert after["last_attempted_sync_at"] == bench.clock()
    assert after["lease_token"] is None
    run = bench.runs()[-1]
    assert (run["outcome"], run["error_code"]) == (status, code)
    return after


@pytest.fixture
def synced(bench: Any) -> Any:
    """A calendar that was synced, with a change to come."""
    event = bench.add("Before")
    bench.sync()
    bench.world.retitle_event(bench.cal.at_google, event, "After")
    return bench


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("server_error", "internalError"),
        ("bad_gateway", "backendError"),
        ("unavailable", "backendError"),
        ("gateway_timeout", "backendError"),
        ("html_bad_gateway", "http_502"),
        ("html_ok", "not_json"),
        ("truncated", "not_json"),
        ("reset", "connection_broken"),
        ("lost_answer", "connection_broken"),
        ("rate_limit", "RATE_LIMIT_EXCEEDED"),
        ("user_rate_limit", "RATE_LIMIT_EXCEEDED"),
        ("too_many_requests", "RATE_LIMIT_EXCEEDED"),
        ("quota_exceeded", "QUOTA_EXCEEDED"),
    ],
)
def test_a_passing_trouble_changes_nothing_and_is_tried_again(synced: Any, fault: str, code: str) -> None:
    struck = synced.world.add_fault(fault, endpoint="events.list", times=None)
    row = fails(synced, status="retry", code=code)
    assert row["next_sync_at"] > synced.clock()
    synced.world.clear_faults(struck.id)
    synced.clock.now = row["next_sync_at"]
    [outcome] = synced.sync_all(synced.cal)
    assert (outcome.status, outcome.updated) == ("synced", 1)
    assert synced.row["failures"] == 0


def test_a_connection_that_breaks_once_is_no_failure(synced: Any) -> None:
    synced.world.add_fault("reset", endpoint="events.list", times=1)
    [outcome] = synced.tick(minutes=30)
    assert (outcome.status, outcome.updated) == ("synced", 1)


@pytest.mark.parametrize(
    ("fault", "code"), [("daily_limit", "QUOTA_EXCEEDED"), ("access_not_configured", "SERVICE_DISABLED")]
)
def test_what_the_operator_must_mend_disconnects_nobody(synced: Any, fault: str, code: str) -> None:
    synced.world.add_fault(fault, endpoint="events.list")
    row = fails(synced, status="operator", code=code)
    assert row["next_sync_at"] == synced.clock() + timedelta(minutes=30)


def test_an_answer_that_should_not_exist_is_loud_and_not_tried_in_a_loop(synced: Any) -> None:
    synced.world.add_fault("gone", endpoint="events.list")
    synced.world.add_fault("no_tokens", endpoint="events.list", times=None)
    row = fails(synced, status="bug", code="page_without_token")
    assert row["next_sync_at"] == synced.clock() + timedelta(minutes=30)


def test_endless_pages_come_to_an_end(synced: Any) -> None:
    synced.world.add_fault("empty_pages", endpoint="events.list", times=None)
    synced.asked()
    fails(synced, status="retry", code="endless_pages")
    assert synced.asked() == {"events.list": MAX_EMPTY_PAGES + 2}


@pytest.mark.parametrize("fault", ["gone", "gone_without_reason", "bad_sync_token"])
def test_a_refused_cursor_leads_to_one_listing_and_no_repeated_history(bench: Any, fault: str) -> None:
    events = {bench.add(f"No {number}") for number in range(3)}
    bench.sync()
    old = bench.row["sync_token"]
    bench.world.add_fault(fault, endpoint="events.list")
    bench.asked()
    [outcome] = bench.tick(minutes=30)
    assert (outcome.status, outcome.mode, outcome.why) == ("synced", "listing", "cursor_expired")
    assert bench.asked() == {"events.list": 2}
    assert (outcome.changes, set(bench.live()), len(bench.history())) == (0, events, 3)
    assert bench.row["sync_token"] != old
    assert bench.tick(minutes=30)[0].mode == "incremental"


def test_what_changed_while_the_cursor_was_dead_is_found(bench: Any) -> None:
    kept, gone = bench.add("Kept"), bench.add("Gone")
    bench.sync()
    bench.world.cancel_event(bench.cal.at_google, gone)
    new = bench.add("New")
    bench.world.change_access(bench.cal.at_google)
    [outcome] = bench.tick(minutes=30)
    assert (outcome.created, outcome.deleted) == (1, 1)
    assert set(bench.live()) == {kept, new}


def test_400_to_a_listing_is_our_bug_and_disconnects_nobody(bench: Any) -> None:
    bench.world.add_fault("bad_request", endpoint="events.list", times=None)
    outcome = bench.sync()
    assert (outcome.status, outcome.code) == ("bug", "badRequest")
    assert bench.row["state"] == "connected"


@pytest.mark.parametrize("fault", ["too_many_requests", "rate_limit", "unavailable"])
def test_retry_after_is_honoured(synced: Any, fault: str) -> None:
    synced.world.add_fault(fault, endpoint="events.list", retry_after=1200)
    [outcome] = synced.tick(minutes=30)
    assert outcome.status == "retry"
    assert synced.row["next_sync_at"] == synced.clock() + timedelta(seconds=1200)
    assert synced.tick(minutes=19) == []
    assert len(synced.tick(minutes=1)) == 1


def test_failures_in_a_row_are_spaced_out(bench: Any) -> None:
    bench.world.add_fault("unavailable", endpoint="events.list", times=None)
    waits: list[timedelta] = []
    for _ in range(8):
        bench.sync()
        waits.append(bench.row["next_sync_at"] - bench.clock())
    assert timedelta(seconds=45) <= waits[0] <= timedelta(seconds=75)
    assert all(later > earlier for earlier, later in pairwise(waits[:5]))
    assert max(waits) <= timedelta(minutes=37, seconds=30)


def test_one_calendars_trouble_is_not_anothers(bench: Any) -> None:
    others = [bench.follow() for _ in range(3)]
    bench.world.add_fault("rate_limit", endpoint="events.list", calendar_id=bench.cal.at_google, times=None)
    outcomes = bench.sync_all(bench.cal, *others, threads=2)
    assert {one.calendar_id: one.status for one in outcomes} == {
        bench.cal.id: "retry",
        **{other.id: "synced" for other in others},
    }


def test_a_provider_that_takes_too_long_is_left_alone(bench: Any, google: GoogleCalendar) -> None:
    bench.sync()
    bench.world.add_fault("slow", endpoint="events.list", seconds=0.15)
    impatient = Transport(timeout=0.05)
    hasty = GoogleCalendar(
        impatient, api_base_url=bench.world.base_url + "/google", token_url="http://127.0.0.1:9/", clock=bench.clock
    )
    outcome = bench.sync(ingest=dataclasses.replace(bench.ingest, providers={"google": hasty}))
    impatient.close()
    assert (outcome.status, outcome.code) == ("retry", "timeout")


def test_a_provider_that_is_not_there_is_tried_later(bench: Any) -> None:
    nowhere = Transport(timeout=1)
    absent = GoogleCalendar(
        nowhere, api_base_url="http://127.0.0.1:9", token_url="http://127.0.0.1:9/token", clock=bench.clock
    )
    outcome = bench.sync(ingest=dataclasses.replace(bench.ingest, providers={"google": absent}))
    nowhere.close()
    assert (outcome.status, outcome.code) == ("retry", "unreachable")


def listing(make: Callable[[dict[str, Any]], object]) -> Callable[[str, Any], Any]:
    def rewrite(url: str, answer: Any) -> Any:
        if "/events?" not in url:
            return answer
        made = make(json.loads(answer.body))
        return dataclasses.replace(answer, body=made if isinstance(made, bytes) else json.dumps(made).encode())

    return rewrite


@pytest.mark.parametrize(
    ("make", "status", "code"),
    [
        pytest.param(lambda _: b"\xff\xfe{}", "retry", "not_json", id="not-utf-8"),
        pytest.param(lambda _: b"[" * 100_000, "retry", "not_json", id="bottomless"),
        pytest.param(lambda _: b'{"items":[' + b"9" * 5000 + b"]}", "retry", "not_json", id="number-without-end"),
        pytest.param(lambda _: [], "retry", "not_json", id="a-list"),
        pytest.param(lambda _: None, "retry", "not_json", id="null"),
        pytest.param(lambda _: b"", "retry", "not_json", id="empty"),
        pytest.param(lambda page: {**page, "items": "many"}, "bug", "items_not_a_list", id="items-a-text"),
        pytest.param(lambda page: {**page, "items": None}, "bug", "items_not_a_list", id="items-null"),
        pytest.param(lambda page: {**page, "nextPageToken": "p"}, "bug", "page_without_token", id="both-tokens"),
        pytest.param(lambda _: {}, "bug", "page_without_token", id="empty-object"),
    ],
)
def test_an_odd_answer_is_an_error_and_never_an_empty_calendar(
    synced: Any, make: Callable[[dict[str, Any]], object], status: str, code: str
) -> None:
    synced.transport.rewrite = listing(make)
    fails(synced, status=status, code=code)


def test_items_that_are_no_objects_are_passed_over(synced: Any) -> None:
    synced.transport.rewrite = listing(lambda page: {**page, "items": [1, None, "x", *page["items"]]})
    [outcome] = synced.tick(minutes=30)
    assert (outcome.status, outcome.updated) == ("synced", 1)


def test_a_listing_that_google_forgets_half_way_is_begun_anew(bench: Any) -> None:
    """Regression: a page token refused in the middle of a listing was our bug, and the calendar rested half an hour."""
    events = {bench.add(f"No {number}") for number in range(3)}
    bench.world.set_switches({"page_size": 1})
    refused: list[str] = []

    def forget(url: str, answer: Any) -> Any:
        if "pageToken=" in url and not refused:
            refused.append(url)
            return dataclasses.replace(answer, status=400, body=BAD_PAGE_TOKEN)
        return answer

    bench.transport.rewrite = forget
    outcome = bench.sync()
    assert (outcome.status, outcome.created, outcome.mode) == ("synced", 3, "listing")
    assert set(bench.live()) == events


BAD_PAGE_TOKEN = b"""{"error": {"code": 400, "message": "Invalid page token value.", "errors": [
    {"message": "Invalid page token value.", "domain": "global", "reason": "invalid",
     "locationType": "parameter", "location": "pageToken"}]}}"""


def test_a_listing_that_is_always_forgotten_is_left_for_later_with_the_cursor_as_it_was(synced: Any) -> None:
    synced.add("Two")
    synced.world.set_switches({"page_size": 1})
    synced.world.add_fault("gone", endpoint="events.list")

    def forget(url: str, answer: Any) -> Any:
        return dataclasses.replace(answer, status=400, body=BAD_PAGE_TOKEN) if "pageToken=" in url else answer

    synced.transport.rewrite = forget
    row = fails(synced, status="retry", code="page_refused:invalid")
    assert row["next_sync_at"] < synced.clock() + timedelta(minutes=2)
    synced.transport.rewrite = None
    synced.clock.now = row["next_sync_at"]
    [outcome] = synced.sync_all(synced.cal)
    assert (outcome.status, outcome.created, outcome.updated) == ("synced", 1, 1)
