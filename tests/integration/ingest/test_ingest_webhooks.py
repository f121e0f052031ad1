"""What happens to a calendar is put into the outbox in the transaction that makes it so, once, and fixed there."""

import json
import threading
import time
import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from calendar_pipeline import ids
from calendar_pipeline.bots import store as bots
from calendar_pipeline.bots.model import NewBot
from calendar_pipeline.db.schema import event_history, webhook_subscription
from calendar_pipeline.history.store import Appended
from calendar_pipeline.webhooks import changes, outbox
from calendar_pipeline.webhooks.model import BotChange, NewSubscription
from calendar_pipeline.webhooks.outbox import Message

UPDATE, STATE = "calendar.events_update", "calendar.state_change"


def subscribe(bench: Any, *triggers: str, **more: Any) -> str:
    row = ids.new("webhook")
    values = {
        "id": row,
        "project_id": bench.project,
        "url": f"https://hooks.example/{row}",
        "updated_at": bench.clock(),
    }
    with bench.db.begin() as connection:
        connection.execute(
            sa.insert(webhook_subscription).values({**values, "triggers": list(triggers or (UPDATE, STATE)), **more})
        )
    return row


def deliveries(bench: Any) -> list[Any]:
    return bench.rows("SELECT * FROM webhook_delivery WHERE calendar_id = :cal ORDER BY n")


def bodies(bench: Any) -> list[Any]:
    return [json.loads(row["body"]) for row in deliveries(bench)]


def test_a_sync_that_changed_something_tells_each_endpoint_once(bench: Any) -> None:
    subscriptions = {subscribe(bench), subscribe(bench, UPDATE)}
    subscribe(bench, STATE)
    bench.patch(metadata={"user": "Zoë 🎉"})
    bench.add("One")
    bench.add("Two")
    bench.sync()
    rows = deliveries(bench)
    assert {row["subscription_id"] for row in rows} == subscriptions
    assert len({row["idempotency_key"] for row in rows}) == len({row["id"] for row in rows}) == 2
    [run] = bench.runs()
    for row, body in zip(rows, bodies(bench), strict=True):
        assert (row["status"], row["trigger"], row["next_attempt_at"]) == ("pending", UPDATE, bench.clock())
        assert row["sync_run_id"] == run["id"]
        assert body == {
            "idempotency_key": str(row["idempotency_key"]),
            "calendar_id": bench.cal.id,
            "calendar_deduplication_key": None,
            "calendar_metadata": {"user": "Zoë 🎉"},
            "trigger": UPDATE,
            "data": {
                "state": "connected",
                "connection_failure_data": None,
                "last_successful_sync_at": "2026-11-23T09:00:00Z",
                "last_attempted_sync_at": "2026-11-23T09:00:00Z",
            },
        }
        assert (
            bytes(row["body"]) == json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
        )


def test_a_sync_without_news_tells_nobody(bench: Any) -> None:
    subscribe(bench)
    bench.sync()
    bench.sync()
    assert deliveries(bench) == []


def test_what_is_told_stays_as_it_was_when_it_happened(bench: Any) -> None:
    subscribe(bench)
    bench.patch(metadata={"then": "1"})
    bench.add()
    bench.sync()
    bench.patch(metadata={"now": "2"})
    assert [body["calendar_metadata"] for body in bodies(bench)] == [{"then": "1"}]


def test_disconnection_and_reconnection_are_told_once_each(bench: Any) -> None:
    subscribe(bench, STATE)
    bench.sync()
    bench.world.revoke(bench.cal.google.refresh_token)
    assert bench.sync().status == "disconnected"
    assert bench.sync().status == "disconnected"
    [body] = bodies(bench)
    assert (body["trigger"], body["data"]["state"]) == (STATE, "disconnected")
    failure = body["data"]["connection_failure_data"]
    assert failure == bench.row["connection_failure_data"]
    assert set(failure) == {"error", "timestamp"}
    assert datetime.fromisoformat(failure["timestamp"]).utcoffset() is not None
    google = bench.cal.google
    bench.patch(refresh_token=bench.world.issue_refresh_token(google.account, client_id=google.client_id))
    bench.sync()
    bench.sync()
    [_, body] = bodies(bench)
    assert body["data"]["state"] == "connected"
    assert body["data"]["connection_failure_data"] is None


