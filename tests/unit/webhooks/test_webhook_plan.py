"""When to try again and when to give up: tables of values."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calendar_pipeline.webhooks import plan
from calendar_pipeline.webhooks.plan import Answer

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
REFUSED = Answer(status=500)


class _Middle(random.Random):
    """No jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def waits(answer: Answer, **more: Any) -> list[timedelta]:
    given: dict[str, Any] = {"equal_refusals": 0, **more}
    found = [
        plan.next_attempt(answer, made=made, now=NOW, rng=_Middle(), **given) for made in range(1, len(plan.SCHEDULE))
    ]
    return [at - NOW for at in found if at is not None]


def test_thirteen_attempts_over_four_days() -> None:
    assert len(waits(REFUSED)) == 12
    assert sum(waits(REFUSED), timedelta()) == timedelta(days=4, hours=3, minutes=42, seconds=35)
    assert plan.next_attempt(REFUSED, made=13, equal_refusals=0, now=NOW, rng=_Middle()) is None


def test_a_timeout_and_429_wait_a_minute_at_least() -> None:
    assert waits(Answer(error="timeout"))[0] == timedelta(minutes=1)
    assert waits(Answer(status=429))[0] == timedelta(minutes=1)
    assert waits(Answer(error="reset"))[0] == timedelta(seconds=5)


@given(
    made=st.integers(1, 12),
    status=st.sampled_from([None, 302, 400, 404, 429, 500, 503]),
    error=st.sampled_from([None, "timeout", "reset"]),
    asked=st.none() | st.timedeltas(timedelta(), timedelta(days=400)),
    equal=st.integers(0, 20),
    seed=st.integers(),
)
def test_no_wait_is_in_the_past_or_longer_than_a_day_and_a_fifth(
    made: int, status: int | None, error: str | None, asked: timedelta | None, equal: int, seed: int
) -> None:
    answer = Answer(status=status, error=error, retry_after=asked)
    at = plan.next_attempt(answer, made=made, equal_refusals=equal, now=NOW, rng=random.Random(seed))
    assert at is not None
    assert timedelta(seconds=4) <= at - NOW <= timedelta(hours=24) * 1.2


@pytest.mark.parametrize(
    ("answer", "delivered"),
    [
        (Answer(status=200), True),
        (Answer(status=204), True),
        (Answer(status=299), True),
        (Answer(status=199), False),
        (Answer(status=301), False),
        (Answer(status=404), False),
        (Answer(status=200, error="timeout"), False),
        (Answer(error="dns"), False),
    ],
)
def test_success_is_2xx_and_nothing_else(answer: Answer, delivered: bool) -> None:
    assert answer.delivered is delivered


def test_news_of_an_endpoint_starts_anew_with_a_success() -> None:
    silence = Answer(error="reset")
    news = plan.news([(one, NOW) for one in (REFUSED, silence, Answer(status=200), silence, silence)])
    assert (news.successes, news.failures, news.silences, news.answered) == (1, 2, 2, True)
    asked = Answer(status=503, retry_after=timedelta(days=9))
    assert plan.news([(asked, NOW)]).asked_to_wait_until == NOW + timedelta(days=1)


@pytest.mark.parametrize(
    ("silences", "wait"),
    [(0, None), (4, None), (5, 5), (6, 30), (7, 120), (8, 600), (50, 600)],
)
def test_after_five_silences_there_are_only_probes(silences: int, wait: int | None) -> None:
    at = plan.probe_after(silences, now=NOW, rng=_Middle())
    assert (at and (at - NOW).total_seconds()) == wait


@pytest.mark.parametrize(
    ("failures", "days", "expected"),
    [(10, 5, True), (9, 5, False), (10, 4.99, False), (1000, 6, True), (10, None, False)],
)
def test_five_days_and_ten_failures_disable(failures: int, days: float | None, expected: bool) -> None:
    since = None if days is None else NOW - timedelta(days=days)
    assert plan.must_disable(failures=failures, failing_since=since, now=NOW) is expected
