"""The dashboard and the alarms ask for what `/metrics` tells, under labels that nobody outside can multiply."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from litestar.testing import TestClient
from prometheus_client.parser import text_string_to_metric_families

from api.app import create_app
from calendar_pipeline.db.connect import Database
from calendar_pipeline.settings import Settings

DEPLOY = Path(__file__).parents[3] / "deploy"
TOKEN = "of-metrics-and-long-enough-for-it-0123"
SYNC = """
    INSERT INTO project (id, name) VALUES ('p', 'p');
    INSERT INTO calendar (id, project_id, platform, client_id, client_secret, refresh_token, updated_at, next_sync_at,
                          failures) VALUES ('cal', 'p', 'google', 'c', '', '', now(), 'epoch', 1);
    INSERT INTO sync_run (project_id, calendar_id, started_at, finished_at, outcome, changed_at, requests,
        response_bytes, pages, items, created, updated, deleted, restored, quarantined)
    SELECT 'p', 'cal', now(), now(), 'synced', now(), 3, 1, 1, 1, 1, 0, 0, 0, 0;
"""

Samples = dict[str, list[dict[str, str]]]


@pytest.fixture
def told(db: Database, keyring: Any) -> Samples:
    """Every sample's name with the labels it comes with, after a sync, a few requests and a stranger's notification."""
    with db.begin() as connection:
        connection.exec_driver_sql(SYNC)
    settings = Settings(_env_file=None, metrics_token=TOKEN)
    found: Samples = {}
    with TestClient(create_app(settings, db=db, keyring=keyring)) as api:
        for path in ("/healthz", "/api/v1/calendars/cal_of_mine", "/nowhere/secret", "/nowhere/else"):
            api.get(path)
        api.request("BREW", "/api/v1/calendars")
        api.post("/external_webhooks/google_calendar", headers={"x-goog-channel-id": "s", "x-goog-channel-token": "s"})
        text = api.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(dict(sample.labels))
    return found


def queries() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana" / "calendar-pipeline.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    [group] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    return asked + [rule["expr"] for rule in group["rules"]]


def test_every_query_of_the_dashboard_and_every_alarm_asks_for_what_there_is(told: Samples) -> None:
    for query in queries():
        names = re.findall(r"calendar_pipeline_\w+", query)
        assert names, query
        for name in names:
            assert name in told, f"{query}: there is no {name}"
            labels = {label for sample in told[name] for label in sample}
            by = {word.strip() for group in re.findall(r"by \(([^)]*)\)", query) for word in group.split(",")}
            assert by <= labels, f"{query}: {name} has {labels}"
            for label, _, value in re.findall(r'(\w+)(=~?)"([^"]*)"', query):
                values = {sample[label] for sample in told[name]}
                wanted = set(value.split("|")) - {"5xx", "webhook"}  # nothing failed, nobody was told
                assert wanted <= values, f"{query}: {label} is one of {values}"


def test_every_metric_of_ours_is_on_the_dashboard(told: Samples) -> None:
    shown = " ".join(queries())
    ours = {re.sub(r"_(total|count|sum|bucket|created)$", "", name) for name in told}
    unshown = {name for name in ours if name not in shown} - {"calendar_pipeline_freshness_changes"}
    assert unshown == set()


def test_paths_methods_and_ids_of_strangers_make_no_labels(told: Samples) -> None:
    requests = {tuple(sorted(labels.items())) for labels in told["calendar_pipeline_request_seconds_count"]}
    assert requests == {
        (("method", "GET"), ("route", "/healthz"), ("status", "2xx")),
        (("method", "GET"), ("route", "/api/v1/calendars/{calendar_id}"), ("status", "4xx")),
        (("method", "GET"), ("route", "-"), ("status", "4xx")),
        (("method", "-"), ("route", "/api/v1/calendars"), ("status", "4xx")),
        (("method", "POST"), ("route", "/external_webhooks/google_calendar"), ("status", "4xx")),
    }


def test_every_alarm_says_what_to_do() -> None:
    [group] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    assert [rule["alert"] for rule in group["rules"] if not rule["annotations"]["remedy"]] == []
