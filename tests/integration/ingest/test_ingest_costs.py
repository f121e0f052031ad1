"""What a sync costs in requests and statements, whatever the calendar's size. Counts: the same on any machine."""

from typing import Any

import pytest

BOTH = pytest.mark.parametrize("platform", ["google", "microsoft"])
SIZES = (0, 20, 100, 500)
FIRST = {"google": 3, "microsoft": 6}
CHANGED = {"google": 2, "microsoft": 3}
STATEMENTS = 12


def fill(bench: Any, count: int) -> list[str]:
    """That many meetings in the weeks to come; their ids."""
    return [
        bench.add(f"No {number}", start=f"2026-{12 if number % 30 < 20 else 11}-{number % 20 + 1:02}T1{number % 10}:00")
        if number % 30 < 20
        else bench.add(f"No {number}", start=f"2026-11-2{number % 6 + 4}T08:00")
        for number in range(count)
    ]


def cost(bench: Any, outcomes: list[Any]) -> tuple[int, int]:
    """Requests that the provider saw, and those that we counted."""
    return sum(bench.asked().values()), sum(one.requests for one in outcomes)


@BOTH
@pytest.mark.parametrize("size", SIZES)
def test_a_sync_without_news_is_one_request_whatever_the_number_of_events(bench: Any, size: int) -> None:
    fill(bench, size)
    bench.sync()
    bench.asked()
    before = bench.db.statements
    outcomes = bench.tick(minutes=30)
    assert cost(bench, outcomes) == (1, 1)
    assert bench.db.statements - before <= 4


@BOTH
def test_a_first_sync_of_500_events_is_a_handful_of_requests_and_a_dozen_statements(bench: Any) -> None:
    fill(bench, 500)
    before = bench.db.statements
    [outcome] = bench.sync_all(bench.cal)
    seen, counted = cost(bench, [outcome])
    assert outcome.created == 500
    assert seen == counted <= FIRST[bench.platform]
    assert bench.db.statements - before <= STATEMENTS


@BOTH
def test_one_changed_event_of_500_costs_two_or_three_requests(bench: Any) -> None:
    events = fill(bench, 500)
    bench.sync()
    bench.world.retitle_event(bench.cal.there, events[250], "Changed")
    bench.asked()
    before = bench.db.statements
    [outcome] = bench.tick(minutes=30)
    seen, counted = cost(bench, [outcome])
    assert outcome.updated == 1
    assert seen == counted <= CHANGED[bench.platform]
    assert bench.db.statements - before <= STATEMENTS


@BOTH
def test_statements_do_not_grow_with_what_changed(bench: Any) -> None:
    events = fill(bench, 100)
    bench.sync()
    used: list[int] = []
    for count in (1, 40):
        for event in events[:count]:
            bench.world.retitle_event(bench.cal.there, event, f"changed {count}")
        before = bench.db.statements
        outcome = bench.sync()
        assert outcome.updated == count
        used.append(bench.db.statements - before)
    assert used[0] == used[1]
