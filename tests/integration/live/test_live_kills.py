"""`calendar-pipeline live` as processes: killed in the middle of all that they do, two at once, without a database."""

import json
import os
import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

KILLS = int(os.environ.get("LIVE_KILLS", "1"))
"""At random times, after the one that is placed; `make soak` has 25."""
MEETING = "https://meet.google.com/abc-defg-hij"


def bot(site: Any) -> str:
    """A bot that joins at once."""
    return str(site.ask("POST", "/bots", {"meeting_url": MEETING, "bot_name": "Notes"})["id"])


@dataclass
class Killed:
    """What a worker was in the middle of when it was killed: calendars (ours, the provider's) and a bot."""

    read: tuple[str, str]
    told: tuple[str, str]
    watched: tuple[str, str]
    bot: str
    before: Counter[str]
    """Webhooks that had come before."""


@pytest.fixture(scope="module")
def killed(site: Any) -> Killed:
    """One kill -9 in the middle of a sync, a launch, a delivery and a channel's renewal at once; then a successor."""
    worker = site.start()
    site.ask("POST", "/webhooks", {"url": f"{site.receiver.url}/hook", "triggers": ["calendar.events_update"]})
    read, told, watched = site.follow(3, first=0).items()
    before = Counter(one.headers["webhook-id"] for one in site.receiver.arrived)
    held = [
        site.provider.hold("GET", f"/calendars/{read[1]}/events"),
        site.provider.hold("POST", f"/calendars/{watched[1]}/events/watch"),
        site.receiver.hold("POST", "/hook"),
        site.runner.hold("POST", "/api/v1/bots"),
    ]
    site.change(read[1], "read when killed")
    site.change(told[1], "told when killed")
    site.execute("UPDATE notification_channel SET next_at = now() WHERE calendar_id = :id", id=watched[0])
    launched = bot(site)
    for hold in held:
        assert hold.reached.wait(150), (hold.method, hold.part)
    worker.kill()
    for gate in (site.provider, site.receiver, site.runner):
        gate.release()
    site.leases_run_out()
    site.start()
    return Killed(read, told, watched, launched, before)


def test_a_sync_in_the_middle_is_made_again_and_stands_in_the_record_once(site: Any, killed: Killed) -> None:
    site.until("the sync", lambda: site.versions("read when killed") and site.rests())
    assert site.versions("read when killed") == 1
    reads = [one for one in site.provider.arrived if f"/calendars/{killed.read[1]}/events?" in one.path]
    assert len(reads) >= 3, "the first sync, the one that was killed, and the one after it"


def test_a_launch_in_the_middle_leaves_the_bot_there_once(site: Any, killed: Killed) -> None:
    """The runner had made it, and its answer was lost with the worker: first it is asked what it has."""
    shown = site.until("the bot", lambda: (now := site.ask("GET", f"/bots/{killed.bot}"))["state"] == "joining" and now)
    [there] = site.attendee.of(killed.bot)
    assert there["state"] == shown["state"] == "joining"
    made = [one for one in site.runner.arrived if one.method == "POST" and killed.bot.encode() in one.body]
    assert len(made) == 1


def test_a_delivery_in_the_middle_comes_again_under_the_same_id(site: Any, killed: Killed) -> None:
    site.until("rest", site.rests)
    [webhook] = set(site.received(killed.told[0])) - killed.before.keys()
    assert site.received(killed.told[0]).count(webhook) == 2
    [row] = site.rows("SELECT status FROM webhook_delivery WHERE id = :id", id=webhook)
    assert row.status == "delivered"
    bodies = {one.body for one in site.receiver.arrived if one.headers["webhook-id"] == webhook}
    assert len(bodies) == 1


def test_a_renewal_in_the_middle_leaves_one_channel_that_is_heard(site: Any, killed: Killed) -> None:
    """The provider had made the new one, known to us by its greeting alone: it is stopped, and another made."""
    ours, provider_id = killed.watched

    def settled() -> bool:
        site.execute(
            "UPDATE notification_channel SET next_at = now() "
            "WHERE calendar_id = :id AND state IN ('asked', 'stopping') AND next_at > now()",
            id=ours,
        )
        there = [one for one in site.sandbox.world.channels() if provider_id in str(one)]
        return len(there) == site.watched(ours) == 1 and site.rests()

    site.until("one channel", settled)
    site.change(provider_id, "heard after the kill")
    site.until("the change", lambda: site.versions("heard after the kill"))
    [row] = site.rows("SELECT cause FROM sync_run WHERE calendar_id = :id ORDER BY id DESC LIMIT 1", id=ours)
    assert row.cause == "push"


