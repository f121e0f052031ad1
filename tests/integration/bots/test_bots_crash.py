"""A worker that is killed at any point of a launch, or of a recall, leaves neither two bots nor none."""

import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from calendar_pipeline.bots import rule_store
from calendar_pipeline.bots.rules import Rules, Template
from calendar_pipeline.secrets.keyring import KeyRing, generate

WORKER = Path(__file__).with_name("launch_worker.py")
ALL = Rules(bot=Template(name="Notes"), project="all")
KEYS = generate("crash")
LAUNCH = ("claimed", "planned", "committed", "asking", "answered", "handed", "told")
RULED = ("judged", "committed", "answered")
RECALL = ("followed", "committed", "answered", "recalled")
KILLED = -signal.SIGKILL


@pytest.fixture
def keyring() -> KeyRing:
    return KeyRing.parse(KEYS)


def work(site, attendee, point: str = "-") -> int:
    words = [site.db.url.render_as_string(hide_password=False), attendee.url, KEYS, site.clock().isoformat(), point]
    ended = subprocess.run([sys.executable, WORKER, *words], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode in (0, KILLED), ended.stderr
    return ended.returncode


def wait_for_leases(site) -> None:
    """Until the dead worker's claims have run out."""
    held = sa.text("SELECT count(*) FROM bot WHERE lease_until > clock_timestamp()")
    deadline = time.monotonic() + 30
    with site.db.single() as conn:
        while conn.execute(held).scalar():
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize("point", LAUNCH)
def test_killed_at_any_point_of_a_launch_the_bot_is_there_once(site, attendee, point) -> None:
    bot = site.lone_bot(site.clock() + timedelta(minutes=1))
    site.clock.pass_by(minutes=1)
    assert work(site, attendee, point) == KILLED
    assert len(attendee.of(bot)) <= 1
    wait_for_leases(site)
    assert work(site, attendee) == 0
    [there] = attendee.of(bot)
    assert (site.shown(bot).state, site.row(bot).runner_bot_id) == ("joining", there["id"])
    assert site.decisions(bot).count("launched") == 1
    assert site.shown(bot).events.count('"join_requested"') == 1


@pytest.mark.parametrize("point", RULED)
def test_killed_at_any_point_while_rules_make_it_a_bot_is_there_once(site, attendee, point) -> None:
    with site.db.begin() as conn:
        assert rule_store.put(conn, site.keyring, site.project, ALL, now=site.clock())
    event = site.event(hours=1 / 60)
    site.clock.pass_by(minutes=1)
    assert work(site, attendee, point) == KILLED
    wait_for_leases(site)
    assert work(site, attendee) == 0
    [there] = attendee.bots.values()
    with site.db.single() as conn:
        [made] = conn.execute(sa.text("SELECT id, event_id, state FROM bot")).all()
    assert (made.id, made.event_id, made.state) == (there["deduplication_key"], site.ours(event), "joining")
    assert site.decisions(made.id).count("made") == site.decisions(made.id).count("launched") == 1


@pytest.mark.parametrize("point", RECALL)
def test_killed_at_any_point_of_a_recall_the_bot_is_there_once_at_its_new_time(site, attendee, point) -> None:
    event = site.event()
    bot = site.bot(event)
    site.clock.pass_by(hours=2)
    assert work(site, attendee) == 0
    site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=3))
    site.sync()
    assert work(site, attendee, point) == KILLED
    wait_for_leases(site)
    assert work(site, attendee) == 0
    assert site.shown(bot).state == "scheduled"
    site.clock.pass_by(hours=3)
    assert work(site, attendee) == 0
    assert [there["state"] for there in attendee.of(bot)] == ["ended"]
    assert [there["state"] for there in attendee.of(f"{bot}.2")] == ["joining"]
