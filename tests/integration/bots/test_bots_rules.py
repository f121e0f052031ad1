"""Rules make and cancel bots, one for a meeting, from a provider's edit to what API clients see."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from calendar_pipeline.bots import rule_store, rules, ruling
from calendar_pipeline.bots import store as bot_store
from calendar_pipeline.bots.meetings import ANOTHER
from calendar_pipeline.cli import app
from calendar_pipeline.ingest import run as ingest_run
from calendar_pipeline.projects import rotate
from calendar_pipeline.secrets.keyring import KeyRing, generate

MEET = "https://meet.google.com/abc-defg-hij"
ZOOM = "https://zoom.us/j/123456789"
ALL = "bot: {name: Notes}\nproject: all"


class Ruled:
    """A site with rules, and more calendars in its project."""

    def __init__(self, site: Any, follow: Any, tag: str) -> None:
        self.site, self.follow, self.tag = site, follow, tag
        self.owners = {site.calendar: site.credentials}

    def rules(self, text: str) -> None:
        with self.site.db.begin() as conn:
            assert rule_store.put(conn, self.site.keyring, self.site.project, rules.parse(text), now=self.site.clock())

    def clear(self) -> None:
        with self.site.db.begin() as conn:
            assert rule_store.clear(conn, self.site.project, now=self.site.clock())

    def say(self, event: str, is_wanted: bool | None) -> None:
        with self.site.db.begin() as conn:
            assert rule_store.override(conn, self.site.project, event, is_wanted, now=self.site.clock())

    def calendar(self, provider: str = "google") -> str:
        account = f"{self.tag}{len(self.owners)}@example.com"
        credentials = self.site.sandbox.create_calendar(account=account, zone="Europe/Berlin", provider=provider)
        [calendar] = self.follow([credentials])
        self.owners[calendar] = credentials
        return calendar

    def event(self, calendar: str, *, hours: float = 2, **more: Any) -> str:
        """The provider's id of a new event."""
        start = (self.site.clock() + timedelta(hours=hours)).isoformat()
        more = {"title": "Talk", "link": MEET} | more
        return str(self.site.sandbox.create_event(self.owners[calendar].calendar_id, start=start, **more)["id"])

    def sync(self) -> None:
        list(ingest_run.sync_many(self.site.ingest, sorted(self.owners), threads=1, regardless=True))

    def settle(self) -> None:
        self.sync()
        self.site.work()

    def ours(self, calendar: str, event: str) -> str:
        with self.site.db.single() as conn:
            query = sa.text("SELECT id FROM calendar_event WHERE calendar_id = :calendar AND provider_event_id = :id")
            return str(conn.execute(query, {"calendar": calendar, "id": event}).scalar_one())

    def bots(self) -> list[sa.Row[Any]]:
        """Those that API clients see."""
        with self.site.db.single() as conn:
            query = "SELECT * FROM bot WHERE project_id = :project AND gone_at IS NULL ORDER BY join_at, id"
            return list(conn.execute(sa.text(query), {"project": self.site.project}))

    def disconnect(self, calendar: str) -> None:
        self.site.sandbox.revoke(self.owners[calendar].refresh_token)
        self.sync()
        self.site.clock.pass_by(minutes=11)
        self.sync()


@pytest.fixture
def ruled(site: Any, follow: Any, request: pytest.FixtureRequest) -> Ruled:
    return Ruled(site, follow, f"r{abs(hash(request.node.nodeid))}")


def test_a_bot_is_made_for_a_wanted_event_and_follows_it(ruled, site) -> None:
    ruled.rules("bot: {name: Notes, metadata: {a: 1}, settings: {teams_settings: {use_login: true}}}\nproject: all")
    event = site.event()
    site.work()
    [bot] = ruled.bots()
    assert (bot.name, bot.metadata, bot.made_by, bot.event_id) == ("Notes", {"a": 1}, "rules", site.ours(event))
    assert (bot.meeting_url, bot.join_at) == (MEET, site.clock() + timedelta(hours=2))
    assert site.reasons(bot.id) == ["wanted: all meetings are"]
    with site.db.single() as conn:
        assert bot_store.settings(conn, site.keyring, site.project, bot.id) == {"teams_settings": {"use_login": True}}
    site.sandbox.move_event(site.provider_id, event, by=timedelta(hours=-2))
    site.settle()
    assert site.runner.running[bot.id].settings == {"teams_settings": {"use_login": True}}
    assert len(ruled.bots()) == 1


