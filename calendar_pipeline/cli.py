"""The command line: ``calendar-pipeline …``."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from calendar_pipeline.errors import CalendarPipelineError, NotFound
from calendar_pipeline.settings import Settings
from sandbox.cli import app as sandbox_app

if TYPE_CHECKING:
    from calendar_pipeline.ingest.outcome import Outcome

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Calendars, exactly recorded.")
project_app = typer.Typer(no_args_is_help=True, help="Projects and their API keys.")
keys_app = typer.Typer(no_args_is_help=True, help="Keys that encrypt secrets at rest.")
app.add_typer(project_app, name="project")
app.add_typer(keys_app, name="keys")
app.add_typer(sandbox_app, name="sandbox")

out = Console(width=None if sys.stdout.isatty() else 160)  # a file or pipe has no width to fit
err = Console(stderr=True)


@app.callback()
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand == "sandbox":
        os.environ.setdefault("SANDBOX_URL", Settings.load().sandbox_url)


@app.command()
def up(
    api_port: Annotated[int | None, typer.Option(help="Port of the API.")] = None,
    dagster_port: Annotated[int | None, typer.Option(help="Port of the Dagster UI.")] = None,
    sandbox_port: Annotated[int | None, typer.Option(help="Port of the provider sandbox.")] = None,
    with_sandbox: Annotated[
        bool, typer.Option("--sandbox/--no-sandbox", help="Run against the sandbox, or the real providers.")
    ] = True,
) -> None:
    """Start everything on this machine and stay in the foreground; Ctrl-C stops it all."""
    from calendar_pipeline import up as parts

    ports = {"api_port": api_port, "dagster_port": dagster_port, "sandbox_port": sandbox_port}
    settings = Settings.load(**{name: port for name, port in ports.items() if port is not None})
    raise typer.Exit(parts.run(settings, with_sandbox=with_sandbox))


@app.command()
def migrate() -> None:
    """Bring the database to this program's schema."""
    from calendar_pipeline import wiring
    from calendar_pipeline.db import migrate as migrations

    with wiring.database(Settings.load(), connections=2) as db:
        migrations.upgrade(db)
    out.print("The database has this program's schema.")


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False) -> None:
    """Check the installation. Exit code 0: well, 1: warnings, 2: something is broken."""
    from calendar_pipeline import doctor as checks

    findings = checks.examine(Settings.load())
    if as_json:
        sys.stdout.write(checks.to_json(findings) + "\n")
    else:
        table = Table("", "check", "finding")
        for finding in findings:
            mark = {"ok": "[green]ok", "warning": "[yellow]warning", "broken": "[red]broken"}[finding.level]
            table.add_row(mark, finding.check, finding.text)
        out.print(table)
    raise typer.Exit(checks.exit_code(findings))


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
            raise NotFound(f"There is no calendar {calendar_id} in this database; --all syncs those that there are.")
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
    """Compare what we hold with a fresh listing, without writing. Exit code 1 if anything was lost."""
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
        if calendar_id is not None and calendar_id not in followed:
            raise typer.BadParameter(f"there is no calendar {calendar_id}")
        wanted = followed if calendar_id is None else [calendar_id]
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
    raise typer.Exit(1 if lost else 0)


MOST_ROWS = 50


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


@project_app.command("create")
def create_project(
    name: Annotated[str, typer.Argument(help="The project's name.")],
    api_key: Annotated[str | None, typer.Option(help="Use this API key instead of a generated one.")] = None,
    webhook_secret: Annotated[
        str | None, typer.Option(help="Base64 of the webhook signing secret instead of a generated one.")
    ] = None,
) -> None:
    """Create a project; prints its API key and webhook secret once."""
    from calendar_pipeline import wiring
    from calendar_pipeline.db import migrate as migrations
    from calendar_pipeline.projects import store as projects
    from calendar_pipeline.secrets import keyfile

    settings = Settings.load()
    now = wiring.utc_now()
    with wiring.database(settings, connections=2) as db:
        migrations.check(db)
        with db.begin() as connection:
            project = projects.create(connection, name, now=now)
            key = projects.create_key(connection, project.id, now=now, secret=api_key)
            secret = projects.set_webhook_secret(
                connection, keyfile.load(settings), project.id, now=now, secret=webhook_secret
            )
    out.print(f"project         {project.id}\nAPI key         {key.secret}\nwebhook secret  {secret}", highlight=False)
    out.print("Neither is shown again.")


@keys_app.command("generate")
def generate_key(kid: Annotated[str, typer.Argument(help="The new key's name.")] = "k1") -> None:
    """Print a new key for CALENDAR_PIPELINE_KEYS."""
    from calendar_pipeline.secrets.keyring import generate

    sys.stdout.write(generate(kid) + "\n")


def main() -> None:
    """Entry point: expected errors become one line and exit code 2."""
    try:
        app()
    except CalendarPipelineError as error:
        err.print("error:", style="red", end=" ")
        err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
