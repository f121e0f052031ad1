"""Provider → history: one calendar, and many at once.

Reads from the provider with no transaction open. Then one short transaction moves current events, history, cursor
and sync record together, and only if this worker still holds the calendar.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy.engine import Connection

from calendar_pipeline import ids
from calendar_pipeline.db.connect import new_lease
from calendar_pipeline.errors import (
    AccessRevoked,
    CredentialUnreadable,
    LeaseLost,
    OperatorMustAct,
    ProviderError,
    TokenRefused,
    TryLater,
)
from calendar_pipeline.event import Awkward
from calendar_pipeline.history import store as history
from calendar_pipeline.history.diff import Change, Difference, Told, diff, difference
from calendar_pipeline.ingest import plan, store
from calendar_pipeline.ingest.read import Ingest, Reading, read
from calendar_pipeline.ingest.store import Claim
from calendar_pipeline.providers.port import Meter

Status = Literal["synced", "retry", "disconnected", "operator", "unreadable", "bug", "stepped_aside"]
"""How a sync ended. All but ``synced`` and ``stepped_aside`` are failures that someone should see."""

CHUNK = 25
"""Calendars claimed by one statement. A dead worker holds up no more than these, until their lease runs out."""

TOKEN_REFUSALS = 3
"""More failed syncs in a row than this, and a fresh access token refused for ten minutes: the user must reconnect."""

KINDS = ("created", "updated", "deleted", "restored")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Changes by kind."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    restored: int = 0


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
    requests: int = 0
    response_bytes: int = 0
    pages: int = 0
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


def sync_many(
    ingest: Ingest,
    calendars: Sequence[str],
    *,
    threads: int,
    regardless: bool = False,
    full: bool = False,
) -> Iterator[Outcome]:
    """Sync those of `calendars` that are due (`regardless`: all of them), yielding each outcome as it comes.

    Calendars held by another worker are left out. `full` lists every window anew.
    """
    size = max(1, min(CHUNK, -(-len(calendars) // threads)))
    chunks = [calendars[start : start + size] for start in range(0, len(calendars), size)]

    def work(chunk: Sequence[str]) -> list[Outcome]:
        return list(_sync_chunk(ingest, chunk, regardless=regardless, full=full))

    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="sync") as pool:
        futures = [pool.submit(work, chunk) for chunk in chunks]
        try:
            for future in futures:
                yield from future.result()
        finally:
            for future in futures:
                future.cancel()


def _sync_chunk(ingest: Ingest, chunk: Sequence[str], *, regardless: bool, full: bool) -> Iterator[Outcome]:
    lease = new_lease()
    with ingest.db.single() as connection:
        claims = store.claim(
            connection, chunk, regardless=regardless, lease=lease, length=ingest.lease, now=ingest.clock()
        )
    renewed = time.monotonic()
    ours = {claimed.id for claimed in claims}
    for position, claimed in enumerate(claims):
        if time.monotonic() - renewed > ingest.lease.total_seconds() / 2:
            rest = [later.id for later in claims[position:]]
            with ingest.db.single() as connection:
                ours = store.renew(connection, rest, lease=lease, length=ingest.lease)
            renewed = time.monotonic()
        if claimed.id in ours:
            yield sync_calendar(ingest, claimed, full=full)


def sync_calendar(ingest: Ingest, claimed: Claim, *, full: bool = False) -> Outcome:
    """Read what is new, write down what changed, move the cursor: all or nothing.

    A provider's refusal is an outcome, recorded with its machine code; only a bug or a broken database raises.
    """
    started_at = ingest.clock()
    meter = Meter()
    try:
        reading = read(ingest, claimed, meter, full=full, now=started_at)
        ingest.crash("read")
        return _write(ingest, claimed, reading, meter, started_at)
    except LeaseLost:
        return Outcome(calendar_id=claimed.id, status="stepped_aside")
    except (ProviderError, CredentialUnreadable) as error:
        return _record_failure(ingest, claimed, error, meter, started_at)


def _write(ingest: Ingest, claimed: Claim, reading: Reading, meter: Meter, started_at: datetime) -> Outcome:
    news, told = reading.news, reading.told
    horizon = plan.horizon(claimed.id, now=started_at, buffer=ingest.buffer)
    changes = diff(told, reading.held, horizon=news.complete or claimed.held or horizon.window, complete=news.complete)
    differences = _differences(ingest, claimed, changes)
    counts = Counts(**{kind: sum(change.kind == kind for change in changes) for kind in KINDS})
    settles = bool(claimed.quarantined or told.awkward)
    covered: Mapping[str, object] = {}
    if news.cursor.window is not None and news.cursor.window != claimed.held:
        covered = {
            "held_from": news.cursor.window.start,
            "held_until": news.cursor.window.end,
            "relist_at": horizon.relist_at,
        }
    with ingest.db.begin() if changes or settles else ingest.db.single() as connection:
        now = ingest.clock()
        sync_run = store.finish(
            connection,
            claimed,
            sets={
                "state": "connected",
                "connection_failure_data": None,
                "last_successful_sync_at": now,
                "last_attempted_sync_at": now,
                "sync_token": news.cursor.token,
                "sync_parameters": news.cursor.parameters,
                "time_zone": news.cursor.time_zone,
                "failures": 0,
                "suspected_at": None,
                **covered,
            },
            run=_run(
                ingest,
                meter,
                started_at,
                now,
                outcome="synced",
                mode="listing" if news.complete else "incremental",
                why=news.why,
                items=len(news.items),
                quarantined=len(told.awkward),
                counts=counts,
            ),
            served=True,
            publish=bool(changes),
            next_sync_at=plan.next_sync(now=now, interval=ingest.interval),
        )
        if sync_run is None:
            raise LeaseLost
        ingest.crash("finished")
        if settles:
            _settle(connection, claimed, told, complete=news.complete is not None, at=now)
        if changes:
            _record(ingest, connection, claimed, changes, differences, sync_run=sync_run, at=now)
    ingest.crash("committed")
    return Outcome(
        calendar_id=claimed.id,
        status="synced",
        mode="listing" if news.complete else "incremental",
        why=news.why,
        items=len(news.items),
        quarantined=len(told.awkward),
        requests=meter.requests,
        response_bytes=meter.response_bytes,
        pages=meter.pages,
        unpublished=bool(changes) or claimed.unpublished,
        created=counts.created,
        updated=counts.updated,
        deleted=counts.deleted,
        restored=counts.restored,
    )


def _differences(ingest: Ingest, claimed: Claim, changes: Sequence[Change]) -> list[Difference]:
    """What to say of each change. We hold the calendar, so the rows stay as they are read here."""
    known = [change.provider_event_id for change in changes if change.held and change.told]
    before: Mapping[str, Mapping[str, object]] = {}
    if known:
        with ingest.db.single() as connection:
            before = history.rows(connection, claimed.id, known)
    if before.keys() < set(known):
        raise LeaseLost  # only whoever deletes the calendar takes rows away
    return [_difference(change, before) for change in changes]


def _difference(change: Change, before: Mapping[str, Mapping[str, object]]) -> Difference:
    match change.kind:
        case "created":
            return Difference()
        case "deleted":
            return Difference(("is_deleted",), {"is_deleted": False})
        case "updated" | "restored":
            assert change.told is not None
            fields = difference(before[change.provider_event_id], change.told)
            if change.kind == "updated":
                return fields
            return Difference(("is_deleted", *fields.changed), {"is_deleted": True, **fields.before})


def _record(
    ingest: Ingest,
    connection: Connection,
    claimed: Claim,
    changes: Sequence[Change],
    differences: Sequence[Difference],
    *,
    sync_run: int,
    at: datetime,
) -> None:
    """Current rows, then history with its sequence numbers: the counter is locked for as short a time as can be."""
    told = [(change, change.held.event_id if change.held else ids.new("evt")) for change in changes if change.told]
    if told:
        history.write_told(connection, told, project=claimed.project_id, calendar=claimed.id, at=at)
        ingest.crash("told")
    if gone := [change.provider_event_id for change in changes if change.kind == "deleted"]:
        history.write_deleted(connection, gone, calendar=claimed.id, at=at)
        ingest.crash("deleted")
    history.append(
        connection,
        list(zip(changes, differences, strict=True)),
        project=claimed.project_id,
        calendar=claimed.id,
        sync_run=sync_run,
        at=at,
    )
    ingest.crash("appended")


def _settle(connection: Connection, claimed: Claim, told: Told, *, complete: bool, at: datetime) -> None:
    """Set awkward events aside, and forget those that are well or gone again."""
    if told.awkward:
        events = [(event, _ascii(event)) for event in told.awkward.values()]
        store.set_aside(connection, events, project=claimed.project_id, calendar=claimed.id, at=at)
    if complete:
        store.take_back(connection, claimed.id, list(told.awkward), only_these=False)
    else:
        store.take_back(connection, claimed.id, list(told.named - set(told.awkward)), only_these=True)
    store.count_quarantined(connection, claimed.id)


def _ascii(event: Awkward) -> str:
    """JSON in ASCII: PostgreSQL takes any text that has no NUL and no lone surrogate in it."""
    try:
        return json.dumps(event.raw, ensure_ascii=True, default=str)
    except (ValueError, RecursionError):
        return "{}"


def _record_failure(
    ingest: Ingest,
    claimed: Claim,
    error: ProviderError | CredentialUnreadable,
    meter: Meter,
    started_at: datetime,
) -> Outcome:
    """Keep everything as it was, note the attempt, and say when to try again."""
    now = ingest.clock()
    verdict = judge(claimed, error, now=now)
    sets: dict[str, object] = {"suspected_at": verdict.suspected_at}
    if verdict.status == "disconnected":
        sets |= {
            "state": "disconnected",
            "connection_failure_data": _failure_data(claimed, error, now),
            "failures": 0,
            "sync_token": None,
            "access_token": None,
            "access_token_expires_at": None,
        }
    else:
        sets |= {"failures": claimed.failures + 1, "last_attempted_sync_at": now}
    with ingest.db.single() as connection:
        kept = store.finish(
            connection,
            claimed,
            sets=sets,
            run=_run(ingest, meter, started_at, now, outcome=verdict.status, error_code=verdict.code),
            served=verdict.status == "disconnected",
            publish=True,
            next_sync_at=now + verdict.wait if verdict.wait is not None else None,
        )
    if kept is None:
        return Outcome(calendar_id=claimed.id, status="stepped_aside")
    return Outcome(
        calendar_id=claimed.id,
        status=verdict.status,
        code=verdict.code,
        requests=meter.requests,
        response_bytes=meter.response_bytes,
        pages=meter.pages,
        unpublished=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a failure means for the calendar."""

    status: Status
    code: str
    wait: timedelta | None
    """None: not before someone asks for it."""
    suspected_at: datetime | None = None


