"""Projects, their API keys and their signing secrets in the database. No function here commits."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
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
    api_key.c.name,
    api_key.c.prefix,
    api_key.c.last_four,
    api_key.c.scopes,
    api_key.c.created_at,
    api_key.c.last_used_at,
    api_key.c.expires_at,
    api_key.c.revoked_at,
)

# Built once: it runs for every request, and building it takes longer than PostgreSQL takes to answer it.
_COLUMNS = ", ".join(column.name for column in _KEY)


def _find_key(*more: str) -> sa.TextClause:
    return sa.text(f"""
        WITH found AS MATERIALIZED (
            SELECT {_COLUMNS} FROM api_key
            WHERE key_hash = :digest AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)
        ), used AS (
            UPDATE api_key SET last_used_at = :now
            WHERE id = (SELECT id FROM found WHERE last_used_at IS NULL OR last_used_at < :stale)
              AND (last_used_at IS NULL OR last_used_at < :stale)
        )
        SELECT {", ".join((_COLUMNS, *more))} FROM found
    """)


_FIND_KEY = _find_key()
_FIND_KEY_SETTLED = _find_key("project_settled(project_id)")

_NEW_KEY = ["id", "project_id", "key_hash", "name", "prefix", "last_four", "scopes", "created_at", "expires_at"]


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


def require(conn: Connection, project_id: str) -> None:
    """Raise NotFound, in words for an operator, unless there is this project."""
    if conn.execute(sa.select(project.c.id).where(project.c.id == project_id)).first() is None:
        raise NotFound(f"There is no project {project_id}: 'calendar-pipeline project list' shows which there are.")


def create_key(
    conn: Connection,
    project_id: str,
    *,
    now: datetime,
    secret: str | None = None,
    name: str = "",
    scopes: Iterable[str] = (model.EVERYTHING,),
    expires_at: datetime | None = None,
) -> NewKey:
    """A new key of the project: `secret` as the operator gives it, or a generated one. It may do all, unless told less.

    Raises SetupError if `secret` cannot be a key or is some project's key already, or for an unknown scope; NotFound
    without the project.
    """
    text = model.generate() if secret is None else model.accept(secret)
    key = Key(
        id=ids.new("key"),
        project_id=project_id,
        name=name,
        prefix=model.shown(text),
        last_four=text[-4:],
        scopes=model.grant(scopes),
        created_at=now,
        expires_at=expires_at,
    )
    owner = sa.select(
        sa.literal(key.id),
        project.c.id,
        sa.literal(model.digest(text), sa.LargeBinary),
        sa.literal(key.name),
        sa.literal(key.prefix),
        sa.literal(key.last_four),
        sa.literal(sorted(key.scopes), ARRAY(sa.Text)),
        sa.literal(now, sa.DateTime(timezone=True)),
        sa.literal(expires_at, sa.DateTime(timezone=True)),
    ).where(project.c.id == project_id)
    try:
        with conn.begin_nested():
            made = conn.execute(sa.insert(api_key).from_select(_NEW_KEY, owner).returning(api_key.c.id)).one_or_none()
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


def find_key(conn: Connection, secret: str, *, now: datetime, settled: bool = False) -> Key | None:
    """The key that `secret` is, unless it is unknown, revoked or expired; its use is noted at most once a minute.

    Asks the database only if it could be a key. `settled`: the same statement waits for whoever is just writing events
    of the key's project. What the next statement reads then holds all that was stamped before this one; raises
    OperationalError after two seconds.
    """
    if not model.could_be_key(secret):
        return None
    query = _FIND_KEY_SETTLED if settled else _FIND_KEY
    given = {"digest": model.digest(secret), "now": now, "stale": now - USE_IS_NEWS_AFTER}
    row = conn.execute(query, given).one_or_none()
    return None if row is None else _key(row)


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

    The former secret signs as well until `overlap` has passed. Whoever does the same at once waits and comes after us,
    so that one secret is left and it is the last one told: two statements. Raises SetupError if `secret` is not base64
    of at least 16 bytes.
    """
    text = model.new_signing_secret() if secret is None else model.accept_signing_secret(secret)
    conn.execute(sa.select(project.c.id).where(project.c.id == project_id).with_for_update(key_share=True))
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


def ensure_webhook_secret(conn: Connection, keyring: KeyRing, project_id: str, *, now: datetime) -> str | None:
    """Have the project sign; returns the secret if it had none, for whoever is to be told."""
    mine = sa.exists().where(webhook_secret.c.project_id == project_id, webhook_secret.c.retired_at.is_(None))
    if conn.execute(sa.select(mine)).scalar_one():
        return None
    return set_webhook_secret(conn, keyring, project_id, now=now)


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
        name=row.name,
        prefix=row.prefix,
        last_four=row.last_four,
        scopes=frozenset(row.scopes),
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
