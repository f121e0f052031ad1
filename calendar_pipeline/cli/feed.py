"""The change feed: ``feed``."""

import typer

from calendar_pipeline.cli.console import out
from calendar_pipeline.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The change feed.")


@app.callback()
def _root() -> None:  # pyright: ignore[reportUnusedFunction] - Typer calls it; it makes this a group
    pass


@app.command("new-epoch")
def new_epoch() -> None:
    """Refuse every cursor given out so far, so that consumers begin anew. Run it after restoring a backup."""
    from calendar_pipeline import wiring
    from calendar_pipeline.db import migrate as migrations
    from calendar_pipeline.history import versions

    with wiring.database(Settings.load(), connections=2) as db:
        migrations.check(db)
        with db.begin() as connection:
            epoch = versions.new_epoch(connection, now=wiring.utc_now())
    out.print(f"The feed is in epoch {epoch}: cursors of before are answered with 410.", highlight=False)
