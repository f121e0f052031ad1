"""Projects and keys: ``project`` and ``keys``."""

import sys
from typing import Annotated

import typer

from calendar_pipeline.cli.console import out
from calendar_pipeline.settings import Settings

project_app = typer.Typer(no_args_is_help=True, help="Projects and their API keys.")
keys_app = typer.Typer(no_args_is_help=True, help="Keys that encrypt secrets at rest.")


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
