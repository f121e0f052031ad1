"""When a series happens, and how it is edited."""

from datetime import UTC, datetime, timedelta

import pytest

from sandbox import expand
from sandbox.errors import Unusable
from sandbox.when import Day, moment, parse, suffix
from sandbox.world import World

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def during(start: str, lines: list[str], low: str, high: str, zone: str = BERLIN) -> list[str]:
    window = [datetime.fromisoformat(one).replace(tzinfo=UTC) for one in (low, high)]
    return [suffix(one) for one in expand.starts(parse(start, zone), tuple(lines), *window, zone)]


@pytest.mark.parametrize(
    ("start", "lines", "low", "high", "expected"),
    [
        pytest.param(
            "2026-10-20T09:00",
            ["RRULE:FREQ=WEEKLY"],
            "2026-10-20",
            "2026-11-04",
            ["20261020T070000Z", "20261027T080000Z", "20261103T080000Z"],
            id="same wall clock over the end of summer time",
        ),
        pytest.param(
            "2026-11-24",
            ["RRULE:FREQ=DAILY;COUNT=3"],
            "2026-11-01",
            "2026-12-31",
            ["20261124", "20261125", "20261126"],
            id="all-day with a count",
        ),
        pytest.param(
            "2026-12-30T10:00",
            ["RRULE:FREQ=DAILY;UNTIL=20270102T090000Z"],
            "2026-12-31",
            "2027-02-01",
            ["20261231T090000Z", "20270101T090000Z", "20270102T090000Z"],
            id="over new year, up to and with UNTIL",
        ),
        pytest.param(
            "2026-11-02T10:00",
            ["RRULE:FREQ=WEEKLY", "EXDATE:20261109T090000Z", "RDATE:20261110T120000Z"],
            "2026-11-01",
            "2026-11-17",
            ["20261102T090000Z", "20261110T120000Z", "20261116T090000Z"],
            id="a date left out and one put in, both in UTC",
        ),
        pytest.param(
            "2020-01-06T23:30",
            ["RRULE:FREQ=MONTHLY;BYDAY=-1FR"],
            "2026-11-01",
            "2027-01-01",
            ["20261127T223000Z", "20261225T223000Z"],
            id="last Friday, years after its start",
        ),
    ],
)
def test_a_series_happens(start: str, lines: list[str], low: str, high: str, expected: list[str]) -> None:
    assert during(start, lines, low, high) == expected


def test_a_touched_series_is_told_past_and_future_up_to_the_cap() -> None:
    found = expand.around(parse("2020-01-06T09:00", BERLIN), ("RRULE:FREQ=DAILY",), NOW, 730, BERLIN)
    assert len(found) == 730
    assert found[364].at < NOW <= found[365].at


def test_a_weekly_series_from_now_reaches_2040() -> None:
    found = expand.around(parse("2026-11-24T15:00", BERLIN), ("RRULE:FREQ=WEEKLY",), NOW, 730, BERLIN)
    assert found[-1].at.year == 2040


def test_a_finished_series_is_told_with_its_nearest_past() -> None:
    found = expand.around(Day(parse("2026-01-01", "UTC").day), ("RRULE:FREQ=DAILY;COUNT=5",), NOW, 730, BERLIN)
    assert [suffix(one) for one in found] == ["20260101", "20260102", "20260103", "20260104", "20260105"]


@pytest.mark.parametrize("line", ["RRULE:FREQ=SECONDLY", "RRULE:FREQ=NEVER", "RRULE:WEEKLY"])
def test_a_rule_that_cannot_be_followed_is_refused_with_advice(line: str) -> None:
    with pytest.raises(Unusable, match="FREQ="):
        expand.check(moment(datetime(2026, 1, 1, 9), BERLIN), (line,))


def world_with(**event: object) -> tuple[World, str]:
    world = World(clock=lambda: NOW)
    world.create_calendar(account="a@example.com")
    made = world.create_event("a@example.com", start="2026-11-24T15:00", title="Weekly", **event)  # type: ignore[arg-type]
    return world, made["id"]


def listed(world: World, days: int = 21) -> list[tuple[str, str]]:
    rows = world.listing("a@example.com", time_min=NOW, time_max=NOW + timedelta(days=days))
    return [(row["summary"], (row["start"].get("dateTime") or row["start"]["date"])[:16]) for row in rows]


