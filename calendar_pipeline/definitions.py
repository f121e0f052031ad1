"""All that Dagster runs, on one page."""

import dagster as dg

from calendar_pipeline import logs
from calendar_pipeline.defs import bots, catalogue, channels, checks, data, live, sync, webhooks
from calendar_pipeline.defs.resources import Pipeline
from calendar_pipeline.settings import Settings


@dg.definitions
def defs() -> dg.Definitions:
    """The code location, made from the settings when Dagster loads it."""
    settings = Settings.load()
    logs.configure(settings)
    parts = dg.Definitions.merge(
        sync.definitions(settings),
        checks.definitions(settings),
        bots.definitions(settings),
        data.definitions(settings),
        webhooks.definitions(settings),
        channels.definitions(settings),
        live.definitions(settings),
    )
    return dg.Definitions(
        assets=catalogue.described(parts.assets or (), settings),
        asset_checks=parts.asset_checks,
        jobs=parts.jobs,
        schedules=parts.schedules,
        sensors=parts.sensors,
        resources={"pipeline": Pipeline()},
        # A run's work is done by threads of one process: another process per step would only cost its start.
        executor=dg.in_process_executor,
    )
