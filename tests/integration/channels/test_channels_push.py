"""What push promises and what it does not: lost, forged, doubled, overtaking, and in the middle of a sync."""

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from calendar_pipeline.channels import run as channels
from calendar_pipeline.ingest.run import sync_many


def last_run(pushing: Any) -> Any:
    return pushing.rows("SELECT * FROM sync_run ORDER BY id DESC LIMIT 1")[0]


def runs(pushing: Any) -> int:
    return int(pushing.rows("SELECT count(*) AS n FROM sync_run")[0]["n"])


def test_a_calendar_with_good_push_is_polled_every_six_hours_only(pushing: Any) -> None:
    pushing.connect()
    assert pushing.row["next_sync_at"] - pushing.clock() <= timedelta(hours=6)
    pushing.clock.pass_by(seconds=10)
    pushing.change()
    pushing.sync()
    turns = [pushing.row["next_sync_at"]]
    for _ in range(3):
        pushing.clock.now = pushing.row["next_sync_at"]
        pushing.keep()
        pushing.sync()
        turns.append(pushing.row["next_sync_at"])
    assert {late - early for early, late in itertools.pairwise(turns)} == {timedelta(hours=6)}


def test_a_calendar_without_push_is_polled_every_half_hour(pushing: Any) -> None:
    pushing.sync()
    assert pushing.row["next_sync_at"] - pushing.clock() <= timedelta(minutes=30)


def test_fault_40_a_lost_push_is_found_by_the_safety_poll_and_counted(pushing: Any) -> None:
    pushing.connect()
    pushing.switch(push={"loss": 1.0})
    pushing.clock.pass_by(minutes=1)
    pushing.change()
    lost_at = pushing.clock()
    assert not pushing.is_due
    pushing.clock.now = pushing.row["next_sync_at"]
    [outcome] = pushing.sync()
    assert (outcome.created, outcome.missed, outcome.cause) == (1, 1, "poll")
    assert pushing.clock() - lost_at <= timedelta(hours=6)
    assert (pushing.row["misses"], pushing.row["missed_at"]) == (1, pushing.clock())
    assert (last_run(pushing)["missed"], last_run(pushing)["changed_at"]) == (1, lost_at)


def test_after_a_miss_the_calendar_is_polled_every_half_hour_for_a_day(pushing: Any) -> None:
    pushing.connect()
    pushing.switch(push={"loss": 1.0})
    pushing.clock.pass_by(minutes=1)
    pushing.change()
    pushing.clock.now = pushing.row["next_sync_at"]
    pushing.sync()
    waits = []
    while pushing.clock() < pushing.row["missed_at"] + timedelta(hours=25):
        waits.append(pushing.row["next_sync_at"] - pushing.clock())
        pushing.clock.now = pushing.row["next_sync_at"]
        pushing.keep()
        pushing.sync()
    assert max(waits[:40]) <= timedelta(minutes=30)
    assert pushing.row["next_sync_at"] - pushing.clock() > timedelta(minutes=30)


def test_what_push_told_is_no_miss(pushing: Any) -> None:
    pushing.connect()
    pushing.clock.pass_by(minutes=1)
    pushing.change()
    [outcome] = pushing.sync()
    assert (outcome.cause, outcome.missed) == ("push", 0)
    assert last_run(pushing)["pushed_at"] == pushing.clock()
    assert pushing.row["misses"] == 0


@pytest.mark.parametrize(
    ("platform", "what", "answer", "verdict"),
    [
        ("google", "token", 404, "wrong_token"),
        ("google", "channel", 404, "unknown_channel"),
        ("google", "resource", 404, "wrong_resource"),
        ("microsoft", "token", 200, "wrong_token"),
        ("microsoft", "channel", 200, "unknown_channel"),
    ],
)
def test_fault_43_a_forged_notification_brings_no_sync_and_is_counted(
    pushing: Any, what: str, answer: int, verdict: str
) -> None:
    """Graph's come in batches with others' entries: the batch is taken, the entry is not."""
    pushing.change()
    pushing.connect()
    before = pushing.row
    assert pushing.counted(verdict) == 0
    assert pushing.sandbox.forge(pushing.at, what) == answer
    assert pushing.counted(verdict) == 1
    assert pushing.row == before


@pytest.mark.parametrize("platform", ["microsoft"])
def test_a_batch_with_strangers_entries_is_heard_for_what_is_ours(pushing: Any) -> None:
    pushing.switch(mixed_batches=True)
    pushing.connect()
    pushing.clock.pass_by(seconds=10)
    pushing.change()
    [outcome] = pushing.sync()
    assert (outcome.created, outcome.cause) == (1, "push")


