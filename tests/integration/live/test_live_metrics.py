"""`/metrics`: who may read it, and that what strangers send makes no labels."""

import re
from typing import Any

from litestar.testing import TestClient

from api.app import create_app
from calendar_pipeline.db.connect import Database
from calendar_pipeline.settings import Settings


def client(db: Database, keyring: Any, clock: Any, **settings: Any) -> TestClient[Any]:
    return TestClient(create_app(Settings(_env_file=None, **settings), db=db, keyring=keyring, clock=clock))


def test_without_a_token_of_its_own_there_is_no_such_page(db: Database, keyring: Any, clock: Any) -> None:
    with client(db, keyring, clock) as api:
        assert api.get("/metrics").status_code == 404


def test_only_the_token_opens_it(db: Database, keyring: Any, clock: Any) -> None:
    with client(db, keyring, clock, metrics_token="of-metrics-and-long-enough-for-it-0123") as api:
        for given in ("", "Bearer other", "Token of-metrics-and-long-enough-for-it-0123", "Bearer é"):
            answer = api.get("/metrics", headers={"authorization": given.encode()} if given else {})
            assert answer.status_code == 401
        answer = api.get("/metrics", headers={"authorization": "Bearer of-metrics-and-long-enough-for-it-0123"})
        assert answer.status_code == 200
        assert "calendar_pipeline_live_runs 0.0" in answer.text


def test_what_strangers_send_makes_no_labels(db: Database, keyring: Any, clock: Any) -> None:
    with client(db, keyring, clock, metrics_token="of-metrics-and-long-enough-for-it-0123") as api:
        for n in range(5):
            headers = {"x-goog-channel-id": f"stranger{n}", "x-goog-channel-token": f"stranger{n}"}
            assert api.post("/external_webhooks/google_calendar", headers=headers).status_code == 404
            entry = {"subscriptionId": f"stranger{n}", "clientState": f"stranger{n}", "lifecycleEvent": f"stranger{n}"}
            body = {"value": [entry]}
            assert api.post(f"/external_webhooks/microsoft_calendar/stranger{n}", json=body).status_code == 200
        text = api.get("/metrics", headers={"authorization": "Bearer of-metrics-and-long-enough-for-it-0123"}).text
        assert "stranger" not in text
        heard = re.findall(r"^(\w*notifications_total\{.*\}) (\S+)$", text, re.MULTILINE)
        assert [count for _, count in heard] == ["5.0", "5.0"]
        assert all('"unknown_channel"' in name for name, _ in heard)
