"""Webhooks over the API: made, changed, rotated, watched, sent again."""

import base64
from contextlib import ExitStack
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from api.limits import LOOK_UPS
from api.services import STATE
from calendar_pipeline.settings import Settings
from calendar_pipeline.webhooks.address import Policy
from calendar_pipeline.webhooks.run import Dispatch, deliver

URL = "http://127.0.0.1:9/hook"
UPDATE = "calendar.events_update"


@pytest.fixture
def settings() -> Settings:
    return Settings(
        _env_file=None, webhook_allow_http=True, webhook_allowed_networks="127.0.0.0/8", webhook_ports="any"
    )


@pytest.fixture
def make(client: Any) -> Any:
    def make(**more: Any) -> Any:
        answer = client.post("/webhooks", json={"url": URL, "triggers": [UPDATE], **more})
        assert answer.status_code == 201, answer.text
        return answer.json()

    return make


@pytest.fixture
def attempt(db: Any, keyring: Any, clock: Any) -> Any:
    """One round of deliveries; nobody listens on port 9."""

    def attempt() -> Any:
        policy = Policy(http=True, networks=(ip_network("127.0.0.0/8"),), ports=None)
        return deliver(Dispatch(db=db, keyring=keyring, policy=policy, clock=clock))

    return attempt


def test_a_webhook_is_made_listed_changed_and_forgotten(client: Any, make: Any) -> None:
    made = make(content="changes", ordering="calendar", concurrency=2)
    secret = made.pop("signing_secret")
    assert len(base64.b64decode(secret)) == 32
    assert made["id"].startswith("webhook_")
    assert (made["url"], made["triggers"], made["secret"], made["state"]) == (URL, [UPDATE], "project", "enabled")
    assert (made["content"], made["ordering"], made["concurrency"]) == ("changes", "calendar", 2)
    assert client.get(f"/webhooks/{made['id']}").json() == made
    assert make()["signing_secret"] is None, "the project's secret was shown before"
    own = make(secret="own")
    assert own["signing_secret"] != secret
    assert own["secret"] == "own"
    assert len({row["id"] for row in client.get("/webhooks").json()["results"]} | {made["id"], own["id"]}) == 3
    changed = client.patch(f"/webhooks/{made['id']}", json={"triggers": ["calendar.state_change"], "enabled": False})
    assert (changed.json()["triggers"], changed.json()["state"]) == (["calendar.state_change"], "disabled")
    assert changed.json()["disabled_reason"] == "operator"
    assert client.patch(f"/webhooks/{made['id']}", json={"enabled": True}).json()["state"] == "enabled"
    assert client.delete(f"/webhooks/{made['id']}").status_code == 200
    assert client.get(f"/webhooks/{made['id']}").status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"triggers": [UPDATE]}, "url"),
        ({"url": URL}, "triggers"),
        ({"url": URL, "triggers": []}, "triggers"),
        ({"url": URL, "triggers": ["what"]}, "triggers"),
        ({"url": URL, "triggers": [UPDATE, UPDATE]}, "triggers"),
        ({"url": URL, "triggers": UPDATE}, "triggers"),
        ({"url": "http://169.254.169.254/", "triggers": [UPDATE]}, "url"),
        ({"url": "https://[::ffff:10.0.0.1]/", "triggers": [UPDATE]}, "url"),
        ({"url": "https://nowhere.invalid/", "triggers": [UPDATE]}, "url"),
        ({"url": URL, "triggers": [UPDATE], "concurrency": 0}, "concurrency"),
        ({"url": URL, "triggers": [UPDATE], "concurrency": True}, "concurrency"),
        ({"url": URL, "triggers": [UPDATE], "secret": "mine"}, "secret"),
        ({"url": URL, "triggers": [UPDATE], "other": 1}, "other"),
    ],
)
def test_what_cannot_be_a_webhook_is_refused_by_field(client: Any, body: Any, field: str) -> None:
    answer = client.post("/webhooks", json=body)
    assert answer.status_code == 400
    assert field in answer.text


