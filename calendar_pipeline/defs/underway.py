"""Which calendars are taken care of by runs that wait in the queue or are at work.

A run takes what is due among its keys when it begins. To ask for the same calendars again meanwhile would only start
processes that find nothing, one for each tick, and fill the queue for everybody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from calendar_pipeline.defs.partitions import CAUSE, RANGE_END, RANGE_START

QUEUED = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING)
PATIENCE = timedelta(minutes=15)
"""A run that works for longer is not relied on any more: it may be stuck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A run's keys, by their places in Dagster's order, and what is due up to when it takes."""

    first: int
    last: int
    until: datetime


def spans(
    instance: dg.DagsterInstance, job: str, places: Mapping[str, int], *, early: timedelta, now: datetime
) -> list[Span]:
    """What the runs of the job take that the schedule and the sensor have asked for. `places`: key → its place."""
    found: list[Span] = []
    statuses = [*QUEUED, dg.DagsterRunStatus.STARTED]
    for record in instance.get_run_records(dg.RunsFilter(job_name=job, statuses=statuses)):
        tags = record.dagster_run.tags
        first, last = places.get(tags.get(RANGE_START, "")), places.get(tags.get(RANGE_END, ""))
        if CAUSE not in tags or first is None or last is None:
            continue
        begun = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else now
        if begun > now - PATIENCE:
            until = begun + (early if tags[CAUSE] == "schedule" else timedelta())
            found.append(Span(first=first, last=last, until=until))
    return found


def is_taken(runs: Sequence[Span], place: int, due_at: datetime) -> bool:
    """Whether one of the runs takes the calendar at this place, which is due at that time."""
    return any(run.first <= place <= run.last and due_at <= run.until for run in runs)
