"""Calendars: ``sync`` and ``verify``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from calendar_pipeline.cli.console import err, out
from calendar_pipeline.errors import NotFound
from calendar_pipeline.settings import Settings

if TYPE_CHECKING:
    from calendar_pipeline.ingest.outcome import Outcome

app = typer.Typer()

MOST_ROWS = 50

_UNKNOWN = "There is no calendar {} in this database; --all {} those that there are."


@app.command()
def sync(
    calendar_id: Annotated[str | None, typer.Argument(help="The calendar to sync.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Sync every calendar.")] = False,
    full: Annotated[bool, typer.Option(help="List the whole window instead of reading changes.")] = False,
) -> None:
    """Sync calendars now, in this process."""
    from calendar_pipeline import wiring
    from calendar_pipeline.db import migrate as migrations
    from calendar_pipeline.ingest import run, store

    if (calendar_id is None) == (not every):
        raise typer.BadParameter("name one calendar, or pass --all")
    settings = Settings.load()
    with wiring.database(settings, connections=settings.sync_threads + 1) as db:
        migrations.check(db)
        migrations.prepare_history(db, now=wiring.utc_now())
        with db.single() as connection:
            followed = store.all_calendars(connection)
        if calendar_id is not None and calendar_id not in followed:
            raise NotFound(_UNKNOWN.format(calendar_id, "syncs"))
        wanted = followed if calendar_id is None else [calendar_id]
        ingest = wiring.ingest(settings, db)
        outcomes: list[Outcome] = []
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
            task = progress.add_task("syncing", total=len(wanted))
            for outcome in run.sync_many(ingest, wanted, threads=settings.sync_threads, regardless=True, full=full):
                outcomes.append(outcome)
                progress.advance(task)
    out.print(_table(outcomes))
    if held := len(wanted) - len(outcomes):
        out.print(f"{held} left out: another worker is syncing them.")
    raise typer.Exit(1 if any(outcome.is_failure for outcome in outcomes) else 0)


@app.command()
def verify(
    calendar_id: Annotated[str | None, typer.Argument(help="The calendar to verify.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Verify every calendar.")] = False,
) -> None:
    """Compare what we hold with a fresh listing, without writing. Exit code 1 if anything was lost or not compared."""
    from calendar_pipeline import wiring
    from calendar_pipeline.db import migrate as migrations
    from calendar_pipeline.ingest import store
    from calendar_pipeline.ingest import verify as proof

    if (calendar_id is None) == (not every):
        raise typer.BadParameter("name one calendar, or pass --all")
    settings = Settings.load()
    with wiring.database(settings, connections=2) as db:
        migrations.check(db)
        with db.single() as connection:
            followed = store.all_calendars(connection)
            connected = store.connected(connection)
        if calendar_id is not None and calendar_id not in followed:
            raise NotFound(_UNKNOWN.format(calendar_id, "verifies"))
        wanted = connected if calendar_id is None else [calendar_id]
        table = Table("calendar", "event", "difference", "will be mended by the next sync")
        results: list[proof.Verified] = []
        with Progress(console=err, transient=True) as progress:
            task = progress.add_task("verifying", total=len(wanted))
            for result in proof.verify(wiring.ingest(settings, db), wanted):
                results.append(result)
                progress.advance(task)
                for deviation in result.deviations[:MOST_ROWS]:
                    mended = "yes" if deviation.announced else "[red]no: it was lost"
                    table.add_row(result.calendar_id, deviation.provider_event_id, deviation.kind, mended)
                if result.code is not None:
                    table.add_row(result.calendar_id, "", f"could not be compared: {result.code}", "")
    if table.row_count:
        out.print(table)
    lost = sum(result.lost for result in results)
    equal = sum(result.code is None and not result.deviations for result in results)
    out.print(f"{equal} of {len(wanted)} calendars equal the provider's listing; {lost} events lost.")
    if unsure := len(wanted) - sum(result.code is None for result in results):
        out.print(f"{unsure} not compared: the table says why, or another worker is reading them. Try again later.")
    if calendar_id is None and (away := len(followed) - len(connected)):
        out.print(f"{away} left out: they are disconnected.")
    raise typer.Exit(1 if lost or unsure else 0)


def _table(outcomes: "Sequence[Outcome]") -> Table:
    """Failures and changes, or if there are none, all: narrow enough for a terminal of 80 columns."""
    table = Table(Column("calendar", no_wrap=True), Column("result", overflow="fold"), "read", "changes", "requests")
    notable = [outcome for outcome in outcomes if outcome.is_failure or outcome.changes] or outcomes
    for outcome in notable[:MOST_ROWS]:
        result = outcome.status if outcome.code is None else f"{outcome.status}: {outcome.code}"
        numbers = {
            "created": outcome.created,
            "updated": outcome.updated,
            "deleted": outcome.deleted,
            "restored": outcome.restored,
            "set aside": outcome.quarantined,
        }
        changes = ", ".join(f"{number} {what}" for what, number in numbers.items() if number)
        table.add_row(outcome.calendar_id, result, outcome.mode or "", changes, str(outcome.requests))
    rest = len(outcomes) - min(len(notable), MOST_ROWS)
    table.caption = f"{len(outcomes)} calendars" + (f", {rest} not shown" if rest else "")
    return table
