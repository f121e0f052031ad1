"""Running an installation: ``up``, ``migrate``, ``doctor``."""

import sys
from typing import Annotated

import typer
from rich.table import Table

from calendar_pipeline.cli.console import out
from calendar_pipeline.settings import Settings

app = typer.Typer()


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
            table.add_row(mark, finding.check, finding.text + (f": {finding.remedy}" if finding.remedy else ""))
        out.print(table)
    raise typer.Exit(checks.exit_code(findings))
