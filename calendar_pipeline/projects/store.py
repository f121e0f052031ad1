"""Projects, their API keys and their signing secrets in the database. No function here commits."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from calendar_pipeline import ids
from calendar_pipeline.db.schema import api_key, project, project_counter, webhook_secret
from calendar_pipeline.errors import NotFound, SetupError
from calendar_pipeline.projects import model
from calendar_pipeline.projects.model import Key, NewKey, Project
from calendar_pipeline.secrets.keyring import KeyRing, Place

USE_IS_NEWS_AFTER = timedelta(minutes=1)
"""`last_used_at` is not written more often than this for one key."""

_KEY = (
    api_key.c.id,
    api_key.c.project_id,
    api_key.c.last_four,
    api_key.c.created_at,
    api_key.c.last_used_at,
    api_key.c.revoked_at,
)

# Built once: it runs for every request, and building it takes longer than PostgreSQL takes to answer it.
_FIND_KEY = sa.select(*_KEY).where(api_key.c.key_hash == sa.bindparam("digest"), api_key.c.revoked_at.is_(None))


def create(conn: Connection, name: str, *, now: datetime) -> Project:
    """A new project and its history counter at zero, in one statement."""
    row = Project(id=ids.new("proj"), name=name, created_at=now)
    made = (
        sa.insert(project)
        .values(id=row.id, name=row.name, created_at=row.created_at)
        .returning(project.c.id)
        .cte("made")
    )
    conn.execute(sa.insert(project_counter).from_select(["project_id"], sa.select(made.c.id)))
    return row


def all_projects(conn: Connection) -> Sequence[Project]:
    """Every project, oldest first."""
    rows = conn.execute(sa.select(project).order_by(project.c.created_at, project.c.id))
    return [Project(id=row.id, name=row.name, created_at=row.created_at) for row in rows]


def create_key(conn: Connection, project_id: str, *, now: datetime, secret: str | None = None) -> NewKey:
    """A new key of the project: `secret` as the operator gives it, or a generated one.

    Raises SetupError if `secret` cannot be a key or is some project's key already; NotFound without the project.
    """
    text = model.generate() if secret is None else model.accept(secret)
    key = Key(id=ids.new("key"), project_id=project_id, last_four=text[-4:], created_at=now)
    owner = sa.select(
        sa.literal(key.id),
        project.c.id,
        sa.literal(model.digest(text), sa.LargeBinary),
        sa.literal(key.last_four),
        sa.literal(now, sa.DateTime(timezone=True)),
    ).where(project.c.id == project_id)
    try:
        with conn.begin_nested():
            made = conn.execute(
                sa.insert(api_key)
                .from_select(["id", "project_id", "key_hash", "last_four", "created_at"], owner)
                .returning(api_key.c.id)
            ).one_or_none()
    except IntegrityError:
        raise SetupError("This API key is in use already; give another, or let one be generated.") from None
    if made is None:
        raise NotFound(project_id)
    return NewKey(key=key, secret=text)


def keys(conn: Connection, project_id: str) -> Sequence[Key]:
    """The project's keys, revoked ones too, oldest first."""
    rows = conn.execute(
        sa.select(*_KEY).where(api_key.c.project_id == project_id).order_by(api_key.c.created_at, api_key.c.id)
    )
    return [_key(row) for row in rows]


def find_key(conn: Connection, secret: str) -> Key | None:
    """The key that `secret` is, unless it is unknown or revoked. Asks the database only if it could be a key."""
    if not model.could_be_key(secret):
        return None
    row = conn.execute(_FIND_KEY, {"digest": model.digest(secret)}).one_or_none()
    return None if row is None else _key(row)


def use_is_news(key: Key, *, now: datetime) -> bool:
    """Whether `mark_used` would write: the last use on record is more than a minute old."""
    return key.last_used_at is None or key.last_used_at < now - USE_IS_NEWS_AFTER


def mark_used(conn: Connection, key: Key, *, now: datetime) -> None:
    """Record a use, unless another request has recorded one within the minute."""
    conn.execute(
        sa.update(api_key)
        .where(
            api_key.c.id == key.id,
            sa.or_(api_key.c.last_used_at.is_(None), api_key.c.last_used_at < now - USE_IS_NEWS_AFTER),
        )
        .values(last_used_at=now)
    )


def revoke_key(conn: Connection, project_id: str, key_id: str, *, now: datetime) -> None:
    """The key signs nobody in any more; revoking it twice keeps the first time. Raises NotFound."""
    found = conn.execute(
        sa.update(api_key)
        .where(api_key.c.project_id == project_id, api_key.c.id == key_id)
        .values(revoked_at=sa.func.coalesce(api_key.c.revoked_at, now))
        .returning(api_key.c.id)
    ).one_or_none()
    if found is None:
        raise NotFound(key_id)


def set_webhook_secret(
    conn: Connection,
    keyring: KeyRing,
    project_id: str,
    *,
    now: datetime,
    secret: str | None = None,
    overlap: timedelta = timedelta(),
) -> str:
    """Sign from now on with `secret` (base64, or a generated one), which is returned.

    The former secret signs as well until `overlap` has passed. Raises SetupError if `secret` is not base64 of at least
    16 bytes.
    """
    text = model.new_signing_secret() if secret is None else model.accept_signing_secret(secret)
    row = ids.new("webhook")
    retired = (
        sa.update(webhook_secret)
        .where(webhook_secret.c.project_id == project_id, webhook_secret.c.retired_at.is_(None))
        .values(retired_at=now + overlap)
        .cte("retired")
    )
    place = secret_place(row, project_id)
    conn.execute(
        sa.insert(webhook_secret)
        .values(id=row, project_id=project_id, secret=keyring.seal(text, place), created_at=now)
        .add_cte(retired)
    )
    return text


def webhook_secrets(conn: Connection, keyring: KeyRing, project_id: str) -> Sequence[str]:
    """The secrets not retired, newest first; raises CredentialUnreadable."""
    rows = conn.execute(
        sa.select(webhook_secret.c.id, webhook_secret.c.secret)
        .where(webhook_secret.c.project_id == project_id, webhook_secret.c.retired_at.is_(None))
        .order_by(webhook_secret.c.created_at.desc(), webhook_secret.c.id)
    )
    return [keyring.open(row.secret, secret_place(row.id, project_id)) for row in rows]


def secret_place(row: str, project_id: str) -> Place:
    """Where a webhook secret stands."""
    return Place(table="webhook_secret", column="secret", row=row, project=project_id)


def _key(row: Any) -> Key:
    return Key(
        id=row.id,
        project_id=row.project_id,
        last_four=row.last_four,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
