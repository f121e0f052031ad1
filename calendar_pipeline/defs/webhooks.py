"""Outbox → endpoints: the job that delivers, what starts it, what watches it, and what it forgets.

A run drains the outbox and then lingers, so that what happens during the next minute needs no new run. The sensor is a
hint, and so is the schedule behind it: what is due stands in the database, where any number of runs claim it.
"""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from calendar_pipeline.defs.resources import Pipeline
from calendar_pipeline.defs.runs import is_under_way
from calendar_pipeline.settings import Settings

WEBHOOK_DELIVERIES = dg.AssetKey("webhook_deliveries")
JOB = "deliver_webhooks"

LATE_AFTER = timedelta(minutes=15)
"""Older than this, the oldest pending delivery is worth a look."""
LOST_AFTER = timedelta(hours=24)
LEAST_SUCCESS = 0.9
"""Of the last hour's attempts."""
ENOUGH_ATTEMPTS = 20
"""Fewer say nothing about a rate."""


def definitions(settings: Settings) -> dg.Definitions:
    """All that delivers webhooks."""
    deliveries = _deliveries(settings)
    deliver = dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.assets(deliveries),
        description="Deliver webhooks until nothing is due, then wait a little for more.",
    )
    retention = _retention(settings)
    watch = dg.define_asset_job(
        "check_webhooks",
        selection=dg.AssetSelection.checks_for_assets(deliveries),
        description="Look how deliveries stand, also when none is made.",
    )
    return dg.Definitions(
        assets=[deliveries],
        asset_checks=_checks(),
        jobs=[deliver, retention, watch],
        sensors=[_sensor()],
        schedules=[
            _safety_net(),
            dg.ScheduleDefinition(
                name="webhook_check_schedule",
                description="Looks how deliveries stand, every half hour.",
                job=watch,
                cron_schedule="*/30 * * * *",
                default_status=dg.DefaultScheduleStatus.RUNNING,
            ),
            dg.ScheduleDefinition(
                name="webhook_retention_schedule",
                description="Forgets old bodies and deliveries, once a day.",
                job=retention,
                cron_schedule="47 3 * * *",
                default_status=dg.DefaultScheduleStatus.RUNNING,
            ),
        ],
    )


def _deliveries(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        key=WEBHOOK_DELIVERIES,
        group_name="webhooks",
        kinds={"http", "postgres"},
        description="Each event, told to each endpoint that wants to know. The outbox is the log as well. What a live "
        "run does of this is not materialised here.",
    )
    def webhook_deliveries(pipeline: Pipeline) -> dg.MaterializeResult[Any]:
        """Deliver, linger, and tell what was done and how things stand."""
        from calendar_pipeline.webhooks import store
        from calendar_pipeline.webhooks.run import deliver

        began = time.monotonic()
        with pipeline.dispatch() as dispatch:
            before = dispatch.db.statements
            done = deliver(dispatch, linger=timedelta(seconds=settings.webhook_linger_seconds))
            statements = dispatch.db.statements - before
            now = dispatch.clock()
            with dispatch.db.single() as connection:
                state = store.state(connection, since=now - timedelta(hours=1))
        seconds = time.monotonic() - began
        return dg.MaterializeResult(
            metadata={
                "delivered": done.delivered,
                "failed_attempts": done.failed,
                "given_up": done.dead,
                "endpoints_disabled": done.disabled,
                "pending": state.pending,
                "held": state.held,
                "oldest_pending_seconds": (now - state.due_since).total_seconds() if state.due_since else 0.0,
                "deliveries_per_second": round(done.delivered / seconds, 2) if seconds else 0.0,
                "seconds": round(seconds, 2),
                "sql_statements": statements,
            }
        )

    return webhook_deliveries


