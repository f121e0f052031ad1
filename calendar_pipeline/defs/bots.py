"""History → bots: the job that lets bots follow and hands them over, what starts it, and what watches it.

Where the live path runs, it does this work itself within fractions of a second; then the job finds nothing to do. A run
works until nothing is due and then lingers, so that what falls due in the next minute needs no new run. The sensor is a
hint, and so is the schedule behind it: what is due stands in the database, where any number of runs claim it.
"""

from datetime import timedelta
from typing import Any

import dagster as dg

from calendar_pipeline.defs.resources import Pipeline
from calendar_pipeline.defs.runs import is_under_way
from calendar_pipeline.settings import Settings

BOTS = dg.AssetKey("bots")
JOB = "run_bots"

AHEAD = timedelta(seconds=10)
"""A run takes seconds to start: it is asked for this long before a bot is due."""
OVERDUE = timedelta(seconds=10)
"""Where the live path does the work, a run is asked for only when a bot is due for this long."""
SETTLED = timedelta(minutes=2)
"""A bot that has not followed its event for this long will not do so by itself."""
WATCHED = timedelta(hours=1)
NAMED = 20
BEHIND = "behind"


def definitions(settings: Settings) -> dg.Definitions:
    """All that runs bots."""
    bots = _bots(settings)
    work = dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.assets(bots),
        description="Let bots follow and hand them over until nothing is due, then wait a little for more.",
    )
    watch = dg.define_asset_job(
        "check_bots",
        selection=dg.AssetSelection.checks_for_assets(bots),
        description="Look how bots stand, also when there is nothing to do.",
    )
    return dg.Definitions(
        assets=[bots],
        asset_checks=_checks(settings),
        jobs=[work, watch],
        sensors=[_sensor(settings)],
        schedules=[
            _safety_net(),
            dg.ScheduleDefinition(
                name="bot_check_schedule",
                description="Looks how bots stand, every ten minutes.",
                job=watch,
                cron_schedule="*/10 * * * *",
                default_status=dg.DefaultScheduleStatus.RUNNING,
            ),
        ],
    )


def _bots(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        key=BOTS,
        deps=[dg.AssetKey("event_history")],
        group_name="bots",
        kinds={"postgres", "http"},
        description="Each bot as its event wants it, and at its time with the runner. What a live run does of this is "
        "not materialised here.",
    )
    def bots(pipeline: Pipeline) -> dg.MaterializeResult[Any]:
        """Follow, launch, linger, and tell what was done."""
        from calendar_pipeline.bots import run

        with pipeline.bots() as bots:
            worked = run.linger(bots, timedelta(seconds=settings.bot_linger_seconds))
            statements = bots.db.statements
        did = worked.decisions
        return dg.MaterializeResult(
            metadata={
                "changes_followed": worked.news,
                "planned": worked.looked_at,
                "moved": did["moved"] + did["link changed"] + did["carried"],
                "suspended": did["suspended"],
                "cancelled": did["cancelled"],
                "restored": did["restored"],
                "staged": did["staged"],
                "launched": did["launched"],
                "recalled": did["recalled"],
                "given_up": did["given up"],
                "late": worked.late,
                "latest_seconds": worked.latest.total_seconds(),
                "sql_statements": statements,
            }
        )

    return bots


def _sensor(settings: Settings) -> dg.SensorDefinition:
    @dg.sensor(
        name="bot_sensor",
        job_name=JOB,
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a run when bots are due, or behind their events, and no run is under way.",
    )
    def bot_sensor(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.RunRequest | dg.SkipReason:
        from calendar_pipeline import wiring
        from calendar_pipeline.bots import proof

        looks_to = wiring.utc_now() + (-OVERDUE if settings.live_runs else AHEAD)
        with pipeline.database() as db, db.single() as connection:
            due, is_behind = proof.waiting(connection, now=looks_to)
        was_behind = context.cursor == BEHIND
        context.update_cursor(BEHIND if is_behind else "")
        if not due and not (is_behind and (was_behind or not settings.live_runs)):
            return dg.SkipReason("No bot is due, and all have followed their events.")
        if is_under_way(context.instance, JOB):
            return dg.SkipReason("A run is under way.")
        return dg.RunRequest()

    return bot_sensor


def _safety_net() -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name="bot_schedule",
        job_name=JOB,
        cron_schedule="*/15 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Should the sensor be off: bots follow all the same, if later.",
    )


def _checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    @dg.asset_check(asset=BOTS, description="Every scheduled bot has its event's time and link, and its event stands.")
    def every_scheduled_bot_matches_its_event(pipeline: Pipeline) -> dg.AssetCheckResult:
        from calendar_pipeline import wiring
        from calendar_pipeline.bots import proof

        with pipeline.database() as db, db.single() as connection:
            strayed = proof.strayed(connection, before=wiring.utc_now() - SETTLED)
        named = ", ".join(f"{row.id} ({row.difference})" for row in strayed[:NAMED])
        return dg.AssetCheckResult(
            passed=not strayed,
            severity=dg.AssetCheckSeverity.ERROR,
            description="All do."
            if not strayed
            else f"{len(strayed)} bots have not followed their events: {named}. Run `calendar-pipeline bots run`; if "
            "they follow then, nothing else was running them: see that the live path or bot_sensor is on. If not, "
            "`calendar-pipeline why BOT` tells what was decided last.",
            metadata={"strayed": len(strayed)},
        )

    @dg.asset_check(
        asset=BOTS,
        description=f"In the last hour no bot was handed over more than {settings.bot_late_alarm_seconds:g} s late.",
    )
    def no_late_launch(pipeline: Pipeline) -> dg.AssetCheckResult:
        from calendar_pipeline import wiring
        from calendar_pipeline.bots import proof

        now = wiring.utc_now()
        slack = timedelta(seconds=settings.bot_late_alarm_seconds)
        with pipeline.database() as db, db.single() as connection:
            late = proof.late(connection, since=now - WATCHED, now=now, slack=slack)
        waiting = [row for row in late if row.is_waiting]
        named = ", ".join(f"{row.id} ({row.seconds:.0f} s)" for row in late[:NAMED])
        return dg.AssetCheckResult(
            passed=not late,
            severity=dg.AssetCheckSeverity.ERROR,
            description="None was."
            if not late
            else f"{len(late)} bots were late, {len(waiting)} of them are waiting still: {named}. "
            "`calendar-pipeline why BOT` tells what the runner answered. If it was not asked in time, see that the "
            "live path or bot_sensor runs, and raise BOT_THREADS. If it does not answer, see that BOT_RUNNER_URL is "
            "up.",
            metadata={"late": len(late), "waiting": len(waiting)},
        )

    return [every_scheduled_bot_matches_its_event, no_late_launch]