def test_look_ups_that_hang_leave_the_other_threads_to_everybody_else(client: Any, app: Any, make: Any) -> None:
    with ExitStack() as hanging:
        for _ in range(LOOK_UPS):
            hanging.enter_context(app.state[STATE].limits.looking_up())
        made = client.post("/webhooks", json={"url": URL, "triggers": [UPDATE]})
        assert (made.status_code, made.headers["retry-after"]) == (429, "1")
        assert client.get("/webhooks").json()["results"] == []
    make()


def test_a_project_has_so_many_webhooks_and_no_more(client: Any, make: Any, db: Any) -> None:
    for _ in range(50):
        make()
    answer = client.post("/webhooks", json={"url": URL, "triggers": [UPDATE]})
    assert answer.status_code == 400
    assert "50 webhooks at most" in answer.text


def test_another_projects_webhooks_are_unknown(client: Any, make: Any, stranger: Any) -> None:
    made = make()
    message = client.post(f"/webhooks/{made['id']}/test", json={}).json()["id"]
    for method, path, body in [
        ("GET", f"/webhooks/{made['id']}", None),
        ("PATCH", f"/webhooks/{made['id']}", {"enabled": False}),
        ("DELETE", f"/webhooks/{made['id']}", None),
        ("POST", f"/webhooks/{made['id']}/rotate_secret", {}),
        ("POST", f"/webhooks/{made['id']}/test", {}),
        ("POST", f"/webhooks/{made['id']}/recover", {"since": "2026-01-01"}),
        ("GET", f"/webhook_deliveries/{message}", None),
        ("POST", f"/webhook_deliveries/{message}/resend", {}),
    ]:
        answer = client.request(method, path, json=body, headers=stranger.headers)
        assert answer.status_code == 404, (method, path)
    for path in ("/webhooks", "/webhook_deliveries", f"/webhook_deliveries?webhook_id={made['id']}"):
        assert client.get(path, headers=stranger.headers).json()["results"] == []


def test_secrets_are_shown_once_and_former_ones_last_as_long_as_asked(client: Any, make: Any, clock: Any) -> None:
    made = make()
    rotated = client.post(f"/webhooks/{made['id']}/rotate_secret", json={"overlap_hours": 2})
    assert rotated.headers["cache-control"] == "no-store"
    until = rotated.json()["former_secret_until"]
    assert rotated.json()["signing_secret"] != made["signing_secret"]
    shown = client.get(f"/webhooks/{made['id']}").json()
    assert (shown["secret"], shown["former_secret_until"]) == ("own", until)
    assert "signing_secret" not in shown
    assert client.post("/webhook_secret/rotate", json={"overlap_hours": 0}).json()["former_secret_until"] is None
    assert client.post("/webhook_secret/rotate", json={"overlap_hours": 169}).status_code == 400


def test_deliveries_and_attempts_are_listed_with_what_was_answered(client: Any, make: Any, attempt: Any) -> None:
    made = make()
    message = client.post(f"/webhooks/{made['id']}/test", json={}).json()["id"]
    attempt()
    [row] = client.get(f"/webhook_deliveries?webhook_id={made['id']}&status=pending").json()["results"]
    assert (row["id"], row["trigger"], row["attempts"], row["last_error"]) == (
        message,
        "webhook.test",
        1,
        "connect_refused",
    )
    full = client.get(f"/webhook_deliveries/{message}").json()
    assert full["body"]["data"]["webhook_id"] == made["id"]
    assert full["body"]["idempotency_key"] == full["idempotency_key"]
    [tried] = full["attempt_log"]
    assert (tried["attempt"], tried["outcome"], tried["status"], tried["error"]) == (
        1,
        "failed",
        None,
        "connect_refused",
    )
    client.patch(f"/webhooks/{made['id']}", json={"enabled": False})
    [row] = client.get("/webhook_deliveries?status=held").json()["results"]
    assert row["id"] == message
    assert client.get("/webhook_deliveries?status=pending").json()["results"] == []


