"""Claiming deliveries and recording what came of them. One function, one statement; no function here commits.

A claim is a lease with a fencing token, as for calendars: leases run out by the database's clock, and what is due is
due by the caller's. A claim of which nothing was heard is counted as lost when the next one is made; a delivery that
kills its workers comes to an end that way, and a killed worker costs the others none of their attempts.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.db.connect import json_text
from calendar_pipeline.webhooks import plan

AHEAD = 8
"""Deliveries claimed for each request that an endpoint in good health may have at once; they wait their turn here."""

# Finds the endpoints that have something pending by skipping from one to the next in the index, so that ten thousand
# deliveries to one of them cost no more than one, and then takes some of each.
_CLAIM = sa.text("""
    WITH RECURSIVE waiting AS (
        (SELECT subscription_id FROM webhook_delivery WHERE status = 'pending' ORDER BY subscription_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.subscription_id FROM webhook_delivery d
                WHERE d.status = 'pending' AND d.subscription_id > w.subscription_id
                ORDER BY d.subscription_id LIMIT 1)
        FROM waiting w WHERE w.subscription_id IS NOT NULL
    ), open AS MATERIALIZED (
        SELECT s.id, s.ordering,
               CASE WHEN s.silences > 0 THEN 1
                    WHEN s.failures > 0 THEN s.concurrency
                    ELSE s.concurrency * :ahead END
               - (SELECT count(*) FROM webhook_delivery l WHERE l.subscription_id = s.id
                      AND l.lease_token IS NOT NULL AND l.lease_until > clock_timestamp()) AS room
        FROM waiting w JOIN webhook_subscription s ON s.id = w.subscription_id
        WHERE s.disabled_at IS NULL AND (s.blocked_until IS NULL OR s.blocked_until <= :now)
        ORDER BY random()
    ), due AS MATERIALIZED (
        SELECT d.id FROM open CROSS JOIN LATERAL (
            SELECT id FROM webhook_delivery d
            WHERE d.subscription_id = open.id AND d.status = 'pending' AND d.next_attempt_at <= :now
              AND (d.lease_token IS NULL OR d.lease_until < clock_timestamp())
              AND (open.ordering = 'none' OR NOT EXISTS (
                    SELECT FROM webhook_delivery earlier
                    WHERE earlier.subscription_id = d.subscription_id AND earlier.calendar_id = d.calendar_id
                      AND earlier.status = 'pending' AND earlier.n < d.n))
            ORDER BY d.next_attempt_at, d.n LIMIT GREATEST(open.room, 0) FOR UPDATE SKIP LOCKED
        ) d LIMIT :limit
    )
    UPDATE webhook_delivery d
    SET lost = lost + CASE WHEN lease_token IS NULL THEN 0 ELSE 1 END,
        lease_token = :lease, lease_until = clock_timestamp() + :length
    FROM due, webhook_subscription s
    WHERE d.id = due.id AND s.id = d.subscription_id
    RETURNING d.id, d.project_id, d.subscription_id, d.attempts, d.spent, d.lost, d.equal_refusals, d.last_status,
              d.body, d.lease_token, s.url, s.concurrency, s.secret, s.former_secret, s.former_secret_until,
              s.failures, s.silences,
              ARRAY(SELECT w.id FROM webhook_secret w WHERE s.secret IS NULL AND w.project_id = d.project_id
                        AND (w.retired_at IS NULL OR w.retired_at > :now)
                    ORDER BY w.retired_at DESC NULLS FIRST, w.created_at DESC)
                  AS project_secret_ids,
              ARRAY(SELECT w.secret FROM webhook_secret w WHERE s.secret IS NULL AND w.project_id = d.project_id
                        AND (w.retired_at IS NULL OR w.retired_at > :now)
                    ORDER BY w.retired_at DESC NULLS FIRST, w.created_at DESC)
                  AS project_secrets
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A delivery that this worker alone may attempt until its lease runs out. Secrets are still sealed."""

    id: str
    project_id: str
    subscription_id: str
    attempts: int
    """Made so far."""
    spent: int
    lost: int
    equal_refusals: int
    last_status: int | None
    body: bytes = field(repr=False)
    lease_token: uuid.UUID
    url: str
    concurrency: int
    secret: bytes | None = field(repr=False)
    former_secret: bytes | None = field(repr=False)
    former_secret_until: datetime | None
    failures: int
    silences: int
    project_secret_ids: Sequence[str]
    project_secrets: Sequence[bytes] = field(repr=False)


def claim(connection: Connection, *, lease: uuid.UUID, length: timedelta, limit: int, now: datetime) -> list[Claim]:
    """Claim up to `limit` deliveries that are due, some for each endpoint that may be asked."""
    rows = connection.execute(_CLAIM, {"lease": lease, "length": length, "limit": limit, "ahead": AHEAD, "now": now})
    return [Claim(**row) for row in rows.mappings()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What is to be recorded of one claim."""

    id: str
    lease: uuid.UUID
    attempt: int
    state: str
    """``pending``, ``delivered`` or ``dead``."""
    started_at: datetime
    milliseconds: int
    next_attempt_at: datetime
    equal_refusals: int
    finished_at: datetime | None
    status: int | None
    error: str | None
    excerpt: str | None


