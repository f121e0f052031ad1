"""New and removed calendars become partitions, and syncs that were asked for are run soon.

The sensor is a hint: the database says what is due, and a run claims it there. A lost, doubled or late tick does no
harm; the schedule finds the rest.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime

import dagster as dg

from calendar_pipeline.defs import underway
from calendar_pipeline.defs.partitions import calendars, range_tags
from calendar_pipeline.defs.resources import Pipeline
from calendar_pipeline.settings import Settings

REQUEST_AGAIN_SECONDS = 60
"""A request whose run came to nothing is made again after this long; a run key is remembered for ever."""

MOST_AT_ONCE = 25_000
"""New partitions in a tick, written `BATCH` to a statement. Were they asked for by the tick's result, the daemon would
look up each of them first: ten thousand new calendars held up the sensor for minutes."""
MOST_REMOVED = 500
"""Partitions removed in a tick: there each is a statement."""
BATCH = 1000


def build(settings: Settings, job_name: str) -> dg.SensorDefinition:
    """The sensor, every few seconds."""

    @dg.sensor(
        name="calendar_sensor",
        job_name=job_name,
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Registers new and removed calendars as partitions and requests the syncs that are asked for.",
    )
    def calendar_sensor(context: dg.SensorEvaluationContext, pipeline: Pipeline) -> dg.SensorResult | dg.SkipReason:
        from calendar_pipeline import wiring
        from calendar_pipeline.ingest import plan, store
        from calendar_pipeline.live import store as live

        now = wiring.utc_now()
        with pipeline.database() as db, db.single() as connection:
            followed = store.all_calendars(connection)
            waiting = store.waiting(connection, now=now, limit=MOST_AT_ONCE, patience=live.patience(connection))
        known = context.instance.get_dynamic_partitions(str(calendars.name))
        added = sorted(set(followed) - set(known))[:MOST_AT_ONCE]
        removed = sorted(set(known) - set(followed))[:MOST_REMOVED]
        _bring_in_line(context.instance, added, removed)
        gone = set(removed)
        order = [key for key in known if key not in gone] + added
        places = {key: place for place, key in enumerate(order)}
        runs = underway.spans(context.instance, job_name, places, early=plan.EARLY, now=now) if waiting else []
        untaken = {
            key: wait.what
            for key, wait in waiting.items()
            if key in places and not underway.is_taken(runs, places[key], wait.since)
        }
        requests = run_requests(order, untaken, batch=settings.sync_batch_size, now=now)
        if not requests:
            return dg.SkipReason(f"No run is asked for; {len(added)} partitions made, {len(removed)} removed.")
        return dg.SensorResult(run_requests=requests)

    return calendar_sensor


def _bring_in_line(instance: dg.DagsterInstance, added: Sequence[str], removed: Sequence[str]) -> None:
    """Make and remove partitions. Both can be done again, so a tick that is stopped half-way does no harm."""
    for start in range(0, len(added), BATCH):
        instance.add_dynamic_partitions(str(calendars.name), added[start : start + BATCH])
    for key in removed:
        instance.delete_dynamic_partition(str(calendars.name), key)


def run_requests(order: Sequence[str], waiting: Mapping[str, str], *, batch: int, now: datetime) -> list[dg.RunRequest]:
    """Runs that cover every waiting calendar (id → what it waits for), `order` being Dagster's order of keys."""
    asked = [key for key in order if key in waiting]
    requests: list[dg.RunRequest] = []
    for start in range(0, len(asked), batch):
        keys = asked[start : start + batch]
        digest = hashlib.sha256(",".join(f"{key}:{waiting[key]}" for key in keys).encode()).hexdigest()[:16]
        period = int(now.timestamp()) // REQUEST_AGAIN_SECONDS
        requests.append(dg.RunRequest(run_key=f"{digest}@{period}", tags=range_tags(keys[0], keys[-1], cause="asked")))
    return requests
