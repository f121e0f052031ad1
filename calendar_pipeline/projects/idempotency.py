"""Answers to POSTs that carried an Idempotency-Key, kept for a day to be given again. No function here commits."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.secrets.keyring import KeyRing, Place

KEPT = timedelta(hours=24)
BUSY = timedelta(seconds=60)
"""After this a request that never answered counts as dead, and the same one may be tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """The request is new: do it, then `finish` or `release` with this token."""

    token: uuid.UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """It was done before; this was the answer."""

    status: int
    content_type: str | None
    answer: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """The same request is being done just now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """The key was used for another request."""


_BEGIN = sa.text("""
    WITH swept AS (
        DELETE FROM idempotency_key WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM idempotency_key WHERE expires_at <= :now AND (project_id, key) <> (:project, :key)
            ORDER BY expires_at LIMIT 20 FOR UPDATE SKIP LOCKED))
    )
    INSERT INTO idempotency_key AS k (project_id, key, fingerprint, token, busy_until, expires_at)
    VALUES (:project, :key, :fingerprint, :token, :busy_until, :expires_at)
    ON CONFLICT (project_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, token = excluded.token,
        busy_until = excluded.busy_until, expires_at = excluded.expires_at, status = NULL, answer = NULL
        WHERE k.expires_at <= :now
           OR (k.status IS NULL AND k.busy_until <= :now AND k.fingerprint = excluded.fingerprint)
    RETURNING true
""")
_KNOWN = sa.text("""
    SELECT fingerprint, status, content_type, answer FROM idempotency_key WHERE project_id = :project AND key = :key
""")


def begin(
    conn: Connection, keyring: KeyRing, project_id: str, key: str, *, fingerprint: bytes, now: datetime
) -> Ours | Answered | Busy | Mismatch:
    """Take the key for this request, or say what became of it before. Expired keys are swept by the way."""
    token = uuid.uuid4()
    names = {"project": project_id, "key": key}
    taken = conn.execute(
        _BEGIN,
        {
            **names,
            "fingerprint": fingerprint,
            "token": token,
            "busy_until": now + BUSY,
            "expires_at": now + KEPT,
            "now": now,
        },
    ).one_or_none()
    if taken:
        return Ours(token=token)
    known = conn.execute(_KNOWN, names).one_or_none()
    if known is None:
        return Busy()  # released since: whoever asks again will have it
    if bytes(known.fingerprint) != fingerprint:
        return Mismatch()
    if known.status is None:
        return Busy()
    answer = keyring.open(known.answer, place(project_id, key)).encode()
    return Answered(status=known.status, content_type=known.content_type, answer=answer)


_FINISH = sa.text("""
    UPDATE idempotency_key SET status = :status, content_type = :content_type, answer = :answer
    WHERE project_id = :project AND key = :key AND token = :token
""")


def finish(
    conn: Connection,
    keyring: KeyRing,
    project_id: str,
    key: str,
    *,
    token: uuid.UUID,
    status: int,
    content_type: str | None,
    answer: bytes,
) -> None:
    """Keep the answer, sealed: it may hold a secret that is shown once."""
    conn.execute(
        _FINISH,
        {
            "project": project_id,
            "key": key,
            "token": token,
            "status": status,
            "content_type": content_type,
            "answer": keyring.seal(answer.decode(), place(project_id, key)),
        },
    )


_RELEASE = sa.text("DELETE FROM idempotency_key WHERE project_id = :project AND key = :key AND token = :token")


def release(conn: Connection, project_id: str, key: str, *, token: uuid.UUID) -> None:
    """Forget the key: the request failed for a reason that may pass."""
    conn.execute(_RELEASE, {"project": project_id, "key": key, "token": token})


def place(project_id: str, key: str) -> Place:
    """Where a kept answer stands."""
    return Place(table="idempotency_key", column="answer", row=key, project=project_id)
