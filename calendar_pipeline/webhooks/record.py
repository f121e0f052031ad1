"""Answers → the database: what each attempt came to, and how the endpoints fare, in one transaction."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy.engine import Connection

from calendar_pipeline.webhooks import body, outbox, plan, store
from calendar_pipeline.webhooks.model import DISABLED
from calendar_pipeline.webhooks.outbox import Message
from calendar_pipeline.webhooks.plan import Answer
from calendar_pipeline.webhooks.store import Attempt, Claim

HASTEN_OVER = timedelta(seconds=30)
"""What waited for a silent endpoint is sent within so long when it answers again."""


@dataclass(frozen=True, slots=True)
class Result:
    """One attempt: of what, what came of it, when, and how long it took."""

    claimed: Claim
    answer: Answer
    started_at: datetime
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What was written down."""

    delivered: int
    failed: int
    dead: int
    disabled: int


def record(connection: Connection, results: Sequence[Result], *, now: datetime, rng: random.Random) -> Recorded:
    """Write down attempts and what they say of their endpoints.

    One statement if all is well; a few more for each endpoint that fails, or answers again. Of claims that are not
    ours any more nothing is written.
    """
    attempts = [_attempt(one, now=now, rng=rng) for one in results]
    ours = store.record(connection, attempts) if attempts else set[str]()
    endpoints: dict[str, list[Result]] = {}
    for one in results:
        if one.claimed.id in ours:
            endpoints.setdefault(one.claimed.subscription_id, []).append(one)
    disabled = sum(_note(connection, endpoint, endpoints[endpoint], now=now, rng=rng) for endpoint in sorted(endpoints))
    return Recorded(
        delivered=sum(row.state == "delivered" for row in attempts),
        failed=sum(row.state != "delivered" for row in attempts),
        dead=sum(row.state == "dead" for row in attempts),
        disabled=disabled,
    )


def _attempt(result: Result, *, now: datetime, rng: random.Random) -> Attempt:
    claimed, answer = result.claimed, result.answer
    made = claimed.attempts - claimed.spent + 1
    same = answer.is_refusal and answer.status == claimed.last_status
    equal = (claimed.equal_refusals + 1 if same else 1) if answer.is_refusal else 0
    next_at: datetime | None = now
    if not answer.delivered and not answer.is_gone:
        next_at = plan.next_attempt(answer, made=made, equal_refusals=equal, now=now, rng=rng)
    if answer.error == "worker_lost":
        next_at = None
    state = "delivered" if answer.delivered else "pending" if next_at is not None else "dead"
    return Attempt(
        id=claimed.id,
        lease=claimed.lease_token,
        attempt=claimed.attempts + 1,
        state=state,
        started_at=result.started_at,
        milliseconds=round(result.seconds * 1000),
        next_attempt_at=next_at or now,
        equal_refusals=equal,
        finished_at=None if state == "pending" else now,
        status=answer.status,
        error=answer.error,
        excerpt=answer.excerpt or answer.detail,
    )


def _note(
    connection: Connection, endpoint: str, results: Sequence[Result], *, now: datetime, rng: random.Random
) -> bool:
    """Add an endpoint's answers to its record; returns whether it was given up."""
    news = plan.news([(one.answer, now) for one in results])
    last = results[-1].claimed
    if not news.failures and not last.failures and not last.silences:
        return False
    health = store.note(connection, endpoint, news, now=now)
    if health is None:
        return False
    if news.gone:
        return _disable(connection, endpoint, reason="gone", now=now)
    if plan.must_disable(failures=health.failures, failing_since=health.failing_since, now=now):
        return _disable(connection, endpoint, reason="failing", now=now)
    if (probe_at := plan.probe_after(health.silences, now=now, rng=rng)) is not None:
        store.block(connection, endpoint, until=probe_at)
    elif news.answered and last.silences >= plan.BREAK_AFTER:
        store.hasten(connection, endpoint, now=now, spread=HASTEN_OVER)
    return False


def _disable(connection: Connection, endpoint: str, *, reason: plan.DisabledReason, now: datetime) -> bool:
    """Give an endpoint up, and tell the project's others that want to know."""
    gone = store.disable(connection, endpoint, reason=reason, now=now)
    if gone is None:
        return False
    messages: list[Message] = []
    for listener in store.listeners(connection, gone.project_id, DISABLED, but=endpoint):
        key = uuid4()
        messages.append(
            Message(
                project_id=gone.project_id,
                subscription_id=listener,
                trigger=DISABLED,
                key=key,
                payload=body.disabled(
                    key=key,
                    subscription=endpoint,
                    url=gone.url,
                    reason=reason,
                    failures=gone.failures,
                    failing_since=gone.failing_since,
                    at=now,
                ),
            )
        )
    outbox.write(connection, messages, at=now)
    return True
