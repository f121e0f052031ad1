"""What analysts read of deliveries: the view `webhook_quality`, over rows that real deliveries wrote."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from calendar_pipeline.export.relation import relation
from calendar_pipeline.export.write import export
from calendar_pipeline.webhooks import retain

TODAY = date(2026, 11, 23)


def quality(hooks: Any, subscription: str) -> dict[date, Any]:
    rows = hooks.rows("SELECT * FROM webhook_quality WHERE subscription_id = :id", id=subscription)
    return {row["day"]: row for row in rows}


def test_a_days_deliveries_are_summed_up_for_each_endpoint(hooks: Any, behaviours: Any) -> None:
    endpoint, other = hooks.endpoint(), hooks.endpoint()
    subscription, quiet = hooks.subscribe(endpoint.url), hooks.subscribe(other.url)
    endpoint.behave(behaviours.answer(500), behaviours.answer(503), behaviours.answer(200))
    hooks.tell(subscription)
    hooks.deliver()
    while hooks.delivery()["status"] == "pending":
        hooks.wait_out()
        hooks.deliver()
    late = (hooks.delivery()["finished_at"] - hooks.delivery()["created_at"]).total_seconds()
    hooks.tell(subscription, 3)
    hooks.deliver()
    hooks.tell(subscription, sound=float("nan"))
    hooks.tell(quiet)
    hooks.deliver()
    [row] = quality(hooks, subscription).values()
    assert (row["project_id"], row["bot_id"], row["day"]) == (hooks.project, None, TODAY)
    assert (row["deliveries"], row["delivered"], row["at_first"], row["rejected"]) == (5, 4, 3, 1)
    assert (row["pending"], row["dead"]) == (0, 0)
    assert (row["attempts"], row["failed_attempts"], row["last_error"]) == (6, 2, "503")
    assert (row["median_seconds"], row["longest_seconds"]) == (0, late)
    assert 0 < row["p95_seconds"] < late
    assert 0 <= row["median_answer_seconds"] <= row["p95_answer_seconds"] < 1
    assert quality(hooks, quiet)[TODAY]["deliveries"] == 1


def test_what_was_given_up_and_what_waits_for_a_disabled_endpoint_is_told(hooks: Any, behaviours: Any) -> None:
    endpoint = hooks.endpoint()
    endpoint.behave(behaviours.answer(200), behaviours.answer(410))
    subscription = hooks.subscribe(endpoint.url, ordering="calendar")
    hooks.tell(subscription)
    hooks.deliver()
    hooks.clock.pass_by(days=1)
    hooks.tell(subscription, 2)
    hooks.deliver()
    first, second = quality(hooks, subscription)[TODAY], quality(hooks, subscription)[TODAY + timedelta(days=1)]
    assert (first["delivered"], first["attempts"], first["failed_attempts"], first["last_error"]) == (1, 1, 0, None)
    assert (second["deliveries"], second["delivered"], second["dead"], second["pending"]) == (2, 0, 0, 2)
    assert (second["attempts"], second["last_error"]) == (1, "410")
    assert (second["median_seconds"], second["disabled_reason"]) == (None, "gone")
    assert first["disabled_at"] == second["disabled_at"] == hooks.clock()
    month = timedelta(days=30)
    retain.forget(hooks.db, now=hooks.clock() + month + timedelta(hours=1), bodies=month, log=2 * month)
    second = quality(hooks, subscription)[TODAY + timedelta(days=1)]
    assert (second["dead"], second["pending"]) == (2, 0)


def test_quality_is_exported_and_again_when_something_is_delivered(hooks: Any, tmp_path: Path) -> None:
    subscription = hooks.subscribe(hooks.endpoint().url)
    hooks.tell(subscription)
    table = relation("webhook_quality")
    assert export(hooks.db, table, str(tmp_path)).written == 1
    assert export(hooks.db, table, str(tmp_path)).unchanged == 1
    hooks.deliver()
    assert export(hooks.db, table, str(tmp_path)).written == 1
    [row] = pd.read_parquet(tmp_path / "webhook_quality").to_dict("records")
    assert (row["subscription_id"], row["day"], row["delivered"]) == (subscription, TODAY, 1)
