"""Delta rounds as a whole: whatever changes in the window is announced, and the entries add up to it."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.errors import Unusable
from sandbox.microsoft import delta, ids
from sandbox.microsoft.delta import Link
from sandbox.microsoft.render import Manner
from sandbox.world import World

NOW = datetime(2026, 10, 20, 8, tzinfo=UTC)
ME = "a@contoso.example"
LOW, HIGH = NOW - timedelta(days=1), NOW + timedelta(days=36)


def read(world: World, link: Link | None, size: int) -> tuple[list[dict[str, Any]], Link]:
    """A whole round."""
    calendar = world.calendar(ME)
    switches = world.microsoft_switches(calendar.id)
    now = world.now()
    at = (
        delta.begin(calendar, LOW, HIGH, epoch="e", now=now)
        if link is None
        else delta.next_round(link, calendar, now=now)
    )
    entries: list[dict[str, Any]] = []
    while True:
        page = delta.page(calendar, at, Manner(), switches, size=size, empty=False, now=now)
        entries += page.entries
        if page.link.kind == "delta":
            return entries, page.link
        at = page.link


def applied(held: dict[str, str | None], entries: list[dict[str, Any]]) -> dict[str, str | None]:
    """What a careful reader holds: instances by id with their series, whole sets replaced, masters left out."""
    held = dict(held)
    for row in entries:
        if "@removed" in row or row["type"] == "seriesMaster":
            held = {one: series for one, series in held.items() if row["id"] not in (one, series)}
    for row in entries:
        if "@removed" not in row and row["type"] != "seriesMaster":
            held[row["id"]] = row.get("seriesMasterId")
    return held


def edits(world: World, chance: random.Random) -> list[Callable[[], object]]:
    """One of each thing that a person might do now."""
    rows = world.listing(ME, time_min=NOW - timedelta(days=20), time_max=NOW + timedelta(days=70))
    start = f"{NOW + timedelta(days=chance.randint(-5, 60)):%Y-%m-%d}"
    rule = chance.choice(["FREQ=DAILY;COUNT=6", "FREQ=WEEKLY", "FREQ=WEEKLY;BYDAY=MO,TH", "FREQ=MONTHLY"])
    some: list[Callable[[], object]] = [
        lambda: world.create_event(ME, start=f"{start}T10:00"),
        lambda: world.create_event(ME, start=start),
        lambda: world.create_event(ME, start=f"{start}T11:00", recurrence=[f"RRULE:{rule}"]),
        lambda: world.create_event(ME, start=f"{start}T12:00", organizer="o@other.example"),
    ]
    if not rows or chance.random() < 0.4:  # so that more is made than deleted
        return some
    row = chance.choice(rows)
    instance, whole = row["id"], row["seriesMasterId"] or row["id"]
    by = timedelta(days=chance.choice([-40, -1, 0, 1, 40]), hours=1)
    for one in (instance, whole):
        some += [
            lambda one=one: world.retitle_event(ME, one, f"T{chance.random()}"),
            lambda one=one: world.move_event(ME, one, by=by),
            lambda one=one: world.cancel_event(ME, one),
            lambda one=one: world.delete_event(ME, one),
            lambda one=one: world.respond(ME, one, "declined"),
        ]
    return [*some, lambda: world.split_series(ME, instance, {"subject": "S"})]


@pytest.mark.parametrize("seed", range(6))
def test_rounds_announce_every_change_and_add_up_to_the_view(seed: int) -> None:
    chance = random.Random(seed)
    world = World(clock=lambda: NOW)
    world.create_calendar(account=ME, provider="microsoft")
    noisy = {"duplicates": seed % 2 == 0, "replay": seed % 3 == 0, "preserve_declined": seed % 4 == 0}
    world.set_switches(noisy, provider="microsoft")
    held: dict[str, str | None] = {}
    link: Link | None = None
    before: list[dict[str, Any]] = []
    most = 0
    for _ in range(60):
        for _ in range(chance.randint(0, 2)):
            try:
                chance.choice(edits(world, chance))()
            except Unusable:
                continue
        entries, link = read(world, link, chance.choice([1, 3, 50]))
        held = applied(held, entries)
        view = world.listing(ME, time_min=LOW, time_max=HIGH)
        assert set(held) == {row["id"] for row in view}
        assert entries or view == before
        before, most = view, max(most, len(view))
    assert most > 10


def test_ids_of_both_formats_lead_back_to_the_event() -> None:
    for immutable in (True, False):
        told = ids.event_id("calendar", "e1_20261124T140000Z", immutable=immutable)
        assert ids.own_id("calendar", told) == "e1_20261124T140000Z"
        assert ids.own_id("another", told) is None
        assert ids.well_formed(told)
    assert not ids.well_formed("nonsense!")
