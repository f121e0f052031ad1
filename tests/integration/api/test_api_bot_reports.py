"""What the runner reports of its bots, over a real socket; and the record that says why a bot is as it is."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from api.app import create_app
from calendar_pipeline.bots import reports
from calendar_pipeline.settings import Settings

MEET = "https://meet.google.com/abc-defg-hij"
SECRET = base64.b64encode(b"x" * 32).decode()


@pytest.fixture
def settings() -> Settings:
    return Settings(_env_file=None, bot_runner_webhook_secret=SECRET)


@pytest.fixture
def app(settings, db, keyring, clock):
    return create_app(settings, db=db, keyring=keyring, clock=clock)


@pytest.fixture
def client(served: str, tenant) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{served}/api/v1", headers=tenant.headers, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture
def bot_id(client) -> str:
    return client.post("/bots", json={"bot_name": "x", "meeting_url": MEET}).json()["id"]


@pytest.fixture
def address(served, keyring, bot_id) -> str:
    return f"{served}{reports.PATH}/{reports.address(keyring, bot_id, 1)}"


def body(state: str, kind: str, at: str, *, key: str = "k", sub_type: str | None = None) -> dict[str, Any]:
    data = {"event_type": kind, "event_sub_type": sub_type, "event_metadata": {"ü": 1}, "old_state": "joining"}
    data |= {"new_state": state, "created_at": at}
    return {"idempotency_key": key, "bot_id": "theirs", "trigger": "bot.state_change", "data": data}


def tell(address: str, told: object, *, secret: str = SECRET) -> int:
    canonical = json.dumps(told, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    digest = hmac.new(base64.b64decode(secret), canonical, hashlib.sha256).digest()
    headers = {"X-Webhook-Signature": base64.b64encode(digest).decode(), "Content-Type": "application/json"}
    return httpx.post(address, content=json.dumps(told).encode(), headers=headers, trust_env=False).status_code


def test_reports_move_the_bot_once_each_and_in_their_own_order(client, db, bot_id, address) -> None:
    assert (
        tell(address, body("joined_recording", "recording_permission_granted", "2026-11-22T08:33:00+00:00", key="2"))
        == 200
    )
    late = body("joined_not_recording", "joined_meeting", "2026-11-22T08:32:00+00:00", key="1")
    assert [tell(address, late), tell(address, late)] == [200, 200]
    shown = client.get(f"/bots/{bot_id}").json()
    assert (shown["state"], shown["recording_state"]) == ("joined_recording", "in_progress")
    assert [event["type"] for event in shown["events"]] == [
        "join_requested",
        "recording_permission_granted",
        "joined_meeting",
    ]
    told = body("fatal_error", "fatal_error", "2026-11-22T09:00:00+00:00", key="3", sub_type="heartbeat_timeout")
    assert tell(address, told) == 200
    shown = client.get(f"/bots/{bot_id}").json()
    assert shown["state"] == "fatal_error"
    assert shown["events"][-1] == {
        "type": "fatal_error",
        "created_at": "2026-11-22T09:00:00Z",
        "sub_type": "heartbeat_timeout",
    }
    assert tell(address, body("joined_recording", "joined_meeting", "2026-11-22T09:01:00Z", key="4")) == 200
    assert client.get(f"/bots/{bot_id}").json()["state"] == "fatal_error"


def test_only_our_addresses_and_the_runners_signature_are_heard(client, served, keyring, bot_id, address) -> None:
    told = body("joined_recording", "joined_meeting", "2026-11-22T08:32:00Z")
    assert tell(address, told, secret=base64.b64encode(b"y" * 32).decode()) == 403
    assert httpx.post(address, json=told, trust_env=False).status_code == 403
    for guess in ("x", bot_id, "%00", reports.address(keyring, bot_id, 1)[:-4] + "AAAA"):
        assert tell(f"{served}{reports.PATH}/{guess}", told) == 404
    other = f"{served}{reports.PATH}/{reports.address(keyring, bot_id, 2)}"
    assert tell(other, told) == 200, "a launch that there is not: heard, and nothing done"
    assert client.get(f"/bots/{bot_id}").json()["state"] == "joining"


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ([], 400),
        ({"trigger": "transcript.update", "data": {}}, 200),
        (body("scheduled", "joined_meeting", "2026-11-22T08:32:00Z"), 200),
        (body("nonsense", "joined_meeting", "2026-11-22T08:32:00Z"), 200),
        (body("ended", "nonsense", "2026-11-22T08:32:00Z"), 200),
        (body("ended", "meeting_ended", "yesterday"), 200),
    ],
)
def test_what_is_not_understood_changes_nothing(client, bot_id, address, told, status) -> None:
    assert tell(address, told) == status
    assert client.get(f"/bots/{bot_id}").json()["state"] == "joining"


@pytest.mark.parametrize(
    "odd",
    [
        {"event_sub_type": "a\0b"},
        {"event_metadata": {"a": "x\0y", "b\0": [1e300]}},
        {"created_at": "0001-01-01T00:00:00+14:00"},
        {"created_at": "9999-12-31T23:59:59-12:00"},
        {"event_type": ["x"]},
        {"new_state": {}},
        {"event_sub_type": {"a": 1}},
    ],
    ids=["nul", "nul below", "before time", "after time", "list", "object", "object as sub-type"],
)
def test_an_odd_report_is_no_fault_of_ours_and_the_next_one_is_heard(client, bot_id, address, odd) -> None:
    """What PostgreSQL keeps in JSON and cannot read again was looked for in every later report, which failed."""
    told = body("joining", "join_requested", "2026-11-22T08:32:00Z")
    told["data"] |= odd
    assert tell(address, told) < 500
    later = body("joined_recording", "recording_permission_granted", "2026-11-22T08:33:00Z", key="later")
    assert tell(address, later) == 200
    assert client.get(f"/bots/{bot_id}").json()["state"] == "joined_recording"


def test_a_runner_is_told_where_to_report_only_where_it_can_reach_us(keyring) -> None:
    assert reports.webhooks(None, keyring, "bot_x", 1) == ()
    assert reports.webhooks("http://127.0.0.1:1", keyring, "bot_x", 1) == ()
    [webhook] = reports.webhooks("https://c.example", keyring, "bot_x", 2)
    assert webhook["triggers"] == ["bot.state_change"]
    assert reports.addressee(keyring, str(webhook["url"]).rsplit("/", 1)[1]) == ("bot_x", 2)


def test_each_decision_is_told_also_of_a_bot_that_is_gone(client, bot_id, stranger, served) -> None:
    scheduled = client.post(
        "/bots", json={"bot_name": "x", "meeting_url": MEET, "join_at": "2026-11-23T10:00:00Z"}
    ).json()["id"]
    client.patch(f"/bots/{scheduled}", json={"join_at": "2026-11-23T11:00:00Z"})
    client.delete(f"/bots/{scheduled}")
    results = client.get(f"/bots/{scheduled}/decisions").json()["results"]
    assert [(one["decision"], one["reason"]) for one in results] == [
        ("made", "made by the client"),
        ("changed", "the client set join_at"),
        ("deleted", "deleted by the client"),
    ]
    assert set(results[0]) == {"at", "decision", "reason", "event_id", "event_version", "old_state", "new_state"}
    unknown = client.get("/bots/bot_0123456789abcdef/decisions")
    assert (unknown.status_code, unknown.json()) == (404, {"error": "Bot not found"})
    with httpx.Client(base_url=f"{served}/api/v1", headers=stranger.headers, trust_env=False) as theirs:
        assert theirs.get(f"/bots/{scheduled}/decisions").status_code == 404


def test_why_prints_the_record_of_a_bot_and_of_an_event(client, db, bot_id, monkeypatch, keyring) -> None:
    from typer.testing import CliRunner

    from calendar_pipeline.cli import app as cli

    monkeypatch.setenv("DATABASE_URL", db.url.render_as_string(hide_password=False))
    shown = CliRunner().invoke(cli, ["why", bot_id])
    assert shown.exit_code == 0, shown.output
    assert f"{bot_id}: joining" in shown.output
    assert "made by the client" in shown.output
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE bot SET gone_at = now(), gone_because = 'event_deleted'"))
    assert "no bot: event cancelled" in CliRunner().invoke(cli, ["why", bot_id]).output
    assert CliRunner().invoke(cli, ["why", "evt_x"]).exit_code != 0
