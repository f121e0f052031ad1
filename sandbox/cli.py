"""`calendar-pipeline sandbox …`: a calendar that people can push around from a terminal.

Every command but `serve` talks to a running sandbox and prints what it did in one line. Events are named by
id or by a part of their title; of a series that means the next instance, or all of it with `--series`.
"""

import re
import signal
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from sandbox import snapshot
from sandbox.client import Client, SandboxError
from sandbox.errors import Unusable
from sandbox.server import listen, serving
from sandbox.world import World

app = typer.Typer(help="Google Calendar on a laptop: serve it, fill it, change it, break it.", no_args_is_help=True)
out = Console(soft_wrap=True, highlight=False)

Url = Annotated[str, typer.Option("--url", envvar="SANDBOX_URL", help="Where the sandbox answers.")]
Calendar = Annotated[
    str | None, typer.Option("--calendar", "-c", envvar="SANDBOX_CALENDAR", help="Calendar id, if there are several.")
]
Event = Annotated[str, typer.Argument(help="Event id, or a part of its title.")]
Series = Annotated[bool, typer.Option("--series", help="The whole series instead of its next instance.")]
URL = "http://127.0.0.1:8090"
_DURATION = re.compile(r"(-)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


@app.command()
def serve(
    host: str = "127.0.0.1",
    port: int = 8090,
    state: Annotated[Path | None, typer.Option(help="Keep everything in this file, over restarts.")] = None,
    demo: Annotated[bool, typer.Option(help="Add demo@example.com, if it isn't there.")] = True,
) -> None:
    """Serve until interrupted."""
    with _friendly(), ExitStack() as stack:
        world = World(snapshot.load(state) if state is not None else None)
        sock = listen(host, port)
        world.base_url = f"http://{host}:{port}"
        if demo:
            made = world.add_demo()
            out.print(f"demo calendar {made.calendar_id}: client {made.client_id}, refresh token {made.refresh_token}")
        if state is not None:
            stack.enter_context(snapshot.kept(state, world))
        out.print(f"Google is at {world.base_url}/google, its controls at {world.base_url}/_sandbox. Ctrl-C stops.")
        # The server passes the signal on when it has stopped; dying of it would skip the last write of the state.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _stopped)
        serving(world).run(sockets=[sock])


def _stopped(_number: int, _frame: FrameType | None) -> None:
    """Nothing is left to do: the server has stopped by itself."""


@app.command()
def load(
    file: Path,
    calendar: Calendar = None,
    shift_to_now: Annotated[
        bool, typer.Option("--shift-to-now", help="Move by whole weeks, the densest to now.")
    ] = False,
    account: Annotated[str | None, typer.Option(help="Owner of a new calendar.")] = None,
    url: Url = URL,
) -> None:
    """Load an .ics export into a calendar; a new one unless --calendar names one."""
    with _client(url) as sandbox:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            message = f"Cannot read {file}: {error.strerror}."
            raise Unusable(message) from None
        done = sandbox.load(text, calendar_id=calendar, account=account, shift_to_now=shift_to_now)
        moved = f", {done.shifted_weeks:+d} weeks" if done.shifted_weeks else ""
        out.print(
            f"loaded {done.events} events and series into {done.calendar_id}{moved}; {len(done.skipped)} left out"
        )
        for reason in done.skipped:
            out.print(f"  left out: {reason}", markup=False)


@app.command()
def calendars(url: Url = URL) -> None:
    """All calendars."""
    with _client(url) as sandbox:
        table = Table("id", "account", "zone", "events", "changes")
        for row in sandbox.calendars():
            table.add_row(row["id"], row["account"], row["zone"], str(row["events"]), str(row["changes"]))
        out.print(table)


@app.command("new-calendar")
def new_calendar(
    account: Annotated[str | None, typer.Option(help="Address of its owner.")] = None,
    zone: str = "Europe/Berlin",
    summary: str | None = None,
    url: Url = URL,
) -> None:
    """Make a calendar, and print what an application needs to follow it."""
    with _client(url) as sandbox:
        _print_credentials(sandbox.create_calendar(account=account, zone=zone, summary=summary))


@app.command()
def token(calendar: Calendar = None, url: Url = URL) -> None:
    """The credentials of a calendar's account, and an access token for trying things by hand."""
    with _client(url) as sandbox:
        made = sandbox.credentials(_calendar(sandbox, calendar))
        _print_credentials(made)
        out.print(f"access_token   {sandbox.issue_access_token(made.account)}")


@app.command()
def events(
    calendar: Calendar = None,
    days: Annotated[int, typer.Option(help="How far ahead.")] = 14,
    back: Annotated[int, typer.Option(help="How many days back.")] = 0,
    url: Url = URL,
) -> None:
    """What is to come."""
    with _client(url) as sandbox:
        calendar_id, now = _calendar(sandbox, calendar), sandbox.now()
        rows = sandbox.listing(calendar_id, time_min=now - timedelta(days=back), time_max=now + timedelta(days=days))
        table = Table("start", "title", "link", "answer", title=f"{calendar_id}, the next {days} days")
        table.add_column("id", overflow="fold")
        for row in rows:
            mine = [one.get("responseStatus", "") for one in row.get("attendees", []) if one.get("self")]
            table.add_row(_start(row), _title(row), _link(row), *(mine[:1] or [""]), row["id"])
        out.print(table)


@app.command()
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
    with _client(url) as sandbox:
        recurrence = [f"RRULE:{rule.removeprefix('RRULE:')}"] if rule else None
        row = sandbox.create_event(
            _calendar(sandbox, calendar),
            title=title,
            start=at,
            minutes=minutes,
            link=link,
            location=location,
            attendees=attendee,
            recurrence=recurrence,
        )
        _say("created", row)


@app.command()
def move(
    event: Event,
    by: Annotated[str | None, typer.Option(help="30m, 2h, 1d, 1w2d; -30m for earlier.")] = None,
    to: Annotated[str | None, typer.Option(help="2026-11-24T15:00")] = None,
    calendar: Calendar = None,
    series: Series = False,
    url: Url = URL,
) -> None:
    """Move an event by some time or to a time."""
    with _client(url) as sandbox:
        calendar_id, event_id = _event(sandbox, calendar, event, series=series)
        delta = _delta(by) if by is not None else None
        _say("moved", sandbox.move_event(calendar_id, event_id, by=delta, to=to))


@app.command()
def retitle(event: Event, title: str, calendar: Calendar = None, series: Series = False, url: Url = URL) -> None:
    """Give an event another title."""
    with _client(url) as sandbox:
        calendar_id, event_id = _event(sandbox, calendar, event, series=series)
        _say("retitled", sandbox.retitle_event(calendar_id, event_id, title))


@app.command()
def link(
    event: Event,
    to: Annotated[str | None, typer.Argument(help="The new meeting link; none removes it.")] = None,
    calendar: Calendar = None,
    series: Series = False,
    url: Url = URL,
) -> None:
    """Give an event another meeting link, or take it away."""
    with _client(url) as sandbox:
        calendar_id, event_id = _event(sandbox, calendar, event, series=series)
        row = sandbox.set_link(calendar_id, event_id, to)
        _say(f"linked to {_link(row)}:" if to else "unlinked", row)


@app.command()
def cancel(event: Event, calendar: Calendar = None, series: Series = False, url: Url = URL) -> None:
    """Cancel an event."""
    with _client(url) as sandbox:
        calendar_id, event_id = _event(sandbox, calendar, event, series=series)
        _say("cancelled", sandbox.cancel_event(calendar_id, event_id))


app.command("delete", help="Delete an event: in Google the same as cancelling it.")(cancel)


@app.command()
def restore(event: Event, calendar: Calendar = None, url: Url = URL) -> None:
    """Bring back what was cancelled; of several with such a title, the last."""
    with _client(url) as sandbox:
        calendar_id = _calendar(sandbox, calendar)
        event_id = sandbox.find_event(calendar_id, event, cancelled=True)
        _say("restored", sandbox.restore_event(calendar_id, event_id))


@app.command()
def decline(event: Event, calendar: Calendar = None, series: Series = False, url: Url = URL) -> None:
    """The calendar's owner declines."""
    with _client(url) as sandbox:
        calendar_id, event_id = _event(sandbox, calendar, event, series=series)
        _say("declined", sandbox.respond(calendar_id, event_id, "declined"))


@app.command()
def accept(event: Event, calendar: Calendar = None, series: Series = False, url: Url = URL) -> None:
    """The calendar's owner accepts."""
    with _client(url) as sandbox:
        calendar_id, event_id = _event(sandbox, calendar, event, series=series)
        _say("accepted", sandbox.respond(calendar_id, event_id, "accepted"))


@app.command()
def split(event: Event, title: str | None = None, calendar: Calendar = None, url: Url = URL) -> None:
    """Split a series at its next instance ("this and following")."""
    with _client(url) as sandbox:
        calendar_id, event_id = _event(sandbox, calendar, event, series=False)
        _say(
            "split, and goes on as", sandbox.split_series(calendar_id, event_id, {"summary": title} if title else None)
        )


@app.command()
def fault(
    kind: Annotated[str | None, typer.Argument(help="Which failure; none shows what there is and what waits.")] = None,
    endpoint: Annotated[str, typer.Option(help="token, events.list, events.watch, events.*, *")] = "",
    times: Annotated[int | None, typer.Option(help="How often; 0 is until cleared.")] = 1,
    calendar: Calendar = None,
    seconds: Annotated[float, typer.Option(help="How slow `slow` is.")] = 2.0,
    retry_after: int | None = None,
    clear: Annotated[bool, typer.Option("--clear", help="Forget all failures to come.")] = False,
    url: Url = URL,
) -> None:
    """Let requests fail."""
    with _client(url) as sandbox:
        if clear:
            out.print(f"cleared {sandbox.clear_faults()} faults")
        if kind is not None:
            made = sandbox.add_fault(
                kind,
                endpoint=endpoint,
                times=times or None,
                calendar_id=calendar,
                seconds=seconds,
                retry_after=retry_after,
            )
            often = "until cleared" if made.times is None else f"{made.times} times"
            out.print(f"{made.kind} will strike {made.endpoint or 'where it belongs'}, {often}")
        elif not clear:
            told = sandbox.faults()
            for family, kinds in told["kinds"].items():
                out.print(f"{family}: {', '.join(kinds)}")
            out.print(f"waiting: {', '.join(one['kind'] for one in told['waiting']) or 'none'}")


@app.command()
def switch(
    name: Annotated[str | None, typer.Argument(help="Which; none shows all.")] = None,
    value: Annotated[str | None, typer.Argument(help="true, 3, full, null …")] = None,
    calendar: Calendar = None,
    url: Url = URL,
) -> None:
    """Show or set how the sandbox behaves where Google's behaviour is disputed."""
    with _client(url) as sandbox:
        if name is not None and value is not None:
            told = sandbox.set_switches(calendar, **{name.replace("-", "_"): _value(value)})
        else:
            told = sandbox.switches(calendar)
        for key, held in told.items():
            if name is None or key == name.replace("-", "_"):
                out.print(f"{key} = {held}")


@app.command()
def clock(
    to: Annotated[str | None, typer.Option(help="2026-11-24T15:00:00Z, or `real`.")] = None,
    by: Annotated[str | None, typer.Option(help="Let time pass: 1d, 2h.")] = None,
    url: Url = URL,
) -> None:
    """Show or move the sandbox's time."""
    with _client(url) as sandbox:
        if to is not None:
            try:
                sandbox.set_clock(None if to == "real" else datetime.fromisoformat(to))
            except ValueError:
                message = f"{to!r} is no time: write 2026-11-24T15:00:00Z, or `real`."
                raise Unusable(message) from None
        if by is not None:
            sandbox.advance(_delta(by))
        out.print(f"it is {sandbox.now():%Y-%m-%d %H:%M:%S} UTC")


@app.command()
def requests(last: int = 20, url: Url = URL) -> None:
    """The last requests, and how many there were."""
    with _client(url) as sandbox:
        for row in sandbox.requests(last):
            out.print(f"{row.at:%H:%M:%S} {row.status} {row.method} {row.path} {' '.join(row.query)}", markup=False)
        out.print(
            " · ".join(f"{name} {count}" for name, count in sandbox.stats().requests.items()) or "no requests yet"
        )


@contextmanager
def _client(url: str) -> Generator[Client]:
    with _friendly(), Client(url) as client:
        yield client


@contextmanager
def _friendly() -> Generator[None]:
    """Errors meant for people end the command with their message and status 1."""
    try:
        yield
    except (SandboxError, Unusable) as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(str(error), markup=False)
        raise typer.Exit(1) from None


def _calendar(sandbox: Client, calendar: str | None) -> str:
    if calendar is not None:
        return calendar
    known = [str(row["id"]) for row in sandbox.calendars()]
    if len(known) == 1:
        return known[0]
    message = (
        f"Say which calendar with --calendar: {', '.join(known[:8])}."
        if known
        else "There is no calendar yet: `load` or `new-calendar` makes one."
    )
    raise Unusable(message)


def _event(sandbox: Client, calendar: str | None, name: str, *, series: bool) -> tuple[str, str]:
    calendar_id = _calendar(sandbox, calendar)
    found = sandbox.find_event(calendar_id, name)
    return calendar_id, found if series else sandbox.next_instance(calendar_id, found)


def _delta(text: str) -> timedelta:
    found = _DURATION.fullmatch(text.strip())
    if not found or not any(found.groups()[1:]):
        message = f"{text!r} is no length of time: write 30m, 2h, 1d or 1w2d, with - in front for earlier."
        raise Unusable(message)
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in found.groups()[1:])
    length = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    return -length if found.group(1) else length


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _say(what: str, row: dict[str, Any]) -> None:
    every = "series " if row.get("recurrence") else ""
    out.print(f"{what} {every}{_title(row)!r}, {_start(row)} ({row['id']})", markup=False)


def _title(row: dict[str, Any]) -> str:
    return str(row.get("summary", "(no title)"))


def _start(row: dict[str, Any]) -> str:
    start = row["start"]
    if "date" in start:
        return f"{start['date']} all day"
    return f"{datetime.fromisoformat(start['dateTime']):%a %Y-%m-%d %H:%M}"


def _link(row: dict[str, Any]) -> str:
    entries = row.get("conferenceData", {}).get("entryPoints", [])
    return str(entries[0]["uri"]) if entries else str(row.get("hangoutLink", ""))


def _print_credentials(made: Any) -> None:
    for name, held in msgspec.structs.asdict(made).items():
        out.print(f"{name:<14} {held}", markup=False)