def test_a_bot_goes_and_comes_back_with_what_the_rules_say_of_its_event(ruled, site) -> None:
    ruled.rules("bot: {name: Notes}\nproject: {title_excludes: [lunch]}")
    event = site.event()
    site.work()
    [bot] = ruled.bots()
    site.sandbox.retitle_event(site.provider_id, event, "Lunch")
    site.settle()
    assert site.shown(bot.id) is None
    site.sandbox.retitle_event(site.provider_id, event, "Talk")
    site.settle()
    assert [one.id for one in ruled.bots()] == [bot.id]
    assert site.decisions(bot.id) == ["made", "cancelled", "restored"]
    assert site.reasons(bot.id)[1] == "not wanted: title contains 'lunch'"


def test_a_bot_that_the_runner_has_is_recalled_when_it_is_not_wanted_any_more(ruled, site) -> None:
    ruled.rules("bot: {name: Notes}\nproject: {title_excludes: [lunch]}")
    event = site.event(hours=0)
    site.work()
    [bot] = ruled.bots()
    assert bot.id in site.runner.running
    site.sandbox.retitle_event(site.provider_id, event, "Lunch")
    site.settle()
    assert (site.runner.running, ruled.bots()) == ({}, [])
    assert "not wanted: title contains 'lunch'" in site.reasons(bot.id)


def test_new_rules_are_applied_to_what_is_there_in_batches_and_cleared_ones_leave_nothing(ruled, site) -> None:
    for hour in (2, 3, 4, 5, 6):
        ruled.event(site.calendar, hours=hour, title=f"Talk {hour}")
    ruled.sync()
    site.work()
    assert ruled.bots() == []
    ruled.rules(ALL)
    counts = [ruling.judge(site.db, site.keyring, site.project, now=site.clock(), crash=len, batch=2) for _ in range(4)]
    assert counts == [2, 2, 1, 0]
    site.work()
    assert len(ruled.bots()) == 5
    ruled.rules("bot: {name: Other}\nproject: {title_contains: ['4', '5']}")
    site.work()
    assert [(bot.name, bot.join_at - site.clock()) for bot in ruled.bots()] == [
        ("Notes", timedelta(hours=4)),
        ("Notes", timedelta(hours=5)),
    ]
    ruled.clear()
    site.work()
    assert ruled.bots() == []
    ruled.rules(ALL)
    site.work()
    assert len(ruled.bots()) == 5


def test_a_persons_yes_or_no_goes_before_the_rules_until_it_is_unset(ruled, site) -> None:
    ruled.rules("bot: {name: Notes}\nproject: none")
    event = site.ours(site.event())
    site.work()
    seen = []
    for said in (True, False, True, None):
        ruled.say(event, said)
        site.work()
        seen.append(len(ruled.bots()))
    assert seen == [1, 0, 1, 0]


def test_a_bot_that_a_client_deleted_is_made_again_only_after_a_yes(ruled, site) -> None:
    ruled.rules(ALL)
    event = site.event()
    site.work()
    [bot] = ruled.bots()
    with site.db.begin() as conn:
        assert bot_store.delete(conn, site.project, bot.id, now=site.clock())
    site.sandbox.retitle_event(site.provider_id, event, "Again")
    site.settle()
    assert ruled.bots() == []
    site.clock.pass_by(minutes=1)
    ruled.say(site.ours(event), True)
    site.work()
    assert [one.id != bot.id for one in ruled.bots()] == [True]


def test_bots_of_clients_are_never_touched(ruled, site) -> None:
    event = site.event()
    bot = site.bot(event)
    ruled.rules("bot: {name: Notes}\nproject: none")
    site.work()
    ruled.say(site.ours(event), False)
    site.work()
    ruled.clear()
    site.work()
    assert site.decisions(bot) == ["made"]
    assert site.shown(bot) is not None


def test_one_bot_joins_a_meeting_of_two_calendars_and_the_other_takes_over(ruled, site) -> None:
    ruled.rules(ALL)
    other = ruled.calendar()
    for calendar in (site.calendar, other):
        ruled.event(calendar, event_id="shared", organizer="boss@example.com", attendees=["boss@example.com"])
    ruled.settle()
    [bot] = ruled.bots()
    assert bot.calendar_id == min(site.calendar, other)
    rest = max(site.calendar, other)
    site.sandbox.delete_event(ruled.owners[bot.calendar_id].calendar_id, "shared")
    ruled.settle()
    [heir] = ruled.bots()
    assert (heir.calendar_id, heir.event_id) == (rest, ruled.ours(rest, "shared"))
    site.sandbox.restore_event(ruled.owners[bot.calendar_id].calendar_id, "shared")
    ruled.settle()
    assert [one.id for one in ruled.bots()] == [heir.id]
    assert site.row(bot.id).unwanted_because == ANOTHER


