"""A channel from its first message to its last, at the provider's stand-in."""

from datetime import timedelta
from typing import Any

import pytest

from calendar_pipeline.channels import run
from calendar_pipeline.ingest.run import sync_many

google = pytest.mark.parametrize("platform", ["google"])
microsoft = pytest.mark.parametrize("platform", ["microsoft"])


def test_a_calendar_that_was_read_well_is_watched_and_its_changes_are_heard(pushing: Any) -> None:
    assert pushing.keep() == 0, "not before it is known that its access works"
    pushing.sync()
    pushing.keep()
    [channel] = pushing.rows("SELECT * FROM notification_channel")
    assert (channel["state"], channel["confirmed_at"]) == ("live", pushing.clock())
    assert pushing.is_due, "what changed before the channel was there, nobody told us"
    pushing.sync()
    assert not pushing.is_due
    pushing.clock.pass_by(seconds=10)
    pushing.change()
    assert pushing.is_due
    [outcome] = pushing.sync()
    assert outcome.created == 1


def test_without_a_public_address_no_channel_is_made(pushing: Any) -> None:
    from dataclasses import replace

    pushing.sync()
    assert run.keep(replace(pushing.channels, public_base_url=None)) == 0
    assert pushing.sandbox.world.channels() == []


@google
def test_a_channel_is_replaced_before_it_ends_and_the_old_one_is_stopped(pushing: Any) -> None:
    pushing.connect()
    first = pushing.sandbox.world.channels()
    pushing.keep(days=5)
    assert pushing.states() == ["live"], "not yet at three quarters of its life"
    pushing.keep(days=1)
    assert sorted(pushing.states()) == ["live", "stopping"]
    assert len(pushing.sandbox.world.channels()) == 2, "for a while both tell"
    pushing.keep(minutes=3)
    assert sorted(pushing.states()) == ["ended", "live"]
    [left] = pushing.sandbox.world.channels()
    assert left["id"] != first[0]["id"]
    pushing.keep(days=2)
    assert pushing.states() == ["live"], "the old one is forgotten when its last message can have come"


def test_renewal_and_replacement_need_no_sync(pushing: Any) -> None:
    pushing.connect()
    pushing.keep(days=6)
    assert pushing.row["requested_gen"] == pushing.row["synced_gen"]


@microsoft
def test_a_subscription_is_prolonged_before_it_ends(pushing: Any) -> None:
    pushing.connect()
    [first] = pushing.rows("SELECT * FROM notification_channel")
    pushing.asked()
    assert pushing.keep(days=5) == 0, "not yet at three quarters of its life"
    assert pushing.keep(days=1) == 1
    [second] = pushing.rows("SELECT * FROM notification_channel")
    assert (second["state"], second["id"], second["remote_id"]) == ("live", first["id"], first["remote_id"])
    assert second["expires_at"] - first["expires_at"] == timedelta(days=6)
    assert pushing.asked()["subscriptions.renew"] == 1
    [there] = pushing.sandbox.world.channels()
    assert there["expires_at"] == second["expires_at"]
    pushing.change()
    assert pushing.is_due


@microsoft
def test_a_subscription_that_is_gone_at_its_renewal_is_made_anew_and_the_gap_is_read(pushing: Any) -> None:
    pushing.connect()
    pushing.sandbox.vanish(pushing.at)
    pushing.keep(days=6)
    assert (pushing.states(), pushing.is_due) == (["ended"], True)
    pushing.sync()
    pushing.keep(minutes=1)
    assert sorted(pushing.states()) == ["ended", "live"]
    assert len(pushing.sandbox.world.channels()) == 1
    pushing.sync()
    pushing.clock.pass_by(seconds=10)
    pushing.change()
    [outcome] = pushing.sync()
    assert (outcome.created, outcome.cause) == (1, "push")


@microsoft
@pytest.mark.parametrize("what", ["notification_handshake_fails", "lifecycle_handshake_fails"])
def test_without_a_handshake_there_is_no_subscription_until_there_is_one(pushing: Any, what: str) -> None:
    pushing.sandbox.add_fault(what, times=1)
    pushing.sync()
    pushing.keep()
    [channel] = pushing.rows("SELECT * FROM notification_channel")
    assert (channel["state"], channel["failures"]) == ("refused", 1)
    assert pushing.sandbox.world.channels() == []
    pushing.keep(minutes=2)
    assert pushing.states() == ["live"]


