"""When and how a calendar is read: the visible window is held at any time, and nobody is asked too often."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calendar_pipeline import ids
from calendar_pipeline.ingest import plan

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
CALENDARS = st.text(ids.ALPHABET, min_size=1, max_size=20).map("cal_{}".format)


@given(CALENDARS, MOMENTS, st.integers(2, 30), st.floats(0, 1))
def test_until_the_next_listing_the_visible_window_is_held(
    calendar: str, now: datetime, buffer: int, part: float
) -> None:
    made = plan.horizon(calendar, now=now, buffer=timedelta(days=buffer))
    later = now + (made.relist_at - now) * part
    assert made.window.start <= later - plan.PAST
    assert made.window.end >= later + plan.AHEAD


@given(CALENDARS, MOMENTS, st.integers(2, 30))
def test_a_listing_lasts_for_half_the_buffer_at_least(calendar: str, now: datetime, buffer: int) -> None:
    made = plan.horizon(calendar, now=now, buffer=timedelta(days=buffer))
    lasts = made.relist_at - now.replace(microsecond=0)
    assert timedelta(days=buffer) / 2 <= lasts < timedelta(days=buffer)


@given(MOMENTS)
def test_a_window_is_in_whole_seconds(now: datetime) -> None:
    window = plan.horizon("cal_1", now=now, buffer=timedelta(days=8)).window
    assert window.start.microsecond == window.end.microsecond == 0


def test_calendars_listed_together_are_not_listed_together_again() -> None:
    due = sorted(plan.horizon(f"cal_{number}", now=NOW, buffer=timedelta(days=8)).relist_at for number in range(240))
    assert due[-1] - due[0] > timedelta(hours=20)
    assert max(second - first for first, second in pairwise(due)) < timedelta(hours=1)


def why(**given: object) -> str | None:
    return plan.needs_listing(
        **{
            "full": False,
            "token": "t",
            "parameters": "v1",
            "current_parameters": "v1",
            "held_until": NOW + timedelta(days=36),
            "relist_at": NOW + timedelta(days=6),
            "now": NOW,
            **given,
        }
    )


@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        pytest.param({}, None, id="the-token-will-do"),
        pytest.param({"token": None}, "first", id="no-token"),
        pytest.param({"held_until": None}, "first", id="no-window"),
        pytest.param({"relist_at": None}, "first", id="no-plan"),
        pytest.param({"token": None, "full": True}, "first", id="no-token-and-asked"),
        pytest.param({"full": True}, "asked", id="asked"),
        pytest.param({"parameters": "v0"}, "parameters_changed", id="other-parameters"),
        pytest.param({"parameters": None}, "parameters_changed", id="unknown-parameters"),
        pytest.param({"held_until": NOW + timedelta(days=28)}, None, id="window-just-covered"),
        pytest.param({"held_until": NOW + timedelta(days=27)}, "window_not_covered", id="window-not-covered"),
        pytest.param({"relist_at": NOW}, "periodic", id="its-time"),
        pytest.param({"relist_at": NOW + timedelta(seconds=1)}, None, id="not-yet"),
    ],
)
def test_why_a_window_is_listed(given_: dict[str, object], reason: str | None) -> None:
    assert why(**given_) == reason


@given(CALENDARS, st.integers(1, 10_000))
def test_backoff_doubles_from_a_minute_to_half_an_hour_give_or_take_a_quarter(calendar: str, failures: int) -> None:
    wait = plan.backoff(calendar, failures, retry_after=None)
    doubled = min(timedelta(minutes=1) * 2 ** min(failures - 1, 20), timedelta(minutes=30))
    assert doubled * 0.75 <= wait <= doubled * 1.25


@given(CALENDARS, st.integers(1, 100), st.timedeltas(timedelta(), timedelta(hours=6)))
def test_backoff_is_never_shorter_than_the_provider_asked(calendar: str, failures: int, asked: timedelta) -> None:
    wait = plan.backoff(calendar, failures, retry_after=asked)
    assert wait == max(asked, plan.backoff(calendar, failures, retry_after=None))


def test_calendars_that_fail_together_do_not_come_back_together() -> None:
    waits = {plan.backoff(f"cal_{number}", 5, retry_after=None) for number in range(100)}
    assert len(waits) == 100


HALF_HOUR = timedelta(minutes=30)


@given(CALENDARS, st.integers(0, 10**6))
def test_a_calendar_is_due_again_within_the_interval(calendar: str, seconds: int) -> None:
    now = NOW + timedelta(seconds=seconds)
    turn = plan.next_sync(calendar, due_at=None, now=now, interval=HALF_HOUR)
    assert now < turn <= now + HALF_HOUR


@given(CALENDARS, st.integers(0, 10**6), st.timedeltas(timedelta(), plan.EARLY))
def test_turns_are_an_interval_apart_even_if_taken_early(calendar: str, seconds: int, early: timedelta) -> None:
    turn = plan.next_sync(calendar, due_at=None, now=NOW + timedelta(seconds=seconds), interval=HALF_HOUR)
    for taken in (turn - early, turn, turn + timedelta(seconds=9)):
        assert plan.next_sync(calendar, due_at=turn, now=taken, interval=HALF_HOUR) == turn + HALF_HOUR


def test_turns_are_spread_evenly_over_the_interval_by_calendar() -> None:
    """10,000 calendars followed at one moment: no minute of the half hour has a quarter more than its share."""
    turns = [plan.next_sync(f"cal_{number}", due_at=None, now=NOW, interval=HALF_HOUR) for number in range(10_000)]
    by_minute = Counter((turn - NOW - timedelta(seconds=1)) // timedelta(minutes=1) for turn in turns)
    assert sorted(by_minute) == list(range(30))
    assert max(by_minute.values()) <= 10_000 / 30 * 1.25


@pytest.mark.parametrize(
    ("deletes", "live", "suspicious"),
    [
        (0, 0, False),
        (9, 9, False),
        (5, 10, False),
        (6, 10, True),
        (10, 10, True),
        (50, 100, False),
        (51, 100, True),
    ],
)
def test_a_listing_that_would_delete_most_is_suspicious(deletes: int, live: int, suspicious: bool) -> None:
    assert plan.is_suspicious(deletes=deletes, live=live) is suspicious


@given(st.text(), st.text())
def test_a_share_is_a_stable_number_below_one(key: str, salt: str) -> None:
    assert 0 <= plan.share(key, salt) < 1
    assert plan.share(key, salt) == plan.share(key, salt)
