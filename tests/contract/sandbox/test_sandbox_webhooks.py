"""The sandbox's receiver: genuine webhooks are told from others by their signatures, and are kept."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook
from typer.testing import CliRunner

from sandbox import snapshot
from sandbox.cli import app
from sandbox.client import Refused
from sandbox.server import Running, running
from sandbox.webhooks import KEPT
from sandbox.world import World

SECRET = base64.b64encode(b"a secret of twenty-four b").decode()
BODY = json.dumps(
    {
        "data": {
            "changes": [
                {
                    "change": "updated",
                    "event_id": "evt_1",
                    "fields": {"start_time": {"from": "10", "to": "11"}, "attendees": {"from": [], "to": []}},
                    "version": 2,
                }
            ]
        },
        "trigger": "calendar.events_update",
    }
).encode()


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Running) -> Running:
    shared.world.__init__()
    shared.expect_webhooks("demo", SECRET)
    return shared


def signed(body: bytes = BODY, *, at: datetime | None = None, message: str = "msg_1", **more: Any) -> dict[str, str]:
    """Headers as a sender of Standard Webhooks makes them, by its reference implementation, and Attendee's."""
    at = at or datetime.now(UTC)
    standard = Webhook(SECRET).sign(message, at, body.decode())
    ours = base64.b64encode(hmac.digest(base64.b64decode(SECRET), body, hashlib.sha256)).decode()
    headers = {"webhook-id": message, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": standard}
    return headers | {"x-webhook-signature": ours} | {name.replace("_", "-"): value for name, value in more.items()}


def post(sandbox: Running, headers: dict[str, str], body: bytes = BODY, *, name: str = "demo") -> int:
    answer = httpx.post(f"{sandbox.url}/_sandbox/webhooks/{name}", content=body, headers=headers, trust_env=False)
    assert answer.content == b""
    return answer.status_code


def test_a_genuine_webhook_is_verified_and_kept_as_it_came(sandbox: Running) -> None:
    body = BODY.replace(b"evt_1", "Zoë 🎉\u2028".encode())
    assert post(sandbox, signed(body), body) == 204
    [kept] = sandbox.webhooks("demo")
    assert (kept.verdict, kept.again, kept.message) == ("verified", False, "msg_1")
    assert kept.body.encode() == body
    assert (
        kept.headers.items()
        >= signed(body, at=datetime.fromtimestamp(int(kept.headers["webhook-timestamp"]), UTC)).items()
    )


@pytest.mark.parametrize(
    ("changed", "body", "why"),
    [
        ({}, BODY.replace(b"updated", b"created"), "webhook-signature"),
        ({"webhook_signature": "v1,bm8="}, BODY, "webhook-signature"),
        ({"webhook_signature": ""}, BODY, "webhook-signature"),
        ({"x_webhook_signature": "bm8="}, BODY, "X-Webhook-Signature"),
        ({"x_webhook_signature": ""}, BODY, "X-Webhook-Signature"),
        ({"webhook_id": "msg_2"}, BODY, "webhook-signature"),
        ({"webhook_timestamp": "soon"}, BODY, "no webhook-timestamp"),
        ({"webhook_timestamp": ""}, BODY, "no webhook-timestamp"),
    ],
    ids=["body", "signature", "none", "attendee's", "no attendee's", "id", "no time", "empty time"],
)
def test_any_other_is_refused_and_says_why(sandbox: Running, changed: dict[str, str], body: bytes, why: str) -> None:
    assert post(sandbox, signed(**changed), body) == 401
    [kept] = sandbox.webhooks()
    assert kept.verdict == f"refused: {why}"


@pytest.mark.parametrize("minutes", [-6, 6])
def test_one_that_is_replayed_later_is_refused(sandbox: Running, minutes: int) -> None:
    assert post(sandbox, signed(at=datetime.now(UTC) + timedelta(minutes=minutes))) == 401
    assert sandbox.webhooks()[0].verdict == "refused: webhook-timestamp is too far from now"


def test_one_without_any_signature_is_refused(sandbox: Running) -> None:
    assert post(sandbox, {}) == 401


def test_one_of_two_signatures_is_enough_while_a_secret_is_changed(sandbox: Running) -> None:
    headers = signed()
    assert post(sandbox, headers | {"webhook-signature": f"v1,bm8= {headers['webhook-signature']}"}) == 204


def test_the_real_time_counts_wherever_the_sandboxs_stands(sandbox: Running) -> None:
    sandbox.advance(timedelta(days=3))
    assert post(sandbox, signed()) == 204


def test_one_that_comes_again_is_known_as_such(sandbox: Running) -> None:
    assert [post(sandbox, signed(message=name)) for name in ("msg_1", "msg_2", "msg_1")] == [204] * 3
    assert [(one.message, one.again) for one in sandbox.webhooks()] == [
        ("msg_1", False),
        ("msg_2", False),
        ("msg_1", True),
    ]


def test_without_a_secret_nothing_is_verified(sandbox: Running) -> None:
    assert not sandbox.expects_webhooks("other")
    assert post(sandbox, {}, b"\xff no JSON", name="other") == 204
    assert [one.verdict for one in sandbox.webhooks("other")] == ["not verified"]
    assert sandbox.webhooks("demo") == []
    with pytest.raises(Refused, match="base64"):
        sandbox.expect_webhooks("other", "no base64!")


def test_the_last_hundred_of_each_name_are_kept(sandbox: Running) -> None:
    assert post(sandbox, {}, name="other") == 204
    for number in range(KEPT + 1):
        sandbox.world.take_webhook("demo", signed(message=f"msg_{number}"), BODY)
    kept = sandbox.webhooks(last=1000)
    assert [one.message for one in kept] == ["", *(f"msg_{number}" for number in range(1, KEPT + 1))]
    assert [one.message for one in sandbox.webhooks(last=2)] == [f"msg_{KEPT - 1}", f"msg_{KEPT}"]
    assert sandbox.webhooks(after=kept[-2].number) == kept[-1:]


def test_secrets_outlive_a_restart(sandbox: Running, tmp_path: Path) -> None:
    snapshot.save(tmp_path / "state.json", sandbox.world)
    assert World(snapshot.load(tmp_path / "state.json")).expects_webhooks("demo")


@pytest.fixture
def run(sandbox: Running) -> Callable[..., str]:
    """Runs `webhooks …`; gives what it printed, and expects it to succeed unless told otherwise."""

    def run(*words: str, fails: bool = False) -> str:
        environment: dict[str, Any] = {"SANDBOX_URL": sandbox.url, "COLUMNS": "200"}
        result = CliRunner().invoke(app, ["webhooks", *words], env=environment)
        assert (result.exit_code != 0) == fails, result.output
        return result.output.strip()

    return run


def test_the_command_shows_what_arrived(sandbox: Running, run: Callable[..., str]) -> None:
    assert run() == "no webhooks yet"
    assert "No webhook arrived within 0.1 s." in run("--wait", "0.1", fails=True)
    post(sandbox, signed())
    post(sandbox, {}, b"no JSON", name="other")
    first, change, field = run("demo", "--wait", "5").splitlines()
    assert first.endswith(" demo: calendar.events_update, verified (msg_1)")
    assert (change.strip(), field.strip()) == ("updated evt_1, version 2", "start_time: 10 → 11")
    assert run("--last", "1").endswith(" other: ?, not verified ()")
    full = run("demo", "--full")
    assert f"  webhook-signature: {sandbox.webhooks('demo')[0].headers['webhook-signature']}" in full
    assert full.endswith(BODY.decode())
    assert run("other", "--clear") == "cleared 1 webhooks"
    assert [one.name for one in sandbox.webhooks()] == ["demo"]