@microsoft
def test_graph_may_refuse_for_now_and_is_asked_again_the_next_day(pushing: Any) -> None:
    pushing.switch(poll_only=True)
    pushing.connect()
    [channel] = pushing.rows("SELECT * FROM notification_channel")
    assert (channel["state"], channel["next_at"] - pushing.clock()) == ("refused", timedelta(days=1))
    assert pushing.row["next_sync_at"] - pushing.clock() <= timedelta(minutes=30)
    pushing.switch(poll_only=False)
    assert pushing.keep(hours=23) == 0
    pushing.keep(hours=1)
    assert pushing.states() == ["live"]


@microsoft
def test_what_is_left_of_a_lost_answer_is_cleared_away(pushing: Any) -> None:
    """Another subscription to the same calendar is refused; the one in its way is our own, and can be listed."""
    pushing.sandbox.add_fault("lost_answer", endpoint="subscriptions.create", times=1, provider="microsoft")
    pushing.sync()
    pushing.keep()
    assert sorted(pushing.states()) == ["refused", "stopping"]
    assert len(pushing.sandbox.world.channels()) == 1
    pushing.keep(minutes=2)
    pushing.keep(minutes=2)
    assert sorted(pushing.states()) == ["ended", "live"]
    assert len(pushing.sandbox.world.channels()) == 1
    pushing.sync()
    pushing.clock.pass_by(seconds=10)
    pushing.change()
    assert pushing.is_due


def test_a_channel_that_ended_unnoticed_is_replaced_and_the_gap_is_read(pushing: Any) -> None:
    pushing.connect()
    pushing.keep(days=8)
    assert "live" in pushing.states()
    assert pushing.row["requested_gen"] > pushing.row["synced_gen"]
    assert len(pushing.sandbox.world.channels()) == 1


@google
def test_a_shorter_life_than_asked_for_counts(pushing: Any) -> None:
    pushing.switch(watch_max_ttl_s=3600)
    pushing.connect()
    [channel] = pushing.rows("SELECT * FROM notification_channel")
    assert channel["expires_at"] - channel["created_at"] == timedelta(hours=1)
    assert timedelta(minutes=44) < channel["next_at"] - channel["created_at"] < timedelta(minutes=52)


@google
def test_a_calendar_that_cannot_be_watched_is_polled_only_and_never_asked_for_again(pushing: Any) -> None:
    pushing.switch(poll_only=True)
    pushing.connect()
    [channel] = pushing.rows("SELECT * FROM notification_channel")
    assert (channel["state"], channel["code"], channel["next_at"]) == (
        "refused",
        "pushNotSupportedForRequestedResource",
        None,
    )
    pushing.asked()
    assert pushing.keep(days=30) == 0
    assert "events.watch" not in pushing.asked()


def test_a_passing_refusal_is_tried_again_with_growing_pauses(pushing: Any, endpoints: dict[str, str]) -> None:
    pushing.sandbox.add_fault(endpoints["away"], endpoint=endpoints["watch"], times=2, provider=pushing.platform)
    pushing.sync()
    pushing.keep()
    [first] = pushing.rows("SELECT * FROM notification_channel")
    assert (first["state"], first["failures"]) == ("refused", 1)
    pushing.keep(minutes=2)
    [second] = pushing.rows("SELECT * FROM notification_channel")
    assert (second["state"], second["failures"]) == ("refused", 2)
    pushing.keep(minutes=5)
    assert pushing.states() == ["live"]


@google
def test_after_a_lost_answer_another_channel_is_asked_for_and_the_first_one_is_stopped(pushing: Any) -> None:
    """Its greeting tells what stopping it takes: there is no way to list channels."""
    pushing.sandbox.add_fault("lost_answer", endpoint="events.watch", times=1)
    pushing.sync()
    pushing.keep()
    assert sorted(pushing.states()) == ["refused", "stopping"]
    assert len(pushing.sandbox.world.channels()) == 1
    pushing.keep(minutes=2)
    pushing.keep(minutes=2)
    assert sorted(pushing.states()) == ["ended", "live"]
    [left] = pushing.sandbox.world.channels()
    assert left["id"] == pushing.rows("SELECT id FROM notification_channel WHERE state = 'live'")[0]["id"]


