"""Who asked for which write, and how it was answered: append-only, and without any content.

Two rows for a request: one before anything is done, one with the answer's status. So a write that was done has its
row even if the process died in the middle; one without an answer is told apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline import ids
from calendar_pipeline.db.schema import audit_log

CLI = "cli"
"""The actor of commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A write that was asked for."""

    sequence: int
    at: datetime
    actor: str
    action: str
    subject: str | None
    request_id: str
    status: int | None
    """Of the answer, 0 where the action says itself what was done; None if none was recorded, so it may or may not have
    been done."""


def asked(
    conn: Connection, project_id: str, *, actor: str, action: str, subject: str | None, request_id: str, at: datetime
) -> None:
    """Note a write before it is done."""
    conn.execute(
        sa.insert(audit_log).values(
            at=at,
            project_id=project_id,
            actor=actor,
            action=action,
            subject=subject,
            request_id=request_id,
            stage="asked",
        )
    )


_ANSWERED = sa.text("""
    INSERT INTO audit_log (at, project_id, actor, action, subject, request_id, stage, status)
    VALUES (:at, :project, :actor, :action, :subject, :request_id, 'answered', :status)
""")


def answered(
    conn: Connection,
    project_id: str,
    *,
    actor: str,
    action: str,
    subject: str | None,
    request_id: str,
    status: int,
    at: datetime,
) -> None:
    """Note how it ended; `subject` is known by now if anything was made."""
    conn.execute(
        _ANSWERED,
        {
            "at": at,
            "project": project_id,
            "actor": actor,
            "action": action,
            "subject": subject,
            "request_id": request_id,
            "status": status,
        },
    )


def by_command(conn: Connection, project_id: str, *, action: str, subject: str | None, at: datetime) -> None:
    """Note a write by a command, in the transaction that does it: two rows as for a request, with status 0."""
    _both(conn, project_id, actor=CLI, action=action, subject=subject, request_id=ids.new("req"), at=at)


def by_person(
    conn: Connection,
    project_id: str,
    *,
    application: str,
    action: str,
    subject: str | None,
    request_id: str,
    at: datetime,
) -> None:
    """Note what came of a person's visit, in the transaction of it; the actor is the OAuth application."""
    _both(conn, project_id, actor=application, action=action, subject=subject, request_id=request_id, at=at)


def _both(conn: Connection, project_id: str, *, at: datetime, **entry: Any) -> None:
    asked(conn, project_id, **entry, at=at)
    answered(conn, project_id, **entry, status=0, at=at)


_ENTRIES = sa.text("""
    SELECT a.id, a.at, a.actor, a.action, COALESCE(done.subject, a.subject) AS subject, a.request_id, done.status
    FROM audit_log a
    LEFT JOIN audit_log done
        ON done.request_id = a.request_id AND done.project_id = a.project_id AND done.stage = 'answered'
    WHERE a.project_id = :project AND a.stage = 'asked' AND a.id > :after
    ORDER BY a.id LIMIT :limit
""")


def entries(conn: Connection, project_id: str, *, after: int = 0, limit: int) -> Sequence[Entry]:
    """The project's writes in the order in which they were asked, behind number `after`."""
    return [_entry(row) for row in conn.execute(_ENTRIES, {"project": project_id, "after": after, "limit": limit})]


_LAST = sa.text("""
    SELECT COALESCE(min(id), 1) - 1 FROM (
        SELECT id FROM audit_log WHERE project_id = :project AND stage = 'asked' ORDER BY id DESC LIMIT :limit) AS last
""")


def latest(conn: Connection, project_id: str, *, limit: int) -> Sequence[Entry]:
    """The project's last writes, oldest first. Two statements."""
    after = conn.execute(_LAST, {"project": project_id, "limit": limit}).scalar_one()
    return entries(conn, project_id, after=after, limit=limit)


def _entry(row: Any) -> Entry:
    return Entry(
        sequence=row.id,
        at=row.at,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        request_id=row.request_id,
        status=row.status,
    )
