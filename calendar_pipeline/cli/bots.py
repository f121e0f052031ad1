"""Bots: ``why`` one is as it is, and ``bots run`` what is due."""

from datetime import datetime, timedelta
from typing import Annotated

import typer
from rich.table import Column, Table

from calendar_pipeline.cli.console import out
from calendar_pipeline.errors import NotFound
from calendar_pipeline.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Bots and what they do.")
why_app = typer.Typer()


@why_app.command()
def why(name: Annotated[str, typer.Argument(help="Id of a bot or of a calendar event.")]) -> None:
    """Print each decision about a bot, or about all bots of an event, with the event's version that caused it."""
    from calendar_pipeline import wiring
    from calendar_pipeline.bots import record
    from calendar_pipeline.db import migrate as migrations

    with wiring.database(Settings.load(), connections=1) as db:
        migrations.check(db)
        with db.single() as connection:
            bots = record.standing(connection, name)
            told = record.why(connection, name)
            versions = record.versions(connection, name)
    if not bots and not versions:
        raise NotFound(f"There is no bot and no calendar event {name} in this database.")
    for version in versions:
        changed = f" ({', '.join(version.changed)})" if version.changed else ""
        out.print(
            f"{_at(version.recorded_at)}  event {version.change}{changed}: version {version.version}", markup=False
        )
    if not bots:
        out.print("No bot was made for this event.")
    for bot in bots:
        out.print(f"{bot.id}: {_standing(bot.state, bot.join_at, bot.gone_because, bot.suspended_because)}")
        table = Table(Column("at", no_wrap=True), "decision", Column("why", overflow="fold"), "state", box=None)
        for one in told:
            if one.bot_id == bot.id:
                states = f"{one.old_state or ''} → {one.new_state or ''}" if one.old_state != one.new_state else ""
                table.add_row(_at(one.at), one.decision, one.reason, states)
        out.print(table)


@app.command("run")
def run_bots() -> None:
    """Let bots follow their events and hand over those that are due, now, in this process."""
    from calendar_pipeline import wiring
    from calendar_pipeline.bots import run
    from calendar_pipeline.db import migrate as migrations

    settings = Settings.load()
    with wiring.database(settings, connections=4) as db:
        migrations.check(db)
        worked = run.linger(wiring.bots(settings, db), timedelta())
    did = ", ".join(f"{count} {name}" for name, count in sorted(worked.decisions.items())) or "nothing to do"
    out.print(f"{worked.looked_at} bots looked at: {did}.")


def _standing(state: str, join_at: datetime | None, gone: str | None, suspended: str | None) -> str:
    from calendar_pipeline.bots import words

    if gone is not None:
        return f"no bot: {words.GONE[gone][1]}"  # pyright: ignore[reportArgumentType] - a column of text
    when = f", joins at {_at(join_at)}" if join_at is not None else ""
    waits = f", suspended: {suspended}" if suspended else ""
    return f"{state}{when}{waits}"


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S}Z"
