"""One partition per followed calendar; its key is the calendar's id."""

import dagster as dg

calendars = dg.DynamicPartitionsDefinition(name="calendars")

CAUSE = "calendar_pipeline/cause"
"""Run tag: ``schedule`` or ``asked``. A run without it was started by a person and reads everything anew."""

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


def range_tags(first: str, last: str, *, cause: str) -> dict[str, str]:
    """Tags of a run over all partitions from `first` to `last`, in the order of Dagster's store."""
    return {RANGE_START: first, RANGE_END: last, CAUSE: cause}