@pytest.mark.parametrize("point", ["asked", "watched"])
def test_a_death_in_the_middle_leaves_one_channel_in_the_end(pushing: Any, point: str) -> None:
    class Killed(Exception):
        pass

    def die() -> None:
        raise Killed

    pushing.sync()
    with pytest.raises(Killed):
        run.keep(pushing.crashing(point, die))
    pushing.settle()
    pushing.execute("UPDATE calendar SET lease_until = NULL WHERE id = :cal")
    pushing.keep(minutes=3)
    pushing.keep(minutes=3)
    assert pushing.states().count("live") == 1
    assert len(pushing.sandbox.world.channels()) == 1


def test_deleting_a_calendar_stops_its_channel(pushing: Any) -> None:
    """The row of the channel outlives the calendar's, with what it takes, and nothing of that is left afterwards."""
    pushing.connect()
    pushing.forget()
    assert pushing.states() == ["stopping"]
    pushing.keep(minutes=1)
    assert pushing.sandbox.world.channels() == []
    [left] = pushing.rows("SELECT * FROM notification_channel")
    assert left["state"] == "ended"
    assert (left["client_secret"], left["refresh_token"], left["access_token"]) == (None, None, None)


def test_deleting_a_calendar_whose_token_has_lapsed_stops_its_channel_with_a_new_one(pushing: Any) -> None:
    pushing.connect()
    pushing.forget()
    pushing.keep(hours=2)
    assert pushing.sandbox.world.channels() == []


def test_a_channel_that_cannot_be_stopped_is_let_be_after_some_attempts(
    pushing: Any, endpoints: dict[str, str]
) -> None:
    pushing.connect()
    pushing.sandbox.add_fault(endpoints["away"], endpoint=endpoints["stop"], times=None, provider=pushing.platform)
    pushing.forget()
    for _ in range(12):
        pushing.keep(hours=7)
    assert pushing.states() == ["ended"]


def test_a_disconnected_calendar_stops_its_channel_and_gets_another_when_it_is_back(pushing: Any) -> None:
    pushing.connect()
    world = pushing.sandbox.world
    world.revoke_account("ada@example.com")
    pushing.clock.pass_by(hours=2)
    pushing.sync(regardless=True)
    assert pushing.row["state"] == "disconnected"
    assert pushing.states() == ["stopping"]
    pushing.keep(minutes=1)
    assert pushing.states() == ["ended"]
    token = world.issue_refresh_token("ada@example.com")
    sealed = pushing.channels.ingest.keyring.seal(token, calendars_place(pushing))
    pushing.execute(
        "UPDATE calendar SET refresh_token = :token, requested_gen = requested_gen + 1, next_sync_at = :now "
        "WHERE id = :cal",
        token=sealed,
        now=pushing.clock(),
    )
    pushing.sync()
    pushing.keep(minutes=1)
    assert sorted(pushing.states()) == ["ended", "live"]


def test_two_workers_that_see_the_same_calendar_make_one_channel(pushing: Any) -> None:
    from dataclasses import replace

    pushing.sync()
    asked_for_the_time = []

    def clock() -> Any:
        """The second look at the clock comes after the list was read: just then another worker does all of it."""
        asked_for_the_time.append(1)
        if len(asked_for_the_time) == 2:
            assert run.keep(pushing.channels) == 1
        return pushing.clock()

    channels = replace(pushing.channels, ingest=replace(pushing.channels.ingest, clock=clock))
    assert run.keep(channels) == 0
    pushing.settle()
    assert pushing.states() == ["live"]
    assert len(pushing.sandbox.world.channels()) == 1


@google
@pytest.mark.parametrize("why", ["its life", "a refusal"])
def test_a_worker_that_has_lost_the_channel_which_calls_for_another_makes_none(pushing: Any, why: str) -> None:
    from dataclasses import replace

    if why == "a refusal":
        pushing.sandbox.add_fault("unavailable", endpoint="events.watch", times=1)
        pushing.connect()
        assert pushing.states() == ["refused"]
    else:
        pushing.connect()
    pushing.clock.pass_by(days=6)
    asked_for_the_time = []

    def clock() -> Any:
        """The second look comes when the channel is claimed and the calendar is not yet: just then its lease ends."""
        asked_for_the_time.append(1)
        if len(asked_for_the_time) == 2:
            pushing.execute("UPDATE notification_channel SET lease_until = now() - interval '1 second'")
            assert run.keep(pushing.channels) == 1
        return pushing.clock()

    run.keep(replace(pushing.channels, ingest=replace(pushing.channels.ingest, clock=clock)))
    for _ in range(3):
        pushing.keep(minutes=3)
    assert pushing.states().count("live") == 1
    assert len(pushing.sandbox.world.channels()) == 1


