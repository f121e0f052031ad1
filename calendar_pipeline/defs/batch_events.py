"""Many asset events in one write.

Event by event costs about a hundred times as much. Dagster keeps the batched form internal, so it is used here and
nowhere else, and a test fails loudly should it change.
"""

import os
from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventBatchMetadata,
    DagsterEventType,
    generate_event_batch_id,
)
from dagster._core.execution.context.system import StepExecutionContext

Context = dg.AssetExecutionContext | dg.OpExecutionContext

BATCH = 1000


def materialise(context: Context, events: Sequence[dg.AssetMaterialization]) -> None:
    """Store materialisations of one asset, `BATCH` to a write."""
    # Dagster reads this each time it stores an event; unset, it writes them one by one.
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(BATCH))
    step = _step(context)
    batch = generate_event_batch_id()
    for position, event in enumerate(events, start=1):
        DagsterEvent.asset_materialization(step, event, DagsterEventBatchMetadata(batch, position == len(events)))


def plan(context: Context, asset: dg.AssetKey, partitions: Mapping[str, str]) -> None:
    """Note that this run means to materialise these partitions, each with what is to be said of it.

    Those that it does not materialise show as failed once the run has failed; the planned event of a ranged run
    carries them as one subset, which by itself marks none of them.
    """
    step = _step(context)
    for partition, message in partitions.items():
        DagsterEvent.from_step(
            event_type=DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
            step_context=step,
            event_specific_data=AssetMaterializationPlannedData(asset, partition=partition),
            message=message,
        )


def _step(context: Context) -> StepExecutionContext:
    op = context.op_execution_context if isinstance(context, dg.AssetExecutionContext) else context
    return op.get_step_execution_context()