def test_a_moved_instance_keeps_its_id_and_original_start() -> None:
    world, series = world_with(recurrence=["RRULE:FREQ=WEEKLY;COUNT=3"])
    moved = world.move_event("a@example.com", f"{series}_20261201T140000Z", by=timedelta(hours=1))
    assert moved["id"] == f"{series}_20261201T140000Z"
    assert moved["originalStartTime"]["dateTime"] == "2026-12-01T15:00:00+01:00"
    assert [at for _, at in listed(world)] == ["2026-11-24T15:00", "2026-12-01T16:00", "2026-12-08T15:00"]


def test_a_shifted_series_keeps_what_was_cancelled_and_drops_what_was_moved() -> None:
    world, series = world_with(recurrence=["RRULE:FREQ=WEEKLY;COUNT=3"])
    world.cancel_event("a@example.com", f"{series}_20261201T140000Z")
    world.move_event("a@example.com", f"{series}_20261208T140000Z", by=timedelta(hours=5))
    world.move_event("a@example.com", series, by=timedelta(minutes=30))
    assert [at for _, at in listed(world)] == ["2026-11-24T15:30", "2026-12-08T15:30"]


def test_a_new_title_for_the_series_spares_instances_with_their_own() -> None:
    world, series = world_with(recurrence=["RRULE:FREQ=WEEKLY;COUNT=3"])
    world.retitle_event("a@example.com", f"{series}_20261201T140000Z", "Special")
    world.move_event("a@example.com", f"{series}_20261208T140000Z", by=timedelta(hours=1))
    world.retitle_event("a@example.com", series, "Renamed")
    assert [title for title, _ in listed(world)] == ["Renamed", "Special", "Renamed"]


def test_a_split_series_goes_on_under_a_new_id() -> None:
    world, series = world_with(recurrence=["RRULE:FREQ=WEEKLY"])
    made = world.split_series("a@example.com", f"{series}_20261201T140000Z", {"summary": "New"})
    assert made["id"] == f"{series}_R20261201T140000"
    assert [title for title, _ in listed(world)] == ["Weekly", "New", "New"]


def test_an_all_day_event_moves_with_the_calendars_zone() -> None:
    world = World(clock=lambda: NOW)
    world.create_calendar(account="a@example.com", zone="Pacific/Auckland")
    world.create_event("a@example.com", start="2026-11-24", title="Day")
    window = {"time_min": datetime(2026, 11, 24, 12, tzinfo=UTC), "time_max": datetime(2026, 11, 24, 13, tzinfo=UTC)}
    assert world.listing("a@example.com", **window) == []
    world.set_zone("a@example.com", "UTC")
    assert [row["summary"] for row in world.listing("a@example.com", **window)] == ["Day"]


def test_cancelling_a_series_and_restoring_it_leaves_cancelled_instances_cancelled() -> None:
    world, series = world_with(recurrence=["RRULE:FREQ=WEEKLY;COUNT=2"])
    world.cancel_event("a@example.com", f"{series}_20261124T140000Z")
    world.cancel_event("a@example.com", series)
    assert listed(world) == []
    world.restore_event("a@example.com", series)
    assert [at for _, at in listed(world)] == ["2026-12-01T15:00"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("weekly", "Weekly"), ("nothing", "No event"), ("e", "events have a title like")],
)
def test_an_event_is_found_by_a_part_of_its_title_or_told_why_not(name: str, expected: str) -> None:
    world, series = world_with()
    world.create_event("a@example.com", start="2026-11-25T15:00", title="Review")
    if expected == "Weekly":
        assert world.find_event("a@example.com", name) == series
    else:
        with pytest.raises(Unusable, match=expected):
            world.find_event("a@example.com", name)


def test_the_event_cancelled_last_is_the_one_to_restore() -> None:
    world, series = world_with(recurrence=["RRULE:FREQ=WEEKLY"])
    for week in ("20261124", "20261201"):
        world.cancel_event("a@example.com", f"{series}_{week}T140000Z")
    assert world.find_event("a@example.com", "week", cancelled=True) == f"{series}_20261201T140000Z"
