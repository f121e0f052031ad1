"""Rules that make bots: ``rules …``. For operators: it sees every project."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from calendar_pipeline.cli.console import out
from calendar_pipeline.errors import NotFound, SetupError
from calendar_pipeline.settings import Settings

if TYPE_CHECKING:
    from calendar_pipeline.bots.rules import Rules

app = typer.Typer(no_args_is_help=True, help="Which meetings get a bot by rules; off until rules are set.")

Project = Annotated[str, typer.Option(help="The project's id.")]
File = Annotated[Path, typer.Option("--rules", help="A YAML file with the rules.")]

ANSWERS: dict[str, bool | None] = {"yes": True, "no": False, "unset": None}
UNITS = {"d": "days", "h": "hours"}


@app.command("show")
def show(project: Project) -> None:
    """Print a project's rules as YAML; the bots' settings, which may hold secrets, only by name."""
    import msgspec

    from calendar_pipeline import wiring
    from calendar_pipeline.bots import rule_store, rules
    from calendar_pipeline.db import migrate as migrations
    from calendar_pipeline.projects import store as projects
    from calendar_pipeline.secrets import keyfile

    settings = Settings.load()
    with wiring.database(settings, connections=1) as db:
        migrations.check(db)
        with db.single() as connection:
            projects.require(connection, project)
            kept = rule_store.get(connection, keyfile.load(settings), project)
    if kept is None:
        out.print(f"{project} has no rules: bots are made by the application alone.")
        return
    names = sorted(kept.bot.settings)
    bare = msgspec.structs.replace(kept, bot=msgspec.structs.replace(kept.bot, settings={}))
    out.print(rules.shown(bare), end="", markup=False, highlight=False)
    if names:
        out.print(f"# and bot.settings, not shown: {', '.join(names)}", markup=False, highlight=False)


@app.command("set")
def put(project: Project, file: File) -> None:
    """Keep these rules in place of the former ones; upcoming events are judged by them from now on."""
    from calendar_pipeline import wiring
    from calendar_pipeline.bots import rule_store
    from calendar_pipeline.db import migrate as migrations
    from calendar_pipeline.projects import store as projects
    from calendar_pipeline.secrets import keyfile

    settings, given = Settings.load(), _read(file)
    with wiring.database(settings, connections=1) as db:
        migrations.check(db)
        with db.begin() as connection:
            projects.require(connection, project)
            unknown = rule_store.strangers(connection, project, sorted(given.calendars))
            if unknown:
                raise SetupError(
                    f"The project has no calendar {', '.join(unknown)}: correct `calendars` in {file.name}."
                )
            rule_store.put(connection, keyfile.load(settings), project, given, now=wiring.utc_now())
    out.print("The rules are set. Bots are made and cancelled by them from now on.")


@app.command("clear")
def clear(project: Project) -> None:
    """Forget a project's rules; bots that they made are cancelled."""
    from calendar_pipeline import wiring
    from calendar_pipeline.bots import rule_store
    from calendar_pipeline.db import migrate as migrations
    from calendar_pipeline.projects import store as projects

    with wiring.database(Settings.load(), connections=1) as db:
        migrations.check(db)
        with db.begin() as connection:
            projects.require(connection, project)
            cleared = rule_store.clear(connection, project, now=wiring.utc_now())
    out.print("The rules are cleared; their bots will be cancelled." if cleared else f"{project} has no rules.")


@app.command("override")
def override(
    event: Annotated[str, typer.Argument(help="The calendar event's id.")],
    answer: Annotated[str, typer.Argument(help="yes, no, or unset to leave it to the rules.")],
    project: Project,
) -> None:
    """Say whether a bot joins one event, whatever the rules say."""
    from calendar_pipeline import wiring
    from calendar_pipeline.bots import rule_store
    from calendar_pipeline.db import migrate as migrations
    from calendar_pipeline.projects import store as projects

    if answer not in ANSWERS:
        raise SetupError(f"Say {', '.join(ANSWERS)}, not {answer!r}.")
    with wiring.database(Settings.load(), connections=1) as db:
        migrations.check(db)
        with db.begin() as connection:
            projects.require(connection, project)
            found = rule_store.override(connection, project, event, ANSWERS[answer], now=wiring.utc_now())
            is_ruled = rule_store.is_ruled(connection, project)
    if not found:
        raise NotFound(f"{project} has no calendar event {event}.")
    out.print(f"{event}: {answer}." + ("" if is_ruled else " It holds once the project has rules: see rules set."))


@app.command("dry-run")
def dry_run(
    project: Project,
    file: File,
    since: Annotated[str, typer.Option(help="How far to look back, such as 30d or 12h.")] = "30d",
    everything: Annotated[bool, typer.Option("--all", help="Meetings without a bot as well.")] = False,
) -> None:
    """Print what rules would have scheduled and will schedule, add and drop, and why. Nothing is changed."""
    from calendar_pipeline import wiring
    from calendar_pipeline.bots import ruling
    from calendar_pipeline.db import migrate as migrations
    from calendar_pipeline.projects import store as projects

    given, back = _read(file), _back(since)
    table = Table(
        Column("start", no_wrap=True), "bot", "meeting", Column("event", no_wrap=True), Column("why", overflow="fold"),
        box=None,
    )  # fmt: skip
    counts: Counter[str] = Counter()
    now = wiring.utc_now()
    with wiring.database(Settings.load(), connections=1) as db:
        migrations.check(db)
        with db.single() as connection:
            projects.require(connection, project)
            for one in ruling.forecast(connection, project, given, since=now - back, now=now):
                counts[one.change] += 1
                if everything or one.change != "none":
                    table.add_row(
                        f"{one.event.start_time:%Y-%m-%d %H:%M}Z",
                        one.change,
                        escape(one.event.subject.title or ""),
                        one.event.id,
                        escape(one.reason),
                    )
    out.print(table)
    out.print(
        f"{counts['would have been']} would have been scheduled in the last {since}; "
        f"{counts['added'] + counts['kept']} will be: {counts['added']} added, {counts['kept']} as they are; "
        f"{counts['dropped']} dropped. {counts['none']} meetings without a bot. Nothing was changed.",
        highlight=False,
    )


def _read(file: Path) -> "Rules":
    from calendar_pipeline.bots import rules

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{file.name} cannot be read ({type(error).__name__}): name a YAML file.") from None
    return rules.parse(text)


def _back(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and len(number) < 5 and unit in UNITS):
        raise SetupError(f"--since {text}: write a number of days or hours, such as 30d or 12h.")
    return timedelta(**{UNITS[unit]: int(number)})
