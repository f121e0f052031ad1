"""Every few minutes, the calendars whose turn it is, in a few runs."""

from collections.abc import Iterator

import dagster as dg

from calendar_pipeline.defs import underway
from calendar_pipeline.defs.partitions import calendars, range_tags
from calendar_pipeline.defs.resources import Pipeline
from calendar_pipeline.settings import Settings


def build(settings: Settings, job_name: str) -> dg.ScheduleDefinition:
    """The schedule. Turns are spread over the interval by calendar, so each tick finds a share of them.

    A run takes the due calendars among its keys from the database: an odd range does no harm.
    """
    from calendar_pipeline.ingest import plan

    every = int(plan.EARLY.total_seconds() // 60)

    @dg.schedule(
        name="sync_schedule",
        job_name=job_name,
        cron_schedule=f"*/{every} * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Syncs the calendars whose turn comes before the next tick, a batch to a run.",
    )
    def sync_schedule(
        context: dg.ScheduleEvaluationContext, pipeline: Pipeline
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from calendar_pipeline import wiring
        from calendar_pipeline.ingest import store

        known = context.instance.get_dynamic_partitions(str(calendars.name))
        places = {key: place for place, key in enumerate(known)}
        now = wiring.utc_now()
        with pipeline.database() as db, db.single() as connection:
            due = store.turns(connection, now=now, early=plan.EARLY)
        runs = underway.spans(context.instance, job_name, places, early=plan.EARLY, now=now) if due else []
        keys = [key for key in known if key in due and not underway.is_taken(runs, places[key], due[key])]
        if not keys:
            yield dg.SkipReason("It is no calendar's turn, or runs under way take them.")
        at = context.scheduled_execution_time.isoformat()
        for number, start in enumerate(range(0, len(keys), settings.sync_batch_size)):
            batch = keys[start : start + settings.sync_batch_size]
            yield dg.RunRequest(run_key=f"{at}#{number}", tags=range_tags(batch[0], batch[-1], cause="schedule"))

    return sync_schedule
