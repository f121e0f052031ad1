"""When push is relied on, and what makes a sync."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from calendar_pipeline.ingest import cadence
from calendar_pipeline.ingest.cadence import Standing

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
HALF_HOUR, SIX_HOURS = timedelta(minutes=30), timedelta(hours=6)

PLAIN = Standing(
    platform="google", requested=False, pushed_at=None, look_again=False, failures=0, push_since=NOW, missed_at=None,
    read_at=NOW,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({}, "poll"),
        ({"requested": True}, "asked"),
        ({"requested": True, "pushed_at": NOW}, "push"),
        ({"look_again": True}, "second_look"),
        ({"look_again": True, "requested": True, "pushed_at": NOW}, "push"),
        ({"failures": 2}, "retry"),
    ],
)
def test_what_made_a_sync_due(changes: dict[str, object], cause: str) -> None:
    assert cadence.cause(replace(PLAIN, **changes)) == cause


@pytest.mark.parametrize(
    ("changes", "missed", "every"),
    [
        ({}, 0, SIX_HOURS),
        ({}, 1, HALF_HOUR),
        ({"push_since": None}, 0, HALF_HOUR),
        ({"missed_at": NOW - timedelta(hours=23)}, 0, HALF_HOUR),
        ({"missed_at": NOW - timedelta(hours=25)}, 0, SIX_HOURS),
    ],
)
def test_how_often_a_calendar_is_polled(changes: dict[str, object], missed: int, every: timedelta) -> None:
    standing = replace(PLAIN, **changes)
    assert cadence.interval(standing, now=NOW, missed=missed, plain=HALF_HOUR, safety=SIX_HOURS) == every


@pytest.mark.parametrize(
    ("platform", "pushed", "again"), [("microsoft", True, True), ("microsoft", False, False), ("google", True, False)]
)
def test_a_push_of_microsofts_that_found_nothing_is_looked_after_once_more(
    platform: str, pushed: bool, again: bool
) -> None:
    standing = replace(PLAIN, platform=platform, requested=pushed, pushed_at=NOW if pushed else None)
    assert cadence.looks_again(standing, []) is again
