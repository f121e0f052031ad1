"""What an operator finds beside each asset, job, schedule and sensor in the UI."""

import ast
import re
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import pytest
from dagster._core.storage.defs_state.base import DefsStateStorage

from api.openapi import document
from api.routes import reference
from calendar_pipeline.db.schema import metadata
from calendar_pipeline.definitions import defs as load
from calendar_pipeline.defs import assets, picture
from calendar_pipeline.ingest.outcome import REASONS
from calendar_pipeline.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> dg.RepositoryDefinition:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATE_DIR", str(tmp_path_factory.mktemp("state")))
        patch.setattr(DefsStateStorage, "get", classmethod(lambda _: None))  # see conftest
        return load().get_repository_def()


def test_every_asset_has_an_owner_a_group_kinds_columns_and_links_that_lead_somewhere(
    repository: dg.RepositoryDefinition,
) -> None:
    graph = repository.asset_graph
    for node in map(graph.get, graph.get_all_asset_keys()):
        name = node.key.to_user_string()
        assert node.owners, name
        assert node.group_name not in (None, "default"), name
        assert node.kinds, name
        assert node.description, name
        columns = node.metadata["dagster/column_schema"].columns
        assert len(columns) > 3, name
        for link in ("guide", "when_red"):
            leads_somewhere(node.metadata[link].value)


def leads_somewhere(link: str) -> None:
    path, _, anchor = link.partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / path).read_text(), re.MULTILINE)
    assert anchor in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings], link


def test_columns_are_those_of_the_tables(repository: dg.RepositoryDefinition) -> None:
    node = repository.asset_graph.get(assets.EVENT_HISTORY)
    told = {column.name: column.description for column in node.metadata["dagster/column_schema"].columns}
    assert told == {column.name: column.comment for column in metadata.tables["event_history"].columns}


def test_links_into_the_api_are_paths_that_it_has(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    found = [graph.get(key).metadata.get("api") for key in graph.get_all_asset_keys()]
    paths = {link.value.partition("/api/v1")[2] for link in found if link}
    assert paths
    assert paths <= set(document(Settings(_env_file=None), version="0", base="")["paths"])
    page = {graph.get(key).metadata.get("api_reference") for key in graph.get_all_asset_keys()} - {None}
    assert {urlsplit(link.value).path for link in page} == {reference.PATH}


def test_every_job_schedule_and_sensor_says_what_it_does(repository: dg.RepositoryDefinition) -> None:
    jobs = [job for job in repository.get_all_jobs() if not job.name.startswith("__")]
    silent = [one.name for one in (*jobs, *repository.schedule_defs, *repository.sensor_defs) if not one.description]
    assert silent == []
    assert {"sync", "verify", "resync", "reconcile", "proof", "retention", "rotate_keys", "purge"} <= {
        job.name for job in jobs
    }


def test_the_guide_names_all_that_the_ui_shows(repository: dg.RepositoryDefinition) -> None:
    names = {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    names |= {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    names |= {one.name for one in (*repository.schedule_defs, *repository.sensor_defs)}
    guide = (ROOT / "docs" / "operate.md").read_text()
    assert sorted(name for name in names if f"`{name}`" not in guide) == []


def test_work_that_keeps_a_core_busy_has_a_pool(repository: dg.RepositoryDefinition) -> None:
    pools = {name: set(repository.get_job(name).graph.pools) for name in ("sync", "export", "retention", "verify")}
    assert pools == {"sync": {"sync"}, "export": {"upkeep"}, "retention": {"upkeep"}, "verify": {"upkeep"}}


PROVOKED = {
    "test_dagster_checks.py": {
        "test_what_is_wrong_is_red_names_the_calendar_and_says_what_to_do": ["horizon", "freshness", "drift", "replay"]
    },
    "test_dagster_data.py": {"test_the_quarantines_check_names_reasons_and_what_to_do": ["quarantine_empty"]},
    "test_dagster_bots.py": {
        "test_a_bot_that_does_not_match_its_event_turns_the_check_red": ["every_scheduled_bot_matches_its_event"],
        "test_a_late_launch_turns_the_check_red": ["no_late_launch"],
    },
    "test_dagster_webhooks.py": {
        "test_the_oldest_delivery_counts_held_and_throttled_ones": ["oldest_delivery_is_young"],
        "test_failing_attempts_are_seen": ["attempts_succeed"],
        "test_a_disabled_endpoint_is_seen_with_what_to_do": ["no_endpoint_is_disabled"],
        "test_a_lost_delivery_is_an_error": ["nothing_was_lost"],
    },
    "test_dagster_live.py": {
        "test_changes_that_were_seen_late_turn_the_live_path_yellow": ["seen_in_time"],
        "test_channels_that_are_not_well_turn_yellow_and_say_what_to_do": ["alive", "tells_all"],
    },
}
"""The test in which each asset check's alarm goes off."""


def test_every_alarm_goes_off_in_a_test_that_reads_its_remedy(repository: dg.RepositoryDefinition) -> None:
    told = {name for tests in PROVOKED.values() for names in tests.values() for name in names}
    assert told == {key.name for key in repository.asset_graph.asset_check_keys}
    for file, tests in PROVOKED.items():
        tree = ast.parse((Path(__file__).parent / file).read_text())
        bodies = {node.name: ast.unparse(node) for node in tree.body if isinstance(node, ast.FunctionDef)}
        for test in tests:
            assert "description" in bodies[test], f"{file}::{test} does not read what the alarm says"
            assert "passed" in bodies[test], f"{file}::{test} does not see the alarm"


def test_every_failure_has_a_remedy() -> None:
    assert set(assets.REMEDY) == set(REASONS) - {"synced", "stepped_aside"}


def test_a_picture_is_carried_whole_and_said_in_words_too() -> None:
    drawn = picture.bars("a & b", {"<5 s": 3, "more": 0}).value
    assert "data:image/svg+xml;base64," in drawn
    assert "<5 s: 3, more: 0" in drawn
