"""How soon changes were seen: its legs, and what is said when it was not soon enough."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from calendar_pipeline.db.connect import Database
from calendar_pipeline.freshness import store
from calendar_pipeline.freshness.late import late
from calendar_pipeline.freshness.store import Measured

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def test_each_leg_is_measured_from_the_providers_clock(db: Database) -> None:
    """Ten changes were pushed after 1 s, visible after 2 s, and taken by the customer's endpoint after 3 s."""
    with db.begin() as connection:
        for statement in (
            "INSERT INTO project (id, name) VALUES ('p', 'p')",
            (
                "INSERT INTO calendar (id, project_id, platform, client_id, client_secret, refresh_token, updated_at) "
                "VALUES ('cal', 'p', 'microsoft', 'c', '', '', now())"
            ),
            (
                "INSERT INTO webhook_subscription (id, project_id, url, triggers, created_at, updated_at) "
                "VALUES ('wh', 'p', 'https://example.com', '{calendar.events_update}', now(), now())"
            ),
        ):
            connection.execute(sa.text(statement))
        for number in range(10):
            changed = AT + timedelta(minutes=number)
            run = connection.execute(
                sa.text(
                    "INSERT INTO sync_run (project_id, calendar_id, started_at, finished_at, outcome, changed_at, "
                    "pushed_at, requests, response_bytes, pages, items, created, updated, deleted, restored, "
                    "quarantined) VALUES ('p', 'cal', :seen, :seen, 'synced', :changed, :pushed, 1, 1, 1, 1, 1, 0, 0, "
                    "0, 0) RETURNING id"
                ),
                {
                    "changed": changed,
                    "pushed": changed + timedelta(seconds=1),
                    "seen": changed + timedelta(seconds=2),
                },
            ).scalar_one()
            connection.execute(
                sa.text(
                    "INSERT INTO webhook_delivery (id, project_id, subscription_id, trigger, idempotency_key, status, "
                    "next_attempt_at, created_at, finished_at, sync_run_id, calendar_id) VALUES (:id, 'p', 'wh', "
                    "'calendar.events_update', gen_random_uuid(), :status, :seen, :seen, :taken, :run, 'cal')"
                ),
                {
                    "id": f"msg{number}",
                    "status": "delivered" if number else "dead",
                    "seen": changed + timedelta(seconds=2),
                    "taken": changed + timedelta(seconds=3),
                    "run": run,
                },
            )
    with db.single() as connection:
        legs = {one.leg: one for one in store.measured(connection, since=AT)}
        later = store.measured(connection, since=AT + timedelta(minutes=9))
    assert {leg: (one.platform, one.changes, one.p50, one.p95, one.longest) for leg, one in legs.items()} == {
        "pushed": ("microsoft", 10, 1, 1, 1),
        "visible": ("microsoft", 10, 2, 2, 2),
        "webhook": ("microsoft", 9, 3, 3, 3),
    }
    assert {one.changes for one in later} == {1}


def leg(name: str, p95: float, changes: int = 100, platform: str = "google") -> Measured:
    return Measured(platform=platform, leg=name, changes=changes, p50=0.1, p95=p95, longest=p95)


@pytest.mark.parametrize(
    ("legs", "says"),
    [
        ([leg("visible", 60.0)], []),
        ([leg("webhook", 3000.0), leg("visible", 1.0)], []),
        ([leg("visible", 1800.0)], ["Set PUBLIC_BASE_URL"]),
        ([leg("visible", 1800.0), leg("pushed", 0.2, changes=10)], ["checks of notification_channels"]),
        ([leg("visible", 90.0), leg("pushed", 80.0)], ["answers /external_webhooks/ quickly"]),
        ([leg("visible", 90.0), leg("pushed", 0.2)], ["raise LIVE_RUNS"]),
        (
            [leg("visible", 90.0), leg("visible", 99.0, platform="microsoft")],
            ["Of google's 100 changes", "Of microsoft's 100 changes"],
        ),
    ],
)
def test_what_to_do_about_late_changes_depends_on_where_they_were_late(legs: list[Measured], says: list[str]) -> None:
    told = late(legs, alarm=60.0)
    assert len(told) == len(says)
    assert all(words in text for words, text in zip(says, told, strict=True))