def test_a_mended_address_gets_at_once_what_waited_for_the_wrong_one(
    client: Any, make: Any, attempt: Any, db: Any, clock: Any
) -> None:
    """Who had mistyped it waited up to a day for what it had missed, and ten minutes for anything new."""
    made = make()
    client.post(f"/webhooks/{made['id']}/test", json={})
    for _ in range(5):
        assert attempt().failed == 1
        clock.pass_by(hours=1)
    assert attempt().failed == 1
    assert attempt().attempts == 0
    mended = client.patch(f"/webhooks/{made['id']}", json={"url": f"{URL}/mended"}).json()
    assert (mended["state"], mended["failures"], mended["failing_since"]) == ("enabled", 0, None)
    assert attempt().attempts == 1
    client.patch(f"/webhooks/{made['id']}", json={"enabled": False})
    disabled = client.patch(f"/webhooks/{made['id']}", json={"url": URL}).json()
    assert (disabled["state"], disabled["disabled_reason"]) == ("disabled", "operator")
    assert attempt().attempts == 0


def test_one_is_sent_again_and_so_is_all_that_failed_since(
    client: Any, make: Any, attempt: Any, clock: Any, db: Any
) -> None:
    made = make()
    since = clock.now
    messages = [client.post(f"/webhooks/{made['id']}/test", json={}).json()["id"] for _ in range(3)]
    attempt()
    assert attempt().attempts == 0, "not due yet"
    assert client.post(f"/webhook_deliveries/{messages[0]}/resend", json={}).status_code == 202
    assert attempt().attempts == 1
    later = (since + timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    recover = f"/webhooks/{made['id']}/recover"
    assert client.post(recover, json={"since": later}).json() == {"count": 0}
    assert client.post(recover, json={"since": since.isoformat().replace("+00:00", "Z")}).json() == {"count": 3}
    assert client.post(recover, json={}).status_code == 400
    with db.begin() as connection:
        connection.exec_driver_sql("UPDATE webhook_delivery SET body = NULL")
    assert client.post(f"/webhook_deliveries/{messages[0]}/resend", json={}).status_code == 409
    assert client.get(f"/webhook_deliveries/{messages[0]}").json()["body"] is None


@pytest.mark.parametrize(
    "path", ["/webhooks?cursors=x", "/webhook_deliveries?state=dead", "/webhook_deliveries?status=lost"]
)
def test_a_mistyped_filter_is_refused_rather_than_ignored(client: Any, path: str) -> None:
    assert client.get(path).status_code == 400


def test_deliveries_are_walked_page_by_page_each_once(client: Any, make: Any, clock: Any) -> None:
    made = make()
    sent = set()
    for _ in range(130):
        sent.add(client.post(f"/webhooks/{made['id']}/test", json={}).json()["id"])
    page = client.get("/webhook_deliveries").json()
    found = [row["id"] for row in page["results"]]
    page = client.get(page["next"]).json()
    found += [row["id"] for row in page["results"]]
    assert (page["next"], len(found), set(found)) == (None, 130, sent)


def test_a_bots_own_webhooks_are_signed_where_the_project_had_no_secret(client: Any, attempt: Any) -> None:
    """They were put off for five minutes, again and again, with nothing to sign with."""
    own = [{"url": "https://127.0.0.1:9/x", "triggers": ["bot.state_change"]}]
    bot = {"bot_name": "x", "meeting_url": "https://meet.google.com/abc-defg-hij", "webhooks": own}
    assert client.post("/bots", json=bot).json()["state"] == "joining"
    assert attempt().attempts == 1


def test_a_bot_brings_its_own_webhooks(client: Any, make: Any) -> None:
    bot = {"bot_name": "x", "meeting_url": "https://meet.google.com/abc-defg-hij", "join_at": "2027-01-01T00:00:00Z"}
    own = [{"url": "https://93.184.215.14/x", "triggers": ["bot.state_change"]}]
    make()
    made = client.post("/bots", json=bot | {"webhooks": own})
    assert made.status_code == 201, made.text
    [row] = client.get(f"/webhooks?bot_id={made.json()['id']}").json()["results"]
    assert (row["url"], row["triggers"], row["bot_id"]) == (
        "https://93.184.215.14/x",
        ["bot.state_change"],
        made.json()["id"],
    )
    assert len(client.get("/webhooks").json()["results"]) == 1, "a bot's are not the project's"
    inside = client.post("/bots", json=bot | {"webhooks": [{**own[0], "url": "https://169.254.169.254/"}]})
    assert inside.status_code == 400
    assert "not public" in inside.json()["webhooks"][0]
