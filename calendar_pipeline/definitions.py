"""All that Dagster runs, on one page."""

import dagster as dg

from calendar_pipeline.defs import assets, schedules, sensors
from calendar_pipeline.defs.resources import Pipeline
from calendar_pipeline.settings import Settings


@dg.definitions
def defs() -> dg.Definitions:
    """The code location, made from the settings when Dagster loads it."""
    settings = Settings.load()
    sync_calendars = assets.build(settings)
    sync = dg.define_asset_job(
        "sync",
        selection=dg.AssetSelection.assets(sync_calendars),
        description="Sync calendars from their providers into the event history.",
    )
    return dg.Definitions(
        assets=[sync_calendars, assets.sync_cycle],
        jobs=[sync],
        schedules=[schedules.build(settings, "sync")],
        sensors=[sensors.build(settings, "sync")],
        resources={"pipeline": Pipeline()},
        # A run's work is done by threads of one process: another process per step would only cost its start.
        executor=dg.in_process_executor,
    )
