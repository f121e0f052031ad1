"""Four weeks of four people: about three hundred meetings, of which some move, get their link late, or do not happen.

Chance decides from one seed; who moved what when is told to the sandbox, and real syncs write the record.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from gallery.company import Company

BEGINS = datetime(2026, 9, 7, 4, 0, tzinfo=UTC)
"""A Monday morning in Berlin."""

ENDS = BEGINS + timedelta(days=28)

ZONE = ZoneInfo("Europe/Berlin")
PEOPLE = ("ann@example.com", "ben@example.com", "carol@example.com", "dan@example.com")
A_DAY = {0: 3, 1: 5, 2: 5, 3: 4, 4: 2}
"""Meetings of one person, by weekday."""

STARTS = (9, 9.5, 10, 10, 10.5, 11, 11, 13, 13.5, 14, 14, 14.5, 15, 15, 16, 16.5)
SHIFTS = (-60, -30, 30, 30, 60, 60, 60, 120, 180, 1440, 1440, 2880, 10080)
"""Minutes by which meetings move."""

POLL = timedelta(minutes=30)
LINK = "https://meet.google.com/abc-defg-hij"


@dataclass(frozen=True, slots=True)
class Edit:
    """What somebody does to a meeting at a time."""

    at: datetime
    who: str
    event: str
    what: Literal["move", "cancel", "link"]
    by: timedelta = timedelta()


def write(company: Company, *, seed: int = 7) -> None:
    """Let the weeks pass. Each calendar is read at the half hour behind a change in it."""
    rng = random.Random(seed)  # noqa: S311 - the same weeks each time
    for person in PEOPLE:
        company.hire(person, zone=ZONE.key)
    edits = sorted((edit for person in PEOPLE for edit in _plan(company, person, rng)), key=lambda edit: edit.at)
    company.sync()
    due = BEGINS
    behind: set[str] = set()
    for edit in edits:
        while behind and edit.at > due:
            company.clock.now = due
            company.sync(sorted(behind))
            behind.clear()
        company.clock.now = edit.at
        _do(company, edit)
        behind.add(edit.who)
        due = BEGINS + POLL * -(-(edit.at - BEGINS) // POLL)
    company.clock.now = ENDS
    company.sync()


def _plan(company: Company, person: str, rng: random.Random) -> Iterator[Edit]:
    """Put a person's meetings into the calendar, and say what will be done to them."""
    for day in range(28):
        date = (BEGINS + timedelta(days=day)).date()
        if date.weekday() not in A_DAY:
            continue
        for hour in rng.sample(STARTS, A_DAY[date.weekday()] + rng.choice((-1, 0, 0, 1))):
            start = datetime(date.year, date.month, date.day, tzinfo=ZONE) + timedelta(hours=hour)
            has_link = rng.random()
            made = company.sandbox.world.create_event(
                person,
                title="Meeting",
                start=start.isoformat(),
                minutes=rng.choice((30, 30, 30, 45, 60, 60)),
                link=LINK if has_link < 0.72 else None,
            )
            yield from _fate(person, str(made["id"]), start, rng, gets_link=0.72 <= has_link < 0.93)


def _fate(person: str, event: str, start: datetime, rng: random.Random, *, gets_link: bool) -> Sequence[Edit]:
    """What will be done to one meeting, each time some hours before its start."""
    found: list[Edit] = []

    def before(median_hours: float, spread: float) -> datetime:
        return start - timedelta(hours=round(median_hours * rng.lognormvariate(0, spread), 2))

    if gets_link:
        at = start + timedelta(minutes=6) if rng.random() < 0.08 else before(3, 1.6)
        found.append(Edit(at, person, event, "link"))
    if rng.random() < 0.08:
        found.append(Edit(before(14, 1.3), person, event, "cancel"))
    elif rng.random() < 0.24:
        found.append(Edit(before(16, 1.3), person, event, "move", timedelta(minutes=rng.choice(SHIFTS))))
    return [edit for edit in found if edit.at > BEGINS]


def _do(company: Company, edit: Edit) -> None:
    world = company.sandbox.world
    match edit.what:
        case "move":
            world.move_event(edit.who, edit.event, by=edit.by)
        case "cancel":
            world.cancel_event(edit.who, edit.event)
        case "link":
            found = {row["id"]: row for row in world.events(edit.who)}
            if found[edit.event]["status"] != "cancelled":
                world.set_link(edit.who, edit.event, LINK)