def judge(claimed: Claim, error: ProviderError | CredentialUnreadable, *, now: datetime) -> Verdict:
    """Only a revoked grant disconnects, and a doubtful one only when it is said again ten minutes later."""
    failures = claimed.failures + 1
    pause = plan.backoff(claimed.id, failures, retry_after=None)
    match error:
        case AccessRevoked(code=code, needs_confirmation=True, confirm_after=patience) if (
            claimed.suspected_at is None or now - claimed.suspected_at < patience
        ):
            since = claimed.suspected_at or now
            wait = min(since + patience - now, plan.LONGEST_BACKOFF)
            return Verdict(status="retry", code=code, wait=max(wait, pause), suspected_at=since)
        case AccessRevoked(code=code):
            return Verdict(status="disconnected", code=code, wait=None)
        case TokenRefused(code=code):
            since = claimed.suspected_at or now
            if failures > TOKEN_REFUSALS and now - since >= plan.CONFIRM_AFTER:
                return Verdict(status="disconnected", code=code, wait=None)
            return Verdict(status="retry", code=code, wait=pause, suspected_at=since)
        case TryLater(code=code, retry_after=retry_after):
            return Verdict(status="retry", code=code, wait=plan.backoff(claimed.id, failures, retry_after=retry_after))
        case OperatorMustAct(code=code):
            return Verdict(status="operator", code=code, wait=plan.LONGEST_BACKOFF)
        case CredentialUnreadable():
            return Verdict(status="unreadable", code="credential_unreadable", wait=plan.LONGEST_BACKOFF)
        case ProviderError(code=code):
            return Verdict(status="bug", code=code, wait=plan.LONGEST_BACKOFF)


