"""However rows are spread over instants, a walk meets each of them once, in order, both ways."""

import itertools
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.calendars.model import NewCalendar
from calendar_pipeline.db.keyset import Seek
from calendar_pipeline.db.schema import calendar, calendar_event
from calendar_pipeline.history import read
from calendar_pipeline.history.read import ORDERINGS, Filter

NEW = NewCalendar(platform="google", client_id="c", client_secret="s", refresh_token="t")

instants = st.lists(st.tuples(*[st.integers(0, 3)] * 4), max_size=12)


@pytest.mark.parametrize("ordering", ORDERINGS)
@given(spread=instants, size=st.integers(1, 5))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_events(db, tenant, keyring, events, clock, ordering, spread, size) -> None:
    with db.begin() as conn:
        conn.execute(sa.delete(calendar))
        owner = calendars.create(conn, keyring, tenant.id, NEW, now=clock()).id
    columns = ("updated_at", "created_at", "starts_at", "ends_at")
    rows = [
        {name: clock() + timedelta(microseconds=n) for name, n in zip(columns, numbers, strict=True)}
        for numbers in spread
    ]
    if rows:
        events(tenant.id, owner, rows)
    column = calendar_event.c[ordering.removeprefix("-")]
    with db.single() as conn:
        stored = conn.execute(sa.select(calendar_event.c.id).order_by(column, calendar_event.c.id)).scalars().all()
        expected = list(stored)[:: -1 if ordering.startswith("-") else 1]

        def page(seek: Seek | None):
            return read.page(conn, tenant.id, where=Filter(), ordering=ordering, size=size, seek=seek)

        assert walk(page) == expected


@given(spread=st.lists(st.integers(0, 3), max_size=12), size=st.integers(1, 5))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_calendars(db, tenant, keyring, clock, spread, size) -> None:
    with db.begin() as conn:
        conn.execute(sa.delete(calendar))
        made = [
            calendars.create(conn, keyring, tenant.id, NEW, now=clock() + timedelta(microseconds=n)) for n in spread
        ]
        expected = [row.id for row in sorted(made, key=lambda row: (row.created_at, row.id), reverse=True)]
        assert walk(lambda seek: calendars.page(conn, tenant.id, size=size, seek=seek)) == expected


def walk(page) -> list[str]:
    """The ids met going forward, having seen that the way back meets the same pages."""
    pages = [page(None)]
    assert pages[0].previous is None
    while (following := pages[-1].next) is not None:
        pages.append(page(following))
        assert pages[-1].rows
    for earlier, later in itertools.pairwise(pages):
        assert page(later.previous) == earlier
    return [row.id for each in pages for row in each.rows]


@pytest.mark.parametrize(("step", "way_back"), [("after", "previous"), ("before", "next")])
def test_an_empty_page_leads_back(db, tenant, keyring, clock, step, way_back) -> None:
    """Rows beyond a cursor may be gone when it is followed; the row that it names is not lost on the way back."""
    with db.begin() as conn:
        only = calendars.create(conn, keyring, tenant.id, NEW, now=clock())
        empty = calendars.page(conn, tenant.id, size=5, seek=Seek(step=step, at=only.created_at, id=only.id))
        assert (list(empty.rows), getattr(empty, "next" if way_back == "previous" else "previous")) == ([], None)
        back = calendars.page(conn, tenant.id, size=5, seek=getattr(empty, way_back))
        assert list(back.rows) == [only]
