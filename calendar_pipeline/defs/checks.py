"""Asset checks on the event history: four statements over all calendars, in one run an hour.

A check per calendar and sync would cost more than the syncs. What fails is named in the check's metadata.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from calendar_pipeline.defs.assets import EVENT_HISTORY
from calendar_pipeline.defs.resources import Pipeline
from calendar_pipeline.settings import Settings

if TYPE_CHECKING:
    from calendar_pipeline.ingest.checks import Finding

DESCRIPTIONS = {
    "horizon": "The visible window of every connected calendar is held.",
    "freshness": "Every connected calendar was read within the interval.",
    "drift": "No listing found a change that the cursor had not announced.",
    "replay": "Replaying the history gives the current events.",
}


def definitions(settings: Settings) -> dg.Definitions:
    """The checks, the job that runs them, and its schedule."""

    @dg.multi_asset_check(
        name="event_history_checks",
        specs=[
            dg.AssetCheckSpec(name, asset=EVENT_HISTORY, description=description)
            for name, description in DESCRIPTIONS.items()
        ],
        can_subset=True,
    )
    def event_history_checks(
        context: dg.AssetCheckExecutionContext, pipeline: Pipeline
    ) -> Iterator[dg.AssetCheckResult]:
        """Ask the database what must be true."""
        from calendar_pipeline import wiring
        from calendar_pipeline.ingest import checks

        now = wiring.utc_now()
        with pipeline.database() as db, db.single() as connection:
            ask = {
                "horizon": lambda: checks.horizon(connection, now=now),
                "freshness": lambda: checks.freshness(connection, now=now, interval=settings.sync_interval),
                "drift": lambda: checks.drift(connection, now=now),
                "replay": lambda: checks.replay(connection, now=now),
            }
            for key in sorted(context.selected_asset_check_keys, key=lambda key: list(ask).index(key.name)):
                yield _result(key.name, ask[key.name]())

    proof = dg.define_asset_job(
        "proof",
        selection=dg.AssetSelection.checks(event_history_checks),
        description="Check what must be true of the event history.",
    )

    @dg.schedule(
        name="proof_schedule",
        job=proof,
        cron_schedule="17 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Checks the event history, once an hour.",
    )
    def proof_schedule() -> dg.RunRequest:
        return dg.RunRequest()

    return dg.Definitions(asset_checks=[event_history_checks], jobs=[proof], schedules=[proof_schedule])


def _result(name: str, finding: "Finding") -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=EVENT_HISTORY,
        check_name=name,
        passed=finding.passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=None if finding.passed else f"{finding.failing} of {finding.checked} calendars. {finding.advice}",
        metadata={
            "checked": dg.MetadataValue.int(finding.checked),
            "failing": dg.MetadataValue.int(finding.failing),
            "calendars": dg.MetadataValue.json([dict(one) for one in finding.calendars]),
        },
    )
