"""Provider → history: one calendar, and many at once.

Reads from the provider with no transaction open. Then one short transaction moves current events, history, cursor
and sync record together, and only if this worker still holds the calendar.
"""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from calendar_pipeline import logs
from calendar_pipeline.bots import store as bots
from calendar_pipeline.db.connect import new_lease
from calendar_pipeline.errors import (
    AccessRevoked,
    CredentialUnreadable,
    LeaseLost,
    OperatorMustAct,
    ProviderError,
    RateLimited,
    TryLater,
)
from calendar_pipeline.ingest import cadence, clients, grants, plan, store
from calendar_pipeline.ingest.guard import STORM_PAUSE, Pause
from calendar_pipeline.ingest.judge import Verdict, judge
from calendar_pipeline.ingest.outcome import REASONS, Outcome, run_row
from calendar_pipeline.ingest.read import Ingest, read
from calendar_pipeline.ingest.store import Claim
from calendar_pipeline.ingest.write import write
from calendar_pipeline.providers.port import Meter
from calendar_pipeline.webhooks import outbox

log = logging.getLogger(__name__)

CHUNK = 25
"""Calendars claimed by one statement. A dead worker holds up no more than these, until their lease runs out."""

CLIENT_PAUSE = timedelta(minutes=10)
"""How long no calendar of a refused OAuth client is read."""


def sync_due(ingest: Ingest, *, limit: int, threads: int) -> list[Outcome]:
    """Sync up to `limit` calendars that are due now, the longest overdue first; none: there is nothing to do."""
    with ingest.db.single() as connection:
        due = store.due(connection, now=ingest.clock(), limit=limit)
    return list(sync_many(ingest, due, threads=threads)) if due else []


