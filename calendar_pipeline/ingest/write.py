"""Writing one calendar's news: current events, history, outbox, cursor and sync record in one transaction."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.engine import Connection

from calendar_pipeline import ids
from calendar_pipeline.bots import store as bots
from calendar_pipeline.errors import LeaseLost
from calendar_pipeline.event import Awkward
from calendar_pipeline.history import store as history
from calendar_pipeline.history.diff import Change, Difference, Told, diff, difference
from calendar_pipeline.ingest import cadence, plan, quarantine, store
from calendar_pipeline.ingest import outcome as outcomes
from calendar_pipeline.ingest.outcome import Counts, Outcome
from calendar_pipeline.ingest.read import Ingest, Reading
from calendar_pipeline.ingest.store import Claim
from calendar_pipeline.providers.port import Meter
from calendar_pipeline.webhooks import outbox


def write(ingest: Ingest, claimed: Claim, reading: Reading, meter: Meter, *, started_at: datetime) -> Outcome:
    """Write down what changed and move the cursor, or nothing; raises LeaseLost if the calendar is no longer ours."""
    news, told = reading.news, reading.told
    horizon = plan.horizon(claimed.id, now=started_at, buffer=ingest.buffer)
    changes = diff(told, reading.held, horizon=news.complete or claimed.held or horizon.window, complete=news.complete)
    differences = _differences(ingest, claimed, changes)
    counts = Counts.of(changes)
    drift = outcomes.drift(changes, news, claimed.held, started_at=started_at)
    settles = bool(claimed.quarantined or told.awkward)
    reconnects = claimed.state != "connected"
    standing = claimed.standing
    missed = cadence.missed(standing, changes, started_at=started_at)
    changed_at = min(cadence.news_since(changes, standing.read_at), default=None)
    look_again = cadence.looks_again(standing, changes)
    covered: Mapping[str, object] = {}
    if news.cursor.window is not None and news.cursor.window != claimed.held:
        covered = {
            "held_from": news.cursor.window.start,
            "held_until": news.cursor.window.end,
            "relist_at": horizon.relist_at,
        }
    with ingest.db.begin() if changes or settles or reconnects else ingest.db.single() as connection:
        now = ingest.clock()
        misses = {"misses": claimed.misses + 1, "missed_at": now} if missed else {}
        every = cadence.interval(
            standing, now=now, missed=missed, plain=ingest.interval, safety=max(ingest.safety_poll, ingest.interval)
        )
        turn = plan.next_sync(claimed.id, due_at=claimed.due_at, now=now, interval=every)
        sync_run = store.finish(
            connection,
            claimed,
            sets={
                "state": "connected",
                "connection_failure_data": None,
                "reason": None,
                "reason_code": None,
                "reason_since": None,
                "last_successful_sync_at": now,
                "last_attempted_sync_at": now,
                "sync_token": news.cursor.token,
                "sync_parameters": news.cursor.parameters,
                "time_zone": news.cursor.time_zone,
                "failures": 0,
                "suspected_at": None,
                **covered,
                **misses,
            },
            run=outcomes.run_row(
                meter,
                started_at,
                now,
                outcome="synced",
                run_id=ingest.run_id,
                news=news,
                told=told,
                counts=counts,
                drift=drift,
                token_kind=reading.token_kind,
                cause=cadence.cause(standing),
                pushed_at=standing.pushed_at,
                changed_at=changed_at,
                missed=missed,
            ),
            served=True,
            publish=bool(changes),
            next_sync_at=min(turn, now + cadence.SECOND_LOOK) if look_again else turn,
            pushed_again_at=now + ingest.push_window,
            look_again=look_again,
        )
        if sync_run is None:
            raise LeaseLost
        ingest.crash("finished")
        if settles:
            _settle(connection, claimed, told, complete=news.complete is not None, at=now)
        recorded = _record(ingest, connection, claimed, changes, differences, sync_run=sync_run) if changes else None
        if reconnects:
            bots.calendar_reconnected(connection, claimed.id, now=now)
            outbox.calendar_event(connection, claimed.id, "calendar.state_change", at=now, sync_run=sync_run)
        if recorded is not None and recorded.watched:
            outbox.calendar_event(
                connection, claimed.id, "calendar.events_update", at=now, sync_run=sync_run, recorded=recorded
            )
    ingest.crash("committed")
    return Outcome(
        calendar_id=claimed.id,
        status="synced",
        mode=outcomes.mode(news),
        why=news.why,
        items=len(news.items),
        quarantined=len(told.awkward),
        drift=drift,
        requests=meter.requests,
        response_bytes=meter.response_bytes,
        pages=meter.pages,
        cause=cadence.cause(standing),
        missed=missed,
        lag=now - changed_at if changed_at is not None else None,
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
) -> history.Appended:
    """Current rows, then history with its sequence numbers, all in one turn and with one stamp."""
    told = [(change, change.held.event_id if change.held else ids.new("evt")) for change in changes if change.told]
    at = history.turn(connection, claimed.project_id, clock=ingest.clock)
    ingest.crash("turn")
    if told:
        history.write_told(connection, told, project=claimed.project_id, calendar=claimed.id, at=at)
        ingest.crash("told")
    if gone := [change.provider_event_id for change in changes if change.kind == "deleted"]:
        history.write_deleted(connection, gone, calendar=claimed.id, at=at)
        ingest.crash("deleted")
    appended = history.append(
        connection,
        list(zip(changes, differences, strict=True)),
        project=claimed.project_id,
        calendar=claimed.id,
        sync_run=sync_run,
        at=at,
    )
    ingest.crash("appended")
    return appended


def _settle(connection: Connection, claimed: Claim, told: Told, *, complete: bool, at: datetime) -> None:
    """Set awkward events aside, and forget those that are well or gone again."""
    if told.awkward:
        events = [(event, _ascii(event)) for event in told.awkward.values()]
        quarantine.set_aside(connection, events, project=claimed.project_id, calendar=claimed.id, at=at)
    if complete:
        quarantine.take_back(connection, claimed.id, list(told.awkward), only_these=False)
    else:
        quarantine.take_back(connection, claimed.id, list(told.named - set(told.awkward)), only_these=True)
    quarantine.count(connection, claimed.id)


def _ascii(event: Awkward) -> str:
    """JSON in ASCII: PostgreSQL takes any text that has no NUL and no lone surrogate in it."""
    try:
        return json.dumps(event.raw, ensure_ascii=True, default=str)
    except (ValueError, RecursionError):
        return "{}"
