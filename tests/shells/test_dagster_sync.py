"""Runs over a real instance: what an operator sees of many calendars in one run."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from calendar_pipeline.db.connect import Database
from calendar_pipeline.definitions import defs as load
from calendar_pipeline.defs import batch_events
from calendar_pipeline.defs.assets import EVENT_HISTORY, PROVIDER_EVENTS, SYNC_CYCLE
from calendar_pipeline.defs.partitions import calendars, range_tags
from calendar_pipeline.secrets.keyring import generate
from sandbox.replies import Credentials
from sandbox.server import Running, running

KEY = generate("shell")


@pytest.fixture
def sandbox() -> Iterator[Running]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture
def keyring() -> Any:
    from calendar_pipeline.secrets.keyring import KeyRing

    return KeyRing.parse(KEY)


@pytest.fixture
def definitions(
    sandbox: Running, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> Iterator[dg.Definitions]:
    """The code location, as Dagster loads it with this environment."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CALENDAR_PIPELINE_KEYS", KEY)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("GOOGLE_API_BASE_URL", f"{sandbox.url}/google")
    monkeypatch.setenv("GOOGLE_TOKEN_URL", sandbox.token_url)
    monkeypatch.setenv("SYNC_THREADS", "2")
    monkeypatch.setenv("SYNC_BATCH_SIZE", "3")
    return load()


Follow = Callable[[Iterable[Credentials]], list[str]]


def _sync(definitions: dg.Definitions, instance: dg.DagsterInstance, keys: list[str], *, by_hand: bool = False) -> Any:
    tags = range_tags(keys[0], keys[-1], cause="schedule")
    if by_hand:
        tags = {name: value for name, value in tags.items() if name.startswith("dagster/")}
    job = definitions.get_repository_def().get_job("sync")
    return job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


def _states(instance: dg.DagsterInstance, keys: list[str], asset: dg.AssetKey = EVENT_HISTORY) -> dict[str, str | None]:
    found = instance.get_status_by_partition(asset, keys, calendars) or {}
    return {key: status.name if (status := found.get(key)) else None for key in keys}


def _materialised(instance: dg.DagsterInstance, run_id: str) -> list[str | None]:
    records = instance.fetch_materializations(EVENT_HISTORY, limit=100).records
    return [record.partition_key for record in records if record.run_id == run_id]


def _due(db: Database) -> None:
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE calendar SET next_sync_at = 'epoch'"))


def _three(sandbox: Running, follow: Follow, instance: dg.DagsterInstance) -> tuple[list[Credentials], list[str]]:
    made = sandbox.create_calendars(3, 4)
    keys = follow(made)
    instance.add_dynamic_partitions(str(calendars.name), keys)
    return made, keys


def test_one_run_carries_many_calendars_and_each_partition_is_green(
    sandbox: Running, follow: Follow, definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database
) -> None:
    _, keys = _three(sandbox, follow, instance)
    assert _sync(definitions, instance, keys).success
    assert set(_states(instance, keys).values()) == {"MATERIALIZED"}
    assert set(_states(instance, keys, PROVIDER_EVENTS).values()) == {"MATERIALIZED"}
    with db.single() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM event_history")).scalar_one() == 9


def test_an_unchanged_calendar_leaves_a_sync_record_and_no_event(
    sandbox: Running, follow: Follow, definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database
) -> None:
    made, keys = _three(sandbox, follow, instance)
    _sync(definitions, instance, keys)
    sandbox.create_event(made[0].calendar_id, start=sandbox.now().isoformat(), title="new")
    _due(db)
    result = _sync(definitions, instance, keys)
    assert _materialised(instance, result.run_id) == [keys[0]]
    with db.single() as connection:
        runs = connection.execute(sa.text("SELECT calendar_id, run_id FROM sync_run ORDER BY id DESC LIMIT 3")).all()
    assert {row.calendar_id for row in runs} == set(keys)
    assert {row.run_id for row in runs} == {result.run_id}


def test_a_failed_calendar_is_red_with_its_reason_and_the_others_stay_green(
    sandbox: Running, follow: Follow, definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database
) -> None:
    made, keys = _three(sandbox, follow, instance)
    _sync(definitions, instance, keys)
    sandbox.revoke(made[1].refresh_token)
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE calendar SET access_token = NULL"))
    _due(db)
    result = _sync(definitions, instance, keys)
    assert not result.success
    assert _states(instance, keys) == {keys[0]: "MATERIALIZED", keys[1]: "FAILED", keys[2]: "MATERIALIZED"}
    [failure] = [event for event in result.all_events if event.is_step_failure]
    message = failure.step_failure_data.user_failure_data.description
    assert keys[1] in message
    assert "invalid_grant" in message
    assert "the user must reconnect" in message
    [row] = failure.step_failure_data.user_failure_data.metadata["failed"].value.records
    assert row.data == {
        "calendar": keys[1],
        "status": "disconnected",
        "reason": "invalid_grant",
        "remedy": "the user must reconnect the calendar",
    }
    planned = [
        record.user_message
        for record in instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    ]
    assert f"{keys[1]}: disconnected (invalid_grant); the user must reconnect the calendar" in planned


