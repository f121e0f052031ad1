"""Provider events and event history: one run carries many calendars.

The calendars of a run are read by threads; each one's outcome is its own. Changed calendars are materialised in one
batched write, failed ones are red with their reason, unchanged ones are proven by their row in `sync_run`.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

import dagster as dg

from calendar_pipeline.defs import batch_events, picture
from calendar_pipeline.defs.partitions import CAUSE, calendars
from calendar_pipeline.defs.resources import Pipeline
from calendar_pipeline.ingest.outcome import Outcome, Status
from calendar_pipeline.settings import Settings

PROVIDER_EVENTS = dg.AssetKey("provider_events")
EVENT_HISTORY = dg.AssetKey("event_history")
SYNC_CYCLE = dg.AssetKey("sync_cycle")

POOL = "sync"
"""Dagster's pool of sync runs; ``dagster.yaml`` says how many go on at once."""
PROGRESS_SECONDS = 5.0
NAMED = 20
"""Failed calendars named in a run's failure; the rest are counted."""
LISTED = 500
"""Failed calendars in the table beside it. The partitions show them all."""

sync_cycle = dg.AssetSpec(
    SYNC_CYCLE,
    group_name="calendars",
    kinds={"postgres"},
    description="One entry per run: how many calendars it carried, what they cost, and how they ended.",
)