@pytest.mark.usefixtures("killed")
def test_two_at_once_do_everything_once(site: Any) -> None:
    """New calendars with a channel and a change each, webhooks for all of them, and bots."""
    site.start()
    assert len(site.working()) == 2
    arrived = len(site.receiver.arrived)
    followed = site.follow(8, first=10)
    for number, provider_id in enumerate(followed.values()):
        site.change(provider_id, f"twice {number}")
    bots = [bot(site) for _ in range(8)]
    site.until("rest", lambda: all(site.versions(f"twice {number}") for number in range(8)) and site.rests())
    site.until("the bots", lambda: all(site.attendee.of(one) for one in bots))
    assert [site.versions(f"twice {number}") for number in range(8)] == [1] * 8
    assert [site.watched(calendar) for calendar in followed] == [1] * 8
    watches = Counter(one.path for one in site.provider.arrived if "/events/watch" in one.path)
    assert [sum(n for path, n in watches.items() if f"/{there}/" in path) for there in followed.values()] == [1] * 8
    assert [len(site.attendee.of(one)) for one in bots] == [1] * 8
    made = Counter(json.loads(one.body)["deduplication_key"] for one in posts(site.runner) if one.body)
    assert [made[one] for one in bots] == [1] * 8
    webhooks = Counter(one.headers["webhook-id"] for one in site.receiver.arrived[arrived:])
    assert set(webhooks.values()) == {1}


def posts(gate: Any) -> list[Any]:
    return [one for one in gate.arrived if (one.method, one.path) == ("POST", "/api/v1/bots")]


@pytest.mark.usefixtures("killed")
def test_workers_outlive_a_restart_of_postgresql_and_go_on_by_themselves(site: Any) -> None:
    """A sync is in the middle while the database goes away."""
    [(ours, provider_id)] = site.follow(1, first=40).items()
    before = [worker.process.pid for worker in site.workers if worker.lives]
    hold = site.provider.hold("GET", f"/calendars/{provider_id}/events")
    site.change(provider_id, "read over a restart")
    assert hold.reached.wait(150)
    site.restart_postgresql()
    site.provider.release()
    site.leases_run_out()

    def read() -> bool:
        # A read that fell into the restart has failed, and a failed one is left to runs that nobody starts here.
        site.execute("UPDATE calendar SET failures = 0, next_sync_at = now() WHERE id = :id AND failures > 0", id=ours)
        return bool(site.versions("read over a restart")) and site.rests()

    site.until("the change", read)
    assert site.versions("read over a restart") == 1
    last = bot(site)
    site.until("a bot", lambda: site.attendee.of(last))
    assert [worker.process.pid for worker in site.workers if worker.lives] == before


@pytest.mark.usefixtures("killed")
def test_kills_at_random_lose_and_double_nothing(site: Any) -> None:
    rng = random.Random(9)
    followed = site.follow(3, first=60)
    bots, titles = [], []
    for turn in range(KILLS):
        bots.append(bot(site))
        for provider_id in followed.values():
            titles.append(f"turn {turn} of {provider_id}")
            site.change(provider_id, titles[-1])
        time.sleep(rng.uniform(0.0, 0.6))
        rng.choice([worker for worker in site.workers if worker.lives]).kill()
        site.start()
        site.leases_run_out()
    site.until("all changes", lambda: all(site.versions(title) for title in titles))
    site.until("rest", site.rests)
    site.until("all bots", lambda: all(site.attendee.of(one) for one in bots))
    assert {site.versions(title) for title in titles} == {1}
    assert {len(site.attendee.of(one)) for one in bots} == {1}
    arrived = {one.headers["webhook-id"] for one in site.receiver.arrived}
    sent = {row.id for row in site.rows("SELECT id FROM webhook_delivery WHERE trigger = 'calendar.events_update'")}
    assert sent <= arrived
    print(f"\n{KILLS} kills: {len(titles)} changes and {len(bots)} bots, each there once")


@pytest.mark.usefixtures("killed")
def test_workers_that_are_told_to_stop_finish_and_end_well(site: Any) -> None:
    assert {worker.stop() for worker in site.workers if worker.lives} == {0}
    assert site.rows("SELECT 1 FROM live_run WHERE beat_until > clock_timestamp()") == []
