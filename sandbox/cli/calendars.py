"""Calendars and who may read them."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sandbox.cli import terminal
from sandbox.cli.terminal import URL, At, Calendar, Url, out
from sandbox.errors import Unusable


def load(
    file: Path,
    calendar: Calendar = None,
    shift_to_now: Annotated[
        bool, typer.Option("--shift-to-now", help="Move by whole weeks, the densest to now.")
    ] = False,
    account: Annotated[str | None, typer.Option(help="Owner of a new calendar.")] = None,
    provider: At = "google",
    url: Url = URL,
) -> None:
    """Load an .ics export into a calendar; a new one unless --calendar names one."""
    with terminal.client(url) as sandbox:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            message = f"Cannot read {file}: {error.strerror}."
            raise Unusable(message) from None
        done = sandbox.load(text, calendar_id=calendar, account=account, shift_to_now=shift_to_now, provider=provider)
        moved = f", {done.shifted_weeks:+d} weeks" if done.shifted_weeks else ""
        out.print(
            f"loaded {done.events} events and series into {done.calendar_id}{moved}; {len(done.skipped)} left out"
        )
        for reason in done.skipped:
            out.print(f"  left out: {reason}", markup=False)


def calendars(url: Url = URL) -> None:
    """All calendars."""
    with terminal.client(url) as sandbox:
        table = Table("account", "provider", "zone", "events", "changes")
        table.add_column("id", overflow="fold")
        for row in sandbox.calendars():
            told = (row["provider"], row["zone"], str(row["events"]), str(row["changes"]))
            table.add_row(row["account"], *told, row["id"])
        out.print(table)


def new_calendar(
    account: Annotated[str | None, typer.Option(help="Address of its owner.")] = None,
    zone: str = "Europe/Berlin",
    summary: str | None = None,
    provider: At = "google",
    url: Url = URL,
) -> None:
    """Make a calendar, and print what an application needs to follow it."""
    with terminal.client(url) as sandbox:
        terminal.print_credentials(
            sandbox.create_calendar(account=account, zone=zone, summary=summary, provider=provider)
        )


def token(calendar: Calendar = None, url: Url = URL) -> None:
    """The credentials of a calendar's account, and an access token for trying things by hand."""
    with terminal.client(url) as sandbox:
        made = sandbox.credentials(terminal.calendar_id(sandbox, calendar))
        terminal.print_credentials(made)
        out.print(f"access_token   {sandbox.issue_access_token(made.account)}")
