"""How fast we ask in a client's name."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from calendar_pipeline.errors import TryLater
from calendar_pipeline.ingest.guard import MOST_BUCKETS, Guard, Pause

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


def guard(time: Time, *, per_client: float = 600, per_account: float = 600) -> Guard:
    return Guard(per_client=per_client, per_account=per_account, monotonic=time, sleep=time.sleep)


def take(one: Guard, client: str, account: str) -> None:
    with one.turn(client, account):
        pass


def paused(one: Guard, client: str, *, project: str, credentials_at: datetime = NOW, now: datetime = NOW) -> Any:
    return one.paused(client, project=project, credentials_at=credentials_at, now=now)


def test_a_burst_is_free_and_then_requests_come_at_the_rate() -> None:
    time = Time()
    one = guard(time, per_client=600)
    for number in range(60):
        take(one, "c", f"cal{number}")
    assert time.slept == 0
    for number in range(100):
        take(one, "c", f"cal{number}")
    assert time.slept == pytest.approx(10)


def test_one_client_does_not_wait_for_another() -> None:
    time = Time()
    one = guard(time, per_client=60)
    for number in range(8):
        take(one, "busy", f"cal{number}")
    slept = time.slept
    take(one, "calm", "cal")
    assert time.slept == slept


def test_a_single_account_has_a_rate_of_its_own() -> None:
    time = Time()
    one = guard(time, per_client=6000, per_account=60)
    for _ in range(7):
        take(one, "c", "cal")
    assert time.slept == pytest.approx(1)


def test_a_long_wait_is_left_for_later_and_costs_no_turn() -> None:
    time = Time()
    one = Guard(per_client=6, per_account=600, monotonic=time, sleep=lambda _: None)
    take(one, "c", "cal")
    for _ in range(3):
        with pytest.raises(TryLater) as raised:
            take(one, "c", "cal")
        assert raised.value.retry_after is not None
        assert timedelta(seconds=5) < raised.value.retry_after <= timedelta(seconds=10)


def test_five_rate_limits_in_a_minute_are_a_storm() -> None:
    time = Time()
    one = guard(time)
    assert [one.is_storm("c") for _ in range(5)] == [False] * 4 + [True]
    assert not one.is_storm("other")
    time.at += 61
    assert not one.is_storm("c")


def test_a_storms_pause_is_for_whoever_asks_in_the_clients_name_and_ends() -> None:
    one = guard(Time())
    pause = Pause(NOW + timedelta(minutes=1), "code", refused_at=None)
    one.pause("c", pause, project="p")
    assert paused(one, "c", project="p") == paused(one, "c", project="q") == pause
    assert paused(one, "other", project="p") is None
    assert paused(one, "c", project="p", now=NOW + timedelta(minutes=1)) is None


def test_a_refusal_holds_the_projects_calendars_whose_credentials_are_not_newer_until_one_is_granted() -> None:
    one = guard(Time())
    pause = Pause(NOW + timedelta(minutes=1), "code", refused_at=NOW)
    one.pause("c", pause, project="p")
    assert paused(one, "c", project="p") == pause
    assert paused(one, "c", project="q") is None
    assert paused(one, "c", project="p", credentials_at=NOW + timedelta(seconds=1)) is None
    one.grant_is_news("c", project="q", now=NOW)
    assert paused(one, "c", project="p") == pause
    one.grant_is_news("c", project="p", now=NOW)
    assert paused(one, "c", project="p") is None


def test_a_grant_is_news_every_ten_seconds_and_after_a_refusal() -> None:
    one = guard(Time())
    told = [one.grant_is_news("c", project="p", now=NOW + timedelta(seconds=second)) for second in (0, 1, 9, 10, 11)]
    assert told == [True, False, False, True, False]
    assert one.grant_is_news("c", project="q", now=NOW)
    one.refused("c", project="p")
    assert one.grant_is_news("c", project="p", now=NOW + timedelta(seconds=12))
    assert not one.grant_is_news("c", project="q", now=NOW + timedelta(seconds=1))


def test_at_most_three_requests_are_in_flight_for_one_account() -> None:
    """Outlook refuses a fifth at once for a mailbox, whichever of its calendars is asked for."""
    one = Guard()
    lock, most, flying = threading.Lock(), 0, 0
    together = threading.Barrier(3)

    def request(account: str) -> None:
        nonlocal most, flying
        with one.turn("c", account):
            with lock:
                flying += 1
                most = max(most, flying)
            together.wait(timeout=5)  # three of them are there at the same moment, so the limit is reached
            with lock:
                flying -= 1

    with ThreadPoolExecutor(9) as pool:
        for done in [pool.submit(request, "mailbox") for _ in range(9)]:
            done.result()
    assert most == 3


def test_another_account_is_not_held_up_by_a_busy_one() -> None:
    one = Guard()
    with ExitStack() as busy:
        for _ in range(3):
            busy.enter_context(one.turn("c", "busy"))
        take(one, "c", "calm")
        take(one, "other client", "busy")


def test_a_refused_turn_is_given_back() -> None:
    time = Time()
    one = Guard(per_client=6, in_flight=1, monotonic=time, sleep=lambda _: None)
    take(one, "c", "a")
    for _ in range(3):
        with pytest.raises(TryLater):
            take(one, "c", "a")
    time.at += 60
    take(one, "c", "a")


def test_buckets_do_not_grow_for_ever() -> None:
    time = Time()
    one = guard(time, per_client=1e9)
    for number in range(MOST_BUCKETS + 10):
        take(one, "c", f"account {number}")
        time.at += 0.01
    assert len(one._buckets) < MOST_BUCKETS
