"""Push channels: what keeps them alive where no live run does, and what watches them."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from calendar_pipeline.defs.resources import Pipeline
from calendar_pipeline.settings import Settings

CHANNELS = dg.AssetKey("notification_channels")
JOB = "channels"


def definitions(settings: Settings) -> dg.Definitions:
    """The job, its schedule and the checks."""
    kept = _asset()
    job = dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.assets(kept),
        description="Make, renew, replace and stop the channels that are due, and look how all of them stand.",
    )
    return dg.Definitions(assets=[kept], asset_checks=[_check(settings)], jobs=[job], schedules=[_schedule(settings)])


def _asset() -> dg.AssetsDefinition:
    @dg.asset(
        key=CHANNELS,
        group_name="calendars",
        kinds={"http", "postgres"},
        description="The watches by which providers tell of changes. What a live run does of this is not materialised "
        "here.",
    )
    def notification_channels(pipeline: Pipeline) -> dg.MaterializeResult[Any]:
        """Do what is due, and tell how things stand."""
        from calendar_pipeline import wiring
        from calendar_pipeline.channels import run, store

        done = 0
        with pipeline.ingest(run_id="") as ingest:
            kept = wiring.channels(pipeline.settings(), ingest)
            if kept.public_base_url is not None:
                with ingest.db.single() as connection:
                    store.want_missing(connection)
            while dealt_with := run.keep(kept):
                done += dealt_with
            with ingest.db.single() as connection:
                stand = store.overview(connection, now=wiring.utc_now())
        return dg.MaterializeResult(metadata={"dealt_with": done, **stand.counts()})

    return notification_channels


def _check(settings: Settings) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(
        name="channel_health",
        specs=[
            dg.AssetCheckSpec(
                "alive",
                asset=CHANNELS,
                description="Every connected calendar has a channel that reaches us or cannot have one; none is about "
                "to end.",
            ),
            dg.AssetCheckSpec(
                "tells_all", asset=CHANNELS, description="Hardly a change of the last day was found by a poll instead."
            ),
        ],
    )
    def channel_health(pipeline: Pipeline) -> Iterator[dg.AssetCheckResult]:
        """Ask the database; without PUBLIC_BASE_URL there is nothing to ask for."""
        from calendar_pipeline import wiring
        from calendar_pipeline.channels import health, store

        if settings.public_base_url is None:
            for name in ("alive", "tells_all"):
                yield _result(name, [], push="PUBLIC_BASE_URL is not set: calendars are polled")
            return
        with pipeline.database() as db, db.single() as connection:
            stand = store.overview(connection, now=wiring.utc_now())
            codes = store.codes(connection)
        missed, others = [], []
        for trouble in health.judge(stand, codes=codes):
            (missed if trouble.kind == "missed" else others).append(trouble.text)
        yield _result("alive", others, **stand.counts(), codes=dg.MetadataValue.json(codes))
        yield _result("tells_all", missed, missed=stand.missed, live=stand.live)

    return channel_health


def _result(name: str, troubles: Sequence[str], **metadata: Any) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=CHANNELS,
        passed=not troubles,
        severity=dg.AssetCheckSeverity.WARN,
        description=" ".join(troubles) or "As it should be.",
        metadata=metadata,
    )


def _schedule(settings: Settings) -> dg.ScheduleDefinition:
    @dg.schedule(
        name="channel_schedule",
        job_name=JOB,
        cron_schedule="*/10 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Keeps channels alive. A live run does so by itself; then this finds work once an hour only.",
    )
    def channel_schedule(
        context: dg.ScheduleEvaluationContext, pipeline: Pipeline
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from calendar_pipeline import wiring
        from calendar_pipeline.channels import store

        at = context.scheduled_execution_time
        with pipeline.database() as db, db.single() as connection:
            due = store.is_due(connection, now=wiring.utc_now(), makes=settings.public_base_url is not None)
        if due or at.minute < 10:
            yield dg.RunRequest(run_key=at.isoformat())
        else:
            yield dg.SkipReason("No channel is due.")

    return channel_schedule
