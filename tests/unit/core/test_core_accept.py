"""What can be kept: a table of objections, and of what looks alarming and is not."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calendar_pipeline.db.schema import EVENT_FIELDS
from calendar_pipeline.event import Attendee, Awkward, Event
from calendar_pipeline.history.accept import (
    MAX_ATTENDEES,
    MAX_ID,
    MAX_RAW,
    MAX_TITLE,
    Prepared,
    prepare,
)
from calendar_pipeline.meetings.address import MAX_LINK

START, END = datetime(2026, 11, 24, 9, tzinfo=UTC), datetime(2026, 11, 24, 10, tzinfo=UTC)


def event(**given: object) -> Event:
    return Event(
        **{
            "provider_event_id": "e1",
            "starts_at": START,
            "ends_at": END,
            "start_time": START,
            "end_time": END,
            "raw": {"id": "e1"},
            **given,
        }
    )


def people(count: int) -> tuple[Attendee, ...]:
    return tuple(Attendee(email=f"p{number}@example.com", name=None) for number in range(count))


def deep(levels: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(levels):
        value = {"in": value}
    return value


OBJECTIONS = [
    pytest.param(event(provider_event_id="e" * (MAX_ID + 1)), "id_too_long", id="long-id"),
    pytest.param(event(series_id="s" * (MAX_ID + 1)), "id_too_long", id="long-series-id"),
    pytest.param(event(title="t" * (MAX_TITLE + 1)), "title_too_long", id="long-title"),
    pytest.param(event(meeting_url="u" * (MAX_LINK + 1)), "link_too_long", id="long-link-as-found"),
    pytest.param(event(meeting_link="u" * (MAX_LINK + 1)), "link_too_long", id="long-link-unwrapped"),
    pytest.param(event(attendees=people(MAX_ATTENDEES + 1)), "too_many_attendees", id="attendees"),
    pytest.param(event(raw={"x": "a" * MAX_RAW}), "too_large", id="large"),
    pytest.param(event(raw={"x": "é" * (MAX_RAW // 2)}), "too_large", id="large-in-bytes-not-characters"),
    pytest.param(event(raw={"summary": "a\0b"}), "nul_character", id="nul"),
    pytest.param(event(raw={"a\0b": 1}), "nul_character", id="nul-in-a-key"),
    pytest.param(event(raw={"a": [{"b": ["\0"]}]}), "nul_character", id="nul-deep-inside"),
    pytest.param(event(raw={"summary": "\ud83d"}), "not_encodable", id="lone-surrogate"),
    pytest.param(event(raw={"\udc00": 1}), "not_encodable", id="lone-surrogate-in-a-key"),
    pytest.param(event(raw=deep(100_000)), "not_encodable", id="bottomless"),
]


@pytest.mark.parametrize(("told", "reason"), OBJECTIONS)
def test_what_cannot_be_kept_is_set_aside_with_a_reason(told: Event, reason: str) -> None:
    set_aside = prepare(told)
    assert isinstance(set_aside, Awkward)
    assert set_aside.reason == reason
    assert set_aside.provider_event_id == told.provider_event_id[:MAX_ID]
    assert set_aside.raw is told.raw


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(event(raw={"description": "write \\u0000 to end a C string"}), id="nul-escape-as-text"),
        pytest.param(event(raw={"description": "\\\\u0000 \\\\\\u0000"}), id="nul-escapes-as-text-with-backslashes"),
        pytest.param(event(raw={"description": "\u0001 \u001f \u007f"}), id="other-control-characters"),
        pytest.param(event(raw={"summary": "\U0001f600 é 日"}), id="emoji"),
        pytest.param(event(raw={"n": 2**64}), id="number-beyond-64-bits"),
        pytest.param(event(title="t" * MAX_TITLE), id="longest-title"),
        pytest.param(event(meeting_url="u" * MAX_LINK, meeting_link="u" * MAX_LINK), id="longest-link"),
        pytest.param(event(provider_event_id="e" * MAX_ID, series_id="s" * MAX_ID), id="longest-ids"),
        pytest.param(event(attendees=people(MAX_ATTENDEES)), id="most-attendees"),
        pytest.param(event(raw=deep(50)), id="nested"),
        pytest.param(event(ends_at=START, end_time=START), id="no-length"),
        pytest.param(event(raw={}), id="empty"),
    ],
)
def test_what_only_looks_alarming_is_kept(told: Event) -> None:
    kept = prepare(told)
    assert isinstance(kept, Prepared)
    assert kept.row["raw"] is told.raw


def test_a_row_has_every_column_that_an_event_has() -> None:
    kept = prepare(event())
    assert isinstance(kept, Prepared)
    assert set(kept.row) == set(EVENT_FIELDS) - {"fingerprint", "is_deleted"}


def fingerprint(told: Event) -> bytes:
    kept = prepare(told)
    assert isinstance(kept, Prepared)
    return kept.fingerprint


def test_noise_does_not_change_the_fingerprint() -> None:
    one = event(raw={"etag": "1", "updated": "x"}, noise=frozenset({"etag", "updated"}))
    two = event(raw={"updated": "y"}, noise=frozenset({"etag", "updated"}), provider_updated_at=END)
    assert fingerprint(one) == fingerprint(two)


def test_the_order_of_keys_does_not_change_the_fingerprint() -> None:
    assert fingerprint(event(raw={"a": 1, "b": {"c": 1, "d": 2}})) == fingerprint(
        event(raw={"b": {"d": 2, "c": 1}, "a": 1})
    )


@pytest.mark.parametrize(
    "other",
    [
        event(title="other"),
        event(starts_at=END),
        event(raw={"id": "e1", "colorId": "2"}),
        event(attendees=people(1)),
        event(meeting_link="https://meet.example.com/1"),
        event(time_zone="Europe/Berlin"),
        replace(event(), is_busy=False),
    ],
    ids=["title", "start", "unknown-key", "guest", "link", "zone", "free"],
)
def test_content_changes_the_fingerprint(other: Event) -> None:
    assert fingerprint(other) != fingerprint(event())


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec=None)), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(st.characters(codec=None)), ANY_JSON, max_size=5), st.text(st.characters(codec=None)))
def test_whatever_is_kept_postgresql_can_take(raw: dict[str, object], title: str) -> None:
    kept = prepare(event(raw={**raw, "summary": title}, title=title))
    if isinstance(kept, Prepared):
        assert "\0" not in title
        title.encode()
