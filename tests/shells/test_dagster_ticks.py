"""Schedule and sensor: which runs they ask for, and which partitions they keep."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
import sqlalchemy as sa

from calendar_pipeline import wiring
from calendar_pipeline.db.connect import Database
from calendar_pipeline.definitions import defs as load
from calendar_pipeline.defs import sensors, underway
from calendar_pipeline.defs.partitions import CAUSE, RANGE_END, RANGE_START, calendars, range_tags
from calendar_pipeline.defs.resources import Pipeline
from calendar_pipeline.defs.sensors import run_requests
from calendar_pipeline.secrets.keyring import generate

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.fixture
def repository(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> dg.RepositoryDefinition:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CALENDAR_PIPELINE_KEYS", generate("tick"))
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("SYNC_BATCH_SIZE", "3")
    return load().get_repository_def()


def _follow(db: Database, *ids: str, due: bool = True) -> None:
    with db.begin() as connection:
        connection.execute(sa.text("INSERT INTO project (id, name) VALUES ('p', 'p') ON CONFLICT DO NOTHING"))
        for key in ids:
            connection.execute(
                sa.text(
                    "INSERT INTO calendar (id, project_id, platform, client_id, client_secret, refresh_token, "
                    "updated_at, next_sync_at, synced_gen) "
                    "VALUES (:id, 'p', 'google', 'c', '', '', now(), 'epoch', :synced)"
                ),
                {"id": key, "synced": 0 if due else 1},
            )


def _tick(repository: dg.RepositoryDefinition, instance: dg.DagsterInstance) -> dg.SensorResult | dg.SkipReason:
    sensor = repository.get_sensor_def("calendar_sensor")
    context = dg.build_sensor_context(instance=instance, repository_def=repository, resources={"pipeline": Pipeline()})
    result = sensor(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def _schedule(repository: dg.RepositoryDefinition, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    schedule = repository.get_schedule_def("sync_schedule")
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=NOW, resources={"pipeline": Pipeline()}
    )
    return list(schedule.evaluate_tick(context).run_requests or [])


def test_the_schedule_asks_for_a_run_per_batch_of_calendars_whose_turn_it_is(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, db: Database
) -> None:
    instance.add_dynamic_partitions(str(calendars.name), [f"cal_{n}" for n in range(9)])
    _follow(db, *(f"cal_{n}" for n in range(9)))
    with db.begin() as connection:
        connection.execute(
            sa.text("UPDATE calendar SET next_sync_at = now() + interval '4 minutes' WHERE id IN ('cal_0', 'cal_1')")
        )
        connection.execute(
            sa.text("UPDATE calendar SET next_sync_at = now() + interval '6 minutes' WHERE id IN ('cal_7', 'cal_8')")
        )
    requests = _schedule(repository, instance)
    assert [(r.tags[RANGE_START], r.tags[RANGE_END]) for r in requests] == [
        ("cal_0", "cal_2"),
        ("cal_3", "cal_5"),
        ("cal_6", "cal_6"),
    ]
    assert len({request.run_key for request in requests}) == 3


def test_the_schedule_rests_when_it_is_no_calendars_turn(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, db: Database
) -> None:
    assert _schedule(repository, instance) == []
    instance.add_dynamic_partitions(str(calendars.name), ["cal_a"])
    _follow(db, "cal_a")
    with db.begin() as connection:
        connection.execute(sa.text("UPDATE calendar SET next_sync_at = now() + interval '20 minutes'"))
    assert _schedule(repository, instance) == []


def test_new_calendars_become_partitions_and_are_synced(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, db: Database
) -> None:
    _follow(db, "cal_a", "cal_b")
    result = _tick(repository, instance)
    assert isinstance(result, dg.SensorResult)
    assert instance.get_dynamic_partitions(str(calendars.name)) == ["cal_a", "cal_b"]
    [request] = result.run_requests or []
    assert (request.tags[RANGE_START], request.tags[RANGE_END], request.tags[CAUSE]) == ("cal_a", "cal_b", "asked")


def test_removed_calendars_lose_their_partition(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions(str(calendars.name), ["cal_gone"])
    assert isinstance(_tick(repository, instance), dg.SkipReason)
    assert instance.get_dynamic_partitions(str(calendars.name)) == []


def test_nothing_new_asks_for_nothing(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, db: Database
) -> None:
    _follow(db, "cal_a", due=False)
    instance.add_dynamic_partitions(str(calendars.name), ["cal_a"])
    assert isinstance(_tick(repository, instance), dg.SkipReason)


def test_a_request_is_made_once_until_it_is_old() -> None:
    order, waiting = ["a", "b", "c"], {"a": "1.0", "c": "4.0"}
    first = run_requests(order, waiting, batch=10, now=NOW)
    soon = run_requests(order, waiting, batch=10, now=NOW + timedelta(seconds=30))
    more = run_requests(order, {"a": "2.0", "c": "4.0"}, batch=10, now=NOW)
    assert first[0].run_key == soon[0].run_key != more[0].run_key
    assert (first[0].tags[RANGE_START], first[0].tags[RANGE_END]) == ("a", "c")


def test_fault_55_a_tick_that_is_stopped_half_way_is_made_up_for_by_the_next(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _follow(db, "cal_a", "cal_b")
    instance.add_dynamic_partitions(str(calendars.name), ["cal_gone"])
    monkeypatch.setattr(sensors, "BATCH", 1)
    with monkeypatch.context() as stopping:
        add = instance.add_dynamic_partitions

        def add_one(name: str, keys: Sequence[str]) -> None:
            if "cal_b" in keys:
                raise KeyboardInterrupt
            add(name, keys)

        stopping.setattr(instance, "add_dynamic_partitions", add_one)
        with pytest.raises(KeyboardInterrupt):
            _tick(repository, instance)
    assert instance.get_dynamic_partitions(str(calendars.name)) == ["cal_gone", "cal_a"]
    result = _tick(repository, instance)
    assert isinstance(result, dg.SensorResult)
    assert instance.get_dynamic_partitions(str(calendars.name)) == ["cal_a", "cal_b"]
    [request] = result.run_requests or []
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("cal_a", "cal_b")


def test_fault_55_what_a_failed_run_left_is_asked_for_again_under_another_key(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster remembers a run key for ever, also that of a run that came to nothing."""
    _ask(db, instance, "cal_a")
    keys: list[str | None] = []
    for minute in (0, 1):
        now = datetime.now(UTC) + timedelta(minutes=minute)
        monkeypatch.setattr(wiring, "utc_now", lambda now=now: now)
        result = _tick(repository, instance)
        assert isinstance(result, dg.SensorResult)
        keys += [request.run_key for request in result.run_requests or []]
        _run(instance, "cal_a", "cal_a", dg.DagsterRunStatus.FAILURE, cause="asked")
    assert len(set(keys)) == 2


