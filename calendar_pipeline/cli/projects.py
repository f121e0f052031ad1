"""Projects, their API keys and their audit log: ``project``; and ``keys``, which encrypt secrets at rest."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from calendar_pipeline.cli.console import out
from calendar_pipeline.errors import NotFound
from calendar_pipeline.settings import Settings

if TYPE_CHECKING:
    from calendar_pipeline.db.connect import Database

project_app = typer.Typer(no_args_is_help=True, help="Projects, their API keys and their audit log.")
project_keys_app = typer.Typer(no_args_is_help=True, help="A project's API keys.")
project_app.add_typer(project_keys_app, name="keys")
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


@project_app.command("list")
def list_projects() -> None:
    """List the projects."""
    from calendar_pipeline.projects import store as projects

    table = Table("project", "name", "created")
    with _database() as db, db.single() as connection:
        for project in projects.all_projects(connection):
            table.add_row(project.id, escape(project.name), _instant(project.created_at))
    out.print(table)


@project_keys_app.command("list")
def list_keys(project: Annotated[str, typer.Argument(help="The project's id.")]) -> None:
    """List a project's API keys, revoked ones too. No key is shown whole: only its hash is kept."""
    from calendar_pipeline.projects import store as projects

    table = Table("key", "name", "begins … ends", "scopes", "created", "last used", "expires", "revoked")
    with _database() as db, db.single() as connection:
        projects.require(connection, project)
        for key in projects.keys(connection, project):
            ends = f"{key.prefix}…{key.last_four}"
            times = (key.created_at, key.last_used_at, key.expires_at, key.revoked_at)
            table.add_row(key.id, escape(key.name), ends, " ".join(sorted(key.scopes)), *map(_instant, times))
    out.print(table)


@project_keys_app.command("create")
def create_key(
    project: Annotated[str, typer.Argument(help="The project's id.")],
    name: Annotated[str, typer.Option(help="Whose or what for.")] = "",
    scope: Annotated[list[str] | None, typer.Option(help="What it may do; repeatable. Default: everything.")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="May read, and nothing else.")] = False,
    expires_in_days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Ends by itself after so many days.")
    ] = None,
) -> None:
    """Create an API key; prints it once."""
    from calendar_pipeline import wiring
    from calendar_pipeline.projects import audit, model
    from calendar_pipeline.projects import store as projects

    if read_only and scope:
        raise typer.BadParameter("--read-only names its scopes itself: leave out --scope")
    scopes = scope or (model.READ_ONLY if read_only else (model.EVERYTHING,))
    now = wiring.utc_now()
    expires_at = None if expires_in_days is None else now + timedelta(days=expires_in_days)
    with _database() as db, db.begin() as connection:
        projects.require(connection, project)
        made = projects.create_key(connection, project, now=now, name=name, scopes=scopes, expires_at=expires_at)
        audit.by_command(connection, project, action="project keys create", subject=made.key.id, at=now)
    out.print(f"key      {made.key.id}\nAPI key  {made.secret}", highlight=False)
    out.print("It is not shown again.")


@project_keys_app.command("revoke")
def revoke_key(
    project: Annotated[str, typer.Argument(help="The project's id.")],
    key: Annotated[str, typer.Argument(help="The key's id, key_….")],
) -> None:
    """Revoke an API key: from the next request on it is refused."""
    from calendar_pipeline import wiring
    from calendar_pipeline.projects import audit
    from calendar_pipeline.projects import store as projects

    now = wiring.utc_now()
    with _database() as db, db.begin() as connection:
        projects.require(connection, project)
        if key not in {one.id for one in projects.keys(connection, project)}:
            raise NotFound(f"{project} has no key {key}: 'calendar-pipeline project keys list' shows which it has.")
        projects.revoke_key(connection, project, key, now=now)
        audit.by_command(connection, project, action="project keys revoke", subject=key, at=now)
    out.print(f"{key} is revoked.", highlight=False)


@project_app.command("audit")
def show_audit(
    project: Annotated[str, typer.Argument(help="The project's id.")],
    last: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 50,
) -> None:
    """Show who asked for which write, and how it was answered; the latest last."""
    from calendar_pipeline.projects import audit
    from calendar_pipeline.projects import store as projects

    table = Table("number", "at", "who", "what", "subject", "status", "request")
    with _database() as db, db.single() as connection:
        projects.require(connection, project)
        for entry in audit.latest(connection, project, limit=last):
            status = "no answer" if entry.status is None else str(entry.status)
            number, at = str(entry.sequence), _instant(entry.at)
            table.add_row(number, at, entry.actor, escape(entry.action), entry.subject, status, entry.request_id)
    out.print(table)


@contextmanager
def _database() -> Generator["Database"]:
    from calendar_pipeline import wiring
    from calendar_pipeline.db import migrate as migrations

    with wiring.database(Settings.load(), connections=2) as db:
        migrations.check(db)
        yield db


def _instant(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


@keys_app.command("generate")
def generate_key(kid: Annotated[str, typer.Argument(help="The new key's name.")] = "k1") -> None:
    """Print a new key for CALENDAR_PIPELINE_KEYS."""
    from calendar_pipeline.secrets.keyring import generate

    sys.stdout.write(generate(kid) + "\n")


@keys_app.command("rotate")
def rotate_keys() -> None:
    """Seal stored secrets under the first key of CALENDAR_PIPELINE_KEYS. Safe to stop and to run again."""
    from calendar_pipeline import wiring
    from calendar_pipeline.db import migrate as migrations
    from calendar_pipeline.projects import rotate
    from calendar_pipeline.secrets import keyfile

    settings = Settings.load()
    with wiring.database(settings, connections=2) as db:
        migrations.check(db)
        done = rotate.rotate(db, keyfile.load(settings))
        with db.single() as connection:
            left = rotate.by_key(connection)
    out.print(f"{sum(done.sealed.values())} values sealed anew, {done.unreadable} could not be opened.")
    out.print("Stored values by key: " + (", ".join(f"{kid} {count}" for kid, count in sorted(left.items())) or "none"))
    raise typer.Exit(1 if done.unreadable else 0)
