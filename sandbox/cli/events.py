"""What people do to events."""

from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table

from sandbox.cli import terminal
from sandbox.cli.terminal import URL, Calendar, Event, Series, Url, out


def events(
    calendar: Calendar = None,
    days: Annotated[int, typer.Option(help="How far ahead.")] = 14,
    back: Annotated[int, typer.Option(help="How many days back.")] = 0,
    url: Url = URL,
) -> None:
    """What is to come."""
    with terminal.client(url) as sandbox:
        calendar_id, now = terminal.calendar_id(sandbox, calendar), sandbox.now()
        rows = sandbox.listing(calendar_id, time_min=now - timedelta(days=back), time_max=now + timedelta(days=days))
        table = Table("start", "title", "link", "answer", title=f"{calendar_id}, the next {days} days")
        table.add_column("id", overflow="fold")
        for row in rows:
            table.add_row(terminal.start(row), terminal.title(row), terminal.link(row), terminal.answer(row), row["id"])
        out.print(table)


def create(
    title: str,
    at: Annotated[str, typer.Option("--at", help="2026-11-24T15:00, or 2026-11-24 for all day.")],
    calendar: Calendar = None,
    minutes: int = 30,
    link: str | None = None,
    location: str | None = None,
    attendee: Annotated[list[str] | None, typer.Option(help="Address; may be repeated.")] = None,
    rule: Annotated[str | None, typer.Option(help="FREQ=WEEKLY;BYDAY=TU makes a series.")] = None,
    url: Url = URL,
) -> None:
    """Create an event or a series."""
    with terminal.client(url) as sandbox:
        recurrence = [f"RRULE:{rule.removeprefix('RRULE:')}"] if rule else None
        row = sandbox.create_event(
            terminal.calendar_id(sandbox, calendar),
            title=title,
            start=at,
            minutes=minutes,
            link=link,
            location=location,
            attendees=attendee,
            recurrence=recurrence,
        )
        terminal.say("created", row)


def move(
    event: Event,
    by: Annotated[str | None, typer.Option(help="30m, 2h, 1d, 1w2d; -30m for earlier.")] = None,
    to: Annotated[str | None, typer.Option(help="2026-11-24T15:00")] = None,
    calendar: Calendar = None,
    series: Series = False,
    url: Url = URL,
) -> None:
    """Move an event by some time or to a time."""
    with terminal.client(url) as sandbox:
        calendar_id, event_id = terminal.event_id(sandbox, calendar, event, series=series)
        delta = terminal.delta(by) if by is not None else None
        terminal.say("moved", sandbox.move_event(calendar_id, event_id, by=delta, to=to))


def retitle(event: Event, title: str, calendar: Calendar = None, series: Series = False, url: Url = URL) -> None:
    """Give an event another title."""
    with terminal.client(url) as sandbox:
        calendar_id, event_id = terminal.event_id(sandbox, calendar, event, series=series)
        terminal.say("retitled", sandbox.retitle_event(calendar_id, event_id, title))


def link(
    event: Event,
    to: Annotated[str | None, typer.Argument(help="The new meeting link; none removes it.")] = None,
    calendar: Calendar = None,
    series: Series = False,
    url: Url = URL,
) -> None:
    """Give an event another meeting link, or take it away."""
    with terminal.client(url) as sandbox:
        calendar_id, event_id = terminal.event_id(sandbox, calendar, event, series=series)
        row = sandbox.set_link(calendar_id, event_id, to)
        terminal.say(f"linked to {to}:" if to else "unlinked", row)


def cancel(event: Event, calendar: Calendar = None, series: Series = False, url: Url = URL) -> None:
    """Cancel an event."""
    with terminal.client(url) as sandbox:
        calendar_id, event_id = terminal.event_id(sandbox, calendar, event, series=series)
        terminal.say("cancelled", sandbox.cancel_event(calendar_id, event_id))


def delete(event: Event, calendar: Calendar = None, series: Series = False, url: Url = URL) -> None:
    """Delete an event: the same as cancelling it, but for others' meetings in a Microsoft calendar."""
    with terminal.client(url) as sandbox:
        calendar_id, event_id = terminal.event_id(sandbox, calendar, event, series=series)
        terminal.say("deleted", sandbox.delete_event(calendar_id, event_id))


def restore(event: Event, calendar: Calendar = None, url: Url = URL) -> None:
    """Bring back what was cancelled; of several with such a title, the last."""
    with terminal.client(url) as sandbox:
        calendar_id, event_id = terminal.found(sandbox, calendar, event, cancelled=True)
        terminal.say("restored", sandbox.restore_event(calendar_id, event_id))


def decline(event: Event, calendar: Calendar = None, series: Series = False, url: Url = URL) -> None:
    """The calendar's owner declines."""
    with terminal.client(url) as sandbox:
        calendar_id, event_id = terminal.event_id(sandbox, calendar, event, series=series)
        terminal.say("declined", sandbox.respond(calendar_id, event_id, "declined"))


def accept(event: Event, calendar: Calendar = None, series: Series = False, url: Url = URL) -> None:
    """The calendar's owner accepts."""
    with terminal.client(url) as sandbox:
        calendar_id, event_id = terminal.event_id(sandbox, calendar, event, series=series)
        terminal.say("accepted", sandbox.respond(calendar_id, event_id, "accepted"))


def split(event: Event, title: str | None = None, calendar: Calendar = None, url: Url = URL) -> None:
    """Split a series at its next instance ("this and following")."""
    with terminal.client(url) as sandbox:
        calendar_id, event_id = terminal.event_id(sandbox, calendar, event, series=False)
        terminal.say(
            "split, and goes on as", sandbox.split_series(calendar_id, event_id, {"summary": title} if title else None)
        )