@pytest.mark.parametrize("point", ["finished", "told", "appended"])
def test_a_crash_before_the_commit_tells_nobody_and_the_next_sync_does(bench: Any, point: str) -> None:
    subscribe(bench)
    bench.add()

    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.sync(ingest=bench.crashing(point, die))
    assert deliveries(bench) == []
    bench.clock.pass_by(minutes=10)
    bench.execute("UPDATE calendar SET lease_until = NULL")
    bench.sync()
    assert len(deliveries(bench)) == 1


def statements(bench: Any) -> int:
    """What a sync of one new event costs."""
    bench.add()
    before = bench.db.statements
    bench.sync()
    return bench.db.statements - before


def test_webhooks_cost_three_statements_and_nothing_where_there_are_none(bench: Any) -> None:
    bench.sync()
    without = statements(bench)
    assert statements(bench) == without
    subscribe(bench)
    assert statements(bench) == without + 3
    subscribe(bench)
    subscribe(bench)
    assert statements(bench) == without + 3
    bench.execute("DELETE FROM webhook_subscription")
    assert statements(bench) == without


def test_who_subscribes_during_a_sync_sees_its_changes_or_is_told_of_them(bench: Any) -> None:
    """The subscription is there only after the commit that it does not hear of."""
    bench.sync()
    bench.add()
    order: list[str] = []

    def meanwhile() -> None:
        def work() -> None:
            subscribe(bench)
            order.append("subscribed")

        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(200):
            with bench.db.single() as connection:
                if connection.execute(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar():
                    break
            time.sleep(0.01)
        else:
            raise AssertionError("the subscription did not wait")
        order.append("sync goes on")

    bench.sync(ingest=bench.crashing("appended", meanwhile))
    for _ in range(200):
        if "subscribed" in order:
            break
        time.sleep(0.01)
    assert order == ["sync goes on", "subscribed"]
    assert deliveries(bench) == []


def test_what_cannot_be_signed_is_kept_as_rejected_and_stops_nothing_else(bench: Any) -> None:
    subscription = subscribe(bench)
    message = {
        "project_id": bench.project,
        "subscription_id": subscription,
        "trigger": UPDATE,
        "key": uuid.uuid4(),
        "calendar_id": bench.cal.id,
    }
    with bench.db.begin() as connection:
        outbox.write(
            connection,
            [Message(**message, payload={"x": "\ud83d"}), Message(**message, payload={"x": "\U0001f600"})],
            at=bench.clock(),
        )
    [bad, good] = deliveries(bench)
    assert (bad["status"], bad["body"], bad["last_error"]) == (
        "rejected",
        None,
        "unsignable: $.x has half of a surrogate pair",
    )
    assert (good["status"], bytes(good["body"])) == ("pending", '{"x":"😀"}'.encode())


def test_who_asks_for_the_changes_gets_them_from_what_to_what(bench: Any) -> None:
    plain, rich = subscribe(bench, UPDATE), subscribe(bench, UPDATE, content="changes")
    event = bench.add("Planning", start="2026-11-24T15:00")
    bench.sync()
    bench.world.retitle_event(bench.cal.at_google, event, "Planung 🎉")
    before = bench.db.statements
    bench.sync()
    with_changes = bench.db.statements - before
    told = {row["subscription_id"]: json.loads(row["body"])["data"] for row in deliveries(bench)[-2:]}
    assert "changes" not in told[plain]
    [change] = told[rich]["changes"]
    assert change == {
        "sequence": 2,
        "event_id": bench.events()[event]["id"],
        "version": 2,
        "change": "updated",
        "fields": {"title": {"from": "Planning", "to": "Planung 🎉"}},
    }
    assert told[rich]["changes_truncated"] is False
    first = json.loads(next(row for row in deliveries(bench) if row["subscription_id"] == rich)["body"])["data"]
    assert first["changes"][0]["fields"]["title"] == {"from": None, "to": "Planning"}
    assert first["changes"][0]["fields"]["starts_at"]["to"].endswith("Z")
    bench.execute("UPDATE webhook_subscription SET content = 'reference'")
    assert statements(bench) <= with_changes


def test_changes_are_found_though_time_passes_during_the_sync(bench: Any) -> None:
    """The record's stamps are given in the project's turn, later than the sync's own clock."""
    rich = subscribe(bench, UPDATE, content="changes")
    bench.add("Planning")

    def ticking() -> datetime:
        bench.clock.pass_by(milliseconds=7)
        return bench.clock()

    bench.sync(ingest=replace(bench.ingest, clock=ticking))
    [row] = [row for row in deliveries(bench) if row["subscription_id"] == rich]
    [change] = json.loads(row["body"])["data"]["changes"]
    assert (change["change"], change["fields"]["title"]["to"]) == ("created", "Planning")


def test_the_changes_are_read_by_number_however_long_the_record_is(bench: Any) -> None:
    """It is done where the whole project waits: nothing may be read but what is told."""
    subscribe(bench, UPDATE, content="changes")
    bench.add("Planning")
    bench.sync()
    with bench.db.begin() as connection:
        names = [column.name for column in event_history.columns if column.name not in ("seq", "version")]
        copies = sa.text(
            f"INSERT INTO event_history (seq, version, {', '.join(names)}) SELECT 1 + n, 1 + n, {', '.join(names)} "
            "FROM event_history, generate_series(1, 2000) AS n"
        )
        connection.execute(copies)
        connection.execute(sa.text("ANALYZE event_history"))
        read = sa.text(
            "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables "
            "WHERE relname LIKE 'event_history%'"
        )
        before = connection.execute(read).scalar_one()
        [project] = connection.execute(sa.text("SELECT DISTINCT project_id FROM event_history")).scalars()
        scanned = connection.execute(read).scalar_one() - before
        appended = Appended(seqs=range(2000, 2002), at=bench.clock(), watched=True)
        told = changes.of(connection, project, appended)
        assert [change["sequence"] for change in told["changes"]] == [2000, 2001]
        assert scanned > 2000, "the counter counts"
        assert connection.execute(read).scalar_one() - before - scanned <= 2
        connection.rollback()


def test_changes_are_bounded_and_say_so(bench: Any) -> None:
    rich = subscribe(bench, UPDATE, content="changes")
    for number in range(130):
        bench.add(f"No {number} " + "x" * 500)
    bench.sync()
    [row] = [row for row in deliveries(bench) if row["subscription_id"] == rich]
    data = json.loads(row["body"])["data"]
    assert data["changes_truncated"] is True
    assert [change["sequence"] for change in data["changes"]] == list(range(1, len(data["changes"]) + 1))
    assert 0 < len(data["changes"]) <= 100
    assert len(row["body"]) < 256 * 1024


def test_a_bot_with_endpoints_of_its_own_is_told_of_there_and_nowhere_else(bench: Any) -> None:
    project_wide = subscribe(bench, "bot.state_change")
    subscribe(bench, UPDATE)
    made = []
    for own in ([NewSubscription(url="https://own.example/", triggers=["bot.state_change"])], []):
        new = NewBot(
            name="x",
            meeting_url="https://meet.google.com/abc-defg-hij",
            join_at=bench.clock() + timedelta(days=1),
            metadata={"10": "Zoë", "9": "🎉"},
            webhooks=own,
        )
        with bench.db.begin() as connection:
            made.append(bots.create(connection, bench.keyring, bench.project, new, now=bench.clock()).id)
    before = bench.db.statements
    changes = [
        BotChange(
            bot_id=bot,
            event_type="joined_meeting",
            event_sub_type=None,
            event_metadata={},
            old_state="joining",
            new_state="joined_not_recording",
            at=bench.clock(),
        )
        for bot in made
    ]
    with bench.db.begin() as connection:
        assert outbox.bots_changed(connection, changes, at=bench.clock()) == 2
    assert bench.db.statements - before == 3
    [own, wide] = bench.rows("SELECT * FROM webhook_delivery WHERE trigger = 'bot.state_change' ORDER BY n")
    [theirs] = bench.rows("SELECT id FROM webhook_subscription WHERE bot_id = :bot", bot=made[0])
    assert (own["subscription_id"], wide["subscription_id"]) == (theirs["id"], project_wide)
    assert json.loads(own["body"]) == {
        "idempotency_key": str(own["idempotency_key"]),
        "bot_id": made[0],
        "bot_metadata": {"009": "🎉", "010": "Zoë"},
        "trigger": "bot.state_change",
        "data": {
            "event_type": "joined_meeting",
            "event_sub_type": None,
            "event_metadata": {},
            "old_state": "joining",
            "new_state": "joined_not_recording",
            "created_at": "2026-11-23T09:00:00+00:00",
        },
    }
