"""Endpoints in the database: made, changed, listed, rotated. Every statement is limited to one project; no commits."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline import ids
from calendar_pipeline.db.keyset import Order, Page, Seek
from calendar_pipeline.db.schema import project_counter, webhook_delivery, webhook_secret, webhook_subscription
from calendar_pipeline.errors import NotFound
from calendar_pipeline.projects import model as projects
from calendar_pipeline.projects.store import secret_place as project_place
from calendar_pipeline.secrets.keyring import KeyRing, Place
from calendar_pipeline.webhooks.model import NewSubscription, Subscription, SubscriptionPatch

_s = webhook_subscription.c

_PUBLIC: Sequence[sa.ColumnElement[Any]] = (
    _s.id,
    _s.project_id,
    _s.bot_id,
    _s.url,
    _s.triggers,
    _s.content,
    _s.ordering,
    _s.concurrency,
    _s.secret.is_not(None).label("has_own_secret"),
    _s.former_secret_until,
    _s.failures,
    _s.failing_since,
    _s.blocked_until,
    _s.disabled_at,
    _s.disabled_reason,
    _s.created_at,
    _s.updated_at,
)

_NEWEST_FIRST = Order(instant=_s.created_at, id=_s.id, descending=True)


def create(
    conn: Connection, keyring: KeyRing, project_id: str, new: Sequence[NewSubscription], *, now: datetime
) -> list[Subscription]:
    """Make endpoints, in one statement. URLs have been accepted, secrets as well."""
    if not new:
        return []
    rows = [_row(keyring, project_id, one, now=now) for one in new]
    made = conn.execute(sa.insert(webhook_subscription).values(rows).returning(*_PUBLIC)).mappings().all()
    by_id = {row["id"]: Subscription(**row) for row in made}
    return [by_id[row["id"]] for row in rows]


def _row(keyring: KeyRing, project_id: str, new: NewSubscription, *, now: datetime) -> dict[str, Any]:
    row = ids.new("webhook")
    place = secret_place("secret", row, project_id)
    return {
        "id": row,
        "project_id": project_id,
        "bot_id": new.bot_id,
        "url": new.url,
        "triggers": list(new.triggers),
        "content": new.content,
        "ordering": new.ordering,
        "concurrency": new.concurrency,
        "secret": keyring.seal(new.secret, place) if new.secret is not None else None,
        "created_at": now,
        "updated_at": now,
    }


def count(conn: Connection, project_id: str) -> int:
    """How many endpoints the project has, those of bots not counted. No other is made until the caller commits."""
    query = sa.select(project_counter.c.webhooks).where(project_counter.c.project_id == project_id).with_for_update()
    return conn.execute(query).scalar_one()


def get(conn: Connection, project_id: str, subscription: str) -> Subscription:
    """The project's endpoint; raises NotFound."""
    row = conn.execute(sa.select(*_PUBLIC).where(_s.project_id == project_id, _s.id == subscription))
    return _one(row, subscription)


def page(
    conn: Connection, project_id: str, *, size: int, seek: Seek | None = None, bot_id: str | None = None
) -> Page[Subscription]:
    """Some of the project's endpoints, newest first; with `bot_id` that bot's, otherwise those of no bot."""
    query = sa.select(*_PUBLIC).where(
        _s.project_id == project_id, _s.bot_id.is_(None) if bot_id is None else _s.bot_id == bot_id
    )
    found = conn.execute(_NEWEST_FIRST.limited(query, seek=seek, size=size)).all()
    part = _NEWEST_FIRST.page(found, seek=seek, size=size)
    return Page(rows=[_subscription(row) for row in part.rows], next=part.next, previous=part.previous)


def everyone(conn: Connection) -> list[Subscription]:
    """Every project's endpoints, oldest first, those of bots as well."""
    rows = conn.execute(sa.select(*_PUBLIC).order_by(_s.created_at, _s.id))
    return [_subscription(row) for row in rows]


