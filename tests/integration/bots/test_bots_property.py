"""After quiet each bot is as its event wants it, whatever the order of edits, disconnections, crashes and time."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from calendar_pipeline.bots import plan, queue, rule_store, run, steps
from calendar_pipeline.bots.model import TERMINAL
from calendar_pipeline.bots.port import Down
from calendar_pipeline.bots.rules import Policy, Rules, Template
from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.projects import store as projects

EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "5"))
STEPS = int(os.environ.get("PROPERTY_STEPS", "15"))
POINTS = ("judged", "followed", "claimed", "planned", "committed", "asking", "answered", "handed", "told", "recalled")
LINKS = ("https://meet.google.com/abc-defg-hij", "https://zoom.us/j/123456789", None)
LEAD = timedelta(minutes=5)
LEASE = timedelta(seconds=0.2)


class Died(Exception):
    """The worker is no more."""


class BotMachine(RuleBasedStateMachine):
    """Edits at the provider, and workers that come, go and die."""

    def __init__(self, new_site: Callable[[], Any]) -> None:
        super().__init__()
        self.site = new_site()
        self.site.bots = replace(self.site.bots, lease=LEASE)
        self.events: list[str] = []
        self.cancelled: set[str] = set()
        self.bots: list[str] = []
        self.links: dict[str, str | None] = {}
        self.is_connected = True

    def _event(self, number: int) -> str:
        return self.events[number % len(self.events)]

    @precondition(lambda self: len(self.events) < 4 and self.is_connected)
    @rule(hours=st.integers(1, 3), bots=st.integers(1, 2))
    def a_meeting_with_bots(self, hours: int, bots: int) -> None:
        event = self._meeting(hours)
        self.bots += [self.site.bot(event) for _ in range(bots)]

    def _meeting(self, hours: int) -> str:
        event = self.site.event(hours=hours)
        self.events.append(event)
        self.links[event] = LINKS[0]
        return event

    @precondition(lambda self: self.events)
    @rule(number=st.integers(0, 3), minutes=st.sampled_from([-90, -20, 7, 60, 200]))
    def move(self, number: int, minutes: int) -> None:
        if (event := self._event(number)) not in self.cancelled:
            self.site.sandbox.move_event(self.site.provider_id, event, by=timedelta(minutes=minutes))

    @precondition(lambda self: self.events)
    @rule(number=st.integers(0, 3), link=st.sampled_from(LINKS))
    def change_the_link(self, number: int, link: str | None) -> None:
        if (event := self._event(number)) not in self.cancelled:
            self.site.sandbox.set_link(self.site.provider_id, event, link)
            self.links[event] = link

    @precondition(lambda self: self.events)
    @rule(number=st.integers(0, 3))
    def cancel_or_restore(self, number: int) -> None:
        event = self._event(number)
        if event in self.cancelled:
            self.site.sandbox.restore_event(self.site.provider_id, event)
            self.cancelled.discard(event)
        else:
            self.site.sandbox.cancel_event(self.site.provider_id, event)
            self.cancelled.add(event)

    @rule(minutes=st.sampled_from([1, 4, 30, 70]))
    def time_passes(self, minutes: int) -> None:
        self.site.clock.pass_by(minutes=minutes)
        self.site.sandbox.set_clock(self.site.clock(), frozen=True)

    @precondition(lambda self: self.is_connected)
    @rule()
    def sync(self) -> None:
        self.site.sync()

    @rule()
    def a_worker_comes(self) -> None:
        run.work(self.site.bots)

    @rule(point=st.sampled_from(POINTS))
    def a_worker_dies(self, point: str) -> None:
        def die(reached: str) -> None:
            if reached == point:
                raise Died

        try:
            run.work(replace(self.site.bots, crash=die))
        except Died:
            time.sleep(LEASE.total_seconds() * 1.2)

    @rule(how=st.sampled_from(["well", "deaf", "dumb"]))
    def the_runner_is(self, how: str) -> None:
        """One that is dumb does what it is asked for, and its answer is lost."""
        runner = self.site.runner

        def accepts(order: Any) -> Down:
            runner.running.setdefault(order.key, order)
            return Down("timeout")

        def gives_back(order: Any) -> Down:
            runner.running.pop(order.key, None)
            return Down("timeout")

        runner.answer = {"well": lambda _: None, "deaf": lambda _: Down("timeout"), "dumb": accepts}[how]
        runner.keep = {"well": lambda _: None, "deaf": lambda _: Down("timeout"), "dumb": gives_back}[how]

    @precondition(lambda self: self.events)
    @rule()
    def disconnect_or_reconnect(self) -> None:
        if self.is_connected:
            self.site.disconnect()
        else:
            self.site.reconnect()
        self.is_connected = not self.is_connected

    def teardown(self) -> None:
        """Quiet: the runner answers, everything is read, and nothing is left to do."""
        site = self.site
        site.runner.answer = site.runner.keep = lambda _: None
        time.sleep(LEASE.total_seconds() * 1.2)
        if self.is_connected:
            site.sync()
        site.clock.pass_by(minutes=1)  # a runner that was down has been left alone for a minute at most
        site.work()
        self._each_bot_is_as_planned()
        self._no_bot_is_there_twice()
        self._none_is_missed()

    def _each_bot_is_as_planned(self) -> None:
        site = self.site
        with site.db.begin() as conn:
            conn.execute(sa.text("UPDATE bot SET due_at = :now, attempts = 0"), {"now": site.clock()})
        with site.db.single() as conn:
            claimed = queue.claim(conn, lease=run.new_lease(), length=timedelta(), now=site.clock(), limit=100, again=0)
            seen = queue.events(conn, [bot.id for bot in claimed])
        for bot in claimed:
            planned = steps.planned(bot, is_key_taken=seen[bot.id].is_key_taken)
            step = plan.decide(planned, seen[bot.id].event, policy=site.bots.policy, now=site.clock())
            assert isinstance(step, plan.Nothing), (bot, step)

    def _no_bot_is_there_twice(self) -> None:
        """But for one that the runner could not be asked back before its meeting was over."""
        running = self.site.runner.running
        twice = [bot for bot in self.bots if bot in running and f"{bot}.2" in running]
        assert not [bot for bot in twice if "recall given up" not in self.site.decisions(bot)]

    def _none_is_missed(self) -> None:
        """Told from the provider alone: a bot of a meeting that is on, with a link, is with the runner."""
        site = self.site
        for bot in self.bots:
            row = site.row(bot)
            if row.state == "joining":
                assert {bot, f"{bot}.{row.launch}"} & site.runner.running.keys(), "we think that the runner has it"
            with site.db.single() as conn:
                event = conn.execute(
                    sa.text("SELECT provider_event_id FROM calendar_event WHERE id = :id"), {"id": row.event_id}
                ).scalar_one()
            there = site.sandbox.event(site.provider_id, event)
            is_cancelled = there.get("status") == "cancelled"
            if is_cancelled and self.is_connected and row.state == "scheduled":
                assert site.shown(bot) is None
            if not self.is_connected and row.state == "scheduled":
                assert site.shown(bot) is None
            if is_cancelled or not self.is_connected or row.state != "scheduled":
                continue
            start = datetime.fromisoformat(there["start"]["dateTime"]).astimezone(UTC)
            shown = site.shown(bot)
            assert shown is not None or start <= site.clock(), "its event is to come, and the bot is gone"
            if shown is not None and row.suspended_at is None:
                assert shown.join_at == start
                assert shown.join_at > site.clock(), "its time has come, and no runner has it"


class RuledMachine(BotMachine):
    """The same without clients: rules make the bots, and they change as well."""

    def __init__(self, new_site: Callable[[], Any]) -> None:
        super().__init__(new_site)
        self.titles: dict[str, str] = {}
        self.said: dict[str, bool | None] = {}
        self.which: str | None = None
        self.rules_are("all")

    @precondition(lambda self: len(self.events) < 4 and self.is_connected)
    @rule(hours=st.integers(1, 3))
    def a_meeting_with_bots(self, hours: int) -> None:
        self.titles[self._meeting(hours)] = "Talk"

    @rule(which=st.sampled_from(["all", "none", "talk", None]))
    def rules_are(self, which: str | None) -> None:
        site, now = self.site, self.site.clock()
        policy = Policy(title_contains=("talk",)) if which == "talk" else which
        with site.db.begin() as conn:
            if policy is None:
                rule_store.clear(conn, site.project, now=now)
            else:
                rules = Rules(bot=Template(name="Notes"), project=policy)
                assert rule_store.put(conn, site.keyring, site.project, rules, now=now)
        self.which = which

    @precondition(lambda self: self.events)
    @rule(number=st.integers(0, 3), is_wanted=st.sampled_from([True, False, None]))
    def say(self, number: int, is_wanted: bool | None) -> None:
        event = self._event(number)
        with self.site.db.begin() as conn:
            ours = self.site.ours(event)
            assert rule_store.override(conn, self.site.project, ours, is_wanted, now=self.site.clock())
        self.said[event] = is_wanted

    @precondition(lambda self: self.events)
    @rule(number=st.integers(0, 3), title=st.sampled_from(["Talk", "Lunch"]))
    def retitle(self, number: int, title: str) -> None:
        if (event := self._event(number)) not in self.cancelled:
            self.site.sandbox.retitle_event(self.site.provider_id, event, title)
            self.titles[event] = title

    def _none_is_missed(self) -> None:
        """Told from the provider and the rules alone: a meeting to come has one bot if it is wanted, else none."""
        site = self.site
        meetings: dict[tuple[str | None, datetime, str], list[str]] = {}
        for event in self.events:
            there = site.sandbox.event(site.provider_id, event)
            start = datetime.fromisoformat(there["start"]["dateTime"]).astimezone(UTC)
            if start > site.clock() + LEAD and self.is_connected:
                alone = "" if self.links[event] else event
                meetings.setdefault((self.links[event], start, alone), []).append(event)
        for (link, start, _), events in meetings.items():
            wanted = [event for event in events if event not in self.cancelled and self._is_wanted(event)]
            bots = [bot for event in events for bot in self._bots(event)]
            here = [bot for bot in bots if bot.gone_at is None and bot.state not in TERMINAL]
            if any(bot.state in TERMINAL and bot.follows_start == start for bot in bots):
                continue  # one was sent there and came to nothing: none goes again
            if not wanted:
                assert here == []
            elif link is not None:
                assert len(here) == 1
                assert here[0].meeting_url == link

    def _is_wanted(self, event: str) -> bool:
        said = self.said.get(event)
        if self.which is None or said is not None:
            return self.which is not None and bool(said)
        return self.which == "all" or (self.which == "talk" and self.titles[event] == "Talk")

    def _bots(self, event: str) -> list[sa.Row[Any]]:
        query = sa.text("SELECT b.* FROM bot b JOIN calendar_event e ON e.id = b.event_id WHERE e.id = :id")
        with self.site.db.single() as conn:
            return list(conn.execute(query, {"id": self.site.ours(event)}))


@pytest.mark.parametrize("machine", [BotMachine, RuledMachine], ids=["made by clients", "made by rules"])
def test_after_quiet_each_bot_is_as_its_event_wants_it(site, machine) -> None:
    """`make soak` runs many more steps (PROPERTY_EXAMPLES, PROPERTY_STEPS)."""
    number = iter(range(10_000))

    def new_site() -> Any:
        """A calendar of its own in a project of its own."""
        credentials = site.sandbox.create_calendar(account=f"property{next(number)}@example.com")
        with site.db.begin() as conn:
            conn.execute(sa.text("DELETE FROM bot"))
            conn.execute(sa.text("DELETE FROM bot_rules"))
            project = projects.create(conn, "property", now=site.clock()).id
            calendar = calendars.create(
                conn,
                site.keyring,
                project,
                calendars.NewCalendar(
                    platform="google",
                    platform_uuid=credentials.calendar_id,
                    client_id=credentials.client_id,
                    client_secret=credentials.client_secret,
                    refresh_token=credentials.refresh_token,
                ),
                now=site.clock(),
            )
        site.runner.running.clear()
        site.runner.answer = site.runner.keep = lambda _: None
        return replace(site, project=project, credentials=credentials, calendar=calendar.id)

    run_state_machine_as_test(
        lambda: machine(new_site),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            report_multiple_bugs=False,
        ),
    )
