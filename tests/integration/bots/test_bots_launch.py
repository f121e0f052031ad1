"""From a bot's time to the runner: staged, handed over once, retried, recalled, given up."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from calendar_pipeline.bots import queue, reports, run
from calendar_pipeline.bots.model import State
from calendar_pipeline.bots.port import Down, Kept, Refused

MEET = "https://meet.google.com/abc-defg-hij"
ZOOM = "https://zoom.us/j/123456789"


def subscribe(site) -> None:
    with site.db.begin() as conn:
        conn.execute(
            sa.text(
                "INSERT INTO webhook_subscription (id, project_id, url, triggers, updated_at)"
                " VALUES ('whs', :project, 'https://x.example', ARRAY['bot.state_change'], :now)"
            ),
            {"project": site.project, "now": site.clock()},
        )
        conn.execute(sa.text("UPDATE project_counter SET webhooks = 1"))


def test_a_bot_is_staged_before_its_time_and_handed_over_at_its_time(site) -> None:
    subscribe(site)
    bot = site.bot(site.event(), metadata={"a": "b"}, settings={"zoom_settings": {"sdk": "web"}})
    site.work()
    site.clock.pass_by(hours=1, minutes=54)
    site.work()
    assert site.shown(bot).state == "scheduled"
    site.clock.pass_by(minutes=1)
    site.work()
    assert (site.shown(bot).state, site.runner.asked) == ("staged", [])
    site.clock.pass_by(minutes=5)
    worked = site.work()
    assert site.shown(bot).state == "joining"
    order = site.runner.running[bot]
    assert (order.meeting_url, order.join_at, order.name) == (MEET, None, "Notes")
    assert (order.metadata, order.settings) == ({"a": "b"}, {"zoom_settings": {"sdk": "web"}})
    assert (worked.decisions["launched"], worked.late, worked.lateness) == (1, 0, [0.0])
    told = [(body["data"]["old_state"], body["data"]["event_type"], body["data"]["new_state"]) for body in site.told()]
    assert told == [("scheduled", "staged", "staged"), ("staged", "join_requested", "joining")]
    assert site.told()[0]["bot_metadata"] == {"a": "b"}


def test_a_bot_without_a_time_is_handed_over_at_once(site) -> None:
    subscribe(site)
    bot = site.lone_bot(None)
    site.work()
    assert list(site.runner.running) == [bot]
    assert site.shown(bot).state == "joining"
    [body] = site.told()
    assert (body["data"]["old_state"], body["data"]["new_state"]) == ("ready", "joining")


def test_a_staged_bot_whose_event_moves_away_is_scheduled_again(site) -> None:
    event = site.event()
    bot = site.bot(event)
    site.clock.pass_by(hours=1, minutes=57)
    site.work()
    assert site.shown(bot).state == "staged"
    site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=2))
    site.settle()
    assert (site.shown(bot).state, site.runner.asked) == ("scheduled", [])
    site.clock.pass_by(hours=2, minutes=3)
    site.work()
    assert site.runner.asked == [bot]


def test_a_bot_that_the_runner_has_is_recalled_once_when_its_event_moves_away(site) -> None:
    event, bot = sent(site)
    site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=3))
    site.settle()
    assert (site.shown(bot).state, site.runner.recalled, dict(site.runner.running)) == ("scheduled", [bot], {})
    site.clock.pass_by(hours=3)
    site.work()
    assert list(site.runner.running) == [f"{bot}.2"]
    site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=3))
    site.settle()
    assert site.shown(bot).state == "joining", "one replacement and no more"
    assert "event moved away by version 2" in site.reasons(bot)


def test_a_changed_link_recalls_a_bot_and_sends_it_to_the_new_one(site) -> None:
    event, bot = sent(site)
    site.sandbox.set_link(site.provider_id, event, ZOOM)
    site.settle()
    assert site.runner.running[f"{bot}.2"].meeting_url == ZOOM
    assert len(site.runner.running) == 1


def test_a_cancelled_event_recalls_its_bot(site) -> None:
    event, bot = sent(site)
    site.sandbox.cancel_event(site.provider_id, event)
    site.settle()
    assert (site.shown(bot), dict(site.runner.running)) == (None, {})


def test_a_bot_that_the_runner_keeps_is_left_where_it_is(site) -> None:
    event, bot = sent(site)
    site.runner.keep = lambda _: Kept("joined")
    site.sandbox.cancel_event(site.provider_id, event)
    site.settle()
    assert site.shown(bot).state == "joining"
    assert site.decisions(bot)[-1] == "not recalled"


def test_a_runner_that_does_not_answer_is_asked_for_a_bot_ever_more_seldom_until_the_meeting_ends(site) -> None:
    """Its key had been exchanged, and it was asked every four seconds for ever."""
    event, bot = sent(site)
    site.runner.keep = lambda _: Down("http_401")
    site.sandbox.cancel_event(site.provider_id, event)
    site.settle()
    for _ in range(10):
        site.clock.pass_by(seconds=2)
        site.work()
    assert len(site.runner.recalled) == 4, "at once, after 2, 4 and 8 seconds"
    for _ in range(60):
        site.clock.pass_by(minutes=1)
        site.work()
    asked = len(site.runner.recalled)
    assert 30 < asked < 40
    assert (site.shown(bot), site.row(bot).due_at, site.row(bot).handed_at) == (None, None, None)
    assert site.decisions(bot)[-3:] == ["not recalled", "recall given up", "cancelled"]
    assert site.reasons(bot)[-2] == "the meeting is over, and the runner does not answer: http_401"
    site.clock.pass_by(hours=5)
    site.work()
    assert len(site.runner.recalled) == asked
    site.sandbox.restore_event(site.provider_id, event)
    site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=8))
    site.settle()
    assert site.shown(bot).state == "scheduled", "the event came back, and so did its bot"


def test_a_bot_that_could_not_be_recalled_goes_to_its_events_new_time(site) -> None:
    event, bot = sent(site)
    site.runner.keep = lambda _: Down("timeout")
    site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=3))
    site.settle()
    site.clock.pass_by(minutes=31)
    site.work()
    assert (site.shown(bot).state, site.shown(bot).join_at) == (
        "scheduled",
        site.clock() + timedelta(hours=2.5, minutes=-1),
    )
    site.clock.pass_by(hours=2.5)
    site.work()
    assert f"{bot}.2" in site.runner.running


def test_a_bot_that_may_have_been_given_back_is_sent_anew_when_its_event_moves_back(site) -> None:
    """Its answer was lost: we took the bot for being there, the runner had made it leave, and nobody came."""
    event, bot = sent(site)

    def gives_back_in_silence(order) -> Down:
        site.runner.running.pop(order.key, None)
        return Down("timeout")

    site.runner.keep = gives_back_in_silence
    site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=3))
    site.settle()
    site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=-3))
    site.settle()
    assert (site.shown(bot).state, dict(site.runner.running)) == ("joining", {})
    site.runner.keep = lambda _: None
    site.clock.pass_by(seconds=5)
    site.work()
    assert (site.shown(bot).state, list(site.runner.running)) == ("joining", [f"{bot}.2"])
    assert "it was asked for before, and it is not known whether it was given back" in site.reasons(bot)


def test_a_bot_that_the_runner_said_it_keeps_is_not_asked_for_again_when_the_reason_has_passed(site) -> None:
    event, bot = sent(site)
    site.runner.keep = lambda _: Kept("joined")
    site.sandbox.cancel_event(site.provider_id, event)
    site.settle()
    site.sandbox.restore_event(site.provider_id, event)
    site.settle()
    assert (site.runner.recalled, list(site.runner.running)) == ([bot], [bot])


def test_bots_that_cannot_be_recalled_hold_up_no_launch(site) -> None:
    event = site.event()
    bots = [site.bot(event) for _ in range(40)]
    site.clock.pass_by(hours=2)
    site.work()
    site.runner.keep = lambda _: Down("timeout")
    site.sandbox.cancel_event(site.provider_id, event)
    site.settle()
    site.clock.pass_by(minutes=10)
    site.lone_bot(None)
    passed, launched = [], []

    def slowly(_) -> Down:
        passed.append(run.ROUND)
        launched.append(len(site.runner.asked) - len(bots))
        return Down("timeout")

    site.runner.keep = slowly
    run.work(site.bots, limit=39, timer=lambda: sum(passed))
    assert launched == [1] * queue.FEW, "launches first, few come along, and a round ends when its time is over"


class Died(Exception):
    """The worker is no more."""


def test_a_launch_that_was_interrupted_goes_before_what_fell_due_later(site) -> None:
    """It was taken for one that the runner was asked about in vain, and was left for as long as others fell due."""
    bot = site.lone_bot(None)

    def die(point: str) -> None:
        if point == "asking":
            raise Died

    with pytest.raises(Died):
        run.work(replace(site.bots, crash=die))
    with site.db.begin() as conn:
        conn.execute(sa.text("UPDATE bot SET lease_until = 'epoch'"))
    site.clock.pass_by(seconds=15)
    site.lone_bot(None)
    assert run.due(site.bots, run.Worked(), limit=1) == 1
    assert list(site.runner.running) == [bot]


def test_a_bot_that_was_asked_for_in_vain_waits_for_others_but_not_for_ever(site) -> None:
    bot = site.lone_bot(None)
    site.runner.answer = lambda _: Down("http_500")
    site.work()
    site.runner.answer = lambda _: None
    for seconds in (3, 8, 1):
        site.clock.pass_by(seconds=seconds)
        other = site.lone_bot(None)
        assert bot not in site.runner.running
        run.due(site.bots, run.Worked(), limit=9)
        assert other in site.runner.running
    assert bot in site.runner.running


def test_a_worker_that_waits_for_the_runner_holds_on_to_its_bots(site) -> None:
    bot = site.lone_bot(None)
    leases = []

    def slowly(_) -> None:
        leases.append(site.row(bot).lease_until)
        deadline = time.monotonic() + 30
        while site.row(bot).lease_until == leases[0] and time.monotonic() < deadline:
            time.sleep(0.02)
        leases.append(site.row(bot).lease_until)

    site.runner.answer = slowly
    run.work(replace(site.bots, lease=timedelta(seconds=1)))
    assert leases[1] > leases[0]
    assert (site.shown(bot).state, site.row(bot).lease_token) == ("joining", None)


def test_a_runner_that_is_down_is_asked_until_the_meeting_ends(site) -> None:
    subscribe(site)
    bot = site.bot(site.event())
    site.runner.answer = lambda _: Down("timeout")
    site.clock.pass_by(hours=2)
    site.work()
    assert site.shown(bot).state == "staged"
    for _ in range(60):
        site.clock.pass_by(seconds=30)
        site.work()
    assert 20 < len(site.runner.asked) < 40
    assert site.shown(bot).state == "fatal_error"
    [last] = [body["data"] for body in site.told()][-1:]
    assert (last["event_type"], last["event_sub_type"], last["new_state"]) == (
        "fatal_error",
        "bot_not_launched",
        "fatal_error",
    )


def test_a_runner_that_comes_back_gets_the_bot(site) -> None:
    bot = site.bot(site.event())
    site.runner.answer = lambda _: Down("timeout")
    site.clock.pass_by(hours=2)
    site.work()
    site.runner.answer = lambda _: None
    site.clock.pass_by(seconds=3)
    worked = site.work()
    assert (site.shown(bot).state, worked.lateness) == ("joining", [3.0])
    assert site.runner.running[bot].is_repeat


def test_a_refusal_is_kept_on_record_and_asked_again_more_seldom(site) -> None:
    bot = site.bot(site.event())
    site.runner.answer = lambda _: Refused("http_402")
    site.clock.pass_by(hours=2)
    site.work()
    site.clock.pass_by(seconds=59)
    site.work()
    assert site.runner.asked == [bot]
    assert site.reasons(bot)[-1] == "the runner refuses it: http_402"


def test_an_event_that_moves_away_while_the_runner_is_silent_takes_the_bot_back_first(site) -> None:
    """It timed out after accepting: taken back, there is one bot and not two."""
    event = site.event()
    bot = site.bot(event)

    def silent(order) -> Down:
        site.runner.running[order.key] = order
        return Down("timeout")

    site.runner.answer = silent
    site.clock.pass_by(hours=2)
    site.work()
    site.runner.answer = lambda _: None
    site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=3))
    site.settle()
    assert dict(site.runner.running) == {}
    site.clock.pass_by(hours=3)
    site.work()
    assert list(site.runner.running) == [f"{bot}.2"]


def test_an_event_that_moves_while_the_runner_is_being_asked_is_not_forgotten(site) -> None:
    event = site.event()
    bot = site.bot(event)
    site.clock.pass_by(hours=2)
    moved = []

    def interfere(point: str) -> None:
        if point == "asking" and not moved:
            moved.append(point)
            site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=3))
            site.sync()

    site.work(crash=interfere)
    assert (site.shown(bot).state, site.runner.recalled) == ("scheduled", [bot])


def test_a_report_that_comes_while_a_bot_is_being_recalled_does_not_end_that(site) -> None:
    """The runner's answer was lost, and the bot joined a meeting that had been cancelled."""
    event, bot = sent(site)
    site.sandbox.cancel_event(site.provider_id, event)

    def reports_and_is_silent(_) -> Down:
        tell(site, bot, "joining")
        return Down("timeout")

    site.runner.keep = reports_and_is_silent
    site.sync()
    run.work(site.bots, limit=1)
    assert site.runner.running
    site.runner.keep = lambda _: None
    site.work()
    assert (site.shown(bot), dict(site.runner.running)) == (None, {})