def test_another_provider_has_the_same_meeting_by_link_and_exact_start(ruled, site) -> None:
    ruled.rules(ALL)
    other = ruled.calendar("microsoft")
    ruled.event(site.calendar, link=ZOOM)
    ruled.event(other, link=ZOOM)
    near = ruled.event(other, link=ZOOM, hours=2.5)
    ruled.settle()
    assert [bot.join_at - site.clock() for bot in ruled.bots()] == [timedelta(hours=2), timedelta(hours=2.5)]
    assert ruled.bots()[1].event_id == ruled.ours(other, near)


def test_a_copy_that_moves_away_leaves_the_meeting_to_the_others(ruled, site) -> None:
    ruled.rules(ALL)
    other = ruled.calendar()
    events = {calendar: ruled.event(calendar, link=ZOOM) for calendar in (site.calendar, other)}
    ruled.settle()
    [bot] = ruled.bots()
    site.sandbox.move_event(ruled.owners[bot.calendar_id].calendar_id, events[bot.calendar_id], by=timedelta(hours=3))
    ruled.settle()
    stays = max(site.calendar, other)
    assert [(one.join_at - site.clock(), one.calendar_id) for one in ruled.bots()] == [
        (timedelta(hours=2), stays),
        (timedelta(hours=5), bot.calendar_id),
    ]
    assert ruled.bots()[1].id == bot.id


def test_a_disconnected_calendar_gives_its_meetings_to_another_and_does_not_take_them_back(ruled, site) -> None:
    ruled.rules(ALL)
    other = ruled.calendar()
    for calendar in (site.calendar, other):
        ruled.event(calendar, event_id="shared")
    ruled.settle()
    [bot] = ruled.bots()
    ruled.disconnect(bot.calendar_id)
    site.work()
    [heir] = ruled.bots()
    assert heir.calendar_id == max(site.calendar, other)
    with site.db.begin() as conn:
        conn.execute(
            sa.text("UPDATE calendar SET state = 'connected', connection_failure_data = NULL WHERE id = :id"),
            {"id": bot.calendar_id},
        )
        bot_store.calendar_reconnected(conn, bot.calendar_id, now=site.clock())
    site.work()
    assert [one.id for one in ruled.bots()] == [heir.id]
    assert site.decisions(bot.id)[-1] == "cancelled"


def test_a_deleted_calendar_gives_its_meetings_to_another(ruled, site) -> None:
    ruled.rules(ALL)
    other = ruled.calendar()
    for calendar in (site.calendar, other):
        ruled.event(calendar, event_id="shared")
    ruled.settle()
    [bot] = ruled.bots()
    with site.db.begin() as conn:
        bot_store.calendar_deleted(conn, site.project, bot.calendar_id)
        conn.execute(sa.text("DELETE FROM calendar WHERE id = :id"), {"id": bot.calendar_id})
    site.work()
    assert [one.calendar_id for one in ruled.bots()] == [max(site.calendar, other)]


