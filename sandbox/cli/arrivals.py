"""Webhooks that arrived at the sandbox's receiver."""

import time
from typing import Annotated, Any

import msgspec
import typer

from sandbox.cli import terminal
from sandbox.cli.terminal import URL, Url, out
from sandbox.client import Client
from sandbox.errors import Unusable
from sandbox.replies import Arrived

_POLL_S = 0.2


class _Field(msgspec.Struct):
    to: Any = None
    before: Any = msgspec.field(default=None, name="from")


class _Change(msgspec.Struct):
    change: str
    event_id: str
    version: int
    fields: dict[str, _Field]


class _Data(msgspec.Struct):
    changes: list[_Change] = []


class _Body(msgspec.Struct):
    """As much of a body as is shown in short."""

    trigger: str = "?"
    data: _Data = msgspec.field(default_factory=_Data)


def webhooks(
    name: Annotated[str | None, typer.Argument(help="The receiver's name; none: all.")] = None,
    last: Annotated[int, typer.Option(min=1, max=100)] = 10,
    wait: Annotated[float, typer.Option(min=0, help="If there is none yet, wait so many seconds for it.")] = 0.0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show what arrives until Ctrl-C.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Forget those so far.")] = False,
    full: Annotated[bool, typer.Option("--full", help="With headers and body as they came.")] = False,
    url: Url = URL,
) -> None:
    """The last webhooks that arrived, and whether their signatures hold."""
    with terminal.client(url) as sandbox:
        if clear:
            out.print(f"cleared {sandbox.clear_webhooks(name)} webhooks")
        rows = _waited_for(sandbox, name, wait)[-last:] if wait else sandbox.webhooks(name, last=last)
        for row in rows:
            _show(row, full=full)
        if not rows and not (follow or clear):
            out.print("no webhooks yet")
        newest = rows[-1].number if rows else 0
        while follow:
            time.sleep(_POLL_S)
            for row in sandbox.webhooks(name, after=newest, last=100):
                newest = row.number
                _show(row, full=full)


def _waited_for(sandbox: Client, name: str | None, seconds: float) -> list[Arrived]:
    """What there is as soon as there is any; raises `Unusable` if nothing arrives in time."""
    until = time.monotonic() + seconds
    while not (rows := sandbox.webhooks(name, last=100)):
        if time.monotonic() > until:
            message = f"No webhook arrived within {seconds:g} s."
            raise Unusable(message)
        time.sleep(_POLL_S)
    return rows


def _show(row: Arrived, *, full: bool) -> None:
    try:
        told = msgspec.json.decode(row.body, type=_Body)
    except msgspec.DecodeError:
        told = _Body()
    again = ", again" if row.again else ""
    out.print(f"{row.at:%H:%M:%S} {row.name}: {told.trigger}, {row.verdict}{again} ({row.message})", markup=False)
    if full:
        for header, value in row.headers.items():
            out.print(f"  {header}: {value}", markup=False)
        out.print(f"  {row.body}", markup=False)
        return
    for one in told.data.changes:
        out.print(f"  {one.change} {one.event_id}, version {one.version}{_fields(one)}", markup=False)


def _fields(one: _Change) -> str:
    """What became what, where a line has room for it."""
    if one.change == "created":
        return f": {one.fields['title'].to}" if "title" in one.fields else ""
    plain = {name: field for name, field in one.fields.items() if not isinstance(field.to, (list, dict))}
    return "".join(f"\n    {name}: {field.before} → {field.to}" for name, field in plain.items())