def patch(
    conn: Connection, project_id: str, subscription: str, change: SubscriptionPatch, *, now: datetime
) -> Subscription:
    """Apply `change`; raises NotFound.

    Enabling starts the endpoint's record anew, and what was held is due at once; so does another address, to which what
    the former one earned (waits, probes) does not apply.
    """
    anew = change.enabled is True or change.url is not None
    values: dict[str, Any] = {"updated_at": now}
    for name in ("url", "content", "ordering", "concurrency"):
        if (value := getattr(change, name)) is not None:
            values[name] = value
    if change.triggers is not None:
        values["triggers"] = list(change.triggers)
    if anew:
        values |= {"failures": 0, "failing_since": None, "silences": 0, "blocked_until": None}
    if change.enabled is True:
        values |= {"disabled_at": None, "disabled_reason": None}
    elif change.enabled is False:
        values |= {
            "disabled_at": sa.func.coalesce(_s.disabled_at, now),
            "disabled_reason": sa.func.coalesce(_s.disabled_reason, "operator"),
        }
    statement = (
        sa.update(webhook_subscription)
        .where(_s.project_id == project_id, _s.id == subscription)
        .values(values)
        .returning(*_PUBLIC)
    )
    if anew:
        d = webhook_delivery.c
        held = (
            sa.update(webhook_delivery)
            .where(
                d.project_id == project_id,
                d.subscription_id == subscription,
                d.status == "pending",
                d.lease_token.is_(None),
                d.next_attempt_at > now,
            )
            .values(next_attempt_at=now)
            .cte("held")
        )
        statement = statement.add_cte(held)
    return _one(conn.execute(statement), subscription)


def delete(conn: Connection, project_id: str, subscription: str) -> None:
    """Forget the endpoint and all that was or is due to it; raises NotFound."""
    gone = conn.execute(
        sa.delete(webhook_subscription).where(_s.project_id == project_id, _s.id == subscription).returning(_s.id)
    ).one_or_none()
    if gone is None:
        raise NotFound(subscription)


_SECRETS = (
    sa.select(
        _s.secret,
        webhook_secret.c.id.label("project_secret_id"),
        webhook_secret.c.secret.label("project_secret"),
    )
    .outerjoin(
        webhook_secret,
        sa.and_(webhook_secret.c.project_id == _s.project_id, webhook_secret.c.retired_at.is_(None)),
    )
    .where(_s.project_id == sa.bindparam("project"), _s.id == sa.bindparam("id"))
    .order_by(webhook_secret.c.created_at.desc())
    .limit(1)
    .with_for_update(of=webhook_subscription)
)


def rotate(
    conn: Connection,
    keyring: KeyRing,
    project_id: str,
    subscription: str,
    *,
    now: datetime,
    overlap: timedelta,
    secret: str | None = None,
) -> str:
    """Sign with `secret` or a fresh one, which is returned, and with the one so far as well until `overlap` has passed.

    An endpoint that signed with the project's secret has its own from now on. Two statements. Raises NotFound, and
    SetupError if `secret` cannot be one.
    """
    text = projects.new_signing_secret() if secret is None else projects.accept_signing_secret(secret)
    row = conn.execute(_SECRETS, {"project": project_id, "id": subscription}).one_or_none()
    if row is None:
        raise NotFound(subscription)
    former: str | None = None
    if row.secret is not None:
        former = keyring.open(row.secret, secret_place("secret", subscription, project_id))
    elif row.project_secret is not None:
        former = keyring.open(row.project_secret, project_place(row.project_secret_id, project_id))
    keep = former is not None and overlap > timedelta()
    conn.execute(
        sa.update(webhook_subscription)
        .where(_s.project_id == project_id, _s.id == subscription)
        .values(
            secret=keyring.seal(text, secret_place("secret", subscription, project_id)),
            former_secret=keyring.seal(former, secret_place("former_secret", subscription, project_id))
            if keep and former is not None
            else None,
            former_secret_until=now + overlap if keep else None,
            updated_at=now,
        )
    )
    return text


def secret_place(column: str, row: str, project_id: str) -> Place:
    """Where an endpoint's own secret stands (``secret`` or ``former_secret``)."""
    return Place(table="webhook_subscription", column=column, row=row, project=project_id)


def _one(found: sa.CursorResult[Any], subscription: str) -> Subscription:
    row = found.one_or_none()
    if row is None:
        raise NotFound(subscription)
    return _subscription(row)


def _subscription(row: Any) -> Subscription:
    return Subscription(
        id=row.id,
        project_id=row.project_id,
        bot_id=row.bot_id,
        url=row.url,
        triggers=row.triggers,
        content=row.content,
        ordering=row.ordering,
        concurrency=row.concurrency,
        has_own_secret=row.has_own_secret,
        former_secret_until=row.former_secret_until,
        failures=row.failures,
        failing_since=row.failing_since,
        blocked_until=row.blocked_until,
        disabled_at=row.disabled_at,
        disabled_reason=row.disabled_reason,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
