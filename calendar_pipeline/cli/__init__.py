"""The command line: ``calendar-pipeline …``, a module for each group of commands."""

import os

import typer

from calendar_pipeline.cli import bots, calendars, connect, data, feed, live, projects, rules, run, webhooks
from calendar_pipeline.cli.console import err
from calendar_pipeline.settings import Settings
from sandbox.cli import app as sandbox_app

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Calendars, exactly recorded.")
app.add_typer(run.app)
app.add_typer(live.app)
app.add_typer(calendars.app)
app.add_typer(bots.why_app)
app.add_typer(bots.app, name="bots")
app.add_typer(rules.app, name="rules")
app.add_typer(data.app)
app.add_typer(projects.project_app, name="project")
app.add_typer(connect.app, name="connect")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(projects.keys_app, name="keys")
app.add_typer(feed.app, name="feed")
app.add_typer(sandbox_app, name="sandbox")


@app.callback()
def _root(context: typer.Context) -> None:  # pyright: ignore[reportUnusedFunction] - Typer calls it
    if context.invoked_subcommand == "sandbox":
        os.environ.setdefault("SANDBOX_URL", Settings.load().sandbox_url)


def _kinds() -> tuple[type[Exception], ...]:
    """What can be expected to go wrong. Asked for only when something did: no command loads SQLAlchemy to start."""
    from calendar_pipeline.cli import trouble

    return trouble.KINDS


def main() -> None:
    """Entry point: what can be expected to go wrong becomes one line and exit code 2."""
    try:
        app()
    except SystemExit:  # how commands end: nothing to explain
        raise
    except _kinds() as error:
        from calendar_pipeline.cli import trouble

        if (line := trouble.said(error)) is None:
            raise
        err.print("error:", style="red", end=" ")
        err.print(line, markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(2) from None
