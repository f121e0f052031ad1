"""The outbox as a log: what was told, what became of it, and sending it again. One project's, always; no commits."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.db.keyset import Order, Page, Seek
from calendar_pipeline.db.schema import webhook_attempt, webhook_delivery, webhook_subscription
from calendar_pipeline.errors import NotFound
from calendar_pipeline.webhooks import body, outbox
from calendar_pipeline.webhooks.model import TEST, Attempted, Delivery, DeliveryStatus
from calendar_pipeline.webhooks.outbox import Message

_d = webhook_delivery.c
_s = webhook_subscription.c

_STATUS = sa.case(
    (sa.and_(_d.status == "pending", _s.disabled_at.is_not(None)), sa.literal("held")), else_=_d.status
).label("status")

_COLUMNS: Sequence[sa.ColumnElement[Any]] = (
    _d.id,
    _d.project_id,
    _d.subscription_id,
    _d.calendar_id,
    _d.bot_id,
    _d.trigger,
    _d.idempotency_key,
    _STATUS,
    _d.attempts,
    _d.next_attempt_at,
    _d.last_status,
    _d.last_error,
    _d.created_at,
    _d.finished_at,
)

_NEWEST_FIRST = Order(instant=_d.created_at, id=_d.id, descending=True)


def page(
    conn: Connection,
    project_id: str,
    *,
    size: int,
    seek: Seek | None = None,
    subscription: str | None = None,
    status: DeliveryStatus | None = None,
) -> Page[Delivery]:
    """Some of the project's deliveries, newest first, without their bodies."""
    query = (
        sa.select(*_COLUMNS, sa.null().label("body"))
        .join(webhook_subscription, _s.id == _d.subscription_id)
        .where(_d.project_id == project_id)
    )
    if subscription is not None:
        query = query.where(_d.subscription_id == subscription)
    if status is not None:
        query = query.where(_d.status == ("pending" if status == "held" else status))
        if status in ("pending", "held"):
            query = query.where(_s.disabled_at.is_not(None) if status == "held" else _s.disabled_at.is_(None))
    found = conn.execute(_NEWEST_FIRST.limited(query, seek=seek, size=size)).all()
    part = _NEWEST_FIRST.page(found, seek=seek, size=size)
    return Page(rows=[_delivery(row) for row in part.rows], next=part.next, previous=part.previous)


def get(conn: Connection, project_id: str, delivery: str) -> Delivery:
    """The project's delivery, with its body; raises NotFound."""
    row = conn.execute(
        sa.select(*_COLUMNS, _d.body)
        .join(webhook_subscription, _s.id == _d.subscription_id)
        .where(_d.project_id == project_id, _d.id == delivery)
    ).one_or_none()
    if row is None:
        raise NotFound(delivery)
    return _delivery(row)


def attempts(conn: Connection, delivery: str) -> list[Attempted]:
    """All attempts of a delivery that the caller may see, oldest first."""
    a = webhook_attempt.c
    rows = conn.execute(
        sa.select(a.attempt, a.started_at, a.milliseconds, a.outcome, a.status, a.error, a.excerpt)
        .where(a.delivery_id == delivery)
        .order_by(a.id)
    )
    return [Attempted(**row) for row in rows.mappings()]


_RESEND = sa.text("""
    UPDATE webhook_delivery
    SET status = 'pending', spent = attempts, equal_refusals = 0, next_attempt_at = :now, finished_at = NULL
    WHERE project_id = :project AND id = :id AND body IS NOT NULL
    RETURNING id
""")


def resend(conn: Connection, project_id: str, delivery: str, *, now: datetime) -> bool:
    """Make a delivery due at once, with all its attempts before it, under the same id.

    False if there is nothing to send any more, or there is no such delivery.
    """
    parameters = {"project": project_id, "id": delivery, "now": now}
    return conn.execute(_RESEND, parameters).one_or_none() is not None


_RECOVER = sa.text("""
    UPDATE webhook_delivery
    SET status = 'pending', spent = attempts, equal_refusals = 0, next_attempt_at = :now, finished_at = NULL
    WHERE project_id = :project AND subscription_id = :subscription AND body IS NOT NULL AND created_at >= :since
      AND (status = 'dead' OR status = 'pending' AND attempts > spent AND lease_token IS NULL)
""")


def recover(conn: Connection, project_id: str, subscription: str, *, since: datetime, now: datetime) -> int:
    """Make due at once all of an endpoint's deliveries written since `since` that have failed; returns how many."""
    parameters = {"project": project_id, "subscription": subscription, "since": since, "now": now}
    return conn.execute(_RECOVER, parameters).rowcount


def test(conn: Connection, project_id: str, subscription: str, *, now: datetime) -> str:
    """Send a test event to an endpoint that the project has; returns the delivery's id."""
    key = uuid.uuid4()
    message = Message(
        project_id=project_id,
        subscription_id=subscription,
        trigger=TEST,
        key=key,
        payload=body.test(key=key, subscription=subscription, at=now),
    )
    [row] = outbox.write(conn, [message], at=now)
    return row


def _delivery(row: Any) -> Delivery:
    return Delivery(
        id=row.id,
        project_id=row.project_id,
        subscription_id=row.subscription_id,
        calendar_id=row.calendar_id,
        bot_id=row.bot_id,
        trigger=row.trigger,
        idempotency_key=row.idempotency_key,
        body=row.body,
        status=row.status,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at if row.status in ("pending", "held") else None,
        last_status=row.last_status,
        last_error=row.last_error,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )
