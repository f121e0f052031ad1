"""The history as data: ``analyst``."""

from typing import Annotated

import typer

from calendar_pipeline.cli.console import out
from calendar_pipeline.settings import Settings

app = typer.Typer()


@app.command("analyst")
def analyst(
    role: Annotated[str, typer.Argument(help="The database role to make or to bring up to date.")],
    timeout: Annotated[int, typer.Option(min=1, help="Seconds after which its statements end.")] = 300,
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
