"""Bots follow their events from a provider's edit to the runner: each rule once, end to end in one process."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from calendar_pipeline.bots import position, queue, run, steps, store
from calendar_pipeline.bots.plan import Policy

MEET = "https://meet.google.com/abc-defg-hij"
ZOOM = "https://zoom.us/j/123456789"


def test_a_moved_event_takes_its_bot_along(site) -> None:
    event = site.event()
    bot = site.bot(event)
    site.work()
    site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=3))
    site.settle()
    assert site.shown(bot).join_at == site.clock() + timedelta(hours=5)
    assert site.decisions(bot) == ["made", "moved"]
    assert site.reasons(bot)[-1] == "event moved to 2026-11-23T14:00:00Z by version 2"


def test_an_event_pulled_to_now_is_joined_at_once(site) -> None:
    event = site.event()
    bot = site.bot(event)
    site.work()
    site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=-2, minutes=-1))
    site.settle()
    assert site.shown(bot).state == "joining"
    assert site.runner.running[bot].join_at is None
    assert site.decisions(bot) == ["made", "moved", "staged", "sent", "launched"]


def test_a_changed_link_is_followed(site) -> None:
    event = site.event()
    bot = site.bot(event)
    site.sandbox.set_link(site.provider_id, event, ZOOM)
    site.settle()
    assert site.shown(bot).meeting_url == ZOOM


def test_a_removed_link_suspends_the_bot_and_a_new_one_sends_it_on(site) -> None:
    event = site.event()
    bot = site.bot(event)
    site.sandbox.set_link(site.provider_id, event, None)
    site.settle()
    assert (site.shown(bot).state, site.shown(bot).meeting_url) == ("scheduled", MEET)
    site.clock.pass_by(hours=2)
    site.work()
    assert site.runner.asked == []
    site.sandbox.set_link(site.provider_id, event, ZOOM)
    site.settle()
    assert site.runner.running[bot].meeting_url == ZOOM
    assert site.decisions(bot) == ["made", "suspended", "restored", "staged", "sent", "launched"]


def test_an_event_that_loses_its_link_and_moves_takes_its_bot_along(site) -> None:
    """The reference keeps both old values then."""
    event = site.event()
    bot = site.bot(event)
    site.sandbox.set_link(site.provider_id, event, None)
    site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=3))
    site.settle()
    assert site.shown(bot).join_at == site.clock() + timedelta(hours=5)
    assert site.decisions(bot) == ["made", "moved", "suspended"]


def test_a_bot_whose_event_never_gets_a_link_back_ends_when_the_meeting_does(site) -> None:
    event = site.event()
    bot = site.bot(event)
    site.sandbox.set_link(site.provider_id, event, None)
    site.settle()
    site.clock.pass_by(hours=3, minutes=1)
    site.work()
    assert site.shown(bot).state == "fatal_error"
    assert '"sub_type": "bot_not_launched"' in site.shown(bot).events


def test_a_cancelled_event_takes_its_bot_away_and_a_restored_one_brings_it_back(site) -> None:
    event = site.event()
    bot = site.bot(event, deduplication_key="k")
    site.sandbox.cancel_event(site.provider_id, event)
    site.settle()
    assert site.shown(bot) is None
    site.sandbox.restore_event(site.provider_id, event)
    site.settle()
    assert (site.shown(bot).id, site.shown(bot).state) == (bot, "scheduled")
    assert site.decisions(bot) == ["made", "cancelled", "restored"]
    assert site.reasons(bot)[1] == "event cancelled by version 2"


def test_an_event_moved_to_where_it_is_over_takes_its_bot_away_and_brings_it_back(site) -> None:
    """An organiser drags a meeting to this morning by mistake: the bot had failed before he dragged it back."""
    early, late = site.event(), site.event()
    bot, staged = site.bot(early), site.bot(late)
    site.work()
    site.sandbox.move_event(site.provider_id, early, by=timedelta(hours=-5))
    site.settle()
    assert site.shown(bot) is None
    site.clock.pass_by(hours=1, minutes=57)
    site.work()
    assert site.shown(staged).state == "staged"
    site.sandbox.move_event(site.provider_id, late, by=timedelta(hours=-5))
    site.settle()
    assert (site.shown(staged), site.row(staged).due_at) == (None, None)
    site.sandbox.move_event(site.provider_id, early, by=timedelta(hours=5))
    site.sandbox.move_event(site.provider_id, late, by=timedelta(hours=6))
    site.clock.pass_by(minutes=3)
    site.settle()
    assert list(site.runner.running) == [bot]
    assert site.decisions(bot) == ["made", "suspended", "restored", "staged", "sent", "launched"]
    assert site.reasons(bot)[1] == "event moved to where it is over by version 2"
    assert (site.shown(staged).state, site.shown(staged).join_at) == ("scheduled", site.clock() + timedelta(hours=1))


def test_a_bot_whose_key_was_taken_meanwhile_stays_away(site) -> None:
    event = site.event()
    first = site.bot(event, deduplication_key="k")
    site.sandbox.cancel_event(site.provider_id, event)
    site.settle()
    second = site.lone_bot(site.clock() + timedelta(hours=4), deduplication_key="k")
    site.sandbox.restore_event(site.provider_id, event)
    site.settle()
    assert site.shown(first) is None
    assert site.shown(second) is not None
    assert site.decisions(first)[-1] == "superseded"


def test_a_declined_event_takes_its_bot_away_if_the_installation_says_so(site) -> None:
    event = site.event(attendees=[site.credentials.account, "boss@example.com"], organizer="boss@example.com")
    bot = site.bot(event)
    site.sandbox.respond(site.provider_id, event, "declined")
    site.settle()
    assert site.shown(bot) is not None
    site.sandbox.retitle_event(site.provider_id, event, "again")
    site.sync()
    site.work(policy=Policy(follow_declines=True))
    assert site.shown(bot) is None
    site.sandbox.respond(site.provider_id, event, "accepted")
    site.sync()
    site.work(policy=Policy(follow_declines=True))
    assert site.shown(bot) is not None


def test_a_disconnected_calendar_takes_its_bots_away_at_once_and_reconnected_brings_them_back(site) -> None:
    kept, moved, gone = site.event(), site.event(hours=5), site.event(hours=6)
    bots = [site.bot(event) for event in (kept, moved, gone)]
    site.work()
    site.disconnect()
    assert [site.shown(bot) for bot in bots] == [None, None, None], "in the very transaction, before any work"
    site.work()
    site.sandbox.move_event(site.provider_id, moved, by=timedelta(hours=1))
    site.sandbox.cancel_event(site.provider_id, gone)
    site.reconnect()
    assert [site.shown(bot) for bot in bots] == [None, None, None], "nothing stale is shown on the way"
    site.work()
    assert site.shown(bots[0]).join_at is not None
    assert site.shown(bots[1]).join_at == site.row(bots[1]).follows_start
    assert site.decisions(bots[1]) == ["made", "suspended", "restored", "moved"]
    assert site.shown(bots[2]) is None
    assert site.decisions(bots[2]) == ["made", "suspended", "cancelled"]
    site.sandbox.restore_event(site.provider_id, gone)
    site.settle()
    assert site.shown(bots[2]) is not None


def test_a_bot_that_is_away_for_another_reason_is_away_for_the_disconnection_as_well(site) -> None:
    event = site.event()
    bot = site.bot(event)
    site.work()
    site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=-3))
    site.settle()
    assert site.row(bot).gone_because == "event_over"
    site.disconnect()
    site.work()
    assert site.row(bot).gone_because == "calendar_disconnected"


@pytest.mark.parametrize("comes", ["the calendar back", "the event back to a calendar that goes"])
def test_a_calendar_that_comes_or_goes_while_its_bots_are_planned_is_not_overlooked(site, comes) -> None:
    """The plan was made of how the calendar stood before, and written after: nobody looked at the bot again."""
    event = site.event()
    bot = site.bot(event)
    if comes == "the calendar back":
        with site.db.begin() as conn:
            conn.execute(sa.text("UPDATE calendar SET state = 'disconnected'"))
    else:
        site.sandbox.cancel_event(site.provider_id, event)
        site.settle()
        site.sandbox.restore_event(site.provider_id, event)
        site.sync()
        run.follow(site.bots, run.Worked())
    lease, now = run.new_lease(), site.clock()
    with site.db.begin() as conn:
        claimed = queue.claim(conn, lease=lease, length=timedelta(minutes=1), now=now, limit=9, again=9)
        seen = queue.events(conn, [one.id for one in claimed])
    with site.db.begin() as conn:
        if comes == "the calendar back":
            conn.execute(sa.text("UPDATE calendar SET state = 'connected'"))
            store.calendar_reconnected(conn, site.calendar, now=now)
        else:
            conn.execute(sa.text("UPDATE calendar SET state = 'disconnected'"))
            store.calendar_disconnected(conn, site.calendar, now=now)
    plans = [steps.step(one, seen[one.id], None, False, policy=Policy(), now=now) for one in claimed]
    with site.db.begin() as conn:
        assert [one.row.id for one in plans] == [bot]
        assert queue.write(conn, [one.row for one in plans], lease=lease, now=now) == set()
    site.work()
    assert (site.shown(bot) is not None) == (comes == "the calendar back")


def test_a_bot_that_is_on_its_way_is_not_held_up_by_a_disconnection(site) -> None:
    event = site.event()
    bot = site.bot(event)
    site.clock.pass_by(hours=1, minutes=50)
    site.disconnect()
    assert site.shown(bot) is None
    other = site.lone_bot(site.clock())
    site.work()
    assert list(site.runner.running) == [other]


def test_what_was_seen_of_an_event_while_disconnected_holds_for_a_bot_on_its_way_once_connected_again(site) -> None:
    """Its link changed just before: looked at meanwhile, and never again, the bot stayed in the former room."""
    event = site.event()
    bot = site.bot(event)
    site.clock.pass_by(hours=1, minutes=59)
    site.work()
    site.clock.pass_by(minutes=1)
    site.work()
    site.sandbox.set_link(site.provider_id, event, ZOOM)
    site.sync()
    site.disconnect()
    site.work()
    assert site.row(bot).event_version == 2
    assert site.runner.running[bot].meeting_url == MEET
    site.reconnect()
    site.work()
    assert [order.meeting_url for order in site.runner.running.values()] == [ZOOM]


def test_this_and_following_carries_the_bot_to_the_same_meeting(site) -> None:
    series = site.event(recurrence=["RRULE:FREQ=DAILY;COUNT=6"])
    with site.db.single() as conn:
        rows = conn.execute(sa.text("SELECT id, provider_event_id FROM calendar_event ORDER BY start_time")).all()
    bots = [site.bot(row.provider_event_id) for row in rows]
    site.work()
    site.sandbox.split_series(site.provider_id, rows[2].provider_event_id, {"summary": "Other"})
    site.settle()
    shown = [site.shown(bot) for bot in bots]
    assert all(shown)
    assert [bot.event_id == row.id for bot, row in zip(shown, rows, strict=True)] == [True, True] + [False] * 4
    assert "carried" in site.decisions(bots[3])
    with site.db.single() as conn:
        standing = {
            row.id: row.start_time
            for row in conn.execute(sa.text("SELECT id, start_time FROM calendar_event WHERE NOT is_deleted"))
        }
    assert [standing[bot.event_id] for bot in shown] == [bot.join_at for bot in shown]
    assert series


def test_this_and_following_carries_the_bot_of_a_declined_instance_too(site) -> None:
    """The new series asks anew, and the owner may come."""
    policy = Policy(follow_declines=True)
    site.event(recurrence=["RRULE:FREQ=DAILY;COUNT=4"], attendees=["boss@example.com"], organizer="boss@example.com")
    with site.db.single() as conn:
        rows = conn.execute(sa.text("SELECT id, provider_event_id FROM calendar_event ORDER BY start_time")).all()
    bot = site.bot(rows[2].provider_event_id)
    site.sandbox.respond(site.provider_id, rows[2].provider_event_id, "declined")
    site.sync()
    site.work(policy=policy)
    assert site.row(bot).gone_because == "event_declined"
    site.sandbox.split_series(site.provider_id, rows[1].provider_event_id, {"summary": "Other"})
    site.sync()
    site.work(policy=policy)
    assert site.shown(bot) is not None
    assert "carried" in site.decisions(bot)


def test_an_event_that_is_made_to_repeat_takes_its_bot_along_to_its_first_instance(site) -> None:
    """Its id names the series from then on, and the bot was taken for that of a cancelled event."""
    event = site.event()
    bot = site.bot(event)
    site.work()
    before = site.shown(bot)
    site.sandbox.patch_event(site.provider_id, event, {"recurrence": ["RRULE:FREQ=DAILY;COUNT=3"]})
    site.settle()
    after = site.shown(bot)
    assert after is not None
    assert (after.join_at, after.meeting_url) == (before.join_at, before.meeting_url)
    with site.db.single() as conn:
        followed = conn.execute(
            sa.text("SELECT series_id, start_time FROM calendar_event WHERE id = :id"), {"id": after.event_id}
        ).one()
    assert tuple(followed) == (event, before.join_at)
    assert "its event repeats by now: it goes on with the instance of the same start" in site.reasons(bot)


def test_several_bots_of_one_event_follow_it_alike(site) -> None:
    event = site.event()
    bots = [site.bot(event) for _ in range(3)]
    site.sandbox.move_event(site.provider_id, event, by=timedelta(minutes=30))
    site.settle()
    assert len({site.shown(bot).join_at for bot in bots}) == 1


def test_a_bot_made_while_its_event_moves_is_not_left_behind(site) -> None:
    """Its maker read the event before the move, and its row came after the move had been followed."""
    event = site.event()
    site.work()
    stale_row = site.ours(event)
    with site.db.begin() as conn:
        from calendar_pipeline.bots.model import NewBot

        stale = store.event(conn, site.project, stale_row)
    site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=1))
    site.settle()
    with site.db.begin() as conn:
        new = NewBot(name="x", meeting_url=MEET, join_at=stale.starts_at, event=stale)
        bot = store.create(conn, site.keyring, site.project, new, now=site.clock()).id
    site.work()
    assert site.shown(bot).join_at == stale.starts_at + timedelta(hours=1)


def test_what_comes_in_between_plan_and_writing_is_not_lost(site) -> None:
    """The client moves the bot while it is being staged: the plan does not count any more."""
    event = site.event()
    bot = site.bot(event)
    site.work()
    site.clock.pass_by(hours=1, minutes=56)

    interfered = []

    def interfere(point: str) -> None:
        if point == "claimed" and not interfered:
            interfered.append(point)
            with site.db.begin() as conn:
                conn.execute(
                    sa.text("UPDATE bot SET join_at = join_at + interval '1 hour', asked = asked + 1, due_at = :now"),
                    {"now": site.clock()},
                )

    site.work(crash=interfere)
    assert site.shown(bot).state == "scheduled"
    assert site.shown(bot).join_at == site.row(bot).follows_start + timedelta(hours=1)


def test_following_costs_what_changed_and_not_what_there_is(site) -> None:
    events = [site.event(hours=2 + number) for number in range(3)]
    for event in events:
        site.bot(event)
    site.work()
    site.sandbox.move_event(site.provider_id, events[0], by=timedelta(minutes=30))
    site.sync()
    before = site.db.statements
    worked = site.work()
    assert worked.decisions == {"moved": 1}
    cost = site.db.statements - before
    with site.db.single() as conn:
        assert position.behind(conn, limit=10) == {}
    assert cost <= 14
    before = site.db.statements
    site.work()
    assert site.db.statements - before == 2, "idle: who is behind, who is due"


def test_following_reads_no_bots_but_those_of_what_changed(site) -> None:
    """All projects' bots are in one table, and each project that has news looks there: twice a second, live."""
    site.event(recurrence=["RRULE:FREQ=DAILY;COUNT=4"])
    with site.db.single() as conn:
        rows = conn.execute(sa.text("SELECT provider_event_id FROM calendar_event ORDER BY start_time")).scalars().all()
    bots = [site.bot(event) for event in rows]
    site.sandbox.cancel_event(site.provider_id, rows[1])
    site.settle()
    site.sandbox.split_series(site.provider_id, rows[2], {"summary": "Other"})
    site.sync()
    with site.db.begin() as conn:
        conn.exec_driver_sql("SET LOCAL session_replication_role = replica")  # without others' projects and events
        others = conn.execute(
            sa.text("""
                INSERT INTO bot (
                    id, project_id, calendar_id, event_id, name, meeting_url, state, created_at, updated_at)
                SELECT 'bot_' || n, 'proj_' || n % 100, 'cal_' || n % 1000, 'evt_' || n, '', '', 'scheduled', :now, :now
                FROM generate_series(1, 20000) n
            """),
            {"now": site.clock()},
        ).rowcount
        conn.exec_driver_sql("UPDATE bot SET asked = 0 WHERE asked > 0")
        conn.exec_driver_sql("ANALYZE bot")
    with site.db.begin() as conn:
        explained = sa.text(f"EXPLAIN (ANALYZE, FORMAT JSON) {position._FOLLOW.text}")
        [plan] = conn.execute(explained, {"project": site.project, "now": site.clock(), "limit": 2000}).scalar_one()
        marked = set(conn.exec_driver_sql("SELECT id FROM bot WHERE asked > 0").scalars())
    assert marked == set(bots[1:]), "two by their events, and by its calendar one that may have an heir now"
    scans = [one for one in _nodes(plan["Plan"]) if one.get("Relation Name") == "bot" and "Scan" in one["Node Type"]]
    read = sum((one["Actual Rows"] + one.get("Rows Removed by Filter", 0)) * one["Actual Loops"] for one in scans)
    assert len(bots) <= read <= 3 * len(bots) < others


def _nodes(plan: dict[str, Any]) -> Any:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)
