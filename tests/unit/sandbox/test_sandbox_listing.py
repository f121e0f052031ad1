"""events.list without HTTP: windows, pages, sync tokens, tombstones."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.google import mask
from sandbox.google.errors import GoogleError
from sandbox.google.listing import Listing
from sandbox.google.query import read
from sandbox.world import World

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
ME = "a@example.com"
WINDOW = {"singleEvents": "true", "timeMin": "2026-11-20T00:00:00Z", "timeMax": "2026-12-20T00:00:00Z"}


@pytest.fixture
def world() -> World:
    made = World(clock=lambda: NOW)
    made.create_calendar(account=ME)
    made.set_switches({"tombstones": "id"})
    return made


def page(world: World, **query: str) -> dict[str, Any]:
    calendar, switches = world.calendar(ME), world.google_switches(ME)
    asked = read(list(query.items()), switches)
    return Listing(calendar, asked, switches, now=world.now(), epoch=world.state.epoch).page()


def round_of(world: World, **query: str) -> tuple[list[dict[str, Any]], str]:
    """All pages, and the sync token."""
    told = page(world, **query)
    items = list(told["items"])
    while "nextPageToken" in told:
        assert "nextSyncToken" not in told
        told = page(world, **query, pageToken=told["nextPageToken"])
        items += told["items"]
    return items, told["nextSyncToken"]


def event(world: World, start: str = "2026-11-24T15:00", **more: Any) -> str:
    return world.create_event(ME, start=start, **more)["id"]


def refused(world: World, **query: str) -> tuple[int, str | None, str]:
    with pytest.raises(GoogleError) as caught:
        page(world, **query)
    error = caught.value.body["error"]["errors"][0]
    return caught.value.status, error.get("reason"), error["message"]


@pytest.mark.parametrize(
    ("start", "minutes", "within"),
    [
        pytest.param("2026-11-24T11:00Z", 60, False, id="ends when the window begins"),
        pytest.param("2026-11-24T11:00Z", 61, True, id="still runs when the window begins"),
        pytest.param("2026-11-24T13:00Z", 60, False, id="starts when the window ends"),
        pytest.param("2026-11-24T12:59Z", 60, True, id="starts just before the window ends"),
        pytest.param("2026-11-24T12:00Z", 0, False, id="no length, on the lower bound"),
        pytest.param("2026-11-24T12:30Z", 0, True, id="no length, inside"),
    ],
)
@pytest.mark.parametrize("rule", [None, ["RRULE:FREQ=WEEKLY"]], ids=["single", "series"])
def test_bounds_are_exclusive(world: World, start: str, minutes: int, *, within: bool, rule: list[str] | None) -> None:
    event(world, start, minutes=minutes, recurrence=rule)
    query = {"singleEvents": "true", "timeMin": "2026-11-24T12:00:00Z", "timeMax": "2026-11-24T13:00:00.500Z"}
    assert len(page(world, **query)["items"]) == within


def test_an_incremental_listing_tells_changes_anywhere_in_the_calendar(world: World) -> None:
    inside, far = event(world), event(world, "2030-01-01T10:00")
    _, token = round_of(world, **WINDOW)
    world.move_event(ME, inside, to="2031-05-05T10:00")
    world.retitle_event(ME, far, "New")
    items, _ = round_of(world, singleEvents="true", syncToken=token)
    assert {row["id"]: row["status"] for row in items} == {inside: "confirmed", far: "confirmed"}
    assert next(row for row in items if row["id"] == inside)["start"]["dateTime"].startswith("2031-05-05")


def test_a_token_that_keeps_its_window_tells_what_left_as_cancelled(world: World) -> None:
    world.set_switches({"token_keeps_window": True})
    inside = event(world)
    _, token = round_of(world, **WINDOW)
    world.move_event(ME, inside, to="2031-05-05T10:00")
    items, _ = round_of(world, singleEvents="true", syncToken=token)
    assert [row["status"] for row in items] == ["cancelled"]


def test_time_alone_delivers_nothing(world: World) -> None:
    event(world, recurrence=["RRULE:FREQ=WEEKLY"])
    event(world, "2026-12-24T10:00")
    _, token = round_of(world, **WINDOW)
    world.advance(timedelta(days=30))
    assert round_of(world, singleEvents="true", syncToken=token)[0] == []


def test_a_touched_series_comes_whole_up_to_the_cap(world: World) -> None:
    series = event(world, recurrence=["RRULE:FREQ=WEEKLY"])
    _, token = round_of(world, **WINDOW)
    world.retitle_event(ME, series, "New")
    items, _ = round_of(world, singleEvents="true", syncToken=token)
    assert len(items) == 730
    assert {row["recurringEventId"] for row in items} == {series}


@pytest.mark.parametrize("announced", [True, False])
def test_a_shifted_series_gets_new_ids_and_may_announce_the_old(world: World, *, announced: bool) -> None:
    world.set_switches({"old_id_tombstones": announced})
    series = event(world, recurrence=["RRULE:FREQ=WEEKLY;COUNT=2"])
    _, token = round_of(world, **WINDOW)
    world.move_event(ME, series, by=timedelta(minutes=30))
    items, _ = round_of(world, singleEvents="true", syncToken=token)
    told = {row["id"].rpartition("_")[2]: row["status"] for row in items}
    old = {"20261124T140000Z": "cancelled", "20261201T140000Z": "cancelled"} if announced else {}
    assert told == {"20261124T143000Z": "confirmed", "20261201T143000Z": "confirmed"} | old


def test_a_cancelled_instance_names_its_series_and_original_start(world: World) -> None:
    series = event(world, recurrence=["RRULE:FREQ=WEEKLY"])
    _, token = round_of(world, **WINDOW)
    world.cancel_event(ME, f"{series}_20261201T140000Z")
    (row,), _ = round_of(world, singleEvents="true", syncToken=token)
    assert {name: row[name] for name in row if name not in ("etag", "kind")} == {
        "id": f"{series}_20261201T140000Z",
        "status": "cancelled",
        "recurringEventId": series,
        "originalStartTime": {"dateTime": "2026-12-01T15:00:00+01:00"},
    }


@pytest.mark.parametrize(("how", "named"), [("id", False), ("full", True)])
def test_a_deleted_event_tells_its_id_only_or_everything(world: World, how: str, *, named: bool) -> None:
    world.set_switches({"tombstones": how})
    single = event(world)
    _, token = round_of(world, **WINDOW)
    world.cancel_event(ME, single)
    (row,), _ = round_of(world, singleEvents="true", syncToken=token)
    assert (row["id"], row["status"], "start" in row) == (single, "cancelled", named)


def test_random_tombstones_are_of_both_kinds_and_repeatable(world: World) -> None:
    world.set_switches({"tombstones": "random"})
    singles = [event(world) for _ in range(20)]
    _, token = round_of(world, **WINDOW)
    for single in singles:
        world.cancel_event(ME, single)
    first, second = (round_of(world, singleEvents="true", syncToken=token)[0] for _ in range(2))
    assert first == second
    assert {"start" in row for row in first} == {True, False}


@pytest.mark.parametrize(
    ("how", "expected"),
    [("instances", (0, 26)), ("master", (1, 0)), ("both", (1, 26))],
)
def test_a_deleted_series_is_told_by_half_a_year_of_instances_or_by_its_master(
    world: World, how: str, expected: tuple[int, int]
) -> None:
    world.set_switches({"deleted_series": how})
    series = event(world, recurrence=["RRULE:FREQ=WEEKLY"])
    _, token = round_of(world, **WINDOW)
    world.cancel_event(ME, series)
    items, _ = round_of(world, singleEvents="true", syncToken=token)
    assert (sum(row["id"] == series for row in items), sum(row["id"] != series for row in items)) == expected
    assert {row["status"] for row in items} == {"cancelled"}


def test_without_single_events_masters_and_cancelled_exceptions_are_listed(world: World) -> None:
    series = event(world, recurrence=["RRULE:FREQ=WEEKLY"])
    world.cancel_event(ME, f"{series}_20261201T140000Z")
    items, _ = round_of(world, timeMin=WINDOW["timeMin"], timeMax=WINDOW["timeMax"])
    assert [(row["id"], row["status"]) for row in items] == [
        (series, "confirmed"),
        (f"{series}_20261201T140000Z", "cancelled"),
    ]
    assert items[0]["recurrence"] == ["RRULE:FREQ=WEEKLY"]


def test_show_deleted_lists_cancelled_events_of_the_window(world: World) -> None:
    world.cancel_event(ME, event(world))
    assert [row["status"] for row in round_of(world, **WINDOW, showDeleted="true")[0]] == ["cancelled"]
    assert round_of(world, **WINDOW)[0] == []


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ({"orderBy": "startTime"}, 400, "invalid"),
        ({"timeMin": "2026-11-20T00:00:00"}, 400, "badRequest"),
        ({"timeMin": "2026-11-21T00:00:00Z", "timeMax": "2026-11-21T00:00:00Z"}, 400, "timeRangeEmpty"),
        ({"maxResults": "0"}, 400, "invalidParameter"),
        ({"pageToken": "garbage"}, 400, "invalid"),
        ({"syncToken": "garbage"}, 400, "invalid"),
        ({"updatedMin": "2026-01-01T00:00:00Z"}, 410, "updatedMinTooLongAgo"),
        ({"timeZone": "Mars/Olympus"}, 400, "invalid"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_query_that_makes_no_sense_is_refused(world: World, query: dict[str, str], status: int, reason: str) -> None:
    event(world)
    assert refused(world, **query)[:2] == (status, reason)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeMin", "2026-11-20T00:00:00Z"),
        ("timeMax", "2026-11-20T00:00:00Z"),
        ("updatedMin", "2026-11-20T00:00:00Z"),
        ("q", "x"),
        ("iCalUID", "x"),
        ("orderBy", "updated"),
        ("showDeleted", "false"),
    ],
)
def test_a_sync_token_goes_with_no_restriction(world: World, name: str, value: str) -> None:
    _, token = round_of(world, **WINDOW)
    status, _, message = refused(world, singleEvents="true", syncToken=token, **{name: value})
    assert (status, message.startswith("Sync token cannot be used with ")) == (400, True)


@pytest.mark.parametrize("more", [{"orderBy": "startTime"}, {"q": "x"}, {"updatedMin": "2026-11-20T00:00:00Z"}])
def test_queries_that_cannot_be_synced_give_no_token(world: World, more: dict[str, str]) -> None:
    assert "nextSyncToken" not in page(world, **WINDOW, **more)


def test_a_token_is_refused_by_age_by_access_by_history_and_for_another_calendar(world: World) -> None:
    _, token = round_of(world, **WINDOW)
    world.create_calendar(account="b@example.com")
    switches = world.google_switches("b@example.com")
    asked = read([("syncToken", token)], switches)
    with pytest.raises(GoogleError, match="Invalid sync token value"):
        Listing(world.calendar("b@example.com"), asked, switches, now=NOW, epoch=world.state.epoch).page()
    world.set_switches({"token_max_age_s": 3600})
    assert page(world, singleEvents="true", syncToken=token)["items"] == []
    world.advance(timedelta(hours=2))
    assert refused(world, singleEvents="true", syncToken=token)[:2] == (410, "fullSyncRequired")
    world.set_switches({"token_max_age_s": None, "gone_without_reason": True})
    world.change_access(ME)
    assert refused(world, singleEvents="true", syncToken=token)[:2] == (410, None)
    another = World(clock=lambda: NOW)
    another.create_calendar(account=ME)
    assert refused(another, singleEvents="true", syncToken=token)[:2] == (410, "fullSyncRequired")


def test_parameter_drift_is_accepted_unless_switched(world: World) -> None:
    _, token = round_of(world, **WINDOW)
    assert page(world, syncToken=token)["items"] == []
    world.set_switches({"refuse_param_drift": True})
    assert page(world, singleEvents="true", syncToken=token, maxResults="3")["items"] == []
    assert refused(world, syncToken=token)[0] == 400


def test_max_results_is_clamped_unless_switched(world: World) -> None:
    assert page(world, maxResults="9999")["items"] == []
    world.set_switches({"refuse_large_max_results": True})
    assert refused(world, maxResults="9999")[0] == 400


def test_an_empty_first_page_has_a_page_token(world: World) -> None:
    world.set_switches({"empty_first_page": True, "page_size": 1})
    made = {event(world) for _ in range(3)}
    first = page(world, **WINDOW)
    assert (first["items"], "nextPageToken" in first) == ([], True)
    assert {row["id"] for row in round_of(world, **WINDOW)[0]} == made


def test_a_change_between_two_pages_is_told_by_the_next_incremental_listing(world: World) -> None:
    for n in range(4):
        event(world, event_id=f"e{n}xxx")
    first = page(world, **WINDOW, maxResults="2")
    world.cancel_event(ME, first["items"][0]["id"])
    last = page(world, **WINDOW, maxResults="2", pageToken=first["nextPageToken"])
    assert [row["id"] for row in last["items"]] == ["e2xxx", "e3xxx"]
    told, _ = round_of(world, singleEvents="true", syncToken=last["nextSyncToken"])
    assert [row["id"] for row in told] == ["e0xxx"]


def test_filters(world: World) -> None:
    special = event(world, title="Needle", fields={"eventType": "focusTime"})
    event(world, title="Hay")
    uid = world.event(ME, special)["iCalUID"]
    for more in ({"eventTypes": "focusTime"}, {"iCalUID": uid}, {"q": "needle"}):
        assert [row["id"] for row in page(world, **WINDOW, **more)["items"]] == [special]


def test_times_are_written_in_the_asked_zone(world: World) -> None:
    event(world)
    start = page(world, **WINDOW, timeZone="America/New_York")["items"][0]["start"]
    assert start == {"dateTime": "2026-11-24T09:00:00-05:00", "timeZone": "Europe/Berlin"}


def test_too_many_attendees_leave_only_ones_own(world: World) -> None:
    event(world, attendees=["b@example.com", "c@example.com"])
    row = page(world, **WINDOW, maxAttendees="1")["items"][0]
    assert ([one["email"] for one in row["attendees"]], row["attendeesOmitted"]) == ([ME], True)


def test_a_change_gives_a_new_etag_and_time(world: World) -> None:
    single = event(world)
    before = world.event(ME, single)
    world.advance(timedelta(minutes=1))
    after = world.retitle_event(ME, single, "New")
    assert before["etag"] != after["etag"]
    assert before["updated"] < after["updated"]
    assert before["iCalUID"] == after["iCalUID"]


@pytest.mark.parametrize(("role", "kept"), [("reader", {"visibility"}), ("freeBusyReader", {"eventType"})])
def test_who_may_only_read_sees_little_of_a_private_event(world: World, role: Any, kept: set[str]) -> None:
    event(world, fields={"visibility": "private"}, description="secret")
    world.change_access(ME, role)
    row = page(world, **WINDOW)["items"][0]
    assert {"summary", "description", "visibility", "eventType"} & set(row) == kept


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("items", {"items": [{"id": "x", "start": {"date": "d", "z": 1}}]}),
        ("items(id)", {"items": [{"id": "x"}]}),
        ("items/id", {"items": [{"id": "x"}]}),
        ("items(id,start/date),n", {"items": [{"id": "x", "start": {"date": "d"}}], "n": 1}),
        ("*", {"items": [{"id": "x", "start": {"date": "d", "z": 1}}], "n": 1, "nextSyncToken": "t"}),
    ],
)
def test_a_mask_shows_only_what_it_names(text: str, expected: dict[str, Any]) -> None:
    whole = {"items": [{"id": "x", "start": {"date": "d", "z": 1}}], "n": 1, "nextSyncToken": "t"}
    assert mask.apply(mask.parse(text), whole) == expected


@pytest.mark.parametrize("text", ["items(", "items)", ",", "items(id", "a b(", "items//id", "items,"])
def test_a_broken_mask_is_refused(text: str) -> None:
    with pytest.raises(GoogleError) as caught:
        mask.parse(text)
    assert caught.value.body["error"]["errors"][0]["location"] == "fields"


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["create", "series", "retitle", "move", "cancel", "restore", "instance", "split", "sync"]),
        st.integers(0, 9),
        st.integers(-40, 40),
    ),
    max_size=14,
)


def test_a_moved_instance_goes_with_its_cancelled_series(world: World) -> None:
    series = event(world, recurrence=["RRULE:FREQ=WEEKLY"])
    world.move_event(ME, f"{series}_20261201T140000Z", by=timedelta(hours=1))
    _, token = round_of(world, **WINDOW)
    world.cancel_event(ME, series)
    assert world.listing(ME) == []
    told = {row["id"] for row in round_of(world, singleEvents="true", syncToken=token)[0]}
    assert f"{series}_20261201T140000Z" in told


@settings(max_examples=60)
@given(
    OPERATIONS,
    st.sampled_from(["id", "full", "random"]),
    st.sampled_from([None, 1, 3]),
    st.sampled_from(["instances", "master", "both"]),
)
def test_incremental_listings_add_up_to_the_full_one(
    ops: Any, tombstones: str, page_size: int | None, deleted_series: str
) -> None:
    """A copy kept by applying what each incremental listing tells equals a full listing, whatever was done."""
    world = World(clock=lambda: NOW)
    world.create_calendar(account=ME)
    world.set_switches(
        {"tombstones": tombstones, "page_size": page_size, "expansion_cap": 40, "deleted_series": deleted_series}
    )
    query = {"singleEvents": "true", "timeMin": "2026-11-20T00:00:00Z", "timeMax": "2026-12-31T00:00:00Z"}
    items, token = round_of(world, **query)
    copy = {row["id"]: row for row in items}
    for what, pick, days in [*ops, ("sync", 0, 0)]:
        if what == "sync":
            told, token = round_of(world, singleEvents="true", syncToken=token)
            for row in told:
                if row["status"] == "cancelled":
                    copy = {k: v for k, v in copy.items() if k != row["id"] and v.get("recurringEventId") != row["id"]}
                else:
                    copy[row["id"]] = row
            low, high = (datetime.fromisoformat(query[name]) for name in ("timeMin", "timeMax"))
            oracle = world.listing(ME, time_min=low, time_max=high)
            assert within(copy, low, high) == {row["id"]: row["etag"] for row in oracle}
            continue
        operate(world, what, pick, days)


def within(copy: dict[str, Any], low: datetime, high: datetime) -> dict[str, str]:
    """Ids and versions of the copy's rows that lie in the window."""
    rows = copy.values()
    times = [(row, *(datetime.fromisoformat(row[end]["dateTime"]) for end in ("start", "end"))) for row in rows]
    return {row["id"]: row["etag"] for row, start, end in times if end > low and start < high}


def operate(world: World, what: str, pick: int, days: int) -> None:
    at = (NOW + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M")
    if what == "create":
        event(world, at)
        return
    if what == "series":
        event(world, at, recurrence=["RRULE:FREQ=WEEKLY;COUNT=6"])
        return
    events = list(world.calendar(ME).events.values())
    if not events:
        return
    chosen = events[pick % len(events)]
    target = chosen.id
    if what in ("instance", "split"):
        shown = world.listing(ME)
        same = [row["id"] for row in shown if row.get("recurringEventId") == chosen.id]
        if not same:
            return
        target = same[pick % len(same)]
    if what == "split":
        if f"{chosen.id.partition('_R')[0]}_R{target.rpartition('_')[2].rstrip('Z')}" not in world.calendar(ME).events:
            world.split_series(ME, target)
    elif what == "retitle":
        world.retitle_event(ME, target, f"Title {days}")
    elif what == "cancel":
        world.cancel_event(ME, target)
    elif what == "restore":
        world.restore_event(ME, target)
    else:
        world.move_event(ME, target, by=timedelta(days=days, minutes=pick))
