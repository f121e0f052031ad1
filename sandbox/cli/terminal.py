"""What the commands share: options, how events are named and shown, and errors that people can read."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
import typer
from rich.console import Console

from sandbox import zones
from sandbox.client import Client, Refused, SandboxError
from sandbox.errors import Unusable
from sandbox.faults import Provider

out = Console(soft_wrap=True, highlight=False)

Url = Annotated[str, typer.Option("--url", envvar="SANDBOX_URL", help="Where the sandbox answers.")]
Calendar = Annotated[
    str | None,
    typer.Option("--calendar", "-c", envvar="SANDBOX_CALENDAR", help="Calendar id or account, if there are several."),
]
Event = Annotated[str, typer.Argument(help="Event id, or a part of its title.")]
Series = Annotated[bool, typer.Option("--series", help="The whole series instead of its next instance.")]
At = Annotated[Provider, typer.Option("--provider", help="google or microsoft.")]
URL = "http://127.0.0.1:8090"
PROVIDERS: tuple[Provider, ...] = ("google", "microsoft")
DEMO = "demo@example.com"
SECOND_DEMO = "demo-microsoft@example.com"
_DURATION = re.compile(r"(-)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


@contextmanager
def client(url: str) -> Generator[Client]:
    """The sandbox there; see `friendly`."""
    with friendly(), Client(url) as client:
        yield client


@contextmanager
def friendly() -> Generator[None]:
    """Errors meant for people end the command with their message and status 1."""
    try:
        yield
    except (SandboxError, Unusable) as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(str(error), markup=False)
        raise typer.Exit(1) from None


def calendar_id(sandbox: Client, calendar: str | None) -> str:
    """The named calendar, or the only one, or the demo's; raises `Unusable`."""
    if calendar is not None:
        return calendar
    known = [str(row["id"]) for row in sandbox.calendars()]
    if len(known) == 1 or DEMO in known:
        return known[0] if len(known) == 1 else DEMO
    message = (
        f"Say which calendar with --calendar: {', '.join(known[:8])}."
        if known
        else "There is no calendar yet: `load` or `new-calendar` makes one."
    )
    raise Unusable(message)


def found(sandbox: Client, calendar: str | None, name: str, *, cancelled: bool = False) -> tuple[str, str]:
    """The calendar and the event that `name` means: looked for in the demos' calendars if none is named."""
    known = {str(row["account"]) for row in sandbox.calendars()} if calendar is None else set[str]()
    if known >= {DEMO, SECOND_DEMO}:
        try:
            return SECOND_DEMO, sandbox.find_event(SECOND_DEMO, name, cancelled=cancelled)
        except Refused:
            calendar = DEMO  # which says what is wrong, if it is not there either
    here = calendar_id(sandbox, calendar)
    return here, sandbox.find_event(here, name, cancelled=cancelled)


def event_id(sandbox: Client, calendar: str | None, name: str, *, series: bool) -> tuple[str, str]:
    """The same, of a series its next instance unless all of it is meant."""
    here, event = found(sandbox, calendar, name)
    return here, event if series else sandbox.next_instance(here, event)


def delta(text: str) -> timedelta:
    """A length of time; raises `Unusable`."""
    found = _DURATION.fullmatch(text.strip())
    if not found or not any(found.groups()[1:]):
        message = f"{text!r} is no length of time: write 30m, 2h, 1d or 1w2d, with - in front for earlier."
        raise Unusable(message)
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in found.groups()[1:])
    length = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    return -length if found.group(1) else length


def value(text: str) -> Any:
    """JSON, or the text itself."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def say(what: str, row: dict[str, Any]) -> None:
    """One line about an event."""
    every = "series " if row.get("recurrence") or row.get("type") == "seriesMaster" else ""
    out.print(f"{what} {every}{title(row)!r}, {start(row)} ({row['id']})", markup=False)


def title(row: dict[str, Any]) -> str:
    """An event's title, whichever provider tells it."""
    return str(row.get("summary") or row.get("subject") or "(no title)")


def start(row: dict[str, Any]) -> str:
    """When it starts, by the clock of its own zone."""
    told = row["start"]
    if "date" in told or row.get("isAllDay"):
        return f"{told.get('date') or told['dateTime'][:10]} all day"
    at = datetime.fromisoformat(told["dateTime"])
    if at.tzinfo is None:  # Graph's are in UTC
        zone = zones.by_name(str(row.get("originalStartTimeZone"))) or "UTC"
        at = at.replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
    return f"{at:%a %Y-%m-%d %H:%M}"


def link(row: dict[str, Any]) -> str:
    """Its meeting link, if that has a place of its own."""
    if joined := (row.get("onlineMeeting") or {}).get("joinUrl"):
        return str(joined)
    if isinstance(place := row.get("location"), dict):
        name = str(place.get("displayName", ""))
        return name if name.startswith("http") else ""
    entries = row.get("conferenceData", {}).get("entryPoints", [])
    return str(entries[0]["uri"]) if entries else str(row.get("hangoutLink", ""))


def answer(row: dict[str, Any]) -> str:
    """What the calendar's owner answered."""
    if "responseStatus" in row:
        return str(row["responseStatus"]["response"])
    mine = [str(one.get("responseStatus", "")) for one in row.get("attendees", []) if one.get("self")]
    return mine[0] if mine else ""


def print_credentials(made: Any) -> None:
    """What an application needs, a line each."""
    for name, held in msgspec.structs.asdict(made).items():
        out.print(f"{name:<14} {held}", markup=False)
