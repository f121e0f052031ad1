"""Every half hour, all calendars that are due, in a few runs."""

from collections.abc import Iterator

import dagster as dg

from calendar_pipeline.defs.partitions import calendars, range_tags
from calendar_pipeline.settings import Settings


def build(settings: Settings, job_name: str) -> dg.ScheduleDefinition:
    """The schedule. A run takes the due calendars among its keys from the database: an odd range does no harm."""
    every = min(settings.sync_interval_minutes, 30)

    @dg.schedule(
        name="sync_schedule",
        job_name=job_name,
        cron_schedule=f"*/{every} * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Syncs the calendars that are due, a batch to a run.",
    )
    def sync_schedule(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        keys = context.instance.get_dynamic_partitions(str(calendars.name))
        if not keys:
            yield dg.SkipReason("No calendar is followed yet.")
        at = context.scheduled_execution_time.isoformat()
        for number, start in enumerate(range(0, len(keys), settings.sync_batch_size)):
            batch = keys[start : start + settings.sync_batch_size]
            yield dg.RunRequest(run_key=f"{at}#{number}", tags=range_tags(batch[0], batch[-1], cause="schedule"))

    return sync_schedule