def test_a_series_that_is_split_has_one_bot_for_each_instance(ruled, site) -> None:
    ruled.rules(ALL)
    series = ruled.event(site.calendar, recurrence=["RRULE:FREQ=DAILY;COUNT=4"])
    ruled.settle()
    assert len(ruled.bots()) == 4
    with site.db.single() as conn:
        third = (
            conn.execute(
                sa.text("SELECT provider_event_id FROM calendar_event WHERE series_id = :id ORDER BY starts_at"),
                {"id": series},
            )
            .scalars()
            .all()[2]
        )
    site.sandbox.split_series(site.provider_id, third, {"summary": "New"})
    ruled.settle()
    assert [(bot.join_at - site.clock()) // timedelta(days=1) for bot in ruled.bots()] == [0, 1, 2, 3]
    assert len({bot.event_id for bot in ruled.bots()}) == 4


@contextmanager
def statements(db: Any) -> Iterator[list[str]]:
    said: list[str] = []

    def hear(_: Any, __: Any, statement: str, *___: Any) -> None:
        said.append(statement)

    sa.event.listen(db.engine, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", hear)


def test_projects_without_rules_pay_for_no_statement(ruled, site) -> None:
    site.work()
    site.event()
    with statements(site.db) as said:
        site.work()
    assert not [one for one in said if "bot_rules" in one and "project_counter" not in one]
    without = len(said)
    ruled.rules(ALL)
    site.work()
    site.event(hours=5, link=ZOOM)
    with statements(site.db) as said:
        site.work()
    assert len(said) > without


def test_judging_costs_the_same_whatever_else_there_is(ruled, site) -> None:
    ruled.rules(ALL)
    costs = []
    for count in (1, 20):
        for n in range(count):
            ruled.event(site.calendar, hours=2 + count + n, link=ZOOM)
        ruled.sync()
        before = site.db.statements
        assert ruling.judge(site.db, site.keyring, site.project, now=site.clock(), crash=len) == count
        costs.append(site.db.statements - before)
    assert costs[0] == costs[1] <= 7


def test_rules_that_are_judged_by_somebody_else_are_left_alone(ruled, site) -> None:
    ruled.rules(ALL)
    site.event()
    with site.db.begin() as conn:
        assert rule_store.claim(conn, site.keyring, site.project) is not None
        assert ruling.judge(site.db, site.keyring, site.project, now=site.clock(), crash=len) == 0
    site.work()
    assert len(ruled.bots()) == 1


def test_sealed_settings_of_rules_are_sealed_anew_with_all_other_secrets(ruled, site) -> None:
    old = generate("old")
    site.keyring = KeyRing.parse(old)
    ruled.rules("bot: {name: Notes, settings: {teams_settings: {use_login: true}}}\nproject: all")
    both = KeyRing.parse(f"{generate('next')},{old}")
    assert rotate.rotate(site.db, both).sealed["bot_rules.settings"] == 1
    with site.db.single() as conn:
        kept = rule_store.get(conn, both, site.project)
    assert kept.bot.settings == {"teams_settings": {"use_login": True}}


@pytest.fixture
def cli(site: Any, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CALENDAR_PIPELINE_KEYS", generate("cli"))
    monkeypatch.setenv("STATE_DIR", str(tmp_path))

    def cli(*words: str) -> str:
        result = CliRunner().invoke(app, ["rules", *words])
        if result.exception is not None:
            raise result.exception
        return result.stdout

    return cli


def test_a_dry_run_says_what_would_have_been_what_will_be_and_why(ruled, site, cli, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("calendar_pipeline.wiring.utc_now", site.clock)
    names = {"Past talk": 2, "Past lunch": 3, "Talk": 30, "Lunch": 31, "Call": 32}
    for title, hours in names.items():
        ruled.event(site.calendar, hours=hours, title=title)
    ruled.sync()
    site.clock.pass_by(hours=28)
    ruled.rules("bot: {name: Notes}\nproject: {title_contains: [talk, lunch]}")
    site.work()
    assert [bot.join_at - site.clock() for bot in ruled.bots()] == [timedelta(hours=2), timedelta(hours=3)]
    (tmp_path / "rules.yaml").write_text("bot: {name: Notes}\nproject: {title_excludes: [lunch]}")
    told = cli("dry-run", "--project", site.project, "--rules", "rules.yaml", "--since", "30d")
    lines = [line.split() for line in told.splitlines()]
    assert [" ".join(line[2:]).replace("  ", " ").split(" evt_")[0] for line in lines[1:5]] == [
        "would have been Past talk",
        "kept Talk",
        "dropped Lunch",
        "added Call",
    ]
    assert "title contains 'lunch'" in told
    assert "1 would have been scheduled in the last 30d; 2 will be: 1 added, 1 as they are; 1 dropped." in told
    assert "Past lunch" in cli("dry-run", "--project", site.project, "--rules", "rules.yaml", "--all")
    assert len(ruled.bots()) == 2


def test_rules_are_set_shown_overridden_and_cleared_from_the_command_line(ruled, site, cli, tmp_path) -> None:
    (tmp_path / "rules.yaml").write_text(
        "bot: {name: Notes, settings: {teams_settings: {use_login: true}}}\nproject: none"
    )
    project = ("--project", site.project)
    event = site.ours(site.event())
    assert "has no rules" in cli("show", *project)
    assert "once the project has rules" in cli("override", event, "yes", *project)
    assert "The rules are set" in cli("set", *project, "--rules", "rules.yaml")
    shown = cli("show", *project)
    assert rules.parse(shown).project == "none"
    assert "not shown: teams_settings" in shown
    assert cli("override", event, "unset", *project) == f"{event}: unset.\n"
    assert "are cleared" in cli("clear", *project)
    assert "has no rules" in cli("clear", *project)


def test_mistakes_on_the_command_line_are_told(site, cli, tmp_path) -> None:
    project = ("--project", site.project)
    (tmp_path / "rules.yaml").write_text("bot: {name: Notes}\ncalendars: {cal_x: all}")
    for words, told in {
        ("set", *project, "--rules", "rules.yaml"): "has no calendar cal_x",
        ("set", *project, "--rules", "nothing.yaml"): "nothing.yaml cannot be read",
        ("dry-run", *project, "--rules", "rules.yaml", "--since", "soon"): "such as 30d",
        ("override", "evt_x", "maybe", *project): "Say yes, no, unset",
        ("override", "evt_x", "no", *project): "no calendar event evt_x",
    }.items():
        with pytest.raises(Exception, match=told):
            cli(*words)
    (tmp_path / "rules.yaml").write_text(ALL)
    with pytest.raises(Exception, match="no project proj_x"):
        cli("set", "--project", "proj_x", "--rules", "rules.yaml")
