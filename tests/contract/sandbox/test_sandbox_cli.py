"""`calendar-pipeline sandbox …` against a running sandbox."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sandbox.cli import app
from sandbox.server import Running, running

ME = "a@example.com"


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Running) -> Running:
    shared.world.__init__()
    shared.create_calendar(account=ME)
    shared.create_event(ME, title="Weekly", start="2099-01-06T15:00", recurrence=["RRULE:FREQ=WEEKLY;COUNT=3"])
    shared.create_event(ME, title="Lunch", start="2099-01-07T12:00", attendees=["b@example.com"])
    return shared


@pytest.fixture
def run(sandbox: Running) -> Callable[..., str]:
    """Runs a command; gives what it printed, and expects it to succeed unless told otherwise."""

    def run(*words: str, fails: bool = False) -> str:
        result = CliRunner().invoke(app, list(words), env={"SANDBOX_URL": sandbox.url, "COLUMNS": "200"})
        assert (result.exit_code != 0) == fails, result.output
        return result.output.strip()

    return run


@pytest.mark.parametrize(
    ("words", "said", "left"),
    [
        (["move", "week", "--by", "1d30m"], "moved 'Weekly', Wed 2099-01-07 15:30", 4),
        (["move", "week", "--by", "-1h", "--series"], "moved series 'Weekly', Tue 2099-01-06 14:00", 4),
        (["move", "lunch", "--to", "2099-01-08T13:00"], "moved 'Lunch', Thu 2099-01-08 13:00", 4),
        (["retitle", "lunch", "Brunch"], "retitled 'Brunch'", 4),
        (
            ["link", "lunch", "https://meet.google.com/abc-defg-hij"],
            "linked to https://meet.google.com/abc-defg-hij",
            4,
        ),
        (["link", "lunch"], "unlinked 'Lunch'", 4),
        (["cancel", "weekly"], "cancelled 'Weekly', Tue 2099-01-06 15:00", 3),
        (["delete", "weekly", "--series"], "deleted series 'Weekly'", 1),
        (["decline", "lunch"], "declined 'Lunch'", 4),
        (["split", "weekly", "--title", "Other"], "split, and goes on as series 'Other'", 4),
        (["create", "New", "--at", "2099-01-09"], "created 'New', 2099-01-09 all day", 5),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_command_says_in_a_line_what_it_did(
    sandbox: Running, run: Callable[..., str], words: list[str], said: str, left: int
) -> None:
    told = run(*words)
    assert told.startswith(said)
    assert "\n" not in told
    assert len(sandbox.listing(ME)) == left


def test_what_was_cancelled_is_restored(sandbox: Running, run: Callable[..., str]) -> None:
    run("cancel", "weekly")
    assert run("restore", "weekly").startswith("restored 'Weekly', Tue 2099-01-06 15:00")
    assert len(sandbox.listing(ME)) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cancel", "nothing"], "`events` shows what there is"),
        (["move", "lunch", "--by", "soon"], "write 30m"),
        (["move", "lunch"], "Say either by how much"),
        (["load", "/nowhere.ics"], "Cannot read /nowhere.ics"),
        (["switch", "tombstones", "some"], "Invalid enum value"),
        (["fault", "nonsense"], "Known: invalid_grant"),
        (["clock", "--to", "soon"], "is no time"),
        (["events", "--calendar", "nowhere"], "There is no calendar 'nowhere'"),
        (["calendars", "--url", "http://127.0.0.1:1"], "sandbox serve"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_an_error_says_what_to_do(run: Callable[..., str], words: list[str], said: str) -> None:
    assert said in run(*words, fails=True)


def test_several_calendars_have_to_be_told_apart(sandbox: Running, run: Callable[..., str]) -> None:
    sandbox.create_calendar(account="b@example.com")
    assert "--calendar" in run("events", fails=True)
    assert "No event" not in run("cancel", "lunch", "--calendar", ME)


def test_what_there_is_is_shown(run: Callable[..., str]) -> None:
    assert ME in run("calendars")
    assert "Lunch" in run("events", "--days", "36500")
    assert "access_token" in run("token")
    assert "expansion_cap = 730" in run("switch")
    assert run("switch", "page-size", "3") == "page_size = 3"
    assert run("fault", "gone", "--times", "0") == "gone will strike where it belongs, until cleared"
    assert "waiting: gone" in run("fault")
    assert run("fault", "--clear") == "cleared 1 faults"
    assert run("clock", "--to", "2026-11-24T15:00:00Z").startswith("it is 2026-11-24 15:00:0")
    assert "no requests yet" in run("requests")
    assert "refresh_token" in run("new-calendar")


def test_an_export_is_loaded(run: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "x.ics"
    file.write_text("BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:x\nDTSTART:20200106T100000Z\nEND:VEVENT\nEND:VCALENDAR\n")
    assert run("load", str(file), "--account", "c@example.com").startswith(
        "loaded 1 events and series into c@example.com;"
    )


@pytest.fixture
def demos(sandbox: Running) -> Running:
    sandbox.world.__init__()
    sandbox.world.set_clock(datetime(2026, 11, 23, 8, tzinfo=UTC), frozen=True)
    sandbox.add_demo()
    sandbox.add_demo(provider="microsoft")
    return sandbox


def test_both_demos_are_worked_on_by_their_events_titles(demos: Running, run: Callable[..., str]) -> None:
    assert run("move", "Planning", "--by", "30m").startswith("moved 'Planning', Mon 2026-11-23 14:30")
    assert run("move", "Budget round", "--by", "30m").startswith("moved 'Budget round', Tue 2026-11-24 15:30")
    assert run("link", "Budget", "https://us02web.zoom.us/j/8").startswith("linked to https://us02web.zoom.us/j/8: ")
    assert run("cancel", "Partner update").startswith("cancelled 'Canceled: Partner update'")
    assert run("restore", "Partner update").startswith("restored 'Partner update'")
    assert run("delete", "Partner update").startswith("deleted 'Partner update'")
    assert run("split", "Coaching", "--title", "Other").startswith(
        "split, and goes on as series 'Other', Wed 2026-11-25"
    )
    assert "No event in demo@example.com" in run("cancel", "nothing", fails=True)
    shown = run("events", "--calendar", "demo-microsoft@example.com")
    assert "Town hall" in shown
    assert "Stand-up" in run("events")


def test_a_microsoft_calendar_is_made_filled_and_troubled(demos: Running, run: Callable[..., str]) -> None:
    assert "microsoft" in run("new-calendar", "--account", "b@contoso.example", "--provider", "microsoft")
    assert run("create", "Kick-off", "--at", "2026-11-24", "-c", "b@contoso.example").startswith("created 'Kick-off'")
    assert run("switch", "replay", "true", "--provider", "microsoft") == "replay = True"
    assert run("switch", "replay", "-c", "b@contoso.example") == "replay = True"
    assert "aadsts50173" in run("fault")
    told = run("fault", "aadsts50173", "--account", "b@contoso.example")
    assert told == "aadsts50173 will strike where it belongs, 1 times"
    assert run("lifecycle", "missed", "-c", "b@contoso.example") == "missed told to 0 subscriptions"
    assert run("vanish", "-c", "b@contoso.example") == "0 are gone"