def test_fault_55_more_than_a_run_takes_is_asked_for_in_as_many_as_it_needs(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, db: Database
) -> None:
    _ask(db, instance, *(f"cal_{n}" for n in range(7)))
    result = _tick(repository, instance)
    assert isinstance(result, dg.SensorResult)
    assert [(request.tags[RANGE_START], request.tags[RANGE_END]) for request in result.run_requests or []] == [
        ("cal_0", "cal_2"),
        ("cal_3", "cal_5"),
        ("cal_6", "cal_6"),
    ]


def test_waiting_calendars_without_a_partition_yet_wait_for_the_next_tick() -> None:
    assert run_requests([], {"unknown": "1.0"}, batch=10, now=NOW) == []


def _ask(db: Database, instance: dg.DagsterInstance, *keys: str) -> None:
    _follow(db, *keys)
    instance.add_dynamic_partitions(str(calendars.name), list(keys))


def _run(instance: dg.DagsterInstance, first: str, last: str, status: dg.DagsterRunStatus, *, cause: str) -> str:
    run = instance.create_run_for_job(
        dg.job(name="sync")(lambda: None), status=status, tags=range_tags(first, last, cause=cause)
    )
    return run.run_id


@pytest.mark.parametrize("cause", ["asked", "schedule"])
def test_what_a_queued_run_takes_is_not_asked_for_again(
    cause: str, repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, db: Database
) -> None:
    """Of ten thousand new calendars, one tick after the other asked for those still waiting: the queue was full of
    runs that would find nothing to do."""
    _ask(db, instance, "cal_a", "cal_b", "cal_c", "cal_d")
    _run(instance, "cal_a", "cal_c", dg.DagsterRunStatus.NOT_STARTED, cause=cause)
    result = _tick(repository, instance)
    assert isinstance(result, dg.SensorResult)
    assert [request.tags[RANGE_START] for request in result.run_requests or []] == ["cal_d"]
    assert [request.tags[RANGE_START] for request in _schedule(repository, instance)] == ["cal_d"]


def test_what_came_after_a_run_began_is_asked_for(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, db: Database
) -> None:
    _ask(db, instance, "cal_a", "cal_b")
    run_id = _run(instance, "cal_a", "cal_b", dg.DagsterRunStatus.STARTING, cause="asked")
    instance.report_dagster_event(
        dagster_event=dg.DagsterEvent(event_type_value="PIPELINE_START", job_name="sync"), run_id=run_id
    )
    assert isinstance(_tick(repository, instance), dg.SkipReason)
    with db.begin() as connection:
        connection.execute(
            sa.text("UPDATE calendar SET next_sync_at = clock_timestamp(), requested_gen = 2 WHERE id = 'cal_b'")
        )
    result = _tick(repository, instance)
    assert isinstance(result, dg.SensorResult)
    assert [request.tags[RANGE_START] for request in result.run_requests or []] == ["cal_b"]


def test_a_run_that_is_over_or_stuck_takes_nothing() -> None:
    places = {"a": 0, "b": 1}
    with dg.DagsterInstance.ephemeral() as instance:
        _run(instance, "a", "b", dg.DagsterRunStatus.FAILURE, cause="asked")
        assert underway.spans(instance, "sync", places, early=timedelta(), now=NOW) == []
        _run(instance, "a", "gone", dg.DagsterRunStatus.NOT_STARTED, cause="asked")
        assert underway.spans(instance, "sync", places, early=timedelta(), now=NOW) == []
        run_id = _run(instance, "a", "b", dg.DagsterRunStatus.STARTING, cause="schedule")
        instance.report_dagster_event(
            dagster_event=dg.DagsterEvent(event_type_value="PIPELINE_START", job_name="sync"), run_id=run_id
        )
        [span] = underway.spans(instance, "sync", places, early=timedelta(minutes=5), now=datetime.now(UTC))
        assert span.until > datetime.now(UTC) + timedelta(minutes=4)
        assert underway.is_taken([span], 1, datetime.now(UTC))
        later = datetime.now(UTC) + underway.PATIENCE + timedelta(minutes=1)
        assert underway.spans(instance, "sync", places, early=timedelta(), now=later) == []