_RECORD = sa.text("""
    WITH told AS MATERIALIZED (
        SELECT * FROM json_to_recordset(CAST(:attempts AS json)) AS t(
            id text, lease uuid, attempt int, state text, started_at timestamptz, milliseconds int,
            next_attempt_at timestamptz, equal_refusals int, finished_at timestamptz, status int, error text,
            excerpt text)
    ), done AS (
        UPDATE webhook_delivery d
        SET status = told.state, attempts = told.attempt, lost = 0, next_attempt_at = told.next_attempt_at,
            equal_refusals = told.equal_refusals, finished_at = told.finished_at,
            last_status = told.status, last_error = told.error, lease_token = NULL, lease_until = NULL
        FROM told WHERE d.id = told.id AND d.lease_token = told.lease
        RETURNING d.id
    ), logged AS (
        INSERT INTO webhook_attempt (delivery_id, attempt, started_at, milliseconds, outcome, status, error, excerpt)
        SELECT id, attempt, started_at, milliseconds,
               CASE state WHEN 'delivered' THEN 'delivered' ELSE 'failed' END, status, error, excerpt
        FROM told JOIN done USING (id)
    )
    SELECT id FROM done
""")


def record(connection: Connection, attempts: Sequence[Attempt]) -> set[str]:
    """Write down attempts and give their claims back; returns those that were still ours, the others left no trace."""
    return set(connection.execute(_RECORD, {"attempts": json_text(attempts)}).scalars())


_RELEASE = sa.text("""
    UPDATE webhook_delivery SET lost = 0, lease_token = NULL, lease_until = NULL,
        next_attempt_at = GREATEST(next_attempt_at, :not_before), last_error = COALESCE(:why, last_error)
    WHERE id = ANY(:ids) AND lease_token = ANY(:leases)
""")


def release(connection: Connection, claims: Sequence[Claim], *, not_before: datetime, why: str | None = None) -> None:
    """Give claims back without an attempt: none is counted."""
    parameters = {"ids": [one.id for one in claims], "leases": list({one.lease_token for one in claims})}
    connection.execute(_RELEASE, {**parameters, "not_before": not_before, "why": why})