def _failure_data(claimed: Claim, error: ProviderError | CredentialUnreadable, now: datetime) -> str:
    """The API's ``connection_failure_data`` as JSON text."""
    body = dict(error.body) if isinstance(error, ProviderError) and error.body else {"error": str(error)}
    provider = {"google": "Google", "microsoft": "Microsoft"}[claimed.platform]
    return json.dumps({"error": f"{provider} Authentication error: {body}", "timestamp": now.isoformat()})


def _run(
    ingest: Ingest,
    meter: Meter,
    started_at: datetime,
    finished_at: datetime,
    *,
    outcome: str,
    error_code: str | None = None,
    mode: str | None = None,
    why: str | None = None,
    items: int = 0,
    counts: Counts = NOTHING,
    quarantined: int = 0,
) -> Mapping[str, object]:
    """A row of `sync_run`."""
    return {
        "started_at": started_at,
        "finished_at": finished_at,
        "outcome": outcome,
        "error_code": error_code,
        "mode": mode,
        "why": why,
        "requests": meter.requests,
        "response_bytes": meter.response_bytes,
        "pages": meter.pages,
        "items": items,
        "created": counts.created,
        "updated": counts.updated,
        "deleted": counts.deleted,
        "restored": counts.restored,
        "quarantined": quarantined,
        "run_id": ingest.run_id,
    }
