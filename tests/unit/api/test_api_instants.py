"""Instants and cursors as they stand in a query."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api import pagination, timestamps
from api.problems import Problem
from calendar_pipeline.db.keyset import STEPS, Seek

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-22T12:00:00Z", NOON),
        ("2026-11-22t12:00:00z", NOON),
        ("2026-11-22 12:00:00Z", NOON),
        ("2026-11-22T12:00:00", NOON),
        ("2026-11-22T12:00", NOON),
        ("2026-11-22T12:00Z", NOON),
        ("2026-11-22T12:00:00.000Z", NOON),
        ("2026-11-22T12:00:00.5Z", NOON + timedelta(seconds=0.5)),
        ("2026-11-22T12:00:00,5Z", NOON + timedelta(seconds=0.5)),
        ("2026-11-22T12:00:00.123456789Z", NOON + timedelta(microseconds=123456)),
        ("2026-11-22T14:00:00+02:00", NOON),
        ("2026-11-22T14:00+0200", NOON),
        ("2026-11-22T14:00+02", NOON),
        ("2026-11-21T12:01:00-23:59", NOON),
        ("2026-11-22", NOON.replace(hour=0)),
        ("0001-01-01", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_instants(text, instant) -> None:
    assert timestamps.parse(text) == instant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026",
        "2026-11",
        "20261122",
        "2026-W47-7",
        "2026-11-22T",
        "2026-11-22x12:00",
        "2026-11-22T12",
        "2026-11-22T24:00",
        "2026-11-22T12:60",
        "2026-11-22T12:00:60Z",
        "2026-11-22T12:00:00+24:00",
        "2026-11-22T12:00:00+15:99",
        "2026-11-22T12:00:00 +02:00",
        "2026-11-22T12:00:00Z ",
        "2026-11-22Z",
        "0000-01-01",
        "0001-01-01T00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "12026-11-22",
        "２０２６-11-22",
    ],
)
def test_no_instants(text) -> None:
    assert timestamps.parse(text) is None


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_written_is_read(instant) -> None:
    assert timestamps.parse(instant.isoformat()) == instant


@given(st.text())
@example("2026-11-22T12:00:00+00:00:00")
def test_no_text_is_a_fault(text) -> None:
    parsed = timestamps.parse(text)
    assert parsed is None or parsed.tzinfo is UTC


places = st.builds(
    Seek,
    step=st.sampled_from(STEPS),
    at=st.datetimes(timezones=st.just(UTC)),
    id=st.from_regex(r"evt_[A-Za-z0-9]{16}", fullmatch=True),
)


@given(places)
def test_a_cursor_means_its_place(place) -> None:
    cursor = pagination.write_cursor(place, listing="x")
    assert pagination.read_cursor(cursor, listing="x") == place
    with pytest.raises(Problem) as refused:
        pagination.read_cursor(cursor, listing="y")
    assert refused.value.status == 404


@given(st.text(min_size=1) | st.binary(min_size=1).map(lambda raw: raw.hex()))
def test_no_cursor_is_a_fault(text) -> None:
    with pytest.raises(Problem) as refused:
        pagination.read_cursor(text, listing="x")
    assert refused.value.status == 404
