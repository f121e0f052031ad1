"""The live path as Dagster runs: a sensor keeps them going, each hands over to the next.

A live run is warm: it claims what is asked for as it comes, instead of starting a process for each notification. What
it syncs is materialised like any other sync, a second's worth in one write.
"""

from collections.abc import Sequence

import dagster as dg

from calendar_pipeline.defs import assets, batch_events
from calendar_pipeline.defs.resources import Pipeline
from calendar_pipeline.defs.runs import UNDER_WAY
from calendar_pipeline.ingest.outcome import Outcome
from calendar_pipeline.settings import Settings

JOB = "live"
LIVE_PATH = dg.AssetKey("live_path")
TAG = "calendar_pipeline/live"

PERIOD_SECONDS = 5
"""So often the sensor looks. A run that is killed is succeeded sooner, by one that waits; see `live.run.ALIVE`."""
START_SECONDS = 90
"""A run of which the database has not heard so long after its launch is dead."""


def definitions(settings: Settings) -> dg.Definitions:
    """The job and the sensor that keeps it going."""
    spec = dg.AssetSpec(
        LIVE_PATH,
        group_name="calendars",
        kinds={"postgres", "http"},
        description="One observation per live run, when it ends: what it did and what it cost.",
    )
    work = _op()

    @dg.job(
        name=JOB,
        executor_def=dg.in_process_executor,
        # The sensor starts the next one; a retry would be one too many.
        tags={TAG: "true", "dagster/max_retries": "0"},
        description="Do at once what is asked for, until the lifetime is over and a successor takes over.",
    )
    def live() -> None:
        work()

    check = _check(settings)
    watch = dg.define_asset_job(
        "check_live_path",
        selection=dg.AssetSelection.checks(check),
        description="Look how soon changes were seen in the last hour.",
    )
    schedule = dg.ScheduleDefinition(
        name="live_check_schedule",
        description="Looks how soon changes were seen, every half hour.",
        job=watch,
        cron_schedule="*/30 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return dg.Definitions(
        assets=[spec], asset_checks=[check], jobs=[live, watch], sensors=[_sensor(settings)], schedules=[schedule]
    )


def _check(settings: Settings) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=LIVE_PATH,
        name="seen_in_time",
        description="95 of 100 changes of the last hour were visible within FRESHNESS_ALARM_SECONDS, at each provider.",
    )
    def seen_in_time(pipeline: Pipeline) -> dg.AssetCheckResult:
        """Ask the database; without changes all is well."""
        from datetime import timedelta

        from calendar_pipeline import wiring
        from calendar_pipeline.freshness import store
        from calendar_pipeline.freshness.late import late

        since = wiring.utc_now() - timedelta(hours=1)
        with pipeline.database() as db, db.single() as connection:
            legs = store.measured(connection, since=since)
            worst = store.worst(connection, since=since)
        told = late(legs, alarm=settings.freshness_alarm_seconds)
        return dg.AssetCheckResult(
            passed=not told,
            severity=dg.AssetCheckSeverity.WARN,
            description=" ".join(told) or "As it should be.",
            metadata={
                **{f"{one.platform}_{one.leg}_p50_seconds": one.p50 for one in legs},
                **{f"{one.platform}_{one.leg}_p95_seconds": one.p95 for one in legs},
                "changes": sum(one.changes for one in legs if one.leg == "visible"),
                "latest_calendars_seconds": dg.MetadataValue.json(worst),
            },
        )

    return seen_in_time


def _op() -> dg.OpDefinition:
    @dg.op(name="work")
    def work(context: dg.OpExecutionContext, pipeline: Pipeline) -> None:
        """Work until the lifetime is over."""
        import threading

        from calendar_pipeline.ingest import store
        from calendar_pipeline.live import run, stages

        def publish(outcomes: Sequence[Outcome]) -> None:
            told = [one for one in outcomes if one.status == "synced" and one.unpublished]
            for asset, describe in (
                (assets.PROVIDER_EVENTS, assets.read_metadata),
                (assets.EVENT_HISTORY, assets.history_metadata),
            ):
                batch_events.materialise(
                    context,
                    [dg.AssetMaterialization(asset, partition=one.calendar_id, metadata=describe(one)) for one in told],
                )
            with live.db.single() as connection:
                store.published(connection, [one.calendar_id for one in told])

        stop = threading.Event()
        with stages.opened(pipeline.settings(), run_id=context.run_id, publish=publish) as live:
            try:
                worked = run.work(live, stop)
            finally:
                stop.set()
        if not worked.had_a_place:
            context.log.info("All places are taken: nothing to do.")
            return
        seconds = worked.seconds or 1.0
        context.log_event(
            dg.AssetObservation(
                LIVE_PATH,
                metadata={
                    "seconds": worked.seconds,
                    "syncs": worked.syncs,
                    "changed": worked.changed,
                    "failed": worked.failed,
                    "waited_for_a_place_seconds": worked.waited,
                    "cpu_percent": 100 * worked.cpu / seconds,
                    "sql_statements_per_second": worked.statements / seconds,
                    "database_away": worked.database_away,
                },
            )
        )

    return work


def _sensor(settings: Settings) -> dg.SensorDefinition:
    @dg.sensor(
        name="live_sensor",
        job_name=JOB,
        minimum_interval_seconds=PERIOD_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if settings.live_runs else dg.DefaultSensorStatus.STOPPED,
        description="Keeps LIVE_RUNS live runs at work and LIVE_STANDBY waiting; each is followed before it ends.",
    )
    def live_sensor(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult | dg.SkipReason:
        from calendar_pipeline.live import plan, store

        given = pipeline.settings()
        with pipeline.database() as db, db.single() as connection:
            alive = store.alive(connection)
            known = store.known(connection)
        missing = plan.to_start(
            alive,
            places=given.live_runs,
            standby=given.live_standby,
            starting=_starting(context.instance, known),
        )
        if not missing:
            return dg.SkipReason(f"{len(alive)} at work or waiting.")
        return dg.SensorResult(run_requests=[dg.RunRequest() for _ in range(missing)])

    return live_sensor


def _starting(instance: dg.DagsterInstance, known: set[str]) -> int:
    """Runs that were launched a moment ago and have not reached the database yet. One that died there is known."""
    import time

    records = instance.get_run_records(dg.RunsFilter(job_name=JOB, statuses=UNDER_WAY))
    now = time.time()
    return sum(
        record.dagster_run.run_id not in known and now - record.create_timestamp.timestamp() < START_SECONDS
        for record in records
    )
