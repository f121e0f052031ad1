"""The history as data: ``analyst``, ``erase``, ``retention``, ``export``."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from calendar_pipeline.cli.console import out
from calendar_pipeline.settings import Settings

app = typer.Typer()


@app.command("analyst")
def analyst(
    role: Annotated[str, typer.Argument(help="The database role to make or to bring up to date.")],
    timeout: Annotated[int, typer.Option(min=1, max=86_400, help="Seconds after which its statements end.")] = 300,
) -> None:
    """Make a database role that reads the history and the analysts' views, and no credential."""
    from calendar_pipeline import wiring
    from calendar_pipeline.db import migrate as migrations
    from calendar_pipeline.db.analysts import role as roles

    with wiring.database(Settings.load(), connections=2) as db:
        migrations.check(db)
        with db.begin() as connection:
            created = roles.make(connection, role, timeout_seconds=timeout)
    out.print(f"The role {role} {'was made' if created else 'is up to date'}; it reads and cannot write.")
    if created:
        out.print(f"It has no password yet: \\password {role} in psql, or GRANT {role} TO somebody.", markup=False)


@app.command("erase")
def erase(
    project: Annotated[str | None, typer.Option(help="The project, for a person.")] = None,
    person: Annotated[str | None, typer.Option(help="The person's e-mail address.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="A name to remove from texts as well; repeatable.")] = None,
    calendar: Annotated[str | None, typer.Option(help="A calendar that is not followed any more.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it nothing is written.")] = False,
) -> None:
    """Erase a person's or a calendar's content everywhere, for good. Numbers and versions of the history stay."""
    from calendar_pipeline import wiring
    from calendar_pipeline.db import migrate as migrations
    from calendar_pipeline.history import erase as erasures
    from calendar_pipeline.projects import store as projects
    from calendar_pipeline.secrets import keyfile

    if (calendar is None) == (person is None) or (person is None) != (project is None):
        raise typer.BadParameter("give --calendar, or --project and --person")
    now, settings = wiring.utc_now(), Settings.load()
    with wiring.database(settings, connections=2) as db:
        migrations.check(db)
        with db.engine.begin() as connection:
            if calendar is not None:
                done = erasures.calendar(connection, calendar, now=now)
            else:
                assert person is not None
                assert project is not None
                projects.require(connection, project)
                ring = keyfile.load(settings)
                done = erasures.person(connection, ring, project, person, names=name or (), now=now)
            if not yes:
                connection.rollback()
    told = ", ".join(f"{count} in {table}" for table, count in done.rows.items() if count) or "nothing"
    if yes:
        out.print(f"Erased as {done.id}: {told}. Exports written before hold it until they are written again.")
    else:
        out.print(f"Would redact or remove {told}. Nothing was written; add --yes to do it.")


@app.command("retention")
def retention(
    project: Annotated[str, typer.Argument(help="The project.")],
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="Age at which its history is removed.")] = None,
    forever: Annotated[bool, typer.Option("--forever", help="Keep all of it.")] = False,
) -> None:
    """Say how long a project's history is kept. The job 'retention' removes what is older, once a day."""
    from calendar_pipeline import wiring
    from calendar_pipeline.db import migrate as migrations
    from calendar_pipeline.history import retention as retentions
    from calendar_pipeline.projects import store as projects

    if (days is None) != forever:
        raise typer.BadParameter("give --days or --forever")
    with wiring.database(Settings.load(), connections=2) as db:
        migrations.check(db)
        with db.begin() as connection:
            projects.require(connection, project)
            retentions.keep(connection, project, days)
    out.print(f"{project} keeps {'all of its history' if days is None else f'{days} days of history'}.")


@app.command("export")
def export(
    table: Annotated[list[str], typer.Option(help="Table or view; repeatable.")],
    to: Annotated[str | None, typer.Option(help="Folder or object store (s3://…); by default EXPORT_URL.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Leave months before this one's alone.")] = None,
    project: Annotated[str | None, typer.Option(help="Only this project.")] = None,
    form: Annotated[str, typer.Option("--format", help="parquet is the only one.")] = "parquet",
) -> None:
    """Write the record as Parquet, a file for each project and month; only what changed since the last export."""
    from calendar_pipeline import wiring
    from calendar_pipeline.db import migrate as migrations
    from calendar_pipeline.export import relation as relations
    from calendar_pipeline.export.write import export as write
    from calendar_pipeline.projects import store as projects

    settings = Settings.load()
    root = to or settings.export_url
    if form != "parquet":
        raise typer.BadParameter("parquet is the only format")
    if not root:
        raise typer.BadParameter("say where to with --to, or set EXPORT_URL")
    wanted = [relations.relation(name) for name in table]
    with wiring.database(settings, connections=2) as db:
        migrations.check(db)
        if project is not None:
            with db.single() as connection:
                projects.require(connection, project)
        for one in wanted:
            done = write(db, one, root, project=project, since=since.replace(tzinfo=UTC) if since else None)
            out.print(
                f"{done.table}: {done.written} files written ({done.rows} rows, {done.bytes} bytes), "
                f"{done.unchanged} unchanged, {done.removed} removed, {done.seconds:.1f} s"
            )
