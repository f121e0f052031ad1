"""How the sandbox behaves: failures, switches, its clock, what it was asked, what it tells its watchers."""

from datetime import datetime
from typing import Annotated

import typer

from sandbox.cli import terminal
from sandbox.cli.terminal import URL, At, Calendar, Url, out
from sandbox.errors import Unusable
from sandbox.faults import Provider
from sandbox.pushes import LifecycleEvent


def fault(
    kind: Annotated[str | None, typer.Argument(help="Which failure; none shows what there is and what waits.")] = None,
    endpoint: Annotated[str, typer.Option(help="token, events.list, calendarView, events.*, *")] = "",
    times: Annotated[int | None, typer.Option(help="How often; 0 is until cleared.")] = 1,
    calendar: Calendar = None,
    account: Annotated[str | None, typer.Option(help="Only requests in this account's name.")] = None,
    provider: Annotated[Provider | None, typer.Option(help="Only this one; else whichever has such a failure.")] = None,
    seconds: Annotated[float, typer.Option(help="How slow `slow` is.")] = 2.0,
    retry_after: int | None = None,
    clear: Annotated[bool, typer.Option("--clear", help="Forget all failures to come.")] = False,
    url: Url = URL,
) -> None:
    """Let requests fail."""
    with terminal.client(url) as sandbox:
        if clear:
            out.print(f"cleared {sandbox.clear_faults()} faults")
        if kind is not None:
            made = sandbox.add_fault(
                kind,
                endpoint=endpoint,
                times=times or None,
                calendar_id=calendar,
                account=account,
                provider=provider,
                seconds=seconds,
                retry_after=retry_after,
            )
            often = "until cleared" if made.times is None else f"{made.times} times"
            out.print(f"{made.kind} will strike {made.endpoint or 'where it belongs'}, {often}")
        elif not clear:
            told = sandbox.faults()
            for name, families in told["kinds"].items():
                for family, kinds in families.items():
                    out.print(f"{name}, {family}: {', '.join(kinds)}")
            out.print(f"waiting: {', '.join(one['kind'] for one in told['waiting']) or 'none'}")


def switch(
    name: Annotated[str | None, typer.Argument(help="Which; none shows all.")] = None,
    value: Annotated[str | None, typer.Argument(help="true, 3, full, null …")] = None,
    calendar: Calendar = None,
    provider: At = "google",
    url: Url = URL,
) -> None:
    """Show or set how the sandbox behaves where a provider's behaviour is disputed."""
    with terminal.client(url) as sandbox:
        if name is not None and value is not None:
            told = sandbox.set_switches(calendar, provider=provider, **{name.replace("-", "_"): terminal.value(value)})
        else:
            told = sandbox.switches(calendar, provider=provider)
        for key, held in told.items():
            if name is None or key == name.replace("-", "_"):
                out.print(f"{key} = {held}")


def clock(
    to: Annotated[str | None, typer.Option(help="2026-11-24T15:00:00Z, or `real`.")] = None,
    by: Annotated[str | None, typer.Option(help="Let time pass: 1d, 2h.")] = None,
    url: Url = URL,
) -> None:
    """Show or move the sandbox's time."""
    with terminal.client(url) as sandbox:
        if to is not None:
            try:
                sandbox.set_clock(None if to == "real" else datetime.fromisoformat(to))
            except ValueError:
                message = f"{to!r} is no time: write 2026-11-24T15:00:00Z, or `real`."
                raise Unusable(message) from None
        if by is not None:
            sandbox.advance(terminal.delta(by))
        out.print(f"it is {sandbox.now():%Y-%m-%d %H:%M:%S} UTC")


def requests(last: int = 20, url: Url = URL) -> None:
    """The last requests, and how many there were."""
    with terminal.client(url) as sandbox:
        for row in sandbox.requests(last):
            out.print(f"{row.at:%H:%M:%S} {row.status} {row.method} {row.path} {' '.join(row.query)}", markup=False)
        out.print(
            " · ".join(f"{name} {count}" for name, count in sandbox.stats().requests.items()) or "no requests yet"
        )


def lifecycle(
    event: Annotated[LifecycleEvent, typer.Argument(help="reauthorizationRequired, subscriptionRemoved or missed.")],
    calendar: Calendar = None,
    url: Url = URL,
) -> None:
    """Tell a Microsoft calendar's subscribers of their subscription."""
    with terminal.client(url) as sandbox:
        told = sandbox.lifecycle(terminal.calendar_id(sandbox, calendar), event)
        out.print(f"{event} told to {told} subscriptions")


def vanish(calendar: Calendar = None, url: Url = URL) -> None:
    """Let a calendar's channels and subscriptions be gone without a word."""
    with terminal.client(url) as sandbox:
        out.print(f"{sandbox.vanish(terminal.calendar_id(sandbox, calendar))} are gone")