_NOTE = sa.text("""
    UPDATE webhook_subscription SET
        failures = CASE WHEN :succeeded THEN 0 ELSE failures END + :failures,
        failing_since = CASE WHEN :failures = 0 THEN NULL WHEN :succeeded THEN :now
                             ELSE COALESCE(failing_since, :now) END,
        silences = CASE WHEN :answered THEN 0 ELSE silences END + :silences,
        blocked_until = CASE WHEN :succeeded THEN :until ELSE GREATEST(blocked_until, :until) END
    WHERE id = :id AND disabled_at IS NULL
    RETURNING failures, failing_since, silences
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How an endpoint fares after what was noted."""

    failures: int
    failing_since: datetime | None
    silences: int


def note(connection: Connection, subscription: str, news: plan.News, *, now: datetime) -> Health | None:
    """Add what a batch of answers says to an endpoint's record; None if it is disabled or gone."""
    row = connection.execute(
        _NOTE,
        {
            "id": subscription,
            "succeeded": news.successes > 0,
            "failures": news.failures,
            "answered": news.answered,
            "silences": news.silences,
            "until": news.asked_to_wait_until,
            "now": now,
        },
    )
    found = row.mappings().one_or_none()
    return None if found is None else Health(**found)


_BLOCK = sa.text("""
    UPDATE webhook_subscription SET blocked_until = GREATEST(blocked_until, :until) WHERE id = :id
""")


def block(connection: Connection, subscription: str, *, until: datetime) -> None:
    """Send nothing to an endpoint before `until`."""
    connection.execute(_BLOCK, {"id": subscription, "until": until})


_HASTEN = sa.text("""
    UPDATE webhook_delivery SET next_attempt_at = :now + random() * CAST(:spread AS interval)
    WHERE subscription_id = :id AND status = 'pending' AND lease_token IS NULL AND next_attempt_at > :now
      AND last_status IS NULL AND attempts > spent
""")


def hasten(connection: Connection, subscription: str, *, now: datetime, spread: timedelta) -> None:
    """An endpoint that had fallen silent answers again: what waits only for that is due soon."""
    connection.execute(_HASTEN, {"id": subscription, "now": now, "spread": spread})


_DISABLE = sa.text("""
    UPDATE webhook_subscription SET disabled_at = :now, disabled_reason = :reason, updated_at = :now
    WHERE id = :id AND disabled_at IS NULL RETURNING project_id, url, failing_since, failures
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Disabled:
    """An endpoint that was just given up."""

    project_id: str
    url: str
    failing_since: datetime | None
    failures: int


def disable(connection: Connection, subscription: str, *, reason: str, now: datetime) -> Disabled | None:
    """Give an endpoint up; what is due to it is held from now on. None if it was already, or is gone."""
    row = connection.execute(_DISABLE, {"id": subscription, "reason": reason, "now": now}).mappings().one_or_none()
    return None if row is None else Disabled(**row)


_LISTENERS = sa.text("""
    SELECT id FROM webhook_subscription
    WHERE project_id = :project AND bot_id IS NULL AND id <> :but AND :trigger = ANY(triggers)
""")


def listeners(connection: Connection, project: str, trigger: str, *, but: str) -> list[str]:
    """The project's other endpoints that want to know."""
    return list(connection.execute(_LISTENERS, {"project": project, "trigger": trigger, "but": but}).scalars())


_DUE = sa.text("""
    SELECT EXISTS (
        SELECT FROM webhook_subscription s
        WHERE s.disabled_at IS NULL AND (s.blocked_until IS NULL OR s.blocked_until <= :now)
          AND EXISTS (SELECT FROM webhook_delivery d WHERE d.subscription_id = s.id AND d.status = 'pending'
                        AND d.next_attempt_at <= :now AND (d.lease_token IS NULL OR d.lease_until < clock_timestamp())))
""")


def is_due(connection: Connection, *, now: datetime) -> bool:
    """Whether anything could be claimed now."""
    return bool(connection.execute(_DUE, {"now": now}).scalar())


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How deliveries stand, over all projects."""

    pending: int
    held: int
    due_since: datetime | None
    """When the oldest pending delivery was first due, held and throttled ones included: its age is the delay."""
    dead: int
    rejected: int
    """Dead and rejected since `since`."""
    abandoned: int
    """Leases that ran out five minutes ago or earlier, of endpoints that may be sent to: no worker looks."""
    attempts: int
    attempts_failed: int
    endpoints: int
    disabled: Mapping[str, int]
    """Endpoints given up, by reason."""
    failing: int


_STATE = sa.text("""
    SELECT (SELECT count(*) FROM webhook_delivery WHERE status = 'pending') AS pending,
           (SELECT count(*) FROM webhook_delivery d JOIN webhook_subscription s ON s.id = d.subscription_id
                WHERE d.status = 'pending' AND s.disabled_at IS NOT NULL) AS held,
           (SELECT min(created_at) FROM webhook_delivery WHERE status = 'pending') AS due_since,
           (SELECT count(*) FROM webhook_delivery WHERE status = 'dead' AND finished_at >= :since) AS dead,
           (SELECT count(*) FROM webhook_delivery WHERE status = 'rejected' AND finished_at >= :since) AS rejected,
           (SELECT count(*) FROM webhook_delivery d JOIN webhook_subscription s ON s.id = d.subscription_id
                WHERE d.status = 'pending' AND d.lease_token IS NOT NULL
                AND d.lease_until < clock_timestamp() - interval '5 minutes' AND s.disabled_at IS NULL
                AND (s.blocked_until IS NULL OR s.blocked_until < clock_timestamp())) AS abandoned,
           (SELECT count(*) FROM webhook_attempt WHERE started_at >= :since) AS attempts,
           (SELECT count(*) FROM webhook_attempt WHERE started_at >= :since AND outcome = 'failed') AS attempts_failed,
           (SELECT count(*) FROM webhook_subscription) AS endpoints,
           (SELECT COALESCE(json_object_agg(disabled_reason, n), '{}') FROM (
                SELECT disabled_reason, count(*) AS n FROM webhook_subscription
                WHERE disabled_at IS NOT NULL GROUP BY 1) AS by_reason) AS disabled,
           (SELECT count(*) FROM webhook_subscription WHERE disabled_at IS NULL AND failures > 0) AS failing
""")


def state(connection: Connection, *, since: datetime) -> State:
    """How deliveries stand now, and what became of them since `since`."""
    return State(**connection.execute(_STATE, {"since": since}).mappings().one())


_EXPIRE = sa.text("""
    UPDATE webhook_delivery SET status = 'dead', finished_at = :now, last_error = 'expired'
    WHERE id IN (SELECT id FROM webhook_delivery WHERE status = 'pending' AND created_at < :before
                     AND (lease_token IS NULL OR lease_until < clock_timestamp()) LIMIT :limit FOR UPDATE SKIP LOCKED)
""")


def expire(connection: Connection, *, before: datetime, now: datetime, limit: int) -> int:
    """Give up what has been pending (held, mostly) since `before`; returns how many."""
    return connection.execute(_EXPIRE, {"before": before, "now": now, "limit": limit}).rowcount


_FORGET_BODIES = sa.text("""
    UPDATE webhook_delivery SET body = NULL
    WHERE id IN (SELECT id FROM webhook_delivery WHERE body IS NOT NULL AND status <> 'pending'
                     AND created_at < :before LIMIT :limit FOR UPDATE SKIP LOCKED)
""")


def forget_bodies(connection: Connection, *, before: datetime, limit: int) -> int:
    """Take away what was said; that it was said stays. Returns how many."""
    return connection.execute(_FORGET_BODIES, {"before": before, "limit": limit}).rowcount


_FORGET = sa.text("""
    DELETE FROM webhook_delivery
    WHERE id IN (SELECT id FROM webhook_delivery WHERE status <> 'pending' AND created_at < :before LIMIT :limit)
""")


def forget(connection: Connection, *, before: datetime, limit: int) -> int:
    """Take whole deliveries out of the log, their attempts with them; returns how many."""
    return connection.execute(_FORGET, {"before": before, "limit": limit}).rowcount
