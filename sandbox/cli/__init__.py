"""`calendar-pipeline sandbox …`: calendars that people can push around from a terminal.

Every command but `serve` talks to a running sandbox and prints what it did in one line. Events are named by
id or by a part of their title; of a series that means the next instance, or all of it with `--series`.
"""

import typer

from sandbox.cli import arrivals, calendars, events, moods, serving

app = typer.Typer(
    help="Google and Microsoft calendars on a laptop: serve them, fill them, change them, break them.",
    no_args_is_help=True,
)

for command in (
    serving.serve,
    calendars.load,
    calendars.calendars,
    calendars.new_calendar,
    calendars.token,
    events.events,
    events.create,
    events.move,
    events.retitle,
    events.link,
    events.cancel,
    events.delete,
    events.restore,
    events.decline,
    events.accept,
    events.split,
    moods.fault,
    moods.switch,
    moods.clock,
    moods.lifecycle,
    moods.vanish,
    moods.requests,
    arrivals.webhooks,
):
    app.command()(command)