def test_a_failed_calendar_that_is_well_again_turns_green_although_nothing_changed(
    sandbox: Running, follow: Follow, definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database
) -> None:
    made, keys = _three(sandbox, follow, instance)
    _sync(definitions, instance, keys)
    sandbox.add_fault("server_error", calendar_id=made[2].calendar_id)
    _due(db)
    _sync(definitions, instance, keys)
    assert _states(instance, keys)[keys[2]] == "FAILED"
    _due(db)
    assert _sync(definitions, instance, keys).success
    assert set(_states(instance, keys).values()) == {"MATERIALIZED"}


def test_what_a_dead_run_had_no_time_to_tell_is_told_by_the_next(
    sandbox: Running,
    follow: Follow,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    db: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, keys = _three(sandbox, follow, instance)

    def die(*_: object) -> None:
        raise OSError("the machine is gone")

    with monkeypatch.context() as patch:
        patch.setattr(batch_events, "materialise", die)
        _sync(definitions, instance, keys)
    assert "MATERIALIZED" not in _states(instance, keys).values()
    _due(db)
    _sync(definitions, instance, keys)
    assert set(_states(instance, keys).values()) == {"MATERIALIZED"}


def test_a_run_started_by_a_person_reads_everything_anew(
    sandbox: Running, follow: Follow, definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database
) -> None:
    """As a backfill or a click on Materialize does: also what is not due, in full, and all of it is shown."""
    _, keys = _three(sandbox, follow, instance)
    _sync(definitions, instance, keys)
    result = _sync(definitions, instance, keys, by_hand=True)
    assert sorted(_materialised(instance, result.run_id)) == sorted(keys)
    with db.single() as connection:
        last = connection.execute(sa.text("SELECT mode, why FROM sync_run ORDER BY id DESC LIMIT 3")).all()
        assert connection.execute(sa.text("SELECT count(*) FROM event_history")).scalar_one() == 9
    assert {tuple(row) for row in last} == {("listing", "asked")}


def test_a_partition_whose_calendar_is_gone_does_no_harm(
    sandbox: Running, follow: Follow, definitions: dg.Definitions, instance: dg.DagsterInstance, db: Database
) -> None:
    _, keys = _three(sandbox, follow, instance)
    with db.begin() as connection:
        connection.execute(sa.text("DELETE FROM calendar WHERE id = :id"), {"id": keys[1]})
    assert _sync(definitions, instance, keys).success
    assert _states(instance, keys) == {keys[0]: "MATERIALIZED", keys[1]: None, keys[2]: "MATERIALIZED"}


def test_each_run_is_summed_up_for_a_graph(
    sandbox: Running, follow: Follow, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    _, keys = _three(sandbox, follow, instance)
    _sync(definitions, instance, keys)
    [event] = instance.fetch_materializations(SYNC_CYCLE, limit=10).records
    assert event.asset_materialization is not None
    numbers = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert (numbers["calendars"], numbers["changed"], numbers["failed"], numbers["history_rows"]) == (3, 3, 0, 9)
    assert numbers["provider_requests"] == 6


def test_many_materialisations_cost_one_write(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch write is internal to Dagster: should it change, this says so."""
    writes: list[int] = []
    store = type(instance.event_log_storage).store_event_batch

    def count(self: Any, events: Any) -> None:
        writes.append(len(events))
        store(self, events)

    monkeypatch.setattr(type(instance.event_log_storage), "store_event_batch", count)
    keys = [f"k{number}" for number in range(50)]

    @dg.asset(partitions_def=calendars, backfill_policy=dg.BackfillPolicy.single_run(), output_required=False)
    def many(context: dg.AssetExecutionContext) -> Iterator[dg.Output[None]]:
        events = [dg.AssetMaterialization(context.asset_key, partition=key) for key in context.partition_keys]
        batch_events.materialise(context, events)
        yield from ()

    instance.add_dynamic_partitions(str(calendars.name), keys)
    job = dg.Definitions([many], executor=dg.in_process_executor).resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance, tags=range_tags("k0", "k49", cause="x"))
    assert 50 in writes
    assert set(_states(instance, keys, many.key).values()) == {"MATERIALIZED"}