def sync_many(
    ingest: Ingest,
    calendars: Sequence[str],
    *,
    threads: int,
    regardless: bool = False,
    full: bool = False,
    early: timedelta = timedelta(),
) -> Iterator[Outcome]:
    """Sync those of `calendars` that are due (`regardless`: all of them), yielding each outcome as it comes.

    Calendars held by another worker are left out. `full` lists every window anew. Whoever comes by seldom takes along
    what will be due within `early`.
    """
    if not regardless and len(calendars) > CHUNK:
        with ingest.db.single() as connection:
            calendars = store.due(connection, now=ingest.clock(), among=calendars, early=early)
    size = max(1, min(CHUNK, -(-len(calendars) // threads)))
    chunks = [calendars[start : start + size] for start in range(0, len(calendars), size)]

    def work(chunk: Sequence[str]) -> list[Outcome]:
        return list(_sync_chunk(ingest, chunk, regardless=regardless, full=full, early=early))

    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="sync") as pool:
        futures = [pool.submit(work, chunk) for chunk in chunks]
        try:
            for future in futures:
                yield from future.result()
        finally:
            for future in futures:
                future.cancel()


def _sync_chunk(
    ingest: Ingest, chunk: Sequence[str], *, regardless: bool, full: bool, early: timedelta
) -> Iterator[Outcome]:
    lease = new_lease()
    with ingest.db.single() as connection:
        claims = store.claim(
            connection,
            chunk,
            regardless=regardless,
            lease=lease,
            length=ingest.lease,
            now=ingest.clock(),
            early=early,
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
    with logs.about(calendar_id=claimed.id, run_id=ingest.run_id):
        return _sync(ingest, claimed, full=full)


def _sync(ingest: Ingest, claimed: Claim, *, full: bool) -> Outcome:
    started_at = ingest.clock()
    meter = Meter(turn=lambda: ingest.guard.turn(claimed.client, claimed.account or claimed.id))
    try:
        if (pause := grants.paused(ingest, claimed, now=started_at)) is not None:
            return _record_failure(ingest, claimed, _paused(pause, started_at), meter, started_at)
        reading = read(ingest, claimed, meter, full=full, now=started_at)
        ingest.crash("read")
        return write(ingest, claimed, reading, meter, started_at=started_at)
    except LeaseLost:
        with ingest.db.single() as connection:
            store.release(connection, claimed)  # it may still be ours, and only the credentials new
        return Outcome(calendar_id=claimed.id, status="stepped_aside")
    except (ProviderError, CredentialUnreadable) as error:
        return _record_failure(ingest, claimed, error, meter, started_at)


def _record_failure(
    ingest: Ingest,
    claimed: Claim,
    error: ProviderError | CredentialUnreadable,
    meter: Meter,
    started_at: datetime,
) -> Outcome:
    """Keep everything as it was, note the attempt, and say when to try again."""
    now = ingest.clock()
    verdict = _spare_users(ingest, claimed, judge(claimed, error, now=now), now=now)
    if meter.requests:
        _spare_client(ingest, claimed, verdict, error, now=now)
    log.warning("the sync failed: %s (%s)", verdict.status, verdict.code)
    reason = REASONS[verdict.status]
    sets: dict[str, object] = {
        "suspected_at": verdict.suspected_at,
        "reason": reason,
        "reason_code": verdict.code,
        "reason_since": claimed.reason_since if claimed.reason == reason and claimed.reason_since else now,
    }
    disconnects = verdict.status == "disconnected" and claimed.state != "disconnected"
    stays = verdict.status in ("operator", "unreadable", "bug") and not isinstance(error, AccessRevoked)
    told_again = ingest.leaves_red and (disconnects or (stays and not claimed.failures))
    if verdict.status == "disconnected":
        sets |= {
            "state": "disconnected",
            "connection_failure_data": _failure_data(claimed, error, now),
            "failures": int(told_again),
            "sync_token": None,
            "access_token": None,
            "access_token_expires_at": None,
        }
    else:
        sets |= {"failures": claimed.failures + 1, "last_attempted_sync_at": now}
    again_at = now if told_again else now + verdict.wait if verdict.wait is not None else None
    with ingest.db.begin() if disconnects else ingest.db.single() as connection:
        kept = store.finish(
            connection,
            claimed,
            sets=sets,
            run=run_row(
                meter,
                started_at,
                now,
                outcome=verdict.status,
                error_code=verdict.code,
                run_id=ingest.run_id,
                cause=cadence.cause(claimed.standing),
                pushed_at=claimed.pushed_at,
            ),
            served=verdict.status == "disconnected",
            publish=True,
            next_sync_at=again_at,
            pushed_again_at=again_at,
            revokes=verdict.status == "disconnected",
        )
        if disconnects and kept is not None:
            bots.calendar_disconnected(connection, claimed.id, now=now)
            outbox.calendar_event(connection, claimed.id, "calendar.state_change", at=now, sync_run=kept)
        if kept is None:
            store.release(connection, claimed)
    if kept is None:
        return Outcome(calendar_id=claimed.id, status="stepped_aside")
    return Outcome(
        calendar_id=claimed.id,
        status=verdict.status,
        code=verdict.code,
        cause=cadence.cause(claimed.standing),
        requests=meter.requests,
        response_bytes=meter.response_bytes,
        pages=meter.pages,
        unpublished=True,
    )


def _spare_users(ingest: Ingest, claimed: Claim, verdict: Verdict, *, now: datetime) -> Verdict:
    """The circuit breaker: many users refused and none granted meanwhile is the client's fault, not theirs."""
    if verdict.status != "disconnected" or claimed.state == "disconnected":
        return verdict
    with ingest.db.single() as connection:
        refused = clients.user_refused(connection, claimed, now=now)
    ingest.guard.refused(claimed.client, project=claimed.project_id)
    if not refused.is_the_clients_matter:
        return verdict
    return Verdict(status="operator", code=f"many_refused:{verdict.code}", wait=plan.LONGEST_BACKOFF, suspected_at=now)


def _spare_client(
    ingest: Ingest,
    claimed: Claim,
    verdict: Verdict,
    error: ProviderError | CredentialUnreadable,
    *,
    now: datetime,
) -> None:
    """Stop asking in the name of a client that is refused as a whole or asked to slow down; others go on."""
    pause: Pause | None = None
    if verdict.status == "operator" and (not isinstance(error, OperatorMustAct) or _is_for_all(ingest, claimed, now)):
        pause = Pause(now + CLIENT_PAUSE, verdict.code, refused_at=claimed.claimed_at)
    elif isinstance(error, RateLimited) and ingest.guard.is_storm(claimed.client):
        pause = Pause(now + max(error.retry_after or timedelta(), STORM_PAUSE), verdict.code, refused_at=None)
    if pause is not None:
        ingest.guard.pause(claimed.client, pause, project=claimed.project_id)
        with ingest.db.single() as connection:
            clients.pause(connection, claimed, pause)


def _is_for_all(ingest: Ingest, claimed: Claim, now: datetime) -> bool:
    """Whether a client that was refused is so for every calendar; one alone waits by itself."""
    with ingest.db.single() as connection:
        refused = clients.client_refused(connection, claimed)
    ingest.guard.refused(claimed.client, project=claimed.project_id)
    return refused.is_for_all(now=now)


def _paused(pause: Pause, now: datetime) -> ProviderError:
    """What a calendar is told whose client is paused: the same as the one that made it pause."""
    if pause.refused_at is not None:
        return OperatorMustAct(pause.code)
    return TryLater(pause.code, retry_after=pause.until - now)


def _failure_data(claimed: Claim, error: ProviderError | CredentialUnreadable, now: datetime) -> str:
    """The API's ``connection_failure_data`` as JSON text."""
    body = dict(error.body) if isinstance(error, ProviderError) and error.body else {"error": str(error)}
    provider = {"google": "Google", "microsoft": "Microsoft"}[claimed.platform]
    return json.dumps({"error": f"{provider} Authentication error: {body}", "timestamp": now.isoformat()})
