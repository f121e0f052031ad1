"""Looking after the record: retention, export, keys, verification, and Dagster's own runs."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from calendar_pipeline.defs.assets import EVENT_HISTORY
from calendar_pipeline.defs.resources import Pipeline
from calendar_pipeline.settings import Settings

POOL = "upkeep"
"""Dagster's pool of these runs; ``dagster.yaml`` says how many go on at once."""
EXPORTED = ("event_version", "meeting", "calendar_day", "sync_quality", "bot_outcome", "webhook_quality")
"""What the daily export writes."""

NAMED = 20


class Resync(dg.Config):
    """Which calendars to read anew."""

    which: str = Field("failed", description="failed, all, or calendar ids separated by commas")


class Verify(dg.Config):
    """Which calendars to compare with their provider."""

    calendars: str = Field("all", description="all, or calendar ids separated by commas")


def definitions(settings: Settings) -> dg.Definitions:  # noqa: C901, PLR0915 - a list of small definitions
    """Jobs, their schedules, the export and the quarantine's check."""

    @dg.asset(
        name="history_export",
        pool=POOL,
        deps=[EVENT_HISTORY],
        group_name="data",
        kinds={"parquet", "postgres"},
        description="The analysts' views as Parquet below EXPORT_URL, a file for each project and month. "
        "Only files whose rows are not what they were are written again.",
    )
    def history_export(pipeline: Pipeline) -> dg.MaterializeResult[Any]:
        """Bring the files to what the database holds."""
        from calendar_pipeline.export.relation import relation
        from calendar_pipeline.export.write import export

        root = pipeline.settings().export_url
        if not root:
            raise dg.Failure(
                "EXPORT_URL is not set: set it to a folder or an object store, or do without this asset.",
                allow_retries=False,
            )
        with pipeline.database(connections=2) as db:
            done = [export(db, relation(name), root) for name in EXPORTED]
        lines = [
            f"| {one.table} | {one.written} | {one.unchanged} | {one.removed} | {one.rows} | {one.bytes} |"
            for one in done
        ]
        head = "| table | written | unchanged | removed | rows | bytes |\n|---|---|---|---|---|---|\n"
        return dg.MaterializeResult(
            metadata={
                "files_written": sum(one.written for one in done),
                "files_unchanged": sum(one.unchanged for one in done),
                "rows": sum(one.rows for one in done),
                "bytes": sum(one.bytes for one in done),
                "seconds": sum(one.seconds for one in done),
                "tables": dg.MetadataValue.md(head + "\n".join(lines)),
            }
        )

    @dg.asset_check(
        asset=EVENT_HISTORY, name="quarantine_empty", description="No event is set aside because it cannot be kept."
    )
    def quarantine_empty(pipeline: Pipeline) -> dg.AssetCheckResult:
        """Count what is set aside, by reason."""
        from calendar_pipeline.ingest import quarantine

        with pipeline.database() as db, db.single() as connection:
            found = quarantine.by_reason(connection)
        if not found:
            return dg.AssetCheckResult(passed=True, metadata={"events": 0})
        lines = "\n".join(f"| {reason} | {events} | {calendars} |" for reason, events, calendars in found)
        total = sum(events for _, events, _ in found)
        return dg.AssetCheckResult(
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{total} events are set aside. See table quarantined_event for each; correct the event at the "
            "provider, or raise the limit that it exceeds. It is tried again when it changes.",
            metadata={
                "events": total,
                "by_reason": dg.MetadataValue.md("| reason | events | calendars |\n|---|---|---|\n" + lines),
            },
        )

    @dg.asset(
        name="history_retention",
        pool=POOL,
        deps=[EVENT_HISTORY],
        group_name="data",
        kinds={"postgres"},
        description="The event history's months: made ahead, removed when nothing is left in them. What a project does "
        "not keep, and old records of syncs, are removed as well.",
    )
    def history_retention(pipeline: Pipeline) -> dg.MaterializeResult[Any]:
        """Remove what projects do not keep, old sync records and empty months; make the months ahead."""
        from calendar_pipeline import wiring
        from calendar_pipeline.db import migrate
        from calendar_pipeline.history import retention

        now = wiring.utc_now()
        with pipeline.database(connections=2) as db:
            migrate.prepare_history(db, now=now)
            with db.single() as connection:
                projects = retention.projects(connection, now=now)
            done = [retention.expire(db, project, cutoff) for project, cutoff in projects]
            months = retention.detach_months(db, now=now)
            syncs = retention.expire_syncs(db, now - timedelta(days=settings.sync_run_retention_days))
        return dg.MaterializeResult(
            metadata={
                "projects": len(done),
                "events": sum(one.events for one in done),
                "versions": sum(one.versions for one in done),
                "sync_records": syncs,
                "months_removed": dg.MetadataValue.text(", ".join(months) or "none"),
            }
        )

    @dg.op(name="seal_secrets_anew", pool=POOL)
    def seal_anew(context: dg.OpExecutionContext, pipeline: Pipeline) -> None:
        """Seal stored secrets under the first key of the ring."""
        from calendar_pipeline.projects import rotate
        from calendar_pipeline.secrets import keyfile

        with pipeline.database(connections=2) as db:
            done = rotate.rotate(db, keyfile.load(pipeline.settings()))
        context.add_output_metadata({"sealed": sum(done.sealed.values()), "unreadable": done.unreadable})
        if done.unreadable:
            raise dg.Failure(
                f"{done.unreadable} stored values do not open: put the missing key back into CALENDAR_PIPELINE_KEYS "
                "(behind the first) and run this again; 'calendar-pipeline doctor' names the key.",
                allow_retries=False,
            )

    @dg.op(name="ask_for_syncs", pool=POOL)
    def ask(context: dg.OpExecutionContext, config: Resync, pipeline: Pipeline) -> None:
        """Ask for syncs; the sensor or the live path runs them within seconds."""
        from calendar_pipeline import wiring
        from calendar_pipeline.ingest import store

        with pipeline.database() as db, db.single() as connection:
            if config.which not in ("failed", "all"):
                _named(config.which, store.all_calendars(connection))
            asked = store.ask(connection, config.which, now=wiring.utc_now())
        context.add_output_metadata({"asked": asked})
        context.log.info("%d calendars are to be read anew", asked)

    def comparing(name: str, *, mends: bool) -> dg.OpDefinition:
        @dg.op(name=name, pool=POOL)
        def compare(context: dg.OpExecutionContext, config: Verify, pipeline: Pipeline) -> None:
            """Compare what is held with fresh listings; write nothing, or ask that what lacks events is read anew."""
            _compare(context, config, pipeline, mends=mends)

        return compare

    @dg.op(name="purge_dagster_runs", pool=POOL)
    def purge(context: dg.OpExecutionContext) -> None:
        """Delete ended runs with their events, but those that show a partition's last materialisation."""
        from calendar_pipeline.defs import purge as purging

        deleted = purging.purge(context.instance, older_than=timedelta(days=settings.dagster_retention_days))
        context.add_output_metadata({"runs": deleted})

    def job(name: str, op: dg.OpDefinition, description: str) -> dg.JobDefinition:
        return dg.GraphDefinition(name=name, node_defs=[op]).to_job(description=description)

    jobs = [
        job("rotate_keys", seal_anew, "Seal stored secrets under the first key of CALENDAR_PIPELINE_KEYS."),
        job("resync", ask, "Read calendars anew: the failed ones, all, or those that are named."),
        job(
            "verify",
            comparing("compare_with_providers", mends=False),
            "Compare calendars with fresh listings, without writing.",
        ),
        job(
            "reconcile",
            comparing("compare_and_mend", mends=True),
            "Compare calendars with fresh listings, and have those read anew that lack events.",
        ),
        job("purge", purge, "Delete old Dagster runs with their events, so that Dagster's tables stay bounded."),
    ]
    by_name = {one.name: one for one in jobs}
    export_job = dg.define_asset_job(
        "export",
        selection=dg.AssetSelection.assets(history_export),
        description="Bring the Parquet files below EXPORT_URL to what the database holds.",
    )
    retention_job = dg.define_asset_job(
        "retention",
        selection=dg.AssetSelection.assets(history_retention),
        description="Remove history that projects do not keep; make months ahead, remove empty ones.",
    )
    check_job = dg.define_asset_job(
        "quarantine",
        selection=dg.AssetSelection.checks(quarantine_empty),
        description="Look whether events are set aside.",
    )

    def schedule(name: str, job: Any, cron: str, description: str, *, on: bool = True) -> dg.ScheduleDefinition:
        status = dg.DefaultScheduleStatus.RUNNING if on else dg.DefaultScheduleStatus.STOPPED
        return dg.ScheduleDefinition(
            name=name, job=job, cron_schedule=cron, default_status=status, description=description
        )

    schedules = [
        schedule("retention_daily", retention_job, "20 2 * * *", "Removes history that projects do not keep."),
        schedule("purge_daily", by_name["purge"], "40 2 * * *", "Keeps Dagster's own tables bounded."),
        schedule(
            "export_daily", export_job, "0 3 * * *", "Exports, if EXPORT_URL is set.", on=bool(settings.export_url)
        ),
        schedule("quarantine_hourly", check_job, "35 * * * *", "Looks whether events are set aside."),
    ]
    return dg.Definitions(
        assets=[history_export, history_retention],
        asset_checks=[quarantine_empty],
        jobs=[*jobs, export_job, retention_job, check_job],
        schedules=schedules,
    )