def test_a_report_that_comes_before_a_change_is_looked_at_takes_nothing_from_it(site) -> None:
    event, bot = sent(site)
    site.sandbox.cancel_event(site.provider_id, event)
    site.sync()
    run.follow(site.bots, run.Worked())
    tell(site, bot, "joining")
    site.work()
    assert (site.shown(bot), dict(site.runner.running)) == (None, {})
    other = site.lone_bot(None)
    site.work()
    tell(site, other, "joined_recording")
    assert site.row(other).due_at is None, "of a bot in its meeting nothing is planned"


def sent(site) -> tuple[str, str]:
    """An event, and its bot, which the runner has."""
    event = site.event()
    bot = site.bot(event)
    site.clock.pass_by(hours=2)
    site.work()
    return event, bot


def tell(site, bot: str, state: State) -> None:
    """What the runner reports of the bot's first launch."""
    report = reports.Report(
        key=state,
        event_type="join_requested",
        event_sub_type=None,
        event_metadata={},
        new_state=state,
        at=site.clock(),
    )
    with site.db.begin() as conn:
        assert reports.take(conn, bot, 1, report, now=site.clock())


def test_bots_of_a_deleted_calendar_are_not_launched(site) -> None:
    from calendar_pipeline.bots import store
    from calendar_pipeline.calendars import store as calendars

    event = site.event()
    site.bot(event)
    with site.db.begin() as conn:
        store.calendar_deleted(conn, site.project, site.calendar)
        calendars.delete(conn, site.project, site.calendar)
    site.clock.pass_by(hours=2)
    site.work()
    assert site.runner.asked == []


def test_two_workers_at_once_hand_each_bot_over_once(site) -> None:
    from concurrent.futures import ThreadPoolExecutor

    made = {site.lone_bot(site.clock() + timedelta(minutes=1)) for _ in range(100)}
    site.work()
    site.clock.pass_by(minutes=1)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: run.work(site.bots, limit=50), range(4)))
    site.work()
    assert sorted(site.runner.asked) == sorted(made)