def build(settings: Settings) -> dg.AssetsDefinition:
    """The two assets, made by one step."""

    @dg.multi_asset(
        name="sync_calendars",
        specs=[
            dg.AssetSpec(
                PROVIDER_EVENTS,
                group_name="calendars",
                kinds={"http"},
                skippable=True,
                description="What the calendar's provider told since its cursor, or in a listing of the held window.",
            ),
            dg.AssetSpec(
                EVENT_HISTORY,
                deps=[PROVIDER_EVENTS],
                group_name="calendars",
                kinds={"postgres", "table"},
                skippable=True,
                description="Every version of every event of the calendar, append-only, and the current events.",
            ),
        ],
        partitions_def=calendars,
        pool=POOL,
        backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=settings.sync_batch_size),
    )
    def sync_calendars(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Iterator[dg.Output[None]]:
        """Sync the run's calendars: the due ones, or all of them in full when a person started the run."""
        from calendar_pipeline.ingest import plan, run, store

        keys = list(context.partition_keys)
        by_hand = CAUSE not in context.run.tags
        early = plan.EARLY if context.run.tags.get(CAUSE) == "schedule" else timedelta()
        started, cpu = time.monotonic(), time.process_time()
        with pipeline.ingest(run_id=context.run.run_id) as ingest:
            outcomes = _with_progress(
                context,
                run.sync_many(
                    ingest, keys, threads=settings.sync_threads, regardless=by_hand, full=by_hand, early=early
                ),
                of=len(keys),
            )
            told = _publish(context, outcomes, everything=by_hand)
            with ingest.db.single() as connection:
                store.published(connection, told)
            statements = ingest.db.statements
        seconds = time.monotonic() - started
        context.log_event(
            dg.AssetMaterialization(
                SYNC_CYCLE,
                metadata={
                    **summary(outcomes),
                    **cost(outcomes, seconds=seconds, cpu=time.process_time() - cpu, statements=statements),
                    **soon(outcomes),
                },
            )
        )
        _fail_if_any_failed(outcomes)
        yield from ()

    return sync_calendars


def _with_progress(context: dg.AssetExecutionContext, outcomes: Iterable[Outcome], *, of: int) -> list[Outcome]:
    done: list[Outcome] = []
    told = time.monotonic()
    for outcome in outcomes:
        done.append(outcome)
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            context.log.info("%d of up to %d calendars done", len(done), of)
    return done


def _publish(context: dg.AssetExecutionContext, outcomes: Sequence[Outcome], *, everything: bool) -> list[str]:
    """Materialise what changed (or `everything` that went well) and mark what failed; returns what is green now."""
    good = [outcome for outcome in outcomes if outcome.status == "synced" and (everything or outcome.unpublished)]
    failed = {outcome.calendar_id: _said(outcome) for outcome in outcomes if outcome.is_failure}
    for asset, describe in ((PROVIDER_EVENTS, read_metadata), (EVENT_HISTORY, history_metadata)):
        batch_events.materialise(
            context,
            [
                dg.AssetMaterialization(asset, partition=outcome.calendar_id, metadata=describe(outcome))
                for outcome in good
            ],
        )
        batch_events.plan(context, asset, failed)
    return [outcome.calendar_id for outcome in good]


def read_metadata(outcome: Outcome) -> Mapping[str, dg.MetadataValue]:
    """What a sync read."""
    return {
        "cause": dg.MetadataValue.text(outcome.cause or ""),
        "mode": dg.MetadataValue.text(outcome.mode or ""),
        "why": dg.MetadataValue.text(outcome.why or ""),
        "items": dg.MetadataValue.int(outcome.items),
        "provider_requests": dg.MetadataValue.int(outcome.requests),
        "response_bytes": dg.MetadataValue.int(outcome.response_bytes),
        "pages": dg.MetadataValue.int(outcome.pages),
    }


def history_metadata(outcome: Outcome) -> Mapping[str, dg.MetadataValue]:
    """What a sync wrote, and how soon after it had happened."""
    seen = {"seconds_until_visible": dg.MetadataValue.float(outcome.lag.total_seconds())} if outcome.lag else {}
    return {
        **seen,
        "missed_by_push": dg.MetadataValue.int(outcome.missed),
        "created": dg.MetadataValue.int(outcome.created),
        "updated": dg.MetadataValue.int(outcome.updated),
        "deleted": dg.MetadataValue.int(outcome.deleted),
        "restored": dg.MetadataValue.int(outcome.restored),
        "quarantined": dg.MetadataValue.int(outcome.quarantined),
        "dagster/partition_row_count": dg.MetadataValue.int(outcome.changes),
    }


def summary(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """A run in numbers, for a graph over runs."""
    ended = Counter(outcome.status for outcome in outcomes)
    return {
        "calendars": len(outcomes),
        "changed": sum(outcome.changes > 0 for outcome in outcomes),
        "unchanged": sum(outcome.status == "synced" and not outcome.changes for outcome in outcomes),
        "failed": sum(outcome.is_failure for outcome in outcomes),
        "stepped_aside": ended["stepped_aside"],
        "disconnected": ended["disconnected"],
        "history_rows": sum(outcome.changes for outcome in outcomes),
        "quarantined": sum(outcome.quarantined for outcome in outcomes),
        "drift": sum(outcome.drift for outcome in outcomes),
        "missed_by_push": sum(outcome.missed for outcome in outcomes),
        "listings": sum(outcome.mode == "listing" for outcome in outcomes),
        "provider_requests": sum(outcome.requests for outcome in outcomes),
        "response_bytes": sum(outcome.response_bytes for outcome in outcomes),
    }


def cost(outcomes: Sequence[Outcome], *, seconds: float, cpu: float, statements: int) -> dict[str, float]:
    """What a run cost, in all and for each calendar."""
    count = max(1, len(outcomes))
    return {
        "seconds": seconds,
        "calendars_per_second": len(outcomes) / seconds if seconds else 0.0,
        "cpu_ms_per_calendar": 1000 * cpu / count,
        "sql_statements": statements,
    }


def soon(outcomes: Sequence[Outcome]) -> dict[str, dg.MetadataValue]:
    """How soon the changes of a run could be seen here after they had happened: percentiles, and a picture."""
    lags = sorted(outcome.lag.total_seconds() for outcome in outcomes if outcome.lag is not None)
    if not lags:
        return {}
    counts = {name: sum(low <= lag < high for lag in lags) for name, low, high in SOON}
    return {
        "visible_p50_seconds": dg.MetadataValue.float(lags[len(lags) // 2]),
        "visible_p95_seconds": dg.MetadataValue.float(lags[len(lags) * 95 // 100]),
        "visible_max_seconds": dg.MetadataValue.float(lags[-1]),
        "how_soon": picture.bars("calendars by the time until their change was visible", counts),
    }


SOON = (
    ("up to 5 s", 0, 5),
    ("1 min", 5, 60),
    ("5 min", 60, 300),
    ("30 min", 300, 1800),
    ("1 h", 1800, 3600),
    ("longer", 3600, float("inf")),
)

REMEDY: Mapping[Status, str] = {
    "retry": "passing trouble at the provider; it is tried again by itself",
    "disconnected": "the user must reconnect the calendar",
    "operator": "the provider refuses our OAuth client: check its id, secret, API activation and quota",
    "unreadable": "a stored credential does not open: put the missing key back into CALENDAR_PIPELINE_KEYS",
    "bug": "an answer that we do not understand: report it with the code",
}


def _said(outcome: Outcome) -> str:
    return f"{outcome.calendar_id}: {outcome.status} ({outcome.code}); {REMEDY[outcome.status]}"


def _fail_if_any_failed(outcomes: Sequence[Outcome]) -> None:
    """Raise a Failure that counts the kinds, says what to do and names calendars. A retry would have no news."""
    failed = [outcome for outcome in outcomes if outcome.is_failure]
    if not failed:
        return
    kinds: Counter[tuple[Status, str]] = Counter((outcome.status, outcome.code or "") for outcome in failed)
    lines = [f"{count} × {status} ({code}): {REMEDY[status]}" for (status, code), count in kinds.most_common()]
    named = ", ".join(f"{outcome.calendar_id} ({outcome.code})" for outcome in failed[:NAMED])
    more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
    raise dg.Failure(
        description=f"{len(failed)} of {len(outcomes)} calendars failed. " + "; ".join(lines) + f". {named}{more}",
        metadata={"failed": failures(failed)},
        allow_retries=False,
    )


def failures(failed: Sequence[Outcome]) -> dg.MetadataValue:
    """Which calendars failed, why, and what to do: a table, the rarest reasons first, `LISTED` rows of it."""
    count = Counter((outcome.status, outcome.code) for outcome in failed)
    by_rarity = sorted(failed, key=lambda outcome: (count[outcome.status, outcome.code], outcome.calendar_id))
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "calendar": outcome.calendar_id,
                    "status": outcome.status,
                    "reason": outcome.code or "",
                    "remedy": REMEDY[outcome.status],
                }
            )
            for outcome in by_rarity[:LISTED]
        ]
    )