@pytest.mark.parametrize("platform", ["microsoft"])
def test_missed_notifications_bring_a_sync(pushing: Any) -> None:
    pushing.connect()
    pushing.clock.pass_by(seconds=10)
    assert pushing.sandbox.lifecycle(pushing.at, "missed") == 1
    pushing.settle()
    assert pushing.is_due
    assert pushing.states() == ["live"]


@pytest.mark.parametrize("platform", ["microsoft"])
def test_a_removed_subscription_is_made_anew_and_the_gap_is_read(pushing: Any) -> None:
    pushing.connect()
    pushing.clock.pass_by(seconds=10)
    pushing.sandbox.lifecycle(pushing.at, "subscriptionRemoved")
    pushing.settle()
    assert (pushing.states(), pushing.is_due) == (["ended"], True)
    pushing.keep()
    assert sorted(pushing.states()) == ["ended", "live"]
    pushing.sync()
    pushing.clock.pass_by(seconds=10)
    pushing.change()
    [outcome] = pushing.sync()
    assert (outcome.created, outcome.cause) == (1, "push")


@pytest.mark.parametrize("platform", ["microsoft"])
def test_a_subscription_is_reauthorized_when_that_is_asked_for(pushing: Any) -> None:
    """Delivery would stop with the access token that the subscription was made with."""
    pushing.connect()
    pushing.sandbox.lifecycle(pushing.at, "reauthorizationRequired")
    pushing.settle()
    pushing.asked()
    assert pushing.keep(minutes=1) == 1
    assert pushing.asked()["subscriptions.renew"] == 1
    pushing.clock.pass_by(hours=3)
    pushing.change()
    assert pushing.is_due


def test_fault_42_a_push_during_a_sync_brings_another_one(pushing: Any) -> None:
    """The change came after the provider was read: only a second sync can see it."""
    pushing.connect()
    pushing.clock.pass_by(seconds=10)
    pushing.change()
    once = [1]

    def meanwhile() -> None:
        if once:
            once.pop()
            pushing.change()

    ingest = pushing.crashing("read", meanwhile).ingest
    [first] = list(sync_many(ingest, [pushing.calendar], threads=1))
    assert first.created == 1
    assert pushing.row["requested_gen"] > pushing.row["synced_gen"]
    assert pushing.sync() == [], "not within the window"
    [second] = pushing.sync(seconds=3)
    assert (second.created, second.cause) == (1, "push")


def test_fault_41_a_storm_brings_one_sync_per_window(pushing: Any) -> None:
    pushing.connect()
    pushing.clock.pass_by(seconds=10)
    pushing.change()
    before = runs(pushing)
    heard = pushing.sandbox.pushes().answers["200"]
    for _ in range(10):
        pushing.clock.pass_by(seconds=1)
        pushing.sandbox.ring(pushing.at, 200)
        pushing.settle()
        pushing.sync()
    assert pushing.sandbox.pushes().answers == {"200": heard + 2000}
    assert 3 <= runs(pushing) - before <= 4, "ten seconds, three to a window"


def test_doubled_and_overtaking_notifications_lose_nothing(pushing: Any) -> None:
    pushing.connect()
    pushing.switch(push={"duplicates": 0.5, "jitter_s": 0.2})
    for _ in range(5):
        pushing.clock.pass_by(seconds=4)
        pushing.change()
        pushing.sync()
    pushing.sync(seconds=4)
    assert pushing.rows("SELECT count(*) AS n FROM calendar_event WHERE NOT is_deleted")[0]["n"] == 5
    assert pushing.row["requested_gen"] == pushing.row["synced_gen"]


def test_an_answer_of_503_is_heard_again(pushing: Any) -> None:
    """Google repeats what was answered by 500, 502, 503 or 504, Graph all but 2xx: nothing is lost."""
    pushing.connect()
    pushing.clock.pass_by(seconds=10)
    pushing.execute("ALTER TABLE notification_channel RENAME TO away")
    pushing.sandbox.world.create_event(pushing.at, start="2026-11-24T15:00", title="Meeting")
    pushing.execute("ALTER TABLE away RENAME TO notification_channel")
    pushing.settle()
    assert pushing.is_due


@pytest.mark.parametrize("platform", ["google"])
def test_a_channel_whose_first_message_never_came_is_not_relied_on(pushing: Any) -> None:
    """The provider takes our address, but cannot reach it: polling goes on."""
    unreachable = replace(pushing.channels, public_base_url="http://127.0.0.1:1")
    pushing.sync()
    channels.keep(unreachable)
    pushing.sandbox.world.pushes(settle_s=5)
    pushing.sync()
    assert pushing.states() == ["live"]
    assert pushing.row["next_sync_at"] - pushing.clock() <= timedelta(minutes=30)
