"""Providers → event history: its assets, job, schedule and sensor."""

import dagster as dg

from calendar_pipeline.defs import assets, schedules, sensors
from calendar_pipeline.settings import Settings


def definitions(settings: Settings) -> dg.Definitions:
    """All that keeps the event history up to date."""
    sync_calendars = assets.build(settings)
    sync = dg.define_asset_job(
        "sync",
        selection=dg.AssetSelection.assets(sync_calendars).without_checks(),  # they have a job of their own
        tags={"dagster/max_runtime": "3600"},  # one that is stuck gives its place back
        description="Sync calendars from their providers into the event history.",
    )
    return dg.Definitions(
        assets=[sync_calendars, assets.sync_cycle],
        jobs=[sync],
        schedules=[schedules.build(settings, "sync")],
        sensors=[sensors.build(settings, "sync")],
    )