def _compare(context: dg.OpExecutionContext, config: Verify, pipeline: Pipeline, *, mends: bool) -> None:
    from calendar_pipeline import wiring
    from calendar_pipeline.ingest import store, verify

    with pipeline.ingest(run_id=context.run_id) as ingest:
        with ingest.db.single() as connection:
            followed, connected = store.all_calendars(connection), store.connected(connection)
        wanted = connected if config.calendars == "all" else _named(config.calendars, followed)
        results = list(verify.verify(ingest, wanted))
        lost, unsure = [one for one in results if one.lost], [one for one in results if one.code is not None]
        asked = 0
        if lost and mends:
            with ingest.db.single() as connection:
                asked = store.ask(connection, ",".join(one.calendar_id for one in lost), now=wiring.utc_now())
    context.add_output_metadata(
        {
            "compared": sum(one.code is None for one in results),
            "not_compared": len(unsure),
            "left_to_another_worker": len(wanted) - len(results),
            "lost": sum(one.lost for one in lost),
            "read_anew": asked,
            "calendars": dg.MetadataValue.json({one.calendar_id: one.lost for one in lost[:NAMED]}),
        }
    )
    if lost and not mends:
        named = ", ".join(f"{one.calendar_id} ({one.lost})" for one in lost[:NAMED])
        raise dg.Failure(
            f"{len(lost)} calendars lack events that no sync will bring by itself: {named}. Start the job 'resync' "
            "with their ids, and report it: it should not happen.",
            allow_retries=False,
        )
    if unsure:
        named = ", ".join(f"{one.calendar_id} ({one.code})" for one in unsure[:NAMED])
        raise dg.Failure(
            f"{len(unsure)} of {len(wanted)} calendars could not be compared: {named}. The code says why, as with a "
            "failed sync (docs/operate.md); start the job again when that is over.",
            allow_retries=False,
        )


def _named(text: str, followed: Sequence[str]) -> list[str]:
    """The ids that a person wrote; fails, rather than do nothing and look well, if one of them is no calendar's."""
    ids = [one.strip() for one in text.split(",")]
    if unknown := sorted(set(ids) - set(followed)):
        raise dg.Failure(
            f"No calendar here is called {', '.join(unknown)}: give ids as the partitions of event_history have them, "
            "separated by commas.",
            allow_retries=False,
        )
    return ids
