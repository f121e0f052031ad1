"""Hosted connect's OAuth applications: ``connect``."""

import sys
from typing import Annotated, Literal

import typer
from rich.table import Table

from calendar_pipeline.cli.console import out
from calendar_pipeline.errors import SetupError
from calendar_pipeline.settings import Settings

app = typer.Typer(no_args_is_help=True, help="OAuth applications for hosted connect.")

Platform = Literal["google", "microsoft"]


@app.command()
def register(
    platform: Annotated[Platform, typer.Argument(help="google or microsoft.")],
    project: Annotated[str, typer.Option(help="The project's id.")],
    client_id: Annotated[str, typer.Option(help="As the provider's console shows it.")],
    return_url: Annotated[list[str], typer.Option(help="Where people may be sent back to; may be repeated.")],
    client_secret: Annotated[
        str | None, typer.Option(help="Without it, it is read from standard input, which keeps it out of the shell.")
    ] = None,
) -> None:
    """Register a project's OAuth client and return URLs, or change them."""
    from calendar_pipeline import wiring
    from calendar_pipeline.connect import plan, store
    from calendar_pipeline.db import migrate as migrations
    from calendar_pipeline.projects import store as projects
    from calendar_pipeline.secrets import keyfile

    settings = Settings.load()
    secret = (client_secret if client_secret is not None else sys.stdin.readline()).strip()
    if not secret or not client_id.strip():
        raise SetupError("A client id and its secret are needed: --client-id, and the secret on standard input.")
    plan.is_secure(settings.public_url)
    with wiring.database(settings, connections=2) as db:
        migrations.check(db)
        with db.begin() as connection:
            projects.require(connection, project)
            store.register(
                connection,
                keyfile.load(settings),
                project,
                platform,
                client_id=client_id.strip(),
                client_secret=secret,
                return_urls=return_url,
                now=wiring.utc_now(),
            )
    out.print(f"Registered. Enter this redirect URI at {platform.title()}, letter for letter:")
    out.print(plan.redirect_uri(settings.public_url, platform), highlight=False, soft_wrap=True)


@app.command("list")
def list_applications() -> None:
    """Show the registered OAuth applications."""
    from calendar_pipeline import wiring
    from calendar_pipeline.connect import store
    from calendar_pipeline.db import migrate as migrations

    with wiring.database(Settings.load(), connections=2) as db:
        migrations.check(db)
        with db.begin() as connection:
            found = store.applications(connection)
    table = Table("project", "platform", "client id", "return URLs")
    for one in found:
        table.add_row(one.project_id, one.platform, one.client_id, "\n".join(one.return_urls))
    out.print(table)


@app.command()
def remove(
    platform: Annotated[Platform, typer.Argument(help="google or microsoft.")],
    project: Annotated[str, typer.Option(help="The project's id.")],
) -> None:
    """Forget a project's OAuth client. Calendars that were connected with it go on."""
    from calendar_pipeline import wiring
    from calendar_pipeline.connect import store
    from calendar_pipeline.db import migrate as migrations
    from calendar_pipeline.projects import store as projects

    with wiring.database(Settings.load(), connections=2) as db:
        migrations.check(db)
        with db.begin() as connection:
            projects.require(connection, project)
            store.remove(connection, project, platform)
    out.print("Forgotten.")
