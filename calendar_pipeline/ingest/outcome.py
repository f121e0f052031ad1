"""What became of a calendar in a run, and its row in `sync_run`. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Literal

from calendar_pipeline.history.diff import Change, Told
from calendar_pipeline.providers.port import Meter, News, Window

Status = Literal["synced", "retry", "disconnected", "operator", "unreadable", "bug", "stepped_aside"]
"""How a sync ended. All but ``synced`` and ``stepped_aside`` are failures that someone should see."""

REASONS: Mapping[Status, str | None] = {
    "synced": None,
    "retry": "retrying",
    "disconnected": "user_must_reconnect",
    "operator": "operator_must_act",
    "unreadable": "credential_unreadable",
    "bug": "unexplained",
    "stepped_aside": None,
}
"""How a calendar's row names what a failed sync means for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Changes by kind."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    restored: int = 0

    @classmethod
    def of(cls, changes: Sequence[Change]) -> "Counts":
        """Count changes."""
        kinds = [change.kind for change in changes]
        return cls(
            created=kinds.count("created"),
            updated=kinds.count("updated"),
            deleted=kinds.count("deleted"),
            restored=kinds.count("restored"),
        )


NOTHING = Counts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one calendar in this run."""

    calendar_id: str
    status: Status
    code: str | None = None
    """The machine-readable reason of a failure."""
    mode: str | None = None
    why: str | None = None
    items: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    restored: int = 0
    quarantined: int = 0
    drift: int = 0
    """Changes that a listing found and the cursor had not announced."""
    requests: int = 0
    response_bytes: int = 0
    pages: int = 0
    cause: str | None = None
    missed: int = 0
    """Changes that a poll found and push should have told."""
    lag: timedelta | None = None
    """From the first of its changes, by the provider's clock, until it could be seen here; None: not known."""
    unpublished: bool = False
    """Dagster should be told: something changed, or it was not told before."""

    @property
    def changes(self) -> int:
        """Rows written to the history."""
        return self.created + self.updated + self.deleted + self.restored

    @property
    def is_failure(self) -> bool:
        """Whether someone should see this."""
        return self.status not in ("synced", "stepped_aside")


def mode(news: News) -> str:
    """``listing`` or ``incremental``."""
    return "listing" if news.complete else "incremental"


def drift(changes: Sequence[Change], news: News, held: Window | None, *, started_at: datetime) -> int:
    """How many changes within the window held so far came as a surprise: the cursor had not announced them.

    Zero where no comparison was made. What was edited while we were reading is no surprise.
    """
    if news.announced is None or held is None:
        return 0
    return sum(_is_surprise(change, news.announced, held, started_at) for change in changes)


def _is_surprise(change: Change, announced: frozenset[str], held: Window, started_at: datetime) -> bool:
    event = change.told.event if change.told else None
    names = {
        change.provider_event_id,
        event.series_id if event else None,
        change.held.series_id if change.held else None,
    }
    if names & announced:
        return False
    if event is not None and event.provider_updated_at is not None and event.provider_updated_at >= started_at:
        return False
    was_held = change.held is not None and held.overlaps(change.held.starts_at, change.held.ends_at)
    return was_held or (event is not None and held.overlaps(event.starts_at, event.ends_at))


def digest(told: Told) -> bytes:
    """Of all events of a listing; equal means the same content."""
    whole = blake2b(digest_size=16)
    for key in sorted(told.events):
        whole.update(key.encode())
        whole.update(told.events[key].fingerprint)
    return whole.digest()


def run_row(
    meter: Meter,
    started_at: datetime,
    finished_at: datetime,
    *,
    outcome: Status,
    run_id: str | None,
    error_code: str | None = None,
    news: News | None = None,
    told: Told | None = None,
    counts: Counts = NOTHING,
    drift: int = 0,
    token_kind: str | None = None,
    cause: str | None = None,
    pushed_at: datetime | None = None,
    changed_at: datetime | None = None,
    missed: int = 0,
) -> Mapping[str, object]:
    """A row of `sync_run`."""
    complete = news.complete if news else None
    return {
        "started_at": started_at,
        "finished_at": finished_at,
        "outcome": outcome,
        "error_code": error_code,
        "mode": mode(news) if news else None,
        "why": news.why if news else None,
        "requests": meter.requests,
        "response_bytes": meter.response_bytes,
        "pages": meter.pages,
        "items": len(news.items) if news else 0,
        "created": counts.created,
        "updated": counts.updated,
        "deleted": counts.deleted,
        "restored": counts.restored,
        "quarantined": len(told.awkward) if told else 0,
        "run_id": run_id,
        "drift": drift,
        "covers_from": complete.start if complete else None,
        "covers_until": complete.end if complete else None,
        "digest": digest(told) if complete and told else None,
        "token_kind": token_kind,
        "cause": cause,
        "pushed_at": pushed_at,
        "changed_at": changed_at,
        "missed": missed,
    }
