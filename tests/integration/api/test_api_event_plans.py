"""How PostgreSQL reads pages of events: along an index, and no more of it than a page needs, however deep."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from bench import api as bench
from calendar_pipeline.db.connect import Database
from calendar_pipeline.history.read import ORDERINGS

EVENTS = 12_000
PAGE_BLOCKS = 130
"""A row in a block of its own each, and the way down the index."""


@pytest.fixture(scope="module")
def plans(new_database: Callable[[], str]) -> Iterator[dict[str, bench.Plan]]:
    with Database(new_database()) as db:
        bench.fill(db, EVENTS)
        with db.single() as connection:
            project = connection.execute(sa.text("SELECT id FROM project")).scalar_one()
        yield dict(bench.shapes(db, project))


def test_no_page_reads_the_table_from_end_to_end(plans: dict[str, bench.Plan]) -> None:
    assert len(plans) > 100
    for name, plan in plans.items():
        assert "Seq Scan" not in " ".join(plan.steps), name
        assert "calendar_event" in plan.steps[-1], name


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("deep", ["", ", deep"])
def test_a_page_of_all_events_is_read_in_its_order(plans: dict[str, Any], ordering: str, deep: str) -> None:
    plan = plans[f"all: {ordering}{deep}"]
    index = f"ix_calendar_event_{ordering.removeprefix('-').partition('_')[0]}"
    assert plan.steps == ["Limit", f"Index Scan {index}"]
    assert plan.passed_over == 0
    assert plan.blocks <= PAGE_BLOCKS


@pytest.mark.parametrize("since", ["", ", updated_at_gte long ago"])
@pytest.mark.parametrize("order", ["-updated_at", "updated_at"])
@pytest.mark.parametrize("deep", ["", ", deep"])
def test_polling_reads_only_what_it_shows(plans: dict[str, Any], since: str, order: str, deep: str) -> None:
    """Of all calendars and of one, from the first page and from the middle."""
    for whose, index in (("all", "updated"), ("one calendar", "calendar_updated")):
        plan = plans[f"{whose}{since}: {order}{deep}"]
        assert plan.steps[-1].endswith(f"ix_calendar_event_{index}")
        assert plan.passed_over == 0
        assert plan.blocks <= PAGE_BLOCKS


def test_another_order_within_one_calendar_reads_that_calendar_only(plans: dict[str, bench.Plan]) -> None:
    for name, plan in plans.items():
        if name.startswith("one calendar"):
            assert plan.blocks + plan.passed_over <= 3 * bench.PER_CALENDAR + PAGE_BLOCKS, name


def test_what_is_new_costs_what_is_new(plans: dict[str, bench.Plan]) -> None:
    for whose in ("all", "one calendar"):
        assert plans[f"{whose}, updated_at_gte: -updated_at"].blocks <= 2 * bench.NEW
