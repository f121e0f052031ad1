"""Keeping Dagster's own tables bounded: old runs go with their events.

A run that holds the last materialisation of any partition stays: without it the partition would show as missing. Of its
events only those materialisations stay, so what is kept beyond the retention is an event for each asset and partition.
Partitions of calendars that are gone show nothing. Results of checks, which Dagster itself never removes, go with their
runs, but each check's last. This reads and writes tables of Dagster's, so it stands here alone and a test fails should
Dagster change them.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

PAGE = 200

_LAST = """
    SELECT DISTINCT ON (asset_key, partition) id, run_id FROM event_logs
    WHERE dagster_event_type = 'ASSET_MATERIALIZATION' AND asset_key IS NOT NULL
      AND (partition IS NULL OR partition IN (SELECT partition FROM dynamic_partitions))
    ORDER BY asset_key, partition, id DESC
"""
_SHOWN = f"SELECT DISTINCT run_id FROM ({_LAST}) AS last"
_RESULTS = """
    DELETE FROM asset_check_executions WHERE run_id NOT IN (SELECT run_id FROM runs) AND id NOT IN (
        SELECT max(id) FROM asset_check_executions GROUP BY asset_key, check_name, partition)
"""
_BARE = f"DELETE FROM event_logs WHERE run_id = ANY(%(runs)s) AND id NOT IN (SELECT id FROM ({_LAST}) AS last)"


def purge(instance: dg.DagsterInstance, *, older_than: timedelta, at_most: int = 20_000) -> int:
    """Delete ended runs that were made longer ago than that; returns how many."""
    shown = _shown(instance)
    before = datetime.now(UTC) - older_than
    old: list[str] = []
    cursor = None
    while len(old) < at_most:
        records = instance.get_run_records(
            dg.RunsFilter(statuses=list(FINISHED_STATUSES), created_before=before),
            limit=PAGE,
            cursor=cursor,
            ascending=True,
        )
        runs = [record.dagster_run.run_id for record in records]
        _bare(instance, [run for run in runs if run in shown])
        old.extend(run for run in runs if run not in shown)
        if len(runs) < PAGE:
            break
        cursor = runs[-1]
    for run in old:
        instance.delete_run(run)
    with _storage(instance).index_connection() as connection:
        connection.exec_driver_sql(_RESULTS)
    return len(old)


def _bare(instance: dg.DagsterInstance, runs: list[str]) -> None:
    """Leave of the runs' events the materialisations that are shown."""
    if not runs:
        return
    with _storage(instance).index_connection() as connection:
        connection.exec_driver_sql(_BARE, {"runs": runs})


def _shown(instance: dg.DagsterInstance) -> set[str]:
    """Runs that hold a partition's last materialisation."""
    with _storage(instance).index_connection() as connection:
        return {str(row[0]) for row in connection.exec_driver_sql(_SHOWN)}


def _storage(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    """All of Dagster's tables are in one database; see ``dagster.yaml``."""
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    return storage
