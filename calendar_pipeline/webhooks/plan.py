"""When to try again, when to give up, and what an endpoint's answers say of it. Pure.

A delivery has 13 attempts over 4.15 days. An endpoint that does not answer is asked less often, by one probe at a
time; one that says it is gone, or that has done nothing but fail for five days, is disabled, and what is due to it is
held.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

SCHEDULE: tuple[timedelta, ...] = (
    timedelta(),
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
    timedelta(hours=24),
)
"""The wait before each attempt."""

JITTER = 0.2
LONGEST_WAIT = timedelta(hours=24)
BUSY_WAIT = timedelta(minutes=1)
"""After a timeout or 429 at least so long."""

HOPELESS_AFTER = 3
"""So many equal refusals (4xx) in a row, and the quick attempts are skipped."""
HOPELESS_WAIT = timedelta(hours=2)

BREAK_AFTER = 5
"""So many attempts in a row without an answer, and the endpoint is only probed."""
LONGEST_BREAK = timedelta(minutes=10)

DISABLE_AFTER = timedelta(days=5)
DISABLE_ATTEMPTS = 10

DisabledReason = Literal["gone", "failing", "operator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of an attempt: an HTTP status, or an error's machine code, or (an answer cut off) both."""

    status: int | None = None
    error: str | None = None
    retry_after: timedelta | None = None
    excerpt: str | None = None
    detail: str | None = None
    """What the error said, for the attempt's record; never anything of ours."""

    @property
    def delivered(self) -> bool:
        """Success is 2xx, and nothing else is."""
        return self.error is None and self.status is not None and 200 <= self.status < 300

    @property
    def is_silence(self) -> bool:
        """No answer at all: the endpoint is not there, rather than unhappy."""
        return self.status is None

    @property
    def is_gone(self) -> bool:
        """The endpoint says that it will never take a webhook again."""
        return self.status == 410

    @property
    def is_refusal(self) -> bool:
        """A 4xx that says something about the request rather than about the moment."""
        return self.status is not None and 400 <= self.status < 500 and self.status not in (408, 410, 425, 429)


def next_attempt(
    answer: Answer, *, made: int, equal_refusals: int, now: datetime, rng: random.Random
) -> datetime | None:
    """When to try again after `made` attempts, the last of which got `answer`; None: never."""
    if made >= len(SCHEDULE):
        return None
    wait = SCHEDULE[made] * rng.uniform(1 - JITTER, 1 + JITTER)
    if equal_refusals >= HOPELESS_AFTER:
        wait = max(wait, HOPELESS_WAIT * rng.uniform(1 - JITTER, 1 + JITTER))
    if answer.error == "timeout" or answer.status == 429:
        wait = max(wait, BUSY_WAIT)
    if answer.retry_after is not None and answer.status in (429, 503):
        wait = min(max(wait, answer.retry_after), LONGEST_WAIT)
    return now + wait


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a batch of answers says of one endpoint."""

    successes: int
    failures: int
    """Failed attempts since the last success, or of all if there was none."""
    silences: int
    """Attempts without answer since the last answer."""
    answered: bool
    asked_to_wait_until: datetime | None
    gone: bool


def news(answers: Sequence[tuple[Answer, datetime]]) -> News:
    """Sum up one endpoint's answers, in the order they came, each with its time."""
    failures = silences = successes = 0
    until: datetime | None = None
    for answer, at in answers:
        if answer.delivered:
            successes, failures = successes + 1, 0
        else:
            failures += 1
        silences = silences + 1 if answer.is_silence else 0
        if answer.status in (429, 503) and answer.retry_after is not None:
            asked = at + min(answer.retry_after, LONGEST_WAIT)
            until = max(until, asked) if until is not None else asked
    return News(
        successes=successes,
        failures=failures,
        silences=silences,
        answered=any(not answer.is_silence for answer, _ in answers),
        asked_to_wait_until=until,
        gone=any(answer.is_gone for answer, _ in answers),
    )


def probe_after(silences: int, *, now: datetime, rng: random.Random) -> datetime | None:
    """When to probe an endpoint that has not answered `silences` times in a row; None: it is not cut off."""
    if silences < BREAK_AFTER:
        return None
    step = min(silences - BREAK_AFTER + 1, len(SCHEDULE) - 1)
    return now + min(SCHEDULE[step], LONGEST_BREAK) * rng.uniform(1 - JITTER, 1 + JITTER)


def must_disable(*, failures: int, failing_since: datetime | None, now: datetime) -> bool:
    """Whether an endpoint has done nothing but fail for too long."""
    return failures >= DISABLE_ATTEMPTS and failing_since is not None and failing_since <= now - DISABLE_AFTER