@google
def test_a_batch_that_outlasts_its_leases_leaves_one_channel_to_each_calendar(pushing: Any, follow: Any) -> None:
    """The first channel is taken over while its successor is asked for, the second one before its turn came."""
    follow([pushing.sandbox.world.create_calendar(account="bob@example.com", provider="google")])
    every = [row["id"] for row in pushing.rows("SELECT id FROM calendar")]
    assert all(outcome.status == "synced" for outcome in sync_many(pushing.channels.ingest, every, threads=1))
    assert pushing.keep() == 2
    pushing.clock.pass_by(days=6)
    asked = []

    def meanwhile() -> None:
        asked.append(1)
        if len(asked) == 1:
            pushing.execute("UPDATE notification_channel SET lease_until = now() - interval '1 second'")
            assert run.keep(pushing.channels) == 2

    run.keep(pushing.crashing("asked", meanwhile))
    assert len(asked) == 1, "the second one was not ours any more"
    for _ in range(3):
        pushing.keep(minutes=3)
    assert pushing.states().count("live") == 2
    assert len(pushing.sandbox.world.channels()) == 2


@google
@pytest.mark.parametrize("point", ["asked", "watched"])
@pytest.mark.parametrize("order", ["old first", "new first"])
def test_a_death_in_the_middle_of_a_replacement_leaves_one_channel_in_the_end(
    pushing: Any, point: str, order: str
) -> None:
    class Killed(Exception):
        pass

    def die() -> None:
        raise Killed

    pushing.connect()
    pushing.clock.pass_by(days=6)
    with pytest.raises(Killed):
        run.keep(pushing.crashing(point, die))
    pushing.settle()
    assert sorted(pushing.states()) == ["asked", "live"]
    pushing.execute("UPDATE calendar SET lease_until = NULL WHERE id = :cal")
    pushing.execute("UPDATE notification_channel SET lease_until = NULL")
    pushing.clock.pass_by(minutes=3)
    first, then = ("live", "asked") if order == "old first" else ("asked", "live")
    for state in (first, then):
        pushing.execute(
            "UPDATE notification_channel SET next_at = :now WHERE state = :state", now=pushing.clock(), state=state
        )
        pushing.execute(
            "UPDATE notification_channel SET next_at = :later WHERE state <> :state",
            later=pushing.clock() + timedelta(minutes=1),
            state=state,
        )
        pushing.keep()
    for _ in range(3):
        pushing.keep(minutes=3)
    assert pushing.states().count("live") == 1
    assert len(pushing.sandbox.world.channels()) == 1


def calendars_place(pushing: Any) -> Any:
    from calendar_pipeline.calendars.store import secret_place

    return secret_place("refresh_token", pushing.calendar, pushing.project)


def test_secrets_that_outlived_their_calendar_and_cannot_be_opened_are_told_of(pushing: Any) -> None:
    from calendar_pipeline.channels import health
    from calendar_pipeline.secrets.keyring import KeyRing, generate

    def told(ring: Any) -> list[tuple[str, int]]:
        with pushing.db.single() as connection:
            return [(one.kind, one.count) for one in health.examine(connection, ring, now=pushing.clock())]

    pushing.connect()
    other = KeyRing.parse(generate("other"))
    assert told(other) == [], "a channel of a followed calendar has none of its own"
    pushing.forget()
    assert pushing.states() == ["stopping"]
    assert told(pushing.channels.ingest.keyring) == []
    assert told(other) == [("unreadable", 3)]


def test_a_channel_missing_for_whatever_reason_is_wanted_again(pushing: Any) -> None:
    from calendar_pipeline.channels import store

    pushing.connect()
    pushing.execute("DELETE FROM notification_channel")
    assert pushing.keep() == 0
    with pushing.db.single() as connection:
        assert store.want_missing(connection) == 1
        assert store.want_missing(connection) == 0
    assert pushing.keep() == 1
    assert pushing.states() == ["live"]