def _sensor() -> dg.SensorDefinition:
    @dg.sensor(
        name="webhook_sensor",
        job_name=JOB,
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a run when deliveries are due, no live run makes them, and no run is under way.",
    )
    def webhook_sensor(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.RunRequest | dg.SkipReason:
        from calendar_pipeline import wiring
        from calendar_pipeline.live import store as live
        from calendar_pipeline.webhooks import store

        if is_under_way(context.instance, JOB):
            return dg.SkipReason("A run is under way; it takes what becomes due.")
        with pipeline.database() as db, db.single() as connection:
            due = store.is_due(connection, now=wiring.utc_now() - live.patience(connection))
        return dg.RunRequest() if due else dg.SkipReason("Nothing is due.")

    return webhook_sensor


def _safety_net() -> dg.ScheduleDefinition:
    @dg.schedule(
        name="webhook_schedule",
        job_name=JOB,
        cron_schedule="*/5 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Finds what the sensor missed, and a run that is stuck does not keep it from looking.",
    )
    def webhook_schedule(
        context: dg.ScheduleEvaluationContext, pipeline: Pipeline
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from calendar_pipeline import wiring
        from calendar_pipeline.webhooks import store

        with pipeline.database() as db, db.single() as connection:
            due = store.is_due(connection, now=wiring.utc_now())
        if due:
            yield dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())
        else:
            yield dg.SkipReason("Nothing is due.")

    return webhook_schedule


def _retention(settings: Settings) -> dg.JobDefinition:
    @dg.op(name="forget_webhooks")
    def forget_webhooks(context: dg.OpExecutionContext, pipeline: Pipeline) -> None:
        """Take away old bodies, then old deliveries; give up what nobody has wanted for as long."""
        from calendar_pipeline import wiring
        from calendar_pipeline.webhooks import retain

        with pipeline.database() as db:
            gone = retain.forget(
                db,
                now=wiring.utc_now(),
                bodies=timedelta(days=settings.webhook_body_days),
                log=timedelta(days=settings.webhook_log_days),
            )
        context.log.info(
            "%d given up, %d bodies and %d deliveries forgotten", gone.given_up, gone.bodies, gone.deliveries
        )

    @dg.job(name="webhook_retention", description="Forget bodies and deliveries of webhooks past their time.")
    def webhook_retention() -> None:
        forget_webhooks()

    return webhook_retention


def _checks() -> list[dg.AssetChecksDefinition]:
    @dg.multi_asset_check(
        name="webhook_health",
        specs=[
            dg.AssetCheckSpec(
                "oldest_delivery_is_young",
                asset=WEBHOOK_DELIVERIES,
                description="The oldest delivery not yet made, held and throttled ones included.",
            ),
            dg.AssetCheckSpec(
                "attempts_succeed", asset=WEBHOOK_DELIVERIES, description="Of the last hour's attempts, nearly all."
            ),
            dg.AssetCheckSpec(
                "no_endpoint_is_disabled", asset=WEBHOOK_DELIVERIES, description="Nobody's endpoint was given up."
            ),
            dg.AssetCheckSpec(
                "nothing_was_lost",
                asset=WEBHOOK_DELIVERIES,
                description="No delivery was given up or refused in the last day.",
            ),
        ],
    )
    def webhook_health(pipeline: Pipeline) -> Iterator[dg.AssetCheckResult]:
        from calendar_pipeline import wiring
        from calendar_pipeline.webhooks import store

        now = wiring.utc_now()
        with pipeline.database() as db, db.single() as connection:
            hour = store.state(connection, since=now - timedelta(hours=1))
            day = store.state(connection, since=now - LOST_AFTER)
        age = now - hour.due_since if hour.due_since else timedelta()
        yield _result(
            "oldest_delivery_is_young",
            passed=age <= LATE_AFTER,
            severity=dg.AssetCheckSeverity.ERROR if age > LOST_AFTER else dg.AssetCheckSeverity.WARN,
            bad=f"The oldest delivery has waited {_said(age)}; {hour.pending} wait, {hour.held} of them held. "
            "'calendar-pipeline webhooks list' shows whose endpoints fail; if none does, see that the sensor "
            "webhook_sensor is on and its runs succeed.",
            seconds=age.total_seconds(),
            pending=hour.pending,
            held=hour.held,
        )
        rate = 1 - hour.attempts_failed / hour.attempts if hour.attempts else 1.0
        yield _result(
            "attempts_succeed",
            passed=rate >= LEAST_SUCCESS or hour.attempts < ENOUGH_ATTEMPTS,
            severity=dg.AssetCheckSeverity.WARN,
            bad=f"{hour.attempts_failed} of the last hour's {hour.attempts} attempts failed. "
            "'calendar-pipeline webhooks deliveries' shows what was answered; if every endpoint fails alike, "
            "look at this machine's network and DNS first.",
            success_rate=rate,
            attempts=hour.attempts,
        )
        given_up = {reason: count for reason, count in hour.disabled.items() if reason != "operator"}
        yield _result(
            "no_endpoint_is_disabled",
            passed=not given_up,
            severity=dg.AssetCheckSeverity.WARN,
            bad=f"{sum(given_up.values())} endpoints were given up ({_counted(given_up)}); what is due to them is "
            "held. Tell their owners, and when they are back: 'calendar-pipeline webhooks enable <id>'.",
            disabled=sum(given_up.values()),
        )
        yield _result(
            "nothing_was_lost",
            passed=not day.dead and not day.rejected,
            severity=dg.AssetCheckSeverity.ERROR,
            bad=f"{day.dead} deliveries were given up and {day.rejected} could not be signed in the last day. "
            "'calendar-pipeline webhooks recover <id> --since …' sends again what an endpoint missed.",
            dead=day.dead,
            rejected=day.rejected,
        )

    return [webhook_health]


def _result(
    name: str, *, passed: bool, severity: dg.AssetCheckSeverity, bad: str, **metadata: float
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=WEBHOOK_DELIVERIES,
        passed=passed,
        severity=severity,
        description="As it should be." if passed else bad,
        metadata=dict(metadata),
    )


def _said(age: timedelta) -> str:
    hours, minutes = divmod(int(age.total_seconds()) // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _counted(kinds: "dict[str, int]") -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(kinds.items()))
