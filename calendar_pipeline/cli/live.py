"""The live path outside Dagster: ``live``."""

import signal
from typing import Annotated

import typer

from calendar_pipeline.cli.console import out
from calendar_pipeline.settings import Settings
from calendar_pipeline.stopping import on

app = typer.Typer()


@app.command()
def live(
    once: Annotated[bool, typer.Option("--once", help="End after one lifetime instead of starting over.")] = False,
) -> None:
    """Do at once what is asked for: syncs, bots, webhooks, push channels. For a service manager; Ctrl-C stops it.

    Dagster runs the same by itself; see LIVE_RUNS. Both at once do no harm.
    """
    from calendar_pipeline.live import run, stages

    settings = Settings.load()
    stop = on((signal.SIGINT, signal.SIGTERM))
    with stages.opened(settings) as live_run:
        while not stop.is_set():
            worked = run.work(live_run, stop)
            out.print(
                f"{worked.syncs} syncs ({worked.changed} changed, {worked.failed} failed) in {worked.seconds:.0f} s"
                if worked.had_a_place
                else "All places are taken; see LIVE_RUNS."
            )
            if once:
                return
