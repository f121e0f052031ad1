"""How fast we ask in a client's name."""

from datetime import UTC, datetime, timedelta

import pytest

from calendar_pipeline.errors import TryLater
from calendar_pipeline.ingest.guard import Guard, Pause

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


class Time:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.at = 100.0
        self.slept = 0.0

    def __call__(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds
        self.slept += seconds


def guard(time: Time, *, per_client: float = 600, per_calendar: float = 600) -> Guard:
    return Guard(per_client=per_client, per_calendar=per_calendar, monotonic=time, sleep=time.sleep)


def test_a_burst_is_free_and_then_requests_come_at_the_rate() -> None:
    time = Time()
    one = guard(time, per_client=600)
    for number in range(60):
        one.admit("c", f"cal{number}")
    assert time.slept == 0
    for number in range(100):
        one.admit("c", f"cal{number}")
    assert time.slept == pytest.approx(10)


def test_one_client_does_not_wait_for_another() -> None:
    time = Time()
    one = guard(time, per_client=60)
    for number in range(8):
        one.admit("busy", f"cal{number}")
    slept = time.slept
    one.admit("calm", "cal")
    assert time.slept == slept


def test_a_single_calendar_has_a_rate_of_its_own() -> None:
    time = Time()
    one = guard(time, per_client=6000, per_calendar=60)
    for _ in range(7):
        one.admit("c", "cal")
    assert time.slept == pytest.approx(1)


def test_a_long_wait_is_left_for_later_and_costs_no_turn() -> None:
    time = Time()
    one = Guard(per_client=6, per_calendar=600, monotonic=time, sleep=lambda _: None)
    one.admit("c", "cal")
    for _ in range(3):
        with pytest.raises(TryLater) as raised:
            one.admit("c", "cal")
        assert raised.value.retry_after is not None
        assert timedelta(seconds=5) < raised.value.retry_after <= timedelta(seconds=10)


def test_five_rate_limits_in_a_minute_are_a_storm() -> None:
    time = Time()
    one = guard(time)
    assert [one.is_storm("c") for _ in range(5)] == [False] * 4 + [True]
    assert not one.is_storm("other")
    time.at += 61
    assert not one.is_storm("c")


def test_a_pause_ends() -> None:
    one = guard(Time())
    pause = Pause(NOW + timedelta(minutes=1), "code", by_refusal=True)
    one.pause("c", pause)
    assert one.paused("c", now=NOW) == pause
    assert one.paused("other", now=NOW) is None
    assert one.paused("c", now=NOW + timedelta(minutes=1)) is None
